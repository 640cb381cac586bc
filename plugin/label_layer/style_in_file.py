"""The style of a layer kept in its GeoPackage, in QGIS's own table: it comes back in any project.

QGIS's own call asks a question when it finds a style, and none may be asked in the middle of saving edits.
"""

from __future__ import annotations

from contextlib import closing
from sqlite3 import Error as SqliteError

from qgis.core import QgsMapLayer, QgsReadWriteContext, QgsVectorLayer
from qgis.PyQt.QtXml import QDomDocument

from ...errors import OutputError
from ...models.geopackage import changing, open_geopackage
from ..compat import STYLE_PARTS
from .keeping import address_in_geopackage

#: Name of the style among those of the layer.
STYLE_NAME = "Thematica labels"
_TABLE = "layer_styles"
_CREATE = """
CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256),
    f_table_schema TEXT(256),
    f_table_name TEXT(256),
    f_geometry_column TEXT(256),
    styleName TEXT(30),
    styleQML TEXT,
    styleSLD TEXT,
    useAsDefault BOOLEAN,
    description TEXT,
    owner TEXT(30),
    ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)
"""


def has_style(layer: QgsVectorLayer) -> bool:
    """True where the layer's GeoPackage keeps a style of ours; one that was taken over as it is has none."""
    address = address_in_geopackage(layer)
    if address is None:
        return False
    path, table = address
    try:
        with closing(open_geopackage(path, "ro")) as database:
            query = "SELECT 1 FROM layer_styles WHERE f_table_name = ? AND styleName = ?"
            return database.execute(query, (table, STYLE_NAME)).fetchone() is not None
    except SqliteError:
        return False


def write_style(layer: QgsVectorLayer) -> None:
    """Keep the layer's look, form and defaults in its GeoPackage; layers elsewhere are left alone.

    Raises:
        OutputError: the file cannot be written.
    """
    address = address_in_geopackage(layer)
    if address is None:
        return
    path, table = address
    document = QDomDocument()
    layer.exportNamedStyle(document, QgsReadWriteContext(), _parts())
    of_layer = "f_table_name = ? AND styleName = ?"
    try:
        with changing(path, _TABLE, _CREATE) as database:
            found = database.execute("SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (table,))
            column = (found.fetchone() or [""])[0]
            # One style is the layer's default; the analyst's own ones stay.
            default = database.execute(
                "SELECT 1 FROM layer_styles WHERE f_table_name = ? AND useAsDefault AND styleName <> ?",
                (table, STYLE_NAME),
            ).fetchone()
            database.execute(f"DELETE FROM layer_styles WHERE {of_layer}", (table, STYLE_NAME))
            database.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
                " styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, ?, ?, '', ?, ?, '')",
                (table, column, STYLE_NAME, document.toString(), not default, "The classes of the label layer"),
            )
    except SqliteError as error:
        raise OutputError(
            f"The style could not be written into “{path}”: it may be read-only, full or in use; close other programs "
            "that have it open, or save the labels under another name.",
            repr(error),
        ) from error


def _parts() -> QgsMapLayer.StyleCategories:
    """What belongs to the file: not the layer's variables, which say what is drawn in this project just now."""
    parts = STYLE_PARTS[0]
    for part in STYLE_PARTS[1:]:
        parts = parts | part
    return parts
