"""Filters that are linear support vector machines, learned from windows of labelled images, without backpropagation.

Bazi, Y., Melgani, F. (2018): Convolutional SVM networks for object detection in UAV imagery. IEEE Transactions on
Geoscience and Remote Sensing 56(6), 3107-3118.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: A filter need not be the very best: the next layer and the last machine choose among them.
_TOLERANCE, _ITERATIONS = 1e-2, 300


@dataclass(frozen=True)
class Windows:
    """Windows of images or feature maps.

    Args:
        values: (N, channels × size × size), a channel after the other.
        labels: class of the image that each is from, (N,).
    """

    values: np.ndarray
    labels: np.ndarray


def cut_windows(maps: np.ndarray, size: int, each: int, chance: np.random.Generator) -> np.ndarray:
    """Windows at random places, ``each`` of a map at most: (N × each, C × size × size), a map after the other.

    Args:
        maps: (N, C, rows, columns).
        size: of the windows, no larger than the maps.
        each: of a map; one that has fewer places gives fewer.
        chance: draws the places, with repetition.
    """
    views = np.lib.stride_tricks.sliding_window_view(maps, (size, size), axis=(2, 3))
    rows, columns = views.shape[2:4]
    each = min(each, rows * columns)
    of, places = np.arange(len(maps))[:, None], chance.integers(0, rows * columns, (len(maps), each))
    windows: np.ndarray = views[of, :, places // columns, places % columns]
    return windows.reshape(len(maps) * each, -1)


def learn_filters(
    windows: Windows,
    count: int,
    per_filter: int,
    cost: float,
    chance: np.random.Generator,
    step: Callable[[float], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (count, C × size × size) and biases (count,), float32.

    Each filter is a machine that tells one class from all others, the classes by turns, on windows drawn anew for each:
    half of the class, half of the others.  Values are standardised, and a filter's answers scaled to a deviation of 1;
    both are part of the weights.

    Args:
        windows: to draw from, of two classes at least.
        count: of filters.
        per_filter: windows that each learns from, at most.
        cost: of a window on the wrong side (C).
        chance: draws them.
        step: is told the share that is done; may end it by an exception.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    mean, deviation = windows.values.mean(axis=0), windows.values.std(axis=0)
    deviation = np.where(deviation > 1e-6, deviation, 1)
    standard = (windows.values - mean) / deviation
    classes = chance.permutation(np.unique(windows.labels))
    weights, biases = np.empty((count, standard.shape[1])), np.empty(count)
    for number in range(count):
        step(number / count)
        of_class = windows.labels == classes[number % len(classes)]
        chosen = np.concatenate(
            [_draw(np.flatnonzero(side), per_filter // 2, chance) for side in (of_class, ~of_class)]
        )
        machine = LinearSVC(
            C=cost, class_weight="balanced", tol=_TOLERANCE, max_iter=_ITERATIONS,
            random_state=int(chance.integers(1 << 31)),
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(standard[chosen], of_class[chosen])
        weights[number], biases[number] = machine.coef_[0], machine.intercept_[0]
    spread = (standard @ weights.T.astype(np.float32)).std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1)
    weights = weights / spread[:, None] / deviation
    biases = biases / spread - weights @ mean
    return weights.astype(np.float32), biases.astype(np.float32)


def _draw(numbers: np.ndarray, most: int, chance: np.random.Generator) -> np.ndarray:
    return numbers if len(numbers) <= most else chance.choice(numbers, most, replace=False)
