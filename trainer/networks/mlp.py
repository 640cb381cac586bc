"""A multi-layer perceptron on the spectrum of one pixel: (N, bands) → (N, classes)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import nn


def perceptron(bands: int, classes: int, hidden: Sequence[int] = (64, 32), dropout: float = 0.0) -> nn.Module:
    """Linear layers with ReLU between them.

    Args:
        bands: of the spectrum.
        classes: channels of the output, which are logits.
        hidden: width of each hidden layer.
        dropout: share of each hidden layer that is left out while training.
    """
    layers: list[nn.Module] = []
    widths = [bands, *hidden]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def build(shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """See :func:`.build_network`."""
    return perceptron(shape[0], classes, **options)
