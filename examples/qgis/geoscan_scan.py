"""geoscan in QGIS: scan a scene for artisanal gold mines from the Processing toolbox (QGIS 3.22 or newer).

In QGIS open Processing > Toolbox, click on the Python sign, choose "Add Script to Toolbox...", and give this file. The
algorithm is then under Scripts > geoscan. It runs the command `geoscan`, which is installed apart from QGIS.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputNumber,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProviderRegistry,
    QgsSettings,
)

MODELS = ["auto", "planet", "sentinel2", "sentinel2-lite"]
POINTS = ["balanced", "sensitive", "strict"]

FORMATS = "GeoPackage (*.gpkg);;GeoJSON (*.geojson);;FlatGeobuf (*.fgb);;GeoParquet (*.parquet)"

NAME = "geoscan: "
"""What the last line of a command that fails begins with."""

INSTALLED = str(Path.home() / "geoscan" / ".venv" / "bin" / "geoscan")
"""Where the guide installs the command: programs that are started from a menu rarely see a terminal's PATH."""

REMEMBERED = "geoscan/command"
"""The setting of QGIS that keeps the command."""

OF_QGIS = ("PYTHONHOME", "PYTHONPATH", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA", "LD_LIBRARY_PATH")
"""What QGIS may set for its own Python and libraries: the command brings others."""

LOADED = ("detections", "obscured")
"""Layers of a GeoPackage that are added to the project; the first is what was found."""

PATIENCE = 60
"""Seconds that a scan has to end in when it is cancelled: it finishes the chips that it is at."""

HELP = """<p>Scans a satellite scene for artisanal gold mines, and adds the places worth a second look as a layer.</p>
<p>Give a raster layer, or the file of a product as it was downloaded: a Sentinel-2 .zip, or the MTD_MSI....xml of an
unpacked one.</p>
<p><b>Operating point</b>: sensitive finds more mines and raises more false alarms, strict fewer of both.<br>
<b>Stride</b>: pixels from chip to chip. Less than a chip (256, or 48 for sentinel2) lets chips overlap: finer,
slower.<br>
<b>Extra options</b>: any others of geoscan scan, such as --prior 0.0005.<br>
<b>geoscan command</b>: where it is installed, if QGIS does not find it; it is remembered.</p>
<p>A scan that was cancelled goes on where it was when it is started again with the same values.</p>
<p>A polygon is a place worth a look. It is no proof; no polygon is no proof either.</p>"""


class GeoscanScan(QgsProcessingAlgorithm):
    """Runs `geoscan scan`, shows how far it is, and loads what it has written."""

    def createInstance(self) -> GeoscanScan:
        return GeoscanScan()

    def name(self) -> str:
        return "geoscan_scan"

    def displayName(self) -> str:
        return "Scan for artisanal gold mines"

    def group(self) -> str:
        return "geoscan"

    def groupId(self) -> str:
        return "geoscan"

    def tags(self) -> list[str]:
        return ["mining", "gold", "mines", "detection", "satellite"]

    def shortHelpString(self) -> str:
        return HELP.replace("\n", " ")  # QGIS begins a paragraph at each end of a line

    def initAlgorithm(self, config: Any = None) -> None:
        self.addParameter(QgsProcessingParameterRasterLayer("SCENE", "Scene", optional=True))
        self.addParameter(_file("PRODUCT", "Or a product, as it was downloaded"))
        self.addParameter(_choice("MODEL", "Model", MODELS))
        self.addParameter(_choice("OPERATE", "Operating point", POINTS))
        stride = QgsProcessingParameterNumber("STRIDE", "Stride in pixels", optional=True, minValue=1)
        extra = QgsProcessingParameterString("EXTRA", "Extra options", optional=True)
        command = _file("COMMAND", "geoscan command")
        for one in (stride, extra, command):
            one.setFlags(one.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
            self.addParameter(one)
        self.addParameter(QgsProcessingParameterFileDestination("OUTPUT", "Layer to write", FORMATS))
        self.addOutput(QgsProcessingOutputVectorLayer("DETECTIONS", "Detections", QgsProcessing.TypeVectorPolygon))
        self.addOutput(QgsProcessingOutputNumber("COUNT", "Number of detections"))
        self.addOutput(QgsProcessingOutputNumber("AREA_HA", "Their area in hectares"))
        self.addOutput(QgsProcessingOutputNumber("OBSERVED", "Share of the scene that was observed, 0 to 1"))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        out = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        if Path(f"{out}-wal").exists():  # which SQLite would lay over the new file
            raise QgsProcessingException(
                f"{out} is being edited; save the edits and end editing first, or name another"
            )
        command = _command(self.parameterAsString(parameters, "COMMAND", context).strip())
        figures = _run([command, *self._words(parameters, context, out)], feedback)
        layers = _layers_in(out)
        for name, uri in layers.items():
            details = QgsProcessingContext.LayerDetails(name, context.project(), name)
            STYLED.append(_Styled())
            details.setPostProcessor(STYLED[-1])  # one a layer: the context deletes each in the end
            context.addLayerToLoadOnCompletion(uri, details)
        if not layers:
            feedback.reportError(f"{out} is written, but this QGIS cannot open such files; write .gpkg")
        return {
            "OUTPUT": out,
            "DETECTIONS": next(iter(layers.values()), None),
            "COUNT": figures["detections"],
            "AREA_HA": figures["area_ha"],
            "OBSERVED": figures["observed_fraction"],
        }

    def _words(self, parameters: dict[str, Any], context: QgsProcessingContext, out: str) -> list[str]:
        """The words of the command line."""
        words = ["scan", self._scene(parameters, context)]
        words += ["--model", self.parameterAsString(parameters, "MODEL", context)]
        words += ["--operate", self.parameterAsString(parameters, "OPERATE", context)]
        if parameters.get("STRIDE") is not None:
            words += ["--stride", str(self.parameterAsInt(parameters, "STRIDE", context))]
        try:
            words += shlex.split(self.parameterAsString(parameters, "EXTRA", context))
        except ValueError as error:
            raise QgsProcessingException(f"Extra options cannot be read ({error}); close every quote") from error
        return [*words, "--out", out, "--json", "--progress"]  # of an option that comes twice the last one holds

    def _scene(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        """The path of what is to be scanned."""
        layer = self.parameterAsRasterLayer(parameters, "SCENE", context)
        product = self.parameterAsString(parameters, "PRODUCT", context)
        if bool(layer) == bool(product):
            raise QgsProcessingException("Give a scene, or else a product: one of the two")
        if not layer:
            return str(Path(product).absolute())
        if layer.providerType() != "gdal":
            raise QgsProcessingException(
                f"{layer.name()} comes from a service ({layer.providerType()}), and geoscan reads files; "
                "export it as GeoTIFF first"
            )
        parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
        path = f"{parts.get('vsiPrefix') or ''}{parts['path']}{parts.get('vsiSuffix') or ''}"
        return f"GPKG:{path}:{parts['layerName']}" if parts.get("layerName") else path


class _Styled(QgsProcessingLayerPostProcessorInterface):
    """Gives a layer the style that its file brings, which QGIS leaves out for layers that an algorithm makes.

    Layers of an earlier scan into the same file are read anew: in the new one another polygon may have the number by
    which QGIS would save what is said of one that it still shows.
    """

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        for one in context.project().mapLayers().values():
            if one.providerType() == "ogr" and _file_of(one) == _file_of(layer):
                one.reload()
        layer.loadDefaultStyle()
        layer.triggerRepaint()


def _file_of(layer: QgsMapLayer) -> str:
    return QgsProviderRegistry.instance().decodeUri("ogr", layer.source()).get("path", "")


def _file(name: str, title: str) -> QgsProcessingParameterFile:
    # QGIS' own filter for all files, *.*, refuses names without a dot
    return QgsProcessingParameterFile(name, title, optional=True, fileFilter="All files (*)")


STYLED: list[_Styled] = []
"""Kept, for QGIS does not keep what Python knows of them."""


def _choice(name: str, title: str, options: list[str]) -> QgsProcessingParameterEnum:
    return QgsProcessingParameterEnum(name, title, options, defaultValue=options[0], usesStaticStrings=True)


def _command(given: str) -> str:
    """Find the command: what is given, what was given before, that of PATH, that of the guide."""
    settings = QgsSettings()
    if given:
        found = shutil.which(str(Path(given).expanduser()))
        if not found:
            raise QgsProcessingException(f"{given} is no command; give the file geoscan in the folder bin of its .venv")
        settings.setValue(REMEMBERED, found)
        return found
    for one in (settings.value(REMEMBERED, ""), "geoscan", INSTALLED):
        found = shutil.which(one) if one else None
        if found:
            return found
    raise QgsProcessingException(
        f"The command geoscan is neither in PATH nor at {INSTALLED}; install it, or say under Advanced parameters "
        "where it is"
    )


def _run(command: list[str], feedback: QgsProcessingFeedback) -> dict[str, Any]:
    """Run the command to its end, and give the figures of the scan.

    Raises QgsProcessingException, with the command's own line, when it has written nothing.
    """
    feedback.pushInfo(" ".join(map(shlex.quote, command)))
    feedback.setProgressText("geoscan starts")
    process = _started(command)
    try:
        printed, said = _watched(process, feedback)
    finally:
        if process.poll() is None:  # nothing is left behind, whatever happened here
            process.kill()
            process.wait()
    if feedback.isCanceled():
        raise QgsProcessingException(said or "interrupted")
    try:
        figures = json.loads(printed)  # printed when the layer is written, not before
    except ValueError as error:
        said = said or printed.strip() or "it said nothing"
        raise QgsProcessingException(f"geoscan ended with status {process.returncode}: {said}") from error
    if process.returncode:
        feedback.reportError("The layer is written, but a part of the scene is missing: see the warnings above")
    return figures


def _started(command: list[str]) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in OF_QGIS}
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, **pipes, encoding="utf-8", errors="replace", env=environment
        )
    except OSError as error:
        raise QgsProcessingException(f"{command[0]} cannot be started: {error.strerror}") from error


def _watched(process: subprocess.Popen[str], feedback: QgsProcessingFeedback) -> tuple[str, str]:
    """Show what the command says while it runs; give what it has printed, and its last line on stderr."""
    lines, printed, said = queue.Queue(), [], ""
    readers = [
        threading.Thread(target=_read, args=(process.stdout, printed.append)),
        threading.Thread(target=_read, args=(process.stderr, lines.put)),
    ]
    for one in readers:
        one.start()
    deadline = None
    while process.poll() is None or readers[1].is_alive() or not lines.empty():
        if feedback.isCanceled():
            deadline = deadline or _ask_to_end(process)
            if time.monotonic() > deadline:
                process.kill()
        try:
            said = _show(lines.get(timeout=0.1), feedback) or said
        except queue.Empty:
            continue
    for one in readers:
        one.join()
    return "".join(printed), said


def _ask_to_end(process: subprocess.Popen[str]) -> float:
    """Let the command end as Ctrl-C would: what is scanned is kept. Gives when it should have ended."""
    process.terminate()
    return time.monotonic() + PATIENCE


def _read(stream: TextIO, take: Callable[[str], Any]) -> None:
    with stream:
        for line in stream:
            take(line)


def _show(line: str, feedback: QgsProcessingFeedback) -> str:
    """Show one line of the command, progress or words; give the words, without the command's name."""
    try:
        progress = json.loads(line)
        done, chips = progress["done"], progress["chips"]
    except (ValueError, TypeError, KeyError):
        text = line.strip()
        text = text[len(NAME) :] if text.startswith(NAME) else text
        (feedback.pushWarning if text.startswith("warning: ") else feedback.pushInfo)(text)
        return text
    feedback.setProgress(100 * done / max(chips, 1))
    feedback.setProgressText(f"{done:,} of {chips:,} chips")
    return ""


def _layers_in(path: str) -> dict[str, str]:
    """Give the layers to load, name to address: those of `LOADED`, or else the only one; none where QGIS finds none."""
    found = {one.name(): one.uri() for one in QgsProviderRegistry.instance().querySublayers(path)}
    chosen = {name: found[name] for name in LOADED if name in found}
    return chosen or ({Path(path).stem: path} if found else {})
