"""Which part each patch belongs to: blocks of neighbouring patches with a buffer, the authors' own split, or chance.

Neighbouring patches look alike, and so do two dates of one place.  A *block* is a square of the ground with all that
lies in it, whatever its date; where a patch of training comes nearer than the *buffer* to one of validation or test,
it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.warp import transform
from scipy.spatial import cKDTree

from ...errors import InputError
from .description import PARTS, TRAIN
from .groups import assign_groups
from .patch_folder import PatchGround
from .splits import DROPPED

Parts = npt.NDArray[np.int8]

_EARTH_RADIUS = 6371008.8
# Distances between UTM zones are found on a sphere, which differs from the ellipsoid by less.
_SPHERE_ERROR = 1.01


@dataclass(frozen=True)
class PatchBlocks:
    """A spatially blocked split.

    Args:
        parts: (n,) the part of each patch, or :data:`DROPPED`.
        keys: (n, 3) zone, column and row of the block of each patch.
    """

    parts: Parts
    keys: npt.NDArray[np.int64]


def by_blocks(
    ground: PatchGround,
    labels: np.ndarray,
    fractions: Mapping[str, float],
    block: float,
    buffer: float,
    seed: int,
) -> PatchBlocks:
    """Whole blocks in one part, classes in each part as far as possible as in all, and a buffer between parts.

    Args:
        ground: where the patches lie; those in zone 0 lie nowhere and are dropped.
        labels: (n,) places of classes, or (n, K) 0 and 1.
        fractions: shares of ``validation`` and ``test``.
        block: side in metres.
        buffer: in metres, between the edges of patches.
        seed: of what is left to chance.

    Raises:
        InputError: nothing is left for training.
    """
    middles = ground.corners + ground.side * np.array([0.5, -0.5])
    keys = np.column_stack([ground.zones, np.floor(middles / block)]).astype(np.int64)
    blocks, block_of = np.unique(keys, axis=0, return_inverse=True)
    block_of = block_of.reshape(-1)
    placed = ground.zones != 0
    counts = np.zeros((len(blocks), _indicators(labels).shape[1]), np.int64)
    np.add.at(counts, block_of[placed], _indicators(labels)[placed])
    parts = assign_groups(counts, fractions, seed)[block_of]
    parts[~placed] = DROPPED
    # A later part goes before an earlier one where two come too close.
    for guarded in reversed(range(1, len(PARTS))):
        others = (parts >= 0) & (parts < guarded)
        parts[others & _near(ground, middles, parts == guarded, others, buffer)] = DROPPED
    if not (parts == PARTS.index(TRAIN)).any():
        raise InputError(
            "The patches lie so close together that nothing is left for training between blocks and buffers: choose "
            "a smaller --block or --buffer."
        )
    return PatchBlocks(parts, keys)


def by_chance(labels: np.ndarray, fractions: Mapping[str, float], seed: int) -> Parts:
    """Single patches in parts, with classes as far as possible as in all: optimistic, since neighbours look alike."""
    return assign_groups(_indicators(labels), fractions, seed)


def _indicators(labels: np.ndarray) -> np.ndarray:
    """(n, K) with 1 where a patch has a class."""
    if labels.ndim == 2:
        return labels
    return np.eye(int(labels.max(initial=0)) + 1, dtype=np.uint8)[labels]


def _near(
    ground: PatchGround,
    middles: npt.NDArray[np.float64],
    guarded: npt.NDArray[np.bool_],
    others: npt.NDArray[np.bool_],
    buffer: float,
) -> npt.NDArray[np.bool_]:
    """Which of ``others`` lie nearer than the buffer to one of ``guarded``: exact in a zone, rather too far between."""
    near = np.zeros(len(middles), bool)
    if not guarded.any() or not others.any():
        return near
    zones = np.unique(ground.zones[guarded | others])
    on_sphere = np.zeros((len(middles), 3))
    if len(zones) > 1:
        for zone in zones:
            here = (ground.zones == zone) & (guarded | others)
            on_sphere[here] = _on_sphere(int(zone), middles[here])
    for zone in zones:
        here = others & (ground.zones == zone)
        same, elsewhere = guarded & (ground.zones == zone), guarded & (ground.zones != zone)
        found = np.zeros(int(here.sum()), bool)
        if same.any() and here.any():
            # The larger of both distances along the axes: squares that do not come nearer than the buffer either way.
            distance, _ = cKDTree(middles[same]).query(middles[here], p=np.inf)
            found |= distance < ground.side + buffer - 1e-6
        if elsewhere.any() and here.any():
            distance, _ = cKDTree(on_sphere[elsewhere]).query(on_sphere[here])
            found |= distance < (ground.side * np.sqrt(2) + buffer) * _SPHERE_ERROR
        near[here] = found
    return near


def _on_sphere(zone: int, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points in space in metres: their distance is that on the ground, as far as buffers go."""
    longitude, latitude = transform(CRS.from_epsg(zone), CRS.from_epsg(4326), places[:, 0], places[:, 1])
    longitude, latitude = np.radians(longitude), np.radians(latitude)
    across = np.cos(latitude)
    return _EARTH_RADIUS * np.column_stack([across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)])
