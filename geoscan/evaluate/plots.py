"""Pictures of how good a model is: F2 bars, precision and recall, reliability, and its worst mistakes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from geoscan.data.chips import only_cloudy
from geoscan.errors import InputError, OutputError
from geoscan.evaluate.calibration import expected_calibration_error
from geoscan.evaluate.lookalikes import share_interval
from geoscan.evaluate.mistakes import contact_sheet
from geoscan.evaluate.sample import Scored
from geoscan.files import check_place, replacing
from geoscan.labels import MINE, readable
from geoscan.model.figures import Figures, LabelFigures

_NAMES = ("f2.png", "precision_recall.png", "reliability.png", "mistakes.png")
_FEWEST = 5
"""Positives that a label needs for a curve of its own."""

# Blue and vermillion of Okabe and Ito's palette, which people who see fewer colours can tell apart.
_COLORS = ("#0072B2", "#D55E00")
_MARKERS = ("o", "s")
_GREY = "#767676"
_DPI = 150

_TICKS = (0, 0.5, 1)
_ROOT_TICKS = (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)

_UNKNOWN = (math.nan, math.nan)
"""Ends of an interval that does not exist."""

_BINS = 15
_FEWEST_IN_BIN = 40


@dataclass(frozen=True, slots=True)
class Bins:
    """Chips in groups of about equal count, by their scores; arrays of one value a bin."""

    n: NDArray[np.int_]
    score: NDArray[np.float64]
    """Mean."""
    hits: NDArray[np.int_]
    """Chips where the label holds."""


def check_folder(folder: Path) -> None:
    """Check, before any work, that pictures can be written to `folder`, which need not exist yet. Raises InputError."""
    if folder.is_dir():
        for name in _NAMES:
            check_place(folder / name)
        return
    if folder.exists():
        raise InputError(f"{folder} is a file; name a folder for the pictures")
    check_place(folder)


def draw(folder: Path, scored: Sequence[Scored], figures: Sequence[Figures]) -> list[Path]:
    """Write the pictures of a model, beside those of a second one if given, and return their paths.

    scored: one model or two on the same chips; figures: those of each. The worst mistakes are those of the first.
    Raises OutputError when a picture cannot be written, ReadError for a chip that is gone.
    """
    titles = _titles(scored)
    pictures = (
        f2_bars(figures, titles),
        precision_recall(scored, figures, titles),
        reliability(scored, titles),
        contact_sheet(scored[0], titles[0]),
    )
    try:
        folder.mkdir(exist_ok=True)
    except OSError as err:
        raise OutputError(f"{folder} could not be made: {err.strerror}; make room or write elsewhere") from err
    paths = [folder / name for name in _NAMES]
    for path, picture in zip(paths, pictures, strict=True):
        with replacing(path) as part:
            picture.savefig(part, dpi=_DPI, metadata={"Software": None})
    return paths


def f2_bars(figures: Sequence[Figures], titles: Sequence[str]) -> Figure:
    """F2 of each label of the first model that occurs, with bootstrap intervals, the most frequent label on top."""
    counts = _counts(figures[0])
    shown = [label for label in counts if counts[label]]
    if not shown:
        return _empty("no chip has any label that the model knows")
    figure = Figure((7.5, 1.6 + len(shown) * (0.14 + 0.15 * len(figures))), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(figures)
    for i, (each, title) in enumerate(zip(figures, titles, strict=True)):
        rows = [(y, each.labels[label]) for y, label in enumerate(shown) if label in each.labels]
        places = [y + (i - (len(figures) - 1) / 2) * height for y, _ in rows]
        f2 = np.array([one.f2 for _, one in rows], float)
        low, high = np.array([one.f2_interval or _UNKNOWN for _, one in rows], float).reshape(-1, 2).T
        axes.barh(places, f2, height * 0.92, color=_COLORS[i], label=f"{title}: {each.headline}")
        whiskers = (np.maximum(f2 - low, 0), np.maximum(high - f2, 0))
        drawn = high > 0  # a bar and a whisker of no length would look like a figure that is missing
        axes.errorbar(
            f2[drawn],
            np.array(places)[drawn],
            xerr=np.array(whiskers)[:, drawn],
            fmt="none",
            ecolor="black",
            elinewidth=1,
            capsize=2,
        )
        for y in np.array(places)[~drawn]:
            axes.text(0.006, y, "0", color=_COLORS[i], size="small", va="center")
    axes.set_yticks(range(len(shown)), [f"{readable(label)} ({counts[label]:,})" for label in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("F2 at the thresholds of the card")
    axes.xaxis.set_major_locator(MultipleLocator(0.1))
    _tidy(axes, "x")
    _legend(figure, "in brackets: chips that have the label; lines: 95 % bootstrap intervals")
    if absent := [readable(label) for label in counts if not counts[label]]:
        figure.supxlabel(textwrap.fill(f"no chip has: {', '.join(absent)}", 100), size="small", color=_GREY)
    return figure


def precision_recall(scored: Sequence[Scored], figures: Sequence[Figures], titles: Sequence[str]) -> Figure:
    """Precision over recall of each label of the first model with 5 positives or more, the card's threshold marked.

    Of the chips that are not tagged only `cloudy`, as the figures of labels are.
    """
    counts = _counts(figures[0])
    shown = [label for label in counts if counts[label] >= _FEWEST]
    if not shown:
        return _empty(f"no label has {_FEWEST} chips or more")
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across)
    side = 2.3 if across > 1 else 4.0
    layout = ConstrainedLayoutEngine(h_pad=0.08)
    figure = Figure((max(side * across, 6.0) + 0.5, (side + 0.4) * down + 0.9), layout=layout)
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, label in zip(panels, shown, strict=False):
        for i, (one, each) in enumerate(zip(scored, figures, strict=True)):
            if label in each.labels:
                _curve(axes, one, each.labels[label], label, i, above=len(scored) - 1 - i)
        axes.set_title(f"{readable(label)} ({counts[label]:,})", size="medium", pad=6 + 11 * len(scored))
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=_TICKS, yticks=_TICKS)
        _tidy(axes, "both")
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(shown) - across) : len(shown)]:
        axes.tick_params(labelbottom=True)  # the lowest panel of a column may not be in the last row
    for i, title in enumerate(titles):
        panels[0].plot([], [], color=_COLORS[i], marker=_MARKERS[i], label=title)
    figure.supxlabel("recall", size="medium")
    figure.supylabel("precision", size="medium")
    _legend(figure, "in brackets: chips that have the label; mark: threshold of the card; AP: average precision")
    return figure


def reliability(scored: Sequence[Scored], titles: Sequence[str]) -> Figure:
    """Share of hits over mean score, for all labels together and, with 5 mines or more, for the mine label alone.

    Scores as they are and, where the card's calibration changes them, calibrated ones. Bins hold about equally many.
    """
    labels, targets = scored[0].labels, scored[0].column(MINE)[0]
    panels: list[tuple[str, ...]] = []
    if len(labels) > 1 and scored[0].sample.campaigns is None:
        panels.append(labels)
    if (targets == 1).sum() >= _FEWEST or not panels:
        panels.append((MINE,))
    figure = Figure((4.8 * len(panels) + 0.2, 5.9), layout="constrained")
    for axes, chosen in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":", zorder=0)
        for i, (one, title) in enumerate(zip(scored, titles, strict=True)):
            if set(chosen) <= set(one.labels):
                _reliability_lines(axes, one, title, chosen, i)
        holds, known = int((targets == 1).sum()), int(np.isfinite(targets).sum())
        mines = f"{readable(MINE)} ({holds:,} of {known:,} chips)"
        axes.set_title(mines if chosen == (MINE,) else "all labels together", size="medium")
        axes.set_xlabel("mean score of a bin")
        axes.set_ylabel("share of hits in it, with 95 % interval")
        # Square roots, because most scores crowd near 0.
        axes.set_xscale("function", functions=(_root, np.square))
        axes.set_yscale("function", functions=(_root, np.square))
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=_ROOT_TICKS, yticks=_ROOT_TICKS)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        _tidy(axes, "both")
        legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize="small")
        legend.set_title("ECE: expected calibration error", {"size": "small"})
        _plain_text(legend)
    return figure


def bins(true: NDArray[np.bool_], scores: NDArray[np.floating]) -> Bins:
    """Group chips by score: at most 15 groups, of 40 chips or more where there are as many; ties stay together.

    true, scores: (n,), n at least 1.
    """
    count = int(np.clip(len(scores) // _FEWEST_IN_BIN, 1, _BINS))
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, count + 1)[1:-1]))
    where = np.searchsorted(edges, scores, side="right")
    n = np.bincount(where, minlength=count)
    held = n > 0
    total = np.bincount(where, weights=scores, minlength=count)
    hits = np.bincount(where, weights=true, minlength=count).astype(int)
    return Bins(n[held], total[held] / n[held], hits[held])


def _curve(axes: Axes, scored: Scored, figures: LabelFigures, label: str, which: int, above: int) -> None:
    """One precision-recall curve, in the steps that average precision sums, and its figure in a line above the axes."""
    targets, scores = scored.column(label)
    known = np.isfinite(targets) & ~only_cloudy(scored.sample.targets)
    order = np.argsort(-scores[known], kind="stable")
    true, ranked = targets[known][order] == 1, scores[known][order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(true)[ends]
    gained = np.diff(hits, prepend=0) > 0
    recall, precision = (hits / hits[-1])[gained], (hits / (ends + 1))[gained]
    color = _COLORS[which]
    axes.step([0, *recall], [precision[0], *precision], where="pre", color=color, linewidth=1.4)
    if figures.precision is not None and figures.recall is not None:
        place = figures.recall, figures.precision
        axes.plot(*place, _MARKERS[which], color=color, mec="white", ms=7, clip_on=False, zorder=3)
    low, high = figures.ap_interval or _UNKNOWN
    text = f"AP {figures.ap:.2f} ({low:.2f} to {high:.2f})"
    axes.annotate(
        text,
        (0.5, 1),
        xycoords="axes fraction",
        xytext=(0, 3 + 11 * above),
        textcoords="offset points",
        ha="center",
        color=color,
        size="small",
    )


def _reliability_lines(axes: Axes, scored: Scored, title: str, labels: Sequence[str], which: int) -> None:
    """Draw a model's scores as they are and, if they differ, calibrated ones: hollow and dashed."""
    columns = [scored.labels.index(label) for label in labels]
    targets = scored.targets[:, columns]
    known = np.isfinite(targets)
    for scores, how in ((scored.scores, ""), (_calibrated(scored), ", calibrated")):
        if scores is None or not known.any():
            continue
        groups = bins(targets[known] == 1, scores[:, columns][known])
        share = groups.hits / groups.n
        ends = [share_interval(int(k), int(n)) for k, n in zip(groups.hits, groups.n, strict=True)]
        low, high = np.array(ends, float).T  # no bin is empty
        error = expected_calibration_error(targets, scores[:, columns], len(groups.n))
        _, caps, whiskers = axes.errorbar(
            groups.score,
            share,
            (np.maximum(share - low, 0), np.maximum(high - share, 0)),
            label=f"{title}{how}: ECE {error:.3f}",
            color=_COLORS[which],
            marker=_MARKERS[which],
            markersize=5,
            markerfacecolor="white" if how else _COLORS[which],
            linestyle="--" if how else "-",
            linewidth=1.4,
            elinewidth=0.8,
            capsize=2,
            clip_on=False,
        )
        for piece in (*caps, *whiskers):
            piece.set_alpha(0.5)


def _calibrated(scored: Scored) -> NDArray[np.float64] | None:
    """Scores after the card's calibration; None where it changes none."""
    card = scored.package.card
    calibrated = card.calibration.apply(scored.scores, card.spec)
    return None if np.array_equal(calibrated, scored.scores) else calibrated


def _titles(scored: Sequence[Scored]) -> list[str]:
    """Names of the models; with their digests when they have one name."""
    cards = [one.package.card for one in scored]
    if len({card.name for card in cards}) == len(cards):
        return [card.name for card in cards]
    return [f"{card.name} {card.digest[:8]}" for card in cards]


def _legend(figure: Figure, note: str) -> None:
    handles, names = figure.axes[0].get_legend_handles_labels()
    legend = figure.legend(handles, names, loc="outside upper left", frameon=False, title=note, alignment="left")
    legend.get_title().set(size="small", color=_GREY)
    _plain_text(legend)


def _plain_text(legend: Legend) -> None:
    """A model's name may hold what looks like mathematics."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def _tidy(axes: Axes, grid: Literal["x", "both"]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _empty(why: str) -> Figure:
    figure = Figure((5, 1.2))
    figure.text(0.5, 0.5, why, ha="center", va="center", color=_GREY)
    return figure


def _counts(figures: Figures) -> dict[str, int]:
    """Chips that have each label, the most frequent label first."""
    return {label: one.n for label, one in sorted(figures.labels.items(), key=lambda item: -item[1].n)}


def _root(share: NDArray[np.floating]) -> NDArray[np.floating]:
    root: NDArray[np.floating] = np.sqrt(np.maximum(share, 0))
    return root
