"""Batch normalisation that a last batch with a single sample does not break (Ioffe & Szegedy 2015).

One value per channel has no deviation.  Where a small patch has shrunk to one pixel and the batch is one sample, the
running statistics stand in; torch would end the training with an error.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm2d(nn.BatchNorm2d):
    """Of (N, C, rows, columns)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, rows, columns) → the same shape."""
        return _by_running_statistics(self, x) if _is_one_value(self, x) else super().forward(x)


class BatchNorm3d(nn.BatchNorm3d):
    """Of (N, C, bands, rows, columns)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, bands, rows, columns) → the same shape."""
        return _by_running_statistics(self, x) if _is_one_value(self, x) else super().forward(x)


def _is_one_value(module: _BatchNorm, x: torch.Tensor) -> bool:
    return module.training and x.numel() == x.shape[1]


def _by_running_statistics(module: _BatchNorm, x: torch.Tensor) -> torch.Tensor:
    mean, variance = module.running_mean, module.running_var
    return functional.batch_norm(x, mean, variance, module.weight, module.bias, eps=module.eps)
