"""Which scenes a path names: a file, a product, a remote name, or what lies in a directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from geoscan import gdal, inputs, products
from geoscan.errors import SceneError, listed

log = logging.getLogger(__name__)

SUFFIXES: Final = (".tif", ".tiff", ".gtiff", ".vrt", ".jp2", ".img")
"""What `find_scenes` takes from a directory; a file named outright may have any."""

_NOT_TAKEN: Final = (".pix", ".mrf", ".mbtiles", ".ers", ".rst", ".ntf", ".nitf", ".grd", ".j2k", ".jpx")
"""How other rasters end that may be scenes, but are as often something else."""

_WITH_HEADER: Final = (".dat", ".bil", ".bip", ".bsq", ".raw", ".bin", "")
"""How those end that have a header beside them."""

_PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
"""How those end that have a world file beside them; pictures without one are previews."""

_FOLDERS: Final = (".zarr",)
"""How directories end that are one raster."""


def find_scenes(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Addresses of the scenes that `paths` name: files, products and remote names as they are, and what is inside other
    directories, sorted.

    A directory is not searched below its own level; one that is a product is a scene. Each scene comes once, in the
    order given. Warns of other rasters in a directory, which are scenes only where they are named.
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
            taken = {file: _is_scene(file) for file in sorted(Path(given).iterdir())}
        except OSError as error:
            raise SceneError(f"{given} cannot be listed ({error.strerror}); change its permissions") from error
        inside = [str(file) for file, is_scene in taken.items() if is_scene]
        others = listed([file.name for file, is_scene in taken.items() if not is_scene and _may_be_scene(file)])
        if not inside:
            todo = f"name these to scan them: {others}" if others else "give a scene, or a directory with some"
            raise SceneError(f"{given} holds no rasters ({', '.join(SUFFIXES)}) or products; {todo}")
        if others:
            log.warning("passed over in %s: %s; name them to scan them", given, others)
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


def _may_be_scene(file: Path) -> bool:
    """Tell whether what lies in a directory, and is none of its scenes, may be a raster that somebody means."""
    suffix = file.suffix.lower()
    if file.name.startswith(".") or not file.is_file():
        return False
    if suffix in _WITH_HEADER:
        return any(gdal.exists(str(beside)) for beside in (file.with_suffix(".hdr"), Path(f"{file}.hdr")))
    if suffix in _PICTURES:
        endings = (f"{suffix[:2]}{suffix[-1]}w", f"{suffix}w", ".wld")
        return any(gdal.exists(str(file.with_suffix(ending))) for ending in endings)
    return suffix in _NOT_TAKEN
