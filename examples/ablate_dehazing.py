"""Does it help to remove haze, and how? Train small networks that see chips in several ways, and compare.

    python examples/ablate_dehazing.py --chips chips.zip --index index.csv --out sentinel2.json
    python examples/ablate_dehazing.py --kaggle-dir planet --out planet.json

Five parts of the chips are kept out in turn (places are never cut), and a network is trained from nothing on the others
for each way of seeing. It is judged by the chips kept out: as they are, under haze that lets 0.8, 0.6 and 0.4 of the
light through, with 0.1 reflectance added, and without their atmosphere, as surface reflectance has them. All networks
are trained alike, with the same variation of haze, offset and atmosphere, which comes before haze is removed.
Started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Scores
from geoscan.dark_channel import DarkChannel
from geoscan.data.cache import default_directory
from geoscan.data.deal import stratified_group_split
from geoscan.data.kaggle import GSD
from geoscan.data.material import Material, gather
from geoscan.data.sources import ChipsSource, KaggleSource, TrainingData
from geoscan.dehazing import DarkLevel, dark_levels, histograms
from geoscan.evaluate.metrics import average_precision, f2_samples
from geoscan.files import replacing
from geoscan.labels import LABELS, MINE_COLUMN
from geoscan.model import densenet
from geoscan.model.backend import keras
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import MINE_HEADS, DenseNetSpec
from geoscan.model.split import Split
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches, StoredExamples
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.loop import Schedule, Task, fit
from geoscan.train.losses import loss_of, positive_weights

FOLDS = 5
JITTER = Augmentation(haze=0.5, clear=0.5, offset=60)
STILL = Augmentation(symmetries=False, zoom=1, gain=1, haze=0)
NOISY = "GeoCompass2023"
"""Campaigns of a third party whose mines nobody has looked through: they teach, and do not judge."""

WHITE = np.array([205.0, 205, 205])
"""Colour of synthetic haze, in counts."""


@dataclass(frozen=True)
class Look:
    """How a network sees chips: as `preprocess` leaves them, and what else it is told.

    beside: the chip with its haze, as three more channels. told: the dark level of each band, for the heads alone.
    """

    preprocess: Preprocess
    beside: bool = False
    told: bool = False

    def cleared(self, chips: Chips) -> Chips:
        """(n, chip, chip, 3) -> (n, chip, chip, channels)."""
        clear = self.preprocess.cleared(chips)
        if self.beside:
            return np.concatenate([clear, chips], axis=-1)
        if not self.told:
            return clear
        levels = np.stack([dark_levels(histograms(chip.transpose(2, 0, 1), None), 1.0) for chip in chips])
        return np.concatenate([clear, np.broadcast_to(levels[:, None, None], clear.shape).astype(np.uint8)], axis=-1)

    def network(self, spec: DenseNetSpec) -> keras.Model:
        """Build a network that takes what `cleared` gives."""
        channels = 6 if self.beside or self.told else 3
        seen = 6 if self.beside else 3
        chips = keras.Input((spec.chip, spec.chip, channels))
        mean, std = np.resize(spec.mean, seen), np.resize(spec.std, seen)
        scaled = keras.layers.Rescaling(list(1 / std), list(-mean / std))(chips[..., :seen])
        pooled = keras.layers.GlobalAveragePooling2D()(densenet.trunk(scaled, spec, "float32"))
        if self.told:
            levels = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(chips[..., 3:]))
            pooled = keras.layers.Concatenate()([pooled, levels])
        pooled = keras.layers.Dropout(spec.dropout)(pooled)
        heads = {h.name: keras.layers.Dense(len(h.labels), activation=h.activation)(pooled) for h in spec.heads}
        return keras.Model(chips, heads)


def main() -> None:
    """Read the command line, train, measure, write what came out after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kaggle-dir", type=Path)
    parser.add_argument("--chips", type=Path)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--most", type=int, default=6000, help="training chips of each network")
    parser.add_argument("--only", nargs="+", help="looks, by name")
    options = parser.parse_args()
    source = KaggleSource(options.kaggle_dir) if options.kaggle_dir else ChipsSource(options.chips, options.index)
    spec, plain = setting(kaggle=bool(options.kaggle_dir))
    split = Split(folds=FOLDS)
    material = without_noise(gather(TrainingData(source), plain, split, default_directory()))
    ways = looks(plain)
    found: dict[str, dict[str, dict[str, float]]] = {}
    if options.out.exists():
        found = json.loads(options.out.read_text())
    for fold in range(FOLDS):
        for name in options.only or ways:
            if str(fold) in found.setdefault(name, {}):
                continue
            network = trained(ways[name], spec, material, fold, options.epochs, options.most)
            found[name][str(fold)] = measured(ways[name], network, spec, material, fold)
            print(fold, name, found[name][str(fold)], flush=True)
            with replacing(options.out) as part:
                part.write_text(json.dumps(found, indent=2))


def setting(*, kaggle: bool) -> tuple[DenseNetSpec, Preprocess]:
    """Return the network and the frame of the chips."""
    if kaggle:
        return DenseNetSpec(blocks=(2, 4, 4), growth=24, stem=32, shrink=4, stem_stride=2), Preprocess(
            256, GSD, "visual", None
        )
    return DenseNetSpec(blocks=(2, 4, 4), growth=24, stem=32, chip=48, stem_stride=2, heads=MINE_HEADS), Preprocess(
        48, 10.0, "sentinel2-l1c", None
    )


def looks(plain: Preprocess) -> Mapping[str, Look]:
    """Return the ways of seeing, by name; the others are compared to the first."""
    wide = replace(plain, dehaze=DarkLevel())
    patch = 15 if plain.chip == 256 else 5
    return {
        "as it is": Look(plain),
        f"dark channel in {patch} px": Look(replace(plain, dehaze=DarkChannel(patch=patch, radius=2 * patch))),
        "wide": Look(wide),
        "wide, beside as it is": Look(wide, beside=True),
        "wide, dark level told": Look(wide, told=True),
        "wide, airlight 0.7": Look(replace(plain, dehaze=DarkLevel(airlight=(0.7, 0.7, 0.7)))),
        "wide, all of the haze": Look(replace(plain, dehaze=DarkLevel(omega=1.0))),
        "wide, 0.1 %": Look(replace(plain, dehaze=DarkLevel(percent=0.1))),
        "wide, 5 %": Look(replace(plain, dehaze=DarkLevel(percent=5))),
    }


def trained(look: Look, spec: DenseNetSpec, material: Material, fold: int, epochs: int, most: int) -> keras.Model:
    """Train a network from nothing on the chips of all other folds."""
    training, _ = material.sides(fold)
    training = np.random.default_rng(fold).permutation(training)[:most]
    keras.utils.set_random_seed(fold)
    network = look.network(spec)
    weights = dict(zip(LABELS, positive_weights(material.targets[training]), strict=True))
    losses = {h.name: loss_of(h, np.array([weights[label] for label in h.labels])) for h in spec.heads}
    examples = StoredExamples(material.chips, material.targets, training)
    batches = Batches(examples, spec.heads, look, batch=32, seed=fold, augmentation=JITTER)
    schedule = Schedule(epochs, rate=2e-3, warmup=epochs / 8, average=0.97, keep="last")
    with tempfile.TemporaryDirectory() as room:
        fit(network, Task(losses, batches), schedule, Checkpoint(Path(room) / "c.npz", {}, False))
    return network


def conditions() -> Mapping[str, Callable[[Chips], Chips]]:
    """Return what is done to the chips that judge, by name."""

    def curve(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Chips], Chips]:
        return lambda chips: np.rint(change(chips.astype(np.float64)).clip(0, 255)).astype(np.uint8)

    surface = replace(STILL, clear=1.0)
    return {
        "clean": lambda chips: chips,
        "haze 0.8": curve(lambda x: x * 0.8 + WHITE * 0.2),
        "haze 0.6": curve(lambda x: x * 0.6 + WHITE * 0.4),
        "haze 0.4": curve(lambda x: x * 0.4 + WHITE * 0.6),
        "+0.1": curve(lambda x: x + 85),
        "as L2A": lambda chips: np.stack([surface(chip, np.random.default_rng(i)) for i, chip in enumerate(chips)]),
    }


def without_noise(material: Material) -> Material:
    """Deal the folds anew, so that chips whose mines nobody has looked through always teach and never judge."""
    judges = np.flatnonzero([not name.startswith(NOISY) for name in material.campaigns])
    if not len(judges):
        return material
    dealt = stratified_group_split(material.targets[judges], material.groups[judges], material.split.shares, 0)
    fold = np.full(len(material.names), FOLDS)
    fold[judges] = dealt
    return replace(material, fold=fold)


def measured(look: Look, network: keras.Model, spec: DenseNetSpec, material: Material, fold: int) -> dict[str, float]:
    """Figures of a network on the chips of its fold, by condition: AP of mines, or F2 at 0.2 of all labels."""
    _, rows = material.sides(fold)
    rows = rows[~material.tagged_only_cloudy[rows]]
    chips, targets = material.chips[rows], material.targets[rows]
    figures = {}
    for name, change in conditions().items():
        answers = network.predict(look.cleared(change(chips)), batch_size=64, verbose=0)
        scores: Scores = np.concatenate([answers[head.name] for head in spec.heads], axis=1)
        if spec.heads == MINE_HEADS:
            figures[name] = average_precision(targets[:, MINE_COLUMN], scores[:, 0])
        else:
            columns = [LABELS.index(label) for label in spec.labels]
            figures[name] = f2_samples(targets[:, columns], scores >= 0.2)
    return {name: round(float(value), 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
