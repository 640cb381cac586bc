"""Labels as they are on the screen, written to a file that the worker can read.

Reading the layer's own file would miss unsaved edits, filters, selections, virtual and joined fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qgis.core import (
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeatureSource,
    QgsFields,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)

from ..errors import InputError
from ..models.label_classes import LabelClass, write_classes
from ..models.label_settings import FIELD, ROLE, ROLES, write_label_settings
from .compat import MULTI_POINT, MULTI_POLYGON, POLYGON_GEOMETRY, WRITER_NO_ERROR, enum_number
from .label_layer.field_values import key_of
from .label_layer.label_layer import LabelLayer
from .label_layer.plain_geometry import plain_geometry
from .label_layer.survey import check_source, survey_field

#: Name of the layer in the file.
TABLE = "labels"
# Field types that come along, by Qt's numbers: bool, int, uint, long long, unsigned long long, double, text, date,
# time of day and both.
_SIMPLE = (1, 2, 3, 4, 5, 6, 10, 14, 15, 16)
# Names that the table of a GeoPackage has for itself.
_TAKEN = ("fid", "geom")


@dataclass
class WrittenLabels:
    """A file of labels.

    Args:
        path: the GeoPackage; its one layer of features is :data:`TABLE`.
        field: the field with the codes of the classes; called otherwise than the layer's where that cannot be.
        classes: those of the file's class table.
        role: training, validation or test.
        features: number of features; their ids in the file are those in the layer.
        warnings: sentences for the analyst.
    """

    path: Path
    field: str
    classes: list[LabelClass]
    role: str = ROLES[0]
    features: int = 0
    warnings: list[str] = field(default_factory=list)


def write_labels(
    source: QgsFeatureSource, path: str | Path, field_name: str = "", selected_only: bool = False
) -> WrittenLabels:
    """Write the labels of a layer or Processing source, with the codes and names of their classes.

    Curves become segments, Z and M are dropped; all plain fields come along, and new, unsaved features have their
    negative ids.  A feature without a class has NULL.

    Args:
        source: polygons or points; a label layer is written with its own classes.
        path: a GeoPackage that is made.
        field_name: the field that holds the class; a label layer's own where empty.
        selected_only: only the selected features of a layer.

    Raises:
        InputError: no polygons or points, no CRS, no such field, no features, or the file cannot be written.
    """
    check_source(source)
    path, name = Path(path), source.sourceName() or "labels"
    labels = LabelLayer.of(source) if isinstance(source, QgsVectorLayer) else None
    if labels is not None and field_name not in ("", labels.class_field):
        labels = None  # another field of a label layer is wanted, with the classes that it has
    field_name = field_name or (labels.class_field if labels is not None else "")
    number = source.fields().lookupField(field_name)
    if number < 0:
        raise InputError(f"The layer “{name}” has no field “{field_name}”: choose the field that holds the class.")
    if labels is not None:
        classes, role, meaning = labels.classes(), labels.role, None
    else:
        found = survey_field(source, field_name)
        classes, role, meaning = found.classes(), ROLES[0], found.meaning()
    written = WrittenLabels(path, _free_name(field_name, source.fields()), classes, role)
    columns = _columns(source.fields(), number)
    fields = _fields(source.fields(), columns, number, written.field)
    writer = _writer(source, path, fields)
    selected = selected_only and isinstance(source, QgsVectorLayer)
    # Ids of a Processing source may come twice.
    keeps_ids = isinstance(source, QgsVectorLayer)
    for feature in source.getSelectedFeatures() if selected else source.getFeatures():
        geometry = plain_geometry(feature.geometry())
        if geometry.isNull():
            continue
        attributes = feature.attributes()
        value = attributes[number]
        code = labels.code_of(value) if labels is not None else _code(meaning, value)
        out = QgsFeature(fields)
        out.setAttributes([feature.id() if keeps_ids else None, code, *(attributes[c] for c in columns)])
        out.setGeometry(geometry)
        writer.addFeature(out)
        written.features += 1
    failed, message = writer.hasError() != WRITER_NO_ERROR, writer.errorMessage()
    del writer  # closes the file
    if failed:
        raise InputError(f"The labels of “{name}” could not be written to a temporary file: {message}.")
    if not written.features:
        what = "no selected features" if selected else "no features"
        raise InputError(f"The layer “{name}” has {what} (a filter may hide them): choose another layer.")
    write_classes(path, TABLE, classes)
    write_label_settings(path, TABLE, {FIELD: written.field, ROLE: role})
    return written


def _code(meaning: Mapping[str, int], value: object) -> int | None:
    return meaning.get(key_of(value))


def _free_name(field_name: str, fields: QgsFields) -> str:
    """The field's name in the file, where a GeoPackage may have it."""
    if field_name.lower() not in _TAKEN:
        return field_name
    names = {fields.at(number).name().lower() for number in range(fields.count())}
    return next(name for name in ("class", "label", "thematica_class") if name not in names)


def _columns(fields: QgsFields, class_number: int) -> list[int]:
    """Numbers of the further fields that come along: plain ones, each name once whatever its case."""
    seen = {*_TAKEN, fields.at(class_number).name().lower()}
    columns = []
    for number in range(fields.count()):
        name = fields.at(number).name().lower()
        if name not in seen and enum_number(fields.at(number).type()) in _SIMPLE:
            seen.add(name)
            columns.append(number)
    return columns


def _fields(fields: QgsFields, columns: list[int], class_number: int, class_field: str) -> QgsFields:
    made = QgsFields()
    # QGIS's own words for types, which stayed the same while the names of Qt's types did not.
    own = QgsVectorLayer("Point?field=fid:int8&field=code:integer", "", "memory").fields()
    made.append(own.at(0))
    code = own.at(1)
    code.setName(class_field)
    made.append(code)
    for number in columns:
        made.append(fields.at(number))
    return made


def _writer(source: QgsFeatureSource, path: Path, fields: QgsFields) -> QgsVectorFileWriter:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = TABLE
    options.fileEncoding = "UTF-8"
    is_polygon = QgsWkbTypes.geometryType(source.wkbType()) == POLYGON_GEOMETRY
    kind = MULTI_POLYGON if is_polygon else MULTI_POINT
    return QgsVectorFileWriter.create(
        str(path), fields, kind, source.sourceCrs(), QgsCoordinateTransformContext(), options
    )
