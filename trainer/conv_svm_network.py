"""Branches of convolutions side by side, one for each size of filter, and one linear layer over what they find.

The form in which a multi-scale convolutional SVM network runs and is exported; :mod:`.conv_svm` learns the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional

#: How maps become smaller: by the largest or the mean of 2 × 2 values, or not at all.
POOLINGS = ("max", "mean", "none")
#: Added to a variance, so that rounding does not count where a map is even.
_LITTLE = 0.01


class CellMoments(nn.Module):
    """Mean and standard deviation within the cells of a map: (N, F, rows, columns) → (N, 2 × F × cells).

    Args:
        sides: rows and columns of the map.
        cells: along each of them; a map that has fewer values than that has a cell for each.
    """

    def __init__(self, sides: tuple[int, int], cells: int) -> None:
        super().__init__()
        (rows, row_step), (columns, column_step) = (_divide(side, cells) for side in sides)
        self.mean = nn.AvgPool2d((rows, columns), (row_step, column_step))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """See the class."""
        mean = self.mean(maps)
        variance = functional.relu(self.mean(maps * maps) - mean * mean)
        return torch.cat([mean.flatten(1), torch.sqrt(variance + _LITTLE).flatten(1)], dim=1)


def _divide(side: int, cells: int) -> tuple[int, int]:
    """Length of a cell, and from one to the next; they overlap where they must, so that one lies in the middle."""
    cells = min(cells, side)
    step = side // cells
    return side - (cells - 1) * step, step


class Branch(nn.Module):
    """Layers with filters of one size: convolution without padding, ReLU that ends at 6, pooling.

    Args:
        size: of the filters.
        shape: of what enters, (channels, rows, columns).
        pooling: one of :data:`POOLINGS`.
        cells: see :class:`CellMoments`.

    Attributes:
        shape: of the last layer's maps.
    """

    def __init__(self, size: int, shape: tuple[int, ...], pooling: str, cells: int) -> None:
        super().__init__()
        self.size, self.shape, self.pooling, self.cells = size, shape, pooling, cells
        self.layers, self.moments = nn.ModuleList(), nn.ModuleList()

    def fits(self) -> bool:
        """Whether there is room for the filters of one layer more."""
        return self.size <= min(self.shape[1:])

    def add(self, weights: torch.Tensor, biases: torch.Tensor) -> None:
        """One layer more, with filters (F, C × size × size) and biases (F,)."""
        channels, rows, columns = self.shape
        filters = nn.Conv2d(channels, len(weights), self.size)
        filters.weight = nn.Parameter(weights.reshape(filters.weight.shape), False)
        filters.bias = nn.Parameter(biases, False)
        rows, columns = rows - self.size + 1, columns - self.size + 1
        parts: list[nn.Module] = [filters, nn.ReLU6()]
        if self.pooling != "none" and min(rows, columns) >= 2:
            # The largest value stays the largest: behind the pooling, ReLU has less to do.
            parts = [filters, nn.MaxPool2d(2), nn.ReLU6()] if self.pooling == "max" else [*parts, nn.AvgPool2d(2)]
            rows, columns = rows // 2, columns // 2
        self.layers.append(nn.Sequential(*parts))
        self.moments.append(CellMoments((rows, columns), self.cells))
        self.shape = (len(weights), rows, columns)

    def cut(self, depth: int) -> Branch:
        """The first layers alone."""
        first = Branch(self.size, self.shape, self.pooling, self.cells)
        first.layers, first.moments = self.layers[:depth], self.moments[:depth]
        return first

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, rows, columns) → the maps behind the last layer."""
        for layer in self.layers:
            x = layer(x)
        return x

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(N, C, rows, columns) → (N, …) of each layer."""
        found = []
        for layer, moments in zip(self.layers, self.moments, strict=True):
            x = layer(x)
            found.append(moments(x))
        return found


def layer_features(branches: Sequence[Branch], x: torch.Tensor) -> list[torch.Tensor]:
    """(N, C, rows, columns) → (N, …) of each layer, a branch beside the other; shorter branches end earlier."""
    found = [branch.features(x) for branch in branches]
    depth = max(len(layers) for layers in found)
    return [torch.cat([layers[number] for layers in found if number < len(layers)], dim=1) for number in range(depth)]


class ConvSvmNetwork(nn.Module):
    """(N, C, rows, columns) → (N, K).

    Args:
        branches: whose features stand side by side, see :func:`layer_features`.
        weights: of the linear layer, (K, features).
        biases: (K,).
    """

    def __init__(self, branches: Sequence[Branch], weights: torch.Tensor, biases: torch.Tensor) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.classify = nn.Linear(weights.shape[1], len(weights))
        self.classify.weight, self.classify.bias = nn.Parameter(weights, False), nn.Parameter(biases, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        scores: torch.Tensor = self.classify(
            torch.cat(layer_features(cast("Sequence[Branch]", self.branches), x), dim=1)
        )
        return scores
