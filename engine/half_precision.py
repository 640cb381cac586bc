"""A deployed network in half precision: the network itself in 16 bits, its edges in 32.

The conversion is the one that ships with ONNX Runtime (it descends from onnxconverter-common), so it needs no
package of its own and serves every provider alike.
"""

from __future__ import annotations

import dataclasses

import onnx
from onnx import TensorProto

from .deployment import Deployment, tensor_name

# Samples go through these weights as they are stored: 16 bits hold integers only up to 2048 exactly.
_FOLDED = tensor_name("first_w")


def in_half_precision(deployment: Deployment) -> Deployment | None:
    """The deployment with the network's float32 arithmetic in float16.

    Scaling in front and decision behind stay in single precision: 16 bits would lose radiometry and make ties
    between scores.  Operators that are inexact in 16 bits (resizing, top-k, …) stay as they are too.

    Returns:
        None where it would bring nothing: a per-pixel network, or one in half precision already.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load_from_string(deployment.content)
    weights = model.graph.initializer
    if deployment.layout == "cn" or any(tensor.name == _FOLDED for tensor in weights):
        return None
    if not any(tensor.data_type == TensorProto.FLOAT and not _ours(tensor.name) for tensor in weights):
        return None
    edges = []
    for index, node in enumerate(model.graph.node):
        node.name = f"{tensor_name('node')}{index}"
        # The last node in front makes the network's own input; what is around it is cast by the conversion.
        if all(_ours(name) for name in node.output):
            edges.append(node.name)
    half = convert_float_to_float16(model, keep_io_types=True, node_block_list=edges)
    return dataclasses.replace(deployment, content=half.SerializeToString())


def _ours(name: str) -> bool:
    return name.startswith(tensor_name(""))
