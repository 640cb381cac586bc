"""Is a TIFF file whole?  Its directories are walked, and every block must lie inside the file.

GDAL keeps the last 64 kB of a file in a buffer; when the disk is full as that is written, at close, nobody is told.
Layout: TIFF 6.0 (Adobe 1992), and BigTIFF (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

# Offsets and byte counts of strips and of tiles.
_OFFSETS, _COUNTS = (273, 324), (279, 325)
# Of the TIFF types: struct's letter for one value.
_LETTERS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "Q", 6: "b", 7: "s", 8: "h", 9: "i", 10: "q", 11: "f", 12: "d", 13: "I",
            16: "Q", 17: "q", 18: "Q"}  # fmt: skip


def is_whole(path: Path) -> bool:
    """False where a directory or a block lies beyond the end of the file, or where this is no TIFF file."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            return all(end <= size for end in _ends(file))
    except (struct.error, KeyError):
        return False


def _ends(file: BinaryIO) -> list[int]:
    """Where each block and each list of values ends, over all directories."""
    order = {b"II": "<", b"MM": ">"}[file.read(2)]

    def unpack(form: str) -> tuple[int, ...]:
        return struct.unpack(order + form, file.read(struct.calcsize(order + form)))

    big = {42: False, 43: True}[unpack("H")[0]]
    # Letters of an entry's count and of an offset, and of the number of entries.
    word, number = ("Q", "Q") if big else ("I", "H")
    if big:
        unpack("HH")
    ends: list[int] = []
    (place,) = unpack(word)
    while place:
        file.seek(place)
        entries: list[tuple[int, int, int, bytes]] = []
        for _ in range(unpack(number)[0]):
            tag, kind, count = unpack("HH" + word)
            entries.append((tag, kind, count, file.read(struct.calcsize(word))))
        (place,) = unpack(word)
        found: dict[int, tuple[int, ...]] = {}
        for tag, kind, count, inline in entries:
            form = f"{count}{_LETTERS[kind]}"
            length = struct.calcsize(order + form)
            is_elsewhere = length > len(inline)
            if is_elsewhere:
                (start,) = struct.unpack(order + word, inline)
                ends.append(start + length)
            if tag in (*_OFFSETS, *_COUNTS):
                if is_elsewhere:
                    file.seek(start)
                    found[tag] = unpack(form)
                else:
                    found[tag] = struct.unpack(order + form, inline[:length])
        for offsets, counts in zip(_OFFSETS, _COUNTS, strict=True):
            if offsets in found:
                ends += [start + count for start, count in zip(found[offsets], found[counts], strict=True)]
    return ends
