"""Figures for people: what `Figures` holds, as tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from geoscan.errors import spelt
from geoscan.labels import readable
from geoscan.model.figures import (
    SPECIFICITIES,
    AblatedFigure,
    DetectionFigures,
    F2Figures,
    FalseAlarms,
    Figures,
    FlaggedFigures,
    Interval,
    MineFigures,
    Variant,
)

Cell: TypeAlias = str | int | float | tuple[float | None, Interval | None] | None
"""Text, a count, something measured, something measured with its interval, or nothing."""

_INTERVALS = (
    "In brackets: 95 % intervals, by bootstrap over chips unless a table says over what; Wilson's for shares of chips "
    "called a mine, and for operating points and reliability. Wilson's take chips for independent: those of one place "
    "are alike, and a new place may lie outside."
)
_F2 = "F2 as Kaggle defines it: of each chip's labels, averaged over chips."
_LABELS = (
    "At the thresholds of the card, on the chips that are not tagged only cloudy. AP is the average precision, which "
    "needs no threshold."
)
_MINES = (
    "AUC is the chance that a chip with a mine scores above a chip without one; AP is the average precision. `found at "
    "99 %`: the share of the mines that is found where 99 % of the other chips are turned down."
)
_FOLDS = "Each fold was judged by a network that has not seen it."
_MOSAICS = "A mosaic is four chips of a coarser sensor, joined to one."
_DETECTION = (
    "`geoscan scan --operate` chooses one. A chip alone is flagged from the higher score on, a chip whose neighbours "
    "confirm it from the lower one on: what a scan finds lies between. False alarms are chips without a mine, side by "
    "side, that are flagged; neighbouring ones make one polygon."
)
_BLIND = " The last column is of {n:,} of them that were drawn blindly: the likeliest for most scenes."
_CAMPAIGNS = "Chips of one sampling campaign show the same places."
_LOOKALIKES = (
    "The share of chips without a mine that is called a mine: at the label's own threshold, and at the one that turns "
    f"down {100 * SPECIFICITIES[-1]:g} % of all chips without a mine."
)
_CONDITIONS = (
    "The same chips, changed, judged by networks that have not seen them, one view of each: AP of mines, or F2 at 0.2 "
    "of all labels."
)
_ABLATION = (
    "What changes when one thing is done differently, in small networks that were trained for this question: means "
    "over seeds or folds. A change is to the first row, one by one; its interval is Student's, over these."
)
_RELIABILITY = (
    "Of chips of about one probability, the share that shows a mine. It should be the mean probability, which is here "
    "for the share of mines among these chips; that of a scene is for `--prior`."
)
_CALIBRATION = (
    "Negative log likelihood (NLL) and expected calibration error (ECE) of the scores as they are, and calibrated. "
    "Less is better."
)


def figures_markdown(figures: Figures, depth: int = 3) -> str:
    """Render figures, a table for each kind of them under a heading of `depth`; what was not measured is left out.

    A figure with an interval is written `0.872 (0.845 to 0.889)`, one that does not exist as a dash.
    """
    sections = [
        ("All labels together", _F2, _f2(figures)),
        ("Each label", _LABELS, _labels(figures)),
        ("Mines against the rest", _about_mines(figures), _mines(figures)),
        ("Operating points", _about_detection(figures), _detection(figures)),
        ("Sampling campaigns", _CAMPAIGNS, _campaigns(figures)),
        ("Look-alikes", _LOOKALIKES, _lookalikes(figures)),
        ("What scenes bring", _CONDITIONS, _conditions(figures)),
        *((f"Ablation: {readable(name)}", _ABLATION, ablation_table(rows)) for name, rows in figures.ablations.items()),
        ("Calibration", _CALIBRATION, _calibration(figures)),
        ("Reliability of the probability", _RELIABILITY, _reliability(figures)),
    ]
    measured = [section for section in sections if section[-1]]
    blocks = [*figures.notes, _INTERVALS if measured else "Nothing was measured."]
    for title, line, text in measured:
        blocks += [f"{'#' * depth} {cell_text(title)}", line, text]
    return "\n\n".join(blocks)


def _conditions(figures: Figures) -> str:
    plain = next(iter(figures.conditions.values()), 0.0)
    rows: list[list[Cell]] = [[name, one, f"{one - plain:+.3f}"] for name, one in figures.conditions.items()]
    return table(("chips", "figure", "change"), rows)


def ablation_table(variants: Mapping[str, Variant]) -> str:
    """Render the variants of one question, each figure beside its change to that of the first."""
    names = list(dict.fromkeys(name for variant in variants.values() for name in variant.figures))
    rows = []
    for title, variant in variants.items():
        row: list[Cell] = [title, variant.seeds]
        for name in names:
            one = variant.figures.get(name)
            row += [one.value, _change(one)] if one else [None, None]
        rows.append(row)
    return table(("variant", "networks", *(text for name in names for text in (name, "change"))), rows)


def _change(one: AblatedFigure) -> str | None:
    if one.difference is None:
        return None
    ends = f" ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})" if one.interval else ""
    return f"{one.difference:+.3f}{ends}"


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Render a table; nothing without rows."""
    lines = [header, ["---"] * len(header), *rows] if rows else []
    return "\n".join("| " + " | ".join(cell_text(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def cell_text(cell: Cell) -> str:
    """Text on one line: `1,200` of a count, `0.872` of a figure, `0.872 (0.845 to 0.889)` with its interval, or `-`."""
    if isinstance(cell, tuple):
        value, ends = cell
        return cell_text(value) + (f" ({cell_text(ends[0])} to {cell_text(ends[1])})" if ends else "")
    if isinstance(cell, str):
        return spelt(" ".join(cell.split()))
    if cell is None or not math.isfinite(cell):
        return "-"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.3f}" if cell == 0 or abs(cell) >= 0.001 else f"{cell:.1e}"


def _f2(figures: Figures) -> str:
    columns = ("n", "tuned for each label", "one tuned for all", "0.2 for all", "clear, primary always")
    sets = {"chips not tagged only cloudy": figures.f2, "all chips": figures.f2_all}
    return table(("chips", *columns), [(name, *_f2_row(f2)) for name, f2 in sets.items() if f2 is not None])


def _f2_row(f2: F2Figures) -> tuple[Cell, ...]:
    return f2.n, (f2.tuned, f2.tuned_interval), f2.tuned_common, (f2.fixed, f2.fixed_interval), f2.constant


def _labels(figures: Figures) -> str:
    rows = []
    for label, one in figures.labels.items():
        f2, ap = (one.f2, one.f2_interval), (one.ap, one.ap_interval)
        rows.append((readable(label), one.n, one.n_known, one.precision, one.recall, f2, ap, one.threshold))
    return table(("label", "chips with it", "of", "precision", "recall", "F2", "AP", "threshold"), rows)


def _about_mines(figures: Figures) -> str:
    folds = [_FOLDS] if figures.mine_folds else []
    return " ".join([_MINES, *folds, *([_MOSAICS] if figures.mosaics else [])])


def _mines(figures: Figures) -> str:
    mean = {f"mean of {len(figures.mine_folds)} folds": figures.mine_mean}
    sets = {"all chips": figures.mine, **mean, **figures.mine_folds, "mosaics": figures.mosaics}
    rows = [(name, *_mine_row(mine)) for name, mine in sets.items() if mine is not None]
    shares = (f"found at {100 * specificity:g} %" for specificity in SPECIFICITIES)
    return table(("chips", "mines", "others", "AUC", "AP", *shares, "intervals over"), rows)


def _mine_row(mine: MineFigures) -> tuple[Cell, ...]:
    points = {point.specificity: (point.sensitivity, point.interval) for point in mine.operating_points}
    found = [points.get(specificity) for specificity in SPECIFICITIES]
    return mine.n, mine.n_other, (mine.auc, mine.auc_interval), (mine.ap, mine.ap_interval), *found, mine.resampled


def _about_detection(figures: Figures) -> str:
    """What the figures of the operating points mean, and on what ground they were measured."""
    one = next(iter(figures.detection.values()), None)
    if one is None:
        return _DETECTION
    others, blind = one.alone.false_alarms, one.alone.false_alarms_blind
    ground = (
        f" Measured on {one.n:,} chips with a mine and {others.n:,} without, which show {others.km2:,.0f} km2. Sets of "
        "chips are chosen, and may hold more of what looks like a mine than the ground does: they exaggerate then."
    )
    return _DETECTION + ground + ("" if blind is None else _BLIND.format(n=blind.n))


def _detection(figures: Figures) -> str:
    rows = [row for name, one in figures.detection.items() for row in _point_rows(name, one)]
    blind = any(one.alone.false_alarms_blind for one in figures.detection.values())
    header = ("operating point", "a chip", "flagged from", "mines found", "false alarms per 1,000 km2")
    return table((*header, "on places drawn blindly"), rows) if blind else table(header, [row[:-1] for row in rows])


def _point_rows(name: str, one: DetectionFigures) -> list[tuple[Cell, ...]]:
    if one.alone == one.beside:
        return [_flagged_row(name, "any", one.alone)]
    return [_flagged_row(name, "alone", one.alone), _flagged_row(name, "confirmed by neighbours", one.beside)]


def _flagged_row(name: str, chip: str, one: FlaggedFigures) -> tuple[Cell, ...]:
    alarms, blind = alarms_text(one.false_alarms), one.false_alarms_blind
    on_blind = None if blind is None else alarms_text(blind)
    return f"`{name}`", chip, one.threshold, (one.found, one.found_interval), alarms, on_blind


def alarms_text(alarms: FalseAlarms) -> str:
    """False alarms per 1,000 km2 as `26 (22 to 31)`; where none was seen, how many there are at most."""
    if alarms.interval is None:
        return "-"
    low, high = (_count(end) for end in alarms.interval)
    if alarms.per_1000_km2 is None:
        return f"at most {high} (none seen)"
    return f"{_count(alarms.per_1000_km2)} ({low} to {high})"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _campaigns(figures: Figures) -> str:
    rows = [
        (f"`{name}`", one.mine, one.other, (one.called_mine, one.called_mine_interval))
        for name, one in figures.campaigns.items()
    ]
    return table(("campaign", "mines", "others", "share called a mine"), rows)


def _lookalikes(figures: Figures) -> str:
    rows = []
    for kind, one in figures.lookalikes.items():
        strict = (one.called_mine_strict, one.called_mine_strict_interval)
        rows.append((readable(kind), one.n, (one.called_mine, one.called_mine_interval), strict))
    return table(("kind", "chips", "called a mine", f"at {100 * SPECIFICITIES[-1]:g} %"), rows)


def _calibration(figures: Figures) -> str:
    rows = [
        (head, one.n_known, one.nll_before, one.nll, one.ece_before, one.ece)
        for head, one in figures.calibration.items()
    ]
    return table(("head", "known", "NLL", "calibrated", "ECE", "calibrated"), rows)


def _reliability(figures: Figures) -> str:
    rows = [
        (f"{one.low:g} to {one.high:g}", one.n, one.predicted, (one.share, one.interval)) for one in figures.reliability
    ]
    return table(("probability", "chips", "mean", "share with a mine"), rows)
