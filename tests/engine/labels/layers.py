"""Layers of labels, grids and images in files: the parts that the tests of labels are built from."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.transform import from_origin

from thematica.engine.grid import Grid
from thematica.engine.labels.labels import Labels
from thematica.models.label_classes import with_colors

UTM = CRS.from_epsg(32632)
DEGREES = CRS.from_epsg(4326)
# 60 × 40 pixels of 10 m.
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
GRID = Grid(UTM, NORTH_UP, 60, 40)


def square(col: float, row: float, width: float = 4, height: float | None = None):
    """A rectangle given in pixels of GRID, in its CRS."""
    bottom = row + (width if height is None else height)
    return shapely.box(500_000 + 10 * col, 5_000_000 - 10 * bottom, 500_000 + 10 * (col + width), 5_000_000 - 10 * row)


def point(col: float, row: float):
    """A point given in pixels of GRID, in its CRS."""
    return shapely.Point(500_000 + 10 * col, 5_000_000 - 10 * row)


def write_layer(
    path: Path,
    geometries: Sequence,
    geometry_type: str = "Polygon",
    crs: str | None = "EPSG:32632",
    layer=None,
    **fields,
) -> Path:
    """A vector file; a field's values may be anything that an array holds, None for NULL in text."""
    stored = np.array([None if geometry is None else shapely.to_wkb(geometry) for geometry in geometries], object)
    columns, masks = [], []
    for values in fields.values():
        missing = np.array([value is None for value in values])
        if any(isinstance(value, str) for value in values):
            columns.append(np.array(values, object))
            masks.append(None)
        else:
            columns.append(np.array([0 if value is None else value for value in values]))
            masks.append(missing if missing.any() else None)
    pyogrio.raw.write(
        path, stored, columns, list(fields), field_mask=masks, geometry_type=geometry_type, crs=crs, layer=layer
    )
    return path


def of_undefined_crs(path: Path, srs_id: int) -> Path:
    """A GeoPackage in which a layer's CRS is one that nobody knows: 0 or -1."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE gpkg_geometry_columns SET srs_id = ?", (srs_id,))
        database.execute("UPDATE gpkg_contents SET srs_id = ? WHERE data_type = 'features'", (srs_id,))
    return path


def codes_raster(path: Path, codes: np.ndarray, crs="EPSG:32632", resolution=10.0, origin=(500_000, 5_000_000), **more):
    """A label raster of (H, W) codes."""
    more.setdefault("transform", from_origin(*origin, resolution, resolution))
    height, width = codes.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype=codes.dtype, crs=crs, **more
    ) as dataset:
        dataset.write(codes, 1)
    return path


def labels_of(shapes: Sequence, places: Sequence[int], spans=None) -> Labels:
    """Shapes that are in pixels already."""
    legend = with_colors([(n + 1, f"class {n + 1}") for n in range(max([*places, 0]) + 1)])
    return Labels(
        np.array(shapes, object), np.array(places, np.int16), np.arange(1, len(shapes) + 1), legend, spans=spans
    )


def codes_of(labels) -> set[str]:
    return {finding.code for finding in labels.findings}


def finding(labels, code: str):
    """The one finding with this code."""
    (found,) = [entry for entry in labels.findings if entry.code == code]
    return found
