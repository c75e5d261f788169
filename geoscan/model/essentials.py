"""What a model's card says in short, for layers."""

from __future__ import annotations

from geoscan.model.card import Card


def essentials(card: Card, operate: str) -> dict[str, str | float | None]:
    """Say what a reader of detections should know of the model that made them, by name.

    operate: operating point that was used; of custom thresholds nobody knows what they find.
    """
    figures = card.figures.detection.get(operate)
    alarms = None if figures is None else figures.alone.false_alarms_blind or figures.alone.false_alarms
    return {
        "model_pixel_m": card.preprocess.gsd,
        "model_chip_px": card.preprocess.chip,
        "model_judged_by": card.figures.headline,
        "model_finds": None if figures is None else figures.alone.found,
        "model_false_alarms": None if alarms is None else alarms.per_1000_km2,
    }
