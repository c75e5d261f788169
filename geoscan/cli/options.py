"""What several commands share: options for pixels, jobs and how much is said, and whether progress is shown."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

import click
from tqdm import tqdm

from geoscan.progress import Advance, Track

_LOGGER = logging.getLogger("geoscan")


class _Handler(logging.Handler):
    """Writes lines to stderr around a progress bar: information as it is, anything worse with its level in front, once.

    Where a set of chips is listed twice, nobody wants to hear twice what is wrong with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().replace("\n", " ")  # a file's name may hold one
        if record.levelno > logging.INFO:
            text = f"{record.levelname.lower()}: {text}"
            if text in self._said:
                return
            self._said.add(text)
        tqdm.write(text, file=sys.stderr)


def silent() -> bool:
    """Tell whether progress bars stay away: when asked to be quiet, or when stderr is no terminal."""
    return _LOGGER.level >= logging.WARNING or not sys.stderr.isatty()


def advance(bar: tqdm[Any]) -> Advance:
    """Return a callback that advances a progress bar by n."""

    def by(n: int) -> None:
        bar.update(n)

    return by


def track(unit: str) -> Track:
    """Return what wraps an iterable to show a progress bar that counts in `unit`."""
    return lambda items: tqdm(items, unit=unit, disable=silent(), leave=False)


def verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Add -q and -v, which set how much is said on stderr: errors and warnings, information, all."""

    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> None:
        if quiet and verbose:
            raise click.UsageError("-q and -v contradict each other; pass one of them")
        _LOGGER.handlers = [_Handler()]
        _LOGGER.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
        command(*args, **kwargs)

    return wrapped


def _three(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int, int] | None:
    """Take three band numbers, as in 3,2,1."""
    if value is None:
        return None
    parts = value.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(
            f"{value!r} does not name three bands; give red, green, blue, such as 3,2,1", ctx, param
        )
    red, green, blue = map(int, parts)
    return red, green, blue


def pixels(command: Callable[..., None]) -> Callable[..., None]:
    """Add --bands and --stretch: which bands are read, and how their values become the visual look."""
    bands = click.option(
        "--bands", metavar="R,G,B", callback=_three, help="Numbers of the red, green and blue bands, from 1."
    )
    stretch = click.option(
        "--stretch",
        default="auto",
        show_default=True,
        help="auto, visual, sentinel2-l1c, sentinel2-tci, planet-analytic or percentile:LOW,HIGH.",
    )
    return bands(stretch(command))


def tta(command: Callable[..., None]) -> Callable[..., None]:
    """Add --tta and --no-tta; None where neither is given."""
    return click.option(
        "--tta/--no-tta",
        default=None,
        help="Test-time augmentation: average the scores of the 8 rotations and mirror images of a chip: steadier, "
        "slower. Chips on which no label scores 0.02 are not repeated.  [default: as the model's card has it]",
    )(command)


def jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Add --jobs."""
    return click.option(
        "--jobs",
        type=click.IntRange(0),
        help="Threads that read and dehaze; all cores unless given, 0 works without any.",
    )(command)
