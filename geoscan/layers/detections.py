"""Detections as a table: its columns, and what each means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from geoscan.layers.attributes import Attribute, columns

if TYPE_CHECKING:
    import geopandas

    from geoscan.polygons import Detection

LAYER: Final = "detections"
"""Name of the layer inside the file."""

NAMES: Final = (LAYER, "mines")
"""What it may be called in a file of several layers, which people have made; the first that is there is taken."""

ATTRIBUTES: Final = {
    "scene": Attribute("str", "file name of the scene, with folders where several scenes have one name"),
    "score_max": Attribute("float64", "highest mine score of its chips, 0 to 1"),
    "score_mean": Attribute("float64", "mean mine score of its chips, 0 to 1"),
    "probability": Attribute(
        "float64", "probability that its best chip shows a mine, assuming that a fraction `prior` of the chips do"
    ),
    "n_chips": Attribute("int64", "number of chips that it joins; ground that several scenes show counts once"),
    "area_ha": Attribute("float64", "geodesic area in hectares"),
    "other_labels": Attribute("str", "other land labels that its chips carry, separated by commas"),
    "other_scores": Attribute("str", "mean scores of these labels, in the same order"),
    "weather": Attribute("str", "the likeliest weather; empty when the model does not tell"),
    "haze": Attribute("float64", "mean score of haze, 0 to 1; empty when the model does not tell"),
    "status": Attribute("str", "since an earlier layer: new, known, grown, gone or unseen; empty without --since"),
    "gained_ha": Attribute("float64", "hectares outside of all earlier outlines; empty without --since"),
    "first_seen": Attribute("str", "date of the scene that showed it first; empty where unknown"),
    "review": Attribute(
        "str", "what a person says: unreviewed, mine or not_mine; what was no mine and has grown is unreviewed again"
    ),
    "model": Attribute("str", "name of the model"),
    "digest": Attribute("str", "digest of the model, which tells models of one name apart"),
    "operate": Attribute("str", "operating point in the model's card; custom where a threshold was asked for"),
    "threshold_high": Attribute("float64", "score that its best chip had to reach"),
    "threshold_low": Attribute("float64", "score from which neighbouring chips joined"),
    "threshold_isolated": Attribute("float64", "score that a chip without neighbours had to reach"),
    "tta": Attribute("bool", "whether scores are means over rotations and mirror images: test-time augmentation"),
    "prior": Attribute("float64", "fraction of the scene's chips assumed to show a mine; empty without probability"),
    "geoscan": Attribute("str", "version of geoscan"),
}
"""The attributes of `polygons.properties`, in their order; a layer without detections has them too."""


def frame(detections: Sequence[Detection]) -> geopandas.GeoDataFrame:
    """Give detections as a table: `ATTRIBUTES`, and outlines in EPSG:4326, each a MultiPolygon."""
    import geopandas

    from geoscan.layers.multi import multi
    from geoscan.polygons import properties

    shapes = geopandas.GeoSeries([multi(one.geometry) for one in detections], crs="EPSG:4326")
    return geopandas.GeoDataFrame(columns([properties(one) for one in detections], ATTRIBUTES), geometry=shapes)
