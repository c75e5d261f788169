"""How much do haze, brightness, resampling and the like cost a model? Judge it by chips that it has not seen.

    python examples/robustness.py models/mine --chips chips.zip --index index.csv
    python examples/robustness.py models/mine --kaggle-dir planet

A package that was trained with folds must hold their networks (`geoscan train --folds 5 --keep-folds`): each is judged
by the chips that it alone has not seen, and the figure is the mean over the folds. Another one is judged by the share
of the chips that was held out. Scores are of single views, not averaged over symmetries. The package's card takes the
figures, unless --print is passed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from geoscan.arrays import Scores
from geoscan.data.material import Material, gather
from geoscan.data.sources import ChipsSource, KaggleSource, TrainingData
from geoscan.evaluate.conditions import CONDITIONS
from geoscan.evaluate.metrics import average_precision, f2_samples
from geoscan.files import cache_directory
from geoscan.labels import MINE, MINE_COLUMN, columns
from geoscan.model.package import Package, load, save
from geoscan.model.runtime import detector, runtime_for
from geoscan.model.shipped import find
from geoscan.train.job import fold_directory

FIXED = 0.2
"""Threshold of F2: the same for all conditions."""
AT_ONCE = 256
"""Chips in memory at a time."""


def main() -> None:
    """Read the command line, score, print, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--kaggle-dir", type=Path)
    parser.add_argument("--chips", type=Path)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--print", action="store_true", help="leave the package as it is")
    options = parser.parse_args()
    if not options.kaggle_dir and not (options.chips and options.index):
        parser.error("pass --kaggle-dir, or --chips and --index")
    source = KaggleSource(options.kaggle_dir) if options.kaggle_dir else ChipsSource(options.chips, options.index)
    package = find(str(options.package))
    split = package.card.split
    if split is None:
        parser.error(f"{options.package} does not say which chips it has seen")
    parts = range(split.folds) if split.folds else (None,)
    paths = [package.path if part is None else fold_directory(package.path, part) for part in parts]
    if missing := [path for path in paths if not path.is_dir()]:
        parser.error(f"there is no {missing[0]}; train with --folds and --keep-folds")
    material = gather(TrainingData(source), package.card.preprocess, split, cache_directory())
    if material.split.data != split.data:
        parser.error(f"{options.package} was trained with other chips")
    means = np.mean([judged(load(path), material, part) for part, path in zip(parts, paths, strict=True)], axis=0)
    figures = {name: round(float(value), 4) for name, value in zip(CONDITIONS, means, strict=True)}
    for name, value in figures.items():
        print(f"{name}: {value:.3f}")
    if options.print:
        return
    card = replace(package.card, figures=replace(package.card.figures, conditions=figures))
    save(package.path, package.network(), card)


def judged(package: Package, material: Material, fold: int | None) -> list[float]:
    """Figure of a network under each condition, by the chips that it has not seen: AP of mines, or F2 of all labels."""
    _, rows = material.sides(fold)
    rows = rows[~material.tagged_only_cloudy[rows]]
    detect = detector(package.path, package.card.digest, AT_ONCE, runtime_for(package))
    found = []
    for change in CONDITIONS.values():
        parts = np.array_split(rows, max(1, len(rows) // AT_ONCE))
        seen = (package.card.preprocess.cleared(change(material.chips[part])) for part in parts)
        scores: Scores = np.concatenate([detect(chips) for chips in seen])
        found.append(figure(package.card.labels, material.targets[rows], scores))
    return found


def figure(labels: tuple[str, ...], targets: Scores, scores: Scores) -> float:
    """AP of mines where they are all that a model knows, else F2 at one threshold. targets: (n, 17)."""
    if labels == (MINE,):
        return average_precision(targets[:, MINE_COLUMN], scores[:, 0])
    return f2_samples(targets[:, columns(labels)], scores >= FIXED)


if __name__ == "__main__":
    main()
