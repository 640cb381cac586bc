"""Names and colours of the values of a thematic raster: category names, attribute table, colour table.

Rasterio has no call for the first two; GDAL keeps them in the sidecar ``.aux.xml`` (see :mod:`.pam`), in a VRT itself,
or for ENVI in the header.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass

import rasterio

from .opening import READ_ERRORS

# GDALRATFieldUsage.
_NAME, _MIN, _VALUE, _RED, _GREEN, _BLUE = 2, 3, 5, 6, 7, 8
_CALLED = {"value": _VALUE, "code": _VALUE, "name": _NAME, "class": _NAME, "class_name": _NAME, "classname": _NAME}
# A sidecar of statistics and histograms has some kilobytes.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Entry:
    """What is known of one value.

    Args:
        name: empty where it has none.
        color: ``#rrggbb``, or empty.
    """

    name: str = ""
    color: str = ""


def read_legend(dataset: rasterio.DatasetReader, band: int = 1) -> dict[int, Entry]:
    """What a raster says of a band's values; empty where it says nothing."""
    colors = _color_table(dataset, band)
    names: dict[int, str] = {}
    for element in _band_elements(dataset, band):
        names.update(_categories(element))
        for value, entry in _attribute_table(element).items():
            if entry.name:
                names[value] = entry.name
            if entry.color:
                colors[value] = entry.color
    names = names or _envi_names(dataset)
    return {value: Entry(names.get(value, ""), colors.get(value, "")) for value in sorted({*names, *colors})}


def has_names(dataset: rasterio.DatasetReader, band: int) -> bool:
    """True where values of a band have names, so that it holds classes."""
    elements = _band_elements(dataset, band)
    return any(_categories(element) or any(e.name for e in _attribute_table(element).values()) for element in elements)


def _band_elements(dataset: rasterio.DatasetReader, band: int) -> list[ElementTree.Element]:
    """What describes the band in a VRT and in the sidecar, which counts more."""
    found = []
    for path, tag in ((dataset.name, "VRTRasterBand"), (f"{dataset.name}.aux.xml", "PAMRasterBand")):
        if tag == "VRTRasterBand" and dataset.driver != "VRT":
            continue
        try:
            if not os.path.isfile(path) or os.path.getsize(path) > _MOST_BYTES:
                continue
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError, ValueError):
            # A sidecar that cannot be read says nothing, as GDAL has it.
            continue
        found += [element for element in root.iter(tag) if element.get("band") == str(band)]
    return found


def _categories(band: ElementTree.Element) -> dict[int, str]:
    """The position in the list is the value."""
    names = [(entry.text or "").strip() for entry in band.findall("CategoryNames/Category")]
    return {value: name for value, name in enumerate(names) if name}


def _attribute_table(band: ElementTree.Element) -> dict[int, Entry]:
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return {}
    columns: dict[int, int] = {}
    for place, column in enumerate(table.findall("FieldDefn")):
        usage = _number(column.findtext("Usage"), 0)
        columns.setdefault(usage or _CALLED.get((column.findtext("Name") or "").strip().lower(), 0), place)
    value_column = columns.get(_VALUE, columns.get(_MIN))
    if value_column is None:
        return {}
    result: dict[int, Entry] = {}
    for row in table.findall("Row"):
        cells = [(cell.text or "").strip() for cell in row.findall("F")]
        value = _number(_cell(cells, value_column), None)
        if value is None:
            continue
        rgb = [_number(_cell(cells, columns.get(usage)), -1) for usage in (_RED, _GREEN, _BLUE)]
        result[value] = Entry(_cell(cells, columns.get(_NAME)), _hex(rgb))
    return result


def _cell(cells: Sequence[str], place: int | None) -> str:
    return cells[place] if place is not None and place < len(cells) else ""


def _number(text: str | None, otherwise: int | None) -> int | None:
    try:
        value = float(text or "")
        return int(value) if value == int(value) else otherwise
    except (ValueError, OverflowError):
        return otherwise


def _hex(rgb: Sequence[int | None]) -> str:
    if not all(part is not None and 0 <= part <= 255 for part in rgb):
        return ""
    return "#" + "".join(f"{part:02x}" for part in rgb)


def _color_table(dataset: rasterio.DatasetReader, band: int) -> dict[int, str]:
    try:
        table = dataset.colormap(band)
    except (ValueError, *READ_ERRORS):
        return {}
    # Entries that nobody set are black; and shades of grey show an image, no classes.
    if all(len(set(rgb[:3])) == 1 for rgb in table.values()):
        return {}
    return {value: _hex(rgb[:3]) for value, rgb in table.items() if any(rgb[:3])}


def _envi_names(dataset: rasterio.DatasetReader) -> dict[int, str]:
    text = dataset.tags(ns="ENVI").get("class_names", "").strip("{} \n")
    return {value: name.strip() for value, name in enumerate(text.split(",")) if name.strip()}
