"""How each scene was scanned, as a table without places: model, thresholds, command, counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geoscan.layers.attributes import Attribute, columns
from geoscan.layers.detections import ATTRIBUTES as OF_DETECTIONS
from geoscan.layers.footprint import observed_share
from geoscan.seen import Seen, Sight

if TYPE_CHECKING:
    import pandas as pd

LAYER: Final = "metadata"

_READING: Final = {
    "product": Attribute("str", "what kind of product it is"),
    "date": Attribute("str", "when it was taken"),
    "bands": Attribute("str", "numbers of the red, green and blue bands"),
    "values": Attribute("str", "how values became reflectance"),
    "stretch": Attribute("str", "how reflectance became what the model looks at"),
    "mask": Attribute("str", "where the mask of nodata comes from"),
    "forced": Attribute("str", "yes where --force had chips scored that look like nothing the model knows"),
}
_CARD: Final = {
    "model_pixel_m": Attribute("float64", "metres of a pixel as the model sees it"),
    "model_chip_px": Attribute("float64", "pixels of the side of a chip"),
    "model_judged_by": Attribute("str", "the figure by which the model is judged"),
    "model_finds": Attribute("float64", "share of mines that a chip by itself shows at these thresholds, 0 to 1"),
    "model_false_alarms": Attribute("float64", "false alarms on 1,000 km² at these thresholds"),
}
_COUNTS: Final = {
    "stride_px": Attribute("int64", "pixels from chip to chip"),
    "n_chips": Attribute("int64", "chips"),
    "n_flagged": Attribute("int64", "chips that are part of a detection"),
    "n_detections": Attribute("int64", "detections of this scene by itself; those of scenes that meet are joined"),
    "n_hazy": Attribute("int64", "chips under haze"),
    "n_cloudy": Attribute("int64", "chips under cloud"),
    "n_nodata": Attribute("int64", "chips without data"),
    "n_failed": Attribute("int64", "chips that could not be read"),
    "n_not_understood": Attribute("int64", "chips that look like nothing the model knows"),
    "observed": Attribute("float64", "share of the scene that was seen, 0 to 1"),
}
_MADE: Final = ("model", "digest", "operate", "threshold_high", "threshold_low", "threshold_isolated", "tta", "prior")

ATTRIBUTES: Final = {
    "scene": OF_DETECTIONS["scene"],
    **_READING,
    **{name: OF_DETECTIONS[name] for name in _MADE},
    **_CARD,
    **_COUNTS,
    "command": Attribute("str", "what was asked for, without what changes no result"),
    "geoscan": OF_DETECTIONS["geoscan"],
}


def frame(scenes: Sequence[Seen]) -> pd.DataFrame:
    """Give a row a scene: `ATTRIBUTES`."""
    import pandas as pd

    return pd.DataFrame(columns([_row(one) for one in scenes], ATTRIBUTES))


def _row(seen: Seen) -> dict[str, Any]:
    from geoscan.polygons import described

    source = seen.provenance
    return {
        "scene": source.scene,
        **{name: source.reading.get(name, "") for name in _READING},
        **described(source),
        **{name: seen.card.get(name) for name in _CARD},
        **_counts(seen),
        "command": seen.command,
    }


def _counts(seen: Seen) -> dict[str, float]:
    of_sight = np.bincount(seen.sight, minlength=len(Sight)).tolist()
    groups = seen.flagged
    return {
        "stride_px": seen.grid.stride,
        "n_chips": len(seen.grid),
        "n_flagged": int((groups > 0).sum()),
        "n_detections": int(groups.max()),
        "n_hazy": of_sight[Sight.HAZY],
        "n_cloudy": of_sight[Sight.CLOUDY],
        "n_nodata": of_sight[Sight.NODATA],
        "n_failed": of_sight[Sight.FAILED],
        "n_not_understood": of_sight[Sight.STRANGE],
        "observed": observed_share(seen),
    }
