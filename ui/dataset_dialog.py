"""The dialog "Make Training Set": labels on rasters or a folder of patches, the split, and the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsRasterLayer, QgsSettings, QgsVectorLayer
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QCloseEvent, QHideEvent, QShowEvent
from qgis.PyQt.QtWidgets import QDialog, QMessageBox, QWidget

from ..errors import ThematicaError
from ..plugin.raster_facts import ground_sampling_distance
from ..plugin.runtime import find_runtime, runtime_problem
from ..plugin.training_set import remember_set
from .block_lattice import BlockLattice
from .dataset_choices import suggested_folder
from .dataset_run import DatasetRun
from .dataset_sheet import SheetWindow
from .forms import load_form
from .job_run import log
from .run_view import RunView
from .wording import for_dialog

_SETTINGS = "thematica/dataset"


class DatasetDialog(QDialog):
    """Non-modal; closing it leaves a run going on in the background.

    Args:
        iface: QGIS's interface.
        runs: the Qt parent of the runs, which outlive the dialog.
        parent: the Qt parent.
    """

    runtime_wanted = pyqtSignal()
    #: A training set is finished: its folder.
    made = pyqtSignal(str)
    #: A network is to be trained on the finished set: its folder.
    train_wanted = pyqtSignal(str)

    def __init__(self, iface: Any, runs: QObject | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "dataset_dialog")
        self.iface, self.runs = iface, runs or iface.mainWindow()
        self.current_run: DatasetRun | None = None
        self._lattice: BlockLattice | None = None
        self._sheet: SheetWindow | None = None
        self._suggested = ""
        #: The raster of the finished set, on which its blocks can be shown.
        self._made_on: QgsRasterLayer | None = None
        self.output.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.output.setDialogTitle("Folder for the training set")
        self.output_label.setBuddy(self.output.lineEdit())
        # Several widgets change at once; one look afterwards is enough.
        self._look_soon = QTimer(self, singleShot=True, interval=0)
        self._look_soon.timeout.connect(self._look)
        self.sources.changed.connect(self._look_soon.start)
        self.choices.changed.connect(self._look_soon.start)
        self.output.fileChanged.connect(self._look_soon.start)
        self.run_view = RunView(self.notice, self.progress, self.stage, self.cancel_button, self)
        self.run_button.clicked.connect(self._run)
        self.close_button.clicked.connect(self.close)
        self.sheet_button.clicked.connect(self.show_sheet)
        self.runtime_notice.clicked.connect(self.runtime_wanted)
        self.train_button.clicked.connect(self._train)
        for button in (self.sheet_button, self.train_button):
            button.setEnabled(False)
        self._look()
        # There is no horizontal scroll bar: the whole width must be seen.
        bar = self.scroll.verticalScrollBar().sizeHint().width()
        self.scroll.setMinimumWidth(self.content.minimumSizeHint().width() + bar)

    def choose(self, labels: QgsMapLayer | None, rasters: list[QgsRasterLayer], apart: bool = False) -> None:
        """Choose what the Labels dock works on."""
        self.sources.choose(labels, rasters, apart)
        self._look()

    def check_runtime(self) -> None:
        """Look whether there is a runtime, and say so where there is none."""
        problem = runtime_problem(find_runtime())
        if problem:
            self.runtime_notice.tell("warning", problem, button="Set up runtime…")
        else:
            self.runtime_notice.clear()
        self._show_whether_ready()

    # -- what is given --------------------------------------------------------------------------

    def _look(self) -> None:
        """What the sources leave to choose, a name for the folder, and the blocks on the map."""
        layers, labels = self.sources.layers(), self.sources.labels.currentLayer()
        vector = labels if isinstance(labels, QgsVectorLayer) else None
        in_metres = bool(layers) and ground_sampling_distance(layers[0]) is not None
        self.choices.blockSignals(True)
        self.choices.show_source(self.sources.from_folder(), vector, in_metres)
        self.choices.blockSignals(False)
        if labels is not None and self.output.filePath() == self._suggested:
            self._suggested = suggested_folder(labels.name())
            self.output.setFilePath(self._suggested)
        self._draw_blocks()
        self._show_whether_ready()

    def _draw_blocks(self) -> None:
        side, layers = self.choices.block_side(), self.sources.layers()
        if side is None and self._made_on is not None and self._made_on in layers:
            # What was left to the builder is known once it has chosen.
            side = self.choices.automatic_block(self.current_run.block() if self.current_run else None)
        wanted = self.isVisible() and side is not None and layers and self.choices.show_blocks.isChecked()
        if not wanted:
            self._remove_lattice()
            return
        if self._lattice is None:
            self._lattice = BlockLattice(self.iface.mapCanvas())
        assert side is not None
        self._lattice.show_blocks(layers[0], *side)

    def _remove_lattice(self) -> None:
        if self._lattice is not None:
            self.iface.mapCanvas().scene().removeItem(self._lattice)
            self._lattice = None

    def _missing(self) -> str:
        """What is still to be given; empty where all is there."""
        if self.runtime_notice.kind:
            return "Set up the runtime first"
        if self.run_view.is_running():
            return "A training set is being made; wait for its end or cancel it"
        if self.sources.from_folder():
            if not self.sources.folder.filePath().strip():
                return "Name the folder of patches first"
        elif not self.sources.layers():
            return "Choose a raster layer first"
        elif self.sources.labels.currentLayer() is None:
            return "Choose the labels first"
        return "" if self.output.filePath().strip() else "Name the folder to make first"

    def _show_whether_ready(self) -> None:
        missing = self._missing()
        self.run_button.setEnabled(not missing)
        self.run_button.setToolTip(missing or "Make the training set in the background")

    # -- the run --------------------------------------------------------------------------------

    def _run(self) -> None:
        self.notice.clear()
        output = self.output.filePath().strip()
        replaced = (Path(output) / "dataset.json").is_file()
        if replaced and not self._agree_to_replace(output):
            return
        try:
            prepared = self.sources.prepare(output, self.choices.options())
        except ThematicaError as error:
            log(f"{error.message}\n{error.details}".strip())
            self.notice.tell("error", for_dialog(error.message))
            return
        prepared.job["overwrite"] = replaced
        self.choices.remember()
        self.current_run = DatasetRun(self.iface, prepared, self.runs)
        self.run_view.follow(self.current_run, "Starting…")
        self.current_run.ended.connect(self._ended)
        self.current_run.start()
        self._show_whether_ready()

    def _agree_to_replace(self, folder: str) -> bool:
        answer = QMessageBox.question(
            self,
            "Replace the training set?",
            f"This folder holds a training set already:\n\n{folder}\n\n"
            "It stays as it is if nothing has changed, and is made anew otherwise. Go on?",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
            QMessageBox.StandardButton.No,
        )
        return answer == QMessageBox.StandardButton.Yes

    def _ended(self, kind: str, sentence: str) -> None:
        assert self.current_run is not None
        if kind == "ok" and self.current_run.warnings:
            self.notice.tell("warning", sentence, self.current_run.warnings)
        self.sheet_button.setEnabled(bool(self.current_run.sheet()))
        self.train_button.setEnabled(bool(self.current_run.folder()))
        if kind == "ok":
            remember_set(self.current_run.folder())
            self._made_on = next(iter(self.sources.layers()), None)
            self._draw_blocks()
            self.made.emit(self.current_run.folder())
            if self.isVisible():
                self.show_sheet()
        self._show_whether_ready()

    def _train(self) -> None:
        if self.current_run is not None and self.current_run.folder():
            self.train_wanted.emit(self.current_run.folder())

    def show_sheet(self) -> None:
        """Show the picture of the finished set: samples per class, and the split on the map."""
        path = self.current_run.sheet() if self.current_run is not None else ""
        if not path:
            return
        if self._sheet is not None:
            self._sheet.close()
        self._sheet = SheetWindow(path, self)
        self._sheet.show()

    # -- the window -----------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.check_runtime()
        self._look_soon.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._remove_lattice()
        QgsSettings().setValue(f"{_SETTINGS}/size", self.saveGeometry())

    def closeEvent(self, event: QCloseEvent) -> None:
        self._remove_lattice()
        super().closeEvent(event)
