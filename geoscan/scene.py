"""Open a raster, know where it lies and how large its pixels are, and read windows of it."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.windows
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.vrt import WarpedVRT

from geoscan import bands as band_choice
from geoscan import gdal, ground
from geoscan.arrays import Mask, Native
from geoscan.bands import Bands
from geoscan.errors import ReadError, ResolutionError, SceneError
from geoscan.grid import Window
from geoscan.resolution import is_native, is_usable, usable_range

SUFFIXES: Final = (".tif", ".tiff", ".gtiff", ".vrt", ".jp2", ".img")
"""What `find_scenes` takes from a directory; a file named outright may have any."""

_WIDEST: Final = 20.0
"""Degrees of longitude; 10 from its central meridian, UTM makes lengths 1.5 % too long."""

_WANTED: Final = "give a GeoTIFF or another raster that GDAL reads"

_OPEN_AT_ONCE: Final = 4
"""Datasets that one thread keeps open; a scan reads one scene at a time, a directory a few."""

_TOLERANCE_PX: Final = 0.001
"""Of warping. At GDAL's own 0.125 a pixel depends on the block it is computed in; 0 is refused."""

_PLANET_GSD_M: Final = 6.5
"""Planet's Dove and RapidEye pixels are smaller; four 16-bit bands of Sentinel-2 (10 m) are another product."""


@dataclass(frozen=True)
class Scene:
    """A georeferenced raster of three colour bands: its address, and what it says of itself.

    Plain values without a handle: it pickles, and each thread that reads opens its own dataset.
    """

    path: str
    """Absolute path, URL, or any name that GDAL opens."""

    crs: CRS
    transform: Affine
    """(col, row) of a pixel's corner to (x, y) in `crs`."""

    rows: int
    cols: int
    gsd: tuple[float, float]
    """Metres on the ground per pixel, along a row and along a column, at the centre."""

    bands: Bands
    dtype: str
    count: int
    """Bands in the file."""

    alpha: int
    """Number of the band that masks the scene, 0 when none does."""

    false_alpha: bool
    """A band is tagged alpha though it is none."""

    nodata: tuple[float | None, float | None, float | None]
    """The value that means nodata, of each of `bands`; NaN means it in any scene."""

    planet: bool
    """The bands are those of a Planet analytic product: 16-bit blue, green, red, near infrared."""

    digest: str
    """See `fingerprint`; of the source alone."""

    resampling: str = ""
    """How the pixels get from the file's own grid to this one; empty where this is the file's own."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, bands: Sequence[int] | None = None) -> Scene:
        """Open the scene at `path`: a file, a URL, or any name that GDAL opens.

        bands: numbers of red, green and blue, from 1; without it the file decides.
        A scene placed by ground control points alone is put on a north-up grid (UTM where their CRS is geographic).
        Raises SceneError for what cannot be scanned: missing or no raster, no CRS, no transform, another planet,
        complex values, fewer than three colour bands, or bands whose order is not known.
        """
        address = gdal.absolute(os.fspath(path))
        with gdal.settings(address), _for_opening(address) as source:
            return _describe(source, address, bands)

    @property
    def name(self) -> str:
        """The last part of the path, for messages and attributes."""
        return gdal.short_name(self.path)

    def at_gsd(self, gsd_m: float) -> Scene:
        """Give the scene as a model of `gsd_m` metres per pixel wants it.

        The scene itself when both sides of its pixels are native to the model (see `geoscan.resolution`); otherwise the
        same pixels resampled to a north-up grid of `gsd_m`, in the scene's CRS, or UTM when that is geographic.
        Raises ResolutionError when they are not usable, SceneError when the scene is too wide to be resampled.
        """
        if all(is_native(side, gsd_m) for side in self.gsd):
            return self
        if not all(is_usable(side, gsd_m) for side in self.gsd):
            low, high = usable_range(gsd_m)
            raise ResolutionError(
                f"{self.name} has {_metres(self.gsd)} pixels; the model works at {gsd_m:g} m "
                f"({low:.3g} to {high:.3g} m)"
            )
        if self.false_alpha and not gdal.selects(self.path):
            raise SceneError(
                f"{self.name} must be resampled, which its alpha band, not a mask, forbids; copy it here first"
            )
        width = abs(self.transform.a * self.cols) + abs(self.transform.b * self.rows)
        if self.crs.is_geographic and width > _WIDEST:
            raise SceneError(
                f"{self.name} is {width:.3g} degrees wide and must be resampled in metres, for which a UTM zone serves "
                f"up to {_WIDEST:g}; cut it into parts, or bring it to a projected CRS"
            )
        place = self.transform, self.rows, self.cols
        to = ground.utm_at(self.crs, *place) if self.crs.is_geographic else self.crs
        transform, rows, cols = ground.north_up(self.crs, *place, gsd_m, to)
        # Average neither aliases nor invents; it cannot refine, where bilinear has no cubic's overshoot at cloud edges.
        resampling = Resampling.average if max(self.gsd) < gsd_m else Resampling.bilinear
        gsd = ground.gsd(to, transform, rows, cols)
        return replace(self, crs=to, transform=transform, rows=rows, cols=cols, gsd=gsd, resampling=resampling.name)

    def read(self, window: Window) -> tuple[Native, Mask]:
        """Pixels of `window`, red, green, blue, (3, rows, cols) in the scene's dtype, and where they are real.

        Without resampling they are the file's own values.
        Raises ReadError when the file does not give them.
        """
        place = f"row {window.row}, col {window.col}, {window.rows} x {window.cols} px"
        if min(window.row, window.col) < 0 or min(window.rows, window.cols) < 1:
            raise ReadError(f"{self.name} has no window at {place}")
        if window.row + window.rows > self.rows or window.col + window.cols > self.cols:
            raise ReadError(f"{self.name} has {self.rows} x {self.cols} px and none at {place}")
        part = rasterio.windows.Window(window.col, window.row, window.cols, window.rows)
        try:
            with gdal.settings(self.path):
                return _pixels(_HANDLES.of(self), self, window=part)
        except gdal.FAILURES as error:
            _HANDLES.drop(self)
            raise ReadError(f"{self.name} cannot be read at {place}: {gdal.cause(error)}") from error

    def overview(self, max_side: int = 1024) -> tuple[Native, Mask]:
        """Read the whole scene, decimated so that neither side is longer than `max_side`; as `read` gives it.

        Taken from stored overviews where there are some.
        Raises ReadError when the file does not give them.
        """
        factor = max(1.0, max(self.rows, self.cols) / max_side)
        rows, cols = max(1, round(self.rows / factor)), max(1, round(self.cols / factor))
        small = self.transform @ Affine.scale(self.cols / cols, self.rows / rows)
        try:
            with gdal.settings(self.path):
                if not self.resampling:
                    return _pixels(_HANDLES.of(self), self, out_shape=(rows, cols))
                # Decimating a warped dataset would warp all of it first; a coarse grid is as good and cheap.
                coarse = replace(self, transform=small, rows=rows, cols=cols, resampling=Resampling.nearest.name)
                with ExitStack() as stack:
                    return _pixels(_open(coarse, stack), coarse)
        except gdal.FAILURES as error:
            _HANDLES.drop(self)
            raise ReadError(f"{self.name} cannot be read as a whole: {gdal.cause(error)}") from error

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when the pixels that `read` gives may have changed.

        Made from the grid, the CRS, the bands, and of a local file its size and time of change (and those of its mask
        file); of a remote one, nine small samples. The path is no part of it, so a moved scene stays the same scene.
        """
        own = (self.crs.to_wkt(), *self.transform, self.rows, self.cols, self.bands, self.alpha, self.resampling)
        return hashlib.sha256(repr((own, self.digest)).encode()).hexdigest()[:16]


def find_scenes(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Addresses of the scenes that `paths` name: files and remote names as they are, rasters inside directories sorted.

    A directory is not searched below its own level. Each scene comes once, in the order given.
    Raises SceneError for a directory without rasters or that cannot be listed, and for an empty name.
    """
    found: list[str] = []
    for given in (os.fspath(path) for path in paths):
        if not given:
            raise SceneError(f"an empty name is no scene; {_WANTED}")
        if not gdal.exists(given) or not Path(given).is_dir():
            found.append(given)
            continue
        try:
            inside = sorted(
                str(file)
                for file in Path(given).iterdir()
                # macOS leaves "._scene.tif" beside a scene that it copies.
                if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
            )
        except OSError as error:
            raise SceneError(f"{given} cannot be listed ({error.strerror}); change its permissions") from error
        if not inside:
            raise SceneError(
                f"{given} holds no rasters ({', '.join(SUFFIXES)}); give a scene, or a directory with some"
            )
        found += inside
    unique: dict[str, str] = {}
    for address in found:
        unique.setdefault(gdal.absolute(address), address)
    return list(unique.values())


class _Handles(threading.local):
    """Datasets that this thread has open, the last used last: GDAL's are not to be shared between threads."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[int, str, str], tuple[ExitStack, Any]] = OrderedDict()

    @staticmethod
    def _key(scene: Scene) -> tuple[int, str, str]:
        # The process is part of it: a child that forks while this thread reads must not share its file position. So is
        # the fingerprint: a file that was written anew is another scene.
        return os.getpid(), scene.path, scene.fingerprint()

    def of(self, scene: Scene) -> Any:
        key = self._key(scene)
        if key not in self._open:
            while len(self._open) >= _OPEN_AT_ONCE:
                self._open.popitem(last=False)[1][0].close()
            with ExitStack() as stack:
                dataset = _open(scene, stack)
                self._open[key] = stack.pop_all(), dataset
        self._open.move_to_end(key)
        return self._open[key][1]

    def drop(self, scene: Scene) -> None:
        """Close what is open of `scene`: a dataset that failed once may keep failing (a lost connection does)."""
        entry = self._open.pop(self._key(scene), None)
        if entry is not None:
            entry[0].close()


_HANDLES = _Handles()


def _metres(gsd: tuple[float, float]) -> str:
    sides = [f"{side:.3g}" for side in gsd]
    return f"{sides[0]} m" if sides[0] == sides[1] else f"{sides[0]} x {sides[1]} m"


@contextmanager
def _for_opening(address: str) -> Iterator[Any]:
    """Open the dataset at `address`, or raise SceneError."""
    if not gdal.is_utf8(address):
        raise SceneError(f"{address!a} has a name that is not UTF-8, which GDAL cannot open; rename it")
    if gdal.is_plain(address) and not gdal.exists(address):
        raise SceneError(f"{address} does not exist; {_WANTED}")
    try:
        with warnings.catch_warnings():
            # A scene without georeference is refused below in our own words.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(address)
    except gdal.FAILURES as error:
        why = gdal.cause(error).removeprefix(f"{address}: ")
        shown = address.split("?", 1)[0]  # the rest of a signed URL is secret
        raise SceneError(f"{shown} cannot be opened: {why}; {_WANTED}") from error
    with source:
        yield source


def _describe(source: Any, address: str, asked: Sequence[int] | None) -> Scene:
    name = gdal.short_name(address)
    if not source.count:
        inner = f"; give one of its {len(source.subdatasets)} parts, such as {source.subdatasets[0]}"
        raise SceneError(f"{name} holds no pixels of its own{inner if source.subdatasets else ''}")
    if any("complex" in dtype for dtype in source.dtypes):
        raise SceneError(f"{name} has complex values ({source.dtypes[0]}), as radar has; give an optical scene")
    points_crs = source.gcps[1]
    placed = not _by_points(source)
    crs = source.crs if placed else points_crs
    if crs is None or not crs.to_wkt():
        raise SceneError(f"{name} has no CRS; assign the right one, for example: gdal_edit.py -a_srs EPSG:32721 {name}")
    ground.check_earth(crs, name)
    if placed and source.transform == Affine.identity():
        raise SceneError(f"{name} has a CRS but no transform and no ground control points; georeference it first")
    try:
        table = band_choice.table_of(source)
        bands = band_choice.choose(table, name, asked)
        transform, rows, cols, resampling = source.transform, source.height, source.width, ""
        if not placed:
            resampling = Resampling.bilinear.name
            with _straighten(source, Resampling.bilinear) as straight:
                crs, transform, rows, cols = straight.crs, straight.transform, straight.height, straight.width
        if transform.is_degenerate:
            raise SceneError(f"{name} has a transform that squeezes it to a line; georeference it again")
        gsd = ground.gsd(crs, transform, rows, cols)
        digest = _digest(source, address, bands)
    except gdal.FAILURES as error:
        raise SceneError(f"{name} cannot be read: {gdal.cause(error)}; fetch or make it again") from error
    dtype = str(np.result_type(*(source.dtypes[n - 1] for n in bands)))
    planet = table.planet_like and bands == band_choice.PLANET and max(gsd) < _PLANET_GSD_M
    return Scene(
        address,
        crs,
        transform,
        rows,
        cols,
        gsd,
        bands,
        dtype,
        source.count,
        table.masking_alpha,
        table.false_alpha,
        (source.nodatavals[bands[0] - 1], source.nodatavals[bands[1] - 1], source.nodatavals[bands[2] - 1]),
        planet,
        digest,
        resampling,
    )


def _straighten(source: Any, resampling: Resampling, **how: Any) -> Any:
    """Put what ground control points place on a north-up grid of about its own resolution, that GDAL chooses."""
    points, crs = source.gcps
    first = Affine.translation(points[0].x, points[0].y)
    to = ground.utm_at(crs, first, 0, 0) if crs.is_geographic else crs
    return WarpedVRT(source, src_crs=crs, crs=to, resampling=resampling, tolerance=_TOLERANCE_PX, **how)


def _digest(source: Any, address: str, bands: Bands) -> str:
    # Statistics (.aux.xml) and pyramids (.ovr) that a GIS leaves beside the file do not change its pixels.
    files = [Path(file) for file in source.files if not file.endswith((".aux.xml", ".ovr"))]
    if not gdal.is_remote(address) and files and all(file.is_file() for file in files):
        return repr([(file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)])
    samples = hashlib.sha256()
    for part in gdal.samples(source, bands):
        samples.update(part.tobytes())
    return samples.hexdigest()


def _open(scene: Scene, stack: ExitStack) -> Any:
    """Open a dataset of `scene` on its grid, closed with `stack`."""
    if not scene.resampling:
        return stack.enter_context(rasterio.open(scene.path))
    # Only the bands in use are warped. Above all an "alpha" that is near infrared must not reach the warper, which
    # takes every band tagged so for a mask.
    order = (*scene.bands, scene.alpha) if scene.alpha else scene.bands
    selected = f"vrt://{gdal.vsi_name(scene.path)}?bands={','.join(map(str, order))}"
    source = stack.enter_context(rasterio.open(selected if gdal.selects(scene.path) else scene.path))
    how: dict[str, Any] = {"add_alpha": True}
    if scene.alpha:
        how = {"src_nodata": None, "nodata": None}  # GDAL would rather heed these than the alpha
    elif source.nodata is None and np.issubdtype(np.dtype(scene.dtype), np.floating):
        how["src_nodata"] = np.nan
    resampling = Resampling[scene.resampling]
    if _by_points(source):
        source = stack.enter_context(_straighten(source, resampling, **how))
        if (source.transform, source.height, source.width) == (scene.transform, scene.rows, scene.cols):
            return source
        how = {}  # the mask is a band by now
    grid = {"crs": scene.crs, "transform": scene.transform, "height": scene.rows, "width": scene.cols}
    return stack.enter_context(
        WarpedVRT(source, src_crs=source.crs, resampling=resampling, tolerance=_TOLERANCE_PX, **grid, **how)
    )


def _by_points(source: Any) -> bool:
    return bool(source.gcps[0]) and (source.crs is None or source.transform == Affine.identity())


def _pixels(dataset: Any, scene: Scene, **how: Any) -> tuple[Native, Mask]:
    """Bands and mask of `scene` from its `dataset`; `how` says what part, as rasterio's `read` takes it."""
    bands, alpha = list(scene.bands), scene.alpha
    if scene.resampling:
        bands, alpha = ([1, 2, 3], 4) if gdal.selects(scene.path) else (bands, alpha or scene.count + 1)
    shape = {key: (3, *value) for key, value in how.items() if key == "out_shape"}
    native = dataset.read(bands, out_dtype=scene.dtype, **{**how, **shape})
    valid = np.ones(native.shape[1:], bool)
    if not scene.resampling or scene.alpha:
        # As in GDAL's dataset mask, nodata holds where every band has it: black roofs are 0 in one band or two.
        valid = ~np.logical_and.reduce([_is_nodata(*pair) for pair in zip(native, scene.nodata, strict=True)])
    flags = dataset.mask_flag_enums[bands[0] - 1]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        valid &= dataset.read_masks(bands[0], **how) > 0
    if alpha:
        valid &= dataset.read(alpha, **how) > 0
    if np.issubdtype(native.dtype, np.floating):
        valid &= np.isfinite(native).all(axis=0)
    return native, valid


def _is_nodata(band: Native, nodata: float | None) -> Mask:
    if nodata is None:
        return np.zeros(band.shape, bool)
    with np.errstate(over="ignore"):  # a nodata value too large for float32 is infinite there, as it is in the file
        return np.asarray(band == nodata)
