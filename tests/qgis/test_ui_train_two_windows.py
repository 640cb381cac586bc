"""QGIS is closed while a network trains, and opened again: the training went on, is found, and does as it is told."""

from __future__ import annotations

import pytest

from .real_window import run_in_window
from .test_training_run import dataset  # noqa: F401 - fixture

# Both run inside QGIS, one after the other with the same profile; what they find goes into a JSON file.
_COMMON = r"""
import json, os, sys, time, traceback
from qgis.PyQt.QtCore import QCoreApplication, QPoint, QTimer, Qt
from qgis.PyQt.QtTest import QTest
import qgis.utils
from qgis.utils import iface

found = {}

def wait_for(condition, what, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        QCoreApplication.processEvents()
        time.sleep(0.005)

def click(widget):
    wait_for(lambda: widget.isEnabled() and widget.isVisible(), widget.objectName())
    place = QPoint(10, widget.height() // 2)
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)

def go():
    raised = []
    sys.excepthook = lambda *error: raised.append("".join(traceback.format_exception(*error)))
    try:
        assert qgis.utils.loadPlugin("thematica") and qgis.utils.startPlugin("thematica")
        work(qgis.utils.plugins["thematica"])
    except BaseException:
        raised.append(traceback.format_exc())
    found["raised"] = raised
    with open(os.environ["FOUND"], "w") as stream:
        json.dump(found, stream)
    iface.actionExit().trigger()

QTimer.singleShot(500, go)
"""

_FIRST = r"""
def work(plugin):
    plugin.train_on(os.environ["DATASET"])
    dialog = plugin.train_dialog
    click(dialog.network.buttons["mlp"])
    dialog.name.setText("outlives")
    dialog.epochs.setValue(100000)
    click(dialog.train_button)
    wait_for(lambda: plugin.training_dock is not None, "the training has begun")
    run = plugin.training_dock.run
    wait_for(lambda: len(run.epochs_done) >= 2, "two epochs")
    found["folder"], found["epochs"] = str(run.folder), len(run.epochs_done)
"""

_SECOND = r"""
def work(plugin):
    found["watched"] = plugin.training_watch is not None
    plugin.training_action.trigger()
    dock = plugin.training_dock
    wait_for(lambda: dock.run is not None and dock.run.state == "running" and not dock.run.is_behind, "it is found")
    run = dock.run
    found["folder"], found["epochs"] = str(run.folder), len(run.epochs_done)
    wait_for(lambda: len(dock.curves.accuracy.picture.curves[-1].points) >= found["epochs"], "its curves")
    click(dock.pause_button)
    wait_for(lambda: run.state == "paused" and "Go on" in dock.pause_button.text().replace("&", ""), "paused")
    done = len(run.epochs_done)
    click(dock.pause_button)
    wait_for(lambda: len(run.epochs_done) > done, "it goes on")
    found["numbers"] = [entry.epoch for entry in run.epochs_done] == list(range(len(run.epochs_done)))
    click(dock.finish_button)
    click(dock.classify_button)
    found["stored"], found["classify"] = run.stored, plugin.classify_dialog.model.model
    plugin.classify_dialog.close()
"""

pytestmark = pytest.mark.slow


def test_a_training_outlives_qgis_and_is_in_the_hands_of_the_next_one(tmp_path, dataset, real_runtime):  # noqa: F811
    variables = {
        "DATASET": dataset, "THEMATICA_RUNTIME": real_runtime, "THEMATICA_MODELS": tmp_path / "store",
    }  # fmt: skip
    first = run_in_window(tmp_path, _COMMON + _FIRST, "1400x900", 180, **variables)
    second = run_in_window(tmp_path, _COMMON + _SECOND, "1400x900", 300, **variables)
    assert second["watched"]
    assert second["folder"] == first["folder"]
    assert second["epochs"] > first["epochs"]
    assert second["numbers"]
    assert (second["stored"], second["classify"]) == ("outlives", "outlives")
