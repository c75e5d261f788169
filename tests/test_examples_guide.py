"""The guide for people who have never used a terminal: it quotes what geoscan says, and links lead somewhere."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from geoscan.cli import main

EXAMPLES = Path(__file__).parents[1] / "examples"
GUIDE = (EXAMPLES / "GUIDE.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"`([^`]+)`", GUIDE.split("| message | what to do |")[1].split("\n\n")[0])


def quoted(said):
    """The messages of the guide all of whose parts are in what was said."""
    return [one for one in MESSAGES if all(part.strip() in said for part in one.split("...") if part.strip())]


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["missing.tif", "--out", "mines.gpkg"], "... does not exist"),
        (["GUIDE.md", "--out", "mines.gpkg"], "... not recognized"),
        (["coarse.tif", "--out", "mines.shp"], "... names no vector format"),
        (["coarse.tif"], "nothing would be written"),
        (["coarse.tif", "--out", "mines.gpkg"], "... has 300 m pixels"),
    ],
)
def test_messages_are_quoted_as_they_come(make_scene, tmp_path, monkeypatch, words, begins):
    make_scene(name="coarse.tif", gsd=300)
    (tmp_path / "GUIDE.md").write_text("no image")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, words, prog_name="geoscan")
    assert result.exit_code == 2
    assert [one for one in quoted(result.stderr) if one.startswith(begins)], result.stderr


@pytest.mark.large
def test_the_first_scan_says_what_the_guide_says(tmp_path):
    words = [str(EXAMPLES / "scene.tif"), "--out", str(tmp_path / "mines.gpkg")]
    result = CliRunner().invoke(main, words, prog_name="geoscan")
    shown = GUIDE.split("It says:\n\n```\n")[1].split("```")[0]

    def timeless(text):
        return re.sub(r"[\d.]+ s, [\d.]+ chips/s", "", text)

    assert timeless(result.stderr) == timeless(shown)


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", GUIDE)
    assert links
    for link in links:
        assert link.startswith("https://") or (EXAMPLES / link).exists(), link
