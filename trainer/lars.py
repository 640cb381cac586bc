"""Layer-wise adaptive rates, for the large batches of many processes.

You, Y., Gitman, I., Ginsburg, B. (2017): Large batch training of convolutional networks. arXiv:1708.03888.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch


class Lars(torch.optim.Optimizer):
    """Gradient descent with momentum, in which each layer's step is in proportion to its weights.

    With the weights w of a layer, their gradient g, decay β, momentum m and the global rate γ:
    λ = η |w| / (|g| + β |w|), v ← m v + γ λ (g + β w), w ← w - v.
    Biases and the scales of normalisation have no λ, as is usual since: their size says nothing about their step.

    Args:
        params: as of any optimiser of torch.
        lr: global learning rate γ.
        momentum: m.
        weight_decay: β.
        trust: η.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, momentum: float = 0.9, weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:  # fmt: skip
        for name, value, below in (("momentum", momentum, 1.0), ("trust", trust, math.inf)):
            if not 0 <= value < below:
                raise ValueError(f"{name} cannot be {value}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change the weights once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._step(weights, weights.grad, group)
        return loss

    def _step(self, weights: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        change = gradient.add(weights, alpha=decay) if decay else gradient
        rate = group["lr"]
        if weights.ndim > 1:
            size, slope = torch.linalg.vector_norm(weights), torch.linalg.vector_norm(gradient)
            local = group["trust"] * size / (slope + decay * size)
            # Weights that are all 0, or a gradient that is, have no proportion.
            change = change * torch.where((size > 0) & (slope > 0), local, torch.ones_like(local))
        velocity = self.state[weights].get("momentum_buffer")
        if velocity is None:
            velocity = self.state[weights]["momentum_buffer"] = torch.zeros_like(weights)
        velocity.mul_(group["momentum"]).add_(change, alpha=rate)
        weights.sub_(velocity)
