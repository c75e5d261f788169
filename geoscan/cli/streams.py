"""Standard streams as they may be: closed, full, or gone with their terminal. What is said is never worth a result."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn

import click
from tqdm import tqdm

from geoscan.errors import OutputError, spelt

_OUTPUT: Final = 1
_ERROR: Final = 2
_CLOSED: Final[set[int]] = set()


def prepare() -> None:
    """Open what was closed before we began: the next file to be opened would get its number, and be written into.

    Libraries write to these numbers, and take `sys.stderr` for granted.
    """
    for number in (0, _OUTPUT, _ERROR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    _hush_words()
    if sys.stdout is None:
        _CLOSED.add(_OUTPUT)
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # as long as the process
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _hush_words() -> None:
    """Say nothing where rasterio could not log what GDAL said in words that are no UTF-8: that comes as an error, too.

    Python is told twice, each time without a place in any program.
    """

    def ignored(what: sys.UnraisableHookArgs) -> None:
        if not isinstance(what.exc_value, UnicodeDecodeError):
            sys.__unraisablehook__(what)

    def uncaught(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
        if place is not None or not isinstance(error, UnicodeDecodeError):
            sys.__excepthook__(kind, error, place)

    sys.unraisablehook, sys.excepthook = ignored, uncaught


def say(text: str) -> None:
    """Write a line to stderr, around a progress bar; whether anybody reads it makes no difference."""
    try:
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()
    except (OSError, ValueError):
        _give_up(_ERROR)


def answer(text: str, *, nl: bool = True) -> None:
    """Write what was asked for to stdout, with a line's end (nl). Raises OutputError where it does not get there."""
    if _OUTPUT in _CLOSED:
        raise OutputError("standard output is closed, so nothing can be printed; send it somewhere")
    try:
        click.echo(spelt(text, keep="\n\t"), nl=nl)
    except (OSError, ValueError) as error:
        _give_up(_OUTPUT)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"standard output could not be written: {reason}; send it elsewhere") from error


def give_up_output() -> None:
    """Forget what stdout still holds, where it cannot be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _give_up(_OUTPUT)


def leave(status: int) -> NoReturn:
    """End the process as it is, once all is written and said: threads of libraries may still compute.

    One that comes back to Python while the interpreter ends would abort the process.
    """
    give_up_output()
    os._exit(status)


def _give_up(number: int) -> None:
    """Let what goes to a stream go nowhere from now on: what it still holds would fail again when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
