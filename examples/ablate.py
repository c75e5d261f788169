"""Does it help? Train the same small network with and without a thing, several times, and compare.

    python examples/ablate.py pretrain --kaggle-dir planet --pretrain eurosat-rgb.zip --out ablation.json
    python examples/ablate.py resolution --kaggle-dir planet --out ablation.json

Each variant is trained once a seed. A seed decides the split, the order of the chips and the weights that are drawn,
and is the same for all variants: differences are taken seed by seed, and their interval is Student's over the seeds.
Chips of Sentinel-2 are also measured as if they were surface reflectance (L2A): each validation chip without its
atmosphere, by the model of `geoscan.train.augment`. The report says which figures these are.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from scipy.stats import t as student

from geoscan.data.kaggle import GSD
from geoscan.data.labelled import read_chips
from geoscan.data.mine_chips import MineChips
from geoscan.data.sources import ChipsSource, KaggleSource, TrainingData
from geoscan.errors import PackageError
from geoscan.evaluate.metrics import auc, average_precision
from geoscan.files import cache_directory, replacing
from geoscan.labels import MINE_COLUMN, readable
from geoscan.model.figures import AblatedFigure, Variant
from geoscan.model.figures_markdown import ablation_table
from geoscan.model.package import load, save
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import MINE_HEADS, EfficientNetSpec
from geoscan.model.tensorflow_runtime import NetworkDetector
from geoscan.train.augment import Augmentation
from geoscan.train.job import Job
from geoscan.train.loop import Schedule
from geoscan.train.recipe import Recipe
from geoscan.train.run import material_of, run
from geoscan.train.scoring import score

Run = dict[str, float | None]
"""What one training came to: figures by name, as people read it."""
_REPORT = TypeAdapter(dict[str, Variant])


def main() -> None:
    """Read the command line, train all variants, write and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=("pretrain", "resolution"))
    parser.add_argument("--kaggle-dir", type=Path)
    parser.add_argument("--chips", type=Path)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--pretrain", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="default: 8 for Kaggle's chips, 2 for Sentinel-2's")
    parser.add_argument(
        "--side", type=int, help="default: the network looks at 96 px of Kaggle's chips, 64 of the others"
    )
    parser.add_argument(
        "--only", nargs="+", help="variants to train, by name; the first is what others are compared to"
    )
    parser.add_argument("--card", type=Path, help="model package whose card takes the report")
    options = parser.parse_args()
    if options.question == "pretrain" and not options.pretrain:
        parser.error("pass --pretrain, what is to be learned first")
    try:
        if options.card:
            load(options.card)
    except PackageError as error:
        parser.error(str(error))
    if not options.out.absolute().parent.is_dir():
        parser.error(f"{options.out} lies in no folder")
    if not options.kaggle_dir and not (options.chips and options.index):
        parser.error("pass --kaggle-dir, or --chips and --index")
    source = KaggleSource(options.kaggle_dir) if options.kaggle_dir else ChipsSource(options.chips, options.index)
    data = TrainingData(source, classes=options.pretrain)
    base = recipe(data, options.epochs, options.side)
    asked = variants(options.question, base)
    if unknown := set(options.only or ()) - asked.keys():
        parser.error(f"no variant is called {', '.join(unknown)}; there are {', '.join(asked)}")
    found: dict[str, list[Run]] = {}
    for seed in range(options.seeds):
        for name in options.only or asked:
            figures = measured(replace(asked[name], split=replace(base.split, seed=seed)), data)
            found.setdefault(name, []).append(figures)
            print(f"seed {seed}, {name}: {figures}")
            report = {name: summary(runs, found[next(iter(found))]) for name, runs in found.items()}
            with replacing(options.out) as part:
                part.write_bytes(_REPORT.dump_json(report, indent=2) + b"\n")
    print(ablation_table(report))
    if options.card:
        into_card(options.card, options.question, report)


def into_card(path: Path, question: str, report: Mapping[str, Variant]) -> None:
    """Put a report into the card of a model package."""
    package = load(path)
    figures = package.card.figures
    figures = replace(figures, ablations={**figures.ablations, question: report})
    save(path, package.network(), replace(package.card, figures=figures))


def recipe(data: TrainingData, epochs: int | None, side: int | None) -> Recipe:
    """Return what all variants share: a small network that begins with ImageNet's weights."""
    kaggle = not data.chips_alone
    spec = EfficientNetSpec(side=side or (96 if kaggle else 64))
    if not kaggle:
        spec = replace(spec, chip=48, heads=MINE_HEADS)
    epochs = epochs or (8 if kaggle else 2)
    return Recipe(
        spec=spec,
        preprocess=Preprocess(spec.chip, GSD if kaggle else 10.0, "visual" if kaggle else "sentinel2-l1c", None),
        schedule=Schedule(epochs=epochs, rate=1e-3, warmup=epochs / 8, average=0.95, keep="last"),
        batch=32 if kaggle else 64,
        init="imagenet",
    )


def variants(question: str, base: Recipe) -> Mapping[str, Recipe]:
    """Return the recipes to compare; differences are to the first."""
    if question == "resolution":
        assert isinstance(base.spec, EfficientNetSpec)
        side = base.spec.side
        return {f"{s} px": replace(base, spec=replace(base.spec, side=s)) for s in (side, side * 3 // 2, side * 2)}
    return {
        "imagenet": base,
        "classes after imagenet": replace(base, pretrain_epochs=1),
        "none": replace(base, init="none"),
    }


def measured(variant: Recipe, data: TrainingData) -> Run:
    """Train one variant and return its figures on the chips that were held out."""
    with tempfile.TemporaryDirectory() as out:
        package, _ = run(variant, data, Job(Path(out) / "model", cache_directory()))
        figures = package.card.figures
        if figures.f2 is not None:
            labels = {f"F2 of {readable(label)}": one.f2 for label, one in figures.labels.items()}
            return {"F2, tuned": figures.f2.tuned, "F2 at 0.2": figures.f2.fixed, **labels}
        assert figures.mine is not None
        chips = read_chips(data.labelled)
        assert isinstance(chips, MineChips)
        material = material_of(variant, data, cache_directory())
        _, rows = material.sides()
        cleared = Augmentation(symmetries=False, zoom=1, gain=1, haze=0, clear=1)
        rng = np.random.default_rng(0)
        pixels = [surface(chips, material.names[i], cleared, variant.preprocess, rng) for i in rows]
        detect = NetworkDetector(package.network(), variant.spec)
        scores = score(detect, variant.spec.labels, variant.preprocess, np.stack(pixels))[:, MINE_COLUMN]
        known = material.targets[rows, MINE_COLUMN]
        return {
            "AP": figures.mine.ap,
            "AUC": figures.mine.auc,
            "AP, no atmosphere": average_precision(known, scores),
            "AUC, no atmosphere": auc(known, scores),
        }


def surface(
    chips: MineChips, name: str, cleared: Augmentation, preprocess: Preprocess, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a chip as it might look without atmosphere."""
    return cleared(preprocess.frame(chips.read(chips.names.index(name))), rng)


def summary(runs: Sequence[Run], base: Sequence[Run]) -> Variant:
    """Mean of each figure, and of its difference to the first variant with a 95 % interval over the seeds."""
    told = {}
    for key in runs[0]:
        values = np.array([figures[key] for figures in runs], float)
        change = values - np.array([figures[key] for figures in base[: len(runs)]], float)
        mean = round(float(np.nanmean(values)), 4) if np.isfinite(values).any() else None
        told[key] = AblatedFigure(mean)
        if len(runs) > 1 and np.isfinite(change).all() and runs is not base:
            half = float(student.ppf(0.975, len(runs) - 1) * change.std(ddof=1) / len(runs) ** 0.5)
            low, middle, high = (round(float(change.mean()) + move, 4) for move in (-half, 0, half))
            told[key] = AblatedFigure(mean, middle, (low, high))
    return Variant(len(runs), told)


if __name__ == "__main__":
    main()
