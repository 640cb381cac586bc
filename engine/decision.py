"""From probabilities to a class and its scores, in NumPy: for tiles that are blended before anything is decided.

The same rules as behind a deployed graph (:mod:`.deployment`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .network import Head


def decide(
    probabilities: np.ndarray, head: Head, scores: Sequence[str] = (), unrounded: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Class index and scores.

    Args:
        probabilities: (K, …), one per class of the head's card; compared with thresholds in their own precision.
        head: the network's output.
        scores: which of :data:`.scores.SCORES` to compute too.
        unrounded: (K, …): finds the best class where ``probabilities`` were rounded, and may be equal by that.

    Returns:
        ``classes`` (class index, or K under the threshold) and the scores, each of the shape behind K;
        ``probabilities`` as given.
    """
    card = head.card
    count = len(card.classes)
    if head.channels == 1:
        threshold = card.thresholds[-1] if card.thresholds else 0.5
        index = (probabilities[1] >= probabilities.dtype.type(threshold)).astype(np.intp)
        # Of the class that was chosen: under a threshold that is not 0.5 it need not be the more probable one.
        best = np.where(index == 1, probabilities[1], probabilities[0])
    else:
        index = (probabilities if unrounded is None else unrounded).argmax(axis=0)
        best = np.take_along_axis(probabilities, index[None], axis=0)[0]
        if card.thresholds:
            limits = np.broadcast_to(np.asarray(card.thresholds, probabilities.dtype), (count,))
            index = np.where(best < limits[index], count, index)
    result: dict[str, np.ndarray] = {"classes": index}
    if "confidence" in scores:
        result["confidence"] = best
    if "margin" in scores:
        two = np.partition(probabilities, -2, axis=0)[-2:]
        result["margin"] = two[1] - two[0]
    if "entropy" in scores:
        tiny = np.float32(1e-12)
        shares = probabilities / np.maximum(probabilities.sum(axis=0), tiny)
        result["entropy"] = -(shares * np.log(np.maximum(shares, tiny))).sum(axis=0) / np.float32(np.log(max(count, 2)))
    if "probabilities" in scores:
        result["probabilities"] = probabilities
    return result
