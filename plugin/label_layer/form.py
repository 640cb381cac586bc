"""What is asked when a polygon is drawn: its class, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from qgis.core import QgsDefaultValue, QgsEditorWidgetSetup, QgsExpressionContextUtils, QgsVectorLayer

from ...models.label_classes import LabelClass
from ..compat import FORM_SHOWN, FORM_SUPPRESSED, enum_number

#: Layer variables that new features are filled from; the second half is the field's name.
CLASS_VARIABLE = "thematica_class"
IMAGE_VARIABLE = "thematica_image"
DATE_VARIABLE = "thematica_date"
#: Qt's numbers of int, uint, long long and unsigned long long, in QVariant and QMetaType alike.
WHOLE_NUMBERS = (2, 3, 4, 5)


def set_up_form(layer: QgsVectorLayer, field: str) -> None:
    """Let the form of a layer that we made ask for the class only; everything else is filled, or left to the table."""
    fields = layer.fields()
    for number in range(fields.count()):
        name = fields.at(number).name()
        if name == field:
            layer.setFieldAlias(number, "Class")
        elif name != field:
            layer.setEditorWidgetSetup(number, QgsEditorWidgetSetup("Hidden", {}))
    for name, variable in (("image", IMAGE_VARIABLE), ("date", DATE_VARIABLE)):
        number = fields.lookupField(name)
        if number >= 0:
            layer.setDefaultValueDefinition(number, QgsDefaultValue(f"@{variable}"))
    set_default_class(layer, field)


def set_default_class(layer: QgsVectorLayer, field: str) -> None:
    """Let new features begin with the current class."""
    number = layer.fields().lookupField(field)
    field_of_class = layer.fields().at(number)
    expression = f"@{CLASS_VARIABLE}"
    if field_of_class.isNumeric():
        # QGIS keeps variables as text.
        whole = enum_number(field_of_class.type()) in WHOLE_NUMBERS
        expression = f"to_int({expression})" if whole else f"to_real({expression})"
    if layer.defaultValueDefinition(number).expression() != expression:
        layer.setDefaultValueDefinition(number, QgsDefaultValue(expression))


def list_classes(
    layer: QgsVectorLayer, field: str, classes: Sequence[LabelClass], values_of: Callable[[int], list[Any]]
) -> None:
    """Offer the classes in the form, as “1 – Water”."""
    entries = [
        {f"{entry.code} – {entry.name}": str(values_of(entry.code)[0])} for entry in classes if values_of(entry.code)
    ]
    number = layer.fields().lookupField(field)
    setup = QgsEditorWidgetSetup("ValueMap", {"map": entries})
    old = layer.editorWidgetSetup(number)
    if (old.type(), old.config()) != (setup.type(), setup.config()):
        layer.setEditorWidgetSetup(number, setup)


def set_variable(layer: QgsVectorLayer, variable: str, value: Any) -> None:
    """Set what new features get; the layer's other variables stay."""
    if QgsExpressionContextUtils.layerScope(layer).variable(variable) != value:
        QgsExpressionContextUtils.setLayerVariable(layer, variable, value)


def variable_of(layer: QgsVectorLayer, variable: str) -> Any:
    """What new features get, or None."""
    return QgsExpressionContextUtils.layerScope(layer).variable(variable)


def set_asking(layer: QgsVectorLayer, asking: bool) -> None:
    """Ask for the class of each new feature, whatever QGIS's settings say, or take the current one."""
    config = layer.editFormConfig()
    config.setSuppress(FORM_SHOWN if asking else FORM_SUPPRESSED)
    layer.setEditFormConfig(config)


def is_asking(layer: QgsVectorLayer) -> bool:
    """Whether the class of a new feature is asked for."""
    return layer.editFormConfig().suppress() != FORM_SUPPRESSED
