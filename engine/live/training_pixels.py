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
# Tiles that are looked at; pixels that are kept of one tile: of one shape, and samples of one class over all bands.
_MOST_TILES = 400
_MOST_PIXELS = 400
_MOST_SAMPLES = 50_000

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
            for tile, key in _tiles(label_map, labels):
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
        places, numbers = label_map.read(row, col, height, width)
        rows, columns = np.nonzero(numbers != UNLABELLED)
        if not len(rows):
            return np.empty((0, len(self._source.chosen)), np.float32), np.empty(0, np.int64)
        top, left = int(rows.min()), int(columns.min())
        window = Window(col + left, row + top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
        samples, valid = self._source.read(window)
        if valid is not None:
            present = valid[rows - top, columns - left]
            rows, columns = rows[present], columns[present]
        random = np.random.default_rng(row * label_map.width + col)
        kept = _at_most(numbers[rows, columns], _MOST_PIXELS, random)
        rows, columns = rows[kept], columns[kept]
        kept = _at_most(places[rows, columns], max(_MOST_SAMPLES // len(self._source.chosen), 1), random)
        rows, columns = rows[kept], columns[kept]
        values = samples[:, rows - top, columns - left].T.astype(np.float32)
        return values, labels.features[numbers[rows, columns]]


def _at_most(groups: npt.NDArray[np.integer], most: int, random: np.random.Generator) -> npt.NDArray[np.intp]:
    """Which pixels are kept, in their order: so many of each group."""
    kept = [np.empty(0, np.intp)]
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        kept.append(random.choice(own, most, replace=False) if len(own) > most else own)
    return np.sort(np.concatenate(kept))


def _tiles(label_map: ShapeMap, labels: Labels) -> list[tuple[_Tile, bytes]]:
    """The tiles that are looked at, and on what their pixels depend: their shapes with order, classes and numbers."""
    tiles = list(label_map.windows(_TILE))
    if not tiles:
        return []
    boxes = np.array([shapely.box(col, row, col + width, row + height) for row, col, height, width in tiles])
    tile, shape = shapely.STRtree(labels.shapes).query(boxes)
    chosen = _spread(tile, labels.places[shape], len(tiles))
    wanted = np.isin(tile, chosen)
    order = np.lexsort((shape[wanted], tile[wanted]))
    hashes = {number: hashlib.blake2b(digest_size=16) for number in chosen.tolist()}
    for place, number in zip(tile[wanted][order].tolist(), shape[wanted][order].tolist(), strict=True):
        hashes[place].update(f"{labels.legend[labels.places[number]].code} {labels.features[number]} ".encode())
        hashes[place].update(shapely.to_wkb(labels.shapes[number]))
    return [(tiles[number], entry.digest()) for number, entry in hashes.items()]


def _spread(tile: npt.NDArray[np.integer], place: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.integer]:
    """Numbers of at most :data:`_MOST_TILES` tiles in which every class is found, as evenly spread as can be.

    Args:
        tile: (n,) tiles.
        place: (n,) a class that is found in each.
        count: of all tiles.
    """
    if count <= _MOST_TILES:
        return np.arange(count)
    classes = np.unique(place)
    most = max(_MOST_TILES // len(classes), 1)
    chosen = []
    for entry in classes:
        own = np.unique(tile[place == entry])
        chosen.append(own[np.unique(np.linspace(0, len(own) - 1, most).round().astype(int))])
    return np.unique(np.concatenate(chosen))
