"""Networks and their cards to files: one ONNX file with the card inside, one JSON beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..models.card import METADATA_KEY, ModelCard
from ..models.onnx_file import read_onnx_facts

#: Operator set of the files written here; ONNX Runtime has read it since 1.13.
OPSET = 17
_IR_VERSION = 8


def perceptron_to_onnx(
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    input_name: str = "reflectance",
    output_name: str = "scores",
) -> onnx.ModelProto:
    """A fully connected network with ReLU between its layers, as (N, bands) → (N, classes) logits.

    Args:
        weights: one (inputs, outputs) matrix per layer.
        biases: one (outputs,) vector per layer.
        input_name: name of the input tensor.
        output_name: name of the output tensor.
    """
    nodes, constants = [], []
    flowing = input_name
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        last = layer == len(weights)
        constants.append(numpy_helper.from_array(np.ascontiguousarray(weight, np.float32), f"weight{layer}"))
        constants.append(numpy_helper.from_array(np.ascontiguousarray(bias, np.float32), f"bias{layer}"))
        result = output_name if last else f"linear{layer}"
        nodes.append(helper.make_node("Gemm", [flowing, f"weight{layer}", f"bias{layer}"], [result], f"gemm{layer}"))
        if not last:
            flowing = f"hidden{layer}"
            nodes.append(helper.make_node("Relu", [result], [flowing], f"relu{layer}"))
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["N", weights[0].shape[0]])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["N", weights[-1].shape[1]])],
        constants,
    )
    return helper.make_model(
        graph, producer_name="thematica", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )


def save_model(model: onnx.ModelProto, card: ModelCard, path: str | Path) -> ModelCard:
    """Write the network with its card inside, and the card beside it as ``<stem>.json``.

    The card's shapes, tensor names, number of weights and hash are taken from the network.  Both
    files appear under their names only when they are complete.

    Returns:
        The card as written.
    """
    onnx.checker.check_model(model, full_check=True)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    # The hash covers the graph's bytes as they lie in a file, so the file is written before the card is known.
    del model.metadata_props[:]
    onnx.save(model, partial)
    facts = read_onnx_facts(partial)
    card.weights_sha256 = facts.weights_sha256
    card.input_name, card.input_shape, card.data_type = (
        facts.inputs[0].name,
        facts.inputs[0].shape,
        facts.inputs[0].data_type,
    )
    card.output_name, card.output_shape = facts.outputs[0].name, facts.outputs[0].shape
    card.parameters = count_parameters(model)
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, partial)
    beside = path.with_suffix(".json")
    beside_partial = beside.with_name(beside.name + ".part")
    beside_partial.write_text(card.to_json(), encoding="utf-8")
    os.replace(partial, path)
    os.replace(beside_partial, beside)
    return card


def count_parameters(model: onnx.ModelProto) -> int:
    """Numbers that a network holds."""
    constants = sum(int(np.prod(constant.dims)) for constant in model.graph.initializer)
    # Trees keep their numbers in attributes.
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    return constants + sum(len(entry.floats) for entry in attributes if entry.name in ("nodes_values", "class_weights"))
