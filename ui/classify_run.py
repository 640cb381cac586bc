"""One run of "Classify layer" from its start to the styled layers; it lives on when the dialog is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Callable

from qgis.core import QgsMapLayer, QgsProject
from qgis.PyQt.QtCore import QObject

from ..plugin.compat import LEVEL_SUCCESS, LEVEL_WARNING
from ..plugin.job import PreparedJob
from ..plugin.labels import labels_of_layer
from ..plugin.replacing import layers_showing, release_layers
from ..plugin.results import REPORT_PROPERTY, load_result
from .job_run import JobRun, log
from .wording import done_label, for_dialog, lacking_backend


class ClassifyRun(JobRun):
    """A background task, and what becomes of its outcome: layers, message bar, log.

    Args:
        iface: QGIS's interface.
        prepared: the job.
        scene: name of the raster layer, for messages.
        title: of the result's layer.
        replaced: files that exist and will be replaced; the project may show them.
        show_areas: called with a report when the analyst asks for the area table.
        show_threshold: called with a layer of labelled patches when the analyst wants to move its threshold.
        parent: the Qt parent; the run must outlive the dialog.
    """

    def __init__(
        self,
        iface: Any,
        prepared: PreparedJob,
        scene: str,
        title: str,
        replaced: Sequence[str],
        show_areas: Callable[[Mapping[str, Any]], None],
        show_threshold: Callable[[QgsMapLayer], None] | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(iface, prepared, scene, f"Classify {scene}", parent)
        self.title = title
        self.replaced, self.show_areas, self.show_threshold = list(replaced), show_areas, show_threshold
        self._restore: list[Callable[[], None]] = []
        self.report: dict[str, Any] | None = None
        for warning in prepared.warnings:
            log(warning, LEVEL_WARNING)

    def start(self) -> None:
        """Hand the task to QGIS's task manager."""
        self._restore = [release_layers(path) for path in self.replaced]
        super().start()

    def succeeded(self, result: dict[str, Any]) -> None:
        """Show the maps that were made."""
        self.report = result["report"]
        self.warnings += self.task.prepared.warnings
        self.warnings += [for_dialog(str(warning)) for warning in self.report.get("warnings", ())]
        self._let_go_of_old_maps()
        made = load_result(result, self.title)
        sentence = done_label(self.report)
        buttons: dict[str, Callable[[], Any]] = {"Area table…": lambda: self.show_areas(self.report)}
        if made and self.show_threshold is not None and labels_of_layer(made[0]):
            buttons["Threshold…"] = partial(self._show_threshold, made[0].id())
        lacking = lacking_backend(self.report)
        if lacking:
            # What was asked for and was not there is never passed over in silence: the message stays.
            self.push(f"{sentence} But {lacking}.", LEVEL_WARNING, 0, buttons)
        else:
            self.push(sentence, LEVEL_SUCCESS, 12, buttons)
        log(f"{self.title}: {sentence} {result.get('files', {})}")
        self.finish("warning" if lacking else "ok", sentence)

    def _show_threshold(self, layer_id: str) -> None:
        layer = QgsProject.instance().mapLayer(layer_id)
        if layer is not None and self.show_threshold is not None:  # it may have been removed meanwhile
            self.show_threshold(layer)

    def _let_go_of_old_maps(self) -> None:
        """Maps of ours that were replaced give way to the new ones; layers made by others stay."""
        self._put_back()
        old = [
            layer.id()
            for path in self.replaced
            for layer in layers_showing(path)
            if layer.customProperty(REPORT_PROPERTY)
        ]
        QgsProject.instance().removeMapLayers(old)

    def _put_back(self) -> None:
        for restore in self._restore:
            restore()
        self._restore.clear()

    def finish(self, kind: str, sentence: str) -> None:
        """The run is over."""
        self._put_back()
        super().finish(kind, sentence)
