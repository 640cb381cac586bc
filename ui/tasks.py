"""Ending background tasks when the plugin is switched off."""

from __future__ import annotations

import time

from qgis.core import QgsTask
from qgis.PyQt.QtCore import QCoreApplication, QThread

#: A worker that does not end by itself is killed after 10 s.
_SECONDS = 15


def end_task(task: QgsTask) -> None:
    """Cancel a task and wait for its end.

    The Python side of a task must outlive the task: QGIS crashes where it calls a task whose class was
    unloaded with the plugin.
    """
    task.cancel()
    limit = time.monotonic() + _SECONDS
    while task.isActive() and time.monotonic() < limit:
        QCoreApplication.processEvents()
        QThread.msleep(20)
    QCoreApplication.processEvents()
