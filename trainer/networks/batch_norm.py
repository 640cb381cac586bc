"""Batch normalisation that a last batch with a single sample does not break (Ioffe & Szegedy 2015).

One value per channel has no deviation.  Where a small patch has shrunk to one pixel and the batch is one sample, the
running statistics stand in; torch would end the training with an error.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class _OneValueIsNoBatch(nn.Module):
    running_mean: torch.Tensor | None
    running_var: torch.Tensor | None
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, …) → the same shape."""
        if self.training and x.numel() == x.shape[1]:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        normalised: torch.Tensor = super().forward(x)
        return normalised


class BatchNorm2d(_OneValueIsNoBatch, nn.BatchNorm2d):
    """Of (N, C, rows, columns)."""


class BatchNorm3d(_OneValueIsNoBatch, nn.BatchNorm3d):
    """Of (N, C, bands, rows, columns)."""
