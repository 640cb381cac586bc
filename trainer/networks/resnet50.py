"""ResNet-50 for any number of bands: (N, bands, side, side) → (N, classes).

He, K., Zhang, X., Ren, S., Sun, J. (2016): Deep residual learning for image recognition. CVPR 2016, 770-778.  The
stride of a block is its 3×3 convolution's ("version 1.5").  Layers have the names that published weights use (conv1,
layer1.0.conv2, fc, …), so that those can be loaded as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .batch_norm import BatchNorm2d
from .strided import StridedConv2d

_DEPTHS, _EXPANSION = (3, 4, 6, 3), 4


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels = width * _EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(channels_in, width, 1, bias=False), BatchNorm2d(width)
        self.conv2, self.bn2 = StridedConv2d(width, width, 3, stride), BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, channels, 1, bias=False), BatchNorm2d(channels)
        # Every block starts as its shortcut (Goyal et al. 2017).
        nn.init.zeros_(self.bn3.weight)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, H, W) → (N, 4 × width, H / stride, W / stride)."""
        inner = self.relu(self.bn1(self.conv1(x)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        result: torch.Tensor = self.relu(self.bn3(self.conv3(inner)) + self.downsample(x))
        return result


class ResNet50(nn.Module):
    """A 7×7 convolution, four stages of bottlenecks, the mean over the patch, and one linear layer.

    Args:
        bands: channels of the input.
        classes: channels of the output, which are logits.
        dropout: share of the last features that is left out while training.
        width: channels of the first convolution; the paper's 64, or fewer for small training sets.
    """

    def __init__(self, bands: int, classes: int, dropout: float = 0.0, width: int = 64) -> None:
        super().__init__()
        self.conv1, self.bn1 = StridedConv2d(bands, width, 7, 2), BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = width
        for stage, depth in enumerate(_DEPTHS, start=1):
            blocks: list[nn.Module] = []
            for block in range(depth):
                blocks.append(Bottleneck(channels, width, 2 if stage > 1 and block == 0 else 1))
                channels = width * _EXPANSION
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            width *= 2
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, bands, side, side) → (N, classes), logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, len(_DEPTHS) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        scores: torch.Tensor = self.fc(self.mean(x))
        return scores


def build(shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """See :func:`.build_network`."""
    return ResNet50(shape[0], classes, **options)
