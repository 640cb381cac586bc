"""The dialog "Classify Layer", driven with clicks and keys as an analyst would, with fake and real workers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication, QEvent, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QMessageBox,
    QPushButton,
    QWidget,
)

from .driving import REFUSES, WAITS, WRITES, answer_next_question, click, pick, settle, wait_for


def row_of(dialog, band):
    table = dialog.bands.table
    return next(row for row in range(table.rowCount()) if table.item(row, 0).text().split(" ")[0] == band)


def raster_band(dialog, band) -> QComboBox:
    return dialog.bands.table.cellWidget(row_of(dialog, band), 2)


@pytest.fixture
def layer(scene):
    layer = QgsRasterLayer(str(scene), "my scene")
    QgsProject.instance().addMapLayer(layer)
    return layer


# -- what is shown ------------------------------------------------------------------------------


def test_a_project_without_rasters_is_explained(open_dialog):
    dialog = open_dialog()
    assert "no raster layer" in dialog.fit_notice.said
    assert dialog.fit_notice.kind == "info"
    assert not dialog.run_button.isEnabled()


def test_a_model_that_fits_is_proposed_and_every_band_is_shown(open_dialog, layer):
    dialog = open_dialog()
    assert dialog.model.model == "basic-cover-sentinel2"
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said
    assert dialog.bands.table.rowCount() == 10
    assert raster_band(dialog, "B8A").currentText() == "8: B8A"
    assert dialog.bands.table.item(row_of(dialog, "B8A"), 1).text() == "865 nm"
    assert dialog.bands.table.item(row_of(dialog, "B8A"), 3).text() == "name"
    for name in ("Water", "Shadow"):
        assert name in dialog.summary.toPlainText()
    assert dialog.run_button.isEnabled()


def test_a_misfit_says_what_to_do_in_the_dialogs_own_words(open_dialog, make_raster):
    path = make_raster("three.tif", [[0.1] * 16] * 3, 4, descriptions=("B2", "B3", "B4"))
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(path), "three bands"))
    dialog = open_dialog()
    pick(dialog.model.models, dialog.model.models.itemText(dialog.model.models.findData("basic-cover-sentinel2")))
    assert dialog.fit_notice.kind == "error"
    text = dialog.fit_notice.said
    assert "B12" in text
    assert "--" not in text
    # What is there is shown all the same, and what is missing is seen at a glance.
    assert raster_band(dialog, "B3").currentText() == "2: B3"
    assert raster_band(dialog, "B12").currentText() == "missing"
    assert not dialog.run_button.isEnabled()


def test_a_band_chosen_by_hand_changes_the_fit_at_once_and_reaches_the_worker(open_dialog, layer, runtime, tmp_path):
    dialog = open_dialog()
    pick(raster_band(dialog, "B4"), "2: B3")
    assert dialog.fit_notice.kind == "warning"
    assert "feeds B3 and B4" in dialog.fit_notice.said
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert "B4=2" in runtime.job()["bands"].split(",")
    click(dialog.bands.rematch)
    assert raster_band(dialog, "B4").currentText() == "3: B4"
    assert dialog.fit_notice.kind == "ok"


def test_missing_bands_can_all_be_chosen_by_hand(open_dialog, make_raster):
    path = make_raster("anonymous.tif", [[0.1 + 0.02 * (i + band) for i in range(16)] for band in range(11)], 4)
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(path), "anonymous"))
    dialog = open_dialog()
    pick(dialog.model.models, dialog.model.models.itemText(dialog.model.models.findData("basic-cover-landsat")))
    assert dialog.fit_notice.kind == "error"
    for row in range(6):
        assert not dialog.run_button.isEnabled()
        pick(dialog.bands.table.cellWidget(row, 2), f"Band {row + 2}")
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said
    assert dialog.run_button.isEnabled()


def test_wrong_scale_is_refused_until_the_preset_is_chosen(open_dialog, make_raster, runtime):
    from .conftest import FOREST, SENTINEL_BANDS

    bands = [[value * 10000 + i for i in range(64)] for value in FOREST]
    path = make_raster("dn.tif", bands, 8, descriptions=SENTINEL_BANDS)
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(path), "numbers"))
    dialog = open_dialog()
    pick(dialog.model.models, dialog.model.models.itemText(dialog.model.models.findData("basic-cover-sentinel2")))
    assert dialog.fit_notice.kind == "error"
    pick(dialog.bands.values, "reflectance × 10 000")
    assert (dialog.bands.scale.text(), dialog.bands.offset.text()) == ("0.0001", "0")
    assert dialog.fit_notice.kind != "error", dialog.fit_notice.said
    # Typing a number says that it is no preset any more; the right pair is recognised as one again.
    dialog.bands.offset.clear()
    QTest.keyClicks(dialog.bands.offset, "-0.05")
    assert dialog.bands.values.currentText() == "scale and offset given below"
    dialog.bands.offset.clear()
    QTest.keyClicks(dialog.bands.offset, "-0.1")
    assert dialog.bands.values.currentText().startswith("Sentinel-2 since 2022")
    settle()
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert (runtime.job()["scale"], runtime.job()["offset"]) == (0.0001, -0.1)


def test_a_sensor_names_unnamed_bands(open_dialog, make_raster, runtime):
    # Ten bands, and nothing in the file says which.
    path = make_raster("ten.tif", [[0.05 + 0.01 * (i + band) for i in range(16)] for band in range(10)], 4)
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(path), "ten"))
    dialog = open_dialog()
    pick(dialog.model.models, dialog.model.models.itemText(dialog.model.models.findData("basic-cover-sentinel2")))
    pick(dialog.bands.sensor, "Sentinel-2, the ten 10 m and 20 m bands")
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said
    assert raster_band(dialog, "B8A").currentText() == "8: B8A"
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert runtime.job()["sensor"] == "sentinel2-10"


def test_a_file_that_is_no_network_is_told_in_one_sentence(open_dialog, layer, tmp_path):
    wrong = tmp_path / "not a network.onnx"
    wrong.write_bytes(b"GIF89a")
    dialog = open_dialog()
    dialog.model.choose_file(str(wrong))
    settle()
    assert dialog.fit_notice.kind == "error"
    assert "not a network.onnx" in dialog.fit_notice.said
    assert not dialog.run_button.isEnabled()
    assert dialog.summary.toPlainText() == ""


def test_a_model_added_to_the_store_is_there_when_the_dialog_is_opened_again(open_dialog, layer, monkeypatch, tmp_path):
    from thematica.models.store import BUNDLED_FOLDER

    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "models"))
    dialog = open_dialog()
    dialog.close()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.onnx").write_bytes((BUNDLED_FOLDER / "basic-cover-landsat.onnx").read_bytes())
    dialog.show()
    settle()
    assert dialog.model.models.findData("mine") >= 0
    assert dialog.model.model == "basic-cover-sentinel2"


def test_a_model_that_has_just_been_trained_is_chosen_by_its_name(open_dialog, layer, monkeypatch, tmp_path):
    from thematica.models.store import BUNDLED_FOLDER

    dialog = open_dialog()
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path))
    shutil.copyfile(BUNDLED_FOLDER / "basic-cover-landsat.onnx", tmp_path / "mine.onnx")
    dialog.choose_model("mine")
    assert dialog.model.model == "mine"
    dialog.choose_model("not there")
    assert dialog.model.model == "mine"
    # What fits best is not proposed over it.
    dialog.choose_layer(layer)
    settle()
    assert dialog.model.model == "mine"


def test_without_a_runtime_a_banner_leads_to_the_runtime_dialog(open_dialog, layer, monkeypatch, tmp_path):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(tmp_path / "nowhere"))
    dialog = open_dialog()
    wanted = []
    dialog.runtime_wanted.connect(lambda: wanted.append(True))
    assert dialog.runtime_notice.isVisible()
    assert not dialog.run_button.isEnabled()
    click(dialog.runtime_notice.button)
    assert wanted == [True]


def test_layers_that_come_together_are_noticed(open_dialog, scene):
    dialog = open_dialog()
    polygons = [QgsVectorLayer("Polygon?crs=EPSG:32633", name, "memory") for name in ("a", "b")]
    QgsProject.instance().addMapLayers([*(QgsRasterLayer(str(scene), name) for name in ("one", "two")), *polygons])
    settle()
    assert dialog.raster.currentLayer().name() == "one"
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said
    assert dialog.area.polygons.isEnabled()
    QgsProject.instance().removeMapLayers([layer.id() for layer in polygons])
    settle()
    assert not dialog.area.polygons.isEnabled()


def test_nodata_set_on_the_layer_while_the_dialog_is_open_is_noticed(open_dialog, make_raster):
    from .conftest import SENTINEL_BANDS

    bands = [[0.1] * 8 + [-9999.0] * 8] * 10
    path = make_raster("holes.tif", bands, 4, descriptions=SENTINEL_BANDS)
    layer = QgsRasterLayer(str(path), "holes")
    QgsProject.instance().addMapLayer(layer)
    dialog = open_dialog()
    pick(dialog.bands.values, "reflectance 0 to 1")
    assert "-9999" in dialog.fit_notice.said
    dialog.hide()
    dialog.show()
    settle()
    assert dialog.bands.values.currentText() == "reflectance 0 to 1", "what is chosen stays where nothing changed"
    for number in range(1, 11):
        layer.dataProvider().setUserNoDataValue(number, [QgsRasterRange(-9999, -9999)])
    QCoreApplication.sendEvent(dialog, QEvent(QEvent.Type.ActivationChange))
    settle()
    assert dialog.fit_notice.kind != "error", dialog.fit_notice.said


# -- the run ------------------------------------------------------------------------------------


def test_a_run_ends_with_a_layer_a_message_and_an_area_table(open_dialog, layer, iface, runtime, tmp_path):
    output = tmp_path / "my map 1.tif"
    dialog = open_dialog()
    dialog.result.file.lineEdit().setFocus()
    QTest.keyClicks(dialog.result.file.lineEdit(), str(output))
    lines, events = [], []
    click(dialog.run_button)
    dialog.current_run.progress.connect(events.append)
    dialog.current_run.progress.connect(lambda _: lines.append(dialog.stage.text()))
    assert dialog.cancel_button.isEnabled()
    assert not dialog.run_button.isEnabled()
    wait_for(lambda: not dialog.current_run.is_running)
    assert events[0]["fraction"] == 0.4
    assert lines[0] == "Classifying · 2.5 Mpx/s · 3 s left"
    assert output.is_file()
    group = QgsProject.instance().layerTreeRoot().findGroup("Thematica")
    assert [node.name() for node in group.findLayers()] == ["my scene – Basic cover types, Sentinel-2 (ten bands)"]
    assert dialog.run_notice.kind == "ok"
    assert "Water 51 %" in dialog.run_notice.said
    assert "The bands carry no names; perhaps use offset -0.1." in dialog.run_notice.said
    click(dialog.run_notice.button)
    assert dialog.shown_reports[0]["classes"][0]["name"] == "Water"
    click(iface.bar.currentItem().findChildren(QPushButton, "")[-1])
    assert len(dialog.shown_reports) == 2
    assert dialog.run_button.isEnabled()


LACKS_CUDA = """
say(event="log", level="warning", message="CUDA did not load: no driver. The network runs on the CPU instead.")
while not os.path.exists(GATE): time.sleep(0.02)
""" + WRITES.replace(
    '"warnings": [',
    '"backend": {"asked": ["cuda"], "why_not": {"cuda": "no driver."}}, '
    '"warnings": ["CUDA did not load: no driver. The network runs on the CPU instead.", ',
)


def test_a_provider_that_did_not_load_is_said_loudly_and_at_once(open_dialog, layer, runtime, iface, tmp_path):
    gate = tmp_path / "gate"
    runtime(LACKS_CUDA.replace("GATE", repr(str(gate))))
    dialog = open_dialog()
    click(dialog.run_button)
    wait_for(lambda: dialog.run_notice.kind == "warning")
    assert dialog.current_run.is_running
    assert "CUDA did not load: no driver." in dialog.run_notice.said
    gate.touch()
    wait_for(lambda: not dialog.current_run.is_running)
    assert dialog.run_notice.kind == "warning"
    assert "CUDA did not load" in dialog.run_notice.said
    assert iface.bar.currentItem().text().endswith("But cuda did not load: no driver.")
    assert iface.bar.currentItem().duration() == 0
    click(dialog.run_notice.button)
    assert dialog.shown_reports


def test_cancel_ends_the_run_and_says_so(open_dialog, layer, runtime, iface):
    runtime(WAITS)
    dialog = open_dialog()
    click(dialog.run_button)
    wait_for(lambda: dialog.progress.value() == 250)
    assert dialog.stage.text() == "Classifying"
    click(dialog.cancel_button)
    assert dialog.stage.text() == "Cancelling…"
    wait_for(lambda: not dialog.current_run.is_running)
    assert dialog.run_notice.kind == "info"
    assert "Cancelled" in dialog.run_notice.said
    assert dialog.run_button.isEnabled()
    assert len(QgsProject.instance().mapLayers()) == 1


def test_closing_the_dialog_leaves_the_run_going_on(open_dialog, layer, runtime, iface, tmp_path):
    gate = tmp_path / "gate"
    runtime(f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)\n" + WRITES)
    dialog = open_dialog()
    click(dialog.run_button)
    click(dialog.close_button)
    assert not dialog.isVisible()
    assert dialog.current_run.is_running
    gate.touch()
    wait_for(lambda: not dialog.current_run.is_running)
    assert len(QgsProject.instance().mapLayers()) == 2
    assert "Water 51 %" in iface.bar.currentItem().text()


def test_an_error_is_one_sentence_in_dialog_and_message_bar_and_details_in_the_log(open_dialog, layer, runtime, iface):
    runtime(REFUSES)
    logged = []
    QgsApplication.messageLog().messageReceived.connect(lambda text, tag, level: logged.append((tag, text)))
    dialog = open_dialog()
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert dialog.run_notice.kind == "error"
    assert dialog.run_notice.said == "Set the scale to match."
    assert iface.bar.currentItem().text() == "Set the scale to match."
    assert any(tag == "Thematica" and "deep down" in text for tag, text in logged)
    assert "deep down" not in dialog.run_notice.said
    pick(dialog.model.models, dialog.model.models.itemText(0))
    assert not dialog.run_notice.isVisible(), "it says nothing about the model chosen now"


def test_replacing_a_file_is_asked_and_no_means_no(open_dialog, layer, runtime, tmp_path):
    output = tmp_path / "map.tif"
    output.write_bytes(b"precious")
    dialog = open_dialog()
    dialog.result.file.setFilePath(str(output))
    seen = answer_next_question(QMessageBox.StandardButton.No)
    click(dialog.run_button)
    assert str(output) in seen[0]
    assert dialog.current_run is None
    assert output.read_bytes() == b"precious"
    answer_next_question(QMessageBox.StandardButton.Yes)
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert runtime.job()["overwrite"] is True
    assert output.read_bytes() != b"precious"


def test_maps_of_further_outputs_are_replaced_only_where_it_was_agreed_to(
    open_dialog, patchwork, networks, runtime, tmp_path
):
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(patchwork), "patchwork"))
    further = tmp_path / "map_moisture.tif"
    shutil.copy(patchwork, further)
    shown = QgsRasterLayer(str(further), "old moisture")
    dialog = open_dialog()
    dialog.model.choose_file(str(networks / "two-outputs.onnx"))
    settle()
    for row, text in enumerate(("1: B1", "2: B2")):
        pick(dialog.bands.table.cellWidget(row, 2), text)
    dialog.result.file.setFilePath(str(tmp_path / "map.tif"))
    QgsProject.instance().addMapLayer(shown)
    settle()
    seen = answer_next_question(QMessageBox.StandardButton.No)
    click(dialog.run_button)
    assert str(further) in seen[0]
    assert dialog.current_run is None
    answer_next_question(QMessageBox.StandardButton.Yes)
    click(dialog.run_button)
    assert dialog.current_run.replaced == [str(further)]
    wait_for(lambda: not dialog.current_run.is_running)
    assert runtime.job()["overwrite"] is True
    # What is kept to one output leaves the other's map alone.
    pick(dialog.result.network_output, "only scores")
    dialog.result.file.setFilePath(str(tmp_path / "one.tif"))
    shutil.copy(patchwork, tmp_path / "one_moisture.tif")
    click(dialog.run_button)
    assert dialog.current_run.replaced == []
    wait_for(lambda: not dialog.current_run.is_running)


def test_a_map_made_again_replaces_its_layer(open_dialog, layer, runtime, tmp_path):
    dialog = open_dialog()
    dialog.result.file.setFilePath(str(tmp_path / "map.tif"))
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    answer_next_question(QMessageBox.StandardButton.Yes)
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    maps = [other for other in QgsProject.instance().mapLayers().values() if other.id() != layer.id()]
    assert all(other.isValid() for other in maps)
    assert len(maps) == 1


def test_the_input_is_never_the_output(open_dialog, layer, scene):
    before = scene.read_bytes()
    dialog = open_dialog()
    dialog.result.file.setFilePath(str(scene))
    click(dialog.run_button)
    assert dialog.run_notice.kind == "error"
    assert "choose another file" in dialog.run_notice.said
    assert scene.read_bytes() == before


# -- area, result, memory -----------------------------------------------------------------------


def polygon_layer(selected=0):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "fields", "memory")
    for number in range(2):
        feature = QgsFeature()
        left = 500000 + 100 * number
        feature.setGeometry(
            QgsGeometry.fromWkt(f"Polygon(({left} 5000000,{left + 50} 5000000,{left + 50} 4999900,{left} 5000000))")
        )
        layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    layer.selectByIds(list(range(1, selected + 1)))
    return layer


def test_polygons_can_only_be_chosen_where_there_are_some(open_dialog, layer):
    dialog = open_dialog()
    assert not dialog.area.polygons.isEnabled()
    fields = polygon_layer()
    settle()
    assert dialog.area.polygons.isEnabled()
    click(dialog.area.polygons)
    assert dialog.area.area_layer() is fields
    assert not dialog.area.selected_only.isEnabled()
    fields.selectByIds([1])
    settle()
    assert dialog.area.selected_only.text().endswith("(1)")
    click(dialog.area.selected_only)
    assert dialog.area.only_selected()
    QgsProject.instance().removeMapLayer(fields)
    settle()
    assert dialog.area.whole.isChecked()
    assert dialog.area.area_layer() is None


def test_selected_polygons_reach_the_worker(open_dialog, layer, runtime, tmp_path):
    polygon_layer(selected=1)
    keep = tmp_path / "kept.gpkg"
    runtime(f"import shutil; shutil.copy(job['area'], {str(keep)!r})\n" + WRITES)
    dialog = open_dialog()
    click(dialog.area.polygons)
    click(dialog.area.selected_only)
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert QgsVectorLayer(str(keep), "area").featureCount() == 1


def test_the_visible_canvas_reaches_the_worker(open_dialog, layer, runtime, iface):
    iface.canvas.setDestinationCrs(layer.crs())
    iface.canvas.setExtent(layer.extent())
    dialog = open_dialog()
    click(dialog.area.canvas)
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    extent = iface.canvas.extent()
    assert runtime.job()["area"] == [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()]
    assert "32633" in runtime.job()["area_crs"]


def test_further_rasters_and_advanced_settings_reach_the_worker_and_are_remembered(
    open_dialog, layer, runtime, tmp_path
):
    dialog = open_dialog()
    assert dialog.advanced_group.isCollapsed()
    dialog.advanced_group.setCollapsed(False)
    settle()
    dialog.result.file.setFilePath(str(tmp_path / "Karte ü"))
    click(dialog.result.confidence)
    click(dialog.result.probabilities)
    dialog.advanced.tile.setFocus()
    dialog.advanced.tile.selectAll()
    QTest.keyClicks(dialog.advanced.tile, "256")
    pick(dialog.advanced.invalid, "all bands of the model have none")
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    job = runtime.job()
    assert job["output"] == str(tmp_path / "Karte ü.tif")
    assert job["confidence"] == str(tmp_path / "Karte ü_confidence.tif")
    assert job["probabilities"] == str(tmp_path / "Karte ü_probabilities.tif")
    assert "entropy" not in job
    assert (job["tile"], job["invalid"]) == (256, "all")
    assert "batch" not in job
    again = open_dialog()
    assert again.result.confidence.isChecked()
    assert not again.result.entropy.isChecked()
    assert again.advanced.tile.value() == 256
    assert not again.advanced_group.isCollapsed()
    assert again.result.is_temporary()


# -- manners ------------------------------------------------------------------------------------


def test_every_accelerator_is_used_once(open_dialog, layer):
    dialog = open_dialog()
    keys = {}
    for widget in dialog.findChildren(QWidget):
        if isinstance(widget, (QAbstractButton, QLabel)):
            found = re.search(r"&(\w)", widget.text().replace("&&", ""))
            if found and "<" not in widget.text():
                keys.setdefault(found.group(1).lower(), []).append(widget.objectName())
    assert {key: names for key, names in keys.items() if len(names) > 1} == {}


def test_no_text_is_cut_off(open_dialog, layer):
    dialog = open_dialog()
    dialog.advanced_group.setCollapsed(False)
    settle()
    for widget in dialog.findChildren(QWidget):
        if isinstance(widget, (QPushButton, QLabel)) and widget.isVisible() and widget.text():
            needed = widget.minimumSizeHint()
            assert widget.width() >= needed.width(), widget.text()
            assert widget.height() >= needed.height() - 2, widget.text()


def test_tab_goes_through_the_dialog_from_top_to_bottom(open_dialog, layer):
    dialog = open_dialog()
    dialog.raster.setFocus()
    order = []
    for _ in range(60):
        widget = QApplication.focusWidget()
        if widget is None or widget in order:
            break
        order.append(widget)
        QTest.keyClick(widget, Qt.Key.Key_Tab)
        settle()
    if QApplication.focusWidget() is None:
        pytest.skip("this platform gives no window the focus")
    wanted = [dialog.raster, dialog.model.models, dialog.bands.sensor, dialog.area.whole, dialog.run_button]
    assert [widget for widget in order if widget in wanted] == wanted


def test_layers_that_go_away_do_no_harm(open_dialog, layer):
    dialog = open_dialog()
    QgsProject.instance().removeMapLayer(layer)
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    settle()
    assert dialog.fit_notice.kind == "info"
    assert not dialog.run_button.isEnabled()


# -- the real engine ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_real_engine_makes_a_styled_map(open_dialog, layer, real_runtime, monkeypatch, iface, tmp_path):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(real_runtime))
    dialog = open_dialog()
    output = tmp_path / "map.tif"
    dialog.result.file.setFilePath(str(output))
    click(dialog.result.confidence)
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running, 60)
    assert dialog.run_notice.kind == "ok", dialog.run_notice.said
    made = QgsProject.instance().layerTreeRoot().findGroup("Thematica").findLayers()
    assert len(made) == 2
    legend = [item.label for item in made[0].layer().renderer().classes()]
    assert "Water" in legend
    assert Path(str(output).replace(".tif", ".report.json")).is_file()
