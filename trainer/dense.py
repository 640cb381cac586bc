"""Networks of windows as fully convolutional ones: a whole tile in one pass, the same scores as window by window.

Neighbouring windows share most of their pixels, so window by window most convolutions are done many times over.  A
network whose layers see nothing but the window's own pixels gives the same scores on a whole image: a dense layer
becomes a convolution over what is left of the window (Long, Shelhamer & Darrell 2015; Sermanet et al. 2014), a step
of several pixels a step of one with the filters behind it spread apart (Giusti et al. 2013).  Padding within the
window cannot be taken over: every window has another border there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

# Work on every value by itself.
_POINTWISE = {
    "Abs", "Cast", "Ceil", "Celu", "Clip", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh",
    "ThresholdedRelu",
}  # fmt: skip
_BINARY = {"Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Pow"}


class NoDenseFormError(Exception):
    """Why a network of windows cannot run over a whole tile with the same scores; a sentence for the analyst."""


@dataclass(frozen=True)
class _Place:
    """What a tensor of the window's network is in the dense one.

    Args:
        name: of the tensor that stands for it: (N, channels, …, rows, columns).
        shape: without the batch, as the window's network has it; the last two are those on the ground.
        apart: pixels between two neighbours of the window's tensor.
        reach: rows and columns of the image that one of its pixels sees.
        flat: True where it has one value per channel and none on the ground: (N, features).
    """

    name: str
    shape: tuple[int, ...]
    apart: tuple[int, int] = (1, 1)
    reach: tuple[int, int] = (1, 1)
    flat: bool = False

    def seeing(self, kernel: Sequence[int], apart: tuple[int, int]) -> tuple[int, int]:
        """The reach of what looks at it through a filter."""
        return (self.reach[0] + (kernel[0] - 1) * apart[0], self.reach[1] + (kernel[1] - 1) * apart[1])


def to_dense(model: onnx.ModelProto) -> onnx.ModelProto:
    """The fully convolutional form of a network (N, C, p, p) → (N, K).

    It gives (N, K, H - 2 × (p // 2), W - 2 × (p // 2)): the scores of the pixels that have a whole window around them,
    of which each is the ``p // 2``-th in both directions.

    Raises:
        NoDenseFormError: there is none with the same scores.
    """
    return _Rewriting(model).run()


class _Rewriting:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.source = shape_inference.infer_shapes(model)
        graph = self.source.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.shapes = {
            entry.name: tuple(axis.dim_value for axis in entry.type.tensor_type.shape.dim)
            for entry in [*graph.input, *graph.value_info, *graph.output]
        }
        self.nodes: list[onnx.NodeProto] = []
        self.kept: dict[str, onnx.TensorProto] = {}
        self.places: dict[str, _Place] = {}

    def run(self) -> onnx.ModelProto:
        graph = self.source.graph
        entry = next(one for one in graph.input if one.name not in self.constants)
        shape = self.shapes[entry.name]
        if len(shape) != 4 or min(shape[1:]) <= 0:
            raise NoDenseFormError("The size of its window is not fixed in the network.")
        self.places[entry.name] = _Place(entry.name, shape[1:])
        for node in graph.node:
            self._one(node)
        result = graph.output[0].name
        place = self.places.get(result)
        if place is None or not place.flat:
            raise NoDenseFormError("Its output is not one score per class and window.")
        name = self._crop(place, shape[2:])
        final = f"{result}_map" if name == result else result
        self.nodes.append(helper.make_node("Identity", [name], [final]))
        dense = helper.make_graph(
            self.nodes,
            f"{graph.name}_dense",
            [helper.make_tensor_value_info(entry.name, TensorProto.FLOAT, ["N", shape[1], "H", "W"])],
            [helper.make_tensor_value_info(final, TensorProto.FLOAT, ["N", place.shape[0], "rows", "columns"])],
            list(self.kept.values()),
        )
        return helper.make_model(
            dense, producer_name="thematica", opset_imports=self.source.opset_import, ir_version=self.source.ir_version
        )

    # -- building ----------------------------------------------------------------------------------------

    def _add(self, kind: str, inputs: list[str], like: str, **attributes: Any) -> str:
        name = f"{like}_dense{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, array: np.ndarray, like: str) -> str:
        name = f"{like}_dense_constant{len(self.kept)}"
        self.kept[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def _keep(self, name: str) -> str:
        if name in self.constants and name not in self.kept:
            self.kept[name] = numpy_helper.from_array(self.constants[name], name)
        return name

    def _crop(self, place: _Place, window: Sequence[int]) -> str:
        """Leave away the last rows and columns, so that the output lacks as many pixels on both sides."""
        sides = [2 * (side // 2) + 2 - reach for side, reach in zip(window, place.reach, strict=True)]
        if sides == [1, 1]:
            return place.name
        # By a convolution, which the engine can follow to where its pixels lie.
        return self._cut(place, sides)

    def _cut(self, place: _Place, sides: Sequence[int]) -> str:
        """The first pixel of every so many rows and columns: as many less one are lost at the end."""
        channels = place.shape[0]
        kernel = np.zeros((channels, 1, *sides), np.float32)
        kernel[..., 0, 0] = 1
        return self._add("Conv", [place.name, self._constant(kernel, place.name)], place.name, group=channels)

    def _whole(self, place: _Place, kernel: np.ndarray, bias: np.ndarray | None, groups: int = 1) -> str:
        """A convolution over all that is left of the window: (features, channels, …, rows, columns)."""
        inputs = [place.name, self._constant(kernel, place.name)]
        if bias is not None:
            inputs.append(self._constant(bias, place.name))
        others = len(place.shape) - 3
        return self._add("Conv", inputs, place.name, dilations=[*[1] * others, *place.apart], group=groups)

    # -- node by node ------------------------------------------------------------------------------------

    def _one(self, node: onnx.NodeProto) -> None:
        kind = node.op_type
        if kind == "Constant":
            value = next((entry.t for entry in node.attribute if entry.name == "value"), None)
            if value is None:
                raise NoDenseFormError("It holds constants of a kind that is not understood here.")
            self.constants[node.output[0]] = numpy_helper.to_array(value)
            return
        if not any(name in self.places for name in node.input):
            if kind == "Identity" and node.input[0] in self.constants:
                # Weights that several layers share, such as zeros.
                self.constants[node.output[0]] = self.constants[node.input[0]]
                return
            if all(name in self.constants for name in node.input if name):
                raise NoDenseFormError(f"It calculates with constants ({kind}), which was not expected.")
            raise NoDenseFormError(f"It works on the shape of its input ({kind}).")
        method: Callable[[onnx.NodeProto, _Place, dict[str, Any]], _Place] | None = {
            "Conv": self._conv,
            "MaxPool": self._pool,
            "AveragePool": self._pool,
            "GlobalAveragePool": self._mean,
            "ReduceMean": self._mean,
            "GlobalMaxPool": self._most,
            "BatchNormalization": self._batch_norm,
            "Unsqueeze": self._unsqueeze,
            "Flatten": self._flatten,
            "Reshape": self._flatten,
            "Gemm": self._dense,
            "MatMul": self._dense,
        }.get(kind)
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        if method is not None:
            if node.input[0] not in self.places:
                raise NoDenseFormError(f"It has an operator {kind} whose first input is a constant.")
            result = method(node, self.places[node.input[0]], attributes)
        elif kind in _POINTWISE:
            result = self._pointwise(node, attributes)
        elif kind in _BINARY:
            result = self._binary(node)
        elif kind == "Concat":
            result = self._join(node, attributes)
        elif kind in ("Softmax", "LogSoftmax") and self.places[node.input[0]].flat:
            place = self.places[node.input[0]]
            result = replace(place, name=self._add(kind, [place.name], node.output[0], axis=1))
        else:
            raise NoDenseFormError(f"It has an operator {kind} that sees the window as a whole.")
        self.places[node.output[0]] = result

    def _pointwise(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> _Place:
        place = self.places[node.input[0]]
        inputs = [place.name, *(self._keep(name) for name in node.input[1:])]
        return replace(place, name=self._add(node.op_type, inputs, node.output[0], **attributes))

    def _binary(self, node: onnx.NodeProto) -> _Place:
        places = [self.places.get(name) for name in node.input]
        there = [place for place in places if place is not None]
        first = there[0]
        if any(replace(one, name="") != replace(first, name="") for one in there):
            raise NoDenseFormError(f"It joins tensors of different sizes ({node.op_type}).")
        inputs = []
        for name, place in zip(node.input, places, strict=True):
            if place is not None:
                inputs.append(place.name)
                continue
            value = self.constants[name]
            if first.flat:
                value = value.reshape(-1, 1, 1) if value.size > 1 else value
            elif value.ndim >= 2 and max(value.shape[-2:]) > 1:
                raise NoDenseFormError("It adds a picture to the window: values that depend on the place in it.")
            elif value.ndim == 1 and value.size > 1:
                raise NoDenseFormError("It adds a line to the window: values that depend on the place in it.")
            inputs.append(self._constant(value, name))
        return replace(first, name=self._add(node.op_type, inputs, node.output[0]))

    def _join(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> _Place:
        """Features side by side; those that see less of the window end earlier on a tile, and so must all."""
        if attributes["axis"] not in (1, -1) or len(self.shapes.get(node.output[0], ())) != 2:
            raise NoDenseFormError("It joins maps of the window (Concat).")
        if not all(name in self.places for name in node.input):
            raise NoDenseFormError("It joins the window with constants (Concat).")
        flat = [self._flat(self.places[name]) for name in node.input]
        reach = (max(place.reach[0] for place in flat), max(place.reach[1] for place in flat))
        names = [
            place.name
            if place.reach == reach
            else self._cut(place, [most - own + 1 for most, own in zip(reach, place.reach, strict=True)])
            for place in flat
        ]
        name = names[0] if len(names) == 1 else self._add("Concat", names, node.output[0], axis=1)
        return _Place(name, (sum(place.shape[0] for place in flat),), reach=reach, flat=True)

    def _flat(self, place: _Place) -> _Place:
        """All values that are left of the window as channels, in the order in which they lie."""
        if place.flat:
            return place
        if len(place.shape) != 3:
            raise NoDenseFormError("It joins features of window and spectrum together.")
        channels, rows, columns = place.shape
        kernel = np.tile(np.eye(rows * columns, dtype=np.float32), (channels, 1))
        name = self._whole(place, kernel.reshape(-1, 1, rows, columns), None, channels)
        return _Place(name, (len(kernel),), reach=place.seeing((rows, columns), place.apart), flat=True)

    def _conv(self, node: onnx.NodeProto, place: _Place, attributes: dict[str, Any]) -> _Place:
        kernel = self.constants[node.input[1]].shape[2:]
        inputs = [place.name, *(self._keep(name) for name in node.input[1:])]
        return self._slid(node, place, attributes, list(kernel), inputs)

    def _pool(self, node: onnx.NodeProto, place: _Place, attributes: dict[str, Any]) -> _Place:
        kernel = list(attributes["kernel_shape"])
        if node.op_type == "AveragePool":
            if any(attributes.get("pads", [])) or attributes.get("ceil_mode"):
                raise NoDenseFormError("It pads the window within an average.")
            # ONNX's own average cannot have its pixels apart.
            channels = place.shape[0]
            weights = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32)
            inputs = [place.name, self._constant(weights, place.name)]
            steps = attributes.get("strides", [1] * len(kernel))
            return self._slid(node, place, {"strides": steps, "group": channels}, kernel, inputs, "Conv")
        return self._slid(node, place, attributes, kernel, [place.name])

    def _slid(
        self, node: onnx.NodeProto, place: _Place, attributes: dict[str, Any], kernel: list[int], inputs: list[str],
        kind: str = "",
    ) -> _Place:  # fmt: skip
        """A filter that slides over the window."""
        attributes = dict(attributes)
        axes = len(kernel)
        pads = list(attributes.get("pads", [0] * (2 * axes)))
        if attributes.pop("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID", "NOTSET", "VALID"):
            raise NoDenseFormError("It pads the window at its border, where every window has another one.")
        if any(pads[axes - 2 : axes]) or any(pads[2 * axes - 2 :]):
            raise NoDenseFormError("It pads the window at its border, where every window has another one.")
        steps = list(attributes.get("strides", [1] * axes))
        spread = list(attributes.get("dilations", [1] * axes))
        apart = [place.apart[0] * spread[-2], place.apart[1] * spread[-1]]
        after = self.shapes.get(node.output[0], ())[1:]
        if len(after) != axes + 1 or min(after) <= 0:
            raise NoDenseFormError("The sizes of its layers could not be found out.")
        for axis in (-2, -1):
            if (after[axis] - 1) * steps[axis] + (kernel[axis] - 1) * spread[axis] + 1 > place.shape[axis]:
                raise NoDenseFormError("It pools beyond the window's border.")
        attributes["strides"] = [*steps[:-2], 1, 1]
        attributes["dilations"] = [*spread[:-2], *apart]
        # Said already by the sizes; over a whole tile it must not add a row.
        if attributes.pop("ceil_mode", 0) and axes > 2:
            raise NoDenseFormError("It pools the spectrum beyond its end.")
        name = self._add(kind or node.op_type, inputs, node.output[0], **attributes)
        reach = place.seeing(kernel[-2:], (apart[0], apart[1]))
        return _Place(name, after, (place.apart[0] * steps[-2], place.apart[1] * steps[-1]), reach)

    def _mean(self, node: onnx.NodeProto, place: _Place, attributes: dict[str, Any]) -> _Place:
        flat = False
        if node.op_type == "ReduceMean":
            axes = attributes.get("axes")
            if axes is None and len(node.input) > 1:
                axes = self.constants[node.input[1]].tolist()
            rank = len(place.shape) + 1
            if axes is None or sorted(axis % rank for axis in axes) != [rank - 2, rank - 1] or rank != 4:
                raise NoDenseFormError("It takes a mean over something else than the window.")
            flat = not attributes.get("keepdims", 1)
        if len(place.shape) != 3:
            raise NoDenseFormError("It takes a mean over window and spectrum together.")
        channels, rows, columns = place.shape
        weights = np.full((channels, 1, rows, columns), 1 / (rows * columns), np.float32)
        name, reach = self._whole(place, weights, None, channels), place.seeing((rows, columns), place.apart)
        return _Place(name, (channels,) if flat else (channels, 1, 1), reach=reach, flat=flat)

    def _most(self, node: onnx.NodeProto, place: _Place, _attributes: dict[str, Any]) -> _Place:
        if len(place.shape) != 3:
            raise NoDenseFormError("It takes a maximum over window and spectrum together.")
        channels, *ground = place.shape
        name = self._add("MaxPool", [place.name], node.output[0], kernel_shape=ground, dilations=list(place.apart))
        return _Place(name, (channels, 1, 1), reach=place.seeing(ground, place.apart))

    def _batch_norm(self, node: onnx.NodeProto, place: _Place, attributes: dict[str, Any]) -> _Place:
        inputs = [place.name, *(self._keep(name) for name in node.input[1:])]
        name = self._add("BatchNormalization", inputs, node.output[0], epsilon=attributes.get("epsilon", 1e-5))
        return replace(place, name=name)

    def _unsqueeze(self, node: onnx.NodeProto, place: _Place, attributes: dict[str, Any]) -> _Place:
        axes = attributes.get("axes") or self.constants[node.input[1]].tolist()
        if place.flat or list(axes) != [1]:
            raise NoDenseFormError("It turns the axes of the window.")
        name = self._add("Unsqueeze", [place.name, self._constant(np.array([1], np.int64), "axis")], node.output[0])
        return replace(place, name=name, shape=(1, *place.shape))

    def _flatten(self, node: onnx.NodeProto, place: _Place, _attributes: dict[str, Any]) -> _Place:
        after = self.shapes.get(node.output[0], ())
        if len(after) == 2 and after[1] == int(np.prod(place.shape)):
            # What follows must be a dense layer, which sees all of it at once.
            return place
        if after and after[-2:] == place.shape[-2:] and len(place.shape) == 3 and after[1:-2] == (1, place.shape[0]):
            name = self._add("Unsqueeze", [place.name, self._constant(np.array([1], np.int64), "axis")], node.output[0])
            return replace(place, name=name, shape=(1, *place.shape))
        raise NoDenseFormError("It turns the axes of the window.")

    def _dense(self, node: onnx.NodeProto, place: _Place, attributes: dict[str, Any]) -> _Place:
        if node.input[1] not in self.constants:
            raise NoDenseFormError("It multiplies the window with itself.")
        weights = self.constants[node.input[1]]
        if attributes.get("transA"):
            raise NoDenseFormError("It turns the axes of the window.")
        if not attributes.get("transB"):
            weights = weights.T
        weights = weights * np.float32(attributes.get("alpha", 1.0))
        bias = None
        if node.op_type == "Gemm" and len(node.input) > 2:
            bias = np.broadcast_to(
                self.constants[node.input[2]] * np.float32(attributes.get("beta", 1.0)), len(weights)
            )
        if weights.shape[1] != int(np.prod(place.shape)):
            raise NoDenseFormError("It has a dense layer along one axis of the window.")
        if place.flat:
            place = replace(place, shape=(*place.shape, 1, 1))
        name = self._whole(place, weights.reshape(len(weights), *place.shape).astype(np.float32), bias)
        between = len(place.shape) - 3
        if between:
            axes = self._constant(np.arange(2, 2 + between, dtype=np.int64), "axes")
            name = self._add("Squeeze", [name, axes], node.output[0])
        reach = place.seeing(place.shape[-2:], place.apart)
        return _Place(name, (len(weights),), reach=reach, flat=True)
