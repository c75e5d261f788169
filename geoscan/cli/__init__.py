"""The command line: one module a command, whose body only translates words into calls."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import click

from geoscan.errors import GeoscanError

_COMMANDS = {
    "scan": "Scan scenes for artisanal gold mines (the default).",
    "dehaze": "Write a whole scene with its haze removed.",
    "models": "List the models that are installed.",
    "train": "Train a model on Kaggle's Planet set.",
}
_DEFAULT = "scan"


class _Commands(click.Group):
    """Commands that are imported when they run, and `geoscan SCENE` short for `geoscan scan SCENE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"geoscan.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them: `geoscan --help` answers at once."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if args and args[0] not in _COMMANDS and args[0] not in own:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Turn what geoscan raises on purpose into one line and an exit status."""
        try:
            return super().invoke(ctx)
        except GeoscanError as err:
            click.echo(f"geoscan: {' '.join(str(err).split())}", err=True)
            ctx.exit(err.exit_status)
        except KeyboardInterrupt:
            click.echo("geoscan: interrupted", err=True)
            ctx.exit(1)


def near_command(word: str) -> str | None:
    """Return the command that a misspelt word may have meant."""
    return next(iter(difflib.get_close_matches(word, _COMMANDS, n=1)), None)


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


if __name__ == "__main__":
    sys.exit(main())
