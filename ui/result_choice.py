"""Choosing where the map goes and which further rasters are written."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingUtils, QgsSettings
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from ..models.card import ModelCard
from .forms import load_form

_SETTINGS = "thematica/classify"
EXTRAS = ("confidence", "margin", "entropy", "probabilities")
#: Kinds of result of a patch model: suffix and filter of its files.
_FORMS = (("polygons", ".gpkg", "GeoPackage (*.gpkg)"), ("raster", ".tif", "GeoTIFF (*.tif *.tiff)"))


class ResultChoice(QWidget):
    """A file (or none: temporary), check boxes for the further rasters beside it, and for patches the kind of file."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "result_choice")
        self.file.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.file.setDialogTitle("Save the result as")
        self._of_patches = False
        self.file.lineEdit().setPlaceholderText("temporary file")
        # Whether to replace a file is asked once, when the run starts.
        self.file.setConfirmOverwrite(False)
        self.file_label.setBuddy(self.file.lineEdit())
        settings = QgsSettings()
        self.file.setDefaultRoot(settings.value(f"{_SETTINGS}/output_folder", str(Path.home())))
        for name in EXTRAS:
            box = getattr(self, name)
            box.setChecked(settings.value(f"{_SETTINGS}/{name}", False, type=bool))
            box.toggled.connect(self._show)
        last = settings.value(f"{_SETTINGS}/patch_form", _FORMS[0][0])
        self.form.setCurrentIndex(1 if last == _FORMS[1][0] else 0)
        self.form.currentIndexChanged.connect(self._form_chosen)
        self.file.fileChanged.connect(self._file_named)
        for widget in (self.network_output_label, self.network_output):
            widget.hide()
        self._show_task("pixel")

    def is_temporary(self) -> bool:
        """True where no file is named."""
        return not self.file.filePath().strip()

    def show_model(self, card: ModelCard) -> None:
        """Show what there is to choose for a model."""
        names = card.output_names()
        self.network_output.clear()
        # Patches are labelled by one output only.
        of_patches = card.task.startswith("patch")
        self.network_output.addItem(f"the first ({names[0]})" if of_patches else "all, a map of each", None)
        for name in names[1:] if of_patches else names:
            self.network_output.addItem(f"only {name}", name)
        for widget in (self.network_output_label, self.network_output):
            widget.setVisible(len(names) > 1)
        self._show_task(card.task)

    def output_name(self) -> str | None:
        """The one output of the network that is wanted; None for all (of patches the first)."""
        return self.network_output.currentData()

    def _show_task(self, task: str) -> None:
        self._of_patches = task.startswith("patch")
        for widget in (self.form_label, self.form):
            widget.setVisible(self._of_patches)
        for widget in (self.also_label, *(getattr(self, name) for name in EXTRAS)):
            widget.setVisible(not self._of_patches)
        self.file_label.setText("R&esult file" if self._of_patches else "Map fil&e")
        self._form_chosen()

    def is_raster(self) -> bool:
        """True where the result is a raster; only patches can become polygons."""
        return not self._of_patches or self.form.currentIndex() == 1

    def output(self, stem: str) -> str:
        """The file to write; ``stem`` names a temporary one (which lasts until QGIS is closed)."""
        suffixes = (".tif", ".tiff") if self.is_raster() else (".gpkg",)
        if self.is_temporary():
            return QgsProcessingUtils.generateTempFilename(f"{stem}{suffixes[0]}")
        path = self.file.filePath().strip()
        return path if Path(path).suffix.lower() in suffixes else f"{path}{suffixes[0]}"

    def extra_files(self, output: str) -> dict[str, str]:
        """Option → file for each further raster that is asked for."""
        base = Path(output)
        return {
            name: str(base.with_name(f"{base.stem}_{name}.tif"))
            for name in EXTRAS
            if not self._of_patches and getattr(self, name).isChecked()
        }

    def remember(self) -> None:
        """Keep the choice for the next time (not the file's name: the next map is another one)."""
        settings = QgsSettings()
        for name in EXTRAS:
            settings.setValue(f"{_SETTINGS}/{name}", getattr(self, name).isChecked())
        settings.setValue(f"{_SETTINGS}/patch_form", _FORMS[self.form.currentIndex()][0])
        if not self.is_temporary():
            folder = str(Path(self.file.filePath().strip()).parent)
            settings.setValue(f"{_SETTINGS}/output_folder", folder)
            self.file.setDefaultRoot(folder)

    def _file_named(self, *_: object) -> None:
        """The end of a file's name says what it is to be."""
        suffix = Path(self.file.filePath().strip()).suffix.lower()
        if self._of_patches and suffix in (".gpkg", ".tif", ".tiff"):
            self.form.setCurrentIndex(0 if suffix == ".gpkg" else 1)
        self._show()

    def _form_chosen(self, *_: object) -> None:
        _, wanted, pattern = _FORMS[1 if self.is_raster() else 0]
        self.file.setFilter(pattern)
        path = self.file.filePath().strip()
        _, _, other = next(form for form in _FORMS if form[1] != wanted)
        if path and self._of_patches and f"*{Path(path).suffix.lower()}" in other:
            self.file.setFilePath(str(Path(path).with_suffix(wanted)))
        self._show()

    def _show(self, *_: object) -> None:
        if self.is_temporary():
            self.note.setText("Temporary: gone when QGIS is closed.")
        else:
            also = not self._of_patches and any(getattr(self, name).isChecked() for name in EXTRAS)
            self.note.setText(
                "Style, report and further rasters are written beside it."
                if also
                else "Style and report are written beside it."
            )
        self.changed.emit()
