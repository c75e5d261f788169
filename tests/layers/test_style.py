"""Styles as QGIS reads them: well-formed, of the fields that a layer has; and beside layers whose formats hold none."""

import logging

import pytest
from defusedxml import ElementTree
from sights import seen

from geoscan import layers
from geoscan.layers import chips, footprint, metadata, obscured
from geoscan.layers.attributes import Attribute
from geoscan.layers.style import MARK, REVIEWS, qml
from geoscan.polygons import Hysteresis, Provenance

SCENE = seen(Provenance("scene.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0"))
FIELDS = {
    "detections": layers.ATTRIBUTES,
    "chips": chips.attributes([SCENE]),
    "obscured": obscured.ATTRIBUTES,
    "footprint": footprint.ATTRIBUTES,
    "metadata": metadata.ATTRIBUTES,
}


@pytest.mark.parametrize("layer", FIELDS)
def test_a_style_names_each_field_of_its_layer_for_people(layer):
    style = ElementTree.fromstring(qml(layer, FIELDS[layer]), forbid_dtd=False)
    aliases = {one.get("field"): one.get("name") for one in style.findall("aliases/alias")}
    assert aliases == {name: one.alias for name, one in FIELDS[layer].items()}
    assert all(alias[0].isupper() and "," not in alias for alias in aliases.values())


@pytest.mark.parametrize("known", [True, False])
def test_reviews_and_changes_are_used_where_they_are(known):
    names = ("review", "status", "gained_ha", "first_seen")
    plain = {name: one for name, one in layers.ATTRIBUTES.items() if name not in names}
    more = {name: Attribute("str", name) for name in names} if known else {}
    text = qml("detections", plain | more)
    assert [f'"{name}"' in ElementTree.fromstring(text, forbid_dtd=False).findtext("mapTip") for name in names] == [
        known
    ] * 4
    style = ElementTree.fromstring(text, forbid_dtd=False)
    choices = style.findall("fieldConfiguration/field[@name='review']/editWidget[@type='ValueMap']//Option[@value]")
    assert [one.get("value") for one in choices] == (list(REVIEWS) if known else [])


@pytest.mark.parametrize("suffix", [".geojson", ".json", ".fgb", ".parquet"])
def test_a_style_lies_beside_its_layer_and_is_replaced(tmp_path, suffix):
    style = tmp_path / "mines.qml"
    style.write_text(f"<!-- {MARK} --> of an earlier version")
    layers.write(tmp_path / f"mines{suffix}", [], [SCENE])
    assert style.read_text("utf-8") == qml("detections", layers.ATTRIBUTES)


def test_the_style_of_somebody_else_stays_and_that_is_said(tmp_path, caplog):
    style = tmp_path / "mines.qml"
    style.write_text("<qgis/>")
    with caplog.at_level(logging.WARNING):
        layers.write(tmp_path / "mines.geojson", [], [SCENE])
    assert style.read_text() == "<qgis/>"
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == f"{style} is no style of geoscan's and stays; move it away for one that fits mines.geojson"
    assert (tmp_path / "mines.geojson").exists()


def test_a_folder_in_the_place_of_a_style_stays(tmp_path):
    (tmp_path / "mines.qml").mkdir()
    layers.write(tmp_path / "mines.fgb", [], [SCENE])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mines.fgb", "mines.qml"]
