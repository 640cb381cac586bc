"""Receptive field and total stride of a convolutional network, read from its ONNX graph.

Exact stitching needs to know which input pixels one output pixel sees, and by which shifts of the
input the output shifts alike.  Both follow from the graph: each tensor's pixel ``i`` sees the input
pixels ``scale * i + low`` to ``scale * i + high`` (Araujo, Norris & Sim 2019, "Computing receptive
fields of convolutional neural networks", Distill, doi 10.23915/distill.00021).  A network in which
some output sees everything (global pooling, instance normalisation) is recognised as such.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

#: Why stitching is not exact where an output pixel is no input pixel.
OTHER_RESOLUTION = "The network's output has another resolution than its input."


@dataclass(frozen=True)
class ReceptiveField:
    """What stitching has to know of a network.

    Args:
        radius: pixels that an output pixel sees beyond itself, at most, in any direction.
        stride: total stride in pixels: shifting the input by it shifts the output alike.
        exact: whether tiles can be stitched exactly.
        why: where not, the reason in words for the report.
        proved: where not, whether the graph shows that no finite window is enough; otherwise it could not be
            followed, and who made the network may know better.
        margin: rows and columns of the input that the output lacks on each side (convolutions without padding).
    """

    radius: int
    stride: int
    exact: bool = True
    why: str = ""
    proved: bool = False
    margin: tuple[int, int] = (0, 0)

    @property
    def halo(self) -> int:
        """What a tile needs around its core, in pixels: radius, or margin, rounded up to the total stride."""
        return math.ceil(max(self.radius, *self.margin) / self.stride) * self.stride


@dataclass(frozen=True)
class _View:
    """How one axis of a tensor looks at the input: pixel i sees scale*i+low to scale*i+high."""

    scale: Fraction
    low: Fraction
    high: Fraction

    def merged(self, other: _View) -> _View:
        return _View(max(self.scale, other.scale), min(self.low, other.low), max(self.high, other.high))


class _NotFollowed(Exception):
    """An operator whose reach is not known."""


class _NotLocal(_NotFollowed):
    """Some output sees the whole input, or depends on the tile's size or place."""


# Work on each pixel by itself, whatever the other inputs are constants or tensors of the same size.
_POINTWISE = {
    "Abs", "Add", "And", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Cos", "Div", "Dropout",
    "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "LRN", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "DequantizeLinear", "Reciprocal", "Relu", "Round", "Selu",
    "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu",
    "Where",
}  # fmt: skip
# Where the axis decides: over channels they are pointwise, over height or width they see everything.
_AXIS_OPERATORS = {
    "Softmax", "LogSoftmax", "ArgMax", "ArgMin", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1",
    "ReduceL2", "ReduceProd", "ReduceLogSumExp", "ReduceSumSquare", "ReduceLogSum", "LayerNormalization", "Gather",
    "Slice", "Squeeze", "Unsqueeze", "Hardmax", "CumSum", "TopK", "LpNormalization", "Concat", "Split",
}  # fmt: skip
# Their constants are vectors along the channels; elsewhere a vector stretches along the width.
_PER_CHANNEL = {"BatchNormalization", "QuantizeLinear", "DequantizeLinear"}
_GLOBAL = {
    "GlobalAveragePool": "global average pooling",
    "GlobalMaxPool": "global max pooling",
    "GlobalLpPool": "global pooling",
    "InstanceNormalization": "instance normalisation",
    "GroupNormalization": "group normalisation",
    "MeanVarianceNormalization": "mean-variance normalisation",
    "LSTM": "a recurrent layer",
    "GRU": "a recurrent layer",
    "RNN": "a recurrent layer",
}


def analyse(
    model: onnx.ModelProto, output_name: str = "", probe: int = 256, margin: tuple[int, int] = (0, 0)
) -> ReceptiveField:
    """Receptive field of an (N,C,H,W) → (N,K,H,W) network.

    Args:
        model: the network; its spatial axes may be free or fixed.
        output_name: the output that counts; empty: the first.
        probe: side in pixels at which tensor sizes are inferred where the axes are free.
        margin: rows and columns that the output lacks on each side, so that its pixel ``i`` is the input's
            ``i + margin``.

    Returns:
        The receptive field; ``exact`` is False where stitching cannot equal the whole image.
    """
    found = _analyse_at(model, output_name, probe, margin)
    # What is resized to a size written in the graph looks like a whole factor at one size of the image only.
    if found.exact and found != _analyse_at(model, output_name, 2 * probe, margin):
        why = "The network has resizing whose factor changes with the size of the image."
        return ReceptiveField(0, found.stride, False, why, True, margin)
    return found


def _analyse_at(model: onnx.ModelProto, output_name: str, probe: int, margin: tuple[int, int]) -> ReceptiveField:
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Constant" or not node.attribute:
            continue
        if node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
        elif node.attribute[0].name in ("value_int", "value_ints", "value_float", "value_floats"):
            array = np.asarray(onnx.helper.get_attribute_value(node.attribute[0]))
            constants[node.output[0]] = numpy_helper.from_array(array, node.output[0])
    image = next(entry for entry in graph.input if entry.name not in constants)
    shapes = tensor_shapes(model, image.name, probe)
    shapes.update({name: tuple(tensor.dims) for name, tensor in constants.items()})
    sizes = {name: (shape[2], shape[3]) for name, shape in shapes.items() if len(shape) == 4 and min(shape[2:]) > 0}

    views: dict[str, tuple[_View, _View]] = {}
    turned: dict[str, tuple[int, int]] = {}
    start = _View(Fraction(1), Fraction(0), Fraction(0))
    views[image.name] = (start, start)
    target = output_name or graph.output[0].name
    strides: list[Fraction] = [Fraction(1)]
    reason: _NotFollowed | None = None
    for node in graph.node:
        try:
            if not _walk_turned(node, views, turned):
                _walk(node, views, constants, shapes, sizes, strides)
        except _NotFollowed as found:
            # The strides of what comes after count all the same: tiles of another size may not pass the network.
            reason = reason or found
            _pass_on(node, views)
    if reason is None and target in turned:
        reason = _NotFollowed("an output whose last axes are not height and width")
    if reason is None and target not in views:
        reason = _NotFollowed("the output does not depend on single pixels")
    if reason is not None:
        # Exporters write group normalisation as reshaping around it: the cause is told rather than its wrapping.
        known = next((_GLOBAL[node.op_type] for node in graph.node if node.op_type in _GLOBAL), None)
        proved = isinstance(reason, _NotLocal) or known is not None
        why = f"The network has {known or reason}."
        return ReceptiveField(0, _common_stride(strides), False, why, proved, margin)
    rows, columns = views[target]
    if rows.scale != 1 or columns.scale != 1:
        return ReceptiveField(0, _common_stride(strides), False, OTHER_RESOLUTION, False, margin)
    (top, left), zero = margin, Fraction(0)
    radius = max(top - rows.low, rows.high - top, left - columns.low, columns.high - left, zero)
    return ReceptiveField(math.ceil(radius), _common_stride(strides), margin=margin)


def _pass_on(node: onnx.NodeProto, views: dict[str, tuple[_View, _View]]) -> None:
    """Let the outputs of a node that cannot be followed look where its inputs do."""
    seen = [views[name] for name in node.input if name in views]
    for name in node.output if seen else ():
        rows, columns = seen[0]
        for other_rows, other_columns in seen[1:]:
            rows, columns = rows.merged(other_rows), columns.merged(other_columns)
        views[name] = (rows, columns)


def _common_stride(strides: list[Fraction]) -> int:
    result = 1
    for stride in strides:
        result = math.lcm(result, stride.numerator)
    return result


def tensor_shapes(model: onnx.ModelProto, image: str, probe: int = 256, batch: int = 1) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors at a concrete input size; 0 for an axis that cannot be inferred.

    Args:
        model: the network.
        image: name of its input.
        probe: side in pixels that free spatial axes get.
        batch: what a free batch axis becomes.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for entry in copy.graph.input:
        if entry.name == image:
            for axis, dimension in enumerate(entry.type.tensor_type.shape.dim):
                if not dimension.dim_value:
                    dimension.dim_value = batch if axis == 0 else probe
    for entry in copy.graph.output:
        # Declared free axes of the output would hide what can be inferred.
        entry.type.tensor_type.ClearField("shape")
    # Axes declared free inside the graph would too.
    del copy.graph.value_info[:]
    try:
        inferred = shape_inference.infer_shapes(copy, data_prop=True)
    except Exception:  # noqa: BLE001 - onnx raises bare errors of its C++ side; without sizes less can be said
        inferred = copy
    return {
        entry.name: tuple(dimension.dim_value for dimension in entry.type.tensor_type.shape.dim)
        for entry in [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
        if entry.type.tensor_type.HasField("shape")
    }


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _walk(
    node: onnx.NodeProto,
    views: dict[str, tuple[_View, _View]],
    constants: dict[str, onnx.TensorProto],
    shapes: dict[str, tuple[int, ...]],
    sizes: dict[str, tuple[int, int]],
    strides: list[Fraction],
) -> None:
    """Derive the views of a node's outputs from those of its inputs."""
    if any(name in views for name in _names_in_bodies(node)):
        raise _NotFollowed(f"a branch or loop ({node.op_type}) that cannot be followed")
    seen = [views[name] for name in node.input if name in views]
    if not seen or node.op_type in ("Shape", "Size"):
        # Constants, and arithmetic on shapes, do not look at pixels.
        return
    kind = node.op_type
    rows, columns = seen[0]
    for other_rows, other_columns in seen[1:]:
        rows, columns = rows.merged(other_rows), columns.merged(other_columns)
    if kind in _GLOBAL:
        raise _NotLocal(_GLOBAL[kind])
    if kind in ("Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool", "ConvTranspose"):
        attributes = _attributes(node)
        kernel = _kernel(node, attributes, constants)
        step = _convolve_transposed if kind == "ConvTranspose" else _convolve
        rows, columns = step(rows, attributes, kernel, 0), step(columns, attributes, kernel, 1)
    elif kind in ("Resize", "Upsample"):
        rows, columns = _resize(node, rows, columns, constants, sizes)
    elif kind == "Pad":
        pads = _constant(node, 1, constants)
        if pads is None:
            pads = np.asarray(_attributes(node).get("pads", []))
        if pads.size != 8:
            raise _NotFollowed("padding of unknown size")
        rows = _View(rows.scale, rows.low - rows.scale * int(pads[2]), rows.high - rows.scale * int(pads[2]))
        columns = _View(
            columns.scale, columns.low - columns.scale * int(pads[3]), columns.high - columns.scale * int(pads[3])
        )
    elif kind in ("DepthToSpace", "SpaceToDepth"):
        block = int(str(_attributes(node)["blocksize"]))
        factor = Fraction(1, block) if kind == "DepthToSpace" else Fraction(block)
        # Coarse pixel i holds the fine pixels block*i to block*i+block-1.
        grow = Fraction(block - 1)
        if kind == "DepthToSpace":
            rows = _View(rows.scale * factor, rows.low - rows.scale * grow / block, rows.high)
            columns = _View(columns.scale * factor, columns.low - columns.scale * grow / block, columns.high)
        else:
            rows = _View(rows.scale * factor, rows.low, rows.high + rows.scale * grow)
            columns = _View(columns.scale * factor, columns.low, columns.high + columns.scale * grow)
    elif kind in _AXIS_OPERATORS:
        _check_axes(node, constants, shapes)
    elif kind == "Reshape" and _only_drops_channel(shapes.get(node.input[0], ()), shapes.get(node.output[0], ())):
        pass
    elif kind == "Transpose":
        raise _NotFollowed("a transposition of a tensor that is no image")
    elif kind not in _POINTWISE:
        raise _NotFollowed(f"the operator {kind}, whose reach is not known")
    if kind == "Concat" or (kind in _POINTWISE and kind not in _PER_CHANNEL):
        _check_constants(node, views, shapes)
    strides += [rows.scale, columns.scale]
    for name in node.output:
        views[name] = (rows, columns)


def _walk_turned(
    node: onnx.NodeProto,
    views: dict[str, tuple[_View, _View]],
    turned: dict[str, tuple[int, int]],
) -> bool:
    """Follow tensors whose axes were turned, as exporters do around softmax over the channels; True if this is one.

    ``turned`` holds, of these tensors only, the places of height and width among the axes.
    """
    source = node.input[0] if node.input else ""
    place = turned.get(source, (2, 3))
    if node.op_type == "Transpose" and source in views:
        order = [int(axis) for axis in _attributes(node).get("perm", [])]  # type: ignore[attr-defined]
        if len(order) != 4:
            return False
        place = (order.index(place[0]), order.index(place[1]))
    elif not any(name in turned for name in node.input):
        return False
    elif node.op_type in ("Softmax", "LogSoftmax"):
        axis = int(str(_attributes(node).get("axis", -1))) % 4
        if axis in place:
            raise _NotLocal(f"{node.op_type} over height or width")
    elif node.op_type not in _POINTWISE or len(node.input) > 1:
        raise _NotFollowed("a transposition of height and width")
    for name in node.output:
        views[name] = views[source]
        if place != (2, 3):
            turned[name] = place
    return True


def _only_drops_channel(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether reshaping only removes or adds an axis of one channel: (N, 1, H, W) and (N, H, W)."""
    if len(before) < 3 or len(after) < 3 or min(*before[-2:], *after[-2:]) <= 0 or before[-2:] != after[-2:]:
        return False
    return all(shape[1] == 1 for shape in (before, after) if len(shape) == 4) and {len(before), len(after)} <= {3, 4}


def _names_in_bodies(node: onnx.NodeProto) -> Iterator[str]:
    """What the sub-graphs of a branch or loop use; they take tensors from around them without listing them."""
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield from inner.input
                yield from _names_in_bodies(inner)


def _check_constants(
    node: onnx.NodeProto, views: dict[str, tuple[_View, _View]], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Let scalars and one number per channel pass; a picture makes a pixel depend on its place in the tile."""
    for name in node.input:
        if name and name not in views and any(size != 1 for size in shapes.get(name, (0,))[-2:]):
            raise _NotLocal("values that depend on the place in the tile (a learned or computed picture)")


def _constant(node: onnx.NodeProto, index: int, constants: dict[str, onnx.TensorProto]) -> np.ndarray | None:
    if len(node.input) <= index or node.input[index] not in constants:
        return None
    return numpy_helper.to_array(constants[node.input[index]])


def _kernel(
    node: onnx.NodeProto, attributes: dict[str, object], constants: dict[str, onnx.TensorProto]
) -> tuple[int, int]:
    shape = attributes.get("kernel_shape")
    if shape is None:
        place = 3 if node.op_type == "QLinearConv" else 1
        if len(node.input) <= place or node.input[place] not in constants:
            raise _NotFollowed("a convolution whose kernel is computed")
        shape = list(constants[node.input[place]].dims)[2:]
    sides = [int(side) for side in shape]  # type: ignore[attr-defined]
    if len(sides) != 2:
        raise _NotFollowed("a convolution that is not two-dimensional")
    return sides[0], sides[1]


def _numbers(attributes: dict[str, object], name: str, default: list[int]) -> list[int]:
    return [int(value) for value in attributes.get(name, default)]  # type: ignore[attr-defined]


def _convolve(view: _View, attributes: dict[str, object], kernel: tuple[int, int], axis: int) -> _View:
    stride = _numbers(attributes, "strides", [1, 1])[axis]
    dilation = _numbers(attributes, "dilations", [1, 1])[axis]
    reach = dilation * (kernel[axis] - 1)
    mode = attributes.get("auto_pad", b"NOTSET")
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        # Tiles are multiples of the total stride, so the padding is the same for all of them.
        total = max(reach + 1 - stride, 0)
        before = total // 2 if mode == b"SAME_UPPER" else total - total // 2
    elif mode == b"VALID":
        before = 0
    else:
        before = _numbers(attributes, "pads", [0, 0, 0, 0])[axis]
    return _View(view.scale * stride, view.low - view.scale * before, view.high + view.scale * (reach - before))


def _convolve_transposed(view: _View, attributes: dict[str, object], kernel: tuple[int, int], axis: int) -> _View:
    stride = _numbers(attributes, "strides", [1, 1])[axis]
    dilation = _numbers(attributes, "dilations", [1, 1])[axis]
    reach = dilation * (kernel[axis] - 1)
    pads = _numbers(attributes, "pads", [0, 0, 0, 0])
    before = pads[axis]
    mode = attributes.get("auto_pad", b"NOTSET")
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        total = max(reach + 1 - stride, 0)
        before = total // 2 if mode == b"SAME_UPPER" else total - total // 2
    scale = view.scale / stride
    # Output pixel j = stride*i - before + t with t from 0 to reach: i lies in (j + before - reach)/stride … .
    return _View(scale, view.low + scale * (before - reach), view.high + scale * before)


def _resize(
    node: onnx.NodeProto,
    rows: _View,
    columns: _View,
    constants: dict[str, onnx.TensorProto],
    sizes: dict[str, tuple[int, int]],
) -> tuple[_View, _View]:
    attributes = _attributes(node)
    mode = attributes.get("mode", b"nearest")
    coordinates = attributes.get("coordinate_transformation_mode", b"half_pixel")
    if coordinates in (b"align_corners", b"tf_crop_and_resize"):
        raise _NotLocal("resizing that aligns corners, whose result depends on the size of the image")
    before, after = sizes.get(node.input[0]), sizes.get(node.output[0])
    if before is None or after is None:
        scales = _constant(node, 2 if node.op_type == "Resize" else 1, constants)
        if scales is None or scales.size != 4:
            raise _NotFollowed("resizing by a factor that is computed")
        factors = [Fraction(float(scales[2])).limit_denominator(64), Fraction(float(scales[3])).limit_denominator(64)]
    else:
        factors = [Fraction(after[0], before[0]), Fraction(after[1], before[1])]
    # How many coarse pixels an interpolated one looks beyond its own place, at most.
    reach = {b"nearest": Fraction(1), b"linear": Fraction(2), b"cubic": Fraction(3)}.get(mode)  # type: ignore[call-overload]
    if reach is None:
        raise _NotFollowed("resizing of an unknown kind")
    result = []
    for view, factor in zip((rows, columns), factors, strict=True):
        if factor == 1:
            result.append(view)
            continue
        # A whole factor keeps the grids aligned; others have no common shift short of the whole image.
        if factor.numerator != 1 and factor.denominator != 1:
            raise _NotFollowed("resizing by a factor that is not whole")
        # Reduced n-fold, a coarse pixel lies up to (n-1)/2 fine ones behind the first of its n, and with
        # antialiasing its kernel is n times as wide.
        shrink = max(1 / factor, Fraction(1))
        wide = reach * shrink if attributes.get("antialias", 0) else reach
        low, high = view.scale * wide, view.scale * (wide + (shrink - 1) / 2)
        result.append(_View(view.scale / factor, view.low - low, view.high + high))
    return result[0], result[1]


def _check_axes(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Let operators along the batch or channel axis pass; along height or width they see everything."""
    attributes = _attributes(node)
    rank = len(shapes.get(node.input[0], (0,) * 4))
    axes: list[int]
    if "axes" in attributes:
        axes = _numbers(attributes, "axes", [])
    elif "axis" in attributes:
        axes = [int(str(attributes["axis"]))]
    elif node.op_type == "Slice":
        given = _constant(node, 3, constants)
        axes = [int(axis) for axis in given] if given is not None else list(range(rank))
    elif len(node.input) > 1 and node.op_type.startswith("Reduce"):
        given = _constant(node, 1, constants)
        axes = [int(axis) for axis in given] if given is not None else list(range(rank))
    elif node.op_type in ("Softmax", "LogSoftmax", "Hardmax", "LayerNormalization", "TopK", "LpNormalization"):
        axes = [-1]
    elif node.op_type in ("Squeeze", "Unsqueeze"):
        given = _constant(node, 1, constants)
        axes = [int(axis) for axis in given] if given is not None else [0]
    elif node.op_type in ("ArgMax", "ArgMin", "Gather", "Split"):
        axes = [0]
    else:
        axes = list(range(rank))
    if node.op_type == "LayerNormalization":
        axes = list(range(axes[0] % rank, rank))
    if rank == 4 and any(axis % rank >= 2 for axis in axes):
        raise _NotLocal(f"{node.op_type} over height or width")
    if rank != 4 and rank != 2:
        raise _NotFollowed(f"{node.op_type} on a tensor with {rank} axes")
