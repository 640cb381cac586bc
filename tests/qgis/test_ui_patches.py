"""The dialog "Classify Layer" with models that label patches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from qgis.core import QgsMapRendererSequentialJob, QgsMapSettings, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QLabel, QMessageBox, QPushButton

from thematica.models.card import FurtherOutput
from thematica.plugin.labels import PatchLabels, labels_of_layer
from thematica.ui.area_report import area_rows

from .driving import answer_next_question, click, pick, settle, wait_for

# A worker that writes what the engine would, with labels that nobody computed.
WRITES_PATCHES = """
json.dump(job, open(os.environ["THEMATICA_SEEN_JOB"], "w"))
from osgeo import gdal, ogr
import copy
task = "patch-multilabel" if "multilabel" in job["model"] else "patch"
classes = [{"value": i, "name": name, "color": color, "patches": 4 - i, "hectares": 2.5, "percent": 50.0 - i}
           for i, (name, color) in enumerate([("Water", "#2c6fbb"), ("Forest", "#2e8b3d")])]
report = {"command": "classify-patches", "task": task, "classes": classes, "threshold": job.get("threshold", 0.5),
          "patches": {"side": 8, "stride": job.get("stride", 8), "count": 8, "without_data": 0, "below_threshold": 2},
          "seconds": 1.5, "inputs": [{"path": job["rasters"][0]}], "model": {"name": "net", "title": "Net"},
          "files": {"output": job["output"]}, "warnings": []}
if job["output"].endswith(".tif"):
    gdal.GetDriverByName("GTiff").CreateCopy(job["output"], gdal.Open(job["rasters"][0]))
else:
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(job["output"])
    table = dataset.CreateLayer("patches", None, ogr.wkbPolygon)
    for name in ("label", "p_water", "p_forest"):
        table.CreateField(ogr.FieldDefn(name, ogr.OFTString if name == "label" else ogr.OFTReal))
    feature = ogr.Feature(table.GetLayerDefn())
    for name, value in (("label", "Water"), ("p_water", 0.75), ("p_forest", 0.25)):
        feature.SetField(name, value)
    feature.SetGeometry(ogr.CreateGeometryFromWkt("Polygon((0 0,1 0,1 1,0 0))"))
    table.CreateFeature(feature)
    dataset.Destroy()
report_file = os.path.splitext(job["output"])[0] + ".report.json"
json.dump(report, open(report_file, "w"))
say(event="result", files={"output": job["output"], "report": report_file}, report=report)
"""


@pytest.fixture
def dialog(open_dialog, runtime, patchwork, networks):
    """The dialog with a raster of three bands, and the patch model chosen."""
    runtime(WRITES_PATCHES)
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(patchwork), "patchwork"))
    dialog = open_dialog()
    choose(dialog, networks / "patch.onnx")
    return dialog


def choose(dialog, path):
    dialog.model.choose_file(str(path))
    settle()
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said


def run(dialog):
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert dialog.run_notice.kind == "ok", dialog.run_notice.said


def results():
    group = QgsProject.instance().layerTreeRoot().findGroup("Thematica")
    return [node.layer() for node in group.findLayers()]


def test_a_patch_model_has_a_stride_and_no_tiles(dialog, networks):
    assert dialog.patches.isVisible()
    assert dialog.patches.stride.value() == 8
    assert not dialog.patches.threshold.isVisible()
    assert dialog.patches.note.text() == "Patches of 8 × 8 pixels, side by side."
    assert not dialog.result.confidence.isVisible()
    dialog.advanced_group.setCollapsed(False)
    settle()
    assert not dialog.advanced.tile.isVisible()
    assert not dialog.advanced.mode.isVisible()
    dialog.model.choose_file(str(networks / "bare.onnx"))
    settle()
    assert not dialog.patches.isVisible()
    assert dialog.result.confidence.isVisible()
    assert dialog.advanced.tile.isVisible()


def test_the_stride_in_words(dialog):
    stride = dialog.patches.stride
    stride.setFocus()
    stride.selectAll()
    QTest.keyClicks(stride, "4")
    assert dialog.patches.note.text() == "Patches of 8 × 8 pixels, each overlapping the next by 4 pixels."
    stride.selectAll()
    QTest.keyClicks(stride, "10")
    assert dialog.patches.note.text() == "Patches of 8 × 8 pixels, with 2 pixels between them that get no label."


def test_what_is_left_alone_is_left_to_the_engine(dialog, runtime):
    run(dialog)
    job = runtime.job()
    assert job["command"] == "classify-patches"
    assert job["output"].endswith(".gpkg")
    assert not {"stride", "threshold", "tile", "mode", "confidence"} & set(job)
    (layer,) = results()
    assert isinstance(layer, QgsVectorLayer)
    assert layer.isValid()
    assert "8 patches classified" in dialog.run_notice.said
    assert "Water 50 %" in dialog.run_notice.said


def test_stride_threshold_and_file_reach_the_worker(dialog, networks, runtime, tmp_path):
    choose(dialog, networks / "multilabel.onnx")
    assert dialog.patches.threshold.value() == 50
    for spin, text in ((dialog.patches.stride, "4"), (dialog.patches.threshold, "30")):
        spin.setFocus()
        spin.selectAll()
        QTest.keyClicks(spin, text)
    dialog.result.file.lineEdit().setFocus()
    QTest.keyClicks(dialog.result.file.lineEdit(), str(tmp_path / "my patches"))
    run(dialog)
    job = runtime.job()
    assert (job["stride"], job["threshold"]) == (4, 0.3)
    assert job["output"] == str(tmp_path / "my patches.gpkg")
    assert labels_of_layer(results()[0])


def test_thresholds_of_the_models_own_are_left_alone_until_one_is_chosen(dialog, networks, runtime):
    choose(dialog, networks / "own-thresholds.onnx")
    assert dialog.patches.threshold.text() == "one for each label"
    run(dialog)
    assert "threshold" not in runtime.job()
    QTest.keyClick(dialog.patches.threshold, Qt.Key.Key_Up)
    run(dialog)
    assert runtime.job()["threshold"] == 0


def test_polygons_or_raster_by_choice_and_by_name(dialog, runtime, tmp_path):
    result = dialog.result
    result.file.lineEdit().setFocus()
    QTest.keyClicks(result.file.lineEdit(), str(tmp_path / "patches.tif"))
    assert result.form.currentText().startswith("raster")
    pick(result.form, "polygons (GeoPackage)")
    assert result.file.filePath() == str(tmp_path / "patches.gpkg")
    pick(result.form, "raster, one pixel per patch (GeoTIFF)")
    run(dialog)
    assert runtime.job()["output"] == str(tmp_path / "patches.tif")
    assert isinstance(results()[0], QgsRasterLayer)


def test_the_message_leads_to_the_threshold_only_for_several_labels(dialog, networks, iface):
    wanted = []
    dialog.show_threshold = wanted.append

    def buttons():
        return [button.text() for button in iface.bar.currentItem().findChildren(QPushButton)]

    run(dialog)
    assert "Threshold…" not in buttons()
    choose(dialog, networks / "multilabel.onnx")
    run(dialog)
    item = iface.bar.currentItem()
    click(next(button for button in item.findChildren(QPushButton) if button.text() == "Threshold…"))
    assert wanted == [results()[0]]


def test_a_layer_with_unsaved_edits_is_not_replaced(dialog, tmp_path):
    dialog.result.file.setFilePath(str(tmp_path / "patches.gpkg"))
    run(dialog)
    layer = results()[0]
    layer.startEditing()
    before = (tmp_path / "patches.gpkg").read_bytes()
    click(dialog.run_button)
    assert dialog.run_notice.kind == "error"
    assert "is being edited" in dialog.run_notice.said
    assert (tmp_path / "patches.gpkg").read_bytes() == before
    layer.rollBack()


def test_no_text_is_cut_off(dialog, networks):
    choose(dialog, networks / "multilabel.onnx")
    dialog.advanced_group.setCollapsed(False)
    settle()
    for widget in dialog.findChildren((QPushButton, QLabel)):
        if widget.isVisible() and widget.text():
            needed = widget.minimumSizeHint()
            assert widget.width() >= needed.width(), widget.text()
            assert widget.height() >= needed.height() - 2, widget.text()


# -- the real engine ----------------------------------------------------------------------------


@pytest.fixture
def real_engine(monkeypatch, real_runtime):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(real_runtime))


def column(layer, name):
    rows = {(feature["row"], feature["column"]): feature[name] for feature in layer.getFeatures()}
    return [rows[0, number] for number in range(4)]


@pytest.mark.slow
def test_the_real_engines_labels_follow_the_threshold(dialog, networks, real_engine):
    choose(dialog, networks / "multilabel.onnx")
    run(dialog)
    (layer,) = results()
    assert layer.featureCount() == 8
    assert [str(text or "") for text in column(layer, "label")] == ["Water", "Forest", "Water; Forest", ""]
    patches = PatchLabels(layer)
    assert [label.name for label in patches.labels] == ["Water", "Forest", "Bare soil"]
    # Both rows of the raster are alike.
    assert patches.counts(0.5) == [4, 4, 0]
    assert patches.write(0.95) == 2
    assert [str(text or "") for text in column(layer, "label")] == ["Water", "Forest", "Water", ""]
    layer.rollBack()


@pytest.mark.slow
def test_the_real_style_shows_the_threshold_at_once(dialog, networks, real_engine):
    """What is drawn changes with the layer's variable alone, which QGIS keeps as a text."""
    choose(dialog, networks / "multilabel.onnx")
    run(dialog)
    (layer,) = results()

    def picture():
        settings = QgsMapSettings()
        settings.setLayers([layer])
        settings.setDestinationCrs(layer.crs())
        settings.setExtent(layer.extent())
        settings.setOutputSize(QSize(320, 160))
        job = QgsMapRendererSequentialJob(settings)
        job.start()
        job.waitForFinished()
        image = job.renderedImage()
        return [image.pixelColor(40 + 80 * number, 40).name() for number in range(4)]

    patches = PatchLabels(layer)
    before = picture()
    patches.show(0.999)
    strict = picture()
    patches.show(0.5)
    assert picture() == before
    assert strict[3] == before[3]
    assert strict[1] != before[1], "0.8 is Forest at 50 % and nothing at 99.9 %"


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "count"), [("gpkg", 8), ("tif", 8)])
def test_the_real_engine_gives_styled_polygons_or_a_raster(dialog, real_engine, tmp_path, suffix, count):
    dialog.result.file.setFilePath(str(tmp_path / f"patches.{suffix}"))
    run(dialog)
    (layer,) = results()
    if suffix == "gpkg":
        assert [str(text) for text in column(layer, "label")][:2] == ["Water", "Forest"]
        labels = [category.label() for category in layer.renderer().categories()]
    else:
        assert (layer.width(), layer.height()) == (4, 2)
        labels = [entry.label for entry in layer.renderer().classes()]
    assert labels[:3] == ["Water", "Forest", "Bare soil"]
    assert f"{count} patches classified" in dialog.run_notice.said
    # Made again, it replaces its layer.
    answer_next_question(QMessageBox.StandardButton.Yes)
    run(dialog)
    (layer,) = results()
    assert layer.isValid()


def test_of_several_outputs_for_patches_one_is_chosen(dialog):
    several = replace(dialog.model.card, output_name="cover", further_outputs=[FurtherOutput("use", [])])
    dialog.result.show_model(several)
    box = dialog.result.network_output
    assert [box.itemText(index) for index in range(box.count())] == ["the first (cover)", "only use"]
    assert dialog.result.output_name() is None
    dialog.result.show_model(replace(several, task="segmentation"))
    assert box.itemText(0) == "all, a map of each"


@pytest.mark.slow
def test_every_output_of_a_network_becomes_a_layer(dialog, networks, real_engine, tmp_path):
    dialog.model.choose_file(str(networks / "two-outputs.onnx"))
    settle()
    for row, text in enumerate(("1: B1", "2: B2")):
        pick(dialog.bands.table.cellWidget(row, 2), text)
    assert dialog.result.network_output.isVisible()
    dialog.result.file.setFilePath(str(tmp_path / "map.tif"))
    click(dialog.result.confidence)
    run(dialog)
    title = "patchwork – Net"
    names = [layer.name() for layer in results()]
    assert names == [title, f"moisture – {title}", f"Confidence – {title}", f"moisture – Confidence – {title}"]
    assert [entry.label for entry in results()[1].renderer().classes()][:3] == ["dry", "moist", "wet"]
    rows = area_rows(dialog.current_run.report)
    assert {row.output for row in rows} == {"scores", "moisture"}
    click(dialog.result.confidence)
    pick(dialog.result.network_output, "only moisture")
    answer_next_question(QMessageBox.StandardButton.Yes)
    run(dialog)
    assert [entry.label for entry in results()[0].renderer().classes()][:3] == ["dry", "moist", "wet"]
