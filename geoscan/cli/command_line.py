"""The command as a layer tells it: what was asked for, without what changes no result, and without secrets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

import click
from click.core import ParameterSource

from geoscan.gdal import presentable

_FILES: Final = ("out", "obscured", "heatmap", "report", "journal")
_NO_RESULT: Final = frozenset(
    (*_FILES, "jobs", "scheduler", "batch", "fresh", "progress", "as_json", "verbose", "quiet")
)
"""Options that change where results go, and how fast, and not what they are: equal scans are to be equal files."""


_LOGIN: Final = re.compile(r"(?<=://)[^/@\s]*@")
"""In an address: a user's name and password."""


def command_line() -> str:
    """Spell the command that runs; empty outside of one."""
    context = click.get_current_context(silent=True)
    if context is None:
        return ""
    words = [word for parameter in context.command.params for word in _spelt(parameter, context)]
    return shlex.join(["geoscan", context.info_name or "", *words])


def _spelt(parameter: click.Parameter, context: click.Context) -> Iterator[str]:
    name = parameter.name or ""
    if name in _NO_RESULT or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
        return
    value = context.params[name]
    if isinstance(parameter, click.Argument):
        yield from (_public(one) for one in (value if isinstance(value, tuple) else (value,)))
    elif isinstance(value, bool):
        yield (parameter.opts if value else parameter.secondary_opts or parameter.opts)[0]
    else:
        yield from (parameter.opts[0], _option(value))


def _option(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else _public(value)


def _public(value: Any) -> str:
    return _LOGIN.sub("", presentable(str(value)))
