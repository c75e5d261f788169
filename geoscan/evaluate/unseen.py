"""Which chips of a data set a model has not learned from."""

from __future__ import annotations

from pathlib import Path

from geoscan.data.material import Small, Split, Ticker, gather, gather_small, same_split
from geoscan.errors import DatasetError, PackageError
from geoscan.evaluate.sample import Sample
from geoscan.model.package import Package


def unseen(package: Package, sample: Sample, source: Path | Small, cache: Path, ticker: Ticker = iter) -> Sample:
    """Keep the chips that were kept out when a model was trained: the split that its card names is dealt again.

    source: what the sample is of, a Kaggle directory, or chips that are known as mine or other.
    Of chips tagged only `cloudy` those are kept that the training's cap let pass, as for the figures of the card.
    Raises PackageError for a model that learned from all chips, or from another kind of data; DatasetError for other
    chips than those it was trained on.
    """
    split = package.card.data.split
    if not split:
        raise PackageError(f"{package.path} does not say which chips it has not seen; leave --unseen out")
    kaggle = "cap" in split
    if kaggle != isinstance(source, Path):
        wanted = "--kaggle-dir" if kaggle else "--chips and --index"
        raise PackageError(
            f"the figures of {package.path} are of chips from {wanted}; pass that, or leave --unseen out"
        )
    if "folds" in split and "without" not in split:
        raise PackageError(
            f"{package.path} has learned from all chips; take a network of one of its folds, which `geoscan train "
            "--keep-folds` keeps, or leave --unseen out"
        )
    dealt = Split(**{key: split[key] for key in ("seed", "held_out", "folds") if key in split})
    preprocess = package.card.preprocess
    if isinstance(source, Path):
        material = gather(source, preprocess, dealt, small=None, cap=split["cap"], cache=cache, ticker=ticker)
    else:
        material = gather_small(source, preprocess, dealt, cache=cache, ticker=ticker)
    if not same_split({key: value for key, value in split.items() if key != "without"}, material.split):
        raise DatasetError(
            f"{package.path} was trained on other chips than these ({split}, now {dict(material.split)}), so nobody "
            "can tell which it has seen; give the set it was trained on, or leave --unseen out"
        )
    _, rows = material.sides(split.get("without", 2) - 1)
    kept = {material.names[i] for i in rows}
    return sample.take([i for i, name in enumerate(sample.names) if name in kept])
