"""U-Net: (N, bands, rows, columns) → (N, classes, rows, columns).

Ronneberger, O., Fischer, P., Brox, T. (2015): U-Net: Convolutional networks for biomedical image segmentation. MICCAI
2015, 234-241.  Unlike there, convolutions are padded, so that scores have the size of the input, and are followed by
batch normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from ...errors import InputError
from .batch_norm import BatchNorm2d


def _two_convolutions(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """A path down and one up with shortcuts between them.

    Args:
        bands: channels of the input.
        classes: channels of the output, which are logits.
        widths: channels per level; each level but the first halves the resolution, so that rows and columns must be a
            multiple of 2 to the power of the number of levels less one.
        dropout: share of the deepest features that is left out while training.
    """

    def __init__(
        self, bands: int, classes: int, widths: Sequence[int] = (32, 64, 128, 256), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList([_two_convolutions(bands, widths[0])])
        self.down.extend(_two_convolutions(before, after) for before, after in pairwise(widths))
        self.halve = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(dropout)
        upwards = list(pairwise(reversed(widths)))
        self.rise = nn.ModuleList([nn.ConvTranspose2d(before, after, 2, stride=2) for before, after in upwards])
        self.up = nn.ModuleList([_two_convolutions(2 * after, after) for _, after in upwards])
        self.classify = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, bands, rows, columns) → (N, classes, rows, columns), logits."""
        kept: list[torch.Tensor] = []
        for level, convolve in enumerate(self.down):
            x = convolve(self.halve(x) if level else x)
            kept.append(x)
        x = self.dropout(kept.pop())
        for rise, convolve in zip(self.rise, self.up, strict=True):
            x = convolve(torch.cat([kept.pop(), rise(x)], dim=1))
        scores: torch.Tensor = self.classify(x)
        return scores


def build(shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """See :func:`.build_network`."""
    network = UNet(shape[0], classes, **options)
    multiple = 2 ** (len(network.down) - 1)
    if any(side % multiple for side in shape[1:]):
        raise InputError(
            f"Chips of {shape[1]} × {shape[2]} pixels cannot be halved {len(network.down) - 1} times: make them with a "
            f"side that is a multiple of {multiple}, or give the network fewer widths."
        )
    return network
