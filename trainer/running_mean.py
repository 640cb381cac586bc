"""The running mean of a network's weights, which is often better than the last of them (Polyak & Juditsky 1992)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class RunningMean:
    """An exponential moving average of weights and batch statistics.

    It remembers less in the first steps, when weights change fast.

    Args:
        network: whose weights change.
        share: that the mean keeps per step.

    Attributes:
        network: has the mean as its weights.
    """

    def __init__(self, network: nn.Module, share: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._share, self._steps = share, 0
        # Listed once: going through a network's modules takes longer than the sums.
        mine, given = self.network.state_dict(), network.state_dict()
        pairs = [(mine[name], given[name]) for name in mine]
        self._mean = [mean for mean, _ in pairs if mean.is_floating_point()]
        self._current = [current for mean, current in pairs if mean.is_floating_point()]
        self._counters = [(mean, current) for mean, current in pairs if not mean.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        kept = min(self._share, (1 + self._steps) / (10 + self._steps)) if self._steps else 0.0
        self._steps += 1
        torch._foreach_lerp_(self._mean, self._current, 1 - kept)
        for mean, current in self._counters:
            mean.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"network": self.network.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.network.load_state_dict(state["network"])
        self._steps = int(state["steps"])
