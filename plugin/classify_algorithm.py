"""What the algorithms that classify share: rasters and a network in, a result made by the worker out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingOutputString,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..errors import InputError, ThematicaError
from ..models.bands import SENSOR_TITLES, SENSORS
from ..models.map_names import further_files
from ..models.reading import read_model_card
from ..models.store import BUNDLED_FOLDER, list_models, resolve_model
from .algorithm import ProgressText, ThematicaAlgorithm
from .compat import SOURCE_POLYGON, SOURCE_RASTER
from .job import ONE_AREA, PreparedJob, check_area, check_mask, check_raster, raster_job
from .parameters import choice, count, is_given, number
from .replacing import refuse_held_file
from .results import GROUP, area_table, counted, describe_layer
from .running import run_prepared

#: Paragraphs of the help that say what the common parameters mean.
_COMMON_HELP = """<p><b>Rasters</b>: one layer, or several of the same place (the bands of a product in files of their \
own, elevation beside spectra); the finest one gives the grid.</p>
<p><b>Model</b>: a name in the store or an ONNX file. In the store: {models}.</p>
<p><b>Band assignment</b>: only where the bands are not recognised: <code>B4=3,B8=4</code> takes the model's band B4 \
from raster band 3, and so on; <code>B4=2:1</code> takes it from band 1 of the second raster.</p>
<p><b>Area</b>: polygons or an extent, in any CRS; at most one of them. Outside it the result has nodata.</p>
<p><b>Sensor</b>: the order of bands in a product whose bands carry no names: {sensors}.</p>
<p><b>Scale, offset</b>: from stored to physical values, <code>stored × scale + offset</code>, where the file does not \
declare them. Sentinel-2 products since processing baseline 04.00: 0.0001 and −0.1.</p>
<p><b>Invalid pixels</b>: a pixel has no data if <i>any</i> band that the model uses has none, or only if <i>all</i> \
have none.</p>
<p><b>Pixel size</b>: side of the map's pixels on the ground in metres, or the word <code>model</code> for that of the \
model; empty: as the finest raster. <b>Mask</b>: only pixels where it is neither 0 nor without data are classified.</p>
{own}
<p>Web maps and other layers that only QGIS can open are exported first; they need an area.</p>
<p>The work is done in a process of its own with Thematica's runtime; cancelling stops it at once.</p>"""


class ClassifyAlgorithm(ThematicaAlgorithm):
    """Raster layers and a network in, a result out, in the worker.  A kind of result is a class of its own."""

    #: Command of the program that does the work.
    command: ClassVar[str]
    #: The help: what the algorithm makes, and its own parameters.
    about: ClassVar[str]
    own_help: ClassVar[str] = ""
    #: Parameters that go into the job under their names in small letters, by type.
    texts: ClassVar[tuple[str, ...]] = ("BANDS", "PROVIDER", "OUTPUT_NAME")
    choices: ClassVar[tuple[str, ...]] = ("SENSOR", "INVALID", "RESAMPLING", "PRECISION")
    numbers: ClassVar[tuple[str, ...]] = ("SCALE", "OFFSET", "NODATA")
    counts: ClassVar[tuple[str, ...]] = ("BATCH", "THREADS")
    #: Layers that are made: parameter → key in the job.
    layers: ClassVar[dict[str, str]] = {"OUTPUT": "output"}

    # -- what Processing shows ------------------------------------------------------------------

    def group(self) -> str:
        return "Thematic maps"

    def groupId(self) -> str:
        return "thematicmaps"

    def tags(self) -> list[str]:
        words = "classify classification land cover segmentation deep learning neural network machine learning onnx"
        return [*words.split(), "thematic map", "remote sensing", "sentinel", "landsat"]

    def shortHelpString(self) -> str:
        models = ", ".join(f"<code>{entry.name}</code>" for entry in list_models()) or "none yet"
        sensors = "; ".join(f"<code>{key}</code> {title}" for key, title in SENSOR_TITLES.items())
        return self.about + _COMMON_HELP.format(models=models, sensors=sensors, own=self.own_help)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.addParameter(QgsProcessingParameterMultipleLayers("INPUT", "Raster layer, or several", SOURCE_RASTER))
        model = QgsProcessingParameterString("MODEL", "Model (name in the store, or ONNX file)", self.default_model())
        model.setMetadata({"widget_wrapper": {"class": f"{__package__}.model_widget.ModelWidget"}})
        self.addParameter(model)
        bands = "Band assignment (model band = raster band, …)"
        self.addParameter(QgsProcessingParameterString("BANDS", bands, optional=True))
        self.addParameter(
            QgsProcessingParameterFeatureSource("AREA", "Area: polygon layer", [SOURCE_POLYGON], optional=True)
        )
        self.addParameter(QgsProcessingParameterExtent("EXTENT", "Area: extent", optional=True))
        self.addParameter(choice("SENSOR", "Sensor, where the bands carry no names", list(SENSORS), None))
        self.addParameter(number("SCALE", "Scale"))
        self.addParameter(number("OFFSET", "Offset"))
        self.addParameter(number("NODATA", "Nodata value"))
        self.add_own_parameters()
        self.add_advanced(
            QgsProcessingParameterString("GSD", "Pixel size of the map in metres, or “model”", optional=True)
        )
        resampling = "Resampling of rasters on other grids"
        self.add_advanced(choice("RESAMPLING", resampling, ["nearest", "bilinear", "cubic", "average"], None))
        self.add_advanced(QgsProcessingParameterRasterLayer("MASK", "Mask: raster of what to classify", optional=True))
        self.add_advanced(count("BATCH", "Tiles or patches per batch"))
        self.add_advanced(count("THREADS", "Threads"))
        self.add_advanced(choice("INVALID", "Pixel without data if missing in", ["any", "all"], "any"))
        self.add_advanced(QgsProcessingParameterFile("CARD", "Model card", extension="json", optional=True))
        output_name = "Output of the network, where it has several"
        self.add_advanced(QgsProcessingParameterString("OUTPUT_NAME", output_name, optional=True))
        provider = "Compute on (cuda, cpu, …; several in the order to try)"
        self.add_advanced(QgsProcessingParameterString("PROVIDER", provider, optional=True))
        self.add_advanced(choice("PRECISION", "Precision on a GPU", ["fp32", "fp16", "auto"], "fp32"))
        self.add_results()
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "REPORT", "Report", "JSON files (*.json)", optional=True, createByDefault=False
            )
        )
        self.addOutput(QgsProcessingOutputString("CLASS_AREAS", "Area per class (JSON)"))
        self.addOutput(QgsProcessingOutputString("FURTHER_OUTPUTS", "Maps of the network's further outputs (JSON)"))

    def add_own_parameters(self) -> None:
        """Add the parameters that only this algorithm has."""

    def add_results(self) -> None:
        """Add the destinations of :attr:`layers`, and outputs."""
        raise NotImplementedError

    def default_model(self) -> str | None:
        """The model that the dialog proposes."""
        # The first model that ships, found without reading any.
        names = sorted(path.stem for path in BUNDLED_FOLDER.glob("*.onnx"))
        return names[0] if names else None

    # -- before the run -------------------------------------------------------------------------

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        # What needs only a look is said before the run: dialogs and scripts then show the sentence itself,
        # while Processing reduces an error of prepareAlgorithm to "There were errors executing the algorithm".
        possible, why = super().checkParameterValues(parameters, context)
        if not possible:
            return possible, why
        try:
            resolve_model(self.parameterAsString(parameters, "MODEL", context))
            for layer in self.rasters(parameters, context):
                check_raster(layer)
            mask = self.parameterAsRasterLayer(parameters, "MASK", context)
            if mask is not None:
                check_mask(mask)
            area = self.parameterAsSource(parameters, "AREA", context)
            if area is not None:
                check_area(area)
            named = [_destination(parameters.get(name)) for name in self.layers]
            for path in [*named, *self._further_files(parameters, context, filter(None, named))]:
                refuse_held_file(path, context.project())
            if area is not None and not self.parameterAsExtent(parameters, "EXTENT", context).isNull():
                raise InputError(ONE_AREA)
            _pixel_size(self.parameterAsString(parameters, "GSD", context))
            self.check_own(parameters, context)
        except ThematicaError as error:
            return False, self.worded(error.message)
        return True, ""

    def check_own(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        """Check this algorithm's own parameters.

        Raises:
            InputError: what is wrong.
        """

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        # Layers belong to the thread that runs this: they are read here and never in processAlgorithm.
        area = self.parameterAsSource(parameters, "AREA", context)
        if area is None and parameters.get("AREA"):
            raise QgsProcessingException(self.invalidSourceError(parameters, "AREA"))
        try:
            model = self.parameterAsString(parameters, "MODEL", context)
            resolve_model(model)
            self.prepared = raster_job(
                self.command,
                self.rasters(parameters, context),
                model,
                "",
                area_layer=area,
                extent=self.parameterAsExtent(parameters, "EXTENT", context),
                extent_crs=self.parameterAsExtentCrs(parameters, "EXTENT", context),
                mask=self.parameterAsRasterLayer(parameters, "MASK", context),
                options=self._options(parameters, context),
            )
        except ThematicaError as error:
            raise self.failed(error, feedback) from error
        for warning in self.prepared.warnings:
            feedback.pushWarning(self.worded(warning))
        return True

    def _further_files(
        self, parameters: dict[str, Any], context: QgsProcessingContext, paths: Iterable[str]
    ) -> list[str]:
        """The files of the network's further outputs, beside those that were named."""
        try:
            model = resolve_model(self.parameterAsString(parameters, "MODEL", context))
            card = read_model_card(model, self.parameterAsFile(parameters, "CARD", context) or None)
        except ThematicaError:
            return []  # nothing is written: the run will say what is wrong
        return further_files(card, self.parameterAsString(parameters, "OUTPUT_NAME", context).strip(), paths)

    def _options(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for name in self.texts:
            options[name.lower()] = self.parameterAsString(parameters, name, context).strip()
        for name in self.choices:
            options[name.lower()] = self.parameterAsEnumString(parameters, name, context)
        for name in self.numbers:
            if is_given(parameters, name):
                options[name.lower()] = self.parameterAsDouble(parameters, name, context)
        for name in self.counts:
            if is_given(parameters, name):
                options[name.lower()] = self.parameterAsInt(parameters, name, context)
        options["gsd"] = _pixel_size(self.parameterAsString(parameters, "GSD", context))
        if options["precision"] == "fp32":
            del options["precision"]
        options["card"] = self.parameterAsFile(parameters, "CARD", context)
        return options

    # -- the run --------------------------------------------------------------------------------

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        prepared: PreparedJob = self.prepared
        try:
            job = prepared.job
            places = {}
            for name, key in self.layers.items():
                path = self.parameterAsOutputLayer(parameters, name, context) if is_given(parameters, name) else ""
                if path:
                    places[name] = job[key] = path
            report_file = self.parameterAsFileOutput(parameters, "REPORT", context)
            if report_file:
                job["report"] = report_file
            # Processing replaces results without asking.  Where there are none, nothing may be replaced: a
            # ``fields.qml`` that lies there is the style of another layer.
            written = [*places.values(), *self._further_files(parameters, context, places.values()), report_file]
            job["overwrite"] = any(Path(path).exists() for path in written if path)
            result = run_prepared(prepared, ProgressText(feedback, self.worded), feedback.isCanceled)
        except ThematicaError as error:
            raise self.failed(error, feedback) from error
        finally:
            prepared.discard()
        for name, path in places.items():
            _load_further_maps(self.layers[name], path, result, context)
            _style_when_loaded(path, result, context)
        report = result.get("report", {})
        rows = area_table(report)
        for row in rows:
            feedback.pushInfo(_row_text(row))
        return {
            **places,
            "REPORT": result.get("files", {}).get("report", report_file),
            "CLASS_AREAS": json.dumps(rows, ensure_ascii=False),
            "FURTHER_OUTPUTS": json.dumps(_further_maps(result), ensure_ascii=False),
            **self.figures(report),
        }

    def figures(self, report: dict[str, Any]) -> dict[str, Any]:
        """Further outputs, from the report."""
        return {}


def _pixel_size(text: str) -> float | str:
    """A number of metres, or ``model``; empty where nothing is given.

    Raises:
        InputError: anything else.
    """
    text = text.strip()
    if text in ("", "model"):
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"GSD must be a number of metres or the word model, not “{text}”.") from None


def _destination(value: Any) -> str:
    """The file that a destination parameter names, or what stands for a temporary one."""
    if isinstance(value, QgsProcessingOutputLayerDefinition):
        value = value.sink.staticValue()
    return str(value or "")


def _row_text(row: dict[str, Any]) -> str:
    hectares, percent = row["hectares"], row["percent"]
    unit = counted(row)
    area = f"{hectares:,.2f} ha" if hectares is not None else f"{row[unit]} {unit}"
    return f"{row['name']}: {area}" + (f" ({percent:.1f} %)" if percent is not None else "")


# Processing keeps only a pointer to a post-processor: without this reference Python would delete it.
_waiting: dict[str, _StyleOnLoad] = {}


def _further_maps(result: dict[str, Any]) -> dict[str, str]:
    """The files of the network's further outputs: ``roads`` → a map, ``confidence:roads`` → its scores."""
    files = result.get("files", {})
    return {kind[len("output:") :] if kind.startswith("output:") else kind: str(files[kind])
            for kind in files if ":" in kind}  # fmt: skip


def _load_further_maps(kind: str, path: str, result: dict[str, Any], context: QgsProcessingContext) -> None:
    """Where a result is loaded, those of the same kind that further outputs of the network gave are loaded too."""
    if not context.willLoadLayerOnCompletion(path):
        return
    details = context.layerToLoadOnCompletionDetails(path)
    further = [key for key in result.get("files", {}) if key.startswith(f"{kind}:")]
    for place, key in enumerate(further, start=1):
        file, output = str(result["files"][key]), key.partition(":")[2]
        # What differs comes first: the layer panel cuts long names off at the end.
        beside = QgsProcessingContext.LayerDetails(f"{output} – {details.name}", details.project, output)
        context.addLayerToLoadOnCompletion(file, beside)
        _style_when_loaded(file, result, context, place)


def _style_when_loaded(path: str, result: dict[str, Any], context: QgsProcessingContext, place: int = 0) -> None:
    if not context.willLoadLayerOnCompletion(path):
        return
    details = context.layerToLoadOnCompletionDetails(path)
    if hasattr(details, "groupName") and not details.groupName:  # QGIS 3.32
        details.groupName = GROUP
    _waiting[path] = _StyleOnLoad(path, result, place)
    details.setPostProcessor(_waiting[path])


class _StyleOnLoad(QgsProcessingLayerPostProcessorInterface):
    """Style, metadata and layer group of a result that Processing loads; a further output's lies hidden below."""

    def __init__(self, path: str, result: dict[str, Any], place: int) -> None:
        super().__init__()
        self.path, self.result, self.place = path, result, place

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        describe_layer(layer, self.result)
        layer.triggerRepaint()
        project = context.project()
        node = project.layerTreeRoot().findLayer(layer.id()) if project is not None else None
        if node is not None and self.place:
            node.setItemVisibilityChecked(False)
        # A group that the analyst set in Processing's options is left alone.
        if node is not None and node.parent() is project.layerTreeRoot():
            group = project.layerTreeRoot().findGroup(GROUP) or project.layerTreeRoot().insertGroup(0, GROUP)
            moved = node.clone()
            moved.setExpanded(True)  # the legend
            group.insertChildNode(min(self.place, len(group.children())), moved)
            project.layerTreeRoot().removeChildNode(node)
