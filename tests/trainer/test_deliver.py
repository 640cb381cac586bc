"""A model is delivered as a whole, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from thematica.errors import OutputError
from thematica.models.card import read_card
from thematica.progress import Monitor
from thematica.trainer import deliver as module
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.deliver import WrongExportError, check_export, deliver, to_onnx
from thematica.trainer.events import Events
from thematica.trainer.loop import Trained, Training
from thematica.trainer.networks.unet import UNet
from thematica.trainer.processes import OneProcess
from thematica.trainer.recipe import Recipe

from .training_sets import spectra

RECIPE = Recipe("mlp", network_options={"hidden": [8]}, optimizer="adamw", learning_rate=0.01, batch=64, epochs=2)
NAMES = ["model.json", "model.onnx", "training.json"]


@pytest.fixture(scope="module")
def pixels(tmp_path_factory) -> TrainingSet:
    return TrainingSet(spectra(tmp_path_factory.mktemp("sets") / "spectra"))


@pytest.fixture
def trained(pixels, tmp_path) -> Trained:
    return Training(pixels, RECIPE, tmp_path, OneProcess(), Events(None, Monitor(), 2)).run()


def results(folder: Path) -> list[str]:
    """What lies there beside the training's own files."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".pt")


def test_all_of_it_is_there(pixels, trained, tmp_path):
    deliver(trained, pixels, RECIPE, tmp_path, "x")
    assert results(tmp_path) == ["figures", *NAMES]


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_large_scores_are_compared_by_the_digits_that_they_have(size):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    samples = np.random.default_rng(0).normal(0, 1, (64, 4)).astype(np.float32)
    # A pixel of no data that nobody declared lies beyond all measure.
    samples[0] *= size
    model = to_onnx(network, (4,))
    check_export(model, network, samples)
    with torch.no_grad():
        network[0].weight *= 1 + 1e-5 * size**0.5
    with pytest.raises(WrongExportError):
        check_export(model, network, samples * 100)


def test_an_export_that_gives_other_scores_leaves_nothing(pixels, trained, tmp_path, monkeypatch):
    def wrong(network: nn.Module, *more: object) -> onnx.ModelProto:
        model = to_onnx(network, *more)
        bias = next(tensor for tensor in model.graph.initializer if "bias" in tensor.name)
        values = onnx.numpy_helper.to_array(bias) + np.float32(0.01)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        return model

    monkeypatch.setattr(module, "to_onnx", wrong)
    with pytest.raises(WrongExportError, match="not installed"):
        deliver(trained, pixels, RECIPE, tmp_path, "x")
    assert results(tmp_path) == []


@pytest.mark.parametrize("step", ["save_model", "save_figures", "_install"])
def test_a_disk_that_is_full_at_any_step_leaves_nothing(pixels, trained, tmp_path, monkeypatch, step):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, step, full)
    with pytest.raises(OutputError, match="disk is full"):
        deliver(trained, pixels, RECIPE, tmp_path, "x")
    assert results(tmp_path) == []


def test_a_later_failure_keeps_the_model_before(pixels, trained, tmp_path, monkeypatch):
    deliver(trained, pixels, RECIPE, tmp_path, "first")
    before = {name: (tmp_path / name).read_bytes() for name in NAMES}
    monkeypatch.setattr(module, "save_figures", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OutputError):
        deliver(trained, pixels, RECIPE, tmp_path, "second")
    assert {name: (tmp_path / name).read_bytes() for name in NAMES} == before


def test_the_card_says_how_the_network_was_fed(pixels, trained, tmp_path):
    report = deliver(trained, pixels, RECIPE, tmp_path, "x")["report"]
    card = read_card(tmp_path / "model.json")
    told = pixels.description
    physical = np.array([[0.2, 0.3, 0.1, 0.4]])
    by_card = physical * np.array(card.normalisation.gain) + np.array(card.normalisation.bias)
    assert by_card == pytest.approx((physical - told.statistics.mean) / told.statistics.std)
    stored = (physical / 0.0001).astype(np.float32)
    assert trained.loader.normalise(stored) == pytest.approx(by_card, abs=1e-4)
    low, high = card.value_range
    assert (low, high) == pytest.approx((min(told.statistics.p01), max(told.statistics.p99)))
    assert [entry.value for entry in card.classes] == [1, 2, 3]
    assert report["parameters"] == 4 * 8 + 8 + 8 * 3 + 3
    assert json.loads((tmp_path / "training.json").read_text())["part"] == "test"


def test_what_differs_in_the_fifth_digit_passes_and_what_differs_more_does_not():
    network = nn.Sequential(nn.Linear(3, 2)).eval()
    samples = np.ones((4, 3), np.float32)
    model = to_onnx(network, (3,))
    with torch.no_grad():
        network[0].bias += 5e-5
    assert 4e-5 < check_export(model, network, samples) < 6e-5
    with torch.no_grad():
        network[0].bias += 1e-4
    with pytest.raises(WrongExportError):
        check_export(model, network, samples)


def test_a_network_of_maps_takes_any_rows_and_columns_and_batch_normalisation_is_folded():
    network = UNet(3, 4, widths=(4, 8)).eval()
    model = to_onnx(network, (3, 16, 16), True)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    samples = np.random.default_rng(0).normal(size=(2, 3, 24, 40)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = session.run(None, {"samples": samples})[0]
    with torch.no_grad():
        wanted = network(torch.from_numpy(samples)).numpy()
    assert np.abs(given - wanted).max() < 1e-4
