"""Optimisers: each learns, LARS steps as its paper says, and only matrices decay."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from thematica.errors import InputError
from thematica.trainer.lars import Lars
from thematica.trainer.optimizers import OPTIMIZERS, build_optimizer
from thematica.trainer.recipe import Recipe

#: A rate at which each comes down a simple slope, with options that the recipes use.
RATES = {
    "sgd": (0.1, {"momentum": 0.9, "nesterov": True}),
    "adam": (0.05, {}),
    "adamw": (0.05, {}),
    "rmsprop": (0.01, {}),
    "lars": (2.0, {"trust": 0.02}),
}


def clouds(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clouds of points: the most frequent class has half of them."""
    chance = np.random.default_rng(seed)
    labels = chance.choice(3, 400, p=[0.5, 0.25, 0.25])
    points = np.array([[0, 0], [2.5, 0], [0, 2.5]])[labels] + chance.normal(0, 0.6, (400, 2))
    return torch.from_numpy(points).float(), torch.from_numpy(labels)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_learns_more_than_the_most_frequent_class(name):
    rate, options = RATES[name]
    made = network()
    recipe = Recipe("mlp", optimizer=name, optimizer_options=options, learning_rate=rate, weight_decay=1e-3)
    optimizer = build_optimizer(recipe, made)
    x, y = clouds()
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(made(x), y).backward()
        optimizer.step()
    x, y = clouds(seed=1)
    right = (made.eval()(x).argmax(dim=1) == y).float().mean()
    # The most frequent class alone would give 0.5.
    assert right > 0.9


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_steps_as_its_paper_says(decay):
    chance = np.random.default_rng(0)
    weights, bias = chance.normal(size=(3, 4)), chance.normal(size=3)
    parameters = [nn.Parameter(torch.tensor(entry)) for entry in (weights, bias)]
    rate, momentum, trust = 0.5, 0.8, 0.02
    optimizer = Lars(
        [{"params": parameters[:1], "weight_decay": decay}, {"params": parameters[1:], "weight_decay": 0.0}],
        lr=rate, momentum=momentum, trust=trust,
    )  # fmt: skip
    speed, speed_of_bias = np.zeros_like(weights), np.zeros_like(bias)
    for _ in range(3):
        gradients = [chance.normal(size=entry.shape) for entry in (weights, bias)]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
        size, slope = np.linalg.norm(weights), np.linalg.norm(gradients[0])
        local = trust * size / (slope + decay * size)
        speed = momentum * speed + rate * local * (gradients[0] + decay * weights)
        speed_of_bias = momentum * speed_of_bias + rate * gradients[1]
        weights, bias = weights - speed, bias - speed_of_bias
        np.testing.assert_allclose(parameters[0].detach().numpy(), weights, rtol=1e-12)
        np.testing.assert_allclose(parameters[1].detach().numpy(), bias, rtol=1e-12)


def test_lars_goes_on_from_its_state_and_moves_weights_that_are_zero():
    first, second = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2, 2))
    one, other = Lars([first]), Lars([second])
    first.grad = torch.ones(2, 2)
    one.step()
    assert first.detach().abs().min() > 0
    with torch.no_grad():
        second.copy_(first)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for parameter, optimizer in ((first, one), (second, other)):
        parameter.grad = torch.full((2, 2), 0.5)
        optimizer.step()
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_matrices_decay_and_biases_and_scales_do_not(name):
    made = network()
    recipe = Recipe("mlp", optimizer=name, learning_rate=0.001, weight_decay=0.5)
    optimizer = build_optimizer(recipe, made)
    before = {name: parameter.clone() for name, parameter in made.named_parameters()}
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in made.named_parameters():
        if parameter.ndim > 1:
            assert parameter.norm() < before[name].norm()
        else:
            assert torch.equal(parameter, before[name])


def test_frozen_parameters_are_left_alone():
    made = network()
    for parameter in made[0].parameters():
        parameter.requires_grad_(False)
    held = [entry for group in build_optimizer(Recipe("mlp"), made).param_groups for entry in group["params"]]
    assert len(held) == 4
    assert all(entry.requires_grad for entry in held)


@pytest.mark.parametrize(
    ("name", "options"),
    [("sgd", {"momentum": -1}), ("lars", {"momentum": 1}), ("lars", {"trust": -1}), ("adam", {"none": 1})],
)
def test_an_option_that_cannot_be_is_told(name, options):
    with pytest.raises(InputError, match="cannot have"):
        build_optimizer(Recipe("mlp", optimizer=name, optimizer_options=options), network())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_can_be_made_anew_from_its_groups_as_horovod_does(name):
    made = build_optimizer(Recipe("mlp", optimizer=name, learning_rate=0.3, weight_decay=0.2), network())
    again = type(made)(made.param_groups)
    assert [group["lr"] for group in again.param_groups] == [0.3, 0.3]
    assert [group["weight_decay"] for group in again.param_groups] == [0.2, 0.0]
