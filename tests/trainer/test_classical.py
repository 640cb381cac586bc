"""Classical learners: they learn, ONNX and the engine give what scikit-learn gives, and what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin
from sklearn import config_context
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from thematica.cli.main import main
from thematica.errors import Cancelled, InputError, OutputError
from thematica.progress import Monitor
from thematica.trainer import classical
from thematica.trainer.classical import CLASSICAL, check_classical, draw_stratified
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.deliver import WrongExportError
from thematica.trainer.loader import Normaliser
from thematica.trainer.networks import NETWORKS
from thematica.trainer.recipe import read_recipe
from thematica.trainer.refit import with_validation
from thematica.trainer.run import TrainOptions, train

from .networks.sets import rings
from .training_sets import spectra, write_set

#: Those of pixels; convolutional ones have tests of their own.
NAMES = tuple(name for name in CLASSICAL if "pixels" in NETWORKS[name].kinds)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    return spectra(tmp_path_factory.mktemp("sets") / "spectra")


def learned(folder: Path, data: Path, network: str, *changes: str, **options) -> dict:
    few = [] if network == "svm" else ["network_options.trees=30"]
    asked = TrainOptions(str(data), network, output=str(folder), changes=[*few, *changes], **options)
    return train(asked, Monitor())


def told(folder: Path, event: str) -> list[dict]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def test_what_scikit_learn_trains_is_listed_with_its_recipe():
    listed = {kind.name: kind for kind in NETWORKS.values() if not kind.module}
    assert set(listed) == set(CLASSICAL)
    for name, kind in listed.items():
        recipe = read_recipe(kind.recipe)
        assert recipe.network == name
        assert recipe.title
        assert recipe.source
        assert recipe.search


@pytest.mark.parametrize("network", NAMES)
def test_each_learns_more_than_a_linear_rule(tmp_path, network):
    # A linear rule finds half.
    result = learned(tmp_path / "run", rings(tmp_path / "rings"), network)
    assert result["report"]["metrics"]["overall accuracy"] > 0.93
    assert result["report"]["onnx_difference"] < 1e-4
    assert result["report"]["parameters"] > 50


@pytest.mark.parametrize("network", NAMES)
def test_a_run_leaves_what_a_network_leaves_and_nothing_else(tmp_path, pixels, network):
    folder = tmp_path / "run"
    result = learned(folder, pixels, network)
    names = {"events.jsonl", "figures", "model.json", "model.onnx", "recipe.json", "tensorboard", "training.json"}
    assert {path.name for path in folder.iterdir()} == names | {"running.lock"}
    assert [event["event"] for event in map(json.loads, (folder / "events.jsonl").open())] == (
        ["start"] + ["epoch"] * len(result["report"]["history"]) + ["refit", "exporting", "end"]
    )
    card = json.loads((folder / "model.json").read_text())
    assert "logits" in json.dumps(card)
    model = onnx.load(folder / "model.onnx")
    assert [(value.name, len(value.type.tensor_type.shape.dim)) for value in model.graph.output] == [("scores", 2)]
    assert "ZipMap" not in [node.op_type for node in model.graph.node]


def alone(network: str, x: np.ndarray, y: np.ndarray, weights: np.ndarray, gamma: float):
    """The same by scikit-learn alone, in one go."""
    recipe = read_recipe(network)
    options = recipe.network_options
    if network == "random-forest":
        return RandomForestClassifier(30, random_state=recipe.seed).fit(x, y, sample_weight=weights)
    if network == "gradient-boosting":
        return GradientBoostingClassifier(
            n_estimators=30, max_depth=options["depth"], subsample=options["share"], learning_rate=recipe.learning_rate,
            random_state=recipe.seed,
        ).fit(x, y, sample_weight=weights)  # fmt: skip
    with config_context(enable_metadata_routing=True):
        one = SVC(C=options["C"], gamma=gamma).set_fit_request(sample_weight=True)
        return OneVsRestClassifier(one).fit(x, y, sample_weight=weights)


@pytest.mark.parametrize("parts", [["train"], ["train", "validation"]])
@pytest.mark.parametrize("network", NAMES)
def test_the_engine_gives_scikit_learns_own_predictions(tmp_path, pixels, network, parts):
    data, refit = TrainingSet(pixels), len(parts) == 2
    # All stages of boosting: which is the best one is another question.
    result = learned(tmp_path / "run", pixels, network, "epochs=1", f"refit={json.dumps(refit)}")
    assert result["report"]["samples"] == sum(data.description.samples(part) for part in parts)
    normalise = Normaliser.of(data.description)
    shards = [shard for part in parts for shard in data.arrays(part)]
    narrow = normalise(np.concatenate([shard.samples for shard in data.arrays("train")])).astype(np.float64)
    x = normalise(np.concatenate([shard.samples for shard in shards]))
    y = np.concatenate([shard.labels for shard in shards])
    told = with_validation(data).description if refit else data.description
    weights = np.array([entry.weight for entry in told.classes])[y]
    model = alone(network, x, y, weights, 1 / (narrow.shape[1] * narrow.var()))

    stored = np.random.default_rng(1).integers(500, 4500, (4, 40, 50)).astype(np.uint16)
    scene = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "height": 40, "width": 50, "count": 4, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(scene, "w", **profile, transform=from_origin(500000, 5000000, 10, 10)) as raster:
        raster.write(stored)
        raster.scales = (0.0001,) * 4
        raster.descriptions = ("B1", "B2", "B3", "B4")
    output, sure = tmp_path / "map.tif", tmp_path / "sure.tif"
    assert main(
        ["classify-pixels", str(scene), "--model", str(tmp_path / "run" / "model.onnx"), "--output", str(output),
         "--probabilities", str(sure), "--progress", "none"]
    ) == 0  # fmt: skip
    with rasterio.open(output) as raster, rasterio.open(sure) as probabilities:
        classes, shares = raster.read(1).ravel(), probabilities.read().reshape(3, -1)
    samples = normalise(stored.reshape(4, -1).T)
    expected = model.predict(samples) + 1
    # Trees vote in steps: where two classes have the same share, rounding decides.
    first, second = np.sort(shares, axis=0)[::-1][:2]
    clear = first - second > 1e-3
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(classes[clear], expected[clear])
    if network != "svm":
        np.testing.assert_allclose(shares.T, model.predict_proba(samples), atol=2e-4)


@pytest.mark.parametrize("network", NAMES)
def test_a_class_without_training_samples_is_never_found(tmp_path, network):
    chance = np.random.default_rng(0)
    samples, labels = {}, {}
    for part in ("train", "validation", "test"):
        places = chance.choice([0, 2, 3], 120)
        samples[part] = (places[:, None] * 100 + chance.normal(0, 10, (120, 2))).astype(np.float32)
        labels[part] = places.astype(np.int16)
    labels["test"][:10] = 1
    data = write_set(tmp_path / "set", samples, labels, kind="pixels", classes=4)
    heard = []
    asked = TrainOptions(str(data), network, output=str(tmp_path / "run"), changes=["epochs=1"])
    result = train(asked, Monitor(heard.append))
    confusion = np.array(result["report"]["confusion"])
    assert confusion[:, 1].sum() == 0
    assert confusion[1].sum() == 10
    assert np.trace(confusion) == 110
    assert any("no sample of “class 2”" in event.get("message", "") for event in heard)


def test_one_class_is_refused(tmp_path):
    samples = {
        part: np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32) for part in ("train", "validation")
    }
    labels = {"train": np.zeros(30, np.int16), "validation": np.zeros(30, np.int16)}
    data = write_set(tmp_path / "set", samples, labels, kind="pixels", classes=2)
    with pytest.raises(InputError, match="one class only"):
        learned(tmp_path / "run", data, "svm")


@pytest.mark.parametrize(
    ("network", "change", "words"),
    [
        ("svm", "network_options.trees=3", "has no option “trees”; there are C, gamma, samples"),
        ("svm", "network_options.C=-1", "cannot be trained with"),
        ("svm", 'network_options.gamma="much"', "cannot be trained with"),
        ("svm", "network_options.samples=0", "must be a whole number above 0"),
        ("random-forest", "network_options.trees=1.5", "must be a whole number above 0"),
        ("random-forest", 'network_options.features="many"', "cannot be trained with"),
        ("gradient-boosting", "network_options.share=2", "cannot be trained with"),
        ("gradient-boosting", "monitor=loss", "cannot be chosen by"),
    ],
)
def test_what_cannot_be_is_told(tmp_path, pixels, network, change, words):
    with pytest.raises(InputError, match=words):
        learned(tmp_path / "run", pixels, network, change)
    assert not (tmp_path / "run" / "model.onnx").exists()


def test_several_processes_are_refused(tmp_path, pixels, capsys):
    status = main(["train", str(pixels), "--network", "svm", "--processes", "2", "--output", str(tmp_path / "run")])
    assert status == 2
    assert "one process" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_windows_are_refused_with_the_networks_that_take_them(tmp_path):
    samples = {part: np.zeros((9, 2, 3, 3), np.float32) for part in ("train", "validation")}
    labels = {part: (np.arange(9) % 2).astype(np.int16) for part in samples}
    data = write_set(tmp_path / "set", samples, labels, kind="windows", classes=2)
    with pytest.raises(InputError, match="does not learn from windows"):
        learned(tmp_path / "run", data, "random-forest")


def test_scores_that_differ_stop_the_export(tmp_path, pixels, monkeypatch):
    model = onnx.load(learned(tmp_path / "right", pixels, "svm")["files"]["model"])
    samples = np.zeros((3, 4), np.float32)
    with pytest.raises(WrongExportError, match="differ"):
        check_classical(model, np.array([[9.0, 0, 0]] * 3), samples)
    monkeypatch.setattr(classical._Training, "scores", lambda self, x: np.zeros((len(x), 3)))
    with pytest.raises(WrongExportError):
        learned(tmp_path / "wrong", pixels, "svm")
    assert not list((tmp_path / "wrong").glob("*.onnx"))
    assert told(tmp_path / "wrong", "error")[0]["code"] == "wrong-export"


def test_a_stopped_training_leaves_no_model_and_begins_anew(tmp_path, pixels):
    class StopsAtOnce(Monitor):
        cancelled = True

    asked = TrainOptions(str(pixels), "random-forest", output=str(tmp_path / "run"))
    with pytest.raises(Cancelled):
        train(asked, StopsAtOnce())
    assert len(told(tmp_path / "run", "epoch")) == 1
    assert told(tmp_path / "run", "stopped")
    assert not (tmp_path / "run" / "model.onnx").exists()
    train(asked, Monitor())
    with pytest.raises(OutputError, match="holds a training already"):
        train(asked, Monitor())


@pytest.mark.parametrize("network", ["random-forest", "gradient-boosting"])
def test_going_back_to_a_stage_forgets_the_later_trees(pixels, network):
    recipe = read_recipe(network, ["network_options.trees=20", "epochs=4"])
    x, y = classical.read_samples(TrainingSet(pixels), "train", 1000, 0)
    _, build, _ = CLASSICAL[network]
    model = build(recipe.network_options, recipe, (4,))
    scores = []
    for stage in range(4):
        model.train(stage, x, y, np.ones(len(y)), lambda _: None)
        scores.append(model.scores(x))
    assert not np.allclose(scores[1], scores[3])
    model.keep(1)
    np.testing.assert_allclose(model.scores(x), scores[1])
    check_classical(model.to_onnx((4,)), scores[1], x)


def test_fewer_samples_are_taken_and_said(tmp_path, pixels):
    result = learned(tmp_path / "run", pixels, "svm", "network_options.samples=90")
    assert 88 <= result["report"]["samples"] <= 92
    assert "of 600 samples are used" in told(tmp_path / "run", "note")[0]["message"]
    again = learned(tmp_path / "again", pixels, "svm", "network_options.samples=90")
    assert (tmp_path / "again" / "model.onnx").stat().st_size == (tmp_path / "run" / "model.onnx").stat().st_size
    assert again["report"]["metrics"] == result["report"]["metrics"]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), st.integers(1, 400), st.integers(0, 9))
def test_every_class_gives_the_same_share(labels, most, seed):
    labels = np.array(labels)
    chosen = draw_stratified(labels, most, seed)
    assert np.array_equal(chosen, draw_stratified(labels, most, seed))
    assert np.array_equal(chosen, np.unique(chosen))
    if len(labels) <= most:
        assert len(chosen) == len(labels)
        return
    assert len(chosen) <= most + len(np.unique(labels))
    for place in np.unique(labels):
        share = (labels == place).sum() * most / len(labels)
        found = (labels[chosen] == place).sum()
        assert found >= 1
        assert share - 1 < found <= max(share, 1)


def test_the_gap_to_a_random_split_is_told(tmp_path, pixels):
    result = learned(tmp_path / "run", pixels, "random-forest", report_optimism=True)
    assert "optimism" in result["report"]
    assert "optimism" in json.loads((tmp_path / "run" / "training.json").read_text())
