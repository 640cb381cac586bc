"""The tab "Look-alikes": polygons whose pixels look like those of another class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.PyQt.QtCore import QPoint, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from .refilling import keep_place
from .swatches import HEIGHT, WIDTH, swatch_pixmap

_FEATURE = Qt.ItemDataRole.UserRole
_ABOUT = (
    "Share of the polygon's pixels that look like the other class and hardly like the other polygons of its own: the "
    "class may be wrong, or the polygon may cover something else, too. Likelihoods of normal distributions, Swain and "
    "Davis (1978)."
)


class LookalikeTable(QWidget):
    """One row per doubtful polygon; a click leads to it, a button gives it the class that it looks like."""

    #: A row was clicked: the feature's id.
    polygon_clicked = pyqtSignal(object)
    #: The feature's id and the class that it is to get.
    class_wanted = pyqtSignal(object, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[Mapping[str, Any]] = []
        self._names: dict[int, str] = {}
        self.summary = QLabel(self)
        self.summary.setWordWrap(True)
        self.table = QTableWidget(0, 4, self)
        self.table.setHorizontalHeaderLabels(["#", "Is", "Looks like", "Share"])
        self.table.horizontalHeaderItem(0).setToolTip("The feature's id in the label layer")
        self.table.horizontalHeaderItem(3).setToolTip(_ABOUT)
        self.table.setIconSize(QSize(WIDTH, HEIGHT))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(36)
        for column, mode in enumerate(("ResizeToContents", "Stretch", "Stretch", "ResizeToContents")):
            header.setSectionResizeMode(column, getattr(QHeaderView.ResizeMode, mode))
        self.change_button = QPushButton(self)
        self.change_button.setAutoDefault(False)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.change_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self.summary)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
        self.table.cellClicked.connect(lambda row, _: self.polygon_clicked.emit(self._rows[row]["feature"]))
        self.table.itemActivated.connect(lambda item: self.polygon_clicked.emit(self._rows[item.row()]["feature"]))
        self.table.itemSelectionChanged.connect(self._offer_change)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.change_button.clicked.connect(self._change)
        self.set_statistics({})

    def set_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Show other figures; the selected polygon and the place in the list stay."""
        classes = {entry["code"]: entry for entry in statistics.get("classes", ())}
        self._names = {code: str(entry["name"]) for code, entry in classes.items()}
        rows = [
            entry
            for entry in statistics.get("lookalikes", ())
            if entry["code"] in classes and entry["looks_like"] in classes
        ]
        self._rows = sorted(rows, key=lambda entry: (-entry["share"], -entry.get("pixels", 0)))
        with keep_place(self.table, _FEATURE):
            self.table.setRowCount(len(self._rows))
            for row, entry in enumerate(self._rows):
                self._fill_row(row, entry, classes)
        count = len(self._rows)
        if count:
            self.summary.setText(
                f"{count} polygon{' looks' if count == 1 else 's look'} like another class. Click a row to go there."
            )
        elif statistics.get("pairs"):
            self.summary.setText("No polygon looks like another class.")
        else:
            self.summary.setText("Needs two classes with polygons.")
        self.table.setVisible(bool(count))
        self._offer_change()

    def count(self) -> int:
        """How many polygons are doubtful."""
        return len(self._rows)

    def _fill_row(self, row: int, entry: Mapping[str, Any], classes: Mapping[int, Mapping[str, Any]]) -> None:
        feature, share = entry["feature"], f"{100 * entry['share']:.0f} %"
        own, other = classes[entry["code"]], classes[entry["looks_like"]]
        told = (
            f"{share} of {entry.get('pixels', 0)} pixels look like {other['name']}, not like {own['name']}.\n{_ABOUT}"
        )
        # A polygon that was not saved yet has no number of its own: QGIS counts those downwards.
        number = QTableWidgetItem(str(feature) if feature >= 0 else "new")
        number.setData(_FEATURE, feature)
        cells = [number]
        cells += [QTableWidgetItem(QIcon(swatch_pixmap(who["color"])), who["name"]) for who in (own, other)]
        cells.append(QTableWidgetItem(share))
        cells[3].setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for column, cell in enumerate(cells):
            cell.setToolTip(f"<p>{told}</p>")
            self.table.setItem(row, column, cell)

    def _chosen(self) -> Mapping[str, Any] | None:
        rows = {item.row() for item in self.table.selectedItems()}
        return self._rows[min(rows)] if rows and min(rows) < len(self._rows) else None

    def _offer_change(self) -> None:
        entry = self._chosen()
        self.change_button.setVisible(bool(self._rows))
        self.change_button.setEnabled(entry is not None)
        if entry is None:
            self.change_button.setText("Set class")
            self.change_button.setToolTip("Choose a polygon first")
        else:
            name = self._names[entry["looks_like"]]
            shown = self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, 150)
            self.change_button.setText(f"Set class “{shown}”".replace("&", "&&"))
            self.change_button.setToolTip(f"Give the polygon the class “{name}”; undo takes it back")

    def _change(self) -> None:
        entry = self._chosen()
        if entry is not None:
            self.class_wanted.emit(entry["feature"], entry["looks_like"])

    def _show_menu(self, position: QPoint) -> None:
        row = self.table.rowAt(position.y())
        if row < 0:
            return
        self.table.selectRow(row)
        entry = self._rows[row]
        menu = QMenu(self)
        go = menu.addAction("Go to the polygon")
        change = menu.addAction(f"Set class “{self._names[entry['looks_like']]}”".replace("&", "&&"))
        chosen = menu.exec(self.table.viewport().mapToGlobal(position))
        if chosen is go:
            self.polygon_clicked.emit(entry["feature"])
        elif chosen is change:
            self._change()
        menu.deleteLater()
