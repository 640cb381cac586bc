"""The dialog "Thematica Runtime": install the Python environment that does the work, check it, repair it."""

from __future__ import annotations

import html
import traceback
from collections.abc import Mapping
from typing import Any

from qgis.core import QgsApplication, QgsSettings, QgsTask
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import QDialog, QWidget

from ..errors import Cancelled, RuntimeMissingError, ThematicaError
from ..plugin.compat import LEVEL_CRITICAL, TASK_CAN_CANCEL
from ..plugin.runtime.build import package_name, propose_build
from ..plugin.runtime.find import (
    SETTING,
    Runtime,
    check_runtime,
    default_runtime_folder,
    find_runtime,
    interpreter_of,
    judge,
    read_stamp,
    runtime_problem,
)
from ..plugin.runtime.install import Choice, create_runtime, python_here, repair_runtime
from ..plugin.runtime.process import Listener, masked
from ..plugin.runtime.training import lacking_for_training
from .forms import load_form
from .job_run import log
from .tasks import end_task


class _TaskListener(Listener):
    """Carries log and progress from the task's thread to the dialog."""

    def __init__(self, task: RuntimeTask) -> None:
        self.task = task

    def line(self, text: str) -> None:
        self.task.line.emit(text)

    def step(self, text: str, fraction: float | None = None) -> None:
        self.task.step.emit(text, -1.0 if fraction is None else fraction)
        if fraction is not None:
            self.task.setProgress(100 * fraction)

    def is_cancelled(self) -> bool:
        return self.task.isCanceled()


_TITLES = {
    "create": "Install Thematica's runtime",
    "repair": "Repair Thematica's runtime",
    "use": "Check a Python for Thematica",
    "check": "Check Thematica's runtime",
}


class RuntimeTask(QgsTask):
    """Installs or repairs the runtime (or only looks at the one that is there) and asks it what it finds.

    Args:
        action: ``create``, ``repair``, ``use`` (an existing Python) or ``check``.
        choice: what to install, for the first two.
        python: what the analyst named, for ``use``.
    """

    line = pyqtSignal(str)
    #: What is done now, and how much of the whole is done (0 to 1; -1: as before).
    step = pyqtSignal(str, float)
    #: The doctor's answer.
    checked = pyqtSignal(dict)
    #: A sentence for the analyst, and details; the sentence is empty after a cancel.
    failed = pyqtSignal(str, str)

    def __init__(self, action: str, choice: Choice | None = None, python: str = "") -> None:
        super().__init__(_TITLES[action], TASK_CAN_CANCEL)
        self.action = action
        self.choice = choice or Choice()
        self.python = python
        self.runtime: Runtime | None = None
        self.answer: dict[str, Any] | None = None
        self.error: ThematicaError | None = None

    def run(self) -> bool:
        """Called by QGIS in a thread of its own."""
        try:
            runtime = self.runtime = self._runtime()
            problem = runtime_problem(runtime)
            if problem or runtime is None:
                raise ThematicaError(problem)
            self.line.emit(f"Checking {runtime.python}")
            self.step.emit("Checking", -1.0)
            self.answer = check_runtime(runtime)
            if self.action == "use" and not self.answer.get("ok"):
                problems = " ".join(str(problem) for problem in self.answer.get("problems", ()))
                self.answer = None
                raise RuntimeMissingError(f"This Python lacks something and is not used: {problems}")
        except ThematicaError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - an exception that leaves run() can end QGIS
            self.error = ThematicaError(
                f"Thematica failed ({type(error).__name__}): please report it with the log.", traceback.format_exc()
            )
        return self.answer is not None

    def _runtime(self) -> Runtime | None:
        listener = _TaskListener(self)
        if self.action == "create":
            return create_runtime(self.choice, listener)
        if self.action == "repair":
            return repair_runtime(self.choice, listener)
        if self.action == "use":
            python = interpreter_of(self.python)
            if not python.is_file():
                raise RuntimeMissingError(
                    f"“{self.python}” is neither a Python interpreter nor the folder of a virtual environment."
                )
            return Runtime(python, "setting")
        return find_runtime()

    def finished(self, ok: bool) -> None:
        """Called by QGIS in the main thread."""
        if self.answer is not None:
            self.checked.emit(self.answer)
        elif self.error is None or isinstance(self.error, Cancelled):
            self.failed.emit("", "")
        else:
            self.failed.emit(self.error.message, self.error.details)


class MachineTask(QgsTask):
    """Finds out which build fits this machine, and whether it has a Python for it; that takes a second or two."""

    found = pyqtSignal(str, str, object)

    def __init__(self) -> None:
        super().__init__("Look at this machine for Thematica's runtime")
        self.facts: tuple[str, str, tuple[int, int] | None] = ("cpu", "", (3, 12))

    def run(self) -> bool:
        """Called by QGIS in a thread of its own."""
        try:
            build, why = propose_build()
            self.facts = (build, why, python_here(build))
        except Exception as error:  # noqa: BLE001 - an exception that leaves run() can end QGIS
            self.facts = ("cpu", f"This machine could not be examined ({error}).", (3, 12))
        return True

    def finished(self, ok: bool) -> None:
        """Called by QGIS in the main thread."""
        self.found.emit(*self.facts)


class RuntimeDialog(QDialog):
    """Where the runtime is, what it holds, what can be installed, and buttons to install, repair and check it.

    Closing it leaves an installation going on; it is shown again when the dialog is opened.
    """

    #: The runtime was installed, or found to be something else than before.
    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "runtime_dialog")
        self.task: RuntimeTask | None = None
        self.machine_task: MachineTask | None = None
        self._looked = False
        self.create_button.clicked.connect(self._install)
        self.repair_button.clicked.connect(lambda: self._start("repair"))
        self.check_button.clicked.connect(lambda: self._start("check"))
        self.cancel_button.clicked.connect(self._cancel)
        self.close_button.clicked.connect(self.close)
        self.choices.changed.connect(self._choice_changed)
        self._show_installed()
        self._show_state()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self.task is None:
            self._show_state()
        if not self._looked:
            self._looked = True
            self.machine_task = MachineTask()
            self.machine_task.found.connect(self._machine_found)
            QgsApplication.taskManager().addTask(self.machine_task)

    def end(self) -> None:
        """Cancel what is going on and wait for its end: the plugin is being switched off."""
        for task in (self.task, self.machine_task):
            if task is not None:
                end_task(task)

    def _machine_found(self, build: str, why: str, python: tuple[int, int] | None) -> None:
        self.machine_task = None
        self.choices.show_machine(build, why, python)

    # -- what is there ---------------------------------------------------------------------------

    def _show_installed(self) -> None:
        """An update or a repair makes what was made before, unless the analyst chooses otherwise."""
        stamp = read_stamp(default_runtime_folder())
        if stamp is not None and stamp.get("build"):
            self.choices.show_installed(str(stamp["build"]), bool(stamp.get("torch")), str(stamp.get("wheels", "")))

    def _show_state(self) -> None:
        runtime = find_runtime()
        verdict = judge(runtime)
        self.folder.setText(str(runtime.folder if runtime else default_runtime_folder()))
        if runtime is None:
            self.state.tell("warning", "There is no runtime yet. Press “Create runtime”.")
        elif verdict.sentence:
            self.state.tell("warning", _for_this_dialog(verdict.sentence))
        elif lacking := lacking_for_training(runtime):
            self.state.tell(
                "warning",
                f"The runtime lacks {_enumerated(lacking)}, which training needs. Press “Repair”: that is installed "
                "beside what there is.",
            )
        else:
            self.state.tell("info", f"A runtime is in place ({_ORIGIN[runtime.origin]}). Press “Check” to test it.")
        self._show_buttons()

    def _choice_changed(self) -> None:
        self._show_buttons()
        # What unfolds takes its room from the screen, not from the fields above.
        self.layout().activate()
        self.resize(self.width(), max(self.height(), self.sizeHint().height()))

    def _show_buttons(self) -> None:
        runtime = find_runtime()
        kind = judge(runtime).kind
        own = runtime is not None and runtime.origin == "user"
        busy = self.task is not None
        if self.choices.source == "python":
            create = "&Use this Python"
        else:
            create = {"none": "C&reate runtime", "outdated": "&Update", "newer": "&Update"}.get(kind, "C&reate anew")
        self.create_button.setText(create)
        self.create_button.setEnabled(not busy)
        self.repair_button.setEnabled(not busy and own)
        self.check_button.setEnabled(not busy and runtime is not None and kind in ("", "outdated", "newer"))
        self.cancel_button.setEnabled(busy)
        self.choices.setEnabled(not busy)
        for widget in (self.busy, self.step_text):
            widget.setVisible(busy)
        # The default is what the analyst needs next.
        needed = self.check_button if not kind else self.create_button
        if own and (kind in ("incomplete", "lost") or (not kind and lacking_for_training(runtime))):
            needed = self.repair_button
        if self.choices.source == "python":
            needed = self.create_button
        for button in (self.create_button, self.repair_button, self.check_button):
            button.setDefault(button is needed)

    # -- doing ------------------------------------------------------------------------------------

    def _install(self) -> None:
        missing = self.choices.missing()
        if missing:
            self.state.tell("error", missing)
            return
        self._start("use" if self.choices.source == "python" else "create")

    def _start(self, action: str) -> None:
        doing = {
            "create": "Installing the runtime; this takes a few minutes…",
            "repair": "Repairing the runtime…",
            "use": "Checking that Python…",
            "check": "Checking…",
        }
        self.log.clear()
        self.check_text.clear()
        self.tabs.setCurrentWidget(self.check_tab if action == "check" else self.log_tab)
        self.state.tell("info", doing[action])
        # QGIS's settings are read here, in the main thread.
        self.task = RuntimeTask(action, self.choices.choice(), self.choices.python_path)
        self.task.line.connect(self.log.appendPlainText)
        self.task.step.connect(self._show_step)
        self.task.checked.connect(self._checked)
        self.task.failed.connect(self._failed)
        self.busy.setMaximum(0)
        self.step_text.setText("")
        self._show_buttons()
        QgsApplication.taskManager().addTask(self.task)

    def _show_step(self, text: str, fraction: float) -> None:
        self.step_text.setText(text)
        if fraction >= 0:
            self.busy.setMaximum(1000)
            self.busy.setValue(round(1000 * fraction))

    def _cancel(self) -> None:
        if self.task is not None:
            self.cancel_button.setEnabled(False)
            self.task.cancel()

    def _checked(self, answer: dict[str, Any]) -> None:
        task = self.task
        if task is not None and task.action in ("create", "repair"):
            # What the analyst has just made is what is meant from now on.
            QgsSettings().remove(SETTING)
        elif task is not None and task.action == "use":
            QgsSettings().setValue(SETTING, task.python)
        self._finish()
        problems = [str(problem) for problem in answer.get("problems", ())]
        found = find_runtime()
        still = runtime_problem(found)
        if still:
            # A variable of the environment names another one; only its owner can change that.
            self.state.tell("warning", _for_this_dialog(still), problems)
        elif found and task and task.runtime and found.python != task.runtime.python:
            self.state.tell(
                "warning", f"Done; but the variable THEMATICA_RUNTIME names “{found.python}”, which is used."
            )
        elif answer.get("ok"):
            lacking = lacking_for_training(found)
            more = f" For training it lacks {_enumerated(lacking)}: press “Repair”." if lacking else ""
            self.state.tell("warning" if lacking else "ok", f"The runtime works.{more}", problems)
        else:
            own = found is not None and found.origin == "user"
            self.state.tell(
                "error",
                f"The runtime answers, but something is wrong: press “{'Repair' if own else 'Create anew'}”.",
                problems,
            )
            (self.repair_button if own else self.create_button).setDefault(True)
        self.check_text.setHtml(doctor_html(answer))
        self.tabs.setCurrentWidget(self.check_tab)

    def _failed(self, sentence: str, details: str) -> None:
        action = self.task.action if self.task is not None else ""
        self._finish()
        if not sentence:
            left = (
                "what is broken is repaired the next time" if action == "repair" else "the runtime was left as it was"
            )
            self.state.tell("info", f"Cancelled; {left}.")
            return
        self.state.tell("error", _for_this_dialog(sentence))
        said = masked(f"{sentence}\n{details}".strip())
        self.log.appendPlainText(said)
        self.tabs.setCurrentWidget(self.log_tab)
        log(said, LEVEL_CRITICAL)

    def _finish(self) -> None:
        self.task = None
        self._show_state()
        self.changed.emit()


def _for_this_dialog(sentence: str) -> str:
    """A sentence that leads here, said here."""
    for path, do, button in (
        ("Open Raster ▸ Thematica ▸ Runtime… and repair it.", "Press", "Repair"),
        ("Open Raster ▸ Thematica ▸ Runtime… and update it.", "Press", "Update"),
        ("open Raster ▸ Thematica ▸ Runtime… and update it.", "press", "Update"),
        ("Open Raster ▸ Thematica ▸ Runtime… and create it.", "Press", "Create"),
    ):
        sentence = sentence.replace(path, f"{do} “{button}”.")
    return sentence


_ORIGIN = {
    "environment": "named by the variable THEMATICA_RUNTIME",
    "setting": "named in QGIS's settings",
    "user": "made by Thematica",
    "checkout": "that of the source checkout",
}


def _enumerated(listed: list[str]) -> str:
    names = [package_name(line) for line in listed]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def doctor_html(answer: Mapping[str, Any]) -> str:
    """The doctor's answer as rich text."""
    rows = [("Thematica", str(answer.get("version", "?"))), ("Python", str(answer.get("python", "?")))]
    providers = [str(provider).replace("ExecutionProvider", "") for provider in answer.get("providers", ())]
    # Every wheel lists Azure, which is a service far away and computes nothing here.
    providers = [provider for provider in providers if provider != "Azure"]
    rows.append(("Computes on", ", ".join(providers) or "nothing"))
    rows += [("Graphics card", _in_words(gpu)) for gpu in _listed(answer.get("gpus"))]
    why_not = answer.get("providers_why_not")
    if isinstance(why_not, Mapping):
        rows += [
            (f"Not on {str(name).replace('ExecutionProvider', '')}", _in_words(reason))
            for name, reason in why_not.items()
        ]
    training = answer.get("training")
    if isinstance(training, Mapping):
        rows.append(("Training", _training_in_words(training)))
        horovod = training.get("horovod")
        horovod = horovod if isinstance(horovod, Mapping) else {}
        version = horovod.get("version")
        rows.append(("Several processes", f"Horovod {version}" if version else str(horovod.get("why_not", "?"))))
    rows += [(name, str(version)) for name, version in dict(answer.get("packages", {})).items()]
    table = "".join(
        f'<tr><td style="padding-right:24px;"><b>{html.escape(name)}</b></td><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    problems = "".join(f"<p>⚠ {html.escape(str(problem))}</p>" for problem in answer.get("problems", ()))
    return f"{problems}<table cellspacing='0' cellpadding='2'>{table}</table>"


def _training_in_words(training: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in dict(training.get("packages", {})).items())
    return f"{training.get('problem') or 'Possible'}{f' ({versions})' if versions else ''}"


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _in_words(value: object) -> str:
    if isinstance(value, Mapping):
        name = str(value.get("name", ""))
        more = ", ".join(f"{key} {entry}" for key, entry in value.items() if key != "name" and entry not in (None, ""))
        return f"{name} ({more})" if name and more else name or more
    return str(value)
