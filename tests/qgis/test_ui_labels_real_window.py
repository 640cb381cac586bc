"""Labelling in the real QGIS window, by mouse and keys: a layer, polygons, figures, a live map, a region that grows.

``PICTURES=folder`` in the environment keeps a picture of the window after each step.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .real_window import run_in_window

# Runs inside QGIS; what it finds goes into a JSON file.
SCRIPT = r"""
import json, os, sys, time, traceback
from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QPoint, QTimer, Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDialogButtonBox, QDockWidget, QLabel, QToolBar
import qgis.utils
from qgis.utils import iface

found = {}
WATER, TREES = [(500300, 4999700), (500900, 4999000)], [(502600, 4999700), (503200, 4999000)]
CROPS, SOIL, TOWN = [[(x, 4996800), (x + 500, 4996600)] for x in (502900, 500200, 501600)]
LEFT, RIGHT, NO = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier

def wait_for(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        QCoreApplication.processEvents()
        time.sleep(0.002)

def settle():
    for _ in range(10):
        QCoreApplication.processEvents()

def picture(name):
    settle()
    folder = os.environ.get("PICTURES")
    if folder:
        iface.mainWindow().grab().save(os.path.join(folder, name + ".png"))

def at(x, y):
    place = iface.mapCanvas().getCoordinateTransform().transform(QgsPointXY(x, y))
    return QPoint(round(place.x()), round(place.y()))

def click(widget, where=None, button=LEFT, modifier=NO):
    QTest.mouseClick(widget, button, modifier, where or QPoint(10, widget.height() // 2))
    settle()

def form():
    windows = [window for window in QApplication.topLevelWidgets() if window.isVisible()]
    return next((window for window in windows if "Feature Attributes" in window.windowTitle()), None)

def accept_form():
    # QGIS's own form of a new feature asks for the class, and for nothing else.
    wait_for(form, "the form")
    window = form()
    asked = [label.text() for label in window.findChildren(QLabel) if label.isVisible() and label.text()]
    found.setdefault("asked", []).append(asked)
    click(window.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok))
    wait_for(lambda: form() is None, "the form is closed")

def draw(corners):
    viewport = iface.mapCanvas().viewport()
    for x, y in corners:
        where = at(x, y)
        QTest.mouseMove(viewport, where)
        click(viewport, where)
    click(viewport, at(*corners[-1]), RIGHT)
    if dock.label_layer.is_asking():
        accept_form()

def square(x, y, side=300):
    return [(x, y), (x + side, y), (x + side, y - side), (x, y - side)]

def codes():
    layer = dock.label_layer.layer
    return sorted(dock.label_layer.code_of_feature(feature) for feature in layer.getFeatures())

def names():
    return [dock.classes.item(row).text() for row in range(dock.classes.count())]

def row_center(code):
    return dock.classes.visualRect(dock.classes.indexOf(code)).center()

def work():
    global dock
    assert qgis.utils.loadPlugin("thematica") and qgis.utils.startPlugin("thematica")
    plugin = qgis.utils.plugins["thematica"]
    scene = QgsRasterLayer(os.environ["SCENE"], "scene")
    QgsProject.instance().addMapLayer(scene)
    iface.setActiveLayer(scene)
    iface.mainWindow().resize(1400, 900)
    canvas = iface.mapCanvas()
    canvas.setDestinationCrs(scene.crs())
    canvas.setExtent(scene.extent())
    canvas.refresh()
    bars = iface.mainWindow().findChildren(QToolBar)
    button = next(filter(None, (bar.widgetForAction(plugin.labels_action) for bar in bars)))
    start = time.perf_counter()
    click(button)
    found["open_seconds"] = time.perf_counter() - start
    dock = plugin.labels_dock
    found["guide"] = dock.guide.isVisible()
    found["button_down"] = plugin.labels_action.isChecked()
    picture("1-guide")

    # The dialog, with the classes that it proposes.
    click(dock.new_button)
    from thematica.ui.new_label_layer import NewLabelLayer
    (dialog,) = iface.mainWindow().findChildren(NewLabelLayer)
    file = dialog.file.lineEdit()
    file.selectAll()
    QTest.keyClicks(file, os.path.join(os.path.dirname(os.environ["SCENE"]), "labels.gpkg"))
    if os.environ.get("PICTURES"):
        dialog.grab().save(os.path.join(os.environ["PICTURES"], "2-dialog.png"))
    click(dialog.create_button)
    wait_for(lambda: dock.label_layer is not None, "the label layer")
    found["classes"] = names()
    found["raster"] = dock.sources.raster.currentLayer() is scene
    wait_for(lambda: dock.session is not None, "session")

    # Two polygons of each class, with the mouse; the keys choose the class.
    click(dock.classes.viewport(), row_center(1))
    click(dock.draw_button)
    found["tool"] = type(canvas.mapTool()).__name__
    found["editing"] = dock.label_layer.layer.isEditable()
    for key, places in ((None, WATER), ("2", TREES), ("3", CROPS), ("4", SOIL), ("5", TOWN)):
        if key is not None:
            canvas.setFocus()
            QTest.keyClicks(canvas, key)
        for place in places:
            draw(square(*place))
    found["drawn"] = codes()
    wait_for(lambda: len(dock.spectra.plot.signatures) == 5, "five spectra")
    wait_for(lambda: dock.classes.row_of(5).polygons == 2, "polygons counted")
    found["pixels"] = {code: dock.classes.row_of(code).pixels for code in range(1, 6)}
    found["pairs"] = len(dock.separability.pairs())
    water, trees = (next(s for s in dock.spectra.plot.signatures if s.code == code).mean for code in (1, 2))
    found["means"] = [water[0], water[7], trees[0], trees[7]]
    picture("3-drawn")

    # The map of the visible canvas, again after each edit.
    click(dock.live.preview)
    wait_for(lambda: dock.session.state == "shown", "preview")
    settle()
    wait_for(lambda: dock.overlay is not None and dock.overlay.is_shown, "overlay")
    found["sentence"] = dock.live.state.text()
    dock.live.opacity.setFocus()
    QTest.keyClick(dock.live.opacity, Qt.Key.Key_End)
    south = [(x, 4996200) for x in (503500, 500600, 502000)]
    found["colors"] = seen([(500200, 4998200), (503700, 4998200), *south])
    picture("4-preview")
    start = time.perf_counter()
    previews = []
    dock.session.preview_ready.connect(lambda *_: previews.append(time.perf_counter() - start))
    QTest.keyClick(canvas, Qt.Key.Key_1)
    draw(square(501300, 4998400, 200))
    start = time.perf_counter()
    before = len(previews)
    wait_for(lambda: len(previews) > before, "preview after an edit")
    found["preview_seconds"] = previews[-1]

    # The class of a polygon is changed: selected with QGIS's tool, a digit gives it the class.
    iface.actionSelect().trigger()
    click(canvas.viewport(), at(501400, 4998300))
    found["selected"] = dock.label_layer.layer.selectedFeatureCount()
    QTest.keyClick(canvas, Qt.Key.Key_2)
    found["changed"] = codes()
    wait_for(lambda: dock.lookalikes.count() == 1, "the wrong polygon is found")
    found["look_alike"] = [dock.lookalikes.table.item(0, column).text() for column in (1, 2)]
    dock.tabs.setCurrentWidget(dock.lookalikes)
    picture("5-look-alike")
    table = dock.lookalikes.table
    click(table.viewport(), table.visualItemRect(table.item(0, 1)).center())
    found["went_there"] = canvas.extent().width() < 1500
    click(dock.lookalikes.change_button)
    found["set_right"] = codes()
    wait_for(lambda: dock.lookalikes.count() == 0, "no wrong polygon any more")

    # A region grows around a pixel of the soil.
    canvas.setExtent(scene.extent())
    canvas.refresh()
    click(dock.classes.viewport(), row_center(4))
    click(dock.grow_button)
    found["growing"] = canvas.mapTool() is dock.grow_tool
    click(canvas.viewport(), at(500600, 4996100))
    wait_for(lambda: dock.grow_tool.grown is not None, "a region")
    picture("6-region")
    before = len(codes())
    canvas.setFocus()
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    wait_for(lambda: len(codes()) == before + 1, "the region is a polygon")
    found["grown"] = codes()
    grown = max(dock.label_layer.layer.getFeatures(), key=lambda feature: feature.geometry().area())
    found["grown_class"] = dock.label_layer.code_of_feature(grown)
    found["grown_inside"] = QgsRectangle(500000, 4996000, 501340, 4997010).contains(
        grown.geometry().boundingBox()
    )
    wait_for(lambda: dock.classes.row_of(4).polygons == 3, "the region is counted")
    dock.tabs.setCurrentWidget(dock.separability)
    settle()
    table = dock.separability.table
    click(table.viewport(), table.visualItemRect(table.item(0, 0)).center())
    found["emphasis"] = len(dock.spectra.plot.emphasis())
    dock.tabs.setCurrentWidget(dock.spectra)
    picture("7-grown")

    # Undo takes the region back, and the figures follow.
    dock.label_layer.layer.undoStack().undo()
    found["undone"] = codes()
    wait_for(lambda: dock.classes.row_of(4).polygons == 2, "undo is counted")

    # A training set of what is on the screen, which is in no file yet.
    click(dock.training_button)
    dialog = plugin.dataset_dialog
    found["offered"] = [
        dialog.sources.labels.currentLayer() is dock.label_layer.layer, dialog.sources.raster.currentLayer() is scene,
        dialog.sources.field.currentField(),
    ]
    dialog.choices.block.setValue(600)
    made = os.path.join(os.path.dirname(os.environ["FOUND"]), "training set")
    dialog.output.lineEdit().selectAll()
    QTest.keyClicks(dialog.output.lineEdit(), made)
    settle()
    picture("8-training-set")
    click(dialog.run_button)
    run = dialog.current_run
    wait_for(lambda: not run.is_running, "the training set is made", 60)
    settle()
    found["set_notice"] = dialog.notice.said
    found["sheet"] = dialog._sheet is not None and not dialog._sheet.view.picture.isNull()
    if found["sheet"]:
        dialog._sheet.close()
    dialog.close()
    with open(os.path.join(made, "dataset.json"), encoding="utf-8") as stream:
        told = json.load(stream)
    found["set"] = [[e["name"], e["code"], e["color"], sum(e["samples"].values())] for e in told["classes"]]
    del dialog, run

    # The worker is killed, and all comes back.
    killed = dock.session
    os.kill(killed.worker.pid, 9)
    wait_for(lambda: killed.state != "shown", "death is seen")
    wait_for(lambda: killed.state == "shown", "the preview is back")
    found["same_session"] = dock.session is killed

    # Saved, closed, opened again.
    iface.setActiveLayer(dock.label_layer.layer)
    assert dock.label_layer.layer.commitChanges()
    found["saved"] = codes()
    process = killed.worker.pid
    click(button)
    found["closed"] = (not dock.isUserVisible(), dock.session is None, dock.overlay.is_shown)
    wait_for(lambda: not alive(process), "the worker ends with the dock")
    click(button)
    wait_for(lambda: dock.session is not None and dock.session.state == "shown", "opened again")
    # Switched off while a region grows and the preview is shown.
    click(dock.grow_button)
    click(canvas.viewport(), at(500600, 4996100))
    wait_for(lambda: dock.grow_tool.grown is not None, "another region")
    process = dock.session.worker.pid
    qgis.utils.unloadPlugin("thematica")
    wait_for(lambda: not alive(process), "the worker ends with the plugin")
    found["tool_left"] = type(canvas.mapTool()).__name__
    del plugin
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    settle()
    docks = [dock.objectName() for dock in iface.mainWindow().findChildren(QDockWidget)]
    found["docks_left"] = [name for name in docks if "Labels" in name]
    items = [type(item) for item in canvas.scene().items()]
    found["items_left"] = [item.__name__ for item in items if item.__module__.startswith("thematica")]

def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

def seen(places):
    # Which class's colour the canvas is nearest to.
    image = iface.mapCanvas().grab().toImage()
    answer = []
    for x, y in places:
        color = image.pixelColor(at(x, y))
        def far(entry):
            other = QColor(entry.color)
            return sum(abs(one - two) for one, two in zip(color.getRgb(), other.getRgb()))
        answer.append(min(dock.label_layer.classes(), key=far).code)
    return answer

def go():
    raised = []
    sys.excepthook = lambda *error: raised.append("".join(traceback.format_exception(*error)))
    try:
        work()
    except BaseException:
        raised.append(traceback.format_exc())
        picture("failed")
    found["raised"] = raised
    with open(os.environ["FOUND"], "w") as stream:
        json.dump(found, stream)
    os._exit(0)

QTimer.singleShot(500, go)
"""


def _make_scene(path: Path) -> Path:
    """400 × 400 pixels of 10 m: water in the north-west, trees in the north-east; in the south bare ground, a town and
    crops; with noise."""
    from .conftest import FOREST, SENTINEL_BANDS, WATER, _make_raster

    soil = (0.08, 0.11, 0.15, 0.18, 0.2, 0.22, 0.24, 0.26, 0.34, 0.3)
    town = (0.14, 0.16, 0.18, 0.19, 0.2, 0.21, 0.22, 0.22, 0.24, 0.22)
    crops = (0.03, 0.08, 0.05, 0.13, 0.38, 0.46, 0.48, 0.49, 0.26, 0.14)
    side, chance = 400, random.Random(1)
    noise = [chance.gauss(0, 1) for _ in range(side * side)]
    bands = []
    for band in range(len(SENTINEL_BANDS)):
        # All bands share light and shade, and each has noise of its own.
        own = [chance.gauss(0, 1) for _ in range(997)]
        values = []
        for row in range(side):
            for column in range(side):
                south = soil if column < 134 else town if column < 267 else crops
                cover = south if row >= 300 else WATER if column < 200 else FOREST
                place = row * side + column
                values.append(cover[band] * (1 + 0.05 * noise[place]) + 0.002 * own[place % 997])
        bands.append(values)
    return _make_raster(path, bands, side, descriptions=SENTINEL_BANDS)


@pytest.fixture(scope="module")
def found(tmp_path_factory, real_runtime):
    folder = tmp_path_factory.mktemp("labels-window")
    scene = _make_scene(folder / "scene.tif")
    return run_in_window(folder, SCRIPT, "1500x1000", 240, SCENE=scene, THEMATICA_RUNTIME=real_runtime)


pytestmark = pytest.mark.slow


def test_the_toolbar_opens_the_dock_and_the_dock_a_dialog(found):
    assert found["guide"]
    assert found["button_down"]
    assert found["classes"] == ["Water", "Trees", "Crops and grass", "Bare ground", "Built-up"]
    assert found["raster"]


def test_polygons_are_drawn_with_qgiss_own_tool_and_keys_choose_the_class(found):
    assert found["editing"]
    assert found["drawn"] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_the_form_asks_for_the_class_and_nothing_else(found):
    assert found["asked"][0] == ["Class"]


def test_the_dock_tells_what_was_drawn(found):
    # 30 × 30 pixels, give or take a mouse's pixel.
    assert all(1600 <= found["pixels"][code] <= 2000 for code in "12345")
    assert found["pairs"] == 10
    assert found["means"] == pytest.approx([0.05, 0.01, 0.02, 0.37], abs=0.005)


def test_the_preview_shows_the_classes_where_they_are(found):
    assert found["colors"] == [1, 2, 3, 4, 5]
    assert found["sentence"].startswith("Preview from")


def test_the_class_of_a_polygon_is_changed_found_wrong_and_set_right(found):
    assert found["selected"] == 1
    assert found["changed"] == [1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5]
    assert found["look_alike"] == ["Trees", "Water"]
    assert found["went_there"]
    assert found["set_right"] == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_region_grows_and_becomes_a_polygon_of_the_class(found):
    assert found["growing"]
    assert found["grown"] == [1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5]
    assert found["grown_class"] == 4
    assert found["grown_inside"]
    assert found["undone"] == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_pair_is_brought_forward(found):
    assert found["emphasis"] == 2


def test_the_training_set_is_of_the_polygons_on_the_screen(found):
    assert found["offered"] == [True, True, "class"]
    assert [entry[:2] for entry in found["set"]] == [
        ["Water", 1], ["Trees", 2], ["Crops and grass", 3], ["Bare ground", 4], ["Built-up", 5]
    ]  # fmt: skip
    # Water has three polygons of about 900 pixels, of which the buffer may take some.
    assert all(1000 <= entry[3] <= 2900 for entry in found["set"])
    assert found["sheet"], found["set_notice"]
    assert "5 classes" in found["set_notice"]


def test_a_killed_worker_comes_back(found):
    assert found["same_session"]


def test_what_was_drawn_is_saved_and_a_closed_dock_leaves_the_map(found):
    assert found["saved"] == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert found["closed"] == [True, True, False]


def test_unloading_leaves_nothing(found):
    assert found["docks_left"] == []
    assert found["items_left"] == []
    assert found["tool_left"] != "GrowTool"
