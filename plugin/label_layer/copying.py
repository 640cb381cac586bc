"""Taking an existing layer over as a copy: a label layer of its own, with the features as they are on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeature,
    QgsFeatureSource,
    QgsField,
    QgsGeometry,
    QgsProject,
    QgsVectorLayer,
    QgsWkbTypes,
)

from ...errors import InputError, OutputError
from ...models.label_classes import LabelClass
from ...models.label_settings import ROLES
from ..compat import POLYGON_GEOMETRY
from .create import create_label_layer, take_away
from .field_values import key_of
from .plain_geometry import plain_geometry, repaired
from .survey import check_source


@dataclass
class Copied:
    """A copy and what became of the features.

    Args:
        layer: the new label layer.
        features: number of features in it.
        notes: sentences for the analyst about what was left out or repaired.
    """

    layer: QgsVectorLayer
    features: int = 0
    notes: list[str] = field(default_factory=list)


def copy_layer(
    source: QgsFeatureSource,
    field_name: str,
    classes: Sequence[LabelClass],
    values: Mapping[str, int],
    path: str | Path,
    name: str,
    crs: QgsCoordinateReferenceSystem | None = None,
    image: str = "",
    role: str = ROLES[0],
    *,
    date: str = "",
    selected_only: bool = False,
) -> Copied:
    """Copy polygons or points into a new label layer, which is not added to the project.

    Args:
        source: a layer or Processing source; unsaved edits, filters, virtual and joined fields come along, and what
            its fields “image”, “date” and “comment” say.
        field_name: the field that holds the class.
        classes: of the new layer.
        values: text of a value → code; features with other values are left out.
        path: a GeoPackage, new or existing.
        name: of the new layer.
        crs: of the new layer; the source's where None.
        image: the image that the labels are of.
        role: what the labels are for.
        date: of the image, ``YYYY-MM-DD``, or empty.
        selected_only: only the selected features of a layer.

    Raises:
        InputError: no polygons or points, no CRS, no such field, or no feature with a class.
        OutputError: the file cannot be written; nothing is left of the copy then.
    """
    check_source(source)
    number = source.fields().lookupField(field_name)
    if number < 0:
        raise InputError(f"The layer “{source.sourceName()}” has no field “{field_name}”: choose another field.")
    target = crs if crs is not None and crs.isValid() else source.sourceCrs()
    transform = QgsCoordinateTransform(source.sourceCrs(), target, QgsProject.instance().transformContext())
    flat = QgsWkbTypes.flatType(source.wkbType())
    kind = "polygon" if QgsWkbTypes.geometryType(flat) == POLYGON_GEOMETRY else "point"
    if kind == "point" and QgsWkbTypes.isMultiType(flat):
        kind = "multipoint"
    existed = Path(path).exists()
    layer = create_label_layer(path, name, target, classes, image, role, geometry=kind, date=date)
    counts = dict.fromkeys(("without_class", "empty", "repaired", "outside"), 0)
    # What an older label layer knows of each feature is kept.
    known = {name: source.fields().lookupField(name) for name in ("image", "date", "comment")}
    features = []
    selected = selected_only and isinstance(source, QgsVectorLayer)
    for feature in source.getSelectedFeatures() if selected else source.getFeatures():
        attributes = feature.attributes()
        code = values.get(key_of(attributes[number]))
        if code is None:
            counts["without_class"] += 1
            continue
        geometry = _geometry(feature.geometry(), transform, counts)
        if geometry is not None:
            given = {"image": image, "date": date, "class": code}
            given.update(
                {n: attributes[k] for n, k in known.items() if k not in (-1, number) and key_of(attributes[k])}
            )
            features.append(_feature(layer, geometry, given))
    try:
        if not features:
            raise InputError("No feature has both a geometry and a class: nothing was copied.")
        done, _ = layer.dataProvider().addFeatures(features)
        if not done or layer.featureCount() != len(features):
            raise OutputError(f"The labels could not be written into “{path}”: the disk may be full.")
    except (InputError, OutputError):
        layer.setDataSource("", "", "ogr")
        take_away(Path(path), name, existed)
        raise
    layer.updateExtents()
    return Copied(layer, len(features), _notes(counts))


def _geometry(geometry: QgsGeometry, transform: QgsCoordinateTransform, counts: dict[str, int]) -> QgsGeometry | None:
    plain = plain_geometry(geometry)
    if plain.isNull():
        counts["empty"] += 1
        return None
    whole = repaired(plain)
    if whole is not plain:
        counts["repaired"] += 1
    if whole.isNull() or whole.isEmpty():
        counts["empty"] += 1
        return None
    try:
        whole.transform(transform)
    except QgsCsException:
        counts["outside"] += 1
        return None
    return whole


def _feature(layer: QgsVectorLayer, geometry: QgsGeometry, values: Mapping[str, Any]) -> QgsFeature:
    feature = QgsFeature(layer.fields())
    for name, value in values.items():
        number = layer.fields().lookupField(name)
        feature.setAttribute(number, _converted(layer.fields().at(number), value))
    feature.setGeometry(geometry.coerceToType(layer.wkbType())[0])
    return feature


def _converted(field: QgsField, value: Any) -> Any:
    """A value in the field's type; None where it says nothing there, such as text that is no date."""
    try:
        return None if value == "" else field.convertCompatible(value)
    except ValueError:
        return None


def _notes(counts: Mapping[str, int]) -> list[str]:
    said = {
        "without_class": "without a class: left out",
        "empty": "without a geometry: left out",
        "repaired": "with an invalid geometry: repaired",
        "outside": "where the CRS of the copy has no place: left out",
    }
    return [
        f"{'1 feature' if count == 1 else f'{count} features'} {said[what]}." for what, count in counts.items() if count
    ]
