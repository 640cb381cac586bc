"""Drawing: the keys that pick a class, and QGIS's settings for polygons that share borders."""

from __future__ import annotations

import pytest
from qgis.core import QgsProject, QgsSnappingConfig, QgsVectorLayer
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QLineEdit, QMainWindow

from thematica.models.label_classes import LabelClass
from thematica.plugin.label_layer import LabelLayer
from thematica.plugin.label_layer.drawing import prepare_drawing
from thematica.plugin.label_layer.keys import ClassKeys

from .driving import settle
from .label_layers import CLASSES, codes_on_screen, draw, make_layer

KEY = Qt.Key


@pytest.fixture
def layer(tmp_path):
    layer = make_layer(tmp_path / "labels.gpkg")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def window(layer):
    window = QMainWindow()
    window.canvas = QgsMapCanvas(window)
    window.text = QLineEdit(window)
    window.setCentralWidget(window.canvas)
    window.keys = ClassKeys(window.canvas)
    window.picked, window.refused = [], []
    window.keys.picked.connect(lambda labels, code, changed: window.picked.append((code, changed)))
    window.keys.refused.connect(window.refused.append)
    window.canvas.setLayers([layer])
    window.canvas.setCurrentLayer(layer)
    window.show()
    window.canvas.setFocus()
    settle()
    yield window
    window.canvas.setCurrentLayer(None)
    window.deleteLater()


def press(window, key, modifier=Qt.KeyboardModifier.NoModifier):
    QTest.keyClick(window.canvas, key, modifier)


def test_a_digit_picks_the_class_at_its_place(window, layer):
    labels = LabelLayer.of(layer)
    layer.startEditing()
    for key, code in ((KEY.Key_3, 7), (KEY.Key_1, 1), (KEY.Key_2, 2)):
        press(window, key)
        assert labels.current_code() == code
    draw(layer, 0)
    assert codes_on_screen(layer) == {0: 2}
    press(window, KEY.Key_3, Qt.KeyboardModifier.KeypadModifier)
    assert labels.current_code() == 7
    assert window.picked == [(7, 0), (1, 0), (2, 0), (7, 0)]


def test_the_tenth_class_is_at_zero_and_keys_without_a_class_do_nothing(window, tmp_path):
    press(window, KEY.Key_9)
    press(window, KEY.Key_0)
    assert window.picked == []
    many = [LabelClass(10 * n, f"c{n}", f"#0000{n:02x}") for n in range(1, 12)]
    layer = make_layer(tmp_path / "many.gpkg", many)
    QgsProject.instance().addMapLayer(layer)
    window.canvas.setCurrentLayer(layer)
    press(window, KEY.Key_0)
    assert window.picked == [(100, 0)]


def test_selected_polygons_get_the_class_in_one_step(window, layer):
    layer.startEditing()
    draw(layer, 0, 1)
    draw(layer, 20, 1)
    layer.selectByExpression('"class" = 1')
    press(window, KEY.Key_2)
    assert codes_on_screen(layer) == {0: 2, 20: 2}
    assert window.picked == [(2, 2)]
    layer.undoStack().undo()
    assert codes_on_screen(layer) == {0: 1, 20: 1}


def test_selected_polygons_stay_while_the_layer_is_not_edited(window, layer):
    layer.startEditing()
    draw(layer, 0, 1)
    assert layer.commitChanges()
    layer.selectAll()
    press(window, KEY.Key_2)
    assert not layer.isEditable()
    assert codes_on_screen(layer) == {0: 1}
    assert LabelLayer.of(layer).current_code() == 2


def test_keys_go_where_they_belong(window, layer):
    """Other layers, other widgets, other modifiers: nothing is taken from them."""
    labels = LabelLayer.of(layer)
    press(window, KEY.Key_2, Qt.KeyboardModifier.ControlModifier)
    press(window, KEY.Key_2, Qt.KeyboardModifier.AltModifier)
    press(window, KEY.Key_F2)
    window.text.show()
    window.text.setFocus()
    QTest.keyClicks(window.text, "231")
    assert window.text.text() == "231"
    other = QgsVectorLayer("Polygon?field=class:integer", "x", "memory")
    window.canvas.setCurrentLayer(other)
    press(window, KEY.Key_2)
    window.canvas.setCurrentLayer(None)
    press(window, KEY.Key_2)
    assert labels.current_code() == 1
    window.canvas.setCurrentLayer(layer)
    window.keys.end()
    press(window, KEY.Key_2)
    assert labels.current_code() == 1


def test_drawing_is_prepared_once_and_told(layer):
    project = QgsProject.instance()
    sentence = prepare_drawing(layer)
    assert "snapping" in sentence
    assert "topological editing" in sentence
    assert "overlap" in sentence
    assert project.topologicalEditing()
    assert project.snappingConfig().enabled()
    assert project.snappingConfig().mode() == QgsSnappingConfig.SnappingMode.ActiveLayer
    assert project.avoidIntersectionsMode() == QgsProject.AvoidIntersectionsMode.AvoidIntersectionsCurrentLayer
    assert prepare_drawing(layer) == ""


def test_what_the_analyst_had_set_up_stays(layer, tmp_path):
    project = QgsProject.instance()
    other = make_layer(tmp_path / "b.gpkg", CLASSES)
    project.addMapLayer(other)
    config = project.snappingConfig()
    config.setEnabled(True)
    config.setMode(QgsSnappingConfig.SnappingMode.AllLayers)
    config.setTolerance(3)
    project.setSnappingConfig(config)
    project.setTopologicalEditing(True)
    project.setAvoidIntersectionsMode(QgsProject.AvoidIntersectionsMode.AvoidIntersectionsLayers)
    project.setAvoidIntersectionsLayers([other])
    sentence = prepare_drawing(layer)
    assert "overlap" in sentence
    assert "snapping to the" not in sentence
    assert project.snappingConfig().tolerance() == 3
    assert set(project.avoidIntersectionsLayers()) == {other, layer}


def test_in_a_list_of_layers_to_snap_to_ours_is_added(layer, tmp_path):
    project = QgsProject.instance()
    other = make_layer(tmp_path / "b.gpkg", CLASSES)
    project.addMapLayer(other)
    config = project.snappingConfig()
    config.setEnabled(True)
    config.setMode(QgsSnappingConfig.SnappingMode.AdvancedConfiguration)
    config.setIndividualLayerSettings(
        other, QgsSnappingConfig.IndividualLayerSettings(True, QgsSnappingConfig.VertexFlag, 5, 1)
    )
    project.setSnappingConfig(config)
    assert "snapping" in prepare_drawing(layer)
    config = project.snappingConfig()
    assert config.mode() == QgsSnappingConfig.SnappingMode.AdvancedConfiguration
    assert config.individualLayerSettings(layer).enabled()
    assert config.individualLayerSettings(other).tolerance() == 5
    assert prepare_drawing(layer) == ""


def test_points_need_no_borders(tmp_path):
    assert prepare_drawing(make_layer(tmp_path / "p.gpkg", geometry="point")) == ""
