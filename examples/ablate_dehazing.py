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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
from ablate import into_card, summary

from geoscan.arrays import Chips, Scores
from geoscan.dark_channel import DarkChannel
from geoscan.data.kaggle import GSD
from geoscan.data.material import Material, gather
from geoscan.data.sources import ChipsSource, KaggleSource, TrainingData
from geoscan.dehazing import DarkLevel, dark_levels, histograms
from geoscan.evaluate.conditions import CONDITIONS
from geoscan.evaluate.metrics import average_precision, f2_samples
from geoscan.files import cache_directory, replacing
from geoscan.labels import LABELS, MINE_COLUMN
from geoscan.model import densenet
from geoscan.model.backend import keras
from geoscan.model.figures import Variant
from geoscan.model.figures_markdown import ablation_table
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import MINE_HEADS, DenseNetSpec
from geoscan.model.split import Split
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches, StoredExamples
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.loop import Schedule, Task, fit
from geoscan.train.losses import loss_of, positive_weights

FOLDS = 5
Found: TypeAlias = dict[str, dict[str, dict[str, float | None]]]
"""Figures by look, fold and condition."""

SHOWN = (
    "as they are",
    "thin haze (0.8 comes through)",
    "haze (0.6 comes through)",
    "thick haze (0.4 comes through)",
    "0.1 reflectance added",
    "less atmosphere",
)
"""Conditions that the looks are judged under."""

JITTER = Augmentation(haze=0.5, clear=0.5, offset=60)
NOISY = ("GeoCompass2023",)
"""Campaigns of a third party whose mines nobody has looked through: they teach, and do not judge."""


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
    parser.add_argument("--out", type=Path, required=True, help="figures of each network, as JSON")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--most", type=int, default=6000, help="training chips of each network")
    parser.add_argument("--only", nargs="+", help="looks, by name; the first is what others are compared to")
    parser.add_argument("--card", type=Path, help="model package whose card takes the report")
    parser.add_argument("--plot", type=Path, help="picture of the report to draw")
    options = parser.parse_args()
    if not options.kaggle_dir and not (options.chips and options.index):
        parser.error("pass --kaggle-dir, or --chips and --index")
    source = KaggleSource(options.kaggle_dir) if options.kaggle_dir else ChipsSource(options.chips, options.index)
    spec, plain = setting(kaggle=bool(options.kaggle_dir))
    ways = looks(plain)
    names = options.only or list(ways)
    if unknown := set(names) - ways.keys():
        parser.error(f"no look is called {', '.join(unknown)}; there are {', '.join(ways)}")
    found: Found = json.loads(options.out.read_text()) if options.out.exists() else {}
    split = Split(folds=FOLDS, unchecked=() if options.kaggle_dir else NOISY)
    material = gather(TrainingData(source), plain, split, cache_directory())
    for fold, name in product(range(FOLDS), names):
        done = found.setdefault(name, {})
        if str(fold) not in done:
            network = trained(ways[name], spec, material, fold, options.epochs, options.most)
            done[str(fold)] = measured(ways[name], network, spec, material, fold)
            print(fold, name, done[str(fold)], flush=True)
            with replacing(options.out) as part:
                part.write_text(json.dumps(found, indent=2))
    told = report(found, names)
    print(ablation_table(told))
    if options.plot:
        draw(told, "AP of mines" if spec.heads == MINE_HEADS else "F2 at 0.2", options.plot)
    if options.card:
        into_card(options.card, "dehaze", told)


def report(found: Found, names: Sequence[str]) -> Mapping[str, Variant]:
    """Means over the folds, and changes to the first look, fold by fold."""
    runs = {name: [found[name][fold] for fold in sorted(found[name])] for name in names}
    base = runs[names[0]]
    return {name: summary(each, base) for name, each in runs.items()}


def draw(told: Mapping[str, Variant], measure: str, path: Path) -> None:
    """Draw the figure of each look over the conditions."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, variant in told.items():
        values = [one.value for one in variant.figures.values()]
        axes.plot(range(len(values)), values, marker="o", label=name, linewidth=2.5 if name == "wide" else 1.2)
    conditions = list(next(iter(told.values())).figures)
    axes.set_xticks(range(len(conditions)), conditions, rotation=25, ha="right", size=8)
    axes.set_ylabel(f"{measure}, mean of {FOLDS} folds")
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, ncols=len(told), loc="outside upper center")
    plt.savefig(path, dpi=110)


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


def measured(
    look: Look, network: keras.Model, spec: DenseNetSpec, material: Material, fold: int
) -> dict[str, float | None]:
    """Figures of a network on the chips of its fold, by condition: AP of mines, or F2 at 0.2 of all labels."""
    _, rows = material.sides(fold)
    rows = rows[~material.tagged_only_cloudy[rows]]
    chips, targets = material.chips[rows], material.targets[rows]
    figures = {}
    for name in SHOWN:
        change = CONDITIONS[name]
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
