"""What a training set is made from: labels on rasters, or a folder of labelled patches."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsSettings, QgsVectorLayer
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QMenu, QWidget

from ..errors import InputError
from ..plugin.compat import LABEL_LAYERS, RASTER_LAYERS
from ..plugin.dataset_job import LAYOUTS, LabelSet, folder_job, labels_job
from ..plugin.job import PreparedJob
from ..plugin.label_layer import LabelLayer
from .forms import load_form

_SETTINGS = "thematica/dataset"
#: Names of fields that usually hold the class.
_USUAL_FIELDS = ("class", "label", "classname", "class_name", "landcover", "code", "klasse", "type", "name")


class DatasetSources(QWidget):
    """Two tabs: rasters with label layers, or a folder as it was downloaded."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "dataset_sources")
        self.raster.setFilters(RASTER_LAYERS)
        self.labels.setFilters(LABEL_LAYERS)
        for choice in (self.validation, self.test):
            choice.setFilters(LABEL_LAYERS)
            choice.setAllowEmptyLayer(True, "a share of the labels above")
            choice.setCurrentIndex(0)
        self.layout_kind.addItems(list(LAYOUTS.values()))
        self.folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.folder.lineEdit().setPlaceholderText("folder, or zip of EuroSAT")
        self.folder_label.setBuddy(self.folder.lineEdit())
        self.folder.setDefaultRoot(QgsSettings().value(f"{_SETTINGS}/source_folder", str(Path.home())))
        self.add_raster.setMenu(QMenu(self.add_raster))
        self.add_raster.menu().aboutToShow.connect(self._fill_menu)
        self._selection_of: QgsVectorLayer | None = None
        for choice in (self.raster, self.labels, self.validation, self.test):
            choice.layerChanged.connect(self._show)
            # Where several layers come at once, QGIS tells of the new choice by its index only.  Queued: while layers
            # are being removed, asking the list for its layer would crash QGIS.
            choice.currentIndexChanged.connect(self._show, Qt.ConnectionType.QueuedConnection)
        for signal in (
            self.stack.changed, self.apart.toggled, self.field.fieldChanged, self.selected_only.toggled,
            self.folder.fileChanged, self.layout_kind.currentIndexChanged, self.tabs.currentChanged,
        ):  # fmt: skip
            signal.connect(self._show)
        self.stack.swap_wanted.connect(self._swap_first)
        self._show()

    # -- what is chosen -------------------------------------------------------------------------

    def from_folder(self) -> bool:
        """True where a folder of patches is the source."""
        return self.tabs.currentWidget() is self.folder_tab

    def layers(self) -> list[QgsRasterLayer]:
        """The rasters, in their order."""
        first = self.raster.currentLayer()
        return [first, *self.stack.layers()] if first is not None else []

    def is_apart(self) -> bool:
        """True where every raster is an image of its own."""
        return self.apart.isChecked() and bool(self.stack.layers())

    def choose(self, labels: QgsMapLayer | None, rasters: list[QgsRasterLayer], apart: bool = False) -> None:
        """Choose what the Labels dock works on."""
        self.tabs.setCurrentWidget(self.labels_tab)
        if rasters:
            self.raster.setLayer(rasters[0])
            # Not with what was chosen the last time: its bands would be read as those of this image.
            for layer in self.stack.layers():
                self.stack.discard(layer.id())
            for layer in rasters[1:]:
                self.stack.add(layer)
            self.apart.setChecked(apart)
        if labels is not None:
            self.labels.setLayer(labels)
            self._propose_kept(labels)
        self._show()

    def _propose_kept(self, labels: QgsMapLayer) -> None:
        """Label layers that are marked as validation or test are kept for that part, where nothing was chosen."""
        known = LabelLayer.of(labels)
        for role, choice in (("validation", self.validation), ("test", self.test)):
            if choice.currentLayer() is labels:
                choice.setLayer(None)
            if known is None or known.role == role or choice.currentLayer() is not None:
                continue
            for layer in QgsProject.instance().mapLayers().values():
                other = LabelLayer.of(layer)
                if other is not None and other.role == role and other.class_field == known.class_field:
                    choice.setLayer(layer)
                    break

    def label_set(self) -> LabelSet:
        """The labels.

        Raises:
            InputError: none are chosen.
        """
        found = self._set_of(self.labels.currentLayer(), self.selected_only.isEnabled())
        if found is None:
            raise InputError("Choose the labels: draw some with the Labels panel, or add a layer that has them.")
        return found

    def kept_apart(self) -> dict[str, LabelSet | None]:
        """Labels kept for validation and test."""
        return {name: self._set_of(getattr(self, name).currentLayer(), False) for name in ("validation", "test")}

    def _set_of(self, layer: QgsMapLayer | None, may_select: bool) -> LabelSet | None:
        if isinstance(layer, QgsRasterLayer):
            return LabelSet(layer)
        if not isinstance(layer, QgsVectorLayer):
            return None
        return LabelSet(layer, self.field.currentField(), may_select and self.selected_only.isChecked())

    def folder_options(self) -> tuple[str, str, dict[str, Any]]:
        """Folder, layout, and further options of the job.

        Raises:
            InputError: no folder is named.
        """
        folder = self.folder.filePath().strip()
        if not folder:
            raise InputError("Name the folder (or zip) of labelled patches.")
        layout = list(LAYOUTS)[self.layout_kind.currentIndex()]
        options = {} if layout != "bigearthnet" else {"nomenclature": (19, 43)[self.nomenclature.currentIndex()]}
        QgsSettings().setValue(f"{_SETTINGS}/source_folder", str(Path(folder).parent))
        return folder, layout, options

    def prepare(self, output: str, options: dict[str, Any]) -> PreparedJob:
        """The job that makes a training set.

        Args:
            output: the folder to make.
            options: of the job: what samples are, and how they are split.

        Raises:
            InputError: something that was given cannot be used.
        """
        if self.from_folder():
            folder, layout, more = self.folder_options()
            return folder_job(folder, layout, output, {**options, **more})
        return labels_job(
            self.layers(),
            self.label_set(),
            output,
            apart=self.is_apart(),
            **self.kept_apart(),
            options=options,
        )

    # -- what is shown --------------------------------------------------------------------------

    def _show(self, *_: object) -> None:
        first, layer = self.raster.currentLayer(), self.labels.currentLayer()
        if first is not None:
            self.stack.discard(first.id())
        self.apart.setVisible(bool(self.stack.layers()))
        vector = layer if isinstance(layer, QgsVectorLayer) else None
        if self.field.layer() is not vector or (vector is None) == self.field.isEnabled():
            self.field.setLayer(vector)
            self.field.setEnabled(vector is not None)
            if vector is not None:
                self.field.setField(_likely_field(vector))
        if vector is not self._selection_of:
            self._follow_selection(vector)
        count = vector.selectedFeatureCount() if vector is not None else 0
        self.selected_only.setVisible(vector is not None)
        self.selected_only.setEnabled(count > 0)
        self.selected_only.setText(f"Selected features &only ({count})" if count else "Selected features &only")
        for widget in (self.nomenclature_label, self.nomenclature):
            # Version 2 has the 19 only.
            widget.setVisible(list(LAYOUTS)[self.layout_kind.currentIndex()] == "bigearthnet")
        # EuroSAT comes as a zip, BigEarthNet as a folder.
        mode = QgsFileWidget.StorageMode
        self.folder.setStorageMode(mode.GetDirectory if self.layout_kind.currentIndex() else mode.GetFile)
        self.changed.emit()

    def _follow_selection(self, layer: QgsVectorLayer | None) -> None:
        if self._selection_of is not None:
            try:
                self._selection_of.selectionChanged.disconnect(self._show)
            except (RuntimeError, TypeError):
                pass  # the layer is gone, and its connection with it
        self._selection_of = layer
        if layer is not None:
            layer.selectionChanged.connect(self._show)

    def _fill_menu(self) -> None:
        menu = self.add_raster.menu()
        menu.clear()
        chosen = self.layers()
        others = [
            layer
            for layer in QgsProject.instance().mapLayers().values()
            if isinstance(layer, QgsRasterLayer) and layer not in chosen
        ]
        for layer in sorted(others, key=lambda layer: layer.name().lower()):
            # A & in a name is no accelerator.
            menu.addAction(layer.name().replace("&", "&&"), partial(self.stack.add, layer))
        if not others:
            menu.addAction("The project has no further raster layer").setEnabled(False)

    def _swap_first(self) -> None:
        first, second = self.raster.currentLayer(), self.stack.layers()[0]
        self.stack.blockSignals(True)
        self.stack.discard(second.id())
        self.stack.add(first, 0)
        self.stack.blockSignals(False)
        self.raster.setLayer(second)


def _likely_field(layer: QgsVectorLayer) -> str:
    """The field that most likely holds the class; the first where none has a telling name."""
    names = [field.name() for field in layer.fields()]
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[usual] for usual in _USUAL_FIELDS if usual in lower), names[0] if names else "")
