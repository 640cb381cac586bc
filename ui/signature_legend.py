"""The legend of the spectral signatures: colours and names side by side, each with a tick that shows or hides it."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.PyQt.QtCore import QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QIcon, QResizeEvent
from qgis.PyQt.QtWidgets import QAbstractItemView, QFrame, QListView, QListWidget, QListWidgetItem, QWidget

from .signature_plot import Signature
from .swatches import HEIGHT, WIDTH, swatch_pixmap

_CODE = Qt.ItemDataRole.UserRole
_ROWS = 4
_WIDEST = 128


class SignatureLegend(QListWidget):
    """Names in columns; no more than a few rows high, and scrolled beyond."""

    #: The classes whose tick is off, as a set of codes.
    hidden_changed = pyqtSignal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        #: Kept while a class is gone from the figures and comes back.
        self._hidden: set[int] = set()
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setIconSize(QSize(WIDTH, HEIGHT))
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.viewport().setAutoFillBackground(False)
        self.itemChanged.connect(self._toggled)

    def set_signatures(self, signatures: Sequence[Signature]) -> None:
        """List other classes; ticks that were taken away stay away."""
        shown = [(self.item(row).data(_CODE), self.item(row).text()) for row in range(self.count())]
        place = self.verticalScrollBar().value()
        self.blockSignals(True)
        if shown != [(entry.code, entry.name) for entry in signatures]:
            self.clear()
            for entry in signatures:
                item = QListWidgetItem(entry.name)
                item.setData(_CODE, entry.code)
                item.setToolTip(f"{entry.name}: show or hide")
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                self.addItem(item)
        for row, entry in enumerate(signatures):
            off = entry.code in self._hidden
            self.item(row).setIcon(QIcon(swatch_pixmap(entry.color)))
            self.item(row).setCheckState(Qt.CheckState.Unchecked if off else Qt.CheckState.Checked)
        self.blockSignals(False)
        self._fit()
        self.verticalScrollBar().setValue(place)
        self.setVisible(bool(signatures))

    def hidden(self) -> set[int]:
        """The classes that are not to be drawn."""
        return set(self._hidden)

    def _toggled(self, item: QListWidgetItem) -> None:
        code = int(item.data(_CODE))
        if item.checkState() == Qt.CheckState.Checked:
            self._hidden.discard(code)
        else:
            self._hidden.add(code)
        self.hidden_changed.emit(set(self._hidden))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Lay the names out in as many columns as there is room for."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        width = self.width() - self.verticalScrollBar().sizeHint().width() - 2
        if width <= 0 or not self.count():
            return
        columns = max(1, width // _wanted(self))
        height = max(self.fontMetrics().height(), HEIGHT) + 4
        size = QSize(width // columns, height)
        if size != self.gridSize():
            self.setGridSize(size)
        self.blockSignals(True)
        for row in range(self.count()):
            self.item(row).setSizeHint(size)
        self.blockSignals(False)
        rows = -(-self.count() // columns)
        self.setFixedHeight(min(rows, _ROWS) * height + 2)


def _wanted(legend: SignatureLegend) -> int:
    """How wide the longest name is with its swatch and tick, within bounds."""
    names = max(legend.fontMetrics().horizontalAdvance(legend.item(row).text()) for row in range(legend.count()))
    return min(max(names + WIDTH + 40, 60), _WIDEST)
