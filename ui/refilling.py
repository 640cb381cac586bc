"""Filling a table anew without losing what is selected, and without jumping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qgis.PyQt.QtWidgets import QHeaderView, QTableWidget


@contextmanager
def keep_place(table: QTableWidget, role: int) -> Iterator[None]:
    """While the rows are made anew: keep the selected row, known by its first cell's data, and the scroll position."""
    row = table.currentRow()
    chosen = table.item(row, 0).data(role) if row >= 0 and table.item(row, 0) is not None else None
    selected = row >= 0 and bool(table.selectedItems())
    place = table.verticalScrollBar().value()
    table.setUpdatesEnabled(False)
    table.blockSignals(True)
    # Columns as wide as their contents are measured at every cell that changes; once is enough.
    header = table.horizontalHeader()
    modes = [header.sectionResizeMode(column) for column in range(table.columnCount())]
    header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    try:
        yield
        rows = [index for index in range(table.rowCount()) if table.item(index, 0).data(role) == chosen]
        if chosen is not None and selected and rows:
            table.setCurrentCell(rows[0], 0)
        else:
            table.setCurrentCell(-1, -1)
        table.verticalScrollBar().setValue(place)
    finally:
        for column, mode in enumerate(modes):
            header.setSectionResizeMode(column, mode)
        table.blockSignals(False)
        table.setUpdatesEnabled(True)
