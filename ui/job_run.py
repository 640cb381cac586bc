"""A job in the background: its task, what the analyst hears of it, and its end; closing the dialog does not end it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from qgis.core import QgsApplication, QgsMessageLog
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtWidgets import QPushButton

from ..plugin.classify_task import ClassifyTask
from ..plugin.compat import LEVEL_CRITICAL, LEVEL_INFO, LEVEL_WARNING
from ..plugin.job import PreparedJob
from .tasks import end_task
from .wording import for_dialog

LOG_TAG = "Thematica"


def log(text: str, level: Any = LEVEL_INFO) -> None:
    """Write to QGIS's log, on Thematica's page, without raising a notification."""
    QgsMessageLog.logMessage(text, LOG_TAG, level, False)


class JobRun(QObject):
    """What all runs share.

    Args:
        iface: QGIS's interface.
        prepared: the job.
        subject: what its messages begin with.
        task_title: of the task in QGIS's list.
        parent: the Qt parent; the run must outlive the dialog.
    """

    #: A ``progress`` event.
    progress = pyqtSignal(dict)
    #: A sentence that the worker warns with while it runs.
    warned = pyqtSignal(str)
    #: ``ok``, ``warning`` (done, but not as asked for), ``error`` or ``info``, and a sentence.
    ended = pyqtSignal(str, str)
    #: What is said when it was cancelled.
    cancelled_sentence = "Cancelled; nothing was written."

    def __init__(
        self, iface: Any, prepared: PreparedJob, subject: str, task_title: str, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.iface, self.subject = iface, subject
        self.is_running = True
        #: Sentences for the analyst; complete when the run has ended.
        self.warnings: list[str] = []
        self.task = ClassifyTask(prepared, task_title)
        self.task.worker_event.connect(self._take)
        self.task.succeeded.connect(self.succeeded)
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

    def succeeded(self, result: dict[str, Any]) -> None:
        """Take the worker's ``result`` event, and call :meth:`finish`."""
        raise NotImplementedError

    def finish(self, kind: str, sentence: str) -> None:
        """The run is over."""
        self.is_running = False
        self.ended.emit(kind, sentence)

    def push(self, text: str, level: Any, seconds: int, buttons: Mapping[str, Callable[[], Any]] | None = None) -> None:
        """Show a message in QGIS's bar, with buttons."""
        bar = self.iface.messageBar()
        item = bar.createMessage(self.subject, text)
        for label, action in (buttons or {}).items():
            button = QPushButton(label, item)
            button.clicked.connect(lambda _=False, action=action: action())
            item.layout().addWidget(button)
        bar.pushWidget(item, level, seconds)

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("event") == "progress":
            self.progress.emit(event)
        elif event.get("event") == "log":
            warns, text = event.get("level") == "warning", for_dialog(str(event.get("message", "")))
            log(text, LEVEL_WARNING if warns else LEVEL_INFO)
            if warns:
                self.warned.emit(text)

    def _failed(self, message: str, details: str) -> None:
        message = for_dialog(message)
        log(f"{message}\n{details}".strip(), LEVEL_CRITICAL)
        self.push(message, LEVEL_CRITICAL, 0, {"Open log": self.iface.openMessageLog})
        self.finish("error", message)

    def _cancelled(self) -> None:
        self.push(self.cancelled_sentence, LEVEL_INFO, 8)
        self.finish("info", self.cancelled_sentence)
