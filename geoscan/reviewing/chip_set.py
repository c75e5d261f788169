"""Write chips that a person has reviewed: a folder of pictures, and an index of what each shows."""

from __future__ import annotations

import csv
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from geoscan import gdal, inputs
from geoscan.data.sources import INDEX
from geoscan.errors import GeoscanError, InputError, OutputError, one_line
from geoscan.files import check_place


@dataclass(frozen=True, slots=True)
class Row:
    """One chip as the index has it; each field is a column."""

    file: str
    """Path below the folder."""

    label: str
    """`mine` or `other`: what training reads."""

    source_gallery: str
    """The scene once more: chips of one stay on one side of a split."""

    review: str
    scene: str
    date: str
    """Of the scene; `unknown` where it does not tell."""

    model: str
    """Whose way of reading scenes the chip has."""

    score: float | str
    """Highest mine score of the polygon, 0..1, as the layer has it; empty where it does not."""

    longitude: float
    latitude: float
    """Of the middle of the chip, degrees in WGS84."""


_COLUMNS: Final = [field.name for field in fields(Row)]


@dataclass(frozen=True, slots=True)
class Picture:
    """A chip, and where it lies."""

    row: Row
    pixels: NDArray[np.uint8]
    """(chip, chip, 3), red, green, blue, with its haze."""

    transform: Affine
    crs: Any


def check_folder(out: Path, sources: Iterable[str]) -> None:
    """Check, before any work, that a chip set can be written, and that no source would go with an earlier one.

    Raises InputError for a folder that cannot be made, or that holds anything but an earlier chip set.
    """
    if not out.exists():
        check_place(out)
        return
    if not out.is_dir():
        raise InputError(f"{out} is no folder; give another --out for the chips")
    check_place(out.resolve().parent / f".{out.resolve().name}.part")
    if any(out.iterdir()) and not _is_ours(out):
        raise InputError(f"{out} holds other things than an earlier chip set; give a new folder")
    for source in sources:
        for name in inputs.named_in(source):
            if out.resolve() in Path(name).resolve().parents:
                raise InputError(f"{name} lies in {out}, which would be replaced; give another --out for the chips")


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder holds a chip set of ours and nothing else."""
    try:
        with (folder / INDEX).open(newline="", encoding="utf-8") as lines:
            rows = csv.reader(lines)
            ours = next(rows, None) == _COLUMNS
            listed = {row[0] for row in rows if row}
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return ours and {name.removesuffix(".aux.xml") for name in held} <= {INDEX, *listed}


def write_chip_set(out: Path, pictures: Iterable[Picture]) -> list[Row]:
    """Write pictures and index, whole or not at all; an earlier chip set is replaced. Give the rows of the index.

    Raises OutputError when that fails.
    """
    with _replacing(out) as folder:
        rows = []
        for picture in pictures:
            _write(folder / picture.row.file, picture)
            rows.append(picture.row)
        with (folder / INDEX).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(astuple(row) for row in rows)
    return rows


def _write(path: Path, picture: Picture) -> None:
    """Write a PNG; its place goes into a small file beside it, which GIS programs read."""
    path.parent.mkdir(exist_ok=True)
    rows, cols, bands = picture.pixels.shape
    how = {"driver": "PNG", "width": cols, "height": rows, "count": bands, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **how, crs=picture.crs, transform=picture.transform) as target:
            target.write(picture.pixels.transpose(2, 0, 1))


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` that takes its place when the block ends well."""
    target = out.resolve()
    part, old = (target.with_name(f".{target.name[:100]}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        part.mkdir()
        yield part
        with suppress(FileNotFoundError):
            target.rename(old)
        part.rename(target)
    except GeoscanError:
        raise  # a ReadError is an OSError too
    except gdal.FAILURES as error:
        raise OutputError(f"{out} could not be written: {one_line(error)}; make room or write elsewhere") from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)
