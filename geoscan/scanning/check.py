"""What a scene is and how it will be read, without a model's network."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import rasterio

from geoscan import gdal
from geoscan.arrays import Visual
from geoscan.errors import GeoscanError, LookError, ReadError
from geoscan.finding import find_scenes
from geoscan.model.package import Package
from geoscan.model.shipped import choose, shipped
from geoscan.products.tiles import each_once
from geoscan.resolution import is_native, is_usable
from geoscan.scanning.batch import prepare
from geoscan.scanning.cost import Cost, cost_of
from geoscan.scanning.guard import doubt_of, look_before
from geoscan.scanning.options import DEFAULT, ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

log = logging.getLogger(__name__)

_MEASURED: Final = 24
"""Chips that are read and prepared to measure how long it takes."""

_SECONDS: Final = 1.5
"""No longer than this, whatever the scene."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A shipped model beside a scene."""

    model: str
    gsd: float
    reading: str
    """`as it is`, `resampled` or `refused`."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a scene is and how a scan will read it; the fields are the keys of `geoscan check --json`."""

    scene: str
    crs: str
    rows: int
    cols: int
    gsd: tuple[float, float]
    """Metres per pixel, along a row and along a column."""

    dtype: str
    layout: str
    nodata: tuple[float | None, ...]
    models: tuple[Fit, ...]
    model: str
    """The one that a scan takes."""

    reading: dict[str, str]
    """See `Plan.reading`."""

    chips: int
    observed_share: float
    """Of the chips that were looked at, the share of pixels that are no nodata."""

    failed: int
    """Of the chips that were looked at, how many could not be read."""

    cost: Cost
    """What the scan will take on this machine."""

    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "cost": {**asdict(self.cost), "seconds": self.cost.seconds}}


def find_each_once(named: Sequence[str]) -> list[str]:
    """Addresses of the scenes that are named, see `find_scenes`, but for what a scan passes over, see `each_once`."""
    found = find_scenes(named)
    kept = each_once(found) if len(found) > 1 else found
    for address in found:
        if address not in kept:
            log.info("%s shows what another of the scenes shows: it is not told of twice", gdal.short_name(address))
    return kept


def check(
    scene: Scene,
    options: ScanOptions = DEFAULT,
    package: Package | None = None,
    packages: Sequence[Package] | None = None,
) -> tuple[Check, list[Visual]]:
    """Plan the scan of a scene, look at some of its chips, and say what will be taken for granted.

    package: the model; the shipped one that fits best if None. packages: those that are shipped, where they are open.
    Returns what was found, and the chips that were looked at as the model would see them, (3, rows, cols) each.
    Raises what planning a scan raises: SceneError, RadiometryError, ReadError and others.
    """
    packages = shipped() if packages is None else packages
    plan = Plan.of(scene, package or choose(packages, scene.gsd), options)
    chosen = np.unique(np.linspace(0, len(plan.grid) - 1, _MEASURED).round().astype(int)).tolist()
    started, done, chips = time.perf_counter(), 0, []
    failed: list[str] = []
    observed = np.zeros(2)
    for index in np.random.default_rng(0).permutation(chosen).tolist():
        batch = prepare(replace(plan, force=True), [index])
        done += 1
        core = plan.grid[index].core
        observed += batch.observed.get(index, 0), core.rows * core.cols
        chips += [chip.transpose(2, 0, 1) for chip in batch.chips]
        failed += batch.failed.values()
        if time.perf_counter() - started > _SECONDS:
            break
    cost = cost_of(plan, scene, (time.perf_counter() - started) / done)
    found = Check(
        scene=plan.name,
        crs=_crs(scene),
        rows=scene.rows,
        cols=scene.cols,
        gsd=(round(scene.gsd[0], 4), round(scene.gsd[1], 4)),
        dtype=scene.dtype,
        layout=_layout(scene),
        nodata=scene.masking.nodata,
        models=tuple(_fit(one, scene) for one in packages),
        model=plan.package.card.name,
        reading=plan.reading,
        chips=len(plan.grid),
        observed_share=round(float(observed[0] / observed[1]), 4),
        failed=len(failed),
        cost=cost,
        warnings=tuple(dict.fromkeys([*failed, *_doubts(plan, chips, len(failed), done)])),
    )
    return found, chips


def _crs(scene: Scene) -> str:
    return scene.crs.to_string() if scene.crs.to_epsg() else f"{scene.crs.to_wkt()[:60]}..."


def _fit(package: Package, scene: Scene) -> Fit:
    gsd = package.card.preprocess.gsd
    native = all(is_native(side, gsd) for side in scene.gsd)
    usable = all(is_usable(side, gsd) for side in scene.gsd)
    return Fit(package.card.name, gsd, "as it is" if native else "resampled" if usable else "refused")


def _layout(scene: Scene) -> str:
    """How the pixels lie in the file: what decides how fast windows of it are read."""
    try:
        with scene.settings(), rasterio.open(scene.address) as source:
            rows, cols = source.block_shapes[0]
            kind = "strips" if cols == source.width else "tiles"
            overviews = "overviews" if source.overviews(1) else "no overviews"
            return f"{source.driver}, {kind} of {cols} x {rows} px, {source.count} bands, {overviews}"
    except gdal.FAILURES as error:
        raise ReadError(f"{scene.name} cannot be read: {gdal.cause(error)}") from error


def _doubts(plan: Plan, chips: Sequence[Visual], failed: int, looked: int) -> list[str]:
    """What may be wrong, each with what answers it.

    chips: what was seen. failed: how many chips could not be read, of those that were looked at.
    """
    doubts = []
    try:
        look_before(plan, quiet=True)
    except LookError as err:
        doubts.append(str(err))
    if plan.scaling is not None and plan.scaling.source == "pixels":
        doubts.append(
            "nothing says how values become reflectance; the pixels were asked: --scale and --offset override"
        )
    if plan.scaling is not None and plan.scaling.source == "band names":
        doubts.append(
            "nothing but what the bands are called says how values become reflectance: --scale and --offset override"
        )
    if plan.radiometry.name.startswith("percentile"):
        doubts.append(
            "the values are stretched by percentiles, which the model was not trained on: try --scale, --offset"
        )
    if not plan.scene.product.kind and max(plan.scene.bands) > 3:
        doubts.append(f"of several bands {plan.reading['bands']} are taken: --bands R,G,B overrides")
    if failed:
        doubts.append(f"{failed} of the {looked} chips that were looked at could not be read; fetch the file again")
    if failed == looked:
        return doubts  # of data and of levels nothing is known
    if not chips:
        doubts.append(f"no {'other ' if failed else ''}chip that was looked at has data")
    elif doubt := doubt_of(chips):
        doubts.append(doubt)
    return doubts


def reason(error: GeoscanError) -> str:
    """Say in one line why a scene cannot be scanned."""
    return " ".join(str(error).split())
