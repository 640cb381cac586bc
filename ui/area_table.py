"""The area table: how many pixels and hectares each class of a map has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QLocale, QSize, Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import (
    QApplication,
    QDialog,
    QFileDialog,
    QHeaderView,
    QMessageBox,
    QTableWidgetItem,
    QWidget,
)

from ..plugin.results import counted
from .area_report import AreaRow, area_rows, table_text, total_row
from .forms import load_form
from .swatches import HEIGHT, WIDTH, swatch_pixmap
from .wording import for_dialog

_SETTINGS = "thematica/area_table/folder"


class AreaTable(QDialog):
    """Area per class, to read, copy and save.

    Args:
        report: a result's report.
        parent: the Qt parent.
    """

    def __init__(self, report: Mapping[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "area_table")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.rows, self.unit = area_rows(report), counted(report)
        self.total = total_row(report, self.rows)
        self.output = str(report.get("files", {}).get("output", ""))
        model = report.get("model", {})
        sources = ", ".join(Path(entry["path"]).name for entry in report.get("inputs", ()))
        self.heading.setText(f"{sources}, classified by “{model.get('title') or model.get('name', '')}”")
        self._fill()
        warnings = list(report.get("warnings", ()))
        if report.get("task") == "patch-multilabel":
            at = f" (threshold {100 * report['threshold']:g} %)" if report.get("threshold") is not None else ""
            warnings.insert(0, f"A patch may have several labels{at}: the areas overlap.")
        self.notes.setText("\n".join(f"⚠ {for_dialog(warning)}" for warning in warnings))
        self.notes.setVisible(bool(warnings))
        self.copy_button.clicked.connect(self._copy)
        self.save_button.clicked.connect(self._save)
        self.close_button.clicked.connect(self.close)
        self.copy_button.setFocus()

    def _fill(self) -> None:
        locale = QLocale()
        self.table.setIconSize(QSize(WIDTH, HEIGHT))
        self.table.horizontalHeaderItem(1).setText(self.unit.capitalize())
        self.table.setRowCount(len(self.rows) + (self.total is not None))
        for index, row in enumerate(self.rows):
            self._fill_row(index, row, locale)
        if self.total is not None:
            self._fill_row(len(self.rows), self.total, locale)
            for column in range(4):
                font = self.table.item(len(self.rows), column).font()
                font.setBold(True)
                self.table.item(len(self.rows), column).setFont(font)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2, 3):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
            self.table.horizontalHeaderItem(column).setTextAlignment(
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            )
        self.table.horizontalHeaderItem(0).setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def _fill_row(self, index: int, row: AreaRow, locale: QLocale) -> None:
        name = QTableWidgetItem(f"{row.output}: {row.name}" if row.output else row.name)
        if row.color:
            name.setIcon(QIcon(swatch_pixmap(row.color)))
        self.table.setItem(index, 0, name)
        texts = (
            locale.toString(row.count),
            "" if row.hectares is None else locale.toString(row.hectares, "f", 2),
            "" if row.percent is None else locale.toString(row.percent, "f", 1),
        )
        for column, text in enumerate(texts, start=1):
            item = QTableWidgetItem(text)
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.setItem(index, column, item)

    def _copy(self) -> None:
        QApplication.clipboard().setText(table_text(self.rows, unit=self.unit))

    def _save(self) -> None:
        settings = QgsSettings()
        folder = settings.value(_SETTINGS, str(Path(self.output).parent if self.output else Path.home()))
        proposal = str(Path(folder) / f"{Path(self.output).stem or 'map'}_areas.csv")
        path, _ = QFileDialog.getSaveFileName(self, "Save the area table", proposal, "Comma-separated values (*.csv)")
        if not path:
            return
        if not Path(path).suffix:
            path += ".csv"
        settings.setValue(_SETTINGS, str(Path(path).parent))
        try:
            # The byte order mark tells Excel that class names are UTF-8.
            Path(path).write_text(table_text(self.rows, ",", self.unit), encoding="utf-8-sig")
        except OSError as error:
            QMessageBox.warning(
                self, "Area table", f"The table could not be saved: {error.strerror}. Choose another folder."
            )
