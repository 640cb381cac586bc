"""What the worker of live classification says, as something that everybody can rely on.

A library in it may write into its output, and a worker of another version may answer otherwise: neither the map nor
the dock may break by that, and no file of the analyst's may be taken for a picture and deleted.
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import QgsGeometry, QgsRectangle
from qgis.PyQt.QtGui import QImage

from ..errors import ThematicaError
from .worker_event import parse_event

#: Pixels along one side of a picture; no screen has more.
_LONGEST_SIDE = 32_768
_BYTES_PER_PIXEL = 4
_NONSENSE = (
    "The worker of live classification answered what Thematica does not understand: create the runtime anew "
    "(Raster ▸ Thematica ▸ Runtime…)."
)


def parse_message(line: str) -> dict[str, Any] | None:
    """The message that a line holds, or None where it holds none.

    Returns:
        ``ready``; ``reply``, ``superseded`` with ``id``, a whole number; ``error`` with ``id`` (None where it belongs
        to no request), ``code``, ``message`` and ``details`` as text; ``log`` with ``level`` and ``message`` as text.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind = message.get("event") if isinstance(message, dict) else None
    if kind == "ready":
        return {"event": kind}
    number = message.get("id") if isinstance(message, dict) else None
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if kind in ("reply", "superseded"):
        return message if is_number else None
    if kind in ("error", "log"):
        event = parse_event(line)
        if event is not None and kind == "error":
            event["id"] = number if is_number else None
        return event
    return None


@dataclass(frozen=True)
class Preview:
    """A picture of what the labels say about the visible part of the map.

    Args:
        image: the picture.
        extent: where it lies, in the CRS that was asked for.
        reply: the whole reply (``seconds``, ``classes``, ``accuracy``, ``samples``).
    """

    image: QImage
    extent: QgsRectangle
    reply: dict[str, Any]


def read_preview(reply: dict[str, Any]) -> Preview:
    """Take the picture over from the file that the worker wrote, and delete that file.

    Raises:
        ThematicaError: it is no such reply, or the file is not there.
    """
    width, height = _whole_numbers(reply.get("size"), 2)
    extent = _numbers(reply.get("extent"), 4)
    if not (0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE):
        raise ThematicaError(_NONSENSE, f"size {width} × {height}")
    if reply.get("format") != "argb32-premultiplied" or not isinstance(reply.get("file"), str):
        raise ThematicaError(_NONSENSE, f"{reply.get('format')!r} in {reply.get('file')!r}")
    path = Path(reply["file"])
    try:
        is_ours = path.is_file() and path.stat().st_size == width * height * _BYTES_PER_PIXEL
        if not is_ours or not _is_temporary(path):
            raise ThematicaError(_NONSENSE, f"no picture of {width} × {height} pixels in {path}")
        pixels = path.read_bytes()
    except OSError as error:
        raise ThematicaError(
            "The preview could not be read: the disk for temporary files may be full, or another program cleans it up.",
            repr(error),
        ) from error
    _delete(path)
    image = QImage(pixels, width, height, width * _BYTES_PER_PIXEL, QImage.Format.Format_ARGB32_Premultiplied)
    # The copy has its own memory; the bytes go with this function.
    return Preview(image.copy(), QgsRectangle(*extent), reply)


def discard_preview(reply: dict[str, Any]) -> None:
    """Delete the file of a picture that nobody wants any more."""
    try:
        read_preview(reply)
    except ThematicaError:
        pass  # then there is nothing to delete


def _is_temporary(path: Path) -> bool:
    """True for files in the system's folder for temporary ones: never is one of the analyst's deleted."""
    folder = Path(tempfile.gettempdir()).resolve()
    return folder in path.resolve().parents


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        pass  # the worker deletes what is left when it ends


@dataclass(frozen=True)
class Grown:
    """A region that grew around a pixel.

    Args:
        geometry: a polygon in the CRS that was asked for; None where the pixel has no data.
        pixels: how many it has.
        hectares: its area, or None where that is unknown.
        is_limited: True where it stopped at the most pixels allowed and not where the spectra end.
    """

    geometry: QgsGeometry | None
    pixels: int
    hectares: float | None
    is_limited: bool


def read_grown(reply: dict[str, Any]) -> Grown:
    """The region of a reply to ``grow``.

    Raises:
        ThematicaError: it is no such reply.
    """
    text = reply.get("geometry")
    if text is None:
        return Grown(None, 0, None, bool(reply.get("limited")))
    geometry = QgsGeometry()
    try:
        geometry.fromWkb(bytes.fromhex(text))
    except (ValueError, TypeError) as error:
        raise ThematicaError(_NONSENSE, repr(error)) from error
    if geometry.isNull() or geometry.isEmpty():
        raise ThematicaError(_NONSENSE, "a geometry that is none")
    (pixels,) = _whole_numbers([reply.get("pixels", 0)], 1)
    hectares = reply.get("hectares")
    return Grown(geometry, pixels, float(hectares) if _is_number(hectares) else None, reply.get("limited") is True)


def read_statistics(reply: dict[str, Any]) -> dict[str, Any]:
    """The figures of a reply to ``statistics``: the parts that are lists are lists of objects.

    Raises:
        ThematicaError: it is no such reply.
    """
    statistics = reply.get("statistics")
    if not isinstance(statistics, dict):
        raise ThematicaError(_NONSENSE, "no statistics")
    for name in ("bands", "classes", "pairs", "lookalikes", "warnings"):
        part = statistics.setdefault(name, [])
        if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
            raise ThematicaError(_NONSENSE, f"statistics: {name}")
    return statistics


def _numbers(value: Any, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count or not all(_is_number(entry) for entry in value):
        raise ThematicaError(_NONSENSE, f"{value!r:.200} instead of {count} numbers")
    return [float(entry) for entry in value]


def _whole_numbers(value: Any, count: int) -> list[int]:
    numbers = _numbers(value, count)
    if any(number != int(number) for number in numbers):
        raise ThematicaError(_NONSENSE, f"{value!r:.200} instead of {count} whole numbers")
    return [int(number) for number in numbers]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    # JSON's whole numbers have no limit.
    return abs(value) < 1e15 if isinstance(value, int) else math.isfinite(value)
