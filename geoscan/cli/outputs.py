"""The files that a scan, or a merge of journals, writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.scanning.result import SceneResult


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are asked for; each field is an option."""

    out: Path | None

    def check(self, sources: Iterable[str]) -> None:
        """Check, before any work, that all can be written, and that none would replace a source.

        Raises InputError.
        """
        from geoscan import layers

        if self.out is not None:
            layers.check_target(self.out, sources)

    def write(self, results: Sequence[SceneResult]) -> list[Detection]:
        """Write what was found in some scenes, and give it, each mine once."""
        from geoscan import layers
        from geoscan.scanning.result import found_in

        found = found_in(results)
        if self.out is not None:
            layers.write(self.out, found, [result.seen for result in results])
        return found
