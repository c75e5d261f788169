"""Open a raster, know where it lies and how large its pixels are, and read windows of it."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import tarfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.windows
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

from geoscan import bands as band_choice
from geoscan import blank, fill, gdal, ground, hints, inputs, products
from geoscan.arrays import Mask, Native
from geoscan.bands import Bands
from geoscan.errors import InputError, MadeHereError, ReadError, ResolutionError, SceneError, one_line
from geoscan.finding import SUFFIXES
from geoscan.grid import TileGrid, Window
from geoscan.handles import HANDLES, damage_in, pixels_of, straighten
from geoscan.masks import Masking, in_words, masked, masking, unheeded
from geoscan.products import Product, Scaling
from geoscan.products.bundle import is_macs, name_in_zip, names_in
from geoscan.resolution import is_native, is_usable, usable_range

log = logging.getLogger(__name__)

_WIDEST: Final = 20.0
"""Degrees of longitude; 10 from its central meridian, UTM makes lengths 1.5 % too long."""

_WANTED: Final = "give a GeoTIFF or another raster that GDAL reads"

_TARS: Final = (".tar", ".tar.gz", ".tgz")

_PARTS: Final = 16
"""From side to side of a scene of which a part cannot be read."""

_PLANET_GSD_M: Final = 6.5
"""Planet's Dove and RapidEye pixels are smaller; four 16-bit bands of Sentinel-2 (10 m) are another product."""


@dataclass(frozen=True)
class Scene:
    """A georeferenced raster of three colour bands: its address, and what it says of itself.

    Plain values without a handle: it pickles, and each thread that reads opens its own dataset.
    """

    path: str
    """Absolute path or URL of a file or a product's directory, or any name that GDAL opens."""

    product: Product
    """What it is, what GDAL opens for it, and what its metadata says."""

    crs: CRS
    transform: Affine
    """(col, row) of a pixel's corner to (x, y) in `crs`."""

    rows: int
    cols: int
    gsd: tuple[float, float]
    """Metres on the ground per pixel, along a row and along a column, at the centre."""

    bands: Bands
    dtype: str
    masking: Masking
    """What hides pixels."""

    vrt: str
    """What is read: the text of a VRT of the three bands, and their mask where something hides pixels."""

    planet: bool
    """The bands are those of a Planet analytic product: 16-bit blue, green, red, near infrared."""

    digest: str
    """See `fingerprint`; of the source alone."""

    stamps: tuple[inputs.Stamp, ...] = ()
    """Of the local files that are read, when the scene was opened."""

    called: tuple[str, ...] = ()
    """What the file calls red, green and blue; empty where it has no name."""

    raw: bool = False
    """One of the three is as a sensor counted it, see `bands.is_raw`."""

    resampling: str = ""
    """How the pixels get from the file's own grid to this one; empty where this is the file's own."""

    follow: bool = False
    """Whether files on this machine may lead to a network."""

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | Product, *, bands: Sequence[int] | None = None, follow: bool = False
    ) -> Scene:
        """Open the scene at `path`: a file, a product's directory, a URL, or any name that GDAL opens; or a product.

        bands: numbers of red, green and blue, from 1; without it the product or the file decides.
        follow: read what a file on this machine names on a network, and what a file on a network names anywhere, too.
        A scene placed by ground control points alone is put on a north-up grid (UTM where their CRS is geographic).
        Raises SceneError for what cannot be scanned: missing or no raster, a damaged product, no CRS, no transform,
        another planet, complex values, fewer than three colour bands, bands whose order is not known, blocks too large
        for memory, or a file that leads where it may not.
        Warns of fill that the file does not declare, see `fill`, and of what GDAL warns of.
        """
        if isinstance(path, Product):
            product, path = path, path.address
        else:
            path = gdal.absolute(os.fspath(path))
            inputs.check(path)
            product = products.recognise(path) or Product(path, gdal.short_name(path))
        with gdal.settings(product.address, follow=follow), _for_opening(path, product, follow) as source:
            return _describe(source, path, product, bands, follow)

    @property
    def name(self) -> str:
        """The product's name, else the last part of the path, for messages and attributes."""
        return self.product.name

    @property
    def address(self) -> str:
        """What GDAL opens: the path, or the text of a VRT."""
        return self.product.address

    def settings(self) -> AbstractContextManager[list[str]]:
        """Hold GDAL's settings for reading it, see `gdal.settings`."""
        return gdal.settings(self.address, follow=self.follow)

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
            todo = f"; average them: {self._averaging(gsd_m)}" if max(self.gsd) <= high else ""
            raise ResolutionError(
                f"{self.name} has {_metres(self.gsd)} pixels; the model works at {gsd_m:g} m "
                f"({low:.3g} to {high:.3g} m){todo}"
            )
        width = abs(self.transform.a * self.cols) + abs(self.transform.b * self.rows)
        if self.crs.is_geographic and width > _WIDEST:
            raise SceneError(
                f"{self.name} is {width:.3g} degrees wide and must be resampled in metres, for which a UTM zone serves "
                f"up to {_WIDEST:g}; cut it into parts, or bring it to a projected CRS"
            )
        place = self.transform, self.rows, self.cols
        to = self.crs
        if self.crs.is_geographic:
            to = ground.utm_at(self.crs, *place)
            try:
                ground.unrolled(self.crs, *place)
            except SceneError as error:
                raise SceneError(f"{self.name} cannot be resampled: {error}") from error
        transform, rows, cols = ground.north_up(self.crs, *place, gsd_m, to)
        # Average neither aliases nor invents; it cannot refine, where bilinear has no cubic's overshoot at cloud edges.
        resampling = Resampling.average if max(self.gsd) < gsd_m else Resampling.bilinear
        gsd = ground.gsd(to, transform, rows, cols)
        return replace(self, crs=to, transform=transform, rows=rows, cols=cols, gsd=gsd, resampling=resampling.name)

    def _averaging(self, gsd_m: float) -> str:
        """Give the command that makes a scene of larger pixels of this one."""
        a, b, _, d, e, _ = self.transform[:6]
        # In the CRS's own units, which need not be metres, and are none on the ground in Mercator's.
        sides = [math.hypot(*side) / metres * gsd_m for side, metres in zip(((a, d), (b, e)), self.gsd, strict=True)]
        to = ""
        if self.crs.is_geographic:
            sides = [gsd_m, gsd_m]
            to = f"-t_srs {ground.utm_at(self.crs, self.transform, self.rows, self.cols).to_string()} "
        return f"gdalwarp {to}-tr {sides[0]:.4g} {sides[1]:.4g} -r average {self.name} coarser.tif"

    def with_bands(self, bands: Bands) -> Scene:
        """Give the same scene with others of its bands as red, green and blue; what hides pixels stays.

        Raises SceneError where the file has no such bands, or cannot be opened again.
        """
        try:
            with self.settings(), rasterio.open(self.address) as source:
                if max(bands) > source.count:
                    raise SceneError(f"{self.name} has {source.count} bands, and none for {bands}")
                vrt = masked(source, self.address, bands, self.dtype, self.masking)
                told = _told(source, band_choice.table_of(source), bands, self.gsd)
                return replace(self, bands=bands, vrt=vrt, **told)
        except gdal.FAILURES as error:
            raise SceneError(f"{self.name} cannot be opened again: {gdal.cause(error)}") from error

    def read(self, window: Window) -> tuple[Native, Mask]:
        """Pixels of `window`, red, green, blue, (3, rows, cols) in the scene's dtype, and where they are real.

        Without resampling they are the file's own values.
        Raises ReadError when the file does not give them, InputError for another kind of window, such as rasterio's.
        """
        if not isinstance(window, Window):
            raise InputError(f"{window!r} is no window of a scene; give geoscan.Window(row, col, rows, cols)")
        place = f"row {window.row}, col {window.col}, {window.rows} x {window.cols} px"
        if min(window.row, window.col) < 0 or min(window.rows, window.cols) < 1:
            raise ReadError(f"{self.name} has no window at {place}")
        if window.row + window.rows > self.rows or window.col + window.cols > self.cols:
            raise ReadError(f"{self.name} has {self.rows} x {self.cols} px and none at {place}")
        part = rasterio.windows.Window(window.col, window.row, window.cols, window.rows)
        return self._read(f"at {place}", window=part)

    def overview(self, max_side: int = 1024) -> tuple[Native, Mask]:
        """Read the whole scene, decimated so that neither side is longer than `max_side`; as `read` gives it.

        Taken from stored overviews where there are some. A part of a local file that cannot be read counts as nodata.
        Raises ReadError when a server does not give it.
        """
        factor = max(1.0, max(self.rows, self.cols) / max_side)
        rows, cols = max(1, round(self.rows / factor)), max(1, round(self.cols / factor))
        coarse = self
        if self.resampling:
            # Decimating a warped dataset would warp all of it first; a coarse grid is as good and cheap.
            small = self.transform @ Affine.scale(self.cols / cols, self.rows / rows)
            coarse = replace(self, transform=small, rows=rows, cols=cols, resampling=Resampling.nearest.name)
        try:
            return coarse._decimated(Window(0, 0, rows, cols), rows, cols)
        except ReadError:
            if gdal.is_remote(self.address):
                raise
        native, valid = np.zeros((3, rows, cols), self.dtype), np.zeros((rows, cols), bool)
        side = -(-max(rows, cols) // _PARTS)
        for tile in TileGrid(rows, cols, side, side):
            with suppress(ReadError):
                native[:, *tile.core.slices], valid[tile.core.slices] = coarse._decimated(tile.core, rows, cols)
        return native, valid

    def _decimated(self, part: Window, rows: int, cols: int) -> tuple[Native, Mask]:
        """Read a part of the scene as it is when all of it is decimated to `rows` x `cols`."""
        down, across = self.rows / rows, self.cols / cols
        window = rasterio.windows.Window(part.col * across, part.row * down, part.cols * across, part.rows * down)
        return self._read("as a whole", window=window, out_shape=(part.rows, part.cols))

    def _read(self, what: str, **how: Any) -> tuple[Native, Mask]:
        """Read pixels and mask; `how` is rasterio's. Raises ReadError for what GDAL does not give, or gives damaged."""
        try:
            with self.settings() as said:
                dataset = HANDLES.of(self)
                said.clear()  # what GDAL says of a file that it opens is no damage
                found = pixels_of(dataset, self, **how)
        except gdal.FAILURES as error:
            HANDLES.drop(self)
            raise ReadError(f"{self.name} cannot be read {what}: {gdal.cause(error)}") from error
        if damage := damage_in(self, said):
            HANDLES.drop(self)  # and with it what GDAL keeps of the damaged blocks, of which it would say nothing more
            raise ReadError(f"{self.name} is damaged {what}: {damage}")
        return found

    def blank(self, grid: TileGrid) -> NDArray[np.bool_]:
        """Tell which tiles hold no data, as far as the file tells without being read, (len(grid),).

        grid: of this scene.
        """
        none = np.zeros(len(grid), bool)
        if gdal.is_remote(self.address) or not self.masking:
            return none
        bands = (*self.bands, *self.masking.bands)
        try:
            with self.settings(), rasterio.open(self.address) as source, rasterio.open(self.vrt) as seen:
                windows = blank.stored(source, bands, bool(self.masking.masks))
                gap = None if windows is None else blank.outside(windows, source.height, source.width)
                if windows is None or gap is None or gdal.by_points(source):
                    return none
                # What is not stored reads alike wherever it is: one pixel tells whether it is hidden.
                if seen.read_masks(1, window=rasterio.windows.Window(gap[1], gap[0], 1, 1)).any():
                    return none
                at = blank.Place(source.crs, source.transform)
        except gdal.FAILURES:
            return none  # reading will tell
        return blank.blank_tiles(windows, at, grid, blank.Place(self.crs, self.transform))

    def changed(self) -> str:
        """Path of the first local file that was written since the scene was opened; empty for none."""
        return inputs.changed(self.stamps)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when the pixels that `read` gives may have changed.

        Made from the grid, the CRS, the bands, nine small samples, and of local files, mask and product's files among
        them, their sizes and times of change. The path is no part of it, so a moved scene stays the same scene.
        """
        own = (self.crs.to_wkt(), *self.transform, self.rows, self.cols, self.bands, self.masking, self.resampling)
        return hashlib.sha256(repr((own, self.digest)).encode()).hexdigest()[:16]


def _metres(gsd: tuple[float, float]) -> str:
    sides = [f"{side:.3g}" for side in gsd]
    return f"{sides[0]} m" if sides[0] == sides[1] else f"{sides[0]} x {sides[1]} m"


def _in_archive(path: str) -> str:
    """Say of a zip or a tar what to give of the rasters that lie in it; empty for anything else."""
    kind, names = "zip", []
    if gdal.is_plain(path) and path.lower().endswith(_TARS):
        kind = "tar"
        with suppress(OSError, EOFError, tarfile.TarError, zlib.error), tarfile.open(path) as archive:
            names = [member.name for member in archive if member.isfile() and not is_macs(member.name)]
    elif gdal.is_plain(path):
        names = names_in(Path(path)) or []
    rasters = [name for name in names if name.lower().endswith(SUFFIXES)]
    if len(rasters) > 1:
        return f"it is a {kind} of {len(rasters)} rasters; unpack it, and give the folder"
    if not rasters:
        return ""
    inside = name_in_zip(path, rasters[0]) if kind == "zip" else f"/vsitar/{path}/{rasters[0]}"
    return f"it is a {kind}; give what lies in it: {inside}"


@contextmanager
def _for_opening(path: str, product: Product, follow: bool) -> Iterator[Any]:
    """Open the dataset of the product at `path`, or raise SceneError."""
    if not gdal.is_utf8(path):
        raise SceneError(f"{path!a} has a name that is not UTF-8, which GDAL cannot open; rename it")
    if product.address == path and gdal.is_plain(path) and not gdal.exists(path):
        raise SceneError(f"{path} does not exist; {_WANTED}")
    try:
        with warnings.catch_warnings():
            # A scene without georeference is refused below in our own words.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with gdal.settings(product.address, follow=follow) as said:
                source = rasterio.open(product.address)
    except gdal.FAILURES as error:
        why = gdal.cause(error).removeprefix(f"{path}: ")
        shown = path.split("?", 1)[0]  # the rest of a signed URL is secret
        raise SceneError(f"{shown} cannot be opened: {why}; {_in_archive(path) or _WANTED}") from error
    for text in dict.fromkeys(said):
        log.warning("%s: GDAL says: %s", product.name, text)
    with source:
        yield source


def _describe(source: Any, path: str, product: Product, asked: Sequence[int] | None, follow: bool) -> Scene:
    name = product.name
    _check_pixels(source, name)
    crs = _crs(source, path, name)
    product = replace(product, files=_files(source, path, product, follow))
    for text in product.warnings:
        log.warning("%s: %s", name, text)
    if not gdal.by_points(source) and source.transform == Affine.identity():
        raise SceneError(f"{name} has a CRS but no transform and no ground control points; georeference it first")
    try:
        table = band_choice.table_of(source)
        bands = band_choice.choose(table, name, product.bands if asked is None else asked)
        crs, transform, rows, cols, resampling = _grid(source, crs, path, name)
        how = _with_fill(source, product, bands, masking(source, bands, table.masking_alpha))
        dtype = _dtype(source, bands)
        if marks := ", ".join(map(one_line, unheeded(source, bands, how))):
            log.warning("%s: nothing is made of %s: what it marks there, such as clouds, counts as seen", name, marks)
        gsd = ground.gsd(crs, transform, rows, cols)
        return Scene(
            path=path,
            product=replace(
                product,
                scaling=product.scaling or _stated(source, bands),
                files=(*product.files, *product.unread),
            ),
            crs=crs,
            transform=transform,
            rows=rows,
            cols=cols,
            gsd=gsd,
            bands=bands,
            dtype=dtype,
            masking=how,
            vrt=masked(source, product.address, bands, dtype, how),
            digest=_digest(source, product),
            stamps=inputs.stamps(product.files),
            resampling=resampling,
            follow=follow,
            **_told(source, table, bands, gsd),
        )
    except gdal.FAILURES as error:
        raise SceneError(f"{name} cannot be read: {gdal.cause(error)}; fetch or make it again") from error


def _told(source: Any, table: band_choice.BandTable, bands: Bands, gsd: tuple[float, float]) -> dict[str, Any]:
    """Give what a scene keeps of what an open dataset says of red, green and blue."""
    return {
        "planet": table.planet_like and bands == band_choice.PLANET and max(gsd) < _PLANET_GSD_M,
        "called": tuple(source.descriptions[n - 1] or "" for n in bands),
        "raw": any(band_choice.is_raw(source, n) for n in bands),
    }


def _dtype(source: Any, bands: Bands) -> str:
    """Name the type that holds the values of all bands of an open dataset."""
    return str(np.result_type(*(source.dtypes[n - 1] for n in bands)))


def _check_pixels(source: Any, name: str) -> None:
    """Raise SceneError for what holds no pixels that can be scanned."""
    if gdal.made_here(source):
        raise MadeHereError(f"{name} is a picture that geoscan made, not a scene; give the scene that it was made of")
    if not source.count:
        parts = source.subdatasets
        raise SceneError(
            f"{name} holds no pixels of its own; give one of its {len(parts)} parts, such as {parts[0]}, or put three "
            f"together: {band_choice.TOGETHER}"
            if parts
            else f"{name} holds no pixels; {_WANTED}"
        )
    if any("complex" in dtype for dtype in source.dtypes):
        raise SceneError(f"{name} has complex values ({source.dtypes[0]}), as radar has; give an optical scene")


def _crs(source: Any, path: str, name: str) -> CRS:
    """Give the CRS of an open dataset, or of its ground control points. Raises SceneError where it has none of Earth's.

    path: of the dataset, as it was given.
    """
    crs = source.gcps[1] if gdal.by_points(source) else source.crs
    if crs is None and source.rpcs is not None and source.transform == Affine.identity():
        raise SceneError(
            f"{name} is placed by RPCs alone, which need the ground's height; orthorectify it first: "
            f"gdalwarp -rpc -to RPC_DEM=dem.tif {name} ortho.tif"
        )
    if crs is None or not crs.to_wkt():
        beside = Path(path).with_suffix(".prj").name
        is_there = gdal.is_plain(path) and gdal.exists(str(Path(path).with_name(beside)))
        raise SceneError(
            f"{name} has no CRS; assign the right one, for example: "
            f"{hints.assign_crs(beside if is_there else 'EPSG:32721', path)} {name}"
        )
    ground.check_earth(crs, name)
    return crs


def _grid(source: Any, crs: CRS, path: str, name: str) -> tuple[CRS, Affine, int, int, str]:
    """Give the grid that an open dataset is read on: CRS, transform, rows, columns; and how it is resampled to it.

    crs: its own, or that of its ground control points. path: as it was given. Raises SceneError where pixels have no
    size. Warns of doubtful places.
    """
    transform, rows, cols, resampling = source.transform, source.height, source.width, ""
    if gdal.by_points(source):
        if wrong := ground.check_points(source.gcps[0], crs, name):
            log.warning("%s: of its ground control points, %s: check it, or leave it out", name, wrong)
        resampling = Resampling.bilinear.name
        with straighten(source, Resampling.bilinear) as straight:
            crs, transform, rows, cols = straight.crs, straight.transform, straight.height, straight.width
    if transform.is_degenerate:
        raise SceneError(f"{name} has a transform that squeezes it to a line; georeference it again")
    if datum := ground.lost_datum(crs, transform, rows, cols):
        log.warning(
            "%s: no way from its datum (%s) to WGS84 is known, so polygons may be off by hundreds of metres; "
            "assign a CRS that says more: %s",
            name,
            one_line(datum),
            hints.assign_crs("", path),
        )
    return crs, transform, rows, cols, resampling


def _files(source: Any, path: str, product: Product, follow: bool) -> tuple[str, ...]:
    """List all files that are read, before any pixel is. Raises SceneError for what may not be read, or is too large.

    A product's VRT is our own, and names the product's files.
    """
    try:
        known = product.address.startswith("<") or (gdal.is_remote(path) and not follow)
        told = [] if known else inputs.parts_of(source)
    except gdal.FAILURES as error:
        why = gdal.cause(error)
        raise SceneError(f"{product.name} names files that cannot be read: {why}; make it again") from error
    files = inputs.behind((*product.files, *inputs.named_in(path)), product.name, told, follow=follow)
    try:
        gdal.check_driver(source, product.address, follow=follow)
        gdal.check_blocks(source)
    except SceneError as error:
        raise SceneError(f"{product.name}: {error}") from error
    return files


def _stated(source: Any, bands: Bands) -> Scaling | None:
    """Scale and offset that the file itself states, as GDAL keeps them; None where it states none."""
    scale, offset = ([float(of[n - 1]) for n in bands] for of in (source.scales, source.offsets))
    if scale == [1.0] * 3 and offset == [0.0] * 3:
        return None
    return Scaling((scale[0], scale[1], scale[2]), (offset[0], offset[1], offset[2]), "metadata")


def _with_fill(source: Any, product: Product, bands: Bands, how: Masking) -> Masking:
    """Add fill that the file does not declare; one that has a mask has said all."""
    if how.says_all:
        return how

    def look(row: int, col: int, side: int) -> fill.Pixels | None:
        return _pixels(source, bands, rasterio.windows.Window(col, row, side, side))

    found = fill.find(look, source.height, source.width, _dtype(source, bands), how.hides)
    if found is None:
        return how
    taken = (
        "is taken for nodata, which the file does not declare"
        if found.sure
        else "looks like nodata that the file does not declare, but ground shows it, too, so it counts as seen"
    )
    values = found.least, found.most
    todo = hints.assign_nodata(found.least, product.address) if found.least == found.most else "nearblack -setmask"
    log.warning(
        "%s: its area of %s in all bands %s; if it is nodata, say so in the file: %s",
        product.name,
        in_words(values),
        taken,
        todo,
    )
    return replace(how, fill=values if found.sure else None)


def _digest(source: Any, product: Product) -> str:
    """Tell a source from others: of local files their sizes and times, and what is read of them; and a few pixels."""
    some = source.indexes[:3]  # whichever are red, green and blue
    if gdal.is_remote(product.address):
        parts: Iterator[NDArray[Any] | None] = gdal.samples(source, some)
        own = ""
    else:
        parts = (_pixels(source, some, window) for window in gdal.sample_windows(source))
        own = repr((sorted((stamp.size, stamp.time_ns) for stamp in inputs.stamps(product.files)), product.inside))
    digest = hashlib.sha256(own.encode(errors="surrogateescape"))
    for part in parts:  # two files of one archive may have one size and one time
        digest.update(b"" if part is None else part.tobytes())
    return digest.hexdigest()


def _pixels(source: Any, bands: Sequence[int], window: rasterio.windows.Window) -> NDArray[Any] | None:
    """Read a window of an open dataset, (bands, rows, cols); None where it cannot be read, which chips will tell."""
    try:
        return gdal.read_bands(source, bands, window)
    except gdal.FAILURES:
        gdal.failed()
        gdal.try_anew()
        return None
