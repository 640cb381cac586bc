"""What a GeoPackage keeps about a label layer besides its classes: the field, and what the labels are for.

The table :data:`TABLE` holds names and values, one row each, beside the classes of :mod:`.label_classes`; it is
standard library only for the same reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from ..errors import OutputError
from .geopackage import changing, open_geopackage

#: Name of the table in the GeoPackage.
TABLE = "thematica_label_layers"
#: Settings: the field that holds the class's code, and one of :data:`ROLES`.
FIELD = "field"
ROLE = "role"
#: What labels are for.
ROLES = ("training", "validation", "test")

_CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    layer TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (layer, name)
)
"""


def read_label_settings(path: str | Path, layer: str) -> dict[str, str]:
    """What a GeoPackage says about one of its layers; empty where it says nothing, or is none.

    Args:
        path: any file; it is only read.
        layer: name of the layer in it.
    """
    if not Path(path).is_file():
        return {}
    try:
        with closing(open_geopackage(path, "ro")) as database:
            return dict(database.execute(f"SELECT name, value FROM {TABLE} WHERE layer = ?", (layer,)).fetchall())
    except (sqlite3.Error, ValueError, TypeError):
        # No GeoPackage, or none of ours.
        return {}


def write_label_settings(path: str | Path, layer: str, settings: Mapping[str, str]) -> None:
    """Keep settings of a layer in its GeoPackage; those that are not named stay as they are.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        with changing(path, TABLE, _CREATE) as database:
            database.executemany(
                f"INSERT OR REPLACE INTO {TABLE} (layer, name, value) VALUES (?, ?, ?)",
                [(layer, name, value) for name, value in settings.items()],
            )
    except sqlite3.Error as error:
        raise OutputError(
            f"What the labels are for could not be written into “{path}”: it may be read-only, full or in use; close "
            "other programs that have it open, or save the labels under another name.",
            repr(error),
        ) from error
