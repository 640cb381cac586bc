"""The part of a raster that is to be mapped: an extent or the polygons of a vector file, in any CRS.

Everything is brought to pixel coordinates once (column and row, counted from the raster's corner).  A pixel
belongs to the area if its centre does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import pyogrio.errors
import pyogrio.raw
import shapely
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import rasterize
from rasterio.windows import Window

from ..errors import InputError
from .raster_place import Polygons, RasterPlace, crs_name, polygons_of, valid_polygons
from .vector_file import declared_crs, split_source

# Vertices lie on a grid of this many pixels (a power of two).  GDAL then rasterises without rounding, so that a
# pixel is in or out whichever window it is seen in; and an edge that should lie on a pixel's edge does so.
_GRID = 1 / 256
# Polygons of more vertices are cut: GDAL looks at every vertex in every row of pixels.
_MOST_VERTICES = 500
_SMALLEST_PIECE = 64
# Side of the windows in which an area is searched for its first pixel.
_SEARCH_SIDE = 1024

_WITHOUT_POLYGONS = ("Point", "LineString", "MultiPoint", "MultiLineString")


class AreaOfInterest:
    """The pixels of a raster whose centres lie in some polygons.

    Args:
        polygons: (n,) in pixel coordinates; they may overlap.
        width: columns of the raster.
        height: rows of the raster.

    Attributes:
        window: the smallest window that holds all its pixels, in whole numbers; empty if there are none.
    """

    def __init__(self, polygons: Polygons, width: int, height: int) -> None:
        raster = shapely.box(0, 0, width, height)
        inside, _ = polygons_of(shapely.intersection(polygons, raster))
        pieces = [piece for polygon in inside for piece in _pieces(polygon, (0, 0, width, height))]
        self._pieces, _ = polygons_of(shapely.set_precision(np.array(pieces, object), _GRID))
        self._tree = shapely.STRtree(self._pieces)
        self.window = _window_of(self._pieces, width, height)

    def touches(self, row: int, col: int, height: int, width: int) -> bool:
        """False only if no pixel of the window lies in the area; quick enough to ask for every tile."""
        return self._touched(row, col, height, width).size > 0

    def mask(self, row: int, col: int, height: int, width: int) -> npt.NDArray[np.bool_] | None:
        """The pixels of a window that lie in the area.

        Args:
            row: the window's first row in the raster.
            col: the window's first column in the raster.
            height: rows of the window.
            width: columns of the window.

        Returns:
            (height, width), True inside; None where all of them are inside.
        """
        touched = self._touched(row, col, height, width)
        if touched.size == 0:
            return np.zeros((height, width), bool)
        if self._tree.query(_box_of(row, col, height, width), predicate="within").size:
            return None
        mask = rasterize(
            self._pieces[touched].tolist(),
            out_shape=(height, width),
            transform=Affine.translation(col, row),
            dtype="uint8",
        ).astype(bool)
        return None if mask.all() else mask

    def is_empty(self) -> bool:
        """True where not one pixel's centre lies in the area."""
        area = self.window
        for row in range(area.row_off, area.row_off + area.height, _SEARCH_SIDE):
            for col in range(area.col_off, area.col_off + area.width, _SEARCH_SIDE):
                height = min(_SEARCH_SIDE, area.row_off + area.height - row)
                width = min(_SEARCH_SIDE, area.col_off + area.width - col)
                mask = self.mask(row, col, height, width)
                if mask is None or mask.any():
                    return False
        return True

    def _touched(self, row: int, col: int, height: int, width: int) -> npt.NDArray[np.int64]:
        touched: npt.NDArray[np.int64] = self._tree.query(_box_of(row, col, height, width), predicate="intersects")
        return touched


def read_area(
    area: str | Path | Sequence[float],
    area_crs: CRS | None,
    raster_crs: CRS | None,
    raster_transform: Affine,
    raster_width: int,
    raster_height: int,
) -> AreaOfInterest:
    """Read an area and bring it to the pixels of a raster.

    Args:
        area: ``xmin, ymin, xmax, ymax`` as numbers or as text; or a vector file, whose polygons are united.
            A layer of it may be chosen as QGIS does: ``file.gpkg|layername=fields``.
        area_crs: CRS of the extent (None: that of the raster), or of a file in place of what the file says.
        raster_crs: CRS of the raster, or None.
        raster_transform: from column and row to the raster's CRS.
        raster_width: columns of the raster.
        raster_height: rows of the raster.

    Raises:
        InputError: the area cannot be read, or holds no pixel of the raster.
    """
    raster = RasterPlace(raster_crs, raster_transform, raster_width, raster_height)
    extent = _parse_extent(area)
    if extent is not None:
        polygons, crs, name = np.array([shapely.box(*extent)]), area_crs, "The area"
    else:
        source = str(area)
        polygons, crs = _read_polygons(source, area_crs, raster)
        name = f"The area “{source}”"
    try:
        in_pixels, _ = raster.to_pixels(polygons, crs, name)
        result = AreaOfInterest(in_pixels, raster_width, raster_height)
        is_empty = result.is_empty()
    except (shapely.errors.ShapelyError, ValueError, OverflowError) as error:
        raise _broken_outlines(name, error) from error
    if is_empty:
        if shapely.intersects(in_pixels, shapely.box(0, 0, raster_width, raster_height)).any():
            raise InputError(f"{name} is so small that it holds no pixel's centre: draw it larger.")
        raise _no_overlap(name, polygons, crs, raster)
    return result


def _pieces(polygon: Any, box: tuple[int, int, int, int]) -> list[Any]:
    """A polygon cut along edges of pixels until every piece is simple."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if shapely.get_num_coordinates(polygon) <= _MOST_VERTICES or max(width, height) <= _SMALLEST_PIECE:
        return [polygon]
    if width >= height:
        middle = left + width // 2
        halves = [(left, top, middle, bottom), (middle, top, right, bottom)]
    else:
        middle = top + height // 2
        halves = [(left, top, right, middle), (left, middle, right, bottom)]
    return [
        piece
        for half in halves
        for part in polygons_of(shapely.intersection(polygon, shapely.box(*half)))[0]
        for piece in _pieces(part, half)
    ]


def _box_of(row: int, col: int, height: int, width: int) -> Any:
    return shapely.box(col, row, col + width, row + height)


def _window_of(polygons: Polygons, width: int, height: int) -> Window:
    if len(polygons) == 0:
        return Window(0, 0, 0, 0)
    left, top, right, bottom = shapely.total_bounds(polygons)
    first_col, first_row = max(0, math.ceil(left - 0.5)), max(0, math.ceil(top - 0.5))
    last_col, last_row = min(width, math.floor(right + 0.5)), min(height, math.floor(bottom + 0.5))
    return Window(first_col, first_row, max(0, last_col - first_col), max(0, last_row - first_row))


def _parse_extent(area: str | Path | Sequence[float]) -> tuple[float, float, float, float] | None:
    """The four numbers of an extent, or None for the name of a file."""
    if isinstance(area, Path) or (isinstance(area, str) and os.path.exists(area)):
        return None
    parts: Sequence[Any] = area.split(",") if isinstance(area, str) else area
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError):
        numbers = []
    if isinstance(area, str) and len(numbers) != len(parts):
        return None
    if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers):
        raise InputError(
            "An extent is four numbers, xmin,ymin,xmax,ymax; an area can also be a vector file.", repr(area)
        )
    xmin, ymin, xmax, ymax = numbers
    if xmin >= xmax or ymin >= ymax:
        raise InputError(
            f"The extent {xmin:g},{ymin:g},{xmax:g},{ymax:g} is empty: write xmin,ymin,xmax,ymax, "
            "each minimum less than its maximum."
        )
    return xmin, ymin, xmax, ymax


def _read_polygons(source: str, area_crs: CRS | None, raster: RasterPlace) -> tuple[Polygons, CRS | None]:
    """The polygons of a vector file, and their CRS (None: that of a raster without one)."""
    path, options = split_source(source)
    is_local = not path.startswith("/vsi") and "://" not in path
    if is_local and not os.path.exists(path):
        raise InputError(f"There is no file “{path}” to take the area from; check the path.")
    name = f"The area “{source}”"
    try:
        layer = options.get("layername") or _polygon_layer(path)
        info = pyogrio.read_info(path, layer=layer, force_feature_count=True)
        if info["geometry_type"] is None:
            raise _no_polygons(name)
        crs = area_crs or declared_crs(info["crs"])
        if info["features"] == 0:
            raise InputError(f"{name} is empty: it holds no polygon.")
        if crs is None and raster.crs is not None:
            raise InputError(
                f"{name} has no CRS, so that its place is unknown: set its CRS in QGIS or with --area-crs."
            )
        geometries, found = _read_geometries(path, layer, options.get("subset"), crs, raster)
    except pyogrio.errors.FeatureError as error:
        # Which is a kind of DataLayerError, too.
        if "subset" not in options:
            raise _broken_outlines(name, error) from error
        raise InputError(
            f"{name} has a filter that cannot be used: it names no field of the layer, or is no SQL.", str(error)
        ) from error
    except pyogrio.errors.DataLayerError as error:
        layers = ", ".join(f"“{entry[0]}”" for entry in pyogrio.list_layers(path))
        raise InputError(f"{name} has no such layer; it holds {layers or 'none'}.", str(error)) from error
    except (pyogrio.errors.DataSourceError, pyogrio.errors.GeometryError) as error:
        if is_local and not os.access(path, os.R_OK):
            raise InputError(f"“{path}” may not be read; change its permissions.", str(error)) from error
        raise InputError(
            f"{name} is not a vector file that can be read: choose a GeoPackage, GeoJSON or Shapefile with polygons.",
            str(error),
        ) from error
    except (CRSError, shapely.errors.ShapelyError, ValueError) as error:
        raise _broken_outlines(name, error) from error
    try:
        polygons, _ = valid_polygons(geometries)
    except shapely.errors.ShapelyError as error:
        raise _broken_outlines(name, error) from error
    if len(polygons) == 0:
        if found:
            raise _no_polygons(name)
        raise InputError(f"{name} holds no polygon: its features have no geometry, or the filter leaves none.")
    return polygons, crs


def _read_geometries(
    path: str, layer: str | None, where: str | None, crs: CRS | None, raster: RasterPlace
) -> tuple[Polygons, bool]:
    """Geometries near the raster, or else all; and whether there were any that are not null."""
    boxes = raster.boxes_in(crs) if crs is not None and raster.crs is not None else []
    # A file of a whole country is not read for one image.  Only if nothing is there, all is looked at.
    for box in (boxes[0] if len(boxes) == 1 else None, None):
        _, _, stored, _ = pyogrio.raw.read(path, layer=layer, columns=[], where=where, bbox=box, force_2d=True)
        geometries = shapely.from_wkb(np.array([wkb for wkb in stored if wkb is not None], object))
        if len(geometries):
            break
    return geometries, len(geometries) > 0


def _polygon_layer(path: str) -> str | None:
    """The first layer that may hold polygons; None: the file's first."""
    for name, geometry_type in pyogrio.list_layers(path):
        if geometry_type is not None and str(geometry_type).split()[-1] not in _WITHOUT_POLYGONS:
            plain = str(geometry_type).split()[0]
            if plain not in _WITHOUT_POLYGONS:
                return str(name)
    return None


def _broken_outlines(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name} has outlines that cannot be used, such as coordinates that are no numbers: mend them (Fix geometries "
        "in QGIS) or draw it anew.",
        repr(error),
    )


def _no_polygons(name: str) -> InputError:
    return InputError(f"{name} holds no polygons, only points, lines or a table: choose a layer of polygons.")


def _no_overlap(name: str, polygons: Polygons, crs: CRS | None, raster: RasterPlace) -> InputError:
    def place(bounds: Sequence[float], of: CRS | None) -> str:
        return ", ".join(f"{number:.7g}" for number in bounds) + (f" in {crs_name(of)}" if of else "")

    area = place(shapely.total_bounds(polygons), crs or raster.crs)
    return InputError(
        f"{name} and the raster do not overlap: the area lies at {area}, the raster at "
        f"{place(raster.bounds, raster.crs)}; check the area and its CRS."
    )
