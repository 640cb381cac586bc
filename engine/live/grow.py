"""Region growing: the pixels around a click that look like it.

A pixel belongs to the region if a path of neighbours leads to it on which no spectrum is further from the seed's than
the tolerance.  The distance is the root of the mean square over the bands, each in units of its own spread over the
image, so that a tolerance means the same on any sensor.  The map of distances is kept: moving the tolerance at the
same place costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from rasterio.windows import Window
from scipy import ndimage

from ..raster import RasterSource

Bools = npt.NDArray[np.bool_]
Check = Callable[[], None]

#: The highest tolerance, and the distance that it stands for: in units of the bands' spread.
MOST_TOLERANCE = 100.0
_FURTHEST = 3.0
#: Pixels of a region, unless more or fewer are asked for.
MOST_PIXELS = 250_000
# Half the side of the seed whose mean is looked for, and of the first and the largest window.
_SEED = 1
_FIRST_REACH, _LAST_REACH = 128, 2048
_SAMPLES_AT_ONCE = 1 << 23
# Levels of tolerance: the distances that are told apart.
_LEVELS = 1 << 14
# Samples per side from which the spread of the bands is told.
_SPREAD_SIDE = 256


@dataclass(frozen=True)
class Region:
    """A grown region.

    Args:
        mask: (h, w), True inside.
        row, col: of the mask's first pixel in the image.
        limited: it would be larger if it were not for the most pixels or the largest window.
    """

    mask: Bools
    row: int
    col: int
    limited: bool

    @property
    def pixels(self) -> int:
        """How many they are."""
        return int(self.mask.sum())

    def outline(self, connectivity: int) -> shapely.Geometry:
        """The region as a polygon along the edges of its pixels, in the image's pixel coordinates.

        Args:
            connectivity: 4 or 8; with 8, parts that meet in a corner only make it a multi-polygon.
        """
        if not self.mask.any():
            return shapely.Polygon()
        parts = [
            shapely.geometry.shape(shape)
            for shape, _ in rasterio.features.shapes(self.mask.astype(np.uint8), mask=self.mask, connectivity=4)
        ]
        outline = parts[0] if len(parts) == 1 and connectivity == 4 else shapely.union_all(parts)
        return shapely.transform(shapely.normalize(outline), lambda points: points + (self.col, self.row))


def level_of(tolerance: float) -> int:
    """The level that a tolerance from 0 to 100 allows; finer steps where it is small."""
    return int(_LEVELS * float(np.clip(tolerance / MOST_TOLERANCE, 0, 1)) ** 2)


def _distance_at(level: int) -> float:
    return _FURTHEST * level / _LEVELS


def grown(distance: npt.NDArray[np.float32], seed: tuple[int, int], limit: float, connectivity: int) -> Bools:
    """The pixels that are connected with the seed by pixels within a limit.

    Args:
        distance: (h, w) of each pixel's spectrum from the seed's; NaN where there is none.
        seed: row and column; it belongs to the region, whatever its own distance.
        limit: the furthest distance.
        connectivity: 4 or 8 neighbours.
    """
    with np.errstate(invalid="ignore"):
        similar = distance <= limit
    similar[seed] = True
    labels, _ = ndimage.label(similar, _neighbours(connectivity))
    region: Bools = labels == labels[seed]
    return region


def filled(mask: Bools, most: int, connectivity: int) -> Bools:
    """A region with its holes of at most so many pixels filled."""
    if most <= 0:
        return mask
    # The outside is one piece, also where the region reaches the border.
    around = np.pad(~mask, 1, constant_values=True)
    labels, _ = ndimage.label(around, _neighbours(12 - connectivity))
    small = np.bincount(labels.ravel()) <= most
    small[[0, labels[0, 0]]] = False
    result: Bools = mask | small[labels][1:-1, 1:-1]
    return result


def _neighbours(connectivity: int) -> npt.NDArray[np.intp]:
    return ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)


class RegionGrower:
    """Grows regions in an image; remembers the last place.

    Args:
        source: the image.
    """

    def __init__(self, source: RasterSource) -> None:
        self._source = source
        self._spread: npt.NDArray[np.float64] | None = None
        self._seed: tuple[int, int] | None = None
        self._distances = _Distances(np.empty((0, 0), np.float32), 0, 0)
        self._spectrum = np.empty(0)

    def grow(
        self, row: int, col: int, tolerance: float, check: Check,
        most_pixels: int = MOST_PIXELS, connectivity: int = 4, fill_holes: int = 0,
    ) -> Region | None:  # fmt: skip
        """The region around a pixel; None where the image has no data there.

        A higher tolerance never gives a smaller region.

        Args:
            row: of the pixel.
            col: of the pixel.
            tolerance: 0 to 100.
            check: called now and then; may raise to give up.
            most_pixels: of the region, before holes are filled.
            connectivity: 4 or 8 neighbours.
            fill_holes: pixels of the largest hole that is filled.

        Raises:
            InputError: the image is damaged there.
        """
        if not (0 <= row < self._source.height and 0 <= col < self._source.width):
            return None
        if self._seed != (row, col) and not self._start(row, col, check):
            return None
        level = level_of(tolerance)
        while True:
            at = row - self._distances.row, col - self._distances.col
            mask, limited = _within(self._distances.values, at, level, connectivity, most_pixels)
            # Not before it ends within the window is it the same whichever window it is looked for in.
            if not self._widen(mask, row, col, check):
                break
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Region(
            filled(cut, fill_holes, connectivity),
            self._distances.row + int(rows[0]),
            self._distances.col + int(columns[0]),
            limited or self._touches_border(mask),
        )

    def _start(self, row: int, col: int, check: Check) -> bool:
        """Look at another pixel; False where it has no data."""
        self._seed = None
        top, left = max(row - _SEED, 0), max(col - _SEED, 0)
        bottom, right = min(row + _SEED + 1, self._source.height), min(col + _SEED + 1, self._source.width)
        samples, valid = self._source.read(Window(left, top, right - left, bottom - top))
        if valid is not None and not valid[row - top, col - left]:
            return False
        present = samples.reshape(len(samples), -1) if valid is None else samples[:, valid]
        self._spectrum = present.mean(axis=1, dtype=np.float64)
        if self._spread is None:
            self._spread = band_spread(self._source, check)
        self._distances = self._around(row, col, _FIRST_REACH, check)
        self._seed = row, col
        return True

    def _around(self, row: int, col: int, reach: int, check: Check) -> _Distances:
        """Distances in the window that reaches so far."""
        top, left = max(row - reach, 0), max(col - reach, 0)
        bottom, right = min(row + reach + 1, self._source.height), min(col + reach + 1, self._source.width)
        values = np.empty((bottom - top, right - left), np.float32)
        assert self._spread is not None
        step = max(_SAMPLES_AT_ONCE // (values.shape[1] * len(self._spread)), 1)
        for start in range(0, len(values), step):
            check()
            here = slice(start, min(start + step, len(values)))
            samples, valid = self._source.read(Window(left, top + start, values.shape[1], here.stop - start))
            values[here] = spectral_distance(samples, self._spectrum, self._spread)
            if valid is not None:
                values[here][~valid] = np.nan
        return _Distances(values, top, left)

    def _widen(self, mask: Bools, row: int, col: int, check: Check) -> bool:
        """Look further if the region reaches the window's border; False where that is not needed or not possible."""
        if not self._touches_border(mask):
            return False
        reach = max(row - self._distances.row, col - self._distances.col,
                    self._distances.row + mask.shape[0] - 1 - row,
                    self._distances.col + mask.shape[1] - 1 - col)  # fmt: skip
        if reach >= _LAST_REACH:
            return False
        self._distances = self._around(row, col, min(2 * reach, _LAST_REACH), check)
        return True

    def _touches_border(self, mask: Bools) -> bool:
        """Whether a region reaches a border of the window that is none of the image."""
        d = self._distances
        return bool(
            (d.row > 0 and mask[0].any())
            or (d.col > 0 and mask[:, 0].any())
            or (d.row + mask.shape[0] < self._source.height and mask[-1].any())
            or (d.col + mask.shape[1] < self._source.width and mask[:, -1].any())
        )


@dataclass(frozen=True)
class _Distances:
    """Distances of a window's pixels (h, w), and its first row and column."""

    values: npt.NDArray[np.float32]
    row: int
    col: int


def spectral_distance(
    samples: npt.NDArray[np.generic], spectrum: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Root mean square difference from a spectrum, in units of each band's spread: (C, h, w) to (h, w)."""
    total = np.zeros(samples.shape[1:], np.float32)
    for band, center, unit in zip(samples, spectrum, spread, strict=True):
        # Differences first: large numbers that are alike lose nothing then.
        difference = (band - center).astype(np.float32) / np.float32(unit)
        total += difference * difference
    total /= len(samples)
    return np.sqrt(total, out=total)


def band_spread(source: RasterSource, check: Check) -> npt.NDArray[np.float64]:
    """The spread of each band over the image, (C,), from windows spread over it: half the range from 16 to 84 %.

    That is the standard deviation of a normal distribution, and clouds or saturated pixels hardly change it.
    """
    height, width = source.height, source.width
    side = _SPREAD_SIDE // 4
    windows = [
        Window(int(max(width - side, 0) * x), int(max(height - side, 0) * y), min(side, width), min(side, height))
        for y in (0.1, 0.37, 0.63, 0.9)
        for x in (0.1, 0.37, 0.63, 0.9)
    ]
    parts = []
    for window in windows:
        check()
        samples, valid = source.read(window)
        parts.append(samples.reshape(len(samples), -1) if valid is None else samples[:, valid])
    values = np.concatenate(parts, axis=1).astype(np.float64)
    if values.shape[1] == 0:
        return np.ones(len(values))
    low, middle, high = np.percentile(values, [16, 50, 84], axis=1)
    spread = (high - low) / 2
    # A band that is the same nearly everywhere: what it varies at all, or any number.
    deviation = values.std(axis=1)
    spread = np.where(spread > 0, spread, deviation)
    return np.where(spread > 1e-12 * np.maximum(np.abs(middle), 1e-300), spread, 1.0)


def _within(
    distance: npt.NDArray[np.float32], seed: tuple[int, int], level: int, connectivity: int, most: int
) -> tuple[Bools, bool]:
    """The region at a level, and whether it was cut: then it is that of the highest level with no more pixels.

    Where all that is alike is more than that, it is what lies in a square around the seed.
    """
    mask = grown(distance, seed, _distance_at(level), connectivity)
    if int(mask.sum()) <= most:
        return mask, False
    alike = grown(distance, seed, 0.0, connectivity)
    if int(alike.sum()) > most:
        half = max(int(np.sqrt(most)) - 1, 0) // 2
        near = np.full(distance.shape, np.nan, np.float32)
        here = tuple(slice(max(place - half, 0), place + half + 1) for place in seed)
        near[here] = np.where(alike[here], 0.0, np.nan)
        return grown(near, seed, 0.0, connectivity), True
    best, low, high = alike, 0, level
    while high - low > 1:
        middle = (low + high) // 2
        mask = grown(distance, seed, _distance_at(middle), connectivity)
        if int(mask.sum()) <= most:
            best, low = mask, middle
        else:
            high = middle
    return best, True
