"""Fill that no file declares: a border of one value where a scene holds no data, holes where clouds were cut out, or
stripes that a scanner left out.

Dark water and clouds show one value, too, where it is the least or the most that a file can hold. But there each band
reaches it at its own place, and comes near it before; around fill, ground begins at once. Around a scene that was
turned and kept in a lossy format fill is nearly black, lies in corners, and ends in straight lines. With 256 levels a
lake may well be of one value all over: there holes that do not reach the border are ground. What cannot be told apart
is taken for ground.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

Pixels: TypeAlias = NDArray[Any]
"""(3, rows, cols): red, green, blue."""

Look: TypeAlias = Callable[[int, int, int], Pixels | None]
"""(row, col, side) of a square to its pixels; None where they cannot be read."""

At: TypeAlias = tuple[int, int]
"""Row and column."""

_STEPS: Final = 4
"""From side to side; at their ends one looks for fill."""

_PATCH: Final = 8
"""Side of what must be of one value, in pixels."""

_EDGE: Final = 64
"""Side of what is looked at, in pixels: at each place, and where fill ends. Stripes of one value hold as many pixels of
it at least, a line from side to side."""

_DEPTH: Final = 3
"""Pixels from the end of fill to the ground that is compared with it: resampling blends the two over one or two."""

_LOSSY_DEPTH: Final = 16
"""The same of a lossy format, whose blocks of so many pixels show some of what is beside."""

_LOSSY_EDGE: Final = 256
"""Side of what is looked at where it ends."""

_CORNERS: Final = 2
"""Corners of a scene that are nearly black at least where it was turned; a river seldom runs through two."""

_STRAIGHT: Final = 0.98
"""Share of the pixels around the end of nearly black fill that lie on their own side of a straight line; shores of dark
water bend."""

_FEWEST: Final = 16
"""Pixels along the end of fill; less tell nothing."""

_AT_LIMIT: Final = 0.2
"""Share of the pixels next to fill that may show its value in one band or two."""

_JUMP: Final = 3.0
"""From fill to ground at least, as a multiple of what pixels of the ground differ by that are as far apart."""

_SPECKLED: Final = 0.85
"""Share of a patch's pixels that lie on their own side of a straight line, under which fill does not end there."""

_RAGGED: Final = 0.53
"""Pixels from a straight line, at most, for what may be a stripe: those of one that is turned lie half a pixel off; a
bank that strays by one pixel on average, 0.6 off."""

_STRIPED: Final = 0.3
"""Share of the squares that stripes cross at least: they come again and again, all over a scene."""

_IN_A_ROW: Final = 3
"""Squares that a seam crosses at least, which lies along rows or columns."""

_FULL: Final = 0.8
"""How much of the way from fill to ground the first pixel beside a stripe has gone."""

_ENOUGH: Final = 8
"""Squares of which is asked how straight stripes are, about."""

_MISTAKEN: Final = 0.01
"""Share of the ground that may reach the highest value of its type in some band: more does so in all bands, too."""


_NEARLY_BLACK: Final = 3
"""Of 255; what a lossy format makes of black fill is no brighter, but where ground is near."""


class Fill(NamedTuple):
    """What fills the border or holes of a scene: values from `least` to `most` in all bands, mostly but one."""

    least: float
    most: float

    sure: bool
    """No ground shows it: a pixel of these values is fill wherever it lies."""


def find(
    look: Look, rows: int, cols: int, dtype: str, hidden: Callable[[float], bool] = lambda _: False
) -> Fill | None:
    """Find the fill of a scene; None where there is none, or it may be ground.

    rows, cols: size of the scene. dtype: of what `look` gives. hidden: tells values that are known to be fill.
    A few dozen squares are read, whatever the size of the scene.
    """
    if min(rows, cols) < _EDGE:
        return None
    places = _lattice(rows, cols)
    border = [at for at in places if at[0] in (0, rows - _PATCH) or at[1] in (0, cols - _PATCH)]
    size = rows, cols
    squares = _looked_at(look, places if dtype != "uint8" else border, size)
    patches = _patches(squares, size)
    candidates = _open([*_of_one_value(patches.values()), *_lossy(patches, dtype, size)], hidden)
    stripes = _open(_striped(squares, dtype, size), hidden)
    if not candidates and not stripes:
        return None
    squares |= _looked_at(look, [at for at in places if at not in squares], size)
    patches = _patches(squares, size)
    for one in candidates:
        if _may_be_fill(one, patches, dtype):
            edges = list(_edges(look, one, patches, size))
            if edges and _ends_at_once(one, edges):
                return Fill(*one, sure=_is_sure(one, patches, edges, dtype))
    for one in stripes:
        if _may_be_fill(one, patches, dtype):
            crossed = _crossed(one, list(squares.values()))
            if crossed and _are_gaps(one, crossed):
                return Fill(*one, sure=_is_sure(one, patches, crossed, dtype))
    return None


class _Range(NamedTuple):
    """Values that may be fill."""

    least: float
    most: float

    def within(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Tell of each value whether it is one of these."""
        found: NDArray[np.bool_] = np.logical_and(pixels >= self.least, pixels <= self.most)
        return found

    @property
    def is_lossy(self) -> bool:
        """A lossy format made several values of one."""
        return self.least != self.most

    def shown(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Tell of each pixel whether all bands show it."""
        found: NDArray[np.bool_] = np.all(self.within(pixels), axis=0)
        return found

    def away(self, pixels: Pixels) -> Pixels:
        """How far the values are from these, at least."""
        return np.maximum(self.least - pixels, pixels - self.most)


def _open(ranges: Iterable[_Range], hidden: Callable[[float], bool]) -> list[_Range]:
    """Leave out what is known to be fill, each once."""
    return [one for one in dict.fromkeys(ranges) if not hidden(one.least)]


def _of_one_value(patches: Iterable[Pixels]) -> Iterator[_Range]:
    for patch in patches:
        if _Range(patch.flat[0], patch.flat[0]).shown(patch).all():
            value = patch.flat[0].item()
            yield _Range(value, value)


def _lossy(border: dict[At, Pixels], dtype: str, size: At) -> Iterator[_Range]:
    """Give nearly black where corners of the scene are: so one that was turned looks as JPEG."""
    corners = [border.get((row, col)) for row in (0, size[0] - _PATCH) for col in (0, size[1] - _PATCH)]
    black = _Range(0, _NEARLY_BLACK)
    dark = sum(corner is not None and bool(black.shown(corner).all()) for corner in corners)
    if dtype == "uint8" and min(size) >= _LOSSY_EDGE and dark >= _CORNERS:
        yield black


def _striped(squares: dict[At, Pixels], dtype: str, size: At) -> Iterator[_Range]:
    """Give the value that most often is that of all bands of a pixel, where it may cross a square.

    Of few levels, where it reaches the scene's border, too: elsewhere it may be water.
    """
    for at, square in squares.items():
        alike = (square[1:] == square[0]).all(axis=0)
        values, counts = np.unique(square[0, alike], return_counts=True)
        if not len(counts) or counts.max() < _EDGE:
            continue
        value = values[counts.argmax()].item()
        one = _Range(value, value)
        if dtype != "uint8" or one.shown(_rim(square, at, size)).any():
            yield one


def _rim(square: Pixels, at: At, size: At) -> Pixels:
    """Pixels of a square that lie at the scene's border, (3, n)."""
    rim = np.zeros(square.shape[1:], bool)
    for axis, (start, length) in enumerate(zip(_corner(at, size), size, strict=True)):
        lines = rim if axis == 0 else rim.T
        lines[0] |= start == 0
        lines[-1] |= start + _EDGE == length
    return square[:, rim]


def _crossed(fill: _Range, squares: Sequence[Pixels]) -> list[Pixels]:
    """Give the squares through which stripes may run; none where that is but a few, as of a canal."""
    crossed = [one for one in squares if _EDGE <= fill.shown(one).sum() <= _EDGE * (_EDGE - 1)]
    seams = [one for one in crossed if _is_along(fill.shown(one))]
    if len(seams) == len(crossed) >= _IN_A_ROW:
        return seams
    return crossed if len(crossed) >= _STRIPED * len(squares) else []


def _is_along(inside: NDArray[np.bool_]) -> bool:
    """Tell whether each row, or each column, is all of it inside or not, as between tiles; the ground draws no such."""
    return any(bool((inside.all(axis=axis) == inside.any(axis=axis)).all()) for axis in (0, 1))


def _are_gaps(fill: _Range, crossed: Sequence[Pixels]) -> bool:
    """Tell whether what crosses squares are gaps: straight, and with ground of full strength right beside them.

    A canal is straight, too, but a pixel that it shares with the ground shows some of both.
    """
    if not _ends_at_once(fill, crossed, _FULL):
        return False
    some = crossed[:: max(1, len(crossed) // _ENOUGH)]
    return bool(np.median([_raggedness(fill.shown(one)) for one in some]) <= _RAGGED)


def _raggedness(inside: NDArray[np.bool_]) -> float:
    """How far the borders of stripes lie from straight lines of one direction, the best of all, in pixels.

    inside: (n, n), with some of either kind.
    """
    rows, cols = np.indices(inside.shape)
    stray = inside.size
    for angle in np.radians(np.arange(0, 180, 0.5)):
        line = np.floor(rows * np.cos(angle) + cols * np.sin(angle)).astype(int)
        line -= line.min()
        pixels, held = np.bincount(line.ravel()), np.bincount(line.ravel(), inside.ravel())
        stray = min(stray, np.minimum(held, pixels - held).sum())
    down, across = (float(np.count_nonzero(np.diff(inside, axis=axis))) for axis in (0, 1))
    return float(stray / np.hypot(down, across))


def _is_sure(fill: _Range, patches: dict[At, Pixels], edges: Sequence[Pixels], dtype: str) -> bool:
    if fill.is_lossy:
        return _leaves_water(fill, patches)
    if fill.most != _most(dtype):
        return True
    return bool(fill.within(_ground(fill, (*patches.values(), *edges))).any(axis=0).mean() <= _MISTAKEN)


def _leaves_water(fill: _Range, patches: dict[At, Pixels]) -> bool:
    """Tell whether no dark water is seen among the patches: it is speckled with fill, or lies apart from the border."""
    shown = {at: fill.shown(patch) for at, patch in patches.items()}
    if any(_straightness(one) < _SPECKLED for one in shown.values()):
        return False
    rows, cols = (sorted({at[axis] for at in shown}) for axis in (0, 1))
    filled = np.array([[(row, col) in shown and bool(shown[row, col].all()) for col in cols] for row in rows])
    labels, _ = label(np.pad(filled, 1, constant_values=True), np.ones((3, 3)))
    return bool((labels[labels > 0] == labels[0, 0]).all())


def _lattice(rows: int, cols: int) -> list[At]:
    down, across = (np.linspace(0, size - _PATCH, _STEPS + 1).astype(int).tolist() for size in (rows, cols))
    return [(row, col) for row in down for col in across]


def _corner(at: At, size: At) -> At:
    """Where the square begins that holds the patch at `at`."""
    return min(at[0], size[0] - _EDGE), min(at[1], size[1] - _EDGE)


def _looked_at(look: Look, places: Sequence[At], size: At) -> dict[At, Pixels]:
    """Squares by the place of their patch; one that cannot be read is left out."""
    return {at: square for at in places if (square := look(*_corner(at, size), _EDGE)) is not None}


def _patches(squares: dict[At, Pixels], size: At) -> dict[At, Pixels]:
    within = {at: np.subtract(at, _corner(at, size)) for at in squares}
    return {at: squares[at][:, row : row + _PATCH, col : col + _PATCH] for at, (row, col) in within.items()}


def _ground(fill: _Range, patches: Iterable[Pixels]) -> Pixels:
    """Pixels that are no fill, (3, n)."""
    shown = np.concatenate([patch.reshape(3, -1) for patch in patches] or [np.empty((3, 0))], axis=1)
    return shown[:, ~fill.shown(shown) & np.isfinite(shown).all(axis=0)]


def _may_be_fill(fill: _Range, patches: dict[At, Pixels], dtype: str) -> bool:
    """Tell whether a value is one that people fill with: 0, an end of the type, or one that no ground shows.

    Of many levels 1 or -1 is as good as -9999: ground that ends there comes near it before, see `_ends_at_once`.
    """
    ground, value = _ground(fill, patches.values()), fill.least
    if not ground.size:
        return False
    if value in (0, _least(dtype), _most(dtype)):
        return True
    return dtype != "uint8" and not ground.min() <= value <= ground.max()


def _least(dtype: str) -> float | None:
    return np.iinfo(dtype).min if np.issubdtype(np.dtype(dtype), np.integer) else None


def _most(dtype: str) -> float | None:
    return np.iinfo(dtype).max if np.issubdtype(np.dtype(dtype), np.integer) else None


def _edges(look: Look, fill: _Range, patches: dict[At, Pixels], size: At) -> Iterator[Pixels]:
    """Look at places where fill ends: one for each patch of fill, on the way to the nearest patch of ground."""
    filled = [at for at, patch in patches.items() if fill.shown(patch).all()]
    ground = [at for at in patches if at not in filled]
    for start in filled:
        near = min(ground, key=lambda at: (at[0] - start[0]) ** 2 + (at[1] - start[1]) ** 2)
        end = _last_of_fill(look, fill, start, near)
        if end is not None:
            side = _LOSSY_EDGE if fill.is_lossy else _EDGE
            row, col = (min(max(at - side // 2, 0), length - side) for at, length in zip(end, size, strict=True))
            edge = look(row, col, side)
            if edge is not None:
                yield edge


def _last_of_fill(look: Look, fill: _Range, start: At, ground: At) -> At | None:
    """Halve the way from fill to ground until they are neighbours."""
    while max(abs(start[0] - ground[0]), abs(start[1] - ground[1])) > 1:
        middle = (start[0] + ground[0]) // 2, (start[1] + ground[1]) // 2
        if middle in (start, ground):
            break
        pixel = look(*middle, 1)
        if pixel is None:
            return None
        start, ground = (middle, ground) if fill.shown(pixel).all() else (start, middle)
    return start


def _ends_at_once(fill: _Range, edges: Sequence[Pixels], full: float = 0.0) -> bool:
    """Tell whether ground begins next to fill: bands do not come near its value, nor reach it one by one.

    full: how much of the way to the ground the first pixel beside it has gone at least.
    """
    if fill.is_lossy and np.median([_straightness(fill.shown(edge)) for edge in edges]) < _STRAIGHT:
        return False
    ways = [_out_of_fill(fill, np.rot90(edge, turn, axes=(1, 2))) for edge in edges for turn in range(4)]
    beside, ground, further = (np.concatenate(parts, axis=1) for parts in zip(*ways, strict=True))
    if beside.shape[1] < _FEWEST:
        return False
    at_limit = fill.within(beside).any(axis=0).mean()
    jump = np.median(fill.away(ground).max(axis=0))
    first = np.median(fill.away(beside).max(axis=0))
    own = np.median(np.abs(further - ground).max(axis=0))
    return bool(at_limit <= _AT_LIMIT and jump > 0 and jump >= _JUMP * own and first >= full * jump)


def _out_of_fill(fill: _Range, pixels: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Find the pixels to the right of fill, (3, n) each: next to it, `_DEPTH` from it, and as far again."""
    near, far = (_LOSSY_DEPTH,) * 2 if fill.is_lossy else (1, _DEPTH)
    reach = pixels.shape[2] - 2 * far
    last, beside, ground, further = (pixels[:, :, by : by + reach].astype(float) for by in (0, near, far, 2 * far))
    shown = [fill.shown(part) for part in (last, beside, ground, further)]
    finite = np.isfinite([beside, ground, further]).all(axis=(0, 1))
    ends = shown[0] & ~np.logical_or.reduce(shown[1:]) & finite
    return beside[:, ends], ground[:, ends], further[:, ends]


def _straightness(inside: NDArray[np.bool_]) -> float:
    """Share of a disc's pixels that a straight line parts into those that are inside, and the others.

    In a disc the mean place of what lies on one side of a line is at a right angle to that line.
    """
    side = inside.shape[0]
    places = np.indices(inside.shape).reshape(2, -1).T - (side - 1) / 2
    disc = np.hypot(*places.T) <= side / 2
    places, held = places[disc], inside.ravel()[disc]
    if not held.any():
        return 1.0
    along = places @ places[held].mean(axis=0)
    parted = np.zeros(len(held), bool)
    parted[np.argsort(along)[-held.sum() :]] = True
    return float((parted == held).mean())
