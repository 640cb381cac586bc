"""What QGIS asks the live worker for: lines of JSON, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasterio.crs import CRS

from ...errors import InputError
from ...models.label_classes import LabelClass
from ..scene import parse_crs
from .canvas import View

Feature = tuple[int, int, bytes]


class RequestError(InputError):
    """A line that does not follow the protocol; a fault of whoever wrote it."""

    code = "bad-request"


@dataclass(frozen=True)
class OpenRequest:
    """Which image; see :func:`..image.open_image`."""

    rasters: list[str]
    raster_crs: CRS | None
    nodata: float | None
    bands: str
    sensor: str | None


@dataclass(frozen=True)
class LabelsRequest:
    """Changed labels.

    Args:
        crs: of the features; None: that of the image.
        classes: all of them.
        replace: forget the labels before.
        features: new and changed ones: number, code of the class, well-known binary.
        removed: numbers of those that are gone.
    """

    crs: CRS | None
    classes: list[LabelClass]
    replace: bool
    features: list[Feature]
    removed: list[int]


@dataclass(frozen=True)
class PreviewRequest:
    """What is visible, and how its picture should look; see :func:`.preview.picture`."""

    view: View
    opacity: float
    veil: bool


@dataclass(frozen=True)
class GrowRequest:
    """Where to grow a region; see :meth:`.grow.RegionGrower.grow`."""

    point: tuple[float, float]
    crs: CRS | None
    tolerance: float
    most_pixels: int
    connectivity: int
    fill_holes: int


def parse_open(values: Mapping[str, Any]) -> OpenRequest:
    """Parse an ``open`` request.

    Raises:
        InputError: it does not follow the protocol.
    """
    rasters = list(_list(values, "rasters"))
    if not rasters or not all(isinstance(path, str) and path for path in rasters):
        raise RequestError("“rasters” must name raster files.", repr(rasters)[:500])
    nodata = values.get("nodata")
    return OpenRequest(
        rasters,
        _crs(values, "raster_crs"),
        None if nodata is None else _number(values, "nodata", finite=False),
        _text(values, "bands"),
        _text(values, "sensor") or None,
    )


def parse_labels(values: Mapping[str, Any]) -> LabelsRequest:
    """Parse a ``labels`` request.

    Raises:
        InputError: it does not follow the protocol.
    """
    try:
        classes = [
            LabelClass(int(entry["code"]), str(entry["name"]), str(entry["color"]), str(entry.get("macro") or ""))
            for entry in _list(values, "classes")
        ]
        features = [(int(fid), int(code), bytes.fromhex(shape)) for fid, code, shape in _list(values, "features")]
        removed = [int(fid) for fid in _list(values, "removed")]
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise RequestError("A class or feature of the labels cannot be read.", repr(error)) from error
    if any(not -(1 << 63) <= fid < 1 << 63 for fid, _, _ in features):
        raise RequestError("The number of a feature has more than 64 bits.")
    return LabelsRequest(_crs(values, "crs"), classes, bool(values.get("replace")), features, removed)


def parse_preview(values: Mapping[str, Any]) -> PreviewRequest:
    """Parse a ``preview`` request.

    Raises:
        InputError: it does not follow the protocol, or the canvas is none.
    """
    left, bottom, right, top = _numbers(values, "extent", 4)
    width, height = _numbers(values, "size", 2)
    return PreviewRequest(
        View((left, bottom, right, top), _crs(values, "crs"), int(width), int(height)),
        min(max(_number(values, "opacity", 1.0), 0.0), 1.0),
        values.get("veil") is not False,
    )


def parse_grow(values: Mapping[str, Any]) -> GrowRequest:
    """Parse a ``grow`` request.

    Raises:
        InputError: it does not follow the protocol.
    """
    x, y = _numbers(values, "point", 2)
    connectivity = int(_number(values, "connectivity", 4))
    if connectivity not in (4, 8):
        raise RequestError("“connectivity” must be 4 or 8.")
    return GrowRequest(
        (x, y),
        _crs(values, "crs"),
        _number(values, "tolerance"),
        max(int(_number(values, "most_pixels", 0)), 0),
        connectivity,
        max(int(_number(values, "fill_holes", 0)), 0),
    )


def _crs(values: Mapping[str, Any], name: str) -> CRS | None:
    return parse_crs(_text(values, name))


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError(f"“{name}” must be text.", repr(value)[:500])
    return value or ""


def _list(values: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = values.get(name) or []
    if not isinstance(value, list):
        raise RequestError(f"“{name}” must be a list.", repr(value)[:500])
    return value


def _numbers(values: Mapping[str, Any], name: str, count: int) -> list[float]:
    numbers = _list(values, name)
    if len(numbers) != count:
        raise RequestError(f"“{name}” must be {count} numbers.", repr(numbers)[:500])
    return [_as_number(number, name) for number in numbers]


def _number(values: Mapping[str, Any], name: str, default: float | None = None, finite: bool = True) -> float:
    value = values.get(name)
    return default if value is None and default is not None else _as_number(value, name, finite)


def _as_number(value: Any, name: str, finite: bool = True) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RequestError(f"“{name}” must be a number.", repr(value)[:500])
    try:
        number = float(value)
    except OverflowError as error:
        raise RequestError(f"“{name}” must be a number.", repr(value)[:500]) from error
    if finite and not math.isfinite(number):
        raise RequestError(f"“{name}” must be a number.", repr(value))
    return number
