"""A sample of labelled pixels in bounded memory, for what sums cannot tell: percentiles, and polygons looked at singly.

Every pixel has a rank by chance that depends on its place in the raster alone.  Of each polygon (or, where labels
are a raster, of each class) the pixels of the lowest ranks are kept, as many of each as the memory allows; small
polygons are kept whole.  So the sample is the same in whatever pieces, and in whatever order, the pixels come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .labels import Numbers, Places
from .moments import Floats

_MOST_BYTES = 64 * 2**20
# Beside its values a pixel needs a rank, a group, and room to be sorted by them.
_BYTES_BESIDE = 48
# The sample may grow to so many times its size before it is thinned again.
_SLACK = 1.5
_SHAPE_BITS = 32


@dataclass(frozen=True)
class Group:
    """Pixels of one polygon, or of one class of a label raster.

    Args:
        place: of the class.
        shape: number of the polygon, or unlabelled (-1).
        pixels: how many it has.
        start, stop: where those kept of them lie in the sample.
    """

    place: int
    shape: int
    pixels: int
    start: int
    stop: int

    @property
    def weight(self) -> float:
        """How many pixels each one in the sample stands for."""
        return self.pixels / (self.stop - self.start)


@dataclass(frozen=True)
class Sampled:
    """Pixels, group after group in the order of classes and polygons, each group in an order by chance.

    Args:
        values: (m, C) as stored.
        groups: of the pixels.
        scales: (scale, offset) per band.
    """

    values: npt.NDArray[np.generic]
    groups: Sequence[Group]
    scales: Sequence[tuple[float, float]]

    def physical(self, start: int, stop: int) -> Floats:
        """(stop - start, C) physical values."""
        return physical(self.values[start:stop], self.scales)


def physical(values: npt.NDArray[np.generic], scales: Sequence[tuple[float, float]]) -> Floats:
    """Stored values (n, C) with scale and offset applied."""
    result = values.astype(np.float64)
    if any(tuple(pair) != (1.0, 0.0) for pair in scales):
        factors = np.array(scales, np.float64).reshape(-1, 2)
        result *= factors[:, 0]
        result += factors[:, 1]
    return result


class LabelledSample:
    """Takes labelled pixels in and keeps a sample of them.

    Args:
        most_bytes: of memory; every polygon keeps at least one pixel.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._numbers: dict[int, int] = {}
        self._counts = np.zeros(0, np.int64)
        # The highest rank that is still kept, per group.
        self._limits = np.zeros(0, np.uint64)
        self._pieces: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.generic]]] = []
        self._kept = 0

    def add(
        self,
        values: npt.NDArray[np.generic],
        places: Places,
        shapes: Numbers,
        rows: npt.NDArray[np.integer],
        cols: npt.NDArray[np.integer],
    ) -> None:
        """Take pixels in.

        Args:
            values: (n, C) as stored.
            places: (n,) of their classes.
            shapes: (n,) numbers of their polygons, or -1.
            rows: (n,) where they lie in the raster, each pixel at most once.
            cols: (n,) the same.
        """
        if len(values) == 0:
            return
        groups = self._groups(places, shapes)
        self._counts += np.bincount(groups, minlength=len(self._counts))
        ranks = _ranks(rows, cols)
        keep = ranks <= self._limits[groups]
        # Copies: a view would keep whatever it was cut from alive.
        self._pieces.append((groups[keep], ranks[keep], values[keep]))
        self._kept += int(keep.sum())
        if self._kept > _SLACK * self._most(values):
            self._thin(self._most(values))

    def _groups(self, places: Places, shapes: Numbers) -> npt.NDArray[np.int64]:
        keys = (places.astype(np.int64) << _SHAPE_BITS) | (shapes.astype(np.int64) + 1)
        unique, inverse = np.unique(keys, return_inverse=True)
        known = np.array([self._numbers.setdefault(int(key), len(self._numbers)) for key in unique], np.int64)
        grown = len(self._numbers) - len(self._counts)
        if grown:
            self._counts = np.append(self._counts, np.zeros(grown, np.int64))
            self._limits = np.append(self._limits, np.full(grown, np.iinfo(np.uint64).max, np.uint64))
        return known[inverse]

    def _most(self, values: npt.NDArray[np.generic]) -> int:
        return max(1, self._most_bytes // (values.shape[1] * values.itemsize + _BYTES_BESIDE))

    def _joined(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.generic]]:
        groups, ranks, values = (np.concatenate(parts) for parts in zip(*self._pieces, strict=True))
        return groups, ranks, values

    def _thin(self, most: int) -> None:
        """Keep the lowest ranks of each group: as many of every group that has so many."""
        groups, ranks, values = self._joined()
        each = _largest_share(self._counts, most)
        order = np.lexsort((ranks, groups))
        sizes = np.bincount(groups, minlength=len(self._counts))
        ends = np.cumsum(sizes)
        position = np.arange(len(order)) - np.repeat(ends - sizes, sizes)
        kept = order[position < each]
        full = sizes > each
        self._limits[full] = ranks[order[(ends - sizes)[full] + each - 1]]
        self._pieces = [(groups[kept], ranks[kept], values[kept])]
        self._kept = len(kept)

    def result(self, scales: Sequence[tuple[float, float]]) -> Sampled:
        """The sample of what was taken in so far.

        Args:
            scales: (scale, offset) per band.
        """
        if not self._pieces:
            return Sampled(np.zeros((0, len(scales)), np.uint8), [], scales)
        most = self._most(self._pieces[0][2])
        if self._counts.sum() > most:
            # Also where it was thinned before and fits: the last word has the number of all pixels.
            self._thin(most)
        groups, ranks, values = self._joined()
        keys = np.array(list(self._numbers), np.int64)
        order = np.lexsort((ranks, keys[groups]))
        self._pieces = [(groups[order], ranks[order], values[order])]
        sizes = np.bincount(groups, minlength=len(keys))
        by_key = np.argsort(keys)
        stops = np.cumsum(sizes[by_key])
        found = [
            Group(
                place=int(keys[group] >> _SHAPE_BITS),
                shape=int(keys[group] & (2**_SHAPE_BITS - 1)) - 1,
                pixels=int(self._counts[group]),
                start=int(stop - sizes[group]),
                stop=int(stop),
            )
            for group, stop in zip(by_key, stops, strict=True)
        ]
        return Sampled(self._pieces[0][2], found, scales)


def _ranks(rows: npt.NDArray[np.integer], cols: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """A number per pixel as if by chance, no two alike: the mixing of SplitMix64 (Steele, Lea & Flood 2014)."""
    mixed = (rows.astype(np.uint64) << np.uint64(32)) | cols.astype(np.uint64)
    mixed += np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _largest_share(counts: npt.NDArray[np.int64], most: int) -> int:
    """The largest number of pixels that every group may have so that all together have not more than ``most``."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.minimum(counts, middle).sum()) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def percentiles(sampled: Sampled, groups: Sequence[Group], shares: Sequence[float]) -> list[list[float]]:
    """Percentiles of the physical values of some groups together, interpolated linearly.

    Args:
        sampled: the sample.
        groups: of it; at least one.
        shares: 0 to 1.

    Returns:
        For each share, a number per band.
    """
    weights = np.concatenate([np.full(group.stop - group.start, group.weight) for group in groups])
    even = bool((weights == weights[0]).all())
    result: list[list[float]] = [[] for _ in shares]
    for band in range(sampled.values.shape[1]):
        stored = np.concatenate([sampled.values[group.start : group.stop, band] for group in groups])
        values = physical(stored[:, None], sampled.scales[band : band + 1])[:, 0]
        order = None if even else np.argsort(values)
        values.sort()
        # Equal weights: the k-th of n values is the share (k - 1) / (n - 1), as NumPy has it.
        heavy = np.ones(len(values)) if order is None else weights[order]
        ends = np.cumsum(heavy) - heavy / 2
        span = ends[-1] - ends[0]
        at = (ends - ends[0]) / span if span > 0 else np.zeros(len(values))
        for numbers, share in zip(result, shares, strict=True):
            numbers.append(float(np.interp(share, at, values)))
    return result
