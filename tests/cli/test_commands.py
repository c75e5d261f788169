"""The command line as a whole: help, misspelt words, and what it costs to ask."""

import subprocess
import sys

import pytest
from click.testing import CliRunner
from conftest import write_scene

from geoscan.cli import _COMMANDS, main

COMMANDS = tuple(_COMMANDS)
HEAVY = ("tensorflow", "keras", "rasterio", "dask", "distributed", "cv2", "numpy", "geopandas", "shapely")


def refused(*words: str) -> str:
    """Run a command that is misused; return its one line."""
    result = CliRunner().invoke(main, words, prog_name="geoscan")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("geoscan: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("geoscan: ").rstrip()


def test_help_names_every_command_and_an_example():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "Example:  geoscan scene.tif --out mines.geojson" in result.stdout
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_an_example(command):
    for flag in ("--help", "-h"):
        result = CliRunner().invoke(main, [command, flag])
        assert result.exit_code == 0
        assert "Example" in result.stdout
        assert f"geoscan {command}" in result.stdout or (command == "scan" and "geoscan scene.tif" in result.stdout)


def test_no_arguments_show_the_help():
    result = CliRunner().invoke(main, [])
    assert "Usage: " in result.output
    assert "Example:" in result.output


def test_the_version_is_the_package_s():
    from geoscan import __version__

    assert __version__ in CliRunner().invoke(main, ["--version"]).stdout


@pytest.mark.parametrize("words", ["--help", "scan --help", "train --help", "dehaze -h", "scan --otu x a.tif"])
def test_help_and_misuse_import_nothing_heavy(words):
    code = (
        "import sys\nfrom geoscan.cli import main\n"
        "try:\n    main()\nfinally:\n"
        f"    print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    # `-c` leaves sys.argv[1:] to the command.
    result = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("trian",), "did you mean train?"),
        (("trian", "--kaggle-dir", "planet", "--out", "models/x"), "did you mean train?"),
        (("model",), "did you mean models?"),
        (("dehase", "scene.tif"), "did you mean dehaze?"),
        (("scan", "--otu", "x.geojson", "a.tif"), "'--out'"),
        (("a.tif", "--out", "x.geojson", "--strid", "3"), "'--stride'?"),
        (("--schedular", "tcp://x", "a.tif"), "Did you mean '--scheduler'?"),
        (("dehaze", "a.tif", "--airligth", "fixed"), "Did you mean '--airlight'?"),
        (("train", "--kagle-dir", "x"), "Did you mean '--kaggle-dir'?"),
        (("SCAN", "a.tif"), "did you mean scan?"),
        (("help", "scan"), "did you mean --help?"),
        (("Version",), "did you mean --version?"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else words[-12:],
)
def test_a_misspelt_word_is_answered_with_the_near_one(words, near):
    assert near in refused(*words)


def test_a_scene_may_be_called_almost_like_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path / "trian")
    assert "no model is called 'x'" in refused("trian", "--out", "x.geojson", "--model", "x")


@pytest.mark.parametrize(
    "words", [("-q", "check", "a.tif"), ("--airlight", "fixed", "check", "a.tif"), ("a.tif", "check"), ("-v", "check")]
)
def test_a_command_behind_its_options_or_a_scene_starts_no_scan(words):
    assert "a command comes first, and its options behind it: geoscan check ..." in refused(*words)


def test_what_an_option_takes_and_a_scene_may_be_called_like_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "check has no suffix" in refused("--out", "check", "a.tif")
    assert "Missing argument 'SCENE...'" in refused("--journal", "train")
    write_scene(tmp_path / "check")
    assert "no model is called 'x'" in refused("--out", "x.geojson", "--model", "x", "check")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_may_stand_behind_a_scene(flag):
    result = subprocess.run(
        [sys.executable, "-m", "geoscan", "a.tif", flag], capture_output=True, text=True, check=True
    )
    assert "geoscan scan [OPTIONS] SCENE..." in result.stdout


def test_quiet_and_verbose_exclude_each_other():
    assert "-q and -v contradict each other" in refused("models", "-q", "-v")


def test_misuse_says_where_the_help_is():
    assert refused("scan").endswith("Missing argument 'SCENE...'. See geoscan scan --help.")
