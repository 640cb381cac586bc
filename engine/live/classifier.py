"""The light classifier of live previews: a perceptron with one hidden layer on the spectra of labelled pixels.

It is trained in a tenth of a second and looks at a million pixels in as much: two matrix products in single precision.
Adam: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; decoupled weight decay: Loshchilov and
Hutter, ICLR 2019; softened targets: Szegedy et al., "Rethinking the Inception architecture", CVPR 2016.

Why not a random forest or boosted trees: docs/architecture.md, "The live worker".
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.integer]

_HIDDEN = 64
_STEPS = 300
_BATCH = 512
_RATE = 1e-2
_DECAY = 1e-2
_SOFTENED = 0.05
_STEPS_BETWEEN_CHECKS = 20
# Pixels of a class that are trained on: more say nothing new.
_MOST_PER_CLASS = 5000
# Cross-validation: parts that the polygons are dealt into, and steps of each training.
_FOLDS = 3
_FOLD_STEPS = 150
# Of more bands cross-validation takes too long to be done by the way.
_MOST_BANDS_VALIDATED = 64
# Pixels that are classified at once: what is between the two layers stays in the processor's cache.
_PIXELS_AT_ONCE = 8192
# Samples further from the classes' range than so many times its width are all the same: saturated, or damaged.
_FURTHEST = 3.0
# The range of a class is told by so many of its samples.
_MOST_FOR_RANGE = 400


@dataclass(frozen=True)
class Perceptron:
    """A trained classifier.

    Args:
        first, first_bias: (64, C) and (64, 1); standardisation of the bands is part of them.
        second, second_bias: (K, 64) and (K, 1).
        low, high: (C, 1) range of each band in the training samples.
        spread: (C, 1) standard deviation of each band in them.
        places: (K,) the class that each output stands for.
    """

    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats
    low: Floats
    high: Floats
    spread: Floats
    places: npt.NDArray[np.int16]

    def classify(self, values: npt.NDArray[np.generic], threads: int = 1) -> tuple[npt.NDArray[np.int16], Floats]:
        """Classify pixels.

        Args:
            values: (C, n), as stored.
            threads: that share the work.

        Returns:
            Place of the most probable class, (n,), and how sure that is, 0 to 1, (n,): by how much it is more probable
            than the next, and less where the spectrum lies outside of all that was trained on.
        """
        count = values.shape[1]
        chosen, certainty = np.empty(count, np.int16), np.empty(count, np.float32)

        def fill(start: int) -> None:
            here = slice(start, start + _PIXELS_AT_ONCE)
            chosen[here], certainty[here] = self._classify(values[:, here].astype(np.float32))

        starts = range(0, count, _PIXELS_AT_ONCE)
        if threads == 1:
            for start in starts:
                fill(start)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, starts))
        return chosen, certainty

    def _classify(self, values: Floats) -> tuple[npt.NDArray[np.int16], Floats]:
        # Beyond what was trained on nothing is known: the nearest that is known counts.
        known = np.clip(values, self.low, self.high)
        values -= known
        values /= self.spread
        beyond = np.einsum("cn,cn->n", values, values) / np.float32(len(values))
        hidden = self.first @ known
        hidden += self.first_bias
        np.maximum(hidden, 0, out=hidden)
        scores = self.second @ hidden
        scores += self.second_bias
        best = scores.argmax(axis=0)
        pixels = np.arange(len(best))
        scores -= scores[best, pixels]
        np.exp(scores, out=scores)
        total = scores.sum(axis=0)
        scores[best, pixels] = 0
        # Halved where the bands lie a standard deviation beyond, on average.
        return self.places[best], (1 - scores.max(axis=0)) / total / (1 + beyond)


def train(values: Floats, places: npt.NDArray[np.int16], check: Callable[[], None], steps: int = _STEPS) -> Perceptron:
    """Train a classifier; the same samples give the same classifier.

    Args:
        values: (n, C) samples.
        places: (n,) the class of each; at least two classes.
        check: called now and then; may raise to give up.
        steps: of Adam.
    """
    random = np.random.default_rng(0)
    kept = _at_most_per_class(places, random)
    values, places = values[kept], places[kept]
    classes, target_class = np.unique(places, return_inverse=True)
    share = 1.0 / np.bincount(target_class)[target_class]
    share /= share.sum()
    values = np.clip(values, *_range(values, target_class))
    # Every class counts the same, however much of it was drawn.
    mean = share @ values
    spread = np.sqrt(share @ np.square(values - mean))
    spread = np.where(spread > 1e-6 * np.abs(mean) + 1e-30, spread, 1.0)
    x = ((values - mean) / spread).astype(np.float32)
    number = len(classes)
    targets = np.full((number, number), _SOFTENED / number, np.float32)
    np.fill_diagonal(targets, 1 - _SOFTENED + _SOFTENED / number)

    weights = [
        random.normal(0, np.sqrt(2 / x.shape[1]), (x.shape[1], _HIDDEN)).astype(np.float32),
        np.zeros(_HIDDEN, np.float32),
        random.normal(0, np.sqrt(2 / _HIDDEN), (_HIDDEN, number)).astype(np.float32),
        np.zeros(number, np.float32),
    ]
    first_moments, second_moments = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    until = np.cumsum(share)
    for step in range(1, steps + 1):
        if step % _STEPS_BETWEEN_CHECKS == 0:
            check()
        batch = np.minimum(np.searchsorted(until, random.random(_BATCH)), len(x) - 1)
        gradients = _gradients(weights, x[batch], targets[target_class[batch]])
        rate = _RATE * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        for weight, gradient, first, second in zip(weights, gradients, first_moments, second_moments, strict=True):
            first += 0.1 * (gradient - first)
            second += 0.01 * (np.square(gradient) - second)
            weight -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
            if weight.ndim == 2:
                weight *= 1 - rate * _DECAY
    first_weights = weights[0] / spread[:, None]
    return Perceptron(
        np.ascontiguousarray(first_weights.T, np.float32),
        (weights[1] - mean @ first_weights).astype(np.float32)[:, None],
        np.ascontiguousarray(weights[2].T),
        weights[3][:, None],
        values.min(axis=0)[:, None],
        values.max(axis=0)[:, None],
        spread.astype(np.float32)[:, None],
        classes.astype(np.int16),
    )


def _range(values: Floats, target_class: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """What a sample of each band may be, (C,) each: the range of all classes but for their extremes, and some more."""
    ends = []
    for number in range(target_class.max() + 1):
        own = np.flatnonzero(target_class == number)
        own = own[:: max(len(own) // _MOST_FOR_RANGE, 1)]
        ends.append(np.percentile(values[own], [2, 98], axis=0))
    low, high = np.min([end[0] for end in ends], axis=0), np.max([end[1] for end in ends], axis=0)
    more = _FURTHEST * (high - low)
    return (low - more).astype(np.float32), (high + more).astype(np.float32)


def _gradients(weights: list[Floats], x: Floats, targets: Floats) -> list[Floats]:
    """Gradients of the mean cross-entropy."""
    hidden = x @ weights[0]
    hidden += weights[1]
    np.maximum(hidden, 0, out=hidden)
    scores = hidden @ weights[2]
    scores += weights[3]
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    error = (scores - targets) / np.float32(len(x))
    behind = error @ weights[2].T
    behind *= hidden > 0
    return [x.T @ behind, behind.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def _at_most_per_class(places: npt.NDArray[np.int16], random: np.random.Generator) -> npt.NDArray[np.intp]:
    """Which samples are kept, in their order."""
    kept = []
    for place in np.unique(places):
        of_class = np.flatnonzero(places == place)
        if len(of_class) > _MOST_PER_CLASS:
            of_class = random.choice(of_class, _MOST_PER_CLASS, replace=False)
        kept.append(of_class)
    return np.sort(np.concatenate(kept))


def validate(values: Floats, places: npt.NDArray[np.int16], shapes: Numbers, check: Callable[[], None]) -> float | None:
    """Accuracy by cross-validation in which a polygon is never on both sides: the mean of the classes' own accuracies.

    Neighbouring pixels resemble each other, so holding back single pixels would tell how well they are remembered.
    Classes with one polygon are trained on but not asked for.

    Args:
        values: (n, C) samples.
        places: (n,) the class of each.
        shapes: (n,) the polygon of each.
        check: called now and then; may raise to give up.

    Returns:
        0 to 1; None where fewer than two classes have several polygons, or it would take long.
    """
    if values.shape[1] > _MOST_BANDS_VALIDATED:
        return None
    kept = _at_most_per_class(places, np.random.default_rng(0))
    values, places, shapes = values[kept], places[kept], shapes[kept]
    fold = np.full(len(places), -1)
    asked = []
    for place in np.unique(places):
        polygons, sizes = np.unique(shapes[places == place], return_counts=True)
        if len(polygons) < 2:
            continue
        asked.append(place)
        # The largest first, dealt out in turn, so that the parts are about of one size.
        for turn, polygon in enumerate(polygons[np.lexsort((polygons, -sizes))]):
            fold[(shapes == polygon) & (places == place)] = turn % _FOLDS
    if len(asked) < 2:
        return None
    found = np.full(len(places), -1, np.int16)
    for number in range(_FOLDS):
        held_back = fold == number
        if held_back.any():
            classifier = train(values[~held_back], places[~held_back], check, _FOLD_STEPS)
            found[held_back] = classifier.classify(values[held_back].T)[0]
    return float(np.mean([(found[places == place] == place)[fold[places == place] >= 0].mean() for place in asked]))
