"""Polygons as pixels: a pixel belongs to the polygon that holds its centre.

The centres of a row of pixels lie on a line; where the polygon's edges cross it, its inside begins and ends (the
even-odd rule).  All of it is counted from the raster's corner, so that a pixel is in or out whichever window it is seen
in; and a centre on an edge that two polygons share belongs to exactly one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Edges of long outlines are looked at in groups of so many, and pixels are listed so many at a time.
_GROUP = 256
_MOST_LISTED = 1 << 22


class Outlines:
    """The edges of polygons, ready to be asked which centres of pixels they hold.

    Args:
        polygons: (n,) valid polygons or multi-polygons in pixel coordinates.
    """

    def __init__(self, polygons: Sequence[Any] | npt.NDArray[np.object_]) -> None:
        rings, owners = _rings(np.asarray(polygons, object))
        points, ring = shapely.get_coordinates(rings, return_index=True)
        starts = np.flatnonzero(ring[1:] == ring[:-1])
        first, second = points[starts], points[starts + 1]
        # Of the two polygons beside an edge one runs up and the other down: both must find the same crossings.
        down = (first[:, 1] > second[:, 1])[:, None]
        lower, upper = np.where(down, second, first), np.where(down, first, second)
        # The first row whose centres lie not above the edge, and the first that lie below it.
        tops, ends = np.ceil(lower[:, 1] - 0.5), np.ceil(upper[:, 1] - 0.5)
        crossing = tops < ends
        self._lower, self._upper = lower[crossing], upper[crossing]
        self._tops, self._ends = tops[crossing].astype(np.int64), ends[crossing].astype(np.int64)
        owner = owners[ring[starts]][crossing]
        bounds = np.searchsorted(owner, np.arange(len(polygons) + 1))
        # Groups of neighbouring edges of one polygon, and the rows that each of them crosses.
        group_starts, group_owners = _groups(bounds)
        self._group_starts, self._group_ends = group_starts[:-1], group_starts[1:]
        if len(owner):
            self._group_tops = np.minimum.reduceat(self._tops, self._group_starts)
            self._group_bottoms = np.maximum.reduceat(self._ends, self._group_starts)
        self._groups_of = np.searchsorted(group_owners, np.arange(len(polygons) + 1))

    def pixels(
        self, wanted: Numbers, row: int, col: int, height: int, width: int
    ) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        """The pixels of a window that polygons hold, part by part.

        Args:
            wanted: which polygons, in rising order.
            row: the window's first row.
            col: the window's first column.
            height: rows of the window.
            width: columns of the window.

        Yields:
            Polygon, row and column of each pixel, counted from the raster's corner, in the order of the polygons; a
            pixel that several hold comes several times.
        """
        edges, owner = self._edges_of(wanted, row, row + height)
        crossings = np.minimum(self._ends[edges], row + height) - np.maximum(self._tops[edges], row)
        for part in _portions(crossings, owner):
            owners, rows, first, end = self._runs(edges[part], owner[part], row, col, height, width)
            lengths = end - first
            for runs in _portions(lengths):
                run = np.repeat(np.arange(runs.start, runs.stop), lengths[runs])
                columns = _within(lengths[runs]) + first[run]
                yield owners[run], rows[run], columns

    def counts(self, height: int, width: int) -> Numbers:
        """How many pixels of a raster of this size each polygon holds."""
        result = np.zeros(len(self._groups_of) - 1, np.int64)
        edges, owner = self._edges_of(np.arange(len(result)), 0, height)
        crossings = np.minimum(self._ends[edges], height) - np.maximum(self._tops[edges], 0)
        for part in _portions(crossings, owner):
            owners, _, first, end = self._runs(edges[part], owner[part], 0, 0, height, width)
            np.add.at(result, owners, end - first)
        return result

    def _runs(
        self, edges: Numbers, owner: Numbers, row: int, col: int, height: int, width: int
    ) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Runs of pixels between edges: polygon, row, first column and the column after the last."""
        tops = np.maximum(self._tops[edges], row)
        counts = np.minimum(self._ends[edges], row + height) - tops
        crossed = np.repeat(np.arange(len(edges)), counts)
        rows = _within(counts) + tops[crossed]
        x0, y0 = self._lower[edges[crossed]].T
        x1, y1 = self._upper[edges[crossed]].T
        x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        owners = owner[crossed]
        order = np.lexsort((x, rows, owners))
        owners, rows, x = owners[order][::2], rows[order][::2], x[order]
        # A centre on the left edge is inside, one on the right edge is not.
        columns = np.clip(np.ceil(x - 0.5), col, col + width).astype(np.int64)
        first, end = columns[::2], columns[1::2]
        holds = first < end
        return owners[holds], rows[holds], first[holds], end[holds]

    def _edges_of(self, wanted: Numbers, top: int, bottom: int) -> tuple[Numbers, Numbers]:
        """The edges of polygons that cross centres of these rows, and the polygon of each."""
        groups, owner = _ranges(self._groups_of[wanted], self._groups_of[wanted + 1])
        owner = wanted[owner]
        if len(groups) == 0:
            return groups, owner
        near = (self._group_tops[groups] < bottom) & (self._group_bottoms[groups] > top)
        groups, owner = groups[near], owner[near]
        edges, of_group = _ranges(self._group_starts[groups], self._group_ends[groups])
        near = (self._tops[edges] < bottom) & (self._ends[edges] > top)
        return edges[near], owner[of_group[near]]


def _rings(polygons: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.object_], Numbers]:
    """All rings of (multi-)polygons, and the polygon that each belongs to."""
    parts, owners = shapely.get_parts(polygons, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    return rings, owners[part_of_ring].astype(np.int64)


def _groups(bounds: Numbers) -> tuple[Numbers, Numbers]:
    """Starts of groups of at most so many edges (with the end of the last), and the polygon of each group."""
    counts = -(-np.diff(bounds) // _GROUP)
    owners = np.repeat(np.arange(len(counts)), counts)
    return np.append(bounds[owners] + _within(counts) * _GROUP, bounds[-1]), owners


def _ranges(starts: Numbers, ends: Numbers) -> tuple[Numbers, Numbers]:
    """All numbers of several ranges, one after the other, and the range of each."""
    of = np.repeat(np.arange(len(starts)), ends - starts)
    return _within(ends - starts) + starts[of], of


def _within(counts: Numbers) -> Numbers:
    """0, 1, 2, … for each count, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _portions(counts: Numbers, owners: Numbers | None = None) -> Iterator[slice]:
    """Slices that hold no more than memory should; what has one owner stays together."""
    total = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = total[begin - 1] if begin else 0
        stop = max(int(np.searchsorted(total, before + _MOST_LISTED, side="right")), begin + 1)
        if owners is not None and stop < len(counts):
            kept = int(np.searchsorted(owners, owners[stop]))
            stop = kept if kept > begin else int(np.searchsorted(owners, owners[begin], side="right"))
        yield slice(begin, stop)
        begin = stop
