"""The list of a label layer's classes, with what was drawn of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qgis.PyQt.QtCore import QItemSelectionModel, QModelIndex, QPoint, QRectF, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QKeyEvent, QPainter, QPaintEvent, QPalette, QTextOption
from qgis.PyQt.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem, QWidget

from ..models.label_classes import LabelClass
from ..plugin.label_layer.keys import KEYS
from .class_row import CURRENT, ROW, ClassRow, ClassRowDelegate

_CODE = Qt.ItemDataRole.UserRole
_LEAST_ROWS, _MOST_ROWS = 3, 6
# Said: on its own the list would add the row to what is selected.
_ALONE = QItemSelectionModel.SelectionFlag.ClearAndSelect


class ClassList(QListWidget):
    """A row per class; a click or its digit picks the class that is drawn, a double click leads to its polygons."""

    class_picked = pyqtSignal(int)
    zoom_wanted = pyqtSignal(int)
    #: Where a menu is to be opened, in screen coordinates.
    menu_wanted = pyqtSignal(QPoint)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes: list[LabelClass] = []
        self._statistics: Mapping[str, Any] = {}
        self._counts: dict[int, int] = {}
        self._current = -1
        self.setItemDelegate(ClassRowDelegate(self))
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setAccessibleName("Classes")
        self.customContextMenuRequested.connect(lambda at: self.menu_wanted.emit(self.viewport().mapToGlobal(at)))
        self.itemClicked.connect(self._clicked)
        self.itemDoubleClicked.connect(lambda item: self.zoom_wanted.emit(int(item.data(_CODE))))

    # -- what is shown -------------------------------------------------------------------------

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Show other classes; selection and place in the list stay."""
        self._classes = list(classes)
        self._fill()

    def set_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Show other figures; empty where there are none."""
        self._statistics = statistics
        self._fill()

    def set_counts(self, counts: Mapping[int, int]) -> None:
        """Show how many polygons there are while nothing more is known; code → number, empty where not even that."""
        if counts != self._counts:
            self._counts = dict(counts)
            self._fill()

    def set_current(self, code: int) -> None:
        """Mark the class that is drawn; -1 for none."""
        moved = code != self._current
        self._current = code
        for row in range(self.count()):
            item = self.item(row)
            is_current = item.data(_CODE) == code
            item.setData(CURRENT, is_current)
            if is_current and moved:
                self.scrollToItem(item)
                if len(self.selectedItems()) < 2:
                    # Chosen by a key on the map, or by drawing: actions mean this class now.
                    self.setCurrentItem(item, _ALONE)

    def current(self) -> int:
        """The code of the class that is marked, or -1."""
        return self._current

    def selected(self) -> list[int]:
        """The codes of the selected rows, from top to bottom; the current class's where none is selected."""
        rows = sorted(self.row(item) for item in self.selectedItems())
        if rows:
            return [int(self.item(row).data(_CODE)) for row in rows]
        return [] if self._current < 0 else [self._current]

    def select(self, codes: Sequence[int]) -> None:
        """Select these rows."""
        for row in range(self.count()):
            self.item(row).setSelected(self.item(row).data(_CODE) in codes)

    def row_of(self, code: int) -> ClassRow:
        """What is shown of a class."""
        return next(item.data(ROW) for item in map(self.item, range(self.count())) if item.data(_CODE) == code)

    def _fill(self) -> None:
        figures = {entry["code"]: entry for entry in self._statistics.get("classes", ())}
        total = sum(entry.get("pixels") or 0 for entry in figures.values())
        shares = {code: (entry.get("pixels") or 0) / total if total else 0.0 for code, entry in figures.items()}
        largest = max(shares.values(), default=0.0)
        chosen = {item.data(_CODE) for item in self.selectedItems()}
        place = self.verticalScrollBar().value()
        self.setUpdatesEnabled(False)
        self.blockSignals(True)
        while self.count() > len(self._classes):
            self.takeItem(self.count() - 1)
        while self.count() < len(self._classes):
            self.addItem(QListWidgetItem())
        for row, entry in enumerate(self._classes):
            known = figures.get(entry.code)
            values = [known.get(key) for key in ("polygons", "pixels", "hectares")] if known else [None, None, None]
            if known is None:
                # A class that is new, or that nothing was drawn of, has no figures of its own.
                values = [0, 0, None] if figures else [self._counts.get(entry.code), None, None]
            key = KEYS[row] if row < len(KEYS) else ""
            shown = ClassRow(entry, key, *values, shares.get(entry.code, 0.0), largest)
            item = self.item(row)
            item.setText(entry.name)
            item.setData(_CODE, entry.code)
            item.setData(ROW, shown)
            item.setData(CURRENT, entry.code == self._current)
            item.setToolTip(shown.tooltip())
            item.setSelected(entry.code in chosen)
        self.blockSignals(False)
        self.setUpdatesEnabled(True)
        self.verticalScrollBar().setValue(place)
        self.updateGeometry()

    # -- mouse and keys ------------------------------------------------------------------------

    def _clicked(self, item: QListWidgetItem) -> None:
        # Picking several, to merge them, does not change what is drawn.
        if len(self.selectedItems()) == 1:
            self.class_picked.emit(int(item.data(_CODE)))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """A digit picks a class, so do the arrows and Enter."""
        key = event.text()
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if key and key in KEYS and plain:
            row = KEYS.index(key)
            if row < self.count():
                self.setCurrentRow(row, _ALONE)
                self.class_picked.emit(int(self.item(row).data(_CODE)))
            return
        before = self.currentRow()
        super().keyPressEvent(event)
        moved = self.currentRow() != before and len(self.selectedItems()) == 1
        if (moved or event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)) and self.currentItem() is not None:
            self.class_picked.emit(int(self.currentItem().data(_CODE)))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Say what to do where there is no class yet."""
        super().paintEvent(event)
        if self.count() == 0:
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            # A text option wraps at words.
            option = QTextOption(Qt.AlignmentFlag.AlignCenter)
            area = QRectF(self.viewport().rect()).adjusted(12, 0, -12, 0)
            painter.drawText(area, "No class yet: add one with the + above.", option)
            painter.end()

    # -- size ----------------------------------------------------------------------------------

    def _height(self, rows: int) -> int:
        row = self.sizeHintForRow(0) if self.count() else 2 * self.fontMetrics().height()
        return rows * row + 2 * self.frameWidth()

    def sizeHint(self) -> QSize:
        """As high as its rows, within bounds."""
        return QSize(280, self._height(min(max(self.count(), _LEAST_ROWS), _MOST_ROWS)))

    def minimumSizeHint(self) -> QSize:
        """A few rows."""
        return QSize(160, self._height(_LEAST_ROWS if self.count() != 2 else 2))

    def indexOf(self, code: int) -> QModelIndex:
        """Where a class stands."""
        row = next(row for row in range(self.count()) if self.item(row).data(_CODE) == code)
        return self.model().index(row, 0)
