"""Which scenes lie on the same ground: what was trained with in one image must not be tested with in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from rasterio._err import CPLE_BaseError  # rasterio.errors has no name for it
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds

from .scene import LabelledScene


@dataclass(frozen=True)
class Ground:
    """Where scenes lie.

    Args:
        plane: (scenes,) uint16, the same for scenes whose pixels lie on one grid.
        row, col: (scenes,) int32, top left pixel of each on its plane; 0 or more.
        findings: sentences.
    """

    plane: npt.NDArray[np.uint16]
    row: npt.NDArray[np.int32]
    col: npt.NDArray[np.int32]
    findings: list[str] = field(default_factory=list)


def grounds(scenes: Sequence[LabelledScene]) -> Ground:
    """Scenes of the same place share a plane, so that blocks and buffers go through all dates.

    They do if CRS and size of the pixels agree, they are not rotated, and they lie whole pixels apart (to a tenth).
    Scenes that overlap otherwise are told.
    """
    plane = np.zeros(len(scenes), np.uint16)
    row, col = np.zeros(len(scenes), np.int32), np.zeros(len(scenes), np.int32)
    first: list[int] = []
    findings = []
    for number, scene in enumerate(scenes):
        for place, other in enumerate(first):
            shift = _shift(scenes[other], scene)
            if shift is not None:
                plane[number] = place
                row[number], col[number] = shift
                break
            if _overlap(scenes[other], scene):
                findings.append(
                    f"“{scenes[other].name}” and “{scene.name}” show the same ground on different grids: a place may "
                    "be in the training part with one of them and in the test part with the other. Bring them to one "
                    "grid for an honest test."
                )
        else:
            plane[number] = len(first)
            first.append(number)
    for place in range(len(first)):
        here = plane == place
        row[here] -= row[here].min()
        col[here] -= col[here].min()
    return Ground(plane, row, col, findings)


def _shift(one: LabelledScene, other: LabelledScene) -> tuple[int, int] | None:
    """By how many rows and columns two scenes lie apart on one grid; None where they do not share any."""
    if one.transform is None or other.transform is None or one.crs != other.crs:
        return None
    a, b, c, d, e, f = one.transform
    if b or d or other.transform[1] or other.transform[3]:
        # Rotated: the same grid only where it is the same transform.
        return (0, 0) if tuple(one.transform) == tuple(other.transform) else None
    size = max(one.width, one.height, other.width, other.height)
    # Pixel sizes that differ so little that nothing shifts by a tenth of a pixel over the whole scene.
    if abs(other.transform[0] - a) * size > abs(a) / 10 or abs(other.transform[4] - e) * size > abs(e) / 10:
        return None
    right, down = (other.transform[2] - c) / a, (other.transform[5] - f) / e
    # Far apart they share nothing, and rows and columns have 24 bits.
    if abs(right) > 1 << 22 or abs(down) > 1 << 22:
        return None
    if abs(right - round(right)) > 0.1 or abs(down - round(down)) > 0.1:
        return None
    return round(down), round(right)


def _overlap(one: LabelledScene, other: LabelledScene) -> bool:
    """Whether the rectangles around two scenes overlap, if both say where they lie."""
    if one.transform is None or other.transform is None or bool(one.crs) != bool(other.crs):
        return False
    (left, low, right, high), (west, south, east, north) = _bounds(one), _bounds(other)
    if one.crs != other.crs:
        try:
            west, south, east, north = transform_bounds(
                CRS.from_user_input(other.crs), CRS.from_user_input(one.crs), west, south, east, north
            )
        except (CRSError, CPLE_BaseError):
            # Too far away for the other's CRS.
            return False
    return left < east and west < right and low < north and south < high


def _bounds(scene: LabelledScene) -> tuple[float, float, float, float]:
    assert scene.transform is not None
    a, b, c, d, e, f = scene.transform
    corners = [(0, 0), (scene.width, 0), (0, scene.height), (scene.width, scene.height)]
    x = [a * col + b * row + c for col, row in corners]
    y = [d * col + e * row + f for col, row in corners]
    return min(x), min(y), max(x), max(y)
