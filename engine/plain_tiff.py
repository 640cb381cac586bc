"""Small GeoTIFF files of one band, read without GDAL, which takes a millisecond to open one.

Only what is plain is read: one band of whole numbers or floats, strips, uncompressed or deflated, north up, nothing
declared missing.  Everything else is left to GDAL.  Layout: TIFF 6.0 (Adobe 1992), and GeoTIFF 1.1 (OGC 19-008r4).
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _BANDS, _COUNTS = 256, 257, 258, 259, 273, 277, 279
_PREDICTOR, _FORMAT, _PIXEL_SIZE, _TIE_POINT = 317, 339, 33550, 33922
# Tiles, a matrix instead of a tie point, nodata, and scale or offset among GDAL's own metadata.
_NOT_PLAIN = (322, 34264, 42113)
_GDAL_METADATA = 42112
_BESIDE = (".aux.xml", ".msk")
_LETTERS = {1: "B", 2: "s", 3: "H", 4: "I", 12: "d"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_UNCOMPRESSED, _DEFLATE = 1, (8, 32946)
# Larger files are read by blocks.
_MOST_BYTES = 1 << 22


@dataclass(frozen=True)
class PlainImage:
    """A band and where it lies.

    Args:
        samples: (rows, columns).
        left, top: of the upper left corner, in the file's CRS.
        pixel_width, pixel_height: sides of a pixel; both above 0.
    """

    samples: np.ndarray
    left: float
    top: float
    pixel_width: float
    pixel_height: float

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        rows, columns = self.samples.shape
        return self.left, self.top, self.left + columns * self.pixel_width, self.top - rows * self.pixel_height


def read_plain(path: str | Path) -> PlainImage | None:
    """The image in a file; None where GDAL must read it, or say what is wrong with it."""
    # What GDAL keeps beside a file may declare nodata, a scale or a mask.
    if any(os.path.exists(f"{path}{ending}") for ending in _BESIDE):
        return None
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        return _parse(content) if len(content) <= _MOST_BYTES else None
    except (OSError, struct.error, KeyError, ValueError, TypeError, zlib.error):
        return None


def _parse(content: bytes) -> PlainImage | None:
    order = {b"II": "<", b"MM": ">"}[content[:2]]
    magic, place = struct.unpack_from(order + "HI", content, 2)
    (number,) = struct.unpack_from(order + "H", content, place)
    (further,) = struct.unpack_from(order + "I", content, place + 2 + 12 * number)
    if magic != 42 or further:
        return None
    tags: dict[int, tuple[float, ...]] = {}
    for entry in range(place + 2, place + 2 + 12 * number, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", content, entry)
        if tag in _NOT_PLAIN or tag == _GDAL_METADATA:
            return None
        if kind in _LETTERS and kind != 2:
            form = f"{order}{count}{_LETTERS[kind]}"
            start = entry + 8
            if struct.calcsize(form) > 4:
                (start,) = struct.unpack_from(order + "I", content, start)
            tags[tag] = struct.unpack_from(form, content, start)

    def one(tag: int, usual: int) -> int:
        values = tags.get(tag, (usual,))
        return int(values[0]) if len(values) == 1 else -1

    compression, bits = one(_COMPRESSION, _UNCOMPRESSED), one(_BITS, 1)
    plain = one(_BANDS, 1) == 1 and one(_PREDICTOR, 1) == 1 and bits % 8 == 0
    if not plain or (compression != _UNCOMPRESSED and compression not in _DEFLATE):
        return None
    strips = [
        content[int(start) : int(start + length)] for start, length in zip(tags[_OFFSETS], tags[_COUNTS], strict=True)
    ]
    if compression != _UNCOMPRESSED:
        strips = [zlib.decompress(strip) for strip in strips]
    dtype = np.dtype(f"{order}{_KINDS[one(_FORMAT, 1)]}{bits // 8}")
    samples = np.frombuffer(b"".join(strips), dtype).reshape(one(_HEIGHT, 0), one(_WIDTH, 0))
    column, row, _, x, y, _ = tags[_TIE_POINT]
    width, height, _ = tags[_PIXEL_SIZE]
    if not (width > 0 and height > 0):
        return None
    return PlainImage(samples.astype(dtype.newbyteorder("=")), x - column * width, y + row * height, width, height)
