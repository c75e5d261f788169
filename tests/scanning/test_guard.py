"""The guard against scenes that are misread, with the looks that the shipped cards hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from conftest import write_scene

from geoscan.cli import main
from geoscan.errors import LookError
from geoscan.model.card import Card
from geoscan.model.look import Look
from geoscan.model.shipped import find
from geoscan.scanning.guard import look_after, look_before
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

EXAMPLE = Path(__file__).parents[2] / "examples" / "scene.tif"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    with rasterio.open(EXAMPLE) as source:
        return source.read()


def plan(path: Path, *, force: bool = False) -> Plan:
    return Plan.of(Scene.open(path), find("planet"), ScanOptions(force=force))


MISREAD = {
    "black": lambda pixels: pixels * 0 + 1,
    "x 0.1": lambda pixels: pixels // 10,
    "x 10": lambda pixels: (pixels.astype(int) * 10).clip(0, 255),
    "swapped": lambda pixels: pixels[::-1],
    "negative": lambda pixels: 255 - pixels,
    "noise": lambda pixels: RNG.integers(0, 256, pixels.shape),
    "radar": lambda pixels: (RNG.gamma(1.0, 60.0, (1, *pixels.shape[1:])).repeat(3, axis=0)).clip(0, 255),
}


def test_the_example_is_understood():
    look_before(plan(EXAMPLE))


@pytest.mark.parametrize("kind", MISREAD)
def test_a_scene_that_is_misread_is_refused_and_force_goes_on(tmp_path, pixels, kind, caplog):
    path = write_scene(tmp_path / "scene.tif", pixels=MISREAD[kind](pixels))
    with pytest.raises(LookError, match=r"looks like nothing that planet has learned from.*--bands.*--force") as caught:
        look_before(plan(path))
    assert ("red and blue seem to be swapped" in str(caught.value)) == (kind == "swapped")
    look_before(plan(path, force=True))
    assert "looks like nothing that planet has learned from" in caplog.text


REFLECTANCE = {
    "x 1,000": (lambda ground: ground * 1000, "uint16", {}, ["--scale", "0.001"]),
    "x 10,000, asked x 100,000": (lambda ground: ground * 1e4, "uint16", {"scale": (1e-5,) * 3}, ["--scale", "0.0001"]),
    "0..1, asked x 10,000": (lambda ground: ground, "float32", {"scale": (1e-4,) * 3}, ["--scale", "1"]),
    "swapped": (lambda ground: ground[::-1], "float32", {}, ["--bands", "3,2,1"]),
}


@pytest.mark.parametrize("kind", REFLECTANCE)
def test_the_option_that_helps_is_named_and_helps(tmp_path, pixels, kind):
    stored, dtype, asked, words = REFLECTANCE[kind]
    path = write_scene(tmp_path / "scene.tif", pixels=stored(pixels / 255 * 0.3), dtype=dtype)
    with pytest.raises(LookError, match=f"it looks as it should with {' '.join(words)};"):
        look_before(Plan.of(Scene.open(path), find("planet"), ScanOptions(**asked)))
    result = CliRunner().invoke(main, ["check", str(path), "--model", "planet", *words], prog_name="geoscan")
    assert result.exit_code == 0
    assert "looks like nothing" not in result.stdout


@pytest.mark.parametrize("kind", ["black", "x 10", "negative", "noise", "radar"])
def test_no_option_is_named_where_none_helps(tmp_path, pixels, kind):
    with pytest.raises(LookError) as caught:
        look_before(plan(write_scene(tmp_path / "scene.tif", pixels=MISREAD[kind](pixels))))
    assert "looks as it should" not in str(caught.value)


@pytest.mark.parametrize("model", ["planet", "sentinel2", "sentinel2-lite"])
@pytest.mark.parametrize(("bands", "same"), [((1, 1, 1), "red and green and blue"), ((0, 1, 1), "green and blue")])
def test_bands_that_are_the_same_are_named(tmp_path, pixels, model, bands, same):
    package = find(model)
    path = write_scene(tmp_path / "scene.tif", pixels=pixels[list(bands)], gsd=package.card.preprocess.gsd)
    with pytest.raises(LookError, match=f"its {same} are the same"):
        look_before(Plan.of(Scene.open(path), package, ScanOptions()))


def test_bands_that_are_cut_off_alike_are_not_called_the_same(tmp_path, pixels):
    """What helps is named: a scale, of what a wrong one makes white but for a few black pixels."""
    stored = pixels / 255 * 3000
    stored[:, 100:400:9, 100:400:9] = 0
    path = write_scene(tmp_path / "scene.tif", pixels=stored, dtype="uint16")
    for scale in (1.0, 0.01):
        with pytest.raises(LookError, match=r"it looks as it should with --scale 0\.0001;"):
            look_before(Plan.of(Scene.open(path), find("planet"), ScanOptions(scale=(scale,) * 3)))


@pytest.mark.parametrize("right", [(3, 2, 1), (1, 2, 3)])
def test_other_bands_that_look_as_they_should_are_named(tmp_path, pixels, right):
    """As where numbers are taken for those of another sensor."""
    red, green, blue = pixels / 255 * 3000
    stored = [blue, green, red] if right == (3, 2, 1) else [red, green, blue]
    infrared = np.clip(6000 - green * 2, 1, None)
    path = write_scene(
        tmp_path / "scene.tif",
        pixels=[*stored, infrared],
        dtype="uint16",
        descriptions=("B1", "B2", "B3", "B4"),
        colors=["undefined"] * 4,
    )
    wrong = Scene.open(path, bands=(4, 3, 2))
    with pytest.raises(LookError, match=f"it looks as it should with --bands {','.join(map(str, right))};"):
        look_before(Plan.of(wrong, find("planet"), ScanOptions()))
    look_before(Plan.of(Scene.open(path, bands=right), find("planet"), ScanOptions()))


def test_chips_that_are_nearly_black_are_told_of(monkeypatch, tmp_path, pixels, caplog):
    """Even where the model makes something of them."""
    monkeypatch.setattr(Look, "knows", lambda look, odds: True)
    scene = Scene.open(write_scene(tmp_path / "scene.tif", pixels=pixels * 3, dtype="uint16"))
    look_before(Plan.of(scene, find("planet"), ScanOptions(scale=(1e-4,) * 3)))
    assert caplog.messages == ["scene.tif: the chips are nearly black: --scale, --offset or --stretch may be wrong"]
    caplog.clear()
    look_before(plan(EXAMPLE))
    assert not caplog.messages


def test_an_offset_that_was_taken_off_twice_is_named(tmp_path, pixels):
    scene = Scene.open(write_scene(tmp_path / "scene.tif", pixels=pixels / 255 * 3000, dtype="uint16", gsd=10))
    asked = ScanOptions(scale=(1e-4,) * 3, offset=(-0.1,) * 3)
    with pytest.raises(LookError, match=r"it looks as it should with --scale 0\.0001;"):
        look_before(Plan.of(scene, find("sentinel2"), asked))


def test_cloud_over_most_of_a_scene_is_no_misreading(tmp_path, pixels):
    cloudy = pixels.copy()
    cloudy[:, :1200] = 255
    look_before(plan(write_scene(tmp_path / "cloudy.tif", pixels=cloudy)))
    with pytest.raises(LookError):
        look_before(plan(write_scene(tmp_path / "white.tif", pixels=np.full_like(pixels, 255))))


def test_too_many_chips_that_are_not_understood_end_the_scan(caplog):
    look_after(plan(EXAMPLE), scored=90, strange=10, white=0)
    look_after(plan(EXAMPLE), scored=40, strange=60, white=55)
    with pytest.raises(LookError, match=r"30 of 100 chips of scene\.tif look like nothing"):
        look_after(plan(EXAMPLE), scored=70, strange=30, white=0)
    look_after(plan(EXAMPLE, force=True), scored=70, strange=30, white=0)
    with pytest.raises(LookError, match="98 of 100 chips"):
        look_after(plan(EXAMPLE), scored=2, strange=98, white=98)


def test_nothing_is_written_of_a_scene_that_is_refused(tmp_path, pixels):
    path, out = write_scene(tmp_path / "scene.tif", pixels=pixels[::-1]), tmp_path / "mines.geojson"
    result = CliRunner().invoke(main, [str(path), "--out", str(out), "--model", "planet", "-q"], prog_name="geoscan")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "red and blue seem to be swapped" in result.stderr
    assert not out.exists()


def test_a_look_travels_in_its_card():
    card = find("sentinel2").card
    assert card.look is not None
    assert Card.from_json(card.to_json()).look == card.look
    assert len(json.dumps(card.look.hidden)) < 4000
