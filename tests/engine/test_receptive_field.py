"""The receptive field read from the graph against what the network does: one input pixel is changed, and the
outputs that change are looked at."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from thematica.engine.receptive_field import ReceptiveField, analyse

from .networks import Net


def run(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {session.get_inputs()[0].name: image})[0]


def measure(model: onnx.ModelProto, bands: int, found: ReceptiveField) -> tuple[int, bool]:
    """How far a changed pixel is seen, over all phases of the stride; and whether a shift by the stride is a shift."""
    stride, border = found.stride, found.radius + found.stride
    # Every stride in these tests divides 36; what the border disturbs is left out.
    side = 36 * -(-(2 * border + 2 * stride + 8) // 36)
    random = np.random.default_rng(3)
    image = random.normal(size=(1, bands, side, side)).astype(np.float32)
    middle = side // 2 // stride * stride
    reach = 0
    before = run(model, image)
    for phase in range(stride):
        place = middle + phase
        # Two changes: a ReLU or a maximum may swallow one of them.
        for change in (-9.0, 9.0):
            changed = image.copy()
            changed[:, :, place, place] += change
            rows, columns = np.nonzero(np.abs(run(model, changed) - before)[0].max(axis=0) > 0)
            if rows.size:
                reach = max(reach, np.abs(rows - place).max(), np.abs(columns - place).max())
    inner = (..., slice(border, -border), slice(border, -border))
    shifted = run(model, np.roll(image, (stride, stride), (2, 3)))[inner]
    return int(reach), bool(np.allclose(shifted, np.roll(before, (stride, stride), (2, 3))[inner], atol=1e-4))


layers = st.one_of(
    st.tuples(st.just("conv"), st.sampled_from([1, 2, 3, 4, 5]), st.sampled_from([1, 2, 3])),
    st.tuples(st.just("pool"), st.sampled_from([2, 3]), st.sampled_from(["MaxPool", "AveragePool"])),
    st.tuples(st.just("relu"), st.just(0), st.just(0)),
    st.tuples(st.just("smooth"), st.sampled_from([3, 5]), st.sampled_from(["MaxPool", "AveragePool"])),
)
ups = st.sampled_from(["nearest", "linear", "cubic", "deconv", "deconv_wide", "depth"])


@st.composite
def networks(draw) -> onnx.ModelProto:
    """A stack of layers that goes down some levels and up again, with or without skip connections."""
    net = Net(1, draw(st.integers(0, 5)))
    x = net.input
    levels: list[tuple[str, int]] = []
    for _ in range(draw(st.integers(0, 2))):
        for kind, size, extra in draw(st.lists(layers, max_size=2)):
            if kind == "conv":
                x = net.conv(x, 2, size, dilation=extra)
            elif kind == "smooth":
                x = net.pool(x, size, 1, extra)
            elif kind == "relu":
                x = net.relu(x)
        stride = draw(st.sampled_from([2, 3]))
        levels.append((x, stride))
        down = draw(st.sampled_from(["pool", "conv", "average", "depth"]))
        if down == "conv":
            x = net.conv(x, 3, draw(st.sampled_from([3, 4, 5])), stride=stride)
        elif down == "depth":
            x = net.node("SpaceToDepth", x, blocksize=stride, channels=net.channels[x] * stride * stride)
        else:
            x = net.pool(
                x, draw(st.sampled_from([stride, stride + 1])), stride, "MaxPool" if down == "pool" else "AveragePool"
            )
    for kind, size, extra in draw(st.lists(layers, max_size=2)):
        if kind == "conv":
            x = net.conv(x, 2, size, dilation=extra)
        elif kind == "relu":
            x = net.relu(x)
    for skip, stride in reversed(levels):
        up = draw(ups)
        if up == "depth":
            x = net.conv(x, 2 * stride * stride, 1)
            x = net.node("DepthToSpace", x, blocksize=stride, channels=2, mode="CRD")
        elif up.startswith("deconv"):
            x = net.deconv(x, 2, stride if up == "deconv" else 2 * stride, stride)
        else:
            x = net.resize(x, stride, up)
        if draw(st.booleans()):
            x = net.concat(x, skip)
        x = net.conv(x, 2, draw(st.sampled_from([1, 3])))
    return net.model(net.conv(x, 2, 1))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(networks())
def test_nothing_is_seen_beyond_the_radius_and_shifts_by_the_stride_are_shifts(model: onnx.ModelProto) -> None:
    found = analyse(model)
    assert found.exact, found.why
    reach, shifts = measure(model, 1, found)
    assert reach <= found.radius
    assert shifts


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 2, 3])), min_size=1, max_size=4),
)
def test_of_plain_convolutions_the_radius_is_the_smallest(stack: list[tuple[int, int]]) -> None:
    """A halo that is larger than need be costs time on every tile."""
    net = Net(1, 1)
    x = net.input
    for kernel, dilation in stack:
        x = net.conv(x, 2, kernel, dilation=dilation)
    model = net.model(x)
    found = analyse(model)
    assert (found.exact, found.stride) == (True, 1)
    assert found.radius == sum((kernel - 1) // 2 * dilation for kernel, dilation in stack)
    assert measure(model, 1, found)[0] == found.radius


@pytest.mark.parametrize("kernel", [2, 4])
@pytest.mark.parametrize("pads", [(0, 0, 1, 1), (1, 1, 0, 0)])
def test_even_kernels_with_lopsided_padding(kernel: int, pads: tuple[int, ...]) -> None:
    net = Net(1, 2)
    extra = [value * (kernel - 1) for value in pads]
    model = net.model(net.conv(net.input, 2, kernel, pads=extra))
    found = analyse(model)
    assert found.exact
    assert measure(model, 1, found)[0] == found.radius == kernel - 1


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2])
def test_automatic_padding(mode: str, stride: int) -> None:
    net = Net(1, 2)
    x = net.conv(net.input, 2, 4, stride=stride, auto_pad=mode)
    if stride > 1:
        x = net.deconv(x, 2, 4, stride, auto_pad=mode)
    model = net.model(x)
    found = analyse(model)
    reach, shifts = measure(model, 1, found)
    assert found.exact
    assert shifts
    assert reach <= found.radius


def test_antialiased_reduction_looks_further() -> None:
    """Reduced eightfold with antialiasing, a coarse pixel is a weighted mean of twice as many fine ones."""
    net = Net(1, 2, opset=18)
    x = net.resize(net.input, 1 / 8, "linear", antialias=1)
    model = net.model(net.deconv(x, 2, 8, 8))
    found = analyse(model)
    if found.exact:
        reach, shifts = measure(model, 1, found)
        assert shifts
        assert reach <= found.radius


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("rule", ["half_pixel", "asymmetric", "pytorch_half_pixel"])
def test_reducing_and_enlarging_by_resizing(factor: int, mode: str, rule: str) -> None:
    net = Net(1, 2)
    x = net.resize(net.input, 1 / factor, mode, coordinate_transformation_mode=rule)
    x = net.resize(net.conv(x, 2, 1), factor, mode, coordinate_transformation_mode=rule)
    model = net.model(x)
    found = analyse(model)
    reach, shifts = measure(model, 1, found)
    assert found.exact
    assert shifts
    assert reach <= found.radius


def test_a_u_net_of_two_levels() -> None:
    net = Net(2, 0)
    a = net.relu(net.conv(net.input, 3))
    b = net.relu(net.conv(net.pool(a), 3))
    c = net.relu(net.conv(net.pool(b), 3))
    d = net.relu(net.conv(net.concat(net.resize(c, 2), b), 3))
    e = net.conv(net.concat(net.resize(d, 2), a), 3)
    model = net.model(e)
    found = analyse(model)
    reach, shifts = measure(model, 2, found)
    assert (found.exact, found.stride) == (True, 4)
    assert shifts
    assert reach <= found.radius <= 2 * reach
    assert found.halo % found.stride == 0


def _global_pool() -> Net:
    net = Net(2)
    x = net.conv(net.input, 3)
    return net, net.node("Add", x, net.node("GlobalAveragePool", x))


def _squeeze_excite() -> Net:
    net = Net(2)
    x = net.conv(net.input, 3)
    gate = net.node("Sigmoid", net.conv(net.node("ReduceMean", x, axes=[2, 3], keepdims=1), 3, 1))
    return net, net.node("Mul", x, gate)


def _instance_norm() -> Net:
    net = Net(2)
    x = net.conv(net.input, 3)
    one, zero = net.weight(np.ones(3, np.float32)), net.weight(np.zeros(3, np.float32))
    return net, net.node("InstanceNormalization", x, one, zero)


def _align_corners() -> Net:
    net = Net(2)
    x = net.pool(net.conv(net.input, 3))
    return net, net.resize(x, 2, "linear", coordinate_transformation_mode="align_corners")


def _spatial_softmax() -> Net:
    net = Net(2)
    return net, net.node("Softmax", net.conv(net.input, 3), axis=3)


def _concatenation_in_space() -> Net:
    """Halves swapped: Split and Concat along the height move pixels by a distance that depends on the size."""
    net = Net(2)
    x = net.conv(net.input, 3)
    upper = net.name()
    net.nodes.append(helper.make_node("Split", [x], [upper, upper + "b"], axis=2))
    return net, net.node("Concat", upper + "b", upper, axis=2, channels=3)


def _position() -> Net:
    """A learned picture is added: what a pixel gets depends on where in the tile it lies."""
    net = Net(2, shape=["n", 2, 32, 32])
    picture = net.weight(net.random.normal(size=(1, 3, 32, 32)).astype(np.float32))
    return net, net.node("Add", net.conv(net.input, 3), picture)


def _column_weights() -> Net:
    """A vector broadcasts along the last axis, the width."""
    net = Net(2, shape=["n", 2, 32, 32])
    weights = net.weight(net.random.normal(size=32).astype(np.float32))
    return net, net.node("Mul", net.conv(net.input, 3), weights)


def _branch() -> Net:
    """A sub-graph takes what it likes from the graph around it, though the node does not list it."""
    net = Net(2)
    x = net.conv(net.input, 3)
    body = [
        helper.make_graph(
            [helper.make_node("GlobalAveragePool", [x], ["inner"])],
            name,
            [],
            [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
        )
        for name in ("then", "else")
    ]
    shape = net.node("Shape", x)
    rank = net.node("Size", shape)
    four = net.weight(np.array(4, np.int64))
    condition = net.node("Equal", rank, four)
    mean = net.node("If", condition, then_branch=body[0], else_branch=body[1])
    return net, net.node("Add", x, mean)


def _reshape() -> Net:
    net = Net(2)
    x = net.conv(net.input, 3)
    flat = net.node("Reshape", x, net.weight(np.array([0, 0, -1], np.int64)))
    softened = net.node("Softmax", flat, axis=2)
    return net, net.node("Reshape", softened, net.node("Shape", x))


GLOBAL = [
    _global_pool, _squeeze_excite, _instance_norm, _align_corners, _spatial_softmax, _concatenation_in_space,
    _position, _column_weights, _branch, _reshape,
]  # fmt: skip


@pytest.mark.parametrize("build", GLOBAL, ids=lambda build: build.__name__.strip("_"))
def test_networks_that_see_the_whole_image_are_recognised(build) -> None:
    net, result = build()
    model = net.model(result)
    onnx.checker.check_model(model)
    found = analyse(model)
    assert not found.exact
    assert found.why.endswith(".")


def test_a_constant_per_channel_is_no_picture() -> None:
    """Scaling per channel, as most networks have it, must not be taken for a position."""
    net = Net(3)
    x = net.node("Mul", net.input, net.weight(np.ones((3, 1, 1), np.float32)))
    x = net.node("Add", x, net.weight(np.ones((1, 3, 1, 1), np.float32)))
    x = net.node("PRelu", net.conv(x, 4), net.weight(np.full((4, 1, 1), 0.1, np.float32)))
    scale, bias, mean, variance = (net.weight(np.full(4, value, np.float32)) for value in (1.1, 0.1, 0.2, 1.3))
    x = net.node("BatchNormalization", x, scale, bias, mean, variance)
    x = net.node("Clip", x, net.weight(np.array(0, np.float32)), net.weight(np.array(6, np.float32)))
    found = analyse(net.model(x))
    assert (found.exact, found.radius) == (True, 1)


def test_constants_written_as_nodes_are_constants() -> None:
    net = Net(3)
    constant = net.name()
    value = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32))
    net.nodes.append(helper.make_node("Constant", [], [constant], value=value))
    x = net.node(
        "Resize", net.pool(net.input), "", constant, mode="nearest", coordinate_transformation_mode="asymmetric"
    )
    found = analyse(net.model(net.conv(x, 2, 1)))
    assert (found.exact, found.stride) == (True, 2)


def test_enlarging_to_the_size_of_another_tensor() -> None:
    """What PyTorch writes for ``interpolate(x, size=y.shape[2:])``: the size is computed in the graph."""
    net = Net(2)
    y = net.conv(net.input, 3)
    x = net.conv(net.pool(y), 3)
    height_width = net.node("Slice", net.node("Shape", y), *(net.weight(np.array([v], np.int64)) for v in (2, 4, 0)))
    batch_channels = net.node("Slice", net.node("Shape", x), *(net.weight(np.array([v], np.int64)) for v in (0, 2, 0)))
    sizes = net.node("Concat", batch_channels, height_width, axis=0)
    x = net.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel", channels=3)
    model = net.model(net.conv(net.concat(x, y), 2, 1))
    found = analyse(model)
    assert (found.exact, found.stride) == (True, 2), found.why
    reach, shifts = measure(model, 2, found)
    assert shifts
    assert reach <= found.radius


def test_a_size_written_in_the_graph_is_no_factor() -> None:
    """At 256 pixels resizing to 128 looks like halving, at 300 it is something else."""
    net = Net(1, 2)
    small = net.node("Resize", net.input, "", "", net.weight(np.array([1, 1, 128, 128])), mode="linear")
    x = net.conv(small, 2)
    sizes = net.node(
        "Concat",
        net.weight(np.array([1, 2])),
        net.node("Slice", net.node("Shape", net.input), net.weight(np.array([2])), net.weight(np.array([4]))),
        axis=0,
    )
    found = analyse(net.model(net.node("Resize", x, "", "", sizes, mode="linear", channels=2)))
    assert not found.exact
    assert "size of the image" in found.why


def test_group_normalisation_is_named_though_exporters_wrap_it_in_reshaping() -> None:
    net = Net(4, 2)
    x = net.conv(net.input, 4)
    groups = net.node("Reshape", x, net.weight(np.array([0, 2, -1])))
    ones, zeros = net.weight(np.ones(2, np.float32)), net.weight(np.zeros(2, np.float32))
    normalised = net.node("InstanceNormalization", groups, ones, zeros)
    found = analyse(net.model(net.node("Reshape", normalised, net.node("Shape", x), channels=4)))
    assert "instance normalisation" in found.why


@pytest.mark.parametrize("back", [[0, 3, 2, 1], [0, 3, 1, 2]])
def test_softmax_between_two_transpositions(back: list[int]) -> None:
    """How exporters write softmax over the channels before operator set 13."""
    net = Net(1, 2)
    forth = [back.index(axis) for axis in range(4)]
    x = net.node("Transpose", net.conv(net.input, 2), perm=forth)
    model = net.model(net.node("Transpose", net.node("Softmax", x, axis=3), perm=back))
    found = analyse(model)
    assert (found.exact, found.radius) == (True, 1)
    assert measure(model, 1, found) == (1, True)


@pytest.mark.parametrize(("axis", "back"), [(2, [0, 3, 2, 1]), (3, [0, 3, 1, 2])])
def test_axes_that_come_back_wrongly(axis: int, back: list[int]) -> None:
    """Softmax over rows, and rows that come back as columns."""
    net = Net(1, 2)
    x = net.node("Transpose", net.conv(net.input, 2), perm=[0, 3, 2, 1])
    assert not analyse(net.model(net.node("Transpose", net.node("Softmax", x, axis=axis), perm=back))).exact


def test_padding_by_a_list_of_numbers() -> None:
    net = Net(1, 2)
    net.nodes.append(helper.make_node("Constant", [], ["pads"], value_ints=[0, 0, 1, 1, 0, 0, 1, 1]))
    found = analyse(net.model(net.conv(net.node("Pad", net.input, "pads", mode="reflect"), 2, pads=[0, 0, 0, 0])))
    assert (found.exact, found.radius) == (True, 1)
