"""The area table: what is shown, copied and saved."""

from __future__ import annotations

import csv
import io

import pytest
from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QLocale, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QFileDialog

from thematica.ui.area_report import area_rows, table_text
from thematica.ui.area_table import AreaTable

REPORT = {
    "classes": [
        {"value": 0, "name": "Grünland, „nass“", "color": "#00aa00", "pixels": 1, "hectares": 0.25, "percent": 25.0},
        {"value": 1, "name": "Water", "color": "#0000ff", "pixels": 1234567, "hectares": 12345.678, "percent": 75.0},
        {"value": 2, "name": "Snow", "color": "#ffffff", "pixels": 0, "hectares": None, "percent": 0.0},
    ],
    "unclassified": {"value": 254, "pixels": 0},
    "nodata": {"value": 255, "pixels": 9},
    "inputs": [{"path": "/somewhere/scene.tif"}],
    "model": {"name": "m", "title": "My model"},
    "files": {"output": "/somewhere/map.tif"},
    "warnings": ["Check the bands, or use --offset -0.1."],
}


@pytest.fixture
def table():
    QgsSettings().remove("thematica")
    dialog = AreaTable(REPORT)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    dialog.show()
    yield dialog
    dialog.deleteLater()


def test_largest_class_first_and_no_data_last():
    assert [row.name for row in area_rows(REPORT)] == ["Water", "Grünland, „nass“", "Snow", "no data"]


def test_unclassified_pixels_are_told():
    report = {**REPORT, "unclassified": {"value": 254, "pixels": 5}}
    assert "unclassified" in [row.name for row in area_rows(report)]


def test_the_table_reads_as_the_locale_writes(table):
    assert table.table.rowCount() == 5
    assert table.table.item(0, 0).text() == "Water"
    assert table.table.item(0, 1).text() == QLocale().toString(1234567)
    assert table.table.item(0, 2).text() == QLocale().toString(12345.678, "f", 2)
    assert not table.table.item(0, 0).icon().isNull()
    assert table.table.item(2, 2).text() == ""
    assert [table.table.item(4, column).text() for column in (0, 1)] == ["all classes", QLocale().toString(1234568)]
    assert "My model" in table.heading.text()


def test_warnings_stand_below_the_table_without_the_shells_options(table):
    assert table.notes.text() == "⚠ Check the bands, or use offset -0.1."


def test_copy_gives_what_a_spreadsheet_takes(table):
    QTest.mouseClick(table.copy_button, Qt.MouseButton.LeftButton)
    rows = list(csv.reader(io.StringIO(QApplication.clipboard().text()), delimiter="\t"))
    assert rows[0] == ["class", "pixels", "hectares", "percent"]
    assert rows[1] == ["Water", "1234567", "12345.6780", "75.000"]
    assert rows[2][0] == "Grünland, „nass“"


def test_csv_keeps_commas_quotes_and_umlauts(table, tmp_path, monkeypatch):
    path = tmp_path / "Flächen"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a: (str(path), ""))
    QTest.mouseClick(table.save_button, Qt.MouseButton.LeftButton)
    text = path.with_suffix(".csv").read_text(encoding="utf-8-sig")
    assert list(csv.reader(io.StringIO(text)))[2][0] == "Grünland, „nass“"


def test_rows_survive_the_round_trip_through_csv():
    rows = area_rows(REPORT)
    back = list(csv.DictReader(io.StringIO(table_text(rows, ","))))
    assert [(row["class"], int(row["pixels"])) for row in back] == [(row.name, row.count) for row in rows]


PATCHES = {
    **REPORT,
    "task": "patch-multilabel",
    "threshold": 0.3,
    "patches": {"side": 64, "stride": 64, "count": 10, "without_data": 2, "below_threshold": 1},
    "classes": [
        {"value": 0, "name": "Water", "color": "#0000ff", "patches": 5, "hectares": 204.8, "percent": 50.0},
        {"value": 1, "name": "Wood", "color": "#00aa00", "patches": 8, "hectares": 327.68, "percent": 80.0},
    ],
}


def test_patches_are_counted_and_labels_that_overlap_are_not_added_up():
    dialog = AreaTable(PATCHES)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    assert dialog.table.horizontalHeaderItem(1).text() == "Patches"
    names = [dialog.table.item(row, 0).text() for row in range(dialog.table.rowCount())]
    assert names == ["Wood", "Water", "below the threshold", "no data"]
    assert "(threshold 30 %): the areas overlap" in dialog.notes.text()
    assert table_text(dialog.rows, unit=dialog.unit).startswith("class\tpatches")
    one_label = AreaTable({**PATCHES, "task": "patch"})
    assert one_label.table.item(one_label.table.rowCount() - 1, 0).text() == "all classes"
    for table in (dialog, one_label):
        table.deleteLater()


def test_every_output_of_a_network_has_its_rows():
    moisture = [{"value": 0, "name": "dry", "color": "#aa0000", "pixels": 9, "hectares": 0.09, "percent": 100.0}]
    report = {
        **REPORT,
        "output_name": "cover",
        "further_outputs": [{"output_name": "moisture", "classes": moisture, "unclassified": {"pixels": 0}}],
    }
    dialog = AreaTable(report)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    names = [dialog.table.item(row, 0).text() for row in range(dialog.table.rowCount())]
    assert names == ["cover: Water", "cover: Grünland, „nass“", "cover: Snow", "moisture: dry", "no data"]
    assert table_text(dialog.rows).split("\n")[4] == "moisture\tdry\t9\t0.0900\t100.000"
    dialog.deleteLater()
