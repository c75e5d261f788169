"""What a training leaves on disk so that another can go on from there."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import DatasetError, OutputError
from geoscan.files import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file of arrays and notes, that belongs to one run.

    identity: what decides how the run goes, by name, of JSON's types. resume: whether to go on from the file.
    """

    path: Path
    identity: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False

    def write(self, notes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the file. notes: of JSON's types. Raises OutputError when it cannot be written."""
        facts = np.array(json.dumps({**notes, "identity": dict(self.identity)}))
        contents: dict[str, Any] = {"notes": facts, **arrays}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise OutputError(f"the checkpoint {self.path} could not be written: {err.strerror or err}") from err
        with replacing(self.path) as part, part.open("wb") as file:
            np.savez(file, **contents)

    def read(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """Return notes and arrays; None where the file is damaged or missing.

        Raises DatasetError for a checkpoint of a run with other options or data; one that does not say is trusted.
        """
        try:
            with self.path.open("rb") as file, np.load(file) as stored:  # by its path, a damaged one stays open
                arrays: dict[str, NDArray[Any]] = dict(stored)
            notes: dict[str, Any] = json.loads(str(arrays.pop("notes")))
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as err:
            log.debug("%s: %s", self.path, err)
            return None
        self._check(notes.get("identity"))
        return notes, arrays

    def _check(self, written: dict[str, Any] | None) -> None:
        own = json.loads(json.dumps(dict(self.identity)))
        if not written or not own:
            return
        if other := list(_differences(written, own)):
            raise DatasetError(
                f"{self.path} is of another run ({'; '.join(other[:3])}); resume with the options and data it was "
                "started with: the same chips, labels and campaigns; or give another --out"
            )


def _differences(written: dict[str, Any], own: dict[str, Any], within: str = "") -> Iterator[str]:
    """Yield a line for each value that differs, also within values that have names themselves."""
    for name in sorted(written.keys() | own.keys()):
        before, now = written.get(name), own.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, f"{within}{name}.")
        elif before != now:
            yield f"{within}{name} was {before}, now {now}"
