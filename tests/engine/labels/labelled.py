"""Made pixels with labels, for the tests of what labels say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from thematica.models.bands import Band
from thematica.models.label_classes import LabelClass, with_colors


@dataclass
class Pixels:
    """Labelled pixels as :mod:`thematica.engine.labels.samples` reads them."""

    values: np.ndarray
    places: np.ndarray
    shapes: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    missing: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, which) -> Pixels:
        return Pixels(self.values[which], self.places[which], self.shapes[which], self.rows[which], self.cols[which])

    def pieces(self, rng: np.random.Generator, count: int) -> Iterator[Pixels]:
        """The same pixels in so many pieces, in any order; some may be empty."""
        order = rng.permutation(len(self))
        for part in np.split(order, np.sort(rng.integers(0, len(self) + 1, count - 1))):
            yield self[part]


def made(
    rng: np.random.Generator,
    polygons: Sequence[int],
    pixels: int = 60,
    bands: int = 4,
    apart: float = 6.0,
    data_type: str = "int16",
) -> Pixels:
    """Normally distributed classes, each with a number of polygons of so many pixels.

    The middles of two classes are ``apart`` times 1.4 standard deviations apart, or nearly so.
    """
    directions, _ = np.linalg.qr(rng.normal(size=(bands, bands)))
    values, places, shapes = [], [], []
    for place, count in enumerate(polygons):
        mixing = np.eye(bands) + 0.3 * rng.normal(size=(bands, bands))
        middle = 1000 + 50 * apart * directions[place % bands]
        for _ in range(count):
            values.append(middle + 50 * rng.normal(size=(pixels, bands)) @ mixing.T)
            places += [place] * pixels
            shapes += [len(values) - 1] * pixels
    together = np.concatenate(values)
    if np.dtype(data_type).kind in "iu":
        together = together.round()
    n = len(together)
    return Pixels(
        together.astype(data_type),
        np.array(places, np.int16),
        np.array(shapes, np.int32),
        np.arange(n) // 97,
        np.arange(n) % 97,
    )


def bands_of(count: int) -> list[Band]:
    return [Band(f"B{number}", wavelength=0.4 + 0.1 * number) for number in range(1, count + 1)]


def legend_of(count: int) -> list[LabelClass]:
    """Codes with holes: 1, 4, 7, …"""
    return with_colors([(3 * number + 1, f"class {number}") for number in range(count)])
