"""Changes of normalised samples while training, by name; labels of pixels follow where pixels move.

A batch is in random order.  So a change that moves pixels is drawn for parts of the batch, not for each sample: a few
whole parts are moved at once, which costs little more than copying them.  Changes of values are drawn for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ..errors import InputError
from .loader import Augment
from .recipe import Recipe

#: Samples, labels, strength, generator → samples and labels.
_Change = Callable[[torch.Tensor, torch.Tensor, float, torch.Generator], tuple[torch.Tensor, torch.Tensor]]

# Parts of a batch that are moved in different ways.
_SHIFTS = 8


def flips(
    x: torch.Tensor, y: torch.Tensor, strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror left to right, top to bottom, or both; strength: the share that is drawn for it."""
    return _moved(x, y, strength, generator, [partial(np.flip, axis=axes) for axes in _MIRRORS])


def rotations(
    x: torch.Tensor, y: torch.Tensor, strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn by 0, 90, 180 or 270 degrees; strength: the share that is drawn for it."""
    # A rectangle keeps its shape only upside down.
    quarters = range(0, 4, 1 if x.shape[-2] == x.shape[-1] else 2)
    return _moved(x, y, strength, generator, [partial(np.rot90, k=turns, axes=(-2, -1)) for turns in quarters])


def crops(
    x: torch.Tensor, y: torch.Tensor, strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift by up to a share of the side; what is uncovered shows the reflection of what is beside it.

    The same as cutting a piece from the sample after it was enlarged by its reflection.
    """
    reach = int(strength * min(x.shape[-2:]))
    shifts = torch.randint(-reach, reach + 1, (_SHIFTS, 2), generator=generator).tolist()
    return _moved(x, y, 1.0, generator, [partial(_shifted, down=down, right=right) for down, right in shifts])


def spectral_jitter(
    x: torch.Tensor, y: torch.Tensor, strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give each band of each sample a gain of 1 ± strength and an offset of ± strength standard deviations."""
    return _relit(x, strength, generator, x.shape[1]), y


def brightness(
    x: torch.Tensor, y: torch.Tensor, strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give all bands of a sample the same gain of 1 ± strength and offset of ± strength standard deviations."""
    return _relit(x, strength, generator, 1), y


def band_dropout(
    x: torch.Tensor, y: torch.Tensor, strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Set a band of a sample to its mean, which is 0, with this probability."""
    kept = torch.rand(_per_band(x, x.shape[1]), generator=generator) >= strength
    return x * kept, y


def noise(
    x: torch.Tensor, y: torch.Tensor, strength: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add normal noise to each value; strength: its standard deviation in those of the band."""
    return torch.randn(x.shape, generator=generator).mul_(strength).add_(x), y


@dataclass(frozen=True)
class _Kind:
    """A change.

    Args:
        change: how.
        below: what its strength must be below.
        moves: pixels change places, so that samples must have rows and columns.
        keeps_centre: the pixel in the middle stays there, which a window's label is that of.
    """

    change: _Change
    below: float = math.inf
    moves: bool = False
    keeps_centre: bool = True


AUGMENTATIONS: dict[str, _Kind] = {
    "flips": _Kind(flips, 1 + 1e-9, moves=True),
    "rotations": _Kind(rotations, 1 + 1e-9, moves=True),
    "crops": _Kind(crops, 0.5, moves=True, keeps_centre=False),
    "spectral-jitter": _Kind(spectral_jitter),
    "brightness": _Kind(brightness),
    "band-dropout": _Kind(band_dropout, 1.0),
    "noise": _Kind(noise),
}


def build_augmentation(recipe: Recipe, shape: tuple[int, ...], kind: str) -> Augment | None:
    """All changes of a recipe, one after the other; None where there are none.

    Args:
        recipe: names the changes and their strengths.
        shape: of a sample.
        kind: of the training set.

    Raises:
        InputError: there is no such change, it is not for such samples, or its strength cannot be.
    """
    changes = []
    for name, strength in recipe.augment.items():
        if name not in AUGMENTATIONS:
            raise InputError(f"There is no augmentation “{name}”; choose {', '.join(AUGMENTATIONS)}.")
        found = AUGMENTATIONS[name]
        if found.moves and len(shape) == 1:
            raise InputError(f"The augmentation “{name}” is for image pieces, not for single pixels; leave it out.")
        if kind == "windows" and not found.keeps_centre:
            raise InputError(f"The augmentation “{name}” moves the pixel that a window's label is of; leave it out.")
        if not 0 <= strength < found.below:
            limit = "" if math.isinf(found.below) else f" to {'' if found.below > 1 else 'less than '}{found.below:.3g}"
            raise InputError(f"The strength of the augmentation “{name}” is a number from 0{limit}, not {strength:g}.")
        if strength:
            changes.append((found.change, float(strength)))
    if not changes:
        return None

    def augment(x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        for change, strength in changes:
            x, y = change(x, y, strength, generator)
        return x, y

    return augment


# The four mirror images of a rectangle; nothing mirrored is one of them.
_MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


def _moved(
    x: torch.Tensor,
    y: torch.Tensor,
    strength: float,
    generator: torch.Generator,
    ways: Sequence[Callable[[np.ndarray], np.ndarray]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move the pixels of each part of the batch in another way, and the labels of pixels with them."""
    # Small batches have fewer parts than there are ways: which part gets which is drawn.
    order = torch.randperm(len(ways), generator=generator).tolist()
    chosen = (torch.rand(len(ways), generator=generator) < strength).tolist()
    ends = [len(x) * number // len(ways) for number in range(len(ways) + 1)]
    moved = []
    # NumPy's mirrored and turned arrays are views: each pixel is copied once.
    for before in (x.numpy(), y.numpy()) if y.ndim == 3 else (x.numpy(),):
        after = np.empty_like(before)
        for number, way in enumerate(order):
            part = slice(ends[number], ends[number + 1])
            after[part] = ways[way](before[part]) if chosen[number] else before[part]
        moved.append(torch.from_numpy(after))
    return moved[0], moved[1] if len(moved) > 1 else y


def _shifted(part: np.ndarray, down: int, right: int) -> np.ndarray:
    """The pieces (…, rows, columns) shifted, with reflections where nothing would be."""
    for axis, by in ((-2, down), (-1, right)):
        if by:
            side = part.shape[axis]
            place = np.abs(np.arange(side) - by)
            part = part.take(np.where(place < side, place, 2 * (side - 1) - place), axis)
    return part


def _relit(x: torch.Tensor, strength: float, generator: torch.Generator, bands: int) -> torch.Tensor:
    gain, offset = ((torch.rand(_per_band(x, bands), generator=generator) * 2 - 1) * strength for _ in range(2))
    return torch.addcmul(offset, x, gain + 1)


def _per_band(x: torch.Tensor, bands: int) -> tuple[int, ...]:
    return (len(x), bands) + (1,) * (x.ndim - 2)
