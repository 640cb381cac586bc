"""Labelled shapes as pixels, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from ...models.label_classes import LabelClass
from .labels import UNLABELLED, Finding, Labels, Numbers, Places
from .scanlines import Outlines

_POLYGONS = (3, 6)
# A pixel that no shape has claimed yet.
_FREE = np.iinfo(np.int32).max


class ShapeMap:
    """Labels that are polygons and points, seen as pixels; see :class:`.labels.LabelMap`.

    A pixel that shapes of one class claim several times has the number of the first, polygons before points; one that
    two classes claim has no label.  Memory grows with the shapes, not with the raster.

    Args:
        labels: the shapes.
        height, width: of the raster, in pixels.
    """

    def __init__(self, labels: Labels, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.legend: Sequence[LabelClass] = labels.legend
        self.findings: list[Finding] = list(labels.findings)
        self.labels = labels
        self._classes = np.asarray(labels.places, np.int16)
        types = shapely.get_type_id(labels.shapes)
        self._polygons = np.flatnonzero(np.isin(types, _POLYGONS))
        self._outlines = Outlines(labels.shapes[self._polygons])
        # Parts, since the box of what has several may be much larger than they are.
        parts, self._part_owner = shapely.get_parts(labels.shapes[self._polygons], return_index=True)
        self._tree = shapely.STRtree(parts)
        self._point_rows, self._point_columns, self._point_shapes = self._points(labels.shapes)

    def read(self, row: int, col: int, height: int, width: int) -> tuple[Places, Numbers]:
        """The labels of a window: place of the class and number of the shape, (height, width)."""
        numbers = np.full((max(height, 0), max(width, 0)), _FREE, np.int32)
        disputed = np.zeros(numbers.shape, bool)
        flat = numbers.reshape(-1)
        for shapes, rows, columns in self._claims(row, col, height, width):
            pixels = rows * width + columns
            free = flat[pixels] == _FREE
            flat[pixels[free]] = shapes[free]
            # Which of several was written last, NumPy does not promise.
            late = free & (shapes < flat[pixels])
            if late.any():
                np.minimum.at(flat, pixels[late], shapes[late])
            other = self._classes[shapes] != self._classes[flat[pixels]]
            disputed.reshape(-1)[pixels[other]] = True
        numbers[disputed | (numbers == _FREE)] = UNLABELLED
        # The number that stands for no label is the last place.
        return np.append(self._classes, np.int16(UNLABELLED))[numbers], numbers

    def windows(self, side: int) -> Iterator[tuple[int, int, int, int]]:
        """The windows (row, col, height, width) of a lattice of this side that may hold labels, in reading order."""
        for row in range(0, self.height, side):
            height = min(side, self.height - row)
            strip = self._tree.query(shapely.box(0, row, self.width, row + height))
            low, high = np.searchsorted(self._point_rows, [row, row + height])
            bounds = shapely.bounds(self._tree.geometries[strip])
            columns = set((self._point_columns[low:high] // side).tolist())
            for left, right in {(int(a), int(b)) for a, b in np.floor(bounds[:, [0, 2]] / side)}:
                columns.update(range(max(left, 0), min(right, (self.width - 1) // side) + 1))
            for col in sorted(number * side for number in columns):
                width = min(side, self.width - col)
                # What is slanted or hollow may have its box there, but no more.
                here = (low < high and ((self._point_columns[low:high] // side) == col // side).any()) or len(
                    self._tree.query(shapely.box(col, row, col + width, row + height), predicate="intersects")
                )
                if here:
                    yield row, col, height, width

    def _claims(self, row: int, col: int, height: int, width: int) -> Iterator[tuple[Any, Any, Any]]:
        """Which shapes hold which pixels of the window: shape, row and column, polygons first, then points."""
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.height), min(col + width, self.width)
        if top >= bottom or left >= right:
            return
        touched = self._tree.query(shapely.box(left, top, right, bottom))
        wanted = np.unique(self._part_owner[touched])
        low, high = np.searchsorted(self._point_rows, [top, bottom])
        points = np.arange(low, high)[(self._point_columns[low:high] >= left) & (self._point_columns[low:high] < right)]
        points = points[np.argsort(self._point_shapes[points], kind="stable")]
        for owners, rows, columns in self._outlines.pixels(wanted, top, left, bottom - top, right - left):
            yield self._polygons[owners], rows - row, columns - col
        if len(points):
            yield self._point_shapes[points], self._point_rows[points] - row, self._point_columns[points] - col

    def _points(self, shapes: npt.NDArray[np.object_]) -> tuple[Any, Any, Any]:
        """Row, column and shape of every point inside the raster, row by row."""
        numbers = np.flatnonzero(~np.isin(shapely.get_type_id(shapes), _POLYGONS))
        coordinates, owner = shapely.get_coordinates(shapes[numbers], return_index=True)
        x, y = np.floor(coordinates[:, 0]), np.floor(coordinates[:, 1])
        inside = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        columns, rows, owners = x[inside].astype(np.int64), y[inside].astype(np.int64), numbers[owner[inside]]
        order = np.lexsort((owners, columns, rows))
        return rows[order], columns[order], owners[order]
