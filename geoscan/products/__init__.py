"""What people download, one module a product: recognised by name and metadata, it gives one raster that GDAL opens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from geoscan import gdal
from geoscan.bands import Bands
from geoscan.errors import SceneError, one_line

Levels: TypeAlias = tuple[float, float, float]
"""One number each for red, green and blue."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How stored values become reflectance: value * scale + offset, 0..1."""

    scale: Levels
    offset: Levels
    source: Literal[
        "option", "metadata", "band names", "pixels", "pixels, against metadata", "assumed, without any pixels"
    ]
    """Who says so."""


@dataclass(frozen=True, slots=True)
class Product:
    """One scene as it is downloaded, whatever number of files it has. Plain values, so that it pickles."""

    address: str
    """What GDAL opens: a path, or the text of a VRT over the product's files. A mask is the VRT's own (`MaskBand`)."""

    name: str
    """As its maker names it, such as S2B_MSIL2A_20230823T095559_N0509_R122_T34UCF_20230823T124759."""

    kind: str = ""
    """For people, such as "Sentinel-2 L2A"; empty for a plain raster."""

    bands: Bands | None = None
    """Numbers of red, green and blue in `address`, from 1; None leaves it to what the raster says of itself."""

    scaling: Scaling | None = None
    """None where metadata says nothing."""

    radiance: bool = False
    """Its values are radiance, whatever they look like: no scaling makes reflectance of them."""

    mask: str = ""
    """Where the mask comes from, for people, such as "scene classification"; empty without one."""

    date: str = ""
    """When it was taken, ISO 8601; empty where nobody says."""

    files: tuple[str, ...] = field(default=())
    """Every file that is read, or belongs to it: none of them is ever written to."""

    unread: tuple[str, ...] = field(default=())
    """Files that belong to it, too, though its pixels do not hang on them: no scenes of their own, never written to."""

    warnings: tuple[str, ...] = field(default=())
    """What people are to know who open it, such as that clouds count as seen; without its name."""

    @property
    def inside(self) -> str:
        """Which part of its files it is, wherever they lie: one of an archive's, or a page; empty for all of them."""
        if self.address.startswith("<"):
            return ""
        inside = self.address
        for file in sorted(self.files, key=len, reverse=True):
            inside = inside.replace(file, "")
        return inside

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", one_line(self.name))  # it goes into messages, layers and pages


def recognise(path: str) -> Product | None:
    """Recognise the product at `path`, a file, a directory or a URL; None for a plain raster.

    Raises SceneError for a product that is damaged, or of a kind that cannot be scanned.
    """
    if not gdal.is_utf8(path):
        return None  # GDAL can open none of its files
    from geoscan.products import earth_engine, planet, sentinel2, stac

    return next((found for room in (sentinel2, planet, stac, earth_engine) if (found := room.recognise(path))), None)


def is_product(path: str) -> bool:
    """Tell whether a product lies at `path`, a damaged one, too."""
    try:
        return recognise(path) is not None
    except SceneError:
        return True
