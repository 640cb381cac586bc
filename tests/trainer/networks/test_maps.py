"""From a training to a map: the engine gives each pixel and patch the probabilities that the trained network gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from thematica.models.reading import read_model_card
from thematica.progress import Monitor
from thematica.trainer.checkpoint import load_checkpoint
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.loader import Normaliser
from thematica.trainer.loop import BEST
from thematica.trainer.networks import build_network
from thematica.trainer.refit import WEIGHTS
from thematica.trainer.run import TrainOptions, train

from ...engine.networks import image, read
from ...engine.patch_networks import table
from ...engine.test_exact import reflect
from ...engine.workplace import run_here
from . import sets
from .test_learning import TINY


def trained(folder: Path, network: str, make) -> tuple[Path, TrainingSet, nn.Module]:
    """A model, its training set, and the network with the weights that the model has."""
    data = make(folder / "set")
    changes = [f"network_options={json.dumps(TINY[network])}", "precision=fp32", "batch=32"]
    options = TrainOptions(str(data), network, "", str(folder / "run"), epochs=2, changes=changes)
    result = train(options, Monitor())
    told = TrainingSet(data).description
    built = build_network(network, told.shape, len(told.classes), TINY[network])
    weights = folder / "run" / WEIGHTS
    # Of a network that was trained once more in the end the last weights are the model's.
    built.load_state_dict(load_checkpoint(weights if weights.exists() else folder / "run" / BEST)["network"])
    return Path(result["files"]["model"]), TrainingSet(data), built.eval()


def probabilities(network: nn.Module, data: TrainingSet, samples: np.ndarray) -> np.ndarray:
    """What torch gives, (N, K, …)."""
    with torch.no_grad():
        return torch.softmax(network(torch.from_numpy(Normaliser.of(data.description)(samples))), dim=1).numpy()


def classified(folder: Path, model: Path, samples: np.ndarray, *more: object) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers (H, W) and probabilities (K, H, W) of the engine's map."""
    image(folder / "scene.tif", samples)
    outcome = run_here(
        "classify-pixels", folder / "scene.tif", "--model", model, "--output", folder / "map.tif", "--probabilities",
        folder / "p.tif", "--progress", "json", *more,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    return read(folder / "map.tif")[0], read(folder / "p.tif")


def scene(data: TrainingSet, rows: int, columns: int) -> np.ndarray:
    """Values as the training set has them, at random."""
    told, chance = data.description, np.random.default_rng(5)
    low, high = np.array(told.statistics.p01), np.array(told.statistics.p99)
    values = chance.uniform(low[:, None, None], high[:, None, None], (len(low), rows, columns))
    return values.astype(np.float32)


def test_pixels_of_a_map_are_classified_as_the_trained_network_does(tmp_path):
    model, data, network = trained(tmp_path, "mlp", sets.rings)
    samples = scene(data, 9, 14)
    codes, found = classified(tmp_path, model, samples)
    expected = probabilities(network, data, samples.reshape(2, -1).T).T.reshape(2, 9, 14)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.array_equal(codes, expected.argmax(axis=0) + 1)


@pytest.mark.parametrize(
    ("network", "make"),
    [
        ("cnn3d", sets.absorptions),
        ("small-resnet", lambda folder: sets.grains(folder, "windows", 8)),
    ],
)
def test_windows_around_pixels_are_classified_as_the_trained_network_does(tmp_path, network, make):
    model, data, built = trained(tmp_path, network, make)
    samples = scene(data, 7, 11)
    side = data.description.shape[-1]
    _, found = classified(tmp_path, model, samples)
    before, after = side // 2, side - 1 - side // 2
    large = reflect(reflect(samples, 1, before, after), 2, before, after)
    windows = np.lib.stride_tricks.sliding_window_view(large, (side, side), axis=(1, 2))
    stacked = np.moveaxis(windows, 0, 2).reshape(7 * 11, len(samples), side, side)
    expected = probabilities(built, data, stacked).T.reshape(-1, 7, 11)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("tile", [None, 24])
def test_an_image_of_any_size_is_segmented_as_the_trained_network_does(tmp_path, tile):
    model, data, network = trained(tmp_path, "unet", sets.fields)
    card = read_model_card(model)
    assert card.tile == 16
    assert card.input_shape == (-1, 2, -1, -1)
    # Not the chips' size, but a multiple of the network's stride, so that torch can take the image as it is.
    samples = scene(data, 52, 44)
    codes, found = classified(tmp_path, model, samples, *(["--tile", tile] if tile else []))
    report = json.loads((tmp_path / "map.report.json").read_text())
    assert not report["warnings"]
    expected = probabilities(network, data, samples[None])[0]
    # At the border the engine reflects what a padded convolution sees as 0: the inside is the same.
    inside = np.s_[..., 16:-16, 16:-16]
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)
    assert np.array_equal(codes[inside], expected.argmax(axis=0)[inside] + 1)


@pytest.mark.parametrize("network", ["small-resnet", "resnet50"])
@pytest.mark.parametrize("several", [False, True])
def test_patches_are_labelled_as_the_trained_network_does(tmp_path, network, several):
    model, data, built = trained(tmp_path, network, sets.marks if several else sets.grains)
    samples = scene(data, 48, 64)
    image(tmp_path / "scene.tif", samples)
    outcome = run_here(
        "classify-patches", tmp_path / "scene.tif", "--model", model, "--output", tmp_path / "map.gpkg", "--progress",
        "json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    layer = table(tmp_path / "map.gpkg")
    assert len(layer["outline"]) == 12
    patches = samples.reshape(2, 3, 16, 4, 16).transpose(1, 3, 0, 2, 4).reshape(12, 2, 16, 16)
    with torch.no_grad():
        scores = built(torch.from_numpy(Normaliser.of(data.description)(patches)))
    expected = (torch.sigmoid(scores) if several else torch.softmax(scores, dim=1)).numpy()
    found = np.stack([layer[f"p_class_{place + 1}"] for place in range(scores.shape[1])], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-4)
