"""Curves over the course of something, drawn: title and legend above, ticks around, the best place marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from qgis.PyQt.QtCore import QEvent, QPointF, QRectF, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPalette,
    QPen,
    QTextOption,
)
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget

from .class_row import small_font
from .ink import faint, ink, is_dark
from .kept_drawing import KeptDrawing
from .thinning import ThinSeries
from .ticks import round_ticks
from .value_axis import ValueAxis

_GAP = 6
#: Between the frame and the outermost values: a mark at the edge must not be cut.
_INSIDE = 7
#: Dots that stand nearer to each other would melt into a thick line.
_LEAST_STEP = 7.0
_DOT = 3.0
_LEAST_HEIGHT_WITH_TITLE = 170
_SIGN = 18.0  # width of a sign in the legend


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Args:
        name: in the legend.
        colors: on a light ground, and on a dark one.
        points: x and value in the order of x; a value that is no number breaks the line.
        thin: a line in the background, without dots.
        dashed: it is told apart without colours, too: dashes, and squares for dots.
    """

    name: str
    colors: tuple[str, str]
    points: Sequence[tuple[float, float]]
    thin: bool = False
    dashed: bool = False

    def value_at(self, x: float) -> float:
        """The value at exactly this x, not-a-number where there is none."""
        return next((value for place, value in self.points if place == x), math.nan)


@dataclass(frozen=True)
class Picture:
    """What a plot shows.

    Args:
        curves: those drawn later lie on top.
        axis: the upright one.
        first: x at the left edge.
        last: x at the right edge.
        best: x of the best place, or None.
        best_text: what the legend says of it; empty: it is marked only.
        empty: what is said while there is nothing to draw.
    """

    curves: Sequence[Curve] = field(default_factory=tuple)
    axis: ValueAxis = field(default_factory=ValueAxis)
    first: float = 0.0
    last: float = 1.0
    best: float | None = None
    best_text: str = ""
    empty: str = ""


class CurvePlot(KeptDrawing):
    """Draws a :class:`Picture`; says where the pointer is, and shows the values that are read there.

    Args:
        parent: the Qt parent.
    """

    #: The pointer is at this x; not-a-number where it has left.
    pointed = pyqtSignal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.x_title = "", ""
        self.picture = Picture()
        self._read: float | None = None
        self._area = QRectF()
        self.setMouseTracking(True)
        self.setMinimumSize(170, 120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    # -- what is shown -------------------------------------------------------------------------

    def set_titles(self, title: str, x_title: str) -> None:
        """What is drawn, with its unit, and over what."""
        if (title, x_title) != (self.title, self.x_title):
            self.title, self.x_title = title, x_title
            self.setAccessibleName(title)
            self.draw_anew()

    def set_picture(self, picture: Picture) -> None:
        """Draw something else."""
        self.picture = picture
        self.draw_anew()

    def set_read(self, x: float | None) -> None:
        """Mark the values at an x; None: none."""
        if x != self._read:
            self._read = x
            self.update()

    def sizeHint(self) -> QSize:
        """Wide enough to read, low enough for two in a dock."""
        return QSize(300, 190)

    def place_of(self, x: float, value: float) -> QPointF:
        """Where a value is drawn (in this widget)."""
        self.ensure_drawn()
        return QPointF(self._x(x), self._y(value))

    def legend(self) -> list[str]:
        """The entries of the legend."""
        shown = [curve.name for curve in reversed(self.picture.curves) if curve.points]
        return [*shown, self.picture.best_text] if self.picture.best_text else shown

    # -- the pointer ---------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say where the pointer is."""
        self.ensure_drawn()
        room = self._area.width() - 2 * _INSIDE
        if room <= 0 or not self._area.contains(QPointF(event.pos())):
            self.pointed.emit(math.nan)
            return
        share = (event.pos().x() - self._area.left() - _INSIDE) / room
        self.pointed.emit(self.picture.first + share * (self.picture.last - self.picture.first))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is read any more."""
        self.pointed.emit(math.nan)
        super().leaveEvent(event)

    # -- drawing -------------------------------------------------------------------------------

    def draw_read(self, painter: QPainter) -> None:
        """Mark the values at the x that is read."""
        if self._read is None:
            return
        text, across = ink(self.palette()), self._x(self._read)
        self.draw_upright(painter, across, self._area, text)
        for curve in self.picture.curves:
            value = curve.value_at(self._read)
            if not curve.thin and math.isfinite(value):
                self.draw_mark(painter, QPointF(across, self._y(value)), text, self._color(curve))

    def draw(self, painter: QPainter) -> None:
        """Draw header, axes and curves."""
        top = self._draw_header(painter)
        metrics = QFontMetricsF(painter.font())
        self._lay_out(metrics, top)
        self._draw_ground(painter, metrics)
        if any(curve.points for curve in self.picture.curves):
            self._draw_curves(painter)
        else:
            self._draw_nothing(painter)

    def _color(self, curve: Curve) -> QColor:
        return QColor(curve.colors[is_dark(self.palette())])

    def _draw_header(self, painter: QPainter) -> float:
        """Title and legend, in as many lines as they need; where the plot's frame may begin."""
        bold = QFont(self.font())
        bold.setBold(True)
        text, metrics = ink(self.palette()), QFontMetricsF(bold)
        painter.setFont(bold)
        painter.setPen(text)
        title = metrics.elidedText(self.title, Qt.TextElideMode.ElideRight, self.width() - 4)
        painter.drawText(QPointF(2, metrics.ascent() + 1), title)
        # The legend below it: of two plots side by side the frames begin at one height.
        x, y = 2.0, 1.0 + metrics.height()
        painter.setFont(small_font(self.font()))
        metrics = QFontMetricsF(painter.font())
        # What lies on top is named first.
        signs: list[Curve | None] = [curve for curve in reversed(self.picture.curves) if curve.points]
        if self.picture.best_text:
            signs.append(None)
        widths = [_SIGN + 4 + metrics.horizontalAdvance(name) + 2 * _GAP for name in self.legend()]
        for sign, name, width in zip(signs, self.legend(), widths):
            if x + width - 2 * _GAP > self.width() and x > 2:
                x, y = 2.0, y + metrics.height() + 1
            self._draw_sign(painter, sign, QPointF(x, y + metrics.height() / 2))
            painter.setPen(text)
            painter.drawText(QPointF(x + _SIGN + 4, y + metrics.ascent()), name)
            x += width
        return y + metrics.height() + 1

    def _draw_sign(self, painter: QPainter, curve: Curve | None, left: QPointF) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = QPointF(left.x() + _SIGN / 2, left.y())
        if curve is None:
            self._draw_ring(painter, middle)
        else:
            painter.setPen(self._pen(curve))
            painter.drawLine(left, QPointF(left.x() + _SIGN, left.y()))
            if not curve.thin:
                self._draw_dot(painter, curve, middle)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)

    def _draw_nothing(self, painter: QPainter) -> None:
        painter.setPen(faint(ink(self.palette()), 180))
        # Its wrapping is at words.
        option = QTextOption(Qt.AlignmentFlag.AlignCenter)
        painter.drawText(self._area.adjusted(8, 0, -8, 0), self.picture.empty, option)

    def _lay_out(self, metrics: QFontMetricsF, top: float) -> None:
        bottom = (2 if self._names_x() else 1) * metrics.height() + _GAP
        height = max(self.height() - top - metrics.height() / 2 - bottom, 10.0)
        # The widest label decides; the number of ticks hangs on the height alone, so this does not go round.
        self._area = QRectF(0, top + 2, self.width(), height)
        labels = [text for _, text in self._value_ticks(metrics)]
        # Seldom is one wider than this: of two plots one above the other the frames begin at one place.
        widest = max(metrics.horizontalAdvance(text) for text in ("0.000", *labels))
        left = widest + 2 * _GAP
        self._area = QRectF(left, top + metrics.height() / 4 + 2, max(self.width() - left - _GAP, 10.0), height)

    def _names_x(self) -> bool:
        """In a low plot the curves need the room more."""
        return self.height() >= _LEAST_HEIGHT_WITH_TITLE

    def _value_ticks(self, metrics: QFontMetricsF) -> list[tuple[float, str]]:
        return self.picture.axis.ticks(max(2, int(self._area.height() / (1.6 * metrics.height()))))

    def _x(self, x: float) -> float:
        first, last = self.picture.first, self.picture.last
        if last <= first:
            return self._area.center().x()
        share = min(max((x - first) / (last - first), 0.0), 1.0)
        return self._area.left() + _INSIDE + share * (self._area.width() - 2 * _INSIDE)

    def _y(self, value: float) -> float:
        share = self.picture.axis.share(value)
        return self._area.bottom() - _INSIDE - share * (self._area.height() - 2 * _INSIDE)

    def _draw_ground(self, painter: QPainter, metrics: QFontMetricsF) -> None:
        area, text = self._area, ink(self.palette())
        painter.fillRect(area, self.palette().color(QPalette.ColorRole.Base))
        if any(curve.points for curve in self.picture.curves):
            written = math.inf
            for value, label in self._value_ticks(metrics):
                y = self._y(value)
                if written - y < metrics.height():
                    continue
                written = y
                painter.setPen(QPen(faint(text, 38), 1))
                painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
                painter.setPen(text)
                width = metrics.horizontalAdvance(label)
                painter.drawText(QPointF(area.left() - width - _GAP, y + metrics.capHeight() / 2), label)
        painter.setPen(QPen(faint(text), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(area)
        for place in self._x_ticks(metrics):
            x, label = self._x(place), f"{place:.0f}"
            painter.setPen(QPen(faint(text), 1))
            painter.drawLine(QPointF(x, area.bottom()), QPointF(x, area.bottom() + 3))
            painter.setPen(text)
            width = metrics.horizontalAdvance(label)
            left = min(max(x - width / 2, 0.0), self.width() - width)
            painter.drawText(QPointF(left, area.bottom() + 3 + metrics.ascent()), label)
        if not self._names_x():
            return
        left = area.center().x() - metrics.horizontalAdvance(self.x_title) / 2
        painter.setPen(text)
        painter.drawText(QPointF(left, area.bottom() + 3 + metrics.height() + metrics.ascent()), self.x_title)

    def _x_ticks(self, metrics: QFontMetricsF) -> list[float]:
        """Whole numbers: there is no half epoch to be read."""
        first, last = self.picture.first, self.picture.last
        if last <= first:
            return [first]
        room = metrics.horizontalAdvance(f"{last:.0f}") + 3 * _GAP
        most = min(max(2, int(self._area.width() / room)), max(int(last - first), 1))
        return [tick for tick in round_ticks(first, last, most) if abs(tick - round(tick)) < 1e-6]

    def _draw_curves(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.save()
        painter.setClipRect(self._area)
        best = self.picture.best
        if best is not None:
            painter.setPen(QPen(faint(ink(self.palette()), 110), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(self._x(best), self._area.top()), QPointF(self._x(best), self._area.bottom()))
        for curve in self.picture.curves:
            self._draw_curve(painter, curve)
        if best is not None and self.picture.best_text and self.picture.curves:
            value = self.picture.curves[-1].value_at(best)
            if math.isfinite(value):
                self._draw_ring(painter, QPointF(self._x(best), self._y(value)))
        painter.restore()

    def _draw_curve(self, painter: QPainter, curve: Curve) -> None:
        dots = not curve.thin and self._stands_apart(curve)
        for is_number, piece in groupby(curve.points, key=lambda point: math.isfinite(point[1])):
            if not is_number:
                continue
            places = [QPointF(self._x(x), self._y(value)) for x, value in self._thinned(list(piece))]
            path = QPainterPath(places[0])
            for place in places[1:]:
                path.lineTo(place)
            painter.setPen(self._pen(curve))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPath(path)
            if dots or len(places) == 1:
                for place in places:
                    self._draw_dot(painter, curve, place)

    def _thinned(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        most = 2 * self.width()
        if len(points) <= 2 * most:
            return points
        series = ThinSeries(most)
        series.add(points)
        return series.smooth(0)

    def _stands_apart(self, curve: Curve) -> bool:
        across = self._x(curve.points[-1][0]) - self._x(curve.points[0][0]) if curve.points else 0.0
        return len(curve.points) < 2 or across / (len(curve.points) - 1) >= _LEAST_STEP

    def _pen(self, curve: Curve) -> QPen:
        color = self._color(curve)
        if curve.thin:
            return QPen(faint(color, 150), 1)
        style = Qt.PenStyle.DashLine if curve.dashed else Qt.PenStyle.SolidLine
        return QPen(color, 1.8, style, Qt.PenCapStyle.FlatCap, Qt.PenJoinStyle.RoundJoin)

    def _draw_dot(self, painter: QPainter, curve: Curve, place: QPointF) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._color(curve))
        if curve.dashed:
            painter.drawRect(QRectF(place.x() - _DOT + 0.3, place.y() - _DOT + 0.3, 2 * _DOT - 0.6, 2 * _DOT - 0.6))
        else:
            painter.drawEllipse(place, _DOT, _DOT)

    def _draw_ring(self, painter: QPainter, place: QPointF) -> None:
        painter.setPen(QPen(ink(self.palette()), 1.6))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(place, 5.5, 5.5)
