"""The dock "Training": how a network learns, seen live; pause, stop and keep the best; what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import QgsApplication
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtCore import Qt, QTimer, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import QBoxLayout, QFileDialog, QMenu, QMessageBox, QWidget

from ..errors import RuntimeMissingError, ThematicaError
from ..plugin.training_glance import Glance, glance, is_run_folder, stamp
from ..plugin.training_list import forget_run, known_runs, remember_run, set_told
from ..plugin.training_model import name_in_store
from ..plugin.training_run import TrainingRun
from .class_row import small_font
from .forms import load_form
from .training_figures import TrainingFigures, figure_files
from .training_words import (
    finished_sentence,
    is_over,
    run_label,
    state_line,
    state_sign,
    step_word,
    unbroken,
    waiting_hint,
)
from .wording import for_dialog

_MILLISECONDS_BETWEEN_LOOKS = 1000
#: Looks at the one that is shown for each look at the others in the list.
_LOOKS_AT_OTHERS = 5
_AROUND_TEXT = 10  # px
_INTERRUPTED = (
    "The training ended without a word: the computer was switched off, or the program was killed, perhaps because "
    "memory ran out. “Go on” continues from its last checkpoint."
)


class TrainingDock(QgsDockWidget):
    """Shows one of the known trainings.  It never ends one by itself, and one goes on when QGIS is closed.

    Args:
        iface: QGIS's interface.
        parent: QGIS's main window.
    """

    #: The analyst wants a map with this model of the store.
    classify_wanted = pyqtSignal(str)
    #: The analyst wants to set up the runtime.
    runtime_wanted = pyqtSignal()

    def __init__(self, iface: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "training_dock")
        self.iface = iface
        self.run: TrainingRun | None = None
        self._folder: Path | None = None
        #: What was seen of each training, and the stamp of its events then.
        self._seen: dict[Path, tuple[tuple[int, int], Glance]] = {}
        #: What a button could not do: told until something else happens.
        self._problem: ThematicaError | None = None
        self._asked_for = False
        self._looks = 0
        self._timer = QTimer(self, interval=_MILLISECONDS_BETWEEN_LOOKS)
        self._timer.timeout.connect(self._look)

        # One that has told much is read piece by piece.
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._look)

        self.menu = QMenu(self)
        self.open_action = self.menu.addAction("Open a run folder…")
        self.open_action.triggered.connect(lambda *_: self._choose_folder())
        self.folder_action = self.menu.addAction("Show its folder")
        self.folder_action.triggered.connect(lambda *_: self._open_folder())
        self.forget_action = self.menu.addAction("Forget this training")
        self.forget_action.setToolTip("Take it off this list; its folder stays")
        self.forget_action.triggered.connect(lambda *_: self._forget())
        self.more_button.setMenu(self.menu)
        self.open_button.clicked.connect(self._choose_folder)
        # Beside its text a button would leave too little room in a narrow dock.
        self.notice.layout().setDirection(QBoxLayout.Direction.TopToBottom)
        self.notice.layout().setStretch(0, 0)
        self.notice.layout().setAlignment(self.notice.button, Qt.AlignmentFlag.AlignRight)
        self.notice.clicked.connect(self._notice_clicked)
        # All three stand side by side in a narrow dock; styles make short buttons as wide as dialogs like them.
        self.results.setFont(small_font(self.font()))
        for button in (self.classify_button, self.figures_button, self.folder_button):
            button.ensurePolished()
            text = button.text().replace("&", "")
            button.setMinimumWidth(button.fontMetrics().horizontalAdvance(text) + _AROUND_TEXT)
        self.runs.currentIndexChanged.connect(self._picked)
        self.pause_button.clicked.connect(self._pause_or_go_on)
        self.finish_button.clicked.connect(lambda: self._do(lambda run: run.finish()))
        self.cancel_button.clicked.connect(self._cancel)
        self.classify_button.clicked.connect(self._classify)
        self.figures_button.clicked.connect(self._show_figures)
        self.folder_button.clicked.connect(self._open_folder)
        self.tabs.currentChanged.connect(lambda _: self._show_tab())
        self.visibilityChanged.connect(self._visibility_changed)
        self._list_runs()
        self._show_state()

    # -- from outside --------------------------------------------------------------------------

    def show_run(self, folder: str) -> None:
        """Show the training in a folder, which is known from now on."""
        path = Path(folder).absolute()
        if path not in known_runs():
            remember_run(path)
        self._asked_for = not self._timer.isActive()
        self._show(path)

    def shown_folder(self) -> str:
        """The folder of the training that the analyst sees; empty where the dock is not seen."""
        return str(self._folder) if self._folder is not None and self._timer.isActive() else ""

    def end(self) -> None:
        """Look no more; the training goes on."""
        self._timer.stop()
        self._soon.stop()

    # -- which training ------------------------------------------------------------------------

    def _visibility_changed(self, visible: bool) -> None:
        if not visible:
            self.end()
            return
        self._list_runs()
        if not self._asked_for:
            self._choose_run()
        self._asked_for = False
        self._timer.start()
        self._look()

    def _choose_run(self) -> None:
        """One that is at work, the newest first; else what was shown; else the newest."""
        if self._folder is not None and self._glance(self._folder).state == "running":
            return
        known = known_runs()
        working = [folder for folder in known if self._glance(folder).state in ("running", "starting")]
        if working or (self._folder is None and known):
            self._show((working or known)[0])

    def _glance(self, folder: Path) -> Glance:
        now, kept = stamp(folder), self._seen.get(folder)
        # One that was at work may have died without a word.
        if kept is None or kept[0] != now or not is_over(kept[1].state):
            kept = self._seen[folder] = (now, glance(folder))
        return kept[1]

    def _list_runs(self) -> None:
        known = known_runs()
        if self._folder is not None and self._folder not in known:
            known.insert(0, self._folder)
        self.runs.blockSignals(True)
        while self.runs.count() > len(known):
            self.runs.removeItem(self.runs.count() - 1)
        for place, folder in enumerate(known):
            seen = self._glance(folder)
            is_read = self.run is not None and folder == self._folder and not self.run.is_behind
            text = run_label(
                seen.name, seen.network, self.run.state if self.run is not None and is_read else seen.state
            )
            if place == self.runs.count():
                self.runs.addItem(text)
            elif self.runs.itemText(place) != text:
                self.runs.setItemText(place, text)
            self.runs.setItemData(place, str(folder))
            self.runs.setItemData(place, str(folder), Qt.ItemDataRole.ToolTipRole)
        self.runs.setCurrentIndex(self.runs.findData(str(self._folder)) if self._folder is not None else -1)
        self.runs.setEnabled(bool(known))
        self.runs.blockSignals(False)

    def _picked(self, place: int) -> None:
        folder = self.runs.itemData(place)
        if folder and Path(folder) != self._folder:
            self._show(Path(folder))

    def _show(self, folder: Path | None) -> None:
        self._folder, self._problem = folder, None
        self.run = TrainingRun(folder) if folder is not None else None
        if self.run is not None and self.run.is_behind:
            self._soon.start()
        self.curves.set_run(self.run)
        self.log.set_run(self.run)
        self._list_runs()
        self._show_state()

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Open a Run Folder", str(self._folder or Path.home()))
        if not chosen:
            return
        if is_run_folder(Path(chosen)):
            self.show_run(chosen)
            return
        self.notice.tell(
            "warning",
            f"There is no training in “{Path(chosen).name}”: choose the folder that holds its recipe.json and "
            "events.jsonl.",
        )

    def _forget(self) -> None:
        if self._folder is not None:
            forget_run(self._folder)
            self._seen.pop(self._folder, None)
            self._folder = None
            known = known_runs()
            self._show(known[0] if known else None)

    # -- what is shown -------------------------------------------------------------------------

    def _look(self) -> None:
        self._looks += 1
        if self.run is None or self._folder is None:
            if self._looks % _LOOKS_AT_OTHERS == 0:
                self._list_runs()
            return
        run, before, was_behind = self.run, self.run.state, self.run.is_behind
        changed = run.look() or was_behind
        if run.is_behind:
            self._soon.start()
        if changed or run.state != before or not self._folder.is_dir():
            if run.state != before:
                self._problem = None
            self._show_state()
            self._show_tab()
        if was_behind or run.state != before or self._looks % _LOOKS_AT_OTHERS == 0:
            self._list_runs()

    def _show_tab(self) -> None:
        self.tabs.currentWidget().refresh()

    def _show_state(self) -> None:
        run, there = self.run, self._folder is not None and self._folder.is_dir()
        self.guide.setVisible(run is None)
        self.body.setVisible(run is not None)
        self.folder_action.setEnabled(there)
        self.forget_action.setEnabled(run is not None and not run.is_alive())
        if run is None:
            self.notice.clear()
            return
        if run.is_behind:
            self._show_reading()
            return
        state = run.state
        over = is_over(state)
        self.state.setText(f"{state_sign(state)}\u00a0{unbroken(state_line(run))}")
        self.under_way.setVisible(not over)
        # Nobody knows how long it takes to read a training set, or to measure a model.
        self.progress.setMaximum(0 if state in ("starting", "exporting") else 1000)
        self.progress.setValue(round(1000 * run.fraction))
        self.controls.setVisible(there and (not over or run.may_go_on))
        self.results.setVisible(there and state == "finished")
        self._show_controls(run)
        self._tell(run, there)
        if over and self._timer.isActive():
            set_told(run.folder)

    def _show_reading(self) -> None:
        """What is known of it is old: nothing can be said yet."""
        self.state.setText("Reading what the training has told so far…")
        self.notice.clear()
        self.under_way.setVisible(True)
        self.progress.setMaximum(0)
        self.cancel_button.setEnabled(False)
        self.controls.setVisible(False)
        self.results.setVisible(False)

    def _show_controls(self, run: TrainingRun) -> None:
        goes_on = run.may_go_on
        word = step_word(run.network)
        self.pause_button.setText("&Go on" if goes_on else "&Pause")
        self.pause_button.setEnabled(goes_on or run.may_pause)
        if word == "stage":
            tip = "Train it anew" if goes_on else "Such a training is not paused: it would begin anew"
        else:
            tip = "Go on where it stopped" if goes_on else "Keep what was learned, and stop; you can go on at any time"
        self.pause_button.setToolTip(tip)
        self.finish_button.setEnabled(run.may_finish)
        self.finish_button.setToolTip(
            "Make the model of what has been learned best so far"
            if goes_on
            else "End the training now: what has been learned best so far becomes the model"
        )
        self.finish_button.setText("Keep the &best" if goes_on else "&Stop, keep the best")
        self.cancel_button.setEnabled(run.may_discard)
        self.classify_button.setEnabled(run.model_path is not None or bool(run.stored))
        self.figures_button.setEnabled(bool(figure_files(run.folder)))

    def _tell(self, run: TrainingRun, there: bool) -> None:
        hint = waiting_hint(run)
        if not there:
            self.notice.tell("warning", "The folder of this training is gone: moved, deleted, or on another disk.")
        elif self._problem is not None:
            button = "Runtime…" if isinstance(self._problem, RuntimeMissingError) else ""
            self.notice.tell("error", for_dialog(self._problem.message), button=button)
        elif run.state == "finished":
            self.notice.tell("ok", finished_sentence(run))
        elif run.state == "failed":
            self.notice.tell("error", for_dialog(run.problem) or "The training failed.", button="Log")
        elif run.state == "interrupted":
            self.notice.tell("warning", _INTERRUPTED, button="Log")
        elif hint:
            self.notice.tell("info", hint)
        else:
            self.notice.clear()

    def _notice_clicked(self) -> None:
        if isinstance(self._problem, RuntimeMissingError):
            self.runtime_wanted.emit()
        else:
            self.tabs.setCurrentWidget(self.log)

    # -- what buttons do -----------------------------------------------------------------------

    def _do(self, act: Callable[[TrainingRun], object]) -> None:
        run = self.run
        if run is None:
            return
        self._problem, was_alive = None, run.is_alive()
        try:
            act(run)
        except ThematicaError as error:
            self._problem = error
            QgsApplication.messageLog().logMessage(f"{error.message}\n{error.details}".strip(), "Thematica")
        run.look()
        if run.is_alive() and not was_alive:
            remember_run(run.folder)  # it will have another end
        self._show_state()
        self._list_runs()

    def _pause_or_go_on(self) -> None:
        goes_on = self.run is not None and self.run.may_go_on
        self._do(lambda run: run.go_on() if goes_on else run.pause())

    def _cancel(self) -> None:
        if self.run is None:
            return
        box = QMessageBox(
            QMessageBox.Icon.Question,
            "Cancel Training",
            "End this training at once, without a model? “Stop, keep the best” makes one of what it has learned.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
            self,
        )
        box.button(QMessageBox.StandardButton.Yes).setText("End it")
        box.button(QMessageBox.StandardButton.No).setText("Let it go on")
        box.setDefaultButton(QMessageBox.StandardButton.No)
        if box.exec() == QMessageBox.StandardButton.Yes:
            self._do(lambda run: run.cancel())

    def _classify(self) -> None:
        def put(run: TrainingRun) -> None:
            self.classify_wanted.emit(name_in_store(run))

        self._do(put)

    def _show_figures(self) -> None:
        if self.run is not None:
            window = TrainingFigures(self.run.name, figure_files(self.run.folder), self.iface.mainWindow())
            window.show()
            window.raise_()

    def _open_folder(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))
