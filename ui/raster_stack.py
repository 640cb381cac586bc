"""The rasters that are read together with the chosen layer: the bands of a product in files of their own, elevation."""

from __future__ import annotations

from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QListWidgetItem, QWidget

from .forms import load_form

_ID = Qt.ItemDataRole.UserRole


class RasterStack(QWidget):
    """A list with buttons, hidden while it is empty; layers that leave the project leave it too."""

    changed = pyqtSignal()
    #: The topmost raster is to change places with the chosen layer.
    swap_wanted = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "raster_stack")
        self.list.currentRowChanged.connect(self._show)
        self.up.clicked.connect(lambda: self._move(-1))
        self.down.clicked.connect(lambda: self._move(1))
        self.remove.clicked.connect(self._remove)
        QgsProject.instance().layersRemoved.connect(self._forget)
        self._show()

    def layers(self) -> list[QgsRasterLayer]:
        """The rasters, in their order."""
        found = [QgsProject.instance().mapLayer(self._id(row)) for row in range(self.list.count())]
        return [layer for layer in found if isinstance(layer, QgsRasterLayer)]

    def add(self, layer: QgsRasterLayer, row: int | None = None) -> None:
        """Put a raster into the list, at its end or in a row."""
        if layer.id() in self._ids():
            return
        item = QListWidgetItem(layer.name())
        item.setData(_ID, layer.id())
        item.setToolTip(layer.source())
        place = self.list.count() if row is None else row
        self.list.insertItem(place, item)
        self.list.setCurrentRow(place)
        self._changed()

    def discard(self, layer_id: str) -> None:
        """Take a raster out, if it is there."""
        self._forget([layer_id])

    def _id(self, row: int) -> str:
        return str(self.list.item(row).data(_ID))

    def _ids(self) -> list[str]:
        return [self._id(row) for row in range(self.list.count())]

    def _move(self, by: int) -> None:
        row = self.list.currentRow()
        if row == 0 and by < 0:
            self.swap_wanted.emit()
            return
        item = self.list.takeItem(row)
        self.list.insertItem(row + by, item)
        self.list.setCurrentRow(row + by)
        self._changed()

    def _remove(self) -> None:
        self.list.takeItem(self.list.currentRow())
        self._changed()

    def _forget(self, layer_ids: list[str]) -> None:
        rows = [row for row, layer_id in enumerate(self._ids()) if layer_id in layer_ids]
        for row in reversed(rows):
            self.list.takeItem(row)
        if rows:
            self._changed()

    def _changed(self) -> None:
        for row in range(self.list.count()):
            layer = QgsProject.instance().mapLayer(self._id(row))
            # The layer above is the first.
            self.list.item(row).setText(f"{row + 2}: {layer.name() if layer is not None else ''}")
        self._show()
        self.changed.emit()

    def _show(self, *_: object) -> None:
        row = self.list.currentRow()
        self.setVisible(self.list.count() > 0)
        self.up.setEnabled(row >= 0)
        self.down.setEnabled(0 <= row < self.list.count() - 1)
        self.remove.setEnabled(row >= 0)
