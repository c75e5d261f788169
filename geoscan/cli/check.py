"""`geoscan check`: what a scene is and how it will be read."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from geoscan.cli import options, streams

if TYPE_CHECKING:
    from geoscan.arrays import Visual
    from geoscan.scanning.check import Check

log = logging.getLogger(__name__)

_ACROSS = 6
"""Chips side by side on the contact sheet."""


@click.command(epilog="Example:  geoscan check scene.tif --preview chips.png")
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option("--model", default="auto", show_default=True, help="Shipped model, or directory of a package.")
@options.pixels
@click.option(
    "--preview",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG to write: a contact sheet of chips as the model would see them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON, an object a scene and line.")
@options.verbosity
def check(scenes: tuple[str, ...], model: str, preview: Path | None, as_json: bool, **asked: Any) -> None:
    """Say what scenes are and how a scan will read them, without running a model.

    The exit status is 2 when one of them cannot be scanned, and 1 when chips of one could not be read; the others are
    told all the same.
    """
    from geoscan.errors import GeoscanError, MadeHereError
    from geoscan.model.shipped import find, shipped
    from geoscan.scanning.check import check as check_scene
    from geoscan.scanning.check import find_each_once, reason
    from geoscan.scanning.options import ScanOptions
    from geoscan.scene import Scene

    if preview is not None:
        from geoscan.files import check_target

        check_target(preview, (".png",), "picture", scenes)
    package = None if model == "auto" else find(model)
    wanted, packages = ScanOptions(model, **asked), shipped()
    looks: list[Visual] = []
    read: list[str] = []
    status = 0
    for address in find_each_once(scenes):
        try:
            with _heard() as said:
                scene = Scene.open(address, bands=wanted.bands, follow=wanted.follow)
                found, chips = check_scene(scene, wanted, package, packages)
        except GeoscanError as error:
            if isinstance(error, MadeHereError) and address not in scenes:  # a folder happens to hold it
                log.info("passed over: %s", error)
                continue
            status = max(status, error.exit_status)
            streams.answer(
                json.dumps({"scene": address, "error": reason(error)}) if as_json else f"geoscan: {reason(error)}"
            )
            continue
        status = max(status, int(found.failed > 0))
        looks += chips
        read += scene.product.files
        if as_json:  # who reads text has read on stderr what was said meanwhile
            told = {**found.to_dict(), "warnings": list(dict.fromkeys([*said, *found.warnings]))}
        streams.answer(json.dumps(told) if as_json else _text(found))
    if preview is not None and looks:
        check_target(preview, (".png",), "picture", read)
        _write(preview, looks)
    if status:
        click.get_current_context().exit(status)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Give the warnings that are logged meanwhile."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    ear = Ear(logging.WARNING)
    logger = logging.getLogger("geoscan")
    logger.addHandler(ear)
    try:
        yield said
    finally:
        logger.removeHandler(ear)


def _text(found: Check) -> str:
    across, down = found.gsd
    size = f"{across:.3g} m" if math.isclose(across, down, rel_tol=0.01) else f"{across:.3g} x {down:.3g} m"
    fits = "; ".join(f"{one.model} ({one.gsd:g} m) {one.reading}" for one in found.models)
    nodata = ", ".join("none" if value is None else f"{value:g}" for value in found.nodata)
    rows = {
        "scene": found.scene,
        **found.reading,
        "place": f"{found.crs}, {found.rows} x {found.cols} px of {size}",
        "pixels": f"{found.dtype}, {found.layout}, nodata {nodata}",
        "models": f"{fits}; a scan takes {found.model}",
        "work": _work(found),
        "data": f"{found.observed_share:.0%} of the chips that were looked at",
    }
    lines = [f"{name + ':':<10}{text}" for name, text in rows.items()]
    return "\n".join([*lines, *(f"warning:  {text}" for text in found.warnings)]) + "\n"


def _work(found: Check) -> str:
    cost = found.cost
    reading = f"{_duration(cost.preparing_seconds)} of it to read and prepare them, as measured"
    return (
        f"{found.chips:,} chips; about {_between(cost.seconds)} without a GPU, {reading}; "
        f"about {cost.memory_mb / 1024:.1f} GB of memory"
    )


def _between(seconds: tuple[float, float]) -> str:
    low, high = map(_duration, seconds)
    return low if low == high else f"{low} to {high}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _write(path: Path, chips: list[Visual]) -> None:
    """Write a contact sheet, with a grey line between chips."""
    import cv2

    from geoscan.files import replacing

    side = max(max(chip.shape[1:]) for chip in chips) + 4
    sheet = np.full((-(-len(chips) // _ACROSS) * side, _ACROSS * side, 3), 128, np.uint8)
    for n, chip in enumerate(chips):
        row, col = divmod(n, _ACROSS)
        _, rows, cols = chip.shape
        sheet[row * side + 2 : row * side + 2 + rows, col * side + 2 : col * side + 2 + cols] = chip.transpose(1, 2, 0)
    with replacing(path) as part:
        part.write_bytes(cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]))[1].tobytes())
