"""Result layers: styled, described, in a layer group."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsLayerMetadata,
    QgsLayerTreeGroup,
    QgsProject,
    QgsRasterLayer,
)

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
) -> list[QgsRasterLayer]:
    """Load the rasters of a result into the project, the thematic map on top.

    Args:
        result: the worker's ``result`` event.
        title: name of the map's layer; made from model and input where empty.
        project: the current one where None.
        group: layer group, made at the top where it is missing; ``""`` for none.

    Returns:
        The layers that could be loaded, the thematic map first.
    """
    project = project or QgsProject.instance()
    files, report = result.get("files", {}), result.get("report", {})
    title = title or result_title(report)
    layers = []
    for kind in ("output", *EXTRA_TITLES):
        path = files.get(kind)
        if not path:
            continue
        # What differs comes first: the layer panel cuts long names off at the end.
        name = title if kind == "output" else f"{EXTRA_TITLES[kind]} – {title}"
        layer = QgsRasterLayer(str(path), name, "gdal")
        if not layer.isValid():
            continue
        describe_layer(layer, result)
        layers.append(layer)
    parent = _group(project, group) if group else project.layerTreeRoot()
    for place, layer in enumerate(layers):
        project.addMapLayer(layer, False)
        node = parent.insertLayer(place, layer)
        # The map is what was asked for; a score over it would hide it, and its legend is long.
        node.setItemVisibilityChecked(place == 0)
        node.setExpanded(place == 0)
    if layers and group:
        # A group that was empty a moment ago stays shut, and the legend unseen, unless it is shut and opened.
        parent.setExpanded(False)
        parent.setExpanded(True)
    return layers


def result_title(report: dict[str, Any]) -> str:
    """``scene – model title``: a layer's name from a report."""
    model = report.get("model", {})
    inputs = report.get("inputs") or [{}]
    scene = Path(str(inputs[0].get("path", ""))).stem
    named = str(model.get("title") or model.get("name") or "classified")
    return f"{scene} – {named}" if scene else named


def describe_layer(layer: QgsRasterLayer, result: dict[str, Any]) -> None:
    """Give a result's layer its style, metadata and a pointer to its report."""
    files, report = result.get("files", {}), result.get("report", {})
    style = Path(layer.source()).with_suffix(".qml")
    if style.is_file():
        layer.loadNamedStyle(str(style))
    layer.setMetadata(_metadata(layer, report))
    model = report.get("model", {})
    if files.get("report"):
        layer.setCustomProperty(REPORT_PROPERTY, str(files["report"]))
    if model.get("sha256"):
        layer.setCustomProperty(MODEL_PROPERTY, str(model["sha256"]))


def report_of_layer(layer: QgsRasterLayer) -> dict[str, Any] | None:
    """The report of a result's layer, or None where it has none (any more)."""
    # Beside the map is where it is after the folder was moved, or where the map was added by hand.
    for path in (layer.customProperty(REPORT_PROPERTY), os.path.splitext(layer.source())[0] + ".report.json"):
        try:
            report = json.loads(Path(path).read_text(encoding="utf-8")) if path else None
        except (OSError, ValueError):
            continue
        if isinstance(report, dict):
            return report
    return None


def area_table(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Area per class for a table: value, name, color, pixels, hectares, percent; in the report's order.

    Unclassified pixels come last, where there are any; hectares and percent may be None.
    """
    columns = ("value", "name", "color", "pixels", "hectares", "percent")
    rows = [{key: entry.get(key) for key in columns} for entry in report.get("classes", [])]
    unclassified = report.get("unclassified") or {}
    if unclassified.get("pixels"):
        row = {key: unclassified.get(key) for key in columns}
        rows.append({**row, "name": row["name"] or "unclassified"})
    return rows


def _group(project: QgsProject, name: str) -> QgsLayerTreeGroup:
    root = project.layerTreeRoot()
    return root.findGroup(name) or root.insertGroup(0, name)


def _metadata(layer: QgsRasterLayer, report: dict[str, Any]) -> QgsLayerMetadata:
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
