"""Choosing where the map goes and which further rasters are written."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingUtils, QgsSettings
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from .forms import load_form

_SETTINGS = "thematica/classify"
EXTRAS = ("confidence", "margin", "entropy", "probabilities")


class ResultChoice(QWidget):
    """A file (or none: temporary) and check boxes for the further rasters beside it."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "result_choice")
        self.file.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.file.setFilter("GeoTIFF (*.tif *.tiff)")
        self.file.setDialogTitle("Save the thematic map as")
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
        self.file.fileChanged.connect(self._show)
        self._show()

    def is_temporary(self) -> bool:
        """True where no file is named."""
        return not self.file.filePath().strip()

    def output(self, stem: str) -> str:
        """The file to write; ``stem`` names a temporary one (which lasts until QGIS is closed)."""
        if self.is_temporary():
            return QgsProcessingUtils.generateTempFilename(f"{stem}.tif")
        path = self.file.filePath().strip()
        return path if Path(path).suffix.lower() in (".tif", ".tiff") else f"{path}.tif"

    def extra_files(self, output: str) -> dict[str, str]:
        """Option → file for each further raster that is asked for."""
        base = Path(output)
        return {
            name: str(base.with_name(f"{base.stem}_{name}.tif")) for name in EXTRAS if getattr(self, name).isChecked()
        }

    def remember(self) -> None:
        """Keep the choice for the next time (not the file's name: the next map is another one)."""
        settings = QgsSettings()
        for name in EXTRAS:
            settings.setValue(f"{_SETTINGS}/{name}", getattr(self, name).isChecked())
        if not self.is_temporary():
            folder = str(Path(self.file.filePath().strip()).parent)
            settings.setValue(f"{_SETTINGS}/output_folder", folder)
            self.file.setDefaultRoot(folder)

    def _show(self, *_: object) -> None:
        if self.is_temporary():
            self.note.setText("Temporary: gone when QGIS is closed.")
        else:
            also = any(getattr(self, name).isChecked() for name in EXTRAS)
            self.note.setText(
                "Style, report and further rasters are written beside it."
                if also
                else "Style and report are written beside it."
            )
        self.changed.emit()
