"""Samples of one grid at the pixels of another.

Every value depends on its own pixel only, never on the window it is computed in.  Missing samples take no part: the
others' weights are scaled up to make up for them.  A pixel is missing where the sample under its centre is; under
``average``, where less than half of it has data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .job import RESAMPLING

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

#: Ways to resample.  ``bilinear`` and ``cubic`` widen over pixels that are coarser than the samples.
METHODS = RESAMPLING

# Centres that fall on an edge between two samples belong to the second, whatever the rounding.
_EDGE = 1e-6
# Centres that lie so little beyond the last sample, in the larger of both grids' pixels, are on it: grids that are the
# same but for rounding (.grid) leave no rim of missing pixels.
_BEYOND = 0.02
# Samples of an intermediate result.
_AT_ONCE = 1 << 16
# A share of the weights this near to 1 is all of them.
_ALL = 1e-9
# Below this the rest of the weights says nothing (cubic weights may cancel each other).
_LEAST_SHARE = 0.05


@dataclass(frozen=True)
class Taps:
    """Which samples along an axis make up each position, and with which weight.

    Args:
        index: (..., k) numbers of samples, within the axis.
        weight: (..., k); they add up to 1 where ``inside``.
        inside: (...) whether the position lies on the axis at all.
        finer: whether positions lie closer than samples.
    """

    index: npt.NDArray[np.intp]
    weight: Floats
    inside: Bools
    finer: bool


def taps(positions: Floats, size: float, count: int, method: str) -> Taps:
    """Weights of the samples around positions on an axis.

    Args:
        positions: (...) in samples from the axis' start; NaN where there is none.
        size: side of a pixel, in samples.
        count: samples on the axis.
        method: one of :data:`METHODS`.
    """
    beyond = _BEYOND * max(size, 1.0)
    with np.errstate(invalid="ignore"):
        inside = (positions >= -beyond) & (positions <= count + beyond)
    places = np.where(inside, positions, 0.0)
    if method == "nearest":
        index = np.clip(np.floor(places + _EDGE).astype(np.intp), 0, count - 1)[..., None]
        return Taps(index, np.ones(index.shape), inside, size < 1)
    if method == "average":
        half = size / 2
        number = int(np.ceil(size - _EDGE)) + 1
        index = np.floor(places - half + _EDGE).astype(np.intp)[..., None] + np.arange(number)
        weight = np.minimum(index + 1, places[..., None] + half) - np.maximum(index, places[..., None] - half)
        weight = np.maximum(weight, 0.0)
    else:
        stretch = max(size, 1.0)
        reach = stretch * (2 if method == "cubic" else 1)
        number = int(np.ceil(2 * reach - _EDGE))
        index = np.floor(places - 0.5 - reach + _EDGE).astype(np.intp)[..., None] + 1 + np.arange(number)
        distance = np.abs(index + 0.5 - places[..., None]) / stretch
        weight = _cubic(distance) if method == "cubic" else np.maximum(1 - distance, 0.0)
    weight = np.where((index >= 0) & (index < count), weight, 0.0)
    weight /= weight.sum(axis=-1, keepdims=True)
    return Taps(np.clip(index, 0, count - 1), weight, inside, size < 1)


def _cubic(distance: Floats) -> Floats:
    """Keys' cubic convolution (1981) with a = -1/2."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def resample_axes(
    samples: npt.NDArray, valid: Bools | None, rows: Taps, columns: Taps, method: str
) -> tuple[npt.NDArray, Bools | None]:
    """Resample where both grids' axes are parallel: one axis after the other.

    Args:
        samples: (C, h, w).
        valid: (C, h, w), or None where all are.
        rows: (H, k) taps into h.
        columns: (W, k) taps into w.
        method: one of :data:`METHODS`.

    Returns:
        Samples (C, H, W) of the same type, and their validity or None.
    """

    def gather(array: npt.NDArray, row: npt.NDArray, column: npt.NDArray) -> npt.NDArray:
        return np.take(np.take(array, row, axis=1), column, axis=2)

    # Gathering columns is slow, so it is done while rows are few: before they become more, after they become less.
    axes = [(2, columns), (1, rows)] if rows.finer else [(1, rows), (2, columns)]

    def combine(array: Floats) -> Floats:
        for axis, along in axes:
            array = _along_axis(array, along, axis)
        return array

    def nearest(array: npt.NDArray) -> npt.NDArray:
        return gather(array, _heaviest(rows), _heaviest(columns))

    inside = None
    if not (rows.inside.all() and columns.inside.all()):
        inside = rows.inside[:, None] & columns.inside
    return _resample(samples, valid, combine, nearest, inside, method)


def _along_axis(array: Floats, along: Taps, axis: int) -> Floats:
    """Weighted sums along the rows (axis 1) or columns (axis 2) of (C, h, w)."""
    weight = np.ascontiguousarray(along.weight.T, array.dtype)
    shape = [*array.shape]
    shape[axis] = along.index.shape[0]
    result = np.empty(shape, array.dtype)
    # A few rows at once, so that what is added up stays in the processor's cache.
    step = max(_AT_ONCE // (shape[0] * shape[2]), 1)
    for start in range(0, shape[1], step):
        here = slice(start, start + step)
        total = result[:, here]
        for k in range(along.index.shape[1]):
            if axis == 1:
                part = np.take(array, along.index[here, k], axis=1)
                part *= weight[k, here, None]
            else:
                part = np.take(array[:, here], along.index[:, k], axis=2)
                part *= weight[k]
            if k:
                total += part
            else:
                total[...] = part
    return result


def resample_scattered(
    samples: npt.NDArray, valid: Bools | None, rows: Taps, columns: Taps, method: str
) -> tuple[npt.NDArray, Bools | None]:
    """Resample between grids that are turned or in different CRSs: as :func:`resample_axes`, taps (H, W, k) each."""
    stride = samples.shape[2]

    def combine(array: Floats) -> Floats:
        flat = array.reshape(len(array), -1)
        total = np.zeros((len(array), *rows.index.shape[:2]), array.dtype)
        for j in range(rows.index.shape[-1]):
            for i in range(columns.index.shape[-1]):
                weight = rows.weight[..., j] * columns.weight[..., i]
                if weight.any():
                    part = np.take(flat, rows.index[..., j] * stride + columns.index[..., i], axis=1)
                    part *= weight.astype(array.dtype)
                    total += part
        return total

    def nearest(array: npt.NDArray) -> npt.NDArray:
        place: npt.NDArray = np.take(
            array.reshape(len(array), -1), _heaviest(rows) * stride + _heaviest(columns), axis=1
        )
        return place

    inside = rows.inside & columns.inside
    return _resample(samples, valid, combine, nearest, None if inside.all() else inside, method)


def _heaviest(along: Taps) -> npt.NDArray[np.intp]:
    """The sample under each position."""
    if along.index.shape[-1] == 1:
        return along.index[..., 0]
    best = along.weight.argmax(axis=-1)[..., None]
    return np.take_along_axis(along.index, best, axis=-1)[..., 0]


def _resample(
    samples: npt.NDArray,
    valid: Bools | None,
    combine: Callable[[Floats], Floats],
    nearest: Callable[[npt.NDArray], npt.NDArray],
    inside: Bools | None,
    method: str,
) -> tuple[npt.NDArray, Bools | None]:
    kind = samples.dtype
    present: Bools | None = None
    if method == "nearest":
        result = nearest(samples)
        present = None if valid is None else nearest(valid)
    else:
        # Whole numbers up to 24 bits are exact in single precision.
        work = np.float32 if kind.itemsize <= 2 or kind == np.float32 else np.float64
        if valid is None:
            result = combine(samples.astype(work))
        else:
            values: Floats = np.where(valid, samples, 0).astype(work)
            result = combine(values)
            share = combine(valid.astype(np.float64))
            present = share >= 0.5 - _ALL if method == "average" else nearest(valid)
            lacks = np.abs(share - 1) > _ALL
            np.divide(result, share, out=result, where=lacks & (share > _LEAST_SHARE), casting="same_kind")
            if method != "average":
                np.copyto(result, nearest(values), where=lacks & (share <= _LEAST_SHARE))
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            highest = float(limits.max)
            if int(highest) > limits.max:
                # The largest numbers of 64 bits have no float of their own.
                highest = float(np.nextafter(highest, 0))
            np.rint(result, out=result)
            # Cubic overshoots.
            np.clip(result, limits.min, highest, out=result)
        result = result.astype(kind, copy=False)
    if inside is not None:
        present = np.broadcast_to(inside, result.shape).copy() if present is None else present & inside
    return result, present
