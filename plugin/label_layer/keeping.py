"""Where a layer's classes are kept: in its GeoPackage, or, for any other layer, in the project.

A GeoPackage is written when the layer's edits are; what could not be written into it waits in the project.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import QgsDataProvider, QgsMapLayer, QgsProviderRegistry, QgsVectorLayer

from ...errors import InputError
from ...models.label_classes import LabelClass, from_json, read_classes, to_json, write_classes
from ...models.label_settings import FIELD, ROLE, ROLES, read_label_settings, write_label_settings
from .class_list import ClassList

#: Name of the field that holds the class in layers that we make.
CLASS_FIELD = "class"
#: Custom property of layers whose classes the project keeps, and of lists that a GeoPackage did not take yet.
PROPERTY = "thematica/label_layer"


@dataclass(frozen=True)
class Kept:
    """What is known of a label layer.

    Args:
        field: name of the field that holds the class.
        classes: the classes.
        role: one of :data:`..models.label_settings.ROLES`.
    """

    field: str
    classes: ClassList
    role: str = ROLES[0]


def address_in_geopackage(layer: QgsMapLayer | None) -> tuple[Path, str] | None:
    """File and table of a layer in a GeoPackage; None for any other layer."""
    if not isinstance(layer, QgsVectorLayer) or layer.providerType() != "ogr":
        return None
    parts = QgsProviderRegistry.instance().decodeUri("ogr", layer.source())
    path = str(parts.get("path") or "")
    if Path(path).suffix.lower() != ".gpkg" or not Path(path).is_file():
        return None
    table = str(parts.get("layerName") or "") or _table_of(layer, parts.get("layerId"))
    return (Path(path), table) if table else None


def _table_of(layer: QgsVectorLayer, number: Any) -> str:
    """The table's name where the source gives only its number, or nothing, which means the first."""
    wanted = str(number) if number is not None else "0"
    for entry in layer.dataProvider().subLayers():
        parts = entry.split(QgsDataProvider.SUBLAYER_SEPARATOR)
        if len(parts) > 1 and parts[0] == wanted:
            return str(parts[1])
    return ""


def read_kept(layer: QgsMapLayer | None) -> Kept | None:
    """What is known of a layer, or None where it is no label layer."""
    if not isinstance(layer, QgsVectorLayer) or not layer.isValid():
        return None
    kept = _read_project(layer)
    if kept is not None and layer.fields().lookupField(kept.field) >= 0:
        return kept
    address = address_in_geopackage(layer)
    if address is None:
        return None
    classes = read_classes(*address)
    if not classes:
        return None
    settings = read_label_settings(*address)
    field, role = settings.get(FIELD, CLASS_FIELD), settings.get(ROLE, ROLES[0])
    if layer.fields().lookupField(field) < 0:
        return None
    return Kept(field, ClassList(tuple(classes)), role if role in ROLES else ROLES[0])


def classes_in_file(layer: QgsVectorLayer) -> list[LabelClass]:
    """The classes that the layer's GeoPackage has just now; empty where it has none, or cannot be read."""
    address = address_in_geopackage(layer)
    return read_classes(*address) if address is not None else []


def is_kept_in_file(layer: QgsVectorLayer, classes: ClassList) -> bool:
    """True where the classes belong into the layer's own GeoPackage: its field holds our codes."""
    return classes.values is None and address_in_geopackage(layer) is not None


def write_file(layer: QgsVectorLayer, kept: Kept) -> None:
    """Keep classes, field and role in the layer's GeoPackage.

    Raises:
        InputError: the list cannot be.
        OutputError: the file cannot be written.
    """
    address = address_in_geopackage(layer)
    if address is None:
        raise InputError(f"The layer “{layer.name()}” is in no GeoPackage (any more).")
    write_classes(*address, kept.classes.classes)
    if read_label_settings(*address) != {FIELD: kept.field, ROLE: kept.role}:
        write_label_settings(*address, {FIELD: kept.field, ROLE: kept.role})


def write_role(layer: QgsVectorLayer, role: str) -> None:
    """Keep only the role in the layer's GeoPackage.

    Raises:
        OutputError: the file cannot be written.
    """
    address = address_in_geopackage(layer)
    if address is not None:
        write_label_settings(*address, {ROLE: role})


def write_project(layer: QgsVectorLayer, kept: Kept) -> None:
    """Keep all in the layer's properties, which the project saves."""
    values = kept.classes.values
    text = json.dumps(
        {
            "field": kept.field,
            "role": kept.role,
            "classes": json.loads(to_json(kept.classes.classes)),
            "values": None if values is None else dict(values),
        },
        ensure_ascii=False,
    )
    if layer.customProperty(PROPERTY) != text:
        layer.setCustomProperty(PROPERTY, text)


def is_in_project(layer: QgsVectorLayer) -> bool:
    """True where the layer's properties hold a list of classes."""
    return bool(layer.customProperty(PROPERTY))


def forget_project(layer: QgsVectorLayer) -> None:
    """Let the file alone say what the layer's classes are."""
    if layer.customProperty(PROPERTY) is not None:
        layer.removeCustomProperty(PROPERTY)


def _read_project(layer: QgsVectorLayer) -> Kept | None:
    text = layer.customProperty(PROPERTY)
    if not text:
        return None
    try:
        known = json.loads(text)
        values = known["values"]
        if values is not None:
            values = {str(value): int(code) for value, code in values.items()}
        classes = ClassList(tuple(from_json(json.dumps(known["classes"]))), values)
        role = str(known["role"])
        return Kept(str(known["field"]), classes, role if role in ROLES else ROLES[0])
    except (ValueError, TypeError, KeyError, AttributeError, InputError):
        # Written by another version, or spoiled: the layer is as if it had never been taken over.
        return None
