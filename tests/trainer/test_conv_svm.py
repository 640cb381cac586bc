"""Convolutional SVM networks: they learn textures, ONNX and the engine give what was learned, bad input is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from thematica.cli.main import main
from thematica.errors import Cancelled, InputError
from thematica.models.trainable import NETWORKS
from thematica.progress import Monitor
from thematica.trainer import classical
from thematica.trainer.classical import CLASSICAL, read_samples
from thematica.trainer.conv_svm import ConvSvm
from thematica.trainer.conv_svm_network import POOLINGS
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.recipe import read_recipe
from thematica.trainer.run import TrainOptions, recipe_of, train
from thematica.trainer.svm_filters import Windows, cut_windows, learn_filters

from ..engine.networks import image
from ..engine.patch_networks import table
from ..engine.test_exact import reflect
from ..engine.workplace import run_here
from .networks import sets
from .networks.test_maps import classified, probabilities, scene
from .training_sets import write_set

SMALL = {"scales": [2, 3], "layers": 2, "filters": 6, "windows_per_filter": 150}
#: Kind of sample → training set, and side of a sample.
MADE = {"patches": lambda folder: sets.grains(folder), "windows": lambda folder: sets.grains(folder, "windows", 12)}


def asked(data: Path, output: Path, *changes: str, **options) -> TrainOptions:
    few = [f"network_options.{name}={json.dumps(value)}" for name, value in SMALL.items()]
    return TrainOptions(
        str(data), "convsvm", output=str(output), changes=[*few, "class_weights=false", *changes], **options
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Kind of sample → folder of the run, training set and what the training returned."""
    found = {}
    for kind, make in MADE.items():
        folder = tmp_path_factory.mktemp(kind)
        data = make(folder / "set")
        found[kind] = folder / "run", TrainingSet(data), train(asked(data, folder / "run"), Monitor())
    return found


def learner(data: TrainingSet, *changes: str) -> tuple[ConvSvm, np.ndarray]:
    """What a training with the same recipe learns, and the samples that it saw."""
    recipe = recipe_of(asked(data.folder, Path(), *changes))
    _, build, _ = CLASSICAL["convsvm"]
    x, y = read_samples(data, "train", 10_000, recipe.seed)
    model = build(recipe.network_options, recipe, data.description.shape)
    for stage in range(model.stages):
        model.train(stage, x, y, np.ones(len(y)), lambda _: None)
    return model, x


def told(folder: Path, event: str) -> list[dict]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


@pytest.mark.parametrize("kind", MADE)
def test_it_learns_textures_of_which_a_linear_machine_on_the_mean_spectrum_knows_nothing(learned, kind):
    _, data, result = learned[kind]
    (x, y), (held_out, truth) = (read_samples(data, part, 10_000, 0) for part in ("train", "test"))
    linear = LinearSVC().fit(x.mean(axis=(2, 3)), y)
    assert linear.score(held_out.mean(axis=(2, 3)), truth) < 0.55
    assert result["report"]["metrics"]["overall accuracy"] > 0.85
    assert result["report"]["onnx_difference"] < 1e-4


def test_every_kind_of_sample_that_it_is_listed_for_is_among_them():
    assert set(MADE) == set(NETWORKS["convsvm"].kinds)
    for kind in MADE:
        recipe = read_recipe(NETWORKS["convsvm"].recipe_for(kind, "single-label"))
        assert recipe.network == "convsvm"
        assert recipe.epochs == recipe.network_options["layers"]
        assert recipe.search


def test_a_run_leaves_what_the_other_learners_leave(learned):
    folder, _, result = learned["patches"]
    names = {"events.jsonl", "figures", "model.json", "model.onnx", "recipe.json", "tensorboard", "training.json"}
    assert {path.name for path in folder.iterdir()} - {"running.lock"} == names
    stages = [event["epoch"] for event in told(folder, "epoch")]
    assert stages == list(range(SMALL["layers"]))
    assert (folder / "figures" / "curves.png").exists()
    assert json.loads((folder / "recipe.json").read_text())["epochs"] == SMALL["layers"]
    assert result["report"]["parameters"] > 100


def test_the_same_seed_gives_the_same_model_and_another_one_another(tmp_path, learned):
    _, data, _ = learned["patches"]
    first, again, other = (learner(data, f"seed={seed}")[0].network().state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["branches.0.layers.0.0.weight"], other["branches.0.layers.0.0.weight"])


def by_hand(network: torch.nn.Module, samples: np.ndarray, pooling: str) -> np.ndarray:
    """What the network says, of windows and sums alone, in double precision."""
    features: list[list[np.ndarray]] = []
    for branch in network.branches:
        maps, found = samples.astype(np.float64), []
        for layer, moments in zip(branch.layers, branch.moments, strict=True):
            weights = layer[0].weight.double().numpy()
            views = np.lib.stride_tricks.sliding_window_view(maps, weights.shape[2:], axis=(2, 3))
            maps = np.einsum("nchwij,fcij->nfhw", views, weights) + layer[0].bias.double().numpy()[:, None, None]
            maps = np.clip(maps, 0, 6)
            if pooling != "none":
                rows, columns = (side // 2 * 2 for side in maps.shape[2:])
                squares = maps[:, :, :rows, :columns].reshape(*maps.shape[:2], rows // 2, 2, columns // 2, 2)
                maps = squares.max(axis=(3, 5)) if pooling == "max" else squares.mean(axis=(3, 5))
            kernel, step = moments.mean.kernel_size, moments.mean.stride
            cells = np.lib.stride_tricks.sliding_window_view(maps, kernel, axis=(2, 3))[:, :, :: step[0], :: step[1]]
            mean, deviation = cells.mean(axis=(4, 5)), np.sqrt(cells.var(axis=(4, 5)) + 0.01)
            found.append(np.concatenate([part.reshape(len(maps), -1) for part in (mean, deviation)], axis=1))
        features.append(found)
    layers = max(len(found) for found in features)
    row = np.concatenate([found[layer] for layer in range(layers) for found in features if layer < len(found)], axis=1)
    return row @ network.classify.weight.double().numpy().T + network.classify.bias.double().numpy()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cells", [1, 3])
def test_onnx_gives_what_windows_and_sums_by_hand_give(learned, pooling, cells):
    _, data, _ = learned["patches"]
    model, x = learner(data, f"network_options.pooling={pooling}", f"network_options.cells={cells}")
    exported = onnxruntime.InferenceSession(model.to_onnx(x.shape[1:]).SerializeToString())
    scores = exported.run(None, {"samples": x[:40]})[0]
    np.testing.assert_allclose(scores, by_hand(model.network(), x[:40], pooling), atol=1e-4)
    np.testing.assert_allclose(scores, model.scores(x[:40]), atol=1e-4)


def test_going_back_to_a_layer_forgets_the_later_ones(learned):
    _, data, _ = learned["windows"]
    model, x = learner(data)
    both = model.scores(x)
    model.keep(0)
    first = model.scores(x)
    assert not np.allclose(both, first)
    alone, _ = learner(data, "network_options.layers=1")
    np.testing.assert_allclose(first, alone.scores(x), atol=1e-5)
    assert len(model.network().branches[0].layers) == 1


def test_a_branch_ends_where_its_filters_do_not_fit_any_more(learned):
    _, data, _ = learned["windows"]
    model, _ = learner(data, "network_options.scales=[3,7]", "network_options.layers=3")
    assert [len(branch.layers) for branch in model.network().branches] == [3, 1]


def test_a_map_has_the_probabilities_that_were_learned_in_one_pass_and_window_by_window(tmp_path, learned):
    folder, data, result = learned["windows"]
    assert result["report"]["fully_convolutional"] == {"done": True, "why_not": ""}
    recipe = recipe_of(asked(data.folder, Path()))
    model, _ = learner(data)
    model.keep(result["report"]["best_epoch"])
    model.calibrate(*read_samples(data, "validation", 10_000, recipe.seed))
    samples = scene(data, 8, 11)
    large = reflect(reflect(samples, 1, 6, 5), 2, 6, 5)
    windows = np.lib.stride_tricks.sliding_window_view(large, (12, 12), axis=(1, 2))
    stacked = np.moveaxis(windows, 0, 2).reshape(8 * 11, len(samples), 12, 12)
    expected = probabilities(model.network(), data, stacked).T.reshape(-1, 8, 11)
    found = []
    for name in ("model.onnx", "window.onnx"):
        (tmp_path / name).mkdir()
        found.append(classified(tmp_path / name, folder / name, samples)[1])
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_patches_of_a_layer_are_labelled_as_the_run_says(tmp_path, learned):
    folder, data, _ = learned["patches"]
    shard = data.arrays("test")[0]
    patches = np.asarray(shard.samples[:12])
    image(
        tmp_path / "scene.tif",
        np.moveaxis(patches.reshape(3, 4, 2, 16, 16), 2, 0).transpose(0, 1, 3, 2, 4).reshape(2, 48, 64),
    )
    outcome = run_here(
        "classify-patches", tmp_path / "scene.tif", "--model", folder / "model.onnx", "--output", tmp_path / "map.gpkg",
        "--progress", "json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    layer = table(tmp_path / "map.gpkg")
    found = np.stack([layer[f"p_class_{place}"] for place in (1, 2, 3)], axis=1).argmax(axis=1)
    right = (found == np.asarray(shard.labels[:12])).mean()
    assert right >= 0.75


@pytest.mark.parametrize("kind", MADE)
def test_evaluate_finds_the_figures_of_the_card(learned, kind, tmp_path):
    folder, data, result = learned[kind]
    figures = tmp_path / "figures.json"
    status = main(
        ["evaluate", str(folder / "model.onnx"), str(data.folder), "--json", str(figures), "--progress", "none"]
    )
    assert status == 0
    again = json.loads(figures.read_text())["metrics"]
    assert again["overall accuracy"] == pytest.approx(result["report"]["metrics"]["overall accuracy"])


def few_samples(folder: Path, counts: dict[int, int], side: int = 6) -> Path:
    """Windows of noise, of each class so many in every part."""
    chance = np.random.default_rng(0)
    labels = np.repeat(list(counts), list(counts.values())).astype(np.int16)
    samples = (labels[:, None, None, None] + chance.normal(0, 0.3, (len(labels), 2, side, side))).astype(np.float32)
    parts = ("train", "validation")
    return write_set(folder, dict.fromkeys(parts, samples), dict.fromkeys(parts, labels), kind="windows", classes=3)


@pytest.mark.parametrize(
    ("counts", "changes", "words"),
    [
        ({0: 30}, [], "one class only"),
        ({0: 30, 1: 30, 2: 4}, [], "too few samples of “class 3”: “convsvm” needs 5 of each class"),
        ({0: 30, 1: 30}, ["network_options.scales=[3,7]"], "7 × 7 pixels do not fit into samples of 6 × 6"),
        ({0: 30, 1: 30}, ["network_options.scales=3"], "“scales” of “convsvm” must be a list"),
        ({0: 30, 1: 30}, ["network_options.scales=[0]"], "“scales” of “convsvm” must be a list"),
        ({0: 30, 1: 30}, ["network_options.pooling=median"], "must be one of max, mean, none, not median"),
        ({0: 30, 1: 30}, ["network_options.filters=0"], "“filters” of “convsvm” must be a whole number above 0"),
        ({0: 30, 1: 30}, ["network_options.layers=1.5"], "“layers” of “convsvm” must be a whole number above 0"),
        ({0: 30, 1: 30}, ["network_options.windows_per_filter=1"], "at least 10 windows"),
        ({0: 30, 1: 30}, ["network_options.C=-1"], "cannot be trained with"),
        ({0: 30, 1: 30}, ['network_options.C_last="dear"'], "cannot be trained with"),
        ({0: 30, 1: 30}, ["network_options.dropout=0.1"], "has no option “dropout”; there are scales, layers"),
    ],
)
def test_what_cannot_be_is_told(tmp_path, counts, changes, words):
    data = few_samples(tmp_path / "set", counts)
    with pytest.raises(InputError, match=words):
        train(asked(data, tmp_path / "run", *changes), Monitor())
    assert not (tmp_path / "run" / "model.onnx").exists()


def test_several_labels_and_pixels_are_refused_with_the_networks_that_learn_from_them(tmp_path):
    with pytest.raises(InputError, match=r"does not learn from patches with several labels.*choose small-resnet"):
        train(asked(sets.marks(tmp_path / "marks"), tmp_path / "run"), Monitor())
    with pytest.raises(InputError, match=r"does not learn from pixels.*choose mlp"):
        train(asked(sets.rings(tmp_path / "rings"), tmp_path / "run"), Monitor())


def test_of_two_classes_and_one_that_is_missing_the_two_are_found(tmp_path):
    data = few_samples(tmp_path / "set", {0: 40, 2: 40})
    result = train(asked(data, tmp_path / "run"), Monitor())
    assert result["report"]["confusion"] == [[40, 0, 0], [0, 0, 0], [0, 0, 40]]
    assert result["report"]["fully_convolutional"]["done"]


class MakesFile(Monitor):
    """Makes a file in the run's folder, in the middle of the second layer."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def progress(self, stage: str, fraction: float, *more: object) -> None:
        if 0.6 < fraction < 0.9:
            self.path.touch()


def test_a_file_stops_it_in_the_middle_of_a_layer(tmp_path, learned):
    _, data, _ = learned["windows"]
    with pytest.raises(Cancelled):
        train(asked(data.folder, tmp_path / "run"), MakesFile(tmp_path / "run" / "stop"))
    assert len(told(tmp_path / "run", "epoch")) == 1
    assert told(tmp_path / "run", "stopped")[0]["epoch"] == 1
    assert not (tmp_path / "run" / "model.onnx").exists()


def test_a_file_ends_it_with_the_layers_that_are_complete(tmp_path, learned):
    _, data, _ = learned["windows"]
    result = train(asked(data.folder, tmp_path / "run"), MakesFile(tmp_path / "run" / "finish"))
    assert len(result["report"]["history"]) == 1
    assert result["report"]["metrics"]["overall accuracy"] > 0.6
    assert told(tmp_path / "run", "finishing")


def test_no_more_samples_are_read_than_there_is_room_for(tmp_path, monkeypatch):
    data = few_samples(tmp_path / "set", {0: 60, 1: 60})
    monkeypatch.setattr(classical, "_SAMPLE_BYTES", 50 * 2 * 6 * 6 * 4)
    result = train(asked(data, tmp_path / "run"), Monitor())
    assert result["report"]["samples"] == 50
    everything = train(asked(data, tmp_path / "all", "network_options.samples=120"), Monitor())
    assert everything["report"]["samples"] == 120


# -- filters ---------------------------------------------------------------------------------------------


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(1, 30),
    st.integers(0, 9),
)  # fmt: skip
def test_windows_are_cut_from_their_own_map(maps, channels, rows, columns, size, each, seed):
    size = min(size, rows, columns)
    values = np.arange(maps * channels * rows * columns, dtype=np.float32).reshape(maps, channels, rows, columns)
    cut = cut_windows(values, size, each, np.random.default_rng(seed))
    each = min(each, (rows - size + 1) * (columns - size + 1))
    assert cut.shape == (maps * each, channels * size * size)
    for number, window in enumerate(cut.reshape(-1, channels, size, size)):
        map_, row, column = number // each, *np.unravel_index(int(window[0, 0, 0]) % (rows * columns), (rows, columns))
        np.testing.assert_array_equal(window, values[map_, :, row : row + size, column : column + size])


def test_a_filter_says_what_the_machine_says_whose_weights_it_has():
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 2, 400)
    values = (chance.normal(5, 3, (400, 8)) + labels[:, None] * np.arange(8)).astype(np.float32)
    values[:, 3] = 7
    weights, biases = learn_filters(Windows(values, labels), 2, 1000, 0.1, np.random.default_rng(0), lambda _: None)
    standard = (values - values.mean(axis=0)) / np.where(values.std(axis=0) > 0, values.std(axis=0), 1)
    machine = LinearSVC(C=0.1, class_weight="balanced", dual=False, tol=1e-2).fit(standard, labels)
    expected = machine.decision_function(standard)
    answers = values @ weights.T + biases
    np.testing.assert_allclose(np.abs(answers[:, 0]), np.abs(expected) / expected.std(), atol=0.02)
    # One for each class, of which what speaks for one speaks against the other.
    np.testing.assert_allclose(answers[:, 0], -answers[:, 1], atol=0.02)
    assert answers.std(axis=0) == pytest.approx(1, abs=0.01)
    assert not weights[:, 3].any()
