"""Labels of any kind as pixels: the file decides whether they are shapes or a raster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyogrio
import pyogrio.errors
import rasterio
import rasterio.errors
from rasterio._err import CPLE_BaseError  # rasterio.errors has no name for it
from rasterio.crs import CRS

from ...models.label_classes import LabelClass
from ..grid import Grid
from ..vector_file import split_source
from .labels import LabelMap
from .points_table import is_points_table
from .raster_labels import RasterLabels
from .reading import read_labels
from .shape_map import ShapeMap

_VECTOR_ENDINGS = (".gpkg", ".shp", ".geojson", ".json", ".kml", ".gml", ".fgb", ".csv", ".tsv", ".txt", ".sqlite")


@contextmanager
def open_labels(
    source: str | Path,
    field: str,
    grid: Grid,
    *,
    layer_crs: CRS | None = None,
    classes: Sequence[LabelClass] | None = None,
    merge: Mapping[str, str] | None = None,
    image_field: str = "",
    image: str | Sequence[str] = "",
    where: str = "",
    ignore: Sequence[int] = (0,),
) -> Iterator[LabelMap]:
    """Open labels on the pixels of an image.

    Args:
        source: a vector file, a table of points, or a raster of codes.
        field: see :func:`.reading.read_labels`; a raster needs none.
        grid: the image's.
        layer_crs: replaces the labels' CRS.
        classes: replace the class list that the labels bring.
        merge: classes, by name or code, that become part of others.
        image_field: see :func:`.reading.read_labels`.
        image: see :func:`.reading.read_labels`.
        where: see :func:`.reading.read_labels`.
        ignore: codes of a raster that mean "no label".

    Raises:
        InputError: the labels cannot be used.
    """
    if is_label_raster(str(source)):
        with RasterLabels(source, grid, ignore=ignore, classes=classes, merge=merge, crs=layer_crs) as labels:
            yield labels
        return
    shapes = read_labels(
        source,
        field,
        grid,
        layer_crs=layer_crs,
        classes=classes,
        merge=merge,
        image_field=image_field,
        image=image,
        where=where,
    )
    yield ShapeMap(shapes, grid.height, grid.width)


def is_label_raster(source: str) -> bool:
    """True where a file is a raster and no vector file; a GeoPackage with both is taken for vectors."""
    path, options = split_source(source)
    if options or path.lower().endswith(_VECTOR_ENDINGS) or is_points_table(path):
        return path.lower().endswith(".gpkg") and not options and not _is_vector(path) and _is_raster(path)
    return _is_raster(path)


def _is_vector(path: str) -> bool:
    try:
        return len(pyogrio.list_layers(path)) > 0
    except pyogrio.errors.DataSourceError:
        return False


def _is_raster(path: str) -> bool:
    try:
        with rasterio.open(path) as dataset:
            return dataset.count > 0
    except (rasterio.errors.RasterioIOError, CPLE_BaseError, UnicodeDecodeError):
        return False
