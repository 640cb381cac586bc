"""The Processing algorithm ``thematica:builddataset``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..errors import InputError, ThematicaError
from ..models.bands import SENSORS
from .algorithm import ProgressText, ThematicaAlgorithm
from .compat import FOLDERS, SOURCE_RASTER, SOURCE_VECTOR, WKT_PREFERRED
from .dataset_job import KINDS, LAYOUTS, SPLITS, LabelSet, folder_job, labels_job
from .job import PreparedJob, check_raster
from .parameters import choice, count, is_given, number
from .running import run_prepared

_TEXTS = ("BANDS", "MERGE", "BLOCK", "BUFFER", "IMAGE_FIELD", "FROM_FIELD", "TO_FIELD")
_CHOICES = ("KIND", "SPLIT", "SENSOR", "RESAMPLING")
_NUMBERS = ("TEST", "VALIDATION", "SCALE", "OFFSET", "NODATA", "GSD")
_COUNTS = ("SIZE", "MOST", "SEED")
_LABEL_SETS = {"LABELS": "labels", "VALIDATION_LABELS": "validation", "TEST_LABELS": "test"}

_HELP = """<p>Builds a <b>training set</b>: a folder with samples, split into training, validation and test parts, \
from rasters and labels, or from a folder of labelled patches.</p>
<p><b>Rasters</b>: the bands of one image, or, with <b>every raster is an image of its own</b>, several images that \
share the labels; the field <b>image</b> then says on which of them a polygon was drawn.</p>
<p><b>Labels</b>: polygons or points with a field that holds the class, as they are on the screen, unsaved edits \
included; or a raster of classes.</p>
<p><b>Kind</b>: <code>pixels</code> (spectra), <code>windows</code> (the square of <b>size</b> pixels around each \
labelled pixel), or <code>chips</code> (squares of <b>size</b> pixels with a label for every pixel).</p>
<p><b>Split</b>: neighbouring pixels are nearly copies of each other, so that whole <code>blocks</code> of ground and \
whole polygons go to one part, with a buffer between the parts. A <code>random</code> split says that a model is \
better than it is. Block and buffer: metres, or pixels with <code>px</code>.</p>
<p><b>Merge</b>: <code>Wheat=Cropland,Maize=Cropland</code> makes one class of several.</p>
<p><b>Folder of patches</b>: EuroSAT or BigEarthNet as they are distributed (a folder, or a zip as <b>archive</b>); \
rasters and labels stay empty then.</p>
<p>A picture of the samples and of the split on the map lies in the folder. The same call again goes on where it \
stopped, or says that nothing has changed.</p>"""


def _of_patches(parameters: dict[str, Any]) -> bool:
    return is_given(parameters, "FOLDER") or is_given(parameters, "ARCHIVE")


class BuildDataset(ThematicaAlgorithm):
    """Rasters and labels in, a training set out."""

    def name(self) -> str:
        return "builddataset"

    def displayName(self) -> str:
        return "Build training set"

    def shortDescription(self) -> str:
        return "Makes a training set from rasters and labels, or from a folder of labelled patches."

    def shortHelpString(self) -> str:
        return _HELP

    def group(self) -> str:
        return "Training"

    def groupId(self) -> str:
        return "training"

    def tags(self) -> list[str]:
        words = "training samples labels dataset machine deep learning split cross-validation chips eurosat bigearthnet"
        return words.split()

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add = self.addParameter
        add(QgsProcessingParameterMultipleLayers("INPUT", "Raster layer, or several", SOURCE_RASTER, optional=True))
        add(QgsProcessingParameterBoolean("APART", "Every raster is an image of its own", defaultValue=False))
        vector = [SOURCE_VECTOR]
        add(QgsProcessingParameterFeatureSource("LABELS", "Labels: polygons or points", vector, optional=True))
        add(QgsProcessingParameterField("FIELD", "Field with the class", None, "LABELS", optional=True))
        add(QgsProcessingParameterRasterLayer("LABEL_RASTER", "Labels: raster of classes", optional=True))
        add(choice("KIND", "Kind of samples", list(KINDS), "pixels"))
        add(count("SIZE", "Side of windows or chips in pixels"))
        add(choice("SPLIT", "Split", list(SPLITS), "blocks"))
        add(number("TEST", "Share of the test part", minValue=0.0, maxValue=0.9))
        add(number("VALIDATION", "Share of the validation part", minValue=0.0, maxValue=0.9))
        # A parameter takes files or folders, not both.
        add(QgsProcessingParameterFile("FOLDER", "Folder of labelled patches", FOLDERS, optional=True))
        add(QgsProcessingParameterFile("ARCHIVE", "… or its zip (EuroSAT)", extension="zip", optional=True))
        add(choice("LAYOUT", "Layout of the folder", list(LAYOUTS), None))
        advanced = self.add_advanced
        advanced(QgsProcessingParameterString("BLOCK", "Side of a block (metres, or 64px)", optional=True))
        advanced(QgsProcessingParameterString("BUFFER", "Buffer between the parts (metres, or 4px)", optional=True))
        advanced(count("SEED", "Seed", minimum=0))
        advanced(count("MOST", "At most so many samples per class"))
        advanced(QgsProcessingParameterString("MERGE", "Merge classes (NAME=NAME, …)", optional=True))
        for name, part in (("VALIDATION_LABELS", "validation"), ("TEST_LABELS", "test")):
            advanced(QgsProcessingParameterFeatureSource(name, f"Labels kept for {part}", vector, optional=True))
        for name, what in (
            ("IMAGE_FIELD", "Field with the image that a label was drawn on"),
            ("FROM_FIELD", "Field with the first day that a label holds for"),
            ("TO_FIELD", "Field with the day after the last"),
        ):
            advanced(QgsProcessingParameterField(name, what, None, "LABELS", optional=True))
        # QGIS's own "*.*" refuses a file without ending.
        dates = "Dates of the bands of time series"
        advanced(QgsProcessingParameterFile("TIMELINE", dates, optional=True, fileFilter="All files (*)"))
        advanced(QgsProcessingParameterString("BANDS", "Bands (B2,B3,B4 or 1-7; empty: all)", optional=True))
        advanced(choice("SENSOR", "Sensor, where the bands carry no names", list(SENSORS), None))
        for name, what in (("SCALE", "Scale"), ("OFFSET", "Offset"), ("NODATA", "Nodata value")):
            advanced(number(name, what))
        advanced(number("GSD", "Pixel size in metres", minValue=0.0))
        resampling = ["nearest", "bilinear", "cubic", "average"]
        advanced(choice("RESAMPLING", "Resampling of rasters on other grids", resampling, None))
        advanced(QgsProcessingParameterCrs("LABELS_CRS", "CRS of the labels, instead of their own", optional=True))
        advanced(choice("NOMENCLATURE", "Classes of BigEarthNet", ["19", "43"], None))
        keep = "Keep classes of BigEarthNet that no patch has"
        advanced(QgsProcessingParameterBoolean("ALL_CLASSES", keep, defaultValue=False))
        add(QgsProcessingParameterFolderDestination("OUTPUT", "Training set"))
        self.addOutput(QgsProcessingOutputFile("DATASET", "Description (JSON)"))
        self.addOutput(QgsProcessingOutputFile("SHEET", "Preview sheet (PNG)"))
        self.addOutput(QgsProcessingOutputNumber("SAMPLES", "Number of samples"))
        self.addOutput(QgsProcessingOutputString("CLASSES", "Samples per class and part (JSON)"))

    # -- before the run -------------------------------------------------------------------------

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        possible, why = super().checkParameterValues(parameters, context)
        if not possible:
            return possible, why
        try:
            self._check(parameters, context)
        except ThematicaError as error:
            return False, self.worded(error.message)
        return True, ""

    def _check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        if _of_patches(parameters):
            if is_given(parameters, "FOLDER") and is_given(parameters, "ARCHIVE"):
                raise InputError("Give either a folder of patches (FOLDER) or its zip (ARCHIVE), not both.")
            if not is_given(parameters, "LAYOUT"):
                raise InputError(f"Say how the folder is laid out (LAYOUT): {', '.join(LAYOUTS)}.")
            if is_given(parameters, "LABELS") or is_given(parameters, "LABEL_RASTER"):
                raise InputError("Give either a folder of patches (FOLDER) or labels, not both.")
            return
        if not is_given(parameters, "INPUT"):
            raise InputError("Give rasters (INPUT) and their labels, or a folder of labelled patches (FOLDER).")
        for layer in self.rasters(parameters, context):
            check_raster(layer)
        vector, raster = (is_given(parameters, name) for name in ("LABELS", "LABEL_RASTER"))
        if vector == raster:
            raise InputError("Give the labels as one: polygons or points (LABELS), or a raster (LABEL_RASTER).")
        if vector and not is_given(parameters, "FIELD"):
            raise InputError("Choose the field of the labels that holds the class (FIELD).")

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        # Layers belong to the thread that runs this: they are read here and never in processAlgorithm.
        options = self._options(parameters, context)
        try:
            if _of_patches(parameters):
                # What has a default in Processing and belongs to labels.
                options = {key: value for key, value in options.items() if key not in ("kind", "split")}
                given = "FOLDER" if is_given(parameters, "FOLDER") else "ARCHIVE"
                folder = self.parameterAsFile(parameters, given, context)
                layout = self.parameterAsEnumString(parameters, "LAYOUT", context)
                self.prepared = folder_job(folder, layout, "", options)
            else:
                sets = {key: self._label_set(parameters, name, context) for name, key in _LABEL_SETS.items()}
                labels = sets["labels"]
                if labels is None:
                    raster = self.parameterAsRasterLayer(parameters, "LABEL_RASTER", context)
                    if raster is None:
                        raise InputError("The raster of classes (LABEL_RASTER) could not be opened: check its path.")
                    labels = LabelSet(raster)
                apart = self.parameterAsBoolean(parameters, "APART", context)
                self.prepared = labels_job(
                    self.rasters(parameters, context),
                    labels,
                    "",
                    apart=apart,
                    validation=sets["validation"],
                    test=sets["test"],
                    options=options,
                )
        except ThematicaError as error:
            raise self.failed(error, feedback) from error
        for warning in self.prepared.warnings:
            feedback.pushWarning(self.worded(warning))
        return True

    def _label_set(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> LabelSet | None:
        if not is_given(parameters, name):
            return None
        source = self.parameterAsSource(parameters, name, context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, name))
        field = self.parameterAsString(parameters, "FIELD", context)
        # A layer knows the names of its classes; a source of Processing is needed where a filter is set on it.
        layer, given = self.parameterAsVectorLayer(parameters, name, context), parameters[name]
        filtered = isinstance(given, QgsProcessingFeatureSourceDefinition) and bool(
            getattr(given, "filterExpression", "")
        )
        if layer is None or filtered:
            return LabelSet(source, field)
        chosen = isinstance(given, QgsProcessingFeatureSourceDefinition) and given.selectedFeaturesOnly
        return LabelSet(layer, field, chosen)

    def _options(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        options: dict[str, Any] = {"timeline": self.parameterAsFile(parameters, "TIMELINE", context)}
        for name in _TEXTS:
            options[name.lower()] = self.parameterAsString(parameters, name, context).strip()
        for name in _CHOICES:
            options[name.lower()] = self.parameterAsEnumString(parameters, name, context)
        for name in _NUMBERS:
            if is_given(parameters, name):
                options[name.lower()] = self.parameterAsDouble(parameters, name, context)
        for name in _COUNTS:
            if is_given(parameters, name):
                options[name.lower()] = self.parameterAsInt(parameters, name, context)
        if is_given(parameters, "NOMENCLATURE"):
            options["nomenclature"] = int(self.parameterAsEnumString(parameters, "NOMENCLATURE", context))
        if self.parameterAsBoolean(parameters, "ALL_CLASSES", context):
            options["all_classes"] = True
        crs = self.parameterAsCrs(parameters, "LABELS_CRS", context)
        if crs.isValid():
            options["labels_crs"] = crs.toWkt(WKT_PREFERRED)
        return options

    # -- the run --------------------------------------------------------------------------------

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        prepared: PreparedJob = self.prepared
        folder = self.parameterAsString(parameters, "OUTPUT", context)
        prepared.job["output"] = folder
        # Processing replaces results without asking; a folder that is no training set is never replaced.
        prepared.job["overwrite"] = (Path(folder) / "dataset.json").is_file()
        try:
            result = run_prepared(prepared, ProgressText(feedback, self.worded), feedback.isCanceled)
        except ThematicaError as error:
            raise self.failed(error, feedback) from error
        finally:
            prepared.discard()
        classes = result.get("report", {}).get("classes", [])
        for entry in classes:
            parts = ", ".join(f"{samples} {part}" for part, samples in entry["samples"].items())
            feedback.pushInfo(f"{entry['name']}: {parts}")
        files = result.get("files", {})
        return {
            "OUTPUT": folder,
            "DATASET": files.get("dataset", ""),
            "SHEET": files.get("sheet", ""),
            "SAMPLES": _number_of_samples(Path(files["dataset"])) if "dataset" in files else 0,
            "CLASSES": json.dumps(classes, ensure_ascii=False),
        }


def _number_of_samples(dataset: Path) -> int:
    """How many there are: the classes count labelled pixels of chips, and a patch once for each of its labels."""
    shards = json.loads(dataset.read_text(encoding="utf-8"))["shards"]
    return sum(shard["samples"] for part in shards.values() for shard in part)
