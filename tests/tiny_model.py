"""The smallest model packages: random weights, seeded, for tests that need a network but not a good one."""

from pathlib import Path
from typing import Any

from geoscan.dehazing import Dehazing
from geoscan.model.card import Card
from geoscan.model.package import Package, save
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import DenseNetSpec, Spec
from geoscan.polygons import Hysteresis

SPEC = DenseNetSpec(blocks=(1, 1), growth=4, stem=8, chip=32, stem_stride=2)


def card(spec: Spec = SPEC, *, gsd: float = 3.7, dehaze: Dehazing | None = None, **rest: Any) -> Card:
    """Make a card that fits a spec."""
    return Card(
        name=rest.pop("name", "tiny"),
        spec=spec,
        preprocess=Preprocess(spec.chip, gsd, "visual", dehaze),
        thresholds=dict.fromkeys(spec.labels, 0.2),
        detection=Hysteresis(high=0.5, low=0.3, isolated=0.6),
        **rest,
    )


def network(spec: Spec = SPEC, seed: int = 0) -> Any:
    """Build a network whose normalisations and biases say something too, as if it had been trained."""
    import numpy as np

    from geoscan.model.backend import keras
    from geoscan.model.network import build

    keras.utils.set_random_seed(seed)
    made = build(spec)
    rng = np.random.default_rng(seed)
    for variable in made.weights:
        if variable.ndim == 1:
            variable.assign(np.abs(variable.numpy() + rng.normal(0, 0.2, variable.shape)))
    if not isinstance(spec, DenseNetSpec):
        _settle(made, rng.uniform(0, 256, (8, spec.chip, spec.chip, 3)))
    return made


def _settle(made: Any, chips: Any) -> None:
    """Give the normalisations the averages of these chips: else fifty random layers leave nothing of a chip."""
    norms = [layer for layer in made.layers if hasattr(layer, "moving_variance")]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    made(chips, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def package(path: Path, spec: Spec = SPEC, seed: int = 0, **facts: Any) -> Package:
    """Write a package."""
    return save(path, network(spec, seed), card(spec, **facts))
