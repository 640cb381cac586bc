"""The table of classes: names, codes, colours and macro-classes, edited in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qgis.gui import QgsColorDialog
from qgis.PyQt.QtCore import QItemSelectionModel, QSize, Qt, QTimer
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QHeaderView, QInputDialog, QTableWidgetItem, QWidget

from ..errors import InputError, ThematicaError
from ..models.label_classes import LabelClass
from ..plugin.label_layer.draft import ClassDraft
from ..plugin.label_layer.keys import KEYS
from ..plugin.label_layer.label_layer import LabelLayer
from .forms import load_form
from .swatches import HEIGHT, WIDTH, swatch_icon

_KEY, _CODE, _NAME, _MACRO, _DRAWN = range(5)


class ClassTable(QWidget):
    """Classes of a label layer, or of a list that is being made up.

    Every change is one step of the label layer's undo stack.  A click makes a class the current one.

    Args:
        parent: the Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "class_table")
        self.source: LabelLayer | ClassDraft | None = None
        self._filling = False
        self._count_soon = QTimer(self)
        self._count_soon.setSingleShot(True)
        self._count_soon.setInterval(200)
        self._count_soon.timeout.connect(self._show_counts)
        self.table.setIconSize(QSize(WIDTH, HEIGHT))
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for column in (_NAME, _MACRO):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        for column in range(self.table.columnCount()):
            self.table.horizontalHeaderItem(column).setTextAlignment(_alignment(column))
        self.table.cellChanged.connect(self._cell_changed)
        self.table.itemSelectionChanged.connect(self._selection_changed)
        self.table.cellDoubleClicked.connect(self._double_clicked)
        self.table.cellClicked.connect(self._clicked)
        for button, slot in (
            (self.add_button, self._add),
            (self.color_button, self._recolor),
            (self.merge_button, self._merge),
            (self.remove_button, self._remove),
            (self.up_button, lambda: self._move(-1)),
            (self.down_button, lambda: self._move(1)),
        ):
            button.clicked.connect(slot)
        self._fill()

    def set_source(self, source: LabelLayer | ClassDraft | None) -> None:
        """Show and edit these classes from now on; None shows an empty table."""
        self._let_go()
        self.source = source
        if source is not None:
            source.classes_changed.connect(self._fill)
            source.destroyed.connect(self._gone)
        if isinstance(source, LabelLayer):
            source.current_changed.connect(self._mark_current)
            source.layer.editCommandEnded.connect(self._count_later)
            source.layer.undoStack().indexChanged.connect(self._count_later)
        self.notice.clear()
        self._fill()

    def selected_codes(self) -> list[int]:
        """Codes of the selected classes, from the top down."""
        rows = sorted({index.row() for index in self.table.selectedIndexes()})
        return [self._code_at(row) for row in rows]

    def select(self, codes: list[int]) -> None:
        """Select classes."""
        self.table.clearSelection()
        whole_row = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        for row in range(self.table.rowCount()):
            if self._code_at(row) in codes:
                self.table.selectionModel().select(self.table.model().index(row, 0), whole_row)

    # -- what is shown --------------------------------------------------------------------------

    def _fill(self) -> None:
        selected = self.selected_codes() if self.table.rowCount() else []
        classes = self.source.classes() if self.source is not None else []
        is_layer = isinstance(self.source, LabelLayer)
        self._filling = True
        self.table.setColumnHidden(_DRAWN, not is_layer)
        self.table.setRowCount(len(classes))
        for row, entry in enumerate(classes):
            self._fill_row(row, entry)
        self._filling = False
        self.select(selected)
        self.setEnabled(self.source is not None)
        self._selection_changed()
        if is_layer:
            self._show_counts()
            self._mark_current()

    def _fill_row(self, row: int, entry: LabelClass) -> None:
        texts = (KEYS[row] if row < len(KEYS) else "", str(entry.code), entry.name, entry.macro, "")
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setTextAlignment(_alignment(column))
            if column in (_KEY, _DRAWN):
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
            self.table.setItem(row, column, item)
        self.table.item(row, _KEY).setIcon(swatch_icon(entry.color))
        self.table.item(row, _KEY).setData(Qt.ItemDataRole.UserRole, entry.code)
        self.table.item(row, _NAME).setToolTip(entry.name)

    def _show_counts(self) -> None:
        if not isinstance(self.source, LabelLayer):
            return
        counts = self.source.feature_counts()
        self._filling = True
        for row in range(self.table.rowCount()):
            self.table.item(row, _DRAWN).setText(str(counts.get(self._code_at(row), 0)))
        self._filling = False

    def _count_later(self, *_: object) -> None:
        self._count_soon.start()

    def _mark_current(self, *_: object) -> None:
        if not isinstance(self.source, LabelLayer):
            return
        current = self.source.current_code()
        self._filling = True
        for row in range(self.table.rowCount()):
            for column in (_KEY, _NAME):
                font = self.table.item(row, column).font()
                font.setBold(self._code_at(row) == current)
                self.table.item(row, column).setFont(font)
        self._filling = False

    def _selection_changed(self) -> None:
        codes = self.selected_codes()
        count = self.table.rowCount()
        rows = [row for row in range(count) if self._code_at(row) in codes]
        self.color_button.setEnabled(len(codes) == 1)
        self.remove_button.setEnabled(len(codes) == 1)
        self.merge_button.setEnabled(len(codes) > 1)
        self.up_button.setEnabled(len(rows) == 1 and rows[0] > 0)
        self.down_button.setEnabled(len(rows) == 1 and rows[0] < count - 1)

    def _code_at(self, row: int) -> int:
        return int(self.table.item(row, _KEY).data(Qt.ItemDataRole.UserRole))

    # -- what the analyst does ------------------------------------------------------------------

    def _cell_changed(self, row: int, column: int) -> None:
        if self._filling or self.source is None:
            return
        source, code, text = self.source, self._code_at(row), self.table.item(row, column).text().strip()
        if column == _NAME:
            self._try(lambda: source.rename(code, text))
        elif column == _MACRO:
            self._try(lambda: source.set_macro(code, text))
        elif column == _CODE:
            self._try(lambda: source.recode(code, _whole(text)))

    def _clicked(self, row: int, _: int) -> None:
        if isinstance(self.source, LabelLayer):
            self.source.set_current(self._code_at(row))

    def _double_clicked(self, row: int, column: int) -> None:
        if column == _KEY:
            self.select([self._code_at(row)])
            self._recolor()

    def _add(self) -> None:
        added = self._try(lambda: self.source.add_class())
        if added is not None:
            self.select([added.code])
            # The name is what is wanted next.
            item = self.table.item(self.table.rowCount() - 1, _NAME)
            self.table.setCurrentItem(item)
            self.table.editItem(item)

    def _recolor(self) -> None:
        code = self.selected_codes()[0]
        entry = self.source.class_of(code)
        color = QgsColorDialog.getColor(QColor(entry.color), self, f"Colour of “{entry.name}”", False)
        if color.isValid():
            self._try(lambda: self.source.recolor(code, color.name()))

    def _merge(self) -> None:
        codes = self.selected_codes()
        into = self._ask("Merge classes", f"These {len(codes)} classes become:", codes)
        if into is not None:
            self._try(lambda: self.source.merge(codes, into))
            self.select([into])

    def _remove(self) -> None:
        code = self.selected_codes()[0]
        into = None
        if isinstance(self.source, LabelLayer):
            count = self.source.feature_counts()[code]
            others = [entry.code for entry in self.source.classes() if entry.code != code]
            if count and others:
                what = "one polygon or point, which becomes" if count == 1 else f"{count} features, which become"
                into = self._ask("Remove class", f"“{self.source.class_of(code).name}” has {what}:", others)
                if into is None:
                    return
        self._try(lambda: self.source.remove(code, into))

    def _move(self, step: int) -> None:
        code = self.selected_codes()[0]
        place = [entry.code for entry in self.source.classes()].index(code)
        self._try(lambda: self.source.move(code, place + step))

    def _ask(self, title: str, question: str, codes: list[int]) -> int | None:
        """Let the analyst choose one of some classes; None where nothing was chosen."""
        texts = {f"{code} – {self.source.class_of(code).name}": code for code in codes}
        text, is_chosen = QInputDialog.getItem(self, title, question, list(texts), 0, False)
        return texts[text] if is_chosen else None

    def _try(self, change: Callable[[], Any]) -> Any:
        """Make a change; what is refused is told, and the table shows again what is."""
        self.notice.clear()
        try:
            return change()
        except ThematicaError as error:
            self.notice.tell("error", error.message)
            # Not while the cell is still being left.
            QTimer.singleShot(0, self._fill)
            return None

    # -- coming and going -----------------------------------------------------------------------

    def _let_go(self) -> None:
        source, self.source = self.source, None
        if source is None:
            return
        source.classes_changed.disconnect(self._fill)
        source.destroyed.disconnect(self._gone)
        if isinstance(source, LabelLayer):
            source.current_changed.disconnect(self._mark_current)
            source.layer.editCommandEnded.disconnect(self._count_later)
            source.layer.undoStack().indexChanged.disconnect(self._count_later)

    def _gone(self) -> None:
        self.source = None
        self._fill()


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"A code is a whole number from 0 to 65535, not “{text}”.") from None


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column == _DRAWN else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
