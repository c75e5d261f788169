"""One scene and everything that decides its scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from geoscan.dehazed_scene import scene_airlight
from geoscan.errors import InputError, RadiometryError, ReadError, SceneError
from geoscan.grid import TileGrid
from geoscan.model.package import Package
from geoscan.model.preprocess import Preprocess
from geoscan.radiometry import Radiometry, resolve, suited
from geoscan.scene import Scene

if TYPE_CHECKING:
    pass


log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """One scene and everything that decides its scores; plain values, so that it travels to other processes."""

    scene: Scene
    grid: TileGrid
    radiometry: Radiometry
    preprocess: Preprocess
    airlight: tuple[float, float, float] | None
    """The scene's, where the model's dehazing asks for it."""

    name: str
    """What the scene is called in messages and layers."""

    @classmethod
    def of(
        cls,
        scene: Scene,
        package: Package,
        *,
        stride: int | None = None,
        stretch: str = "auto",
        hint: str = "",
        name: str | None = None,
    ) -> Plan:
        """Bring a scene to a model's resolution, and take its statistics.

        stride: side of a tile's core, in pixels; the whole chip if None. stretch: see `radiometry.resolve`; `auto` is
        what `radiometry.suited` finds for the model. name: the last part of the scene's address if None.
        Raises SceneError, GridError or RadiometryError for what does not fit, ReadError when it cannot be read.
        """
        preprocess = package.card.preprocess
        scene = scene.at_gsd(preprocess.gsd, hint=hint)
        if scene.resampling:
            log.info("%s is resampled to the model's %g m (%s)", scene.name, preprocess.gsd, scene.resampling)
        grid = TileGrid(scene.rows, scene.cols, preprocess.chip, preprocess.chip if stride is None else stride)
        if stretch == "auto":
            stretch = suited(preprocess.radiometry, scene)
        radiometry = resolve(stretch, scene)
        airlight = None
        if preprocess.dehaze is not None and preprocess.dehaze.airlight == "scene":
            red, green, blue = scene_airlight(scene, radiometry, preprocess.dehaze).tolist()
            airlight = (red, green, blue)
        log.debug(
            "%s: %d x %d px at %.3g m, bands %s, stretch %s, model %s",
            scene.name,
            scene.rows,
            scene.cols,
            scene.gsd[0],
            ",".join(map(str, scene.bands)),
            radiometry.name,
            package.card.name,
        )
        return cls(scene, grid, radiometry, preprocess, airlight, name or scene.name)


def each_scene(make: Callable[[str], T], paths: Sequence[tuple[str, bool]]) -> tuple[list[T], int]:
    """Open or plan scenes with `make`; return what it gave, and how many scenes were left out.

    paths: addresses, and whether each was named outright: those that were not, being what a directory happens to
    hold, are left out with a warning when they cannot be scanned.
    Raises what `make` raises for one that was named, InputError when none is left.
    """
    made, left_out = [], 0
    for path, named in paths:
        try:
            made.append(make(path))
        except (SceneError, RadiometryError, ReadError) as err:
            if named:
                raise
            left_out += 1
            log.warning("left out: %s", err)
    if not made:
        raise InputError(f"none of the {left_out} rasters can be scanned; give a scene with red, green and blue bands")
    return made, left_out
