"""Keys of which equal ones stand side by side, stretch by stretch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stretches(keys: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where stretches of equal keys begin and end.

    Args:
        keys: (n,) sorted, or at least with equal ones side by side.

    Returns:
        First place of each stretch, and the one after its last.
    """
    if not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return starts, np.r_[starts[1:], len(keys)]


def distinct(keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The different keys, sorted, and the place of each key among them.

    As ``np.unique``, which sorts all keys: here a stretch of equal ones is sorted as one, since samples that follow one
    another mostly lie in one block and one polygon.

    Args:
        keys: (n,) in any order.
    """
    starts, ends = stretches(keys)
    found, place = np.unique(keys[starts], return_inverse=True)
    return found, np.repeat(place.astype(np.int64), ends - starts)
