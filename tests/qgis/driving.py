"""Driving dialogs as an analyst would: clicks, keys, answers to questions; workers that do as they are told."""

from __future__ import annotations

import time

from qgis.core import QgsProject, QgsRasterLayer
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt, QTimer
from qgis.PyQt.QtGui import QMouseEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QAction, QApplication, QMainWindow, QMessageBox

LEFT = Qt.MouseButton.LeftButton

# A worker that writes what it was asked to, says where it is, and ends.
WRITES = """
say(event="progress", fraction=0.4, stage="Classifying", pixels_per_second=2.5e6, seconds_left=3.0)
say(event="log", level="warning", message="Bands were guessed.")
sys.path.append("/usr/lib/python3/dist-packages")
from osgeo import gdal
source = gdal.Open(job["rasters"][0])
gdal.GetDriverByName("GTiff").CreateCopy(job["output"], source)
json.dump(job, open(os.environ["THEMATICA_SEEN_JOB"], "w"))
report = {
    "classes": [
        {"value": 1, "name": "Water", "color": "#2c6fbb", "pixels": 190, "hectares": 1.9, "percent": 51.0},
        {"value": 2, "name": "Forest", "color": "#2e8b3d", "pixels": 182, "hectares": 1.82, "percent": 49.0},
    ],
    "nodata": {"value": 255, "pixels": 12},
    "seconds": 1.5,
    "inputs": [{"path": job["rasters"][0]}],
    "model": {"name": "basic-cover-sentinel2", "title": "Basic cover"},
    "files": {"output": job["output"]},
    "warnings": ["The bands carry no names; perhaps use --offset -0.1."],
}
report_file = os.path.splitext(job["output"])[0] + ".report.json"
json.dump(report, open(report_file, "w"))
say(event="result", files={"output": job["output"], "report": report_file}, report=report)
"""
WAITS = """
say(event="progress", fraction=0.25, stage="Classifying", pixels_per_second=None, seconds_left=None)
wait_for_cancel()
"""
REFUSES = """
say(event="error", code="misfit", message="Set the scale (--scale, --offset) to match.", details="deep down")
sys.exit(2)
"""


class FakeInterface:
    """The part of QGIS's interface that the dialog touches, with real widgets behind it."""

    def __init__(self):
        self.window = QMainWindow()
        self.canvas = QgsMapCanvas(self.window)
        self.bar = QgsMessageBar(self.window)
        self.log_opened = 0
        self.add_feature = QAction("Add feature", self.window)
        self.add_feature.setCheckable(True)

    def mainWindow(self):
        return self.window

    def mapCanvas(self):
        return self.canvas

    def messageBar(self):
        return self.bar

    def setActiveLayer(self, layer):
        self.canvas.setCurrentLayer(layer)

    def activeLayer(self):
        return self.canvas.currentLayer()

    def actionAddFeature(self):
        return self.add_feature

    def openMessageLog(self):
        self.log_opened += 1

    def addRasterLayer(self, path, name):
        layer = QgsRasterLayer(path, name)
        QgsProject.instance().addMapLayer(layer)
        return layer


def settle():
    for _ in range(5):
        QCoreApplication.processEvents()


def wait_for(condition, seconds=20.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        QCoreApplication.processEvents()
        time.sleep(0.005)


def click(button):
    assert button.isEnabled(), f"{button.text()} cannot be pressed: {button.toolTip()}"
    # A check box or radio button answers on its indicator and text, not on all of its rectangle.
    QTest.mouseClick(button, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(10, button.height() // 2))
    settle()


def drag(widget, place):
    """Move the mouse with the left button held: QTest's own moves hold none."""
    local, around = QPointF(place), QPointF(widget.mapToGlobal(place))
    none, modifier = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(QEvent.Type.MouseMove, local, around, none, LEFT, modifier)
    QApplication.sendEvent(widget, event)
    settle()


def pick(combo, text):
    """Choose an entry with the keyboard."""
    combo.setFocus()
    index = combo.findText(text)
    assert index >= 0, [combo.itemText(i) for i in range(combo.count())]
    QTest.keyClick(combo, Qt.Key.Key_Home)
    for _ in range(index):
        QTest.keyClick(combo, Qt.Key.Key_Down)
    settle()
    assert combo.currentText() == text


def answer_next_question(button):
    """Press a button of the next message box, and return the list that its text will be in."""
    seen = []

    def press():
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, press)
            return
        seen.append(box.text())
        QTest.mouseClick(box.button(button), LEFT)

    QTimer.singleShot(0, press)
    return seen


def answer(respond):
    """Act on the next modal window."""

    def act():
        window = QApplication.activeModalWidget()
        if window is None:
            QTimer.singleShot(20, act)
        else:
            respond(window)

    QTimer.singleShot(0, act)
