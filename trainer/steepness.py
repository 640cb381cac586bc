"""How sure scores are: one factor for all of them, by which their softmax says how often they are right."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

#: Natural logarithms of the smallest and largest factor: from almost no difference between classes to almost certainty.
_RANGE = (-3, 3)
#: A probability under this is one: its logarithm is a number.
_SMALLEST = 1e-300


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) from logits (N, K), in double precision."""
    scores = scores.astype(np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result


def find_steepness(scores: np.ndarray, places: np.ndarray) -> float:
    """The factor with which held-out scores say best how sure they are (temperature scaling, Guo et al. 2017).

    Who is right about a few samples is not sure of all: targets are a bit under 1 (Platt 1999).

    Args:
        scores: of held-out samples, (N, K).
        places: their true classes, (N,).
    """
    count = np.bincount(places, minlength=scores.shape[1])[places]
    target = (count + 1) / (count + 2)

    def badness(power: float) -> float:
        log = np.log(np.maximum(softmax(scores * np.exp(power)), _SMALLEST))
        true = log[np.arange(len(places)), places]
        others = (log.sum(axis=1) - true) / (scores.shape[1] - 1)
        return float(-(target * true + (1 - target) * others).mean())

    return float(np.exp(minimize_scalar(badness, bounds=_RANGE).x))
