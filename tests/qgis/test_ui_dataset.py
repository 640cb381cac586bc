"""The dialog "Make Training Set", by clicks and keys; the worker is one that does as it is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsFeature, QgsGeometry, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtGui import QImage
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QMessageBox

from .conftest import FOREST
from .driving import LEFT, REFUSES, WAITS, answer_next_question, click, pick, settle, wait_for
from .label_layers import draw, make_layer

# A worker that notes its job, keeps the labels it was given, and makes a set with a picture.
BUILDS = """
import shutil
say(event="progress", fraction=0.4, stage="Reading samples", pixels_per_second=None, seconds_left=2.0)
say(event="log", level="warning", message="Polygon 3 is too small; see --size.")
if "labels" in job:
    shutil.copy(job["labels"], os.environ["THEMATICA_SEEN_JOB"] + ".gpkg")
os.makedirs(job["output"], exist_ok=True)
open(os.path.join(job["output"], "dataset.json"), "w").write("{}")
shutil.copy(os.environ["PICTURE"], os.path.join(job["output"], "dataset.preview.png"))
json.dump(job, open(os.environ["THEMATICA_SEEN_JOB"], "w"))
classes = [
    {"name": "Water", "samples": {"train": 700, "validation": 100, "test": 200}},
    {"name": "Forest", "samples": {"train": 1400, "validation": 200, "test": 400}},
]
say(event="result", report={"classes": classes, "split": {"block": {"pixels": 4, "metres": 40.0}}}, files={
    "dataset": os.path.join(job["output"], "dataset.json"),
    "sheet": os.path.join(job["output"], "dataset.preview.png"),
})
"""


@pytest.fixture
def layers(make_raster):
    rasters = [
        QgsRasterLayer(str(make_raster(f"{name}.tif", [[value] * 64 for value in FOREST], 8)), name)
        for name in ("first", "second")
    ]
    labels = QgsVectorLayer(
        "Polygon?crs=EPSG:32633&field=fid:integer&field=class:integer&field=image:string", "drawn", "memory"
    )
    feature = QgsFeature(labels.fields())
    feature.setAttributes([1, 7, "first"])
    feature.setGeometry(
        QgsGeometry.fromWkt("Polygon((500010 4999930, 500050 4999930, 500050 4999970, 500010 4999930))")
    )
    labels.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayers([*rasters, labels])
    return [*rasters, labels]


@pytest.fixture
def dialog(iface, runtime, layers, tmp_path, monkeypatch):
    from thematica.ui.dataset_dialog import DatasetDialog

    picture = QImage(1200, 600, QImage.Format.Format_RGB32)
    picture.fill(0x336699)
    picture.save(str(tmp_path / "picture.png"))
    monkeypatch.setenv("PICTURE", str(tmp_path / "picture.png"))
    runtime(BUILDS)
    dialog = DatasetDialog(iface)
    dialog.choose(layers[2], [layers[0]])
    dialog.show()
    dialog.output.setFilePath(str(tmp_path / "set"))
    settle()
    yield dialog
    if dialog.current_run is not None:
        dialog.current_run.cancel()
        wait_for(lambda: not dialog.current_run.is_running)
    dialog.close()
    dialog.deleteLater()


def make(dialog):
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    settle()


def add_raster(dialog, name):
    menu = dialog.sources.add_raster.menu()
    menu.aboutToShow.emit()
    next(action for action in menu.actions() if action.text() == name).trigger()
    settle()


def test_a_set_is_made_from_what_the_dock_works_on(dialog, runtime, iface):
    assert dialog.sources.field.currentField() == "class"
    make(dialog)
    job = runtime.job()
    assert job["command"] == "build-dataset"
    assert [Path(path).name for path in job["rasters"]] == ["first.tif"]
    assert job["field"] == "class"
    assert (job["kind"], job["split"], job["test"], job["validation"]) == ("pixels", "blocks", 0.2, 0.1)
    assert "block" not in job
    assert "buffer" not in job
    assert job["image_field"] == "image"
    assert not job["overwrite"]
    # The sentence has what was made, and what was met without the shell's words.
    assert "3,000 samples of 2 classes: 2,100 train, 300 validation, 600 test." in dialog.notice.said
    assert "--" not in dialog.notice.said
    assert "Polygon 3 is too small" in dialog.notice.said


def test_unsaved_polygons_are_handed_over_as_they_are_on_the_screen(dialog, runtime, layers):
    labels = layers[2]
    labels.startEditing()
    drawn = QgsFeature(labels.fields())
    drawn.setAttributes([2, 9, "first"])
    drawn.setGeometry(QgsGeometry.fromWkt("Polygon((500010 4999930, 500020 4999930, 500020 4999940, 500010 4999930))"))
    labels.addFeature(drawn)
    labels.changeAttributeValue(next(labels.getFeatures("fid = 1")).id(), 1, 8)
    make(dialog)
    handed = QgsVectorLayer(seen_file(), "handed")
    assert sorted(feature["class"] for feature in handed.getFeatures()) == [8, 9]
    labels.rollBack()


def seen_file():
    return os.environ["THEMATICA_SEEN_JOB"] + ".gpkg"


def test_only_the_selected_polygons(dialog, runtime, layers):
    labels = layers[2]
    drawn = QgsFeature(labels.fields())
    drawn.setAttributes([2, 9, "first"])
    drawn.setGeometry(QgsGeometry.fromWkt("Polygon((500010 4999930, 500020 4999930, 500020 4999940, 500010 4999930))"))
    labels.dataProvider().addFeatures([drawn])
    assert not dialog.sources.selected_only.isEnabled()
    labels.selectByExpression("class = 9")
    settle()
    click(dialog.sources.selected_only)
    make(dialog)
    handed = QgsVectorLayer(seen_file(), "handed")
    assert [feature["class"] for feature in handed.getFeatures()] == [9]


def test_several_rasters_are_one_image_or_each_its_own(dialog, runtime):
    assert not dialog.sources.apart.isVisible()
    add_raster(dialog, "second")
    make(dialog)
    assert [Path(path).name for path in runtime.job()["rasters"]] == ["first.tif", "second.tif"]
    answer = answer_next_question(QMessageBox.StandardButton.Yes)
    click(dialog.sources.apart)
    make(dialog)
    assert "holds a training set already" in answer[0]
    assert [[Path(path).name for path in image] for image in runtime.job()["rasters"]] == [
        ["first.tif"],
        ["second.tif"],
    ]
    assert runtime.job()["overwrite"]


def test_what_the_dock_works_on_replaces_what_was_chosen_before(dialog, layers):
    labels, first, second = layers[2], layers[0], layers[1]
    dialog.choose(labels, [first, second])
    assert dialog.sources.layers() == [first, second]
    dialog.choose(labels, [second])
    assert dialog.sources.layers() == [second]
    dialog.choose(labels, [second, first])
    assert dialog.sources.layers() == [second, first]


def test_a_layer_that_is_marked_as_validation_is_kept_for_it(dialog, runtime, layers, tmp_path):
    drawn = {
        role: make_layer(tmp_path / "l.gpkg", name=role, role=role, image="first")
        for role in ("training", "validation")
    }
    for layer in drawn.values():
        QgsProject.instance().addMapLayer(layer)
        layer.startEditing()
        draw(layer, 500000, 1)
        draw(layer, 500040, 2)
        assert layer.commitChanges()
    dialog.choose(drawn["training"], [layers[0]])
    assert dialog.sources.validation.currentLayer() is drawn["validation"]
    assert dialog.sources.test.currentLayer() is None
    make(dialog)
    assert "validation_labels" in runtime.job()
    assert "test_labels" not in runtime.job()
    # What is chosen as labels is not kept apart from itself.
    dialog.choose(drawn["validation"], [layers[0]])
    assert dialog.sources.validation.currentLayer() is None


def test_windows_have_a_side_and_blocks_a_length(dialog, runtime, iface):
    from thematica.ui.block_lattice import BlockLattice

    def lattices():
        return [item for item in iface.mapCanvas().scene().items() if isinstance(item, BlockLattice)]

    assert not dialog.choices.size.isEnabled()
    assert not lattices()
    pick(dialog.choices.kind, dialog.choices.kind.itemText(1))
    dialog.choices.block.setFocus()
    dialog.choices.block.selectAll()
    QTest.keyClicks(dialog.choices.block, "20")
    QTest.keyClick(dialog.choices.block, "\t")
    settle()
    assert dialog.choices.block.suffix() == " m"
    # 8 × 8 pixels of 10 m: five lines each way.
    assert [len(lattice._lines) for lattice in lattices()] == [10]
    make(dialog)
    job = runtime.job()
    assert (job["kind"], job["size"], job["block"]) == ("windows", 9, "20")
    click(dialog.choices.show_blocks)
    assert not lattices()
    click(dialog.choices.show_blocks)
    dialog.close()
    assert not lattices()


def test_blocks_that_the_builder_chose_are_shown_on_the_map_once_it_has(dialog, layers, iface):
    from thematica.ui.block_lattice import BlockLattice

    def lines():
        items = iface.mapCanvas().scene().items()
        return [len(item._lines) for item in items if isinstance(item, BlockLattice)]

    assert lines() == []
    make(dialog)
    # 8 × 8 pixels in blocks of 4: three lines each way.
    assert lines() == [6]
    assert dialog.choices.show_blocks.isEnabled()
    dialog.choose(layers[2], [layers[1]])
    settle()
    assert lines() == []


def test_without_crs_lengths_are_in_pixels(dialog, runtime, make_raster):
    plain = QgsRasterLayer(str(make_raster("plain.tif", [[1.0] * 64], 8, epsg=None)), "plain")
    plain.setCrs(QgsCoordinateReferenceSystem())
    QgsProject.instance().addMapLayer(plain)
    dialog.choose(None, [plain])
    settle()
    assert dialog.choices.block.suffix() == " px"
    dialog.choices.block.setValue(4)
    make(dialog)
    assert runtime.job()["block"] == "4px"


def test_a_folder_of_patches(dialog, runtime, tmp_path):
    dialog.sources.tabs.setCurrentWidget(dialog.sources.folder_tab)
    settle()
    assert not dialog.run_button.isEnabled()
    assert "folder of patches" in dialog.run_button.toolTip()
    pick(dialog.sources.layout_kind, "BigEarthNet (version 1)")
    pick(dialog.sources.nomenclature, "43 classes (CORINE)")
    dialog.sources.folder.setFilePath(str(tmp_path))
    settle()
    assert not dialog.choices.kind.isVisible()
    make(dialog)
    job = runtime.job()
    assert (job["folder"], job["layout"], job["nomenclature"]) == (str(tmp_path), "bigearthnet", 43)
    assert "rasters" not in job
    assert not {"kind", "merge", "block"} & set(job)


def test_a_finished_set_is_known_and_can_be_trained_on(dialog, tmp_path):
    from thematica.plugin.training_set import known_sets

    wanted = []
    dialog.train_wanted.connect(wanted.append)
    assert not dialog.train_button.isEnabled()
    make(dialog)
    assert known_sets() == [tmp_path / "set"]
    click(dialog.train_button)
    assert wanted == [str(tmp_path / "set")]


def test_the_picture_opens_and_can_be_seen_at_full_size(dialog):
    make(dialog)
    sheet = dialog._sheet
    assert sheet.isVisible()
    fitted = sheet.view.label.width()
    assert fitted < 1200
    QTest.mouseClick(sheet.view.label, LEFT)
    assert sheet.view.label.width() == 1200
    sheet.close()
    click(dialog.sheet_button)
    assert dialog._sheet.isVisible()
    dialog._sheet.close()


def test_what_the_builder_refuses_is_said_without_the_shells_options(dialog, runtime):
    runtime(REFUSES)
    make(dialog)
    assert dialog.notice.kind == "error"
    assert "Set the scale" in dialog.notice.said
    assert "--" not in dialog.notice.said
    assert not dialog.sheet_button.isEnabled()


def test_a_text_that_is_no_number_is_said_before_anything_runs(dialog):
    dialog.choices.scale.setText("much")
    click(dialog.run_button)
    assert "“much” is no number" in dialog.notice.said
    assert dialog.current_run is None


def test_cancelling_says_that_it_can_go_on(dialog, runtime):
    runtime(WAITS)
    click(dialog.run_button)
    wait_for(lambda: dialog.progress.value() == 250)
    assert not dialog.run_button.isEnabled()
    click(dialog.cancel_button)
    wait_for(lambda: not dialog.current_run.is_running)
    settle()
    assert "goes on from here" in dialog.notice.said
    assert dialog.run_button.isEnabled()


def test_no_is_an_answer(dialog, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({}))
    answer_next_question(QMessageBox.StandardButton.No)
    click(dialog.run_button)
    assert dialog.current_run is None


def test_without_runtime_nothing_can_be_pressed(dialog, monkeypatch, tmp_path):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(tmp_path / "gone"))
    dialog.check_runtime()
    assert dialog.runtime_notice.kind == "warning"
    assert not dialog.run_button.isEnabled()


def test_layers_may_leave_the_project_while_the_dialog_is_open(dialog, layers):
    QgsProject.instance().removeMapLayers([layer.id() for layer in layers])
    settle()
    assert not dialog.run_button.isEnabled()
    assert "raster layer first" in dialog.run_button.toolTip()
