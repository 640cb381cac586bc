"""A small residual network that classifies patches: (N, bands, side, side) → (N, classes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .batch_norm import BatchNorm2d
from .strided import StridedConv2d


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        last = BatchNorm2d(channels)
        # Every block starts as its shortcut, which lets the learning rate be high from the start.
        nn.init.zeros_(last.weight)
        self.body = nn.Sequential(
            StridedConv2d(channels_in, channels, 3, stride),
            BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            last,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels:
            # The mean before the 1×1 convolution: with a stride it alone would skip three pixels of four.  Of an odd
            # number of rows the last is taken alone, as the 3×3 convolution does.
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False),
                nn.Conv2d(channels_in, channels, 1, bias=False),
                BatchNorm2d(channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, H, W) → (N, channels, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A convolution with stride 2, stages of residual blocks, the mean over the patch, and one linear layer.

    Args:
        bands: channels of the input.
        classes: channels of the output, which are logits.
        widths: channels per stage; each stage but the first halves the resolution.
        depths: blocks per stage.
        dropout: share of the last features that is left out while training.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (1, 1, 1, 1),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            StridedConv2d(bands, widths[0], 3, 2),
            BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        channels = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for block in range(depth):
                layers.append(Block(channels, width, 2 if stage > 0 and block == 0 else 1))
                channels = width
        self.features = nn.Sequential(*layers)
        self.classify = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, bands, side, side) → (N, classes), logits."""
        return self.classify(self.features(x))


def build(shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """See :func:`.build_network`."""
    return SmallResNet(shape[0], classes, **options)
