"""The dialog "Thematica Runtime": create the Python environment that does the work, and check it."""

from __future__ import annotations

import html
import traceback
from collections.abc import Mapping
from typing import Any

from qgis.core import QgsApplication, QgsSettings, QgsTask
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import QDialog, QWidget

from ..errors import Cancelled, ThematicaError
from ..plugin.compat import LEVEL_CRITICAL, TASK_CAN_CANCEL
from ..plugin.runtime import (
    SETTING,
    check_runtime,
    create_runtime,
    default_runtime_folder,
    find_runtime,
    runtime_problem,
)
from .classify_run import log
from .forms import load_form
from .tasks import end_task


class RuntimeTask(QgsTask):
    """Creates the runtime (or only looks at the one that is there) and asks it what it finds.

    Args:
        create: True to create it first.
    """

    line = pyqtSignal(str)
    #: The doctor's answer.
    checked = pyqtSignal(dict)
    #: A sentence for the analyst, and details; the sentence is empty after a cancel.
    failed = pyqtSignal(str, str)

    def __init__(self, create: bool) -> None:
        title = "Create Thematica's runtime" if create else "Check Thematica's runtime"
        super().__init__(title, TASK_CAN_CANCEL)
        self.create = create
        self.answer: dict[str, Any] | None = None
        self.error: ThematicaError | None = None

    def run(self) -> bool:
        """Called by QGIS in a thread of its own."""
        try:
            runtime = create_runtime(self.line.emit, self.isCanceled) if self.create else find_runtime()
            problem = runtime_problem(runtime)
            if problem or runtime is None:
                raise ThematicaError(problem)
            self.line.emit(f"Checking {runtime.python}")
            self.answer = check_runtime(runtime)
        except ThematicaError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - an exception that leaves run() can end QGIS
            self.error = ThematicaError(
                f"Thematica failed ({type(error).__name__}): please report it with the log.", traceback.format_exc()
            )
        return self.answer is not None

    def finished(self, ok: bool) -> None:
        """Called by QGIS in the main thread."""
        if self.answer is not None:
            self.checked.emit(self.answer)
        elif self.error is None or isinstance(self.error, Cancelled):
            self.failed.emit("", "")
        else:
            self.failed.emit(self.error.message, self.error.details)


class RuntimeDialog(QDialog):
    """Where the runtime is, what it holds, and buttons to create and check it.

    Closing it leaves an installation going on; it is shown again when the dialog is opened.
    """

    #: The runtime was created, or found to be something else than before.
    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "runtime_dialog")
        self.task: RuntimeTask | None = None
        self.create_button.clicked.connect(lambda: self._start(create=True))
        self.check_button.clicked.connect(lambda: self._start(create=False))
        self.cancel_button.clicked.connect(self._cancel)
        self.close_button.clicked.connect(self.close)
        self._show_busy(False)
        self._show_state()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self.task is None:
            self._show_state()

    def end(self) -> None:
        """Cancel what is going on and wait for its end: the plugin is being switched off."""
        if self.task is not None:
            end_task(self.task)

    def _show_state(self) -> None:
        runtime = find_runtime()
        problem = runtime_problem(runtime)
        self.folder.setText(str(runtime.folder if runtime else default_runtime_folder()))
        if runtime is None:
            self.state.tell("warning", "There is no runtime yet. Press “Create runtime”.")
        elif problem:
            self.state.tell("warning", problem)
        else:
            self.state.tell("info", f"A runtime is in place ({_ORIGIN[runtime.origin]}). Press “Check” to test it.")
        self.create_button.setText("C&reate runtime" if runtime is None else "C&reate anew")
        self.check_button.setEnabled(runtime is not None)
        # The default is what the analyst needs next.
        (self.check_button if runtime and not problem else self.create_button).setDefault(True)

    def _start(self, create: bool) -> None:
        self.log.clear()
        self.check_text.clear()
        self.tabs.setCurrentWidget(self.log_tab if create else self.check_tab)
        self.state.tell("info", "Creating the runtime; this takes a few minutes…" if create else "Checking…")
        self.task = RuntimeTask(create)
        self.task.line.connect(self.log.appendPlainText)
        self.task.checked.connect(self._checked)
        self.task.failed.connect(self._failed)
        self._show_busy(True)
        QgsApplication.taskManager().addTask(self.task)

    def _cancel(self) -> None:
        if self.task is not None:
            self.cancel_button.setEnabled(False)
            self.task.cancel()

    def _checked(self, answer: dict[str, Any]) -> None:
        if self.task is not None and self.task.create:
            # What the analyst has just made is what is meant from now on.
            QgsSettings().remove(SETTING)
        self._finish()
        problems = [str(problem) for problem in answer.get("problems", ())]
        still = runtime_problem(find_runtime())
        if still:
            # A variable of the environment names another one; only its owner can change that.
            self.state.tell("warning", still, problems)
        elif answer.get("ok"):
            self.state.tell("ok", "The runtime works.", problems)
        else:
            self.state.tell("error", "The runtime answers, but something is wrong.", problems)
        self.check_text.setHtml(doctor_html(answer))
        self.tabs.setCurrentWidget(self.check_tab)

    def _failed(self, sentence: str, details: str) -> None:
        self._finish()
        if not sentence:
            self.state.tell("info", "Cancelled; the runtime was left as it was.")
            return
        self.state.tell("error", sentence)
        self.log.appendPlainText(f"{sentence}\n{details}".strip())
        self.tabs.setCurrentWidget(self.log_tab)
        log(f"{sentence}\n{details}".strip(), LEVEL_CRITICAL)

    def _finish(self) -> None:
        self.task = None
        self._show_busy(False)
        self._show_state()
        self.changed.emit()

    def _show_busy(self, busy: bool) -> None:
        self.busy.setVisible(busy)
        self.cancel_button.setEnabled(busy)
        self.create_button.setEnabled(not busy)
        self.check_button.setEnabled(not busy)


_ORIGIN = {
    "environment": "named by the variable THEMATICA_RUNTIME",
    "setting": "named in QGIS's settings",
    "user": "made by Thematica",
    "checkout": "that of the source checkout",
}


def doctor_html(answer: Mapping[str, Any]) -> str:
    """The doctor's answer as rich text."""
    rows = [("Thematica", str(answer.get("version", "?"))), ("Python", str(answer.get("python", "?")))]
    rows += [(name, str(version)) for name, version in dict(answer.get("packages", {})).items()]
    providers = [str(provider).replace("ExecutionProvider", "") for provider in answer.get("providers", ())]
    # Every wheel lists Azure, which is a service far away and computes nothing here.
    providers = [provider for provider in providers if provider != "Azure"]
    rows.append(("Computes on", ", ".join(providers) or "nothing"))
    table = "".join(
        f'<tr><td style="padding-right:24px;"><b>{html.escape(name)}</b></td><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    problems = "".join(f"<p>⚠ {html.escape(str(problem))}</p>" for problem in answer.get("problems", ()))
    return f"{problems}<table cellspacing='0' cellpadding='2'>{table}</table>"
