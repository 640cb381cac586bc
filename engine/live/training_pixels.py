"""The labelled pixels that a live classifier is trained on, kept tile by tile, so that an edit reads only its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.windows import Window

from ..labels.labels import UNLABELLED, Labels
from ..labels.shape_map import ShapeMap
from ..raster import RasterSource

_TILE = 256
# Pixels of one shape that are kept of one tile, and tiles that are looked at.
_MOST_PIXELS = 400
_MOST_TILES = 400

_Tile = tuple[int, int, int, int]


@dataclass(frozen=True)
class TrainingSamples:
    """Samples with their classes.

    Args:
        values: (n, C) as stored, in single precision.
        places: (n,) the class of each as its place in the legend.
        features: (n,) the number of each one's feature.
    """

    values: npt.NDArray[np.float32]
    places: npt.NDArray[np.int16]
    features: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _TileSamples:
    """What was read of a tile: values and features as above, and the key of its shapes."""

    key: bytes
    values: npt.NDArray[np.float32]
    features: npt.NDArray[np.int64]


class TrainingPixels:
    """Reads the labelled pixels of an image, each tile once for the same shapes in it.

    Args:
        source: the image.
    """

    def __init__(self, source: RasterSource) -> None:
        self._source = source
        self._tiles: dict[_Tile, _TileSamples] = {}

    def read(self, labels: Labels, check: Callable[[], None]) -> TrainingSamples:
        """A bounded number of pixels of every labelled shape; the same for the same labels.

        Args:
            labels: in the image's pixels.
            check: called now and then; may raise to give up.

        Raises:
            InputError: the image is damaged there.
        """
        found: dict[_Tile, _TileSamples] = {}
        if len(labels):
            label_map = ShapeMap(labels, self._source.height, self._source.width)
            tiles = _spread(list(label_map.windows(_TILE)), _MOST_TILES)
            for tile, key in zip(tiles, _keys(tiles, labels), strict=True):
                kept = self._tiles.get(tile)
                if kept is None or kept.key != key:
                    check()
                    kept = _TileSamples(key, *self._read_tile(label_map, labels, tile))
                    # At once, so that a superseded preview has not read in vain.
                    self._tiles[tile] = kept
                found[tile] = kept
        self._tiles = found
        none = np.empty((0, len(self._source.chosen)), np.float32)
        features = np.concatenate([np.empty(0, np.int64), *(part.features for part in found.values())])
        order = np.argsort(labels.features, kind="stable")
        places = labels.places[order[np.searchsorted(labels.features, features, sorter=order)]]
        return TrainingSamples(np.concatenate([none, *(part.values for part in found.values())]), places, features)

    def _read_tile(
        self, label_map: ShapeMap, labels: Labels, tile: _Tile
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        row, col, height, width = tile
        _, numbers = label_map.read(row, col, height, width)
        rows, columns = np.nonzero(numbers != UNLABELLED)
        if not len(rows):
            return np.empty((0, len(self._source.chosen)), np.float32), np.empty(0, np.int64)
        top, left = int(rows.min()), int(columns.min())
        window = Window(col + left, row + top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
        samples, valid = self._source.read(window)
        if valid is not None:
            present = valid[rows - top, columns - left]
            rows, columns = rows[present], columns[present]
        kept = _at_most_per_shape(numbers[rows, columns], row * label_map.width + col)
        rows, columns = rows[kept], columns[kept]
        values = samples[:, rows - top, columns - left].T.astype(np.float32)
        return values, labels.features[numbers[rows, columns]]


def _at_most_per_shape(numbers: npt.NDArray[np.int32], seed: int) -> npt.NDArray[np.intp]:
    random = np.random.default_rng(seed)
    kept = []
    for number in np.unique(numbers):
        own = np.flatnonzero(numbers == number)
        kept.append(random.choice(own, _MOST_PIXELS, replace=False) if len(own) > _MOST_PIXELS else own)
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, np.intp)


def _spread(tiles: list[_Tile], most: int) -> list[_Tile]:
    """At most so many of the tiles, spread evenly."""
    if len(tiles) <= most:
        return tiles
    return [tiles[place] for place in np.linspace(0, len(tiles) - 1, most).round().astype(int)]


def _keys(tiles: list[_Tile], labels: Labels) -> list[bytes]:
    """What the pixels in each tile depend on: its shapes, their order, classes and numbers."""
    if not tiles:
        return []
    shapes = shapely.to_wkb(labels.shapes)
    boxes = np.array([shapely.box(col, row, col + width, row + height) for row, col, height, width in tiles])
    tile, shape = shapely.STRtree(labels.shapes).query(boxes)
    hashes = [hashlib.blake2b(digest_size=16) for _ in tiles]
    for place, number in sorted(zip(tile.tolist(), shape.tolist(), strict=True)):
        hashes[place].update(f"{labels.legend[labels.places[number]].code} {labels.features[number]} ".encode())
        hashes[place].update(shapes[number])
    return [entry.digest() for entry in hashes]
