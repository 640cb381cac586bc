"""Taking an existing layer over as it is: its field's values stand for classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qgis.core import QgsVectorLayer

from ...errors import InputError, OutputError
from ...models.label_classes import LabelClass, check_classes
from ...models.label_settings import ROLES
from ..compat import enum_number
from .class_list import ClassList
from .form import WHOLE_NUMBERS
from .keeping import Kept, address_in_geopackage, forget_project, write_file, write_project
from .label_layer import LabelLayer
from .style import show_classes
from .survey import survey_field


def adopt_layer(
    layer: QgsVectorLayer,
    field: str,
    classes: Sequence[LabelClass] | None = None,
    values: Mapping[str, int] | None = None,
    role: str = ROLES[0],
) -> LabelLayer:
    """Make a layer a label layer; its features stay as they are.

    A GeoPackage whose field holds the codes keeps the classes itself; of any other layer the project keeps them.

    Args:
        layer: polygons or points of any provider.
        field: the field that holds the class; virtual and joined ones, too.
        classes: those that its values stand for; made from the values where None.
        values: text of a value → code; several values may be one class, and values that are left out are no class.
        role: what the labels are for.

    Raises:
        InputError: no polygons or points, no such field, or classes that cannot be.
    """
    if classes is None or values is None:
        found = survey_field(layer, field)
        classes = found.classes() if classes is None else classes
        values = found.meaning() if values is None else values
    check_classes(classes)
    if not classes:
        raise InputError(f"The field “{field}” has no values: choose another field.")
    if layer.fields().lookupField(field) < 0:
        raise InputError(f"The layer “{layer.name()}” has no field “{field}”: choose another field.")
    known = LabelLayer.of(layer)
    if known is not None:
        known.end()
    if not _keep_in_file(layer, field, classes, values, role):
        write_project(layer, Kept(field, ClassList(tuple(classes), dict(values)), role))
    labels = LabelLayer(layer)
    show_classes(layer, field, classes, labels.values_of)
    return labels


def _keep_in_file(
    layer: QgsVectorLayer, field: str, classes: Sequence[LabelClass], values: Mapping[str, int], role: str
) -> bool:
    """Keep the classes in the layer's GeoPackage, where every value is the code itself."""
    number = layer.fields().lookupField(field)
    whole = enum_number(layer.fields().at(number).type()) in WHOLE_NUMBERS
    own = layer.dataProvider().fields().lookupField(field) >= 0
    if address_in_geopackage(layer) is None or not whole or not own:
        return False
    if layer.readOnly() or any(key != str(code) for key, code in values.items()):
        return False
    try:
        write_file(layer, Kept(field, ClassList(tuple(classes)), role))
    except OutputError:
        return False  # read-only: the project keeps them
    forget_project(layer)
    return True
