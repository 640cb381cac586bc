"""The dialog "Use a Layer as Labels": which field holds the class, what its values mean, and what was met."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsSettings, QgsVectorLayer
from qgis.gui import QgsColorDialog, QgsFileWidget
from qgis.PyQt.QtCore import QSize, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QApplication, QDialog, QHeaderView, QTableWidgetItem, QWidget

from ..errors import InputError, ThematicaError
from ..plugin.compat import POINT_LAYERS, POLYGON_LAYERS, RASTER_LAYERS
from ..plugin.label_layer import LabelLayer, adopt_layer, copy_layer
from ..plugin.label_layer.create import check_new_layer
from ..plugin.label_layer.image_facts import image_date, image_name
from ..plugin.label_layer.mapping import ValueMapping
from ..plugin.label_layer.survey import class_fields, survey_field
from ..plugin.replacing import file_of_layer
from .forms import load_form
from .new_label_layer import FOLDER, ROLE_TITLES, free_name, with_suffix
from .swatches import HEIGHT, WIDTH, swatch_icon

_VALUE, _COUNT, _CODE, _NAME = range(4)


class AdoptLayer(QDialog):
    """Takes over polygons or points that are there already.

    Args:
        iface: QGIS's interface.
        layer: the layer that is proposed, if it has polygons or points.
        parent: the Qt parent.
    """

    #: The label layer that it has become, which is in the project.
    taken = pyqtSignal(object)

    def __init__(self, iface: Any, layer: QgsMapLayer | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "adopt_layer")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.iface = iface
        self.mapping = ValueMapping()
        self._trouble = ""
        self._filling = False
        self.layer.setFilters(POLYGON_LAYERS | POINT_LAYERS)
        if isinstance(layer, QgsVectorLayer):
            self.layer.setLayer(layer)
        self.image.setFilters(RASTER_LAYERS)
        self.image.setAllowEmptyLayer(True)
        if self.image.count() > 1:
            self.image.setCurrentIndex(1)
        self.role.addItems(ROLE_TITLES)
        self.file.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.file.setFilter("GeoPackage (*.gpkg)")
        self.file.setConfirmOverwrite(False)  # nothing is overwritten: a layer is added
        self.table.setIconSize(QSize(WIDTH, HEIGHT))
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for column in (_VALUE, _NAME):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        for column in range(self.table.columnCount()):
            self.table.horizontalHeaderItem(column).setTextAlignment(_alignment(column))
        self._layer_changed()
        self.layer.layerChanged.connect(self._layer_changed)
        self.field.currentIndexChanged.connect(self._survey)
        self.image.layerChanged.connect(self._survey)
        self.table.cellChanged.connect(self._cell_changed)
        self.table.cellDoubleClicked.connect(self._double_clicked)
        self.as_it_is.toggled.connect(self._check)
        for field in (self.name.textChanged, self.file.fileChanged):
            field.connect(self._check)
        self.take_button.clicked.connect(self._take)
        self.cancel_button.clicked.connect(self.reject)

    # -- what is found --------------------------------------------------------------------------

    def _layer_changed(self, *_: object) -> None:
        layer = self.layer.currentLayer()
        self.field.blockSignals(True)
        self.field.clear()
        if layer is not None:
            self.field.addItems(class_fields(layer))
        self.field.blockSignals(False)
        chosen = layer.selectedFeatureCount() if layer is not None else 0
        self.selected_only.setText(f"&Selected features only ({chosen})" if chosen else "&Selected features only")
        self._propose_place()
        self._survey()

    def _propose_place(self) -> None:
        layer = self.layer.currentLayer()
        if layer is None:
            return
        folders = [
            os.path.dirname(file_of_layer(layer)),
            QgsSettings().value(FOLDER, ""),
            QgsProject.instance().homePath(),
        ]
        folder = next((f for f in folders if f and os.access(f, os.W_OK)), str(Path.home()))
        path = Path(folder) / "labels.gpkg"
        self.file.setFilePath(str(path))
        self.name.setText(free_name(path, "".join(sign for sign in layer.name() if sign not in '|"') or "labels"))

    def _survey(self, *_: object) -> None:
        """Look at the field's values; the layer may be large."""
        layer, image = self.layer.currentLayer(), self.image.currentLayer()
        self.mapping, self._trouble = ValueMapping(), ""
        self.findings.clear()
        if layer is None:
            self._trouble = "The project has no layer of polygons or points: add one, or make a new label layer."
        elif not self.field.count():
            self._trouble = f"The layer “{layer.name()}” has no field that could hold a class: choose another layer."
        else:
            QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
            try:
                found = survey_field(layer, self.field.currentText(), image.crs() if image is not None else None)
                self.mapping = ValueMapping(found.values)
                if found.findings:
                    self.findings.tell("warning", _summary(found.features, len(found.values)), found.findings)
            except InputError as error:
                self._trouble = error.message
            finally:
                QApplication.restoreOverrideCursor()
        self._fill()
        self._check()

    def _fill(self) -> None:
        self._filling = True
        self.table.setRowCount(len(self.mapping.values))
        for row, (value, entry) in enumerate(zip(self.mapping.values, self.mapping.entries)):
            for column, text in enumerate((value.key, str(value.count), str(entry.code), entry.name)):
                item = QTableWidgetItem(text)
                item.setTextAlignment(_alignment(column))
                if column in (_VALUE, _COUNT):
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                self.table.setItem(row, column, item)
            first = self.table.item(row, _VALUE)
            first.setFlags(first.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            is_used = Qt.CheckState.Checked if self.mapping.used[row] else Qt.CheckState.Unchecked
            first.setCheckState(is_used)
            first.setToolTip(value.key)
            self.table.item(row, _NAME).setIcon(swatch_icon(entry.color))
        self._filling = False

    # -- what is said ---------------------------------------------------------------------------

    def path(self) -> Path:
        """The file of a copy, with its suffix."""
        return with_suffix(self.file.filePath())

    def _check(self, *_: object) -> None:
        is_copy = self.copy.isChecked()
        for widget in (self.name, self.name_label, self.file, self.file_label):
            widget.setEnabled(is_copy)
        layer = self.layer.currentLayer()
        self.selected_only.setEnabled(is_copy and layer is not None and layer.selectedFeatureCount() > 0)
        try:
            self._refuse()
        except InputError as error:
            self.notice.tell("error", error.message)
            self.take_button.setEnabled(False)
            return
        self.take_button.setEnabled(True)
        if is_copy and self.path().exists():
            self.notice.tell("info", f"“{self.path().name}” exists: the layer is added, and all that it has stays.")
        elif is_copy:
            self.notice.clear()
        else:
            self.notice.tell("info", "The features stay as they are; the project keeps the classes, or, where the "
                             "field of a GeoPackage holds their codes, the GeoPackage.")  # fmt: skip

    def _refuse(self) -> None:
        if self._trouble:
            raise InputError(self._trouble)
        if not self.mapping.classes():
            raise InputError("No value is ticked: choose at least one, or another field.")
        if self.copy.isChecked():
            if not self.file.filePath().strip():
                raise InputError("Choose a file for the labels.")
            check_new_layer(self.path(), self.name.text())

    # -- what the analyst does ------------------------------------------------------------------

    def _cell_changed(self, row: int, column: int) -> None:
        if self._filling:
            return
        item = self.table.item(row, column)
        if column == _VALUE:
            self.mapping.used[row] = item.checkState() == Qt.CheckState.Checked
        elif column == _NAME and item.text().strip():
            self.mapping.set_name(row, item.text())
        elif column == _CODE and item.text().strip().isdigit():
            self.mapping.set_code(row, int(item.text()))
        # Not while the cell is still being left.
        QTimer.singleShot(0, self._fill)
        self._check()

    def _double_clicked(self, row: int, column: int) -> None:
        if column not in (_VALUE, _COUNT):
            return
        entry = self.mapping.entries[row]
        color = QgsColorDialog.getColor(QColor(entry.color), self, f"Colour of “{entry.name}”", False)
        if color.isValid():
            self.mapping.set_color(row, color.name())
            self._fill()

    def _take(self) -> None:
        layer, field = self.layer.currentLayer(), self.field.currentText()
        role = ROLE_TITLES[self.role.currentText()]
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            if self.copy.isChecked():
                labels = self._copy(layer, field, role)
            else:
                labels = adopt_layer(layer, field, self.mapping.classes(), self.mapping.meaning(), role)
        except ThematicaError as error:
            self.notice.tell("error", error.message)
            return
        finally:
            QApplication.restoreOverrideCursor()
        self.iface.setActiveLayer(labels.layer)
        self.taken.emit(labels)
        self.accept()

    def _copy(self, layer: QgsVectorLayer, field: str, role: str) -> LabelLayer:
        image = self.image.currentLayer()
        done = copy_layer(
            layer,
            field,
            self.mapping.classes(),
            self.mapping.meaning(),
            self.path(),
            self.name.text(),
            image.crs() if image is not None else None,
            image_name(image) if isinstance(image, QgsRasterLayer) else "",
            role,
            date=image_date(image) if isinstance(image, QgsRasterLayer) else "",
            selected_only=self.selected_only.isEnabled() and self.selected_only.isChecked(),
        )
        QgsSettings().setValue(FOLDER, str(self.path().parent))
        QgsProject.instance().addMapLayer(done.layer)
        said = [f"Copied {done.features} {'feature' if done.features == 1 else 'features'}.", *done.notes]
        node = QgsProject.instance().layerTreeRoot().findLayer(layer.id())
        if node is not None and node.isVisible():
            # Its fills would cover the pixels that are labelled.
            node.setItemVisibilityChecked(False)
            said.append("The original is hidden now.")
        text, bar = " ".join(said), self.iface.messageBar()
        bar.pushWarning("Thematica", text) if done.notes else bar.pushInfo("Thematica", text)
        return LabelLayer.of(done.layer)


def _summary(features: int, values: int) -> str:
    return f"{features} {'feature' if features == 1 else 'features'}, {values} {'value' if values == 1 else 'values'}."


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column in (_COUNT, _CODE) else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
