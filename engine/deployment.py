"""A network as it is deployed: the ONNX graph with scaling in front and decisions behind.

Integer samples enter and class codes leave, so that neither scaled images nor score images are made
in Python: on light networks that costs as much as the network itself.  What the graph computes
stays what the card says: ``clip(stored * scale + offset) * gain + bias``, the network, the
activation, and the class of the best score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import InputError, MisfitError
from ..models.card import ModelCard, Normalisation
from .damaged_graph import reads_graph
from .network import Head, Network, operator_set
from .scores import SCORES

_PREFIX = "thematica_"


def tensor_name(output: str) -> str:
    """The name in the deployed graph of one of a deployment's outputs."""
    return _PREFIX + output


def output_of(name: str, head: int) -> str:
    """What the network's ``head``-th output gives, among a deployment's outputs: ``classes``, ``classes.1``."""
    return f"{name}.{head}" if head else name


@dataclass
class Deployment:
    """The graph that is run.

    Args:
        content: the serialised model.
        input_name: name of the input tensor.
        outputs: names of the outputs: ``classes`` (class index), ``check`` (a sum that is NaN if any
            score is), ``shape`` (of the network's own output), and those asked for of :data:`.scores.SCORES`; of a
            network's further outputs under :func:`output_of`.
        layout: ``nchw``, or ``cn`` where the input is (C, pixels).
        batch: fixed batch size of the graph that is run, or 0 where it is free.
        channels: scores per pixel that each output of the network must give; 0 for class numbers.
    """

    content: bytes
    input_name: str
    outputs: list[str] = field(default_factory=list)
    layout: str = "nchw"
    batch: int = 0
    channels: list[int] = field(default_factory=list)


@reads_graph
def deploy(
    network: Network,
    data_type: np.dtype,
    scale: Sequence[float],
    offset: Sequence[float],
    scores: Sequence[str] = (),
    decide: bool = True,
) -> Deployment:
    """Put scaling in front of the network and the decision behind it.

    Args:
        network: the network as given.
        data_type: of the stored samples that will enter.
        scale: per band, from stored to physical values: ``stored * scale + offset``.
        offset: see ``scale``.
        scores: which of :data:`.scores.SCORES` to compute too.
        decide: False: only ``probabilities`` leave, for who blends tiles before deciding.

    Raises:
        MisfitError: the samples cannot be turned into the integers that the network takes.
        InputError: scores are asked for, but the network gives class numbers only.
    """
    for head in network.heads:
        if head.channels == 0 and (scores or not decide):
            raise InputError(
                f"The network “{network.card.name}” gives class numbers and no scores, so that there is no confidence "
                "and nothing to blend: use exact stitching, without further rasters."
            )
    card = network.card
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    del model.metadata_props[:]
    graph = model.graph
    source = next(entry for entry in graph.input if entry.name == card.input_name)
    gain, bias, low, high = _arithmetic(card.normalisation, scale, offset)
    front: list[onnx.NodeProto] = []
    bands = len(card.bands)

    raw = _PREFIX + "samples"
    flat = network.pixelwise and not _as_convolutions(graph, card)
    column = (1, bands) if flat else (1, bands, 1, 1)

    def constant(name: str, array: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(array, _PREFIX + name))
        return _PREFIX + name

    current = raw
    # What the network takes; a window with an axis more is made at the very end.
    target = card.input_name if len(card.input_shape) != 5 else _PREFIX + "bands"
    if flat:
        front.append(helper.make_node("Transpose", [current], [_PREFIX + "rows"], perm=[1, 0]))
        current = _PREFIX + "rows"
    wanted = np.dtype(card.data_type)
    identity = np.all(gain == 1) and np.all(bias == 0) and not np.isfinite(low).any() and not np.isfinite(high).any()
    if wanted.kind == "u" and identity:
        if data_type != wanted:
            if not np.can_cast(data_type, wanted):
                raise MisfitError(
                    f"The network takes {wanted} values as they are, but the raster holds {data_type}: convert the "
                    f"raster to {wanted}, or give the scaling with --scale and --offset."
                )
            front.append(_cast(current, target, wanted))
        else:
            front.append(helper.make_node("Identity", [current], [target]))
    else:
        # Arithmetic in single precision whatever enters and leaves: 16 bits would lose radiometry.
        if data_type != np.float32:
            front.append(_cast(current, _PREFIX + "real", np.dtype(np.float32)))
            current = _PREFIX + "real"
        folded = not identity and not np.isfinite(low).any() and not np.isfinite(high).any() and network.pixelwise
        if folded and not flat and wanted == np.float32 and _fold_into_first(graph, card.input_name, gain, bias):
            identity = True
        if not identity:
            if np.isfinite(low).any() or np.isfinite(high).any():
                front.append(
                    helper.make_node(
                        "Max", [current, constant("low", low.astype(np.float32).reshape(column))], [_PREFIX + "above"]
                    )
                )
                front.append(
                    helper.make_node(
                        "Min",
                        [_PREFIX + "above", constant("high", high.astype(np.float32).reshape(column))],
                        [_PREFIX + "clipped"],
                    )
                )
                current = _PREFIX + "clipped"
            if not np.all(gain == 1):
                front.append(
                    helper.make_node(
                        "Mul",
                        [current, constant("gain", gain.astype(np.float32).reshape(column))],
                        [_PREFIX + "gained"],
                    )
                )
                current = _PREFIX + "gained"
            if not np.all(bias == 0):
                front.append(
                    helper.make_node(
                        "Add",
                        [current, constant("bias", bias.astype(np.float32).reshape(column))],
                        [_PREFIX + "scaled"],
                    )
                )
                current = _PREFIX + "scaled"
        if wanted.kind == "u":
            limit = np.iinfo(wanted).max
            front.append(helper.make_node("Round", [current], [_PREFIX + "rounded"]))
            front.append(
                helper.make_node(
                    "Clip",
                    [
                        _PREFIX + "rounded",
                        constant("zero", np.array(0, np.float32)),
                        constant("limit", np.array(limit, np.float32)),
                    ],
                    [_PREFIX + "bounded"],
                )
            )
            current = _PREFIX + "bounded"
        if wanted != np.float32:
            front.append(_cast(current, target, wanted))
        else:
            front.append(helper.make_node("Identity", [current], [target]))

    if target != card.input_name:
        axes = constant("channel_axis", np.array([1], np.int64))
        front.append(helper.make_node("Unsqueeze", [target, axes], [card.input_name]))

    back: list[onnx.NodeProto] = []
    outputs: list[str] = []
    for index, head in enumerate(network.heads):
        nodes_behind, names = _decision(head, operator_set(network.model), index, scores, constant, decide)
        back += nodes_behind
        outputs += names
    nodes = [*front, *graph.node, *back]
    del graph.node[:]
    graph.node.extend(nodes)

    shape: list[int | str]
    # A batch of pixels is gone with the rewriting: images of any size enter.
    batch = 0 if network.pixelwise and not flat else network.batch
    if flat:
        shape = [bands, batch or "pixels"]
    else:
        height, width = network.tile or ("height", "width")
        shape = [batch or "batch", bands, height, width]
    kept = [entry for entry in graph.input if entry.name != source.name]
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(raw, helper.np_dtype_to_tensor_dtype(data_type), shape))
    graph.input.extend(kept)
    # Shapes inferred for the network as given need not hold for the changed graph.
    del graph.value_info[:]
    del graph.output[:]
    for name in outputs:
        what, _, number = name.partition(".")
        kind = TensorProto.INT64 if what == "shape" else TensorProto.FLOAT
        if what == "classes":
            kind = helper.np_dtype_to_tensor_dtype(_index_type(network.heads[int(number or 0)]))
        graph.output.append(helper.make_tensor_value_info(_PREFIX + name, kind, None))
    channels = [head.channels for head in network.heads]
    return Deployment(model.SerializeToString(), raw, outputs, "cn" if flat else "nchw", batch, channels)


def _index_type(head: Head) -> np.dtype:
    return np.dtype(np.uint16 if len(head.card.classes) > 255 else np.uint8)


def _cast(source: str, target: str, data_type: np.dtype) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], to=helper.np_dtype_to_tensor_dtype(data_type))


def _arithmetic(
    normalisation: Normalisation, scale: Sequence[float], offset: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gain and bias straight from stored samples, and the clip limits in stored samples.

    ``(stored * scale + offset) * gain + bias``; limits that are absent become infinite.
    """
    scales, offsets = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    count = len(scales)

    def per_band(values: Sequence[float | None], absent: float) -> np.ndarray:
        filled = np.array([absent if value is None else value for value in values], np.float64)
        return np.broadcast_to(filled, (count,)) if filled.size == 1 else filled

    gain, bias = per_band(normalisation.gain, 1.0), per_band(normalisation.bias, 0.0)
    low, high = per_band(normalisation.minimum, -np.inf), per_band(normalisation.maximum, np.inf)
    first, second = (low - offsets) / scales, (high - offsets) / scales
    return scales * gain, offsets * gain + bias, np.minimum(first, second), np.maximum(first, second)


def fill_values(network: Network, data_type: np.dtype, scale: Sequence[float], offset: Sequence[float]) -> np.ndarray:
    """The sample that stands for a missing one, per band: what enters as 0, as nearly as the type allows."""
    gain, bias, low, high = _arithmetic(network.card.normalisation, scale, offset)
    values = np.clip(np.where(gain != 0, -bias / np.where(gain == 0, 1, gain), 0.0), low, high)
    if data_type.kind in "iu":
        limits = np.iinfo(data_type)
        values = np.clip(np.round(values), limits.min, limits.max)
    return values.astype(data_type)


# Operators that treat each of a (N, K) tensor's entries alike, so that they may work on (1, K, H, W) as well.
_ELEMENTWISE = {"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "Softplus", "HardSigmoid", "HardSwish", "Gelu",
                "Identity", "Dropout", "Erf", "Softsign"}  # fmt: skip


def _as_convolutions(graph: onnx.GraphProto, card: ModelCard) -> bool:
    """Rewrite a per-pixel network of dense layers as 1×1 convolutions, if it is nothing else.

    A dense layer on (N, C) and a 1×1 convolution on (1, C, H, W) are the same sums; the second reads
    images as they lie in memory, band by band, and needs no transposition of samples or scores.

    Returns:
        True if the graph was rewritten, False (and nothing changed) if it holds something else.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    rewritten: list[onnx.NodeProto] = []
    added: list[onnx.TensorProto] = []
    current = card.input_name
    for index, node in enumerate(graph.node):
        if not node.input or node.input[0] != current or len(node.output) < 1:
            return False
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        name = f"{_PREFIX}dense{index}"
        if node.op_type in ("Gemm", "MatMul"):
            if node.input[1] not in weights or attributes.get("transA", 0):
                return False
            matrix = numpy_helper.to_array(weights[node.input[1]])
            if matrix.ndim != 2 or matrix.dtype != np.float32:
                return False
            matrix = matrix if attributes.get("transB", 0) else matrix.T
            matrix = matrix * np.float32(attributes.get("alpha", 1.0))
            inputs = [current, name + "w"]
            added.append(numpy_helper.from_array(np.ascontiguousarray(matrix)[:, :, None, None], name + "w"))
            if len(node.input) > 2 and node.input[2]:
                if node.input[2] not in weights:
                    return False
                bias = numpy_helper.to_array(weights[node.input[2]]).reshape(-1) * np.float32(
                    attributes.get("beta", 1.0)
                )
                bias = np.broadcast_to(bias, (matrix.shape[0],)).astype(np.float32)
                added.append(numpy_helper.from_array(np.ascontiguousarray(bias), name + "b"))
                inputs.append(name + "b")
            rewritten.append(helper.make_node("Conv", inputs, [node.output[0]], kernel_shape=[1, 1]))
        elif node.op_type == "Add" and node.input[1] in weights:
            bias = numpy_helper.to_array(weights[node.input[1]])
            if bias.ndim > 2 or (bias.ndim and bias.size != bias.shape[-1]):
                return False
            added.append(numpy_helper.from_array(bias.reshape(1, -1, 1, 1), name + "b"))
            rewritten.append(helper.make_node("Add", [current, name + "b"], [node.output[0]]))
        elif node.op_type in _ELEMENTWISE:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            rewritten.append(copy)
        elif node.op_type in ("Softmax", "LogSoftmax") and attributes.get("axis", -1) in (1, -1):
            rewritten.append(helper.make_node(node.op_type, [current], [node.output[0]], axis=1))
        else:
            return False
        current = node.output[0]
    if current != card.output_name:
        return False
    del graph.node[:]
    graph.node.extend(rewritten)
    graph.initializer.extend(added)
    return True


def _fold_into_first(graph: onnx.GraphProto, input_name: str, gain: np.ndarray, bias: np.ndarray) -> bool:
    """Put scaling into the weights of the first 1×1 convolution: ``W(gx+b)+c = (Wg)x + (Wb+c)``."""
    if not graph.node or graph.node[0].op_type != "Conv" or graph.node[0].input[0] != input_name:
        return False
    node = graph.node[0]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weight = numpy_helper.to_array(tensors[node.input[1]]).astype(np.float64)
    constant = np.zeros(weight.shape[0])
    if len(node.input) > 2:
        constant = numpy_helper.to_array(tensors[node.input[2]]).astype(np.float64)
    matrix = weight[:, :, 0, 0]
    names = [_PREFIX + "first_w", _PREFIX + "first_b"]
    graph.initializer.append(numpy_helper.from_array((matrix * gain)[:, :, None, None].astype(np.float32), names[0]))
    graph.initializer.append(numpy_helper.from_array((matrix @ bias + constant).astype(np.float32), names[1]))
    del node.input[1:]
    node.input.extend(names)
    return True


def _decision(
    head: Head,
    opset: int,
    number: int,
    scores: Sequence[str],
    add_constant: Callable[[str, np.ndarray], str],
    decide: bool,
) -> tuple[list[onnx.NodeProto], list[str]]:
    """From one of the network's outputs to class indices, a NaN check and the scores asked for.

    Class axis is 1 in all layouts.  Index K (the number of classes) means: under the threshold.
    """
    card = head.card
    make = helper.make_node
    nodes: list[onnx.NodeProto] = []
    prefix = f"{_PREFIX}{number}_" if number else _PREFIX

    def add(name: str, array: np.ndarray) -> str:
        return add_constant(f"{number}_{name}" if number else name, array)

    def leave(*names: str) -> list[str]:
        """The named tensors leave the graph; returns what they are called outside."""
        if number:
            nodes.extend(make("Identity", [prefix + name], [tensor_name(output_of(name, number))]) for name in names)
        return [output_of(name, number) for name in names]

    result = card.output_name
    if not head.has_class_axis and head.channels:
        axis = add("map_axis", np.array([1], np.int64))
        nodes.append(make("Unsqueeze", [result, axis], [prefix + "map"]))
        result = prefix + "map"
    nodes.append(_cast(result, prefix + "result", np.dtype(np.float32)))
    result = prefix + "result"
    # What the file leaves open or says wrongly shows only when it runs.
    nodes.append(make("Shape", [result], [prefix + "shape"]))
    # NaN spreads through a sum, so one number tells whether any score was NaN.  It keeps its axes: OpenVINO leaves
    # the whole network to the processor where an output is a scalar.
    nodes.append(make("ReduceSum", [result], [prefix + "check"], keepdims=1))
    if head.channels == 0:
        nodes += _numbers_as_classes(head, prefix, add)
        return nodes, leave("classes", "check", "shape")

    binary = head.channels == 1
    # "softmax" and "sigmoid" on a card say that the network's output is activated already.
    probabilities = result
    several = card.task == "patch-multilabel"
    needs_probabilities = bool(scores or card.thresholds or not decide)
    if card.activation == "logits" and (binary or (several and needs_probabilities)):
        nodes.append(make("Sigmoid", [result], [prefix + "activated"]))
        probabilities = prefix + "activated"
    elif card.activation == "logits" and needs_probabilities:
        nodes.append(make("Softmax", [result], [prefix + "activated"], axis=1))
        probabilities = prefix + "activated"
    if binary:
        one = add("one", np.array(1, np.float32))
        nodes.append(make("Sub", [one, probabilities], [prefix + "other"]))
        nodes.append(make("Concat", [prefix + "other", probabilities], [prefix + "both"], axis=1))
        threshold = float(card.thresholds[-1]) if card.thresholds else 0.5
        limit = add("threshold", np.array(threshold, np.float32))
        nodes.append(make("GreaterOrEqual", [probabilities, limit], [prefix + "above_threshold"]))
        axes = add("class_axis", np.array([1], np.int64))
        nodes.append(make("Squeeze", [prefix + "above_threshold", axes], [prefix + "index"]))
        second, probabilities = probabilities, prefix + "both"
    else:
        nodes.append(make("ArgMax", [result], [prefix + "index"], axis=1, keepdims=0))

    if not decide:
        nodes.append(make("Identity", [probabilities], [prefix + "probabilities"]))
        return nodes, leave("check", "shape", "probabilities")
    index = prefix + "index"
    best = prefix + "best"
    if binary and "confidence" in scores:
        # Of the class that was chosen: under a threshold that is not 0.5 it need not be the more probable one.
        chosen = [prefix + "above_threshold", second, prefix + "other"]
        nodes.append(make("Where", chosen, [prefix + "chosen"]))
        axes = add("chosen_axis", np.array([1], np.int64))
        nodes.append(make("Squeeze", [prefix + "chosen", axes], [best]))
    elif "confidence" in scores or (card.thresholds and not binary):
        if opset < 18:
            nodes.append(make("ReduceMax", [probabilities], [best], axes=[1], keepdims=0))
        else:
            axes = add("best_axis", np.array([1], np.int64))
            nodes.append(make("ReduceMax", [probabilities, axes], [best], keepdims=0))
    if card.thresholds and not binary:
        limits = np.broadcast_to(np.asarray(card.thresholds, np.float32), (len(card.classes),))
        nodes.append(make("Gather", [add("thresholds", limits.copy()), index], [prefix + "limit_here"]))
        nodes.append(make("Less", [best, prefix + "limit_here"], [prefix + "unsure"]))
        none = add("no_class", np.array(len(card.classes), np.int64))
        nodes.append(make("Where", [prefix + "unsure", none, index], [prefix + "decided"]))
        index = prefix + "decided"
    nodes.append(_cast(index, prefix + "classes", _index_type(head)))

    if "confidence" in scores:
        nodes.append(make("Identity", [best], [prefix + "confidence"]))
    if "margin" in scores:
        two = add("two", np.array([2], np.int64))
        nodes.append(make("TopK", [probabilities, two], [prefix + "top", prefix + "top_index"], axis=1))
        halves = add("halves", np.array([1, 1], np.int64))
        nodes.append(make("Split", [prefix + "top", halves], [prefix + "first", prefix + "second"], axis=1))
        nodes.append(make("Sub", [prefix + "first", prefix + "second"], [prefix + "gap"]))
        axes = add("margin_axis", np.array([1], np.int64))
        nodes.append(make("Squeeze", [prefix + "gap", axes], [prefix + "margin"]))
    if "entropy" in scores:
        # Shannon entropy over the classes, divided by that of a uniform distribution: 0 sure, 1 undecided.
        tiny = add("tiny", np.array(1e-12, np.float32))
        total_axis = add("total_axis", np.array([1], np.int64))
        nodes.append(make("ReduceSum", [probabilities, total_axis], [prefix + "total"], keepdims=1))
        nodes.append(make("Max", [prefix + "total", tiny], [prefix + "total_safe"]))
        nodes.append(make("Div", [probabilities, prefix + "total_safe"], [prefix + "shares"]))
        nodes.append(make("Max", [prefix + "shares", tiny], [prefix + "shares_safe"]))
        nodes.append(make("Log", [prefix + "shares_safe"], [prefix + "logs"]))
        nodes.append(make("Mul", [prefix + "shares", prefix + "logs"], [prefix + "terms"]))
        nodes.append(make("ReduceSum", [prefix + "terms", total_axis], [prefix + "sum_terms"], keepdims=0))
        count = max(len(card.classes), 2)
        nodes.append(
            make(
                "Mul",
                [prefix + "sum_terms", add("entropy_unit", np.array(-1 / np.log(count), np.float32))],
                [prefix + "entropy"],
            )
        )
    if "probabilities" in scores:
        nodes.append(make("Identity", [probabilities], [prefix + "probabilities"]))
    return nodes, leave("classes", "check", "shape", *(name for name in SCORES if name in scores))


def _numbers_as_classes(head: Head, prefix: str, add: Callable[[str, np.ndarray], str]) -> list[onnx.NodeProto]:
    """Class numbers that the network itself decided on; what is no class of the card counts as unclassified."""
    make = helper.make_node
    count = len(head.card.classes)
    nodes = [_cast(head.card.output_name, prefix + "numbers", np.dtype(np.int64))]
    current = prefix + "numbers"
    if head.has_class_axis:
        axis = add("number_axis", np.array([1], np.int64))
        nodes.append(make("Squeeze", [current, axis], [prefix + "flat_numbers"]))
        current = prefix + "flat_numbers"
    none = add("no_class", np.array(count, np.int64))
    zero = add("first_class", np.array(0, np.int64))
    nodes.append(make("Less", [current, zero], [prefix + "too_low"]))
    nodes.append(make("GreaterOrEqual", [current, none], [prefix + "too_high"]))
    nodes.append(make("Or", [prefix + "too_low", prefix + "too_high"], [prefix + "outside"]))
    nodes.append(make("Where", [prefix + "outside", none, current], [prefix + "index"]))
    nodes.append(_cast(prefix + "index", prefix + "classes", _index_type(head)))
    return nodes
