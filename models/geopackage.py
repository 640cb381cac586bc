"""Tables of ours in a GeoPackage, which is an SQLite database: opened for reading, or changed in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

#: How long another program that is writing is waited for; QGIS's window stands still meanwhile.
SECONDS_TO_WAIT = 1.0


def open_geopackage(path: str | Path, mode: str) -> sqlite3.Connection:
    """Open a GeoPackage that is there: ``ro`` for reading, ``rw`` for writing."""
    return sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode={mode}", uri=True, timeout=SECONDS_TO_WAIT)


@contextmanager
def changing(path: str | Path, table: str, create: str) -> Iterator[sqlite3.Connection]:
    """A transaction on a table without geometry, which is made and registered where it is not there yet.

    Args:
        path: of the GeoPackage.
        table: the table's name.
        create: the statement that makes it.

    Raises:
        sqlite3.Error: it cannot be written; nothing is changed then.
    """
    with closing(open_geopackage(path, "rw")) as database, database:
        # Python opens no transaction of its own for CREATE, which would stay if what follows failed.
        database.execute("BEGIN IMMEDIATE")
        database.execute(create)
        database.execute(
            "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier) VALUES (?, 'attributes', ?)",
            (table, table),
        )
        yield database
