"""The sidecar is read back by GDAL itself: the one that QGIS uses, in its own Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from thematica.engine.pam import ClassRow, rows_of_map, write_pam, xml_text
from thematica.errors import OutputError

SYSTEM_PYTHON = "/usr/bin/python3"
CLASSES = [
    ClassRow(0, "Water", "#0000ff", 12, 0.5),
    ClassRow(3, 'Grünland, "nass" & <trocken>', "#12ab9f", 3_000_000_000, 1 / 3),
    ClassRow(7, "Größe's 'Wald'; 森林", "#ffffff", 0, 0.0),
]
READ_BACK = """
import json, sys
from osgeo import gdal
gdal.UseExceptions()
dataset = gdal.Open(sys.argv[1])  # kept: a band does not keep its dataset alive
band = dataset.GetRasterBand(1)
table = band.GetDefaultRAT()
columns = range(table.GetColumnCount())
read = {
    gdal.GFT_Integer: table.GetValueAsInt,
    gdal.GFT_Real: table.GetValueAsDouble,
    gdal.GFT_String: table.GetValueAsString,
}
print(json.dumps({
    "names": band.GetCategoryNames(),
    "thematic": table.GetTableType() == gdal.GRTT_THEMATIC,
    "columns": [table.GetNameOfCol(column) for column in columns],
    "usages": [table.GetUsageOfCol(column) for column in columns],
    "types": [table.GetTypeOfCol(column) for column in columns],
    "rows": [[read[table.GetTypeOfCol(c)](row, c) for c in columns] for row in range(table.GetRowCount())],
    "row_of_3": table.GetRowOfValue(3.0),
}))
"""


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GDAL", "PROJ"))}


def read_with_gdal(raster: Path) -> dict:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip("no system Python")
    command = [SYSTEM_PYTHON, "-c", READ_BACK, str(raster)]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)
    if "No module named 'osgeo'" in done.stderr:
        pytest.skip("the system's Python has no GDAL")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def raster(tmp_path):
    path = tmp_path / "Karte größe.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 3, "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(path, "w", **profile, transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)) as dataset:
        dataset.write(np.full((3, 4), 3, np.uint8), 1)
    return path


def test_gdal_reads_names_and_table(raster):
    assert write_pam(raster, CLASSES, 255, 254) == raster.with_name("Karte größe.tif.aux.xml")
    seen = read_with_gdal(raster)
    assert seen["names"] == ["Water", "", "", CLASSES[1].name, "", "", "", CLASSES[2].name]
    assert seen["thematic"]
    assert seen["columns"] == ["Value", "Count", "Name", "Red", "Green", "Blue", "Alpha", "Hectares"]
    # GFU_MinMax, PixelCount, Name, Red, Green, Blue, Alpha, Generic; three billion pixels need a real column.
    assert seen["usages"] == [5, 1, 2, 6, 7, 8, 9, 0]
    assert seen["types"] == [0, 1, 2, 0, 0, 0, 0, 1]
    assert seen["rows"] == [
        [0, 12.0, "Water", 0, 0, 255, 255, 0.5],
        [3, 3e9, CLASSES[1].name, 0x12, 0xAB, 0x9F, 255, 1 / 3],
        [7, 0.0, CLASSES[2].name, 255, 255, 255, 255, 0.0],
        [254, 0.0, "Unclassified", 200, 200, 200, 255, 0.0],
    ]
    assert seen["row_of_3"] == 1


def test_gdalinfo_lists_the_names(raster):
    if shutil.which("gdalinfo") is None:
        pytest.skip("no gdalinfo")
    write_pam(raster, CLASSES, 255, None)
    told = subprocess.run(
        ["gdalinfo", str(raster)], capture_output=True, text=True, env=clean_environment(), check=True
    )
    assert f"3: {CLASSES[1].name}" in told.stdout
    assert "<GDALRasterAttributeTable" in told.stdout


def test_without_areas_there_is_no_area_column(raster):
    write_pam(raster, [ClassRow(1, "a", "#000000", 5)], 255, None)
    seen = read_with_gdal(raster)
    assert seen["columns"][-1] == "Alpha"
    assert seen["types"][1] == 0
    assert seen["rows"] == [[1, 5, "a", 0, 0, 0, 255]]


def test_sixteen_bit_codes_do_not_fill_the_list_of_names(raster):
    write_pam(raster, [ClassRow(300, "a", "#000000"), ClassRow(65534, "x", "#010203", 9)], 65535, 65534)
    seen = read_with_gdal(raster)
    assert len(seen["names"]) == 301
    assert [row[:3] for row in seen["rows"]] == [[300, 0, "a"], [65534, 9, "x"]]


def test_nodata_is_no_class():
    rows = rows_of_map(
        [ClassRow(255, "hole", "#000000"), ClassRow(9, "b", "#000000"), ClassRow(2, "a", "#000000")], 255, None
    )
    assert [row.value for row in rows] == [2, 9]


@given(st.text())
def test_any_name_gives_well_formed_xml(name):
    import xml.etree.ElementTree as ElementTree

    element = ElementTree.Element("F")
    element.text = xml_text(name)
    assert ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode")).text in (element.text, None)


def test_a_folder_that_is_missing_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_pam(tmp_path / "missing" / "map.tif", CLASSES, 255, None)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_sidecar(raster, monkeypatch):
    sidecar = write_pam(raster, CLASSES, 255, None)
    before = sidecar.read_bytes()

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_pam(raster, CLASSES[:1], 255, None)
    assert sidecar.read_bytes() == before
    assert {path.name for path in raster.parent.iterdir()} == {raster.name, sidecar.name}
