"""Small training sets that a rule on single values cannot solve, one for each kind of sample.

Each says what the plainest rule gives: that is the baseline that a network must beat.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..training_sets import PARTS, write_set

SIZES = {"train": 240, "validation": 90, "test": 90}


def rings(folder: Path, seed: int = 0) -> Path:
    """Pixels of two bands: a class within a ring, and one that is the ring.  A linear rule finds half."""
    chance = np.random.default_rng(seed)
    samples, labels = {}, {}
    for part in PARTS:
        count = 2 * SIZES[part]
        outside = chance.integers(0, 2, count)
        angle, radius = chance.uniform(0, 2 * np.pi, count), np.where(outside, 3.0, 1.0) + chance.normal(0, 0.3, count)
        samples[part] = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
        labels[part] = outside.astype(np.int16)
    return write_set(folder, samples, labels, kind="pixels", classes=2)


def absorptions(folder: Path, side: int = 5, bands: int = 16, seed: int = 0) -> Path:
    """Windows of three classes whose spectra lack light at another place, in noise of three times that depth."""
    chance = np.random.default_rng(seed)
    spectra = np.ones((3, bands))
    for place, at in enumerate((3, 8, 12)):
        spectra[place, at - 1 : at + 2] -= (0.5, 1, 0.5)
    samples, labels = {}, {}
    for part in PARTS:
        places = chance.integers(0, 3, SIZES[part])
        # How bright a window is says nothing.
        light = chance.uniform(0.5, 2, (len(places), 1, 1, 1))
        windows = light * spectra[places][:, :, None, None] + chance.normal(0, 1.5, (len(places), bands, side, side))
        samples[part], labels[part] = windows.astype(np.float32), places.astype(np.int16)
    return write_set(folder, samples, labels, kind="windows", classes=3)


def grains(folder: Path, kind: str = "patches", side: int = 16, seed: int = 0) -> Path:
    """Patches of three classes that differ in the size of their grains: 1, 2 and 4 pixels; no single value tells."""
    chance = np.random.default_rng(seed)
    samples, labels = {}, {}
    for part in PARTS:
        places = chance.integers(0, 3, SIZES[part])
        samples[part] = np.stack([_grainy(chance, side, 2**place) for place in places])
        labels[part] = places.astype(np.int16)
    return write_set(folder, samples, labels, kind=kind, classes=3)


def marks(folder: Path, side: int = 16, seed: int = 0) -> Path:
    """Patches that have a bright square, coarse grains, both, or neither: two labels, each there in half of them."""
    chance = np.random.default_rng(seed)
    samples, labels = {}, {}
    for part in PARTS:
        labels[part] = chance.integers(0, 2, (SIZES[part], 2)).astype(np.uint8)
        patches = []
        for square, coarse in labels[part]:
            patch = _grainy(chance, side, 4 if coarse else 1)
            if square:
                row, col = chance.integers(0, side - 4, 2)
                patch[0, row : row + 4, col : col + 4] += 5
            patches.append(patch)
        samples[part] = np.stack(patches)
    return write_set(folder, samples, labels, kind="patches", classes=2)


def fields(folder: Path, side: int = 16, count: int = 60, seed: int = 0) -> Path:
    """Chips of two sorts of fields in noise twice as strong as what tells them apart; the best threshold finds 0.69.

    The first columns have no label.
    """
    chance = np.random.default_rng(seed)
    samples, labels = {}, {}
    for part in PARTS:
        chips = count if part == "train" else count // 3
        truth = np.stack(
            [np.kron(chance.integers(0, 2, (2, 2)), np.ones((side // 2, side // 2))) for _ in range(chips)]
        )
        noise = chance.normal(0, 1, (chips, 2, side, side))
        samples[part] = (truth[:, None] * [[[1.0]], [[0.0]]] + noise).astype(np.float32)
        labels[part] = truth.astype(np.uint8)
        labels[part][:, :, :3] = 255
    return write_set(folder, samples, labels, kind="chips", classes=2, ignore_index=255)


def _grainy(chance: np.random.Generator, side: int, grain: int) -> np.ndarray:
    values = chance.normal(0, 1, (2, side // grain, side // grain))
    return np.kron(values, np.ones((grain, grain))).astype(np.float32)
