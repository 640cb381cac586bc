"""How good a classification is, from its confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Accuracy:
    """Figures of a confusion matrix.

    Args:
        names: of the classes.
        confusion: (classes, classes), rows true, columns predicted.
    """

    names: Sequence[str]
    confusion: np.ndarray

    @classmethod
    def of(cls, names: Sequence[str], true: np.ndarray, predicted: np.ndarray) -> Accuracy:
        """Count the pairs of true and predicted classes, both given as places in ``names``."""
        confusion = np.zeros((len(names),) * 2, dtype=np.int64)
        np.add.at(confusion, (true, predicted), 1)
        return cls(names, confusion)

    @property
    def overall(self) -> float:
        """Share of all that was given its class."""
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond what the class sizes alone would give."""
        total = max(self.confusion.sum(), 1)
        # As shares: products of billions of pixels do not fit into whole numbers.
        chance = float((self.confusion.sum(axis=0) / total) @ (self.confusion.sum(axis=1) / total))
        return (self.overall - chance) / (1 - chance) if chance < 1 else 0.0

    @property
    def recall(self) -> np.ndarray:
        """Producer's accuracy per class: share of a class's members that were found."""
        return np.diag(self.confusion) / np.maximum(self.confusion.sum(axis=1), 1)

    @property
    def precision(self) -> np.ndarray:
        """User's accuracy per class: share of what was called so that is so."""
        return np.diag(self.confusion) / np.maximum(self.confusion.sum(axis=0), 1)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of recall and precision per class."""
        sizes = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        return 2 * np.diag(self.confusion) / np.maximum(sizes, 1)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that come up, as truth or as prediction."""
        there = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) > 0
        return float(self.f1[there].mean()) if there.any() else 0.0

    def metrics(self) -> dict[str, float]:
        """The figures of a model card, rounded to four digits."""
        metrics = {"overall accuracy": self.overall, "kappa": self.kappa, "macro F1": self.macro_f1}
        for name, recall, precision in zip(self.names, self.recall, self.precision, strict=True):
            metrics[f"producer's accuracy, {name}"] = float(recall)
            metrics[f"user's accuracy, {name}"] = float(precision)
        return {name: round(value, 4) for name, value in metrics.items()}
