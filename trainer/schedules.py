"""The learning rate over a training: a straight rise, then what the recipe says.  A pure function of the step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from .recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int, processes: int = 1) -> float:
    """The learning rate of a step.

    Args:
        recipe: what is trained.
        step: number of the step that is about to be taken, from 0.
        steps: how many there will be in all.
        processes: how many train together; the rate grows with them where the recipe says so.

    Raises:
        InputError: the recipe's schedule has an option that cannot be.
    """
    highest = recipe.learning_rate * (processes if recipe.scale_learning_rate else 1)
    rising = recipe.warm_up * steps
    if step < rising:
        return highest * (step + 1) / (rising + 1)
    return highest * _SCHEDULES[recipe.schedule](
        recipe.schedule_options, step, (step - rising) / max(steps - rising, 1)
    )


def check_schedule(recipe: Recipe) -> None:
    """Refuse options that the schedule cannot have.

    Raises:
        InputError: which.
    """
    known = {"step": {"milestones", "factor"}, "inverse": {"decay"}}.get(recipe.schedule, set())
    unknown = sorted(set(recipe.schedule_options) - known)
    if unknown:
        raise InputError(f"The schedule “{recipe.schedule}” has no option “{unknown[0]}”.")
    learning_rate(recipe, 0, 10)


def _constant(options: dict[str, Any], step: int, share: float) -> float:
    return 1.0


def _cosine(options: dict[str, Any], step: int, share: float) -> float:
    """Half a cosine to 0 (Loshchilov & Hutter 2017)."""
    return 0.5 + 0.5 * math.cos(math.pi * min(share, 1.0))


def _step(options: dict[str, Any], step: int, share: float) -> float:
    milestones, factor = options.get("milestones", [0.5, 0.75]), options.get("factor", 0.1)
    is_list = isinstance(milestones, list) and all(isinstance(at, (int, float)) and 0 < at < 1 for at in milestones)
    if not is_list or not isinstance(factor, (int, float)) or not 0 < factor <= 1:
        raise InputError("The schedule “step” has milestones, shares between 0 and 1, and a factor up to 1.")
    return float(factor) ** bisect_right(sorted(milestones), share)


def _inverse(options: dict[str, Any], step: int, share: float) -> float:
    decay = options.get("decay", 0.0)
    if not isinstance(decay, (int, float)) or not math.isfinite(decay) or decay < 0:
        raise InputError("The schedule “inverse” has a decay per step, a number from 0.")
    return float(1 / (1 + decay * step))


_SCHEDULES: dict[str, Callable[[dict[str, Any], int, float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "step": _step,
    "inverse": _inverse,
}
