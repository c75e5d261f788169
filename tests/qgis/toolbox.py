"""Run a Processing script as QGIS' toolbox does: facts as JSON on stdout. Run by the Python that QGIS belongs to.

usage: toolbox.py SCRIPT JOB...

The script is added to the toolbox. Each job is JSON: `parameters` of the algorithm; `layer`, a raster that is a layer
of the project (of a `provider`) and the parameter SCENE; `cancel`, percents done from which on it is cancelled;
`goes_on`, where the layers of the job before stay in the project.
"""

import json
import os
import shutil
import sys

sys.path.append("/usr/share/qgis/python/plugins")

import processing
from processing.core.Processing import Processing
from processing.script import ScriptUtils
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
)

ALGORITHM = "script:geoscan_scan"


class Feedback(QgsProcessingFeedback):
    """Keeps what it is told."""

    def __init__(self, cancel):
        super().__init__(False)
        self.said, self.shown = [], []
        self.cancel_at = cancel
        self.progressChanged.connect(self.shown.append)

    def pushInfo(self, text):  # noqa: N802
        self.said.append(text)

    def pushWarning(self, text):  # noqa: N802
        self.said.append(text)

    def reportError(self, text, fatalError=False):  # noqa: N802, N803
        self.said.append(text)

    def setProgressText(self, text):  # noqa: N802
        self.said.append(text)
        if self.cancel_at is not None and self.progress() >= self.cancel_at and "chips" in text:
            self.cancel()


def loaded(layer):
    return {
        "name": layer.name(),
        "valid": layer.isValid(),
        "count": layer.featureCount(),
        "crs": layer.crs().authid(),
        "renderer": layer.renderer().type(),
        "color": layer.renderer().symbol().color().name() if layer.renderer().type() == "singleSymbol" else "",
    }


def done(job):
    project = QgsProject.instance()
    if not job.get("goes_on"):
        project.clear()
    parameters = job["parameters"]
    if "layer" in job:
        scene = QgsRasterLayer(job["layer"], "a scene", job.get("provider", "gdal"))
        project.addMapLayer(scene)
        parameters["SCENE"] = scene.id()
    context, feedback = QgsProcessingContext(), Feedback(job.get("cancel"))
    context.setProject(project)
    results = error = None
    try:
        results = processing.runAndLoadResults(ALGORITHM, parameters, feedback, context)
    except QgsProcessingException as raised:
        error = str(raised)
    layers = [one for one in project.mapLayers().values() if not isinstance(one, QgsRasterLayer)]
    told = {"results": results, "error": error, "said": feedback.said, "progress": feedback.shown}
    return {**told, "layers": [loaded(one) for one in layers]}


def main(script, *jobs):
    app = QgsApplication([], False)
    app.initQgis()
    shutil.copy(script, ScriptUtils.defaultScriptsFolder())
    Processing.initialize()
    algorithm = QgsApplication.processingRegistry().algorithmById(ALGORITHM)
    about = {
        "title": algorithm.displayName(),
        "group": algorithm.group(),
        "parameters": {one.name(): one.type() for one in algorithm.parameterDefinitions()},
        "jobs": [done(json.loads(job)) for job in jobs],
    }
    json.dump(about, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # QGIS crashes when Python takes its objects apart in another order than it would


if __name__ == "__main__":
    main(*sys.argv[1:])
