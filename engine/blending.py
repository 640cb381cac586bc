"""Smooth stitching: overlapping tiles become one map as a weighted mean of their probabilities.

The sums of one row of tiles are kept, within a strip; what the next row no longer reaches is decided and leaves.  So
memory does not depend on the size of the raster, and every tile of a strip is run once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .decision import decide
from .inference import ChunkResult, Decoding, TileScores, overlap
from .tiling import BlendedRow, Plan, Rectangle

# Pixels that are decided at once: the scores of each class need memory several times over.
_DECIDED_PIXELS = 1 << 18


class Blender:
    """Takes the scores of tiles in the plan's order and gives finished pixels.

    Args:
        plan: of a smooth run.
        decodings: one for each of the network's outputs.
        scores: which of :data:`.scores.SCORES` the results hold.
    """

    def __init__(self, plan: Plan, decodings: Sequence[Decoding], scores: Sequence[str]) -> None:
        self.plan, self.decodings, self.scores = plan, list(decodings), list(scores)
        self._rows = plan.blended_rows() if plan.smooth else iter(())
        self._row: BlendedRow | None = None
        self._left_in_row = 0
        self._top = 0
        self._weights = np.zeros((0, 0), np.float32)
        self._valid = np.zeros((0, 0), bool)
        self._sums: list[np.ndarray] = []

    def add(self, scores: TileScores) -> Iterator[ChunkResult]:
        """Take the next chunk's tiles; yields the pixels that are finished by it."""
        if self._left_in_row == 0:
            self._begin(next(self._rows), scores.item.chunk.row)
        self._sum_up(scores)
        self._left_in_row -= 1
        if self._left_in_row == 0:
            yield from self._finish_row(scores.item.chunk.row)

    def _begin(self, row: BlendedRow, first_row: int) -> None:
        self._row, self._left_in_row = row, len(row.chunks)
        halo, height = self.plan.halo, self.plan.core[0] + 2 * self.plan.halo
        if row.first:
            self._top = first_row - halo
            self._weights = np.zeros((height, row.width), np.float32)
            self._valid = np.zeros((height, row.width), bool)
            self._sums = [
                np.zeros((len(entry.head.card.classes), height, row.width), np.float32) for entry in self.decodings
            ]

    def _sum_up(self, scores: TileScores) -> None:
        assert self._row is not None
        held = Rectangle(self._top, self._row.left, self._weights.shape[0], self._row.width)
        item = scores.item
        here = overlap(item.reach, held)
        # Where no tile was run, no pixel gets a class by it.
        if scores.tiles and here is not None:
            inside: np.ndarray | bool = True
            if item.valid is not None:
                row, column = here.row - item.reach.row, here.column - item.reach.column
                inside = item.valid[row : row + here.height, column : column + here.width]
            self._valid[_slices(here, held)] |= inside
        for given, outputs in scores.tiles:
            here = overlap(given, held)
            if here is None:
                continue
            (top, left), halo = self.plan.margin, self.plan.halo
            row, column = here.row - given.row, here.column - given.column
            down = _ramp(given.height, halo - top)[row : row + here.height]
            across = _ramp(given.width, halo - left)[column : column + here.width]
            weight = down[:, None] * across[None, :]
            rows, columns = _slices(here, held)
            self._weights[rows, columns] += weight
            for total, probabilities in zip(self._sums, outputs, strict=True):
                part = probabilities[:, row : row + here.height, column : column + here.width]
                total[:, rows, columns] += part * weight

    def _finish_row(self, row: int) -> Iterator[ChunkResult]:
        """Decide the rows that the next row of tiles does not reach, and move the others up."""
        assert self._row is not None
        region, halo = self.plan.region, self.plan.halo
        end = region.row + region.height if self._row.last else row + self.plan.core[0] - halo
        first, end = max(self._top, region.row), min(end, region.row + region.height)
        if end > first:
            step = max(_DECIDED_PIXELS // (end - first), 1)
            for column in range(0, self._row.width, step):
                width = min(step, self._row.width - column)
                yield self._decide(Rectangle(first, self._row.left + column, end - first, width))
        gone = self.plan.core[0]
        for array in (self._weights, self._valid, *self._sums):
            array[..., :-gone, :] = array[..., gone:, :]
            array[..., -gone:, :] = 0
        self._top += gone

    def _decide(self, chunk: Rectangle) -> ChunkResult:
        assert self._row is not None
        rows, columns = _slices(chunk, Rectangle(self._top, self._row.left, 0, 0))
        valid = self._valid[rows, columns]
        if not valid.any():
            return ChunkResult(chunk, None)
        weights = self._weights[rows, columns]
        # Pixels that no tile was run for; they are not valid.
        weights = np.where(weights > 0, weights, 1)
        missing = ~valid
        codes, scores = [], []
        for total, entry in zip(self._sums, self.decodings, strict=True):
            decided = decide(total[:, rows, columns] / weights, entry.head, self.scores)
            code = entry.codes[decided.pop("classes")]
            code[missing] = entry.nodata
            for score in decided.values():
                score[..., missing] = np.nan
            codes.append(code)
            scores.append(decided)
        return ChunkResult(chunk, codes, scores)


def _slices(inner: Rectangle, outer: Rectangle) -> tuple[slice, slice]:
    row, column = inner.row - outer.row, inner.column - outer.column
    return slice(row, row + inner.height), slice(column, column + inner.width)


def _ramp(length: int, reach: int) -> np.ndarray:
    """Weights along one side of a tile: a raised cosine rises and falls within ``reach`` pixels of the core's edges.

    The ramps of two neighbours add up to 1, as overlapping Hann windows do.
    """
    place = np.arange(length) + 0.5
    rise = np.clip(np.minimum(place, length - place) / max(2 * reach, 1), 0, 1)
    return (np.sin(rise * np.pi / 2) ** 2).astype(np.float32)
