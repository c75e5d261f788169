"""What QGIS makes of a project: facts as JSON on stdout. Run by the Python that QGIS belongs to.

usage: project.py PROJECT
"""

import json
import os
import sys

from qgis.core import QgsApplication, QgsMapRendererSequentialJob, QgsMapSettings, QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QSize


def facts(layer):
    known = {
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "source": layer.source(),
        "ticked": QgsProject.instance().layerTreeRoot().findLayer(layer.id()).itemVisibilityChecked(),
    }
    if not isinstance(layer, QgsVectorLayer):
        return {**known, "renderer": layer.renderer().type()}
    renderer = layer.renderer()  # a table has none
    drawn = {"renderer": renderer.type() if renderer else "", "labels": layer.labelsEnabled()}
    return {**known, **drawn, "count": layer.featureCount(), "columns": layer.fields().names()}


def colors(project):
    """How many colours the map has: of what is shown, in 200 x 200 px."""
    settings = QgsMapSettings()
    settings.setLayers(project.layerTreeRoot().checkedLayers())
    settings.setDestinationCrs(project.crs())
    settings.setExtent(project.viewSettings().defaultViewExtent())
    settings.setOutputSize(QSize(200, 200))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    return len({image.pixel(x, y) for x in range(200) for y in range(200)})


def main(path):
    app = QgsApplication([], False)
    app.initQgis()
    said = []
    QgsApplication.messageLog().messageReceived.connect(lambda text, tag, level: said.append([tag, text, int(level)]))
    project = QgsProject.instance()
    project.oldProjectVersionWarning.connect(lambda version: said.append(["version", version, 1]))
    told = {
        "read": project.read(path),
        "error": project.error(),
        "title": project.title(),
        "crs": project.crs().authid(),
        "layers": {one.name(): facts(one) for one in project.mapLayers().values()},
        "order": [one.name() for one in project.layerTreeRoot().layerOrder()],
        "colors": colors(project),
        "said": said,
    }
    json.dump(told, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # QGIS crashes when Python takes its objects apart in another order than it would


if __name__ == "__main__":
    main(*sys.argv[1:])
