"""A convolution with a stride that is right for a single pixel, too.

Small patches shrink to one pixel before the network ends.  There the gradient of a convolution with stride 2 is not a
number now and then, in 16 bits on CPUs: oneDNN reads what nobody has written (torch 2.13, 16 channels or a multiple,
width 1; found here).  With one pixel there is nothing to stride over, and a stride of 1 gives the same.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class StridedConv2d(nn.Conv2d):
    """Padded by half its odd kernel, without bias."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, H, W) → (N, channels, H / stride, W / stride)."""
        if self.training and x.shape[-2:] == (1, 1):
            return functional.conv2d(x, self.weight, padding=self.padding)
        return super().forward(x)
