"""The classes of a label layer: code, name, colour and macro-class; and how they are kept in a GeoPackage.

QGIS and the command line read the same table, so this is standard library only.  A GeoPackage is an SQLite database;
the table :data:`TABLE` is registered in it as a table without geometry, so that QGIS and GDAL list it, too.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError
from .card import distinct_colors
from .geopackage import changing, open_geopackage
from .usual_colors import usual_color

#: Name of the table in the GeoPackage.
TABLE = "thematica_classes"
#: Codes are stored in 16 bits in maps and training sets.
HIGHEST_CODE = 65535

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    layer TEXT NOT NULL,
    position INTEGER NOT NULL,
    code INTEGER NOT NULL,
    name TEXT NOT NULL,
    color TEXT NOT NULL,
    macro TEXT NOT NULL DEFAULT '',
    UNIQUE (layer, code)
)
"""


@dataclass(frozen=True)
class LabelClass:
    """One class that polygons and points can have.

    Args:
        code: what the label layer's field and the maps hold; 0 to 65535.
        name: what the analyst reads.
        color: ``#rrggbb``.
        macro: the coarser class that it belongs to, or empty.
    """

    code: int
    name: str
    color: str
    macro: str = ""


def check_classes(classes: Sequence[LabelClass]) -> None:
    """Refuse a class list that no map could show.

    Raises:
        InputError: a code, name or colour that cannot be, or one that comes twice.
    """
    codes: dict[int, str] = {}
    names: set[str] = set()
    for entry in classes:
        if isinstance(entry.code, bool) or not isinstance(entry.code, int) or not 0 <= entry.code <= HIGHEST_CODE:
            raise InputError(f"The code of the class “{entry.name}” must be a whole number from 0 to {HIGHEST_CODE}.")
        if not entry.name.strip():
            raise InputError(f"The class with the code {entry.code} has no name; give it one.")
        if not _COLOR.fullmatch(entry.color):
            raise InputError(f"“{entry.color}” is no colour for the class “{entry.name}”; write #rrggbb.")
        if entry.code in codes:
            raise InputError(
                f"The classes “{codes[entry.code]}” and “{entry.name}” have the same code, {entry.code}; change one."
            )
        if entry.name.strip().casefold() in names:
            raise InputError(f"Two classes are called “{entry.name}”; rename one, or merge them.")
        codes[entry.code] = entry.name
        names.add(entry.name.strip().casefold())


def next_code(classes: Iterable[LabelClass]) -> int:
    """The code after the highest; 1 for the first class, since many programs take 0 for "no data"."""
    return max((entry.code for entry in classes), default=0) + 1


def with_colors(entries: Sequence[tuple[int, str]]) -> list[LabelClass]:
    """Classes from codes and names, each with a colour of its own: the usual one where there is one."""
    made: list[LabelClass] = []
    for (code, name), color in zip(entries, distinct_colors(len(entries))):
        taken = {entry.color for entry in made}
        made.append(LabelClass(code, name, usual_color(name, taken) or color))
    return made


def to_json(classes: Sequence[LabelClass]) -> str:
    """The list as one line of JSON."""
    return json.dumps([asdict(entry) for entry in classes], ensure_ascii=False)


def from_json(text: str) -> list[LabelClass]:
    """What :func:`to_json` wrote.

    Raises:
        InputError: not that.
    """
    try:
        return [_from_values(entry) for entry in json.loads(text)]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError("The list of classes cannot be read; make the label layer anew.", repr(error)) from error


def _from_values(entry: Mapping[str, Any]) -> LabelClass:
    return LabelClass(int(entry["code"]), str(entry["name"]), str(entry["color"]), str(entry.get("macro") or ""))


def read_classes(path: str | Path, layer: str) -> list[LabelClass]:
    """The classes that a GeoPackage keeps for one of its layers; empty where it keeps none, or is none.

    Args:
        path: any file; it is only read.
        layer: name of the layer in it.
    """
    if not Path(path).is_file():
        return []
    query = f"SELECT code, name, color, macro FROM {TABLE} WHERE layer = ? ORDER BY position, id"
    try:
        with closing(open_geopackage(path, "ro")) as database:
            rows = database.execute(query, (layer,)).fetchall()
        return [LabelClass(int(code), str(name), str(color), str(macro or "")) for code, name, color, macro in rows]
    except (sqlite3.Error, ValueError, TypeError):
        # No GeoPackage, or none of ours.
        return []


def write_classes(path: str | Path, layer: str, classes: Sequence[LabelClass]) -> None:
    """Keep the classes of a layer in its GeoPackage, in place of those that were kept before.

    Raises:
        InputError: the list itself cannot be (see :func:`check_classes`).
        OutputError: the file cannot be written.
    """
    check_classes(classes)
    rows = [(layer, place, c.code, c.name, c.color, c.macro) for place, c in enumerate(classes)]
    try:
        with changing(path, TABLE, _CREATE) as database:
            database.execute(f"DELETE FROM {TABLE} WHERE layer = ?", (layer,))
            database.executemany(
                f"INSERT INTO {TABLE} (layer, position, code, name, color, macro) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
    except sqlite3.Error as error:
        raise OutputError(
            f"The classes could not be written into “{path}”: it may be read-only, full or in use; close other "
            "programs that have it open, or save the labels under another name.",
            repr(error),
        ) from error


def parse_merges(text: str) -> dict[str, str]:
    """Parse ``NAME=NAME,…``: each class on the left becomes part of the one on the right.

    A chain (``a=b,b=c``) is followed to its end.

    Raises:
        InputError: not of that form, a class merged twice, or a circle.
    """
    merges: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        left, sign, right = (piece.strip() for piece in part.partition("="))
        if not (left and sign and right):
            raise InputError(f"“{part}” is no merge of classes; write --merge NAME=NAME, such as Wheat=Cropland.")
        if merges.get(left, right) != right:
            raise InputError(f"The class “{left}” is merged into two others; choose one.")
        merges[left] = right
    ends = {}
    for left in merges:
        seen, end = {left}, merges[left]
        while end in merges and end not in seen:
            seen.add(end)
            end = merges[end]
        if end in seen:
            raise InputError(f"The merges with “{left}” go round in a circle; leave one of them out.")
        ends[left] = end
    return ends


def recolored(classes: Sequence[LabelClass], code: int, color: str) -> list[LabelClass]:
    """The list with another colour for one class."""
    return [replace(entry, color=color) if entry.code == code else entry for entry in classes]
