"""The dialog "Train": what to learn from, the network, a few choices, and the start of the training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsRasterLayer, QgsSettings
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import QByteArray, QObject, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QGuiApplication, QHideEvent, QShowEvent
from qgis.PyQt.QtWidgets import QDialog, QWidget

from ..errors import InputError, ThematicaError
from ..models.trainable import NetworkKind, network_kind
from ..plugin.run_folder import (
    folder_for_labels,
    folder_for_set,
    folder_problem,
    free_folder,
    free_model_name,
    is_taken,
    name_problem,
    plain_name,
)
from ..plugin.runtime import find_runtime, runtime_problem
from ..plugin.runtime.training import horovod_problem, training_problem
from ..plugin.training_list import remember_run
from ..plugin.training_run import TrainingRun
from ..plugin.training_set import FILE, SET_FOLDER, read_training_set, remember_set, training_set_problem
from .class_row import small_font
from .dataset_run import DatasetRun
from .forms import load_form
from .job_run import log
from .run_view import RunView
from .wording import for_dialog

_SETTINGS = "thematica/train"
_MILLISECONDS_BETWEEN_LOOKS = 500
# Support vectors are found at once, or layer by layer.
_WITHOUT_PASSES = ("svm", "convsvm")
# U-Net halves its chips three times.
_SIDE_OF_CHIPS = 8


class TrainDialog(QDialog):
    """Non-modal; a training that was started is a process of its own, and the dialog ready for the next one.

    Args:
        iface: QGIS's interface.
        runs: the Qt parent of the runs that make training sets from labels; they outlive the dialog.
        parent: the Qt parent.
    """

    runtime_wanted = pyqtSignal()
    #: A training has begun: its folder.
    started = pyqtSignal(str)

    def __init__(self, iface: Any, runs: QObject | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "train_dialog")
        self.iface, self.runs = iface, runs or iface.mainWindow()
        #: Makes the training set of labels.
        self.current_run: DatasetRun | None = None
        self._waiting: dict[str, Any] = {}
        self._begun: TrainingRun | None = None
        self._proposed_name = self._proposed_folder = ""
        self.folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.folder.setDialogTitle("Folder of the run")
        self.folder_label.setBuddy(self.folder.lineEdit())
        for note in (self.store_note, self.processes_note):
            note.setFont(small_font(self.font()))
        # The two forms under “Advanced” look like one.
        self.processes_label.setMinimumWidth(self.recipe.learning_rate_label.sizeHint().width())
        self.advanced_group.setSaveCollapsedState(False)
        self.advanced_group.setCollapsed(True)
        self.run_view = RunView(self.notice, self.progress, self.stage, self.cancel_button, self)
        # Several widgets change at once; one look afterwards is enough.
        self._look_soon = QTimer(self, singleShot=True, interval=0)
        self._look_soon.timeout.connect(self._look)
        self._watch = QTimer(self, interval=_MILLISECONDS_BETWEEN_LOOKS)
        self._watch.timeout.connect(self._watch_start)
        for part in (self.source, self.network, self.recipe):
            part.changed.connect(self._look_soon.start)
        for signal in (self.name.textChanged, self.folder.fileChanged, self.processes.valueChanged):
            signal.connect(self._look_soon.start)
        self.recipe.failed.connect(self._refuse)
        self.train_button.clicked.connect(self._train)
        self.close_button.clicked.connect(self.close)
        self.runtime_notice.clicked.connect(self.runtime_wanted)
        self.notice.clicked.connect(self._use_free_folder)
        self._look()
        # There is no horizontal scroll bar: the whole width must be seen.
        bar = self.scroll.verticalScrollBar().sizeHint().width()
        self.scroll.setMinimumWidth(self.content.minimumSizeHint().width() + bar)
        self._restore_size()

    # -- from outside ---------------------------------------------------------------------------

    def choose(self, labels: QgsMapLayer | None, rasters: list[QgsRasterLayer], apart: bool = False) -> None:
        """Choose what the Labels dock works on."""
        self.source.choose(labels, rasters, apart)
        self._look()

    def choose_dataset(self, folder: str) -> None:
        """Choose a training set."""
        self.source.choose_set(folder)
        self._look()

    def check_runtime(self) -> None:
        """Look whether there is a runtime that can train the network, and say so where there is none."""
        runtime, network = find_runtime(), self.network.current()
        problem = runtime_problem(runtime)
        if not problem and network is not None:
            problem = training_problem(runtime, network.is_classical)
        if problem:
            self.runtime_notice.tell("warning", problem, button="Set up runtime…")
        else:
            self.runtime_notice.clear()
        self._show_processes(network, horovod_problem(runtime))
        self._show_whether_ready()

    def end(self) -> None:
        """Look no more: the plugin is being switched off.  A training goes on."""
        for timer in (self._look_soon, self._watch):
            timer.stop()

    # -- what is given --------------------------------------------------------------------------

    def _look(self) -> None:
        """What there is to choose for what was chosen."""
        self.network.show_samples(self.source.tasks(), self.source.proposed())
        network = self.network.current()
        if network is not None:
            self.source.follow_network(network)
            self.recipe.show_network(network, *self.source.samples_for(network))
            self._show_passes(network)
            self._propose_names(network)
        count = self.recipe.count_of_changes()
        # What is changed must not work unseen.
        self.advanced_group.setTitle(f"Advanced ({count} changed)" if count else "Advanced")
        self.report_optimism.setEnabled(not self.source.is_optimistic())
        self.check_runtime()

    def _show_passes(self, network: NetworkKind) -> None:
        recipe = self.recipe.current()
        own = recipe.entries["epochs"] if recipe is not None else 0
        self.epochs.setSpecialValueText(f"{own}, as the recipe says")
        grows = network.is_classical
        self.epochs.setSuffix(" stages" if grows else " passes over the samples")
        self.epochs_label.setText("Sta&ges" if grows else "&Passes")
        for widget in (self.epochs_label, self.epochs):
            widget.setEnabled(network.name not in _WITHOUT_PASSES)

    def _propose_names(self, network: NetworkKind) -> None:
        if self.name.text() == self._proposed_name:
            self._proposed_name = plain_name(f"{self.source.title() or 'my'} {network.name}")
            self.name.setText(self._proposed_name)
        name = self.name.text().strip()
        free, problem = free_model_name(name), name_problem(name)
        if problem:
            self.store_note.setText(problem)
        elif free != name:
            self.store_note.setText(f"The store has a model of this name: this one will be called “{free}”.")
        else:
            self.store_note.setText("When it has been trained, the model is put into the store.")
        if os.path.normpath(self.folder.filePath() or ".") == os.path.normpath(self._proposed_folder or "."):
            where = folder_for_set(Path(self.source.sets.folder()), plain_name(name))
            if not self.source.is_set() or not self.source.sets.folder():
                where = folder_for_labels(plain_name(name))
            self._proposed_folder = str(free_folder(where))
            self.folder.setFilePath(self._proposed_folder)

    def _show_processes(self, network: NetworkKind | None, problem: str) -> None:
        if network is not None and network.is_classical:
            problem = "This one is trained in one process, on all cores."
        self.processes.setEnabled(not problem)
        self.processes_note.setText(problem)
        if problem:
            self.processes.setValue(1)

    def _missing(self) -> str:
        """What is still to be given; empty where all is there."""
        if self.runtime_notice.kind:
            return "Set up the runtime first."
        if self.run_view.is_running():
            return "The training set is being made; the training begins after it."
        if self.network.current() is None:
            return "Choose a network first."
        missing = self.source.missing(self.network.current())
        return missing or name_problem(self.name.text().strip())

    def _show_whether_ready(self) -> None:
        missing = self._missing()
        self.train_button.setEnabled(not missing)
        self.train_button.setToolTip(missing or "Begin the training; it goes on also when QGIS is closed")

    # -- the start ------------------------------------------------------------------------------

    def _refuse(self, sentence: str) -> None:
        self.notice.tell("error", for_dialog(sentence))

    def _train(self) -> None:
        self._look()
        if self._missing():
            return
        self.notice.clear()
        try:
            self._waiting = self._job()
            if self.source.is_set():
                self._begin(self.source.sets.folder())
            else:
                self._make_set(str(Path(self._waiting["output"]) / SET_FOLDER))
        except ThematicaError as error:
            log(f"{error.message}\n{error.details}".strip())
            self._refuse(error.message)
            if is_taken(Path(self.folder.filePath().strip())):
                self.notice.tell("error", for_dialog(error.message), button="Use a free one")

    def _job(self) -> dict[str, Any]:
        """All that the training is told but the set.

        Raises:
            InputError: something that was given cannot be used.
        """
        network, folder = self.network.current(), self.folder.filePath().strip()
        assert network is not None
        options = self.recipe.options()
        own = "recipe" not in options and not any(entry.startswith("network_options") for entry in options["set"])
        if network.name == "unet" and own and self.source.side() % _SIDE_OF_CHIPS:
            raise InputError(
                f"U-Net halves its chips three times, which a side of {self.source.side()} pixels does not allow: make "
                f"them with a side that is a multiple of {_SIDE_OF_CHIPS}."
            )
        # QGIS's working folder is not that of the training's process.
        folder = os.path.abspath(os.path.expanduser(folder)) if folder else ""
        problem = folder_problem(folder)
        if problem:
            raise InputError(problem)
        job: dict[str, Any] = {
            **options,
            "network": network.name,
            "output": folder,
            "name": free_model_name(self.name.text().strip()),
            "store": True,
        }
        if self.epochs.value() and self.epochs.isEnabled():
            job["epochs"] = self.epochs.value()
        if self.processes.value() > 1:
            job["processes"] = self.processes.value()
        if self.report_optimism.isEnabled() and self.report_optimism.isChecked():
            job["report_optimism"] = True
        return job

    def _make_set(self, output: str) -> None:
        prepared = self.source.prepare(output)
        # It is there where a training could not begin on it: then it is taken, or made anew if something has changed.
        prepared.job["overwrite"] = (Path(output) / FILE).is_file()
        self.current_run = DatasetRun(self.iface, prepared, self.runs)
        self.run_view.follow(self.current_run, "Making the training set…")
        self.current_run.ended.connect(self._set_ended)
        self.current_run.start()
        self._show_whether_ready()

    def _set_ended(self, kind: str, _: str) -> None:
        assert self.current_run is not None
        if kind == "ok":
            folder = self.current_run.folder()
            remember_set(folder)
            try:
                self._begin(folder, self.current_run.warnings)
            except ThematicaError as error:
                log(f"{error.message}\n{error.details}".strip())
                self._refuse(error.message)
        self._look()

    def _begin(self, dataset: str, warnings: list[str] | None = None) -> None:
        """Start the process that trains.

        Raises:
            ThematicaError: it cannot be started, or not on this set.
        """
        job = {**self._waiting, "dataset": dataset}
        network = network_kind(job["network"])
        problem = training_set_problem(read_training_set(dataset), network)
        if problem:
            raise InputError(problem)
        self._begun = TrainingRun.start(job)
        remember_run(job["output"])
        remember_set(dataset)
        said = f"The training of “{job['name']}” has begun; the panel “Training” shows how it goes on."
        self.notice.tell("warning" if warnings else "ok", said, warnings or [])
        self._watch.start()
        self._look()
        self.started.emit(job["output"])

    def _watch_start(self) -> None:
        """What cannot be trained is refused within the first seconds: then it is said here, too."""
        run = self._begun
        if run is None:
            self._watch.stop()
            return
        run.look()
        if run.state == "failed":
            self._refuse(run.problem)
        if run.epochs_done or not run.is_alive():
            self._begun = None
            self._watch.stop()

    def _use_free_folder(self) -> None:
        self.folder.setFilePath(str(free_folder(Path(self.folder.filePath().strip()))))
        self.notice.clear()

    # -- the window -----------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        """Sets may have been made, and a runtime set up, since the dialog was last open."""
        super().showEvent(event)
        self.source.sets.refresh()
        self._look()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        QgsSettings().setValue(f"{_SETTINGS}/size", self.saveGeometry())

    def _restore_size(self) -> None:
        geometry = QgsSettings().value(f"{_SETTINGS}/size")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        else:
            room = QGuiApplication.primaryScreen().availableGeometry()
            self.resize(self.width(), min(self.height(), room.height() - 60))
