"""How good scores are: counts that can be added over batches and processes, and the figures that they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .accuracy import Accuracy

#: Bins of scores; average precision from them is exact to about a bin's width.
BINS = 1000
# Scores are put into bins by the sigmoid of so much of them: classes that are rare have probabilities near 0 only,
# which bins of the probability itself would not tell apart.
_FLATTER = 0.25
#: Bins of the reliability diagram and of the expected calibration error (Guo et al. 2017).
RELIABILITY_BINS = 15
_LARGEST = 1e30
#: Figures by which the best epoch can be chosen.
SINGLE_FIGURES = ("overall accuracy", "kappa", "macro F1", "micro F1", "mean IoU")
SEVERAL_FIGURES = ("micro F1", "macro F1", "mean average precision")


class Tally:
    """Counts of true and predicted labels.

    Args:
        names: of the classes.
        several: several labels per sample.
        ignore_index: label of what does not count, or None.
    """

    def __init__(self, names: Sequence[str], several: bool = False, ignore_index: int | None = None) -> None:
        self.names, self.several, self.ignore_index = list(names), several, ignore_index
        classes = len(self.names)
        self.confusion = np.zeros((classes, classes), np.int64)
        # By class and bin of the score: samples that have the label, and those that have not.
        self.histogram = np.zeros((2, classes, BINS if several else 0), np.int64)
        # By bin of the highest probability: samples, those that are right, and the sum of the probabilities.
        self.reliability = np.zeros((3, RELIABILITY_BINS), np.float64)

    def add(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """Count a batch.

        Args:
            scores: logits, (N, K) or (N, K, rows, columns).
            labels: places of the classes, (N,) or (N, rows, columns); of several labels 0 and 1, (N, K).

        Raises:
            InputError: scores that are no numbers, or labels beyond the classes.
        """
        if np.isnan(scores).any():
            raise InputError(
                "The network's scores are not numbers any more: train it with a lower learning rate, or with clip=1."
            )
        scores = np.clip(scores.astype(np.float64), -_LARGEST, _LARGEST)
        if self.several:
            self._add_several(scores, labels)
            return
        flat = np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1])
        true = labels.reshape(-1).astype(np.int64)
        if self.ignore_index is not None:
            counts = true != self.ignore_index
            flat, true = flat[counts], true[counts]
        if not len(true):
            return
        classes = len(self.names)
        if true.min() < 0 or true.max() >= classes:
            raise InputError("The training set holds labels that are none of its classes; make it anew.")
        predicted = flat.argmax(axis=1)
        pairs = np.bincount(true * classes + predicted, minlength=classes**2)
        self.confusion += pairs.reshape(classes, classes)
        probability = 1 / np.exp(flat - flat.max(axis=1, keepdims=True)).sum(axis=1)
        self._add_reliability(probability, predicted == true)

    def _add_several(self, scores: np.ndarray, labels: np.ndarray) -> None:
        bins = np.minimum((_sigmoid(_FLATTER * scores) * BINS).astype(np.int64), BINS - 1)
        for place in range(len(self.names)):
            for row, chosen in enumerate((labels[:, place] == 1, labels[:, place] != 1)):
                self.histogram[row, place] += np.bincount(bins[chosen, place], minlength=BINS)
        probability = _sigmoid(scores)
        sure = np.maximum(probability, 1 - probability)
        self._add_reliability(sure.ravel(), ((probability >= 0.5) == (labels == 1)).ravel())

    def _add_reliability(self, probability: np.ndarray, right: np.ndarray) -> None:
        bins = np.minimum((probability * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
        for row, weights in enumerate((np.ones(len(bins)), right.astype(float), probability)):
            self.reliability[row] += np.bincount(bins, weights, RELIABILITY_BINS)

    def vector(self) -> np.ndarray:
        """All counts in one row, to be added to those of other processes."""
        return np.concatenate([self.confusion.ravel(), self.histogram.ravel(), self.reliability.ravel()]).astype(float)

    def set_vector(self, values: np.ndarray) -> None:
        """Take the counts that :meth:`vector` gave, or a sum of such."""
        first, second = self.confusion.size, self.confusion.size + self.histogram.size
        self.confusion = values[:first].reshape(self.confusion.shape).round().astype(np.int64)
        self.histogram = values[first:second].reshape(self.histogram.shape).round().astype(np.int64)
        self.reliability = values[second:].reshape(self.reliability.shape)

    def accuracy(self) -> Accuracy:
        """The figures of the confusion matrix."""
        return Accuracy(self.names, self.confusion)

    def figures(self) -> dict[str, float]:
        """All figures, by name; those of a class have its name behind a comma."""
        figures = self._of_several() if self.several else self._of_one()
        figures["expected calibration error"] = self.calibration_error()
        return {name: round(float(value), 4) for name, value in figures.items()}

    def _of_one(self) -> dict[str, float]:
        accuracy = self.accuracy()
        figures = accuracy.metrics()
        union = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - np.diag(self.confusion)
        there = union > 0
        overlap = np.diag(self.confusion)[there] / union[there]
        figures["mean IoU"] = float(overlap.mean()) if there.any() else 0.0
        # Of one label each, what is wrong for one class is wrong for another: micro F1 is the overall accuracy.
        figures["micro F1"] = accuracy.overall
        for name, value in zip(self.names, accuracy.f1, strict=True):
            figures[f"F1, {name}"] = float(value)
        return figures

    def _of_several(self) -> dict[str, float]:
        half = BINS // 2
        with_label, without = self.histogram
        found, missed, wrong = with_label[:, half:].sum(1), with_label[:, :half].sum(1), without[:, half:].sum(1)
        f1 = 2 * found / np.maximum(2 * found + missed + wrong, 1)
        precision, recall = found / np.maximum(found + wrong, 1), found / np.maximum(found + missed, 1)
        there, met = with_label.sum(axis=1) > 0, found + missed + wrong > 0
        average = np.array([_average_precision(one, other) for one, other in zip(with_label, without, strict=True)])
        figures = {
            "micro F1": float(2 * found.sum() / max(2 * found.sum() + missed.sum() + wrong.sum(), 1)),
            # Of classes that nothing shows and nobody finds there is nothing to be said.
            "macro F1": float(f1[met].mean()) if met.any() else 0.0,
            "mean average precision": float(average[there].mean()) if there.any() else 0.0,
        }
        for name, *values in zip(self.names, precision, recall, f1, average, strict=True):
            for title, value in zip(("precision", "recall", "F1", "average precision"), values, strict=True):
                figures[f"{title}, {name}"] = float(value)
        return figures

    def calibration_error(self) -> float:
        """Mean distance between how sure the network is and how often it is right."""
        samples, right, probability = self.reliability
        return float(np.abs(right - probability).sum() / max(samples.sum(), 1))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return result


def _average_precision(with_label: np.ndarray, without: np.ndarray) -> float:
    """Area under precision over recall, from counts per bin of scores.

    Within a bin samples with and without the label are taken as mixed.
    """
    total = with_label.sum()
    if not total:
        return 0.0
    inside, beside = with_label[::-1], without[::-1]
    # The middle one of those in the bin, and half of what is wrong there, on top of all before.
    found = np.cumsum(inside) - (inside - 1) / 2
    wrong = np.cumsum(beside) - beside / 2
    precision = found / np.maximum(found + wrong, 1e-12)
    return float((precision * inside).sum() / total)


def check_monitor(name: str, several: bool) -> None:
    """Refuse a figure by which no best epoch can be chosen.

    Raises:
        InputError: which there are.
    """
    choices: tuple[str, ...] = SEVERAL_FIGURES if several else SINGLE_FIGURES
    if name not in choices:
        raise InputError(f"The best epoch cannot be chosen by “{name}”; set monitor to one of {', '.join(choices)}.")


def describe(figures: dict[str, Any], several: bool) -> str:
    """The main figures in one line."""
    names = SEVERAL_FIGURES if several else ("overall accuracy", "kappa", "macro F1")
    return ", ".join(f"{name} {figures[name]:.3f}" for name in names if name in figures)
