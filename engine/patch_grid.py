"""The grid of patches over a raster: where each lies, and how the grid is cut up for streaming.

The grid starts at the raster's first pixel and goes on by the stride, whatever part of it is asked for, so that a
patch has the same place, and the same label, in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from ..errors import InputError
from .tiling import CHUNK_PIXELS, Rectangle

#: The least share of a patch's pixels that must lie in the raster and have data.
LEAST_VALID = 0.5
# Width in pixels of the strips down which chunks run (see tiling.py).
_STRIP = 4096
# Patches of a chunk: at a stride of one pixel their probabilities would need more memory than the pixels.
_MOST_PATCHES = 1 << 16


@dataclass(frozen=True)
class PatchGrid:
    """Patches of a raster, by rows and columns of the grid.

    Args:
        side: of a patch, in pixels.
        stride: distance of neighbouring patches, in pixels.
        height, width: of the raster, in pixels.
        region: the part of the grid that is asked for, counted in patches.
    """

    side: int
    stride: int
    height: int
    width: int
    region: Rectangle

    def chunks(self, block: tuple[int, int]) -> Iterator[Rectangle]:
        """Parts of the region, in patches, of about a megapixel; they run down strips, as those of pixels do.

        Args:
            block: rows and columns of the input file's blocks.
        """
        region = self.region
        if block[1] >= self.width and block[0] < 64:
            # Rows stored as strips: every column of a chunk costs the whole row, so chunks span the width.
            across = region.width
        else:
            across = max((_STRIP - self.side) // self.stride + 1, 1)
        across = min(across, region.width)
        columns_of_pixels = (across - 1) * self.stride + self.side
        down = max((CHUNK_PIXELS // columns_of_pixels - self.side) // self.stride + 1, 1)
        down = max(min(down, _MOST_PATCHES // across), 1)
        for column in range(region.column, region.column + region.width, across):
            columns = min(across, region.column + region.width - column)
            for row in range(region.row, region.row + region.height, down):
                yield Rectangle(row, column, min(down, region.row + region.height - row), columns)

    def pixels_of(self, chunk: Rectangle) -> Rectangle:
        """The pixels that a chunk's patches see; they may reach beyond the raster's right and lower border."""
        return Rectangle(
            chunk.row * self.stride,
            chunk.column * self.stride,
            (chunk.height - 1) * self.stride + self.side,
            (chunk.width - 1) * self.stride + self.side,
        )

    def centres(self, chunk: Rectangle) -> tuple[np.ndarray, np.ndarray]:
        """Pixel rows and columns of the middles of a chunk's patches, in the raster."""
        rows = np.arange(chunk.row, chunk.row + chunk.height) * self.stride + self.side // 2
        columns = np.arange(chunk.column, chunk.column + chunk.width) * self.stride + self.side // 2
        return np.minimum(rows, self.height - 1), np.minimum(columns, self.width - 1)

    def corners(self, rows: np.ndarray, columns: np.ndarray, transform: Affine) -> np.ndarray:
        """Outlines of patches: (n, 5, 2) coordinates.

        Patches side by side end at the raster's border, so that together they are the ground that was classified;
        patches that overlap are shown whole.

        Args:
            rows: (n,) of the grid.
            columns: (n,) of the grid.
            transform: from column and row of the raster to its coordinates.
        """
        top, left = rows * float(self.stride), columns * float(self.stride)
        bottom, right = top + self.side, left + self.side
        if self.stride >= self.side:
            bottom, right = np.minimum(bottom, self.height), np.minimum(right, self.width)
        # Against the clock where north is up, as the OGC wants outer rings.
        y = np.stack([top, bottom, bottom, top, top], axis=1)
        x = np.stack([left, left, right, right, left], axis=1)
        a, b, c, d, e, f = transform[:6]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=2)

    def cell_transform(self, transform: Affine) -> Affine:
        """From column and row of the whole grid to coordinates: a cell of one stride around every patch's middle."""
        shift, stride = (self.side - self.stride) / 2, self.stride
        a, b, c, d, e, f = transform[:6]
        return Affine(a * stride, b * stride, (a + b) * shift + c, d * stride, e * stride, (d + e) * shift + f)

    def shares_of_cells(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """How much of its cell (see :meth:`cell_transform`) each patch stands for: (n,).

        Patches side by side stand for what they show of the raster; of overlapping ones each stands for the cell
        around its middle, so that no ground counts twice.
        """
        side = min(self.side, self.stride)

        def inside(numbers: np.ndarray, size: int) -> np.ndarray:
            first = numbers * float(self.stride) + (self.side - side) / 2
            return np.clip(size - first, 0, side)

        return inside(rows, self.height) * inside(columns, self.width) / float(self.stride) ** 2


def make_grid(side: int, stride: int, height: int, width: int, region: Rectangle) -> PatchGrid:
    """The grid of all patches that have at least half of each side in the raster and their middle in the region.

    Args:
        side: of a patch, in pixels.
        stride: distance of neighbouring patches, in pixels.
        height: of the raster, in pixels.
        width: of the raster, in pixels.
        region: the pixels asked for.

    Raises:
        InputError: not even one patch fits.
    """
    if side > min(height, width):
        raise InputError(
            f"The network takes patches of {side} × {side} pixels, but the raster has only {width} × {height}: choose "
            "a larger raster, or a network for smaller patches."
        )
    first_row, rows = _numbers(side, stride, height, region.row, region.height)
    first_column, columns = _numbers(side, stride, width, region.column, region.width)
    if rows < 1 or columns < 1:
        raise no_patch_in_area(side, stride)
    return PatchGrid(side, stride, height, width, Rectangle(first_row, first_column, rows, columns))


def no_patch_in_area(side: int, stride: int) -> InputError:
    """The error for an area without the middle of a patch."""
    return InputError(
        f"The area holds no patch's middle (patches of {side} pixels, {stride} apart): draw it larger, or use a "
        "smaller --stride."
    )


def _numbers(side: int, stride: int, size: int, start: int, length: int) -> tuple[int, int]:
    """First number, and how many, of the patches along one side of the raster."""
    last = (2 * size - side) // (2 * stride)
    middles = np.minimum(np.arange(last + 1) * stride + side // 2, size - 1)
    wanted = np.flatnonzero((middles >= start) & (middles < start + length))
    return (int(wanted[0]), len(wanted)) if wanted.size else (0, 0)


def map_transform(transform: Affine, crs: CRS | None) -> Affine:
    """Where a raster lies on the map; one without any georeference as QGIS shows it: downwards from 0."""
    if crs is None and transform.is_identity:
        return Affine.scale(1, -1)
    return transform
