"""Existing layers taken over: of any provider, with codes or text, as they are or as a copy; and what is told."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsField,
    QgsFillSymbol,
    QgsProject,
    QgsRendererCategory,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerJoinInfo,
)

from thematica.errors import InputError, OutputError
from thematica.models.label_classes import LabelClass, read_classes
from thematica.plugin.label_layer import LabelLayer, adopt_layer, copy_layer
from thematica.plugin.label_layer.survey import class_fields, survey_field

from .label_layers import CLASSES, draw, feature_of, make_layer, reopened, square, utm

ROWS = [("water", 10, 0), ("Water lily", 300, 20), ("forest", 7, 40), ("forest", 7, 60), (None, None, 80)]


@pytest.fixture
def memory():
    """Text, sparse codes, NULLs; a bow tie, which is no valid polygon, among them."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=kind:string&field=code:integer", "old labels", "memory")
    for kind, code, left in ROWS:
        assert layer.dataProvider().addFeature(feature_of(layer, square(left).asWkt(), [kind, code]))
    bow = "Polygon((100 0,110 10,110 0,100 10,100 0))"
    assert layer.dataProvider().addFeature(feature_of(layer, bow, ["forest", 7]))
    layer.updateExtents()
    return layer


def saved_as(memory, path, driver):
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = driver
    options.layerName = path.stem
    QgsVectorFileWriter.writeAsVectorFormatV3(memory, str(path), QgsCoordinateTransformContext(), options)
    return QgsVectorLayer(str(path), path.stem, "ogr")


def as_shapefile(memory, folder):
    return saved_as(memory, folder / "old.shp", "ESRI Shapefile")


def as_geojson(memory, folder):
    return saved_as(memory, folder / "old.geojson", "GeoJSON")


def as_virtual(memory, folder):
    QgsProject.instance().addMapLayer(memory)
    return QgsVectorLayer(f'?query=SELECT * FROM "{memory.id()}"&geometry=geometry:Polygon:32633', "v", "virtual")


def as_text(memory, folder):
    rows = "\n".join(f'"{f.geometry().asWkt()}",{f["kind"] or ""},{f["code"] or ""}' for f in memory.getFeatures())
    (folder / "old.csv").write_text(f"wkt,kind,code\n{rows}\n")
    uri = f"file://{folder}/old.csv?delimiter=,&wktField=wkt&crs=EPSG:32633&detectTypes=yes"
    return QgsVectorLayer(uri, "text", "delimitedtext")


PROVIDERS = {
    "memory": lambda memory, folder: memory,
    "shapefile": as_shapefile,
    "geojson": as_geojson,
    "virtual": as_virtual,
    "text": as_text,
}


@pytest.fixture(params=PROVIDERS)
def layer(request, memory, tmp_path):
    layer = PROVIDERS[request.param](memory, tmp_path)
    assert layer.isValid()
    return layer


def test_unique_values_become_classes(layer):
    found = survey_field(layer, "kind")
    assert [(v.key, v.count, v.entry.code, v.entry.name) for v in found.values] == [
        ("forest", 3, 1, "forest"),
        ("water", 1, 2, "water"),
        ("Water lily", 1, 3, "Water lily"),
    ]
    assert len({v.entry.color for v in found.values}) == 3
    assert (found.features, found.without_class, found.are_codes) == (6, 1, False)
    found = survey_field(layer, "code")
    assert [(v.entry.code, v.entry.name) for v in found.values] == [
        (7, "Class 7"),
        (10, "Class 10"),
        (300, "Class 300"),
    ]
    assert found.are_codes


@pytest.mark.parametrize("field", ["kind", "code"])
def test_a_layer_of_any_provider_is_used_as_it_is(layer, field):
    before = [f.attributes() for f in layer.getFeatures()]
    labels = adopt_layer(layer, field)
    assert LabelLayer.of(layer) is labels
    assert sorted(labels.feature_counts().values()) == [1, 1, 3]
    by_name = {c.name: c.code for c in labels.classes()}
    forest, water = (by_name["forest"], by_name["water"]) if field == "kind" else (7, 10)
    codes = [labels.code_of_feature(f) for f in layer.getFeatures()]
    assert codes.count(forest) == 3
    assert codes[0] == water
    assert codes.count(None) == 1
    assert isinstance(layer.renderer(), QgsCategorizedSymbolRenderer)
    # Class editing never touches the features, and can be undone although nothing is being edited.
    labels.rename(forest, "Wood")
    labels.merge([water], forest)
    labels.recode(forest, 99)
    assert labels.feature_counts()[99] == 4
    for _ in range(3):
        layer.undoStack().undo()
    assert labels.feature_counts()[forest] == 3
    layer.undoStack().redo()
    assert labels.class_of(forest).name == "Wood"
    assert [f.attributes() for f in layer.getFeatures()] == before


def test_the_project_keeps_what_the_layer_cannot(memory, tmp_path):
    layer = as_shapefile(memory, tmp_path)
    project = QgsProject.instance()
    project.addMapLayer(layer)
    labels = adopt_layer(layer, "kind", role="validation")
    labels.rename(1, "Wood")
    labels.set_role("test")
    assert project.write(str(tmp_path / "p.qgz"))
    project.clear()
    assert project.read(str(tmp_path / "p.qgz"))
    (again,) = project.mapLayers().values()
    labels = LabelLayer.of(again)
    assert labels.classes()[0].name == "Wood"
    assert labels.role == "test"
    assert labels.feature_counts() == {1: 3, 2: 1, 3: 1}


def test_colours_and_names_of_the_legend_are_taken_over(memory):
    categories = [
        QgsRendererCategory(7, QgsFillSymbol.createSimple({"color": "#010203", "style": "dense3"}), "Wood"),
        QgsRendererCategory(10, QgsFillSymbol.createSimple({"color": "#0000ff"}), "Lake"),
    ]
    memory.setRenderer(QgsCategorizedSymbolRenderer("code", categories))
    labels = adopt_layer(memory, "code")
    named = [(c.code, c.name, c.color) for c in labels.classes()]
    assert named[:2] == [(7, "Wood", "#010203"), (10, "Lake", "#0000ff")]
    assert named[2][:2] == (300, "Class 300")
    # The analyst's own hatching stays.
    kept = memory.renderer().categories()
    assert kept[0].symbol().symbolLayer(0).properties()["style"] == "dense3"


def test_new_features_hold_what_the_field_holds(memory):
    labels = adopt_layer(memory, "kind")
    labels.merge([3], 2)
    memory.startEditing()
    labels.set_current(2)
    draw(memory, 200)
    rock = labels.add_class("Rock")
    labels.set_current(rock.code)
    draw(memory, 220)
    drawn = sorted(f["kind"] for f in memory.getFeatures() if f.geometry().boundingBox().xMinimum() >= 200)
    assert drawn == ["Rock", "water"]
    assert labels.feature_counts() == {1: 3, 2: 3, rock.code: 1}
    assert labels.assign([f.id() for f in memory.getFeatures()], rock.code) == 7
    assert memory.rollBack()
    assert labels.feature_counts() == {1: 3, 2: 2}


def test_a_rollback_takes_nothing_back_that_was_done_before_it(memory):
    labels = adopt_layer(memory, "kind")
    labels.rename(1, "Wood")
    memory.startEditing()
    assert memory.undoStack().count() == 0
    labels.rename(1, "Jungle")
    assert memory.rollBack()
    assert labels.classes()[0].name == "Wood"


def test_a_geopackage_with_codes_keeps_the_classes_itself(memory, tmp_path):
    layer = saved_as(memory, tmp_path / "old.gpkg", "GPKG")
    labels = adopt_layer(layer, "code")
    assert labels.holds_codes
    assert [c.code for c in read_classes(tmp_path / "old.gpkg", "old")] == [7, 10, 300]
    again = reopened(layer)
    assert LabelLayer.of(again).class_field == "code"
    labels.merge([10], 7)
    assert layer.commitChanges()
    assert [c.code for c in read_classes(tmp_path / "old.gpkg", "old")] == [7, 300]
    with closing(sqlite3.connect(tmp_path / "old.gpkg")) as database:
        assert {r[0] for r in database.execute("SELECT code FROM old WHERE code IS NOT NULL")} == {7, 300}
        styles = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'layer_styles'").fetchone()
    assert styles == (0,)


def test_a_geopackage_with_text_is_left_as_it_is(memory, tmp_path):
    layer = saved_as(memory, tmp_path / "old.gpkg", "GPKG")
    adopt_layer(layer, "kind")
    assert read_classes(tmp_path / "old.gpkg", "old") == []


def test_virtual_and_joined_fields_are_fields(memory):
    memory.addExpressionField(
        "CASE WHEN \"code\" > 9 THEN 'big' ELSE 'small' END", QgsField("size", memory.fields().at(0).type())
    )
    labels = adopt_layer(memory, "size")
    assert labels.feature_counts() == {1: 2, 2: 4}
    table = QgsVectorLayer("NoGeometry?field=code:integer&field=group:string", "table", "memory")
    for code, group in ((7, "land"), (10, "wet"), (300, "wet")):
        table.dataProvider().addFeature(feature_of(table, "", [code, group]))
    QgsProject.instance().addMapLayers([table, memory])
    join = QgsVectorLayerJoinInfo()
    join.setJoinLayer(table)
    join.setJoinFieldName("code")
    join.setTargetFieldName("code")
    join.setUsingMemoryCache(True)
    assert memory.addJoin(join)
    assert "table_group" in class_fields(memory)
    found = survey_field(memory, "table_group")
    assert [(v.key, v.count) for v in found.values] == [("land", 3), ("wet", 2)]


def test_what_was_met_is_told(memory):
    wgs = QgsCoordinateReferenceSystem("EPSG:4326")
    memory.startEditing()
    memory.addFeature(feature_of(memory, "Polygon EMPTY", ["forest", 7]))
    told = " | ".join(survey_field(memory, "kind", wgs).findings)
    assert "1 feature without a value in “kind”" in told
    assert "1 feature with an invalid geometry" in told
    assert "1 feature without a geometry" in told
    assert "Few features for “water” (1), “Water lily” (1)" in told
    assert "EPSG:32633, the image's EPSG:4326" in told
    assert "unsaved edits" in told
    assert "disagree" not in told
    memory.rollBack()
    memory.setSubsetString("\"kind\" = 'forest'")
    told = " | ".join(survey_field(memory, "kind").findings)
    assert "has a filter" in told
    assert "All features have the same value" in told


def test_a_multipart_polygon_is_told():
    layer = QgsVectorLayer("MultiPolygon?crs=EPSG:32633&field=k:string", "x", "memory")
    parts = "MultiPolygon(((0 0,1 0,1 1,0 0)),((5 0,6 0,6 1,5 0)))"
    layer.dataProvider().addFeatures([feature_of(layer, parts, ["a"]), feature_of(layer, parts, ["b"])])
    assert "2 features of several parts: each counts as one." in survey_field(layer, "k").findings


def test_fields_that_disagree_are_found():
    layer = QgsVectorLayer("Point?crs=EPSG:32633&field=class:string&field=id:integer&field=note:string", "x", "memory")
    rows = [("forest", 1)] * 11 + [("water", 2)] * 5 + [("barren", 4)] * 5 + [("urban", 5), ("barren", 5), ("urban", 4)]
    layer.dataProvider().addFeatures(
        [feature_of(layer, "Point(0 0)", [a, b, f"n{i}"]) for i, (a, b) in enumerate(rows)]
    )
    told = [text for text in survey_field(layer, "class").findings if "disagree" in text]
    assert len(told) == 1
    assert "“class” and “id” disagree on 2 features" in told[0]
    assert "“barren” with “5”" in told[0]
    assert class_fields(layer)[0] == "class"


@pytest.mark.parametrize(
    ("uri", "field", "words"),
    [
        ("LineString?crs=EPSG:32633&field=k:string", "k", "neither polygons nor points"),
        ("NoGeometry?field=k:string", "k", "is a table without geometries"),
        ("Polygon?field=k:string", "k", "has no CRS"),
        ("Polygon?crs=EPSG:32633&field=k:string", "other", "no field “other”"),
        ("Polygon?crs=EPSG:32633&field=k:string", "k", "no values"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(uri, field, words):
    layer = QgsVectorLayer(uri, "x", "memory")
    if "crs" not in uri:
        layer.setCrs(QgsCoordinateReferenceSystem())
    with pytest.raises(InputError, match=words):
        adopt_layer(layer, field)
    assert LabelLayer.of(layer) is None


def test_a_field_of_measurements_is_no_class():
    layer = QgsVectorLayer("Point?crs=EPSG:32633&field=k:double", "x", "memory")
    layer.dataProvider().addFeatures([feature_of(layer, "Point(0 0)", [n / 7]) for n in range(600)])
    with pytest.raises(InputError, match="more than 500 different values"):
        survey_field(layer, "k")


def test_fractions_are_no_codes():
    layer = QgsVectorLayer("Point?crs=EPSG:32633&field=k:double", "x", "memory")
    layer.dataProvider().addFeatures([feature_of(layer, "Point(0 0)", [n]) for n in (1.0, 2.5, -3.0, 1.0)])
    found = survey_field(layer, "k")
    assert not found.are_codes
    assert [v.key for v in found.values] == ["-3", "1", "2.5"]
    labels = adopt_layer(layer, "k")
    assert labels.values_of(found.values[2].entry.code) == [2.5]
    assert sum(labels.feature_counts().values()) == 4


def test_a_new_class_has_a_value_of_the_fields_type():
    layer = QgsVectorLayer("Point?crs=EPSG:32633&field=k:double", "x", "memory")
    layer.dataProvider().addFeatures([feature_of(layer, "Point(0 0)", [n]) for n in (1.0, 2.5, 4.0)])
    labels = adopt_layer(layer, "k")
    rock = labels.add_class("Rock")
    # 4 is what the field holds for another class.
    assert rock.code == 5
    assert labels.values_of(5) == [5]


def test_of_classes_that_were_merged_new_features_get_the_value_of_the_one_that_stays(memory):
    labels = adopt_layer(memory, "kind")
    labels.merge([1], 2)
    assert labels.values_of(2) == ["water", "forest"]


def test_a_field_that_is_removed_ends_it(memory):
    labels = adopt_layer(memory, "kind")
    memory.startEditing()
    memory.deleteAttribute(0)
    assert labels.feature_counts() == {1: 0, 2: 0, 3: 0}
    with pytest.raises(InputError, match="no field “kind” any more"):
        labels.assign([1], 1)
    assert LabelLayer.of(memory) is None
    memory.rollBack()
    assert LabelLayer.of(memory).feature_counts() == {1: 3, 2: 1, 3: 1}


# -- copies ----------------------------------------------------------------------------------------


def test_a_copy_has_what_is_on_the_screen(layer, tmp_path):
    found = survey_field(layer, "kind")
    done = copy_layer(layer, "kind", found.classes(), found.meaning(), tmp_path / "new.gpkg", "labels", image="scene")
    assert done.features == 5
    assert done.notes == ["1 feature without a class: left out.", "1 feature with an invalid geometry: repaired."]
    labels = LabelLayer.of(done.layer)
    assert labels.feature_counts() == {1: 3, 2: 1, 3: 1}
    assert labels.images() == ["scene"]
    assert all(f.geometry().isGeosValid() for f in done.layer.getFeatures())
    bow = next(f for f in done.layer.getFeatures() if f.geometry().boundingBox().xMinimum() > 95)
    assert bow.geometry().area() == pytest.approx(50)
    assert done.layer.crs() == layer.crs()


def test_a_copy_of_edits_in_another_crs_with_classes_put_together(memory, tmp_path):
    memory.startEditing()
    memory.deleteFeature(next(f.id() for f in memory.getFeatures() if f["kind"] == "water"))
    memory.addFeature(feature_of(memory, square(300).asWkt(), ["Water lily", 300]))
    wgs = QgsCoordinateReferenceSystem("EPSG:4326")
    classes = [LabelClass(5, "All", "#112233")]
    done = copy_layer(memory, "kind", classes, {"Water lily": 5, "forest": 5}, tmp_path / "n.gpkg", "n", wgs)
    assert done.features == 5
    assert done.layer.crs() == wgs
    assert done.layer.extent().yMaximum() < 1
    assert LabelLayer.of(done.layer).feature_counts() == {5: 5}
    memory.rollBack()


def test_multi_parts_curves_and_heights_in_a_copy(tmp_path):
    layer = QgsVectorLayer("MultiSurfaceZ?crs=EPSG:32633&field=k:string", "x", "memory")
    curve = "CurvePolygonZ(CompoundCurveZ(CircularStringZ(0 0 1,5 5 1,10 0 1),(10 0 1,0 0 1)))"
    two = "MultiSurfaceZ(((0 0 1,1 0 1,1 1 1,0 0 1)),((5 0 1,6 0 1,6 1 1,5 0 1)))"
    layer.dataProvider().addFeatures(
        [feature_of(layer, f"MultiSurfaceZ({curve})", ["a"]), feature_of(layer, two, ["a"])]
    )
    assert layer.featureCount() == 2
    found = survey_field(layer, "k")
    done = copy_layer(layer, "k", found.classes(), found.meaning(), tmp_path / "n.gpkg", "n")
    shapes = [f.geometry() for f in done.layer.getFeatures()]
    assert shapes[0].area() == pytest.approx(39.27, rel=0.01)
    assert [s.constGet().partCount() for s in shapes] == [1, 2]
    assert not any(s.constGet().is3D() for s in shapes)


def test_images_dates_and_comments_come_along(tmp_path):
    layer = QgsVectorLayer("Point?crs=EPSG:32633&field=k:string&field=Image:string&field=date:string", "x", "memory")
    rows = [["a", "old scene", "2001-02-03"], ["a", None, "no date"]]
    layer.dataProvider().addFeatures([feature_of(layer, "Point(0 0)", row) for row in rows])
    done = copy_layer(layer, "k", [CLASSES[0]], {"a": 1}, tmp_path / "n.gpkg", "n", image="scene", date="2020-01-01")
    first, second = done.layer.getFeatures()
    assert (first["image"], first["date"].toString("yyyy-MM-dd")) == ("old scene", "2001-02-03")
    assert second["image"] == "scene"
    assert not second["date"]


def test_computed_values_cannot_be_changed(memory):
    memory.addExpressionField("'big'", QgsField("size", memory.fields().at(0).type()))
    labels = adopt_layer(memory, "size")
    rock = labels.add_class("Rock")
    before = [f.attributes() for f in memory.getFeatures()]
    with pytest.raises(OutputError, match="computed or joined"):
        labels.assign([f.id() for f in memory.getFeatures()], rock.code)
    assert [f.attributes() for f in memory.getFeatures()] == before
    memory.rollBack()


def test_points_are_copied_as_points(tmp_path):
    for kind, wkt in (("Point", "Point(3 4)"), ("MultiPoint", "MultiPoint((3 4),(5 6))")):
        layer = QgsVectorLayer(f"{kind}?crs=EPSG:32633&field=k:string", "x", "memory")
        layer.dataProvider().addFeature(feature_of(layer, wkt, ["a"]))
        done = copy_layer(layer, "k", [CLASSES[0]], {"a": 1}, tmp_path / f"{kind}.gpkg", "n")
        assert [f.geometry().constGet().partCount() for f in done.layer.getFeatures()] == [wkt.count(" ")]


def test_a_copy_that_cannot_be_finished_leaves_nothing(memory, tmp_path):
    path = tmp_path / "n.gpkg"
    with pytest.raises(InputError, match="nothing was copied"):
        copy_layer(memory, "kind", CLASSES, {"other": 1}, path, "n")
    assert list(tmp_path.iterdir()) == []
    first = make_layer(path)
    with pytest.raises(InputError, match="nothing was copied"):
        copy_layer(memory, "kind", CLASSES, {"other": 1}, path, "n")
    again = reopened(first)
    assert LabelLayer.of(again).classes() == CLASSES
    with pytest.raises(OutputError, match="already"):
        copy_layer(memory, "kind", CLASSES, {"forest": 1}, path, "labels")


@pytest.mark.real
def test_the_training_polygons_of_chiapas(real_data, tmp_path):
    for part in real_data("landsat7_chiapas").glob("training_data.*"):
        shutil.copy(part, tmp_path)
    layer = QgsVectorLayer(str(tmp_path / "training_data.shp"), "training", "ogr")
    found = survey_field(layer, "class", utm())
    assert {v.key: v.count for v in found.values} == {
        "forest": 11,
        "herbaceous": 6,
        "water": 5,
        "barren": 6,
        "urban": 2,
    }
    told = " | ".join(found.findings)
    assert "“class” and “id” disagree on 2 features" in told
    assert "Few features for “urban” (2)" in told
    assert "the image's EPSG:32633" in told
    assert class_fields(layer)[0] == "class"
