"""`geoscan train --tune`: a model learns from a few chips that a person reviewed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from geoscan.cli import options, streams
from geoscan.machine import check_memory_for_network

log = logging.getLogger(__name__)

_OPTIONS: Final = {"tune", "replay", "chips", "index", "out", "quiet", "verbose"}
"""All that --tune takes."""

_SHOWN: Final = {"mine": "reviewed as mine", "other": "reviewed as no mine", "kept": "of --replay"}


def tune(model: str | None, replay: Path | None, data: options.Data, out: Path) -> None:
    """Tune a model, and say what became of scores. Raises UsageError for options that are missing or do not fit."""
    context = click.get_current_context()
    given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if other := [name for name in given if name not in _OPTIONS]:
        raise click.UsageError(f"--{other[0].replace('_', '-')} does not go with --tune; leave it out")
    if not model or not replay or data.chips is None:
        raise click.UsageError("--tune needs --chips, those that were reviewed, and --replay; pass all three")
    check_memory_for_network()
    from geoscan.train.job import Job
    from geoscan.train.tune import tune

    tuned = tune(model, data.chips, replay, Job(out, out, track=options.track(" chips")))
    for name, one in tuned.changes.items():
        log.info("%d chips %s: mean mine score %.3f, now %.3f", one.chips, _SHOWN[name], one.before, one.after)
    streams.answer(f"{tuned.package.path}: figures and thresholds are those of {model}, not measured anew")
