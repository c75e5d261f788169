"""The style of a layer or a raster in a file of its name, where QGIS looks for it if the layer itself holds none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from geoscan import files
from geoscan.layers.style import MARK

log = logging.getLogger(__name__)

_HEAD: Final = 1000
"""Bytes in which a style of geoscan's own says so."""


def style_of(layer: Path) -> Path:
    """Name the file in which QGIS looks for a layer's style."""
    return layer.with_suffix(".qml")


def write(layer: Path, style: str) -> None:
    """Write the style of a layer beside it; one that somebody else made is left as it is, and said.

    style: QML with `style.MARK` in its head. Raises OutputError when it cannot be written.
    """
    path = style_of(layer)
    if path.exists() and not _is_ours(path):
        log.warning("%s is no style of geoscan's and stays; move it away for one that fits %s", path, layer.name)
        return
    with files.replacing(path) as part:
        part.write_text(style, encoding="utf-8")


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(_HEAD)
    except OSError:
        return False
