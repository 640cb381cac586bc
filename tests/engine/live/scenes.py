"""Images and labels for the tests of the live worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from rasterio.windows import Window

from thematica.engine.live.canvas import View
from thematica.engine.live.requests import LabelsRequest, OpenRequest, PreviewRequest
from thematica.models.label_classes import LabelClass

from ..networks import image

CLASSES = [LabelClass(3, "Water", "#0000ff"), LabelClass(7, "Forest", "#00ff00"), LabelClass(9, "Sand", "#ff8000")]


class ArraySource:
    """An image in memory, with what of :class:`RasterSource` growing and training use."""

    def __init__(self, samples: np.ndarray, valid: np.ndarray | None = None) -> None:
        self.samples, self.mask = samples, valid
        _, self.height, self.width = samples.shape
        self.chosen = range(len(samples))
        self.reads: list[tuple[int, int, int, int]] = []

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        row, col, height, width = (int(part) for part in (window.row_off, window.col_off, window.height, window.width))
        assert row >= 0
        assert col >= 0
        assert row + height <= self.height
        assert col + width <= self.width
        self.reads.append((row, col, height, width))
        here = slice(row, row + height), slice(col, col + width)
        return self.samples[(slice(None), *here)], None if self.mask is None else self.mask[here]


def no_check() -> None:
    """Nobody wants anything meanwhile."""


def stripes(bands: int = 3, side: int = 60, data_type: str = "uint16") -> tuple[np.ndarray, np.ndarray]:
    """Samples (C, side, side) of three vertical stripes with their noise, and the stripe of each pixel."""
    random = np.random.default_rng(1)
    stripe = np.broadcast_to(np.arange(side) * 3 // side, (side, side))
    spectra = random.permuted(np.linspace(300, 3000, 3 * bands)).reshape(bands, 3)
    samples = spectra[:, stripe] + random.normal(0, 20, (bands, side, side))
    return samples.astype(data_type), stripe


def striped(path: Path, bands: int = 3, side: int = 60, **profile) -> Path:
    """A GeoTIFF of stripes."""
    return image(path, stripes(bands, side)[0], **profile)


def boxes(side: int = 60, origin: Sequence[float] = (500_000, 5_500_000), resolution: float = 10.0) -> list:
    """Two boxes in each stripe, as the protocol has features: number, code and shape."""
    features = []
    for number in range(6):
        stripe, lower = number % 3, number // 3
        left, top = stripe * side / 3 + 3, (lower + 0.2) * side / 2
        shape = shapely.box(
            origin[0] + left * resolution,
            origin[1] - (top + 8) * resolution,
            origin[0] + (left + 8) * resolution,
            origin[1] - top * resolution,
        )
        features.append((number + 1, CLASSES[stripe].code, shapely.to_wkb(shape)))
    return features


def opening(*rasters: Path, **more) -> OpenRequest:
    values = {"raster_crs": None, "nodata": None, "bands": "", "sensor": None, **more}
    return OpenRequest([str(path) for path in rasters], **values)


def labels(features: Sequence, crs=None, **more) -> LabelsRequest:
    values = {"classes": CLASSES, "replace": True, "removed": [], **more}
    return LabelsRequest(crs, features=list(features), **values)


def preview(extent: Sequence[float], size: tuple[int, int], crs=None, **more) -> PreviewRequest:
    values = {"opacity": 1.0, "veil": False, **more}
    return PreviewRequest(View(tuple(extent), crs, *size), **values)


def pixels(reply: dict) -> np.ndarray:
    """The picture of a preview: 0xAARRGGBB, (rows, columns)."""
    width, height = reply["size"]
    return np.fromfile(reply["file"], "<u4").reshape(height, width)


def argb(color: str) -> int:
    """An opaque colour as a pixel."""
    return 0xFF000000 | int(color[1:], 16)


COLORS = np.array([argb(entry.color) for entry in CLASSES], np.uint32)
