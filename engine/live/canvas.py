"""What a map canvas shows of an image: samples of the visible part, no finer than the screen or the image.

Where the canvas is zoomed in, the image's own pixels are read, as classification and labels see them; where it is
zoomed out, every file gives about one sample per pixel of the screen, from its overviews if it has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.transform import from_bounds
from rasterio.windows import Window

from ...errors import InputError
from ..bands_of_file import BandsOfFile
from ..grid import Grid, PixelMapping
from ..opening import READ_ERRORS, damaged
from ..raster import RasterSource
from ..resampling import Taps, taps

#: Sides that a canvas may have in pixels: larger than any screen.
MOST_SIDE = 16384
# Pixels and bytes of what is looked at: a larger canvas is looked at with coarser pixels.
_MOST_PIXELS = 1 << 22
_MOST_BYTES = 1 << 29
# Source samples that are read between two looks at what QGIS wants meanwhile.
_SAMPLES_AT_ONCE = 1 << 24
# Where a window of the image's own pixels would hold so many times the canvas' pixels, samples are enough.
_MOST_WASTE = 2.0

Samples = npt.NDArray[np.generic]
Bools = npt.NDArray[np.bool_]
Check = Callable[[], None]


@dataclass(frozen=True)
class View:
    """What is visible.

    Args:
        extent: left, bottom, right and top in the canvas' CRS.
        crs: the canvas' CRS, or None for that of the image.
        width, height: of the canvas in pixels.
    """

    extent: tuple[float, float, float, float]
    crs: CRS | None
    width: int
    height: int

    def __post_init__(self) -> None:
        left, bottom, right, top = self.extent
        if not all(map(math.isfinite, self.extent)) or left >= right or bottom >= top:
            raise InputError(f"{list(self.extent)} is no extent; left, bottom, right and top are needed.")
        if not all(1 <= side <= MOST_SIDE for side in (self.width, self.height)):
            raise InputError(f"A canvas of {self.width} × {self.height} pixels cannot be previewed.")

    @property
    def grid(self) -> Grid:
        """The canvas' pixels."""
        return Grid(self.crs, from_bounds(*self.extent, self.width, self.height), self.width, self.height)


@dataclass(frozen=True)
class CanvasPixels:
    """Samples of what a canvas shows.

    Args:
        samples: (C, h, w) as stored.
        valid: (h, w), or None where all are valid.
        rows, columns: where the canvas' pixels lie in them, -1 outside: (H,) and (W,) where the axes are parallel, else
            both (H, W).
    """

    samples: Samples
    valid: Bools | None
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]

    def on_canvas(self, picture: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """A picture of the samples, (h, w), as the canvas shows it, (H, W); 0 where the image is not."""
        if self.rows.ndim == 1:
            if picture.size == 0:
                return np.zeros((len(self.rows), len(self.columns)), np.uint32)
            result = np.take(np.take(picture, self.rows, axis=0, mode="clip"), self.columns, axis=1, mode="clip")
            result[self.rows < 0] = 0
            result[:, self.columns < 0] = 0
            return result
        if picture.size == 0:
            return np.zeros(self.rows.shape, np.uint32)
        result = picture[np.maximum(self.rows, 0), np.maximum(self.columns, 0)]
        result[(self.rows < 0) | (self.columns < 0)] = 0
        return result


def shown_grid(grid: Grid, y: float) -> Grid:
    """Where QGIS shows an image: without any georeference downwards from 0, where ``y`` is below it."""
    if grid.crs is None and grid.transform.is_identity and y <= 0:
        return replace(grid, transform=Affine.scale(1, -1))
    return grid


def read_canvas(source: RasterSource, view: View, check: Check) -> CanvasPixels:
    """Read what a canvas shows of an image.

    Args:
        source: the image, with its bands chosen.
        view: the canvas.
        check: called now and then; may raise to give up.

    Raises:
        InputError: a file is damaged there.
    """
    canvas, middle = view.grid, (view.extent[1] + view.extent[3]) / 2
    most = min(_MOST_PIXELS, _MOST_BYTES // (len(source.chosen) * source.data_type.itemsize))
    mapping = PixelMapping(canvas, shown_grid(source.grid, middle))
    if max(mapping.size) <= 1.0 + 1e-6:
        rows, columns = _positions(mapping, canvas, source.height, source.width)
        box = _box(rows, columns)
        if box is None or box[2] * box[3] <= min(_MOST_WASTE * view.width * view.height + 64, most):
            return _own_pixels(source, rows, columns, box, check)
    shrink = min(math.sqrt(most / (view.width * view.height)), 1.0)
    width, height = (max(int(side * shrink), 1) for side in (view.width, view.height))
    coarse = replace(view, width=width, height=height).grid
    samples, valid = _sampled(source, coarse, middle, check)
    return CanvasPixels(
        samples, valid, np.arange(view.height) * height // view.height, np.arange(view.width) * width // view.width
    )


def _positions(
    mapping: PixelMapping, canvas: Grid, height: int, width: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Row and column of the image's pixel under each pixel of the canvas, -1 outside; see :class:`CanvasPixels`."""
    if mapping.axes is not None:
        (a, c), (e, f) = mapping.axes
        x, y = a * (np.arange(canvas.width) + 0.5) + c, e * (np.arange(canvas.height) + 0.5) + f
    else:
        x, y = mapping.at(0, 0, canvas.height, canvas.width)
    return _nearest(taps(y, mapping.size[1], height, "nearest")), _nearest(taps(x, mapping.size[0], width, "nearest"))


def _nearest(along: Taps) -> npt.NDArray[np.intp]:
    return np.where(along.inside, along.index[..., 0], -1)


def _box(rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> tuple[int, int, int, int] | None:
    """First row and column, height and width of what is inside; None where nothing is."""
    if rows.ndim == 1:
        inner_rows, inner_columns = rows[rows >= 0], columns[columns >= 0]
    else:
        inside = (rows >= 0) & (columns >= 0)
        inner_rows, inner_columns = rows[inside], columns[inside]
    if inner_rows.size == 0 or inner_columns.size == 0:
        return None
    top, left = int(inner_rows.min()), int(inner_columns.min())
    return top, left, int(inner_rows.max()) - top + 1, int(inner_columns.max()) - left + 1


def _own_pixels(
    source: RasterSource,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    box: tuple[int, int, int, int] | None,
    check: Check,
) -> CanvasPixels:
    """The image's own pixels under the canvas."""
    count = len(source.chosen)
    if box is None:
        return CanvasPixels(np.empty((count, 0, 0), source.data_type), None, rows, columns)
    top, left, height, width = box
    samples = np.empty((count, height, width), source.data_type)
    valid = np.ones((height, width), bool)
    for first, last in _strips(height, width * count):
        check()
        part, mask = source.read(Window(left, top + first, width, last - first))
        samples[:, first:last] = part
        if mask is not None:
            valid[first:last] = mask
    return CanvasPixels(
        samples,
        None if valid.all() else valid,
        np.where(rows >= 0, rows - top, -1),
        np.where(columns >= 0, columns - left, -1),
    )


def _strips(height: int, samples_per_row: float) -> list[tuple[int, int]]:
    step = max(int(_SAMPLES_AT_ONCE / max(samples_per_row, 1)), 1)
    return [(first, min(first + step, height)) for first in range(0, height, step)]


def _sampled(source: RasterSource, canvas: Grid, middle: float, check: Check) -> tuple[Samples, Bools | None]:
    """About one sample of every band per pixel of the canvas, (C, H, W), and which are valid."""
    samples = np.zeros((len(source.chosen), canvas.height, canvas.width), source.data_type)
    valid = np.ones((canvas.height, canvas.width), bool)
    for bands in source.reads:
        grid = shown_grid(source.grids[bands.source], middle)
        mapping = PixelMapping(canvas, grid)
        rows, columns = _positions(mapping, canvas, grid.height, grid.width)
        box = _box(rows, columns)
        if box is None:
            valid[:] = False
            break
        part, mask, steps = _decimated(bands, box, mapping.size, check)
        top, left = box[:2]
        # Which of the samples that were kept stands for each pixel of the file.
        row = np.where(rows >= 0, (np.maximum(rows - top, 0) * steps[0]).astype(np.intp), -1)
        column = np.where(columns >= 0, (np.maximum(columns - left, 0) * steps[1]).astype(np.intp), -1)
        row, column = np.minimum(row, part.shape[1] - 1), np.minimum(column, part.shape[2] - 1)
        if row.ndim == 1:
            inside = (row >= 0)[:, None] & (column >= 0)
            at: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] = (np.maximum(row, 0)[:, None], np.maximum(column, 0))
        else:
            inside = (row >= 0) & (column >= 0)
            at = np.maximum(row, 0), np.maximum(column, 0)
        for place, band in zip(bands.places, part, strict=True):
            samples[place] = band[at]
        valid &= inside
        if mask is not None:
            valid &= mask[at]
    return samples, None if valid.all() else valid


def _decimated(
    bands: BandsOfFile, box: tuple[int, int, int, int], size: tuple[float, float], check: Check
) -> tuple[Samples, Bools | None, tuple[float, float]]:
    """A window of a file with fewer samples; their validity, and how many there are per row and column of the file."""
    top, left, height, width = box
    rows = min(height, max(math.ceil(height / max(size[1], 1.0)), 1))
    columns = min(width, max(math.ceil(width / max(size[0], 1.0)), 1))
    down = height / rows
    samples = np.empty((len(bands.bands), rows, columns), bands.dataset.dtypes[bands.bands[0] - 1])
    valid: Bools | None = None
    # Without overviews all that lies under the window is read.
    for first, last in _strips(rows, down * width * len(bands.bands)):
        check()
        window = Window(left, top + first * down, width, (last - first) * down)
        shape = (last - first, columns)
        try:
            part = bands.dataset.read(bands.bands, window=window, out_shape=(len(bands.bands), *shape))
        except READ_ERRORS as error:
            raise damaged(bands.dataset.name, error) from error
        samples[:, first:last] = part
        by_band = bands.check.valid_by_band(part, window, shape)
        if by_band is not None:
            valid = np.ones((rows, columns), bool) if valid is None else valid
            valid[first:last] = by_band.all(axis=0)
    return samples, valid, (rows / height, columns / width)
