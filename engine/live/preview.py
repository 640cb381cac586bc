"""The picture of a live classification: class colours, and a veil where the classifier is undecided.

Pixels whose class is hardly more probable than the next, or that look like nothing that was drawn, fade, so that the
image beneath shows through: there the analyst looks, and draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Steps between undecided and sure that can be told apart.
_LEVELS = 32
# What is left of the colour where two classes are equally probable: enough to see which, too little to believe it.
_LEAST = 0.12
# From here on a class is sure.
_SURE = 0.9

Pixels = npt.NDArray[np.uint32]


def picture(
    classes: npt.NDArray[np.int16],
    certainty: npt.NDArray[np.floating],
    colors: Sequence[str],
    opacity: float = 1.0,
    veil: bool = True,
) -> Pixels:
    """Colours of classified pixels.

    Args:
        classes: (…) place of the class, -1 for none.
        certainty: (…) how sure that is, 0 to 1; see :meth:`.classifier.Perceptron.classify`.
        colors: ``#rrggbb`` of each class.
        opacity: 0 to 1, of sure pixels.
        veil: fade undecided pixels.

    Returns:
        (…) 0xAARRGGBB, premultiplied by alpha; 0 where there is no class.
    """
    table = _table(colors, opacity, veil)
    level = np.clip(certainty * np.float32((_LEVELS - 1) / _SURE) + np.float32(0.5), 0, _LEVELS - 1).astype(np.intp)
    # The last row stands for no class.
    return np.take(table, np.where(classes >= 0, classes, len(colors)).astype(np.intp) * _LEVELS + level)


def _table(colors: Sequence[str], opacity: float, veil: bool) -> Pixels:
    """The colour of every class at every level, one after the other."""
    rgb = np.array([[int(color[start : start + 2], 16) for start in (1, 3, 5)] for color in colors], float)
    level = np.linspace(0, 1, _LEVELS)
    # Steep in the middle: most pixels should read as sure or as not.
    strength = _LEAST + (1 - _LEAST) * level * level * (3 - 2 * level) if veil else np.ones(_LEVELS)
    alpha = np.rint(255 * np.clip(opacity, 0, 1) * strength)
    premultiplied = np.rint(rgb.reshape(-1, 1, 3) * alpha[:, None] / 255).astype(np.uint32)
    red, green, blue = np.moveaxis(premultiplied, -1, 0)
    table = np.zeros((len(colors) + 1, _LEVELS), np.uint32)
    table[:-1] = (alpha.astype(np.uint32) << 24) | (red << 16) | (green << 8) | blue
    return table.ravel()
