"""One run of "Classify layer" from its start to the styled layers; it lives on when the dialog is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Callable

from qgis.core import QgsApplication, QgsMapLayer, QgsMessageLog, QgsProject
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtWidgets import QPushButton

from ..plugin.classify_task import ClassifyTask
from ..plugin.compat import LEVEL_CRITICAL, LEVEL_INFO, LEVEL_SUCCESS, LEVEL_WARNING
from ..plugin.job import PreparedJob
from ..plugin.labels import labels_of_layer
from ..plugin.replacing import layers_showing, release_layers
from ..plugin.results import REPORT_PROPERTY, load_result
from .tasks import end_task
from .wording import done_label, for_dialog, lacking_backend

LOG_TAG = "Thematica"


def log(text: str, level: Any = LEVEL_INFO) -> None:
    """Write to QGIS's log, on Thematica's page, without raising a notification."""
    QgsMessageLog.logMessage(text, LOG_TAG, level, False)


class ClassifyRun(QObject):
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

    #: A ``progress`` event.
    progress = pyqtSignal(dict)
    #: A sentence that the engine warns with while it runs.
    warned = pyqtSignal(str)
    #: ``ok``, ``warning`` (done, but not as asked for), ``error`` or ``info``, and a sentence.
    ended = pyqtSignal(str, str)

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
        super().__init__(parent)
        self.iface, self.scene, self.title = iface, scene, title
        self.replaced, self.show_areas, self.show_threshold = list(replaced), show_areas, show_threshold
        self._restore: list[Callable[[], None]] = []
        self.report: dict[str, Any] | None = None
        self.is_running = True
        #: Sentences for the analyst; complete when the run has ended.
        self.warnings: list[str] = []
        for warning in prepared.warnings:
            log(warning, LEVEL_WARNING)
        self.task = ClassifyTask(prepared, f"Classify {scene}")
        self.task.worker_event.connect(self._take)
        self.task.succeeded.connect(self._succeeded)
        self.task.failed.connect(self._failed)
        self.task.cancelled.connect(self._cancelled)

    def start(self) -> None:
        """Hand the task to QGIS's task manager."""
        self._restore = [release_layers(path) for path in self.replaced]
        QgsApplication.taskManager().addTask(self.task)

    def cancel(self) -> None:
        """Ask the worker to stop; ``ended`` follows."""
        if self.is_running:
            self.task.cancel()

    def end(self) -> None:
        """Cancel and wait for the end: the plugin is being switched off."""
        if self.is_running:
            end_task(self.task)

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("event") == "progress":
            self.progress.emit(event)
        elif event.get("event") == "log":
            warns, text = event.get("level") == "warning", for_dialog(str(event.get("message", "")))
            log(text, LEVEL_WARNING if warns else LEVEL_INFO)
            if warns:
                self.warned.emit(text)

    def _succeeded(self, result: dict[str, Any]) -> None:
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
            self._push(f"{sentence} But {lacking}.", LEVEL_WARNING, 0, buttons)
        else:
            self._push(sentence, LEVEL_SUCCESS, 12, buttons)
        log(f"{self.title}: {sentence} {result.get('files', {})}")
        self._end("warning" if lacking else "ok", sentence)

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

    def _failed(self, message: str, details: str) -> None:
        message = for_dialog(message)
        log(f"{message}\n{details}".strip(), LEVEL_CRITICAL)
        self._push(message, LEVEL_CRITICAL, 0, {"Open log": self.iface.openMessageLog})
        self._end("error", message)

    def _cancelled(self) -> None:
        self._push("Cancelled; nothing was written.", LEVEL_INFO, 6)
        self._end("info", "Cancelled; nothing was written.")

    def _end(self, kind: str, sentence: str) -> None:
        self._put_back()
        self.is_running = False
        self.ended.emit(kind, sentence)

    def _push(
        self, text: str, level: Any, seconds: int, buttons: Mapping[str, Callable[[], Any]] | None = None
    ) -> None:
        bar = self.iface.messageBar()
        item = bar.createMessage(self.scene, text)
        for label, action in (buttons or {}).items():
            button = QPushButton(label, item)
            button.clicked.connect(lambda _=False, action=action: action())
            item.layout().addWidget(button)
        bar.pushWidget(item, level, seconds)
