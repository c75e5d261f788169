"""Which scenes a path names: a file, a product, a remote name, or what lies in a directory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from geoscan import gdal, inputs, products
from geoscan.errors import SceneError

SUFFIXES: Final = (".tif", ".tiff", ".gtiff", ".vrt", ".jp2", ".img")
"""What `find_scenes` takes from a directory; a file named outright may have any."""

_FOLDERS: Final = (".zarr",)
"""How directories end that are one raster."""


def find_scenes(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Addresses of the scenes that `paths` name: files, products and remote names as they are, and what is inside other
    directories, sorted.

    A directory is not searched below its own level; one that is a product is a scene. Each scene comes once, in the
    order given.
    Raises SceneError for a directory without rasters or that cannot be listed, for an empty name, and for a pipe, a
    device or an empty file.
    """
    found: list[str] = []
    for given in (os.fspath(path) for path in paths):
        if not given:
            raise SceneError("an empty name is no scene; give a raster, a product, or a directory with some")
        inputs.check(given)
        if not gdal.exists(given) or not Path(given).is_dir() or _is_raster(given) or products.is_product(given):
            found.append(given)
            continue
        try:
            inside = sorted(str(file) for file in Path(given).iterdir() if _is_scene(file))
        except OSError as error:
            raise SceneError(f"{given} cannot be listed ({error.strerror}); change its permissions") from error
        if not inside:
            raise SceneError(
                f"{given} holds no rasters ({', '.join(SUFFIXES)}) or products; give a scene, or a directory with some"
            )
        found += inside
    unique: dict[str, str] = {}
    for address in found:
        unique.setdefault(gdal.absolute(address), address)
    return list(unique.values())


def _is_raster(folder: str) -> bool:
    """Tell whether a directory is one raster for GDAL."""
    return folder.rstrip("/").lower().endswith(_FOLDERS)


def _is_scene(file: Path) -> bool:
    """Tell whether what lies in a directory is one of its scenes."""
    if file.name.startswith("."):  # macOS leaves "._scene.tif" beside a scene that it copies
        return False
    if not file.is_file():  # a pipe would be waited for
        return file.is_dir() and (_is_raster(str(file)) or products.is_product(str(file)))
    return file.suffix.lower() in SUFFIXES or products.is_product(str(file))
