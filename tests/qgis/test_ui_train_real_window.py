"""From labels to a map in the real QGIS window, by mouse and keys: Train, curves in the dock, Classify layer.

``PICTURES=folder`` in the environment keeps a picture of the window after each step.
"""

from __future__ import annotations

import random

import pytest
from qgis.core import QgsGeometry

from .label_layers import feature_of, make_layer
from .real_window import run_in_window

# Runs inside QGIS; what it finds goes into a JSON file.
SCRIPT = r"""
import json, os, sys, time, traceback
from qgis.core import QgsPointXY, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QPoint, QTimer, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QDockWidget, QMenu, QMessageBox, QToolBar
import qgis.utils
from qgis.utils import iface

found = {}
LEFT, NO = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
FOLDER = os.path.dirname(os.environ["FOUND"])

def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        QCoreApplication.processEvents()
        time.sleep(0.005)

def settle():
    for _ in range(10):
        QCoreApplication.processEvents()

def picture(name, window=None):
    settle()
    folder = os.environ.get("PICTURES")
    if folder:
        (window or iface.mainWindow()).grab().save(os.path.join(folder, name + ".png"))

def click(widget):
    assert widget.isEnabled() and widget.isVisible(), (widget.objectName(), widget.toolTip())
    QTest.mouseClick(widget, LEFT, NO, QPoint(10, widget.height() // 2))
    settle()

def write(widget, text):
    widget.setFocus()
    widget.selectAll()
    QTest.keyClicks(widget, text)
    QTest.keyClick(widget, Qt.Key.Key_Tab)
    settle()

def work():
    assert qgis.utils.loadPlugin("thematica") and qgis.utils.startPlugin("thematica")
    plugin = qgis.utils.plugins["thematica"]
    entries = [action.text() for action in plugin._menu_actions()]
    found["menu"] = entries
    QgsProject.instance().setFileName(os.path.join(FOLDER, "project.qgz"))
    scene = QgsRasterLayer(os.environ["SCENE"], "scene")
    labels = QgsVectorLayer(os.environ["LABELS"], "cover", "ogr")
    QgsProject.instance().addMapLayers([scene, labels])
    iface.setActiveLayer(labels)
    iface.mainWindow().resize(1400, 900)
    canvas = iface.mapCanvas()
    canvas.setDestinationCrs(scene.crs())
    canvas.setExtent(scene.extent())
    canvas.refresh()
    bars = iface.mainWindow().findChildren(QToolBar)
    click(next(filter(None, (bar.widgetForAction(plugin.labels_action) for bar in bars))))
    dock = plugin.labels_dock
    wait_for(lambda: len(dock.spectra.plot.signatures) == 3, "the labels are read")
    picture("1-labels")

    # The dock offers “Train…” for what it works on.
    click(dock.train_button)
    dialog = plugin.train_dialog
    source = dialog.source
    found["offered"] = [
        source.sources.labels.currentLayer() is labels, source.sources.raster.currentLayer() is scene,
        source.sources.field.currentField(), dialog.network.current().name,
    ]
    found["fits"] = [dialog.width(), dialog.height(), dialog.scroll.verticalScrollBar().maximum()]
    picture("2-train", dialog)
    click(dialog.network.buttons["mlp"])
    write(dialog.name, "window cover")
    write(dialog.epochs, "12")
    write(source.choices.block, "150")
    click(dialog.train_button)
    picture("3-making", dialog)
    wait_for(lambda: plugin.training_dock is not None, "the training has begun", 120)
    picture("4-begun", dialog)
    found["ready_again"] = dialog.train_button.isEnabled()
    dialog.close()
    training = plugin.training_dock
    found["shown"] = [training.isUserVisible(), plugin.training_action.isChecked()]
    wait_for(lambda: training.run is not None and len(training.run.epochs_done) >= 2, "two epochs", 120)
    picture("5-learning")
    wait_for(lambda: training.run.state == "finished", "the end of the training", 120)
    found["stored"] = training.run.stored
    found["accuracy"] = training.run.metrics["overall accuracy"]
    # Also of a state that the dock has not drawn yet.
    wait_for(lambda: training.classify_button.isVisible(), "what came of it")
    picture("6-finished")

    # The model that appeared makes a map of the raster.
    iface.setActiveLayer(scene)
    click(training.classify_button)
    classify = plugin.classify_dialog
    found["classify"] = [classify.model.model, classify.raster.currentLayer() is scene]
    wait_for(lambda: classify.run_button.isEnabled(), "model and raster fit")
    picture("7-classify", classify)
    click(classify.run_button)
    run = classify.current_run
    wait_for(lambda: not run.is_running, "the map", 120)
    found["notice"] = classify.run_notice.said
    classify.close()
    maps = [layer for layer in QgsProject.instance().mapLayers().values() if layer not in (scene, labels)]
    found["maps"] = len(maps)
    places = [(500200, 4999400), (500600, 4999400), (501000, 4999400)]
    found["codes"] = [maps[0].dataProvider().sample(QgsPointXY(*place), 1)[0] for place in places]
    picture("8-map")

    # The label dock may be closed, the plugin switched off; what is stored stays.
    del dialog, training, classify, run, maps, source, dock
    qgis.utils.unloadPlugin("thematica")
    del plugin
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    settle()
    docks = [dock.objectName() for dock in iface.mainWindow().findChildren(QDockWidget)]
    found["docks_left"] = [name for name in docks if "Thematica" in name]

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

SIDE = 120
SOIL = (0.08, 0.11, 0.15, 0.18, 0.2, 0.22, 0.24, 0.26, 0.34, 0.3)


def _make_scene(path):
    """120 × 120 pixels of 10 m: water, forest and bare ground from west to east, with noise."""
    from .conftest import FOREST, SENTINEL_BANDS, WATER, _make_raster

    chance = random.Random(1)
    bands = [
        [
            (WATER, FOREST, SOIL)[column // 40][band] * (1 + 0.05 * chance.gauss(0, 1)) + 0.002 * chance.gauss(0, 1)
            for _ in range(SIDE)
            for column in range(SIDE)
        ]
        for band in range(len(SENTINEL_BANDS))
    ]
    return _make_raster(path, bands, SIDE, descriptions=SENTINEL_BANDS)


def _make_labels(path):
    """Six polygons of each class, from north to south, as they were drawn and saved before."""
    from thematica.models.label_classes import LabelClass

    classes = [LabelClass(1, "Water", "#2c6fbb"), LabelClass(2, "Trees", "#2e8b3d"), LabelClass(3, "Soil", "#b08a5a")]
    layer = make_layer(path, classes, name="cover")
    fields = [field.name() for field in layer.fields()]
    features = []
    for code in (1, 2, 3):
        for number in range(6):
            left, top = 500000 + 400 * (code - 1) + 100 + 40 * (number % 2), 5000000 - 200 * number - 30
            right, bottom = left + 120, top - 120
            wkt = f"Polygon(({left} {top}, {right} {top}, {right} {bottom}, {left} {bottom}, {left} {top}))"
            values = [code if name == "class" else None for name in fields]
            feature = feature_of(layer, wkt, values)
            feature.setGeometry(QgsGeometry.fromWkt(wkt).coerceToType(layer.wkbType())[0])
            features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    return layer.source()


@pytest.fixture(scope="module")
def found(tmp_path_factory, real_runtime):
    folder = tmp_path_factory.mktemp("train-window")
    scene = _make_scene(folder / "scene.tif")
    source = _make_labels(folder / "labels.gpkg")
    return run_in_window(
        folder,
        SCRIPT,
        "1400x900",
        420,
        SCENE=scene,
        LABELS=source,
        THEMATICA_RUNTIME=real_runtime,
        THEMATICA_MODELS=folder / "store",
    )


pytestmark = pytest.mark.slow


def test_the_menu_has_train_and_training(found):
    assert found["menu"][2:5] == ["Make training set…", "Train…", "Training"]


def test_the_labels_dock_offers_what_it_works_on(found):
    assert found["offered"] == [True, True, "class", "random-forest"]


def test_the_dialog_fits_the_screen_without_scrolling(found):
    width, height, beyond = found["fits"]
    assert width <= 1400
    assert height <= 860
    assert beyond == 0


def test_the_dock_opens_on_the_training_and_the_dialog_is_ready_again(found):
    assert found["shown"] == [True, True]
    assert found["ready_again"]


def test_the_model_is_in_the_store_and_is_good(found):
    assert found["stored"] == "window cover"
    assert found["accuracy"] > 0.95


def test_classify_layer_opens_with_the_model_and_its_map_shows_the_classes_where_they_are(found):
    assert found["classify"] == ["window cover", True]
    assert found["maps"] == 1, found["notice"]
    assert found["codes"] == [1, 2, 3]


def test_unloading_leaves_no_dock(found):
    assert found["docks_left"] == []
