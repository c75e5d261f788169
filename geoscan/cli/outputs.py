"""The files that a scan, or a merge of journals, writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.scanning.result import SceneResult


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are asked for; each field is an option."""

    out: Path | None
    obscured: Path | None = None

    def check(self, sources: Iterable[str]) -> None:
        """Check, before any work, that all can be written, and that none would replace a source or another.

        Raises InputError.
        """
        from geoscan import layers

        sources = list(sources)
        for path in (self.out, self.obscured):
            if path is not None:
                layers.check_target(path, sources)
        if self.out is not None and self.obscured is not None:
            layers.check_apart(self.out, self.obscured)

    def write(self, results: Sequence[SceneResult]) -> list[Detection]:
        """Write what was found in some scenes, and give it, each mine once."""
        from geoscan import layers
        from geoscan.cli.command_line import command_line
        from geoscan.scanning.result import found_in

        found, command = found_in(results), command_line()
        scenes = [replace(result.seen, command=command) for result in results]
        if self.out is not None:
            layers.write(self.out, found, scenes)
        if self.obscured is not None:
            layers.write_obscured(self.obscured, scenes)
        return found
