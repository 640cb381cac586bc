"""Thematica in Processing: toolbox, model designer, batch, ``qgis_process``."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .. import __version__
from .build_dataset import BuildDataset
from .classify_patches import ClassifyPatches
from .classify_pixels import ClassifyPixels
from .evaluate import Evaluate
from .train import Train

ICON = str(Path(__file__).resolve().parent / "icons" / "thematica.svg")


class ThematicaProvider(QgsProcessingProvider):
    """Lists the algorithms, also where there is no runtime: ``canExecute`` explains that."""

    def loadAlgorithms(self) -> None:
        self.addAlgorithm(ClassifyPixels())
        self.addAlgorithm(ClassifyPatches())
        self.addAlgorithm(BuildDataset())
        self.addAlgorithm(Train())
        self.addAlgorithm(Evaluate())

    def id(self) -> str:
        return "thematica"

    def name(self) -> str:
        return "Thematica"

    def longName(self) -> str:
        return f"Thematica {__version__}"

    def versionInfo(self) -> str:
        return __version__

    def icon(self) -> QIcon:
        return QIcon(ICON)

    def svgIconPath(self) -> str:
        return ICON

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        # Results are Cloud Optimized GeoTIFFs, whatever the name says.
        return ["tif"]

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        # Labelled patches are written by the engine, as GeoPackages only.
        return ["gpkg"]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        return "gpkg"

    def supportsNonFileBasedOutput(self) -> bool:
        return False
