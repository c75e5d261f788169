"""`geoscan evaluate`: what it prints and writes."""

import json

import kaggle_dir
import pytest
import small_chips
import tiny_model
from click.testing import CliRunner
from PIL import Image

from geoscan.cli import main


@pytest.fixture
def kaggle(tmp_path):
    return kaggle_dir.make(tmp_path / "kaggle", 20)


@pytest.mark.parametrize(
    "arguments", [[], ["--chips", "."], ["--kaggle-dir", ".", "--chips", ".", "--index", "LICENSE"]]
)
def test_the_command_wants_one_data_set(arguments):
    result = CliRunner().invoke(main, ["evaluate", "--model", "planet", *arguments])
    assert result.exit_code == 2
    assert "--kaggle-dir, or --chips and --index" in result.output


def evaluate(*words):
    return CliRunner().invoke(main, ["evaluate", *map(str, words)])


def test_the_command_prints_the_figures_and_writes_the_pictures(tiny_package, kaggle, tmp_path):
    plots, model = tmp_path / "plots", tiny_package.path
    words = ("--model", model, "--against", model, "--kaggle-dir", kaggle, "--plots", plots, "--gsd", 3)
    result = evaluate(*words, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["digest"] == tiny_package.card.digest
    card = json.loads((model / "card.json").read_text())
    assert found["figures"].keys() == found["against"]["figures"].keys() == card["figures"].keys()
    assert 0 <= found["figures"]["f2"]["tuned"] <= 1
    assert found["against"]["model"] == found["model"]
    assert found["difference"]["f2"] == 0
    written = sorted(plots.iterdir())
    assert [path.name for path in written] == ["f2.png", "mistakes.png", "precision_recall.png", "reliability.png"]
    for path in written:
        assert f"wrote {path}" in result.stderr
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100


def test_without_json_the_figures_are_as_in_a_card(tiny_package, kaggle):
    result = evaluate("--model", tiny_package.path, "--kaggle-dir", kaggle, "--gsd", 3, "-q")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# tiny\n")
    assert "\n## All labels together\n" in result.stdout
    assert "\n| artisanal mine | 4 | 18 |" in result.stdout


def test_figures_without_chips_that_cannot_be_read_are_printed_with_status_1(tiny_package, kaggle, tmp_path):
    for i in range(2, 18):
        (kaggle / "train-jpg" / f"train_{i}.jpg").write_bytes(b"no image")
    plots = tmp_path / "plots"
    result = evaluate("--model", tiny_package.path, "--kaggle-dir", kaggle, "--gsd", 3, "--plots", plots)
    assert result.exit_code == 1
    assert result.stdout.startswith("# tiny\n")
    assert (plots / "f2.png").is_file()
    assert result.stderr.splitlines()[-1].endswith("16 of 20 chips could not be read: the figures leave them out")


def test_places_are_checked_before_the_work(kaggle, tmp_path):
    (tmp_path / "taken" / "f2.png").mkdir(parents=True)
    for plots in (tmp_path / "no" / "plots", kaggle / "train_v2.csv", tmp_path / "taken"):
        result = evaluate("--model", "no such model", "--kaggle-dir", kaggle, "--plots", plots)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert plots.name in result.stderr


def test_models_of_other_pixels_are_compared_on_one_ground(tiny_package, tmp_path):
    """Chips without a pixel size would be as large as each model likes them."""
    model, near, far = tiny_package.path, tmp_path / "near", tmp_path / "far"
    gsd, spec = tiny_package.card.preprocess.gsd, tiny_package.card.spec
    tiny_model.package(near, spec, gsd=1.2 * gsd, name="near")
    tiny_model.package(far, spec, gsd=1.3 * gsd, name="far")
    archive, index = small_chips.make(tmp_path / "chips", 6, side=spec.chip, broken=False)
    words = ("--model", model, "--chips", archive, "--index", index, "--against")
    for one, other in ((model, far), (far, model)):
        result = evaluate("--model", one, *words[2:], other)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1
        assert "pass --gsd, the metres per pixel of the chips" in result.stderr
    found = json.loads(evaluate(*words, far, "--gsd", gsd, "--json").stdout)
    ground = [
        one["figures"]["detection"]["balanced"]["alone"]["false_alarms"]["km2"] for one in (found, found["against"])
    ]
    assert ground[0] == ground[1]
    assert evaluate(*words, near, "--json").exit_code == 0
