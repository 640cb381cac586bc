"""Transfer learning: weights are taken where they fit, what does not fit is told, and frozen layers stay."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest
import torch
from torch import nn

from thematica.errors import InputError
from thematica.progress import Monitor
from thematica.trainer.checkpoint import load_checkpoint
from thematica.trainer.networks import build_network
from thematica.trainer.run import TrainOptions, train
from thematica.trainer.transfer import ALL_BUT_LAST, freeze, load_weights

from ..engine.workplace import run_here
from .training_sets import spectra, write_set

SMALL = {"widths": [4, 8], "depths": [1, 1]}


def small(bands: int = 3, classes: int = 5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = build_network("small-resnet", (bands, 8, 8), classes, SMALL)
    # Statistics that are not those of a fresh network.
    network.train()
    with torch.no_grad():
        network(torch.randn(16, bands, 8, 8) * 2 + 1)
    return network.eval()


def saved(folder, content):
    path = folder / "weights.pt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {
            "state_dict": {f"module.encoder_q.{name}": tensor for name, tensor in state.items()},
            "epoch": 3,
        },
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"format": 1, "network": state},
        lambda state: {"format": 1, "network": small(seed=7).state_dict(), "averaged": averaged(state)},
        lambda state: {**state, "head.weight": torch.zeros(3, 3)},
    ],
)
def test_weights_are_found_in_files_of_many_sorts(tmp_path, wrap):
    given, network = small(seed=1), small(seed=2)
    taken = load_weights(network, saved(tmp_path, wrap(given.state_dict())))
    assert taken.tensors == len(given.state_dict())
    assert not taken.fresh
    x = torch.randn(3, 3, 8, 8)
    assert torch.equal(network(x), given(x))


def averaged(state):
    return {"n_averaged": torch.tensor(5), **{f"module.{name}": tensor for name, tensor in state.items()}}


def test_a_last_layer_for_other_classes_starts_anew(tmp_path):
    given, network = small(classes=5, seed=1), small(classes=7, seed=2)
    before = copy.deepcopy(network.state_dict())
    taken = load_weights(network, saved(tmp_path, given.state_dict()))
    assert taken.fresh == ["classify.3.weight", "classify.3.bias"]
    assert torch.equal(network.state_dict()["classify.3.weight"], before["classify.3.weight"])
    x = torch.randn(3, 3, 8, 8)
    assert torch.equal(network.features(x), given.features(x))
    assert "classify.3.weight, classify.3.bias start anew" in str(taken)


def test_a_file_may_lack_the_last_layer(tmp_path):
    state = {name: tensor for name, tensor in small(seed=1).state_dict().items() if not name.startswith("classify")}
    assert load_weights(small(), saved(tmp_path, state)).fresh == ["classify.3.weight", "classify.3.bias"]


@pytest.mark.parametrize("given_bands", [1, 3])
@pytest.mark.parametrize("bands", [2, 4, 12])
def test_a_first_convolution_that_is_spread_answers_a_grey_image_as_before(tmp_path, given_bands, bands):
    given, network = small(given_bands, seed=1), small(bands, seed=2)
    taken = load_weights(network, saved(tmp_path, given.state_dict()))
    assert taken.spread == (given_bands, bands)
    assert f"from {given_bands} to {bands} bands" in str(taken)
    grey = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(
        network(grey.expand(-1, bands, -1, -1)), given(grey.expand(-1, given_bands, -1, -1)), rtol=1e-4, atol=1e-5
    )


def test_a_resnet50_takes_weights_by_the_names_that_are_published(tmp_path):
    network = build_network("resnet50", (12, 64, 64), 43, {})
    of_imagenet = build_network("resnet50", (3, 64, 64), 1000, {})
    published = {name: tensor * 0 + 0.5 for name, tensor in of_imagenet.state_dict().items()}
    expected = {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer3.5.bn3.bias", "fc.weight"}
    assert expected <= set(published)
    # Every convolution has its normalisation, and there are 53 of them and one linear layer, as in the paper.
    assert len(published) == 53 * 6 + 2
    taken = load_weights(network, saved(tmp_path, published))
    assert taken.spread == (3, 12)
    assert taken.fresh == ["fc.weight", "fc.bias"]
    assert float(network.state_dict()["layer4.2.conv3.weight"].mean()) == 0.5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: small(12).state_dict(), "for 12 bands and the training set has 3"),
        (lambda: build_network("mlp", (3,), 5, {}).state_dict(), "of another network"),
        (
            lambda: build_network("small-resnet", (3, 8, 8), 5, {"widths": [4, 6], "depths": [1, 1]}).state_dict(),
            "do not fit: features.4.body.0.weight is 6 × 4 × 3 × 3 in the file and 8 × 4 × 3 × 3 here",
        ),
        (
            lambda: build_network("small-resnet", (3, 8, 8), 5, {"widths": [4], "depths": [1]}).state_dict(),
            "features.4.body.0.weight.* are not among them",
        ),
        (dict, "holds no weights"),
        (lambda: {"state_dict": {}}, "holds no weights"),
        (lambda: [1, 2], "holds no weights"),
        (lambda: {"model": torch.zeros(3), "epoch": 2}, "holds no weights"),
    ],
)
def test_weights_that_do_not_fit_are_told_and_nothing_is_changed(tmp_path, content, words):
    network = small()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(InputError, match=words):
        load_weights(network, saved(tmp_path, content()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_spectrum_of_another_number_of_bands_is_told(tmp_path):
    path = saved(tmp_path, build_network("mlp", (4,), 3, {}).state_dict())
    with pytest.raises(InputError, match=r"0\.weight is 64 × 4 in the file and 64 × 6 here.*number of bands"):
        load_weights(build_network("mlp", (6,), 3, {}), path)


class Runs:
    def __reduce__(self):
        return os.system, ("touch it-ran",)


def test_a_file_that_wants_to_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"state_dict": Runs()})
    with pytest.raises(InputError, match="would run code"):
        load_weights(small(), path)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
def test_a_file_that_is_no_file_of_weights_is_told(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or none"):
        load_weights(small(), path)
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(small(), tmp_path / "there is none.pt")


# -- frozen layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "learned"),
    [
        ("", ["features", "classify"]),
        ("features", ["classify"]),
        ("features.0, features.1", ["features.3", "features.4", "classify"]),
        ("features*", ["classify"]),
        (ALL_BUT_LAST, ["classify"]),
        ("classify", ["features"]),
    ],
)
def test_layers_are_frozen_by_name(patterns, learned):
    network = small()
    frozen = freeze(network, patterns)
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == any(name == entry or name.startswith(f"{entry}.") for entry in learned), name
        assert parameter.requires_grad != (name in frozen)


def test_frozen_layers_keep_weights_and_statistics_while_others_learn():
    network = small()
    freeze(network, "features.0,features.1,features.3")
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD([entry for entry in network.parameters() if entry.requires_grad], lr=0.1)
    for _ in range(3):
        network.train()
        nn.functional.cross_entropy(network(torch.randn(16, 3, 8, 8) * 5), torch.arange(16) % 5).backward()
        optimizer.step()
    for name, tensor in network.state_dict().items():
        same = torch.equal(tensor, before[name])
        assert same == name.startswith(("features.0.", "features.1.", "features.3.")), name


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ("layer9", "No layer is called “layer9”; there are features, classify, and all-but-last"),
        ("*", "nothing could be learned"),
        ("features,classify", "nothing could be learned"),
    ],
)
def test_a_pattern_that_cannot_be_is_told(patterns, words):
    with pytest.raises(InputError, match=words):
        freeze(small(), patterns)


# -- in a training -------------------------------------------------------------------------------------


def test_a_training_starts_from_the_best_weights_of_another(tmp_path):
    data = spectra(tmp_path / "set")
    first = TrainOptions(str(data), "mlp", output=str(tmp_path / "first"), epochs=6)
    train(first, Monitor())
    said: list[dict] = []
    weights = tmp_path / "first" / "best.pt"
    second = TrainOptions(
        str(data), "mlp", output=str(tmp_path / "second"), epochs=1, weights=str(weights), freeze=ALL_BUT_LAST,
        # A last training would begin with the given weights once more, and need their file.
        changes=["learning_rate=0.0001", "refit=false"],
    )  # fmt: skip
    result = train(second, Monitor(said.append))
    assert result["report"]["metrics"]["overall accuracy"] > 0.85
    assert any("tensors were taken" in event.get("message", "") for event in said)
    assert result["report"]["recipe"]["freeze"] == ALL_BUT_LAST
    given, learned = (load_checkpoint(tmp_path / run / "best.pt")["network"] for run in ("first", "second"))
    same = {name: torch.equal(tensor, learned[name]) for name, tensor in given.items()}
    assert same == {name: not name.startswith("6.") for name in given}
    # It goes on without the file, which is used up.
    weights.unlink()
    second.resume, second.epochs = True, 2
    assert train(second, Monitor())["report"]["best_epoch"] in (0, 1)


def test_the_command_takes_weights_and_layers_to_freeze(tmp_path):
    data = spectra(tmp_path / "set")
    path = saved(tmp_path, build_network("mlp", (4,), 3, {}).state_dict())
    command = ["train", data, "--network", "mlp", "--epochs", 1, "--progress", "json", "--output"]
    done = run_here(*command, tmp_path / "run", "--weights", path, "--freeze", "0,2", "--set", "network_options={}")
    assert done.status == 0, done.err
    recipe = done.events[-1]["report"]["recipe"]
    assert (recipe["weights"], recipe["freeze"]) == (str(path), "0,2")
    assert any("6 tensors were taken" in str(event.get("message")) for event in done.events)
    wrong = run_here(*command, tmp_path / "other", "--freeze", "layer7")
    assert (wrong.status, "No layer is called “layer7”" in wrong.events[-1]["message"]) == (2, True)


def test_weights_for_other_bands_end_a_training_before_it_begins(tmp_path):
    chance = np.random.default_rng(0)
    parts = ("train", "validation", "test")
    samples = {part: chance.normal(size=(20, 4, 8, 8)).astype(np.float32) for part in parts}
    labels = {part: (np.arange(20) % 2).astype(np.int16) for part in parts}
    data = write_set(tmp_path / "set", samples, labels, kind="patches", classes=2)
    path = saved(tmp_path, small(12).state_dict())
    changes = ['network_options={"widths": [4, 8], "depths": [1, 1]}']
    with pytest.raises(InputError, match="for 12 bands and the training set has 4"):
        train(
            TrainOptions(str(data), "small-resnet", output=str(tmp_path / "run"), weights=str(path), changes=changes),
            Monitor(),
        )
