"""What the README says of numbers, options and columns that the code knows."""

import re
from pathlib import Path

import click
import pytest

from geoscan.cli import main
from geoscan.layers import ATTRIBUTES
from geoscan.model.shipped import shipped
from geoscan.resolution import native_range, usable_range

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "examples" / "GUIDE.md").read_text(encoding="utf-8")


def options() -> set[str]:
    context = click.Context(main)
    commands = [main.get_command(context, name) for name in main.list_commands(context)]
    return {
        option
        for one in (main, *commands)
        for parameter in one.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


def test_it_is_short():
    assert len(README.split()) < 1300


@pytest.mark.parametrize("text", [README, EXAMPLES, GUIDE], ids=["README", "examples", "guide"])
def test_every_option_exists(text):
    ours = text.split("## Changes")[0]  # which names options that are gone
    ours = re.sub(r"`[^`]*(ablate\w*\.py|compare\.py|pytest|dask worker|wsl)[^`]*`", "", ours)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours))
    assert named
    assert named - {"--help"} <= options()


def test_every_command_exists():
    context = click.Context(main)
    words = set(re.findall(r"^geoscan ([a-z]+) ", README, re.MULTILINE))
    assert words
    assert words <= set(main.list_commands(context))


@pytest.mark.parametrize("package", shipped(), ids=lambda one: one.card.name)
def test_resolution_ranges_are_those_of_the_code(package):
    row = re.search(
        rf"^\| `{package.card.name}` \| ([\d.]+) to ([\d.]+) m \| ([\d.]+) to ([\d.]+) m \|", README, re.MULTILINE
    )
    assert row is not None
    gsd = package.card.preprocess.gsd
    assert [float(one) for one in row.groups()] == pytest.approx([*native_range(gsd), *usable_range(gsd)])


def test_every_attribute_of_a_layer_is_explained():
    table = README.split("| attribute | meaning |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table.replace("`prior` of", ""))) == set(ATTRIBUTES)


@pytest.mark.parametrize("text", [README, EXAMPLES], ids=["README", "examples"])
def test_links_lead_somewhere(text):
    here = ROOT if text is README else ROOT / "examples"
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (here / link).exists(), link
