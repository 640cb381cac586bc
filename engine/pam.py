"""Class names and the attribute table of a thematic raster, as GDAL's own sidecar ``.aux.xml`` (PAM).

GDAL, and with it QGIS, ArcGIS and R's terra, reads both from there; rasterio has no call that writes them.
Elements and codes: https://gdal.org/user/raster_data_model.html (GDALRATFieldUsage, GDALRATFieldType) and
https://gdal.org/drivers/raster/pam.html
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError

UNCLASSIFIED_NAME = "Unclassified"
UNCLASSIFIED_COLOR = "#c8c8c8"

# GDALRATFieldType and GDALRATFieldUsage.
_INTEGER, _REAL, _STRING = 0, 1, 2
_GENERIC, _PIXEL_COUNT, _NAME, _VALUE, _RED, _GREEN, _BLUE, _ALPHA = 0, 1, 2, 5, 6, 7, 8, 9
# An integer of GDAL's table has 32 bits; a map of 50 000 × 50 000 pixels has more than that.
_LARGEST_INTEGER = 2**31 - 1


@dataclass(frozen=True)
class ClassRow:
    """What is known of one class in a finished thematic raster.

    Args:
        value: code in the raster.
        name: what the analyst reads (any Unicode text).
        color: ``#rrggbb``.
        pixels: how many pixels have the code.
        hectares: their area on the ground, or None where the raster is not georeferenced.
    """

    value: int
    name: str
    color: str
    pixels: int = 0
    hectares: float | None = None

    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue from 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


def rows_of_map(classes: Sequence[ClassRow], nodata: int, unclassified: int | None) -> list[ClassRow]:
    """The rows that legend and table show: classes by value, then "Unclassified"; never nodata.

    Args:
        classes: the classes, and where their number is known the pixels that stayed unclassified.
        nodata: code of pixels without data.
        unclassified: code of pixels under the model's threshold, or None where the model has none.
    """
    rows = {row.value: row for row in classes if row.value != nodata}
    if unclassified is not None:
        rows.setdefault(unclassified, ClassRow(unclassified, UNCLASSIFIED_NAME, UNCLASSIFIED_COLOR))
    return [rows[value] for value in sorted(rows)]


def write_pam(raster: Path, classes: Sequence[ClassRow], nodata: int, unclassified: int | None) -> Path:
    """Write ``<raster>.aux.xml`` with class names and a raster attribute table for band 1.

    Args:
        raster: the thematic raster, complete or still to come; it is not touched.
        classes: the classes of the map; see :func:`rows_of_map`.
        nodata: code of pixels without data.
        unclassified: code of pixels under the model's threshold, or None where the model has none.

    Returns:
        The path of the sidecar.

    Raises:
        OutputError: the sidecar cannot be written.
    """
    rows = rows_of_map(classes, nodata, unclassified)
    dataset = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(dataset, "PAMRasterBand", band="1")
    _add_category_names(band, [row for row in rows if row.value != unclassified])
    _add_attribute_table(band, rows)
    ElementTree.indent(dataset)
    return write_beside(
        raster.with_name(f"{raster.name}.aux.xml"), ElementTree.tostring(dataset, encoding="unicode") + "\n"
    )


def _add_category_names(band: ElementTree.Element, classes: Sequence[ClassRow]) -> None:
    # The position in the list is the value, so values that no class has get empty names.  The list ends
    # with the last class: the reserved codes would make it 65 535 names long in a 16-bit map.
    names = {row.value: row.name for row in classes}
    parent = ElementTree.SubElement(band, "CategoryNames")
    for value in range(max(names, default=-1) + 1):
        ElementTree.SubElement(parent, "Category").text = xml_text(names.get(value, ""))


def _add_attribute_table(band: ElementTree.Element, rows: Sequence[ClassRow]) -> None:
    count_type = _INTEGER if all(row.pixels <= _LARGEST_INTEGER for row in rows) else _REAL
    columns = [
        ("Value", _INTEGER, _VALUE),
        ("Count", count_type, _PIXEL_COUNT),
        ("Name", _STRING, _NAME),
        ("Red", _INTEGER, _RED),
        ("Green", _INTEGER, _GREEN),
        ("Blue", _INTEGER, _BLUE),
        ("Alpha", _INTEGER, _ALPHA),
    ]
    # GDAL's table knows no missing number: without areas there is no such column.
    has_areas = any(row.hectares is not None for row in rows)
    if has_areas:
        columns.append(("Hectares", _REAL, _GENERIC))
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, field_type, usage) in enumerate(columns):
        definition = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        ElementTree.SubElement(definition, "Name").text = name
        ElementTree.SubElement(definition, "Type").text = str(field_type)
        ElementTree.SubElement(definition, "Usage").text = str(usage)
    for index, row in enumerate(rows):
        element = ElementTree.SubElement(table, "Row", index=str(index))
        cells: list[object] = [row.value, row.pixels, xml_text(row.name), *row.rgb(), 255]
        if has_areas:
            cells.append(repr(float(row.hectares or 0.0)))
        for cell in cells:
            ElementTree.SubElement(element, "F").text = str(cell)


def xml_text(text: str) -> str:
    """``text`` with the characters that XML 1.0 forbids (most control characters) as spaces."""
    return "".join(
        letter if letter >= " " and not "\ud800" <= letter <= "\udfff" and letter not in "\ufffe\uffff" else " "
        for letter in text
    )


def write_beside(path: Path, text: str) -> Path:
    """Write a small text file so that it appears under its name only when it is complete.

    Raises:
        OutputError: it cannot be written; an existing file is then as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"“{path}” cannot be written ({error.strerror or error}); check the folder's rights and free space.",
            repr(error),
        ) from error
    return path
