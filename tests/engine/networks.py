"""Tiny ONNX networks with seeded weights, and the rasters to run them on: the parts that the tests are built from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import rasterio
from onnx import TensorProto, helper, numpy_helper
from rasterio.transform import from_origin

from thematica.models.bands import Band
from thematica.models.card import METADATA_KEY, ModelCard, ModelClass, distinct_colors

_TYPES = {
    "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "int64": TensorProto.INT64, "int8": TensorProto.INT8,
}  # fmt: skip


class Net:
    """A network in the making; every method adds a layer and returns the name of its output.

    Args:
        bands: channels of the input.
        seed: of the weights.
        shape: of the input; None: (N, bands, H, W) with all but the bands free.
        data_type: of the input; the layers compute in float32, or in float16 where the input is.
        opset: operator set.
    """

    def __init__(
        self,
        bands: int,
        seed: int = 0,
        shape: Sequence[int | str | None] | None = None,
        data_type: str = "float32",
        opset: int = 17,
    ) -> None:
        self.bands, self.data_type, self.opset = bands, data_type, opset
        self.shape = list(shape) if shape is not None else ["n", bands, "h", "w"]
        self.real = np.float16 if data_type == "float16" else np.float32
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels = {"image": bands}
        self.input = "image"
        if data_type in ("uint8", "uint16"):
            self.input = self.node("Cast", "image", to=TensorProto.FLOAT)

    def name(self) -> str:
        return f"t{len(self.nodes)}_{len(self.weights)}"

    def weight(self, array: np.ndarray) -> str:
        name = "w" + self.name()
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind: str, *inputs: str, channels: int | None = None, outputs: int = 1, **attributes) -> str:
        """Any operator; ``channels`` only where they change."""
        names = [f"{self.name()}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        for name in names:
            self.channels[name] = self.channels.get(inputs[0], 0) if channels is None else channels
        return names[0]

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        pads: Sequence[int] | None = None,
        **attributes,
    ) -> str:
        before = self.channels[x]
        w = self.random.normal(0, 1 / np.sqrt(before * kernel * kernel), (channels, before, kernel, kernel))
        b = self.random.normal(0, 0.1, channels)
        if pads is None and "auto_pad" not in attributes:
            # As frameworks pad: so that a stride of s divides the size by s.
            total = dilation * (kernel - 1) + 1 - stride
            pads = [max(total, 0) // 2] * 2 + [max(total, 0) - max(total, 0) // 2] * 2
        if pads is not None:
            attributes["pads"] = list(pads)
        return self.node(
            "Conv", x, self.weight(w.astype(self.real)), self.weight(b.astype(self.real)), channels=channels,
            kernel_shape=[kernel, kernel], strides=[stride, stride], dilations=[dilation, dilation], **attributes,
        )  # fmt: skip

    def deconv(self, x: str, channels: int, kernel: int = 2, stride: int = 2, **attributes) -> str:
        before = self.channels[x]
        w = self.random.normal(0, 1 / np.sqrt(before * kernel), (before, channels, kernel, kernel))
        if "auto_pad" not in attributes and "pads" not in attributes:
            total = kernel - stride
            attributes["pads"] = [total // 2] * 2 + [total - total // 2] * 2
        return self.node(
            "ConvTranspose", x, self.weight(w.astype(self.real)), channels=channels, kernel_shape=[kernel, kernel],
            strides=[stride, stride], **attributes,
        )  # fmt: skip

    def pool(self, x: str, kernel: int = 2, stride: int = 2, kind: str = "MaxPool", **attributes) -> str:
        total = max(kernel - stride, 0)
        pads = [total // 2] * 2 + [total - total // 2] * 2
        return self.node(kind, x, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=pads, **attributes)

    def resize(self, x: str, factor: float, mode: str = "nearest", **attributes) -> str:
        scales = self.weight(np.array([1, 1, factor, factor], np.float32))
        if "coordinate_transformation_mode" not in attributes:
            attributes["coordinate_transformation_mode"] = "asymmetric" if mode == "nearest" else "half_pixel"
        if mode == "nearest":
            attributes.setdefault("nearest_mode", "floor")
        return self.node("Resize", x, "", scales, mode=mode, **attributes)

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def concat(self, *inputs: str, axis: int = 1) -> str:
        return self.node("Concat", *inputs, axis=axis, channels=sum(self.channels[x] for x in inputs))

    def dense(self, x: str, channels: int, transposed: bool = False, **attributes) -> str:
        """A Gemm layer of a per-pixel network."""
        before = self.channels[x]
        w = self.random.normal(0, 1 / np.sqrt(before), (channels, before) if transposed else (before, channels))
        b = self.random.normal(0, 0.1, channels)
        return self.node(
            "Gemm", x, self.weight(w.astype(self.real)), self.weight(b.astype(self.real)), channels=channels,
            transB=int(transposed), **attributes,
        )  # fmt: skip

    def model(
        self, result: str, output_shape: Sequence[int | str | None] | None = None, output_type: str | None = None
    ) -> onnx.ModelProto:
        """The finished network with the tensors ``image`` and ``scores``."""
        nodes = [*self.nodes, helper.make_node("Identity", [result], ["scores"])]
        if output_shape is None:
            k = self.channels[result]
            output_shape = [self.shape[0], k] if len(self.shape) == 2 else [self.shape[0], k, *self.shape[2:]]
        kind = output_type or ("float16" if self.real is np.float16 else "float32")
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("image", _TYPES[self.data_type], self.shape)],
            [helper.make_tensor_value_info("scores", _TYPES[kind], list(output_shape))],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def make_card(
    bands: int | Sequence[Band], classes: int | Sequence[str], task: str = "segmentation", **fields
) -> ModelCard:
    """A card; bands are called B1 …, classes "class 0" … where only their number is given."""
    bands = [Band(f"B{index}") for index in range(1, bands + 1)] if isinstance(bands, int) else list(bands)
    names = [f"class {index}" for index in range(classes)] if isinstance(classes, int) else list(classes)
    colors = distinct_colors(len(names))
    entries = [ModelClass(index, name, colors[index]) for index, name in enumerate(names)]
    return ModelCard(
        name="net", title="Net", task=task, bands=bands, classes=fields.pop("class_list", entries), **fields
    )


def save(
    path: Path, model: onnx.ModelProto, card: ModelCard | None = None, metadata: dict[str, str] | None = None
) -> Path:
    """Write a network, its card inside."""
    entries = dict(metadata or {})
    if card is not None:
        entries[METADATA_KEY] = card.to_json()
    if entries:
        helper.set_model_props(model, entries)
    path.write_bytes(model.SerializeToString())
    return path


def z_scores(mean: Sequence[float], deviation: Sequence[float]) -> list[dict[str, object] | None]:
    """The MLM value_scaling objects of a standardisation."""
    return [{"type": "z-score", "mean": m, "stddev": s} for m, s in zip(mean, deviation, strict=True)]


def light(path: Path, bands: int = 3, classes: int = 3, seed: int = 0, **card) -> Path:
    """3×3 convolution, ReLU, 1×1 convolution: the smallest network that looks at its neighbours."""
    net = Net(bands, seed)
    result = net.conv(net.relu(net.conv(net.input, 4)), classes, 1)
    return save(path, net.model(result), make_card(bands, classes, **card))


def mlp(path: Path, bands: int = 4, classes: int = 3, seed: int = 0, **card) -> Path:
    """A per-pixel network of two dense layers."""
    net = Net(bands, seed, ["n", bands])
    result = net.dense(net.relu(net.dense(net.input, 8)), classes)
    return save(path, net.model(result), make_card(bands, classes, "pixel", **card))


def image(
    path: Path,
    samples: np.ndarray,
    crs: str | None = "EPSG:32632",
    resolution: float = 10.0,
    origin: tuple[float, float] = (500_000.0, 5_500_000.0),
    names: Sequence[str] | None = None,
    **profile,
) -> Path:
    """A GeoTIFF of (C, H, W) samples; the bands are called B1 … unless told otherwise."""
    count, height, width = samples.shape
    profile.setdefault("transform", from_origin(*origin, resolution, resolution))
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, dtype=samples.dtype, crs=crs, **profile,
    ) as dataset:  # fmt: skip
        dataset.write(samples)
        for index in range(count):
            description = names[index] if names is not None else f"B{index + 1}"
            if description:
                dataset.set_band_description(index + 1, description)
    return path


def noise(
    shape: tuple[int, ...], data_type: str = "uint8", seed: int = 0, low: float = 0, high: float = 255
) -> np.ndarray:
    """Random samples with neighbours that resemble each other a little."""
    random = np.random.default_rng(seed)
    values = random.uniform(low, high, shape)
    return values.astype(data_type)


def read(path: str | Path) -> np.ndarray:
    """All bands of a raster."""
    with rasterio.open(path) as dataset:
        return dataset.read()
