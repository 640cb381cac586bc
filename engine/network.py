"""A network as it is given: loaded, checked against its card, and understood.

What no door can serve is refused here, with a sentence that says what it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import InputError, ModelError
from ..models.card import ModelCard
from ..models.reading import no_classes
from .damaged_graph import reads_graph
from .receptive_field import OTHER_RESOLUTION, ReceptiveField, analyse, tensor_shapes

#: What a network takes and gives: single pixels, images, windows around a pixel, or patches.
KINDS = ("pixel", "image", "window", "patch")
_INPUT_TYPES = ("float32", "float16", "uint8", "uint16", "float64")
_INDEX_TYPES = (
    TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT32, TensorProto.BOOL,
)  # fmt: skip
# Side at which the shapes of networks with free axes are looked at.
_PROBE = 256


@dataclass
class Head:
    """One output of a network that becomes one map.

    Args:
        card: the card as if this output were the only one.
        channels: scores per pixel or patch (1 for one sigmoid); 0 where it holds class numbers already.
        has_class_axis: False for (N, H, W): one score, or the class number, per pixel.
    """

    card: ModelCard
    channels: int
    has_class_axis: bool = True


@dataclass
class Network:
    """An ONNX network and what the engine must know to run it.

    Args:
        card: its card.
        model: the graph as given, in operator set 13 or later.
        field: receptive field and total stride.
        kind: one of :data:`KINDS`.
        heads: the outputs that are used, at least one.
        batch: fixed batch size, or 0 where it is free.
        tile: fixed (height, width), or None where they are free; the side of windows and patches.
    """

    card: ModelCard
    model: onnx.ModelProto
    field: ReceptiveField
    kind: str
    heads: list[Head]
    batch: int = 0
    tile: tuple[int, int] | None = None

    @property
    def pixelwise(self) -> bool:
        """True for (N,C) → (N,K)."""
        return self.kind == "pixel"

    @property
    def channels(self) -> int:
        """Scores per pixel that the first output gives."""
        return self.heads[0].channels


@reads_graph
def load_network(path: object, card: ModelCard, patches: bool = False, output_name: str = "") -> Network:
    """Load an ONNX file and check that it is a network of the kind that is wanted.

    Args:
        path: the file.
        card: its card.
        patches: True for Classify patches, False for Classify pixels.
        output_name: the one output to use; empty: all that give classes.

    Raises:
        ModelError: not an ONNX network, not one that gives classes, or one that contradicts its card.
    """
    kind = kind_wanted(card, patches)
    model = _load(path)
    _raise_opset(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in constants]
    if len(inputs) != 1:
        raise ModelError(
            f"The network “{card.name}” has {len(inputs)} inputs ({', '.join(entry.name for entry in inputs)}); "
            "only networks with one image input can be used."
        )
    _check_input(card, kind)
    names = [output_name] if output_name else card.output_names()
    cards = [card.for_output(output) for output in names]
    batch = max(card.input_shape[0], 0) or _hidden_batch(model, cards)
    tile = fixed_tile(card, kind)
    if kind != "image":
        reach = window_field(card, tile) if kind == "window" else ReceptiveField(0, 1)
        return Network(card, model, reach, kind, _heads(model, cards, 2, tile), batch, tile)
    cards = [_at_input_size(model, head) for head in cards]
    heads = _heads(model, cards, 4, tile)
    return Network(card, model, _common_field(model, heads, tile), kind, heads, batch, tile)


def kind_wanted(card: ModelCard, patches: bool) -> str:
    """Which of :data:`KINDS` a network is, if it is of those that are wanted.

    Args:
        card: of the network.
        patches: True for Classify patches, False for Classify pixels.

    Raises:
        ModelError: it is none.
    """
    name = card.title or card.name
    if card.unsupported:
        raise ModelError(f"“{name}” is {card.unsupported}; a network that gives class scores is needed.")
    if not card.classes:
        raise ModelError(no_classes(card))
    kind = _kind(card)
    if kind == "patch" and not patches:
        raise ModelError(
            f"“{name}” classifies whole patches, not pixels: use Classify patches, or choose a network for pixels here."
        )
    if kind != "patch" and patches:
        raise ModelError(
            f"“{name}” classifies pixels, not whole patches: use Classify pixels, or choose a network for patches here."
        )
    if card.task == "change":
        raise ModelError(f"“{name}” compares two dates, which cannot be done here yet: choose another network.")
    return kind


def _kind(card: ModelCard) -> str:
    if card.task.startswith("patch"):
        return "patch"
    if card.task == "window":
        return "window"
    return "pixel" if len(card.input_shape) == 2 else "image"


def _load(path: object) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and onnx raise bare errors of several kinds
        raise ModelError(
            f"“{path}” is not a valid ONNX network, or only part of one: choose another or download it again.",
            str(error)[:2000],
        ) from error
    return model


def _check_input(card: ModelCard, kind: str) -> None:
    shape = card.input_shape
    ranks = {"pixel": (2,), "image": (4,), "window": (4, 5), "patch": (4,)}[kind]
    if len(shape) not in ranks:
        wanted = {"window": "(N, C, p, p) or (N, 1, C, p, p)", "patch": "(N, C, p, p)"}.get(
            kind, "(N, C, H, W) or (N, C)"
        )
        raise ModelError(
            f"The network “{card.name}” takes a tensor with {len(shape)} axes; {wanted} is needed for this task."
        )
    if len(shape) == 5 and shape[1] not in (1, -1):
        raise ModelError(
            f"The network “{card.name}” takes {shape[1]} channels beside the bands; only (N, 1, C, p, p) can be used."
        )
    if card.data_type not in _INPUT_TYPES:
        raise ModelError(f"The network “{card.name}” takes {card.data_type} values, which is not supported.")


def fixed_tile(card: ModelCard, kind: str) -> tuple[int, int] | None:
    """Height and width that every run must have, or None where they are free.

    Args:
        card: of the network; it says the side of windows and patches where the graph leaves it open.
        kind: one of :data:`KINDS`.
    """
    if kind == "pixel":
        return None
    height, width = card.input_shape[-2:]
    if height > 0 and width > 0:
        return height, width
    return (card.tile, card.tile) if kind in ("window", "patch") and card.tile else None


def window_field(card: ModelCard, tile: tuple[int, int] | None) -> ReceptiveField:
    """A window network sees the window around its pixel, which lies in the middle."""
    if tile is None:
        raise ModelError(
            f"The network “{card.name}” leaves the size of its window open: give it in the card (thematica:tile)."
        )
    return ReceptiveField(max(side // 2 for side in tile), 1)


# -- outputs ----------------------------------------------------------------------------------------


def _heads(model: onnx.ModelProto, cards: Sequence[ModelCard], rank: int, tile: tuple[int, int] | None) -> list[Head]:
    """The outputs that give classes: all of ``cards``, or the sentence that says why one does not."""
    heads = []
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.output}
    probed: dict[str, tuple[int, ...]] = {}
    for card in cards:
        shape = card.output_shape
        if not shape:
            probed = probed or tensor_shapes(model, card.input_name)
            shape = probed.get(card.output_name, ())
        gives_numbers = kinds.get(card.output_name) in _INDEX_TYPES
        without_axis = rank == 4 and len(shape) == 3
        if shape and len(shape) != rank and not without_axis and not (rank == 2 and gives_numbers and len(shape) == 1):
            wanted = "N, K" if rank == 2 else "N, K, H, W"
            raise ModelError(
                f"The network “{card.name}” gives a tensor of shape {_shown(shape)}, where one score per class and "
                f"{'pixel' if rank == 4 else 'sample'} ({wanted}) is needed."
            )
        if gives_numbers:
            if not without_axis and len(shape) > 1 and shape[1] > 1:
                raise ModelError(
                    f"The network “{card.name}” gives whole numbers in {shape[1]} channels, which are no scores; "
                    "export it with scores, or with one class number per pixel."
                )
            heads.append(Head(card, 0, len(shape) == rank))
        elif without_axis:
            if shape[0] > 1 and card.input_shape[0] == 1:
                raise ModelError(
                    f"The network “{card.name}” gives a tensor of shape {_shown(shape)}, which lacks the axis of the "
                    "batch: export it with (N, K, H, W)."
                )
            heads.append(Head(card, 1, False))
        else:
            heads.append(Head(card, _channels(model, card)))
        if rank == 4 and not without_axis:
            _check_size(card, tile)
    return heads


def _check_size(card: ModelCard, tile: tuple[int, int] | None) -> None:
    for given, result in zip(tile or (), card.output_shape[-2:], strict=False):
        if 0 < given < result:
            raise ModelError(
                f"“{card.name}” is a super-resolution network ({given} → {result} pixels), which gives a finer image "
                "and no classes."
            )


def _channels(model: onnx.ModelProto, card: ModelCard) -> int:
    """Scores per pixel; exporters leave the number open behind resizing to the size of the image."""
    shape = card.output_shape
    if len(shape) > 1 and shape[1] > 0:
        return shape[1]
    inferred = tensor_shapes(model, card.input_name).get(card.output_name, ())
    one = len(inferred) > 1 and inferred[1] == 1 and len(card.classes) == 2
    return 1 if one else len(card.classes)


def _shown(shape: Sequence[int]) -> str:
    return "(" + ", ".join("free" if size < 0 else str(size) for size in shape) + ")"


def _hidden_batch(model: onnx.ModelProto, cards: Sequence[ModelCard]) -> int:
    """The batch of a network that leaves it open, and then reshapes to a batch of 1; 0 where it is really free."""
    shapes = tensor_shapes(model, cards[0].input_name, batch=2)
    return 1 if any(shapes.get(card.output_name, ())[:1] == (1,) for card in cards) else 0


# -- where an output's pixels lie in the input ----------------------------------------------------------


def _side_shapes(model: onnx.ModelProto, card: ModelCard, probe: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Height and width of the input, and of the output, at a size; None where they cannot be inferred."""
    shapes = tensor_shapes(model, card.input_name, probe)
    given, result = shapes.get(card.input_name, ()), shapes.get(card.output_name, ())
    if len(result) not in (3, 4) or min(result[-2:]) <= 0:
        result = card.output_shape
    if len(given) != 4 or len(result) not in (3, 4) or min(*given[-2:], *result[-2:]) <= 0:
        return None
    return (given[2], given[3]), (result[-2], result[-1])


def _at_input_size(model: onnx.ModelProto, card: ModelCard) -> ModelCard:
    """Add bilinear resizing behind an output that is a whole number of times coarser than the input.

    Transformers and other encoders give scores on every fourth pixel, say, and leave this to who runs them.
    """
    found = analyse(model, card.output_name)
    if found.exact:
        # A pixel of the output is one of the input: it is smaller for want of padding, if it is.
        return card
    probe = math.ceil(_PROBE / found.stride) * found.stride
    sides = [_side_shapes(model, card, side) for side in (probe, 2 * probe)]
    factors = {
        (given[0] // result[0], given[1] // result[1])
        for side in sides
        if side is not None
        for given, result in [side]
        if given[0] % result[0] == 0 and given[1] % result[1] == 0
    }
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.output}
    if (
        None in sides or len(factors) != 1 or len(card.output_shape) != 4
        or kinds.get(card.output_name) not in (TensorProto.FLOAT, TensorProto.FLOAT16)
    ):  # fmt: skip
        return card
    rows, columns = factors.pop()
    if rows < 2 or columns < 2:
        return card
    # The output keeps its name, by which the analyst knows it; what it was is called otherwise inside.
    coarse = f"thematica_coarse_{card.output_name}"
    for node in model.graph.node:
        node.input[:] = [coarse if name == card.output_name else name for name in node.input]
        node.output[:] = [coarse if name == card.output_name else name for name in node.output]
    scales = numpy_helper.from_array(np.array([1, 1, rows, columns], np.float32), f"{coarse}_scales")
    model.graph.initializer.append(scales)
    model.graph.node.append(
        helper.make_node(
            "Resize", [coarse, "", scales.name], [card.output_name], mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
    )  # fmt: skip
    kept = next(entry for entry in model.graph.output if entry.name == card.output_name)
    kept.type.tensor_type.ClearField("shape")
    # Sizes that were noted of it are those of the coarse tensor.
    del model.graph.value_info[:]
    resized = card.for_output(card.output_name)
    resized.output_shape = (*card.output_shape[:2], -1, -1)
    return resized


def _margin(model: onnx.ModelProto, card: ModelCard, stride: int) -> tuple[int, int]:
    """Rows and columns that the output lacks on each side, as convolutions without padding leave it."""
    found = set()
    # At sizes of tiles, which are multiples of the total stride.
    probe = math.ceil(_PROBE / stride) * stride
    for side in (probe, 2 * probe):
        sides = _side_shapes(model, card, side)
        if sides is None:
            continue
        (height, width), (rows, columns) = sides
        if rows > height or columns > width:
            raise ModelError(
                f"“{card.name}” is a super-resolution network ({height} → {rows} pixels), which gives a finer image "
                "and no classes."
            )
        found.add(((height - rows) // 2, (width - columns) // 2))
    if len(found) > 1:
        raise ModelError(
            f"The output of “{card.name}” is smaller than its input by an amount that changes with the size of the "
            "tile; export it with a fixed size, or with padded convolutions."
        )
    return found.pop() if found else (0, 0)


def _common_field(model: onnx.ModelProto, heads: Sequence[Head], tile: tuple[int, int] | None) -> ReceptiveField:
    """What stitching must know, so that it is right for every output."""
    fields = [_field(model, head.card) for head in heads]
    first = fields[0]
    for other in fields[1:]:
        if other.margin != first.margin:
            raise InputError(
                "The network's outputs have different sizes: choose one of them (--output-name "
                f"{heads[0].card.output_name})."
            )
        radius, stride = max(first.radius, other.radius), math.lcm(first.stride, other.stride)
        both, why = first.exact and other.exact, first.why or other.why
        first = ReceptiveField(radius, stride, both, why, first.proved or other.proved, first.margin)
    if tile is not None and min(side - 2 * margin for side, margin in zip(tile, first.margin, strict=True)) < 1:
        raise ModelError("The network's output is smaller than one pixel; its card or graph is wrong.")
    return first


def _field(model: onnx.ModelProto, card: ModelCard) -> ReceptiveField:
    found = analyse(model, card.output_name)
    margin = _margin(model, card, found.stride)
    if any(margin):
        found = analyse(model, card.output_name, margin=margin)
    if found.why == OTHER_RESOLUTION and any(margin):
        raise ModelError(
            f"The output “{card.output_name}” of “{card.name}” is coarser than its input by no whole factor, or holds "
            "class numbers or no axis of classes, so that it cannot be resized: export it with resizing to the size "
            "of the input."
        )
    if found.exact or not card.receptive_field:
        return found
    if found.proved:
        # The graph proves that no finite window is enough; a number on the card cannot change that.
        return found
    # The graph could not be followed; the card knows.
    return ReceptiveField(card.receptive_field // 2, found.stride, margin=found.margin)


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
