"""Tables for people, in Markdown that reads well as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sections.work import Row


def section(name: str, found: Mapping[str, Any]) -> str:
    """All tables of a section, and what it left out."""
    parts = [f"## {name} ({found['seconds']:.0f} s)"]
    parts += [f"{title}:\n\n{table(rows)}" for title, rows in found["tables"].items()]
    parts += [f"skipped: {what}: {why}" for what, why in found["skipped"].items()]
    return "\n\n".join(parts + ([f"failed: {found['error']}"] if found["error"] else []))


def table(rows: Sequence[Row]) -> str:
    """Columns are the keys of all rows, in the order in which they come."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_text(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head, *body = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body])


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
