"""A deployed network in half precision: the network itself in 16 bits, its edges in 32.

The conversion is the one that ships with ONNX Runtime (it descends from onnxconverter-common), so it needs no
package of its own and serves every provider alike.
"""

from __future__ import annotations

import dataclasses

import onnx
from onnx import TensorProto, helper

from .deployment import Deployment, tensor_name

# Weights of per-pixel networks, through which samples go as they are stored: 16 bits hold integers only up to 2048.
_FOLDED = (tensor_name("first_w"), tensor_name("dense"))


def in_half_precision(deployment: Deployment) -> Deployment | None:
    """The deployment with the network's float32 arithmetic in float16.

    Scaling in front and decision behind stay in single precision: 16 bits would lose radiometry and make ties
    between scores.  Operators that are inexact in 16 bits (resizing, top-k, …) stay as they are too.

    Returns:
        None where it would bring nothing: a per-pixel network, or one that does not compute in float32.
    """
    model = onnx.load_from_string(deployment.content)
    weights = model.graph.initializer
    if deployment.layout == "cn" or any(tensor.name.startswith(_FOLDED) for tensor in weights):
        return None
    given = _network_alone(model)
    if not any(tensor.data_type == TensorProto.FLOAT for tensor in given.graph.initializer):
        return None
    half = _converted(given)
    graph = model.graph
    edges = [node for node in graph.node if _is_edge(node)]
    ours = [tensor for tensor in weights if _ours(tensor.name)]
    for part, new in ((graph.node, [*edges, *half.graph.node]), (graph.initializer, [*ours, *half.graph.initializer])):
        kept = list(new)
        del part[:]
        part.extend(kept)
    del graph.value_info[:]
    return dataclasses.replace(deployment, content=model.SerializeToString())


def _network_alone(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network between scaling and decision, as a model of its own."""
    graph = model.graph
    edges = [node for node in graph.node if _is_edge(node)]
    made = {name for node in graph.node if not _is_edge(node) for name in node.output}
    entries = [name for node in edges for name in node.output if not _ours(name) and name not in made]
    leaves = list(dict.fromkeys(name for node in edges for name in node.input if name in made))
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value.type for value in inferred.graph.value_info}
    network = onnx.ModelProto()
    network.CopyFrom(model)
    alone = network.graph
    for part, names in ((alone.input, entries), (alone.output, leaves)):
        del part[:]
        for name in names:
            # A rank that inference cannot know is no reason to fail: the type alone is enough.
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            if name in types:
                value.type.CopyFrom(types[name])
            part.append(value)
    nodes = [node for node in graph.node if not _is_edge(node)]
    weights = [tensor for tensor in graph.initializer if not _ours(tensor.name)]
    del alone.node[:], alone.initializer[:]
    alone.node.extend(nodes)
    alone.initializer.extend(weights)
    return network


def _converted(network: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    for index, node in enumerate(network.graph.node):
        # The conversion tells nodes apart by their names.
        node.name = f"node{index}"
    return convert_float_to_float16(network, keep_io_types=True)


def _ours(name: str) -> bool:
    return name.startswith(tensor_name(""))


def _is_edge(node: onnx.NodeProto) -> bool:
    """Whether a node belongs to the scaling in front or the decision behind."""
    return _ours(node.output[0]) or any(_ours(name) for name in node.input)
