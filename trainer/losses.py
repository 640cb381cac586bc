"""What a training makes small.  Each gives a sum and the weight that it is to be divided by.

Parts of a batch can then be added, whichever process they are on, and give what the whole batch would have given.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from ..errors import InputError
from .dataset.description import Description
from .recipe import Recipe

#: Logits and labels → the sum over samples (or pixels), and the sum of their weights.
Loss = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def cross_entropy(recipe: Recipe, weights: torch.Tensor | None, ignore_index: int | None) -> Loss:
    """Cross-entropy of one label per sample or pixel, with label smoothing (Szegedy et al. 2016)."""
    smoothing = float(recipe.loss_options.get("label_smoothing", 0.0))
    ignored = -100 if ignore_index is None else ignore_index

    def loss(scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total = functional.cross_entropy(
            scores, labels, weights, ignore_index=ignored, reduction="sum", label_smoothing=smoothing
        )
        counts = labels != ignored
        weight = counts.sum() if weights is None else weights[labels[counts]].sum()
        return total, weight.to(total.dtype)

    return loss


def binary_cross_entropy(recipe: Recipe, weights: torch.Tensor | None, ignore_index: int | None) -> Loss:
    """Cross-entropy of each of several labels."""

    def loss(scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total = functional.binary_cross_entropy_with_logits(scores, labels, pos_weight=weights, reduction="sum")
        return total, torch.tensor(float(labels.numel()), dtype=total.dtype)

    return loss


#: Name → how it is built, and whether it is for several labels.
LOSSES: dict[str, tuple[Callable[[Recipe, torch.Tensor | None, int | None], Loss], bool]] = {
    "cross-entropy": (cross_entropy, False),
    "binary-cross-entropy": (binary_cross_entropy, True),
}


def build_loss(recipe: Recipe, told: Description, device: torch.device) -> Loss:
    """The loss of a recipe for a training set, for scores on a device.

    Raises:
        InputError: there is no such loss, or it is not for such labels.
    """
    if recipe.loss not in LOSSES:
        raise InputError(f"There is no loss “{recipe.loss}”; choose {', '.join(LOSSES)}.")
    build, several = LOSSES[recipe.loss]
    if several != (told.task == "multi-label"):
        fitting = [name for name, entry in LOSSES.items() if entry[1] == (told.task == "multi-label")]
        what = "several labels" if told.task == "multi-label" else "one label"
        raise InputError(
            f"The loss “{recipe.loss}” is not for samples with {what}; set loss to {' or '.join(fitting)}."
        )
    weights = torch.tensor([entry.weight for entry in told.classes], device=device) if recipe.class_weights else None
    return build(recipe, weights, told.ignore_index)
