"""The dialog "New Label Layer": filled with mouse and keys, and what is then in the file and in the project."""

from __future__ import annotations

import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QLineEdit

from thematica.models.label_classes import read_classes
from thematica.plugin.label_layer import LabelLayer
from thematica.plugin.label_layer.image_facts import date_in_name, image_date, image_name
from thematica.ui.new_label_layer import NewLabelLayer

from .driving import click, pick, settle
from .label_layers import codes_on_screen, draw, make_layer


@pytest.fixture
def image(make_raster):
    path = make_raster("S2A_20200630_T33.tif", [[1.0] * 16], 4)
    layer = QgsRasterLayer(str(path), "my scene")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def dialog(iface, image, tmp_path):
    dialog = NewLabelLayer(iface, image)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    dialog.made = []
    dialog.created.connect(dialog.made.append)
    dialog.show()
    settle()
    yield dialog
    dialog.close()
    dialog.deleteLater()


def type_into(field, text):
    field = field.lineEdit() if not isinstance(field, QLineEdit) else field
    field.setFocus()
    field.selectAll()
    QTest.keyClick(field, Qt.Key.Key_Delete)
    QTest.keyClicks(field, text)
    settle()


def test_proposals_make_a_layer_that_is_drawn_on_at_once(dialog, iface, image, tmp_path):
    assert dialog.date.text() == "2020-06-30"
    assert dialog.path() == tmp_path / "labels.gpkg"
    assert dialog.name.text() == "labels"
    click(dialog.create_button)
    (layer,) = dialog.made
    assert not dialog.isVisible()
    assert QgsProject.instance().mapLayer(layer.id()) is layer
    assert iface.activeLayer() is layer
    assert layer.isEditable()
    assert layer.crs() == image.crs()
    draw(layer, 0)
    assert layer.commitChanges()
    (feature,) = layer.getFeatures()
    assert feature.attributes()[1:3] == [1, "S2A_20200630_T33"]
    assert feature.attributes()[3].toString("yyyy-MM-dd") == "2020-06-30"
    assert read_classes(tmp_path / "labels.gpkg", "labels")[0].name == "Water"
    assert QgsProject.instance().topologicalEditing()
    said = iface.bar.currentItem().text()
    assert "keys 1 to 9" in said
    assert "topological editing" in said


def test_everything_can_be_said_otherwise(dialog, iface, tmp_path):
    pick(dialog.geometry_choice, "points")
    pick(dialog.role, "validation")
    pick(dialog.preset, "two, to be named")
    type_into(dialog.name, "check points")
    type_into(dialog.date, "")
    type_into(dialog.file.lineEdit(), str(tmp_path / "other file"))
    click(dialog.ask)
    click(dialog.classes.add_button)
    assert not dialog.borders.isEnabled()
    click(dialog.create_button)
    (layer,) = dialog.made
    labels = LabelLayer.of(layer)
    assert layer.source() == f"{tmp_path}/other file.gpkg|layername=check points"
    assert labels.role == "validation"
    assert [c.name for c in labels.classes()] == ["Class 1", "Class 2", "Class 3"]
    assert not labels.is_asking()
    again = QgsVectorLayer(layer.source(), "again", "ogr")
    assert not LabelLayer.of(again).is_asking()
    assert not QgsProject.instance().topologicalEditing()
    assert NewLabelLayer(iface).ask.isChecked() is False


def test_an_existing_file_gets_one_more_layer(dialog, tmp_path):
    first = make_layer(tmp_path / "labels.gpkg", name="first")
    first.startEditing()
    draw(first, 0)
    assert first.commitChanges()
    type_into(dialog.name, "first")
    assert "has a layer “first” already" in dialog.notice.said
    assert not dialog.create_button.isEnabled()
    type_into(dialog.name, "second")
    assert "exists: the layer is added" in dialog.notice.said
    click(dialog.create_button)
    assert codes_on_screen(QgsVectorLayer(first.source(), "x", "ogr")) == {0: 1}
    assert len(dialog.made) == 1


def test_a_free_name_is_proposed(iface, image, tmp_path):
    make_layer(tmp_path / "labels.gpkg")
    dialog = NewLabelLayer(iface, image)
    assert dialog.name.text() == "labels_2"
    dialog.deleteLater()


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("name", "", "Give the label layer a name"),
        ("name", "gpkg_x", "cannot be called"),
        ("date", "30.6.2020", "Write the date as YYYY-MM-DD"),
        ("date", "2020-02-30", "Write the date as YYYY-MM-DD"),
        ("file", "", "Choose a file"),
        ("file", "/no such folder/x.gpkg", "no folder"),
    ],
)
def test_what_cannot_be_is_told_and_put_right(dialog, field, text, words):
    widget = getattr(dialog, field)
    widget = widget.lineEdit() if field == "file" else widget
    before = widget.text() if field != "file" else dialog.file.filePath()
    type_into(widget, text)
    assert words in dialog.notice.said
    assert not dialog.create_button.isEnabled()
    type_into(widget, before)
    assert dialog.notice.said == ""
    assert dialog.create_button.isEnabled()


def test_a_file_that_is_no_geopackage_stays(dialog, tmp_path):
    (tmp_path / "text.gpkg").write_text("no database")
    type_into(dialog.file.lineEdit(), str(tmp_path / "text.gpkg"))
    assert "is no GeoPackage" in dialog.notice.said
    assert not dialog.create_button.isEnabled()
    assert (tmp_path / "text.gpkg").read_text() == "no database"


def test_without_an_image_the_projects_crs_is_taken(iface, tmp_path):
    from qgis.core import QgsSettings

    QgsSettings().setValue("thematica/labels/folder", str(tmp_path))
    dialog = NewLabelLayer(iface)
    dialog.made = []
    dialog.created.connect(dialog.made.append)
    dialog.show()
    assert "Choose an image with a CRS" in dialog.notice.said
    QgsProject.instance().setCrs(QgsCoordinateReferenceSystem("EPSG:25833"))
    type_into(dialog.name, "labels")
    type_into(dialog.name, "l")
    click(dialog.create_button)
    assert dialog.made[0].crs().authid() == "EPSG:25833"
    assert LabelLayer.of(dialog.made[0]).image() == ""


def test_classes_of_another_label_layer_are_offered(iface, image, tmp_path):
    from .label_layers import CLASSES

    other = make_layer(tmp_path / "labels.gpkg")
    QgsProject.instance().addMapLayer(other)
    dialog = NewLabelLayer(iface, image)
    dialog.show()
    pick(dialog.preset, "as in “labels”")
    assert dialog.draft.classes() == CLASSES
    dialog.deleteLater()


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("S2A_MSIL2A_20200630T101031", "2020-06-30"),
        ("scene_2019-12-01_b4", "2019-12-01"),
        ("LE70220491999322EDC01_stack", "1999-11-18"),
        ("LC08_L2SP_022049_20130402_20200913_02_T1", "2013-04-02"),
        ("naip 2009", ""),
        ("x20201332", ""),
        ("120200630", ""),
    ],
)
def test_dates_in_names(name, date):
    assert date_in_name(name) == date


def test_an_image_is_called_as_its_file(image, make_raster):
    assert image_name(image) == "S2A_20200630_T33"
    assert image_date(image) == "2020-06-30"
    bare = QgsRasterLayer(str(make_raster("bare.tif", [[1.0] * 4], 2)), "from 2011-03-04")
    assert image_name(bare) == "bare"
    assert image_date(bare) == "2011-03-04"
