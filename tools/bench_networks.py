"""The networks of ``make bench``, with random weights, written with the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = {"light": 3, "spectral": 8, "unet": 6, "unet-smooth": 6, "window": 6, "patches": 10}
BANDS = {"light": 3, "spectral": 10, "unet": 4, "unet-smooth": 4, "window": 10, "patches": 3}
DATA_TYPES = {
    "light": "uint8", "spectral": "uint16", "unet": "uint16", "unet-smooth": "uint16", "window": "uint16",
    "patches": "uint8",
}  # fmt: skip
#: Side of the window around each pixel, and of the patches.
SIDES = {"window": 9, "patches": 64}
#: What the network does, where its shapes do not say it.
TASKS = {"window": "window", "patches": "patch"}


class _Builder:
    """Collects nodes and weights of a graph."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.flops_per_pixel = 0.0

    def _weight(self, shape: tuple[int, ...], fan_in: int) -> str:
        name = f"w{len(self.weights)}"
        values = self.random.standard_normal(shape) * np.sqrt(2 / fan_in)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def _add(self, operator: str, inputs: list[str], **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def conv(
        self, source: str, inputs: int, outputs: int, kernel: int, shrink: int = 1, relu: bool = True, stride: int = 1
    ) -> str:
        fan_in = inputs * kernel * kernel
        weight, bias = self._weight((outputs, inputs, kernel, kernel), fan_in), self._weight((outputs,), 100)
        result = self._add(
            "Conv", [source, weight, bias], kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, strides=[stride] * 2
        )
        self.flops_per_pixel += 2 * fan_in * outputs / shrink**2
        return self._add("Relu", [result]) if relu else result

    def up(self, source: str, inputs: int, outputs: int, shrink: int) -> str:
        weight = self._weight((inputs, outputs, 2, 2), inputs)
        self.flops_per_pixel += 2 * inputs * outputs / shrink**2
        return self._add("ConvTranspose", [source, weight], kernel_shape=[2, 2], strides=[2, 2])

    def pool(self, source: str) -> str:
        return self._add("MaxPool", [source], kernel_shape=[2, 2], strides=[2, 2])

    def residual(self, source: str, channels: int, shrink: int) -> str:
        inner = self.conv(self.conv(source, channels, channels, 3, shrink), channels, channels, 3, shrink, relu=False)
        return self._add("Relu", [self._add("Add", [source, inner])])

    def flat(self, source: str, pool: bool) -> str:
        """(N, C, H, W) → (N, features)."""
        return self._add("Flatten", [self._add("GlobalAveragePool", [source]) if pool else source], axis=1)

    def concat(self, sources: list[str]) -> str:
        return self._add("Concat", sources, axis=1)

    def dense(self, source: str, inputs: int, outputs: int, relu: bool = True) -> str:
        weight, bias = self._weight((inputs, outputs), inputs), self._weight((outputs,), 100)
        self.flops_per_pixel += 2 * inputs * outputs
        result = self._add("Gemm", [source, weight, bias])
        return self._add("Relu", [result]) if relu else result

    def save(self, path: Path, result: str, shape_in: list[object], shape_out: list[object]) -> None:
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape_in)],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, shape_out)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))


def write_network(name: str, path: Path) -> float:
    """Write one of the networks; returns its GFLOP per megapixel (of ``patches``: MFLOP per patch)."""
    build = _Builder()
    bands, classes = BANDS[name], CLASSES[name]
    if name == "spectral":
        hidden = build.dense(build.dense("image", bands, 32), 32, 32)
        build.save(path, build.dense(hidden, 32, classes, relu=False), ["n", bands], ["n", classes])
        return build.flops_per_pixel / 1000
    if name in SIDES:
        side = SIDES[name]
        result = _window(build, bands, classes, side) if name == "window" else _resnet(build, bands, classes)
        build.save(path, result, ["n", bands, side, side], ["n", classes])
        return build.flops_per_pixel * (1 if name == "window" else side * side) / 1000
    if name == "light":
        hidden = build.conv(build.conv("image", bands, 8, 3), 8, 8, 3)
        result = build.conv(hidden, 8, classes, 1, relu=False)
    else:
        result = _unet(build, bands, classes, width=16)
    build.save(path, result, ["n", bands, "h", "w"], ["n", classes, "h", "w"])
    return build.flops_per_pixel / 1000


def _window(build: _Builder, bands: int, classes: int, side: int) -> str:
    """Two convolutions and a dense layer on the window around a pixel."""
    area = side * side
    hidden = build.conv(build.conv("image", bands, 16, 3), 16, 16, 3)
    # Each output pixel costs a whole window.
    build.flops_per_pixel *= area
    return build.dense(build.flat(hidden, pool=False), 16 * area, classes, relu=False)


def _resnet(build: _Builder, bands: int, classes: int) -> str:
    """A residual network of four stages (He, Zhang, Ren & Sun 2016, arXiv 1512.03385), 32 to 128 channels wide."""
    stages = (32, 64, 96, 128)
    hidden, before, shrink = "image", bands, 1
    for width in stages:
        shrink *= 2
        hidden = build.residual(build.conv(hidden, before, width, 3, shrink, stride=2), width, shrink)
        before = width
    return build.dense(build.flat(hidden, pool=True), before, classes, relu=False)


def _unet(build: _Builder, bands: int, classes: int, width: int) -> str:
    """A U-Net of three levels (Ronneberger, Fischer & Brox 2015, arXiv 1505.04597) with padded convolutions."""
    first = build.conv(build.conv("image", bands, width, 3), width, width, 3)
    second = build.conv(build.conv(build.pool(first), width, 2 * width, 3, 2), 2 * width, 2 * width, 3, 2)
    second = build.conv(second, 2 * width, 2 * width, 3, 2)
    third = build.conv(build.conv(build.pool(second), 2 * width, 4 * width, 3, 4), 4 * width, 4 * width, 3, 4)
    third = build.conv(third, 4 * width, 4 * width, 3, 4)
    up = build.concat([build.up(third, 4 * width, 2 * width, 4), second])
    fourth = build.conv(build.conv(up, 4 * width, 2 * width, 3, 2), 2 * width, 2 * width, 3, 2)
    fourth = build.conv(fourth, 2 * width, 2 * width, 3, 2)
    up = build.concat([build.up(fourth, 2 * width, width, 2), first])
    last = build.conv(build.conv(up, 2 * width, width, 3), width, width, 3)
    return build.conv(last, width, classes, 1, relu=False)
