"""The split on the map: a scene or the ground as a dim background, with the samples of each part in a colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from .description import PARTS
from .read import TrainingSet

#: Colours of training, validation and test that also differ for the colour-blind (blue and orange: Okabe & Ito 2008;
#: red: Tol 2021).
PART_COLORS = {"train": "#0072b2", "validation": "#e69f00", "test": "#cc3311"}

# Cells along the longer side of a map.
_CELLS = 900
# Beside the samples, as a share of what they cover; and pixels at least.
_MARGIN, _LEAST_MARGIN = 0.06, 4
# Where fewer cells than this hold samples, they are drawn larger to be seen.
_SPARSE = 0.004
_MOST_LINES = 200


@dataclass
class SceneMap:
    """Where a scene's samples lie, in cells of ``step``×``step`` pixels.

    Args:
        name: of the scene.
        number: of the scene.
        height, width: of the scene in pixels.
        blocks_from: row and column where a block begins.
        left, top, right, bottom: the part of the scene that is shown, in pixels.
        step: side of a cell in pixels.
        parts: int8 (rows, columns), place of the part, -1 for no sample.
        chips: (n, 3) row, column and place of the part of chips; empty for other samples.
    """

    name: str
    number: int
    height: int
    width: int
    blocks_from: tuple[int, int]
    left: int
    top: int
    right: int
    bottom: int
    step: int
    parts: npt.NDArray[np.int8]
    chips: npt.NDArray[np.int64]


@dataclass
class GroundMap:
    """Where patches lie on the Earth.

    Args:
        longitude, latitude: (n,) of their middles, in degrees.
        parts: (n,) place of the part.
    """

    longitude: npt.NDArray[np.float64]
    latitude: npt.NDArray[np.float64]
    parts: npt.NDArray[np.int8]


def scene_maps(dataset: TrainingSet, most: int) -> list[SceneMap]:
    """The maps of the first scenes of a training set of pixels, windows or chips.

    Args:
        dataset: the set.
        most: maps at most.
    """
    told = dataset.description
    side = told.shape[-1] if told.kind == "chips" else 1
    maps = []
    for number, scene in enumerate(told.scenes[:most]):
        bounds = _bounds(dataset, number)
        if bounds is None:
            continue
        top, left, bottom, right = bounds
        bottom, right = bottom + side, right + side
        margin = max(int(_MARGIN * max(bottom - top, right - left)), _LEAST_MARGIN)
        height, width = int(scene.get("height") or bottom), int(scene.get("width") or right)
        begin = scene.get("blocks_from") or (0, 0)
        top, left = max(top - margin, 0), max(left - margin, 0)
        bottom, right = min(bottom + margin, height), min(right + margin, width)
        step = max(math.ceil(max(bottom - top, right - left) / _CELLS), 1)
        cells = np.full((-(-(bottom - top) // step), -(-(right - left) // step)), -1, np.int8)
        chips = []
        for place, part in enumerate(PARTS):
            for arrays in dataset.arrays(part):
                here = arrays.places[arrays.places["scene"] == number]
                if told.kind == "chips":
                    chips.append(
                        np.column_stack([here["row"], here["col"], np.full(len(here), place)]).astype(np.int64)
                    )
                else:
                    # Test lies over validation, validation over training.
                    cells[(here["row"] - top) // step, (here["col"] - left) // step] = place
        if told.kind != "chips" and (cells >= 0).mean() < _SPARSE:
            cells = maximum_filter(cells, size=3 if min(cells.shape) < 400 else 5)
        maps.append(
            SceneMap(
                str(scene.get("name", f"scene {number + 1}")), number, height, width,
                (int(begin[0]), int(begin[1])), left, top, right, bottom, step, cells,
                np.concatenate(chips) if chips else np.zeros((0, 3), np.int64),
            )
        )  # fmt: skip
    return maps


def _bounds(dataset: TrainingSet, scene: int) -> tuple[int, int, int, int] | None:
    """Lowest row and column of a scene's samples, and the highest."""
    found: list[tuple[int, int, int, int]] = []
    for part in PARTS:
        for arrays in dataset.arrays(part):
            here = arrays.places[arrays.places["scene"] == scene]
            if len(here):
                rows, columns = here["row"], here["col"]
                found.append((int(rows.min()), int(columns.min()), int(rows.max()), int(columns.max())))
    if not found:
        return None
    low, high = np.min(found, axis=0), np.max(found, axis=0)
    return int(low[0]), int(low[1]), int(high[2]), int(high[3])


def distance_in_words(distance: object) -> str:
    """``{"pixels": 32, "metres": 960}`` as ``"32 px (960 m)"``; empty for none."""
    if not isinstance(distance, dict) or not distance.get("pixels"):
        return ""
    metres = distance.get("metres")
    if metres is None:
        return f"{distance['pixels']:g} px"
    ground = f"{metres / 1000:g} km" if metres >= 10_000 else f"{metres:,.0f} m"
    return f"{distance['pixels']:g} px ({ground})"


def lines_between(low: int, high: int, step: int, begin: int) -> Sequence[int]:
    """Where the edges of blocks lie between two pixels; none where they would hide the map."""
    if step < 1 or (high - low) / step > _MOST_LINES:
        return []
    return range(begin + -(-(low - begin) // step) * step, high + 1, step)
