"""One run of "Make training set" from its start to the finished folder; it lives on when the dialog is closed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QObject, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import QPushButton

from ..plugin.classify_task import ClassifyTask
from ..plugin.compat import LEVEL_CRITICAL, LEVEL_INFO, LEVEL_SUCCESS, LEVEL_WARNING
from ..plugin.job import PreparedJob
from .classify_run import log
from .tasks import end_task
from .wording import for_dialog

_TITLE = "Training set"


class DatasetRun(QObject):
    """A background task that builds a training set, and what the analyst hears of it.

    Args:
        iface: QGIS's interface.
        prepared: the job.
        parent: the Qt parent; the run must outlive the dialog.
    """

    #: A ``progress`` event.
    progress = pyqtSignal(dict)
    #: A sentence that the builder warns with while it runs.
    warned = pyqtSignal(str)
    #: ``ok``, ``error`` or ``info``, and a sentence.
    ended = pyqtSignal(str, str)

    def __init__(self, iface: Any, prepared: PreparedJob, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.iface = iface
        self.result: dict[str, Any] | None = None
        self.is_running = True
        #: Sentences for the analyst.
        self.warnings: list[str] = list(prepared.warnings)
        self.task = ClassifyTask(prepared, "Build training set")
        self.task.worker_event.connect(self._take)
        self.task.succeeded.connect(self._succeeded)
        self.task.failed.connect(self._failed)
        self.task.cancelled.connect(self._cancelled)

    def start(self) -> None:
        """Hand the task to QGIS's task manager."""
        QgsApplication.taskManager().addTask(self.task)

    def cancel(self) -> None:
        """Ask the worker to stop; ``ended`` follows."""
        if self.is_running:
            self.task.cancel()

    def end(self) -> None:
        """Cancel and wait for the end: the plugin is being switched off."""
        if self.is_running:
            end_task(self.task)

    def folder(self) -> str:
        """The finished training set, or empty."""
        files = self.result.get("files", {}) if self.result else {}
        return str(Path(files["dataset"]).parent) if "dataset" in files else ""

    def sheet(self) -> str:
        """The picture of the finished training set, or empty."""
        return str(self.result.get("files", {}).get("sheet", "")) if self.result else ""

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("event") == "progress":
            self.progress.emit(event)
        elif event.get("event") == "log":
            warns, text = event.get("level") == "warning", for_dialog(str(event.get("message", "")))
            log(text, LEVEL_WARNING if warns else LEVEL_INFO)
            if warns:
                self.warnings.append(text)
                self.warned.emit(text)

    def _succeeded(self, result: dict[str, Any]) -> None:
        self.result = result
        sentence = samples_label(result.get("report", {}))
        self._push(sentence, LEVEL_SUCCESS, 12, {"Open folder": self.open_folder})
        log(f"{_TITLE}: {sentence} {result.get('files', {})}")
        self._end("ok", sentence)

    def open_folder(self) -> None:
        """Show the folder in the desktop's file manager."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(self.folder()))

    def _failed(self, message: str, details: str) -> None:
        message = for_dialog(message)
        log(f"{message}\n{details}".strip(), LEVEL_CRITICAL)
        self._push(message, LEVEL_CRITICAL, 0, {"Open log": self.iface.openMessageLog})
        self._end("error", message)

    def _cancelled(self) -> None:
        sentence = "Cancelled; making it again with the same settings goes on from here."
        self._push(sentence, LEVEL_INFO, 8)
        self._end("info", sentence)

    def _end(self, kind: str, sentence: str) -> None:
        self.is_running = False
        self.ended.emit(kind, sentence)

    def _push(
        self, text: str, level: Any, seconds: int, buttons: Mapping[str, Callable[[], Any]] | None = None
    ) -> None:
        bar = self.iface.messageBar()
        item = bar.createMessage(_TITLE, text)
        for label, action in (buttons or {}).items():
            button = QPushButton(label, item)
            button.clicked.connect(lambda _=False, action=action: action())
            item.layout().addWidget(button)
        bar.pushWidget(item, level, seconds)


def samples_label(report: Mapping[str, Any]) -> str:
    """One line for a finished set: how many samples of how many classes, and how they are split."""
    classes = report.get("classes", [])
    parts = ("train", "validation", "test")
    counts = {part: sum(int(entry["samples"].get(part, 0)) for entry in classes) for part in parts}
    split = ", ".join(f"{counts[part]:,} {part}" for part in parts if counts[part])
    return f"{sum(counts.values()):,} samples of {len(classes)} classes: {split}."
