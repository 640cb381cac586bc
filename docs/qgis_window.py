"""QGIS's window, driven by mouse and keys, and pictures of it: what the screenshots need.  Runs inside QGIS."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QPoint, Qt
from qgis.PyQt.QtGui import QGuiApplication, QImage
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QDockWidget, QToolBar, QWidget
from qgis.utils import iface, plugins

_SECONDS_TO_WAIT = 60
_LEFT, _NO_KEY = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


class QgisWindow:
    """The main window with only what the pictures need.

    Args:
        images: folder of the pictures.
        size: of the window.
    """

    def __init__(self, images: Path, size: tuple[int, int]) -> None:
        self.images = images
        self.window, self.canvas, self.project = iface.mainWindow(), iface.mapCanvas(), QgsProject.instance()
        self.plugin = plugins["thematica"]
        self.window.showNormal()
        self.window.setGeometry(0, 0, *size)
        for dock in self.window.findChildren(QDockWidget):
            dock.setVisible(dock.objectName() == "Layers")
        for bar in self.window.findChildren(QToolBar):
            bar.setVisible(bar.objectName() in ("mFileToolBar", "mMapNavToolBar", "mPluginToolBar"))
        layers = self.window.findChild(QDockWidget, "Layers")
        self.window.resizeDocks([layers], [360], Qt.Orientation.Horizontal)

    def settle(self, seconds: float = 0.4) -> None:
        """Until the map is drawn."""
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.canvas.isDrawing():
            self._go_on()
            time.sleep(0.01)

    def wait_for(self, condition: Callable[[], Any], what: str = "a run", seconds: float = _SECONDS_TO_WAIT) -> None:
        """Until something has come about.

        Args:
            condition: true once it has.
            what: for the error.
            seconds: that it may take.

        Raises:
            TimeoutError: it does not.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not come to its end")
            self._go_on()
            time.sleep(0.01)

    def click(self, widget: QWidget, where: QPoint | None = None, button: Qt.MouseButton = _LEFT) -> None:
        """Click a widget; without a place where a check box answers, too."""
        QTest.mouseClick(widget, button, _NO_KEY, where or QPoint(10, widget.height() // 2))
        self._go_on()

    def _go_on(self) -> None:
        QCoreApplication.processEvents()
        # What QGIS deletes later goes only when this script ends, unless it is said.
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def save(self, image: QImage, name: str) -> None:
        """Without an alpha channel, and compressed as far as it goes."""
        image.convertToFormat(QImage.Format.Format_RGB888).save(str(self.images / name), "PNG", 0)

    def save_screen(self, name: str) -> None:
        """All windows as they stand on the screen."""
        self.settle()
        self.save(QGuiApplication.primaryScreen().grabWindow(0).toImage(), name)

    def save_widget(self, widget: QWidget, name: str) -> None:
        """One window or part of it."""
        self.settle()
        self.save(widget.grab().toImage(), name)

    def add(self, path: Path, name: str, red: int, green: int, blue: int) -> QgsRasterLayer:
        """Add a raster in these colours, and show all of it."""
        layer = QgsRasterLayer(str(path), name)
        self.project.addMapLayer(layer)
        layer.renderer().setRedBand(red)
        layer.renderer().setGreenBand(green)
        layer.renderer().setBlueBand(blue)
        layer.setDefaultContrastEnhancement()
        iface.setActiveLayer(layer)
        self.project.setCrs(layer.crs())
        self.show_all_of(layer)
        return layer

    def show_all_of(self, layer: QgsRasterLayer) -> None:
        """Zoom to a layer, with some space around it."""
        self.canvas.setExtent(layer.extent())
        self.canvas.zoomByFactor(1.12)
        self.settle(1)
