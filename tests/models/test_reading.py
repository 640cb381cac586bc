"""What a file without a card says by its shapes alone, and which card counts where there are several."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from thematica.errors import ModelError
from thematica.models.card import FurtherOutput
from thematica.models.reading import (
    corrected_card_path,
    forget_corrected_card,
    read_model_card,
    save_corrected_card,
)

from ..engine.networks import Net, make_card, save


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))


def shaped(path: Path, given: list, result: list, kind: int = TensorProto.FLOAT, **metadata: str) -> Path:
    """A file with these shapes; what it computes is of no matter here."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", kind, result)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return save(path, model, metadata=metadata)


@pytest.mark.parametrize(
    ("given", "result", "task", "bands", "classes", "tile"),
    [
        (["n", 3, "h", "w"], ["n", 5, "h", "w"], "segmentation", 3, 5, 0),
        ([1, 4, 512, 512], [1, 1, 512, 512], "segmentation", 4, 2, 0),
        ([1, 4, 512, 512], [1, 512, 512], "segmentation", 4, 2, 0),
        (["n", 3, 512, 512], ["n", 2, 484, 484], "segmentation", 3, 2, 0),
        (["n", 12], ["n", 7], "pixel", 12, 7, 0),
        (["n", 3, 64, 64], ["n", 10], "patch", 3, 10, 64),
        (["n", 3, "h", "w"], ["n", 10], "patch", 3, 10, 0),
        (["n", 1, 30, 9, 9], ["n", 16], "window", 30, 16, 9),
    ],
)
def test_shapes(tmp_path: Path, given: list, result: list, task: str, bands: int, classes: int, tile: int) -> None:
    card = read_model_card(shaped(tmp_path / "net.onnx", given, result))
    assert (card.origin, card.task, card.unsupported) == ("none", task, "")
    assert (len(card.bands), len(card.classes), card.tile) == (bands, classes, tile)
    assert (card.output_name, card.normalisation.is_identity()) == ("y", True)


@pytest.mark.parametrize(
    ("given", "result", "words"),
    [
        (["n", 3, 64, 64], ["n", 3, 128, 128], "super-resolution"),
        (["n", 3, 64], ["n", 3, 64], "3 axes"),
        (["n", 3, 4, 64, 64], ["n", 3, 4, 64, 64], "5 axes"),
        (["n", 3, 64, 64], ["n", 3, 4, 64, 64], "5 axes"),
        (["n", 3, 64, 64], ["n"], "1 axes"),
    ],
)
def test_shapes_that_no_door_serves(tmp_path: Path, given: list, result: list, words: str) -> None:
    assert words in read_model_card(shaped(tmp_path / "net.onnx", given, result)).unsupported


@pytest.mark.parametrize(
    ("given", "result", "words"),
    [
        (["n", "c", "h", "w"], ["n", 5, "h", "w"], "how many bands"),
        (["n", 3, "h", "w"], ["n", "k", "h", "w"], "how many classes"),
        (["n", 3, "h", "w"], ["n", 70_000, "h", "w"], "damaged"),
    ],
)
def test_shapes_that_say_too_little(tmp_path: Path, given: list, result: list, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_model_card(shaped(tmp_path / "net.onnx", given, result))


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL])
@pytest.mark.parametrize("result", [["n", "h", "w"], ["n", 1, "h", "w"]])
def test_class_numbers_leave_the_classes_open(tmp_path: Path, kind: int, result: list) -> None:
    card = read_model_card(shaped(tmp_path / "net.onnx", ["n", 3, "h", "w"], result, kind))
    assert (card.classes, card.unsupported) == ([], "")


def test_the_order_in_which_cards_count(tmp_path: Path) -> None:
    """Given, corrected, embedded, beside, Deepness's keys, Esri's definition, none."""
    path = tmp_path / "net.onnx"
    net = Net(3)
    model = net.model(net.conv(net.input, 3))

    def card(title: str) -> str:
        named = make_card(3, 3)
        named.title = title
        return named.to_json()

    deepness = {"model_type": '"Segmentor"'}
    emd = {"ModelFile": "net.onnx", "Classes": [{"Value": n, "Name": f"e{n}"} for n in range(3)]}
    assert read_model_card(save(path, model)).origin == "none"
    (tmp_path / "net.emd").write_text(json.dumps(emd), encoding="utf-8")
    assert read_model_card(path).origin == "esri"
    assert read_model_card(save(path, model, metadata=deepness)).origin == "deepness"
    (tmp_path / "net.json").write_text(card("beside"), encoding="utf-8")
    assert (read_model_card(path).origin, read_model_card(path).title) == ("beside", "beside")
    assert read_model_card(save(path, model, make_card(3, 3), deepness)).origin == "embedded"
    corrected = read_model_card(path)
    corrected.title = "mine"
    save_corrected_card(corrected)
    assert (read_model_card(path).origin, read_model_card(path).title) == ("corrected", "mine")
    (tmp_path / "other.json").write_text(card("given"), encoding="utf-8")
    assert (read_model_card(path, tmp_path / "other.json").origin) == "given"
    forget_corrected_card(corrected.weights_sha256)
    assert read_model_card(path).origin == "embedded"


def test_a_correction_belongs_to_the_weights_not_to_the_file(tmp_path: Path) -> None:
    net = Net(3)
    model = net.model(net.conv(net.input, 3))
    card = read_model_card(save(tmp_path / "a.onnx", model))
    card.title = "mine"
    save_corrected_card(card)
    assert read_model_card(save(tmp_path / "b.onnx", model, metadata={"author": "x"})).title == "mine"
    other = Net(3, seed=1)
    assert read_model_card(save(tmp_path / "c.onnx", other.model(other.conv(other.input, 3)))).origin == "none"


def ending_in(operators: dict[str, str]) -> onnx.ModelProto:
    """A network whose outputs, called as the keys, have three channels and end in these operators."""
    nodes = [helper.make_node(operator, ["image"], [name]) for name, operator in operators.items()]
    axes = ["n", 3, "h", "w"]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("image", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name in operators],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("place", ["embedded", "beside", "given", "corrected"])
def test_what_no_card_says_of_the_activation_the_graph_says_of_each_output(tmp_path: Path, place: str) -> None:
    model = ending_in({"a": "Sigmoid", "b": "Softmax", "c": "Relu"})
    further = [FurtherOutput(name, make_card(3, 3).classes, "") for name in "bc"]
    card = make_card(3, 3, output_name="a", activation="", further_outputs=further)
    assert "thematica:activation" not in card.to_json()
    path = save(tmp_path / "net.onnx", model, card if place == "embedded" else None)
    beside = {"beside": tmp_path / "net.json", "given": tmp_path / "other.json"}
    beside["corrected"] = corrected_card_path(read_model_card(path).weights_sha256)
    if place in beside:
        beside[place].parent.mkdir(parents=True, exist_ok=True)
        beside[place].write_text(card.to_json(), encoding="utf-8")
    read = read_model_card(path, beside["given"] if place == "given" else None)
    assert read.origin == place
    assert [read.for_output(name).activation for name in "abc"] == ["sigmoid", "softmax", "logits"]


def test_what_a_card_says_of_the_activation_counts_against_the_graph(tmp_path: Path) -> None:
    further = [FurtherOutput("b", make_card(3, 3).classes, "sigmoid")]
    card = make_card(3, 3, output_name="a", activation="logits", further_outputs=further)
    read = read_model_card(save(tmp_path / "net.onnx", ending_in({"a": "Sigmoid", "b": "Softmax"}), card))
    assert [read.for_output(name).activation for name in "ab"] == ["logits", "sigmoid"]
