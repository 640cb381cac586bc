"""The area of pixels on the ground: on the WGS 84 ellipsoid, whatever the CRS of the raster.

Planar areas are wrong in most CRSs (four times too large in Web Mercator at 60°).  The area of a pixel
is that of the parallelogram which its two sides span on the ellipsoid.  The sides are differences of
earth-centred coordinates, for which Snyder (1987, *Map Projections: A Working Manual*, USGS Professional
Paper 1395, p. 25) gives the radii of curvature M and N: the area equals
M · N · cos φ · |∂(λ, φ)/∂(column, row)|, but has no seam at the antimeridian and no singular point at the poles.

Area changes smoothly over a raster, so it is measured at the nodes of a coarse lattice only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from rasterio import Affine
from rasterio._err import CPLE_BaseError  # what PROJ and GDAL report; rasterio.errors has no name for it
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as transform_points

_AXIS = 6378137.0
_FLATTENING = 1 / 298.257223563
_SQUARE_METRES_PER_HECTARE = 1e4

# Half a side of the measured parallelogram in metres: long enough for PROJ's rounding (some inverse projections
# stop at 1e-10 rad, 0.6 mm), short enough for the curvature of the Earth.
_STEP_METRES = 500.0
# Relative errors allowed to interpolation between the nodes, and to taking area as constant in a cell.
_INTERPOLATION_TOLERANCE = 1e-5
_CELL_TOLERANCE = 4e-5
_MOST_NODES = 257
# Blocks are hardly wider than this: a cell that is wider does not make counting cheaper.
_USUAL_BLOCK = 512
# In cells of fewer pixels, a call per class costs more than one call for all.
_SMALL_CELL = 4096
# So many of the most frequent codes are counted one by one before the call for all.
_ONE_BY_ONE = 12
_ROWS_AT_ONCE = 32

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Floats = npt.NDArray[np.floating]


def ground_sampling_distance(crs: CRS | None, transform: Affine, width: int, height: int) -> float | None:
    """Side in metres of a square as large as a pixel in the middle of the raster; None if not georeferenced."""
    density = _Density.of(crs, transform, width, height)
    return None if density is None else math.sqrt(density.typical)


class PixelArea:
    """Counts the pixels of every code and sums their area on the ground, block by block as a map is written.

    Errors of a class's area stay under 1e-4 up to pixels of 2.5°.  One thread at a time.

    Args:
        crs: CRS of the raster, or None.
        transform: from column and row to the CRS; the identity means "not georeferenced".
        width: columns of the raster.
        height: rows of the raster.
        codes: every code that may occur.
    """

    def __init__(self, crs: CRS | None, transform: Affine, width: int, height: int, codes: Sequence[int]) -> None:
        self.codes = tuple(dict.fromkeys(int(code) for code in codes))
        self._width, self._height = width, height
        self._pixels = np.zeros(len(self.codes), np.int64)
        self._square_metres = np.zeros(len(self.codes))
        self._selected = np.array(self.codes, np.intp)
        density = _Density.of(crs, transform, width, height)
        self._field = None if density is None else _AreaField(density, width, height)
        self._cell_rows, self._cell_columns = (height, width) if self._field is None else self._field.cell_shape()
        counted_together = self._cell_rows * min(self._cell_columns, _USUAL_BLOCK)
        whole = (self._cell_rows, self._cell_columns) == (height, width)
        self._by_cells = whole or counted_together >= _SMALL_CELL

    @property
    def counts(self) -> dict[int, int]:
        """Pixels per code."""
        return {code: int(count) for code, count in zip(self.codes, self._pixels, strict=True)}

    @property
    def hectares(self) -> dict[int, float] | None:
        """Hectares per code, or None where the raster is not georeferenced."""
        if self._field is None:
            return None
        areas = self._square_metres / _SQUARE_METRES_PER_HECTARE
        return {code: float(area) for code, area in zip(self.codes, areas, strict=True)}

    def pixel_hectares(self, row: int, col: int, height: int, width: int) -> Floats | None:
        """Hectares of every pixel of a window: (height, width), or None where the raster is not georeferenced."""
        if self._field is None:
            return None
        rows, columns = np.arange(row, row + height) + 0.5, np.arange(col, col + width) + 0.5
        return self._field.at(rows, columns) / _SQUARE_METRES_PER_HECTARE

    def hectares_at(self, rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]) -> Floats | None:
        """Hectares of n pixels by their rows and columns; None where the raster is not georeferenced."""
        if self._field is None:
            return None
        return self._field.at_each(rows + 0.5, columns + 0.5) / _SQUARE_METRES_PER_HECTARE

    def accumulate(self, codes: Codes, row: int, col: int) -> None:
        """Add a block.

        Args:
            codes: (height, width), no other values than the codes given at the start.
            row: the block's first row in the raster.
            col: the block's first column in the raster.

        Raises:
            ValueError: the block holds another code, or reaches beyond the raster.
        """
        height, width = codes.shape
        if row < 0 or col < 0 or row + height > self._height or col + width > self._width:
            raise ValueError(f"a block of {height} × {width} at row {row}, column {col} reaches beyond the raster")
        if self._by_cells:
            self._accumulate_cells(codes, row, col)
        else:
            self._accumulate_pixels(codes, row, col)

    def _accumulate_cells(self, codes: Codes, row: int, col: int) -> None:
        """Area is constant in each cell: only counting is left."""
        height, width = codes.shape
        # Cells are those of the raster, not of the block: any way of cutting it into blocks gives the same sum.
        row_cells = list(_cells(row, row + height, self._cell_rows, self._height))
        column_cells = list(_cells(col, col + width, self._cell_columns, self._width))
        middles = [np.array([middle for *_, middle in cells]) for cells in (row_cells, column_cells)]
        areas = None if self._field is None else self._field.at(*middles)
        for i, (top, bottom, _) in enumerate(row_cells):
            for j, (left, right, _) in enumerate(column_cells):
                counts = self._count(codes[top - row : bottom - row, left - col : right - col])
                self._pixels += counts
                if areas is not None:
                    self._square_metres += counts * areas[i, j]

    def _accumulate_pixels(self, codes: Codes, row: int, col: int) -> None:
        """Pixels so coarse that neighbours differ in area: every pixel is weighted by its own."""
        assert self._field is not None
        columns = np.arange(col, col + codes.shape[1]) + 0.5
        # A few rows at a time: the areas, eight bytes each, then stay in the processor's cache.
        for start in range(0, codes.shape[0], _ROWS_AT_ONCE):
            part = codes[start : start + _ROWS_AT_ONCE]
            areas = self._field.at(np.arange(row + start, row + start + part.shape[0]) + 0.5, columns)
            self._pixels += self._count_together(part)
            weighted = np.bincount(part.ravel(), areas.ravel(), self._selected.max() + 1)
            self._square_metres += weighted[self._selected]

    def _count(self, cell: Codes) -> npt.NDArray[np.int64]:
        # Comparing with one code runs at the speed of memory (0.1 ns a pixel), where bincount first widens every
        # pixel to 64 bits (1 to 4 ns).  Beginning with what was frequent so far, a few comparisons find all.
        if cell.size >= _SMALL_CELL:
            counts = np.zeros(len(self.codes), np.int64)
            missing = cell.size
            for position in np.argsort(-self._pixels, kind="stable")[:_ONE_BY_ONE]:
                counts[position] = np.count_nonzero(cell == self.codes[position])
                missing -= int(counts[position])
                if missing == 0:
                    return counts
        return self._count_together(cell)

    def _count_together(self, codes: Codes) -> npt.NDArray[np.int64]:
        counts = np.bincount(codes.ravel(), minlength=self._selected.max() + 1)[self._selected]
        if counts.sum() != codes.size:
            raise ValueError(f"codes {sorted(set(np.unique(codes).tolist()) - set(self.codes))} belong to no class")
        return counts


def _cells(start: int, stop: int, size: int, limit: int) -> Iterator[tuple[int, int, float]]:
    """The parts of ``start … stop`` that lie in cells of ``size``, each with the middle of its whole cell."""
    for index in range(start // size, (stop - 1) // size + 1):
        first, last = index * size, min((index + 1) * size, limit)
        yield max(first, start), min(last, stop), (first + last) / 2


class _AreaField:
    """Square metres per pixel anywhere in a raster, interpolated between nodes as dense as they need to be."""

    def __init__(self, density: _Density, width: int, height: int) -> None:
        self._width, self._height = width, height
        row_count, column_count = min(height, 5), min(width, 5)
        while True:
            self._rows = np.linspace(0.5, height - 0.5, row_count)
            self._columns = np.linspace(0.5, width - 0.5, column_count)
            self._areas = density.at(self._rows, self._columns)
            rows_suffice = row_count >= min(height, _MOST_NODES) or self._agrees(
                density, (self._rows[1:] + self._rows[:-1]) / 2, self._columns
            )
            columns_suffice = column_count >= min(width, _MOST_NODES) or self._agrees(
                density, self._rows, (self._columns[1:] + self._columns[:-1]) / 2
            )
            if rows_suffice and columns_suffice:
                break
            row_count = row_count if rows_suffice else min(2 * row_count, height, _MOST_NODES)
            column_count = column_count if columns_suffice else min(2 * column_count, width, _MOST_NODES)
        self._areas = _filled(self._areas, density.typical)

    def _agrees(self, density: _Density, rows: Floats, columns: Floats) -> bool:
        measured = density.at(rows, columns)
        error = np.abs(self.at(rows, columns) - measured) / measured
        return not bool((error > _INTERPOLATION_TOLERANCE).any())

    def at(self, rows: Floats, columns: Floats) -> Floats:
        """Square metres of a pixel around each position, in pixels from the raster's corner: (rows, columns)."""
        first, fraction = _between(self._rows, rows)
        last = np.minimum(first + 1, len(self._rows) - 1)
        lines = self._areas[first] * (1 - fraction)[:, None] + self._areas[last] * fraction[:, None]
        first, fraction = _between(self._columns, columns)
        last = np.minimum(first + 1, len(self._columns) - 1)
        areas: Floats = lines[:, first]
        areas += (lines[:, last] - areas) * fraction
        return areas

    def at_each(self, rows: Floats, columns: Floats) -> Floats:
        """Square metres of a pixel around each of n positions: (n,) for (n,) rows and (n,) columns."""
        above, down = _between(self._rows, rows)
        left, across = _between(self._columns, columns)
        below, right = np.minimum(above + 1, len(self._rows) - 1), np.minimum(left + 1, len(self._columns) - 1)
        lines = [self._areas[row, left] * (1 - across) + self._areas[row, right] * across for row in (above, below)]
        areas: Floats = lines[0] * (1 - down) + lines[1] * down
        return areas

    def cell_shape(self) -> tuple[int, int]:
        """Rows and columns of cells in which area may be taken as constant: powers of two, or the whole raster."""
        shape = []
        for axis, (nodes, size) in enumerate(((self._rows, self._height), (self._columns, self._width))):
            # Half of a cell's change is the most by which its pixels differ from its middle.
            change = np.abs(np.diff(self._areas, axis=axis))
            smaller = np.minimum(*(np.delete(self._areas, end, axis=axis) for end in (0, -1)))
            distance = np.diff(nodes)
            steepest = float((change / smaller).max(initial=0.0)) / float(distance[0]) if distance.size else 0.0
            longest = 2 * _CELL_TOLERANCE / steepest if steepest > 0 else math.inf
            shape.append(size if longest >= size else 2 ** max(0, int(math.log2(longest))))
        return shape[0], shape[1]


def _between(nodes: Floats, positions: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """The node before each position, and how far (0 to 1) the position is on the way to the next."""
    if len(nodes) == 1:
        return np.zeros(len(positions), np.intp), np.zeros(len(positions))
    exact = np.clip((positions - nodes[0]) / (nodes[1] - nodes[0]), 0, len(nodes) - 1)
    first = np.minimum(exact.astype(np.intp), len(nodes) - 2)
    return first, exact - first


def _filled(areas: Floats, typical: float) -> Floats:
    """``areas`` without NaN: nodes beyond the edge of a world map take the nearest value of their row."""
    filled = areas.copy()
    columns = np.arange(areas.shape[1])
    for row in filled:
        known = np.isfinite(row)
        row[:] = np.interp(columns, columns[known], row[known]) if known.any() else typical
    return filled


class _Density:
    """Measures square metres per pixel at given positions of a raster."""

    def __init__(self, crs: CRS, transform: Affine) -> None:
        self._crs, self._transform = crs, transform
        # For the first look the steps are half a pixel; then the pixel's size is known.
        self._step = 0.5
        #: Square metres of the pixel in the middle.
        self.typical = 0.0

    @classmethod
    def of(cls, crs: CRS | None, transform: Affine, width: int, height: int) -> _Density | None:
        """The density of a raster, or None where nothing relates its pixels to the ground."""
        if crs is None or transform.is_identity or transform.is_degenerate:
            return None
        density = cls(crs, transform)
        # The middle; and a few more where the middle of a world map in pieces is not on Earth.
        for count in (1, 8):
            rows, columns = ((np.arange(count) + 0.5) * size / count for size in (height, width))
            areas = density.at(rows, columns)
            areas = areas[np.isfinite(areas)]
            if areas.size:
                density.typical = float(np.median(areas))
                density._step = _STEP_METRES / math.sqrt(density.typical)
                return density
        return None

    def at(self, rows: Floats, columns: Floats) -> Floats:
        """Square metres per pixel: (rows, columns); NaN where a position is not on Earth."""
        column_grid, row_grid = np.meshgrid(columns, rows)
        step = self._step
        sides = []
        for column_step, row_step in ((step, 0.0), (0.0, step)):
            ends = [
                self._earth_centred(column_grid + sign * column_step, row_grid + sign * row_step) for sign in (-1, 1)
            ]
            sides.append((ends[1] - ends[0]) / (2 * step))
        areas: Floats = np.linalg.norm(np.cross(sides[0], sides[1]), axis=-1)
        areas[areas == 0] = np.nan
        return areas

    def _earth_centred(self, columns: Floats, rows: Floats) -> Floats:
        """Earth-centred coordinates in metres of positions on the ellipsoid: (…, 3)."""
        a, b, c, d, e, f = self._transform[:6]
        x, y = (a * columns + b * rows + c).ravel(), (d * columns + e * rows + f).ravel()
        longitude, latitude = (np.radians(values) for values in _to_longitude_latitude(self._crs, x, y))
        squared_eccentricity = _FLATTENING * (2 - _FLATTENING)
        radius = _AXIS / np.sqrt(1 - squared_eccentricity * np.sin(latitude) ** 2)
        points = (
            radius * np.cos(latitude) * np.cos(longitude),
            radius * np.cos(latitude) * np.sin(longitude),
            radius * (1 - squared_eccentricity) * np.sin(latitude),
        )
        return np.stack(points, axis=-1).reshape(*columns.shape, 3)


def _to_longitude_latitude(crs: CRS, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Longitude and latitude in degrees; NaN for points that PROJ cannot place on Earth."""
    try:
        longitude, latitude = transform_points(crs, "EPSG:4326", x, y)
    except (CPLE_BaseError, CRSError):
        # One point that is not on Earth fails all of them: halve until it stands alone.
        if len(x) == 1:
            return np.full(1, np.nan), np.full(1, np.nan)
        half = len(x) // 2
        parts = [_to_longitude_latitude(crs, x[part], y[part]) for part in (slice(half), slice(half, None))]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    points = np.array([longitude, latitude])
    points[:, ~np.isfinite(points).all(axis=0)] = np.nan
    return points[0], points[1]
