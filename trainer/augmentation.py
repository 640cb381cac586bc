"""Changes of normalised samples while training, by name; labels of pixels follow where pixels move."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..errors import InputError
from .loader import Augment
from .recipe import Recipe

#: Samples, labels, strength, generator → samples and labels.
_Change = Callable[[torch.Tensor, torch.Tensor, float, torch.Generator], tuple[torch.Tensor, torch.Tensor]]


def flips(
    x: torch.Tensor, y: torch.Tensor, strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror each sample left to right, with a probability of half the strength."""
    chosen = torch.rand(len(x), generator=generator) < strength / 2
    x[chosen] = x[chosen].flip(-1)
    if y.ndim == 3:
        y[chosen] = y[chosen].flip(-1)
    return x, y


#: Name → how, and whether samples must have rows and columns.
AUGMENTATIONS: dict[str, tuple[_Change, bool]] = {"flips": (flips, True)}


def build_augmentation(recipe: Recipe, shape: tuple[int, ...]) -> Augment | None:
    """All changes of a recipe, one after the other; None where there are none.

    Raises:
        InputError: there is no such change, or it is not for such samples.
    """
    changes = []
    for name, strength in recipe.augment.items():
        if name not in AUGMENTATIONS:
            raise InputError(f"There is no augmentation “{name}”; choose {', '.join(AUGMENTATIONS)}.")
        change, spatial = AUGMENTATIONS[name]
        if spatial and len(shape) == 1:
            raise InputError(f"The augmentation “{name}” is for image pieces, not for single pixels; leave it out.")
        if strength:
            changes.append((change, float(strength)))
    if not changes:
        return None

    def augment(x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        for change, strength in changes:
            x, y = change(x, y, strength, generator)
        return x, y

    return augment
