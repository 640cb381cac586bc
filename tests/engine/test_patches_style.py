"""The styles of patch layers, drawn by a real QGIS, in its own Python: what an analyst sees, and when it changes."""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import shapely

from thematica.engine.classify_patches import classify_patches
from thematica.engine.job import PatchJob
from thematica.engine.patch_style import StyledClass, several_labels_style, single_label_style
from thematica.models.card import ModelClass

from .patch_networks import CLASSES, patch_net, table
from .test_patches import scene

SYSTEM_PYTHON = "/usr/bin/python3"
COLORS = ("#00aa00", "#dd2200", "#0000ee", "#eeee00")
# Draws layers under several thresholds, and tells the colours at some places.
DRAW = """
import json, sys
from qgis.core import (QgsApplication, QgsExpressionContext, QgsExpressionContextScope, QgsExpressionContextUtils,
    QgsLayerTreeLayer, QgsMapLayerLegend, QgsMapRendererSequentialJob, QgsMapSettings, QgsProject, QgsRectangle,
    QgsVectorLayer)
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QColor
application = QgsApplication([], False)
application.initQgis()
told = []
for task in json.loads(sys.argv[1]):
    layer = QgsVectorLayer(task["path"] + "|layername=" + task["layer"], "result", "ogr")
    assert layer.isValid()
    tell = {"renderer": layer.renderer().type(), "opacity": layer.opacity()}
    tell["aliases"] = {field.name(): field.alias() for field in layer.fields()}
    nodes = QgsMapLayerLegend.defaultVectorLegend(layer).createLayerTreeModelLegendNodes(QgsLayerTreeLayer(layer))
    tell["legend"] = [str(node.data(Qt.ItemDataRole.DisplayRole) or "") for node in nodes]
    tell["labels"] = layer.labelsEnabled()
    layer.setOpacity(1)
    layer.setLabelsEnabled(False)
    extent = layer.extent()
    scale = task.get("pixels_per_unit", 1.0)
    tell["drawn"] = []
    for threshold in task["thresholds"]:
        settings = QgsMapSettings()
        settings.setLayers([layer])
        settings.setDestinationCrs(layer.crs())
        settings.setExtent(extent)
        settings.setOutputSize(QSize(int(extent.width() * scale), int(extent.height() * scale)))
        settings.setBackgroundColor(QColor(255, 255, 255))
        settings.setFlag(QgsMapSettings.Antialiasing, False)
        context = QgsExpressionContext()
        if threshold is not None:
            scope = QgsExpressionContextScope()
            scope.setVariable("thematica_threshold", threshold)
            context.appendScope(scope)
        context.appendScope(QgsExpressionContextUtils.mapSettingsScope(settings))
        settings.setExpressionContext(context)
        job = QgsMapRendererSequentialJob(settings)
        job.start()
        job.waitForFinished()
        image = job.renderedImage()
        view = settings.mapToPixel()
        points = [view.transform(x, y) for x, y in task["places"]]
        tell["drawn"].append([image.pixelColor(int(point.x()), int(point.y())).name() for point in points])
    told.append(tell)
print("TOLD" + json.dumps(told))
del layer, nodes, job
application.exitQgis()
"""


def draw(tasks: list[dict], folder: Path) -> list[dict]:
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", "import qgis.core"]).returncode:
        pytest.skip("QGIS is not installed")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PROJ", "GDAL"))}
    environment.update(QT_QPA_PLATFORM="offscreen", QGIS_CUSTOM_CONFIG_PATH=str(folder / "profile"))
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", DRAW, json.dumps(tasks)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert "TOLD" in done.stdout, done.stderr
    return json.loads(done.stdout.split("TOLD", 1)[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scene(tmp_path / "scene.tif", 40, 48)
    return tmp_path


def layer(folder: Path, name: str, task: str = "patch", **options) -> dict[str, np.ndarray]:
    """Make a layer whose classes have :data:`COLORS`; returns its table."""
    classes = [ModelClass(index, name, COLORS[index]) for index, name in enumerate(CLASSES)]
    model = patch_net(folder / f"{name}.onnx", task=task, class_list=classes)
    output = folder / f"{name}.gpkg"
    classify_patches(PatchJob([str(folder / "scene.tif")], str(model), str(output), **options))
    return table(output)


def spots(outline: bytes, count: int) -> list[tuple[float, float]]:
    """The middles of so many stripes of a patch, from left to right."""
    left, bottom, right, top = shapely.from_wkb(outline).bounds
    return [(left + (right - left) * (index + 0.5) / count, (bottom + top) / 2 + 3) for index in range(count)]


def test_one_label_is_one_colour(folder: Path) -> None:
    found = layer(folder, "one", threshold=0.6)
    overlapping = layer(folder, "dense", stride=4)
    places = [spots(outline, 1)[0] for outline in found["outline"]]
    dense = [spots(outline, 1)[0] for outline in overlapping["outline"]]
    # Only one of the two styles is there: each suffices.
    (folder / "one.qml").unlink()
    tasks = [
        {"path": str(folder / f"{name}.gpkg"), "layer": name, "places": here, "thresholds": [None]}
        for name, here in (("one", places), ("dense", dense))
    ]
    told, told_dense = draw(tasks, folder)
    assert told["renderer"] == "categorizedSymbol"
    assert told["legend"] == [*CLASSES, "Unclassified"]
    assert told["opacity"] == pytest.approx(0.7)
    assert told["aliases"]["p_grunland_nass"] == "Grünland, nass (probability)"
    assert told["aliases"]["score"] == "Score (best probability)"
    colors = dict(zip([0, 1, 2, 3, 254], [*COLORS, "#c8c8c8"], strict=True))
    assert told["drawn"][0] == [colors[code] for code in found["code"]]
    assert {254} < set(found["code"])
    # Of patches that overlap each shows its own middle.
    assert told_dense["drawn"][0] == [colors[code] for code in overlapping["code"]]
    assert told_dense["legend"] == list(CLASSES)


@pytest.mark.parametrize("stride", [8, 4])
def test_several_labels_are_stripes_that_follow_the_threshold(folder: Path, stride: int) -> None:
    found = layer(folder, "several", "patch-multilabel", stride=stride)
    columns = [found[name] for name in found if name.startswith("p_")]
    thresholds = [None, 0.2, 0.5, 0.85, 1.0]
    wanted: list[list[str]] = []
    places: list[tuple[float, float]] = []
    for place, outline in enumerate(found["outline"]):
        cell = shapely.from_wkb(outline)
        if stride < 8:
            x, y = cell.centroid.x, cell.centroid.y
            cell = shapely.box(x - 20, y - 20, x + 20, y + 20)
        for threshold in thresholds:
            limit = 0.5 if threshold is None else threshold
            labels = [color for color, values in zip(COLORS, columns, strict=True) if values[place] >= limit]
            for index, spot in enumerate(spots(shapely.to_wkb(cell), max(len(labels), 1))):
                places.append(spot)
                wanted.append([(labels or ["#ffffff"])[index], threshold])
    (folder / "several.qml").unlink()
    task = {"path": str(folder / "several.gpkg"), "layer": "several", "places": places, "thresholds": thresholds}
    (told,) = draw([task], folder)
    assert told["renderer"] == "RuleRenderer"
    assert told["legend"] == [*CLASSES, "No label"]
    assert told["labels"] is True
    for index, (color, threshold) in enumerate(wanted):
        drawn = told["drawn"][thresholds.index(threshold)][index]
        assert drawn == color, (places[index], threshold)
    # It is not all the same.
    assert len({color for color, _ in wanted}) == 5


def test_from_far_away_the_best_label_is_drawn(folder: Path) -> None:
    """Stripes that nobody could tell apart cost too much where a hundred thousand patches are on the screen."""
    found = layer(folder, "far", "patch-multilabel")
    places = [spots(outline, 1)[0] for outline in found["outline"]]
    task = {
        "path": str(folder / "far.gpkg"), "layer": "far", "places": places, "thresholds": [None],
        "pixels_per_unit": 4 / 80,
    }  # fmt: skip
    (told,) = draw([task], folder)
    best = [
        COLORS[code] if score >= 0.5 else "#ffffff" for code, score in zip(found["code"], found["score"], strict=True)
    ]
    agree = np.mean([drawn == color for drawn, color in zip(told["drawn"][0], best, strict=True)])
    # Four pixels each: an outline may lie on the one looked at.
    assert agree > 0.8


def test_a_result_without_a_place_on_earth_is_drawn_too(folder: Path) -> None:
    scene(folder / "scene.tif", 40, 48, crs=None, transform=None)
    found = layer(folder, "bare", "patch-multilabel")
    places = [(spot[0], spot[1] - 3) for outline in found["outline"] for spot in spots(outline, 1)]
    task = {
        "path": str(folder / "bare.gpkg"), "layer": "bare", "places": places, "thresholds": [1.0],
        "pixels_per_unit": 10,
    }  # fmt: skip
    (told,) = draw([task], folder)
    assert set(told["drawn"][0]) == {"#ffffff"}
    assert found["row"].max() == 4


@pytest.mark.parametrize("style", ["one", "several"])
def test_names_of_all_kinds_stay_names(style: str) -> None:
    names = ['Grünland, "nass" & <trocken>', "it's", "back\\slash", "森林", "bell\x07"]
    classes = [StyledClass(index, name, "#123456", f"p_{index}") for index, name in enumerate(names)]
    text = single_label_style(classes, None) if style == "one" else several_labels_style(classes, 0.5, 640.0)
    root = ElementTree.fromstring(text)
    shown = [entry.get("label") for entry in root.iter("category" if style == "one" else "rule")]
    assert shown[:4] == names[:4]
    assert shown[4] == "bell "


def test_the_same_classes_give_the_same_style() -> None:
    classes = [StyledClass(index, name, "#123456", f"p_{index}") for index, name in enumerate(CLASSES)]
    assert several_labels_style(classes, 1.0, 640.0) == several_labels_style(classes, 1.0, 640.0)


def test_a_thousand_classes_are_no_style_of_megabytes() -> None:
    classes = [StyledClass(index, f"class {index}", "#123456", f"p_{index}") for index in range(1000)]
    assert len(several_labels_style(classes, 1.0, 640.0)) < 3e6
