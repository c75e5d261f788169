"""What other scans, and people, say of a detection."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """What became of a mine since an earlier layer, as the column `status` has it."""

    NEW = "new"
    KNOWN = "known"
    GROWN = "grown"
    """Known, and now larger by more than outlines of chips vary."""

    GONE = "gone"
    """It was found earlier, and is not where the scene was seen."""

    UNSEEN = "unseen"
    """It was found earlier, and the scene does not show the place: cloud, nodata, or beyond its edge."""


ABSENT: Final = (Status.GONE, Status.UNSEEN)
"""Of what was found earlier alone: it is kept in a layer, and counts as no detection."""


class Review(StrEnum):
    """What a person says of a detection, as the column `review` has it."""

    UNREVIEWED = "unreviewed"
    MINE = "mine"
    NOT_MINE = "not_mine"
