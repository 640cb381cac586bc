"""A labelled scene of arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from thematica.models.bands import Band
from thematica.models.label_classes import LabelClass, with_colors
from thematica.trainer.dataset.scene import UNLABELLED, SceneBand


def legend_of(count: int) -> list[LabelClass]:
    return with_colors([(10 * (place + 1), f"Class {place}") for place in range(count)])


@dataclass
class ArrayScene:
    """``values`` (C, H, W), ``places`` (H, W) classes, ``shapes`` (H, W) polygons, ``valid`` (H, W) or None."""

    values: np.ndarray
    places: np.ndarray
    shapes: np.ndarray | None = None
    valid: np.ndarray | None = None
    name: str = "scene"
    legend: Sequence[LabelClass] = ()
    gsd: float | None = 10.0
    transform: tuple[float, float, float, float, float, float] | None = (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0)
    crs: str = "EPSG:32633"
    provenance: dict[str, Any] = field(default_factory=lambda: {"files": []})
    polygons: np.ndarray | None = None
    layer: str = ""
    split: str = ""
    scales: Sequence[tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        self.places = self.places.astype(np.int16)
        if self.shapes is None:
            self.shapes = np.full(self.places.shape, UNLABELLED, np.int32)
        if not self.legend:
            self.legend = legend_of(int(self.places.max()) + 1)
        self.height, self.width = self.places.shape
        self.dtype = self.values.dtype
        scales = self.scales or [(1.0, 0.0)] * len(self.values)
        self.bands = [
            SceneBand(Band(f"B{n}", "", 0.4 + n / 10), scale, offset) for n, (scale, offset) in enumerate(scales, 1)
        ]
        parts = [self.values, self.places, self.shapes] + ([] if self.valid is None else [self.valid])
        self.fingerprint = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        assert row >= 0
        assert col >= 0
        assert 0 < height <= self.height - row
        assert 0 < width <= self.width - col
        part = (slice(row, row + height), slice(col, col + width))
        return self.values[(slice(None), *part)].copy(), None if self.valid is None else self.valid[part].copy()

    def labels(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
        places = np.full((height, width), UNLABELLED, np.int16)
        shapes = np.full((height, width), UNLABELLED, np.int32)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.height), min(col + width, self.width)
        if top < bottom and left < right:
            into = (slice(top - row, bottom - row), slice(left - col, right - col))
            of = (slice(top, bottom), slice(left, right))
            places[into], shapes[into] = self.places[of], self.shapes[of]
        return places, shapes

    def windows(self, side: int) -> Iterator[tuple[int, int, int, int]]:
        for row in range(0, self.height, side):
            for col in range(0, self.width, side):
                window = (row, col, min(side, self.height - row), min(side, self.width - col))
                if (self.labels(*window)[0] != UNLABELLED).any():
                    yield window


def fields_scene(
    height: int = 240,
    width: int = 320,
    classes: int = 3,
    bands: int = 4,
    field_side: int = 12,
    every: int = 24,
    seed: int = 0,
    dtype: str = "uint16",
    **others: Any,
) -> ArrayScene:
    """Square fields of several classes on a lattice, each a polygon of its own; no two pixels are alike."""
    chance = np.random.default_rng(seed)
    places = np.full((height, width), UNLABELLED, np.int16)
    shapes = np.full((height, width), UNLABELLED, np.int32)
    number = 0
    for row in range(2, height - field_side, every):
        for col in range(2, width - field_side, every):
            part = (slice(row, row + field_side), slice(col, col + field_side))
            places[part], shapes[part] = chance.integers(classes), number
            number += 1
    values = chance.integers(0, 10000, (bands, height, width)).astype(dtype)
    return ArrayScene(values, places, shapes, legend=legend_of(classes), **others)
