"""How work tells how far it is, without knowing who shows it."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Called with the number of items done since the last call."""

Track: TypeAlias = Callable[[Iterable[int]], Iterable[int]]
"""Wraps an iterable to show how far it is; `iter` shows nothing."""
