"""Figures of any kind, as hypothesis draws them."""

from hypothesis import strategies as st

from geoscan.labels import LABELS
from geoscan.model.figures import (
    AblatedFigure,
    CalibrationFigures,
    CampaignFigures,
    DetectionFigures,
    F2Figures,
    FalseAlarms,
    Figures,
    FlaggedFigures,
    LabelFigures,
    LookalikeFigures,
    MineFigures,
    OperatingPoint,
    ReliabilityBin,
    Variant,
)

counts = st.integers(0, 10**7)
names = st.text(max_size=8)
maybe = st.none() | st.floats(allow_nan=False, allow_infinity=False)
intervals = st.none() | st.tuples(*(st.floats(-1, 1),) * 2)
points = st.tuples(
    *(st.builds(OperatingPoint, st.just(share), maybe, intervals, maybe) for share in (0.99, 0.994))
) | st.just(())
f2 = st.builds(F2Figures, counts, maybe, intervals, maybe, maybe, intervals, maybe)
labels = st.builds(LabelFigures, counts, counts, maybe, maybe, maybe, intervals, maybe, intervals, st.floats(0, 1))
mines = st.builds(
    MineFigures,
    counts,
    counts,
    maybe,
    intervals,
    maybe,
    intervals,
    points,
    st.sampled_from(["chips", "campaigns", None]),
)
alarms = st.builds(FalseAlarms, counts, st.floats(0, 1e6), counts, st.none() | st.floats(0, 1e6), intervals)
flagged = st.builds(FlaggedFigures, st.floats(0, 1), maybe, intervals, alarms, st.none() | alarms)
bins = st.builds(ReliabilityBin, st.floats(0, 1), st.floats(0, 1), counts, st.floats(0, 1), st.floats(0, 1), intervals)
ablated = st.builds(AblatedFigure, maybe, maybe, intervals)


def some(records, keys=names):
    return st.dictionaries(keys, records, max_size=3)


all_figures = st.builds(
    Figures,
    notes=st.lists(names, max_size=2).map(tuple),
    f2=st.none() | f2,
    f2_all=st.none() | f2,
    labels=some(labels, st.sampled_from(LABELS)),
    mine=st.none() | mines,
    mine_folds=some(mines),
    mosaics=st.none() | mines,
    detection=some(st.builds(DetectionFigures, counts, flagged, flagged)),
    campaigns=some(st.builds(CampaignFigures, counts, counts, counts, maybe, intervals)),
    lookalikes=some(st.builds(LookalikeFigures, counts, maybe, intervals, maybe, intervals)),
    calibration=some(st.builds(CalibrationFigures, counts, maybe, maybe, maybe, maybe)),
    reliability=st.lists(bins, max_size=3).map(tuple),
    ablations=some(some(st.builds(Variant, counts, some(ablated)))),
)
