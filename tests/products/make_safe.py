"""Tiny Sentinel-2 products in the layout that ESA gives them out in, old naming and compact, Level-1C and Level-2A."""

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.features
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

SIDE = 192
"""Rows and columns of a granule at 10 m: whole pixels at 20 m and 60 m, too."""

CRS = "EPSG:32721"
CORNER = (399960.0, 9300040.0)

Pixels = NDArray[np.uint16]


@dataclass(frozen=True)
class Safe:
    """What a product is to be like."""

    level: str = "L1C"
    baseline: str = "05.09"
    compact: bool = True
    """Naming since December 2016."""

    unit: str = "10000"
    """Quantification value."""

    offsets: Mapping[str, str] | None = None
    """Of the bands, by their id (B02 is 1); none before baseline 04.00."""

    fill: int = 0
    georeferenced: bool = True
    """Whether the JPEG 2000 files say where they lie, or the metadata alone."""

    crs: Sequence[str] = (CRS,)
    """Of each granule; so are the next four."""

    corners: Sequence[tuple[float, float]] = (CORNER,)
    classes: Sequence[NDArray[np.uint8]] = ()
    """Scene classification, (rows, cols), at 20 m."""

    quality: Sequence[NDArray[np.uint8]] = ()
    """MSK_QUALIT of red, (8, rows, cols), at 10 m."""

    clouds: Sequence[NDArray[np.uint8]] = ()
    """MSK_CLASSI, (3, rows, cols), at 60 m."""

    polygons: Sequence[NDArray[np.uint8]] | None = None
    """Cloud, (rows, cols), at 60 m, as GML: 1 is opaque, 2 cirrus; none where it is empty, and no GML if None."""

    tiles: Sequence[str] = ("T21MXN", "T21MYN")

    @property
    def name(self) -> str:
        number = self.baseline.replace(".", "")
        if self.compact:
            return f"S2A_MSI{self.level}_20230823T140101_N{number}_R067_{self.tiles[0]}_20230823T171545.SAFE"
        return f"S2A_{self.maker}_PRD_MSI{self.level}_PDMC_20160905T104813_R067_V20160905T140712_20160905T140712.SAFE"

    @property
    def maker(self) -> str:
        return "OPER" if self.level == "L1C" else "USER"

    @property
    def metadata(self) -> str:
        if self.compact:
            return f"MTD_MSI{self.level}.xml"
        return self.name.replace("PRD_MSI", "MTD_SAF").replace(".SAFE", ".xml")

    def granule(self, i: int) -> str:
        if self.compact:
            return f"{self.level}_{self.tiles[i]}_A042681_20230823T140101"
        return f"S2A_{self.maker}_MSI_{self.level}_TL_SGS__20160905T073438_A006291_{self.tiles[i]}_N{self.baseline}"

    def image(self, i: int, band: str, metres: int = 10) -> str:
        """Path of a band's file, from the product's directory."""
        folder = f"GRANULE/{self.granule(i)}/IMG_DATA"
        below, end = (f"R{metres}m/", f"_{metres}m") if self.level == "L2A" else ("", "")
        if self.compact:
            first = "L2A_" if self.level == "L2A" and self.baseline < "02.07" else ""
            return f"{folder}/{below}{first}{self.tiles[i]}_20230823T140101_{band}{end}.jp2"
        stem = self.granule(i).removesuffix(f"_N{self.baseline}")
        if band == "SCL":
            return f"{folder}/{stem.replace('_MSI_', '_SCL_')}{end}.jp2"
        return f"{folder}/{below}{stem}_{band}{end}.jp2"


def write_safe(folder: Path, pixels: Sequence[Pixels], safe: Safe) -> Path:
    """Write the product below `folder`; return its directory.

    pixels: red, green and blue of each granule as they are stored, (3, rows, cols).
    """
    root = folder / safe.name
    for name in ("AUX_DATA", "DATASTRIP", "HTML", "rep_info"):
        (root / name).mkdir(parents=True)
    for name in ("manifest.safe", "INSPIRE.xml", "HTML/UserProduct_index.html"):
        (root / name).write_text("<none/>")
    (root / safe.metadata).write_text(_product_xml(safe, len(pixels)), encoding="utf-8")
    for i, granule in enumerate(pixels):
        _write_granule(root, safe, i, granule)
    return root


def zip_safe(root: Path, target: Path, inside: bool = True) -> Path:
    """Zip a product, with or without its directory's name."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root.parent if inside else root))
    return target


def write_jp2(path: Path, pixels: NDArray, metres: int, crs: str | None, corner: tuple[float, float]) -> None:
    """Write pixels, (bands, rows, cols), without loss; without georeference where `crs` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": crs, "transform": Affine(metres, 0, corner[0], 0, -metres, corner[1])} if crs else {}
    options = {"QUALITY": "100", "REVERSIBLE": "YES", **({} if crs else {"GMLJP2": "NO", "GeoJP2": "NO"})}
    count, rows, cols = pixels.shape
    profile = {"driver": "JP2OpenJPEG", "count": count, "height": rows, "width": cols, "dtype": pixels.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, **place, **options) as target:
            target.write(pixels)
    path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)


def _write_granule(root: Path, safe: Safe, i: int, pixels: Pixels) -> None:
    place = (safe.crs[i] if safe.georeferenced else None), safe.corners[i]
    for band, values in zip(("B04", "B03", "B02"), pixels, strict=True):
        write_jp2(root / safe.image(i, band), values[None], 10, *place)
        if safe.level == "L2A":  # the same band in another size, to be left alone
            write_jp2(root / safe.image(i, band, 20), values[None, ::2, ::2] // 2, 20, *place)
    write_jp2(root / safe.image(i, "B08"), pixels[:1] // 3, 10, *place)
    write_jp2(root / safe.image(i, "B8A", 20), pixels[:1, ::2, ::2] // 3, 20, *place)
    write_jp2(root / safe.image(i, "TCI"), (pixels // 40).clip(0, 255).astype(np.uint8), 10, *place)
    if safe.classes:
        write_jp2(root / safe.image(i, "SCL", 20), safe.classes[i][None], 20, *place)
        write_jp2(root / safe.image(i, "SCL", 60), safe.classes[i][None, ::3, ::3] * 0, 60, *place)
    _write_masks(root / f"GRANULE/{safe.granule(i)}/QI_DATA", safe, i)
    name = "MTD_TL.xml"
    if not safe.compact:
        name = safe.granule(i).removesuffix(f"_N{safe.baseline}").replace("_MSI_", "_MTD_") + ".xml"
    (root / f"GRANULE/{safe.granule(i)}" / name).write_text(_tile_xml(safe, i, pixels.shape[1:]), encoding="utf-8")


def _write_masks(folder: Path, safe: Safe, i: int) -> None:
    place = (safe.crs[i] if safe.georeferenced else None), safe.corners[i]
    folder.mkdir()
    if safe.quality:
        for band in ("B02", "B03", "B04", "B09"):  # faults in red alone, and in a band that does not matter
            write_jp2(folder / f"MSK_QUALIT_{band}.jp2", safe.quality[i] * (band in ("B04", "B09")), 10, *place)
    if safe.clouds:
        write_jp2(folder / "MSK_CLASSI_B00.jp2", safe.clouds[i], 60, *place)
    if safe.polygons is not None:
        name = "MSK_CLOUDS_B00.gml"
        if not safe.compact:
            name = f"S2A_OPER_MSK_CLOUDS_SGS__20160905T073438_A006291_{safe.tiles[i]}_B00_MSIL1C.gml"
        (folder / name).write_text(_clouds_gml(safe, i), encoding="utf-8")


def _clouds_gml(safe: Safe, i: int) -> str:
    features = ""
    if safe.polygons:
        clouds, at = safe.polygons[i], Affine(60, 0, safe.corners[i][0], 0, -60, safe.corners[i][1])
        found = rasterio.features.shapes(clouds, mask=clouds > 0, transform=at)
        kinds = [(("OPAQUE" if value == 1 else "CIRRUS"), shape["coordinates"]) for shape, value in found]
        features = "".join(_cloud_gml(f"{kind}.{n}", kind, rings) for n, (kind, rings) in enumerate(kinds))
        features = f"<eop:maskMembers>{features}</eop:maskMembers>"
    envelope = f'<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG:8.7.1:{safe.crs[i][5:]}"/></gml:boundedBy>'
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0" xmlns:gml="http://www.opengis.net/gml/3.2" gml:id="MSK_CLOUDS">
  <gml:name>MSK_CLOUDS pixel mask from B00</gml:name>
  {envelope if safe.polygons else ""}
  {features}
</eop:Mask>
"""


def _cloud_gml(name: str, kind: str, rings: Sequence[Sequence[tuple[float, float]]]) -> str:
    sides = ("exterior", *("interior",) * (len(rings) - 1))
    lines = "".join(
        f'<gml:{side}><gml:LinearRing><gml:posList srsDimension="2">'
        f"{' '.join(f'{x:.0f} {y:.0f}' for x, y in ring)}</gml:posList></gml:LinearRing></gml:{side}>"
        for side, ring in zip(sides, rings, strict=True)
    )
    return (
        f'<eop:MaskFeature gml:id="{name}"><eop:maskType codeSpace="urn:gs2:S2PDGS:maskType">{kind}</eop:maskType>'
        f'<eop:extentOf><gml:Polygon gml:id="{name}_Polygon">{lines}</gml:Polygon></eop:extentOf></eop:MaskFeature>'
    )


def _product_xml(safe: Safe, granules: int) -> str:
    """Write what a product's metadata says, with the names of its level and time."""
    first = safe.level == "L2A" and safe.baseline < "02.07"  # as sen2cor wrote it at first
    own = "L2A_" if first else ""
    number = safe.level[1:]
    # Before the compact naming this was the number of an order.
    uri = f"<PRODUCT_URI>{safe.name if safe.compact else '791_2016-09-05T10_37'}</PRODUCT_URI>"
    if first and safe.compact:
        uri = f"<PRODUCT_URI_1C>{safe.name.replace('2A', '1C')}</PRODUCT_URI_1C>"
        uri += f"<PRODUCT_URI_2A>{safe.name}</PRODUCT_URI_2A>"
    lists = "".join(
        f'<Granule_List><Granule granuleIdentifier="{safe.granule(i)}" imageFormat="JPEG2000">'
        f"<IMAGE_FILE>{safe.image(i, 'B04').removesuffix('.jp2')}</IMAGE_FILE></Granule></Granule_List>"
        for i in range(granules)
    )
    start = "2023-08-23T14:01:01.024Z" if safe.compact else "2016-09-05T14:07:12.026Z"
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{number}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{number}.xsd">
    <n1:General_Info>
        <{own}Product_Info>
            <PRODUCT_START_TIME>{start}</PRODUCT_START_TIME>
            <PRODUCT_STOP_TIME>{start}</PRODUCT_STOP_TIME>
            {uri}
            <PROCESSING_LEVEL>Level-{number}</PROCESSING_LEVEL>
            <PRODUCT_TYPE>S2MSI{number}</PRODUCT_TYPE>
            <PROCESSING_BASELINE>{safe.baseline}</PROCESSING_BASELINE>
            <Datatake datatakeIdentifier="GS2A_20230823T140101_042681_N{safe.baseline}">
                <SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>
                <DATATAKE_SENSING_START>{start}</DATATAKE_SENSING_START>
            </Datatake>
            <{own}Product_Organisation>{lists}</{own}Product_Organisation>
        </{own}Product_Info>
        <{own}Product_Image_Characteristics>
            <Special_Values>
                <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
                <SPECIAL_VALUE_INDEX>{safe.fill}</SPECIAL_VALUE_INDEX>
            </Special_Values>
            <Special_Values>
                <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
                <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
            </Special_Values>
            {_quantification_xml(safe, first)}
            {_offsets_xml(safe)}
            <Reflectance_Conversion><U>0.9766</U></Reflectance_Conversion>
        </{own}Product_Image_Characteristics>
    </n1:General_Info>
</n1:Level-{number}_User_Product>
"""


def _quantification_xml(safe: Safe, first: bool) -> str:
    if safe.level == "L1C":
        return f'<QUANTIFICATION_VALUE unit="none">{safe.unit}</QUANTIFICATION_VALUE>'
    if first:
        return (
            '<L1C_L2A_Quantification_Values_List><L1C_TOA_QUANTIFICATION_VALUE unit="none">10000'
            f'</L1C_TOA_QUANTIFICATION_VALUE><L2A_BOA_QUANTIFICATION_VALUE unit="none">{safe.unit}'
            "</L2A_BOA_QUANTIFICATION_VALUE></L1C_L2A_Quantification_Values_List>"
        )
    return (
        f'<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">{safe.unit}</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
    )


def _offsets_xml(safe: Safe) -> str:
    if safe.offsets is None:
        return ""
    name, many = "RADIO_ADD_OFFSET", "Radiometric_Offset_List"
    if safe.level == "L2A":
        name, many = "BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST"
    each = "".join(f'<{name} band_id="{band}">{value}</{name}>' for band, value in safe.offsets.items())
    return f"<{many}>{each}</{many}>"


def _tile_xml(safe: Safe, i: int, shape: tuple[int, ...]) -> str:
    number, (left, top) = safe.level[1:], safe.corners[i]
    places = "".join(
        f'<Size resolution="{metres}"><NROWS>{shape[0] * 10 // metres}</NROWS><NCOLS>{shape[1] * 10 // metres}</NCOLS>'
        f'</Size><Geoposition resolution="{metres}"><ULX>{left:.0f}</ULX><ULY>{top:.0f}</ULY><XDIM>{metres}</XDIM>'
        f"<YDIM>-{metres}</YDIM></Geoposition>"
        for metres in (60, 20, 10)
    )
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{number}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{number}_Tile_Metadata.xsd">
    <n1:General_Info><TILE_ID metadataLevel="Brief">{safe.granule(i)}</TILE_ID></n1:General_Info>
    <n1:Geometric_Info>
        <Tile_Geocoding metadataLevel="Brief">
            <HORIZONTAL_CS_NAME>WGS84 / UTM zone 21S</HORIZONTAL_CS_NAME>
            <HORIZONTAL_CS_CODE>{safe.crs[i]}</HORIZONTAL_CS_CODE>
            {places}
        </Tile_Geocoding>
    </n1:Geometric_Info>
</n1:Level-{number}_Tile_ID>
"""
