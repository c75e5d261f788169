"""STAC items as three catalogues give them, with small rasters in place of theirs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from conftest import CORNER, write_scene

BANDS = {"B04": ("red", 0), "B03": ("green", 1), "B02": ("blue", 2)}
TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
NAME = "S2B_MSIL2A_20230823T140051_N0509_R110_T21MXN_20230823T180000"
SAFE = f"Sentinel-2/MSI/L2A/2023/08/23/{NAME}.SAFE/GRANULE/L2A_T21MXN_A000001_20230823T140055/IMG_DATA"


def reflectance(rows: int = 100, cols: int = 120) -> np.ndarray:
    """(3, rows, cols): red, green, blue x 10,000."""
    return np.random.default_rng(0).integers(1, 3500, (3, rows, cols)).astype(np.uint16)


def classes(rows: int = 50, cols: int = 60) -> np.ndarray:
    """(rows, cols): a scene classification at half the resolution, each class in a column of its own."""
    return np.broadcast_to((np.arange(cols) // 5).astype(np.uint8), (rows, cols))


def seen(rows: int = 100, cols: int = 120) -> np.ndarray:
    """(rows, cols): what neither cloud nor defects hide."""
    return ~np.isin(classes(rows // 2, cols // 2), (0, 1, 8, 9)).repeat(2, 0).repeat(2, 1)


def write(path: Path, values: np.ndarray, gsd: float = 10, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Affine(gsd, 0, CORNER[0], 0, -gsd, CORNER[1])
    values = values if values.ndim == 3 else values[None]
    return write_scene(path, pixels=values, dtype=str(values.dtype), transform=place, **how)


def item(assets: dict[str, Any], links: str, version: str = "1.0.0", **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": version,
        "id": NAME,
        "geometry": None,
        "properties": {"datetime": "2023-08-23T14:01:01.024000Z", "constellation": "sentinel-2", **properties},
        "links": [{"rel": rel, "href": links, "type": "application/json"} for rel in ("self", "root")],
        "assets": {"thumbnail": {"href": "preview.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}, **assets},
        "stac_extensions": [],
    }


def save(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def earth_search(folder: Path, base: str = "", **properties: Any) -> Path:
    """Write an item of Earth Search v1: assets called by colour, an offset that is named though it is applied."""
    assets: dict[str, Any] = {}
    for band, (color, n) in BANDS.items():
        write(folder / f"{band}.tif", reflectance()[n], nodata=0)
        assets[color] = {
            "href": f"{base}{band}.tif",
            "type": TIFF,
            "eo:bands": [{"name": color, "common_name": color}],
            "gsd": 10,
            "raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": -0.1}],
            "roles": ["data", "reflectance"],
        }
        assets[f"{color}-jp2"] = {**assets[color], "href": f"s3://sentinel-s2-l2a/{band}.jp2", "type": "image/jp2"}
    write(folder / "TCI.tif", (reflectance() // 14).astype(np.uint8))
    names = [{"name": color, "common_name": color} for color in ("red", "green", "blue")]
    assets["visual"] = {"href": f"{base}TCI.tif", "type": TIFF, "eo:bands": names, "roles": ["visual"]}
    write(folder / "SCL.tif", classes(), 20, nodata=0)
    assets["scl"] = {"href": f"{base}SCL.tif", "type": TIFF, "raster:bands": [{"nodata": 0}], "roles": ["data"]}
    flags = {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True} | properties
    return save(folder / "item.json", item(assets, "https://earth-search.aws.element84.com/v1", **flags))


def planetary_computer(folder: Path, base: str = "", baseline: str = "05.09") -> Path:
    """Write an item of Microsoft's: assets called by band, nothing said of the offset that their pixels have."""
    shift = 1000 if baseline >= "04.00" else 0
    assets: dict[str, Any] = {}
    for band, (color, n) in BANDS.items():
        write(folder / f"{band}_10m.tif", reflectance()[n] + np.uint16(shift))
        names = [{"name": band, "common_name": color, "description": f"Band {n}"}]
        assets[band] = {
            "href": f"{base}{band}_10m.tif",
            "type": TIFF,
            "gsd": 10.0,
            "eo:bands": names,
            "roles": ["data"],
        }
    write(folder / "SCL_20m.tif", classes(), 20)
    assets["SCL"] = {"href": f"{base}SCL_20m.tif", "type": TIFF, "gsd": 20.0, "roles": ["data"]}
    root = "https://planetarycomputer.microsoft.com/api/stac/v1"
    return save(folder / "item.json", item(assets, root, **{"s2:processing_baseline": baseline}))


def data_space(folder: Path, base: str = "s3://eodata/") -> Path:
    """Write an item of the Copernicus Data Space: STAC 1.1, assets called by band and resolution, JPEG 2000 in a SAFE.

    The files are written where `base` is to mean `folder`.
    """
    assets: dict[str, Any] = {}
    for gsd, step in ((20, 2), (10, 1)):
        for band, (color, n) in BANDS.items():
            file = f"{SAFE}/R{gsd}m/T21MXN_20230823T140051_{band}_{gsd}m.jp2"
            jp2(folder / file, reflectance()[n, ::step, ::step] + np.uint16(1000), gsd)
            assets[f"{band}_{gsd}m"] = {
                "href": base + file,
                "type": "image/jp2",
                "bands": [{"name": band, "eo:common_name": color}],
                "gsd": gsd,
                "nodata": 0,
                "data_type": "uint16",
                "raster:scale": 0.0001,
                "raster:offset": -0.1,
                "roles": ["data", "reflectance", f"gsd:{gsd}m"],
                "alternate": {"https": {"href": "https://zipper.dataspace.copernicus.eu/odata/v1/$value"}},
            }
    file = f"{SAFE}/R20m/T21MXN_20230823T140051_SCL_20m.jp2"
    jp2(folder / file, np.ascontiguousarray(classes()), 20)
    assets["SCL_20m"] = {"href": base + file, "type": "image/jp2", "gsd": 20, "nodata": 0, "roles": ["data", "gsd:20m"]}
    assets["TCI_10m"] = {"href": "s3://eodata/TCI_10m.jp2", "type": "image/jp2", "gsd": 10, "roles": ["visual"]}
    content = item(assets, "https://stac.dataspace.copernicus.eu/v1/", "1.1.0", **{"processing:version": "05.09"})
    return save(folder / "item.json", content)


def jp2(path: Path, values: np.ndarray, gsd: float) -> Path:
    """Write a JPEG 2000 file without loss."""
    from rasterio.shutil import copy

    tiff = write(path.with_suffix(".tif"), values, gsd)
    copy(tiff, path, driver="JP2OpenJPEG", quality=100, reversible="YES")
    tiff.unlink()
    return path
