"""Result layers in the project, and layers that make way while their file is replaced."""

from __future__ import annotations

import json
import os

import pytest
from osgeo import gdal
from qgis.core import QgsPalettedRasterRenderer, QgsProject, QgsRasterLayer
from qgis.PyQt.QtGui import QColor

from thematica.plugin.replacing import release_layers
from thematica.plugin.results import (
    GROUP,
    MODEL_PROPERTY,
    REPORT_PROPERTY,
    area_table,
    load_result,
    report_of_layer,
)

REPORT = {
    "thematica": "0.1.0",
    "created": "2026-01-02T03:04:05Z",
    "inputs": [{"path": "/data/Szene ä.tif"}],
    "model": {"name": "basic", "title": "Basic cover", "sha256": "abc", "card": "embedded"},
    "parameters": {"mode": "exact"},
    "classes": [
        {"value": 3, "name": "Wald, „dicht“", "color": "#00ff00", "pixels": 2, "hectares": 0.02, "percent": 50.0},
        {"value": 1, "name": "Water", "color": "#0000ff", "pixels": 1, "hectares": None, "percent": 25.0},
    ],
    "nodata": {"value": 255, "pixels": 9},
    "unclassified": {"value": 254, "pixels": 1},
}


def write_style(path, names) -> None:
    layer = QgsRasterLayer(str(path), "styling")
    classes = [QgsPalettedRasterRenderer.Class(code, QColor("#123456"), name) for code, name in names.items()]
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, classes))
    layer.saveNamedStyle(str(path.with_suffix(".qml")))


@pytest.fixture
def result(make_raster):
    output = make_raster("map ä.tif", [[1, 3, 3, 255]], 2, kind=gdal.GDT_Byte, nodata=255)
    confidence = make_raster("confidence.tif", [[0.5] * 4], 2)
    write_style(output, {1: "Water", 3: "Wald, „dicht“"})
    report = output.with_suffix(".report.json")
    report.write_text(json.dumps(REPORT))
    files = {"output": str(output), "confidence": str(confidence), "report": str(report)}
    return {"event": "result", "files": files, "report": REPORT}


def labels(layer):
    return [entry.label for entry in layer.renderer().classes()]


def test_the_map_is_styled_described_and_on_top_of_its_group(result):
    below = QgsRasterLayer(result["files"]["confidence"], "below")
    QgsProject.instance().addMapLayer(below)
    layers = load_result(result)
    assert [layer.name() for layer in layers] == ["Szene ä – Basic cover", "Confidence – Szene ä – Basic cover"]
    assert labels(layers[0]) == ["Water", "Wald, „dicht“"]

    root = QgsProject.instance().layerTreeRoot()
    group = root.children()[0]
    assert group.name() == GROUP
    assert [node.layer() for node in group.findLayers()] == layers
    assert [node.itemVisibilityChecked() for node in group.findLayers()] == [True, False]

    assert layers[0].customProperty(REPORT_PROPERTY) == result["files"]["report"]
    assert layers[0].customProperty(MODEL_PROPERTY) == "abc"
    assert "“Basic cover”, which tells apart: Wald, „dicht“, Water." in layers[0].metadata().abstract()
    assert any("sha256 abc" in line for line in layers[0].metadata().history())
    assert report_of_layer(layers[0]) == REPORT


def test_a_second_result_shares_the_group_and_comes_first(result):
    first = load_result(result, "first")
    second = load_result(result, "second")
    groups = [node for node in QgsProject.instance().layerTreeRoot().children() if node.name() == GROUP]
    assert len(groups) == 1
    assert [node.layer() for node in groups[0].findLayers()] == [*second, *first]


def test_what_is_no_raster_any_more_is_left_out(result):
    os.remove(result["files"]["confidence"])
    assert len(load_result(result)) == 1


def test_no_report(result):
    os.remove(result["files"]["report"])
    layer = load_result(result)[0]
    assert report_of_layer(layer) is None


def test_a_map_that_was_moved_has_its_report_beside_it(result, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for path in (result["files"]["output"], result["files"]["report"]):
        os.rename(path, tmp_path / "elsewhere" / os.path.basename(path))
    layer = QgsRasterLayer(str(tmp_path / "elsewhere" / "map ä.tif"), "moved")
    layer.setCustomProperty(REPORT_PROPERTY, result["files"]["report"])
    assert report_of_layer(layer) == REPORT


def test_a_layer_without_a_source_has_no_report():
    assert report_of_layer(QgsRasterLayer("", "released", "gdal")) is None


def test_area_table():
    rows = area_table(REPORT)
    assert [row["name"] for row in rows] == ["Wald, „dicht“", "Water", "unclassified"]
    assert rows[0] == REPORT["classes"][0]
    assert rows[1]["hectares"] is None
    assert rows[2]["pixels"] == 1
    assert len(area_table({**REPORT, "unclassified": {"value": 254, "pixels": 0}})) == 2


def open_files() -> list[str]:
    return [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]


def test_a_released_file_is_closed_and_comes_back_with_the_analysts_style(result):
    path = result["files"]["output"]
    layer = load_result(result)[0]
    other = load_result({"files": {"output": result["files"]["confidence"]}})[0]
    layer.renderer().setOpacity(0.25)
    assert os.path.realpath(path) in open_files(), "GDAL holds the file of a layer open"

    restore = release_layers(path)
    assert os.path.realpath(path) not in open_files()
    assert not layer.isValid()
    assert other.isValid()

    restore()
    assert layer.isValid()
    assert labels(layer) == ["Water", "Wald, „dicht“"]
    assert layer.renderer().opacity() == 0.25


def test_a_replaced_file_comes_back_with_its_new_style(result, make_raster, tmp_path):
    path = tmp_path / "map ä.tif"
    layer = load_result(result)[0]
    restore = release_layers(str(path))
    new = make_raster("new.tif", [[7, 7, 7, 7]], 2, kind=gdal.GDT_Byte, nodata=255)
    new.replace(path)
    write_style(path, {7: "Snow"})
    restore()
    assert layer.isValid()
    assert labels(layer) == ["Snow"]
    assert layer.dataProvider().sample(layer.extent().center(), 1) == (7.0, True)


def test_a_layer_removed_in_the_meantime_stays_away(result):
    layer = load_result(result)[0]
    restore = release_layers(result["files"]["output"])
    QgsProject.instance().removeMapLayer(layer.id())
    restore()
    assert len(QgsProject.instance().mapLayers()) == 1
