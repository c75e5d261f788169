"""The 17 labels of Kaggle's "Planet: Understanding the Amazon from Space", in Kaggle's spelling."""

from collections.abc import Iterable

WEATHER = ("clear", "partly_cloudy", "haze", "cloudy")
"""Exactly one of these holds for a chip."""

LAND = (
    "primary",
    "agriculture",
    "road",
    "water",
    "cultivation",
    "habitation",
    "bare_ground",
    "selective_logging",
    "artisinal_mine",
    "blooming",
    "slash_burn",
    "conventional_mine",
    "blow_down",
)
"""Any number of these holds for a chip."""

LABELS = WEATHER + LAND

MINE = "artisinal_mine"
"""Kaggle's spelling, kept on disk and in code; people read `readable(MINE)`."""


MINE_COLUMN = LABELS.index(MINE)
"""Column of mines in targets and scores of all 17 labels."""


def columns(labels: Iterable[str]) -> list[int]:
    """Columns of some labels in targets and scores of all 17."""
    return [LABELS.index(label) for label in labels]


_READABLE = {MINE: "artisanal mine"}


def readable(label: str) -> str:
    """The label as people write it: `artisinal_mine` is "artisanal mine"."""
    return _READABLE.get(label, label.replace("_", " "))


def in_one_word(label: str) -> str:
    """The label as people write it, in one word: `artisinal_mine` is `artisanal_mine`."""
    return readable(label).replace(" ", "_")


SPELLINGS = {word: label for label in LABELS for word in (label, in_one_word(label))}
"""Labels by all that they are called in tables: Kaggle's spelling, and that of columns of geoscan's own layers."""
