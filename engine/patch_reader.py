"""Small images whose bands lie in files of their own: all at the pixels of the finest, as classification reads them.

BigEarthNet has 7 million such files.  :class:`.raster.RasterSource` finds out for each stack how its grids lie to each
other; here that is done once for each size, since all patches have the same square in the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import rasterio
from rasterio.windows import Window

from ..errors import InputError
from ..models.bands import Band, BandMatch
from .opening import READ_ERRORS, damaged, gdal_environment
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
    with gdal_environment():
        bands, same = _read(paths)
        if not same:
            return _as_a_stack(paths)
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


def _read(paths: Sequence[str]) -> tuple[list[np.ndarray], bool]:
    """The bands as they are stored, and whether they cover the same square of the same CRS and miss no pixel."""
    bands, corners = [], []
    same, pixel = True, float("inf")
    for path in paths:
        try:
            with rasterio.open(path) as file:
                bands.append(file.read(1))
                place = file.transform
                corners.append((place.c, place.f, place.c + place.a * file.width, place.f + place.e * file.height))
                pixel = min(pixel, abs(place.a), abs(place.e))
                same = same and not (place.b or place.d) and file.nodatavals[0] is None
        except READ_ERRORS as error:
            raise damaged(path, error) from error
    tolerance = _SAME * pixel
    return bands, same and bool(np.ptp(np.array(corners), axis=0).max() <= tolerance)


def _as_a_stack(paths: Sequence[str]) -> np.ndarray:
    with RasterSource(paths) as source:
        source.select([BandMatch(Band(), number, 1, "given") for number in range(1, len(paths) + 1)])
        samples, valid = source.read(Window(0, 0, source.width, source.height))
    if valid is not None and not valid.any():
        raise InputError(f"“{paths[0]}” and the files beside it hold no valid pixel.")
    return samples
