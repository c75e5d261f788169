"""The Python API: what `import geoscan` hands out."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from geoscan import changes, layers
from geoscan.arrays import Mask, to_visual
from geoscan.dark_channel import OMEGA
from geoscan.dehazed_scene import DehazedScene, dehaze_scene, overview, picture
from geoscan.dehazing import restored, transmission_map
from geoscan.errors import InputError, one_line
from geoscan.grid import TileGrid as TileGrid
from geoscan.grid import Window as Window
from geoscan.layers import earlier
from geoscan.machine import AUTO, BATCH
from geoscan.model.card import Card
from geoscan.model.figures import DEFAULT_POINT
from geoscan.model.package import Package
from geoscan.model.runtime import runtime_for
from geoscan.model.shipped import find
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

_SCENE: Final = "give a path, a URL, or a scene from `open_scene`"


def open_scene(path: PathLike, bands: Sequence[int] | None = None, *, follow: bool = False) -> Scene:
    """Open a scene: a file, a URL, or any name that GDAL opens.

    bands: numbers of red, green and blue, from 1; the file tells if None. follow: read what a file on this machine
    names on a network, and what a file on a network names anywhere, too.
    Returns a `Scene` with `rows`, `cols`, `gsd` (two numbers, metres per pixel along a row and along a column), `crs`,
    `transform`, and `read(Window(row, col, rows, cols))`, which gives pixels, (3, rows, cols) in the file's own values,
    and where they are not nodata, (rows, cols).
    Raises SceneError for what cannot be scanned, InputError for what is no path.
    """
    _check_path(path, "a scene", "give a path or a URL")
    return Scene.open(path, bands=_bands(bands), follow=follow)


def scan(
    scenes: SceneLike | Iterable[SceneLike],
    *,
    model: PathLike | Model = "auto",
    bands: Sequence[int] | None = None,
    stride: int | None = None,
    scale: Iterable[float] | None = None,
    offset: Iterable[float] | None = None,
    stretch: str | None = "auto",
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

    Options that are None are as the scene or the model's card says.

    scenes: one or several of: a path or URL, a directory of rasters, a scene from `open_scene`, which has its bands and
    `follow` already.
    model: a shipped model, the directory of a package, what `load_model` gives, or `auto`: the shipped one that fits
    each scene's resolution.

    bands: numbers of red, green and blue, from 1. scale, offset: a number each for red, green and blue; reflectance is
    value * scale + offset. stretch: how values become the look that the model knows: auto, visual, reflectance,
    sentinel2-l1c, sentinel2-tci, planet-analytic or percentile:LOW,HIGH. force: scan what looks like nothing that the
    model has learned from, too. follow: as in `open_scene`.

    stride: pixels from chip to chip; a whole chip if None, less lets them overlap. tta: average the scores of the 8
    rotations and mirror images of a chip.
    operate: operating point in the model's card: `sensitive`, `balanced` or `strict`. In place of its thresholds, 0..1:
    high: score that a detection's best chip must reach. low: score at which neighbouring chips join a detection.
    isolated: score that a chip without neighbours must reach.
    outline: what outlines are of: `chip`, whole chips, or `activation`, the parts of them that speak for a mine.
    prior: fraction of the scene's chips that show a mine, for probabilities, above 0 and below 1.
    since: an earlier layer; what became of its mines is in `status`, and those that are absent now are rows, too.

    These change no result: batch: chips that are scored at once. runtime: what computes scores, `openvino`,
    `tensorflow` or `auto`. jobs: threads that read and dehaze; all cores if None, 0 works in this thread alone.
    scheduler: address of a dask cluster, such as tcp://10.0.0.5:8786. progress: show a bar.

    Returns a row a detection in EPSG:4326, with the attributes of the layer (`layers.ATTRIBUTES`). The figures of the
    scan, as `geoscan --json` prints them, are in `.attrs["geoscan"]`.
    Warns of chips that could not be read, for there is no detection in them, and of scenes that were written meanwhile.
    Raises InputError for what cannot be scanned.
    """
    if not isinstance(tta, bool | None):
        raise InputError(f"tta {tta!r} does not fit; give True, False, or None for what the model's card says")
    threads = _jobs(jobs)
    if not isinstance(model, Model):
        _check_path(
            model, "a model", "give the name of a shipped one, the directory of a package, or what load_model gives"
        )
    each = _each(scenes)
    if any(isinstance(scene, Scene) for scene in each):
        _refuse("a scene that is open", {"bands": bands, "follow": follow or None})
    options = ScanOptions(
        model=model._package if isinstance(model, Model) else model,
        bands=_bands(bands),
        stride=_whole("stride", stride),
        scale=_levels("scale", scale),
        offset=_levels("offset", offset),
        stretch=_stretch(stretch),
        operate=operate,
        high=_number("high", high),
        low=_number("low", low),
        isolated=_number("isolated", isolated),
        outline=outline,
        prior=_number("prior", prior),
        tta=tta,
        force=force,
        follow=follow,
        batch=_whole("batch", batch),
        runtime=runtime,
    )
    if since is not None:
        _check_path(since, "an earlier layer", "give the path of a file")
    before = None if since is None else earlier.read(Path(since))
    plans, _ = plan_scenes(each, options)
    chips = sum(len(plan.grid) for plan in plans)
    batches = sum(plan.batches for plan in plans)
    with (
        workers(threads, scheduler, batches=batches) as pool,
        tqdm(total=chips, unit="chip", disable=not progress) as bar,
    ):

        def advance(done: int) -> None:
            bar.update(done)

        results = list(scan_scenes(plans, pool, begin=bar.set_description, advance=advance))
    _warn(results)
    found = found_in(results)
    seen = [result.seen for result in results]
    found = changes.dated(found, seen) if before is None else changes.since(found, before.detections, seen)
    frame = layers.frame(found)
    frame.attrs["geoscan"] = total(results, found, compared=before is not None).to_dict()
    return frame


def _each(scenes: object) -> list[SceneLike]:
    """Give one or several scenes as a list; raise InputError for what is none."""
    several = isinstance(scenes, Iterable) and not isinstance(scenes, str | os.PathLike | Scene)
    each: list[Any] = list(scenes) if several else [scenes]  # type: ignore[call-overload]  # mypy forgets that it is
    for scene in each:
        if not isinstance(scene, Scene):
            _check_path(scene, "a scene", _SCENE)
    return each


def _check_path(given: object, what: str, fits: str) -> None:
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"{what} is no {type(given).__name__}; {fits}")


def _whole(name: str, given: int | None) -> int | None:
    """Give a whole number of any type as Python's; raise InputError for another."""
    try:
        return None if given is None else operator.index(given)
    except TypeError as err:
        raise InputError(f"{name} {given!r} does not fit; give a whole number") from err


def _number(name: str, given: float | None) -> float | None:
    """Give a number of any type as Python's; raise InputError for what is none."""
    try:
        return given if isinstance(given, int | float | None) else float(given)
    except (TypeError, ValueError) as err:
        raise InputError(f"{name} {given!r} does not fit; give a number") from err


def _jobs(jobs: int | None) -> int | None:
    threads = _whole("jobs", jobs)
    if threads is not None and threads < 0:
        raise InputError(f"jobs {jobs} does not fit; give 0 or more, or None for all cores")
    return threads


def _stretch(given: str | None) -> str:
    if not isinstance(given, str | None):
        raise InputError(f"stretch {given!r} does not fit; give a name, such as 'visual', or 'auto'")
    return "auto" if given is None else given


def _bands(given: Sequence[int] | None) -> tuple[int, int, int] | None:
    if given is None:
        return None
    try:
        red, green, blue = map(operator.index, given)
    except (TypeError, ValueError) as err:
        raise InputError(f"bands {given!r} do not fit; give the numbers of red, green and blue, from 1") from err
    return red, green, blue


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
    stretch: str | None = "auto",
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
    stretch: str | None = "auto",
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

    An array comes back in its own shape and type. valid: (rows, cols), False, 0 or NaN on nodata, which comes back
    unchanged; None for all, but pixels that are not finite. What a masked array masks in any band is nodata, too.
    A scene is written to `out`, a GeoTIFF on the scene's grid; returns what was written. bands, scale, offset, stretch,
    follow, jobs: as in `scan`; one that is open already has its bands and `follow`.
    Raises InputError for what does not fit; for a scene ReadError and OutputError, too.
    """
    of_file = {"bands": bands, "follow": follow or None}
    of_scene = {"out": out, **of_file, "scale": scale, "offset": offset, "jobs": jobs}
    side, found = _whole("window", window), _number("omega", omega)
    share = OMEGA if found is None else found
    if isinstance(what, np.ndarray):
        _refuse("an array", {**of_scene, "stretch": None if stretch == "auto" else stretch})
        return _dehazed(what, valid, airlight, share, _WINDOW if side is None else side)
    if not isinstance(what, Scene):
        _check_path(what, "what is dehazed", "give a NumPy array, (3, rows, cols), or a path or `open_scene`'s scene")
    _refuse("a scene", {"valid": valid, "window": window})
    if out is None:
        raise InputError("a whole scene is written to a file; pass out='dehazed.tif'")
    _check_path(out, "what is written", "give the path of a GeoTIFF")
    threads = _jobs(jobs)
    if isinstance(what, Scene):
        _refuse("a scene that is open", of_file)
        scene = what
    else:
        scene = Scene.open(what, bands=_bands(bands), follow=follow)
    scaling = scaling_of(scene, _levels("scale", scale), _levels("offset", offset))
    radiometry = resolve(_stretch(stretch), scene, scaling)
    params = picture(airlight, share, lambda: overview(scene, radiometry))
    track = partial(tqdm, unit="block", disable=not progress)
    return dehaze_scene(scene, radiometry, params, out, jobs=threads, track=track)


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
    """Bring a mask of any type and values to True where it is neither 0 nor NaN, nor masked itself."""
    try:
        mask = np.asarray(np.ma.filled(valid, 0))
    except ValueError as err:  # lists of different lengths
        raise InputError(f"`valid` is no array ({one_line(err)}); give a mask of shape {shape}") from err
    if mask.shape != shape:
        raise InputError(f"a mask of shape {mask.shape} does not fit; give one of shape {shape}, as the pixels have")
    real: Mask = mask != 0
    return real & ~np.isnan(mask) if mask.dtype.kind == "f" else real


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

    @property
    def path(self) -> Path:
        """The directory of its package, absolute."""
        return self._package.path

    def predict(
        self, chips: Iterable[NDArray[np.generic]] | NDArray[np.generic], *, runtime: str = AUTO
    ) -> pd.DataFrame:
        """Score chips as a scan does: prepared, and averaged over symmetries, as the model's card says.

        A scan leaves the other labels as they are where mines score next to nothing; here they are averaged, too.

        chips: (n, 3, chip, chip) uint8, or several of (3, chip, chip): red, green, blue, 0..255, of the model's size
        and resolution. What a masked array masks in any band is nodata. runtime: as in `scan`.
        Returns a row a chip, a column a label in the order of the card: float32 scores, 0..1.
        Raises InputError for a chip of another shape or type, or all masked, and a runtime that cannot be used.
        """
        import pandas as pd

        if not isinstance(chips, Iterable):
            raise InputError(f"chips are no {type(chips).__name__}; give (n, 3, chip, chip), uint8")
        chips = list(chips)
        for i, chip in enumerate(chips):
            self._check(i, np.asarray(chip))
        seen = [_seen(chip) for chip in chips]
        for i, valid in enumerate(seen):
            if valid is not None and not valid.any():
                raise InputError(f"chip {i} is masked everywhere; leave it out")
        make = detector_of(self._package, self.card.tta, BATCH, runtime_for(self._package, runtime))
        parts = [np.empty((0, len(self.card.labels)), np.float32)]
        for start in range(0, len(chips), BATCH):
            batch = range(start, min(start + BATCH, len(chips)))
            prepared = [self.card.preprocess(np.asarray(chips[i]), seen[i]) for i in batch]
            parts.append(score(make, np.stack(prepared)))
        return pd.DataFrame(np.concatenate(parts), columns=list(self.card.labels))

    def _check(self, i: int, chip: NDArray[np.generic]) -> None:
        wanted = (3, self.card.spec.chip, self.card.spec.chip)
        if chip.shape != wanted or chip.dtype != np.uint8:
            raise InputError(
                f"chip {i} has shape {chip.shape} and type {chip.dtype}; {self.card.name} takes {wanted}, uint8, "
                f"at {self.card.preprocess.gsd:g} m per pixel"
            )


def _seen(chip: NDArray[np.generic]) -> Mask | None:
    """(rows, cols): where no band of a masked array, (3, rows, cols), is masked; None for another: everywhere."""
    return np.asarray(~np.ma.getmaskarray(chip).any(axis=0)) if isinstance(chip, np.ma.MaskedArray) else None


def load_model(name: PathLike) -> Model:
    """Open a shipped model by its name (`geoscan models` lists them), or a package by its directory.

    Raises PackageError when there is none, or it is damaged, InputError for what is no name.
    """
    _check_path(name, "a model", "give the name of a shipped one, or the directory of a package")
    package = find(os.fspath(name))
    return Model(replace(package, path=package.path.absolute()))
