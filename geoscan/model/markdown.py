"""The card for people: everything that `card.json` knows of a model, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

from geoscan.labels import MINE, readable
from geoscan.scene import MAX_RESAMPLING, NATIVE

if TYPE_CHECKING:
    from geoscan.model.package import Card

FEW = 10
"""Chips with a label below which the card warns of its figures."""

_Values: TypeAlias = Mapping[str, Any]
_NONE = "-"
_F2 = (
    "F2 as Kaggle defines it: of each chip's labels, averaged over chips; tuned thresholds come from other places than "
    "those that they are judged on."
)
_SENSITIVITY = ("sensitivity_at_specificity", "sensitivity_interval")

_WORDS = {
    "all": "all chips",
    "ap": "AP",
    "auc": "AUC",
    "best_epoch": "best epoch",
    "called_mine": "called a mine",
    "ece": "calibration error",
    "ece_before": "calibration error before",
    "f2": "F2",
    "f2_at_0.2": "F2, 0.2 everywhere",
    "f2_common_threshold": "F2, one threshold",
    "f2_of_always_clear_primary": "F2 of answering clear primary everywhere",
    "f2_samples": "F2",
    "mine": "mines",
    "n_known": "known",
    "n_other": "others",
    "nll": "NLL",
    "nll_before": "NLL before",
    "not_only_cloudy": "chips not tagged only cloudy",
    "other": "others",
    "resampled": "intervals over",
}
"""Keys of the card that people would not understand as they are."""

_FAMILIES = {
    "densenet": "DenseNet-BC (Huang, Liu, van der Maaten, Weinberger 2017)",
    "efficientnet-lite0": "EfficientNet-Lite0 (Tan, Le 2019)",
}


def card_markdown(card: Card) -> str:
    """Render a card; what it does not hold is left out, and what it holds under names of its own is shown as it is.

    A figure with an interval is written `0.872 (0.845 to 0.889)`, one that does not exist as a dash. The same card,
    read back from JSON, gives the same text.
    """
    sections = {
        "What it is for": _purpose(card),
        "What it is not for": _no_purpose(card),
        "Input": _input(card),
        "Network": _network(card),
        "Trained on": _data({**card.data, "split": card.split.facts()} if card.split else card.data),
        "Figures": _figures(card.metrics),
        "Thresholds": _thresholds(card),
        "Calibration": _calibration(card),
        "How it was trained": _training(card.training),
        "Limits": _limits(card),
        "Identity": _identity(card),
    }
    blocks = [f"# {card.name}"]
    for title, content in sections.items():
        if content:
            blocks += [f"## {title}", *content]
    return "\n\n".join(blocks) + "\n"


def _purpose(card: Card) -> list[str]:
    others = [readable(label) for label in card.labels if label != MINE]
    known = f" It also answers {len(others)} other labels: {', '.join(others)}." if others else ""
    return [
        f"It finds chips with artisanal gold mines in red, green, blue satellite imagery at about "
        f"{card.preprocess.gsd:g} m per pixel, so that a person looks at few places in place of all.{known}",
        f"`geoscan scan SCENE --model {card.name} --out mines.geojson` makes polygons of them.",
    ]


def _no_purpose(card: Card) -> list[str]:
    return _bullets(
        [
            "Proof: a polygon is a place worth a look, in better imagery or on the ground; act on nothing else.",
            "Proof of absence: where there is no polygon there may be a mine, under cloud or too small to be seen.",
            f"Outlines or areas: it answers for chips of {_metres(card)}.",
            "Other sensors, seasons and regions than it was measured on, until it has been measured there "
            "(`geoscan evaluate`).",
        ]
    )


def _input(card: Card) -> list[str]:
    preprocess = card.preprocess
    rows = [
        ("chip", f"{preprocess.chip} x {preprocess.chip} px, {_metres(card)}"),
        ("ground sample distance", f"{preprocess.gsd:g} m per pixel"),
        ("bands", "red, green, blue, 8 bit"),
        ("radiometry", f"`{preprocess.radiometry}`"),
        ("scores", "means over symmetries" if card.tta else "of each chip as it is"),
    ]
    if preprocess.dehaze is None:
        return [_table(("", ""), [*rows, ("haze removal", "none")])]
    how = asdict(preprocess.dehaze)
    mode = how.pop("airlight")
    text = f"dark channel prior, airlight `{mode}`; " + _text(how)
    return [_table(("", ""), [*rows, ("haze removal", text)])]


def _network(card: Card) -> list[str]:
    spec = asdict(card.spec)
    heads = spec.pop("heads")
    family = spec.pop("family")
    rows = [("family", _FAMILIES.get(family, family))]
    if (parameters := card.training.get("parameters")) is not None:
        rows.append(("parameters", _figure(parameters)))
    rows += [(_word(key), _text(value)) for key, value in spec.items()]
    rows += [(f"head `{h['name']}`", f"{h['activation']} over {', '.join(h['labels'])}") for h in heads]
    return [_table(("", ""), rows)]


def _data(data: _Values) -> list[str]:
    rest = dict(data)
    parts = {part: rest.pop(f"{part}_positives", {}) for part in ("training", "validation")}
    nested = {key: rest.pop(key) for key, value in list(rest.items()) if isinstance(value, Mapping)}
    blocks = _any(rest)
    if labels := list(dict.fromkeys(label for part in parts.values() for label in part)):
        rows = [(_word(label), *(_figure(part.get(label)) for part in parts.values())) for label in labels]
        blocks += ["Chips with each label:", _table(("label", "training", "validation"), rows)]
    for key, value in nested.items():
        blocks += [f"### {_word(key)}", *_any(value, depth=4)]
    return blocks


def _figures(metrics: _Values) -> list[str]:
    """Figures in the order in which people ask for them, and last those that nobody here knows by name."""
    if not metrics:
        return ["Nothing was measured."]
    rest = dict(metrics)
    notes = rest.pop("notes", ())
    f2, mine = _taken(rest, "f2_samples"), _taken(rest, "auc")
    campaigns = {f"`{name}`": values for name, values in _popped(rest, "campaigns").items()}
    sections = (
        ("All labels together", _F2, "chips", f2),
        (
            "Each label",
            "At the thresholds below, tuned on these same chips; `n` of them have the label.",
            "label",
            _popped(rest, "labels"),
        ),
        ("Mines against the rest", "", "chips", mine),
        ("Sampling campaigns", "Chips of one campaign show the same places.", "campaign", campaigns),
        ("Look-alikes", "What is no mine, and what the model makes of it.", "kind", _popped(rest, "lookalikes")),
        ("Ablations", "What changes when one thing is left out or replaced.", "", _popped(rest, "ablation")),
        ("How well calibrated", "", "head", _popped(rest, "calibration")),
        ("More", "", "", rest),
    )
    blocks = [notes] if isinstance(notes, str) else [str(note) for note in notes]
    if "_interval" in str(metrics):
        blocks.append(
            "In brackets: 95 % intervals, by bootstrap over chips unless the table says over what; Wilson's of shares."
        )
    for title, line, first, values in sections:
        if values:
            blocks += [f"### {title}", *filter(None, [line]), *_any(values, first, depth=4)]
    return blocks


def _popped(rest: dict[str, Any], key: str) -> _Values:
    """Take a mapping out of `rest`; empty when there is none."""
    return rest.pop(key) if isinstance(rest.get(key), Mapping) else {}


def _taken(rest: dict[str, Any], key: str) -> _Values:
    """Take out of `rest` every mapping that holds a key."""
    names = [name for name, values in rest.items() if isinstance(values, Mapping) and key in values]
    return {name: rest.pop(name) for name in names}


def _thresholds(card: Card) -> list[str]:
    detection = card.detection
    rows = [(readable(label), _figure(card.thresholds[label])) for label in card.labels]
    return [
        "A label holds where its score is not below:",
        _table(("label", "threshold"), rows),
        "Polygons are made of the scores for artisanal mine: one chip of a polygon reaches "
        f"`--high` {_text(detection.high)}, each of them `--low` {_text(detection.low)}, "
        f"and a chip without neighbours `--isolated` {_text(detection.isolated)}.",
    ]


def _calibration(card: Card) -> list[str]:
    calibration = card.calibration
    if not calibration.temperatures and calibration.seen_prior is None:
        return ["None was fitted: the scores rank chips, they are no probabilities."]
    rows = [(name, _figure(value)) for name, value in calibration.temperatures.items()]
    blocks = [
        "Thresholds are for the scores as the model gives them. Divided by these temperatures, their logits become "
        "those of probabilities (Guo, Pleiss, Sun, Weinberger 2017, section 4.2):",
        _table(("head", "temperature"), rows),
    ]
    if calibration.seen_prior is None:
        return blocks if rows else []
    prior = (
        f"Of the chips that calibrated, {_percent(calibration.seen_prior)} hold an artisanal mine. For a scene "
        f"{_percent(calibration.ground_prior)} is assumed (Saerens, Latinne, Decaestecker 2002, eq. 4): an assumption, "
        "for on the ground they are far rarer than in any set of chips, and the probability shrinks with them."
    )
    return [*(blocks if rows else []), prior]


def _training(training: _Values) -> list[str]:
    rest = {key: value for key, value in training.items() if key not in {"geoscan", "keras", "parameters"}}
    command, recipe = rest.pop("command", None), rest.pop("recipe", {})
    epochs = len(rest.pop("history", ()))
    blocks = [f"```sh\n{command}\n```"] if command else []
    if recipe:
        blocks.append("```ini\n" + "\n".join(_options(recipe)) + "\n```")
    if epochs:
        best = rest.pop("best_epoch", None)
        blocks.append(f"{epochs} epochs" + (f"; the weights are those of number {best}." if best else "."))
    if (seconds := rest.pop("seconds", None)) is not None:
        blocks.append(f"It took {_duration(seconds)}.")
    if rest.pop("interrupted", False):
        blocks.append("**The run was interrupted before its end.**")
    return blocks + _any(rest)


def _limits(card: Card) -> list[str]:
    lines = ["It sees colour and texture, no infrared: bare soil, sandbars, ponds and mines look alike to it."]
    labels = card.metrics.get("labels", {})
    if rare := [f"{readable(label)} ({v['n']})" for label, v in labels.items() if v.get("n", FEW) < FEW]:
        lines.append(
            f"Measured on fewer than {FEW} chips, so read their intervals, not their figures: {', '.join(rare)}."
        )
    if not card.metrics:
        lines.append("Nobody has measured it: trust nothing that it says.")
    if card.preprocess.dehaze is None:
        lines.append("It takes haze as it comes.")
    lines.append(
        f"Scenes within {NATIVE * 100:g} % of its ground sample distance are read as they are, up to a factor of "
        f"{MAX_RESAMPLING:g} they are resampled, beyond that refused."
    )
    return _bullets(lines)


def _identity(card: Card) -> list[str]:
    rows = [("digest", f"`{card.digest or 'not saved yet'}`")]
    rows += [(name, card.training[name]) for name in ("geoscan", "keras") if name in card.training]
    return [_table(("", ""), rows)]


def _any(values: _Values, first: str = "", depth: int = 3) -> list[str]:
    """Blocks for values of any shape: plain ones as a list, mappings of plain ones as a table, deeper ones below."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    flat = {key: value for key, value in values.items() if isinstance(value, Mapping) and _is_flat(value)}
    blocks = _bullets(f"{name}: {text}" for name, text in _cells(plain).items())
    if flat:
        blocks.append(_rows(first, flat))
    for key, value in values.items():
        if key not in plain and key not in flat:
            blocks += [f"{'#' * min(depth, 6)} {_word(key)}", *_any(value, first, depth + 1)]
    return blocks


def _is_flat(values: _Values) -> bool:
    return not any(isinstance(value, Mapping) for key, value in values.items() if key not in _SENSITIVITY)


def _rows(first: str, rows: _Values) -> str:
    """Table of mappings, a row each, with every column that one of them has."""
    texts = {name: _cells(values) for name, values in rows.items()}
    columns = list(dict.fromkeys(column for cells in texts.values() for column in cells))
    lines = [(_word(name), *(cells.get(column, _NONE) for column in columns)) for name, cells in texts.items()]
    return _table((first, *columns), lines)


def _cells(values: _Values) -> dict[str, str]:
    """Texts of a row by column, each figure with the interval that stands beside it under a key of its own."""
    cells: dict[str, str] = {}
    for key, value in values.items():
        if key == _SENSITIVITY[0] and isinstance(value, Mapping):
            ends = values.get(_SENSITIVITY[1]) or {}
            cells |= {f"sensitivity at specificity {k}": _figure(v, ends.get(k)) for k, v in value.items()}
        elif key != _SENSITIVITY[1] and key.removesuffix("_interval") not in values.keys() - {key}:
            name = "mines" if key == "n" and "n_other" in values else _word(key)
            cells[name] = _figure(value, values.get(f"{key}_interval"))
    return cells


def _figure(value: Any, interval: Any = None) -> str:
    """Text of something measured or counted; `0.872 (0.845 to 0.889)` with an interval that exists."""
    text = _text(value)
    if isinstance(value, float) and text != _NONE:
        text = f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"
    elif isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:,}"
    ends = [_figure(end) for end in interval] if isinstance(interval, (list, tuple)) else []
    return text if len(ends) != 2 or _NONE in (text, *ends) else f"{text} ({ends[0]} to {ends[1]})"


def _text(value: Any) -> str:
    """Text of something that was chosen, such as an option."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_word(key)} {_text(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _word(key: str) -> str:
    """A key of the card as people write it; a name in backticks stays as it is."""
    return key if key.startswith("`") else _WORDS.get(key, readable(key))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _bullets(lines: Iterable[str]) -> list[str]:
    """One block, or none."""
    block = "\n".join(f"- {_one_line(line)}" for line in lines)
    return [block] if block else []


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _options(values: _Values, prefix: str = "") -> list[str]:
    """Options at every depth, a line each, the names above them joined by dots."""
    lines: list[str] = []
    for key, value in values.items():
        whole = _options(value, f"{prefix}{key}.") if isinstance(value, Mapping) else []
        lines += whole or [f"{prefix}{key} = {_one_line(_text(value))}"]
    return lines


def _metres(card: Card) -> str:
    side = card.preprocess.chip * card.preprocess.gsd
    return f"{side:.0f} x {side:.0f} m on the ground"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
