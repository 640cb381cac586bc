"""Points as a table of text: CSV with longitude and latitude, or x and y."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError

_GEOGRAPHIC = (
    ("longitude", "latitude"), ("lon", "lat"), ("long", "lat"), ("lng", "lat"), ("decimallongitude", "decimallatitude"),
)  # fmt: skip
_PLANAR = (
    ("x", "y"), ("easting", "northing"), ("east", "north"), ("xcoord", "ycoord"), ("x_coord", "y_coord"),
    ("point_x", "point_y"), ("coords.x1", "coords.x2"),
)  # fmt: skip
_WITH_GEOMETRY = {"wkt", "wktgeom", "geometry", "thegeom", "geom"}
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:[.,]\d*)?")
_ENDINGS = (".csv", ".tsv", ".txt")


@dataclass
class PointsTable:
    """A table of points.

    Args:
        points: (n, 2) as they stand in the table; NaN where a row has none.
        columns: (n,) values of each column: numbers where all of its cells are, else text.
        coordinates: names of the two columns of coordinates.
        is_geographic: True for longitude and latitude.
        notes: what was met, as (code, sentence).
    """

    points: npt.NDArray[np.float64]
    columns: dict[str, npt.NDArray[Any]]
    coordinates: tuple[str, str]
    is_geographic: bool
    notes: list[tuple[str, str]] = field(default_factory=list)


def is_points_table(path: str) -> bool:
    """True for a table of text with columns of coordinates; one with geometries as text is left to GDAL."""
    if not path.lower().endswith(_ENDINGS) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        head = file.readline(1 << 16)
    names = {re.sub(r"\W", "", name).lower() for name in re.split(r"[,;\t|]", head.decode("utf-8-sig", "replace"))}
    return not names & _WITH_GEOMETRY or any({x, y} <= names for x, y in _GEOGRAPHIC)


def read_points_table(path: str) -> PointsTable:
    """Read a table of points.

    Raises:
        InputError: it cannot be read, or has no columns of coordinates.
    """
    text = _text_of(path)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"“{path}” is no table of points that can be read: save it as CSV.", repr(error)) from error
    names = [name.strip() for name in rows[0]] if rows else []
    rows = [row for row in rows[1:] if any(cell.strip() for cell in row)]
    if len(set(names)) < len(names):
        raise InputError(f"“{path}” has several columns of one name; rename them.")
    x, y = _coordinates(names, path)
    if not rows:
        raise InputError(f"“{path}” is empty: it holds no point.")
    notes = []
    short = sum(len(row) != len(names) for row in rows)
    if short:
        notes.append(("rows", f"{short} rows of “{path}” have too few or too many cells; what is missing is empty."))
    table = np.array([(row + [""] * len(names))[: len(names)] for row in rows], object)
    columns = {name: table[:, place] for place, name in enumerate(names) if name}
    points = np.column_stack([_numbers(columns[x]), _numbers(columns[y])])
    is_geographic = (x.casefold(), y.casefold()) in _GEOGRAPHIC
    return PointsTable(points, {name: _typed(column) for name, column in columns.items()}, (x, y), is_geographic, notes)


def _text_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"“{path}” may not be read; change its permissions.", repr(error)) from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace").replace("\r\n", "\n")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What spreadsheets write in western Europe; each byte is a letter in it.
        text = content.decode("cp1252", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _coordinates(names: list[str], path: str) -> tuple[str, str]:
    lowered = {name.casefold(): name for name in names}
    for x, y in (*_GEOGRAPHIC, *_PLANAR):
        if x in lowered and y in lowered:
            return lowered[x], lowered[y]
    listed = ", ".join(names[:20]) or "none"
    raise InputError(
        f"“{path}” has no columns longitude and latitude, or x and y; its columns are {listed}. Rename them."
    )


def _typed(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Cells as numbers, empty ones NaN, where all are numbers; a 007 is a name."""
    texts = [cell.strip() for cell in cells]
    if all(not text or (_NUMBER.fullmatch(text) and not re.match(r"0\d", text)) for text in texts) and any(texts):
        return np.array([_number(text) for text in texts])
    return cells


def _numbers(cells: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    try:
        return cells.astype(np.float64)
    except ValueError:
        return np.array([_number(cell) for cell in cells])


def _number(cell: str) -> float:
    text = cell.strip()
    # A comma is a decimal comma where it stands alone.
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return float("nan")
