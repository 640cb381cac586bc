"""The area table of a result as rows, as text for the clipboard and as CSV; no widget is needed here."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..plugin.results import area_table, counted


@dataclass(frozen=True)
class AreaRow:
    """One class of the map.

    Args:
        name: of the class, or of what stands for pixels without one.
        color: ``#rrggbb``, or empty.
        count: number of pixels or patches.
        hectares: on the ellipsoid, or None where the raster has no CRS.
        percent: of the pixels or patches that have a class, or None.
        output: the network's output that gives the class, or empty where there is only one.
    """

    name: str
    color: str
    count: int
    hectares: float | None
    percent: float | None
    output: str = ""


def area_rows(report: Mapping[str, Any]) -> list[AreaRow]:
    """The classes of a report, the largest first within each output, then what has no data."""
    unit = counted(report)
    rows = [
        AreaRow(
            entry["name"], entry["color"] or "", entry[unit], entry["hectares"], entry["percent"],
            entry.get("output", ""),
        )
        for entry in area_table(report)
    ]  # fmt: skip
    outputs = list(dict.fromkeys(row.output for row in rows))
    rows.sort(key=lambda row: (outputs.index(row.output), -row.count))
    without = report.get("nodata", {}).get("pixels", 0)
    if unit == "patches":
        without = report["patches"].get("without_data", 0)
    if without:
        rows.append(AreaRow("no data", "", without, None, None))
    return rows


def total_row(report: Mapping[str, Any], rows: list[AreaRow]) -> AreaRow | None:
    """All classes together; None where they overlap (several labels, several outputs) and a sum says nothing."""
    if report.get("task") == "patch-multilabel" or len({row.output for row in rows if row.percent is not None}) > 1:
        return None
    with_class = [row for row in rows if row.percent is not None]
    areas = [row.hectares for row in with_class if row.hectares is not None]
    count = sum(row.count for row in with_class)
    return AreaRow("all classes", "", count, sum(areas) if areas else None, 100.0 if count else None)


def table_text(rows: list[AreaRow], delimiter: str = "\t", unit: str = "pixels") -> str:
    """The table with a heading, one line per row; with tabs for a spreadsheet, with commas for a file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    several = any(row.output for row in rows)
    writer.writerow([*(["output"] if several else []), "class", unit, "hectares", "percent"])
    for row in rows:
        hectares = "" if row.hectares is None else f"{row.hectares:.4f}"
        percent = "" if row.percent is None else f"{row.percent:.3f}"
        writer.writerow([*([row.output] if several else []), row.name, row.count, hectares, percent])
    return buffer.getvalue()
