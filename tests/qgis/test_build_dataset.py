"""``thematica:builddataset`` with the real worker: what is on the screen becomes a training set."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)

from .conftest import FOREST, SENTINEL_BANDS, WATER

SIDE = 60


@pytest.fixture(autouse=True)
def _runtime(real_runtime, monkeypatch):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(real_runtime))


@pytest.fixture
def image(make_raster):
    """Water in the west, forest in the east, 60 × 60 pixels of 10 m."""
    chance = random.Random(1)
    bands = [
        [
            (WATER if column < SIDE // 2 else FOREST)[band] + chance.gauss(0, 0.002)
            for _ in range(SIDE)
            for column in range(SIDE)
        ]
        for band in range(len(SENTINEL_BANDS))
    ]
    layer = QgsRasterLayer(str(make_raster("scene.tif", bands, SIDE, descriptions=SENTINEL_BANDS)), "scene")
    QgsProject.instance().addMapLayer(layer)
    return layer


def square(column, row, side=4):
    """A square of pixels, as WKT."""
    left, top = 500000 + 10 * column, 5000000 - 10 * row
    right, bottom = left + 10 * side, top - 10 * side
    return f"Polygon(({left} {top}, {right} {top}, {right} {bottom}, {left} {bottom}, {left} {top}))"


def add(layer, cover, column, row, side=4):
    feature = QgsFeature(layer.fields())
    feature.setAttributes([cover])
    feature.setGeometry(QgsGeometry.fromWkt(square(column, row, side)))
    return feature


@pytest.fixture
def labels():
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=cover:string", "fields", "memory")
    features = [add(layer, "Water", 2, row) for row in (2, 22, 42)]
    features += [add(layer, "Forest", 40, row) for row in (2, 22, 42)]
    layer.dataProvider().addFeatures(features)
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def build(processing, image, labels, tmp_path):
    def run(**options):
        folder = options.pop("OUTPUT", str(tmp_path / "set"))
        given = {"INPUT": [image], "LABELS": labels, "FIELD": "cover", "BLOCK": "10px", "BUFFER": "0px", **options}
        given = {name: value for name, value in given.items() if value is not None}
        return processing.run("thematica:builddataset", {**given, "OUTPUT": folder})

    return run


def samples(result):
    return {entry["name"]: sum(entry["samples"].values()) for entry in json.loads(result["CLASSES"])}


def test_polygons_become_samples_with_a_picture(build):
    result = build()
    assert samples(result) == {"Water": 48, "Forest": 48}
    assert result["SAMPLES"] == 96
    told = json.loads(Path(result["DATASET"]).read_text())
    assert [band["name"] for band in told["bands"]] == list(SENTINEL_BANDS)
    assert told["split"]["method"] == "blocks"
    assert Path(result["SHEET"]).read_bytes().startswith(b"\x89PNG")


def test_the_same_call_again_changes_nothing(build):
    first = Path(build()["DATASET"])
    before = {path.name: path.stat().st_mtime_ns for path in first.parent.iterdir()}
    again = Path(build()["DATASET"])
    assert {path.name: path.stat().st_mtime_ns for path in again.parent.iterdir()} == before


def test_unsaved_edits_count_and_not_what_the_file_holds(build, labels):
    labels.startEditing()
    labels.addFeature(add(labels, "Water", 12, 12, side=5))
    gone = next(labels.getFeatures("cover = 'Forest'"))
    labels.deleteFeature(gone.id())
    assert samples(build()) == {"Water": 48 + 25, "Forest": 32}
    labels.rollBack()


def test_a_filter_hides_polygons(build, labels, tmp_path):
    from qgis.core import QgsCoordinateTransformContext, QgsVectorFileWriter

    options = QgsVectorFileWriter.SaveVectorOptions()
    QgsVectorFileWriter.writeAsVectorFormatV3(
        labels, str(tmp_path / "kept.gpkg"), QgsCoordinateTransformContext(), options
    )
    kept = QgsVectorLayer(str(tmp_path / "kept.gpkg"), "kept")
    QgsProject.instance().addMapLayer(kept)
    kept.setSubsetString("fid != 1")
    assert samples(build(LABELS=kept)) == {"Water": 32, "Forest": 48}


def test_a_selection_is_all_that_is_taken_where_it_is_asked_for(build, labels):
    labels.selectByExpression("$id <= 5")
    chosen = QgsProcessingFeatureSourceDefinition(labels.id(), True)
    assert samples(build(LABELS=chosen)) == {"Water": 48, "Forest": 32}


def test_a_virtual_field_may_hold_the_class(build, labels):
    from qgis.core import QgsField
    from qgis.PyQt.QtCore import QVariant

    labels.addExpressionField("if(cover = 'Water', 7, 9)", QgsField("code", QVariant.Int))
    result = build(FIELD="code")
    assert [entry["code"] for entry in json.loads(result["CLASSES"])] == [7, 9]
    assert sum(samples(result).values()) == 96


def test_classes_can_be_merged_and_windows_cut(build):
    result = build(KIND="windows", SIZE=3, MOST=10)
    told = json.loads(Path(result["DATASET"]).read_text())
    assert (told["kind"], told["shape"]) == ("windows", [10, 3, 3])
    assert samples(result) == {"Water": 10, "Forest": 10}


def test_labels_of_a_layer_of_their_own_are_the_test_part(build, labels):
    kept = QgsVectorLayer("Polygon?crs=EPSG:32633&field=cover:string", "kept", "memory")
    kept.dataProvider().addFeatures([add(kept, "Water", 14, 50), add(kept, "Forest", 52, 50)])
    QgsProject.instance().addMapLayer(kept)
    told = json.loads(Path(build(TEST_LABELS=kept)["DATASET"]).read_text())
    assert {entry["label" if "label" in entry else "name"]: entry["samples"]["test"] for entry in told["classes"]} == {
        "Water": 16, "Forest": 16
    }  # fmt: skip


def test_several_images_share_their_labels(build, image, make_raster):
    other = QgsRasterLayer(
        str(make_raster("later.tif", [[value] * SIDE**2 for value in WATER], SIDE, descriptions=SENTINEL_BANDS)),
        "later",
    )
    QgsProject.instance().addMapLayer(other)
    result = build(INPUT=[image, other], APART=True)
    told = json.loads(Path(result["DATASET"]).read_text())
    assert len(told["scenes"]) == 2
    assert sum(samples(result).values()) == 192


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"LABELS": None}, "Give the labels as one"),
        ({"INPUT": None, "LABELS": None}, "Give rasters"),
        ({"FIELD": None}, "Choose the field"),
        ({"FOLDER": "/tmp"}, "LAYOUT"),
        ({"FOLDER": "/tmp", "LAYOUT": "eurosat"}, "not both"),
        ({"BLOCK": "wide"}, "BLOCK"),
        ({"MERGE": "Water"}, "MERGE"),
        ({"MERGE": "Water=Forest"}, "one class"),
    ],
)
def test_what_cannot_be_is_told_in_words_of_processing(build, options, words):
    with pytest.raises(QgsProcessingException, match=words) as raised:
        build(**options)
    assert "--" not in str(raised.value)


@pytest.mark.parametrize("kind", ["FOLDER", "ARCHIVE"])
def test_patches_come_as_a_folder_or_as_a_zip(processing, tmp_path, kind):
    from osgeo import gdal

    folder = tmp_path / "EuroSAT"
    for place, name in enumerate(("River", "Forest")):
        (folder / name).mkdir(parents=True)
        memory = gdal.GetDriverByName("MEM").Create("", 64, 64, 3)
        memory.GetRasterBand(1).Fill(100 * place + 20)
        for number in range(1, 21):
            gdal.GetDriverByName("JPEG").CreateCopy(str(folder / name / f"{name}_{number}.jpg"), memory)
    source = str(folder)
    if kind == "ARCHIVE":
        source = shutil.make_archive(str(tmp_path / "EuroSAT"), "zip", tmp_path, "EuroSAT")
    result = processing.run(
        "thematica:builddataset", {kind: source, "LAYOUT": "eurosat", "OUTPUT": str(tmp_path / "set")}
    )
    assert samples(result) == {"Forest": 20, "River": 20}


def test_another_set_in_the_folder_is_replaced_but_no_other_folder(build, tmp_path):
    first = Path(build()["DATASET"])
    second = Path(build(SEED=5)["DATASET"])
    assert first == second
    assert json.loads(second.read_text())["split"]["seed"] == 5
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(QgsProcessingException):
        build(OUTPUT=str(mine))
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
