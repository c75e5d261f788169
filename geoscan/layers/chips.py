"""Every chip of a scan with all its scores; there may be millions, so they are made some thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geoscan.labels import MINE, in_one_word, readable
from geoscan.layers.attributes import Attribute
from geoscan.layers.obscured import CAUSES
from geoscan.seen import Seen, Sight

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

LAYER: Final = "chips"
GEOMETRY: Final = "geom"

_AT_ONCE: Final = 2**16
_SIGHTS: Final = [CAUSES.get(one, "clear") for one in Sight]
_DTYPES: Final = {"str": "string", "int64": "int64", "float64": "float64", "bool": "bool"}
"""What pyarrow calls them."""

_FIRST: Final = {
    "scene": Attribute("str", "file name of the scene, with folders where several scenes have one name"),
    "chip": Attribute("int64", "number of the chip in the scene, row by row from 0 at the upper left"),
    "sight": Attribute("str", "whether it was seen: clear, or haze, cloud, nodata, failed, not understood"),
    "observed": Attribute("float64", "share of it that is not nodata, 0 to 1"),
    "flagged": Attribute("bool", "whether it is part of a detection"),
}


def attributes(scenes: Sequence[Seen]) -> dict[str, Attribute]:
    """What each column means; the scores of all labels that some model knows, mines first."""
    labels = dict.fromkeys([MINE, *(label for one in scenes for label in one.labels)])
    return _FIRST | {
        in_one_word(label): Attribute("float64", f"score of {readable(label)}, 0 to 1") for label in labels
    }


def reader(scenes: Sequence[Seen]) -> pa.RecordBatchReader:
    """Give all chips, scene by scene, as a stream: `attributes`, and `GEOMETRY` as WKB of MultiPolygons in EPSG:4326.

    Scores have 4 decimals; they are null where a chip was not scored, and where a model does not know the label.
    """
    import pyarrow as pa

    of = attributes(scenes)
    fields = [(name, pa.type_for_alias(_DTYPES[one.dtype])) for name, one in of.items()]
    schema = pa.schema([*fields, (GEOMETRY, pa.binary())])
    return pa.RecordBatchReader.from_batches(schema, _batches(scenes, schema))


def _batches(scenes: Sequence[Seen], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    from geoscan.cells import Cells

    for seen in scenes:
        cells, flagged = Cells.of(seen), seen.flagged.ravel() > 0
        for start in range(0, len(seen.grid), _AT_ONCE):
            tiles = np.arange(start, min(start + _AT_ONCE, len(seen.grid)))
            yield _batch(seen, tiles, cells.polygons(tiles), flagged[tiles], schema)


def _batch(
    seen: Seen, tiles: NDArray[np.int64], shapes: NDArray[np.object_], flagged: NDArray[np.bool_], schema: pa.Schema
) -> pa.RecordBatch:
    import pyarrow as pa
    import shapely

    share = seen.observed[tiles] / seen.grid.areas(tiles)
    known: dict[str, Any] = {
        "scene": pa.repeat(seen.provenance.scene, len(tiles)),
        "chip": pa.array(tiles),
        "sight": pa.array(_SIGHTS).take(pa.array(seen.sight[tiles])),
        "observed": pa.array(np.round(share, 4)),
        "flagged": pa.array(flagged),
        GEOMETRY: pa.array(shapely.to_wkb(shapes), pa.binary()),
    }
    for number, label in enumerate(seen.labels):
        scores = np.round(seen.scores[tiles, number].astype(float), 4)
        known[in_one_word(label)] = pa.array(scores, from_pandas=True)  # NaN is null
    missing = {name: pa.nulls(len(tiles), schema.field(name).type) for name in schema.names if name not in known}
    return pa.record_batch([(known | missing)[name] for name in schema.names], schema=schema)
