"""A layer a scene, in one folder: each stands when its scene is done, and starting again skips it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pydantic import TypeAdapter

from geoscan import inputs, layers
from geoscan.changes import dated
from geoscan.errors import BusyError, GeoscanError, InputError, one_line
from geoscan.files import check_place, file_names, make_folder, replacing
from geoscan.finding import SUFFIXES
from geoscan.layers import kept
from geoscan.progress import Advance
from geoscan.scanning.journal import file as journal_file
from geoscan.scanning.journal.journals import Journals
from geoscan.scanning.journal.key import mark_of
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import SceneResult
from geoscan.scanning.scenes import BROKEN, scan_scene
from geoscan.scanning.summary import Summary
from geoscan.scanning.workers import HERE, Workers

SUFFIX: Final = ".geojson"
_ENDING: Final = ".figures.json"
"""Of a layer's record."""

_TAIL: Final = 64
"""Bytes in which a layer ends."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scene."""

    scene: str
    figures: Mapping[str, Any]
    """See `Summary`; empty where it could not be scanned."""

    error: str = ""
    """Why it could not be scanned."""

    result: SceneResult | None = None
    """None where it could not be scanned, and where an earlier run did it."""

    journal: Path | None = None
    """The one that stays, because a part of the scene could not be read."""

    @property
    def well(self) -> bool:
        """Whether nothing is left to do."""
        return not self.error and (self.result is None or self.result.well)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"scene": self.scene, "error": self.error} if self.error else dict(self.figures)


class Folder:
    """A folder of layers. Beside each lies a record with the figures of its scan, and a mark of what decided it."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Look at a folder, which may be missing; fresh: what is done is done again.

        Raises InputError when it cannot be made or written to.
        """
        check_place(path / f"a{SUFFIX}" if path.is_dir() else path)
        self.path = path
        records = [] if fresh else _records(path)
        self._done = {record.mark: record.figures for record in records}
        self._sources = {path / record.layer: record.source for record in records}

    def has(self, plan: Plan) -> bool:
        """Tell whether a layer is there of the same scene, model and options."""
        return mark_of(plan) in self._done

    def layers(self, plans: Sequence[Plan]) -> list[Path]:
        """Name a layer for each scene: without its suffix, where that tells it from the others."""
        stems = [_stem(plan.name) for plan in plans]
        count = Counter(stems)
        names = [stem if count[stem] == 1 else plan.name for stem, plan in zip(stems, plans, strict=True)]
        return [self.path / f"{name}{SUFFIX}" for name in file_names(names)]

    def prepare(self, plans: Sequence[Plan]) -> None:
        """Make the folder if it is missing.

        Raises InputError where a layer would replace what a scene is read from, what people have made, or the layer of
        a scene that has the same name and lies elsewhere, such as that of another month.
        """
        read = inputs.identities(file for plan in plans for file in plan.scene.product.files)
        for plan, layer in zip(plans, self.layers(plans), strict=True):
            if read & inputs.identities([str(layer)]):
                raise InputError(f"{layer} is a file that a scene is read from; give another folder to write to")
            if not self.has(plan):
                kept.check(layer)
                if self._sources.get(layer, source := _source(plan)) not in ("", source):
                    raise InputError(
                        f"{layer} is the layer of another {plan.name}, and would be lost; give another folder to write "
                        "to, or --fresh to replace it"
                    )
        make_folder(self.path)

    def journals(self, plans: Sequence[Plan]) -> list[tuple[Plan, Path]]:
        """Name a journal for each scene, beside its layer."""
        named = zip(plans, self.layers(plans), strict=True)
        return [(plan, layer.with_name(f"{layer.name}{journal_file.SUFFIX}")) for plan, layer in named]

    def scan(
        self,
        plans: Sequence[Plan],
        workers: Workers = HERE,
        *,
        journals: Journals,
        begin: Callable[[str], None] = lambda _: None,
        advance: Advance = lambda _: None,
    ) -> Iterator[Outcome]:
        """Scan scenes that are not done, write a layer for each, and yield what became of each as soon as it is known.

        One that cannot be scanned, that another scan is at, or whose layer people have worked on meanwhile, stops no
        other. Raises what concerns all, such as OutputError and ClusterError.
        """
        for plan, layer in zip(plans, self.layers(plans), strict=True):
            if self.has(plan):
                yield Outcome(plan.name, self._done[mark_of(plan)].to_dict())
                continue
            begin(plan.name)
            try:
                result = scan_scene(plan, workers, advance=advance, journals=journals)
            except (*BROKEN, BusyError) as err:
                yield broken(plan.name, err)
                continue
            try:
                with kept.meanwhile():
                    kept.check(layer)
            except InputError as err:
                yield broken(plan.name, err)
                continue
            _write(layer, result)
            journal = journals.end(plan, well=result.well)
            yield Outcome(plan.name, result.summary.to_dict(), result=result, journal=journal)


def broken(scene: str, error: GeoscanError) -> Outcome:
    """Say that a scene could not be scanned."""
    return Outcome(scene, {}, error=one_line(error))


@dataclass(frozen=True, slots=True)
class _Record:
    """What is known of a layer that is complete."""

    layer: str
    """Its file's name."""

    mark: str
    """See `mark_of`."""

    figures: Summary

    source: str = ""
    """See `_source`; earlier versions did not say."""


_RECORDS: Final = TypeAdapter(_Record)


def _write(layer: Path, result: SceneResult) -> None:
    """Write a layer, and then its record, unless something is left to do; one of another layer goes before."""
    path = layer.with_suffix(_ENDING)
    path.unlink(missing_ok=True)
    layers.write(layer, dated(result.detections, [result.seen]), [result.seen])
    if result.well:
        with replacing(path) as part:
            record = _Record(layer.name, mark_of(result.plan), result.summary, _source(result.plan))
            part.write_bytes(_RECORDS.dump_json(record) + b"\n")


def _source(plan: Plan) -> str:
    """Digest of the place that a scene is read from; what a URL holds after its path, such as a signature, changes."""
    product = plan.scene.product
    place, _, _ = product.files[0].partition("?")
    return hashlib.sha256(os.fsencode(place + product.inside)).hexdigest()


def _records(path: Path) -> list[_Record]:
    """Records of layers that are there; what is no record is none."""
    found = []
    for file in path.glob(f"*{_ENDING}"):
        with suppress(OSError, ValueError):
            record = _RECORDS.validate_json(file.read_bytes())
            if _is_whole(path / PurePosixPath(record.layer).name):
                found.append(record)
    return found


def _is_whole(layer: Path) -> bool:
    """Tell whether a layer is there to its end, whoever has edited it since."""
    with layer.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return file.read().rstrip().endswith(b"}")


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else name
