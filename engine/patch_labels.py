"""From the probabilities of patches to labels: one for each patch, or a set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .decision import decide
from .network import Head
from .pam import UNCLASSIFIED_NAME

#: Digits of probabilities that are kept.
DIGITS = 6


@dataclass
class PatchLabels:
    """Labels of n patches.

    Args:
        names: (n,) text: the best class, or for several labels all that count, joined by ``; ``.
        codes: (n,) code of the best class (or of "unclassified").
        scores: (n,) probability of the best class; where one score chooses between two, of the chosen one.
        counted: (n, K): the classes that each patch counts for.
        probabilities: (n, K), rounded.
    """

    names: np.ndarray
    codes: np.ndarray
    scores: np.ndarray
    counted: np.ndarray
    probabilities: np.ndarray


class Labelling:
    """How probabilities become labels.

    Args:
        head: the network's output.
        threshold: replaces the card's thresholds.
    """

    def __init__(self, head: Head, threshold: float | None = None) -> None:
        card = head.card
        thresholds = (threshold,) if threshold is not None else card.thresholds
        self.several = card.task == "patch-multilabel"
        self.head = replace(head, card=replace(card, thresholds=thresholds))
        self.class_names = [entry.name for entry in card.classes]
        #: Per class, the probability from which it counts; None where the best always does.
        self.limits: np.ndarray | None = None
        if self.several or thresholds:
            self.limits = np.broadcast_to(np.asarray(thresholds or (0.5,), np.float64), (len(card.classes),))
        #: Whether a patch may stay without a class: a single score chooses between two, whatever its threshold.
        self.may_be_unclassified = bool(thresholds) and not self.several and head.channels != 1
        self._codes = np.array([entry.value for entry in card.classes] + [card.unclassified_code()], np.int32)
        self._one_name = np.array([*self.class_names, UNCLASSIFIED_NAME], object)
        self._sets: dict[bytes, str] = {}

    @property
    def threshold(self) -> float | list[float] | None:
        """The threshold as one number where it is one, else per class; None without one."""
        if self.limits is None:
            return None
        values = [float(value) for value in self.limits]
        return values[0] if len(set(values)) == 1 else values

    def __call__(self, probabilities: np.ndarray) -> PatchLabels:
        """Labels of patches from their probabilities, (n, K)."""
        count = len(self.class_names)
        if len(probabilities) == 0:
            empty = np.zeros((0, count))
            return PatchLabels(np.zeros(0, object), np.zeros(0, np.int32), np.zeros(0), empty.astype(bool), empty)
        # What the table shows is what was decided on: 0.4999999 is shown as 0.5, and counts as 0.5.
        rounded = np.round(probabilities.astype(np.float64), DIGITS)
        if self.several:
            assert self.limits is not None
            best = probabilities.argmax(axis=1)
            counted = rounded >= self.limits
            return PatchLabels(self._names_of_sets(counted), self._codes[best], rounded.max(axis=1), counted, rounded)
        decided = decide(rounded.T, self.head, ["confidence"], unrounded=probabilities.T)
        index = decided["classes"]
        counted = index[:, None] == np.arange(count)
        return PatchLabels(self._one_name[index], self._codes[index], decided["confidence"], counted, rounded)

    def _names_of_sets(self, counted: np.ndarray) -> np.ndarray:
        """The names of each set of labels; few of the possible sets occur."""
        names = np.empty(len(counted), object)
        for index, packed in enumerate(np.packbits(counted, axis=1)):
            key = packed.tobytes()
            if key not in self._sets:
                chosen = [name for name, counts in zip(self.class_names, counted[index], strict=True) if counts]
                self._sets[key] = "; ".join(chosen)
            names[index] = self._sets[key]
        return names


class PatchStatistics:
    """Patches and hectares of every class, added up as they are written.

    Args:
        count: number of classes.
    """

    def __init__(self, count: int) -> None:
        self.patches = np.zeros(count, np.int64)
        self.hectares: np.ndarray | None = np.zeros(count)
        self.total = 0
        #: Patches that count for no class, and their hectares.
        self.none = 0
        self.none_hectares = 0.0
        self.without_data = 0

    def add(self, labels: PatchLabels, hectares: np.ndarray | None, without_data: int) -> None:
        """Add patches.

        Args:
            labels: of n patches.
            hectares: (n,) that each stands for; None where that is unknown.
            without_data: patches that were left out.
        """
        self.patches += labels.counted.sum(axis=0)
        self.total += len(labels.counted)
        none = ~labels.counted.any(axis=1)
        self.none += int(none.sum())
        self.without_data += without_data
        if hectares is None:
            self.hectares = None
        elif self.hectares is not None:
            self.hectares += hectares @ labels.counted
            self.none_hectares += float(hectares[none].sum())
