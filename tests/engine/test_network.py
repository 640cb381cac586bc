"""The deployed graph: scaling in front, decision behind, the network itself untouched or rewritten alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from thematica.engine import PixelJob, classify
from thematica.engine.deployment import deploy, fill_values, tensor_name
from thematica.engine.network import load_network
from thematica.errors import MisfitError, ModelError
from thematica.models.reading import read_model_card

from .networks import Net, image, light, make_card, mlp, noise, read, save, z_scores


def loaded(path: Path):
    return load_network(path, read_model_card(path))


def run(deployment, samples: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(deployment.content, providers=["CPUExecutionProvider"])
    names = [tensor_name(name) for name in deployment.outputs]
    results = session.run(names, {deployment.input_name: samples})
    return dict(zip(deployment.outputs, results, strict=True))


# Per-pixel networks: dense layers on images, without transposing samples


def _chain(net: Net) -> str:
    return net.dense(net.relu(net.dense(net.input, 8, transposed=True)), 3)


def _with_alpha_and_beta(net: Net) -> str:
    return net.dense(net.input, 3, alpha=0.5, beta=2.0)


def _matmul(net: Net) -> str:
    x = net.node("MatMul", net.input, net.weight(net.random.normal(size=(4, 3)).astype("float32")), channels=3)
    x = net.node("Add", x, net.weight(np.array([1, 2, 3], np.float32)))
    x = net.node("Add", x, net.weight(np.array([[1, 2, 3]], np.float32)))
    return net.node("Add", x, net.weight(np.array([4], np.float32)))


def _soft(net: Net) -> str:
    return net.node("Softmax", net.node("Tanh", net.dense(net.input, 3)))


def _gated(net: Net) -> str:
    return net.node("Mul", net.dense(net.input, 3), net.node("Sigmoid", net.dense(net.input, 3)))


def _constant_on_the_left(net: Net) -> str:
    return net.node("Sub", net.weight(np.array(1, np.float32)), net.dense(net.input, 3), channels=3)


@pytest.mark.parametrize(
    ("build", "layout"),
    [(_chain, "nchw"), (_with_alpha_and_beta, "nchw"), (_matmul, "nchw"), (_soft, "nchw"), (_gated, "cn"),
     (_constant_on_the_left, "cn")],
    ids=lambda value: getattr(value, "__name__", value).strip("_"),
)  # fmt: skip
@pytest.mark.parametrize("steps", [None, z_scores([1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0])], ids=["raw", "scaled"])
def test_dense_layers_become_convolutions_that_give_the_same(tmp_path: Path, build, layout: str, steps) -> None:
    net = Net(4, shape=["n", 4])
    path = save(tmp_path / "m.onnx", net.model(build(net)), make_card(4, 3, "pixel", normalisation_steps=steps or []))
    network = loaded(path)
    assert network.pixelwise
    deployment = deploy(network, np.dtype("int16"), [0.1] * 4, [0.5] * 4, ["probabilities"])
    assert deployment.layout == layout
    samples = noise((4, 5, 6), "int16", low=-50, high=50)
    found = run(deployment, samples[None] if layout == "nchw" else samples.reshape(4, -1))["probabilities"]
    physical = samples.reshape(4, -1).T * 0.1 + 0.5
    if steps:
        physical = (physical - [s["mean"] for s in steps]) / [s["stddev"] for s in steps]
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"image": physical.astype("float32")})[0].astype(float)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = found[0].reshape(3, -1).T if layout == "nchw" else found
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_network_as_given_is_left_alone(tmp_path: Path) -> None:
    network = loaded(mlp(tmp_path / "m.onnx"))
    before = network.model.SerializeToString()
    deploy(network, np.dtype("uint8"), [1.0] * 4, [0.0] * 4)
    assert network.model.SerializeToString() == before


# Types


@pytest.mark.parametrize(
    "stored", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("wanted", ["float32", "float16", "float64", "uint8", "uint16"])
def test_every_type_enters_every_network(tmp_path: Path, stored: str, wanted: str) -> None:
    """Or is refused because it would have to be cut down."""
    net = Net(2, data_type=wanted)
    x = net.input
    if wanted == "float64":
        x = net.node("Cast", x, to=onnx.TensorProto.FLOAT)
    path = save(tmp_path / "m.onnx", net.model(net.conv(x, 3)), make_card(2, 3))
    network = loaded(path)
    samples = noise((1, 2, 5, 6), stored, high=100)
    if wanted.startswith("uint") and not np.can_cast(stored, wanted):
        with pytest.raises(MisfitError, match=f"{wanted}.*{stored}"):
            deploy(network, np.dtype(stored), [1.0] * 2, [0.0] * 2)
        # With a scale the analyst has said what is meant.
        deployment = deploy(network, np.dtype(stored), [0.5] * 2, [0.0] * 2)
        entered = np.rint(samples * 0.5)
    else:
        deployment = deploy(network, np.dtype(stored), [1.0] * 2, [0.0] * 2)
        entered = samples
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"image": entered.astype(wanted)})[0].astype("float32")
    found = run(deployment, samples)
    clear = np.diff(np.sort(scores, axis=1)[:, -2:], axis=1)[:, 0] > 1e-2
    np.testing.assert_array_equal(found["classes"][clear], scores.argmax(axis=1)[clear])
    assert found["classes"].dtype == np.uint8
    assert found["shape"].tolist() == [1, 3, 5, 6]


def test_whole_numbers_are_rounded_and_kept_in_range(tmp_path: Path) -> None:
    net = Net(2, data_type="uint8")
    path = save(tmp_path / "m.onnx", net.model(net.node("Identity", net.input)), make_card(2, 2, activation="softmax"))
    samples = np.array([-9, 0, 1, 2, 3, 400, 32000], np.int16).reshape(1, 1, 1, 7).repeat(2, axis=1)
    deployment = deploy(loaded(path), np.dtype("int16"), [0.75] * 2, [0.0] * 2, ["probabilities"])
    found = run(deployment, samples)["probabilities"][0, 0, 0]
    np.testing.assert_array_equal(found, [0, 0, 1, 2, 2, 255, 255])


# The value of missing samples


@settings(max_examples=60)
@given(
    mean=st.floats(-100, 100), deviation=st.floats(0.1, 100), scale=st.floats(0.001, 10), offset=st.floats(-10, 10),
    kind=st.sampled_from(["uint8", "int16", "float32"]),
)  # fmt: skip
def test_missing_samples_enter_as_zero(tmp_path_factory, mean, deviation, scale, offset, kind) -> None:
    """As nearly as the type of the samples allows."""
    path = light(tmp_path_factory.getbasetemp() / "fill.onnx", 1, 3, normalisation_steps=z_scores([mean], [deviation]))
    value = float(fill_values(loaded(path), np.dtype(kind), [scale], [offset])[0])

    def entered(stored: float) -> float:
        return (stored * scale + offset - mean) / deviation

    if kind == "float32":
        assert entered(value) == pytest.approx(0, abs=1e-3)
    else:
        limits = np.iinfo(kind)
        assert value.is_integer()
        assert all(
            abs(entered(value)) <= abs(entered(other)) + 1e-9
            for other in (value - 1, value + 1)
            if limits.min <= other <= limits.max
        )


def test_missing_samples_respect_limits(tmp_path: Path) -> None:
    path = light(tmp_path / "m.onnx", 2, normalisation_steps=[{"type": "clip", "minimum": 10.0, "maximum": 20.0}])
    np.testing.assert_array_equal(fill_values(loaded(path), np.dtype("uint8"), [1.0] * 2, [0.0] * 2), [10, 10])


# What the file says


def test_constants_listed_as_inputs(tmp_path: Path) -> None:
    """As before IR version 4."""
    net = Net(3)
    model = net.model(net.conv(net.input, 3))
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 8))
    check_runs(tmp_path, save(tmp_path / "m.onnx", model, make_card(3, 3)))


def test_the_image_is_the_second_input_among_constants(tmp_path: Path) -> None:
    net = Net(3)
    model = net.model(net.conv(net.input, 3))
    inputs = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
    inputs.append(model.graph.input[0])
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    check_runs(tmp_path, save(tmp_path / "m.onnx", model, make_card(3, 3)))


def check_runs(tmp_path: Path, model: Path, bands: int = 3) -> np.ndarray:
    scene = image(tmp_path / "scene.tif", noise((bands, 40, 50)))
    classify(PixelJob([str(scene)], str(model), str(tmp_path / "map.tif"), overwrite=True))
    return read(tmp_path / "map.tif")[0]


def test_the_output_that_the_card_names(tmp_path: Path) -> None:
    """Networks with auxiliary heads give several; the first need not be the map."""
    net = Net(3)
    x = net.conv(net.input, 4)
    model = net.model(net.conv(x, 3))
    model.graph.node.append(helper.make_node("Neg", ["scores"], ["map"]))
    model.graph.output.append(helper.make_tensor_value_info("map", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"]))
    first = check_runs(tmp_path, save(tmp_path / "a.onnx", model, make_card(3, 3)))
    second = check_runs(tmp_path, save(tmp_path / "b.onnx", model, make_card(3, 3, output_name="map")))
    assert (first != second).all()


@pytest.mark.parametrize("version", [7, 9, 10, 11, 12, 13, 15, 18, 21])
def test_operator_sets(tmp_path: Path, version: int) -> None:
    net = Net(3, opset=version)
    x = net.relu(net.conv(net.input, 4))
    if version >= 13:
        x = net.resize(net.pool(x), 2, "linear")
    check_runs(tmp_path, save(tmp_path / "m.onnx", net.model(net.conv(x, 3)), make_card(3, 3)))


@pytest.mark.parametrize("shape", [["n", 3, 32, "w"], [1, 3, "h", 32]])
def test_half_a_fixed_tile(tmp_path: Path, shape: list) -> None:
    """One axis fixed and the other free is rare, but what comes is a map or a sentence."""
    net = Net(3, shape=shape)
    path = save(tmp_path / "m.onnx", net.model(net.conv(net.input, 3)), make_card(3, 3))
    try:
        codes = check_runs(tmp_path, path)
    except ModelError:
        codes = None
    assert codes is None or codes.shape == (40, 50)


# Receptive fields that the graph does not tell


def reshaped(net: Net) -> str:
    """Reshape and back: pointwise, but not to be seen from the graph."""
    x = net.conv(net.input, 3)
    flat = net.node("Reshape", x, net.weight(np.array([0, 0, -1], np.int64)))
    return net.node("Reshape", net.node("Relu", flat), net.node("Shape", x), channels=3)


def test_the_card_may_know_what_the_graph_hides(tmp_path: Path) -> None:
    for receptive_field, exact in ((0, False), (3, True)):
        net = Net(3)
        card = make_card(3, 3, receptive_field=receptive_field)
        found = loaded(save(tmp_path / "m.onnx", net.model(reshaped(net)), card)).field
        assert (found.exact, found.radius) == (exact, 1 if exact else 0)


def test_the_card_cannot_talk_a_global_network_local(tmp_path: Path) -> None:
    def pooled(net: Net) -> str:
        return net.node("Add", net.input, net.node("GlobalAveragePool", net.input))

    def placed(net: Net) -> str:
        return net.node("Add", net.input, net.weight(np.ones((1, 1, 32, 32), np.float32)))

    def soft(net: Net) -> str:
        return net.node("Softmax", net.input, axis=2)

    for build in (pooled, placed, soft):
        net = Net(3, shape=["n", 3, 32, 32])
        card = make_card(3, 3, receptive_field=3)
        assert not loaded(save(tmp_path / "m.onnx", net.model(build(net)), card)).field.exact


@pytest.mark.parametrize(
    ("last", "channels", "activation"),
    [(["Sigmoid"], 1, "sigmoid"), ([], 1, "logits"), (["Softmax", "Identity"], 3, "softmax"), (["Relu"], 3, "logits")],
)
def test_without_a_card_the_last_operator_tells_what_the_output_holds(
    tmp_path: Path, last: list[str], channels: int, activation: str
) -> None:
    """A second sigmoid over probabilities never falls under one half: all pixels would become the second class."""
    net = Net(3, 1)
    x = net.conv(net.input, channels)
    for kind in last:
        x = net.node(kind, x, **({"axis": 1} if kind == "Softmax" else {}))
    path = save(tmp_path / "m.onnx", net.model(x))
    assert loaded(path).card.activation == activation
    samples = noise((3, 20, 20), "float32", low=-1, high=1)
    scores = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"]).run(
        None, {"image": samples[None]}
    )[0][0]
    half = 0.5 if activation == "sigmoid" else 0.0
    expected = scores[0] >= half if channels == 1 else scores.argmax(0)
    found = run(deploy(loaded(path), np.dtype("float32"), [1.0] * 3, [0.0] * 3), samples[None])
    np.testing.assert_array_equal(found["classes"][0], expected)


def test_softmax_of_old_operator_sets_sees_the_whole_tile(tmp_path: Path) -> None:
    """Before operator set 13 softmax over the channels ran over rows and columns too."""
    net = Net(3, 1, opset=11)
    path = save(tmp_path / "m.onnx", net.model(net.node("Softmax", net.conv(net.input, 3), axis=1)))
    assert not loaded(path).field.exact


def test_one_score_behind_resizing_to_the_size_of_the_image(tmp_path: Path) -> None:
    """Torch exports such an output with all its axes open."""
    net = Net(3, 1)
    x = net.conv(net.input, 1, stride=2)
    start, middle, end = (net.weight(np.array([axis])) for axis in (0, 2, 4))
    sizes = net.node(
        "Concat",
        net.node("Slice", net.node("Shape", x), start, middle),
        net.node("Slice", net.node("Shape", net.input), middle, end),
        axis=0,
    )
    model = net.model(net.node("Resize", x, "", "", sizes, mode="linear", channels=1))
    for axis in model.graph.output[0].type.tensor_type.shape.dim:
        axis.dim_param = "open"
    path = save(tmp_path / "m.onnx", model, make_card(3, 2))
    assert loaded(path).channels == 1
    check_runs(tmp_path, path)
