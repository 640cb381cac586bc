"""The background task behind the dialog: one job in the worker, seen from QGIS's task manager."""

from __future__ import annotations

import traceback
from typing import Any

from qgis.core import QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from ..errors import Cancelled, ThematicaError
from .compat import TASK_CAN_CANCEL
from .job import PreparedJob
from .running import run_prepared


class ClassifyTask(QgsTask):
    """Runs a prepared job; exactly one of ``succeeded``, ``failed`` and ``cancelled`` follows.

    Those three are emitted in the main thread; ``worker_event`` comes from the task's thread, which
    Qt delivers to the receiver's own.

    Args:
        prepared: the job; its temporary files are deleted at the end.
        title: what the analyst reads in the task list.
    """

    #: Each ``progress`` and ``log`` event.  (A signal called ``event`` would override ``QObject.event``.)
    worker_event = pyqtSignal(dict)
    #: The ``result`` event: ``files`` and ``report``.
    succeeded = pyqtSignal(dict)
    #: A sentence for the analyst, and details for the log.
    failed = pyqtSignal(str, str)
    cancelled = pyqtSignal()

    def __init__(self, prepared: PreparedJob, title: str) -> None:
        super().__init__(title, TASK_CAN_CANCEL)
        self.prepared = prepared
        self.result: dict[str, Any] | None = None
        self.error: ThematicaError | None = None

    def run(self) -> bool:
        """Called by QGIS in a thread of its own."""
        try:
            self.result = run_prepared(self.prepared, self._take, self.isCanceled)
        except ThematicaError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - an exception that leaves run() can end QGIS
            self.error = ThematicaError(
                f"Thematica failed ({type(error).__name__}): please report it with the task's log.",
                traceback.format_exc(),
            )
        return self.result is not None

    def finished(self, ok: bool) -> None:
        """Called by QGIS in the main thread, also for a task that was cancelled before it began."""
        self.prepared.discard()
        if self.result is not None:
            self.succeeded.emit(self.result)
        elif self.error is None or isinstance(self.error, Cancelled):
            self.cancelled.emit()
        else:
            self.failed.emit(self.error.message, self.error.details)

    def _take(self, event: dict[str, Any]) -> None:
        fraction = event.get("fraction")
        if event.get("event") == "progress" and isinstance(fraction, (int, float)):
            self.setProgress(100.0 * min(max(fraction, 0.0), 1.0))
        self.worker_event.emit(event)
