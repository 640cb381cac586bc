"""The grid of the map, and where its pixels lie in rasters on other grids (docs/stacks.md).

A *grid* is a CRS, an affine transform and a size in pixels.  Positions are in pixels from a grid's corner, x along its
columns and y along its rows; the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio import Affine
from rasterio._err import CPLE_BaseError  # what PROJ and GDAL report; rasterio.errors has no name for it
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as transform_points

from ..errors import InputError
from .ground_area import ground_sampling_distance

Floats = npt.NDArray[np.float64]

# Grids whose corners differ by less, in pixels, are the same: nobody sees a hundredth of a pixel.
_SAME = 0.01
# Sizes that differ by less, relatively, are the same: 10 m in UTM measure 9.996 to 10.01 m on the ellipsoid.
_SAME_SIZE = 0.01
#: Pixels that a map may have on a grid finer than the rasters' own.
MOST_PIXELS = 2**31
# Between CRSs, positions are computed at the nodes of a lattice and interpolated, if that is as exact as this.
_LATTICE_STEPS = (64, 32, 16, 8, 4, 2, 1)
_LATTICE_ERROR = 0.01
_EDGE_POINTS = 65
# No CRS has coordinates as large as this; PROJ takes minutes to years to turn such a longitude back into the circle.
_FURTHEST = 1e10


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie.

    Args:
        crs: its CRS, or None.
        transform: from pixels to the CRS; the identity means "not georeferenced".
        width: columns.
        height: rows.
    """

    crs: CRS | None
    transform: Affine
    width: int
    height: int

    @classmethod
    def of(cls, dataset: rasterio.DatasetReader) -> Grid:
        """The grid of an open raster.

        Raises:
            InputError: its place is not made of numbers.
        """
        if not all(math.isfinite(value) for value in dataset.transform[:6]):
            raise InputError(
                f"“{dataset.name}” is damaged: its georeference (geotransform) is not made of numbers; copy or "
                "download it again."
            )
        return cls(dataset.crs, dataset.transform, dataset.width, dataset.height)

    @property
    def is_placed(self) -> bool:
        """False where nothing relates the pixels to the ground."""
        return not (self.transform.is_identity or self.transform.is_degenerate)

    @cached_property
    def gsd(self) -> float | None:
        """Ground sampling distance in metres, or None where it cannot be known."""
        return ground_sampling_distance(self.crs, self.transform, self.width, self.height)

    def same_as(self, other: Grid) -> bool:
        """True where pixel lies on pixel; a raster without CRS or any georeference is taken at its word."""
        if (self.width, self.height) != (other.width, other.height):
            return False
        if self.crs is not None and other.crs is not None and self.crs != other.crs:
            return False
        if not self.is_placed or not other.is_placed:
            return self.is_placed == other.is_placed
        return PixelMapping(self, replace(other, crs=self.crs)).shift == (0, 0)


class PixelMapping:
    """Where the pixels of a target grid lie in a source grid.

    Args:
        target: the grid whose pixels are asked for.
        source: the grid in whose pixels the answer is.

    Attributes:
        shift: columns and rows from the target's corner to the source's pixels, where whole pixels lie on whole
            pixels; else None.
        axes: (scale, offset) of x by the column and of y by the row, where both grids' axes are parallel; else None.
        size: sides of a target pixel in source pixels, along the source's x and y.
    """

    def __init__(self, target: Grid, source: Grid) -> None:
        self._target, self._source = target, source
        self._inverse = ~source.transform
        self._projects = target.crs is not None and source.crs is not None and target.crs != source.crs
        self._step = 0
        self.shift: tuple[int, int] | None = None
        self.axes: tuple[tuple[float, float], tuple[float, float]] | None = None
        if self._projects:
            self._step = self._lattice_step()
            self.size = self._size_in_the_middle()
            return
        affine = self._inverse * target.transform
        self._affine = affine
        self.size = (math.hypot(affine.a, affine.b), math.hypot(affine.d, affine.e))
        # How far the rotation moves a pixel over the whole grid.
        if abs(affine.b) * target.height < _SAME and abs(affine.d) * target.width < _SAME:
            self.axes = (affine.a, affine.c), (affine.e, affine.f)
            columns, rows = round(affine.c), round(affine.f)
            corners = [(x, y) for x in (0, target.width) for y in (0, target.height)]
            moved = [affine * corner for corner in corners]
            if all(
                abs(x - columns - column) < _SAME and abs(y - rows - row) < _SAME
                for (x, y), (column, row) in zip(moved, corners, strict=True)
            ):
                self.shift = columns, rows

    def at(self, row: int, column: int, height: int, width: int) -> tuple[Floats, Floats]:
        """The centres of a window's pixels in the source: x and y, (height, width); NaN where not on Earth.

        Every pixel's position is the same, to the last bit, whichever window it is asked for in.
        """
        if not self._projects:
            columns, rows = np.arange(column, column + width) + 0.5, (np.arange(row, row + height) + 0.5)[:, None]
            a = self._affine
            return a.a * columns + a.b * rows + a.c, a.d * columns + a.e * rows + a.f
        step = self._step
        node_rows = np.arange(row // step, (row + height) // step + 2) * step
        node_columns = np.arange(column // step, (column + width) // step + 2) * step
        nodes = self._project(*np.meshgrid(node_columns.astype(float), node_rows.astype(float)))
        v, below = np.modf((np.arange(row, row + height) + 0.5) / step - row // step)
        u, right = np.modf((np.arange(column, column + width) + 0.5) / step - column // step)
        j, i, v = below.astype(int), right.astype(int), v[:, None]
        x, y = (
            (part[j][:, i] * (1 - u) + part[j][:, i + 1] * u) * (1 - v)
            + (part[j + 1][:, i] * (1 - u) + part[j + 1][:, i + 1] * u) * v
            for part in nodes
        )
        return x, y

    def _project(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Positions in the target to positions in the source, through the two CRSs."""
        t, s = self._target.transform, self._inverse
        east, north = (t.a * x + t.b * y + t.c).ravel(), (t.d * x + t.e * y + t.f).ravel()
        east, north = project(self._target.crs, self._source.crs, east, north)
        return (s.a * east + s.b * north + s.c).reshape(x.shape), (s.d * east + s.e * north + s.f).reshape(x.shape)

    def _lattice_step(self) -> int:
        """The coarsest lattice whose interpolated positions are right everywhere that was looked."""
        places = [np.unique(np.linspace(0, size, 9).astype(int)) for size in (self._target.width, self._target.height)]
        for step in _LATTICE_STEPS:
            worst = 0.0
            x, y = np.meshgrid(*(part // step * float(step) for part in places))
            corners = [self._project(x + step * i, y + step * j) for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
            middle = self._project(x + step / 2, y + step / 2)
            for axis in (0, 1):
                error = np.abs(sum(corner[axis] for corner in corners) / 4 - middle[axis])
                worst = max(worst, float(np.nanmax(error, initial=0.0)))
            if worst <= _LATTICE_ERROR:
                return step
        return 1

    def _size_in_the_middle(self) -> tuple[float, float]:
        x, y = self._target.width / 2, self._target.height / 2
        ends = self._project(np.array([x - 0.5, x + 0.5, x, x]), np.array([y, y, y - 0.5, y + 0.5]))
        sides = [math.hypot(part[1] - part[0], part[3] - part[2]) for part in ends]
        # A middle that is not on Earth: pixels of the source's own size.
        return (sides[0], sides[1]) if all(map(math.isfinite, sides)) and min(sides) > 0 else (1.0, 1.0)


def project(source: CRS | None, target: CRS | None, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Points from one CRS to another, (n,) each; NaN for those that PROJ cannot place."""
    placeable = (np.abs(x) < _FURTHEST) & (np.abs(y) < _FURTHEST)
    if not placeable.all():
        east, north = np.full(len(x), np.nan), np.full(len(x), np.nan)
        if placeable.any():
            east[placeable], north[placeable] = project(source, target, x[placeable], y[placeable])
        return east, north
    try:
        east, north = transform_points(source, target, x, y)
    except (CPLE_BaseError, CRSError):
        # One point that is not on Earth fails all of them: halve until it stands alone.
        if len(x) == 1:
            return np.full(1, np.nan), np.full(1, np.nan)
        half = len(x) // 2
        parts = [project(source, target, x[part], y[part]) for part in (slice(half), slice(half, None))]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    points = np.array([east, north], float)
    points[:, ~np.isfinite(points).all(axis=0)] = np.nan
    return points[0], points[1]


def output_grid(grids: Sequence[Grid], names: Sequence[str], gsd: float | None = None) -> Grid:
    """The grid of a map that is made from rasters on these grids.

    It has the CRS of the first raster and the pixels of the finest one, and reaches as far as all of them do.  Where
    the finest raster is in the first one's CRS, the map's pixels are its pixels.

    Args:
        grids: of the rasters that feed the model, in their order; at least one.
        names: their names, for sentences.
        gsd: ground sampling distance asked for, in metres; None: that of the finest raster.

    Raises:
        InputError: the rasters cannot be laid over each other, or ``gsd`` makes no grid of them.
    """
    first = grids[0]
    if gsd is None and all(first.same_as(grid) for grid in grids[1:]):
        return first
    _check_places(grids, names, gsd)
    base, factor = _finest(grids)
    if gsd is not None:
        factor = _factor(base, gsd)
    boxes = [_box(base, grid) for grid in grids]
    left, top = (max(box[axis] for box in boxes) for axis in (0, 1))
    right, bottom = (min(box[axis] for box in boxes) for axis in (2, 3))
    if not (left < right and top < bottom):
        raise InputError(_apart(boxes, names))
    wanted = (right - left) / factor * ((bottom - top) / factor)
    if not wanted <= max(MOST_PIXELS, (right - left) * (bottom - top)):
        raise InputError(
            f"A ground sampling distance of {gsd or (base.gsd or 0) * factor:g} m would make a map of {wanted:.2g} "
            f"pixels, more than {MOST_PIXELS:.2g}: choose coarser pixels (--gsd), or cut the rasters."
        )
    # A pixel belongs to the map if all rasters cover its centre.
    columns = math.ceil(left / factor - 0.5 - _SAME), math.floor(right / factor - 0.5 + _SAME) + 1
    rows = math.ceil(top / factor - 0.5 - _SAME), math.floor(bottom / factor - 0.5 + _SAME) + 1
    if columns[1] <= columns[0] or rows[1] <= rows[0]:
        if gsd is not None:
            raise InputError(f"Not even one pixel of {gsd:g} m fits into the rasters: choose finer pixels (--gsd).")
        raise InputError("What the rasters have in common is less than a pixel: choose rasters of one place.")
    return Grid(
        base.crs if base.crs is not None else first.crs,
        base.transform * Affine.scale(factor) * Affine.translation(columns[0], rows[0]),
        columns[1] - columns[0],
        rows[1] - rows[0],
    )


def _check_places(grids: Sequence[Grid], names: Sequence[str], gsd: float | None) -> None:
    """Refuse rasters of which nobody knows where they lie."""
    for grid, name in zip(grids, names, strict=True):
        if not grid.is_placed:
            if len(grids) == 1:
                raise InputError(
                    f"“{name}” is not georeferenced, so its pixels have no size in metres: leave --gsd away, or "
                    "georeference it first (Georeferencer or Warp in QGIS)."
                )
            raise InputError(
                f"“{name}” is not georeferenced, so it cannot be laid over the other rasters, which have another grid: "
                "georeference it first (Georeferencer or Warp in QGIS)."
            )
    with_crs = [grid.crs is not None for grid in grids]
    if any(with_crs) and not all(with_crs):
        name = names[with_crs.index(False)]
        raise InputError(
            f"“{name}” has no CRS, the other rasters have one: set the CRS of those that lack it (--raster-crs)."
        )
    if gsd is not None and grids[0].gsd is None:
        raise InputError(f"“{names[0]}” has no CRS, so its pixels have no size in metres: set it (--raster-crs).")


def _finest(grids: Sequence[Grid]) -> tuple[Grid, float]:
    """The grid that gives the pixels, in the first one's CRS, and the side of a pixel of the map in its pixels."""
    first = grids[0]

    one_crs = all(grid.crs == first.crs for grid in grids)

    def side(grid: Grid) -> float:
        # In one CRS the same pixels may measure differently at another latitude.
        return (None if one_crs else grid.gsd) or math.sqrt(abs(grid.transform.determinant))

    finest = first
    for grid in grids[1:]:
        if side(grid) < side(finest) * (1 - _SAME_SIZE):
            finest = grid
    if finest.crs is None or first.crs is None or finest.crs == first.crs:
        return finest, 1.0
    beside = [grid for grid in grids if grid.crs == first.crs]
    # One of the first's CRS that is as fine keeps its pixels.
    base = next((grid for grid in beside if side(grid) <= side(finest) * (1 + _SAME_SIZE)), None)
    return (base, 1.0) if base is not None else (first, side(finest) / side(first))


def _factor(base: Grid, gsd: float) -> float:
    """Side of a pixel of so many metres in pixels of a grid."""
    assert base.gsd is not None
    factor = gsd / base.gsd
    if base.crs is not None and base.crs.is_projected:
        # Metres of the CRS where they are metres on the ground, so that 10 m become 20 m and not 20.004.
        nominal = gsd / base.crs.linear_units_factor[1] / math.sqrt(abs(base.transform.determinant))
        if abs(nominal / factor - 1) < _SAME_SIZE:
            factor = nominal
    return 1.0 if abs(factor - 1) < _SAME_SIZE else factor


def _box(base: Grid, grid: Grid) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a grid, in the pixels of another; empty where it is not on Earth."""
    along = np.linspace(0, 1, _EDGE_POINTS)
    zero, one = np.zeros_like(along), np.ones_like(along)
    x = np.concatenate([along, along, zero, one]) * grid.width
    y = np.concatenate([zero, one, along, along]) * grid.height
    a, b, c, d, e, f = grid.transform[:6]
    east, north = a * x + b * y + c, d * x + e * y + f
    if grid.crs is not None and base.crs is not None and grid.crs != base.crs:
        east, north = project(grid.crs, base.crs, east, north)
    a, b, c, d, e, f = (~base.transform)[:6]
    columns, rows = a * east + b * north + c, d * east + e * north + f
    if not np.isfinite(columns).any():
        return math.inf, math.inf, -math.inf, -math.inf
    return tuple(float(edge) for edge in (np.nanmin(columns), np.nanmin(rows), np.nanmax(columns), np.nanmax(rows)))  # type: ignore[return-value]


def _apart(boxes: Sequence[tuple[float, float, float, float]], names: Sequence[str]) -> str:
    for one, box in enumerate(boxes):
        for other, beside in enumerate(boxes[:one]):
            if not (
                max(box[0], beside[0]) < min(box[2], beside[2]) and max(box[1], beside[1]) < min(box[3], beside[3])
            ):
                return (
                    f"“{names[other]}” and “{names[one]}” do not overlap: choose rasters of one place, or correct "
                    "their CRS."
                )
    return "There is no place that all rasters cover: choose rasters of one place."
