"""The Processing algorithm ``thematica:classifypixels``."""

from __future__ import annotations

from typing import Any, ClassVar

from qgis.core import QgsProcessingOutputNumber, QgsProcessingParameterRasterDestination

from .classify_algorithm import ClassifyAlgorithm
from .parameters import choice, count

# Optional rasters: parameter → (label, key in the job).
_EXTRAS = {
    "CONFIDENCE": ("Confidence: score of the best class", "confidence"),
    "ENTROPY": ("Entropy of the scores", "entropy"),
    "MARGIN": ("Margin between the two best scores", "margin"),
    "PROBABILITIES": ("Probabilities, one band per class", "probabilities"),
}


class ClassifyPixels(ClassifyAlgorithm):
    """Every pixel gets a class: a thematic map."""

    command = "classify-pixels"
    about = (
        "<p>Makes a <b>thematic map</b> from a raster with a neural network (ONNX): every pixel gets the class that "
        "the network finds most likely. The map is a tiled GeoTIFF with overviews, colour table, class names and a "
        "style; a small JSON report beside it says how it was made and how large each class is.</p>"
    )
    own_help = (
        "<p><b>Stitching</b>: <i>exact</i> gives the same map for every tile size; <i>smooth</i> blends overlapping "
        "tiles, for networks that see more of the image than a tile can hold.</p>"
        "<p><b>Several outputs</b>: a network that has them makes a map of each, beside the first and with the "
        "output's name; they are loaded with it.</p>"
    )
    choices = (*ClassifyAlgorithm.choices, "MODE")
    counts = ("TILE", "OVERLAP", "BATCH", "THREADS")
    layers: ClassVar[dict[str, str]] = {"OUTPUT": "output", **{name: key for name, (_, key) in _EXTRAS.items()}}

    def name(self) -> str:
        return "classifypixels"

    def displayName(self) -> str:
        return "Classify pixels"

    def shortDescription(self) -> str:
        return "Makes a thematic map from a raster layer with a neural network (ONNX)."

    def add_own_parameters(self) -> None:
        self.add_advanced(choice("MODE", "Stitching", ["exact", "smooth"], "exact"))
        self.add_advanced(count("TILE", "Tile size in pixels"))
        self.add_advanced(count("OVERLAP", "Overlap of tiles in pixels", minimum=0))

    def add_results(self) -> None:
        self.addParameter(QgsProcessingParameterRasterDestination("OUTPUT", "Thematic map"))
        for name, (label, _) in _EXTRAS.items():
            self.addParameter(
                QgsProcessingParameterRasterDestination(name, label, optional=True, createByDefault=False)
            )
        self.addOutput(QgsProcessingOutputNumber("NODATA_PIXELS", "Pixels without data"))

    def figures(self, report: dict[str, Any]) -> dict[str, Any]:
        return {"NODATA_PIXELS": report.get("nodata", {}).get("pixels", 0)}
