"""ResNet-50 for any number of bands: (N, bands, side, side) → (N, classes) (He et al. 2016)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_WIDTHS, _DEPTHS, _EXPANSION = (64, 128, 256, 512), (3, 4, 6, 3), 4


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut; the stride is the 3×3's."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels = width * _EXPANSION
        last = nn.BatchNorm2d(channels)
        # Every block starts as its shortcut (Goyal et al. 2017).
        nn.init.zeros_(last.weight)
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 1, bias=False),
            last,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, H, W) → (N, 4 × width, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet50(nn.Module):
    """A 7×7 convolution, four stages of bottlenecks, the mean over the patch, and one linear layer.

    Args:
        bands: channels of the input.
        classes: channels of the output, which are logits.
        dropout: share of the last features that is left out while training.
    """

    def __init__(self, bands: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, padding=1),
        ]
        channels = 64
        for stage, (width, depth) in enumerate(zip(_WIDTHS, _DEPTHS, strict=True)):
            for block in range(depth):
                layers.append(Bottleneck(channels, width, 2 if stage > 0 and block == 0 else 1))
                channels = width * _EXPANSION
        self.features = nn.Sequential(*layers)
        self.classify = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, classes)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, bands, side, side) → (N, classes), logits."""
        scores: torch.Tensor = self.classify(self.features(x))
        return scores


def build(shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """See :func:`.build_network`."""
    return ResNet50(shape[0], classes, **options)
