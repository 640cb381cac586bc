"""Labelled pixels kept in memory, for labels that are looked at after every edit: only what changed is read again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from ..raster import RasterSource

_MOST_BYTES = 128 * 2**20


@dataclass(frozen=True)
class _Part:
    """What was read of a window: which pixels were asked for, and of those with data their values and places."""

    asked: bytes
    values: npt.NDArray[Any]
    wanted: npt.NDArray[np.bool_]


class PixelCache:
    """Reads labelled pixels of one image, and keeps those that were read last.

    Args:
        most_bytes: of memory.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._parts: OrderedDict[tuple[int, ...], _Part] = OrderedDict()

    def read(
        self, source: RasterSource, window: Window, labelled: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """As :func:`read_labelled`; the source is always the same."""
        place = tuple(int(number) for number in (window.row_off, window.col_off, *labelled.shape))
        asked = hashlib.blake2b(np.packbits(labelled).tobytes(), digest_size=16).digest()
        part = self._parts.get(place)
        if part is None or part.asked != asked:
            self._drop(place)
            part = _Part(asked, *read_labelled(source, window, labelled))
            self._parts[place] = part
            self._bytes += part.values.nbytes + part.wanted.nbytes
            while self._bytes > self._most_bytes and len(self._parts) > 1:
                self._drop(next(iter(self._parts)))
        self._parts.move_to_end(place)
        return part.values, part.wanted

    def _drop(self, place: tuple[int, ...]) -> None:
        part = self._parts.pop(place, None)
        if part is not None:
            self._bytes -= part.values.nbytes + part.wanted.nbytes


def read_labelled(
    source: RasterSource, window: Window, labelled: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read the labelled pixels of a window.

    Args:
        source: the image, with its bands chosen.
        window: of it.
        labelled: (height, width) of the window, which pixels are asked for.

    Returns:
        Values (n, C) as stored of the n pixels that are asked for and have data, and which those are: (height, width).

    Raises:
        InputError: a file is damaged.
    """
    values, valid = source.read(window)
    wanted = labelled if valid is None else labelled & valid
    rows, cols = np.nonzero(wanted)
    return np.ascontiguousarray(values[:, rows, cols].T), wanted
