"""The figures of a model on chips that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores
from geoscan.data.chips import only_cloudy
from geoscan.evaluate.lookalikes import lookalikes, share_interval, threshold_at_specificity
from geoscan.evaluate.metrics import ap_difference, f2_difference, f2_interval, f2_samples, label_metrics, mine_metrics
from geoscan.evaluate.sample import Scored
from geoscan.evaluate.thresholds import START, predict
from geoscan.labels import LABELS, MINE

_SPECIFICITIES = (0.99, 0.994)


def figures(scored: Scored) -> dict[str, Any]:
    """Return what a model is worth, with the thresholds of its card, as plain values for JSON.

    Of Kaggle's chips, if the model knows all 17 labels: sample-averaged F2 and its interval, of all and of those not
    tagged only `cloudy`. Always: each label's figures, where the label is known, and those of mines against the rest.
    Of mine/other chips also those of each sampling campaign and of each kind of look-alike.
    """
    found: dict[str, Any] = {"model": scored.package.card.name, "digest": scored.package.card.digest}
    if _has_f2(scored):
        kept = ~only_cloudy(scored.sample.targets)
        found |= _f2(scored, np.ones(len(kept), bool))
        found["not_only_cloudy"] = {"n": int(kept.sum()), **_f2(scored, kept)}
    labels = label_metrics(scored.targets, scored.scores, dict(scored.package.card.thresholds), scored.labels)
    targets, scores = scored.column(MINE)
    mine = mine_metrics(targets, scores, _SPECIFICITIES, scored.sample.campaigns)
    bars = {f"{one:g}": threshold_at_specificity(targets, scores, one) for one in _SPECIFICITIES}
    found |= {
        "n": len(scored.sample),
        "labels": {label: asdict(one) for label, one in labels.items() if one.n_known},
        "mine": {**asdict(mine), "threshold_at_specificity": bars},
    }
    if scored.sample.campaigns is not None:
        threshold = scored.package.card.thresholds[MINE]
        found["campaigns"] = _by_campaign(scored.sample.campaigns, targets, scores, threshold)
        found["lookalikes"] = lookalikes(scored.sample.campaigns, targets, scores, threshold)
        found["lookalikes_at_0.994"] = lookalikes(scored.sample.campaigns, targets, scores, bars["0.994"])
    plain: dict[str, Any] = _plain(found)
    return plain


def difference(first: Scored, second: Scored) -> dict[str, Any]:
    """How much better the first model is on the same chips, with paired bootstrap intervals, as plain values for JSON.

    In sample-averaged F2, of all chips and of those not tagged only `cloudy`; in average precision of mines where one
    of the models, or the sample, has no F2.
    """
    if not (_has_f2(first) and _has_f2(second)):
        targets, scores = first.column(MINE)
        ap, interval = ap_difference(targets, scores, second.column(MINE)[1], first.sample.campaigns)
        return {"mine_ap": _plain(ap), "mine_ap_interval": _plain(interval)}
    targets = first.sample.targets
    kept = ~only_cloudy(targets)
    named = {}
    for key, rows in (("all", np.ones(len(kept), bool)), ("not_only_cloudy", kept)):
        f2, interval = f2_difference(targets[rows], _predicted(first)[rows], _predicted(second)[rows])
        named[key] = {"f2_samples": _plain(f2), "f2_samples_interval": _plain(interval)}
    return {**named["all"], "not_only_cloudy": named["not_only_cloudy"]}


def _has_f2(scored: Scored) -> bool:
    """Tell whether Kaggle's measure exists: over all of its labels, for chips that have them all."""
    return set(scored.labels) == set(LABELS) and scored.sample.campaigns is None


def _predicted(scored: Scored) -> NDArray[np.bool_]:
    """(n, 17), columns as in `LABELS`."""
    order = [scored.labels.index(label) for label in LABELS]
    return predict(scored.scores, dict(scored.package.card.thresholds), scored.labels)[:, order]


def _f2(scored: Scored, rows: NDArray[np.bool_]) -> dict[str, Any]:
    targets, predicted = scored.sample.targets[rows], _predicted(scored)[rows]
    return {
        "f2_samples": f2_samples(targets, predicted),
        "f2_samples_interval": f2_interval(targets, predicted),
        "f2_at_0.2": f2_samples(scored.targets[rows], scored.scores[rows] >= START),
    }


def _by_campaign(
    campaigns: Sequence[str], targets: NDArray[np.floating], scores: Scores, threshold: float
) -> dict[str, dict[str, Any]]:
    """What each sampling campaign holds, and the share of its chips that is called mine."""
    names, found = np.array(campaigns), {}
    for name in sorted(set(campaigns)):
        rows = names == name
        n, called = int(rows.sum()), int((scores[rows] >= threshold).sum())
        found[name] = {
            "n": n,
            "mine": int((targets[rows] == 1).sum()),
            "other": int((targets[rows] == 0).sum()),
            "called_mine": called / n,
            "called_mine_interval": share_interval(called, n),
        }
    return found


def _plain(value: Any) -> Any:
    """Replace NaN, which JSON has no word for, by None."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
