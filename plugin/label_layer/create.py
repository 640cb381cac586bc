"""A new label layer: a table in a GeoPackage, new or existing, with its classes, style and form."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import Error as SqliteError

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFields,
    QgsProviderRegistry,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from ...errors import InputError, OutputError, ThematicaError
from ...models.label_classes import LabelClass, check_classes
from ...models.label_settings import ROLES
from ..compat import GPKG_ADD_LAYER, GPKG_NEW_FILE, MULTI_POINT, MULTI_POLYGON, POINT, WRITER_NO_ERROR
from .class_list import ClassList
from .form import set_up_form
from .keeping import CLASS_FIELD, Kept, write_file
from .label_layer import LabelLayer
from .style import show_classes
from .style_in_file import write_style

#: What kinds of labels there are, and how they are stored.
GEOMETRIES = {"polygon": MULTI_POLYGON, "point": POINT, "multipoint": MULTI_POINT}
# Names that GeoPackage and SQLite keep for themselves, and ours.
_RESERVED = ("gpkg_", "sqlite_", "rtree_", "thematica_", "layer_styles")


def create_label_layer(
    path: str | Path,
    name: str,
    crs: QgsCoordinateReferenceSystem,
    classes: Sequence[LabelClass],
    image: str = "",
    role: str = ROLES[0],
    *,
    geometry: str = "polygon",
    date: str = "",
    asking: bool = True,
) -> QgsVectorLayer:
    """Make a label layer; it is not added to the project.

    Args:
        path: a GeoPackage; one that exists gets one more layer, and keeps all that it has.
        name: of the layer.
        crs: usually that of the image that is labelled.
        classes: at least one.
        image: name of the image on which labels are drawn first.
        role: what the labels are for (:data:`...models.label_settings.ROLES`).
        geometry: ``polygon``, ``point`` or ``multipoint``.
        date: of the image, ``YYYY-MM-DD``, or empty.
        asking: whether the form asks for the class of what is drawn.

    Raises:
        InputError: a name, class list or CRS that cannot be.
        OutputError: the file cannot be written, or has a layer of this name already.
    """
    path, name = Path(path), name.strip()
    check_new_layer(path, name)
    check_classes(classes)
    if not classes:
        raise InputError("Give the label layer at least one class.")
    if not crs.isValid():
        raise InputError("Choose a CRS for the label layer: the image has none.")
    if role not in ROLES:
        raise InputError(f"Labels are for training, validation or test, not “{role}”.")
    fields = QgsFields()
    for field in _fields():
        fields.append(field)
    existed = path.exists()
    _write(path, name, crs, fields, geometry, existed)
    try:
        layer = _open(path, name)
        write_file(layer, Kept(CLASS_FIELD, ClassList(tuple(classes)), role))
        set_up_form(layer, CLASS_FIELD)
        show_classes(layer, CLASS_FIELD, classes, lambda code: [code])
        labels = LabelLayer(layer)
        labels.set_asking(asking)
        labels.set_image(image, date)
        write_style(layer)
    except ThematicaError:
        take_away(path, name, existed)
        raise
    return layer


def check_new_layer(path: str | Path, name: str) -> None:
    """Refuse a place where no new layer can be.

    Raises:
        InputError: no name, or one that GeoPackages do not allow.
        OutputError: the file is no GeoPackage, has a layer of this name, or its folder is missing or read-only.
    """
    path, name = Path(path), name.strip()
    if not name:
        raise InputError("Give the label layer a name.")
    if name.lower().startswith(_RESERVED) or any(sign in name for sign in '|"') or not name.isprintable():
        raise InputError(f"A layer cannot be called “{name}”: choose another name.")
    if path.suffix.lower() != ".gpkg":
        raise OutputError(f"Labels are kept in a GeoPackage: let the name “{path.name}” end with .gpkg.")
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder “{path.parent}”: choose another one.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"“{path}” cannot be written: choose another folder.")
    if path.exists() and name.casefold() in {table.casefold() for table in tables_of(path)}:
        raise OutputError(f"“{path}” has a layer “{name}” already: choose another name, or open that layer.")


def tables_of(path: str | Path) -> list[str]:
    """Names of the layers and tables in a GeoPackage.

    Raises:
        OutputError: it is none.
    """
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as database:
            listed = database.execute("SELECT table_name FROM gpkg_contents").fetchall()
            others = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    except SqliteError as error:
        raise OutputError(
            f"“{path}” exists and is no GeoPackage that can be read: choose another name.", repr(error)
        ) from error
    return list(dict.fromkeys(name for (name,) in (*listed, *others)))


def _fields() -> list:
    # QGIS's own words for types, which stayed the same while the names of Qt's types did not.
    made = QgsVectorLayer(
        f"Point?field={CLASS_FIELD}:integer&field=image:string(0,0)&field=date:date&field=comment:string(0,0)",
        "",
        "memory",
    )
    return list(made.fields())


def _write(
    path: Path, name: str, crs: QgsCoordinateReferenceSystem, fields: QgsFields, geometry: str, existed: bool
) -> None:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = name
    options.fileEncoding = "UTF-8"
    options.actionOnExistingFile = GPKG_ADD_LAYER if existed else GPKG_NEW_FILE
    writer = QgsVectorFileWriter.create(
        str(path), fields, GEOMETRIES[geometry], crs, QgsCoordinateTransformContext(), options
    )
    failed, message = writer.hasError() != WRITER_NO_ERROR, writer.errorMessage()
    del writer  # closes the file
    if failed:
        raise OutputError(f"The label layer could not be written into “{path}”: {message}.")


def _open(path: Path, name: str) -> QgsVectorLayer:
    layer = QgsVectorLayer(f"{path}|layername={name}", name, "ogr")
    if not layer.isValid():
        raise OutputError(f"The label layer could not be opened again in “{path}”: the disk may be full.")
    return layer


def take_away(path: Path, name: str, existed: bool) -> None:
    """Leave a place as it was before a layer was made there.

    Args:
        path: the GeoPackage.
        name: of the new layer.
        existed: whether the file was there before.
    """
    try:
        if existed:
            metadata = QgsProviderRegistry.instance().providerMetadata("ogr")
            metadata.createConnection(str(path), {}).dropVectorTable("", name)
        else:
            path.unlink()
    except Exception:  # noqa: BLE001, S110 - what QGIS raises here is no family; the first error is told
        pass
