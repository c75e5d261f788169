"""The files that a scan, or a merge of journals, writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoscan.cli import tell

if TYPE_CHECKING:
    from geoscan.layers.earlier import Earlier
    from geoscan.polygons import Detection
    from geoscan.scanning.result import SceneResult


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are asked for; each field is an option."""

    out: Path | None
    since: Earlier | None = None
    """What was found before."""

    def check(self, sources: Iterable[str]) -> None:
        """Check, before any work, that all can be written, and that none would replace a source.

        Raises InputError.
        """
        from geoscan import layers

        if self.out is not None:
            layers.check_target(self.out, sources)

    def write(self, results: Sequence[SceneResult]) -> list[Detection]:
        """Write what was found in some scenes, and give it, each mine once; with what an earlier layer alone holds."""
        from geoscan import changes, layers
        from geoscan.scanning.result import found_in

        found = found_in(results)
        if self.since is not None:
            seen = [result.seen for result in results]
            found = changes.since(found, self.since.detections, seen)
            tell.changes(self.since, found, [one.provenance for one in seen])
        if self.out is not None:
            layers.write(self.out, found, [result.seen for result in results])
        return found
