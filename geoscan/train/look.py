"""Measure what training chips look like, so that a scan can tell a scene that is misread; see `model.look`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from geoscan.arrays import Chips
from geoscan.data.cache import AnyChips
from geoscan.model.look import FEATURES, Floats, Look, features, usual
from geoscan.train.augment import Augmentation

log = logging.getLogger(__name__)

FEWEST: Final = 100
"""Fewer chips say too little of what there is."""

_MOST: Final = 3000
"""Chips that are looked at: more change nothing."""

_VARIED = 2
"""Varied copies of each chip beside the chip itself."""

_BLUR: Final = 2.0
"""Widest blur, in pixels, by whose opposite a chip is sharpened."""
_UNITS: Final = 16
"""Hidden units: with half as many, negatives of Planet's chips pass now and then."""

_STARTS: Final = 3
"""Random beginnings, of which the best is kept."""

_DECAY: Final = 0.15
"""Weight of the squared weights, for a network that bends no more than it must."""

_WEIGHT: Final = 200.0
"""Of the known chips together, and of the strange ones together."""

_STEPS: Final = 400
RARE: Final = {"known": 0.0003, "varied 0": 0.0015}
"""Share of the training chips, and of their variants, that may lie under the limit."""

_DIGITS: Final = 5
_PART: Final = 250
"""Chips that are altered and described at once: memory, not results."""


def fit(chips: AnyChips, rows: NDArray[np.integer], augmentation: Augmentation, seed: int = 0) -> Look | None:
    """Measure the look of the training chips at `rows` of `chips`, (n, chip, chip, 3), in their frames.

    augmentation: how training varies them before their haze is removed; a scan may vary more (other sensors, other
    seasons), so it is widened.
    Returns None where there are fewer than `FEWEST`.
    """
    if len(rows) < FEWEST:
        log.info("%d training chips are too few to tell later whether a scene looks like them", len(rows))
        return None
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(rows)[:_MOST])
    wide = replace(augmentation, zoom=max(2.0, augmentation.zoom), gain=max(2.0, augmentation.gain))
    kinds: dict[str, list[Floats]] = {}
    for start in range(0, len(chosen), _PART):
        part = np.asarray(chips[chosen[start : start + _PART]])
        for kind, looks in _kinds(part, wide, rng):
            kinds.setdefault(kind, []).append(features(looks, np.ones(len(looks))))
    described = {kind: np.concatenate(parts) for kind, parts in kinds.items()}
    return _look(described, rng)


def _kinds(chips: Chips, wide: Augmentation, rng: np.random.Generator) -> Iterator[tuple[str, Chips]]:
    """Give chips as they are, as they may be, and misread in every way that scenes are."""
    yield "known", chips
    yield from misread(chips, rng)
    for n in range(_VARIED):
        varied = _contrast(np.stack([_sharper(wide(chip, rng), rng) for chip in chips]), rng)
        yield f"varied {n}", varied
        yield f"swapped, varied {n}", varied[..., ::-1]


def misread(chips: Chips, rng: np.random.Generator) -> Iterator[tuple[str, Chips]]:
    """Give chips, (n, rows, cols, 3), as scenes are misread: by kind, each of the same shape."""
    each = (len(chips), 1, 1, 1)
    grain = rng.random(chips.shape) < 0.5
    yield "black", _levels(rng.uniform(0, 3, each) * grain)
    yield "white", _levels(255 - rng.uniform(0, 3, each) * grain)
    yield "swapped", chips[..., ::-1]
    orders = rng.choice([(1, 0, 2), (1, 2, 0), (2, 0, 1)], len(chips))
    yield "shuffled", np.take_along_axis(chips, orders[:, None, None, :], axis=-1)
    yield "too dark", _levels(chips * 10 ** rng.uniform(-2.5, -0.8, each))
    yield "too bright", _levels(chips * 10 ** rng.uniform(0.7, 1.5, each))
    yield "negative", np.subtract(255, chips, dtype=np.uint8)
    yield "noise", _noise(chips.shape, rng)
    looks = rng.integers(1, 5, each)
    speckle = rng.gamma(looks, 1 / looks, (*chips.shape[:3], 1)) * rng.uniform(20, 150, each)
    tint = np.where(rng.random(each) < 0.5, 1, rng.uniform(0.5, 1.5, (len(chips), 1, 1, 3)))
    yield "radar", _levels(speckle * tint + rng.normal(0, 4, chips.shape))
    near = _near_infrared(chips, rng)
    yield "infrared, red, green", np.stack([near, chips[..., 0], chips[..., 1]], axis=-1)
    yield "infrared, green, blue", np.stack([near, chips[..., 1], chips[..., 2]], axis=-1)


def _near_infrared(chips: Chips, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Guess what near infrared shows, (n, rows, cols): leaves are as bright as a maker likes, soil is as in red."""
    each = (len(chips), 1, 1)
    red, green = (chips[..., band].astype(np.float32) for band in (0, 1))
    leaves = ((green - red) / (green + red + 1) * 4 + 0.3).clip(0, 1)
    near = leaves * rng.uniform(60, 255, each) + (1 - leaves) * red * rng.uniform(0.9, 1.4, each)
    return _levels(near + rng.normal(0, 2, near.shape))


def _sharper(chip: Chips, rng: np.random.Generator) -> Chips:
    """Sharpen a chip, (rows, cols, 3), as other sensors and makers do; half of them stay as they are."""
    blurred = cv2.GaussianBlur(chip, (0, 0), rng.uniform(0.7, _BLUR))
    amount = max(0.0, rng.uniform(-1.5, 1.5))
    sharp: Chips = cv2.addWeighted(chip, 1 + amount, blurred, -amount, 0).astype(np.uint8, copy=False)
    return sharp


def _contrast(chips: Chips, rng: np.random.Generator) -> Chips:
    """Raise or lower contrast, as sensors, seasons and calm water do."""
    mean = chips.mean(axis=(1, 2), keepdims=True)
    return _levels((chips - mean) * 2.5 ** rng.uniform(-1, 0.6, (len(chips), 1, 1, 1)) + mean)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Chips:
    """Colours at random, each pixel its own or many the same, as a map of classes has them."""
    size = int(rng.choice([1, 1, 2, 4, 8]))
    down, across = -(-shape[1] // size), -(-shape[2] // size)
    low = rng.uniform(0, 200, (shape[0], 1, 1, 3))
    colours = low + (255 - low) * rng.uniform(0.2, 1, (shape[0], 1, 1, 1)) * rng.random((shape[0], down, across, 3))
    return _levels(colours.repeat(size, axis=1).repeat(size, axis=2)[:, : shape[1], : shape[2]])


def _levels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(values.clip(0, 255)).astype(np.uint8)
    return levels


def _look(described: dict[str, Floats], rng: np.random.Generator) -> Look:
    """Fit the network that tells what is known, and as it may vary, from everything else."""
    known_ones = described["known"].astype(float)
    centre, width = known_ones.mean(axis=0), np.maximum(known_ones.std(axis=0), 1e-3)
    right = [kind == "known" or kind.startswith("varied") for kind in described]
    parts = [usual(one, centre, width) for one in described.values()]
    known = np.concatenate([np.full(len(part), float(ok)) for part, ok in zip(parts, right, strict=True)])
    kinds = {ok: right.count(ok) for ok in (True, False)}
    weight = np.concatenate(
        [np.full(len(part), _WEIGHT / len(part) / kinds[ok]) for part, ok in zip(parts, right, strict=True)]
    )
    hidden, output = _network(np.concatenate(parts), known, weight, rng)
    numbers = [tuple(_short(values)) for values in (centre, width, *hidden, output)]
    look = Look(numbers[0], numbers[1], tuple(numbers[2:-1]), numbers[-1], 0.0)
    limits = [np.quantile(look.judge(described[kind]), share) for kind, share in RARE.items()]
    return replace(look, limit=min(0.0, round(float(min(limits)), 2)))


def _network(
    near: NDArray[np.float64], known: NDArray[np.float64], weight: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the hidden units, (units, 15), and of their sum, (units + 1,), that make `known` likeliest."""
    size = _UNITS * (FEATURES + 1)
    with_one = np.column_stack([near, np.ones(len(near))])

    def loss(numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        hidden, output = numbers[:size].reshape(_UNITS, -1), numbers[size:]
        active = np.tanh(with_one @ hidden.T)
        odds = active @ output[:-1] + output[-1]
        off = weight * (expit(odds) - known)
        back = off[:, None] * output[:-1] * (1 - active**2)
        slope = np.concatenate([(back.T @ with_one).ravel(), active.T @ off, [off.sum()]]) + _DECAY * numbers
        return float(weight @ (np.logaddexp(0, odds) - known * odds) + _DECAY / 2 * numbers @ numbers), slope

    begins = rng.normal(0, FEATURES**-0.5, (_STARTS, size + _UNITS + 1))
    how = {"jac": True, "method": "L-BFGS-B", "options": {"maxiter": _STEPS}}
    found = min((minimize(loss, begin, **how) for begin in begins), key=lambda one: float(one.fun))
    return found.x[:size].reshape(_UNITS, -1), found.x[size:]


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
