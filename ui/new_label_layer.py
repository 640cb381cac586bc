"""The dialog "New Label Layer": image, file, classes; then QGIS's own tools draw."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qgis.core import QgsCoordinateReferenceSystem, QgsMapLayer, QgsProject, QgsRasterLayer, QgsSettings
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import QDate, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QDialog, QWidget

from ..errors import InputError, OutputError, ThematicaError
from ..models.label_classes import LabelClass
from ..models.label_settings import ROLES
from ..plugin.compat import RASTER_LAYERS
from ..plugin.label_layer import LabelLayer, create_label_layer
from ..plugin.label_layer.create import check_new_layer, tables_of
from ..plugin.label_layer.draft import ClassDraft
from ..plugin.label_layer.drawing import prepare_drawing
from ..plugin.label_layer.image_facts import image_date, image_name
from ..plugin.replacing import file_of_layer
from .forms import load_form

#: Setting: where labels were written last.
FOLDER = "thematica/labels/folder"
_ASK = "thematica/labels/ask"
#: What the lists say → what is stored.
ROLE_TITLES = {"training": ROLES[0], "validation": ROLES[1], "test of the map": ROLES[2]}
_GEOMETRIES = {"polygons": "polygon", "points": "point"}
_LAND_COVER = (
    LabelClass(1, "Water", "#2c6fbb"),
    LabelClass(2, "Trees", "#1f7a3d", "Vegetation"),
    LabelClass(3, "Crops and grass", "#9ccc3c", "Vegetation"),
    LabelClass(4, "Bare ground", "#c8a165"),
    LabelClass(5, "Built-up", "#d0362b"),
)
_TWO = (LabelClass(1, "Class 1", "#d0362b"), LabelClass(2, "Class 2", "#2c6fbb"))


class NewLabelLayer(QDialog):
    """Makes a label layer, adds it to the project and starts drawing.

    Args:
        iface: QGIS's interface.
        image: the raster that is proposed, if it is one.
        parent: the Qt parent.
    """

    #: The new layer, which is in the project and being edited.
    created = pyqtSignal(object)

    def __init__(self, iface: Any, image: QgsMapLayer | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "new_label_layer")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.iface = iface
        self.draft = ClassDraft(_LAND_COVER, self)
        self.image.setFilters(RASTER_LAYERS)
        self.image.setAllowEmptyLayer(True)
        if isinstance(image, QgsRasterLayer):
            self.image.setLayer(image)
        elif self.image.count() > 1:
            self.image.setCurrentIndex(1)
        self.geometry_choice.addItems(_GEOMETRIES)
        self.role.addItems(ROLE_TITLES)
        self.file.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.file.setFilter("GeoPackage (*.gpkg)")
        self.file.setConfirmOverwrite(False)  # nothing is overwritten: a layer is added
        self.ask.setChecked(QgsSettings().value(_ASK, True, type=bool))
        self._fill_presets()
        self.classes.set_source(self.draft)
        self._image_changed()
        self._propose_place()
        self.image.layerChanged.connect(self._image_changed)
        self.preset.activated.connect(self._take_preset)
        self.geometry_choice.currentIndexChanged.connect(self._geometry_changed)
        self.draft.classes_changed.connect(self._check)
        for field in (self.name.textChanged, self.date.textChanged, self.file.fileChanged):
            field.connect(self._check)
        self.create_button.clicked.connect(self._create)
        self.cancel_button.clicked.connect(self.reject)
        self._check()
        self.name.setFocus()
        self.name.selectAll()

    # -- what is proposed -----------------------------------------------------------------------

    def _fill_presets(self) -> None:
        self.preset.addItem("five of land cover", list(_LAND_COVER))
        self.preset.addItem("two, to be named", list(_TWO))
        for layer in QgsProject.instance().mapLayers().values():
            labels = LabelLayer.of(layer)
            if labels is not None:
                self.preset.addItem(f"as in “{layer.name()}”", labels.classes())

    def _take_preset(self, _: int) -> None:
        self.draft.set_classes(self.preset.currentData())

    def _image_changed(self, *_: object) -> None:
        layer = self.image.currentLayer()
        self.date.setText(image_date(layer) if layer is not None else "")
        self._check()

    def _geometry_changed(self, _: int) -> None:
        self.borders.setEnabled(self._geometry() == "polygon")
        self.ask.setText(f"As&k for the class of each {self._geometry()}")

    def _propose_place(self) -> None:
        project, layer = QgsProject.instance(), self.image.currentLayer()
        folders = [QgsSettings().value(FOLDER, ""), project.homePath()]
        if layer is not None:
            folders.append(os.path.dirname(file_of_layer(layer)))
        folder = next((f for f in folders if f and os.access(f, os.W_OK)), str(Path.home()))
        path = Path(folder) / "labels.gpkg"
        self.file.setFilePath(str(path))
        self.name.setText(free_name(path))

    # -- what is said ---------------------------------------------------------------------------

    def path(self) -> Path:
        """The file that is written, with its suffix."""
        return with_suffix(self.file.filePath())

    def _geometry(self) -> str:
        return _GEOMETRIES[self.geometry_choice.currentText()]

    def _crs(self) -> QgsCoordinateReferenceSystem:
        layer = self.image.currentLayer()
        return layer.crs() if layer is not None else QgsProject.instance().crs()

    def _check(self, *_: object) -> None:
        """Say what stands against it, or what becomes of a file that exists."""
        try:
            self._refuse()
        except InputError as error:
            self.notice.tell("error" if isinstance(error, OutputError) else "info", error.message)
            self.create_button.setEnabled(False)
            return
        self.create_button.setEnabled(True)
        if self.path().exists():
            self.notice.tell("info", f"“{self.path().name}” exists: the layer is added, and all that it has stays.")
        else:
            self.notice.clear()

    def _refuse(self) -> None:
        if not self.file.filePath().strip():
            raise InputError("Choose a file for the labels.")
        check_new_layer(self.path(), self.name.text())
        if not self._crs().isValid():
            raise InputError("Choose an image with a CRS, or set the project's CRS.")
        date = self.date.text().strip()
        if date and not QDate.fromString(date, "yyyy-MM-dd").isValid():
            raise InputError("Write the date as YYYY-MM-DD, such as 2020-06-30, or leave it empty.")
        if not self.draft.classes():
            raise InputError("Add at least one class.")

    # -- what is done ---------------------------------------------------------------------------

    def _create(self) -> None:
        image = self.image.currentLayer()
        try:
            layer = create_label_layer(
                self.path(),
                self.name.text(),
                self._crs(),
                self.draft.classes(),
                image_name(image) if image is not None else "",
                ROLE_TITLES[self.role.currentText()],
                geometry=self._geometry(),
                date=self.date.text().strip(),
                asking=self.ask.isChecked(),
            )
        except ThematicaError as error:
            self.notice.tell("error", error.message)
            return
        QgsSettings().setValue(FOLDER, str(self.path().parent))
        QgsSettings().setValue(_ASK, self.ask.isChecked())
        QgsProject.instance().addMapLayer(layer)
        self.iface.setActiveLayer(layer)
        layer.startEditing()
        said = "Draw on the map; the keys 1 to 9 choose the class."
        if self.borders.isChecked() and self.borders.isEnabled():
            said = f"{said} {prepare_drawing(layer)}".strip()
        self.iface.actionAddFeature().trigger()
        self.iface.messageBar().pushInfo("Thematica", said)
        self.created.emit(layer)
        self.accept()


def with_suffix(text: str) -> Path:
    """The file that is meant by what was typed: a GeoPackage."""
    path = Path(text.strip().strip('"'))
    return path if path.suffix.lower() == ".gpkg" or not path.name else path.with_name(path.name + ".gpkg")


def free_name(path: Path, wanted: str = "labels") -> str:
    """The name that is wanted, with a number where the file has it already."""
    try:
        taken = {name.casefold() for name in tables_of(path)} if path.exists() else set()
    except OutputError:
        taken = set()
    number, name = 1, wanted
    while name.casefold() in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name
