"""STAC items of three catalogues: the scores of the same pixels in a plain file; and items not to be trusted."""

import copy
import json
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import items
import numpy as np
import pytest
import rasterio
from alike import assert_alike, seen
from loopback import served
from scans import CHIP

from geoscan import gdal
from geoscan.errors import SceneError
from geoscan.model.package import Package
from geoscan.products import Product, recognise, stac
from geoscan.products.rasters import describe
from geoscan.products.tiles import each_once
from geoscan.scene import Scene

SIXTH = pytest.approx((1e-4,) * 3)


@pytest.fixture
def package(make_package) -> Package:
    return make_package(chip=CHIP, gsd=10)


@pytest.fixture
def plain(tmp_path) -> Path:
    """The same pixels in a plain file, masked."""
    return items.write(tmp_path / "plain" / "plain.tif", items.reflectance(), mask=items.seen())


@pytest.fixture
def bucket(monkeypatch):
    """Let s3:// mean a server on loopback, as AWS_S3_ENDPOINT lets it mean the Copernicus Data Space's."""

    def at(url: str) -> None:
        for name, value in (
            ("AWS_S3_ENDPOINT", url.removeprefix("http://")),
            ("AWS_HTTPS", "NO"),
            ("AWS_VIRTUAL_HOSTING", "FALSE"),
            ("AWS_NO_SIGN_REQUEST", "YES"),
        ):
            monkeypatch.setenv(name, value)

    return at


def told(path: object) -> Product:
    product = recognise(str(path))
    assert product is not None
    return product


def offsets(product: Product) -> tuple[float, ...] | None:
    if product.scaling is None:
        return None
    assert product.scaling.scale == SIXTH
    assert product.scaling.source == "metadata"
    return product.scaling.offset


def check(path: str | Path, plain: Path, package: Package, offset: float) -> Scene:
    scene = assert_alike(path, plain, package, stretch="sentinel2-l1c")
    np.testing.assert_array_equal(seen(scene), items.seen())
    product = scene.product
    assert (product.name, product.kind) == (items.NAME, "STAC item")
    assert (product.mask, product.date) == ("scene classification", "2023-08-23T14:01:01.024000Z")
    assert offsets(product) == (offset,) * 3
    assert isinstance(path, str) or str(path) in product.files  # a scene keeps those that are on this machine
    return scene


# Three catalogues


@pytest.mark.parametrize("href", ["", "./", "{folder}/", "file://{folder}/"])
def test_earth_search_on_disk(href, tmp_path, plain, package):
    path = items.earth_search(tmp_path / "item", href.format(folder=tmp_path / "item"))
    check(path, plain, package, 0)
    assert told(path).files[1:] == tuple(
        str(tmp_path / "item" / f"{band}.tif") for band in ("B04", "B03", "B02", "SCL")
    )


@pytest.mark.parametrize("href", ["../an%20item/", "file://{folder}/an%20item/", "../an item/"])
def test_hrefs_on_disk_may_be_encoded(href, tmp_path):
    product = told(items.earth_search(tmp_path / "an item", href.format(folder=tmp_path)))
    assert all(Path(file).samefile(tmp_path / "an item" / Path(file).name) for file in product.files)


def test_earth_search_over_http(tmp_path, plain, package):
    with served(tmp_path) as url:
        items.earth_search(tmp_path / "relative")
        check(f"{url}/relative/item.json", plain, package, 0)
        items.earth_search(tmp_path / "absolute", f"{url}/absolute/")
        check(f"{url}/absolute/item.json", plain, package, 0)
        (tmp_path / "collections" / "sentinel-2-l2a" / "items").mkdir(parents=True)
        (tmp_path / "absolute" / "item.json").rename(tmp_path / "collections" / "sentinel-2-l2a" / "items" / items.NAME)
        check(f"{url}/collections/sentinel-2-l2a/items/{items.NAME}", plain, package, 0)


def test_a_local_item_of_remote_assets(tmp_path, plain, package):
    with served(tmp_path) as url:
        path = items.earth_search(tmp_path / "there", f"{url}/there/").rename(tmp_path / "here.json")
        scene = check(path, plain, package, 0)
        again = pickle.loads(pickle.dumps(scene))
        np.testing.assert_array_equal(seen(again), items.seen())


@pytest.mark.parametrize(("baseline", "offset"), [("02.12", 0), ("03.01", 0), ("04.00", -0.1), ("05.09", -0.1)])
def test_the_planetary_computer_names_no_offset_so_the_baseline_tells(baseline, offset, tmp_path, plain, package):
    check(items.planetary_computer(tmp_path / "item", baseline=baseline), plain, package, offset)
    with served(tmp_path) as url:
        check(f"{url}/item/item.json", plain, package, offset)


def test_the_copernicus_data_space_keeps_its_files_in_a_bucket(tmp_path, plain, package, bucket):
    path = items.data_space(tmp_path / "eodata")
    with served(tmp_path) as url:
        bucket(url)
        check(path, plain, package, -0.1)
        check(f"{url}/eodata/item.json", plain, package, -0.1)
        files = told(f"{url}/eodata/item.json").files
    assert len(files) == 5
    assert all(file.startswith("s3://eodata/Sentinel-2/MSI/L2A/2023/08/23/") for file in files[1:])


def test_of_microsofts_own_hosts_gdal_gets_the_signature(tmp_path, monkeypatch):
    asked = []

    def refuse(path: str, driver: str) -> None:
        assert driver == "GTiff"
        asked.append(path)
        raise SceneError("enough")

    monkeypatch.setattr(stac, "describe", refuse)
    base = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/"
    path = items.planetary_computer(tmp_path, base)
    with pytest.raises(SceneError):
        recognise(str(path))
    assert asked == [
        "/vsicurl?pc_url_signing=yes&url="
        "https%3A%2F%2Fsentinel2l2a01.blob.core.windows.net%2Fsentinel2-l2%2FB04_10m.tif"
    ]
    signed = json.loads(path.read_text().replace("_10m.tif", "_10m.tif?se=2026&sig=secret"))
    with pytest.raises(SceneError):
        recognise(str(items.save(path, signed)))
    assert asked[1] == f"{base}B04_10m.tif?se=2026&sig=secret"


def test_gdal_signs_as_it_is_asked_to(tmp_path, monkeypatch):
    items.write(tmp_path / "B04.tif", items.reflectance()[0])
    with served(tmp_path) as url:
        (tmp_path / "sign").write_text(
            json.dumps({"href": f"{url}/B04.tif?sig=1", "msft:expiry": "2099-01-01T00:00:00Z"})
        )
        monkeypatch.setenv("VSICURL_PC_SAS_SIGN_HREF_URL", f"{url}/sign?href=")
        raster = describe(f"/vsicurl?pc_url_signing=yes&url={quote(f'{url}/B04.tif', safe='')}")
        with gdal.settings(raster.path), rasterio.open(raster.path) as source:
            np.testing.assert_array_equal(source.read(1), items.reflectance()[0])


# Offsets


@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({}, 0),
        ({"earthsearch:boa_offset_applied": False}, -0.1),
        ({"earthsearch:boa_offset_applied": None}, -0.1),
        ({"earthsearch:boa_offset_applied": None, "s2:processing_baseline": "02.14"}, 0),
        ({"earthsearch:boa_offset_applied": None, "s2:processing_baseline": None}, -0.1),
        ({"earthsearch:boa_offset_applied": "yes", "s2:processing_baseline": 5}, -0.1),
    ],
)
def test_an_offset_that_is_applied_is_not_applied_again(properties, offset, tmp_path):
    assert offsets(told(items.earth_search(tmp_path, **properties))) == (offset,) * 3


def test_old_earth_search_says_nothing_and_is_left_to_the_pixels(tmp_path):
    path = items.planetary_computer(tmp_path)
    old = json.loads(path.read_text())
    old["stac_version"] = "1.0.0-beta.2"
    old["links"] = [{"rel": "self", "href": "https://earth-search.aws.element84.com/v0/collections/x/items/y"}]
    for asset in old["assets"].values():
        asset.pop("eo:bands", None)
    assert told(items.save(path, old)).scaling is None
    old["properties"]["sentinel:boa_offset_applied"] = True
    assert offsets(told(items.save(path, old))) == (0, 0, 0)


@pytest.mark.parametrize("wrong", ["1e-4", None, True, 0, -1, float("nan"), float("inf"), 10**400, [1], {"a": 1}])
def test_a_scale_that_is_no_number_is_none(wrong, tmp_path):
    path = items.earth_search(tmp_path, **{"earthsearch:boa_offset_applied": None})
    content = json.loads(path.read_text())
    content["assets"]["red"]["raster:bands"][0]["scale"] = wrong
    assert told(items.save(path, content)).scaling is None


def test_radiance_is_no_reflectance(tmp_path):
    path = items.earth_search(tmp_path)
    content = json.loads(path.read_text().replace('"scale"', '"unit": "W/(m^2 sr um)", "scale"'))
    content["properties"].pop("earthsearch:boa_offset_applied")
    assert told(items.save(path, content)).scaling is None


def test_what_files_say_of_themselves_goes_for_an_item_that_says_nothing(tmp_path):
    path = items.earth_search(tmp_path, **{"earthsearch:boa_offset_applied": None})
    content = json.loads(path.read_text())
    for band, (color, _) in items.BANDS.items():
        del content["assets"][color]["raster:bands"]
        with rasterio.open(tmp_path / f"{band}.tif", "r+") as target:
            target.scales, target.offsets = (1e-4,), (-0.1,)
    assert offsets(told(items.save(path, content))) == (-0.1,) * 3
    content["assets"]["red"]["raster:bands"] = [{"unit": "W/(m^2 sr um)"}]
    assert told(items.save(path, content)).scaling is None


# Other items


def test_one_asset_may_hold_all_bands(tmp_path, package):
    values = np.random.default_rng(0).integers(1, 3000, (4, 70, 90)).astype(np.uint16)
    items.write(tmp_path / "all.tif", values, nodata=0)
    names = ("blue", "green", "red", "nir")
    asset = {
        "href": "all.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "eo:bands": [{"name": name.title(), "common_name": name} for name in names],
        "raster:bands": [{"scale": 1e-4 * n} for n in (1, 2, 3, 4)],
    }
    path = items.save(tmp_path / "item.json", items.item({"all_tif": asset}, "x"))
    plain = items.write(tmp_path / "plain.tif", values[[2, 1, 0]])
    scene = assert_alike(path, plain, package, stretch="planet-analytic")
    assert scene.product.scaling is not None
    assert scene.product.scaling.scale == pytest.approx((3e-4, 2e-4, 1e-4))
    assert (scene.product.scaling.offset, scene.product.mask) == ((0, 0, 0), "")


PLANETS = "20210129_075502_95_2223"


@pytest.mark.parametrize("kind", ["AnalyticMS", "AnalyticMS_SR"])
def test_an_order_of_planets_is_read_as_without_its_item(kind, tmp_path, package):
    """Keys as in examples/items/psscene.json of github.com/planetlabs/stac-extension; scales are of reflectance."""
    values = np.random.default_rng(0).integers(1, 3000, (4, 70, 90)).astype(np.uint16)
    cloud = np.zeros((8, 70, 90), np.uint8)
    cloud[5, :30] = 1
    scene, mask = f"{PLANETS}_3B_{kind}_clip", f"{PLANETS}_3B_udm2_clip"
    files = [
        items.write(tmp_path / f"{name}.tif", what, 3, nodata=nodata)
        for name, what, nodata in ((scene, values, 0), (mask, cloud, None))
    ]
    bands = [{"name": name.title(), "common_name": name} for name in ("blue", "green", "red", "nir")]
    assets = {
        f"{scene}_tif": {"href": f"./{scene}.tif", "type": items.TIFF, "eo:bands": bands, "roles": ["data"]},
        f"{mask}_tif": {"href": f"./{mask}.tif", "type": items.TIFF, "roles": ["data", "cloud"]},
        f"{PLANETS}_metadata_json": {"href": f"./{PLANETS}_metadata.json", "type": "application/json"},
    }
    assets[f"{scene}_tif"]["raster:bands"] = [{"nodata": 0, "scale": 2e-5}] * 4
    path = items.save(tmp_path / f"{PLANETS}.json", items.item(assets, "x"))
    scene = assert_alike(path, files[0], package)
    plain, product = Scene.open(files[0]), scene.product
    assert (product.kind, product.scaling, product.radiance, product.mask, product.date, scene.bands) == (
        plain.product.kind,
        plain.product.scaling,
        kind == "AnalyticMS",
        "udm2",
        "2021-01-29T07:55:02Z",
        plain.bands,
    )
    assert set(product.files) == {str(path), *map(str, files)}
    assert not seen(Scene.open(path))[:30].any()
    assert each_once([str(path), *map(str, files)]) == [str(path)]
    with served(tmp_path) as url:
        assert told(f"{url}/{path.name}").warnings == (
            f"nothing is made of its assets {mask}_tif: what they mark, such as clouds, counts as seen",
        )


def test_other_assets_belong_to_the_item_and_are_not_scanned_again(tmp_path):
    path = items.earth_search(tmp_path)
    content = json.loads(path.read_text())
    other = items.write(tmp_path / "elsewhere.tif", items.reflectance(40, 40))
    for name in ("B08.tif", "elsewhere.tif", "notes.xml", "absent.tif"):
        content["assets"][name] = {"href": name, "type": items.TIFF if name.endswith("tif") else "text/xml"}
    items.save(path, content)
    beside = items.write(tmp_path / "B08.tif", items.reflectance(50, 60)[0], 20)
    (tmp_path / "notes.xml").write_text("<none/>")
    scene = Scene.open(path)
    assert {Path(file).name for file in scene.product.unread} >= {"TCI.tif", "B08.tif", "notes.xml"}
    assert {str(beside), str(tmp_path / "TCI.tif"), str(tmp_path / "SCL.tif")} <= set(scene.product.files)
    assert str(other) not in scene.product.files
    tiffs = sorted(str(file) for file in tmp_path.glob("*.tif"))
    assert each_once([*tiffs, str(path)]) == [str(other), str(path)]
    before = scene.fingerprint()
    items.write(beside, items.reflectance(50, 60)[1], 20)
    assert (Scene.open(path).fingerprint(), scene.changed()) == (before, "")


def test_a_picture_is_taken_for_want_of_anything_better(tmp_path):
    path = items.earth_search(tmp_path)
    content = json.loads(path.read_text())
    for key in ("red", "red-jp2"):
        del content["assets"][key]
    product = told(items.save(path, content))
    assert (product.scaling, product.bands) == (None, (1, 2, 3))
    assert product.files[1:] == (str(tmp_path / "TCI.tif"), str(tmp_path / "SCL.tif"))
    with rasterio.open(product.address) as source:
        np.testing.assert_array_equal(source.read(), (items.reflectance() // 14).astype(np.uint8))
    del content["assets"]["visual"]["eo:bands"]
    assert told(items.save(path, content)).files[1] == str(tmp_path / "TCI.tif")


def test_fill_that_only_the_item_knows_is_hidden(tmp_path):
    path = items.earth_search(tmp_path)
    content = json.loads(path.read_text())
    del content["assets"]["scl"]
    values = items.reflectance()
    values[:, :20] = 7
    values[0, 50:] = 7
    for band, (color, n) in items.BANDS.items():
        items.write(tmp_path / f"{band}.tif", values[n])
        content["assets"][color]["raster:bands"][0]["nodata"] = 7
    there = np.ones((100, 120), bool)
    there[:20] = False
    np.testing.assert_array_equal(seen(Scene.open(items.save(path, content))), there)


def test_a_classification_that_is_not_there_is_said(tmp_path, caplog):
    path = items.earth_search(tmp_path)
    (tmp_path / "SCL.tif").unlink()
    assert Scene.open(path).product.mask == ""
    assert caplog.messages == [f"{items.NAME}: its scene classification is not there: clouds are not masked"]


@pytest.mark.parametrize("key", ["qa_pixel", "Fmask", "ortho_udm2", "cloud"])
def test_assets_that_mark_clouds_of_which_nothing_is_made_are_said(key, tmp_path, caplog):
    path = items.earth_search(tmp_path)
    content = json.loads(path.read_text())
    content["assets"][key] = {"href": "none.tif", "type": items.TIFF}
    assert Scene.open(items.save(path, content)).product.mask == "scene classification"
    assert not caplog.messages
    del content["assets"]["scl"]
    assert Scene.open(items.save(path, content)).product.mask == ""
    assert caplog.messages == [
        f"{items.NAME}: nothing is made of its assets {key}: what they mark, such as clouds, counts as seen"
    ]


def test_a_planet_order_has_items_that_are_no_stac(tmp_path):
    for content in ({"type": "Feature", "properties": {}}, [1], "text", {"stac_version": 1, "type": "x"}):
        path = items.save(tmp_path / "a_metadata.json", content)
        if "stac_version" in content:
            with pytest.raises(SceneError, match=r"a_metadata\.json is a STAC x, not an item; give one of its items"):
                recognise(str(path))
        else:
            assert recognise(str(path)) is None
    for text in ("", "{", "\x00", "[" * 100_000, '{"stac_version": "1.0.0", "a": "' + 5_000_000 * "x" + '"}'):
        path.write_text(text)
        assert recognise(str(path)) is None
    assert recognise(str(tmp_path / "absent.json")) is None
    assert recognise(str(tmp_path)) is None


# Not to be trusted


def broken() -> dict[str, Any]:
    """Give changes to an item, each a path of keys and what is put there."""
    return {
        "no assets": (("assets",), {}),
        "assets are a list": (("assets",), [1]),
        "an asset is a number": (("assets", "red"), 3),
        "no href": (("assets", "red"), {"type": "image/tiff"}),
        "an href is a number": (("assets", "red", "href"), 5),
        "bands are a number": (("assets", "red", "eo:bands"), 5),
        "bands are numbers": (("assets", "red", "eo:bands"), [5]),
        "raster bands are text": (("assets", "red", "raster:bands"), "scale"),
        "no properties": (("properties",), None),
        "a date that is none": (("properties", "datetime"), "nonsense"),
        "a version of its own": (("stac_version",), 7),
        "links are text": (("links",), "x"),
        "links are numbers": (("links",), [1]),
        "extensions are a number": (("stac_extensions",), 5),
        "a missing file": (("assets", "red", "href"), "absent.tif"),
        "a very long href": (("assets", "red", "href"), "x" * 5000),
        "an href of two lines": (("assets", "red", "href"), "B04.tif\nB03.tif"),
        "a VRT's text": (("assets", "red", "href"), "<VRTDataset/>"),
        "a driver of GDAL's": (("assets", "red", "href"), "vrt:///etc/passwd"),
        "a broken URL": (("assets", "red", "href"), "http://[::1"),
        "a port that is none": (("assets", "red", "href"), "http://127.0.0.1:99999999/B04.tif"),
    }


@pytest.mark.parametrize("over", ["disk", "http"])
@pytest.mark.parametrize("what", broken())
def test_what_is_malformed_is_one_clear_line(what, over, tmp_path):
    path = items.earth_search(tmp_path)
    content = json.loads(path.read_text())
    for key in ("red-jp2", "visual"):
        del content["assets"][key]
    where, value = broken()[what]
    into = content
    for key in where[:-1]:
        into = into[key]
    into[where[-1]] = value
    items.save(path, content)
    with served(tmp_path) as url:
        given = str(path) if over == "disk" else f"{url}/item.json"
        with pytest.raises(SceneError) as caught:
            Scene.open(given)
    assert str(caught.value).startswith("item.json")
    assert str(caught.value).isprintable()
    assert 40 < len(str(caught.value)) < 500


@pytest.mark.parametrize("change", [pytest.param("assets", marks=pytest.mark.large), "properties", "links"])
def test_whatever_is_missing_or_of_another_type_raises_nothing_else(change, tmp_path):
    path = items.earth_search(tmp_path)
    whole = json.loads(path.read_text())
    for color in ("red", "green", "blue"):
        del whole["assets"][f"{color}-jp2"]  # in a bucket that is elsewhere

    def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [at, *(place for key, inner in pairs for place in places(inner, (*at, key)))]

    for place in places(whole[change], (change,)):
        for wrong in (None, 5, "x", [], {}, [None], {"a": None}):
            content = copy.deepcopy(whole)
            into = content
            for key in place[:-1]:
                into = into[key]
            into[place[-1]] = wrong
            with suppress(SceneError):
                recognise(str(items.save(path, content)))


@pytest.mark.parametrize(
    "href", ["{folder}/B04.tif", "file://{folder}/B04.tif", "/vsicurl/http://127.0.0.1/", "../../secret/B04.tif"]
)
def test_what_comes_over_a_network_names_no_local_file(href, tmp_path):
    """An absolute path means one on the server, where it is not."""
    items.earth_search(tmp_path / "secret")
    path = items.earth_search(tmp_path / "www")
    content = json.loads(path.read_text())
    del content["assets"]["red-jp2"]
    content["assets"]["red"]["href"] = href.format(folder=tmp_path / "secret")
    items.save(path, content)
    if not href.startswith(("..", "/vsi")):
        told(path)  # on disk it may
    with served(tmp_path / "www") as url, pytest.raises(SceneError, match=r"item\.json"):
        recognise(f"{url}/item.json")


def test_an_asset_is_no_vrt_that_leads_elsewhere(tmp_path):
    path = items.earth_search(tmp_path)
    (tmp_path / "inner.tif").write_bytes((tmp_path / "B04.tif").read_bytes())
    rasterio.shutil.copy(tmp_path / "inner.tif", tmp_path / "B04.vrt", driver="VRT")
    (tmp_path / "B04.vrt").rename(tmp_path / "B04.tif")
    with pytest.raises(SceneError, match=r"item\.json: its asset red cannot be opened: .*; check the path"):
        recognise(str(path))


def test_assets_of_different_grids_are_refused(tmp_path):
    path = items.earth_search(tmp_path)
    items.write(tmp_path / "B03.tif", items.reflectance()[1, ::2, ::2], 20)
    with pytest.raises(SceneError, match="its assets red, green, blue differ in grid or type"):
        recognise(str(path))


def test_what_cannot_be_fetched_is_said_without_secrets(tmp_path):
    with served(tmp_path) as url:
        with pytest.raises(SceneError, match=r"item\.json cannot be fetched: HTTP Error 404.*; check its address"):
            recognise(f"{url}/item.json?sig=secret")
        path = items.earth_search(tmp_path, f"{url}/none/")
        content = json.loads(path.read_text().replace(".tif", ".tif?sig=secret"))
        with pytest.raises(SceneError, match=r"asset red cannot be opened: .*404") as caught:
            recognise(str(items.save(path, content)))
    assert "secret" not in str(caught.value)


def test_an_item_in_a_bucket_is_to_be_given_otherwise():
    with pytest.raises(SceneError, match=r"item\.json lies where no item is read; give its https address"):
        recognise("s3://bucket/item.json")
    assert recognise("https://127.0.0.1:9/items/scene.tif") is None


def test_several_items_in_one_file_are_refused(tmp_path):
    one = json.loads(items.earth_search(tmp_path).read_text())
    path = items.save(tmp_path / "search.json", {"type": "FeatureCollection", "features": [one, one]})
    with pytest.raises(SceneError, match=r"search\.json holds 2 STAC items; give one of them"):
        recognise(str(path))


def test_a_name_that_is_no_name_is_made_one(tmp_path):
    path = items.earth_search(tmp_path)
    content = json.loads(path.read_text())
    content["id"] = "a\n\x1b[31m" + 500 * "b"
    product = told(items.save(path, content))
    assert product.name.startswith("a??[31mbbb")
    assert len(product.name) == 200
    assert os.linesep not in product.name
