"""What `geoscan evaluate` says of one model, or of two on the same chips."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from geoscan.data.chips import only_cloudy
from geoscan.evaluate.figures import figures, has_f2, predicted
from geoscan.evaluate.metrics import ap_difference, f2_difference
from geoscan.evaluate.sample import Scored
from geoscan.labels import MINE
from geoscan.model.figures import Figures, Interval
from geoscan.model.figures_markdown import cell_text, figures_markdown

_NOTE = (
    "With the thresholds and the calibration of the model's card. They flatter on the chips that they were fitted to, "
    "which are those of `--unseen`."
)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one model is than another on the same chips, with paired bootstrap intervals.

    f2: of the chips that are not tagged only `cloudy`, f2_all of all chips, with the thresholds of the cards; None
    where one of the models, or the chips, have no F2. mine_ap: average precision of mines.
    """

    f2: float | None
    f2_interval: Interval | None
    f2_all: float | None
    f2_all_interval: Interval | None
    mine_ap: float | None
    mine_ap_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model, its figures in the layout of a card, and the second model that it was compared with, if any."""

    model: str
    digest: str
    figures: Figures
    against: Evaluation | None = None
    difference: Difference | None = None

    def to_json(self) -> str:
        """As JSON; what does not exist is null."""
        return _EVALUATION.dump_json(self, indent=2).decode() + "\n"

    def to_markdown(self) -> str:
        """As Markdown, figures as a card shows them."""
        parts = [f"# {self.model}", f"Digest `{self.digest}`", figures_markdown(self.figures, depth=2)]
        if self.against is not None and self.difference is not None:
            parts += [f"## How much better than {self.against.model}", _difference(self.difference)]
            parts += [self.against.to_markdown()]
        return "\n\n".join(part.strip() for part in parts) + "\n"


_EVALUATION = TypeAdapter(Evaluation)


def evaluation(scored: Scored, against: Scored | None = None) -> Evaluation:
    """Measure a model, and how much better it is than a second one on the same chips."""
    card = scored.package.card
    found = replace(figures(card, scored.answers()), notes=(_NOTE,))
    alone = Evaluation(card.name, card.digest, found)
    if against is None:
        return alone
    return replace(alone, against=evaluation(against), difference=difference(scored, against))


def difference(first: Scored, second: Scored) -> Difference:
    """How much better the first model is on the same chips."""
    targets, scores = first.column(MINE)
    mine = ap_difference(targets, scores, second.column(MINE)[1], first.sample.campaigns)
    both = [(each.package.card, each.answers()) for each in (first, second)]
    if not all(has_f2(card, answers) for card, answers in both):
        return Difference(None, None, None, None, *mine)
    targets = first.sample.targets
    one, two = (predicted(card, answers.scores) for card, answers in both)
    kept = ~only_cloudy(targets)
    return Difference(*f2_difference(targets[kept], one[kept], two[kept]), *f2_difference(targets, one, two), *mine)


def _difference(found: Difference) -> str:
    rows = (
        ("F2", found.f2, found.f2_interval),
        ("F2, all chips", found.f2_all, found.f2_all_interval),
        ("AP of mines", found.mine_ap, found.mine_ap_interval),
    )
    return "\n".join(f"- {name}: {cell_text((value, interval))}" for name, value, interval in rows if value is not None)
