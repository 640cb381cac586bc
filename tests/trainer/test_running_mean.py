"""The running mean of weights."""

from __future__ import annotations

import torch
from torch import nn

from thematica.trainer.running_mean import RunningMean


def changed(network: nn.Module, seed: int) -> None:
    """Other weights and statistics."""
    torch.manual_seed(seed)
    for tensor in network.state_dict().values():
        tensor.copy_(torch.randint(0, 9, tensor.shape).to(tensor.dtype))


def test_it_is_the_mean_that_its_formula_says():
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    mean = RunningMean(network, 0.5)
    wanted: dict[str, torch.Tensor] = {}
    for step in range(12):
        changed(network, step)
        mean.update()
        kept = min(0.5, (1 + step) / (10 + step)) if step else 0.0
        for name, tensor in network.state_dict().items():
            before = wanted.get(name, torch.zeros(())).double()
            wanted[name] = tensor.clone() if tensor.dtype == torch.int64 else kept * before + (1 - kept) * tensor
    for name, tensor in mean.network.state_dict().items():
        torch.testing.assert_close(tensor.double(), wanted[name].double(), rtol=1e-5, atol=1e-6)


def test_it_goes_on_from_a_checkpoint_to_the_last_bit():
    network = nn.Linear(3, 2)
    mean, other = RunningMean(network, 0.9), RunningMean(network, 0.9)
    for step in range(5):
        changed(network, step)
        mean.update()
    other.load_state_dict(mean.state_dict())
    changed(network, 5)
    mean.update()
    other.update()
    for one, two in zip(mean.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(one, two)
