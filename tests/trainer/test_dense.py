"""Networks of windows run over whole tiles with the same scores, or it is said why they cannot."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from thematica.trainer.deliver import TOLERANCE, check_dense, to_onnx
from thematica.trainer.dense import NoDenseFormError, to_dense
from thematica.trainer.networks.cnn3d import Cnn3d
from thematica.trainer.networks.small_resnet import SmallResNet

BANDS, CLASSES = 6, 4


def ready(network: nn.Module) -> nn.Module:
    """With batch statistics of their own, as after a training."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def scores(model: onnx.ModelProto, samples: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: samples})[0]


def both(network: nn.Module, side: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the pixels with a whole window around them: window by window, and in one pass; (K, rows, columns)."""
    model = to_onnx(ready(network), (BANDS, side, side))
    dense = to_dense(model)
    onnx.checker.check_model(dense, full_check=True)
    tile = np.random.default_rng(1).normal(size=(BANDS, rows, columns)).astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(tile, (side, side), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
    views = views[: rows - 2 * (side // 2), : columns - 2 * (side // 2)]
    one = scores(model, np.ascontiguousarray(views).reshape(-1, BANDS, side, side))
    return np.moveaxis(one.reshape(*views.shape[:2], -1), -1, 0), scores(dense, tile[None])[0]


class SideBySide(nn.Module):
    """Features of parts that see more and less of the window: maps that are left, their mean, a single value."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(BANDS, 5, 3), nn.ReLU(), nn.AvgPool2d(3, 2), nn.Flatten())
        self.mean = nn.Sequential(nn.Conv2d(BANDS, 4, 5), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.narrow = nn.Sequential(nn.Conv2d(BANDS, 3, 4, stride=6), nn.Flatten())
        self.last = nn.Linear(5 * 9 + 4 + 3, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.cat([self.wide(x), self.mean(x), self.narrow(x)], dim=1))


class Stacked(nn.Module):
    """Maps over maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(BANDS, 5, 1), nn.Sequential(nn.Flatten(), nn.Linear(11 * 25, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.cat([x, self.first(x)], dim=1))


NETWORKS = {
    "branches that see more and less of the window": (9, SideBySide),
    "cnn3d": (9, lambda: Cnn3d((BANDS, 9, 9), CLASSES, (8, 6), dense=(12,))),
    "cnn3d with pooling and batch norm": (
        7,
        lambda: Cnn3d((BANDS, 7, 7), CLASSES, (8, 6), dense=(12,), spectral_pooling=2, normalise=True, dropout=0.2),
    ),
    "strides and an even window": (
        8,
        lambda: nn.Sequential(
            nn.Conv2d(BANDS, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 9, 2), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(9, CLASSES),
        ),
    ),
    "a step that leaves a column unseen": (
        8, lambda: nn.Sequential(nn.Conv2d(BANDS, 5, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(45, CLASSES)),
    ),
    "the mean of the window": (
        9,
        lambda: nn.Sequential(
            nn.Conv2d(BANDS, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, CLASSES), nn.Softmax(1),
        ),
    ),
    "the maximum of the window": (
        5, lambda: nn.Sequential(nn.Conv2d(BANDS, 8, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)),
    ),
    "dense layers alone": (
        5, lambda: nn.Sequential(nn.Flatten(), nn.Linear(BANDS * 25, 7), nn.Tanh(), nn.Linear(7, CLASSES)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_of_a_whole_tile_are_those_window_by_window(name):
    side, network = NETWORKS[name]
    one, other = both(network(), side, side + 6, side + 9)
    assert other.shape == one.shape == (CLASSES, side + 6 - 2 * (side // 2), side + 9 - 2 * (side // 2))
    assert np.abs(one - other).max() < TOLERANCE
    assert one.std() > 1e-3


@settings(max_examples=15)
@given(st.integers(3, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
def test_any_chain_of_valid_filters_has_a_dense_form(side, first, second, step, pool):
    layers: list[nn.Module] = [nn.Conv2d(BANDS, 5, min(first, side), stride=step), nn.ReLU()]
    left = (side - min(first, side)) // step + 1
    if left >= pool:
        layers.append(nn.MaxPool2d(pool))
        left //= pool
    kernel = min(second, left)
    layers += [nn.Conv2d(5, 6, kernel), nn.Flatten(), nn.Linear(6 * (left - kernel + 1) ** 2, CLASSES)]
    one, other = both(nn.Sequential(*layers), side, side + 5, side + 4)
    assert one.shape == other.shape
    assert np.abs(one - other).max() < TOLERANCE


class Picture(nn.Module):
    """Adds values that depend on the place in the window."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.randn(1, BANDS, 5, 5))
        self.last = nn.Sequential(nn.Flatten(), nn.Linear(BANDS * 25, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x + self.picture)


@pytest.mark.parametrize(
    ("network", "side", "words"),
    [
        (lambda: SmallResNet(BANDS, CLASSES, (8, 16), (1, 1)), 9, "pads the window"),
        (lambda: Picture(), 5, "place in it"),
        (lambda: Stacked(), 5, "joins maps"),
        (
            lambda: nn.Sequential(nn.Conv2d(BANDS, 5, 3), nn.InstanceNorm2d(5), nn.Flatten(), nn.Linear(45, CLASSES)),
            5,
            "sees the window as a whole",
        ),
        (
            lambda: nn.Sequential(
                nn.Conv2d(BANDS, 5, 3), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(20, CLASSES)
            ),
            5,
            "beyond the window's border",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of torch, while it exports what is refused here
def test_networks_without_a_dense_form_say_why(network, side, words):
    with pytest.raises(NoDenseFormError, match=words):
        to_dense(to_onnx(ready(network()), (BANDS, side, side)))


def test_the_check_of_both_forms_can_fail():
    network = ready(Cnn3d((BANDS, 5, 5), CLASSES, (4,), dense=(6,)))
    model = to_onnx(network, (BANDS, 5, 5))
    dense = to_dense(model)
    samples = np.random.default_rng(1).normal(size=(8, BANDS, 5, 5)).astype(np.float32)
    assert check_dense(model, dense, samples) < TOLERANCE
    weights = max(dense.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weights).copy()
    values.flat[0] += 1
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    with pytest.raises(NoDenseFormError, match="differ by"):
        check_dense(model, dense, samples)
