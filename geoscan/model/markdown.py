"""Cards for people: all that `card.json` says of a model, as Markdown, and a page of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from geoscan.labels import MINE, readable
from geoscan.model.card import Card
from geoscan.model.figures import BALANCED, DEFAULT_POINT, POINTS, SENSITIVE, STRICT, Figures
from geoscan.model.figures_markdown import Cell, figures_markdown, table
from geoscan.model.origin import TrainedOn, Training
from geoscan.resolution import native_range, usable_range

FEW = 10
"""Chips with a label below which the card warns of its figures."""

_PAGE = (
    "These models come with geoscan. Each finds artisanal gold mines in one kind of satellite image. `geoscan scan` "
    "takes the one whose resolution is nearest to the scene's. `geoscan models NAME` prints a model's whole card, with "
    "its limits and how it was trained. `examples/models_readme.py` writes this page from the cards."
)
_WORDS = (
    "A scene whose pixels have the size that a model takes is read as it is; a finer or a coarser one is resampled, or "
    "refused. A chip is the square piece of a scene that gets one score for each label. The last column is the one "
    "figure by which such a model is judged. F2 is Kaggle's measure, over all labels; AP is the average precision of "
    "mines. Both are at best 1."
)

_POINTS = (
    f"`sensitive` finds {100 * SENSITIVE:g} % of the mines that judged it, each chip by itself. At `balanced` a chip "
    f"alone must outdo {100 * BALANCED:g} % of the chips without a mine, and the label's threshold; neighbours confirm "
    f"each other, and need less. `strict` turns down {100 * STRICT:g} % of the chips without a mine, whatever their "
    "neighbours. None is laxer than the one before it."
)
_OLD_POINTS = "Its training, by an earlier version, kept no scores from which the others could be told."

_DENSENET = "DenseNet-BC"
_DENSENET_PAPER, _EFFICIENTNET_PAPER = "Huang, Liu, van der Maaten, Weinberger 2017", "Tan, Le 2019"


def _family(card: Card) -> str:
    family = card.spec.family
    return _DENSENET if family == "densenet" else family.replace("efficientnet-lite", "EfficientNet-Lite")


def card_markdown(card: Card) -> str:
    """Render a card. The same card, read back from JSON, gives the same text."""
    sections = {
        "What it is for": _purpose(card),
        "What it is not for": _no_purpose(card),
        "Input": [table(("", ""), _input(card))],
        "Network": [table(("", ""), _network(card))],
        "Trained on": _data(card),
        "Figures": [figures_markdown(card.figures)],
        "Thresholds": _thresholds(card),
        "Calibration": _calibration(card),
        "How it was trained": _training(card.training),
        "Limits": _limits(card),
        "Identity": [table(("", ""), _identity(card))],
    }
    blocks = [f"# {card.name}"]
    for title, content in sections.items():
        if content:
            blocks += [f"## {title}", *content]
    return "\n\n".join(blocks) + "\n"


def models_markdown(models: Sequence[tuple[Card, int]]) -> str:
    """Render a page of several models: a table to choose by, then the figures of each.

    models: cards, and the sizes of their weights in bytes.
    """
    rows = [_model_row(card, size) for card, size in models]
    blocks = [
        "# Models",
        _PAGE,
        table(("model", "takes pixels of", "resamples", "chip", "network", "weights", "judged by"), rows),
        _WORDS,
    ]
    for card, _ in models:
        blocks += [f"## {card.name}", _sources(card.data), figures_markdown(card.figures)]
    return "\n\n".join(blocks) + "\n"


def _purpose(card: Card) -> list[str]:
    others = [readable(label) for label in card.labels if label != MINE]
    known = f" It also answers {len(others)} other labels: {', '.join(others)}." if others else ""
    return [
        f"It finds chips with artisanal gold mines in red, green, blue satellite imagery at about "
        f"{card.preprocess.gsd:g} m per pixel, so that a person needs to look at a few places only.{known}",
        f"`geoscan scan SCENE --model {card.name} --out mines.geojson` makes polygons of them.",
    ]


def _no_purpose(card: Card) -> list[str]:
    return [
        _bullets(
            "Proof of a mine: a polygon is a place to look at in better imagery or on the ground, before anybody acts.",
            "Proof that there is none: a mine may lie under cloud, or be too small to be seen.",
            f"Outlines or areas of mines: it answers for whole chips, {_metres(card)}.",
            "Other sensors, seasons and regions than it was measured on: measure it there first (`geoscan evaluate`).",
        )
    ]


_HAZE = {
    "dark-level": "by the dark level of the whole chip, the dark channel prior with a window as wide as the chip",
    "dark-channel": "dark channel prior in a small window, guided filter",
}


def _input(card: Card) -> list[tuple[str, Cell]]:
    preprocess = card.preprocess
    haze = "none"
    if preprocess.dehaze is not None:
        how = asdict(preprocess.dehaze)
        haze = f"{_HAZE[how.pop('kind')]}; {_option(how)}"
    return [
        ("chip", f"{preprocess.chip} x {preprocess.chip} px, {_metres(card)}"),
        ("ground sample distance", f"{preprocess.gsd:g} m per pixel"),
        ("bands", "red, green, blue, 8 bit"),
        ("radiometry", f"`{preprocess.radiometry}`"),
        ("scores", "means over the 8 symmetries of each chip" if card.tta else "of each chip as it is"),
        ("haze removal", haze),
    ]


def _network(card: Card) -> list[tuple[str, Cell]]:
    paper = _DENSENET_PAPER if card.spec.family == "densenet" else _EFFICIENTNET_PAPER
    rows: list[tuple[str, Cell]] = [("family", f"{_family(card)} ({paper})")]
    if card.training.parameters is not None:
        rows.append(("parameters", card.training.parameters))
    options = {name: value for name, value in asdict(card.spec).items() if value is not None}
    rows += [(readable(name), _option(options[name])) for name in options if name not in {"family", "heads"}]
    return rows + [(f"head `{h.name}`", f"{h.activation} over {', '.join(h.labels)}") for h in card.spec.heads]


def _data(card: Card) -> list[str]:
    data = card.data
    counts = {
        "campaigns": data.campaigns,
        "training chips": data.training_chips,
        "validation chips": data.validation_chips,
    }
    lines = [f"source: {data.source}", f"licence: {data.licence}"]
    lines += [f"fingerprint: {data.fingerprint}"] if data.fingerprint else []
    lines += [f"{name}: {count:,}" for name, count in counts.items() if count is not None]
    if data.small_chips is not None:
        small = data.small_chips
        lines.append(f"in mosaics: {small.source}, {small.mine:,} mines and {small.other:,} others")
        lines.append(f"licence of those: {small.licence}")
    split = card.split.facts() if card.split else {}
    lines += [f"split, {readable(key)}: {_option(value)}" for key, value in split.items()]
    labels = dict.fromkeys((*data.training_positives, *data.validation_positives))
    rows = [
        (readable(label), data.training_positives.get(label), data.validation_positives.get(label)) for label in labels
    ]
    counted = ["Chips with each label:", table(("label", "training", "validation"), rows)] if rows else []
    return [_bullets(*lines), *counted]


def _sources(data: TrainedOn) -> str:
    """Sentence with all sources and their licences."""
    small = data.small_chips
    mosaics = f", and on mosaics of {small.source} ({small.licence})" if small else ""
    return f"Trained on {data.source} ({data.licence}){mosaics}."


def _model_row(card: Card, size: int) -> tuple[Cell, ...]:
    native, usable = _ranges(card)
    parameters = card.training.parameters
    weights = f"{size / 1e6:.2g} MB" + (f", {parameters / 1e6:.1f} million numbers" if parameters else "")
    return (
        f"`{card.name}`",
        native,
        usable,
        f"{card.preprocess.chip} px, {card.preprocess.chip * card.preprocess.gsd:.0f} m",
        _family(card),
        weights,
        card.figures.headline,
    )


def _thresholds(card: Card) -> list[str]:
    rows = [(readable(label), card.thresholds[label]) for label in card.labels]
    points = [(f"`{name}`", one.high, one.low, one.isolated) for name, one in card.points.items()]
    return [
        "A label holds where its score is not below:",
        table(("label", "threshold"), rows),
        "Polygons are made of the scores for artisanal mine: one chip of a polygon reaches `--high`, each of them "
        f"`--low`, and a chip without neighbours `--isolated`. `--operate` chooses among these, {DEFAULT_POINT} unless "
        "told:",
        table(("operating point", "`--high`", "`--low`", "`--isolated`"), points),
        _POINTS if len(points) == len(POINTS) else _OLD_POINTS,
    ]


def _calibration(card: Card) -> list[str]:
    calibration = card.calibration
    if not calibration.temperatures and not calibration.curves and calibration.seen_prior is None:
        return ["None was fitted: the scores rank chips, they are no probabilities."]
    blocks = []
    if calibration.temperatures or calibration.curves:
        blocks.append("Thresholds are for the scores as the model gives them.")
    if calibration.curves:
        rows = [(readable(label), one.a, one.b, one.c) for label, one in calibration.curves.items()]
        blocks += [
            "The log odds of a label's probability are a ln(score) - b ln(1 - score) + c (beta calibration: Kull, "
            "Silva Filho, Flach 2017, AISTATS, section 3):",
            table(("label", "a", "b", "c"), rows),
        ]
    if calibration.temperatures:
        blocks += [
            "The logits of these heads are divided by temperatures (Guo, Pleiss, Sun, Weinberger 2017, section 4.2):",
            table(("head", "temperature"), [*calibration.temperatures.items()]),
        ]
    fitted = {*calibration.curves} | {
        label for head in card.spec.heads if head.name in calibration.temperatures for label in head.labels
    }
    if blocks and (kept := [readable(label) for label in card.labels if label not in fitted]):
        blocks.append(f"The scores of {', '.join(kept)} stay as they are.")
    if calibration.seen_prior is not None:
        blocks.append(
            f"Of the chips that calibrated, {_percent(calibration.seen_prior)} hold an artisanal mine. For a scene "
            f"{_percent(calibration.ground_prior)} is assumed (Saerens, Latinne, Decaestecker 2002, eq. 4): an "
            "assumption, for on the ground they are far rarer than in any set of chips, and the probability shrinks "
            "with them."
        )
    return blocks


def _training(training: Training) -> list[str]:
    blocks = ["```ini\n" + "\n".join(_options(training.recipe)) + "\n```"] if training.recipe else []
    if training.history:
        best = training.best_epoch
        kept = f"; the weights are those of number {best}." if best else "."
        blocks.append(f"{len(training.history)} epochs{kept}")
    if training.seconds is not None:
        blocks.append(f"It took {_duration(training.seconds)}.")
    if training.interrupted:
        blocks.append("**The run was interrupted before its end.**")
    if training.teachers:
        blocks += ["It was taught by the models with these digests:", _bullets(*training.teachers)]
    return blocks


def _limits(card: Card) -> list[str]:
    lines = ["It sees colour and texture, no infrared: bare soil, sandbars, ponds and mines look alike to it."]
    if rare := [f"{readable(label)} ({one.n})" for label, one in card.figures.labels.items() if one.n < FEW]:
        lines.append(
            f"Measured on fewer than {FEW} chips, so read their intervals, not their figures: {', '.join(rare)}."
        )
    if card.figures == Figures():
        lines.append("Nobody has measured it: trust nothing that it says.")
    if card.preprocess.dehaze is None:
        lines.append("It does not remove haze.")
    native, usable = _ranges(card)
    lines.append(f"It reads pixels of {native} as they are; other scenes of {usable} are resampled, the rest refused.")
    return [_bullets(*lines)]


def _identity(card: Card) -> list[tuple[str, Cell]]:
    rows: list[tuple[str, Cell]] = [("digest", f"`{card.digest or 'not saved yet'}`")]
    versions = (("geoscan", card.training.geoscan), ("keras", card.training.keras))
    return rows + [(name, version) for name, version in versions if version]


def _option(value: Any) -> str:
    """Text of something that was chosen."""
    if isinstance(value, Mapping):
        return ", ".join(f"{readable(key)} {_option(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_option, value)) or "none"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _options(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Options at every depth, a line each, the names above them joined by dots."""
    lines: list[str] = []
    for key, value in values.items():
        whole = _options(value, f"{prefix}{key}.") if isinstance(value, Mapping) else []
        lines += whole or [f"{prefix}{key} = {_one_line(_option(value))}"]
    return lines


def _bullets(*lines: str) -> str:
    return "\n".join(f"- {_one_line(line)}" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _ranges(card: Card) -> tuple[str, str]:
    """Pixels that it takes as they are, and those that can be resampled for it."""
    (low, high), (least, most) = native_range(card.preprocess.gsd), usable_range(card.preprocess.gsd)
    return f"{low:.3g} to {high:.3g} m", f"{least:.3g} to {most:.3g} m"


def _metres(card: Card) -> str:
    side = card.preprocess.chip * card.preprocess.gsd
    return f"{side:.0f} x {side:.0f} m on the ground"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
