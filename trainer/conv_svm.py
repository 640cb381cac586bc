"""Multi-scale convolutional SVM networks: filters are linear support vector machines, and so is the last layer.

Cavallaro, G., Bazi, Y., Melgani, F., Riedel, M. (2019): Multi-scale convolutional SVM networks for multi-class
classification problems of remote sensing images. IGARSS 2019, 875-878; after Bazi & Melgani (2018), see
:mod:`.svm_filters`.  Layers are learned one after the other, and nothing is propagated back.  What is done here is
told in docs/networks.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch

from ..errors import InputError
from .conv_svm_network import POOLINGS, Branch, ConvSvmNetwork, layer_features
from .deliver import to_onnx
from .recipe import Recipe
from .steepness import find_steepness
from .svm_filters import Windows, cut_windows, learn_filters

#: Options that :func:`build_conv_svm` takes.
OPTIONS = ("scales", "layers", "filters", "windows_per_filter", "C", "C_last", "pooling", "cells")
#: Windows that the filters of a layer are learned from: so many times what one of them takes, if there is room.
_DRAWN, _DRAWN_BYTES = 20, 256 << 20
#: Shares of a stage's time, more or less, after which filters are learned and features seen; and of the time for
#: filters, after which windows are drawn.
_LEARNING, _SEEN, _DRAWING = 0.7, 0.9, 0.3
_FEWEST_WINDOWS = 10
_BATCH = 64
_ITERATIONS = 1000


@dataclass
class ConvSvm:
    """The learner; a stage is a layer.

    Args:
        shape: of a sample, (bands, rows, columns).
        scales: sizes of the filters, one branch for each.
        stages: layers that a branch has, if the filters fit so often.
        filters: per layer and branch.
        windows: that a filter learns from.
        cost: of a window on the wrong side (C).
        last_cost: of a sample on the wrong side, in the last machine.
        pooling: one of :data:`.conv_svm_network.POOLINGS`.
        cells: along rows and columns, see :class:`.conv_svm_network.CellMoments`.
        seed: of all drawing.
    """

    shape: tuple[int, ...]
    scales: tuple[int, ...]
    stages: int
    filters: int
    windows: int
    cost: float
    last_cost: float
    pooling: str
    cells: int
    seed: int
    keeps_best: bool = True
    fewest: int = 5
    _classes: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    _branches: list[Branch] = field(default_factory=list, repr=False)
    #: After each stage: weights (K, features) and biases (K,) of the last machine, and how many layers each branch has.
    _last: list[tuple[np.ndarray, np.ndarray, list[int]]] = field(default_factory=list, repr=False)
    _steepness: float = 1.0
    #: Features of samples that were asked for before.
    _known: list[tuple[np.ndarray, list[np.ndarray]]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._branches = [Branch(scale, self.shape, self.pooling, self.cells) for scale in self.scales]

    def train(
        self, stage: int, x: np.ndarray, y: np.ndarray, weights: np.ndarray, step: Callable[[float], None]
    ) -> None:
        """See :class:`.classical.Classifier`."""
        self._classes = np.unique(y)
        growing = [branch for branch in self._branches if branch.fits()]
        learned = []
        for number, branch in enumerate(growing):
            begin, middle, end = (_LEARNING * (number + part) / len(growing) for part in (0, _DRAWING, 1))
            drawing, chance = (np.random.default_rng([self.seed, stage, number, use]) for use in (0, 1))
            windows = self._draw(branch, x, y, drawing, _between(step, begin, middle))
            found = learn_filters(windows, self.filters, self.windows, self.cost, chance, _between(step, middle, end))
            learned.append(found)
        # All of a layer, or nothing: the training may be ended in between.
        for branch, (filters, biases) in zip(growing, learned, strict=True):
            branch.add(torch.from_numpy(filters), torch.from_numpy(biases))
        self._known.clear()
        features = self._features(x, _between(step, _LEARNING, _SEEN))
        last = self._learn_last(np.concatenate(features, axis=1), y, weights)
        self._last.append((*last, [len(branch.layers) for branch in self._branches]))

    def retrain(
        self, stage: int, x: np.ndarray, y: np.ndarray, weights: np.ndarray, step: Callable[[float], None]
    ) -> None:
        """See :class:`.classical.Classifier`."""
        self.__post_init__()
        self._last.clear()
        self._known.clear()
        for number in range(stage + 1):
            self.train(number, x, y, weights, step)

    def _draw(
        self, branch: Branch, x: np.ndarray, y: np.ndarray, chance: np.random.Generator, step: Callable[[float], None]
    ) -> Windows:
        """Windows of the maps that the branch's next layer will see, of all samples as many."""
        room = _DRAWN_BYTES // (4 * branch.shape[0] * branch.size**2)
        each = max(min(_DRAWN * self.windows, room) // len(x), 1)
        pieces, labels = [], []
        with torch.no_grad():
            for place, batch in _batches(x):
                step(place / len(x))
                cut = cut_windows(branch.maps(batch).numpy(), branch.size, each, chance)
                pieces.append(cut)
                labels.append(np.repeat(y[place : place + len(batch)], len(cut) // len(batch)))
        return Windows(np.concatenate(pieces), np.concatenate(labels))

    def _learn_last(self, features: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One machine for each class against all others, on standardised features."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        mean, deviation = features.mean(axis=0), features.std(axis=0)
        deviation = np.where(deviation > 1e-6, deviation, 1)
        machine = LinearSVC(C=self.last_cost, tol=1e-3, max_iter=_ITERATIONS, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit((features - mean) / deviation, y, sample_weight=weights)
        found, biases = machine.coef_, machine.intercept_
        if len(found) == 1:
            found, biases = np.concatenate([-found, found]), np.concatenate([-biases, biases])
        found = found / deviation
        return found, biases - found @ mean

    def calibrate(self, x: np.ndarray, y: np.ndarray) -> None:
        """See :class:`.classical.Classifier`."""
        self._steepness = 1.0
        known = np.isin(y, self._classes)
        if known.any():
            self._steepness = find_steepness(self.scores(x)[known], np.searchsorted(self._classes, y[known]))

    def scores(self, x: np.ndarray) -> np.ndarray:
        """See :class:`.classical.Classifier`."""
        weights, biases, _ = self._last[-1]
        features = np.concatenate(self._features(x), axis=1)
        scores: np.ndarray = (features @ weights.T + biases) * self._steepness
        return scores

    def _features(self, x: np.ndarray, step: Callable[[float], None] = lambda _: None) -> list[np.ndarray]:
        """Of each layer, (N, …)."""
        for samples, features in self._known:
            if samples is x:
                return features
        pieces = []
        with torch.no_grad():
            for place, batch in _batches(x):
                step(place / len(x))
                pieces.append([features.numpy() for features in layer_features(self._branches, batch)])
        found = [np.concatenate(layer) for layer in zip(*pieces, strict=True)]
        self._known.append((x, found))
        return found

    def keep(self, stage: int) -> None:
        """See :class:`.classical.Classifier`."""
        depth = stage + 1
        self._last = self._last[:depth]
        counts = self._last[-1][2]
        self._branches = [branch.cut(count) for branch, count in zip(self._branches, counts, strict=True)]
        self._known = [(samples, features[:depth]) for samples, features in self._known]

    def network(self) -> ConvSvmNetwork:
        """Filters and last machine as one network, (N, bands, rows, columns) → (N, K')."""
        weights, biases, _ = self._last[-1]
        last = [torch.from_numpy((part * self._steepness).astype(np.float32)) for part in (weights, biases)]
        return ConvSvmNetwork(self._branches, *last).eval()

    def to_onnx(self, shape: tuple[int, ...]) -> onnx.ModelProto:
        """See :class:`.classical.Classifier`."""
        return to_onnx(self.network(), shape)


def build_conv_svm(options: dict[str, Any], recipe: Recipe, shape: tuple[int, ...]) -> ConvSvm:
    """A multi-scale convolutional SVM network.  Options: :data:`OPTIONS`.

    Raises:
        InputError: an option that cannot be, or samples that are smaller than the filters.
    """
    scales = options.get("scales", [3, 5, 7])
    if not (isinstance(scales, list) and scales and all(type(scale) is int and scale > 0 for scale in scales)):
        raise InputError(
            f"The option “scales” of “convsvm” must be a list of filter sizes, such as [3, 5], not {scales}."
        )
    pooling = options.get("pooling", "max")
    if pooling not in POOLINGS:
        raise InputError(f"The option “pooling” of “convsvm” must be one of {', '.join(POOLINGS)}, not {pooling}.")
    if max(scales) > min(shape[1:]):
        raise InputError(
            f"Filters of {max(scales)} × {max(scales)} pixels do not fit into samples of {shape[1]} × {shape[2]}: give "
            f"smaller ones (--set network_options.scales=[1,3]), or make the training set with a larger --size."
        )
    windows = options.get("windows_per_filter", 1000)
    if windows < _FEWEST_WINDOWS:
        raise InputError(
            f"A filter of “convsvm” needs at least {_FEWEST_WINDOWS} windows to learn from, not {windows}."
        )
    return ConvSvm(
        shape, tuple(scales), options.get("layers", 2), options.get("filters", 32),
        windows, options.get("C", 0.01), options.get("C_last", 0.1), pooling,
        options.get("cells", 1), recipe.seed,
    )  # fmt: skip


def _between(step: Callable[[float], None], begin: float, end: float) -> Callable[[float], None]:
    """Tells shares of a part of the stage as shares of the stage."""
    return lambda share: step(begin + (end - begin) * share)


def _batches(x: np.ndarray) -> Iterator[tuple[int, torch.Tensor]]:
    for place in range(0, len(x), _BATCH):
        batch = torch.from_numpy(x[place : place + _BATCH])
        yield place, batch.contiguous(memory_format=torch.channels_last)
