"""Datasets that GDAL has open, a few a thread, and what is read from them."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from geoscan import gdal, ground
from geoscan.arrays import Mask, Native

if TYPE_CHECKING:
    from geoscan.scene import Scene

_OPEN_AT_ONCE: Final = 4
"""Datasets that one thread keeps open; a scan reads one scene at a time, a directory a few."""

_TOLERANCE_PX: Final = 0.001
"""Of warping. At GDAL's own 0.125 a pixel depends on the block it is computed in; 0 is refused."""


class Handles(threading.local):
    """Datasets that this thread has open, the last used last: GDAL's are not to be shared between threads."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[int, str, str], tuple[ExitStack, Any]] = OrderedDict()

    @staticmethod
    def _key(scene: Scene) -> tuple[int, str, str]:
        # The process is part of it: a child that forks while this thread reads must not share its file position. So is
        # the fingerprint: a file that was written anew is another scene.
        return os.getpid(), scene.path, scene.fingerprint()

    def of(self, scene: Scene) -> Any:
        """Give the dataset of `scene` on its grid. Raises OSError where its file is another by now."""
        key = self._key(scene)
        if key not in self._open:
            if path := scene.changed():
                raise OSError(f"{path} has been written or removed since the scene was opened")
            while len(self._open) >= _OPEN_AT_ONCE:
                self._open.popitem(last=False)[1][0].close()
            with ExitStack() as stack:
                dataset = _open(scene, stack)
                self._open[key] = stack.pop_all(), dataset
        self._open.move_to_end(key)
        return self._open[key][1]

    def drop(self, scene: Scene) -> None:
        """Close what is open of `scene`: a dataset that failed once may keep failing (a lost connection does).

        What GDAL remembers of the failure goes, too.
        """
        entry = self._open.pop(self._key(scene), None)
        if entry is not None:
            entry[0].close()
        gdal.failed()


HANDLES: Final = Handles()


def _open(scene: Scene, stack: ExitStack) -> Any:
    """Open a dataset of `scene` on its grid, closed with `stack`."""
    source = stack.enter_context(rasterio.open(scene.vrt))
    if not scene.resampling:
        return source
    resampling, how = Resampling[scene.resampling], {"add_alpha": True}
    if gdal.by_points(source):
        source = stack.enter_context(straighten(source, resampling, **how))
        if (source.transform, source.height, source.width) == (scene.transform, scene.rows, scene.cols):
            return source
        how = {}  # the mask is a band by now
    crs, transform = source.crs, source.transform
    if crs.is_geographic:
        crs, transform = ground.unrolled(crs, transform, source.height, source.width)
    own = {"src_crs": crs, "src_transform": transform}
    grid = {"crs": scene.crs, "transform": scene.transform, "height": scene.rows, "width": scene.cols}
    return stack.enter_context(WarpedVRT(source, resampling=resampling, tolerance=_TOLERANCE_PX, **own, **grid, **how))


def pixels_of(dataset: Any, scene: Scene, **how: Any) -> tuple[Native, Mask]:
    """Bands and mask of `scene` from its `dataset`; `how` says what part, as rasterio's `read` takes it."""
    shape = {key: (3, *value) for key, value in how.items() if key == "out_shape"}
    native = dataset.read([1, 2, 3], out_dtype=scene.dtype, **{**how, **shape})
    if scene.resampling:
        return native, dataset.read(4, **how) > 0
    if scene.masking:
        return native, dataset.read_masks(1, **how) > 0
    return native, np.ones(native.shape[1:], bool)


def straighten(source: Any, resampling: Resampling, **how: Any) -> Any:
    """Put what ground control points place on a north-up grid of about its own resolution, that GDAL chooses."""
    points, crs = source.gcps
    first = Affine.translation(points[0].x, points[0].y)
    to = ground.utm_at(crs, first, 0, 0) if crs.is_geographic else crs
    return WarpedVRT(source, src_crs=crs, crs=to, resampling=resampling, tolerance=_TOLERANCE_PX, **how)


def damage_in(scene: Scene, said: Sequence[str]) -> str:
    """Give the first that GDAL said of pixels while it read some; empty for nothing.

    What it says of a file's head does not count: files that a VRT is made of are opened when they are first read.
    """
    texts = [text for text in said if not gdal.harmless(text)]
    return next((text for text in texts if text not in _of_heads((scene.address, *scene.product.files))), "")


@lru_cache(maxsize=4)
def _of_heads(names: tuple[str, ...]) -> frozenset[str]:
    """What GDAL says when it opens these files, and looks for masks and overviews."""
    heard: list[str] = []
    for name in names:
        with gdal.settings(name) as said, suppress(*gdal.FAILURES), rasterio.open(name) as source:
            _ = source.mask_flag_enums, [source.overviews(band) for band in source.indexes]
        heard += said
    return frozenset(heard)
