"""Scrolling that begins only where the contents cannot be made smaller any more."""

from __future__ import annotations

from qgis.PyQt.QtCore import QEvent, QObject, QSize
from qgis.PyQt.QtGui import QResizeEvent
from qgis.PyQt.QtWidgets import QLabel, QScrollArea, QWidget


class NarrowScroll(QScrollArea):
    """As wide as its contents are allowed to be, and as high as they must be at that width.

    Qt's own "resizable" scroll area takes the height that contents with wrapped text would like to have for the least
    that they need, and scrolls much too soon.
    """

    def setWidget(self, widget: QWidget) -> None:
        """Show a widget."""
        super().setWidget(widget)
        widget.installEventFilter(self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the contents in."""
        super().resizeEvent(event)
        self._fit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Fit the contents in anew when they need more or less."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self._fit()
            # Its least width may be another one now; who lays it out has kept the old one.
            self.updateGeometry()
        return super().eventFilter(watched, event)

    def minimumSizeHint(self) -> QSize:
        """As narrow as the contents allow; any height will do."""
        widget, hint = self.widget(), super().minimumSizeHint()
        return hint if widget is None else QSize(max(hint.width(), widget.minimumSizeHint().width()), hint.height())

    def _fit(self) -> None:
        widget = self.widget()
        if widget is None or widget.layout() is None:
            return
        least, room = widget.layout().minimumSize(), self.viewport().size()
        needed = least.height() + sum(
            _wrapped(label) for label in widget.findChildren(QLabel) if _counts(label, widget)
        )
        widget.resize(max(room.width(), least.width()), max(room.height(), needed))


def _counts(label: QLabel, within: QWidget) -> bool:
    return label.wordWrap() and label.isVisibleTo(within)


def _wrapped(label: QLabel) -> int:
    """How much higher a text is, wrapped as it is now, than its least size says."""
    return max(0, label.heightForWidth(label.width()) - label.minimumSizeHint().height())
