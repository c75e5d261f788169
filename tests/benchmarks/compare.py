"""How fast geoscan is, beside its parts, its limits and others: one command prints tables and writes JSON.

    python tests/benchmarks/compare.py --json speed.json --torch-python bench-env/bin/python
    python tests/benchmarks/compare.py --only start,stages
    python tests/benchmarks/compare.py --only stages,runtimes --models planet,before/planet

Run it on a machine that does nothing else; all sections take about 25 minutes on 2 cores. The plain script and TorchGeo
run in an environment of their own:

    python3 -m venv bench-env && bench-env/bin/pip install torch rasterio opencv-python-headless torchgeo requests

What a section found is written as soon as it ends, beside what the file holds of other sections.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from sections import amazon, growth, machine_facts, ratios, runtimes, stages, start, tables, torchgeo_loader
from sections.work import TINY, Found, Sizes, Work

from geoscan.errors import PackageError
from geoscan.model.shipped import find

SECTIONS: Final[Mapping[str, Callable[[Work, Found], None]]] = {
    "start": start.measure,
    "ratios": ratios.measure,
    "torchgeo": torchgeo_loader.measure,
    "stages": stages.measure,
    "runtimes": runtimes.measure,
    "growth": growth.measure,
    "amazon": amazon.measure,
}
"""In the order in which they are run: `amazon` needs `growth`."""

_BUSY: Final = 0.5
"""Processes at work before the first section."""

TORCH_PYTHON: Final = "GEOSCAN_BENCH_TORCH"


def main(words: list[str] | None = None) -> None:
    """Read the command line, and measure what it asks for."""
    options, sections = _asked(words)
    machine, failed = machine_facts.facts(), False
    sys.stdout.write(json.dumps(machine, indent=2) + "\n")
    if (machine["load"] or 0) > _BUSY:
        sys.stderr.write(f"warning: this machine is busy (load {machine['load']:.1f}), so figures are too low\n")
    sizes = TINY if options.tiny else Sizes()
    sizes = replace(sizes, models=options.models or sizes.models)
    with tempfile.TemporaryDirectory(prefix="geoscan-bench-") as folder:
        for name in options.only:
            work = Work(Path(folder), sizes, options.torch_python, sections)
            sections[name] = {**_measured(name, work), "tiny": options.tiny, "machine": machine}
            failed = failed or bool(sections[name]["error"])
            sys.stdout.write(f"\n{tables.section(name, sections[name])}\n")
            sys.stdout.flush()
            if options.json:
                _write(options.json, {"sections": sections})
    sys.exit(int(failed))


def _asked(words: list[str] | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Read the command line, and what the file for the figures holds already; end with 2 where they do not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the figures; sections that it holds already are kept")
    parser.add_argument("--only", type=_sections, default=list(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    parser.add_argument(
        "--torch-python",
        default=os.environ.get(TORCH_PYTHON),
        help=f"Python of an environment that has torch; ${TORCH_PYTHON} unless given",
    )
    parser.add_argument(
        "--models", type=_models, help="packages to take apart, by name or directory; those that ship unless given"
    )
    parser.add_argument("--tiny", action="store_true", help="measure next to nothing, to see whether it runs")
    options = parser.parse_args(words)
    if options.torch_python and not shutil.which(options.torch_python):
        parser.error(f"--torch-python {options.torch_python} is no program; give a Python that has torch")
    try:
        return options, _known(options.json)
    except (OSError, ValueError, KeyError, TypeError) as err:
        parser.error(f"--json {options.json} cannot be taken further ({err!r}); name another file")


def _known(path: Path | None) -> dict[str, Any]:
    """Read what a file holds of sections; nothing where there is none yet.

    Raises OSError, ValueError, KeyError or TypeError where it is something else, or could not be written.
    """
    if path is None:
        return {}
    if not path.exists():
        _write(path, {"sections": {}})
    sections: dict[str, Any] = json.loads(path.read_text())["sections"]
    return sections


def _sections(text: str) -> list[str]:
    """Take names of sections, and bring them in order."""
    asked = set(text.split(","))
    if unknown := asked - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"no section is called {unknown.pop()!r}; choose some of {','.join(SECTIONS)}")
    return [name for name in SECTIONS if name in asked]


def _models(text: str) -> tuple[str, ...]:
    """Take names and directories of packages."""
    names = tuple(text.split(","))
    try:
        for name in names:
            find(name)
    except PackageError as err:
        raise argparse.ArgumentTypeError(str(err)) from err
    return names


def _measured(name: str, work: Work) -> dict[str, Any]:
    """Measure a section; where something goes wrong, say what, for the others go on."""
    found, start, error = Found(), time.perf_counter(), ""
    try:
        SECTIONS[name](work, found)
    except Exception as err:
        error = f"{type(err).__name__}: {err}"
        traceback.print_exc()
    return {**asdict(found), "error": error, "seconds": round(time.perf_counter() - start, 1)}


def _write(path: Path, report: Mapping[str, Any]) -> None:
    """Replace the file whole: an interrupted run leaves the one before."""
    part = path.with_name(f".part-{path.name}")
    part.write_text(json.dumps(report, indent=2) + "\n")
    part.replace(path)


if __name__ == "__main__":
    main()
