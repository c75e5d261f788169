"""Single-image haze removal: He, Sun and Tang, "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009.

The transmission is refined by a guided filter (He, Sun and Tang, "Guided Image Filtering", ECCV 2010) in place of the
first paper's matting. Every window holds real pixels only: beyond the border and on nodata there is nothing, not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Mask, Reflectance
from geoscan.errors import InputError

_Plane: TypeAlias = NDArray[np.float32]
_Airlight: TypeAlias = NDArray[np.float32]

HAZE: Final = (0.71, 0.7, 0.67)
"""Colour of haze, red, green and blue, where no scene tells: the median of Planet's partly cloudy chips; blue follows
the brighter quartile of them, for hazy forest turns blue with the median's own 0.64."""

OMEGA: Final = 0.8
"""Share of the haze that is removed unless told otherwise; below 1 keeps depth in the picture (CVPR 2009, section
4.1)."""

FLOOR: Final = 0.4
"""Of the transmission: the paper's 0.1 burns clouds out and shows the JPEG's blocks in thick haze."""

_LUMINANCE = (0.299, 0.587, 0.114)
_BRIGHTEST = 0.001
_DARKEST_AIRLIGHT = 0.05
# ^ haze is never darker; keeps I/A finite on a chip that is black throughout


@dataclass(frozen=True, slots=True)
class DarkChannel:
    """How haze is removed; part of a model's card, so it round-trips through JSON.

    Raises InputError for a value out of range.
    """

    airlight: tuple[float, float, float] = HAZE
    """Red, green, blue, 0.01..1."""

    omega: float = OMEGA
    """Share of the haze that is removed, 0..1."""

    patch: int = 15
    """Side of the dark channel's window, in pixels, odd."""

    radius: int = 30
    """Radius of the guided filter's window, in pixels."""

    eps: float = 1e-3
    """Smoothness of the guided filter, in squared reflectance: edges fainter than its root are averaged away."""

    t0: float = FLOOR
    """Floor of the transmission, above 0 and at most 1: contrast is raised by at most 1 / t0."""

    kind: Literal["dark-channel"] = "dark-channel"

    def __post_init__(self) -> None:
        check_haze(self.airlight, self.omega, self.t0)
        if self.patch < 1 or self.patch % 2 == 0:
            raise InputError(f"patch {self.patch} px has no centre; give an odd number of pixels, such as 15")
        if self.radius < 1:
            raise InputError(f"radius {self.radius} px does not fit; give at least 1 px")
        if not self.eps > 0:
            raise InputError(f"eps {self.eps} does not fit; give a number above 0, such as 0.001")

    @property
    def context(self) -> int:
        """Pixels around a window that can change what is inside it: the halo of a seamless tile.

        Half a patch for the dark channel, one radius for the filter's coefficients and one for their mean.
        """
        return self.patch // 2 + 2 * self.radius


def check_haze(airlight: tuple[float, ...], omega: float, t0: float) -> None:
    """Raise InputError for a colour of haze, a share of it to remove, or a least transmission out of range."""
    if len(airlight) != 3 or not all(0.01 <= a <= 1 for a in airlight):
        raise InputError(f"airlight {airlight} does not fit; give three numbers in 0.01..1")
    if not 0 <= omega <= 1:
        raise InputError(f"omega {omega} does not fit; give 0..1")
    if not 0 < t0 <= 1:
        raise InputError(f"t0 {t0} does not fit; give a number above 0, at most 1")


def estimate_airlight(pixels: Reflectance, valid: Mask | None, params: DarkChannel) -> _Airlight:
    """Colour of the haze: the mean over the pixels whose dark channel is among the brightest 0.1 % (at least one).

    pixels: (bands, rows, cols), 0..1. valid: (rows, cols), None for all.
    Returns (bands,) float32; `params.airlight` where no pixel is valid. Ties at the 0.1 % are all taken, so the
    order of the pixels does not matter. CVPR 2009, section 4.4, which takes the single brightest of these: one bright
    roof or cloud edge would then decide, the mean is steadier.
    """
    valid = _valid_or_none(valid)
    if pixels[0].size == 0 or (valid is not None and not valid.any()):
        return np.array(params.airlight, np.float32)
    dark = _dark_channel(_contiguous(pixels), valid, np.ones(len(pixels), np.float32), params.patch)
    seen = dark.ravel() if valid is None else dark[valid]
    rank = seen.size - max(1, int(seen.size * _BRIGHTEST))
    chosen = dark >= np.partition(seen, rank)[rank]
    if valid is not None:
        chosen &= valid
    light: NDArray[np.float64] = pixels[:, chosen].mean(axis=1, dtype=np.float64)
    return light.astype(np.float32)


def scene_airlight(pixels: Reflectance, valid: Mask | None, params: DarkChannel) -> _Airlight:
    """Colour of the haze of a whole scene, for a picture: as `estimate_airlight`, but not darker than haze is.

    Where it is darker it is brightened to the mean of `params.airlight`: the brightest that a clear scene over
    forest has is no haze, and taking it for haze would stretch grain into colour.
    pixels: (3, rows, cols), 0..1, of the scene or its overview. valid: (rows, cols), None for all.
    Returns (3,) float32.
    """
    light = estimate_airlight(pixels, valid, params)
    if not light.any():
        return np.array(params.airlight, np.float32)
    darker = sum(params.airlight) / float(light.sum())
    brightened: _Airlight = np.minimum(light * np.float32(max(darker, 1)), 1)
    return brightened


def dehaze(
    pixels: Reflectance, valid: Mask | None, params: DarkChannel, airlight: _Airlight | None = None
) -> Reflectance:
    """Remove haze.

    pixels: (bands, rows, cols), 0..1, finite where valid. valid: (rows, cols), None for all.
    airlight: (bands,), used in place of `params.airlight`.
    Returns a new array of the same shape, 0..1; nodata pixels come back unchanged and change nothing around them.
    A pixel depends on those within `params.context` of it and on no others.
    Raises InputError when the airlight has another number of bands.
    """
    valid = _valid_or_none(valid)
    if pixels[0].size == 0 or (valid is not None and not valid.any()):
        return pixels.copy()
    light = np.maximum(_choose_airlight(len(pixels), params, airlight), _DARKEST_AIRLIGHT)
    given = hazy = _contiguous(pixels)
    if valid is not None:
        hazy = np.stack([_filled(plane, valid, 0) for plane in hazy])
    transmission = _transmission(hazy, valid, light, params)
    clear = np.empty_like(hazy)
    for source, target, glow in zip(hazy, clear, light, strict=True):
        np.subtract(source, glow, out=target)
        np.divide(target, transmission, out=target)
        np.add(target, glow, out=target)
        np.clip(target, 0, 1, out=target)
    if valid is not None:
        for plane, nodata in zip(clear, given, strict=True):
            _copy_where(~valid, nodata, out=plane)
    return clear


def _valid_or_none(valid: Mask | None) -> Mask | None:
    return None if valid is None or valid.all() else valid


def _contiguous(pixels: Reflectance) -> Reflectance:
    return np.ascontiguousarray(pixels, np.float32)


def _planes(number: int, like: _Plane) -> list[_Plane]:
    """Empty planes in one block: small ones go back to the system each time, and page faults take half the time."""
    return list(np.empty((number, *like.shape), np.float32))


def _copy_where(mask: Mask, plane: _Plane, out: _Plane) -> None:
    cv2.copyTo(plane, mask.view(np.uint8), dst=out)  # a tenth of the time of numpy's masked copy


def _filled(plane: _Plane, valid: Mask, value: float) -> _Plane:
    """Copy the plane with `value` on nodata, whatever is there, NaN too."""
    filled = np.full_like(plane, value)
    _copy_where(valid, plane, out=filled)
    return filled


def _choose_airlight(bands: int, params: DarkChannel, given: _Airlight | None) -> _Airlight:
    light = np.asarray(params.airlight if given is None else given, np.float32)
    if light.shape != (bands,):
        raise InputError(f"an airlight of shape {light.shape} does not fit {bands} bands; give one number a band")
    return light


def _dark_channel(pixels: Reflectance, valid: Mask | None, light: _Airlight, patch: int) -> _Plane:
    """Smallest valid value of I/A over bands and patch (CVPR 2009, equations 5 and 11); inf where there is none."""
    dark, scaled = _planes(2, pixels[0])
    np.divide(pixels[0], light[0], out=dark)
    for plane, glow in zip(pixels[1:], light[1:], strict=True):
        np.divide(plane, glow, out=scaled)
        np.minimum(dark, scaled, out=dark)
    if valid is not None:
        dark = _filled(dark, valid, np.inf)
    cv2.erode(dark, _square(patch), dst=scaled)  # its default border is +inf: only real pixels take part
    return scaled


def _transmission(pixels: Reflectance, valid: Mask | None, light: _Airlight, params: DarkChannel) -> _Plane:
    """Share of the ground's light that comes through, t0..1, as sharp as the image."""
    rough = _dark_channel(pixels, valid, light, params.patch)
    np.minimum(rough, 1, out=rough)
    np.multiply(rough, np.float32(-params.omega), out=rough)
    np.add(rough, 1, out=rough)
    if valid is not None:
        np.multiply(rough, valid, out=rough)
    refined = _guided_filter(_luminance(pixels), rough, valid, params.radius, params.eps)
    np.clip(refined, np.float32(params.t0), 1, out=refined)
    return refined


def _luminance(pixels: Reflectance) -> _Plane:
    """Gray of the image: ITU-R BT.601 for red, green, blue, else the mean of the bands."""
    weights = _LUMINANCE if len(pixels) == 3 else (1 / len(pixels),) * len(pixels)
    gray, part = _planes(2, pixels[0])
    np.multiply(pixels[0], np.float32(weights[0]), out=gray)
    for plane, weight in zip(pixels[1:], weights[1:], strict=True):
        np.multiply(plane, np.float32(weight), out=part)
        np.add(gray, part, out=gray)
    return gray


def _guided_filter(guide: _Plane, target: _Plane, valid: Mask | None, radius: int, eps: float) -> _Plane:
    """Smooth `target` along the edges of `guide` (ECCV 2010, equations 5, 6 and 8).

    Means are over the valid pixels of a window: zeros on nodata and beyond the border, divided by the count of the
    rest. So both must be zero on nodata.
    """
    mean_guide, mean_target, slope, variance, scratch, weight, count = _planes(7, guide)
    if valid is None:
        count = _border_count(guide.shape[0], guide.shape[1], radius)
    else:
        np.copyto(weight, valid)
        np.maximum(_box_sum(weight, radius, out=count), 1, out=count)

    def mean(plane: _Plane, out: _Plane) -> None:
        np.divide(_box_sum(plane, radius, out=out), count, out=out)

    mean(guide, out=mean_guide)
    mean(target, out=mean_target)
    mean(np.multiply(guide, target, out=scratch), out=slope)
    mean(np.multiply(guide, guide, out=scratch), out=variance)
    np.subtract(slope, np.multiply(mean_guide, mean_target, out=scratch), out=slope)
    np.subtract(variance, np.multiply(mean_guide, mean_guide, out=scratch), out=variance)
    np.add(variance, np.float32(eps), out=variance)
    np.divide(slope, variance, out=slope)
    offset = np.subtract(mean_target, np.multiply(slope, mean_guide, out=scratch), out=mean_target)
    if valid is not None:
        np.multiply(slope, weight, out=slope)
        np.multiply(offset, weight, out=offset)
    mean_slope, mean_offset = mean_guide, variance
    mean(slope, out=mean_slope)
    mean(offset, out=mean_offset)
    return np.add(np.multiply(mean_slope, guide, out=scratch), mean_offset, out=mean_offset)


def _box_sum(plane: _Plane, radius: int, out: _Plane) -> _Plane:
    """Sum over a square window, nothing beyond the border; returns `out`.

    OpenCV keeps float32 running sums in float64, so the result does not depend on where in the scene a tile begins.
    """
    side = 2 * radius + 1
    cv2.boxFilter(plane, -1, (side, side), dst=out, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return out


@lru_cache(maxsize=16)
def _border_count(rows: int, cols: int, radius: int) -> _Plane:
    """Real pixels in each window of a raster without nodata."""

    def along(size: int) -> NDArray[np.int64]:
        at = np.arange(size)
        return np.minimum(at + radius, size - 1) - np.maximum(at - radius, 0) + 1

    count = np.multiply.outer(along(rows), along(cols)).astype(np.float32)
    count.flags.writeable = False
    return count


@lru_cache(maxsize=16)
def _square(side: int) -> NDArray[np.uint8]:
    return np.ones((side, side), np.uint8)
