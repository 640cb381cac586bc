"""What Thematica's Processing algorithms share: the worker does the work, and Processing shows what it tells."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable

from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
    QgsProcessingUtils,
    QgsRasterLayer,
)
from qgis.PyQt.QtGui import QIcon

from ..errors import InputError, ThematicaError
from ..ui.wording import for_processing, progress_label
from .compat import PARAMETER_ADVANCED, RASTER_HINT
from .runtime import find_runtime, runtime_problem

_ICON = str(Path(__file__).resolve().parent / "icons" / "thematica.svg")
_SECONDS_BETWEEN_TEXTS = 2.0


class ThematicaAlgorithm(QgsProcessingAlgorithm):
    """An algorithm whose work is done in the runtime."""

    def createInstance(self) -> ThematicaAlgorithm:
        return type(self)()

    def icon(self) -> QIcon:
        return QIcon(_ICON)

    def svgIconPath(self) -> str:
        return _ICON

    def canExecute(self) -> tuple[bool, str]:
        problem = runtime_problem(find_runtime())
        return not problem, problem

    def add_advanced(self, parameter: QgsProcessingParameterDefinition) -> None:
        """Add a parameter to the advanced ones."""
        parameter.setFlags(parameter.flags() | PARAMETER_ADVANCED)
        self.addParameter(parameter)

    def rasters(
        self, parameters: dict[str, Any], context: QgsProcessingContext, name: str = "INPUT"
    ) -> list[QgsRasterLayer]:
        """The raster layers of a parameter that takes several.

        Raises:
            InputError: one cannot be opened.
        """
        given = parameters.get(name)
        entries = list(given) if isinstance(given, (list, tuple)) else [given]
        found: list[QgsMapLayer | None] = []
        for entry in entries:
            if isinstance(entry, str):
                # Of a GeoPackage that holds both, the raster is meant.
                found.append(QgsProcessingUtils.mapLayerFromString(entry, context, True, RASTER_HINT))
            else:
                found += self.parameterAsLayerList({name: entry}, name, context) or [None]
        layers = [layer for layer in found if isinstance(layer, QgsRasterLayer)]
        if len(layers) < len(found):
            raise InputError("One of the rasters could not be opened: check the paths, and that all are rasters.")
        return layers

    def failed(self, error: ThematicaError, feedback: QgsProcessingFeedback) -> QgsProcessingException:
        """Processing shows the sentence; what helps a developer goes to its log."""
        if error.details:
            feedback.pushDebugInfo(error.details)
        return QgsProcessingException(self.worded(error.message))

    def worded(self, sentence: str) -> str:
        """A sentence of the engine with this algorithm's parameters in place of the shell's options."""
        return for_processing(sentence, {definition.name() for definition in self.parameterDefinitions()})


class ProgressText:
    """Passes the worker's events to Processing: the bar always, words every few seconds.

    Args:
        feedback: Processing's.
        worded: puts what the engine says into Processing's words.
    """

    def __init__(self, feedback: QgsProcessingFeedback, worded: Callable[[str], str]) -> None:
        self.feedback, self.worded = feedback, worded
        self.stage = ""
        self.next_text = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "log":
            message = self.worded(str(event.get("message", "")))
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
