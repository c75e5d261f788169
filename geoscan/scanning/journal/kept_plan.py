"""A plan as a journal holds it: enough to make detections of scores, without the scene's files or the model's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from affine import Affine
from pydantic import ConfigDict, FiniteFloat, TypeAdapter, ValidationError
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError

from geoscan import gdal
from geoscan.bands import Bands
from geoscan.errors import GeoscanError, one_line
from geoscan.grid import TileGrid
from geoscan.ground import check_earth
from geoscan.machine import Runtime
from geoscan.masks import Masking
from geoscan.model.card import Card
from geoscan.model.package import Package
from geoscan.outlines import CHIP
from geoscan.polygons import Hysteresis
from geoscan.products import Product, Scaling
from geoscan.radiometry import Radiometry
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene


@dataclass(frozen=True, slots=True)
class _Kept:
    """The parts of a plan. No path or URL is among them: they may hold secrets, and nothing is to be opened."""

    __pydantic_config__ = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    name: str
    card: Card
    grid: TileGrid
    scaling: Scaling | None
    radiometry: Radiometry
    tta: bool
    thresholds: Hysteresis
    operate: str
    prior: float | None
    force: bool
    batch: int
    runtime: Runtime
    crs: str
    transform: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    gsd: tuple[float, float]
    bands: Bands
    dtype: str
    masking: Masking
    planet: bool
    digest: str
    resampling: str
    kind: str
    mask: str
    date: str
    outline: str = CHIP


_KEPT: Final = TypeAdapter(_Kept)

_OF_PLAN: Final = (
    *("name", "grid", "scaling", "radiometry", "tta", "thresholds"),
    *("operate", "prior", "force", "batch", "runtime", "outline"),
)
_OF_SCENE: Final = ("gsd", "bands", "dtype", "masking", "planet", "digest", "resampling")
"""Fields that go over as they are."""


def to_json(plan: Plan) -> bytes:
    """Write down a plan."""
    scene = plan.scene
    kept = _Kept(
        **{name: getattr(plan, name) for name in _OF_PLAN},
        **{name: getattr(scene, name) for name in _OF_SCENE},
        **{name: getattr(scene.product, name) for name in ("kind", "mask", "date")},
        card=plan.package.card,
        crs=scene.crs.to_wkt(),
        transform=tuple(scene.transform)[:6],
    )
    return _KEPT.dump_json(kept)


def from_json(text: bytes) -> Plan:
    """Undo `to_json`, but that the plan's scene cannot be read, nor its package be loaded.

    Raises ValueError for what is no plan.
    """
    try:
        kept = _KEPT.validate_json(text)
        with gdal.settings(""):  # so that GDAL prints nothing itself
            crs = CRS.from_wkt(kept.crs)
            check_earth(crs, kept.name)
    except ValidationError as err:
        first = err.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from err
    except (GeoscanError, CRSError, ProjError) as err:
        raise ValueError(one_line(err)) from err
    scene = Scene(
        path="",
        product=Product("", kept.name, kept.kind, mask=kept.mask, date=kept.date),
        crs=crs,
        transform=Affine(*kept.transform),
        rows=kept.grid.rows,
        cols=kept.grid.cols,
        vrt="",
        **{name: getattr(kept, name) for name in _OF_SCENE},
    )
    return Plan(scene=scene, package=Package(Path(), kept.card), **{name: getattr(kept, name) for name in _OF_PLAN})
