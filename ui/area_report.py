"""The area table of a result as rows, as text for the clipboard and as CSV; no widget is needed here."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from ..errors import InputError


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
    """The classes of a report, the largest first, then pixels without a class."""
    rows = [
        AreaRow(entry["name"], entry["color"], entry["pixels"], entry.get("hectares"), entry.get("percent"))
        for entry in report["classes"]
    ]
    rows.sort(key=lambda row: -row.pixels)
    for key, name in (("unclassified", "unclassified"), ("nodata", "no data")):
        pixels = report.get(key, {}).get("pixels", 0)
        if pixels:
            rows.append(AreaRow(name, "", pixels, None, None))
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


def report_path(raster: str) -> Path | None:
    """The report beside a thematic raster, or None where there is none."""
    path = Path(raster)
    beside = path.with_name(f"{path.stem}.report.json")
    return beside if beside.is_file() else None


def read_report(path: Path) -> dict[str, Any]:
    """A result's report.

    Raises:
        InputError: the file is no report of a classification.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        area_rows(report)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"“{path}” is not a report that Thematica wrote; classify the layer again.", repr(error)
        ) from error
    return report
