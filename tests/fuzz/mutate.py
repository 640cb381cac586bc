"""Spoiling files: TIFF by its tags and offsets, text by its numbers and tags, anything by its bytes.

A mutation is drawn as plain numbers, so that hypothesis can make a failing one smaller.
"""

from __future__ import annotations

import re
import struct

from hypothesis import strategies as st

#: Whole numbers at which programs break.
NUMBERS = (
    0, 1, 2, 3, 7, 8, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63,
    2**64 - 1,
)  # fmt: skip
_TEXTS = (
    "", "0", "-1", "1", "2", "65536", "2147483648", "1e308", "1e999", "nan", "-nan", "inf", "x", "ü", "../", "%s", "\t",
    "9" * 400,
)  # fmt: skip

#: kind, where (0 to 1 of what there is), which value, how far.
Step = tuple[str, float, int, int]
_where = st.floats(0, 1, exclude_max=True)
_which = st.integers(0, 255)
_far = st.integers(0, 2**16)


def steps(kinds: tuple[str, ...], most: int = 3) -> st.SearchStrategy[list[Step]]:
    """Some mutations of these kinds."""
    return st.lists(st.tuples(st.sampled_from(kinds), _where, _which, _far), min_size=1, max_size=most)


BYTES = ("flip", "cut", "remove", "repeat", "zeros", "number")


def spoil_bytes(content: bytes, mutations: list[Step]) -> bytes:
    """Apply mutations of :data:`BYTES`; those of other kinds are passed over."""
    for kind, where, which, far in mutations:
        at = int(where * len(content))
        if kind == "flip":
            content = content[:at] + bytes([which]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "remove":
            content = content[:at] + content[at + 1 + far % 64 :]
        elif kind == "repeat":
            content = content[: at + 1 + far % 64] + content[at:]
        elif kind == "zeros":
            length = min(1 + far % 64, len(content) - at)
            content = content[:at] + bytes(length) + content[at + length :]
        elif kind == "number":
            packed = struct.pack("<Q", NUMBERS[which % len(NUMBERS)])[: (1, 2, 4, 8)[far % 4]]
            content = content[:at] + packed + content[at + len(packed) :]
    return content


TIFF = ("tag", "type", "count", "value", "next", "entries", "flip", "cut", "header")


def spoil_tiff(content: bytes, mutations: list[Step]) -> bytes:
    """Apply mutations of :data:`TIFF`: to the fields of an entry of one of the directories, mostly."""
    data = bytearray(content)
    for kind, where, which, far in mutations:
        directories = _directories(bytes(data))
        if kind in ("flip", "cut") or not directories:
            data = bytearray(spoil_bytes(bytes(data), [(kind if kind == "cut" else "flip", where, which, far)]))
            continue
        big = data[2] == 43
        order = "<" if data[:1] == b"I" else ">"
        word, number = ("Q", NUMBERS[which % len(NUMBERS)]) if big else ("I", NUMBERS[which % len(NUMBERS)] % 2**32)
        width, entry_size, count_size = (8, 20, 8) if big else (4, 12, 2)
        start, entries = directories[far % len(directories)]
        entry = start + count_size + int(where * max(entries, 1)) * entry_size
        if kind == "header":
            struct.pack_into(order + "H", data, (2, 4, 6)[far % 3], number % 65536)
        elif kind == "entries":
            struct.pack_into(order + ("Q" if big else "H"), data, start, number % (2**64 if big else 2**16))
        elif kind == "next":
            # Garbage, or a directory that was there before: a circle.
            target = directories[which % len(directories)][0] if which % 2 else number
            place = start + count_size + entries * entry_size
            if place + width <= len(data):
                struct.pack_into(order + word, data, place, target)
        elif entry + entry_size <= len(data):
            if kind == "tag":
                struct.pack_into(order + "H", data, entry, _TAGS[which % len(_TAGS)])
            elif kind == "type":
                struct.pack_into(order + "H", data, entry + 2, which % 20)
            elif kind == "count":
                struct.pack_into(order + word, data, entry + 4, number)
            else:
                struct.pack_into(order + word, data, entry + 4 + width, number)
    return bytes(data)


# Size, bits, compression, interpretation, strips, tiles, planes, predictor, colours, sample format, geokeys, GDAL's.
_TAGS = (
    256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347, 33550,
    33922, 34264, 34735, 34736, 34737, 42112, 42113, 50844,
)  # fmt: skip


def _directories(data: bytes) -> list[tuple[int, int]]:
    """Where the directories begin, and how many entries each has, as far as they can be followed."""
    if len(data) < 16 or data[:2] not in (b"II", b"MM"):
        return []
    order = "<" if data[:1] == b"I" else ">"
    big = struct.unpack(order + "H", data[2:4])[0] == 43
    word, width, entry_size, count_size = ("Q", 8, 20, 8) if big else ("I", 4, 12, 2)
    (at,) = struct.unpack_from(order + word, data, 8 if big else 4)
    found: list[tuple[int, int]] = []
    while 0 < at < len(data) - count_size and at not in [start for start, _ in found] and len(found) < 20:
        (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
        found.append((at, entries))
        end = at + count_size + entries * entry_size
        if end + width > len(data):
            break
        (at,) = struct.unpack_from(order + word, data, end)
    return found


TEXT = ("number", "word", "drop", "double", "swap", "cut")


def spoil_text(text: str, mutations: list[Step]) -> str:
    """Apply mutations of :data:`TEXT` to numbers, words and lines."""
    for kind, where, which, far in mutations:
        if kind in ("number", "word"):
            places = list(re.finditer(r"-?\d+(?:\.\d+)?" if kind == "number" else r"[A-Za-z_]+", text))
            if places:
                place = places[int(where * len(places))]
                text = text[: place.start()] + _TEXTS[which % len(_TEXTS)] + text[place.end() :]
            continue
        lines = text.splitlines(keepends=True)
        at = int(where * len(lines))
        if not lines:
            break
        if kind == "drop":
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "swap":
            other = far % len(lines)
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "cut":
            text = text[: int(where * len(text))]
            continue
        text = "".join(lines)
    return text
