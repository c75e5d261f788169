"""What several commands share: options for chips, pixels and jobs, how much is said, and whether progress is shown."""

from __future__ import annotations

import functools
import logging
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from geoscan.cli import streams
from geoscan.data.sources import INDEX, ChipsSource, KaggleSource, Source
from geoscan.errors import one_line
from geoscan.machine import AUTO, RUNTIMES
from geoscan.model.figures import POINTS
from geoscan.model.origin import NOT_STATED
from geoscan.progress import Advance, Track

_LOGGER = logging.getLogger("geoscan")
_GDAL = logging.getLogger("rasterio")


class _Handler(logging.Handler):
    """Writes lines to stderr around a progress bar: information as it is, anything worse with its level in front."""

    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(record.getMessage())  # a file's name may hold a line break
        if record.levelno > logging.INFO:
            text = f"{record.levelname.lower()}: {text}"
        streams.say(text)


class _GdalHandler(_Handler):
    """Writes what GDAL says where nobody listens, each thing once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = str(record.args[-1]) if isinstance(record.args, tuple) and record.args else record.getMessage()
        if text not in self._said:
            self._said.add(text)
            super().emit(logging.makeLogRecord({**vars(record), "msg": "GDAL says: %s", "args": (text,)}))


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


@dataclass(frozen=True, slots=True)
class Data:
    """Labelled chips as the command line names them."""

    kaggle: KaggleSource | None
    chips: ChipsSource | None
    gsd: float | None
    """Metres per pixel; None leaves it to what the chips are."""

    cache: Path | None

    @property
    def source(self) -> Source:
        """Kaggle's chips if they are given, the others otherwise."""
        source = self.kaggle or self.chips
        assert source is not None  # `data_source` lets nothing else through
        return source

    @property
    def cache_directory(self) -> Path:
        """Where prepared chips are kept. Raises OutputError for a user without a home."""
        from geoscan.files import cache_directory

        return self.cache or cache_directory()


def data_source(*, together: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add --kaggle-dir, --chips, --index, --gsd and --cache, which become one argument `data`.

    together: whether both kinds of chips may be given, and not one of them alone; --licence is then added too.
    """

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @_data_options(together)
        @functools.wraps(command)
        def wrapped(
            *args: Any,
            kaggle_dir: Path | None,
            chips: Path | None,
            index: Path | None,
            gsd: float | None,
            cache: Path | None,
            licence: str | None = None,
            **kwargs: Any,
        ) -> None:
            if chips and index is None and (chips / INDEX).is_file():
                index = chips / INDEX
            known = ChipsSource(chips, index, licence or NOT_STATED) if chips and index else None
            kaggle = KaggleSource(kaggle_dir) if kaggle_dir else None
            if (chips is None) != (index is None) or not (kaggle or known) or (kaggle and known and not together):
                either, all_three = ("", ", or all three") if together else ("either ", "")
                raise click.UsageError(f"pass {either}--kaggle-dir, or --chips and --index{all_three}")
            if licence and not known:
                raise click.UsageError("--licence is that of --chips; pass those too")
            command(*args, data=Data(kaggle, known, gsd, cache), **kwargs)

        with_licence = click.option(
            "--licence", help="Whose --chips are, and under what licence, for the card.  [default: not stated]"
        )
        return with_licence(wrapped) if together else wrapped

    return add


def verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Add -q and -v, which set how much is said on stderr: errors and warnings, information, all."""

    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> None:
        if quiet and verbose:
            raise click.UsageError("-q and -v contradict each other; pass one of them")
        _LOGGER.handlers = [_Handler()]
        _GDAL.handlers, _GDAL.propagate = [_GdalHandler()], False
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


def _levels(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float, float] | None:
    """Take one number, or one each for red, green and blue, as in 0.0001 or 0.02,0.02,0.03."""
    if value is None:
        return None
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise click.BadParameter(f"{value!r} is not one number, or three for red, green and blue", ctx, param)
    red, green, blue = numbers if len(numbers) == 3 else numbers * 3
    return red, green, blue


def pixels(command: Callable[..., None]) -> Callable[..., None]:
    """Add --bands, --scale, --offset, --stretch and --follow: what is read, and how its values become the look."""
    bands = click.option(
        "--bands", metavar="R,G,B", callback=_three, help="Numbers of the red, green and blue bands, from 1."
    )
    stretch = click.option(
        "--stretch",
        default="auto",
        show_default=True,
        help="auto, visual, reflectance, sentinel2-l1c, sentinel2-tci, planet-analytic or percentile:LOW,HIGH.",
    )
    scale = click.option(
        "--scale",
        metavar="S[,S,S]",
        callback=_levels,
        help="Reflectance is value x scale + offset, such as 0.0001.  [default: what metadata or the pixels say]",
    )
    offset = click.option("--offset", metavar="O[,O,O]", callback=_levels, help="See --scale; such as -0.1.")
    follow = click.option(
        "--follow",
        is_flag=True,
        help="Read what a VRT names on a network, too, and VRTs that lie on one: trust whoever made them.",
    )
    return bands(scale(offset(stretch(follow(command)))))


def thresholds(default: str | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add --operate, --high, --low, --isolated and --prior; default: the operating point, None for that of the scan."""
    as_scanned = "  [default: as the scan had it]"
    added = [
        click.option(
            "--operate",
            type=click.Choice(POINTS),
            default=default,
            show_default=default is not None,
            help="Operating point in the model's card: more mines found, or fewer false alarms."
            + ("" if default else as_scanned),
        ),
        click.option("--high", type=click.FloatRange(0, 1), help="Score that a detection's best chip must reach."),
        click.option("--low", type=click.FloatRange(0, 1), help="Score at which neighbouring chips join a detection."),
        click.option(
            "--isolated", type=click.FloatRange(0, 1), help="Score that a chip without neighbours must reach."
        ),
        click.option(
            "--prior",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            help="Fraction of the scene's chips that show a mine, for the column `probability`."
            + ("  [default: what the model's card assumes]" if default else as_scanned),
        ),
    ]
    return functools.partial(_with, added)


def tta(command: Callable[..., None]) -> Callable[..., None]:
    """Add --tta and --no-tta; None where neither is given."""
    return click.option(
        "--tta/--no-tta",
        default=None,
        help="Test-time augmentation: average the scores of the 8 rotations and mirror images of a chip: steadier, "
        "slower. Chips whose score for mines is next to nothing are not repeated.  "
        "[default: as the model's card has it]",
    )(command)


def runtime(command: Callable[..., None]) -> Callable[..., None]:
    """Add --runtime."""
    return click.option(
        "--runtime",
        type=click.Choice((AUTO, *RUNTIMES)),
        default=AUTO,
        show_default=True,
        help="What computes scores: auto is TensorFlow where it finds a GPU on this machine, OpenVINO elsewhere.",
    )(command)


def jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Add --jobs."""
    return click.option(
        "--jobs",
        type=click.IntRange(0),
        help="Threads that read and dehaze; all cores unless given, 0 works without any.",
    )(command)


def _data_options(together: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what adds the options of `data_source`."""
    beside = " Beside --kaggle-dir they are joined into mosaics." if together else ""
    gsd = "10 for --chips alone" if together else "the model's for --chips"
    kept = "Where prepared chips are kept." if together else "Where train keeps prepared chips, for --unseen."
    added = [
        click.option(
            "--kaggle-dir",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Directory of Kaggle's Planet set: train_v2.csv and train-jpg/ or train-tif-v2/.",
        ),
        click.option(
            "--chips",
            type=click.Path(exists=True, path_type=Path),
            help=f"Zip archive or directory of chips that show a mine or not.{beside}",
        ),
        click.option(
            "--index",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Table for --chips with the columns file, label (mine or other) and, if known, source_gallery.  "
            "[default: index.csv in --chips]",
        ),
        click.option(
            "--gsd",
            type=click.FloatRange(0, min_open=True),
            help=f"Metres per pixel of the chips.  [default: 3.4 for Kaggle's, {gsd}]",
        ),
        click.option(
            "--cache",
            type=click.Path(file_okay=False, path_type=Path),
            help=f"{kept}  [default: ~/.cache/geoscan]",
        ),
    ]

    return functools.partial(_with, added)


def _with(
    added: Sequence[Callable[[Callable[..., None]], Callable[..., None]]], command: Callable[..., None]
) -> Callable[..., None]:
    """Add options, which the help lists in their order."""
    for option in reversed(added):
        command = option(command)
    return command
