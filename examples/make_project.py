"""Make the QGIS project of the examples, and draw it: `/usr/bin/python3 examples/make_project.py`.

Needs the Python that QGIS belongs to (Debian: python3-qgis), and the layers:

    geoscan examples/scene.tif --out examples/mines.gpkg
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # it draws without a screen
os.environ["QT_HASH_SEED"] = "0"  # or else Qt writes the attributes of XML in another order each time

from qgis.core import (
    QgsApplication,
    QgsLayoutExporter,
    QgsLayoutItemLegend,
    QgsLayoutItemMap,
    QgsLayoutItemScaleBar,
    QgsLayoutPoint,
    QgsLayoutSize,
    QgsMapLayer,
    QgsPrintLayout,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsReferencedRectangle,
    QgsUnitTypes,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QImage

HERE = Path(__file__).resolve().parent
SCENE = HERE / "scene.tif"
LAYERS = HERE / "mines.gpkg"
PROJECT = HERE / "geoscan.qgs"
PICTURE = HERE / "pictures" / "qgis.png"

ORDER = ("metadata", "footprint", "obscured", "chips", "detections")
"""Layers from the lowest to the highest."""

HIDDEN = ("chips",)
"""Layers that are there, and not ticked: they cover what lies below."""

WIDTH, HEIGHT = 150, 98
"""Millimetres of the picture; the map is as high, and square."""

DPI = 120


def main() -> None:
    """Write the project and the picture."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    app = QgsApplication([], False)
    app.initQgis()
    project = QgsProject.instance()
    scene = _added(project, QgsRasterLayer(str(SCENE), "scene"))
    for layer in _vectors():
        _added(project, layer)
        project.layerTreeRoot().findLayer(layer.id()).setItemVisibilityChecked(layer.name() not in HIDDEN)
    project.setTitle("geoscan: the example scene and what was found in it")
    project.setCrs(scene.crs())
    project.viewSettings().setDefaultViewExtent(QgsReferencedRectangle(scene.extent(), scene.crs()))
    PROJECT.unlink(missing_ok=True)  # QGIS would keep it beside the new one
    if not project.write(str(PROJECT)):
        raise SystemExit(f"{PROJECT} could not be written: {project.error()}")
    PROJECT.write_text(_without_chance(PROJECT.read_text("utf-8"), list(project.mapLayers().values())), "utf-8")
    _draw(project, scene)
    print(PROJECT, PICTURE, sep="\n", flush=True)
    os._exit(0)  # QGIS crashes when Python takes its objects apart in another order than it would


def _added(project: QgsProject, layer: QgsMapLayer) -> QgsMapLayer:
    if not layer.isValid():
        raise SystemExit(f"{layer.source()} cannot be opened; make it first: see --help of geoscan")
    return project.addMapLayer(layer)


def _vectors() -> list[QgsVectorLayer]:
    """The layers, from the lowest on, in the styles that come with them."""
    found = {one.name(): one.uri() for one in QgsProviderRegistry.instance().querySublayers(str(LAYERS))}
    return [QgsVectorLayer(found[name], name, "ogr") for name in ORDER if name in found]


def _without_chance(text: str, layers: list[QgsMapLayer]) -> str:
    """The project without what differs from run to run: who saved it and when, and numbers in the names of layers."""
    for layer in layers:
        text = text.replace(layer.id(), f"geoscan_layer_{layer.name()}")  # QGIS takes no name of 10 letters or fewer
    text = re.sub(r"<id>Annotations_\w+</id>", "<id>Annotations</id>", text)
    text = re.sub(r' save(DateTime|UserFull|User)="[^"]*"', "", text)
    text = re.sub(r"<author>.*?</author>", "<author></author>", text)
    text = re.sub(r"<individual-layer-settings>.*?</individual-layer-settings>", "", text, flags=re.DOTALL)
    text = re.sub(r"<creation>.*?</creation>", "<creation></creation>", text)
    return re.sub(r'(<date [^>]*value=")[^"]*"', r'\1"', text)


def _draw(project: QgsProject, scene: QgsRasterLayer) -> None:
    """Draw the map with its legend."""
    layout = QgsPrintLayout(project)
    layout.initializeDefaults()
    layout.pageCollection().page(0).setPageSize(QgsLayoutSize(WIDTH, HEIGHT, QgsUnitTypes.LayoutMillimeters))
    chart = QgsLayoutItemMap(layout)
    layout.addLayoutItem(chart)
    chart.attemptResize(QgsLayoutSize(HEIGHT, HEIGHT))
    chart.setExtent(scene.extent())
    legend = QgsLayoutItemLegend(layout)
    legend.setLinkedMap(chart)
    legend.setAutoUpdateModel(False)
    shown = QgsProject.instance().layerTreeRoot()
    for layer in project.mapLayers().values():
        if layer is scene or not shown.findLayer(layer.id()).isVisible() or not layer.isSpatial():
            legend.model().rootGroup().removeLayer(layer)
    layout.addLayoutItem(legend)
    legend.attemptMove(QgsLayoutPoint(HEIGHT + 2, 2))
    bar = QgsLayoutItemScaleBar(layout)
    layout.addLayoutItem(bar)
    bar.setLinkedMap(chart)
    bar.applyDefaultSize()
    bar.setNumberOfSegments(1)
    bar.setNumberOfSegmentsLeft(0)
    bar.setBackgroundEnabled(True)
    bar.attemptMove(QgsLayoutPoint(2, HEIGHT - 14))
    image = QgsLayoutExporter(layout).renderPageToImage(0, dpi=DPI)
    image.convertToFormat(QImage.Format_Indexed8).save(str(PICTURE))  # a third of the size


if __name__ == "__main__":
    main()
