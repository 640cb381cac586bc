"""Our small ONNX reader against the onnx package, and against files that are broken in every way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from thematica.errors import ModelError
from thematica.models.onnx_file import OnnxFacts, TensorFacts, class_outputs, read_onnx_facts
from thematica.models.reading import read_model_card

from ..engine.networks import Net, light, save
from ..engine.test_outputs import maps, several

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
axes = st.one_of(st.integers(0, 2**40), st.none(), st.just("free"))
types = st.sampled_from(
    [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.UINT16, TensorProto.DOUBLE]
)


def facts_of(tmp_path: Path, content: bytes):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    return read_onnx_facts(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tensors=st.lists(
        st.tuples(names, types, st.lists(axes, max_size=5)), min_size=2, max_size=4, unique_by=lambda t: t[0]
    ),
    metadata=st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=3),
    count=st.integers(0, 2),
)
def test_it_reads_what_onnx_wrote(tmp_path: Path, tensors, metadata, count: int) -> None:
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in tensors]
    half = len(infos) // 2
    weights = [numpy_helper.from_array(np.zeros(3, np.float32), f"constant{index}") for index in range(count)]
    # Old files list their constants as inputs too.
    listed = [helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, [3]) for tensor in weights]
    graph = helper.make_graph([], "g", [*listed, *infos[:half]], infos[half:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, metadata)
    found = facts_of(tmp_path, model.SerializeToString())
    expected = [
        (name, {1: "float32", 10: "float16", 2: "uint8", 4: "uint16", 11: "float64"}[kind],
         tuple(size if isinstance(size, int) else -1 for size in shape))
        for name, kind, shape in tensors
    ]  # fmt: skip
    assert [(entry.name, entry.data_type, entry.shape) for entry in [*found.inputs, *found.outputs]] == expected
    assert len(found.inputs) == half
    assert found.metadata == metadata


def test_the_hash_is_of_the_weights_not_of_the_metadata(tmp_path: Path) -> None:
    net = Net(2)
    model = net.model(net.conv(net.input, 2))
    plain = facts_of(tmp_path, model.SerializeToString())
    helper.set_model_props(model, {"thematica_card": "x" * 1000})
    with_card = facts_of(tmp_path, model.SerializeToString())
    assert with_card.weights_sha256 == plain.weights_sha256 != ""
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights.flat[0] = np.nextafter(weights.flat[0], np.float32(9))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, model.graph.initializer[0].name))
    assert facts_of(tmp_path, model.SerializeToString()).weights_sha256 != plain.weights_sha256


def only_a_model_error(path: Path) -> None:
    """Whatever the bytes are: facts, or one sentence."""
    try:
        read_model_card(path)
    except ModelError as error:
        message = error.message
    else:
        message = "No error."
    assert message.endswith(".")
    assert "\n" not in message


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "random.onnx"
    path.write_bytes(content)
    only_a_model_error(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_network_with_bytes_changed(tmp_path: Path, data: st.DataObject) -> None:
    source = tmp_path / "whole.onnx"
    if not source.exists():
        light(source)
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "changed.onnx"
    path.write_bytes(content)
    only_a_model_error(path)


def test_a_network_cut_off_anywhere(tmp_path: Path) -> None:
    """A download that broke off; where the cut falls between two fields nothing but an unreadable card may remain."""
    content = light(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "part.onnx"
    refused = 0
    for length in [*range(0, len(content), 23), len(content) - 1]:
        path.write_bytes(content[:length])
        try:
            read_onnx_facts(path)
        except ModelError:
            refused += 1
    assert refused >= len(content) // 23 - 3


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.onnx", b"", "is empty"),
        ("text.onnx", b"this is no network", "not an ONNX file"),
        ("picture.onnx", b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
        ("tiff.onnx", b"II*\x00\x08\x00\x00\x00" + bytes(100), "not an ONNX file"),
        ("zeros.onnx", bytes(100), "not an ONNX file"),
        ("zip.onnx", b"PK\x03\x04" + bytes(range(100)), "not an ONNX file"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        read_onnx_facts(tmp_path / name)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        read_onnx_facts(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        read_onnx_facts(tmp_path)


def test_a_graph_without_tensors(tmp_path: Path) -> None:
    model = helper.make_model(helper.make_graph([], "g", [], []))
    path = save(tmp_path / "none.onnx", model)
    with pytest.raises(ModelError, match="no input or no output"):
        read_model_card(path)


def test_weights_kept_beside_the_file_are_part_of_the_hash(tmp_path: Path) -> None:
    """Exporters write large networks so; two trainings of one network differ only there."""
    hashes = set()
    for seed in (1, 2):
        net = Net(2, seed)
        model = net.model(net.conv(net.input, 2))
        path = tmp_path / "net.onnx"
        (tmp_path / "net.bin").unlink(missing_ok=True)
        onnx.save_model(model, path, save_as_external_data=True, location="net.bin", size_threshold=0)
        facts = read_onnx_facts(path)
        assert facts.inputs[0].shape == (-1, 2, -1, -1)
        assert facts.weight_files == ["net.bin"]
        hashes.add(facts.weights_sha256)
    assert len(hashes) == 2
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ModelError, match=r"keeps its weights in “net\.bin”"):
        read_onnx_facts(path)


@pytest.mark.parametrize("field", ["location", "name", "key", "metadata"])
def test_names_that_are_no_text_are_told(tmp_path: Path, field: str) -> None:
    """Also deep inside, where parts of the file are still held when it is closed."""
    tensor = helper.make_tensor("weightname", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="locationkey", value="locationvalue")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([], "g", [value], [value], [tensor]))
    helper.set_model_props(model, {"metadatakey": "v"})
    spoilt = {"location": b"locationvalue", "name": b"weightname", "key": b"locationkey", "metadata": b"metadatakey"}
    content = model.SerializeToString().replace(spoilt[field], b"\xff" * len(spoilt[field]))
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX file"):
        read_onnx_facts(tmp_path / "m.onnx")


def test_the_last_operator_of_every_output(tmp_path: Path) -> None:
    """What changes only the form of a tensor is passed over; an output that another one is made from counts too."""
    net = Net(3)
    score = net.node("Sigmoid", net.conv(net.input, 1))
    turned = net.node("Softmax", net.node("Transpose", net.conv(net.input, 2), perm=[0, 2, 3, 1]), axis=-1)
    back = net.node("Transpose", turned, perm=[0, 3, 1, 2])
    flat = net.node("Gather", score, net.weight(np.array(0, np.int64)), axis=1)
    plain = net.conv(net.input, 3)
    outputs = {
        "score": (score, maps(1)), "flat": (flat, ["n", "h", "w"]), "soft": (back, maps(2)), "plain": (plain, maps(3)),
        "image_itself": (net.input, maps(3)),
    }  # fmt: skip
    facts = read_onnx_facts(save(tmp_path / "net.onnx", several(net, outputs)))
    assert {tensor.name: tensor.operator for tensor in facts.outputs} == {
        "score": "Sigmoid", "flat": "Sigmoid", "soft": "Softmax", "plain": "Conv", "image_itself": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (["map"], ["map"]),
        (["map", "map2"], ["map", "map2"]),
        (["map", "vector"], ["map"]),
        (["vector", "map"], ["map"]),
        (["vector", "features"], ["vector"]),
        (["features", "vector"], ["features"]),
        (["numbers", "map"], ["map"]),
        (["numbers"], ["numbers"]),
        (["vector"], ["vector"]),
    ],
)
def test_which_outputs_are_classes(outputs: list[str], expected: list[str]) -> None:
    shapes = {
        "map": ("float32", (-1, 4, -1, -1)), "map2": ("float32", (-1, -1, -1)), "vector": ("float32", (-1, 64)),
        "features": ("float32", (-1, 32, 8, 8)), "numbers": ("int64", (-1, -1, -1)),
    }  # fmt: skip
    facts = OnnxFacts(
        [TensorFacts("image", "float32", (-1, 3, -1, -1))], [TensorFacts(name, *shapes[name]) for name in outputs]
    )
    assert [tensor.name for tensor in class_outputs(facts)] == expected
