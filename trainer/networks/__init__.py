"""The networks that can be trained, by name.

Each is built from the shape of a sample and the number of classes, and tells for which kinds of training set it is.
Importing this costs nothing; torch is loaded when a network is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    #: (bands,) or (bands, rows, columns), number of classes, options → a network that gives logits.
    Build = Callable[[tuple[int, ...], int, dict[str, Any]], nn.Module]


@dataclass(frozen=True)
class NetworkKind:
    """A network that can be trained.

    Args:
        name: as in recipes and on the command line.
        title: for the analyst.
        kinds: of training sets that it learns from: ``pixels``, ``windows``, ``chips``, ``patches``.
        several: True where it can learn several labels per patch.
        recipe: the recipe taken where none is named.
        module: module of this package with ``build(shape, classes, options)``; empty where scikit-learn trains it.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    several: bool
    recipe: str
    module: str = ""
