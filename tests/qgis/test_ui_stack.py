"""The dialog "Classify Layer" with several rasters as one input."""

from __future__ import annotations

import pytest
from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QFileDialog

from .conftest import FOREST, SENTINEL_BANDS
from .driving import LEFT, click, pick, settle, wait_for


@pytest.fixture
def files(make_raster):
    """Sentinel-2's ten bands in two files: six and four of them."""

    def write(name, chosen):
        bands = [[FOREST[i] + 0.0001 * n for n in range(64)] for i in chosen]
        return make_raster(name, bands, 8, descriptions=[SENTINEL_BANDS[i] for i in chosen])

    return write("first.tif", range(6)), write("second.tif", range(6, 10))


@pytest.fixture
def dialog(open_dialog, files):
    layers = [QgsRasterLayer(str(path), path.stem) for path in files]
    QgsProject.instance().addMapLayers(layers)
    dialog = open_dialog()
    dialog.choose_layer(layers[0])
    settle()
    pick(dialog.model.models, dialog.model.models.itemText(dialog.model.models.findData("basic-cover-sentinel2")))
    return dialog


def choose(dialog, text):
    """Choose an entry of the button's menu."""
    menu = dialog.add_raster.menu()
    menu.aboutToShow.emit()
    next(action for action in menu.actions() if action.text() == text).trigger()
    settle()


def entries(dialog):
    return [dialog.stack.list.item(row).text() for row in range(dialog.stack.list.count())]


def row_of(dialog, band):
    table = dialog.bands.table
    return next(row for row in range(table.rowCount()) if table.item(row, 0).text().split(" ")[0] == band)


def test_a_second_raster_brings_the_missing_bands(dialog, files, runtime):
    assert dialog.fit_notice.kind == "error"
    assert not dialog.stack.isVisible()
    choose(dialog, "second")
    assert entries(dialog) == ["2: second"]
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said
    assert "these rasters" in dialog.fit_notice.said
    combo = dialog.bands.table.cellWidget(row_of(dialog, "B8"), 2)
    assert combo.currentText() == "raster 2, 1: B8"
    assert str(files[1]) in combo.itemData(combo.currentIndex(), 3)
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    job = runtime.job()
    assert job["rasters"] == [str(path) for path in files]
    assert "bands" not in job


def test_a_band_of_the_second_raster_chosen_by_hand_reaches_the_worker(dialog, runtime):
    choose(dialog, "second")
    pick(dialog.bands.table.cellWidget(row_of(dialog, "B2"), 2), "raster 2, 4: B12")
    assert "Band 4 of raster 2 feeds B2 and B12" in dialog.fit_notice.said
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert "B2=2:4" in runtime.job()["bands"].split(",")


def test_order_and_taking_out(dialog, runtime, files):
    choose(dialog, "second")
    click(dialog.stack.up)
    assert dialog.raster.currentLayer().name() == "second"
    assert entries(dialog) == ["2: first"]
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert runtime.job()["rasters"] == [str(path) for path in reversed(files)]
    click(dialog.stack.remove)
    assert not dialog.stack.isVisible()
    assert dialog.fit_notice.kind == "error"


def test_three_rasters_change_places(dialog, make_raster):
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(make_raster("third.tif", [[1.0] * 64], 8)), "third"))
    choose(dialog, "second")
    choose(dialog, "third")
    assert entries(dialog) == ["2: second", "3: third"]
    assert not dialog.stack.down.isEnabled()
    click(dialog.stack.up)
    assert entries(dialog) == ["2: third", "3: second"]
    click(dialog.stack.down)
    assert entries(dialog) == ["2: second", "3: third"]


def test_a_layer_is_never_there_twice(dialog):
    choose(dialog, "second")
    texts = [action.text() for action in menu_of(dialog)]
    assert "first" not in texts
    assert "second" not in texts
    dialog.choose_layer(dialog.stack.layers()[0])
    settle()
    assert entries(dialog) == []


def menu_of(dialog):
    dialog.add_raster.menu().aboutToShow.emit()
    return dialog.add_raster.menu().actions()


def test_a_layer_that_leaves_the_project_leaves_the_list(dialog):
    choose(dialog, "second")
    QgsProject.instance().removeMapLayer(dialog.stack.layers()[0])
    settle()
    assert entries(dialog) == []
    assert dialog.fit_notice.kind == "error"


def test_further_files_are_opened_and_used(dialog, files, make_raster, monkeypatch):
    QgsProject.instance().removeMapLayer(QgsProject.instance().mapLayersByName("second")[0])
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(files[1])], ""))
    choose(dialog, "Open further raster files…")
    assert entries(dialog) == ["2: second"]
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said


def test_the_button_opens_its_menu(dialog):
    from qgis.PyQt.QtCore import QTimer
    from qgis.PyQt.QtWidgets import QApplication

    seen = []

    def look():
        menu = QApplication.activePopupWidget()
        seen.append([action.text() for action in menu.actions()] if menu is not None else None)
        if menu is not None:
            menu.close()

    QTimer.singleShot(200, look)
    QTest.mouseClick(dialog.add_raster, LEFT)
    settle()
    assert seen[0][0] == "Open a raster file…"
    assert "second" in seen[0]


# -- the grid, a mask, and what computes ----------------------------------------------------------


def test_grid_mask_and_backend_reach_the_worker_and_are_remembered(dialog, open_dialog, runtime, make_raster):
    mask = QgsRasterLayer(str(make_raster("mask.tif", [[1.0] * 64], 8)), "where")
    QgsProject.instance().addMapLayer(mask)
    choose(dialog, "second")
    dialog.advanced_group.setCollapsed(False)
    settle()
    advanced = dialog.advanced
    assert not advanced.gsd.isEnabled()
    pick(advanced.grid_kind, "as given")
    advanced.gsd.setFocus()
    advanced.gsd.selectAll()
    QTest.keyClicks(advanced.gsd, "20")
    pick(advanced.resampling, "cubic")
    pick(advanced.mask, "where")
    advanced.provider.setFocus()
    advanced.provider.lineEdit().selectAll()
    QTest.keyClicks(advanced.provider, "cuda,cpu")
    pick(advanced.precision, "half where there is a GPU")
    pick(advanced.mode, "smooth, tiles blended")
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    job = runtime.job()
    assert (job["gsd"], job["resampling"], job["mask"]) == (20.0, "cubic", mask.source())
    assert (job["provider"], job["precision"], job["mode"]) == ("cuda,cpu", "auto", "smooth")
    again = open_dialog()
    assert again.advanced.provider.currentText() == "cuda,cpu"
    assert again.advanced.pixel_size() == 20.0
    assert again.advanced.mask_layer() is None


def test_nothing_is_said_of_what_is_left_alone(dialog, runtime):
    choose(dialog, "second")
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert not {"gsd", "resampling", "mask", "provider", "precision", "mode", "output_name"} & set(runtime.job())


def test_a_grid_that_the_model_cannot_work_on_is_told_at_once(dialog):
    choose(dialog, "second")
    dialog.advanced_group.setCollapsed(False)
    settle()
    dialog.advanced.gsd.setValue(500)
    pick(dialog.advanced.grid_kind, "as given")
    settle()
    assert dialog.fit_notice.kind == "error"
    assert "500 m" in dialog.fit_notice.said
    pick(dialog.advanced.grid_kind, "as the model wants")
    settle()
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said
