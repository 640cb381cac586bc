"""A widget that draws once, and keeps what it has drawn until its size, the theme or its content changes."""

from __future__ import annotations

from qgis.PyQt.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QPainter, QPaintEvent, QPen, QPixmap, QResizeEvent
from qgis.PyQt.QtWidgets import QWidget

from .ink import faint


class KeptDrawing(QWidget):
    """Base of plots: :meth:`draw` fills a picture, :meth:`draw_read` marks on top of it what the pointer reads.

    Args:
        parent: the Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        #: What is kept; None: it must be drawn.
        self.drawing: QPixmap | None = None

    def draw(self, painter: QPainter) -> None:
        """Draw all that is kept."""
        raise NotImplementedError

    def draw_read(self, painter: QPainter) -> None:
        """Draw what lies on top and changes often."""

    def draw_anew(self) -> None:
        """What is shown has changed."""
        self.drawing = None
        self.update()

    def ensure_drawn(self) -> None:
        """Draw now, where that is due: positions are known afterwards."""
        if self.drawing is not None or self.width() <= 0 or self.height() <= 0:
            return
        ratio = self.devicePixelRatioF()
        drawing = QPixmap(QSize(self.width(), self.height()) * ratio)
        drawing.setDevicePixelRatio(ratio)
        drawing.fill(Qt.GlobalColor.transparent)
        painter = QPainter(drawing)
        painter.setFont(self.font())
        self.draw(painter)
        painter.end()
        self.drawing = drawing

    def draw_mark(self, painter: QPainter, place: QPointF, text: QColor, color: QColor) -> None:
        """A dot with an outline, at a value that is read."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(text, 1.5))
        painter.setBrush(color)
        painter.drawEllipse(place, 4.5, 4.5)

    def draw_upright(self, painter: QPainter, across: float, area: QRectF, text: QColor) -> None:
        """A dotted line through the plot, where it is read."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(faint(text), 1, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(across, area.top()), QPointF(across, area.bottom()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw anew in the new size."""
        self.drawing = None
        super().resizeEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Draw anew when the theme or the font changes."""
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.FontChange, QEvent.Type.EnabledChange):
            self.draw_anew()
        super().changeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Show what is kept, and what is read on top of it."""
        self.ensure_drawn()
        painter = QPainter(self)
        if self.drawing is not None:
            painter.drawPixmap(0, 0, self.drawing)
        self.draw_read(painter)
        painter.end()
