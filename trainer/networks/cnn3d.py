"""A 3D convolutional network for hyperspectral windows: (N, bands, side, side) → (N, classes).

Lange, J., Cavallaro, G., Götz, M., Erlingsson, E., Riedel, M. (2018): The influence of sampling methods on pixel-wise
hyperspectral image classification with 3D convolutional neural networks. IGARSS 2018, 2087-2090.  Convolutions with 48,
32 and 32 filters of 3×3×5 (two directions on the ground, and the spectrum), dense layers of 128 and 128, ReLU.
Batch normalisation and the pooling of the spectrum are not the paper's; both can be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...errors import InputError
from .batch_norm import BatchNorm3d


class Cnn3d(nn.Module):
    """Convolutions over rows, columns and bands together, then dense layers.

    Args:
        shape: of a window, (bands, side, side).
        classes: channels of the output, which are logits.
        filters: per convolution.
        kernel: size along rows, columns and bands.
        dense: widths of the hidden dense layers.
        spectral_pooling: bands that a maximum is taken over after each convolution; 1: none.
        dropout: share of each dense layer that is left out while training.
        normalise: batch normalisation after each convolution.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        filters: Sequence[int] = (48, 32, 32),
        kernel: Sequence[int] = (3, 3, 5),
        dense: Sequence[int] = (128, 128),
        spectral_pooling: int = 1,
        dropout: float = 0.0,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        bands, side, _ = shape
        layers: list[nn.Module] = []
        channels = 1
        for width in filters:
            # Without padding on the ground a network of windows can run over a whole image as it is.
            along = min(kernel[0], side), min(kernel[1], side)
            layers.append(nn.Conv3d(channels, width, (kernel[2], *along), padding=(kernel[2] // 2, 0, 0)))
            if normalise:
                layers.append(BatchNorm3d(width))
            layers.append(nn.ReLU())
            if spectral_pooling > 1 and bands >= spectral_pooling:
                layers.append(nn.MaxPool3d((spectral_pooling, 1, 1)))
                bands //= spectral_pooling
            channels, side = width, side - along[0] + 1
        self.features = nn.Sequential(*layers)
        rows: list[nn.Module] = [nn.Flatten()]
        width = channels * bands * side * side
        for after in dense:
            rows += [nn.Linear(width, after), nn.ReLU()]
            if dropout:
                rows.append(nn.Dropout(dropout))
            width = after
        self.classify = nn.Sequential(*rows, nn.Linear(width, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, bands, side, side) → (N, classes), logits."""
        scores: torch.Tensor = self.classify(self.features(x.unsqueeze(1)))
        return scores


def build(shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """See :func:`.build_network`."""
    if shape[1] != shape[2]:
        raise InputError("Windows must be as wide as high for “cnn3d”.")
    return Cnn3d(shape, classes, **options)
