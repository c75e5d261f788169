"""Not yet."""

from __future__ import annotations

from geoscan.products import Product


def recognise(path: str) -> Product | None:
    """Give None: to be written."""
    return None
