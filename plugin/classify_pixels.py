"""The Processing algorithm ``thematica:classifypixels``."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtGui import QIcon

from ..errors import InputError, ThematicaError
from ..models.bands import SENSOR_TITLES, SENSORS
from ..models.store import BUNDLED_FOLDER, list_models, resolve_model
from ..ui.wording import progress_label
from .compat import NUMBER_DOUBLE, NUMBER_INTEGER, PARAMETER_ADVANCED, SOURCE_POLYGON
from .job import ONE_AREA, PreparedJob, check_area, pixel_job, raster_source
from .replacing import refuse_held_file
from .results import GROUP, area_table, describe_layer
from .runtime import find_runtime, runtime_problem
from .worker import run_worker

_ICON = str(Path(__file__).resolve().parent / "icons" / "thematica.svg")
_SECONDS_BETWEEN_TEXTS = 2.0

_HELP = """<p>Makes a <b>thematic map</b> from a raster with a neural network (ONNX): every pixel gets the class that \
the network finds most likely. The map is a tiled GeoTIFF with overviews, colour table, class names and a style; a \
small JSON report beside it says how it was made and how large each class is.</p>
<p><b>Model</b>: a name in the store or an ONNX file. In the store: {models}.</p>
<p><b>Band assignment</b>: only where the bands are not recognised: <code>B4=3,B8=4</code> takes the model's band B4 \
from raster band 3, and so on.</p>
<p><b>Area</b>: polygons or an extent, in any CRS; at most one of them. Outside it the map has nodata.</p>
<p><b>Sensor</b>: the order of bands in a product whose bands carry no names: {sensors}.</p>
<p><b>Scale, offset</b>: from stored to physical values, <code>stored × scale + offset</code>, where the file does not \
declare them. Sentinel-2 products since processing baseline 04.00: 0.0001 and −0.1.</p>
<p><b>Stitching</b>: <i>exact</i> gives the same map for every tile size; <i>smooth</i> blends overlapping tiles.</p>
<p><b>Invalid pixels</b>: a pixel has no data if <i>any</i> band that the model uses has none, or only if <i>all</i> \
have none.</p>
<p>The work is done in a process of its own with Thematica's runtime; cancelling stops it at once.</p>"""

# Optional rasters: parameter name → (label, key in the job).
_EXTRAS = {
    "CONFIDENCE": ("Confidence: score of the best class", "confidence"),
    "ENTROPY": ("Entropy of the scores", "entropy"),
    "MARGIN": ("Margin between the two best scores", "margin"),
    "PROBABILITIES": ("Probabilities, one band per class", "probabilities"),
}


class ClassifyPixels(QgsProcessingAlgorithm):
    """Raster layer and network in, thematic map out, in the worker."""

    def createInstance(self) -> ClassifyPixels:
        return ClassifyPixels()

    def name(self) -> str:
        return "classifypixels"

    def displayName(self) -> str:
        return "Classify pixels"

    def group(self) -> str:
        return "Thematic maps"

    def groupId(self) -> str:
        return "thematicmaps"

    def tags(self) -> list[str]:
        words = "classify classification land cover segmentation deep learning neural network machine learning onnx"
        return [*words.split(), "thematic map", "remote sensing", "sentinel", "landsat"]

    def icon(self) -> QIcon:
        return QIcon(_ICON)

    def svgIconPath(self) -> str:
        return _ICON

    def shortDescription(self) -> str:
        return "Makes a thematic map from a raster layer with a neural network (ONNX)."

    def shortHelpString(self) -> str:
        models = ", ".join(f"<code>{entry.name}</code>" for entry in list_models()) or "none yet"
        sensors = "; ".join(f"<code>{key}</code> {title}" for key, title in SENSOR_TITLES.items())
        return _HELP.format(models=models, sensors=sensors)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", "Raster layer"))
        model = QgsProcessingParameterString("MODEL", "Model (name in the store, or ONNX file)", _default_model())
        model.setMetadata({"widget_wrapper": {"class": f"{__package__}.model_widget.ModelWidget"}})
        self.addParameter(model)
        bands = "Band assignment (model band = raster band, …)"
        self.addParameter(QgsProcessingParameterString("BANDS", bands, optional=True))
        self.addParameter(
            QgsProcessingParameterFeatureSource("AREA", "Area: polygon layer", [SOURCE_POLYGON], optional=True)
        )
        self.addParameter(QgsProcessingParameterExtent("EXTENT", "Area: extent", optional=True))
        self.addParameter(_choice("SENSOR", "Sensor, where the bands carry no names", list(SENSORS), None))
        self.addParameter(_number("SCALE", "Scale"))
        self.addParameter(_number("OFFSET", "Offset"))
        self.addParameter(_number("NODATA", "Nodata value"))
        self._add_advanced(_choice("MODE", "Stitching", ["exact", "smooth"], "exact"))
        self._add_advanced(_count("TILE", "Tile size in pixels"))
        self._add_advanced(_count("OVERLAP", "Overlap of tiles in pixels", minimum=0))
        self._add_advanced(_count("BATCH", "Tiles per batch"))
        self._add_advanced(_count("THREADS", "Threads"))
        self._add_advanced(_choice("INVALID", "Pixel without data if missing in", ["any", "all"], "any"))
        card = QgsProcessingParameterFile("CARD", "Model card", extension="json", optional=True)
        self._add_advanced(card)
        provider = "ONNX Runtime provider"
        self._add_advanced(QgsProcessingParameterString("PROVIDER", provider, optional=True))
        self.addParameter(QgsProcessingParameterRasterDestination("OUTPUT", "Thematic map"))
        for name, (label, _) in _EXTRAS.items():
            self.addParameter(
                QgsProcessingParameterRasterDestination(name, label, optional=True, createByDefault=False)
            )
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "REPORT", "Report", "JSON files (*.json)", optional=True, createByDefault=False
            )
        )
        self.addOutput(QgsProcessingOutputString("CLASS_AREAS", "Area per class (JSON)"))
        self.addOutput(QgsProcessingOutputNumber("NODATA_PIXELS", "Pixels without data"))

    def _add_advanced(self, parameter: QgsProcessingParameterDefinition) -> None:
        parameter.setFlags(parameter.flags() | PARAMETER_ADVANCED)
        self.addParameter(parameter)

    def canExecute(self) -> tuple[bool, str]:
        problem = runtime_problem(find_runtime())
        return not problem, problem

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        # What needs only a look is said before the run: dialogs and scripts then show the sentence itself,
        # while Processing reduces an error of prepareAlgorithm to "There were errors executing the algorithm".
        possible, why = super().checkParameterValues(parameters, context)
        if not possible:
            return possible, why
        try:
            resolve_model(self.parameterAsString(parameters, "MODEL", context))
            raster_source(self.parameterAsRasterLayer(parameters, "INPUT", context))
            area = self.parameterAsSource(parameters, "AREA", context)
            if area is not None:
                check_area(area)
            for name in ("OUTPUT", *_EXTRAS):
                refuse_held_file(_destination(parameters.get(name)), context.project())
            if area is not None and not self.parameterAsExtent(parameters, "EXTENT", context).isNull():
                raise InputError(ONE_AREA)
        except ThematicaError as error:
            return False, error.message
        return True, ""

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        # Layers belong to the thread that runs this: they are read here and never in processAlgorithm.
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, "INPUT"))
        area = self.parameterAsSource(parameters, "AREA", context)
        if area is None and parameters.get("AREA"):
            raise QgsProcessingException(self.invalidSourceError(parameters, "AREA"))
        try:
            model = self.parameterAsString(parameters, "MODEL", context)
            resolve_model(model)
            self.prepared = pixel_job(
                layer,
                model,
                "",
                area_layer=area,
                extent=self.parameterAsExtent(parameters, "EXTENT", context),
                extent_crs=self.parameterAsExtentCrs(parameters, "EXTENT", context),
                options=self._options(parameters, context),
            )
        except ThematicaError as error:
            raise _for_processing(error, feedback) from error
        for warning in self.prepared.warnings:
            feedback.pushWarning(warning)
        return True

    def _options(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for name in ("BANDS", "PROVIDER"):
            options[name.lower()] = self.parameterAsString(parameters, name, context).strip()
        for name in ("SENSOR", "MODE", "INVALID"):
            options[name.lower()] = self.parameterAsEnumString(parameters, name, context)
        for name in ("SCALE", "OFFSET", "NODATA"):
            if _is_given(parameters, name):
                options[name.lower()] = self.parameterAsDouble(parameters, name, context)
        for name in ("TILE", "OVERLAP", "BATCH", "THREADS"):
            if _is_given(parameters, name):
                options[name.lower()] = self.parameterAsInt(parameters, name, context)
        options["card"] = self.parameterAsFile(parameters, "CARD", context)
        return options

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        prepared: PreparedJob = self.prepared
        try:
            job = prepared.job
            places = {"OUTPUT": self.parameterAsOutputLayer(parameters, "OUTPUT", context)}
            job["output"] = places["OUTPUT"]
            for name, (_, key) in _EXTRAS.items():
                path = self.parameterAsOutputLayer(parameters, name, context) if _is_given(parameters, name) else ""
                if path:
                    places[name] = job[key] = path
            report_file = self.parameterAsFileOutput(parameters, "REPORT", context)
            if report_file:
                job["report"] = report_file
            # Processing replaces results without asking.  Where there are none, nothing may be replaced: a
            # ``fields.qml`` that lies there is the style of another layer.
            job["overwrite"] = any(Path(path).exists() for path in (*places.values(), report_file) if path)
            result = run_worker("classify-pixels", job, _Progress(feedback), feedback.isCanceled)
        except ThematicaError as error:
            raise _for_processing(error, feedback) from error
        finally:
            prepared.discard()
        for path in places.values():
            _style_when_loaded(path, result, context)
        report = result.get("report", {})
        rows = area_table(report)
        for row in rows:
            hectares, percent = row["hectares"], row["percent"]
            area = f"{hectares:,.2f} ha" if hectares is not None else f"{row['pixels']} pixels"
            feedback.pushInfo(f"{row['name']}: {area}" + (f" ({percent:.1f} %)" if percent is not None else ""))
        return {
            **places,
            "REPORT": result.get("files", {}).get("report", report_file),
            "CLASS_AREAS": json.dumps(rows, ensure_ascii=False),
            "NODATA_PIXELS": report.get("nodata", {}).get("pixels", 0),
        }


def _default_model() -> str | None:
    """The first model that ships, found without reading any."""
    names = sorted(path.stem for path in BUNDLED_FOLDER.glob("*.onnx"))
    return names[0] if names else None


def _choice(name: str, label: str, values: list[str], default: str | None) -> QgsProcessingParameterEnum:
    """A choice that is a string in saved models and scripts: an index would break with the next version."""
    return QgsProcessingParameterEnum(
        name, label, values, defaultValue=default, optional=default is None, usesStaticStrings=True
    )


def _number(name: str, label: str) -> QgsProcessingParameterNumber:
    return QgsProcessingParameterNumber(name, label, NUMBER_DOUBLE, optional=True)


def _count(name: str, label: str, minimum: int = 1) -> QgsProcessingParameterNumber:
    return QgsProcessingParameterNumber(name, label, NUMBER_INTEGER, optional=True, minValue=minimum)


def _destination(value: Any) -> str:
    """The file that a destination parameter names, or what stands for a temporary one."""
    if isinstance(value, QgsProcessingOutputLayerDefinition):
        value = value.sink.staticValue()
    return str(value or "")


def _is_given(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name)
    return value is not None and value != ""


def _for_processing(error: ThematicaError, feedback: QgsProcessingFeedback) -> QgsProcessingException:
    """Processing shows the sentence; what helps a developer goes to its log."""
    if error.details:
        feedback.pushDebugInfo(error.details)
    return QgsProcessingException(_in_parameters(error.message))


def _in_parameters(sentence: str) -> str:
    """The engine speaks of the shell's options (``--scale``); here they are parameters (``SCALE``)."""
    return re.sub(r"(?<![\w-])--([a-z]+)\b", lambda option: option.group(1).upper(), sentence)


class _Progress:
    """Passes the worker's events to Processing: the bar always, words every few seconds."""

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self.feedback = feedback
        self.stage = ""
        self.next_text = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "log":
            message = _in_parameters(str(event.get("message", "")))
            if event.get("level") == "warning":
                self.feedback.pushWarning(message)
            else:
                self.feedback.pushInfo(message)
        elif event["event"] == "progress":
            self.feedback.setProgress(100.0 * float(event.get("fraction") or 0.0))
            stage = str(event.get("stage") or "")
            if stage != self.stage or time.monotonic() >= self.next_text:
                self.stage = stage
                self.next_text = time.monotonic() + _SECONDS_BETWEEN_TEXTS
                self.feedback.setProgressText(progress_label(event))


# Processing keeps only a pointer to a post-processor: without this reference Python would delete it.
_waiting: dict[str, _StyleOnLoad] = {}


def _style_when_loaded(path: str, result: dict[str, Any], context: QgsProcessingContext) -> None:
    if not context.willLoadLayerOnCompletion(path):
        return
    details = context.layerToLoadOnCompletionDetails(path)
    if hasattr(details, "groupName") and not details.groupName:  # QGIS 3.32
        details.groupName = GROUP
    _waiting[path] = _StyleOnLoad(path, result)
    details.setPostProcessor(_waiting[path])


class _StyleOnLoad(QgsProcessingLayerPostProcessorInterface):
    """Style, metadata and layer group of a result that Processing loads."""

    def __init__(self, path: str, result: dict[str, Any]) -> None:
        super().__init__()
        self.path = path
        self.result = result

    def postProcessLayer(self, layer, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> None:
        describe_layer(layer, self.result)
        layer.triggerRepaint()
        project = context.project()
        node = project.layerTreeRoot().findLayer(layer.id()) if project is not None else None
        # A group that the analyst set in Processing's options is left alone.
        if node is not None and node.parent() is project.layerTreeRoot():
            group = project.layerTreeRoot().findGroup(GROUP) or project.layerTreeRoot().insertGroup(0, GROUP)
            moved = node.clone()
            moved.setExpanded(True)  # the legend
            group.insertChildNode(0, moved)
            project.layerTreeRoot().removeChildNode(node)
