"""A GeoPackage layer of patches: one polygon each, written as the stream goes, with its style inside.

The table of styles is QGIS's own convention (``layer_styles``): a layer that travels without its ``.qml`` keeps its
colours.
"""

from __future__ import annotations

import errno
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.errors
import pyogrio.raw
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from ..errors import InputError, OutputError
from ..models.card import ModelClass, slug
from .cog import WorkFolder
from .patch_grid import PatchGrid
from .patch_labels import PatchLabels

# SQLite's own limits: columns of a table (2000) less ours; names are kept short for other programs.
_MOST_CLASSES = 1900
_LONGEST_NAME = 63
# Features are collected before they are written: every call opens the file again.
_FEATURES_AT_ONCE = 20_000

#: Columns of every layer, before those of the classes.
COLUMNS = ("label", "code", "score", "valid", "row", "column")


def probability_columns(classes: Sequence[ModelClass]) -> list[str]:
    """The column of each class's probability: ``p_annual_crop``; unique, whatever the classes are called.

    Raises:
        InputError: more classes than a table has columns.
    """
    if len(classes) > _MOST_CLASSES:
        raise InputError(
            f"The network has {len(classes)} classes, more than a GeoPackage has columns: let the result be a raster "
            "(.tif)."
        )
    names: list[str] = []
    for entry in classes:
        plain = slug(entry.name, f"class_{entry.value}").replace("-", "_").lower()
        name = f"p_{plain}"[:_LONGEST_NAME].rstrip("_")
        number = 2
        while name in names:
            end = f"_{number}"
            name = f"p_{plain}"[: _LONGEST_NAME - len(end)].rstrip("_") + end
            number += 1
        names.append(name)
    return names


class PatchLayer:
    """The layer of a result: takes patches in order, ends as a GeoPackage.

    Args:
        work: folder for the file until it is complete.
        name: file name of the result; the layer is named like its stem.
        grid: where the patches lie.
        crs, transform: of the map.
        columns: names of the classes' columns.
    """

    def __init__(
        self, work: WorkFolder, name: str, grid: PatchGrid, crs: CRS | None, transform: Affine, columns: Sequence[str]
    ) -> None:
        self.finished = work.path / name
        self.layer = Path(name).stem
        self._name, self._grid, self._transform = name, grid, transform
        self._crs = crs.to_wkt() if crs is not None else None
        self._fields = [*COLUMNS, *columns]
        self._waiting: list[tuple[np.ndarray, list[np.ndarray]]] = []
        self._count = 0
        self._exists = False

    def write(self, rows: np.ndarray, columns: np.ndarray, shares: np.ndarray, labels: PatchLabels) -> None:
        """Add n patches.

        Args:
            rows: (n,) in the grid.
            columns: (n,) in the grid.
            shares: (n,) share of pixels with data.
            labels: of the patches.

        Raises:
            OutputError: the disk is full or gone.
        """
        outlines = self._grid.corners(rows, columns, self._transform)
        values = [
            labels.names, labels.codes, labels.scores, np.round(shares, 4), rows.astype(np.int32),
            columns.astype(np.int32), *np.ascontiguousarray(labels.probabilities.T),
        ]  # fmt: skip
        self._waiting.append((outlines, values))
        if sum(len(entry[0]) for entry in self._waiting) >= _FEATURES_AT_ONCE:
            self._flush()

    def finish(self, style: str) -> Path:
        """Complete the file, its style inside, and return its path.

        Raises:
            OutputError: the disk is full or gone.
        """
        self._flush()
        with writing_layer(self._name), closing(sqlite3.connect(self.finished)) as database:
            database.execute("PRAGMA synchronous = OFF")
            quoted = self.layer.replace('"', '""')
            (found,) = database.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()
            if found != self._count:
                raise OSError(errno.ENOSPC, f"{found} of {self._count} features were written")
            _add_style(database, self.layer, style)
            database.commit()
        return self.finished

    def _flush(self) -> None:
        if not self._waiting and self._exists:
            return
        if self._waiting:
            outlines = np.concatenate([entry[0] for entry in self._waiting])
            values = [np.concatenate(parts) for parts in zip(*(entry[1] for entry in self._waiting), strict=True)]
        else:
            outlines = np.zeros((0, 5, 2))
            kinds: list[type] = [object, np.int32, np.float64, np.float64, np.int32, np.int32]
            values = [np.zeros(0, kind) for kind in kinds]
            values += [np.zeros(0)] * (len(self._fields) - len(kinds))
        polygons = shapely.to_wkb(shapely.polygons(outlines)) if len(outlines) else np.zeros(0, object)
        with writing_layer(self._name), _without_waiting_for_the_disk(), warnings.catch_warnings():
            # A raster without a CRS gives a layer without one: that is no news to its owner.
            warnings.simplefilter("ignore")
            pyogrio.raw.write(
                str(self.finished), polygons, values, self._fields, layer=self.layer, driver="GPKG",
                geometry_type="Polygon", crs=self._crs, append=self._exists,
                # Newer ones make the GDAL of QGIS 3.22 warn that it may not understand all.
                dataset_options=None if self._exists else {"VERSION": "1.2"},
            )  # fmt: skip
        self._exists = True
        self._count += len(outlines)
        self._waiting.clear()


@contextmanager
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Let SQLite not wait until the disk has every change: the file has no name yet that anybody could rely on."""
    name = "OGR_SQLITE_SYNCHRONOUS"
    before = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: "OFF"})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})


@contextmanager
def writing_layer(name: str) -> Iterator[None]:
    """Turn every failure to write a GeoPackage into one sentence.

    Raises:
        OutputError: it could not be written.
    """
    try:
        yield
    except (
        pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError,
        pyogrio.errors.FieldError, pyogrio.errors.GeometryError, sqlite3.Error, OSError, RuntimeError,
    ) as error:  # fmt: skip
        raise OutputError(
            f"“{name}” could not be written: is the disk full or gone? Nothing was changed; make room or choose "
            "another place.",
            repr(error)[:2000],
        ) from error


def check_replaceable(path: Path) -> None:
    """Refuse a GeoPackage's name if another program has a log of changes beside it.

    QGIS keeps one beside a layer that it shows.  The log would later be taken for that of the new file, and ruin it.
    A log that was only left behind is merged into its own file, as the next program to open it would do.

    Raises:
        OutputError: the file is open elsewhere.
    """
    for log in (path.with_name(path.name + end) for end in ("-wal", "-journal")):
        if not log.exists():
            continue
        if not path.exists():
            raise OutputError(f"“{log}” was left of a file that is gone: delete it, or choose another name.")
        try:
            with closing(sqlite3.connect(path, timeout=1)) as database:
                # Looking at the file takes up what a crashed program left half done.
                database.execute("SELECT count(*) FROM sqlite_master").fetchone()
                database.execute("PRAGMA journal_mode = DELETE").fetchone()
        except sqlite3.Error as error:
            raise _held(path, str(error)) from error
        if log.exists():
            raise _held(path, f"{log} stays")


def _held(path: Path, details: str) -> OutputError:
    return OutputError(
        f"“{path}” is open in another program (QGIS keeps the layers that it shows open): remove the layer there, or "
        "choose another name.",
        details,
    )


def _add_style(database: sqlite3.Connection, layer: str, style: str) -> None:
    """Put the layer's default style where QGIS looks for it."""
    database.execute(
        "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), "
        "f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), "
        "styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), "
        "update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
    )
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) "
        "VALUES ('layer_styles', 'attributes', 'layer_styles', '', 0)"
    )
    database.execute(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
        "styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, 'geom', ?, ?, '', 1, ?, '')",
        (layer, layer[:30], style, "Thematica"),
    )
