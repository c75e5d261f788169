"""The second look at detections: outlines by activation, with a fake detector."""

import json
import logging

import fakes
import numpy as np
import pyproj
import pytest
import shapely
from click.testing import CliRunner
from conftest import CORNER
from scans import CHIP, GSD, blocks, break_block, flagged_cores, in_crs, run

from geoscan import layers
from geoscan.cli import main
from geoscan.errors import InputError, PackageError
from geoscan.model.package import Package
from geoscan.outlines import area_ha
from geoscan.scanning.evidence import averaged, turned_back
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scene import Scene
from geoscan.symmetry import symmetry

LOOKED: list[int] = []


class BrightIsEvidence:
    """Each 4 x 4 px of a chip speak for a mine as far as they are bright."""

    def __init__(self, package: Package, batch: int) -> None:
        self.batch = batch

    def evidence(self, chips):
        LOOKED.append(len(chips))
        means = chips.reshape(len(chips), 8, CHIP // 8, 8, CHIP // 8, 3).mean(axis=(2, 4, 5))
        return (means / 255 * 8 - 4).astype(np.float32)


@pytest.fixture
def package(make_package, monkeypatch) -> Package:
    monkeypatch.setattr(Package, "has_evidence", True)
    monkeypatch.setattr("geoscan.scanning.evidence.OpenVinoDetector", BrightIsEvidence)
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    LOOKED.clear()
    return make_package(chip=CHIP)


def pixels(top=48, left=80, side=64):
    """One bright square that fills a chip and half of each beside it."""
    ground = np.full((3, 6 * CHIP, 7 * CHIP), 20, np.uint8)
    ground[:, top : top + side, left : left + side] = 230
    return ground


def square(top=48, left=80, side=64):
    (x, y), size = CORNER, side * GSD
    return shapely.box(x + left * GSD, y - top * GSD - size, x + left * GSD + size, y - top * GSD)


def test_a_detection_is_cut_down_to_where_the_evidence_is(make_scene, package):
    path = make_scene(pixels=pixels())
    scores = run(path, package)
    assert scores.plan.outline == "activation", "for a DenseNet that can tell"
    cores, ground = flagged_cores(scores), in_crs(scores)
    assert cores.area == pytest.approx(5 * (CHIP * GSD) ** 2)
    bright = cores.intersection(square())
    assert ground.intersection(bright).area / ground.union(bright).area > 0.9
    assert ground.difference(cores.buffer(0.01)).area == 0
    result = detect(scores)
    (found,) = result.detections
    assert (found.n_chips, found.area_ha) == (5, area_ha(found.geometry))
    assert result.summary.area_ha == pytest.approx(ground.area / 1e4, rel=0.01)
    assert layers.about.about([result.seen])["scenes"][0]["outline"] == "activation"


def test_only_chips_of_detections_are_looked_at_again_from_all_sides(make_scene, package):
    detect(run(make_scene(pixels=pixels()), package, batch=3))
    assert sum(LOOKED) == 8 * 5
    assert max(LOOKED) == 3


def test_chip_outlines_are_whole_cores_and_look_at_nothing(make_scene, package):
    scores = run(make_scene(pixels=pixels()), package, outline="chip")
    assert in_crs(scores).symmetric_difference(flagged_cores(scores)).area < 1
    assert LOOKED == []
    assert layers.about.about([detect(scores).seen])["scenes"][0]["outline"] == "chip"


def test_no_detection_is_lost(make_scene, package):
    path = make_scene(pixels=blocks())
    both = [detect(run(path, package, outline=outline)).detections for outline in ("chip", "activation")]
    assert len(both[0]) == len(both[1]) > 2
    assert sum(one.n_chips for one in both[0]) == sum(one.n_chips for one in both[1])
    for fine in both[1]:
        assert any(one.geometry.buffer(1e-7).covers(fine.geometry) for one in both[0])


def test_a_chip_that_cannot_be_read_again_keeps_its_core(make_scene, package, caplog):
    path = make_scene(pixels=pixels(), tiled=True, blockxsize=CHIP, blockysize=CHIP, compress="deflate")
    scores = run(path, package)
    whole = in_crs(scores)
    break_block(path, 2, 3)
    with caplog.at_level(logging.WARNING, "geoscan"):
        ground = in_crs(run_again(scores))
    assert "1 chips could not be read again: outlines keep all of them" in caplog.text
    assert whole.area < ground.area < flagged_cores(scores).area


def run_again(scores):
    """The same scores, of a scene that is opened anew."""
    from dataclasses import replace

    return replace(scores, plan=replace(scores.plan, scene=Scene.open(scores.plan.scene.path)))


def test_layers_are_the_same_bytes_each_time_and_merging_keeps_whole_chips(make_scene, package, tmp_path):
    path, kept = make_scene(pixels=pixels()), tmp_path / "a.journal"
    how = ["--model", str(package.path), "--jobs", "0", "--journal", str(kept)]
    for name in ("a.geojson", "b.geojson"):
        assert CliRunner().invoke(main, [str(path), "--out", str(tmp_path / name), *how]).exit_code == 0
    assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()
    merged = tmp_path / "m.geojson"
    result = CliRunner().invoke(main, ["merge", str(kept), "--out", str(merged)])
    assert result.exit_code == 0
    assert "a.journal: outlines are those of whole chips; those by activation need the scene" in result.stderr
    told = [json.loads((tmp_path / name).read_text()) for name in ("a.geojson", "m.geojson")]
    assert [one["geoscan"]["scenes"][0]["outline"] for one in told] == ["activation", "chip"]
    fine, whole = (one["features"][0]["properties"]["area_ha"] for one in told)
    assert fine < 0.8 * whole


def test_a_folder_of_layers_knows_other_outlines_as_another_scan(make_scene, package):
    from geoscan.scanning.journal.key import mark_of

    scene = Scene.open(make_scene(pixels=pixels()))
    marks = {mark_of(Plan.of(scene, package, ScanOptions(outline=one))) for one in ("chip", "activation")}
    assert len(marks) == 2


def test_a_package_that_cannot_tell_is_refused_or_keeps_chips(make_scene, package, monkeypatch):
    monkeypatch.setattr(Package, "has_evidence", False)
    scene = Scene.open(make_scene(pixels=pixels()))
    assert Plan.of(scene, package).outline == "chip"
    with pytest.raises(
        PackageError, match=r"made without the evidence by place .* pass --outline chip, or train"
    ) as caught:
        Plan.of(scene, package, ScanOptions(outline="activation"))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="choose one of chip, activation"):
        ScanOptions(outline="exact")


@pytest.mark.parametrize("which", range(8))
def test_what_was_turned_is_turned_back(which):
    chips = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), np.uint8)
    assert np.array_equal(turned_back(symmetry(chips, which)[..., 0], which), chips[..., 0])


def test_evidence_does_not_lean_to_a_side():
    class Leaning(BrightIsEvidence):
        def evidence(self, chips):
            return np.roll(super().evidence(chips), 1, axis=2)

    chips = np.zeros((1, CHIP, CHIP, 3), np.uint8)
    chips[:, 12:20, 12:20] = 255
    mean = averaged(Leaning(None, 1), chips)
    for which in range(8):
        np.testing.assert_allclose(turned_back(mean, which), mean, atol=1e-5)


def test_placed_in_degrees_it_is_still_within_its_cores(make_scene, package):
    """Far from the equator, where straight edges in one CRS are curved in another."""
    path = make_scene(pixels=pixels(), crs="EPSG:3995")
    scores = run(path, package)
    back = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:3995", always_xy=True)
    (found,) = detect(scores).detections
    ground = shapely.transform(found.geometry, lambda p: np.column_stack(back.transform(*p.T)))
    assert found.geometry.is_valid
    assert ground.difference(flagged_cores(scores).buffer(0.01)).area == 0
