"""The spectral signatures of classes, drawn: mean and spread of each against wavelength."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from qgis.PyQt.QtCore import QEvent, QPointF, QRectF, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import (
    QColor,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPalette,
    QPen,
    QPolygonF,
    QTextOption,
)
from qgis.PyQt.QtWidgets import QSizePolicy, QToolTip, QWidget

from .band_axis import BandAxis, band_axis
from .ink import faint, ink
from .kept_drawing import KeptDrawing
from .ticks import round_ticks, tick_label

#: What the shaded band around a mean shows → how it is called.
SPREADS = {"std": "± standard deviation", "percentiles": "5th to 95th percentile", "none": "no spread"}

_GAP = 6
_REACH = 14.0  # px between pointer and line, at most
_NO_PLACE = QPointF(math.nan, math.nan)

_Values = list[Optional[float]]


@dataclass(frozen=True)
class Signature:
    """One class's spectrum; a value is None where the class has no pixel in that band."""

    code: int
    name: str
    color: str
    pixels: int
    mean: _Values
    std: _Values
    p05: _Values
    p95: _Values

    def spread(self, kind: str) -> tuple[_Values, _Values]:
        """Lower and upper edge of the shaded band."""
        if kind == "percentiles":
            return self.p05, self.p95
        low, high = (
            [None if m is None or s is None else m + sign * s for m, s in zip(self.mean, self.std)] for sign in (-1, 1)
        )
        return low, high


def signatures_of(statistics: Mapping[str, Any]) -> list[Signature]:
    """The spectra of a statistics' classes; classes without a pixel have none."""
    bands = len(statistics.get("bands", ()))
    found = []
    for entry in statistics.get("classes", ()):
        mean, std, p05, p95 = (_values(entry.get(key), bands) for key in ("mean", "std", "p05", "p95"))
        if any(value is not None for value in mean):
            code, name, color = int(entry["code"]), str(entry["name"]), str(entry["color"])
            found.append(Signature(code, name, color, int(entry.get("pixels") or 0), mean, std, p05, p95))
    return found


def _values(values: Sequence[Any] | None, bands: int) -> _Values:
    """As many finite numbers as there are bands, None where there is none."""
    numbers: _Values = [
        float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None for value in values or ()
    ]
    return (numbers + [None] * bands)[:bands]


class SignaturePlot(KeptDrawing):
    """A line and a shaded band per class; the pointer reads values, a click picks a class."""

    #: A class's line was clicked.
    class_clicked = pyqtSignal(int)
    #: The ground was clicked.
    ground_clicked = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.axis = BandAxis()
        self.signatures: list[Signature] = []
        self._hidden: set[int] = set()
        self._emphasis: set[int] = set()
        self._current = -1
        self._spread = "std"
        #: Class and band under the pointer.
        self._read: tuple[int, int] | None = None
        self._points: dict[int, list[QPointF]] = {}
        self._area = QRectF()
        self._low, self._high = 0.0, 1.0
        self._first, self._last = 0.0, 1.0
        self.setMouseTracking(True)
        self.setMinimumSize(180, 130)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Spectral signatures")

    # -- what is shown -------------------------------------------------------------------------

    def set_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Show other figures; what was hidden or emphasised stays so."""
        self.axis = band_axis(statistics.get("bands", ()))
        self.signatures = signatures_of(statistics)
        self._read = None
        self.draw_anew()

    def set_hidden(self, codes: set[int]) -> None:
        """Leave classes out."""
        self._hidden = set(codes)
        self.draw_anew()

    def set_current(self, code: int) -> None:
        """Draw the class that is being drawn thicker; -1 for none."""
        if code != self._current:
            self._current = code
            self.draw_anew()

    def set_emphasis(self, codes: set[int]) -> None:
        """Let all other classes step back; an empty set brings them forward again."""
        self._emphasis = set(codes)
        self.draw_anew()

    def set_spread(self, kind: str) -> None:
        """Which spread is shaded: a key of :data:`SPREADS`."""
        self._spread = kind
        self.draw_anew()

    def shown(self) -> list[Signature]:
        """The spectra that are not hidden."""
        return [signature for signature in self.signatures if signature.code not in self._hidden]

    def emphasis(self) -> set[int]:
        """The classes that others step back behind."""
        return set(self._emphasis)

    def sizeHint(self) -> QSize:
        """Wide enough to read, low enough for a dock."""
        return QSize(300, 200)

    # -- reading with the pointer --------------------------------------------------------------

    def place_of(self, code: int, band: int) -> QPointF:
        """Where a class's mean in a band is drawn (in this widget), not-a-number where it is not."""
        self.ensure_drawn()
        return self._points[code][band] if code in self._points else QPointF(_NO_PLACE)

    def read_at(self, position: QPointF) -> tuple[int, int] | None:
        """The class and the band whose mean is drawn nearest to a position, or None where none is near."""
        self.ensure_drawn()
        best, nearest = None, _REACH
        for signature in self.shown():
            for band, point in enumerate(self._points.get(signature.code, ())):
                # Seen from above or below the nearest band counts, so the way along the axis weighs less.
                distance = math.hypot((point.x() - position.x()) / 2, point.y() - position.y())
                if distance < nearest or (distance == nearest and signature.code == self._current):
                    best, nearest = (signature.code, band), distance
        return best

    def sentence(self, code: int, band: int) -> str:
        """What the pointer tells: class, band, mean and spread."""
        signature = next(entry for entry in self.signatures if entry.code == code)
        place = f", {self.axis.places[band]:.0f} nm" if self.axis.in_nanometres else ""
        mean, std = signature.mean[band], signature.std[band]
        text = f"{signature.name}\n{self.axis.names[band]}{place}: {_number(mean)}"
        if std is not None:
            text += f" ± {_number(std)}"
        p05, p95 = signature.p05[band], signature.p95[band]
        if p05 is not None and p95 is not None:
            text += f"\n90 % of its pixels lie between {_number(p05)} and {_number(p95)}"
        return text

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Read the line under the pointer."""
        found = self.read_at(QPointF(event.pos()))
        if found != self._read:
            self._read = found
            self.update()
        self.setCursor(Qt.CursorShape.ArrowCursor if found is None else Qt.CursorShape.PointingHandCursor)
        if found is None:
            QToolTip.hideText()
        else:
            QToolTip.showText(self.mapToGlobal(event.pos()), self.sentence(*found), self)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Pick the class whose line is clicked."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        found = self.read_at(QPointF(event.pos()))
        if found is None:
            self.ground_clicked.emit()
        else:
            self.class_clicked.emit(found[0])

    def leaveEvent(self, event: QEvent) -> None:
        """Forget what was read."""
        self._read = None
        self.update()
        super().leaveEvent(event)

    # -- drawing -------------------------------------------------------------------------------

    def draw_read(self, painter: QPainter) -> None:
        """Mark what the pointer reads."""
        if self._read is None or self._read[0] not in self._points:
            return
        code, band = self._read
        point, text = self._points[code][band], ink(self.palette())
        self.draw_upright(painter, point.x(), self._area, text)
        color = next(entry.color for entry in self.signatures if entry.code == code)
        self.draw_mark(painter, point, text, QColor(color))

    def draw(self, painter: QPainter) -> None:
        """Draw axes and signatures."""
        self._points = {}
        if self.axis.places and self.shown():
            self._set_scales(QFontMetricsF(self.font()))
            self._draw_ground(painter)
            self._draw_signatures(painter)
        else:
            self._draw_nothing(painter)

    def _draw_nothing(self, painter: QPainter) -> None:
        if not self.axis.places:
            sentence = "Here come the spectra of the classes."
        elif not self.signatures:
            sentence = "No class has pixels yet: draw polygons on the map."
        else:
            sentence = "All classes are switched off: tick one below."
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        # Its wrapping is at words.
        option = QTextOption(Qt.AlignmentFlag.AlignCenter)
        painter.drawText(QRectF(self.rect()).adjusted(12, 0, -12, 0), sentence, option)

    def _set_scales(self, metrics: QFontMetricsF) -> None:
        edges = []
        for signature in self.shown():
            low, high = (signature.mean, signature.mean) if self._spread == "none" else signature.spread(self._spread)
            edges += [value for values in (low, high, signature.mean) for value in values if value is not None]
        self._first, self._last = min(self.axis.places), max(self.axis.places)
        low, high = min(edges), max(edges)
        margin = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
        # A scale that nearly reaches zero begins there.
        self._low = 0.0 if 0 <= low < 0.25 * high else low - margin
        self._high = high + margin
        # The widest label decides; the number of ticks hangs on the height alone, so this does not go round.
        ticks = self._value_ticks(self.height() - 3 * metrics.height())
        widest = max((metrics.horizontalAdvance(text) for _, text in ticks), default=0.0)
        left = widest + 2 * _GAP
        bottom = 2 * metrics.height() + _GAP
        top = metrics.height() / 2 + 2
        self._area = QRectF(left, top, self.width() - left - 10, self.height() - top - bottom)

    def _value_ticks(self, height: float) -> list[tuple[float, str]]:
        lines = QFontMetricsF(self.font()).height()
        values = round_ticks(self._low, self._high, max(2, int(height / (1.5 * lines))))
        step = values[1] - values[0] if len(values) > 1 else 1.0
        return [(value, tick_label(value, step)) for value in values]

    def _x(self, place: float) -> float:
        first, last = self._first, self._last
        if last == first:
            return self._area.center().x()
        return self._area.left() + 6 + (place - first) / (last - first) * (self._area.width() - 12)

    def _y(self, value: float) -> float:
        return self._area.bottom() - (value - self._low) / (self._high - self._low) * self._area.height()

    def _draw_ground(self, painter: QPainter) -> None:
        area, metrics = self._area, QFontMetricsF(self.font())
        text = ink(self.palette())
        painter.fillRect(area, self.palette().color(QPalette.ColorRole.Base))
        grid = QColor(text)
        grid.setAlpha(38)
        for value, label in self._value_ticks(area.height()):
            y = self._y(value)
            painter.setPen(QPen(grid, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(text)
            width = metrics.horizontalAdvance(label)
            painter.drawText(QPointF(area.left() - width - _GAP, y + metrics.capHeight() / 2), label)
        painter.setPen(QPen(faint(text), 1))
        painter.drawRect(area)
        for place, label in self._band_ticks(metrics):
            x = self._x(place)
            painter.setPen(QPen(faint(text), 1))
            painter.drawLine(QPointF(x, area.bottom()), QPointF(x, area.bottom() + 3))
            painter.setPen(text)
            width = metrics.horizontalAdvance(label)
            left = min(max(x - width / 2, 0.0), self.width() - width)
            painter.drawText(QPointF(left, area.bottom() + 3 + metrics.ascent()), label)
        title = self.axis.title
        left = area.center().x() - metrics.horizontalAdvance(title) / 2
        painter.drawText(QPointF(left, area.bottom() + 3 + metrics.height() + metrics.ascent()), title)

    def _band_ticks(self, metrics: QFontMetricsF) -> list[tuple[float, str]]:
        """Places and labels below the axis, as many as stand side by side."""
        places, width = self.axis.places, self._area.width()
        if self.axis.in_nanometres:
            room = metrics.horizontalAdvance("0000") + 3 * _GAP
            return [(v, f"{v:.0f}") for v in round_ticks(min(places), max(places), max(2, int(width / room)))]
        # The title says "Band" already.
        names = [name.partition(" (")[0].removeprefix("Band ") for name in self.axis.names]
        room = max(metrics.horizontalAdvance(name) for name in names) + _GAP
        if room * len(names) <= width:
            return list(zip(places, names))
        # Names that do not fit side by side: numbers.
        room = metrics.horizontalAdvance(str(len(places))) + 2 * _GAP
        if room * len(places) <= width:
            return [(place, f"{place:.0f}") for place in places]
        ticks = round_ticks(0, len(places), max(2, int(width / room)))
        return [(value, f"{value:.0f}") for value in ticks if value >= 1 and value == int(value)]

    def _draw_signatures(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.save()
        painter.setClipRect(self._area)
        # What is emphasised or current comes last, on top.
        order = sorted(self.shown(), key=lambda entry: (entry.code in self._emphasis, entry.code == self._current))
        if self._spread != "none":
            for signature in order:
                self._draw_spread(painter, signature, len(order))
        for signature in order:
            self._draw_mean(painter, signature)
        painter.restore()

    def _steps_back(self, code: int) -> bool:
        return bool(self._emphasis) and code not in self._emphasis

    def _draw_spread(self, painter: QPainter, signature: Signature, drawn: int) -> None:
        if self._steps_back(signature.code):
            return
        low, high = signature.spread(self._spread)
        color = QColor(signature.color)
        # Many bands lie on each other: the more, the fainter.
        strong = signature.code in self._emphasis
        color.setAlpha(80 if strong else 70 if drawn <= 6 else 34)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        for piece in self._pieces(low, high):
            xs = [self._x(self.axis.places[band]) for band in piece]
            if len(piece) == 1:
                # A band alone has no area: a bar.
                xs = [xs[0] - 3, xs[0] + 3]
                piece = [piece[0], piece[0]]
            upper = [QPointF(x, self._y(_sure(high[band]))) for x, band in zip(xs, piece)]
            lower = [QPointF(x, self._y(_sure(low[band]))) for x, band in zip(xs, piece)]
            painter.drawPolygon(QPolygonF(upper + lower[::-1]))

    def _draw_mean(self, painter: QPainter, signature: Signature) -> None:
        mean = signature.mean
        self._points[signature.code] = [
            QPointF(_NO_PLACE) if value is None else QPointF(self._x(place), self._y(value))
            for place, value in zip(self.axis.places, mean)
        ]
        back = self._steps_back(signature.code)
        strong = signature.code == self._current or signature.code in self._emphasis
        width = 2.6 if strong else 1.4
        color = QColor(signature.color)
        ground = self.palette().color(QPalette.ColorRole.Base)
        color.setAlpha(55 if back else 255)
        dotted = len(self.axis.places) <= 24
        for piece in self._pieces(mean, mean):
            points = [self._points[signature.code][band] for band in piece]
            path = QPainterPath(points[0])
            for point in points[1:]:
                path.lineTo(point)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            if not back and abs(_lightness(color) - _lightness(ground)) < 0.15:
                # White on white, black on black: a rim makes it seen.
                painter.setPen(QPen(faint(ink(self.palette())), width + 2))
                painter.drawPath(path)
            painter.setPen(
                QPen(color, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin)
            )
            painter.drawPath(path)
            if dotted or len(points) == 1:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(color)
                for point in points:
                    painter.drawEllipse(point, width + 0.6, width + 0.6)

    def _pieces(self, low: _Values, high: _Values) -> list[list[int]]:
        """The runs of bands, broken also where a value is missing."""
        pieces: list[list[int]] = []
        for run in self.axis.runs:
            open_piece: list[int] = []
            for band in run:
                if low[band] is None or high[band] is None:
                    open_piece = []
                    continue
                if not open_piece:
                    pieces.append(open_piece)
                open_piece.append(band)
        return pieces


def _sure(value: float | None) -> float:
    assert value is not None  # pieces hold no missing values
    return value


def _lightness(color: QColor) -> float:
    """How light a colour looks, 0 to 1 (luma of Rec. 601)."""
    return 0.299 * color.redF() + 0.587 * color.greenF() + 0.114 * color.blueF()


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
