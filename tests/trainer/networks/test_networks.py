"""The networks: what they are built of, what they cannot be, and that each leaves as it was trained."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from thematica.errors import InputError
from thematica.progress import Monitor
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.deliver import TOLERANCE, check_export, to_onnx
from thematica.trainer.events import Events
from thematica.trainer.loop import Training
from thematica.trainer.networks import build_network, network_kind
from thematica.trainer.networks.strided import StridedConv2d
from thematica.trainer.processes import OneProcess
from thematica.trainer.recipe import read_recipe, recipe_names
from thematica.trainer.run import TrainOptions, check_kind, recipe_of

from . import sets
from .test_learning import TINY

SEVERAL = "multi-label"
SAMPLES = [
    ("pixels", "single-label"), ("windows", "single-label"), ("chips", "segmentation"), ("patches", "single-label"),
    ("patches", SEVERAL),
]  # fmt: skip


@pytest.mark.parametrize("side", [5, 7, 8, 9, 16])
@pytest.mark.parametrize(
    ("network", "shape"),
    [("mlp", (6,)), ("cnn3d", None), ("small-resnet", None), ("resnet50", None), ("unet", None)],
)
def test_the_exported_network_is_the_trained_one_for_any_side(network, shape, side):
    shape = shape or (6, side, side)
    if network == "unet" and side % 4:
        pytest.skip("chips are halved twice")
    torch.manual_seed(side)
    built = build_network(network, shape, 3, TINY[network]).train()
    with torch.no_grad():
        for _ in range(3):
            built(torch.randn(16, *shape))
    built.eval()
    model = to_onnx(built, shape, maps=network == "unet")
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


OF_TORCH = [name for name in recipe_names() if network_kind(read_recipe(name).network).module]


# Those of scikit-learn are trained in test_classical.py.
@pytest.mark.parametrize("name", OF_TORCH)
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


@pytest.mark.parametrize(
    ("network", "shape"), [("small-resnet", (3, 16, 16)), ("resnet50", (3, 32, 32)), ("unet", (3, 16, 16))]
)
def test_gradients_lie_in_memory_as_horovod_needs_them(network, shape):
    built = build_network(network, shape, 3, TINY[network]).train()
    built(torch.randn(4, *shape).contiguous(memory_format=torch.channels_last)).sum().backward()
    assert all(parameter.grad.is_contiguous() for parameter in built.parameters())


def test_a_stride_over_a_single_pixel_gives_the_same_as_none():
    torch.manual_seed(0)
    made, x = StridedConv2d(16, 16, 3, 2), torch.randn(8, 16, 1, 1)
    assert torch.equal(made.train()(x), made.eval()(x))
    assert made(torch.randn(8, 16, 5, 5)).shape == (8, 16, 3, 3)


def test_patches_that_shrink_to_a_pixel_can_be_learned_in_16_bits():
    for seed in range(6):
        torch.manual_seed(seed)
        built = build_network("resnet50", (2, 16, 16), 2, {"width": 4}).train()
        # What was in memory before must not be seen in the gradients.
        before = [torch.full((4**power,), torch.nan) for power in range(3, 10)]
        del before
        with torch.autocast("cpu", torch.bfloat16):
            built(torch.randn(32, 2, 16, 16)).float().square().sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in built.parameters())
