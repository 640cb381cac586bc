"""Any model whose bands a set has is measured on it, and what does not go together is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn import metrics as sk

from thematica.errors import InputError, MisfitError, ModelError
from thematica.models.bands import Band
from thematica.models.card import ModelCard, ModelClass, Normalisation
from thematica.models.reading import read_model_card
from thematica.progress import Monitor
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.evaluate import Evaluation, evaluate
from thematica.trainer.export import perceptron_to_onnx, save_model

from ..engine.workplace import run_here
from .training_sets import PARTS, spectra, write_set

WEIGHTS = np.random.default_rng(8).normal(0, 3, (4, 3))


def model(
    path: Path,
    bands: tuple[str, ...] = ("B1", "B2", "B3", "B4"),
    classes: tuple[tuple[int, str], ...] = ((1, "class 1"), (2, "class 2"), (3, "class 3")),
    weights: np.ndarray = WEIGHTS,
    **card,
) -> Path:
    """A linear classifier of reflectance."""
    made = perceptron_to_onnx([weights], [np.zeros(weights.shape[1])])
    given = {
        "unit": "reflectance", "value_range": (0.05, 0.6),
        "normalisation": Normalisation((2.0,) * len(bands), (-0.5,) * len(bands)), **card,
    }  # fmt: skip
    labels = [ModelClass(value, name, "#336699") for value, name in classes]
    save_model(made, ModelCard(path.stem, "pixel", [Band(name) for name in bands], labels, **given), path)
    return path


@pytest.fixture
def pixels(tmp_path: Path) -> TrainingSet:
    return TrainingSet(spectra(tmp_path / "set"))


def part_of(data: TrainingSet, part: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Physical values and labels."""
    pieces = data.arrays(part)
    samples = np.concatenate([np.asarray(piece.samples, np.float64) for piece in pieces])
    return samples * 0.0001, np.concatenate([np.asarray(piece.labels) for piece in pieces])


def measured(path: Path, data: TrainingSet, part: str = "test") -> Evaluation:
    return evaluate(path, data, part, Monitor())


def rename(data: TrainingSet, what: str, key: str, values: list) -> TrainingSet:
    """The set with other names of bands or classes, or codes."""
    path = data.folder / "dataset.json"
    content = json.loads(path.read_text())
    for entry, value in zip(content[what], values, strict=True):
        entry[key] = value
    path.write_text(json.dumps(content))
    return TrainingSet(data.folder)


def test_a_model_from_elsewhere_is_measured_with_scale_and_normalisation_of_its_card(tmp_path, pixels):
    values, labels = part_of(pixels)
    wanted = ((2 * values - 0.5) @ WEIGHTS).argmax(axis=1)
    result = measured(model(tmp_path / "net.onnx"), pixels)
    assert result.samples == len(labels) == 180
    assert np.array_equal(result.tally.confusion, sk.confusion_matrix(labels, wanted, labels=range(3)))
    assert len(np.unique(wanted)) == 3


def test_bands_are_taken_by_name_in_the_order_of_the_model(tmp_path, pixels):
    plain = measured(model(tmp_path / "net.onnx"), pixels)
    order = [2, 0, 3, 1]
    turned = model(tmp_path / "turned.onnx", tuple(f"B{place + 1}" for place in order), weights=WEIGHTS[order])
    result = measured(turned, pixels)
    assert result.bands == ["B3", "B1", "B4", "B2"]
    assert np.array_equal(result.tally.confusion, plain.tally.confusion)


def test_limits_and_other_last_layers_do_not_change_what_is_best(tmp_path, pixels):
    plain = measured(model(tmp_path / "net.onnx"), pixels)
    for activation, operator in (("softmax", "Softmax"), ("sigmoid", "Sigmoid")):
        path = model(tmp_path / f"{activation}.onnx", activation=activation)
        made = onnx.load(path)
        made.graph.node[-1].output[0] = "raw"
        made.graph.node.append(helper.make_node(operator, ["raw"], ["scores"]))
        save_model(made, read_model_card(path), path)
        result = measured(path, pixels)
        assert np.array_equal(result.tally.confusion, plain.tally.confusion)
        if activation == "softmax":
            assert result.tally.calibration_error() == pytest.approx(plain.tally.calibration_error(), abs=1e-4)


def test_classes_are_matched_by_name_whatever_their_order_and_code(tmp_path, pixels):
    plain = measured(model(tmp_path / "net.onnx"), pixels)
    order = [1, 2, 0]
    turned = model(
        tmp_path / "turned.onnx", classes=((7, "CLASS 2"), (8, "class_3"), (9, "Class 1")), weights=WEIGHTS[:, order]
    )
    result = measured(turned, pixels)
    assert result.by == "name"
    assert np.array_equal(result.tally.confusion, plain.tally.confusion)


def test_classes_with_other_names_are_matched_by_code(tmp_path, pixels):
    plain = measured(model(tmp_path / "net.onnx"), pixels)
    result = measured(model(tmp_path / "other.onnx", classes=((1, "Wald"), (2, "Wiese"), (3, "Wasser"))), pixels)
    assert result.by == "code"
    assert np.array_equal(result.tally.confusion, plain.tally.confusion)


def test_a_class_that_only_the_model_has_counts_as_wrong_and_one_that_it_lacks_is_told(tmp_path, pixels):
    result = measured(
        model(tmp_path / "other.onnx", classes=((1, "class 1"), (2, "class 2"), (4, "snow"))), pixels
    )  # fmt: skip
    assert result.tally.names == ["class 1", "class 2", "class 3", "snow"]
    assert result.tally.confusion[:, 2].sum() == 0
    assert result.tally.confusion[3].sum() == 0
    assert result.tally.confusion.sum() == 180
    assert [line for line in result.warnings if "does not know class 3" in line]


def test_other_classes_are_refused(tmp_path, pixels):
    with pytest.raises(InputError, match="are not those of the training set"):
        measured(model(tmp_path / "other.onnx", classes=((10, "a"), (20, "b"), (30, "c"))), pixels)


def test_a_band_that_the_set_lacks_is_named(tmp_path, pixels):
    with pytest.raises(MisfitError, match=r"needs B9, but the training set has .* choose another model"):
        measured(model(tmp_path / "net.onnx", ("B1", "B2", "B3", "B9")), pixels)


def test_values_in_another_scale_are_refused(tmp_path, pixels):
    wrong = rename(pixels, "bands", "scale", [1.0] * 4)
    path = wrong.folder / "dataset.json"
    content = json.loads(path.read_text())
    for name in content["statistics"]:
        content["statistics"][name] = [value * 10_000 for value in content["statistics"][name]]
    path.write_text(json.dumps(content))
    with pytest.raises(MisfitError, match="values from"):
        measured(model(tmp_path / "net.onnx"), TrainingSet(wrong.folder))


def test_a_part_that_is_not_there_is_told_with_those_that_are(tmp_path):
    whole = np.zeros((9, 4), np.uint16)
    data = write_set(
        tmp_path / "set", {"train": whole}, {"train": np.arange(9, dtype=np.int16) % 3}, kind="pixels", classes=3
    )
    with pytest.raises(InputError, match="no test part; choose train"):
        measured(model(tmp_path / "net.onnx"), TrainingSet(data))


def test_a_model_of_patches_is_not_tried_on_pixels(tmp_path, pixels):
    from ..engine.patch_networks import patch_net

    with pytest.raises(ModelError, match="wants a set of patches"):
        measured(patch_net(tmp_path / "patches.onnx"), pixels)


@pytest.mark.parametrize("kind", ["windows", "chips"])
def test_a_model_of_pixels_is_measured_on_windows_and_chips(tmp_path, kind):
    chance = np.random.default_rng(3)
    samples, labels = {}, {}
    for part in PARTS:
        samples[part] = chance.integers(1000, 5000, (20, 4, 5, 5)).astype(np.uint16)
        shape = (20,) if kind == "windows" else (20, 5, 5)
        labels[part] = chance.integers(0, 3, shape).astype(np.int16 if kind == "windows" else np.uint8)
        if kind == "chips":
            labels[part][:, 0] = 255
    folder = write_set(
        tmp_path / "set", samples, labels, kind=kind, classes=3, scale=0.0001,
        ignore_index=255 if kind == "chips" else None,
    )  # fmt: skip
    data = TrainingSet(folder)
    scores = np.einsum("ncrs,ck->nkrs", 2 * samples["test"] * 0.0001 - 0.5, WEIGHTS)
    # Shards keep the order of the samples.
    wanted, true = scores.argmax(axis=1), labels["test"]
    if kind == "windows":
        wanted = wanted[:, 2, 2]
    counted = true != 255
    result = measured(model(tmp_path / "net.onnx"), data)
    assert np.array_equal(
        result.tally.confusion, sk.confusion_matrix(true[counted], wanted[counted], labels=range(3))
    )  # fmt: skip


def test_several_labels_are_measured(tmp_path):
    chance = np.random.default_rng(6)
    samples = {part: chance.integers(0, 255, (40, 3, 8, 8)).astype(np.uint8) for part in PARTS}
    labels = {part: (chance.random((40, 2)) < 0.5).astype(np.uint8) for part in PARTS}
    data = TrainingSet(write_set(tmp_path / "set", samples, labels, kind="patches", classes=2))
    kernel = numpy_helper.from_array(chance.normal(0, 0.1, (2, 3, 8, 8)).astype(np.float32), "kernel")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "kernel"], ["one"]),
            helper.make_node("Flatten", ["one"], ["flat"]),
            helper.make_node("Sigmoid", ["flat"], ["scores"]),
        ],
        "patches",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
        [kernel],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = ModelCard(
        "patches", "patch-multilabel", [Band("B1"), Band("B2"), Band("B3")],
        [ModelClass(1, "class 1", "#112233"), ModelClass(2, "class 2", "#332211")], activation="sigmoid",
        normalisation=Normalisation((0.01,), (-1.2,)),
    )  # fmt: skip
    path = tmp_path / "patches.onnx"
    save_model(made, card, path)
    result = measured(path, data)
    given = np.einsum("ncrs,kcrs->nk", 0.01 * samples["test"] - 1.2, numpy_helper.to_array(kernel))
    figures = result.tally.figures()
    assert figures["micro F1"] == pytest.approx(sk.f1_score(labels["test"], given >= 0, average="micro"), abs=6e-5)
    wanted = sk.average_precision_score(labels["test"], given)
    assert figures["mean average precision"] == pytest.approx(wanted, abs=0.01)


# -- the command -----------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_writes_what_is_asked_for(tmp_path, pixels):
    path = model(tmp_path / "net.onnx")
    done = run_here(
        "evaluate", path, pixels.folder, "--json", tmp_path / "figures.json", "--figures", tmp_path / "figures",
        "--split", "validation",
    )  # fmt: skip
    assert done.status == 0, done.err
    for words in ("overall accuracy", "kappa", "class 2", "recall", "180 samples of the validation part."):
        assert words in done.out
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["part"] == "validation"
    assert sum(map(sum, content["confusion"])) == 180
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == [
        "confusion.png", "f1.png", "reliability.png",
    ]  # fmt: skip


def test_with_json_the_last_line_is_the_result(tmp_path, pixels):
    done = run_here("evaluate", model(tmp_path / "net.onnx"), pixels.folder, "--split", "train", "--progress", "json")
    assert done.status == 0
    result = done.events[-1]
    assert result["event"] == "result"
    assert result["report"]["samples"] == 600
    assert [line for line in result["report"]["warnings"] if "remembers" in line]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.onnx",), "no model file"),
        (("net.onnx", "nowhere"), "no training set"),
        (("net.onnx", "set", "--split", "best"), "no part “best”"),
        (("net.onnx", "set", "--json", "nowhere/x.json"), "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, pixels, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    model(tmp_path / "net.onnx")
    done = run_here("evaluate", arguments[0], *(arguments[1:] or ("set",)))
    assert done.status == 2
    assert words in done.sentence
