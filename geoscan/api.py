"""The Python API: what `import geoscan` hands out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from geoscan import changes, layers
from geoscan.arrays import Mask, Visual, to_visual
from geoscan.dehazed_scene import OMEGA, DehazedScene, dehaze_scene, overview, picture
from geoscan.dehazing import restored, transmission_map
from geoscan.errors import InputError, one_line
from geoscan.grid import TileGrid as TileGrid
from geoscan.layers import earlier
from geoscan.machine import AUTO, BATCH
from geoscan.model.figures import DEFAULT_POINT
from geoscan.model.package import Card, Package, find
from geoscan.model.runtime import runtime_for
from geoscan.products import Levels
from geoscan.radiometry import resolve
from geoscan.scaling import scaling_of
from geoscan.scanning.batch import score
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.result import SceneResult, found_in, total
from geoscan.scanning.run import detector_of
from geoscan.scanning.scenes import SceneLike, plan_scenes, scan_scenes
from geoscan.scanning.workers import workers
from geoscan.scene import Scene as Scene

if TYPE_CHECKING:
    import geopandas
    import pandas as pd

PathLike: TypeAlias = str | os.PathLike[str]
Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.floating]
"""(3, rows, cols), red, green, blue: uint8, or floats from 0 to 1."""

_LEAST_WINDOW: Final = 32
_WINDOW: Final = 256


def open_scene(path: PathLike, bands: Sequence[int] | None = None, *, follow: bool = False) -> Scene:
    """Open a scene: a file, a URL, or any name that GDAL opens.

    bands: numbers of red, green and blue, from 1; the file tells if None. follow: as `ScanOptions` has it.
    Returns a `Scene` with `rows`, `cols`, `gsd` (metres per pixel), `crs`, `transform`, and `read(window)`, which gives
    pixels (3, rows, cols) and where they are not nodata (rows, cols).
    Raises SceneError for what cannot be scanned.
    """
    return Scene.open(path, bands=bands, follow=follow)


def scan(
    scenes: SceneLike | Iterable[SceneLike],
    *,
    model: PathLike = "auto",
    bands: tuple[int, int, int] | None = None,
    stride: int | None = None,
    scale: tuple[float, float, float] | None = None,
    offset: tuple[float, float, float] | None = None,
    stretch: str = "auto",
    operate: str = DEFAULT_POINT,
    high: float | None = None,
    low: float | None = None,
    isolated: float | None = None,
    outline: str | None = None,
    prior: float | None = None,
    since: PathLike | None = None,
    tta: bool | None = None,
    force: bool = False,
    follow: bool = False,
    batch: int | None = None,
    runtime: str = AUTO,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> geopandas.GeoDataFrame:
    """Scan scenes for artisanal gold mines, as `geoscan scan` does.

    scenes: one or several of: a path or URL, a directory of rasters, a scene from `open_scene`.
    model: a shipped model, the directory of a package, or `auto`: the shipped one that fits each scene's resolution.
    operate: operating point in the model's card: `sensitive`, `balanced` or `strict`.
    since: an earlier layer; what became of its mines is in `status`, and those that are absent now are rows, too.
    bands, stride, scale, offset, stretch, high, low, isolated, outline, prior, tta, force, follow, batch, runtime: as
    `ScanOptions` has them; None is what the scene or the model's card says.
    jobs: threads that read and dehaze; all cores if None, 0 works in this thread alone. scheduler: address of a dask
    cluster, such as tcp://10.0.0.5:8786.

    Returns a row a detection in EPSG:4326, with the attributes of the layer (`layers.ATTRIBUTES`). The figures of the
    scan, as `geoscan --json` prints them, are in `.attrs["geoscan"]`.
    Warns of chips that could not be read, for there is no detection in them, and of scenes that were written meanwhile.
    Raises InputError for what cannot be scanned.
    """
    if not isinstance(tta, bool | None):
        raise InputError(f"tta {tta!r} does not fit; give True, False, or None for what the model's card says")
    _check_jobs(jobs)
    options = ScanOptions(
        model=model,
        bands=bands,
        stride=stride,
        scale=_levels("scale", scale),
        offset=_levels("offset", offset),
        stretch=stretch,
        operate=operate,
        high=high,
        low=low,
        isolated=isolated,
        outline=outline,
        prior=prior,
        tta=tta,
        force=force,
        follow=follow,
        batch=batch,
        runtime=runtime,
    )
    before = None if since is None else earlier.read(Path(since))
    given = [scenes] if isinstance(scenes, str | os.PathLike | Scene) else scenes
    plans, _ = plan_scenes(given, options)
    chips = sum(len(plan.grid) for plan in plans)
    batches = sum(plan.batches for plan in plans)
    with workers(jobs, scheduler, batches=batches) as pool, tqdm(total=chips, unit="chip", disable=not progress) as bar:

        def advance(done: int) -> None:
            bar.update(done)

        results = list(scan_scenes(plans, pool, begin=bar.set_description, advance=advance))
    _warn(results)
    found = found_in(results)
    if before is not None:
        found = changes.since(found, before.detections, [result.seen for result in results])
    frame = layers.frame(found)
    frame.attrs["geoscan"] = total(results, found, compared=before is not None).to_dict()
    return frame


def _check_jobs(jobs: int | None) -> None:
    if jobs is not None and jobs < 0:
        raise InputError(f"jobs {jobs} does not fit; give 0 or more, or None for all cores")


def _levels(name: str, given: Iterable[float] | None) -> Levels | None:
    if given is None:
        return None
    try:
        red, green, blue = map(float, given)
    except (TypeError, ValueError) as err:
        raise InputError(f"{name} {given!r} does not fit; give a number each for red, green and blue") from err
    return red, green, blue


def _warn(results: Iterable[SceneResult]) -> None:
    for result in results:
        if result.seen.failed:
            n, first = len(result.seen.failed), next(iter(result.seen.failed.values()))
            warnings.warn(f"{n} of {len(result.plan.grid)} chips could not be read, such as: {first}", stacklevel=3)
        if result.changed:
            warnings.warn(
                f"{result.changed} was written during the scan: old and new pixels may be mixed", stacklevel=3
            )


@overload
def dehaze(
    what: NDArray[np.uint8],
    *,
    valid: ArrayLike | None = None,
    airlight: Literal["scene", "fixed"] = "scene",
    omega: float = OMEGA,
    window: int = _WINDOW,
) -> NDArray[np.uint8]: ...
@overload
def dehaze(
    what: NDArray[np.floating],
    *,
    valid: ArrayLike | None = None,
    airlight: Literal["scene", "fixed"] = "scene",
    omega: float = OMEGA,
    window: int = _WINDOW,
) -> NDArray[np.floating]: ...
@overload
def dehaze(
    what: PathLike | Scene,
    out: PathLike,
    *,
    bands: Sequence[int] | None = None,
    scale: Iterable[float] | None = None,
    offset: Iterable[float] | None = None,
    stretch: str = "auto",
    follow: bool = False,
    airlight: Literal["scene", "fixed"] = "scene",
    omega: float = OMEGA,
    jobs: int | None = None,
    progress: bool = True,
) -> DehazedScene: ...
def dehaze(
    what: Pixels | PathLike | Scene,
    out: PathLike | None = None,
    *,
    valid: ArrayLike | None = None,
    bands: Sequence[int] | None = None,
    scale: Iterable[float] | None = None,
    offset: Iterable[float] | None = None,
    stretch: str = "auto",
    follow: bool = False,
    airlight: Literal["scene", "fixed"] = "scene",
    omega: float = OMEGA,
    window: int | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Pixels | DehazedScene:
    """Remove haze from an array, or write a whole scene without haze, as `geoscan dehaze` does.

    what: pixels, (3, rows, cols), red, green, blue, uint8 or floats from 0 to 1; or a scene or its path.
    airlight: colour of the haze: estimated from these pixels (`scene`), or a constant (`fixed`).
    omega: share of the haze to remove, 0..1. window: pixels of an array in which something is taken to be dark, 900 m
    or so, 256 if None; of scenes the resolution is known.

    An array comes back in its own shape and type. valid: (rows, cols), False or 0 on nodata, which comes back
    unchanged; None for all, but pixels that are not finite. What a masked array masks in any band is nodata, too.
    A scene is written to `out`, a GeoTIFF on the scene's grid; returns what was written. bands, scale, offset, stretch,
    follow, jobs: as in `scan`; one that is open already has its bands.
    Raises InputError for what does not fit; for a scene ReadError and OutputError, too.
    """
    of_file = {"bands": bands, "follow": follow or None}
    of_scene = {"out": out, **of_file, "scale": scale, "offset": offset, "jobs": jobs}
    if isinstance(what, np.ndarray):
        _refuse("an array", {**of_scene, "stretch": None if stretch == "auto" else stretch})
        return _dehazed(what, valid, airlight, omega, _WINDOW if window is None else window)
    _refuse("a scene", {"valid": valid, "window": window})
    if out is None:
        raise InputError("a whole scene is written to a file; pass out='dehazed.tif'")
    _check_jobs(jobs)
    if isinstance(what, Scene):
        _refuse("a scene that is open", of_file)
        scene = what
    else:
        scene = Scene.open(what, bands=bands, follow=follow)
    scaling = scaling_of(scene, _levels("scale", scale), _levels("offset", offset))
    radiometry = resolve(stretch, scene, scaling)
    params = picture(airlight, omega, lambda: overview(scene, radiometry))
    track = partial(tqdm, unit="block", disable=not progress)
    return dehaze_scene(scene, radiometry, params, out, jobs=jobs, track=track)


def _refuse(what: str, given: Mapping[str, object]) -> None:
    """Raise InputError where something is given that says nothing of it, rather than pass it over."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"`{name}` does not go with {what}; leave it out")


def _dehazed(
    given: Pixels, valid: ArrayLike | None, airlight: Literal["scene", "fixed"], omega: float, window: int
) -> Pixels:
    pixels = np.asarray(given)  # without the mask of a masked array
    if window < _LEAST_WINDOW:
        raise InputError(f"a window of {window} px does not fit; give {_LEAST_WINDOW} or more")
    whole = pixels.dtype == np.uint8
    if pixels.ndim != 3 or len(pixels) != 3 or not (whole or pixels.dtype.kind == "f"):
        raise InputError(
            f"pixels of shape {pixels.shape} and type {pixels.dtype} do not fit; give (3, rows, cols), uint8 or floats"
        )
    seen: Mask = np.asarray((np.isfinite(pixels) & ~np.ma.getmaskarray(given)).all(axis=0))
    if valid is not None:
        seen &= _mask(valid, seen.shape)
    hazy = pixels.astype(np.float32) / np.float32(255 if whole else 1)
    low, high = (hazy[:, seen].min(), hazy[:, seen].max()) if seen.any() else (0, 1)
    if not 0 <= low <= high <= 1:
        raise InputError(f"floats from {low:g} to {high:g} do not fit; bring them to 0..1, or clip them")
    if not hazy.size:
        return given.copy()
    params = picture(airlight, omega, lambda: (hazy, seen))
    visual = to_visual(np.where(seen, hazy, 0))
    clear = restored(hazy, transmission_map(visual, seen, params, window // 2), params.airlight)
    back = given.copy()
    np.copyto(np.ma.getdata(back), to_visual(clear) if whole else clear.astype(pixels.dtype), where=seen)
    return back


def _mask(valid: ArrayLike, shape: tuple[int, ...]) -> Mask:
    """Bring a mask of any type and values to True where it is not 0."""
    try:
        mask = np.asarray(valid)
    except ValueError as err:  # lists of different lengths
        raise InputError(f"`valid` is no array ({one_line(err)}); give a mask of shape {shape}") from err
    if mask.shape != shape:
        raise InputError(f"a mask of shape {mask.shape} does not fit; give one of shape {shape}, as the pixels have")
    real: Mask = mask != 0
    return real


class Model:
    """A model that scores chips; see `load_model`."""

    def __init__(self, package: Package) -> None:
        self._package = package

    def __repr__(self) -> str:
        card = self.card
        return (
            f"<geoscan model {card.name}: {card.spec.chip} px chips at {card.preprocess.gsd:g} m, "
            f"{len(card.labels)} labels, digest {card.digest[:12]}>"
        )

    @property
    def card(self) -> Card:
        """All that is known of the model: `labels`, `preprocess.chip` (pixels), `preprocess.gsd` (metres), figures."""
        return self._package.card

    def predict(self, chips: Sequence[Visual] | NDArray[np.uint8], *, runtime: str = AUTO) -> pd.DataFrame:
        """Score chips as a scan does: prepared, and averaged over symmetries, as the model's card says.

        A scan leaves the other labels as they are where mines score next to nothing; here they are averaged, too.

        chips: (n, 3, chip, chip) uint8, or a sequence of (3, chip, chip): red, green, blue, 0..255, of the model's size
        and resolution. runtime: see `ScanOptions`.
        Returns a row a chip, a column a label in the order of the card: float32 scores, 0..1.
        Raises InputError for a chip of another shape or type, and a runtime that cannot be used.
        """
        import pandas as pd

        for i, chip in enumerate(chips):
            self._check(i, np.asarray(chip))
        make = detector_of(self._package, self.card.tta, BATCH, runtime_for(self._package, runtime))
        parts = [np.empty((0, len(self.card.labels)), np.float32)]
        for start in range(0, len(chips), BATCH):
            prepared = [self.card.preprocess(np.asarray(chip)) for chip in chips[start : start + BATCH]]
            parts.append(score(make, np.stack(prepared)))
        return pd.DataFrame(np.concatenate(parts), columns=list(self.card.labels))

    def _check(self, i: int, chip: NDArray[np.generic]) -> None:
        wanted = (3, self.card.spec.chip, self.card.spec.chip)
        if chip.shape != wanted or chip.dtype != np.uint8:
            raise InputError(
                f"chip {i} has shape {chip.shape} and type {chip.dtype}; {self.card.name} takes {wanted}, uint8, "
                f"at {self.card.preprocess.gsd:g} m per pixel"
            )


def load_model(name: PathLike) -> Model:
    """Open a shipped model by its name (`geoscan models` lists them), or a package by its directory.

    Raises PackageError when there is none, or it is damaged.
    """
    return Model(find(os.fspath(name)))
