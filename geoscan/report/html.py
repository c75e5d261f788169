"""A page as HTML: what is said is escaped, and nothing in it can run or be fetched but what this package ships."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Final

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from geoscan.errors import spelt
from geoscan.labels import readable
from geoscan.layers.style import REVIEWS
from geoscan.model.card import Card
from geoscan.model.figures_markdown import alarms_text
from geoscan.model.markdown import card_markdown
from geoscan.report.page import LISTED, PICTURED, Page
from geoscan.report.pictures import COLOURS
from geoscan.seen import Sight

_LEAFLET: Final = "vendor/leaflet-1.9.4/"

_OUTSIDE: Final = {
    ".css": [(re.compile(r"url\([^)]*\)"), "none")],
    ".js": [(re.compile(r"//# sourceMappingURL=\S*"), "")],
}
"""What Leaflet's files name: pictures that the map does without, and a file for those who debug it."""

_SIGHTS: Final = {
    Sight.CLEAR: ("seen clearly", ""),
    Sight.HAZY: ("seen through haze", "as the model tells; it counts as observed"),
    Sight.CLOUDY: ("under cloud", "as the model tells"),
    Sight.NODATA: ("no data", "the scene has no pixels there"),
    Sight.FAILED: ("could not be read", "the causes are below"),
    Sight.STRANGE: ("not understood", "it looks like nothing that the model has learned from"),
}
"""What people call a `Sight`, and what else there is to say."""


def render(page: Page) -> str:
    """Put a page into words and places."""
    template = _environment().get_template("template.html.j2")
    sights = [{"name": _SIGHTS[sight][0], "colour": COLOURS[sight]} for sight in Sight]
    return template.render(
        page=page,
        data={"scenes": [one.data for one in page.scenes], "sights": sights},
        sights=_SIGHTS,
        reviews=REVIEWS,
        Sight=Sight,
        LISTED=LISTED,
        PICTURED=PICTURED,
        styles=[_shipped(f"{_LEAFLET}leaflet.css"), _shipped("style.css")],
        scripts=[_shipped(f"{_LEAFLET}leaflet.js"), _shipped("script.js")],
        licence=_shipped(f"{_LEAFLET}LICENSE.txt"),
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("geoscan", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    environment.filters |= {
        "alarms": alarms_text,
        "card": _card,
        "count": lambda n: f"{n:,}",
        "degrees": _degrees,
        "digest": _digest,
        "number": _number,
        "percent": _percent,
        "readable": readable,
    }
    return environment


@cache
def _shipped(name: str) -> Markup:
    """A file of this package that is trusted as it is; it names no other file."""
    text = (importlib.resources.files("geoscan.report") / name).read_text(encoding="utf-8")
    for named, instead in _OUTSIDE.get(PurePosixPath(name).suffix, ()):
        text = named.sub(instead, text)
    return Markup(text)


def _plain(value: object) -> object:
    """Spell what a browser would obey in place of showing it, such as a mark that turns the direction of writing."""
    return spelt(value, keep="\n") if type(value) is str else value


def _digest(text: str) -> str:
    """Name a script or a style as a Content Security Policy allows it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _number(value: float | None, decimals: int = 2) -> str:
    """A measured number; a dash for none."""
    return "–" if value is None or math.isnan(value) else f"{value:,.{decimals}f}"  # noqa: RUF001


def _percent(share: float | None) -> str:
    """A share, 0..1; what is not all or nothing is not rounded to it."""
    if share is None:
        return "–"  # noqa: RUF001
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    if share < 0.001 or share > 0.999:
        return "less than 0.1 %" if share < 0.001 else "more than 99.9 %"
    return f"{100 * share:.1f} %"


def _degrees(latitude: float, longitude: float) -> str:
    """A place as people write it, to some 10 m."""
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.4f}° {north}, {abs(longitude):.4f}° {east}"


def _card(card: Card) -> Markup:
    """A model's card; its headings are those of a part of a page."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    tokens: Sequence[Token] = markdown.parse(card_markdown(card))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 2, 6)}"
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))
