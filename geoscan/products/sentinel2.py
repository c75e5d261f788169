"""Sentinel-2 products as ESA gives them out: a .SAFE directory or a zip of it, Level-1C or Level-2A.

GDAL's own SENTINEL2 driver is not used: it gives no mask. The JPEG 2000 files are plain rasters, so one VRT over them
gives pixels and mask, and takes the same road from a directory and from a zip.

What is not seen: pixels of the fill value in all three bands, as in any raster; in Level-2A what the scene
classification calls no data, saturated or defective, and cloud of medium or high probability; in Level-1C since
baseline 04.00 what the quality masks call lost, degraded, defective or no data, and opaque cloud, which older Level-1C
has as polygons (GML). Thin cirrus and the shadow of clouds are seen: the ground shows through. Where such a mask was
not downloaded with the bands, a warning says so.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning

from geoscan import gdal
from geoscan.errors import SceneError
from geoscan.masks import UNSEEN_CLASSES
from geoscan.products import Product, Scaling, assembly
from geoscan.products.bundle import Bundle, listed, names_in, zipped

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_METADATA: Final = re.compile(r"(?:MTD_MSI|S2\w_\w{4}_MTD_SAF)(L1C|L2A)\w*\.xml")
_TILE_METADATA: Final = re.compile(r"(?:MTD_TL|S2\w_\w{4}_MTD_L(?:1C|2A)_\w+)\.xml")
_BAND_ALONE: Final = re.compile(
    r"(?:(?:L2A_)?T\d\d[A-Z]{3}_\d{8}T\d{6}|S2\w_\w{4}_MSI_L\w+)_(B\d[\dA])(?:_\d0m)?\.jp2", re.IGNORECASE
)
_ELSEWHERE: Final = re.compile(
    r"(?:/S2\w[^/]*\.SAFE|S2\w_MSI(?:L1C|L2A)_[^/]*\.zip|/(?:MTD_MSI(?:L1C|L2A)|MTD_TL|S2\w_\w{4}_MTD_\w+)\.xml"
    r"|\.SAFE/GRANULE/[^/]+)$",
    re.IGNORECASE,
)
"""How the names of products, their metadata and their granules end."""

_PRODUCT_NAME: Final = re.compile(r"(S2[A-Z]_\w{10,200})\.SAFE")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?")
_BASELINE: Final = re.compile(r"\d\d\.\d\d")

_BANDS: Final = ("B04", "B03", "B02")
_BAND_IDS: Final = ("3", "2", "1")
"""What metadata calls red, green, blue."""

_QUANTIFICATION: Final = {
    "L1C": ("QUANTIFICATION_VALUE",),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
_ADD_OFFSET: Final = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}

_UNSEEN_QUALITY: Final = (3, 4, 5, 6)
"""Bands of MSK_QUALIT: lost and degraded image packets, defective pixels, no data. The others are lost and degraded
ancillary packets, partly corrected crosstalk, and saturation, which leave the ground to be seen."""

_CLOUDS: Final = {"L1C": "cloud mask", "L2A": "scene classification"}
"""What people call that which tells where clouds are."""

_OPAQUE_CLOUD: Final = 1
"""Band of MSK_CLASSI; the others are cirrus and snow."""

_CLOUD_CELL: Final = 6
"""Pixels along a side of the squares that polygons of cloud are made of: 60 m."""

_AGAIN: Final = "download the product again"
_FITS: Final = "geoscan reads Sentinel-2 Level-1C and Level-2A, whole as they are downloaded"


def recognise(path: str) -> Product | None:
    """Recognise a .SAFE directory, its metadata file, one of its granules, or a zip of it.

    Products of several granules in one CRS are laid side by side; one granule can be chosen by its directory.
    Raises SceneError for a product that is damaged or incomplete, of a level that cannot be scanned, with granules in
    several CRSs, for a band's file without its product, and for a product over a network or named inside of a zip.
    """
    name = gdal.vsi_name(path)
    if not name.startswith("/vsi"):
        found = _find(Path(name))
        return _product(*found) if found else None
    if _ELSEWHERE.search(name.split("?", 1)[0].rstrip("/}")):
        what = f"{gdal.short_name(path)} is a Sentinel-2 product or a part of one"
        if gdal.is_remote(path):
            raise SceneError(f"{what} over a network, of which geoscan reads single rasters; fetch the whole product")
        raise SceneError(f"{what} in an archive; give the path of the zip itself, or unpack it")
    return None


# Where the product is


def _find(path: Path) -> tuple[Bundle, str] | None:
    """Find the files of the product at `path`, and the granule that it names, empty for all."""
    if not gdal.exists(str(path)):
        return None
    if path.is_dir():
        return _in_directory(path)
    if _METADATA.fullmatch(path.name) and path.is_file():
        return listed(path.parent), ""
    if _TILE_METADATA.fullmatch(path.name) and path.is_file():
        return _in_directory(path.parent)
    if path.suffix.lower() == ".zip" and path.is_file():
        return _in_zip(path)
    if band := _BAND_ALONE.fullmatch(path.name):
        raise SceneError(f"{path.name} is band {band[1]} of a Sentinel-2 product, alone; give {_whole(path)}")
    return None


def _in_directory(path: Path) -> tuple[Bundle, str] | None:
    if _is_product(path):
        return listed(path), ""
    if path.parent.name == "GRANULE" and _is_product(path.parent.parent):
        return listed(path.parent.parent), path.name
    if path.suffix != ".SAFE" or any(path.glob("*.SAFE")):
        return None
    raise SceneError(f"{path.name} holds no MTD_MSIL1C.xml or MTD_MSIL2A.xml; {_FITS}")


def _is_product(path: Path) -> bool:
    try:
        return any(_METADATA.fullmatch(file.name) for file in path.iterdir())
    except OSError:
        return False


def _in_zip(path: Path) -> tuple[Bundle, str] | None:
    named_so = path.name.startswith("S2")
    names = names_in(path)
    if names is None:
        if not named_so:
            return None
        raise SceneError(f"{path.name} is no zip that can be read; {_AGAIN}")
    places = sorted({name.removesuffix(_last(name)) for name in names if _METADATA.fullmatch(_last(name))})
    if len(places) == 1:
        return zipped(path, names, places[0]), ""
    if places:
        raise SceneError(f"{path.name} holds {len(places)} products; unzip it, and give their directory")
    if not named_so:
        return None
    raise SceneError(f"{path.name} holds no MTD_MSIL1C.xml or MTD_MSIL2A.xml; {_FITS}")


def _last(name: str) -> str:
    return PurePosixPath(name).name


def _whole(band: Path) -> str:
    """Name the product that a band's file lies in."""
    products = (folder for folder in band.absolute().parents if _is_product(folder))
    return str(next(products, "the .SAFE directory or zip that it is of"))


# What its metadata says


def _product(files: Bundle, chosen: str) -> Product:
    metadata = [name for name in files.names if "/" not in name and _METADATA.fullmatch(name)]
    if len(metadata) > 1:
        raise SceneError(f"{files.title} holds {len(metadata)} products ({', '.join(metadata)}); keep one of them")
    match = _METADATA.fullmatch(metadata[0])
    assert match is not None
    level = match[1]
    root = files.xml(metadata[0])
    granules = [_granule(files, level, name, _fill(root)) for name in _chosen(files, chosen)]
    baseline = _matching(_BASELINE, _text(root, "PROCESSING_BASELINE"))
    return Product(
        address=granules[0].address if len(granules) == 1 else _mosaic(files, granules),
        name=chosen or _name(root, files),
        kind=f"Sentinel-2 {level}" + (f", baseline {baseline}" if baseline else ""),
        bands=(1, 2, 3),
        scaling=_scaling(files, level, root),
        mask=granules[0].mask,
        date=_matching(_INSTANT, _text(root, "PRODUCT_START_TIME", "DATATAKE_SENSING_START")),
        files=files.paths,
        warnings=tuple(_missing_masks(granules, level)),
    )


def _text(root: Element, *names: str) -> str:
    """Give the text of the first element of one of `names`, without the spaces around it."""
    for element in chain.from_iterable(root.iterfind(f".//{{*}}{name}") for name in names):
        if text := (element.text or "").strip():
            return text
    return ""


def _matching(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else ""


def _name(root: Element, files: Bundle) -> str:
    # Before the compact naming PRODUCT_URI was the number of an order.
    match = _PRODUCT_NAME.fullmatch(_text(root, "PRODUCT_URI", "PRODUCT_URI_2A"))
    return match[1] if match else files.title.removesuffix(".zip").removesuffix(".SAFE")


def _number(files: Bundle, what: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SceneError(f"{files.title}: its metadata has {text!r} as {what}, where a number belongs; {_AGAIN}")
    return number


def _scaling(files: Bundle, level: str, root: Element) -> Scaling:
    what = _QUANTIFICATION[level][0]
    unit = _number(files, what, _text(root, *_QUANTIFICATION[level]))
    if unit <= 0:
        raise SceneError(f"{files.title}: its metadata has {unit:g} as {what}, which scales nothing; {_AGAIN}")
    said = {one.get("band_id"): one.text or "" for one in root.iterfind(f".//{{*}}{_ADD_OFFSET[level]}")}
    # Absent before baseline 04.00.
    texts = [said.get(band, "") for band in _BAND_IDS] if said else ["0"] * 3
    red, green, blue = (_number(files, _ADD_OFFSET[level], text) / unit for text in texts)
    return Scaling((1 / unit,) * 3, (red, green, blue), "metadata")


def _fill(root: Element) -> int:
    """Give the value of pixels that were not measured."""
    for special in root.iterfind(".//{*}Special_Values"):
        value = _text(special, "SPECIAL_VALUE_INDEX")
        if _text(special, "SPECIAL_VALUE_TEXT") == "NODATA" and value.isdecimal():
            return int(value)
    return 0


# Its granules


@dataclass(frozen=True, slots=True)
class _Granule:
    name: str
    place: assembly.Place
    dtype: str
    mask: str
    """What its mask is made of, for people."""

    sees_clouds: bool
    """It has what tells where clouds are."""

    address: str
    """Text of a VRT."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a JPEG 2000 file says of itself."""

    address: str
    rows: int
    cols: int
    count: int
    dtype: str
    crs: CRS | None
    transform: Affine

    def band(self, number: int = 1) -> assembly.Band:
        return assembly.Band(self.address, number, self.rows, self.cols)


def _chosen(files: Bundle, chosen: str) -> list[str]:
    parts = (PurePosixPath(name).parts for name in files.names)
    granules = sorted({own[1] for own in parts if len(own) > 2 and own[0] == "GRANULE"})
    if chosen:
        granules = [name for name in granules if name == chosen]
    if not granules:
        raise SceneError(f"{files.title} holds no granule, so no image; {_AGAIN}, whole")
    return granules


def _granule(files: Bundle, level: str, name: str, fill: int) -> _Granule:
    images = files.below(f"GRANULE/{name}/IMG_DATA")
    found, metres = _bands_in(images)
    missing = [band for band, file in found.items() if not file]
    if missing:
        raise SceneError(f"{files.title} lacks {', '.join(missing)} at {metres} m in granule {name}; {_AGAIN}, whole")
    headers = [_header(files, file) for file in found.values()]
    first = headers[0]
    if any((one.rows, one.cols, one.dtype, one.count) != (first.rows, first.cols, first.dtype, 1) for one in headers):
        raise SceneError(f"{files.title}: the bands of granule {name} differ in size or type; {_AGAIN}")
    place = _place(files, name, first, metres)
    unmeasured = assembly.hidden_in_all([one.band() for one in headers], fill)
    masks, told = _classified(files, images) if level == "L2A" else _checked(files, name, place)
    return _Granule(
        name=name,
        place=place,
        dtype=first.dtype,
        mask=", ".join([*told, f"fill value {fill}"]),
        sees_clouds=_CLOUDS[level] in told,
        address=assembly.stack(place, [one.band() for one in headers], first.dtype, [unmeasured, *masks]),
    )


def _bands_in(images: Sequence[str]) -> tuple[dict[str, str], int]:
    """Find the files of red, green and blue, empty where one is missing, and the metres of their pixels.

    Those of 10 m, or of 20 m where somebody kept no others of a Level-2A product.
    """
    fine, coarse = ({band: _one(images, rf".*_{band}{end}\.jp2") for band in _BANDS} for end in ("(?:_10m)?", "_20m"))
    return (coarse, 20) if any(coarse.values()) and not any(fine.values()) else (fine, 10)


def _one(names: Iterable[str], pattern: str) -> str:
    """Give the first file whose own name is like `pattern`; empty without one."""
    return next((name for name in names if re.fullmatch(pattern, _last(name), re.IGNORECASE)), "")


def _header(files: Bundle, name: str) -> _Header:
    address = files.address(name)
    try:
        with gdal.settings(address), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # then the metadata says where it lies
            source = rasterio.open(address, driver="JP2OpenJPEG")  # another may be led astray by what is in the file
    except gdal.FAILURES as error:
        why = gdal.cause(error).replace(address, _last(name))
        raise SceneError(f"{files.title}: {_last(name)} cannot be opened ({why}); {_AGAIN}") from error
    with source:
        try:
            gdal.check_blocks(source)
        except SceneError as error:
            raise SceneError(f"{files.title}: {_last(name)}: {error}") from error
        return _Header(
            address, source.height, source.width, source.count, source.dtypes[0], source.crs, source.transform
        )


def _place(files: Bundle, granule: str, header: _Header, metres: int) -> assembly.Place:
    crs, transform = header.crs, header.transform
    if crs is None or transform == Affine.identity():
        crs, transform = _geocoding(files, granule, metres)
    if not transform.is_rectilinear or not transform.a or not transform.e:
        raise SceneError(f"{files.title}: the pixels of granule {granule} have no size or are not north up; {_AGAIN}")
    return assembly.Place(crs, transform, header.rows, header.cols)


def _geocoding(files: Bundle, granule: str, metres: int) -> tuple[CRS, Affine]:
    """Read from the granule's metadata where its pixels of so many metres lie."""
    name = next((name for name in files.below(f"GRANULE/{granule}") if _TILE_METADATA.fullmatch(_last(name))), "")
    if not name:
        raise SceneError(f"{files.title}: neither images nor metadata say where granule {granule} lies; {_AGAIN}")
    root = files.xml(name)
    code = _text(root, "HORIZONTAL_CS_CODE")
    try:
        crs = CRS.from_user_input(code)
    except CRSError as error:
        raise SceneError(f"{files.title}: {_last(name)} has {code!r} where a CRS belongs; {_AGAIN}") from error
    for place in root.iterfind(".//{*}Geoposition"):
        if place.get("resolution") == str(metres):
            left, top, across, down = (_number(files, key, _text(place, key)) for key in ("ULX", "ULY", "XDIM", "YDIM"))
            return crs, Affine(across, 0, left, 0, down, top)
    raise SceneError(f"{files.title}: {_last(name)} has no position for pixels of {metres} m; {_AGAIN}")


def _mosaic(files: Bundle, granules: Sequence[_Granule]) -> str:
    whole = assembly.union([granule.place for granule in granules])
    if whole is None:
        names = ", ".join(granule.name for granule in granules)
        how = "unzip it, and give" if files.archive else "give"
        raise SceneError(
            f"{files.title} has {len(granules)} granules in different CRSs or grids ({names}); {how} the directory of "
            "each, GRANULE/NAME"
        )
    parts = [assembly.Part.on(whole, granule.address, granule.place) for granule in granules]
    return assembly.mosaic(whole, parts, granules[0].dtype)


# Its masks


def _missing_masks(granules: Sequence[_Granule], level: str) -> Iterator[str]:
    for granule in granules:
        if not granule.sees_clouds:
            whose = "it" if len(granules) == 1 else f"its granule {granule.name}"
            yield f"{whose} has no {_CLOUDS[level]}: clouds are not masked"


def _classified(files: Bundle, images: Sequence[str]) -> tuple[list[assembly.Hidden], list[str]]:
    """Give what the scene classification of Level-2A hides, and how people call it."""
    patterns = (rf"(?:.*_)?SCL_(?:.*_)?{metres}m\.jp2" for metres in (20, 60))
    name = next(filter(None, (_one(images, pattern) for pattern in patterns)), "")
    if not name:
        return [], []
    return [assembly.Hidden(_header(files, name).band(), UNSEEN_CLASSES)], [_CLOUDS["L2A"]]


def _checked(files: Bundle, granule: str, place: assembly.Place) -> tuple[list[assembly.Hidden], list[str]]:
    """Give what the quality and cloud masks of Level-1C hide, and how people call them."""
    reports = files.below(f"GRANULE/{granule}/QI_DATA")
    hidden, told = [], []
    if faults := list(_faults(files, reports)):
        hidden.append(assembly.Hidden(assembly.any_of(place, faults), (1,)))
        told.append("quality masks")
    if name := _one(reports, r"MSK_CLASSI_B00\.jp2"):
        hidden.append(assembly.Hidden(_header(files, name).band(_OPAQUE_CLOUD), (1,)))
        told.append(_CLOUDS["L1C"])
    elif name := _one(reports, r".*MSK_CLOUDS_.*\.gml"):
        if clouds := _opaque(files, name):
            hidden.append(assembly.Hidden(assembly.painted(place, clouds, _CLOUD_CELL), (1,)))
        told.append(_CLOUDS["L1C"])
    return hidden, told


def _opaque(files: Bundle, name: str) -> list[shapely.Polygon]:
    """Read the polygons of opaque cloud, in the granule's CRS; none where there is no cloud."""
    found = []
    for feature in files.xml(name).iterfind(".//{*}MaskFeature"):
        if _text(feature, "maskType") in ("", "OPAQUE"):
            found += [_polygon(files, name, one) for one in feature.iterfind(".//{*}Polygon")]
    return found


def _polygon(files: Bundle, name: str, polygon: Element) -> shapely.Polygon:
    outer, *holes = [
        _ring(files, name, ring)
        for side in ("exterior", "interior")
        for ring in polygon.iterfind(f".//{{*}}{side}//{{*}}posList")
    ] or [[]]
    try:
        return shapely.Polygon(outer, holes)
    except ValueError as error:  # less than three corners
        raise SceneError(f"{files.title}: {_last(name)} has a polygon that is none ({error}); {_AGAIN}") from error


def _ring(files: Bundle, name: str, ring: Element) -> list[list[float]]:
    numbers = [_number(files, f"a corner in {_last(name)}", text) for text in (ring.text or "").split()]
    size = 3 if ring.get("srsDimension") == "3" else 2
    return [numbers[at : at + 2] for at in range(0, len(numbers) - size + 1, size)]


def _faults(files: Bundle, reports: Sequence[str]) -> Iterator[assembly.Band]:
    for band in _BANDS:
        if name := _one(reports, rf"MSK_QUALIT_{band}\.jp2"):
            header = _header(files, name)
            if header.count >= max(_UNSEEN_QUALITY):
                yield from (header.band(number) for number in _UNSEEN_QUALITY)
