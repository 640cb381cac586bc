"""The threshold of labelled patches: what it counts, shows and writes; and its panel, moved with mouse and keys."""

from __future__ import annotations

import json
import random

import pytest
from osgeo import ogr, osr
from qgis.core import QgsExpressionContextUtils, QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QCoreApplication, QEvent, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QMainWindow

from thematica.errors import OutputError
from thematica.plugin.labels import VARIABLE, PatchLabels, labels_of_layer
from thematica.ui.threshold_panel import ThresholdPanel

LEFT = Qt.MouseButton.LeftButton
CLASSES = [
    {"value": 0, "name": "Water", "color": "#2c6fbb", "patches": 2, "hectares": 1.0, "percent": 50.0},
    {"value": 1, "name": "Forest", "color": "#2e8b3d", "patches": 2, "hectares": 1.0, "percent": 50.0},
]
REPORT = {
    "task": "patch-multilabel",
    "threshold": 0.5,
    "classes": CLASSES,
    "patches": {"side": 8, "stride": 8, "count": 4, "without_data": 0, "below_threshold": 1},
}
PROBABILITIES = [(0.9, 0.1), (0.7, 0.6), (0.5, 0.8), (0.2, 0.4)]


def write_patches(path, probabilities=PROBABILITIES, report=REPORT):
    """A GeoPackage as the engine writes it."""
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32633)
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    table = dataset.CreateLayer("patches", crs, ogr.wkbPolygon)
    kinds = [("label", ogr.OFTString), ("code", ogr.OFTInteger), ("score", ogr.OFTReal)]
    kinds += [("p_water", ogr.OFTReal), ("p_forest", ogr.OFTReal), ("valid", ogr.OFTReal)]
    kinds += [("row", ogr.OFTInteger), ("column", ogr.OFTInteger)]
    for name, kind in kinds:
        table.CreateField(ogr.FieldDefn(name, kind))
    for number, row in enumerate(probabilities):
        feature = ogr.Feature(table.GetLayerDefn())
        names = [c["name"] for c, p in zip(CLASSES, row, strict=True) if p >= 0.5]
        for name, value in zip(("label", "p_water", "p_forest"), ("; ".join(names), *row), strict=True):
            feature.SetField(name, value)
        left = 500000 + 80 * number
        feature.SetGeometry(
            ogr.CreateGeometryFromWkt(f"Polygon(({left} 0,{left + 80} 0,{left + 80} 80,{left} 80,{left} 0))")
        )
        table.CreateFeature(feature)
    dataset.Destroy()
    path.with_suffix(".report.json").write_text(json.dumps(report))
    return path


@pytest.fixture
def layer(tmp_path):
    layer = QgsVectorLayer(str(write_patches(tmp_path / "patches.gpkg")), "my patches", "ogr")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    return layer


def shown(layer):
    """QGIS keeps variables of layers as text; its expressions compare such a text with a number as a number."""
    return float(QgsExpressionContextUtils.layerScope(layer).variable(VARIABLE))


def texts(layer):
    return [feature["label"] or "" for feature in layer.getFeatures()]


# -- counting and writing -----------------------------------------------------------------------


def test_labels_are_found_by_report_and_columns(layer, tmp_path):
    assert [(label.name, label.color) for label in labels_of_layer(layer)] == [
        ("Water", "#2c6fbb"),
        ("Forest", "#2e8b3d"),
    ]
    one = write_patches(tmp_path / "one.gpkg", report={**REPORT, "task": "patch"})
    assert labels_of_layer(QgsVectorLayer(str(one), "one label", "ogr")) == []
    assert labels_of_layer(QgsVectorLayer("Point?crs=EPSG:4326", "points", "memory")) == []
    assert labels_of_layer(None) == []


def test_counts_are_those_of_the_plain_rule(tmp_path):
    # Probabilities of six digits, as they are written, and thresholds of whole percents, some of them met exactly.
    chance = random.Random(1)
    rows = [(round(chance.random(), 2), round(chance.random(), 6)) for _ in range(300)]
    patches = PatchLabels(QgsVectorLayer(str(write_patches(tmp_path / "many.gpkg", rows)), "many", "ogr"))
    for percent in range(101):
        threshold = percent / 100
        assert patches.counts(threshold) == [sum(row[index] >= threshold for row in rows) for index in (0, 1)]
        assert patches.without_label(threshold) == sum(max(row) < threshold for row in rows)


def test_the_threshold_is_a_variable_of_the_layer(layer):
    patches = PatchLabels(layer)
    assert patches.threshold() == 0.5
    patches.show(0.7)
    assert shown(layer) == 0.7
    assert PatchLabels(layer).threshold() == 0.7
    assert patches.own_threshold() == 0.5


def test_labels_are_written_as_one_step_that_can_be_undone(layer):
    assert texts(layer) == ["Water", "Water; Forest", "Water; Forest", ""]
    patches = PatchLabels(layer)
    assert patches.write(0.4) == 1
    assert texts(layer) == ["Water", "Water; Forest", "Water; Forest", "Forest"]
    assert patches.write(0.75) == 3
    assert texts(layer) == ["Water", "", "Forest", ""]
    layer.undoStack().undo()
    assert texts(layer) == ["Water", "Water; Forest", "Water; Forest", "Forest"]
    assert patches.write(0.4) == 0
    assert layer.commitChanges()
    assert texts(QgsVectorLayer(layer.source(), "again", "ogr"))[3] == "Forest"


def test_a_layer_that_cannot_be_edited_is_told(layer):
    layer.setReadOnly(True)
    with pytest.raises(OutputError, match="“my patches” cannot be edited"):
        PatchLabels(layer).write(0.4)


# -- the panel ----------------------------------------------------------------------------------


@pytest.fixture
def panel(layer):
    window = QMainWindow()
    panel = ThresholdPanel(window)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, panel)
    panel.show_layer(layer)
    window.show()
    settle()
    yield panel
    window.close()
    window.deleteLater()


def settle(milliseconds=0):
    QTest.qWait(milliseconds)
    for _ in range(3):
        QCoreApplication.processEvents()


def rows(panel):
    table = panel.table
    return [(table.item(row, 0).text(), table.item(row, 1).text()) for row in range(table.rowCount())]


def test_keys_on_the_slider_move_counts_and_map(panel, layer):
    assert panel.layer_name.text() == "my patches"
    assert rows(panel) == [("Water", "3"), ("Forest", "2"), ("no label", "1")]
    repainted = []
    layer.repaintRequested.connect(lambda *_: repainted.append(True))
    panel.slider.setFocus()
    for _ in range(30):
        QTest.keyClick(panel.slider, Qt.Key.Key_Right)
    assert panel.spin.value() == 80
    assert rows(panel) == [("Water", "1"), ("Forest", "1"), ("no label", "2")]
    settle(150)
    assert shown(layer) == 0.8
    # Thirty steps in a moment are not thirty drawings.
    assert 1 <= len(repainted) < 10


def test_a_number_can_be_typed_and_the_start_value_comes_back(panel):
    panel.spin.setFocus()
    panel.spin.selectAll()
    QTest.keyClicks(panel.spin, "15")
    QTest.keyClick(panel.spin, Qt.Key.Key_Return)
    assert panel.slider.value() == 15
    assert rows(panel) == [("Water", "4"), ("Forest", "3"), ("no label", "0")]
    QTest.mouseClick(panel.reset_button, LEFT)
    assert panel.spin.value() == 50


def test_the_button_writes_what_is_shown(panel, layer):
    panel.slider.setFocus()
    for _ in range(2):
        QTest.keyClick(panel.slider, Qt.Key.Key_PageDown)
    assert panel.spin.value() == 40
    QTest.mouseClick(panel.write_button, LEFT)
    assert layer.isEditable()
    assert texts(layer)[3] == "Forest"
    assert panel.notice.kind == "ok"
    assert panel.notice.said.startswith("1 label changed")
    assert shown(layer) == 0.4
    layer.rollBack()


def test_patches_that_are_deleted_are_counted_no_more(panel, layer):
    layer.startEditing()
    layer.deleteFeature(next(layer.getFeatures()).id())
    settle(20)
    assert rows(panel)[0] == ("Water", "2")
    layer.rollBack()
    settle(20)
    assert rows(panel)[0] == ("Water", "3")


def test_the_panel_closes_when_its_layer_is_removed(panel, layer):
    QTest.keyClick(panel.slider, Qt.Key.Key_Right)
    QgsProject.instance().removeMapLayer(layer)
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    settle(100)
    assert not panel.isVisible()
    QTest.mouseClick(panel.write_button, LEFT)


def test_another_layer_takes_the_panel_over(panel, layer, tmp_path):
    QTest.keyClick(panel.slider, Qt.Key.Key_Left)
    other = QgsVectorLayer(str(write_patches(tmp_path / "other.gpkg", [(0.6, 0.6)])), "other", "ogr")
    panel.show_layer(other)
    assert shown(layer) == 0.49
    assert rows(panel) == [("Water", "1"), ("Forest", "1"), ("no label", "0")]
    assert panel.spin.value() == 50
