"""One geometry type a layer: what many readers, and GeoPackage, ask for."""

from __future__ import annotations

from shapely.geometry import MultiPolygon, Polygon


def multi(outline: Polygon | MultiPolygon) -> MultiPolygon:
    """Give an outline as a MultiPolygon."""
    return MultiPolygon([outline]) if isinstance(outline, Polygon) else outline
