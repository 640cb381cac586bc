"""A new label layer: what it holds, how it looks and what it asks, in this project and in the next."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from qgis.core import QgsCategorizedSymbolRenderer, QgsCoordinateReferenceSystem, QgsRenderContext, QgsVectorLayer

from thematica.errors import InputError, OutputError
from thematica.models.label_classes import LabelClass, read_classes
from thematica.plugin.label_layer import LabelLayer, create_label_layer, is_label_layer

from .label_layers import CLASSES, codes_on_screen, draw, feature_of, make_layer, reopened, utm


def categories(layer):
    assert isinstance(layer.renderer(), QgsCategorizedSymbolRenderer)
    return {c.label(): c for c in layer.renderer().categories()}


def tables(path):
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT table_name FROM gpkg_contents")}


def test_the_file_keeps_classes_role_and_fields(tmp_path):
    layer = make_layer(tmp_path / "Ö labels.gpkg", role="validation")
    assert read_classes(tmp_path / "Ö labels.gpkg", "labels") == CLASSES
    assert [f.name() for f in layer.fields()] == ["fid", "class", "image", "date", "comment"]
    other = reopened(layer)
    again = LabelLayer.of(other)
    assert again.classes() == CLASSES
    assert again.role == "validation"
    assert again.class_field == "class"
    assert again.layer is other
    assert other.crs() == utm()


def test_the_style_comes_back_in_any_project(tmp_path):
    layer = make_layer(tmp_path / "a.gpkg")
    other = QgsVectorLayer(layer.source(), "other", "ogr")
    for shown in (layer, other):
        found = categories(shown)
        assert list(found) == ["Water", "Forest", "Grünland, „nass“", "no class"]
        fill = found["Forest"].symbol().symbolLayer(1)
        assert fill.strokeColor().name() == "#2e8b3d"
        assert fill.strokeColor().alpha() == 255
        assert fill.fillColor().name() == "#2e8b3d"
        assert fill.fillColor().alphaF() == pytest.approx(0.35, abs=0.01)
        assert int(found["Forest"].value()) == 2
    assert other.editFormConfig().suppress() == layer.editFormConfig().suppress()


def test_what_has_no_class_is_seen_and_told_from_the_code_0(tmp_path):
    layer = make_layer(tmp_path / "a.gpkg", [LabelClass(0, "Background", "#111111"), CLASSES[0]])
    layer.startEditing()
    for code in (0, 1, 99, None):
        layer.addFeature(feature_of(layer, "MultiPolygon(((0 0,1 0,1 1,0 0)))", [None, code, None, None, None]))
    assert layer.commitChanges()
    again = reopened(layer)
    assert LabelLayer.of(again).feature_counts() == {0: 1, 1: 1}
    for shown in (layer, again):
        context, renderer = QgsRenderContext(), shown.renderer().clone()
        renderer.startRender(context, shown.fields())
        symbols = [renderer.symbolForFeature(f, context) for f in shown.getFeatures()]
        colors = [symbol.symbolLayer(1).strokeColor().name() for symbol in symbols]
        assert colors == ["#111111", "#2c6fbb", "#404040", "#404040"]
        renderer.stopRender(context)


def test_the_form_asks_for_the_class_alone(tmp_path):
    layer = make_layer(tmp_path / "a.gpkg")
    for shown in (layer, reopened(layer)):
        kinds = {f.name(): shown.editorWidgetSetup(i).type() for i, f in enumerate(shown.fields())}
        assert kinds == {"class": "ValueMap", **dict.fromkeys(("fid", "image", "date", "comment"), "Hidden")}
        entries = shown.editorWidgetSetup(1).config()["map"]
        assert entries == [{"1 – Water": "1"}, {"2 – Forest": "2"}, {"7 – Grünland, „nass“": "7"}]


def test_what_is_drawn_gets_the_current_class_image_and_date(tmp_path):
    layer = make_layer(tmp_path / "a.gpkg", image="scene_1", date="2020-06-30")
    labels = LabelLayer.of(layer)
    assert labels.current_code() == 1
    layer.startEditing()
    draw(layer, 0)
    labels.set_current(7)
    labels.set_image("scene_2")
    draw(layer, 20)
    assert layer.commitChanges()
    again = reopened(layer)
    rows = [f.attributes()[1:4] for f in again.getFeatures()]
    assert rows[0][:2] == [1, "scene_1"]
    assert rows[0][2].toString("yyyy-MM-dd") == "2020-06-30"
    assert rows[1][:2] == [7, "scene_2"]
    assert not rows[1][2]
    assert LabelLayer.of(again).images() == ["scene_1", "scene_2"]
    # What this project draws on is nothing that another one should fill in.
    assert LabelLayer.of(again).image() == ""


def test_the_next_polygon_has_the_class_that_was_answered_last(tmp_path):
    layer = make_layer(tmp_path / "a.gpkg")
    labels = LabelLayer.of(layer)
    layer.startEditing()
    draw(layer, 0, code=2)
    assert labels.current_code() == 2
    draw(layer, 20)
    assert codes_on_screen(layer) == {0: 2, 20: 2}


def test_several_label_layers_live_in_one_file(tmp_path):
    path = tmp_path / "a.gpkg"
    first = make_layer(path)
    first.startEditing()
    draw(first, 0)
    assert first.commitChanges()
    second = make_layer(path, [LabelClass(1, "Rock", "#888888")], name="check points", geometry="point", role="test")
    assert LabelLayer.of(reopened(first)).classes() == CLASSES
    assert codes_on_screen(reopened(first)) == {0: 1}
    assert [c.name for c in LabelLayer.of(reopened(second)).classes()] == ["Rock"]
    assert (LabelLayer.of(first).role, LabelLayer.of(second).role) == ("training", "test")
    assert {"labels", "check points"} <= tables(path)


def test_the_same_layer_gives_the_same_object_and_others_none(tmp_path):
    layer = make_layer(tmp_path / "a.gpkg")
    assert LabelLayer.of(layer) is LabelLayer.of(layer)
    other = QgsVectorLayer("Polygon?field=class:integer", "x", "memory")
    assert LabelLayer.of(other) is None
    assert not is_label_layer(other)
    assert not is_label_layer(None)
    with pytest.raises(InputError, match="take it over"):
        LabelLayer(other)


def test_a_layer_can_be_added_while_another_one_of_the_file_is_edited(tmp_path):
    path = tmp_path / "a.gpkg"
    first = make_layer(path)
    first.startEditing()
    draw(first, 0)
    LabelLayer.of(first).rename(1, "Lake")
    second = make_layer(path, name="second")
    second.startEditing()
    draw(second, 20, 7)
    assert first.commitChanges()
    assert second.commitChanges()
    again = reopened(first)
    assert codes_on_screen(again) == {0: 1}
    assert LabelLayer.of(again).classes()[0].name == "Lake"
    assert codes_on_screen(reopened(second)) == {20: 7}


@pytest.mark.parametrize(
    ("name", "classes", "words"),
    [
        (" ", CLASSES, "Give the label layer a name"),
        ("gpkg_x", CLASSES, "choose another name"),
        ('a"b', CLASSES, "choose another name"),
        ("a|b", CLASSES, "choose another name"),
        ("a", [], "at least one class"),
        ("a", [CLASSES[0], CLASSES[0]], "same code"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, name, classes, words):
    with pytest.raises(InputError, match=words):
        create_label_layer(tmp_path / "a.gpkg", name, utm(), classes)
    assert list(tmp_path.iterdir()) == []


def test_without_a_crs_there_is_no_layer(tmp_path):
    with pytest.raises(InputError, match="Choose a CRS"):
        create_label_layer(tmp_path / "a.gpkg", "a", QgsCoordinateReferenceSystem(), CLASSES)


def test_nothing_that_exists_is_lost(tmp_path):
    path = tmp_path / "a.gpkg"
    layer = make_layer(path)
    layer.startEditing()
    draw(layer, 0)
    assert layer.commitChanges()
    with pytest.raises(OutputError, match="has a layer “Labels” already"):
        make_layer(path, name="Labels")
    assert codes_on_screen(reopened(layer)) == {0: 1}
    text = tmp_path / "b.gpkg"
    text.write_text("no database")
    with pytest.raises(OutputError, match="no GeoPackage"):
        make_layer(text)
    assert text.read_text() == "no database"
    with pytest.raises(OutputError, match="end with"):
        make_layer(tmp_path / "c.shp")
    with pytest.raises(OutputError, match="no folder"):
        make_layer(tmp_path / "missing" / "c.gpkg")


def test_a_layer_that_cannot_be_finished_is_taken_away_again(tmp_path, monkeypatch):
    from thematica.plugin.label_layer import create

    path = tmp_path / "a.gpkg"
    layer = make_layer(path)

    def fails(*_):
        raise OutputError("The disk is full.")

    monkeypatch.setattr(create, "write_style", fails)
    with pytest.raises(OutputError, match="full"):
        make_layer(path, name="second")
    assert "second" not in tables(path)
    assert LabelLayer.of(reopened(layer)).classes() == CLASSES
    with pytest.raises(OutputError, match="full"):
        make_layer(tmp_path / "b.gpkg")
    assert not (tmp_path / "b.gpkg").exists()
