"""What QGIS makes of layers: facts as JSON on stdout, and a picture. Run by the Python that QGIS belongs to.

usage: render.py PICTURE SIDE CRS LEFT,BOTTOM,RIGHT,TOP POINTS LAYER...

The layers are drawn, the first on top, over magenta into SIDE x SIDE px that show the extent in CRS. POINTS is a JSON
list of [x, y] in CRS; the picture's colours there are among the facts.
"""

import json
import os
import sys
from pathlib import Path

from qgis.core import (
    NULL,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRectangle,
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
    name = Path(path).stem
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
    }


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


def main(picture, side, crs, extent, points, *paths):
    app = QgsApplication([], False)
    app.initQgis()
    layers = [opened(path) for path in paths]
    told = [facts(layer) for layer in layers]
    for layer in layers:
        if isinstance(layer, QgsVectorLayer) and layer.renderer():  # a layer of no geometry type has none
            layer.renderer().symbol().setColor(QColor("yellow"))
    image, to_pixel, errors = rendered(layers, int(side), crs, [float(one) for one in extent.split(",")])
    image.save(picture)
    colors = [color_at(image, to_pixel, x, y) for x, y in json.loads(points)]
    json.dump({"layers": told, "colors": colors, "errors": errors}, sys.stdout, default=plain)
    sys.stdout.flush()
    os._exit(0)  # QGIS crashes when Python takes its objects apart in another order than it would


if __name__ == "__main__":
    main(*sys.argv[1:])
