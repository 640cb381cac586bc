"""What is labelled, and in which layer: the upper part of the Labels dock."""

from __future__ import annotations

from functools import partial

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QMenu, QWidget

from ..plugin.compat import RASTER_LAYERS, VECTOR_LAYERS
from ..plugin.job import raster_source
from ..plugin.label_layer import LabelLayer, is_label_layer
from ..plugin.label_layer.image_facts import image_name
from .forms import load_form

#: Where the project file keeps the choice.
_SCOPE, _LABELS, _RASTERS = "thematica", "labels/layer", "labels/rasters"


class LabelSources(QWidget):
    """The label layers of the project, and the rasters that are read together.

    Args:
        parent: the Qt parent.
    """

    labels_changed = pyqtSignal()
    rasters_changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "label_sources")
        self.labels.setFilters(VECTOR_LAYERS)
        self.labels.setExceptedLayerList(self._no_label_layers())
        self.raster.setFilters(RASTER_LAYERS)
        self._raster_id = ""
        self.rasters_menu = QMenu(self)
        self.more_rasters.setMenu(self.rasters_menu)
        self.rasters_menu.aboutToShow.connect(self._list_rasters)
        self.labels.layerChanged.connect(self._choose_labels)
        self.raster.layerChanged.connect(self._choose_raster)
        self.stack.changed.connect(self._stack_changed)
        self.stack.swap_wanted.connect(self._swap_first)
        # Many layers can come at once.
        self._refresh_soon = QTimer(self, singleShot=True, interval=0)
        self._refresh_soon.timeout.connect(self.refresh)
        project = QgsProject.instance()
        project.layersAdded.connect(self._refresh_later)
        project.layersRemoved.connect(self._refresh_later)
        project.readProject.connect(self._restore)
        project.writeProject.connect(self._remember)

    # -- what was chosen -----------------------------------------------------------------------

    def layer(self) -> QgsVectorLayer | None:
        """The label layer, or None."""
        layer = self.labels.currentLayer()
        return layer if isinstance(layer, QgsVectorLayer) else None

    def rasters(self) -> list[QgsRasterLayer]:
        """The rasters, the one whose grid counts first; empty where none is chosen."""
        first = self.raster.currentLayer()
        return [first, *self.stack.layers()] if isinstance(first, QgsRasterLayer) else []

    def choose_layer(self, layer: QgsVectorLayer) -> None:
        """Choose a label layer."""
        self.refresh()
        self.labels.setLayer(layer)

    def choose_raster(self, layer: QgsMapLayer | None) -> None:
        """Choose the image."""
        if isinstance(layer, QgsRasterLayer):
            self.raster.setLayer(layer)

    # -- following the project -----------------------------------------------------------------

    def refresh(self) -> None:
        """List the label layers of the project anew."""
        before = self.layer()
        self.labels.blockSignals(True)
        self.labels.setExceptedLayerList(self._no_label_layers())
        if before is not None and is_label_layer(before):
            self.labels.setLayer(before)
        self.labels.blockSignals(False)
        self.raster.setExceptedLayerList(_only_qgis_can_read())
        self.more_rasters.setEnabled(self.raster.count() > 1)
        if self.layer() is not before:
            self._choose_labels()

    def _refresh_later(self, *_: object) -> None:
        self._refresh_soon.start()

    def _no_label_layers(self) -> list[QgsMapLayer]:
        layers = QgsProject.instance().mapLayers().values()
        return [layer for layer in layers if isinstance(layer, QgsVectorLayer) and not is_label_layer(layer)]

    def _restore(self, *_: object) -> None:
        """Choose what was chosen when the project was saved."""
        project = QgsProject.instance()
        self.refresh()
        self.labels.setLayer(project.mapLayer(project.readEntry(_SCOPE, _LABELS, "")[0]))
        layers = [project.mapLayer(name) for name in project.readListEntry(_SCOPE, _RASTERS, [])[0]]
        rasters = [layer for layer in layers if isinstance(layer, QgsRasterLayer)]
        self.choose_raster(rasters[0] if rasters else None)
        for layer in rasters[1:]:
            self.stack.add(layer)

    def _remember(self, *_: object) -> None:
        """The project is being saved: it shall know the choice.  Before that it would count as changed for nothing."""
        project, layer = QgsProject.instance(), self.layer()
        if layer is not None:
            project.writeEntry(_SCOPE, _LABELS, layer.id())
            project.writeEntry(_SCOPE, _RASTERS, [raster.id() for raster in self.rasters()])

    def _choose_labels(self, *_: object) -> None:
        self.labels_changed.emit()

    def propose_raster(self) -> None:
        """Choose the image on which the labels say they were drawn, if the project has it."""
        layer = self.layer()
        labels = LabelLayer.of(layer) if layer is not None else None
        if labels is None:
            return
        wanted = [labels.image()] if labels.image() else labels.images()
        first = self.raster.currentLayer()
        if first is not None and image_name(first) in wanted:
            return
        for raster in QgsProject.instance().mapLayers().values():
            if isinstance(raster, QgsRasterLayer) and raster_source(raster) and image_name(raster) in wanted:
                self.raster.setLayer(raster)
                return

    # -- rasters -------------------------------------------------------------------------------

    def _choose_raster(self, layer: QgsMapLayer | None) -> None:
        name = layer.id() if layer is not None else ""
        if name == self._raster_id:
            return
        self._raster_id = name
        self.stack.blockSignals(True)
        self.stack.discard(name)
        self.stack.blockSignals(False)
        self._stack_changed()

    def _stack_changed(self) -> None:
        self.rasters_changed.emit()

    def _swap_first(self) -> None:
        first, second = self.raster.currentLayer(), self.stack.layers()[0]
        self.stack.blockSignals(True)
        self.stack.discard(second.id())
        self.stack.add(first, 0)
        self.stack.blockSignals(False)
        self.raster.setLayer(second)

    def _list_rasters(self) -> None:
        self.rasters_menu.clear()
        used = {layer.id() for layer in self.rasters()}
        for layer in QgsProject.instance().mapLayers().values():
            if isinstance(layer, QgsRasterLayer) and layer.id() not in used and raster_source(layer):
                self.rasters_menu.addAction(layer.name().replace("&", "&&"), partial(self.stack.add, layer))
        if self.rasters_menu.isEmpty():
            self.rasters_menu.addAction("No other raster in the project").setEnabled(False)


def _only_qgis_can_read() -> list[QgsMapLayer]:
    """Web maps and the like: they have colours, not samples that classes could be told by."""
    layers = QgsProject.instance().mapLayers().values()
    return [layer for layer in layers if isinstance(layer, QgsRasterLayer) and not raster_source(layer)]
