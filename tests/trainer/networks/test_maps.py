"""From a training to a map: the engine gives each pixel and patch the probabilities that the trained network gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from thematica.errors import InputError
from thematica.models.reading import read_model_card
from thematica.progress import Monitor
from thematica.trainer.checkpoint import load_checkpoint
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.deliver import TOLERANCE, check_export, to_onnx
from thematica.trainer.events import Events
from thematica.trainer.loader import Normaliser
from thematica.trainer.loop import BEST, Training
from thematica.trainer.networks import build_network, network_kind
from thematica.trainer.processes import OneProcess
from thematica.trainer.recipe import read_recipe, recipe_names
from thematica.trainer.run import TrainOptions, check_kind, recipe_of, train

from ...engine.networks import image, read
from ...engine.patch_networks import table
from ...engine.test_exact import reflect
from ...engine.workplace import run_here
from . import sets
from .test_learning import TINY

SEVERAL = "multi-label"
SAMPLES = [
    ("pixels", "single-label"), ("windows", "single-label"), ("chips", "segmentation"), ("patches", "single-label"),
    ("patches", SEVERAL),
]  # fmt: skip


def trained(folder: Path, network: str, make) -> tuple[Path, TrainingSet, nn.Module]:
    """A model, its training set, and the network with the weights that the model has."""
    data = make(folder / "set")
    changes = [f"network_options={json.dumps(TINY[network])}", "precision=fp32", "batch=32"]
    options = TrainOptions(str(data), network, "", str(folder / "run"), epochs=2, changes=changes)
    result = train(options, Monitor())
    told = TrainingSet(data).description
    built = build_network(network, told.shape, len(told.classes), TINY[network])
    built.load_state_dict(load_checkpoint(folder / "run" / BEST)["network"])
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


@pytest.mark.parametrize("side", [5, 7, 8, 9, 16])
@pytest.mark.parametrize(
    ("network", "shape"),
    [("mlp", ()), ("cnn3d", None), ("small-resnet", None), ("resnet50", None), ("unet", None)],
)
def test_the_exported_network_is_the_trained_one_for_any_side(network, shape, side):
    shape = (6, side, side) if shape is None else (6,)
    if network == "unet" and side % 4:
        pytest.skip("chips are halved twice")
    torch.manual_seed(side)
    built = build_network(network, shape, 3, TINY[network]).train()
    with torch.no_grad():
        for _ in range(3):
            built(torch.randn(16, *shape))
    built.eval()
    model = to_onnx(built, shape)
    onnx.checker.check_model(model, full_check=True)
    for count in (1, 7):
        assert (
            check_export(model, built, np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32))
            <= TOLERANCE
        )


@pytest.mark.parametrize(
    ("network", "make", "recipe"),
    [
        ("small-resnet", sets.grains, "small-resnet"),
        ("small-resnet", sets.marks, "small-resnet-multilabel"),
        ("small-resnet", lambda folder: sets.grains(folder, "windows"), "small-resnet-windows"),
        ("resnet50", sets.marks, "resnet50-multilabel"),
        ("unet", sets.fields, "unet"),
    ],
)
def test_the_recipe_that_is_taken_fits_the_samples(tmp_path, network, make, recipe):
    data = make(tmp_path / "set")
    assert recipe_of(TrainOptions(str(data), network)) == read_recipe(recipe)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_can_be_trained(tmp_path, name):
    recipe = read_recipe(name)
    make = {
        "pixels": sets.rings, "chips": sets.fields, "windows": lambda folder: sets.grains(folder, "windows", 8),
        "patches": sets.grains, "multi-label": sets.marks,
    }  # fmt: skip
    kind = network_kind(recipe.network)
    fitting = {kind.recipe_for(*of): of for of in SAMPLES if of[0] in kind.kinds and (kind.several or of[1] != SEVERAL)}
    # A recipe that is nobody's own is one more for the samples that its network is made for.
    samples, task = fitting.get(name, (kind.kinds[0], ""))
    data = TrainingSet(make[SEVERAL if task == SEVERAL else samples](tmp_path / "set"))
    check_kind(recipe, data)
    recipe.network_options, recipe.epochs = TINY[recipe.network], 1
    (tmp_path / "run").mkdir()
    events = Events(tmp_path / "run", Monitor(), 1)
    history = Training(data, recipe, tmp_path / "run", OneProcess(), events).run().history
    events.close()
    assert np.isfinite(history[0].loss)


def test_a_resnet50_has_the_parameters_that_are_published():
    for bands, classes, expected in ((3, 1000, 25_557_032), (12, 43, 23_624_363)):
        built = build_network("resnet50", (bands, 64, 64), classes, {})
        assert sum(parameter.numel() for parameter in built.parameters()) == expected


def test_the_3d_network_is_that_of_the_paper():
    built = build_network("cnn3d", (20, 9, 9), 6, read_recipe("cnn3d-paper").network_options)
    shapes = [tuple(module.weight.shape) for module in built.modules() if hasattr(module, "weight")]
    assert shapes[:3] == [(48, 1, 5, 3, 3), (32, 48, 5, 3, 3), (32, 32, 5, 3, 3)]
    # Three convolutions without padding on the ground leave 3 × 3 of 9 × 9 pixels.
    assert shapes[3:] == [(128, 32 * 20 * 3 * 3), (128, 128), (6, 128)]


@pytest.mark.parametrize(
    ("network", "shape"),
    [("small-resnet", (2, 5, 5)), ("resnet50", (2, 16, 16)), ("unet", (2, 4, 4)), ("cnn3d", (1, 1, 1))],
)
def test_a_last_batch_with_a_single_sample_ends_no_training(network, shape):
    torch.manual_seed(0)
    built = build_network(network, shape, 3, TINY[network]).train()
    scores = built(torch.randn(1, *shape))
    scores.sum().backward()
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize(
    ("network", "shape", "options", "words"),
    [
        ("unet", (2, 12, 12), {}, "multiple of 8"),
        ("cnn3d", (2, 5, 7), {}, "as wide as high"),
        ("small-resnet", (2, 8, 8), {"widths": [4, 8], "depths": [1]}, "cannot be built with widths, depths"),
        ("mlp", (2,), {"hidden": [-1]}, "cannot be built with hidden"),
        ("mlp", (2,), {"dropout": 2}, "cannot be built with dropout"),
    ],
)
def test_what_a_network_cannot_be_is_told(network, shape, options, words):
    with pytest.raises(InputError, match=words):
        build_network(network, shape, 3, options)
