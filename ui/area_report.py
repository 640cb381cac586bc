"""The area table of a result as rows, as text for the clipboard and as CSV; no widget is needed here."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..plugin.results import area_table


@dataclass(frozen=True)
class AreaRow:
    """One class of the map.

    Args:
        name: of the class, or of what stands for pixels without one.
        color: ``#rrggbb``, or empty.
        pixels: number of pixels.
        hectares: on the ellipsoid, or None where the raster has no CRS.
        percent: of the pixels that have a class, or None.
    """

    name: str
    color: str
    pixels: int
    hectares: float | None
    percent: float | None


def area_rows(report: Mapping[str, Any]) -> list[AreaRow]:
    """The classes of a report, the largest first, then pixels without data."""
    rows = [
        AreaRow(entry["name"], entry["color"] or "", entry["pixels"], entry["hectares"], entry["percent"])
        for entry in area_table(dict(report))
    ]
    rows.sort(key=lambda row: -row.pixels)
    without = report.get("nodata", {}).get("pixels", 0)
    if without:
        rows.append(AreaRow("no data", "", without, None, None))
    return rows


def table_text(rows: list[AreaRow], delimiter: str = "\t") -> str:
    """The table with a heading, one line per row; with tabs for a spreadsheet, with commas for a file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["class", "pixels", "hectares", "percent"])
    for row in rows:
        hectares = "" if row.hectares is None else f"{row.hectares:.4f}"
        percent = "" if row.percent is None else f"{row.percent:.3f}"
        writer.writerow([row.name, row.pixels, hectares, percent])
    return buffer.getvalue()
