"""What QGIS makes of layers: facts as JSON on stdout, and a picture. Run by the Python that QGIS belongs to.

usage: render.py LOOK PICTURE SIDE CRS LEFT,BOTTOM,RIGHT,TOP POINTS LAYER...

The layers are drawn, the first on top, over magenta into SIDE x SIDE px that show the extent in CRS. LOOK is `styled`,
or `plain` for vector layers in yellow. POINTS is a JSON list of [x, y] in CRS; the picture's colours there are among
the facts. A layer of several in a file is FILE|layername=NAME.
"""

import json
import os
import sys
from pathlib import Path

from qgis.core import (
    NULL,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsFillSymbol,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRectangle,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

RASTERS = (".tif", ".tiff")


def plain(value):
    """Give what JSON has no word for as text; None for what QGIS calls NULL."""
    return None if value == NULL else str(value)


def opened(path):
    """Give the layer at `path`, as dragging the file into QGIS would."""
    name = Path(path.split("|")[0]).stem
    return QgsRasterLayer(path, name) if Path(path).suffix in RASTERS else QgsVectorLayer(path, name, "ogr")


def facts(layer):
    box = layer.extent()
    known = {
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "extent": [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()],
    }
    return {**known, **(of_raster(layer) if isinstance(layer, QgsRasterLayer) else of_vector(layer))}


def of_raster(layer):
    provider = layer.dataProvider()
    return {
        "shape": [layer.bandCount(), layer.height(), layer.width()],
        "renderer": layer.renderer().type(),
        "pyramids": [[one.xDim, one.yDim] for one in provider.buildPyramidList() if one.exists],
    }


def of_vector(layer):
    features = list(layer.getFeatures())
    return {
        "count": layer.featureCount(),
        "geometry": layer.geometryType(),
        "fields": {field.name(): field.typeName() for field in layer.fields()},
        "features": [dict(zip(layer.fields().names(), one.attributes(), strict=True)) for one in features],
        "shapes": [one.geometry().asWkt(9) for one in features],
        "shapes_valid": [one.geometry().isGeosValid() for one in features],
        "style": style(layer),
    }


def style(layer):
    labeling = layer.labeling()
    renderer = layer.renderer()
    known = {
        "renderer": renderer.type() if renderer else None,
        "labels": labeling.settings().fieldName if labeling and layer.labelsEnabled() else None,
        "tips": [tip(layer, one) for one in layer.getFeatures()],
        "aliases": {field.name(): field.alias() for field in layer.fields()},
        "widgets": {field.name(): field.editorWidgetSetup().type() for field in layer.fields()},
        "choices": {field.name(): field.editorWidgetSetup().config().get("map") for field in layer.fields()},
    }
    if known["renderer"] == "graduatedSymbol":
        known["classes"] = [[one.lowerValue(), one.upperValue()] for one in renderer.ranges()]
        known["attribute"] = renderer.classAttribute()
    if known["renderer"] == "categorizedSymbol":
        known["classes"] = [one.value() for one in renderer.categories()]
        known["attribute"] = renderer.classAttribute()
    return known


def tip(layer, feature):
    """The map tip of a feature, with its numbers filled in."""
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(feature)
    return QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context)


def rendered(layers, side, crs, extent):
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
    settings.setExtent(QgsRectangle(*extent))
    settings.setOutputSize(QSize(side, side))
    settings.setBackgroundColor(QColor("magenta"))
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    return job.renderedImage(), settings.mapToPixel(), [error.message for error in job.errors()]


def color_at(image, to_pixel, x, y):
    place = to_pixel.transform(x, y)
    return list(image.pixelColor(int(place.x()), int(place.y())).getRgb()[:3])


def main(look, picture, side, crs, extent, points, *paths):
    app = QgsApplication([], False)
    app.initQgis()
    layers = [opened(path) for path in paths]
    told = [facts(layer) for layer in layers]
    for layer in layers:
        if look == "plain" and isinstance(layer, QgsVectorLayer) and layer.renderer():  # without geometry type: none
            layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple({"color": "yellow"})))
            layer.setLabelsEnabled(False)
    image, to_pixel, errors = rendered(layers, int(side), crs, [float(one) for one in extent.split(",")])
    image.save(picture)
    colors = [color_at(image, to_pixel, x, y) for x, y in json.loads(points)]
    json.dump({"layers": told, "colors": colors, "errors": errors}, sys.stdout, default=plain)
    sys.stdout.flush()
    os._exit(0)  # QGIS crashes when Python takes its objects apart in another order than it would


if __name__ == "__main__":
    main(*sys.argv[1:])
