"""Figures of a training set: mean and spread of its bands while it is written, weights of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .description import Statistics


class Moments:
    """Mean, spread, lowest and highest stored value of each band, in one pass.

    Parts are merged by the formula of Chan, Golub & LeVeque 1983, Algorithms for Computing the Sample Variance, The
    American Statistician 37, which loses no digits where the mean is large against the spread.

    Args:
        bands: how many.
    """

    def __init__(self, bands: int) -> None:
        self.count = np.zeros(bands)
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)
        self.minimum = np.full(bands, np.inf)
        self.maximum = np.full(bands, -np.inf)

    def add(self, samples: np.ndarray, missing: np.ndarray | None = None) -> None:
        """Count in more samples.

        Args:
            samples: (n, C) or (n, C, h, w), as stored.
            missing: (n, h, w), pixels not to be counted; None for none.
        """
        for band in range(samples.shape[1]):
            values = samples[:, band]
            values = values.ravel() if missing is None else values[~missing]
            if not values.size:
                continue
            minimum, maximum = values.min(), values.max()
            values = values.astype(np.float64)
            mean = values.mean()
            values -= mean
            # No dot product: the threads of a BLAS would make the last digits a matter of chance.
            self._merge(band, values.size, mean, float(np.square(values, out=values).sum()))
            self.minimum[band] = min(self.minimum[band], minimum)
            self.maximum[band] = max(self.maximum[band], maximum)

    def _merge(self, band: int, count: int, mean: float, squares: float) -> None:
        total = self.count[band] + count
        step = mean - self.mean[band]
        self.mean[band] += step * count / total
        self.squares[band] += squares + step * step * self.count[band] * count / total
        self.count[band] = total

    @property
    def std(self) -> np.ndarray:
        """Of all samples that were counted in."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))

    def to_json(self) -> dict[str, Any]:
        """For the journal; floats keep all their bits."""
        lists = {name: array.tolist() for name, array in vars(self).items()}
        # JSON has no infinity; bands without a sample have neither lowest nor highest.
        for name in ("minimum", "maximum"):
            lists[name] = [value if np.isfinite(value) else None for value in lists[name]]
        return lists

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Moments:
        """What :meth:`to_json` gave."""
        result = cls(len(content["count"]))
        for name, values in content.items():
            empty = np.inf if name == "minimum" else -np.inf
            setattr(result, name, np.array([empty if value is None else value for value in values], np.float64))
        return result


def physical(moments: Moments, draw: np.ndarray, scale: Sequence[float], offset: Sequence[float]) -> Statistics:
    """The statistics of a description.

    Args:
        moments: of the stored values.
        draw: (C, m) stored values drawn by chance, for the percentiles; NaN for none.
        scale: physical value = stored value × scale + offset.
        offset: likewise.
    """
    factor, shift = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    low, high = np.nan_to_num(
        np.stack([np.full(len(factor), np.nan)] * 2) if not draw.size else _percentiles(draw), nan=0.0
    )
    rows = {
        "minimum": np.where(moments.count > 0, moments.minimum, 0.0),
        "maximum": np.where(moments.count > 0, moments.maximum, 0.0),
        "p01": low,
        "p99": high,
    }
    values = {name: row * factor + shift for name, row in rows.items()}
    # A negative scale turns low and high round.
    for first, second in (("minimum", "maximum"), ("p01", "p99")):
        values[first], values[second] = (
            np.minimum(values[first], values[second]),
            np.maximum(values[first], values[second]),
        )
    values["mean"], values["std"] = moments.mean * factor + shift, moments.std * np.abs(factor)
    return Statistics(**{name: [float(value) for value in row] for name, row in values.items()})


def _percentiles(draw: np.ndarray) -> np.ndarray:
    """1st and 99th percentile of each band, (2, C)."""
    result = np.zeros((2, len(draw)))
    for band, values in enumerate(draw):
        there = values[~np.isnan(values)]
        result[:, band] = np.percentile(there, (1, 99)) if there.size else 0.0
    return result


def class_weights(counts: Sequence[int]) -> list[float]:
    """Weights with which every class counts alike: n / (K × n of the class), 0 for a class without samples.

    Inverse frequency; King & Zeng 2001, Logistic Regression in Rare Events Data, Political Analysis 9.  The mean weight
    of a sample is 1.

    Args:
        counts: samples of each class in the training part.
    """
    there = [count for count in counts if count]
    return [sum(there) / (len(there) * count) if count else 0.0 for count in counts]


def label_weights(counts: Sequence[int], samples: int) -> list[float]:
    """For several labels per sample: how much more a label counts that is there than one that is not.

    Negatives / positives of each class, 0 for a class without positives; the weight of positives in a binary
    cross-entropy with which both sides count alike.

    Args:
        counts: samples that have the label, of each class.
        samples: all of them.
    """
    return [(samples - count) / count if count else 0.0 for count in counts]
