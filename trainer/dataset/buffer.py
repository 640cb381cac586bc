"""Which samples lie too close to those of another part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .stretches import stretches

#: Side of the tiles that are looked at one by one; a larger distance has larger ones.
_TILE = 512
#: Larger distances are measured in squares of several pixels.
_LARGEST = 1024
#: Fewer pairs than these are compared one by one.
_FEW_PAIRS = 200_000


def near(
    plane: npt.NDArray[np.integer],
    row: npt.NDArray[np.integer],
    col: npt.NDArray[np.integer],
    asked: npt.NDArray[np.bool_],
    obstacle: npt.NDArray[np.bool_],
    reach: int,
) -> npt.NDArray[np.bool_]:
    """Which of the points have an obstacle on the same plane within ``reach`` pixels in both directions.

    Tile by tile: memory is what the points need and one tile.

    Args:
        plane: (n,) of every point, 0 or more.
        row: (n,) likewise.
        col: (n,) likewise.
        asked: (n,) the points to answer for.
        obstacle: (n,) the points to keep away from.
        reach: largest difference of rows and of columns that is too close.

    Returns:
        (n,) False where not asked.
    """
    result = np.zeros(len(row), bool)
    # Squares of several pixels: two points within reach lie within this many squares, so none is missed; some that are
    # up to two squares farther away are taken for near, a thousandth of the distance.
    coarse = -(-reach // _LARGEST) if reach > _LARGEST else 1
    if coarse > 1:
        row, col, reach = row // coarse, col // coarse, -(-reach // coarse)
    side = max(_TILE, reach)
    queries, query_tiles = _by_tile(np.flatnonzero(asked), plane, row, col, side)
    others, other_tiles = _by_tile(np.flatnonzero(obstacle), plane, row, col, side)
    for (number, tile_row, tile_col), (start, end) in query_tiles.items():
        around = [
            others[slice(*other_tiles[number, r, c])]
            for r in (tile_row - 1, tile_row, tile_row + 1)
            for c in (tile_col - 1, tile_col, tile_col + 1)
            if (number, r, c) in other_tiles
        ]
        if not around:
            continue
        here, there = queries[start:end], np.concatenate(around)
        top, left = tile_row * side - reach, tile_col * side - reach
        # Compared from the corner of what this tile can see.
        r, c = row[there].astype(np.int64) - top, col[there].astype(np.int64) - left
        wide = side + 2 * reach
        seen = (r >= 0) & (r < wide) & (c >= 0) & (c < wide)
        r, c = r[seen], c[seen]
        if not r.size:
            continue
        qr, qc = row[here].astype(np.int64) - top, col[here].astype(np.int64) - left
        if r.size * qr.size <= _FEW_PAIRS:
            close = (np.abs(qr[:, None] - r) <= reach) & (np.abs(qc[:, None] - c) <= reach)
            result[here] = close.any(axis=1)
            continue
        # How many obstacles lie above and to the left of each corner: four look-ups count those in a square.
        sums = np.zeros((wide + 1, wide + 1), np.int32)
        sums[r + 1, c + 1] = 1
        np.cumsum(sums, axis=0, out=sums)
        np.cumsum(sums, axis=1, out=sums)
        above, below, before, behind = qr - reach, qr + reach + 1, qc - reach, qc + reach + 1
        inside = sums[below, behind] - sums[above, behind] - sums[below, before] + sums[above, before]
        result[here] = inside > 0
    return result


_Tile = tuple[int, int, int]


def _by_tile(
    points: np.ndarray, plane: np.ndarray, row: np.ndarray, col: np.ndarray, side: int
) -> tuple[np.ndarray, dict[_Tile, tuple[int, int]]]:
    """Points sorted by tile, and where each tile's begin and end."""
    tiles = [plane[points].astype(np.int64), row[points].astype(np.int64) // side, col[points].astype(np.int64) // side]
    # Rows and columns have 32 bits, and tiles at least 9 less.
    key = (tiles[0] << 46) | (tiles[1] << 23) | tiles[2]
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts, ends = stretches(key)
    mask = (1 << 23) - 1
    found = {
        (int(k >> 46), int((k >> 23) & mask), int(k & mask)): (int(start), int(end))
        for k, start, end in zip(key[starts], starts, ends, strict=True)
    }
    return points[order], found
