"""The command line: one module a command, whose body only translates words into calls."""

from __future__ import annotations

import difflib
import errno
import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from geoscan.cli import streams
from geoscan.errors import GeoscanError, one_line
from geoscan.machine import check_memory, is_shortage

_COMMANDS = {
    "scan": "Scan scenes for artisanal gold mines (the default).",
    "merge": "Make a layer of journals, with other thresholds.",
    "compare": "Tell what is new, known, grown or gone between two layers.",
    "review": "Make chips to train on of reviewed polygons.",
    "check": "Say what a scene is and how it will be read.",
    "dehaze": "Write a whole scene with its haze removed.",
    "models": "List the models that are installed.",
    "train": "Train a model on labelled chips.",
    "evaluate": "Measure a model on chips that it has not seen.",
}
_OPTIONS = {"help": "--help", "version": "--version"}
"""What other programs have as commands, and this one as options."""

_DEFAULT = "scan"
_NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())  # click 8.1 has none, and prints help itself


class _Failure(click.ClickException):
    """What ends a command: one line on stderr and an exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(one_line(message))
        self.exit_code = status  # type: ignore[misc]  # click means one class a status

    def show(self, file: IO[Any] | None = None) -> None:
        streams.say(f"geoscan: {self.message}")


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn what is raised on purpose, and misuse of the command line, into one line and an exit status."""
    try:
        yield
    except _NO_ARGUMENTS:
        raise
    except click.UsageError as err:
        message = err.format_message()
        message += "" if message.endswith((".", "?", ")")) else "."
        help_of = f" See {err.ctx.command_path} --help." if err.ctx else ""
        raise _Failure(message + help_of, err.exit_code) from err
    except KeyboardInterrupt as err:
        raise _Failure(str(err) or "interrupted", 1) from err
    except Exception as err:
        if isinstance(err, OSError) and err.errno == errno.EPIPE:
            raise  # click ends in silence for a reader that has gone, as of `geoscan --help | head`
        if (line := _line(err)) is None:
            raise
        raise _Failure(line, getattr(err, "exit_status", 1)) from err


def _line(err: Exception) -> str | None:
    """Say what went wrong; None for what nobody foresaw, which needs its traceback."""
    if isinstance(err, GeoscanError):
        return str(err)
    if is_shortage(err):
        return "memory ran out; pass a smaller --batch or fewer --jobs, or end other programs"
    if isinstance(err, OSError):
        streams.give_up_output()
        return f"{err.strerror or err}{f': {err.filename}' if err.filename else ''}"
    return None


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let what asks a process to end do what Ctrl-C does: leave no half-written file behind."""

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    asked = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    ours = [number for number in asked if signal.getsignal(number) is signal.SIG_DFL]  # nohup has SIGHUP ignored
    if threading.current_thread() is not threading.main_thread():
        ours = []
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


class _Commands(click.Group):
    """Commands that are imported when they run, and `geoscan SCENE` short for `geoscan scan SCENE`."""

    _own_process = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        check_memory()
        command: click.Command = getattr(importlib.import_module(f"geoscan.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them: `geoscan --help` answers at once."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if args and args[0] not in _COMMANDS and args[0] not in own:
            if meant := _near_command(args[0]):
                raise click.UsageError(f"{args[0]!r} is neither a scene nor a command; did you mean {meant}?", ctx)
            if late := self._late_command(ctx, args):
                raise click.UsageError(f"a command comes first, and its options behind it: geoscan {late} ...", ctx)
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def _late_command(self, ctx: click.Context, args: list[str]) -> str | None:
        """Return the command that stands where scenes do; None where there is none, or something has that name."""
        scan = self.get_command(ctx, _DEFAULT)
        assert scan is not None
        lenient = click.Context(scan, ctx, resilient_parsing=True, ignore_unknown_options=True)
        given, _, _ = scan.make_parser(lenient).parse_args(list(args))
        scenes = given.get("scenes")
        words = scenes if isinstance(scenes, tuple) else ()  # click has a mark of its own for none
        return next((word for word in words if word in _COMMANDS and not Path(word).exists()), None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what `main` does, as the program of a process, which ends where it is interrupted."""
        in_main = threading.current_thread() is threading.main_thread()
        self._own_process = in_main and kwargs.get("standalone_mode", True)
        try:
            return super().__call__(*args, **kwargs)
        finally:
            self._own_process = False

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run what the words of the command line say."""
        streams.prepare()
        with _ended_by_signals():
            return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse what stands before the command."""
        with _one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with _one_line():
                return super().invoke(ctx)
        except _Failure as failure:
            if self._own_process and isinstance(failure.__cause__, KeyboardInterrupt):
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is cleaned up: there is nothing more to interrupt
                failure.show()
                streams.leave(failure.exit_code)
            raise


def _near_command(word: str) -> str | None:
    """Return the command or option that a word may have meant; None for what is or may be a scene, or an option."""
    near = difflib.get_close_matches(word.lower(), (*_COMMANDS, *_OPTIONS), n=1)
    if not near or word.startswith("-") or any(mark in word for mark in "./:\\") or Path(word).exists():
        return None
    return _OPTIONS.get(near[0], near[0])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
    epilog="Example:  geoscan scene.tif --out mines.geojson",
)
@click.version_option(package_name="geoscan")
def main() -> None:
    """Find artisanal gold mines in large satellite scenes.

    `geoscan SCENE ...` is short for `geoscan scan SCENE ...`; each command has its own --help.
    """
