"""The Processing algorithm ``thematica:classifypatches``."""

from __future__ import annotations

from typing import Any, ClassVar

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingOutputNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterVectorDestination,
)

from ..errors import InputError
from ..models.store import list_models
from .classify_algorithm import ClassifyAlgorithm
from .compat import SOURCE_POLYGON
from .parameters import count, is_given, number


class ClassifyPatches(ClassifyAlgorithm):
    """Every patch (a square of pixels) gets a label, or several."""

    command = "classify-patches"
    about = (
        "<p>Labels the <b>patches</b> (squares of pixels) of a raster with a neural network (ONNX) that was trained on "
        "whole patches. The result is polygons in a GeoPackage, with label, score and the probability of every class, "
        "or a raster with one pixel per patch. A style and a small JSON report lie beside it.</p>"
    )
    own_help = (
        "<p><b>Stride</b>: distance from patch to patch in pixels; empty: the side of a patch, so that they lie side "
        "by side. A smaller one lets patches overlap and gives a finer result.</p>"
        "<p><b>Threshold</b>: the probability (0 to 1) from which a label counts. Networks that give several labels "
        "use 0.5 where nothing else is known; in the polygons every threshold can be seen afterwards.</p>"
        "<p><b>Result</b>: either polygons or a raster; leave the other one out.</p>"
    )
    numbers = ("SCALE", "OFFSET", "NODATA", "THRESHOLD")
    counts = ("STRIDE", "PATCH", "BATCH", "THREADS")
    # One of the two.
    layers: ClassVar[dict[str, str]] = {"OUTPUT": "output", "RASTER": "output"}

    def name(self) -> str:
        return "classifypatches"

    def displayName(self) -> str:
        return "Classify patches"

    def shortDescription(self) -> str:
        return "Labels the patches of a raster layer with a neural network (ONNX)."

    def tags(self) -> list[str]:
        return [*super().tags(), "patch", "scene", "multi-label", "eurosat", "bigearthnet"]

    def default_model(self) -> str | None:
        fitting = [
            entry.name for entry in list_models() if entry.card is not None and entry.card.task.startswith("patch")
        ]
        return fitting[0] if fitting else None

    def add_own_parameters(self) -> None:
        self.addParameter(count("STRIDE", "Stride: distance of patches in pixels"))
        self.add_advanced(count("PATCH", "Side of a patch, for networks that leave it open"))
        self.addParameter(number("THRESHOLD", "Threshold of a label", minValue=0.0, maxValue=1.0))

    def add_results(self) -> None:
        self.addParameter(
            QgsProcessingParameterVectorDestination(
                "OUTPUT", "Labelled patches: polygons", SOURCE_POLYGON, optional=True, createByDefault=True
            )
        )
        self.addParameter(
            QgsProcessingParameterRasterDestination(
                "RASTER", "Labelled patches: raster", optional=True, createByDefault=False
            )
        )
        self.addOutput(QgsProcessingOutputNumber("PATCHES", "Number of patches"))

    def check_own(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        given = [name for name in self.layers if is_given(parameters, name)]
        if len(given) != 1:
            raise InputError("Choose one result, polygons (OUTPUT) or a raster (RASTER), and leave the other one out.")

    def figures(self, report: dict[str, Any]) -> dict[str, Any]:
        return {"PATCHES": report.get("patches", {}).get("count", 0)}
