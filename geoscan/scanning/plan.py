"""One scene, and everything that decides what a scan finds in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from geoscan.errors import PackageError
from geoscan.grid import TileGrid
from geoscan.machine import Runtime, batch_of
from geoscan.model.figures import CUSTOM
from geoscan.model.package import Package
from geoscan.model.runtime import runtime_for
from geoscan.outlines import ACTIVATION, CHIP
from geoscan.polygons import Hysteresis
from geoscan.products import Scaling
from geoscan.radiometry import Radiometry, resolve, suited
from geoscan.scaling import described, scaling_of
from geoscan.scanning.options import DEFAULT, ScanOptions
from geoscan.scene import Scene

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """One scene, and everything that decides what a scan finds in it.

    Plain values, so that it travels to other processes. `scene`, `package`, `grid`, `radiometry`, `tta` and
    `runtime` decide the scores; `thresholds` and `prior` what detections are made of them.
    """

    name: str
    """What the scene is called in messages and layers."""

    scene: Scene
    """On the grid that is scanned: its own, or one of the model's resolution."""

    package: Package
    grid: TileGrid
    scaling: Scaling | None
    """How values become reflectance; None where they are taken as they are."""

    radiometry: Radiometry
    tta: bool
    """Whether scores are means over symmetries (test-time augmentation), see `Averaged`."""

    thresholds: Hysteresis
    operate: str
    """Operating point in the model's card that the thresholds are of; `custom` where one of them was asked for."""

    prior: float | None
    """Fraction of the chips assumed to show a mine, 0..1; None for a model that was not calibrated."""

    force: bool
    """Whether chips that look like nothing the model knows are scored all the same."""

    batch: int
    """Chips that are scored at once; changes no result."""

    runtime: Runtime
    """What computes the scores, on this machine or on all workers of a cluster; they differ by less than 1e-3."""

    outline: str = CHIP
    """What outlines are of, one of `OUTLINES`."""

    @classmethod
    def of(cls, scene: Scene, package: Package, options: ScanOptions = DEFAULT, name: str | None = None) -> Plan:
        """Bring a scene to a model's resolution, take its statistics, and fill in from the card what is not asked for.

        options: `model` and `bands` are taken from `package` and `scene`. name: the last part of the scene's address if
        None.
        Raises PackageError where the card lacks the operating point, or the package what the runtime needs; SceneError
        (ResolutionError where another model may fit), GridError, RadiometryError or InputError for what does not fit;
        ReadError when the scene cannot be read.
        """
        card = package.card
        preprocess, calibration = card.preprocess, card.calibration
        own = card.point(options.operate)
        thresholds = options.thresholds(own)
        native, scene = scene, scene.at_gsd(preprocess.gsd)
        if scene.resampling:
            log.info("%s is resampled to the model's %g m (%s)", scene.name, preprocess.gsd, scene.resampling)
        stride = preprocess.chip if options.stride is None else options.stride
        grid = TileGrid(scene.rows, scene.cols, preprocess.chip, stride)
        # Statistics are those of the file's own pixels, so that they are the same for every model.
        scaling = scaling_of(native, options.scale, options.offset)
        runtime = runtime_for(package, options.runtime)
        stretch = suited(preprocess.radiometry, native, scaling) if options.stretch == "auto" else options.stretch
        return cls(
            name=name or scene.name,
            scene=scene,
            package=package,
            grid=grid,
            scaling=scaling,
            radiometry=resolve(stretch, native, scaling),
            tta=card.averages(options.tta),
            thresholds=thresholds,
            operate=options.operate if thresholds == own else CUSTOM,
            prior=None if calibration.seen_prior is None else options.prior or calibration.ground_prior,
            force=options.force,
            batch=options.batch or batch_of(preprocess.chip, runtime),
            runtime=runtime,
            outline=_outline(package, options.outline),
        )

    @property
    def batches(self) -> int:
        """Number of batches, at most: what the file says is empty is in none."""
        return -(-len(self.grid) // self.batch)

    @property
    def ground_m2(self) -> float:
        """Area on the ground, in square metres."""
        across, down = self.scene.gsd
        return self.grid.rows * self.grid.cols * across * down

    @property
    def reading(self) -> dict[str, str]:
        """What was taken for granted about the scene, in words; it goes into layers and figures."""
        product = self.scene.product
        return {
            "product": product.kind or "plain raster",
            "bands": ",".join(map(str, self.scene.bands)),
            "values": described(self.scaling),
            "stretch": self.radiometry.name,
            "mask": product.mask or self.scene.masking.in_words(),
            "date": product.date or "unknown",
        } | ({"forced": "yes"} if self.force else {})

    @property
    def told(self) -> str:
        """The same as one line."""
        took = self.reading
        guard = "" if self.package.card.look else ", whose card has nothing by which a misread scene would be noticed"
        return (
            f"{self.name}: {took['product']}; bands {took['bands']}; {took['values']}, stretch {took['stretch']}; "
            f"mask: {took['mask']}; date {took['date']}; model {self.package.card.name}{guard}"
        )


def _outline(package: Package, asked: str | None) -> str:
    """What outlines are to be of. Raises PackageError where the package cannot give what is asked for."""
    if asked is None:
        # Each place of a DenseNet looks at its own surroundings; those of other networks here look at the whole chip,
        # and outlines by them are no better than chips.
        return ACTIVATION if package.card.spec.family == "densenet" and package.has_evidence else CHIP
    if asked == ACTIVATION and not package.has_evidence:
        raise PackageError(
            f"{package.path} was made without the evidence by place that --outline activation needs; pass --outline "
            "chip, or train the model anew"
        )
    return asked
