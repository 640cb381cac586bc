"""QGIS styles (``.qml``) of patch layers: classes with their colours; sets of labels that follow a threshold.

With several labels, a patch is drawn in as many stripes as it has labels, each in its class's colour.  Which labels it
has is decided by expressions on the probabilities and the variable ``thematica_threshold``, so that whoever moves the
threshold sees the result at once.  Only elements that QGIS 3.22 to 4 all read are written.
"""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass

from .pam import UNCLASSIFIED_COLOR, UNCLASSIFIED_NAME, xml_text

#: The variable of a project or layer that moves the threshold.
THRESHOLD_VARIABLE = "thematica_threshold"
_OPACITY = "0.7"
_OUTLINE = "70,70,70,255"
# Side in metres on the screen from which a patch is striped, and from which it may have its labels' names.
_SMALLEST_STRIPED, _SMALLEST_NAMED = 0.0015, 0.012
# Of more classes, colours cannot be told apart, and the expressions grow with the square of their number.
_MOST_STRIPED = 60
# What a table shows in place of a column's name.
_ALIASES = {
    "label": "Label", "code": "Class code", "score": "Score (best probability)", "valid": "Share of pixels with data",
    "row": "Row in the grid", "column": "Column in the grid",
}  # fmt: skip


@dataclass(frozen=True)
class StyledClass:
    """A class as the style shows it.

    Args:
        value: its code.
        name: what the analyst reads.
        color: ``#rrggbb``.
        column: its probability's column.
        limit: probability from which it counts, where no variable says otherwise.
    """

    value: int
    name: str
    color: str
    column: str
    limit: float = 0.5


def single_label_style(classes: Sequence[StyledClass], unclassified: int | None, share: float = 1.0) -> str:
    """The style of patches with one label each: a category per class.

    Args:
        classes: the classes.
        unclassified: code of patches under the threshold, or None where there are none.
        share: of a patch's side, what is drawn around its middle: less than 1 where patches overlap.

    Returns:
        A QML document.
    """
    root = _document()
    renderer = ElementTree.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="code", symbollevels="0", enableorderby="0",
        forceraster="0",
    )  # fmt: skip
    entries = [(entry.value, entry.name, entry.color) for entry in classes]
    if unclassified is not None:
        entries.append((unclassified, UNCLASSIFIED_NAME, UNCLASSIFIED_COLOR))
    categories = ElementTree.SubElement(renderer, "categories")
    symbols = ElementTree.SubElement(renderer, "symbols")
    shape = "" if share >= 1 else _cell(share)
    for index, (value, name, color) in enumerate(entries):
        ElementTree.SubElement(
            categories, "category", value=str(value), symbol=str(index), label=xml_text(name), render="true",
            type="integer",
        )  # fmt: skip
        _add_symbol(symbols, str(index), color, shape, outlined=not shape)
    _finish(root, classes)
    return _text(root)


def several_labels_style(classes: Sequence[StyledClass], share: float = 1.0, metres: float | None = None) -> str:
    """The style of patches with sets of labels: a rule per class, and text where it fits.

    Args:
        classes: the classes.
        share: of a patch's side, what is drawn around its middle: less than 1 where patches overlap.
        metres: side on the ground of what is drawn; None where that is unknown.

    Returns:
        A QML document.
    """
    root = _document()
    renderer = ElementTree.SubElement(
        root, "renderer-v2", type="RuleRenderer", symbollevels="0", enableorderby="0", forceraster="0"
    )
    rules = ElementTree.SubElement(renderer, "rules", key=_key("rules"))
    symbols = ElementTree.SubElement(renderer, "symbols")
    counts = [f"({_counts(entry)})" for entry in classes]
    low, high = _middle(share)
    # From far away stripes cannot be told apart: only the best label is drawn, which is much quicker.
    far = None if metres is None else _fixed(metres / _SMALLEST_STRIPED)
    for index, entry in enumerate(classes):
        wanted, shape = _counts(entry), _cell(share)
        if len(classes) > _MOST_STRIPED:
            wanted += f' AND "code" = {entry.value}'
        else:
            before = " + ".join(counts[:index]) or "0"
            width = _fixed(high - low)
            left, right = f"{_fixed(low)} + {width} * @before / @all", f"{_fixed(low)} + {width} * (@before + 1) / @all"
            stripe = f"with_variable('before', {before}, {_part(left, right, share)})"
            shape = f"with_variable('all', {' + '.join(counts)}, if(@all = 1, {shape}, {stripe}))"
        if far is not None:
            # Where nothing is drawn, as for the legend's numbers, there is no scale.
            wanted += f' AND (coalesce(@map_scale, 0) < {far} OR "code" = {entry.value})'
            shape = f"if(@map_scale >= {far}, $geometry, {shape})"
        ElementTree.SubElement(
            rules, "rule", key=_key(f"{index} {entry.column}"), symbol=str(index), label=xml_text(entry.name),
            filter=wanted,
        )  # fmt: skip
        _add_symbol(symbols, str(index), entry.color, shape, outlined=share >= 1)
    ElementTree.SubElement(rules, "rule", key=_key("none"), symbol=str(len(classes)), label="No label", filter="ELSE")
    nothing = _symbol(symbols, str(len(classes)))
    if share >= 1:
        _add_fill(nothing, None, True)
    else:
        _add_part(nothing, f"@{len(classes)}@0", _cell(share), None, True)
    _add_labels(root, classes, share, metres)
    _finish(root, classes)
    return _text(root)


# -- expressions --------------------------------------------------------------------------------------


def _counts(entry: StyledClass) -> str:
    """True where a patch counts for a class."""
    return f'"{entry.column}" >= coalesce(@{THRESHOLD_VARIABLE}, {entry.limit!r})'


def _middle(share: float) -> tuple[float, float]:
    return (1 - share) / 2, (1 + share) / 2


def _fixed(value: float) -> str:
    return f"{value:.6g}"


def _part(left: str, right: str, share: float) -> str:
    """A part of a patch, from ``left`` to ``right`` of its width; the patch's vertices begin at its upper left."""
    top, bottom = _middle(share)

    def between(axis: str, first: str, last: str, where: str) -> str:
        return f"{axis}(@{first}) + ({axis}(@{last}) - {axis}(@{first})) * ({where})"

    def point(across: str, down: float) -> str:
        def coordinate(axis: str) -> str:
            upper, lower = between(axis, "a", "d", across), between(axis, "b", "c", across)
            if down in (0, 1):
                return lower if down else upper
            return f"({upper}) * {_fixed(1 - down)} + ({lower}) * {_fixed(down)}"

        return f"make_point({coordinate('x')}, {coordinate('y')})"

    ring = [point(left, top), point(left, bottom), point(right, bottom), point(right, top), point(left, top)]
    shape = f"make_polygon(make_line({', '.join(ring)}))"
    # Each vertex is looked up once.
    for number, name in enumerate("abcd", start=1):
        shape = f"with_variable('{name}', point_n($geometry, {number}), {shape})"
    return shape


def _cell(share: float) -> str:
    """What is drawn of a patch: all of it, or its middle."""
    if share >= 1:
        return "$geometry"
    low, high = _middle(share)
    # In the legend there is no feature, and its box is to be filled.
    return f"if($id IS NULL, $geometry, {_part(_fixed(low), _fixed(high), share)})"


def _quoted(text: str) -> str:
    return "'" + xml_text(text).replace("\\", "\\\\").replace("'", "''") + "'"


# -- elements -----------------------------------------------------------------------------------------


def _document() -> ElementTree.Element:
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="AllStyleCategories")
    # Of the layer, not of its symbols: patches that overlap do not add up to a darker colour.
    ElementTree.SubElement(root, "layerOpacity").text = _OPACITY
    ElementTree.SubElement(root, "blendMode").text = "0"
    return root


def _finish(root: ElementTree.Element, classes: Sequence[StyledClass]) -> None:
    aliases = ElementTree.SubElement(root, "aliases")
    named = {**_ALIASES, **{entry.column: f"{entry.name} (probability)" for entry in classes}}
    for index, (column, alias) in enumerate(named.items(), start=1):
        ElementTree.SubElement(aliases, "alias", field=column, index=str(index), name=xml_text(alias))
    ElementTree.SubElement(root, "previewExpression").text = '"label"'


def _add_symbol(parent: ElementTree.Element, name: str, color: str, shape: str, outlined: bool) -> None:
    """A filled polygon; with a shape only that part of the patch is filled, and the outline is the patch's own."""
    symbol = _symbol(parent, name)
    if not shape:
        _add_fill(symbol, color, outlined)
        return
    _add_part(symbol, f"@{name}@0", shape, color, False)
    if outlined:
        _add_fill(symbol, None, True)


def _add_part(symbol: ElementTree.Element, name: str, shape: str, color: str | None, outlined: bool) -> None:
    """A fill of what an expression makes of the patch."""
    layer = ElementTree.SubElement(
        symbol, "layer", {"class": "GeometryGenerator", "enabled": "1", "locked": "0", "pass": "0"}
    )
    _add_options(layer, {"SymbolType": "Fill", "geometryModifier": shape, "units": "MapUnit"})
    _add_fill(_symbol(layer, name), color, outlined)


def _symbol(parent: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        parent, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0"
    )


def _add_fill(symbol: ElementTree.Element, color: str | None, outlined: bool) -> None:
    """A fill of one colour (None: none), with a thin outline or without."""
    layer = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
    rgba = "255,255,255,0" if color is None else ",".join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5)) + ",255"
    _add_options(
        layer,
        {
            "color": rgba,
            "style": "no" if color is None else "solid",
            "outline_color": _OUTLINE,
            "outline_style": "solid" if outlined else "no",
            "outline_width": "0.1",
            "outline_width_unit": "MM",
            "joinstyle": "miter",
        },
    )


def _add_options(layer: ElementTree.Element, values: dict[str, str]) -> None:
    options = ElementTree.SubElement(layer, "Option", type="Map")
    for key, value in values.items():
        ElementTree.SubElement(options, "Option", name=key, value=value, type="QString")


def _add_labels(root: ElementTree.Element, classes: Sequence[StyledClass], share: float, metres: float | None) -> None:
    """The set of labels as text, one below the other, where the patch is large enough for it."""
    names = ", ".join(f"if({_counts(entry)}, {_quoted(entry.name)}, '')" for entry in classes)
    text = f"array_to_string(array_remove_all(array({names}), ''), '\\n')"
    labeling = ElementTree.SubElement(root, "labeling", type="simple")
    settings = ElementTree.SubElement(labeling, "settings", calloutType="simple")
    style = ElementTree.SubElement(
        settings, "text-style", fieldName=text, isExpression="1", fontFamily="Open Sans", fontSize="8",
        fontSizeUnit="Point", textColor="30,30,30,255", textOpacity="1", multilineHeight="1",
    )  # fmt: skip
    ElementTree.SubElement(
        style, "text-buffer", bufferDraw="1", bufferSize="0.7", bufferSizeUnits="MM", bufferColor="255,255,255,255",
        bufferOpacity="0.85", bufferNoFill="0", bufferJoinStyle="128",
    )  # fmt: skip
    ElementTree.SubElement(settings, "text-format", multilineAlign="1", formatNumbers="0", wrapChar="")
    # Horizontally, within what is drawn of the patch or not at all.
    placement = {"placement": "4", "fitInPolygonOnly": "1", "centroidWhole": "1", "geometryGeneratorEnabled": "0"}
    if share < 1:
        placement.update(
            geometryGeneratorEnabled="1", geometryGenerator=_cell(share), geometryGeneratorType="PolygonGeometry"
        )
    ElementTree.SubElement(settings, "placement", placement)
    # Patches so small that no name fits are not even tried: there may be a hundred thousand on the screen.
    rendering = {
        "minFeatureSize": _fixed(1000 * _SMALLEST_NAMED), "drawLabels": "1", "obstacle": "0", "displayAll": "0",
        "scaleVisibility": "0",
    }  # fmt: skip
    if metres is not None:
        # QGIS calls the largest denominator the least scale, and writes it as scaleMax.
        rendering.update(scaleVisibility="1", scaleMin="0", scaleMax=_fixed(metres / _SMALLEST_NAMED))
    ElementTree.SubElement(settings, "rendering", rendering)


def _key(name: str) -> str:
    """A rule's key: the same in every run, so that the same map has the same file."""
    return "{" + str(uuid.uuid5(uuid.NAMESPACE_URL, f"thematica {name}")) + "}"


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return doctype + ElementTree.tostring(root, encoding="unicode") + "\n"
