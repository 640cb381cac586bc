"""The map tool that lets a region grow around a pixel and adds it to the labels."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsPointXY
from qgis.gui import QgsMapMouseEvent, QgsMapTool, QgsRubberBand, QgsVertexMarker
from qgis.PyQt.QtCore import QLocale, QPoint, Qt
from qgis.PyQt.QtGui import QColor, QKeyEvent, QWheelEvent

from ..errors import ThematicaError
from ..plugin.add_label import add_label
from ..plugin.compat import LEVEL_INFO, LEVEL_WARNING, POLYGON_GEOMETRY
from ..plugin.live_message import Grown
from ..plugin.live_session import LiveSession
from .grow_panel import GrowPanel
from .wording import for_dialog

_TITLE = "Grow region"
_CLICK = "Click a pixel to grow a region from it."
_MOVE = "Drag, or Ctrl and wheel: tolerance. Enter or right click: accept. Esc: discard."
#: Pixels of the screen that the mouse is dragged for one step of tolerance, and before it counts as dragging.
_PIXELS_PER_STEP, _PIXELS_TO_DRAG = 4, 4
_DEGREES_PER_STEP = 120
_GREY = "#808080"
_FILL_OPACITY = 80


class GrowTool(QgsMapTool):
    """Click: a region grows.  Drag, Ctrl and wheel, slider: tolerance.  Enter or right click: it becomes a polygon.

    Args:
        iface: QGIS's interface.
        session: what lets regions grow; None while there are no labels and no image.
    """

    def __init__(self, iface: Any, session: LiveSession | None = None) -> None:
        super().__init__(iface.mapCanvas())
        self.iface, self.session = iface, session
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.panel: GrowPanel | None = None
        self.grown: Grown | None = None
        self._seed: QgsPointXY | None = None
        self._asked = 0
        self._is_waiting = self._accept_soon = self._limit_told = False
        self._pressed: QPoint | None = None
        self._pressed_tolerance = 0
        self._band: QgsRubberBand | None = None
        self._marker: QgsVertexMarker | None = None
        self.canvas().destinationCrsChanged.connect(self.discard)
        self._follow(session, True)

    def set_session(self, session: LiveSession | None) -> None:
        """Other labels, or another image."""
        if session is not self.session:
            self.discard()
            self._follow(self.session, False)
            self.session = session
            self._follow(session, True)

    def _follow(self, session: LiveSession | None, on: bool) -> None:
        if session is None:
            return
        try:
            changed = session.labels.current_changed
            changed.connect(self._paint) if on else changed.disconnect(self._paint)
        except (RuntimeError, TypeError):
            pass  # the label layer is gone

    # -- coming and going -----------------------------------------------------------------------

    def activate(self) -> None:
        super().activate()
        if self.panel is None:
            self.panel = GrowPanel(self.canvas())
            self.panel.tolerance_changed.connect(self._grow)
            self.panel.accepted.connect(self.accept)
            self.panel.discarded.connect(self.discard)
            self.panel.left.connect(self.canvas().setFocus)
            self.iface.addUserInputWidget(self.panel)
        self.panel.show()
        self._tell()

    def deactivate(self) -> None:
        self.discard()
        if self.panel is not None:
            # Away from the canvas at once: QGIS's box of input widgets must not go before what lies in it.
            self.panel.setParent(None)
            self.panel.deleteLater()
            self.panel = None
        self._say("")
        super().deactivate()

    def flags(self) -> Any:
        return QgsMapTool.Flag.AllowZoomRect

    # -- mouse and keys -------------------------------------------------------------------------

    def canvasPressEvent(self, event: QgsMapMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.panel is not None:
            self._start(event.mapPoint())
            self._pressed, self._pressed_tolerance = event.pos(), self.panel.tolerance

    def canvasMoveEvent(self, event: QgsMapMouseEvent) -> None:
        if self._pressed is None or not event.buttons() & Qt.MouseButton.LeftButton or self.panel is None:
            return
        moved = event.pos() - self._pressed
        way = moved.x() - moved.y()  # to the right and up is more
        if abs(way) >= _PIXELS_TO_DRAG:
            self.panel.set_tolerance(self._pressed_tolerance + way / _PIXELS_PER_STEP)

    def canvasReleaseEvent(self, event: QgsMapMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = None
        elif event.button() == Qt.MouseButton.RightButton:
            self.accept()

    def wheelEvent(self, event: QWheelEvent) -> None:
        # Without Ctrl, or without a region, the wheel zooms as always.
        if self.panel is None or self._seed is None or not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()
            return
        steps = event.angleDelta().y() / _DEGREES_PER_STEP
        self.panel.set_tolerance(self.panel.tolerance + (steps if abs(steps) >= 1 else (steps > 0) - (steps < 0)))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._seed is not None:
            self.accept()
        elif event.key() == Qt.Key.Key_Escape and self._seed is not None:
            self.discard()
        else:
            event.ignore()
            return
        event.accept()

    # -- growing --------------------------------------------------------------------------------

    def _start(self, place: QgsPointXY) -> None:
        self.discard()
        if self.session is None or self.session.is_ended:
            self._push("Choose a label layer and an image in the Labels dock first.")
            return
        self._seed = QgsPointXY(place)
        self._marker = QgsVertexMarker(self.canvas())
        self._marker.setIconType(QgsVertexMarker.IconType.ICON_CROSS)
        self._marker.setPenWidth(2)
        self._marker.setColor(QColor(_GREY))
        self._marker.setCenter(self._seed)
        self._grow()

    def _grow(self, *_: object) -> None:
        """Let it grow with the present tolerance; the region before stays until the new one is there."""
        if self._seed is None or self.session is None or self.panel is None:
            return
        seed = self._seed
        self._asked += 1
        number = self._asked
        self._is_waiting = True
        self._tell()
        self.session.grow(
            seed,
            self.panel.tolerance,
            lambda grown: self._take(seed, number, grown),
            lambda error: self._failed(seed, error),
        )

    def _take(self, seed: QgsPointXY, number: int, grown: Grown) -> None:
        if seed is not self._seed:
            return  # discarded, or another pixel was clicked
        # While dragging, one of a moment ago is better than none.
        self._is_waiting, self.grown = number != self._asked, grown
        self._take_band()
        if grown.geometry is not None:
            self._band = QgsRubberBand(self.canvas(), POLYGON_GEOMETRY)
            self._band.setWidth(2)
            self._band.setToGeometry(grown.geometry, None)
            self._paint()
        if grown.is_limited and not self._limit_told:
            self._limit_told = True
            self._push(
                f"The region was cut off at {_count(grown.pixels)} pixels: lower the tolerance if it runs over its "
                "borders, or accept it as it is.",
                LEVEL_INFO,
            )
        self._tell()
        if self._accept_soon and not self._is_waiting:
            self.accept()

    def _paint(self, *_: object) -> None:
        """The region has the colour of the class that it will have."""
        if self._band is not None:
            color = QColor(self._color())
            self._band.setStrokeColor(color)
            self._band.setSecondaryStrokeColor(QColor(255, 255, 255))
            color.setAlpha(_FILL_OPACITY)
            self._band.setFillColor(color)

    def _failed(self, seed: QgsPointXY, error: ThematicaError) -> None:
        if seed is self._seed:
            self.discard()
            self._push(for_dialog(error.message))

    def accept(self) -> None:
        """Make the region a polygon of the current class; one that is still growing, when it is there."""
        if self._seed is None or self.session is None or self.session.is_ended:
            return
        self._accept_soon = self._is_waiting
        if self._is_waiting or self.grown is None or self.grown.geometry is None:
            return
        labels = self.session.labels
        crs = self.canvas().mapSettings().destinationCrs()
        try:
            add_label(labels, self.grown.geometry, crs, labels.current_code(), self._seed, _TITLE)
        except ThematicaError as error:
            self._push(error.message)
            return
        self.discard()

    def discard(self, *_: object) -> None:
        """Forget the region."""
        self._seed = self.grown = self._pressed = None
        self._is_waiting = self._accept_soon = self._limit_told = False
        self._take_band()
        if self._marker is not None:
            self.canvas().scene().removeItem(self._marker)
            self._marker = None
        self._tell()

    def _take_band(self) -> None:
        if self._band is not None:
            self.canvas().scene().removeItem(self._band)
            self._band = None

    # -- what is said ---------------------------------------------------------------------------

    def _color(self) -> str:
        labels = self.session.labels if self.session is not None else None
        code = labels.current_code() if labels is not None else -1
        return next((entry.color for entry in labels.classes() if entry.code == code), _GREY) if labels else _GREY

    def _tell(self) -> None:
        if self.panel is None:
            return
        grown = self.grown
        if self._seed is None:
            sentence = _CLICK
        elif grown is None:
            sentence = "Growing…"
        elif grown.geometry is None:
            sentence = "The image has no data there: click another pixel."
        else:
            area = f", {QLocale().toString(grown.hectares, 'f', 2)} ha" if grown.hectares is not None else ""
            cut = " (cut off)" if grown.is_limited else ""
            sentence = f"{_count(grown.pixels)} pixels{area}{cut}"
        has_region = grown is not None and grown.geometry is not None
        self.panel.tell(sentence, has_region and not self._is_waiting, self._seed is not None)
        self._say(_CLICK if self._seed is None else _MOVE)

    def _say(self, text: str) -> None:
        self.iface.statusBarIface().showMessage(text)

    def _push(self, text: str, level: Any = LEVEL_WARNING) -> None:
        self.iface.messageBar().pushMessage(_TITLE, text, level, 8)


def _count(pixels: int) -> str:
    return QLocale().toString(pixels)
