"""Labels handed to the worker: what is on the screen, with its classes, whatever lies on the disk."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from osgeo import ogr
from qgis.core import (
    QgsField,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProcessingUtils,
    QgsProject,
    QgsVectorLayer,
)

from thematica.errors import InputError
from thematica.models.label_classes import read_classes
from thematica.models.label_settings import read_label_settings
from thematica.plugin.label_export import TABLE, write_labels
from thematica.plugin.label_layer import LabelLayer, adopt_layer

from .label_layers import CLASSES, draw, feature_of, make_layer, square, utm


def rows(path, field="class"):
    """Feature id → left edge and code, as another program reads them."""
    source = ogr.Open(str(path))
    table = source.GetLayerByName(TABLE)
    return {f.GetFID(): (round(f.geometry().GetEnvelope()[0]), f.GetField(field)) for f in table}


@pytest.fixture
def layer(tmp_path):
    layer = make_layer(tmp_path / "labels.gpkg", role="validation")
    layer.startEditing()
    for left, code in ((0, 1), (20, 2), (40, 7)):
        draw(layer, left, code)
    assert layer.commitChanges()
    yield layer
    layer.rollBack()


def test_unsaved_edits_are_written_and_not_what_is_on_the_disk(layer, tmp_path):
    labels = LabelLayer.of(layer)
    layer.startEditing()
    ids = {round(f.geometry().boundingBox().xMinimum()): f.id() for f in layer.getFeatures()}
    layer.deleteFeature(ids[0])
    layer.changeGeometry(ids[20], square(500).coerceToType(layer.wkbType())[0])
    new = draw(layer, 80, 1)
    labels.recode(7, 70)
    labels.rename(70, "Meadow")
    written = write_labels(layer, tmp_path / "out.gpkg")
    assert new.id() < 0
    assert rows(written.path) == {ids[20]: (500, 2), ids[40]: (40, 70), new.id(): (80, 1)}
    assert read_classes(written.path, TABLE) == labels.classes() == written.classes
    assert read_label_settings(written.path, TABLE) == {"field": "class", "role": "validation"}
    assert (written.field, written.role, written.features) == ("class", "validation", 3)
    source = ogr.Open(str(written.path))
    table = source.GetLayerByName(TABLE)
    names = [table.GetLayerDefn().GetFieldDefn(i).GetName() for i in range(table.GetLayerDefn().GetFieldCount())]
    assert names == ["class", "image", "date", "comment"]


def test_filter_and_selection_count(layer, tmp_path):
    layer.setSubsetString('"class" > 1')
    assert sorted(rows(write_labels(layer, tmp_path / "a.gpkg").path).values()) == [(20, 2), (40, 7)]
    layer.selectByExpression('"class" = 7')
    written = write_labels(layer, tmp_path / "b.gpkg", selected_only=True)
    assert list(rows(written.path).values()) == [(40, 7)]
    layer.removeSelection()
    with pytest.raises(InputError, match="no selected features"):
        write_labels(layer, tmp_path / "c.gpkg", selected_only=True)


def test_features_without_a_class_have_null(layer, tmp_path):
    layer.startEditing()
    layer.addFeature(feature_of(layer, square(90).asWkt(), [None, None, None, None, None]))
    layer.addFeature(feature_of(layer, square(91).asWkt(), [None, 55, None, None, None]))
    written = rows(write_labels(layer, tmp_path / "a.gpkg").path)
    assert sorted(written.values(), key=lambda row: row[0])[-2:] == [(90, None), (91, None)]


@pytest.fixture
def old():
    layer = QgsVectorLayer(
        "Polygon?crs=EPSG:32633&field=fid:string&field=kind:string&field=Kind2:integer", "o", "memory"
    )
    for name, kind, left in (("a", "water", 0), ("b", "forest", 20), ("b", None, 40)):
        layer.dataProvider().addFeature(feature_of(layer, square(left).asWkt(), [name, kind, 3]))
    return layer


def test_any_layer_is_written_with_codes_for_its_values(old, tmp_path):
    written = write_labels(old, tmp_path / "a.gpkg", "kind")
    assert sorted(rows(written.path, "kind").values(), key=lambda row: row[0]) == [(0, 2), (20, 1), (40, None)]
    assert [(c.code, c.name) for c in read_classes(written.path, TABLE)] == [(1, "forest"), (2, "water")]


def test_a_field_whose_name_the_file_has_for_itself_gets_another(old, tmp_path):
    written = write_labels(old, tmp_path / "a.gpkg", "fid")
    assert written.field == "class"
    assert sorted(code for _, code in rows(written.path).values()) == [1, 2, 2]


def test_a_layer_used_as_it_is_is_written_with_its_own_classes(old, tmp_path):
    labels = adopt_layer(old, "kind")
    labels.merge([2], 1)
    labels.rename(1, "Everything")
    written = write_labels(old, tmp_path / "a.gpkg")
    assert written.field == "kind"
    assert [c.name for c in read_classes(written.path, TABLE)] == ["Everything"]
    assert sorted((code or 0) for _, code in rows(written.path, "kind").values()) == [0, 1, 1]
    # Another field has the classes that it has.
    other = write_labels(old, tmp_path / "b.gpkg", "Kind2")
    assert [c.code for c in other.classes] == [3]


def test_virtual_fields_and_curves(tmp_path):
    layer = QgsVectorLayer("CurvePolygonZ?crs=EPSG:32633&field=k:integer", "x", "memory")
    curve = "CurvePolygonZ(CompoundCurveZ(CircularStringZ(0 0 1,5 5 1,10 0 1),(10 0 1,0 0 1)))"
    layer.dataProvider().addFeature(feature_of(layer, curve, [1]))
    layer.addExpressionField('"k" * 10', QgsField("ten", layer.fields().at(0).type()))
    written = write_labels(layer, tmp_path / "a.gpkg", "ten")
    assert list(rows(written.path, "ten").values()) == [(0, 10)]
    source = ogr.Open(str(written.path))
    table = source.GetLayerByName(TABLE)
    assert table.GetGeomType() == ogr.wkbMultiPolygon
    assert table.GetNextFeature().geometry().Area() == pytest.approx(39.27, rel=0.01)


def test_points_are_written_as_points(tmp_path):
    layer = make_layer(tmp_path / "p.gpkg", geometry="point")
    layer.startEditing()
    layer.addFeature(feature_of(layer, "Point(3 4)", [None, 2, None, None, None]))
    assert [code for _, code in rows(write_labels(layer, tmp_path / "a.gpkg").path).values()] == [2]
    layer.rollBack()


def test_a_processing_source_is_written(old, tmp_path):
    QgsProject.instance().addMapLayer(old)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    source = QgsProcessingUtils.variantToSource(old.id(), context)
    assert isinstance(source, QgsProcessingFeatureSource)
    written = write_labels(source, tmp_path / "a.gpkg", "kind")
    assert written.features == 3


@pytest.mark.parametrize(
    ("uri", "field", "words"),
    [
        ("LineString?crs=EPSG:32633&field=k:string", "k", "neither polygons nor points"),
        ("Polygon?crs=EPSG:32633&field=k:string", "j", "no field “j”"),
        ("Polygon?crs=EPSG:32633&field=k:string", "", "no field “”"),
        ("Polygon?crs=EPSG:32633&field=k:string", "k", "no features"),
    ],
)
def test_what_cannot_be_written_is_refused(uri, field, words, tmp_path):
    with pytest.raises(InputError, match=words):
        write_labels(QgsVectorLayer(uri, "x", "memory"), tmp_path / "a.gpkg", field)


def test_a_place_that_cannot_be_written_is_told(layer, tmp_path):
    with pytest.raises(InputError, match="could not be written"):
        write_labels(layer, tmp_path / "missing" / "a.gpkg")


def test_classes_of_the_layer_stay_as_they_were(layer, tmp_path):
    write_labels(layer, tmp_path / "a.gpkg")
    assert LabelLayer.of(layer).classes() == CLASSES
    assert layer.crs() == utm()


def test_the_worker_counts_what_is_on_the_screen(layer, make_raster, real_runtime, tmp_path):
    """Through the real program: pixels of polygons that are not saved, with the fids that the layer has for them."""
    raster = make_raster("image.tif", [[float(n % 7) for n in range(400)]] * 2, 20, pixel=10.0)
    for feature in layer.getFeatures():
        layer.startEditing()
        layer.deleteFeature(feature.id())
    labels = LabelLayer.of(layer)
    left, top = 500000, 5000000
    for place, code in ((0, 1), (100, 2), (150, 2)):
        layer.addFeature(
            feature_of(layer, square(left + place, top - 100, 50.0).asWkt(), [None, code, None, None, None])
        )
    labels.rename(2, "Unsaved wood")
    written = write_labels(layer, tmp_path / "out.gpkg")
    arguments = ["labels", "stats", "--raster", str(raster), "--labels", str(written.path), "--field", written.field]
    done = subprocess.run(
        [str(real_runtime), "-m", "thematica", *arguments, "--json"],
        cwd=Path(__file__).resolve().parents[2] / "build" / "pkg",
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PROJ", "GDAL"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counted = {c["code"]: (c["name"], c["polygons"], c["pixels"]) for c in json.loads(done.stdout)["classes"]}
    assert counted[1] == ("Water", 1, 25)
    assert counted[2] == ("Unsaved wood", 2, 50)
