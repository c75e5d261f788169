"""How QGIS shows a layer or a heat map: one QML style each, made of the templates in `styles/`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from geoscan.layers.obscured import CAUSES
from geoscan.seen import Sight

if TYPE_CHECKING:
    import jinja2

    from geoscan.layers.attributes import Attribute

TABLE: Final = "layer_styles"
"""Of a GeoPackage, as QGIS calls it."""

MARK: Final = "Style of a layer by geoscan, which may replace this file."
"""What styles of geoscan's own hold, and no other does."""

REVIEWS: Final = {"unreviewed": "not looked at", "mine": "a mine", "not_mine": "no mine"}
"""What the column `review` may hold, and how people read it."""

_CLASSES: Final = (
    (0, 0.1, "255,255,150"),
    (0.1, 0.25, "255,215,0"),
    (0.25, 0.5, "255,145,0"),
    (0.5, 0.75, "255,70,0"),
    (0.75, 1, "255,0,110"),
)
"""From, to, and red, green, blue, of probabilities and scores."""

_HATCHED: Final = {
    CAUSES[Sight.CLOUDY]: ("70,150,215", 45, 2.5),
    CAUSES[Sight.HAZY]: ("166,206,227", 135, 4),
    CAUSES[Sight.NODATA]: ("150,150,150", 0, 3),
    CAUSES[Sight.FAILED]: ("255,0,0", 45, 2),
    CAUSES[Sight.STRANGE]: ("190,80,255", 135, 2),
}
"""Red, green, blue of the lines that hatch what was not seen well, by cause, their angle, and millimetres between."""


def qml(layer: str, attributes: Mapping[str, Attribute]) -> str:
    """Make the style of a layer, which has a template of its name; attributes: those that the layer has."""
    template = _environment().get_template(f"{layer}.qml")
    return template.render(fields=attributes, classes=_CLASSES, causes=_HATCHED, reviews=REVIEWS, mark=MARK)


def of_scores(stops: Sequence[tuple[float, str]]) -> str:
    """Make the style of a raster of scores. stops: score and colour, as #rrggbb; between them it changes evenly."""
    return _environment().get_template("heatmap.qml").render(stops=stops, mark=MARK)


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("geoscan.layers", "styles"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["combined"] = _combined
    made.globals["safe"] = _safe
    return made


def _combined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return {**first, **second}


def _safe(field: str) -> str:
    """A QGIS expression that gives a text as HTML shows it, for map tips: a scene may have any name."""
    import markupsafe

    return markupsafe.Markup(f"""replace(replace("{field}", '&', '&amp;'), '<', '&lt;')""")
