"""Choosing the area: the whole layer, what the canvas shows, or polygons."""

from __future__ import annotations

from qgis.core import QgsVectorLayer
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from ..plugin.compat import POLYGON_LAYERS
from .forms import load_form


class AreaChoice(QWidget):
    """Three radio buttons; polygons only where the project has a polygon layer."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "area_choice")
        self._selection_of: QgsVectorLayer | None = None
        self.polygon_layer.setFilters(POLYGON_LAYERS)
        self.polygon_layer.layerChanged.connect(self._layer_changed)
        # Where several layers come at once (a project is opened), QGIS tells of the new choice by its index only.
        # Queued: while layers are being removed, asking the list for its layer would crash QGIS.
        self.polygon_layer.currentIndexChanged.connect(self._index_changed, Qt.ConnectionType.QueuedConnection)
        for button in (self.whole, self.canvas, self.polygons):
            button.toggled.connect(self._show)
        # Choosing a layer says that its polygons are meant.
        self.polygon_layer.activated.connect(lambda: self.polygons.setChecked(True))
        self._layer_changed(self.polygon_layer.currentLayer())

    def area_layer(self) -> QgsVectorLayer | None:
        """The polygon layer, or None where another area is chosen."""
        return self.polygon_layer.currentLayer() if self.polygons.isChecked() else None

    def only_selected(self) -> bool:
        """True where only the layer's selected features make the area."""
        return self.polygons.isChecked() and self.selected_only.isEnabled() and self.selected_only.isChecked()

    def visible_canvas(self) -> bool:
        """True where the area is what the canvas shows."""
        return self.canvas.isChecked()

    def _index_changed(self, _: int) -> None:
        self._layer_changed(self.polygon_layer.currentLayer())

    def _layer_changed(self, layer: QgsVectorLayer | None) -> None:
        if self._selection_of is not None:
            try:
                self._selection_of.selectionChanged.disconnect(self._show)
            except (RuntimeError, TypeError):
                pass  # the layer is gone, and its connection with it
        self._selection_of = layer
        if layer is not None:
            layer.selectionChanged.connect(self._show)
        elif self.polygons.isChecked():
            self.whole.setChecked(True)
        self._show()

    def _show(self, *_: object) -> None:
        layer = self._selection_of
        self.polygons.setEnabled(layer is not None)
        self.polygon_layer.setEnabled(layer is not None)
        count = layer.selectedFeatureCount() if layer is not None else 0
        self.selected_only.setEnabled(count > 0)
        self.selected_only.setText(f"selecte&d features only ({count})" if count else "selecte&d features only")
        if layer is None:
            self.polygons.setToolTip("The project has no polygon layer")
        else:
            self.polygons.setToolTip("Only pixels inside the polygons; their coordinate system may be another")
        self.changed.emit()
