"""Models made for Deepness: their keys as Deepness means them, and keys that mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thematica.errors import ModelError
from thematica.models.reading import read_model_card

from ..engine.networks import Net, save
from ..engine.test_outputs import maps, several


def network(path: Path, metadata: dict, channels: int = 3, bands: int = 3) -> Path:
    net = Net(bands)
    entries = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    return save(path, net.model(net.conv(net.input, channels)), metadata=entries)


def test_all_keys(tmp_path: Path) -> None:
    metadata = {
        "model_type": "Segmentor", "class_names": {"0": "Grund", "1": "Straße", "2": "Haus"}, "resolution": 20,
        "tile_size": 512, "tiles_overlap": 15, "standardization_mean": [0.5, 0.4, 0.3],
        "standardization_std": [0.2, 0.25, 0.5], "seg_thresh": 0.7,
    }  # fmt: skip
    card = read_model_card(network(tmp_path / "roads.onnx", metadata))
    assert card.origin == "deepness"
    assert [entry.name for entry in card.classes] == ["Grund", "Straße", "Haus"]
    assert (card.gsd, card.tile, card.unit, card.unsupported) == (0.2, 512, "dn", "")
    for band, (mean, deviation) in enumerate(((0.5, 0.2), (0.4, 0.25), (0.3, 0.5))):
        for value in (0, 128, 255):
            entered = value * card.normalisation.gain[band] + card.normalisation.bias[band]
            assert entered == pytest.approx((value / 255 - mean) / deviation)


def test_keys_of_ultralytics(tmp_path: Path) -> None:
    """``names`` as Python writes a dictionary, which is no JSON."""
    card = read_model_card(
        network(tmp_path / "m.onnx", {"names": "{0: 'a', 1: 'b', 2: 'c'}", "model_type": "Segmentor"})
    )
    assert len(card.classes) == 3


def test_one_score(tmp_path: Path) -> None:
    card = read_model_card(network(tmp_path / "m.onnx", {"model_type": "Segmentor", "seg_thresh": 0.7}, channels=1))
    assert (len(card.classes), card.activation, card.thresholds) == (2, "sigmoid", (0.7,))


@pytest.mark.parametrize("kind", ["Regressor", "Detector", "Superresolution", "Recognition", "regressor", "DETECTOR"])
def test_other_tasks_are_no_use_here(tmp_path: Path, kind: str) -> None:
    assert read_model_card(network(tmp_path / "m.onnx", {"model_type": kind})).unsupported


def test_other_metadata_is_none_of_deepness(tmp_path: Path) -> None:
    assert read_model_card(network(tmp_path / "m.onnx", {"author": "somebody"})).origin == "none"


KEYS = ["model_type", "class_names", "names", "resolution", "tile_size", "tiles_size", "standardization_mean",
        "standardization_std", "seg_thresh"]  # fmt: skip
EDGE = st.sampled_from(
    ["", "null", "NaN", "Infinity", "-1", "0", "1e999", "[]", "[0, 0, 0]", '["a", "b", "c"]', "[1, null, 2]",
     '{"²": "x"}', '{"-1": "x"}', '{"0": {"a": 1}}', '{"99999999999999999999": "x"}', "true", '"text"', "[[[",
     "{'0': 'x'}", "[" * 5000]
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(KEYS), EDGE | st.text(max_size=8).filter(lambda t: "\ud800" not in t), max_size=4)
)
def test_any_values(tmp_path: Path, metadata: dict[str, str]) -> None:
    """A card or a sentence, and nothing in the card that would break later."""
    metadata = {key: value.encode("utf-8", "replace").decode() for key, value in metadata.items()}
    try:
        card = read_model_card(network(tmp_path / "m.onnx", metadata))
    except ModelError as error:
        assert error.message  # noqa: PT017
    else:
        numbers = (*card.normalisation.gain, *card.normalisation.bias, *card.thresholds, card.tile, card.gsd or 1.0)
        assert all(abs(number) < 1e300 for number in numbers)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "supported"),
    [
        ("dummy_segmentation_models/dummy_model.onnx", True),
        ("dummy_segmentation_models/one_output_sigmoid_bsx1x512x512.onnx", True),
        ("dummy_segmentation_models/one_output_softmax_bsx2x512x512.onnx", True),
        ("one_output_sigmoid_red_detector.onnx", True),
        ("dummy_regression_models/dummy_regression_model.onnx", False),
        ("dummy_superresolution_model.onnx", False),
    ],
)
def test_real_files(real_data, name: str, supported: bool) -> None:
    card = read_model_card(real_data(f"onnx_deepness_keys/{name}"))
    assert (not card.unsupported) is supported, card.unsupported
    if supported:
        assert len(card.classes) in (2, 3)


def test_class_names_of_several_outputs_are_those_of_the_first(tmp_path: Path) -> None:
    names = [{"0": "Coffee", "1": "Tea"}, {"0": "Juice", "1": "Beer"}]
    card = read_model_card(network(tmp_path / "m.onnx", {"class_names": names}, channels=2))
    assert [entry.name for entry in card.classes] == ["Coffee", "Tea"]


@pytest.mark.parametrize(("mean", "expected"), [([0.5, 0.4, 0.3], (0.0, 255.0)), ([9.0, 8.0, 7.0], None)])
def test_images_of_eight_bits_are_wanted(tmp_path: Path, mean: list[float], expected: tuple | None) -> None:
    """Deepness divides by 255; numbers of 16 bits would run into the network a hundred times too large."""
    metadata = {"standardization_mean": mean, "standardization_std": [0.2, 0.2, 0.2]}
    assert read_model_card(network(tmp_path / "m.onnx", metadata)).value_range == expected


def test_every_output_is_a_map_with_names_of_its_own(tmp_path: Path) -> None:
    net = Net(3)
    outputs = {
        "a": (net.conv(net.input, 3), maps(3)),
        "b": (net.node("Sigmoid", net.conv(net.input, 1)), maps(1)),
        "c": (net.node("Softmax", net.conv(net.input, 2), axis=1), maps(2)),
    }
    names = [{"0": "x", "1": "y", "2": "z"}, {"0": "road"}, {"1": "tree"}]
    metadata = {"model_type": '"Segmentor"', "class_names": json.dumps(names), "seg_thresh": "0.3"}
    card = read_model_card(save(tmp_path / "m.onnx", several(net, outputs), metadata=metadata))
    assert card.output_names() == ["a", "b", "c"]
    assert [[entry.name for entry in card.for_output(name).classes] for name in "abc"] == [
        ["x", "y", "z"], ["background", "road"], ["class 0", "tree"],
    ]  # fmt: skip
    assert [card.for_output(name).activation for name in "abc"] == ["logits", "sigmoid", "softmax"]
    assert {card.for_output(name).thresholds for name in "abc"} == {(0.3,)}


def test_names_of_one_output_count_by_their_own_place(tmp_path: Path) -> None:
    """An embedding between two maps has a table of names too, which is left out with it."""
    net = Net(3)
    vector = net.node("Flatten", net.node("GlobalAveragePool", net.conv(net.input, 8)))
    outputs = {
        "a": (net.conv(net.input, 2), maps(2)), "e": (vector, ["n", 8]), "b": (net.conv(net.input, 2), maps(2)),
    }  # fmt: skip
    names = [{"0": "Coffee", "1": "Tea"}, {}, {"0": "Juice", "1": "Beer"}]
    metadata = {"class_names": json.dumps(names)}
    card = read_model_card(save(tmp_path / "m.onnx", several(net, outputs), metadata=metadata))
    assert card.output_names() == ["a", "b"]
    assert [entry.name for entry in card.for_output("b").classes] == ["Juice", "Beer"]


def test_channels_that_the_graph_leaves_open_are_counted_by_their_names(tmp_path: Path) -> None:
    net = Net(3)
    model = several(net, {"out": (net.conv(net.input, 3), ["n", "k", "h", "w"])})
    metadata = {"class_names": json.dumps({"0": "a", "1": "b", "2": "c"})}
    card = read_model_card(save(tmp_path / "m.onnx", model, metadata=metadata))
    assert [entry.name for entry in card.classes] == ["a", "b", "c"]


def test_class_numbers_are_named_by_the_table(tmp_path: Path) -> None:
    net = Net(3)
    numbers = net.node("ArgMax", net.conv(net.input, 3), axis=1, keepdims=0)
    model = several(net, {"out": (numbers, ["n", "h", "w"])}, {"out": "int64"})
    metadata = {"class_names": json.dumps({"0": "a", "1": "b", "2": "c"}), "seg_thresh": "0.5"}
    card = read_model_card(save(tmp_path / "m.onnx", model, metadata=metadata))
    assert ([entry.name for entry in card.classes], card.thresholds) == (["a", "b", "c"], ())


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("tile_size", "512", "tile", 512), ("tiles_size", "256", "tile", 256), ("resolution", "20", "gsd", 0.2),
        ("resolution", "5.5", "gsd", 0.055), ("seg_thresh", "0.25", "thresholds", (0.25,)),
    ],
)  # fmt: skip
def test_keys_one_by_one(tmp_path: Path, key: str, value: str, field: str, expected: object) -> None:
    assert getattr(read_model_card(network(tmp_path / "m.onnx", {"names": "{}", key: value})), field) == expected
