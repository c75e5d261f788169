"""Scan every file of a folder by the command line and print what came of it, as a table in Markdown.

Run it: python tests/scenes_table.py FOLDER --model DIR [--model DIR ...]
A file that the first model refuses for its resolution is given to the next one.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from geoscan.finding import SUFFIXES

_TOO_FAR_OFF = "pixels; the model works at"


@dataclass(frozen=True)
class Row:
    """One file and what its scan came to."""

    file: str
    model: str
    status: int
    stdout: str
    stderr: str
    seconds: float
    written: bool

    @property
    def result(self) -> str:
        """The figures, or the message where there are none."""
        if not self.stdout:
            return self.stderr.strip().removeprefix("geoscan: ")
        figures = json.loads(self.stdout)
        said = (
            f"{figures['chips']} chips, {figures['skipped']} skipped, {figures['failed']} failed, "
            f"{figures['detections']} detections, {figures['observed_fraction']:.0%} observed"
        )
        return "; ".join([said, *self.stderr.strip().splitlines()])


def scan_all(folder: Path, models: Sequence[Path]) -> Iterator[Row]:
    """Yield a row for each raster in `folder`, as it is done."""
    for file in sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES):
        for model in models:
            row = _scan(file, model)
            if _TOO_FAR_OFF not in row.stderr:
                break
        yield row


def _scan(file: Path, model: Path) -> Row:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "mines.geojson"
        words = ["scan", str(file), "--out", str(out), "--model", str(model), "--json", "-q"]
        done = subprocess.run([sys.executable, "-m", "geoscan", *words], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        return Row(file.name, model.name, done.returncode, done.stdout, done.stderr, seconds, out.exists())


def markdown(rows: Iterator[Row]) -> Iterator[str]:
    """The table's lines."""
    yield "| file | model | result or message | exit status | seconds |"
    yield "|---|---|---|---|---|"
    for row in rows:
        result = " ".join(row.result.split()).replace("|", "\\|")
        yield f"| {row.file} | {row.model} | {result} | {row.status} | {row.seconds:.1f} |"


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--model", "models", multiple=True, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
def main(folder: Path, models: tuple[Path, ...]) -> None:
    """Print the table of FOLDER."""
    for line in markdown(scan_all(folder, models)):
        click.echo(line)


if __name__ == "__main__":
    main()
