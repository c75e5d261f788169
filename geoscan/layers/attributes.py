"""What the columns of a layer are and mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class Attribute(NamedTuple):
    """One attribute of a feature."""

    dtype: str
    """As pandas names it."""

    meaning: str

    @property
    def alias(self) -> str:
        """The meaning in short, as a GIS shows it at the head of a column."""
        start = re.split("[,;:]", self.meaning)[0]
        return start[:1].upper() + start[1:]


def columns(rows: Sequence[Mapping[str, Any]], attributes: Mapping[str, Attribute]) -> dict[str, pd.Series[Any]]:
    """Give rows as typed columns, which a table without rows has too."""
    import pandas as pd

    return {name: pd.Series([row[name] for row in rows], dtype=one.dtype) for name, one in attributes.items()}
