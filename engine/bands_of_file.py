"""Bands of one file at the pixels of a grid: as they are stored, or resampled piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import rasterio
from rasterio.windows import Window

from .grid import PixelMapping
from .opening import READ_ERRORS, damaged
from .resampling import Taps, resample_axes, resample_scattered, taps
from .validity import ValidityCheck

# Samples that one step of resampling reads at most: pixels of 100 m from an image of 1 m cover 10,000 each.
_MOST_SAMPLES = 1 << 23

_Piece = tuple[int, int, int, int]
_Span = tuple[int, int]
_Resample = Callable[[np.ndarray, "np.ndarray | None", Taps, Taps, str], "tuple[np.ndarray, np.ndarray | None]"]
_ResamplingJob = tuple[Taps, Taps, tuple[_Span, _Span], _Resample]


@dataclass
class BandsOfFile:
    """Bands of one file that are read together, and how their pixels become the map's.

    Args:
        dataset, source: the open file and its number from 0.
        bands, places: numbers in the file (from 1) and in the model (from 0).
        check: finds missing samples, in the file's own pixels.
        mapping: where the map's pixels lie in the file; None: they are its own.
        method: how they are resampled; empty: they are not.
    """

    dataset: rasterio.DatasetReader
    source: int
    bands: list[int]
    places: list[int]
    check: ValidityCheck
    mapping: PixelMapping | None
    method: str

    @property
    def shift(self) -> tuple[int, int] | None:
        """Columns and rows from the map's pixels to the file's, where these are the same pixels."""
        return (0, 0) if self.mapping is None else self.mapping.shift

    @property
    def size(self) -> tuple[float, float]:
        """Sides of a pixel of the map in the file's pixels."""
        return (1.0, 1.0) if self.mapping is None else self.mapping.size

    @property
    def may_miss(self) -> bool:
        """False where no pixel of the map can be missing here."""
        turned = self.mapping is not None and self.mapping.axes is None
        return self.check.needed or turned

    def window(self, window: Window) -> Window:
        """A window of the map in the file's pixels, where these are the same pixels."""
        assert self.shift is not None
        if self.shift == (0, 0):
            return window
        return Window(window.col_off + self.shift[0], window.row_off + self.shift[1], window.width, window.height)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Samples of a window of the map, (C, rows, columns), and where resampled their validity band by band."""
        if self.shift is not None:
            return self._stored(self.window(window)), None
        return self.resampled(window)

    def resampled(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """As :meth:`read`, but always resampled: the window may reach beyond the file."""
        row, column, height, width = (
            int(part) for part in (window.row_off, window.col_off, window.height, window.width)
        )
        samples = np.empty((len(self.bands), height, width), self.dataset.dtypes[self.bands[0] - 1])
        if samples.size == 0:
            return samples, None
        valid = np.ones(samples.shape, bool)
        for (top, left, rows, columns), job in self._pieces(row, column, height, width):
            if (rows, columns) == (height, width):
                return self._resampled(*job)
            place = (slice(None), slice(top - row, top - row + rows), slice(left - column, left - column + columns))
            samples[place], part = self._resampled(*job)
            if part is not None:
                valid[place] = part
        return samples, None if valid.all() else valid

    def _pieces(self, row: int, column: int, height: int, width: int) -> Iterator[tuple[_Piece, _ResamplingJob]]:
        """A window of the map in pieces that need no more samples and weights than memory should hold."""
        assert self.mapping is not None
        # Where the grids are turned, every pixel has weights of its own.
        weights = 0.0 if self.mapping.axes is not None else height * width * (2 * max(self.mapping.size) + 2)
        if weights <= _MOST_SAMPLES or height * width <= 1:
            rows, columns, resample = self._taps(row, column, height, width)
            inside = _span(rows), _span(columns)
            samples = (inside[0][1] - inside[0][0]) * (inside[1][1] - inside[1][0]) * len(self.bands)
            if samples <= _MOST_SAMPLES or height * width <= 1:
                yield (row, column, height, width), (rows, columns, inside, resample)
                return
        if height >= width:
            yield from self._pieces(row, column, height // 2, width)
            yield from self._pieces(row + height // 2, column, height - height // 2, width)
        else:
            yield from self._pieces(row, column, height, width // 2)
            yield from self._pieces(row, column + width // 2, height, width - width // 2)

    def _taps(self, row: int, column: int, height: int, width: int) -> tuple[Taps, Taps, _Resample]:
        assert self.mapping is not None
        across, down = self.mapping.size
        # Weights are found in the file's own pixels, so that they do not depend on the window.
        if self.mapping.axes is not None:
            (a, c), (e, f) = self.mapping.axes
            x, y = a * (np.arange(column, column + width) + 0.5) + c, e * (np.arange(row, row + height) + 0.5) + f
        else:
            x, y = self.mapping.at(row, column, height, width)
        return (
            taps(y, down, self.dataset.height, self.method),
            taps(x, across, self.dataset.width, self.method),
            resample_axes if self.mapping.axes is not None else resample_scattered,
        )

    def _resampled(
        self, rows: Taps, columns: Taps, inside: tuple[_Span, _Span], resample: _Resample
    ) -> tuple[np.ndarray, np.ndarray | None]:
        (top, bottom), (left, right) = inside
        window = Window(left, top, right - left, bottom - top)
        samples = self._stored(window)
        valid = self.check.valid_by_band(samples, window)
        rows, columns = _counted_from(rows, inside[0]), _counted_from(columns, inside[1])
        return resample(samples, valid, rows, columns, self.method)

    def _stored(self, window: Window) -> np.ndarray:
        try:
            samples: np.ndarray = self.dataset.read(self.bands, window=window)
            return samples
        except READ_ERRORS as error:
            raise damaged(self.dataset.name, error) from error


def _span(along: Taps) -> _Span:
    """The first sample that is needed and the one after the last; positions outside need the nearest."""
    index = along.index[along.inside] if along.inside.any() else along.index
    return int(index.min()), int(index.max()) + 1


def _counted_from(along: Taps, span: _Span) -> Taps:
    first, end = span
    return replace(along, index=np.clip(along.index - first, 0, end - first - 1))
