"""How a label layer looks: each class in its colour, light enough for the image below, with a solid outline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from qgis.core import (
    NULL,
    QgsCategorizedSymbolRenderer,
    QgsExpression,
    QgsFillSymbol,
    QgsMarkerSymbol,
    QgsPalLayerSettings,
    QgsRendererCategory,
    QgsSimpleFillSymbolLayer,
    QgsSymbol,
    QgsTextBufferSettings,
    QgsTextFormat,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
    QgsWkbTypes,
)
from qgis.PyQt.QtGui import QColor

from ...models.label_classes import LabelClass
from ..compat import POLYGON_GEOMETRY

#: How much of the class's colour covers the image.
OPACITY = 0.35
_OUTLINE = "0.5"
# Light around the outline: it is seen on dark forest, too.
_HALO = "255,255,255,150"
_HALO_WIDTH = "1.1"
_NO_CLASS = "no class"
_NO_CLASS_COLOR = "#404040"


def show_classes(
    layer: QgsVectorLayer, field: str, classes: Sequence[LabelClass], values_of: Callable[[int], list[Any]]
) -> None:
    """Let the layer show its classes; symbols that the analyst changed by hand keep all but their colour.

    Args:
        layer: polygons or points.
        field: name of the field that holds the class.
        classes: in the legend's order.
        values_of: what the field holds for a code.
    """
    before = _symbols(layer, field)
    categories = []
    for entry in classes:
        values = values_of(entry.code)
        symbol = _take(before, values)
        if symbol is None:
            symbol = class_symbol(layer, entry.color)
        else:
            color_symbol(symbol, entry.color)
        categories.append(QgsRendererCategory(values[0] if len(values) == 1 else values, symbol, entry.name))
    # What has no class, or a code that no class has, must be seen, too: the empty text stands for all other values.
    rest = _take(before, [""]) or _symbol_without_class(layer)
    categories.append(QgsRendererCategory("", rest, _NO_CLASS))
    renderer = QgsCategorizedSymbolRenderer(field, categories)
    old = layer.renderer()
    if isinstance(old, QgsCategorizedSymbolRenderer) and old.usingSymbolLevels():
        renderer.setUsingSymbolLevels(True)
    layer.setRenderer(renderer)
    layer.emitStyleChanged()
    layer.triggerRepaint()


def class_symbol(layer: QgsVectorLayer, color: str) -> QgsSymbol:
    """The symbol of a class: a light fill with a solid outline, or a dot with a white rim."""
    if QgsWkbTypes.geometryType(layer.wkbType()) == POLYGON_GEOMETRY:
        symbol = _outlined({"outline_style": "solid", "joinstyle": "round"})
    else:
        symbol = QgsMarkerSymbol.createSimple(
            {"name": "circle", "size": "2.8", "outline_color": "255,255,255", "outline_width": "0.4"}
        )
    color_symbol(symbol, color, OPACITY)
    return symbol


def color_symbol(symbol: QgsSymbol, color: str, opacity: float | None = None) -> None:
    """Give a symbol another colour.

    Args:
        symbol: of any make.
        color: ``#rrggbb``.
        opacity: of a fill, from 0 to 1; what the fill has where None.
    """
    for number in range(symbol.symbolLayerCount()):
        part = symbol.symbolLayer(number)
        if part.isLocked():
            continue  # its colour is to stay
        if isinstance(part, QgsSimpleFillSymbolLayer):
            fill = QColor(color)
            fill.setAlphaF(part.fillColor().alphaF() if opacity is None else opacity)
            part.setFillColor(fill)
            part.setStrokeColor(QColor(color))
        else:
            shade = QColor(color)
            shade.setAlphaF(part.color().alphaF())
            part.setColor(shade)


def is_shown(layer: QgsVectorLayer, field: str) -> bool:
    """True where the layer's style is one of classes; any other is the analyst's choice, and stays."""
    renderer = layer.renderer()
    return isinstance(renderer, QgsCategorizedSymbolRenderer) and _plain(renderer.classAttribute()) == field


def label_classes(
    layer: QgsVectorLayer,
    field: str,
    classes: Sequence[LabelClass],
    values_of: Callable[[int], list[Any]],
    shown: bool,
) -> None:
    """Write each feature's class beside it, or no longer.

    Args:
        layer: polygons or points.
        field: name of the field that holds the class.
        classes: whose names are written.
        values_of: what the field holds for a code.
        shown: True to write them.
    """
    layer.setLabelsEnabled(shown)
    if shown:
        settings = QgsPalLayerSettings()
        settings.isExpression = True
        settings.fieldName = _name_expression(field, classes, values_of)
        text, buffer = QgsTextFormat(), QgsTextBufferSettings()
        buffer.setEnabled(True)
        buffer.setSize(0.8)
        text.setBuffer(buffer)
        text.setSize(8)
        settings.setFormat(text)
        layer.setLabeling(QgsVectorLayerSimpleLabeling(settings))
    layer.triggerRepaint()


def colors_of_renderer(layer: QgsVectorLayer, field: str) -> dict[str, tuple[str, str]]:
    """Text of a value → colour (``#rrggbb``) and legend text, where the layer has categories by this field."""
    if not is_shown(layer, field):
        return {}
    renderer, found = layer.renderer(), {}
    for category in renderer.categories():
        value = category.value()
        for one in value if isinstance(value, list) else [value]:
            if not (one is None or one == NULL) and category.symbol() is not None:
                found[str(one)] = (category.symbol().color().name(), category.label())
    return found


def _name_expression(field: str, classes: Sequence[LabelClass], values_of: Callable[[int], list[Any]]) -> str:
    column = QgsExpression.quotedColumnRef(field)
    cases = [
        f" WHEN {column} = {QgsExpression.quotedValue(value)} THEN {QgsExpression.quotedString(entry.name)}"
        for entry in classes
        for value in values_of(entry.code)
    ]
    return f"CASE{''.join(cases)} ELSE to_string({column}) END" if cases else f"to_string({column})"


def _plain(attribute: str) -> str:
    """A field's name as a renderer has it: bare, or quoted as an expression."""
    if len(attribute) > 1 and attribute[0] == attribute[-1] == '"':
        return attribute[1:-1].replace('""', '"')
    return attribute


def _symbols(layer: QgsVectorLayer, field: str) -> dict[str, QgsSymbol]:
    if not is_shown(layer, field):
        return {}
    renderer, found = layer.renderer(), {}
    for category in renderer.categories():
        value = category.value()
        for one in value if isinstance(value, list) else [value]:
            if category.symbol() is not None:
                found[_key(one)] = category.symbol().clone()
    return found


def _take(symbols: dict[str, QgsSymbol], values: Sequence[Any]) -> QgsSymbol | None:
    for value in values:
        if _key(value) in symbols:
            return symbols[_key(value)].clone()
    return None


def _key(value: Any) -> str:
    return "" if value is None or value == NULL else str(value)


def _symbol_without_class(layer: QgsVectorLayer) -> QgsSymbol:
    if QgsWkbTypes.geometryType(layer.wkbType()) == POLYGON_GEOMETRY:
        return _outlined({"style": "no", "outline_style": "dash", "outline_color": _NO_CLASS_COLOR})
    return QgsMarkerSymbol.createSimple({"name": "circle", "size": "2.8", "color": "255,255,255"})


def _outlined(fill: dict[str, str]) -> QgsFillSymbol:
    """A simple fill over a light, broader line, whose colour is to stay."""
    symbol = QgsFillSymbol.createSimple({"style": "no", "outline_color": _HALO, "outline_width": _HALO_WIDTH})
    symbol.symbolLayer(0).setLocked(True)
    symbol.appendSymbolLayer(QgsSimpleFillSymbolLayer.create({"outline_width": _OUTLINE, **fill}))
    return symbol
