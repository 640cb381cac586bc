"""The tab "Separability": every pair of classes, the least separable first."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QLocale, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QBrush, QColor, QIcon
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from .refilling import keep_place
from .swatches import HEIGHT, WIDTH, swatch_pixmap

_SETTING = "thematica/labels/separability"
_PAIR = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class Measure:
    """One measure of separability, and how it is read.

    Args:
        key: in the statistics' ``pairs``.
        title: for the list of measures.
        poor: below it two classes are hard to tell apart.
        good: from it on they are well separable.
        about: range, limits and source, for the tooltip.
    """

    key: str
    title: str
    poor: float
    good: float
    about: str


MEASURES = (
    Measure(
        "jeffries_matusita",
        "Jeffries–Matusita",
        1.0,
        1.9,
        "Jeffries–Matusita distance, from 0 (the same) to 2 (fully separable), for classes taken as normal "
        "distributions. Usual limits: well separable from 1.9 on, hardly separable below 1.0. Unlike the divergence it "
        "saturates as the probability of confusion does. Swain and Davis (1978); Richards, Remote Sensing Digital "
        "Image Analysis (2013).",
    ),
    Measure(
        "bhattacharyya",
        "Bhattacharyya",
        math.log(2),
        math.log(20),
        "Bhattacharyya distance, from 0 (the same) without an upper end, for classes taken as normal distributions. It "
        "goes on growing where Jeffries–Matusita (2 (1 − exp(−B))) is saturated; its limits, 3.0 and 0.7, are those of "
        "Jeffries–Matusita at 1.9 and 1.0. Bhattacharyya (1943).",
    ),
    Measure(
        "transformed_divergence",
        "Transformed divergence",
        1.7,
        1.9,
        "Transformed divergence, from 0 (the same) to 2 (fully separable), for classes taken as normal distributions. "
        "Usual limits: well separable from 1.9 on, poorly below 1.7. Swain and Davis (1978); Jensen, Introductory "
        "Digital Image Processing.",
    ),
)

_HOW = "Click: both classes are selected on the map. Double click: their spectra."

# Verdict → (sign, ground, words).  The sign says it too, for those who do not see the colour; text and ground are set
# together, so that a dark theme cannot make them unreadable.
_LOOKS = {
    "good": ("✓", "#d5edd5", "well separable"),
    "middling": ("~", "#fdecc0", "partly mixed up"),
    "poor": ("✗", "#f6cfcb", "hardly separable"),
    "unknown": ("–", "", "too few pixels to say"),
}


def verdict(measure: Measure, value: float | None) -> str:
    """``good``, ``middling``, ``poor``, or ``unknown`` where there is no value."""
    if value is None or math.isnan(value):
        return "unknown"
    if value >= measure.good:
        return "good"
    return "middling" if value >= measure.poor else "poor"


class SeparabilityTable(QWidget):
    """A list of pairs under a choice of the measure; a click says which two classes to look at."""

    #: A row was clicked, or chosen with Enter: the codes of its classes.
    pair_clicked = pyqtSignal(int, int)
    #: It was clicked twice.
    pair_opened = pyqtSignal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._statistics: Mapping[str, Any] = {}
        self.measures = QComboBox(self)
        self.measures.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.measures.setMinimumContentsLength(12)
        for measure in MEASURES:
            self.measures.addItem(measure.title, measure.key)
            self.measures.setItemData(self.measures.count() - 1, measure.about, Qt.ItemDataRole.ToolTipRole)
        self.summary = QLabel(self)
        self.summary.setWordWrap(True)
        self.table = QTableWidget(0, 3, self)
        self.table.setHorizontalHeaderLabels(["Class", "and", "Distance"])
        self.table.setIconSize(QSize(WIDTH, HEIGHT))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(40)
        for column, mode in enumerate(("Stretch", "Stretch", "ResizeToContents")):
            header.setSectionResizeMode(column, getattr(QHeaderView.ResizeMode, mode))
        for column in (0, 1):
            self.table.horizontalHeaderItem(column).setTextAlignment(
                Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        for widget in (self.measures, self.summary, self.table):
            layout.addWidget(widget)
        self.measures.setCurrentIndex(max(self.measures.findData(QgsSettings().value(_SETTING, "")), 0))
        self.measures.currentIndexChanged.connect(self._choose)
        self.table.cellClicked.connect(self._clicked)
        self.table.cellDoubleClicked.connect(lambda row, _: self.pair_opened.emit(*self.table.item(row, 0).data(_PAIR)))
        self.table.itemActivated.connect(lambda item: self._clicked(item.row(), 0))
        self._fill()

    @property
    def measure(self) -> Measure:
        """The measure that is shown."""
        return MEASURES[self.measures.currentIndex()]

    def set_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Show other figures; the selected pair and the place in the list stay."""
        self._statistics = statistics
        self._fill()

    def pairs(self) -> list[tuple[int, int]]:
        """The pairs of codes, from top to bottom."""
        return [self.table.item(row, 0).data(_PAIR) for row in range(self.table.rowCount())]

    def _choose(self) -> None:
        QgsSettings().setValue(_SETTING, self.measure.key)
        self._fill()

    def _clicked(self, row: int, _: int) -> None:
        self.pair_clicked.emit(*self.table.item(row, 0).data(_PAIR))

    def _fill(self) -> None:
        measure = self.measure
        self.measures.setToolTip(measure.about)
        classes = {entry["code"]: entry for entry in self._statistics.get("classes", ())}
        rows = [
            (_finite(pair.get(measure.key)), classes[pair["a"]], classes[pair["b"]])
            for pair in self._statistics.get("pairs", ())
            if pair["a"] in classes and pair["b"] in classes
        ]
        # What is not known comes last.
        rows.sort(key=lambda row: (row[0] is None, row[0] or 0.0))
        with keep_place(self.table, _PAIR):
            self.table.setRowCount(len(rows))
            for index, (value, first, second) in enumerate(rows):
                self._fill_row(index, value, first, second)
        self._summarise([value for value, _, _ in rows])

    def _fill_row(self, row: int, value: float | None, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
        sign, ground, words = _LOOKS[verdict(self.measure, value)]
        number = "" if value is None else _number(self.measure, value)
        pair = f"{first['name']} and {second['name']}: {number + ', ' if number else ''}{words}."
        told = f"{pair}\n{_HOW}\n{self.measure.about}"
        for column, entry in enumerate((first, second)):
            item = QTableWidgetItem(QIcon(swatch_pixmap(entry["color"])), entry["name"])
            item.setToolTip(f"<p>{_html(told)}</p>")
            item.setData(_PAIR, (first["code"], second["code"]))
            self.table.setItem(row, column, item)
        item = QTableWidgetItem(f"{number} {sign}" if number else sign)
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        item.setToolTip(f"<p>{_html(told)}</p>")
        if ground:
            item.setBackground(QBrush(QColor(ground)))
            item.setForeground(QBrush(QColor("#202020")))
        self.table.setItem(row, 2, item)

    def _summarise(self, values: list[float | None]) -> None:
        verdicts = [verdict(self.measure, value) for value in values]
        poor, middling = verdicts.count("poor"), verdicts.count("middling")
        if not values:
            text = "Needs two classes with polygons."
        elif poor or middling:
            parts = [f"{count} {_LOOKS[kind][2]}" for kind, count in (("poor", poor), ("middling", middling)) if count]
            text = f"{_counted(len(values), 'pair')}: {', '.join(parts)}."
        elif "good" in verdicts:
            text = "All pairs are well separable." if "unknown" not in verdicts else "No pair is mixed up."
        else:
            text = "Too few pixels to say: draw more polygons."
        self.summary.setText(text)
        self.table.setVisible(bool(values))
        self.measures.setEnabled(bool(values))
        # Without a table the sentence stands at the top.
        self.summary.setAlignment(
            Qt.AlignmentFlag.AlignLeft | (Qt.AlignmentFlag.AlignVCenter if values else Qt.AlignmentFlag.AlignTop)
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not math.isnan(value) else None


def _html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _number(measure: Measure, value: float) -> str:
    """With two digits; 1.897 must not read as the limit of 1.90, so that it is cut off and not rounded."""
    rounded = round(value, 2)
    if math.isfinite(value) and verdict(measure, rounded) != verdict(measure, value):
        rounded = math.floor(100 * value) / 100
    return QLocale().toString(rounded, "f", 2)
