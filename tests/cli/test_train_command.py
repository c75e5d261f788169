"""`geoscan train`: what it refuses; training itself is tested in tests/train."""

import pytest
from click.testing import CliRunner

from geoscan.cli import main


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """An empty directory, and one that holds labels without chips."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/train_v2.csv").write_text("image_name,tags\ntrain_0,clear primary\n")
    (tmp_path / "chips.zip").write_bytes(b"no archive")


def refused(*words, tmp_path) -> str:
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(main, ["train", *words], prog_name="geoscan")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("geoscan: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert sorted(tmp_path.rglob("*")) == before
    return result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Missing option '--kaggle-dir'"),
        ("--kaggle-dir empty", "Missing option '--out'"),
        ("--kaggle-dir nowhere --out m", "Directory 'nowhere' does not exist"),
        ("--kaggle-dir chips.zip --out m", "chips.zip"),
        ("--kaggle-dir empty --out m --epochs 0", "0 is not in the range x>=1"),
        ("--kaggle-dir empty --out m --held-out 1", "1.0 is not in the range 0<x<1"),
        ("--kaggle-dir empty --out m --rate 0", "0.0 is not in the range x>0"),
        ("--kaggle-dir empty --out m --batch none", "'none' is not a valid integer"),
        ("--kaggle-dir empty --out m --chips chips.zip", "--chips and --index go together"),
        ("--kaggle-dir empty --out m --index chips.zip", "--chips and --index go together"),
        ("--kaggle-dir empty --out m --dehase", "Did you mean"),
        ("empty m", "Missing option '--kaggle-dir'"),
    ],
)
def test_misuse_is_refused(words, message, tmp_path):
    assert message in refused(*words.split(), tmp_path=tmp_path)


@pytest.mark.large
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--kaggle-dir empty --out m", "empty holds no train_v2.csv"),
        ("--kaggle-dir labels --out m", "labels"),
        ("--kaggle-dir empty --out m --preset huge", "no preset is called 'huge'; choose one of densenet121, compact"),
    ],
)
def test_data_that_cannot_be_used_are_refused(words, message, tmp_path):
    assert message in refused(*words.split(), "--cache", str(tmp_path / "empty"), tmp_path=tmp_path)
