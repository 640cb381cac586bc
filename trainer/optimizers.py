"""How weights follow their gradients.  Matrices and kernels decay; biases and the scales of normalisation do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from .lars import Lars
from .recipe import Recipe

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    # Kingma & Ba 2015: decay is a part of the gradient; Loshchilov & Hutter 2019: it is not.
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "lars": Lars,
}
#: Those that torch can run as one operation over all weights: small networks spend a third of a step there otherwise.
_FUSED = ("sgd", "adam", "adamw")


def build_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a recipe for a network.

    Raises:
        InputError: there is no such optimiser, or it lacks an option.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise InputError(f"There is no optimiser “{recipe.optimizer}”; choose {', '.join(OPTIMIZERS)}.")
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [entry for entry in learned if entry.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [entry for entry in learned if entry.ndim <= 1], "weight_decay": 0.0},
    ]
    options = {"fused": True} if recipe.optimizer in _FUSED else {}
    try:
        return OPTIMIZERS[recipe.optimizer](
            [group for group in groups if group["params"]],
            lr=recipe.learning_rate,
            **options,
            **recipe.optimizer_options,
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The optimiser “{recipe.optimizer}” cannot have {', '.join(recipe.optimizer_options) or 'this rate'}: "
            f"{error}."
        ) from error
