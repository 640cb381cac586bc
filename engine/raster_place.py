"""Where a raster lies, and polygons and points of any CRS in its pixels (column and row from its corner)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rasterio import Affine
from rasterio._err import CPLE_BaseError  # what PROJ and GDAL report; rasterio.errors has no name for it
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as transform_points
from rasterio.warp import transform_bounds

from ..errors import InputError
from .grid import project

# Reprojected edges may deviate from their true course by so many pixels.
_BEND = 0.1
# And so many vertices may be added for that: more are needed only far from where the raster's CRS is meant for.
_MOST_ADDED = 1 << 20
_POLYGON = 3

Points = npt.NDArray[np.float64]
Polygons = npt.NDArray[np.object_]
Places = npt.NDArray[np.intp]
Box = tuple[float, float, float, float]


class RasterPlace:
    """Where a raster lies.

    Args:
        crs: its CRS, or None.
        transform: from column and row to the CRS.
        width: columns.
        height: rows.
        what: what is brought to its pixels, for sentences: ``the area``.
    """

    def __init__(self, crs: CRS | None, transform: Affine, width: int, height: int, what: str = "the area") -> None:
        self.crs, self.width, self.height = crs, width, height
        # A transform that maps all pixels to one line says nothing of their place.
        self.transform = Affine.identity() if transform.is_degenerate else transform
        self._what = what
        a, b, c, d, e, f = self.transform[:6]
        x, y = (
            [p * col + q * row + r for col in (0, width) for row in (0, height)] for p, q, r in ((a, b, c), (d, e, f))
        )
        self.bounds = min(x), min(y), max(x), max(y)

    def to_pixels(self, polygons: Polygons, crs: CRS | None, name: str) -> tuple[Polygons, Places]:
        """Polygons in pixel coordinates.

        Args:
            polygons: (n,) single, valid polygons.
            crs: theirs; None means that of the raster.
            name: what they are called at the beginning of a sentence.

        Returns:
            (m,) single, valid polygons, and for each the place of the one that it was or was a part of.  What lies far
            from the raster may be missing.

        Raises:
            InputError: the raster has no CRS, or its CRS cannot show them.
        """
        places = np.arange(len(polygons))
        if crs is not None and crs != self.crs:
            polygons, places = self._reprojected(polygons, crs, name)
        if self.crs is not None and self.crs.is_geographic:
            # Longitude may be counted from -180° to 180° or from 0° to 360°, in the area and in the raster.
            turns = [shapely.transform(polygons, lambda points, turn=turn: points + (turn, 0)) for turn in (-360, 360)]
            polygons, places = np.concatenate([polygons, *turns]), np.tile(places, 3)
        polygons, parts = valid_polygons(shapely.transform(polygons, self.pixels_of))
        return polygons, places[parts]

    def points_to_pixels(self, points: Points, crs: CRS | None) -> Points:
        """Points, (n, 2), in pixel coordinates; NaN for those that the raster's CRS cannot show.

        Raises:
            InputError: the raster has no CRS.
        """
        if crs is not None and crs != self.crs:
            self._check_crs(crs)
            points = np.column_stack(project(crs, self.crs, points[:, 0].copy(), points[:, 1].copy()))
        if self.crs is not None and self.crs.is_geographic and len(points):
            # The turn that lies nearest to the raster's middle.
            middle = (self.bounds[0] + self.bounds[2]) / 2
            points = points.copy()
            points[:, 0] -= 360 * np.round((points[:, 0] - middle) / 360)
        return self.pixels_of(points)

    def pixels_of(self, points: Points) -> Points:
        """Points of the raster's CRS, (n, 2), in pixel coordinates."""
        a, b, c, d, e, f = (~self.transform)[:6]
        x, y = points[:, 0], points[:, 1]
        if self.crs is None and self.transform.is_identity and (y <= 0).all():
            # QGIS shows an image without georeference downwards from 0, so that is where areas are drawn.
            y = -y
        return np.column_stack([a * x + b * y + c, d * x + e * y + f])

    def boxes_in(self, crs: CRS) -> list[Box]:
        """Where the raster lies in another CRS, with a margin: one box, or two at the antimeridian.

        Empty where that cannot be said: the outline of half the world does not enclose its inside in every CRS.
        """
        try:
            west, south, east, north = self._bounds_in(CRS.from_epsg(4326))
            left, bottom, right, top = self._bounds_in(crs)
        except (CPLE_BaseError, CRSError):
            return []
        half_the_world = (east - west if west <= east else east - west + 360) > 150 and north - south > 100
        if half_the_world or not np.isfinite([left, bottom, right, top]).all():
            return []
        spans = [(left, 180.0), (-180.0, right)] if left > right else [(left, right)]
        y_margin = (top - bottom) * 0.01
        return [
            (start - margin, bottom - y_margin, end + margin, top + y_margin)
            for start, end in spans
            for margin in [(end - start) * 0.01]
        ]

    def _bounds_in(self, crs: CRS) -> Box:
        left, bottom, right, top = transform_bounds(self.crs, crs, *self.bounds, densify_pts=51)
        return left, bottom, right, top

    def _check_crs(self, crs: CRS) -> None:
        if self.crs is None:
            raise InputError(
                f"The raster has no CRS, so that its place in {crs_name(crs)} is unknown: set the raster's CRS "
                f"(--raster-crs), or give {self._what} in the raster's own coordinates."
            )

    def _reprojected(self, polygons: Polygons, crs: CRS, name: str) -> tuple[Polygons, Places]:
        """Polygons in the raster's CRS; only what lies around the raster, for elsewhere it may be undefined."""
        self._check_crs(crs)
        assert self.crs is not None
        places = np.arange(len(polygons))
        boxes = self.boxes_in(crs)
        if boxes:
            turns = (-360, 0, 360) if crs.is_geographic else (0,)
            near = [shapely.box(box[0] + turn, box[1], box[2] + turn, box[3]) for box in boxes for turn in turns]
            polygons, places = polygons_of(shapely.intersection(polygons, shapely.union_all(near)))
        if len(polygons) == 0:
            return polygons, places
        to_raster_crs = _Reprojection(crs, self.crs, name)
        try:
            dense = _densified(polygons, lambda points: self.pixels_of(to_raster_crs(points)))
        except OverflowError as error:
            raise to_raster_crs.beyond(str(error)) from error
        moved: Polygons = shapely.transform(dense, to_raster_crs)
        return moved, places


class _Reprojection:
    """Brings points, (n, 2), from one CRS to another."""

    def __init__(self, source: CRS, target: CRS, name: str) -> None:
        self._source, self._target, self._name = source, target, name
        self._middle: float | None = None

    def __call__(self, points: Points) -> Points:
        try:
            x, y = map(np.array, transform_points(self._source, self._target, points[:, 0], points[:, 1]))
        except (CPLE_BaseError, CRSError) as error:
            raise self.beyond(str(error)) from error
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise self.beyond("infinite coordinates")
        if self._target.is_geographic and not self._source.is_geographic:
            # Longitude jumps at the antimeridian: it is counted from the middle of the first points.
            if self._middle is None:
                self._middle = math.degrees(math.atan2(np.sin(np.radians(x)).sum(), np.cos(np.radians(x)).sum()))
            x = (x - self._middle + 180) % 360 - 180 + self._middle
        return np.column_stack([x, y])

    def beyond(self, details: str) -> InputError:
        """The error for shapes that the target cannot show."""
        return InputError(
            f"{self._name} reaches beyond what the raster's CRS ({crs_name(self._target)}) can show: "
            "draw it closer to the raster, and check its CRS.",
            details,
        )


def _densified(polygons: Polygons, to_pixels: Callable[[Points], Points]) -> Polygons:
    """Polygons with vertices so close together that their edges stay true when only vertices are reprojected.

    Raises:
        OverflowError: that would take too many.
    """
    points, starts = _edges(polygons)
    lengths = np.linalg.norm(points[starts + 1] - points[starts], axis=1)
    most = max(_MOST_ADDED, 4 * len(points))
    # A first cut, for edges that bend to both sides of their middle.
    length = float(lengths.max()) / 8
    if not 0 < length < math.inf:
        raise OverflowError(f"edges of length {8 * length}")
    dense = shapely.segmentize(polygons, length)
    for _ in range(8):
        points, starts = _edges(dense)
        pixels = to_pixels(points)
        middles = to_pixels((points[starts] + points[starts + 1]) / 2)
        bend = float(np.linalg.norm(middles - (pixels[starts] + pixels[starts + 1]) / 2, axis=1).max())
        if bend <= _BEND:
            break
        # What an edge deviates grows with the square of its length.
        length *= min(0.5, 0.9 * math.sqrt(_BEND / bend))
        if not float(lengths.sum()) <= most * length:
            raise OverflowError(f"edges of length {lengths.sum()} in steps of {length}")
        dense = shapely.segmentize(polygons, length)
    return dense


def _edges(polygons: Polygons) -> tuple[Points, Places]:
    """All vertices, (n, 2), and the positions of those from which an edge leads to the next."""
    points, ring = shapely.get_coordinates(shapely.get_rings(polygons), return_index=True)
    return points, np.flatnonzero(ring[1:] == ring[:-1])


def polygons_of(geometries: Any) -> tuple[Polygons, Places]:
    """The single, non-empty polygons in geometries of any type, and the place of the geometry that each is of."""
    parts = np.atleast_1d(np.asarray(geometries, object))
    places = np.arange(len(parts))
    # Multi-polygons first, then what was in collections.
    for _ in range(2):
        parts, inner = shapely.get_parts(parts, return_index=True)
        places = places[inner]
    chosen = (shapely.get_type_id(parts) == _POLYGON) & ~shapely.is_empty(parts)
    return parts[chosen], places[chosen]


def valid_polygons(geometries: Any) -> tuple[Polygons, Places]:
    """The polygons in geometries, with crossing outlines repaired, and the place of the geometry that each is of."""
    polygons, places = polygons_of(geometries)
    broken = ~shapely.is_valid(polygons)
    if broken.any():
        mended, inner = polygons_of(shapely.make_valid(polygons[broken]))
        polygons = np.concatenate([polygons[~broken], mended])
        places = np.concatenate([places[~broken], places[broken][inner]])
    return polygons, places


def crs_name(crs: CRS | None) -> str:
    """What a CRS is called in a sentence; None: that of the raster."""
    if crs is None:
        return "the raster's CRS"
    code = crs.to_epsg()
    # A WKT document begins with its type and, between quotes, its name.
    return f"EPSG:{code}" if code else crs.to_wkt().split('"')[1]
