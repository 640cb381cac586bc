"""The labelled pixels of an image, as samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from ..raster import RasterSource
from .labels import UNLABELLED, LabelMap, Numbers, Places
from .pixel_cache import PixelCache, read_labelled

#: Windows are at least so large; blocks of the file are not cut.
LEAST_SIDE, _MOST_SIDE = 256, 1024
# Samples of one window at most; a window of an image of many bands is read in parts.
_MOST_SAMPLES = 1 << 25


@dataclass
class Samples:
    """Labelled pixels with all their samples.

    Args:
        values: (n, C) as stored.
        places: (n,) of the class in the legend.
        shapes: (n,) number of the polygon or point, unlabelled where labels are a raster.
        rows, cols: (n,) where they lie in the image.
        missing: how many labelled pixels of the window have no data.
    """

    values: npt.NDArray[Any]
    places: Places
    shapes: Numbers
    rows: Numbers
    cols: Numbers
    missing: int = 0

    def __len__(self) -> int:
        return len(self.places)


def labelled_pixels(
    source: RasterSource, labels: LabelMap, side: int | None = None, cache: PixelCache | None = None
) -> Iterator[Samples]:
    """The labelled pixels of an image window by window; those without data are left out and counted.

    Windows without labels are not read, and of the others only the rows and columns that hold labels.

    Args:
        source: the image, with its bands chosen.
        labels: on the same pixels.
        side: of the windows; None: as suits the file's blocks.
        cache: of this source, where the same is read again and again.

    Raises:
        InputError: a file is damaged.
    """
    side = side or _side(source)
    for row, col, height, width in labels.windows(side):
        places, shapes = labels.read(row, col, height, width)
        labelled = places != UNLABELLED
        if not labelled.any():
            continue
        rows, cols = np.flatnonzero(labelled.any(axis=1)), np.flatnonzero(labelled.any(axis=0))
        left, right = int(cols[0]), int(cols[-1]) + 1
        step = max(1, _MOST_SAMPLES // ((right - left) * max(len(source.chosen), 1)))
        for top in range(int(rows[0]), int(rows[-1]) + 1, step):
            bottom = min(top + step, int(rows[-1]) + 1)
            part = np.s_[top:bottom, left:right]
            if labelled[part].any():
                window = Window(col + left, row + top, right - left, bottom - top)
                yield _samples(source, window, places[part], shapes[part], cache)


def _samples(
    source: RasterSource, window: Window, places: Places, shapes: Numbers, cache: PixelCache | None
) -> Samples:
    labelled = places != UNLABELLED
    values, wanted = (cache.read if cache else read_labelled)(source, window, labelled)
    rows, cols = np.nonzero(wanted)
    return Samples(
        values,
        places[rows, cols],
        shapes[rows, cols],
        (rows + window.row_off).astype(np.int32),
        (cols + window.col_off).astype(np.int32),
        int(labelled.sum() - wanted.sum()),
    )


def _side(source: RasterSource) -> int:
    """The side of windows that cut no block, if blocks are not too large."""
    rows, columns = source.block_shape
    block = rows if rows == columns else 1
    side = -(-LEAST_SIDE // block) * block
    return side if side <= _MOST_SIDE else LEAST_SIDE
