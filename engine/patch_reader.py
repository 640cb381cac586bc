"""Small images whose bands lie in files of their own: all at the pixels of the finest, as classification reads them.

BigEarthNet has 7 million such files.  :class:`.raster.RasterSource` finds out for each stack how its grids lie to each
other; here that is known, since all bands of a patch cover the same square.  Stacks that do not are left to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from rasterio.windows import Window

from ..errors import InputError
from ..models.bands import Band, BandMatch
from .opening import gdal_environment
from .plain_tiff import PlainImage, read_plain
from .raster import RasterSource
from .resampling import Taps, resample_axes, taps

# Corners that differ by less, in pixels of the finest file, are the same.
_SAME = 0.01


def read_band_files(paths: Sequence[str]) -> np.ndarray:
    """The first band of each file at the pixels of the finest, as stored; coarser ones bilinear.

    Args:
        paths: the files, in the order of the bands.

    Returns:
        (C, rows, columns), in the common type of the bands.

    Raises:
        InputError: a file is missing or damaged, or they cannot be laid over each other.
    """
    images = []
    for path in paths:
        image = read_plain(path)
        if image is None:
            return _as_a_stack(paths)
        images.append(image)
    return _on_one_grid(images) if _cover_the_same(images) else _as_a_stack(paths)


def _cover_the_same(images: Sequence[PlainImage]) -> bool:
    corners = np.array([image.bounds for image in images])
    pixel = min(min(image.pixel_width, image.pixel_height) for image in images)
    return bool(np.ptp(corners, axis=0).max() <= _SAME * pixel)


def _on_one_grid(images: Sequence[PlainImage]) -> np.ndarray:
    bands = [image.samples for image in images]
    height, width = max((band.shape for band in bands), key=lambda shape: shape[0] * shape[1])
    result = np.empty((len(bands), height, width), np.result_type(*bands))
    by_shape: dict[tuple[int, int], list[int]] = {}
    for place, band in enumerate(bands):
        by_shape.setdefault((band.shape[0], band.shape[1]), []).append(place)
    for (rows, columns), places in by_shape.items():
        stack = np.stack([bands[place] for place in places])
        if (rows, columns) != (height, width):
            stack, _ = resample_axes(stack, None, _taps(height, rows), _taps(width, columns), "bilinear")
        result[places] = stack
    return result


@lru_cache(maxsize=64)
def _taps(positions: int, count: int) -> Taps:
    """Samples of a line of ``count`` pixels at the centres of ``positions`` pixels over the same length."""
    size = count / positions
    return taps((np.arange(positions) + 0.5) * size, size, count, "bilinear")


def _as_a_stack(paths: Sequence[str]) -> np.ndarray:
    with gdal_environment(), RasterSource(paths) as source:
        source.select([BandMatch(Band(), number, 1, "given") for number in range(1, len(paths) + 1)])
        samples, valid = source.read(Window(0, 0, source.width, source.height))
    if valid is not None and not valid.any():
        raise InputError(f"“{paths[0]}” and the files beside it hold no valid pixel.")
    return samples
