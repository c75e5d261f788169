"""The files that a scan, or a merge of journals, writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from geoscan.errors import InputError

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.scanning.result import SceneResult

HEATMAP: Final = click.option(
    "--heatmap",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write the mine score of one scene, too: a Cloud-Optimized GeoTIFF, a pixel a chip's core, and its style for "
    "QGIS. The last row and column of pixels may reach beyond the scene.",
)


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are asked for; each field is an option."""

    out: Path | None
    heatmap: Path | None = None

    def check(self, sources: Iterable[str], scenes: int = 1) -> None:
        """Check, before any work, that all can be written, and that none would replace a source.

        scenes: how many there are, as far as that is known. Raises InputError.
        """
        from geoscan import layers
        from geoscan.layers import heatmap

        sources = list(sources)
        if self.out is not None:
            layers.check_target(self.out, sources)
        if self.heatmap is not None:
            heatmap.check_target(self.heatmap, sources, scenes)
            if self.out is not None and self.out.with_suffix("") == self.heatmap.with_suffix(""):
                raise InputError(f"{self.heatmap} and {self.out} would share one style; give them different names")

    def write(self, results: Sequence[SceneResult]) -> list[Detection]:
        """Write what was found in some scenes, and give it, each mine once."""
        from geoscan import layers
        from geoscan.layers import heatmap
        from geoscan.scanning.result import found_in

        found = found_in(results)
        if self.out is not None:
            layers.write(self.out, found, [result.seen for result in results])
        if self.heatmap is not None:
            heatmap.write(self.heatmap, results[0].seen)
        return found
