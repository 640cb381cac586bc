"""Choosing a model: the store by title, and ONNX files opened before."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QWidget

from ..errors import InputError
from ..models.card import ModelCard
from ..models.reading import read_model_card
from ..models.store import (
    BUNDLED_FOLDER,
    ESRI_SUFFIXES,
    SUFFIXES,
    StoredModel,
    list_models,
    resolve_model,
    user_models_folder,
)
from .fitting import FitView
from .forms import load_form
from .wording import for_dialog

_SETTINGS = "thematica/classify"
_RECENT_FILES = 5
_PATTERNS = " ".join(f"*{suffix}" for suffix in (*SUFFIXES, *ESRI_SUFFIXES))


class ModelChoice(QWidget):
    """A list of models and a button for files.

    ``model`` is what the engine takes (a name in the store or a path), ``card`` its card or None, and
    ``problem`` the sentence that says why there is no card.
    """

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "model_choice")
        self.model = ""
        self.card: ModelCard | None = None
        self.problem = ""
        self._store: dict[str, StoredModel] = {}
        self._seen: list[tuple[str, float]] = []
        #: True once the analyst chose a model, so that none is chosen for them any more.
        self.by_hand = False
        self._fill()
        self.setFocusProxy(self.models)
        self.models.currentIndexChanged.connect(self._read)
        self.models.activated.connect(self._choose_by_hand)
        self.open_file.clicked.connect(self._browse)
        self.describe_button.clicked.connect(self.describe)
        self._read()

    def _fill(self) -> None:
        self._seen = _store_files()
        self._store = {entry.name: entry for entry in list_models()}
        for entry in self._store.values():
            title = entry.card.title if entry.card and entry.card.title else entry.name
            self.models.addItem(title, entry.name)
            origin = "comes with Thematica" if entry.bundled else str(entry.path)
            self.models.setItemData(self.models.count() - 1, f"{entry.name}: {origin}", Qt.ItemDataRole.ToolTipRole)
        settings = QgsSettings()
        for path in settings.value(f"{_SETTINGS}/model_files", [], type=list):
            if Path(path).is_file():
                self._add_file(path)
        last = self.models.findData(self.model or settings.value(f"{_SETTINGS}/model", ""))
        self._remembered = last >= 0
        self.models.setCurrentIndex(max(last, 0))

    def refresh(self) -> None:
        """Read the store again where a file in it was added, changed or removed."""
        if _store_files() == self._seen:
            return
        self._read_store()

    def _read_store(self) -> None:
        data = [self.models.itemData(index) for index in range(self.models.count())]
        self.models.blockSignals(True)
        self.models.clear()
        self._fill()
        # Files that were opened since the last run are remembered only by the next one.
        for path in data:
            if path not in self._store and Path(path).is_file():
                self._add_file(path)
        self.models.setCurrentIndex(max(self.models.findData(self.model), 0))
        self.models.blockSignals(False)
        self._read()

    def describe(self) -> None:
        """Open the form in which the analyst says what the network's file does not."""
        from .card_form import CardForm

        if self.card is None:
            return
        form = CardForm(self.card, self)
        if form.exec():
            # A description is also of other files with the same weights, and gives a new title.
            self.by_hand = True
            self._read_store()
        form.deleteLater()

    def _add_file(self, path: str) -> int:
        index = self.models.findData(path)
        if index < 0:
            self.models.addItem(Path(path).name, path)
            index = self.models.count() - 1
            self.models.setItemData(index, path, Qt.ItemDataRole.ToolTipRole)
        return index

    def _choose_by_hand(self) -> None:
        self.by_hand = True

    def propose(self, view: Callable[[ModelCard], FitView]) -> None:
        """Choose the model of the store that fits best, unless one was chosen by hand or remembered and fits.

        Where none fits, it is one whose bands are all there: then only scale or resolution is wrong.
        """
        if self.by_hand or (self._remembered and self.card is not None and view(self.card).fits):
            return
        cards = {entry.name: entry.card for entry in self._store.values() if entry.card is not None}
        if cards:
            self.models.setCurrentIndex(self.models.findData(max(cards, key=lambda name: _rank(cards[name], view))))

    def choose_file(self, path: str) -> None:
        """Put an ONNX file into the list and choose it."""
        self.by_hand = True
        index = self._add_file(path)
        if index == self.models.currentIndex():
            self._read()
        self.models.setCurrentIndex(index)

    def choose_stored(self, name: str) -> None:
        """Choose a model of the store by its name; one that is not there changes nothing."""
        self.refresh()
        index = self.models.findData(name)
        if index >= 0:
            self.by_hand = True
            self.models.setCurrentIndex(index)

    def _browse(self) -> None:
        settings = QgsSettings()
        folder = settings.value(f"{_SETTINGS}/model_folder", str(Path.home()))
        path, _ = QFileDialog.getOpenFileName(
            self, "Choose a network", folder, f"Networks ({_PATTERNS});;All files (*)"
        )
        if path:
            settings.setValue(f"{_SETTINGS}/model_folder", str(Path(path).parent))
            self.choose_file(path)

    def _read(self) -> None:
        self.model = self.models.currentData() or ""
        self.card, self.problem = None, ""
        if not self.model:
            self.problem = "The store holds no model; choose an ONNX file."
        elif self.model in self._store:
            self.card, self.problem = self._store[self.model].card, for_dialog(self._store[self.model].problem)
        else:
            try:
                self.card = read_model_card(resolve_model(self.model))
            except InputError as error:
                self.problem = for_dialog(error.message)
        self.describe_button.setEnabled(self.card is not None)
        self.changed.emit()

    def remember(self) -> None:
        """Keep the choice for the next time."""
        settings = QgsSettings()
        settings.setValue(f"{_SETTINGS}/model", self.model)
        data = [self.models.itemData(index) for index in range(self.models.count())]
        files = [entry for entry in data if Path(entry).is_absolute() and entry != self.model]
        if Path(self.model).is_absolute():
            files.append(self.model)
        settings.setValue(f"{_SETTINGS}/model_files", files[-_RECENT_FILES:])


def _store_files() -> list[tuple[str, float]]:
    """What is in the store, without reading it: every model and card with its time of change."""
    folders = (user_models_folder(), BUNDLED_FOLDER)
    files = [
        path
        for folder in folders
        for kind in (*(f"*{suffix}" for suffix in SUFFIXES), "*.json")
        for path in folder.glob(kind)
    ]
    return sorted((str(path), path.stat().st_mtime) for path in files)


def _rank(card: ModelCard, view: Callable[[ModelCard], FitView]) -> tuple[bool, bool, bool, int]:
    """The better a model fits the greater; of two that fit equally well the one that uses more bands."""
    fit = view(card)
    has_all_bands = len(fit.matches) == len(card.bands) and None not in fit.matches
    return fit.fits, has_all_bands, not fit.warnings, len(card.bands)
