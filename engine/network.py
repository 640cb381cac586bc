"""A network as it is given: loaded, checked against its card, and understood.

What is not a network for maps pixel by pixel is refused here, with a sentence that says what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from ..errors import ModelError
from ..models.card import ModelCard
from .receptive_field import ReceptiveField, analyse, tensor_shapes


@dataclass
class Network:
    """An ONNX network and what the engine must know to run it.

    Args:
        card: its card.
        model: the graph as given, in operator set 13 or later.
        field: receptive field and total stride.
        pixelwise: True for (N,C) → (N,K).
        channels: scores that it gives per pixel (1 for one sigmoid).
        batch: fixed batch size, or 0 where it is free.
        tile: fixed (height, width), or None where they are free.
    """

    card: ModelCard
    model: onnx.ModelProto
    field: ReceptiveField
    pixelwise: bool
    channels: int
    batch: int
    tile: tuple[int, int] | None


def load_network(path: str | Path, card: ModelCard) -> Network:
    """Load an ONNX file for pixel-wise classification and check that it is one.

    Raises:
        ModelError: not an ONNX network, not one that gives classes per pixel, or one that
            contradicts its card.
    """
    if card.unsupported:
        raise ModelError(
            f"“{card.title or card.name}” is {card.unsupported}; Classify pixels needs a network that gives class "
            "scores for each pixel."
        )
    if card.task in ("patch", "patch-multilabel"):
        raise ModelError(
            f"“{card.title or card.name}” classifies whole patches, not pixels; choose a semantic segmentation or "
            "per-pixel network here."
        )
    if card.task in ("window", "change"):
        raise ModelError(
            f"“{card.title or card.name}” is a network for {card.task} classification, which Classify pixels does not "
            "run; choose a semantic segmentation or per-pixel network."
        )
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and onnx raise bare errors of several kinds
        raise ModelError(
            f"“{path}” is not a valid ONNX network, or only part of one: choose another or download it again.",
            str(error)[:2000],
        ) from error
    _raise_opset(model)
    if card.origin in ("none", "deepness"):
        card.activation = _activation_at_end(model.graph, card)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in constants]
    if len(inputs) != 1:
        raise ModelError(
            f"The network “{card.name}” has {len(inputs)} inputs ({', '.join(entry.name for entry in inputs)}); "
            "Classify pixels runs networks with one image input."
        )
    rank = len(card.input_shape)
    if rank not in (2, 4):
        raise ModelError(
            f"The network “{card.name}” takes a tensor with {rank} axes; Classify pixels needs (N, C, H, W) or (N, C)."
        )
    if card.data_type not in ("float32", "float16", "uint8", "uint16", "float64"):
        raise ModelError(f"The network “{card.name}” takes {card.data_type} values, which is not supported.")
    pixelwise = rank == 2
    _check_output(card, pixelwise)
    batch = max(card.input_shape[0], 0)
    tile = None
    if pixelwise:
        reach = ReceptiveField(0, 1)
    else:
        height, width = card.input_shape[2:]
        tile = (height, width) if height > 0 and width > 0 else None
        reach = _field(model, card)
    return Network(card, model, reach, pixelwise, _channels(model, card), batch, tile)


def _channels(model: onnx.ModelProto, card: ModelCard) -> int:
    """Scores per pixel; exporters leave the number open behind resizing to the size of the image."""
    shape = card.output_shape
    if len(shape) > 1 and shape[1] > 0:
        return shape[1]
    inferred = tensor_shapes(model, card.input_name).get(card.output_name, ())
    one = len(inferred) > 1 and inferred[1] == 1 and len(card.classes) == 2
    return 1 if one else len(card.classes)


def _activation_at_end(graph: onnx.GraphProto, card: ModelCard) -> str:
    """What the output holds, by the last operator that is more than a change of form, where no card says it."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(card.output_name)
    while node is not None and node.op_type in ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"):
        node = makers.get(node.input[0])
    kind = node.op_type.lower() if node is not None else ""
    if kind in ("sigmoid", "softmax"):
        return kind
    # Deepness compares the one score of two classes with its threshold as it is.
    return card.activation if len(card.output_shape) > 1 and card.output_shape[1] == 1 else "logits"


def _check_output(card: ModelCard, pixelwise: bool) -> None:
    wanted = 2 if pixelwise else 4
    shape = card.output_shape
    if shape and len(shape) != wanted:
        raise ModelError(
            f"The network “{card.name}” gives a tensor of shape {_shown(shape)}, where one score per class and pixel "
            f"({'N, K' if pixelwise else 'N, K, H, W'}) is needed."
        )
    if pixelwise or not shape:
        return
    for given, result in zip(card.input_shape[2:], shape[2:], strict=True):
        if given > 0 and result > 0 and given != result:
            kind = (
                "a super-resolution network" if result > given else "a network whose output is smaller than its input"
            )
            raise ModelError(f"“{card.name}” is {kind} ({given} → {result} pixels), which is not supported here.")


def _shown(shape: Sequence[int]) -> str:
    return "(" + ", ".join("free" if size < 0 else str(size) for size in shape) + ")"


def _field(model: onnx.ModelProto, card: ModelCard) -> ReceptiveField:
    found = analyse(model, card.output_name)
    if found.exact or not card.receptive_field:
        return found
    if found.proved:
        # The graph proves that no finite window is enough; a number on the card cannot change that.
        return found
    # The graph could not be followed; the card knows.
    return ReceptiveField(card.receptive_field // 2, found.stride)


def _raise_opset(model: onnx.ModelProto) -> None:
    """Bring the graph to operator set 13, the first that has the operators added here in their present form."""
    version = operator_set(model)
    if version < 13:
        try:
            converted = onnx.version_converter.convert_version(model, 13)
        except Exception as error:  # onnx raises bare errors of its C++ side
            raise ModelError(
                f"The network uses ONNX operator set {version}, which is too old to be converted: export it again "
                "with operator set 13 or later.",
                str(error)[:2000],
            ) from error
        model.CopyFrom(converted)


def operator_set(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that the graph uses."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
