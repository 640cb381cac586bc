"""Choosing a training set that was made before, and what it holds."""

from __future__ import annotations

import os
from pathlib import Path

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QWidget

from ..errors import InputError
from ..plugin.training_set import (
    TrainingSetFacts,
    known_sets,
    read_training_set,
    remember_set,
    set_title,
    training_set_problem,
    training_set_warnings,
)
from .dataset_sheet import SheetWindow
from .forms import load_form
from .set_summary import set_summary
from .swatches import add_swatches, swatch_html

_SETTINGS = "thematica/training"
_PICTURE = "dataset.preview.png"


class SetChoice(QWidget):
    """A list of the sets that are known, a button for others, and the facts of the one that is chosen."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "set_choice")
        #: What the chosen set's description says; None where there is none, or it cannot be read.
        self.set: TrainingSetFacts | None = None
        self._sheet: SheetWindow | None = None
        self.refresh()
        self.sets.currentIndexChanged.connect(self._read)
        self.open_button.clicked.connect(self._browse)
        self.picture_button.clicked.connect(self._show_picture)
        self._read()

    def folder(self) -> str:
        """The folder that is chosen; empty where none is."""
        return str(self.sets.currentData() or "")

    def choose(self, folder: str | Path) -> None:
        """Choose a set by its folder, and know it from now on if it is one."""
        path = os.path.abspath(folder)
        if os.path.isfile(os.path.join(path, "dataset.json")):
            remember_set(path)
        self.refresh()
        if self.sets.findData(path) < 0:
            self._add(path)
        same = self.sets.currentIndex() == self.sets.findData(path)
        self.sets.setCurrentIndex(self.sets.findData(path))
        if same:
            self._read()

    def refresh(self) -> None:
        """List the sets that are known now, keeping the choice."""
        chosen = self.folder()
        self.sets.blockSignals(True)
        self.sets.clear()
        for folder in known_sets():
            self._add(str(folder))
        if chosen and self.sets.findData(chosen) < 0:
            self._add(chosen)
        self.sets.setCurrentIndex(max(self.sets.findData(chosen), 0) if self.sets.count() else -1)
        self.sets.blockSignals(False)
        if self.folder() != chosen:
            self._read()

    def _add(self, folder: str) -> None:
        self.sets.addItem(set_title(folder), folder)
        self.sets.setItemData(self.sets.count() - 1, folder, Qt.ItemDataRole.ToolTipRole)

    def _browse(self) -> None:
        settings = QgsSettings()
        start = settings.value(f"{_SETTINGS}/set_folder", str(Path.home()))
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of a training set", start)
        if folder:
            settings.setValue(f"{_SETTINGS}/set_folder", str(Path(folder).parent))
            self.choose(folder)

    def _read(self, *_: object) -> None:
        self.set = None
        self.notice.clear()
        self.facts.clear()
        self.sets.setToolTip(self.folder() or "Training sets that were made or used last")
        if self.folder():
            try:
                self.set = read_training_set(self.folder())
            except InputError as error:
                self.notice.tell("error", error.message)
        if self.set is not None:
            add_swatches(self.facts.document(), (entry.color for entry in self.set.classes))
            self.facts.setHtml(set_summary(self.set, swatch_html))
            self._tell(self.set)
        self.picture_button.setEnabled((Path(self.folder()) / _PICTURE).is_file() if self.folder() else False)
        self.changed.emit()

    def _tell(self, facts: TrainingSetFacts) -> None:
        problem, warnings = training_set_problem(facts), training_set_warnings(facts)
        if problem:
            self.notice.tell("error", problem)
        elif warnings:
            self.notice.tell("warning", "A network can learn from it.", warnings)

    def _show_picture(self) -> None:
        if self._sheet is not None:
            self._sheet.close()
        self._sheet = SheetWindow(str(Path(self.folder()) / _PICTURE), self)
        self._sheet.show()
