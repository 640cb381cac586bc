"""The dialog "Use a Layer as Labels": values put together with mouse and keys, as they are or as a copy."""

from __future__ import annotations

import pytest
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsColorDialog
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QLineEdit

from thematica.models.label_classes import read_classes
from thematica.models.usual_colors import usual_color
from thematica.plugin.label_layer import LabelLayer
from thematica.plugin.label_layer.mapping import ValueMapping
from thematica.plugin.label_layer.survey import survey_field
from thematica.ui.adopt_layer import AdoptLayer

from .driving import click, pick, settle
from .label_layers import codes_on_screen, draw, feature_of, make_layer, square

LEFT = Qt.MouseButton.LeftButton
VALUE, COUNT, CODE, NAME = range(4)
ROWS = [("water", 10, 0), ("lake", 30, 20), ("forest", 7, 40), ("forest", 7, 60), (None, None, 80)]


@pytest.fixture
def old():
    layer = QgsVectorLayer(
        "Polygon?crs=EPSG:4326&field=note:string&field=kind:string&field=code:integer", "old", "memory"
    )
    for number, (kind, code, left) in enumerate(ROWS):
        layer.dataProvider().addFeature(feature_of(layer, square(left).asWkt(), [f"n{number}", kind, code]))
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def image(make_raster):
    layer = QgsRasterLayer(str(make_raster("S2A_20200630.tif", [[1.0] * 16], 4)), "scene")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def open_on(iface):
    dialogs = []

    def make(layer=None):
        dialog = AdoptLayer(iface, layer)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        dialog.got = []
        dialog.taken.connect(dialog.got.append)
        dialog.show()
        settle()
        dialogs.append(dialog)
        return dialog

    yield make
    for dialog in dialogs:
        dialog.close()
        dialog.deleteLater()


def shown(dialog, column):
    return [dialog.table.item(row, column).text() for row in range(dialog.table.rowCount())]


def place(dialog, row, column):
    return dialog.table.visualItemRect(dialog.table.item(row, column)).center()


def write(dialog, row, column, text):
    dialog.table.scrollToItem(dialog.table.item(row, column))
    QTest.mouseClick(dialog.table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, place(dialog, row, column))
    QTest.mouseDClick(dialog.table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, place(dialog, row, column))
    editor = dialog.table.findChild(QLineEdit)
    assert editor is not None
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key.Key_Return)
    settle()


def untick(dialog, row):
    rectangle = dialog.table.visualItemRect(dialog.table.item(row, VALUE))
    QTest.mouseClick(
        dialog.table.viewport(),
        LEFT,
        Qt.KeyboardModifier.NoModifier,
        QPoint(rectangle.left() + 10, rectangle.center().y()),
    )
    settle()


def test_the_likeliest_field_is_read_with_counts_and_findings(open_on, old, image):
    dialog = open_on(old)
    pick(dialog.field, "kind")
    assert shown(dialog, VALUE) == ["forest", "lake", "water"]
    assert shown(dialog, COUNT) == ["2", "1", "1"]
    assert shown(dialog, CODE) == ["1", "2", "3"]
    assert "1 feature without a value in “kind”" in dialog.findings.said
    assert "EPSG:4326, the image's EPSG:32633" in dialog.findings.said
    pick(dialog.field, "code")
    assert shown(dialog, CODE) == ["7", "10", "30"]


def test_as_it_is(open_on, old, iface):
    dialog = open_on(old)
    pick(dialog.field, "kind")
    pick(dialog.role, "validation")
    write(dialog, 0, NAME, "Wood")
    click(dialog.take_button)
    (labels,) = dialog.got
    assert labels is LabelLayer.of(old)
    assert labels.role == "validation"
    assert [c.name for c in labels.classes()] == ["Wood", "lake", "water"]
    assert labels.feature_counts() == {1: 2, 2: 1, 3: 1}
    assert iface.activeLayer() is old
    assert not dialog.isVisible()


def test_values_of_one_name_or_code_become_one_class(open_on, old, tmp_path):
    dialog = open_on(old)
    pick(dialog.field, "kind")
    write(dialog, 1, NAME, "Water")
    assert shown(dialog, CODE) == ["1", "3", "3"]
    write(dialog, 0, CODE, "40")
    click(dialog.copy)
    dialog.file.setFilePath(str(tmp_path / "new"))
    click(dialog.take_button)
    (labels,) = dialog.got
    assert [(c.code, c.name) for c in labels.classes()] == [(3, "water"), (40, "forest")]
    assert labels.feature_counts() == {3: 2, 40: 2}
    assert (tmp_path / "new.gpkg").exists()


def test_a_copy_gets_the_images_crs_name_and_date(open_on, old, image, iface, tmp_path):
    dialog = open_on(old)
    pick(dialog.field, "code")
    untick(dialog, 2)
    click(dialog.copy)
    dialog.file.setFilePath(str(tmp_path / "labels.gpkg"))
    click(dialog.take_button)
    (labels,) = dialog.got
    assert labels.layer.crs() == image.crs()
    assert labels.images() == ["S2A_20200630"]
    assert [c.code for c in read_classes(tmp_path / "labels.gpkg", "old")] == [7, 10]
    assert "Copied 3 features. 2 features without a class: left out." in iface.bar.currentItem().text()
    assert QgsProject.instance().mapLayer(labels.layer.id()) is labels.layer
    # It would cover the pixels that are labelled.
    assert not QgsProject.instance().layerTreeRoot().findLayer(old.id()).isVisible()


def test_a_copy_may_take_the_selected_features_alone(open_on, old, tmp_path):
    dialog = open_on(old)
    assert not dialog.selected_only.isEnabled()
    dialog.close()
    old.selectByExpression("$id <= 2")
    dialog = open_on(old)
    pick(dialog.field, "kind")
    assert not dialog.selected_only.isEnabled()
    click(dialog.copy)
    assert dialog.selected_only.text().endswith("(2)")
    click(dialog.selected_only)
    dialog.file.setFilePath(str(tmp_path / "labels.gpkg"))
    click(dialog.take_button)
    assert dialog.got[0].layer.featureCount() == 2


def test_an_existing_file_gets_one_more_layer(open_on, old, tmp_path):
    first = make_layer(tmp_path / "labels.gpkg", name="old")
    first.startEditing()
    draw(first, 0)
    assert first.commitChanges()
    dialog = open_on(old)
    pick(dialog.field, "code")
    click(dialog.copy)
    dialog.file.setFilePath(str(tmp_path / "labels.gpkg"))
    settle()
    assert "has a layer “old” already" in dialog.notice.said
    assert not dialog.take_button.isEnabled()
    dialog.name.setFocus()
    QTest.keyClick(dialog.name, Qt.Key.Key_End)
    QTest.keyClicks(dialog.name, " 2")
    assert "exists: the layer is added" in dialog.notice.said
    click(dialog.take_button)
    assert codes_on_screen(QgsVectorLayer(first.source(), "x", "ogr")) == {0: 1}


def test_a_colour_is_chosen_by_the_square(open_on, old, monkeypatch):
    dialog = open_on(old)
    pick(dialog.field, "kind")
    monkeypatch.setattr(QgsColorDialog, "getColor", lambda *a: QColor("#ff0080"))
    QTest.mouseClick(dialog.table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, place(dialog, 0, COUNT))
    QTest.mouseDClick(dialog.table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, place(dialog, 0, COUNT))
    settle()
    click(dialog.take_button)
    assert dialog.got[0].classes()[0].color == "#ff0080"


def test_what_stands_against_it_is_told(open_on, old):
    dialog = open_on(old)
    pick(dialog.field, "kind")
    for row in range(3):
        untick(dialog, row)
    assert "No value is ticked" in dialog.notice.said
    assert not dialog.take_button.isEnabled()
    untick(dialog, 0)
    assert dialog.take_button.isEnabled()
    write(dialog, 0, CODE, "99999")
    assert "whole number from 0 to 65535" in dialog.notice.said
    assert not dialog.take_button.isEnabled()
    write(dialog, 0, CODE, "x")
    assert shown(dialog, CODE)[0] == "99999"


def test_without_a_layer_there_is_nothing_to_take(open_on):
    dialog = open_on()
    assert "no layer of polygons or points" in dialog.notice.said
    assert not dialog.take_button.isEnabled()


def test_a_layer_that_goes_takes_its_values_along(open_on, old):
    dialog = open_on(old)
    QgsProject.instance().removeMapLayer(old.id())
    settle()
    assert dialog.table.rowCount() == 0
    assert not dialog.take_button.isEnabled()


def test_renaming_a_class_of_several_values_renames_all(old):
    mapping = ValueMapping(survey_field(old, "kind").values)
    mapping.set_code(1, 3)
    mapping.set_name(2, "Wet")
    mapping.set_color(1, "#010203")
    assert [(c.code, c.name, c.color) for c in mapping.classes()][1] == (3, "Wet", "#010203")
    assert mapping.meaning() == {"forest": 1, "lake": 3, "water": 3}
    mapping.used[0] = False
    assert [c.code for c in mapping.classes()] == [3]


def test_classes_get_the_colours_of_maps():
    assert usual_color("Open water") == "#2c6fbb"
    assert usual_color("Laubwald") == "#1f7a3d"
    assert [usual_color(name) for name in ("Class 7", "Streets", "rice", "Plateau", "")] == [""] * 5
    assert usual_color("river", {"#2c6fbb"}) == ""
