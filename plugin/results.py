"""Result layers: styled, described, in a layer group."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsLayerMetadata,
    QgsLayerTreeGroup,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)

from .replacing import file_of_layer

GROUP = "Thematica"
#: Custom properties of result layers.
REPORT_PROPERTY = "thematica/report"
MODEL_PROPERTY = "thematica/model"

#: The optional rasters of a result, as they are called in a layer's name.
EXTRA_TITLES = {
    "confidence": "Confidence",
    "entropy": "Entropy",
    "margin": "Margin",
    "probabilities": "Probabilities",
}


def load_result(
    result: dict[str, Any], title: str = "", project: QgsProject | None = None, group: str = GROUP
) -> list[QgsMapLayer]:
    """Load the layers of a result into the project, the thematic map on top.

    Args:
        result: the worker's ``result`` event.
        title: name of the map's layer; made from model and input where empty.
        project: the current one where None.
        group: layer group, made at the top where it is missing; ``""`` for none.

    Returns:
        The layers that could be loaded: the map, the maps of the network's further outputs, and the
        rasters of scores.
    """
    project = project or QgsProject.instance()
    title = title or result_title(result.get("report", {}))
    layers = []
    maps = 0
    for kind, path in _files_of_layers(result.get("files", {})):
        layer = open_result(path, _layer_name(kind, title))
        if not layer.isValid():
            continue
        describe_layer(layer, result)
        layers.append(layer)
        maps += kind.partition(":")[0] == "output"
    parent = _group(project, group) if group else project.layerTreeRoot()
    for place, layer in enumerate(layers):
        project.addMapLayer(layer, False)
        node = parent.insertLayer(place, layer)
        # The map is what was asked for; a score over it would hide it, and its legend is long.
        node.setItemVisibilityChecked(place == 0)
        node.setExpanded(place < maps)
    if layers and group:
        # A group that was empty a moment ago stays shut, and the legend unseen, unless it is shut and opened.
        parent.setExpanded(False)
        parent.setExpanded(True)
    return layers


def open_result(path: str, name: str) -> QgsMapLayer:
    """A layer of a file that a run made: polygons or a raster.  It may be invalid."""
    if Path(path).suffix.lower() == ".gpkg":
        return QgsVectorLayer(path, name, "ogr")
    return QgsRasterLayer(path, name, "gdal")


def _files_of_layers(files: dict[str, Any]) -> list[tuple[str, str]]:
    """The files to load, by kind: maps of all outputs first (``output``, ``output:NAME``), then their scores."""
    order = ("output", *EXTRA_TITLES)
    kinds = [kind for kind in files if kind.partition(":")[0] in order and files[kind]]
    # Stable: outputs stay in the network's order.
    kinds.sort(key=lambda kind: order.index(kind.partition(":")[0]))
    return [(kind, str(files[kind])) for kind in kinds]


def _layer_name(kind: str, title: str) -> str:
    # What differs comes first: the layer panel cuts long names off at the end.
    what, _, output = kind.partition(":")
    parts = [output, EXTRA_TITLES.get(what, ""), title]
    return " – ".join(part for part in parts if part)


def result_title(report: dict[str, Any]) -> str:
    """``scene – model title``: a layer's name from a report."""
    model = report.get("model", {})
    inputs = report.get("inputs") or [{}]
    scene = Path(str(inputs[0].get("path", ""))).stem
    named = str(model.get("title") or model.get("name") or "classified")
    return f"{scene} – {named}" if scene else named


def describe_layer(layer: QgsMapLayer, result: dict[str, Any]) -> None:
    """Give a result's layer its style, metadata and a pointer to its report."""
    files, report = result.get("files", {}), result.get("report", {})
    style = Path(file_of_layer(layer)).with_suffix(".qml")
    if style.is_file():
        layer.loadNamedStyle(str(style))
    layer.setMetadata(_metadata(layer, report))
    model = report.get("model", {})
    if files.get("report"):
        layer.setCustomProperty(REPORT_PROPERTY, str(files["report"]))
    if model.get("sha256"):
        layer.setCustomProperty(MODEL_PROPERTY, str(model["sha256"]))


def report_of_layer(layer: QgsMapLayer) -> dict[str, Any] | None:
    """The report of a result's layer, or None where it has none (any more)."""
    # Beside the map is where it is after the folder was moved, or where the map was added by hand.
    file = file_of_layer(layer)
    beside = os.path.splitext(file)[0] + ".report.json" if file else ""
    for path in (layer.customProperty(REPORT_PROPERTY), beside):
        try:
            report = json.loads(Path(path).read_text(encoding="utf-8")) if path else None
        except (OSError, ValueError):
            continue
        if isinstance(report, dict):
            return report
    return None


def counted(report: Mapping[str, Any]) -> str:
    """What a report counts: ``pixels`` or ``patches``."""
    return "patches" if "patches" in report else "pixels"


def area_table(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Area per class for a table, in the report's order.

    Returns:
        Rows with ``value``, ``name``, ``color``, ``pixels`` or ``patches`` (see :func:`counted`), ``hectares`` and
        ``percent``; where the network has several outputs also ``output``, its name.  What has no class comes last
        of its output, where there is any; hectares and percent may be None.
    """
    unit = counted(report)
    further = report.get("further_outputs") or ()
    if not further:
        return _rows_of_map(report, unit)
    maps = [(report.get("output_name", ""), report), *((entry.get("output_name", ""), entry) for entry in further)]
    return [{"output": str(name), **row} for name, figures in maps for row in _rows_of_map(figures, unit)]


def _rows_of_map(figures: Mapping[str, Any], unit: str) -> list[dict[str, Any]]:
    columns = ("value", "name", "color", unit, "hectares", "percent")
    rows = [{key: entry.get(key) for key in columns} for entry in figures.get("classes", [])]
    without_class = figures.get("unclassified") or {}
    if unit == "patches":
        below = (figures.get("patches") or {}).get("below_threshold", 0)
        without_class = {"patches": below, "name": "below the threshold"}
    if without_class.get(unit):
        row = {key: without_class.get(key) for key in columns}
        rows.append({**row, "name": row["name"] or "unclassified"})
    return rows


def _group(project: QgsProject, name: str) -> QgsLayerTreeGroup:
    root = project.layerTreeRoot()
    return root.findGroup(name) or root.insertGroup(0, name)


def _metadata(layer: QgsMapLayer, report: dict[str, Any]) -> QgsLayerMetadata:
    model = report.get("model", {})
    classes = ", ".join(str(entry.get("name", "")) for entry in report.get("classes", []))
    metadata = layer.metadata()
    metadata.setTitle(layer.name())
    metadata.setAbstract(
        f"Made with the model “{model.get('title') or model.get('name', '')}”, which tells apart: {classes}."
    )
    inputs = ", ".join(str(entry.get("path", "")) for entry in report.get("inputs", []))
    metadata.setHistory(
        [
            f"{report.get('created', '')}: classified by Thematica {report.get('thematica', '')}",
            f"Input: {inputs}",
            f"Model: {model.get('name', '')}, sha256 {model.get('sha256', '')}",
            "Parameters: " + json.dumps(report.get("parameters", {}), ensure_ascii=False, sort_keys=True),
        ]
    )
    return metadata
