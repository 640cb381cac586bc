"""*exact* stitching: whatever the tiles, the map is that of one run of the network over the whole image.

The law: the network as given is run once, by ONNX Runtime, over the whole image: scaled in double precision, missing
pixels filled with the documented value, padded by reflection by the halo (and up to the total stride at the end).
Probabilities must agree within 1e-5 of their range (1), and classes wherever the two best differ by more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thematica.engine import PixelJob, classify, tiling
from thematica.engine.deployment import fill_values
from thematica.engine.network import load_network
from thematica.models.reading import read_model_card

from .networks import Net, image, make_card, read, save, z_scores

BANDS, CLASSES = 3, 4


# Networks: name → builder of the result from a Net


def _conv(net: Net) -> str:
    return net.conv(net.relu(net.conv(net.input, 6)), CLASSES)


def _dilated(net: Net) -> str:
    x = net.relu(net.conv(net.input, 5, dilation=2))
    return net.conv(net.node("Tanh", net.conv(x, 5, 5, dilation=3)), CLASSES, 1)


def _lopsided(net: Net) -> str:
    x = net.conv(net.input, 5, 4, pads=(0, 3, 3, 0))
    return net.conv(net.relu(x), CLASSES, 2, pads=(1, 0, 0, 1))


def _strided(net: Net) -> str:
    x = net.relu(net.conv(net.input, 6, stride=2))
    x = net.relu(net.conv(x, 6, 4, stride=2))
    return net.deconv(net.relu(net.deconv(x, 5, 4, 2)), CLASSES, 2, 2)


def _by_three(net: Net) -> str:
    x = net.pool(net.relu(net.conv(net.input, 5)), 3, 3, "AveragePool")
    return net.conv(net.resize(net.conv(x, 5), 3), CLASSES)


def _interpolated(net: Net) -> str:
    x = net.conv(net.pool(net.conv(net.input, 5)), 5)
    return net.conv(net.resize(net.relu(x), 2, "linear"), CLASSES, 1)


def _u_net(net: Net) -> str:
    a = net.relu(net.conv(net.input, 5))
    b = net.relu(net.conv(net.pool(a), 6))
    c = net.relu(net.conv(net.pool(b), 7))
    d = net.relu(net.conv(net.concat(net.deconv(c, 6), b), 6))
    return net.conv(net.concat(net.resize(d, 2, "linear"), a), CLASSES)


def _one_score(net: Net) -> str:
    return net.conv(net.relu(net.conv(net.input, 5)), 1)


def _dense(net: Net) -> str:
    return net.dense(net.relu(net.dense(net.input, 12)), CLASSES, transposed=True)


def _matmul(net: Net) -> str:
    w = net.weight(net.random.normal(size=(BANDS, CLASSES)).astype(net.real))
    x = net.node("MatMul", net.input, w, channels=CLASSES)
    x = net.node("Add", x, net.weight(net.random.normal(size=CLASSES).astype(net.real)))
    return net.node("Add", x, net.weight(np.array(0.25, net.real)))


def _gated(net: Net) -> str:
    """A per-pixel network that is no chain of dense layers, so it stays as it is."""
    x = net.relu(net.dense(net.input, 8))
    return net.dense(net.node("Mul", x, net.node("Sigmoid", net.dense(net.input, 8))), CLASSES)


def _soft_dense(net: Net) -> str:
    return net.node("Softmax", net.dense(net.node("Sigmoid", net.dense(net.input, 9)), CLASSES), axis=1)


IMAGE_NETWORKS = [_conv, _dilated, _lopsided, _strided, _by_three, _interpolated, _u_net, _one_score]
PIXEL_NETWORKS = [_dense, _matmul, _gated, _soft_dense]


@dataclass
class Case:
    """One run: everything that hypothesis may vary."""

    build: Callable[[Net], str]
    seed: int = 0
    size: tuple[int, int] = (50, 41)
    raster_type: str = "uint8"
    network_type: str = "float32"
    scale: tuple[float, float] | None = None
    steps: list | None = None
    missing: str = "none"
    batch: int | None = None
    tile: int | None = None
    overlap: int | None = None
    threads: int = 2
    fixed_batch: int = 0
    fixed_tile: tuple[int, int] | None = None
    chunk_pixels: int = 900
    layout: str = "tiled"

    @property
    def pixelwise(self) -> bool:
        return self.build in PIXEL_NETWORKS


RANGES = {"uint8": (1, 255), "uint16": (1, 10_000), "int16": (-2000, 12_000), "float32": (0.0, 1.0)}


def reflect(array: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
    """Reflection about the outer pixels' centres, as often as needed; our own, not NumPy's."""
    size = array.shape[axis]
    period = max(2 * size - 2, 1)
    place = np.arange(-before, size + after) % period
    return np.take(array, np.where(place < size, place, period - place), axis)


def make_case(folder: Path, case: Case) -> tuple[Path, Path, np.ndarray, np.ndarray, float | None]:
    """Write network and raster; returns them with the samples, their validity and the nodata value."""
    batch: int | str = case.fixed_batch or "n"
    shape = [batch, BANDS] if case.pixelwise else [batch, BANDS, *(case.fixed_tile or ("h", "w"))]
    net = Net(BANDS, case.seed, shape, case.network_type)
    result = case.build(net)
    classes = 2 if case.build is _one_score else CLASSES
    activation = "softmax" if case.build is _soft_dense else "logits"
    card = make_card(BANDS, classes, "pixel" if case.pixelwise else "segmentation", activation=activation,
                     normalisation_steps=case.steps or [])  # fmt: skip
    model = save(folder / "net.onnx", net.model(result), card)
    random = np.random.default_rng(case.seed)
    height, width = case.size
    samples = random.uniform(*RANGES[case.raster_type], (BANDS, height, width)).astype(case.raster_type)
    valid = np.ones((height, width), bool)
    if case.missing == "scattered":
        valid = random.random((height, width)) > 0.1
    elif case.missing == "corner":
        valid = np.add.outer(np.arange(height), np.arange(width)) > (height + width) // 3
    elif case.missing == "most":
        valid = np.zeros((height, width), bool)
        valid[height // 2, width // 2] = True
    elif case.missing == "all":
        valid[:] = False
    nodata: float | None = None
    if case.missing != "none":
        nodata = float("nan") if case.raster_type == "float32" else 0.0
        if case.raster_type == "int16":
            nodata = -9999.0
        # In a band of its own for every pixel: one band is enough.
        band = random.integers(0, BANDS, (height, width))
        for index in range(BANDS):
            samples[index][~valid & (band == index)] = nodata
    layouts = {
        "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 32},
        "strips": {"blockysize": 3},
        "pixel": {"interleave": "pixel"},
        "band": {"interleave": "band", "compress": "deflate"},
    }
    raster = image(folder / "scene.tif", samples, nodata=nodata, **layouts[case.layout])
    return model, raster, samples, valid, nodata


def whole_image(case: Case, model: Path, samples: np.ndarray, valid: np.ndarray, halo: int, stride: int) -> np.ndarray:
    """Probabilities (K, H, W) of one run over everything, with nothing of the engine but the fill value."""
    card = read_model_card(model)
    network = load_network(model, card)
    scale, offset = case.scale or (1.0, 0.0)
    fill = fill_values(network, samples.dtype, [scale] * BANDS, [offset] * BANDS)
    stored = samples.astype(np.float64)
    stored[:, ~valid] = fill.astype(np.float64)[:, None]
    physical = stored * scale + offset
    for band, step in enumerate(case.steps or []):
        physical[band] = (physical[band] - step["mean"]) / step["stddev"]
    if case.network_type.startswith("uint"):
        physical = np.clip(np.rint(physical.astype(np.float32)), 0, np.iinfo(case.network_type).max)
    height, width = valid.shape
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    proto = onnx.load(model)
    # The law is about a free network: a fixed batch or tile is only how it was written down.
    for tensor in (*proto.graph.input, *proto.graph.output):
        dimensions = tensor.type.tensor_type.shape.dim
        for axis in (0, 2, 3)[: 1 if case.pixelwise else 3]:
            dimensions[axis].dim_param = f"free{axis}"
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    if case.pixelwise:
        scores = session.run(["scores"], {"image": physical.reshape(BANDS, -1).T.astype(case.network_type)})[0]
        scores = scores.T.reshape(-1, height, width)
    else:
        padded = reflect(physical, 1, halo, halo + -height % stride)
        padded = reflect(padded, 2, halo, halo + -width % stride)
        scores = session.run(["scores"], {"image": padded[None].astype(case.network_type)})[0]
        scores = scores[0, :, halo : halo + height, halo : halo + width]
    scores = scores.astype(np.float64)
    if case.build is _soft_dense:
        return scores
    if case.build is _one_score:
        second = 0.5 + 0.5 * np.tanh(scores[0] / 2)
        return np.stack([1 - second, second])
    exponents = np.exp(scores - scores.max(axis=0))
    return exponents / exponents.sum(axis=0)


def check(case: Case, folder: Path) -> dict:
    """Run the engine and compare; returns the report."""
    model, raster, samples, valid, _ = make_case(folder, case)
    scale, offset = case.scale or (None, None)
    output = folder / "map.tif"
    with mock.patch.object(tiling, "CHUNK_PIXELS", case.chunk_pixels):
        result = classify(
            PixelJob(
                [str(raster)],
                str(model),
                str(output),
                tile=case.tile,
                batch=case.batch,
                overlap=case.overlap,
                threads=case.threads,
                scale=scale,
                offset=offset,
                probabilities=str(folder / "p.tif"),
                overwrite=True,
            )
        )
    report = result["report"]
    codes, found = read(output)[0], read(folder / "p.tif")
    # Nodata exactly where the input had it.
    np.testing.assert_array_equal(codes == 255, ~valid)
    assert np.isnan(found[:, ~valid]).all()
    assert report["nodata"]["pixels"] == (~valid).sum()
    if not report["tiling"]["exact"]:
        return report
    expected = whole_image(case, model, samples, valid, report["tiling"]["halo"], report["tiling"]["stride"])
    # CPUs have no half precision of their own: what it is computed in may depend on the shape.
    tolerance = 1e-2 if case.network_type == "float16" else 1e-5
    difference = np.abs(found - expected)[:, valid]
    assert difference.max(initial=0) <= tolerance
    ordered = np.sort(expected, axis=0)
    clear = valid & (ordered[-1] - ordered[-2] > tolerance)
    np.testing.assert_array_equal(codes[clear], expected.argmax(axis=0)[clear])
    return report


@st.composite
def cases(draw, networks=IMAGE_NETWORKS) -> Case:
    raster_type = draw(st.sampled_from(sorted(RANGES)))
    network_type = draw(st.sampled_from(["float32", "float32", "float16", "uint8", "uint16"]))
    low, high = RANGES[raster_type]
    span = float(high - low)
    scaled = draw(st.booleans()) or (network_type.startswith("uint") and raster_type in ("int16", "float32", "uint16"))
    # Into 0 … 1, as cards want it; whole-number networks get whole numbers.
    reach = {"uint8": 255.0, "uint16": 5000.0}.get(network_type, 1.0)
    factor = reach / span
    if network_type.startswith("uint"):
        # A power of two and a whole number are exact in both precisions, so that both round to the same.
        factor = 2.0 ** np.floor(np.log2(factor))
    scale = (factor, -np.rint(low * factor) if low else 0.0) if scaled or network_type == "float16" else None
    steps = None
    if not network_type.startswith("uint"):
        unit = 1.0 if scale else span
        steps = draw(
            st.sampled_from([None, z_scores([0.2 * unit, 0.3 * unit, 0.5 * unit], [unit, 0.5 * unit, 2 * unit])])
        )
        if scale is None and steps is None:
            steps = z_scores([0.0] * BANDS, [span] * BANDS)
    size = st.one_of(st.integers(1, 12), st.sampled_from([13, 16, 31, 32, 47, 64, 67]))
    return Case(
        build=draw(st.sampled_from(networks)),
        seed=draw(st.integers(0, 50)),
        size=(draw(size), draw(size)),
        raster_type=raster_type,
        network_type=network_type,
        scale=scale,
        steps=steps,
        missing=draw(st.sampled_from(["none", "scattered", "corner", "most", "all"])),
        batch=draw(st.sampled_from([None, 1, 3])),
        tile=draw(st.sampled_from([None, 7, 16, 24, 100])),
        overlap=draw(st.sampled_from([None, None, 0, 19])),
        threads=draw(st.integers(1, 3)),
        chunk_pixels=draw(st.sampled_from([200, 900, 1 << 20])),
        layout=draw(st.sampled_from(["tiled", "strips", "pixel", "band"])),
    )  # fmt: skip


def in_a_folder(case: Case) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        return check(case, Path(folder))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_the_map_is_that_of_one_run_over_the_whole_image(case: Case) -> None:
    assert in_a_folder(case)["tiling"]["exact"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(cases(PIXEL_NETWORKS), st.sampled_from([0, 0, 1, 64]))
def test_per_pixel_networks(case: Case, fixed_batch: int) -> None:
    case.fixed_batch = fixed_batch
    assert in_a_folder(case)["tiling"]["exact"]


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    cases([_conv, _dilated, _strided, _u_net]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([(64, 64), (72, 48), (48, 72), (36, 36)]),
)
def test_fixed_batch_and_tile(case: Case, batch: int, tile: tuple[int, int]) -> None:
    """A network that was exported for one size of tile; where its halo leaves nothing, the report says so."""
    case.fixed_batch, case.fixed_tile = batch, tile
    report = in_a_folder(case)
    room = min(tile) - 2 * load_halo(case)
    assert report["tiling"]["exact"] == (room >= 1)
    assert report["tiling"]["exact"] or report["warnings"]


def load_halo(case: Case) -> int:
    """The halo that the network needs, from its free twin."""
    with tempfile.TemporaryDirectory() as folder:
        free = Case(case.build, case.seed)
        model, *_ = make_case(Path(folder), free)
        return load_network(model, read_model_card(model)).field.halo


@pytest.mark.parametrize("build", [*IMAGE_NETWORKS, *PIXEL_NETWORKS], ids=lambda build: build.__name__.strip("_"))
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (97, 89)])
def test_every_network_on_awkward_sizes(tmp_path: Path, build: Callable[[Net], str], size: tuple[int, int]) -> None:
    steps = z_scores([100.0] * BANDS, [60.0] * BANDS)
    check(Case(build, size=size, steps=steps, missing="none", tile=16), tmp_path)


def test_strips_of_a_wide_image(tmp_path: Path) -> None:
    """Wider than a strip of chunks: what lies left and right of a strip's edge is read twice."""
    report = check(
        Case(_u_net, size=(37, 9001), steps=z_scores([100.0] * BANDS, [60.0] * BANDS), missing="scattered"), tmp_path
    )
    assert report["tiling"]["exact"]


@pytest.mark.parametrize("mean", [0.0, 300.0, 3000.0])
def test_scaling_loses_no_digits(tmp_path: Path, mean: float) -> None:
    """Digital numbers far from 0 with little spread, as radar and thermal images have them."""
    case = Case(_conv, raster_type="uint16", steps=z_scores([mean] * BANDS, [1000.0] * BANDS))
    check(case, tmp_path)
    check(Case(_dense, raster_type="uint16", steps=case.steps), tmp_path)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(cases([_conv, _u_net, _dense, _by_three]), st.data())
def test_a_part_is_the_same_as_in_the_whole(case: Case, data: st.DataObject) -> None:
    """The area only chooses which pixels are made; around its border the network still sees the image."""
    height, width = case.size
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, raster, *_ = make_case(folder, case)
        scale, offset = case.scale or (None, None)
        common = {"tile": case.tile, "batch": case.batch, "threads": case.threads, "scale": scale, "offset": offset}
        with mock.patch.object(tiling, "CHUNK_PIXELS", case.chunk_pixels):
            classify(PixelJob([str(raster)], str(model), str(folder / "whole.tif"), **common,
                              probabilities=str(folder / "wp.tif")))  # fmt: skip
            extent = [500_000 + 10.0 * left, 5_500_000 - 10.0 * bottom, 500_000 + 10.0 * right, 5_500_000 - 10.0 * top]
            classify(PixelJob([str(raster)], str(model), str(folder / "part.tif"), **common, area=extent,
                              probabilities=str(folder / "pp.tif")))  # fmt: skip
        window = (slice(None), slice(top, bottom), slice(left, right))
        part, whole = read(folder / "pp.tif"), read(folder / "wp.tif")[window]
        assert part.shape == whole.shape
        np.testing.assert_array_equal(np.isnan(part), np.isnan(whole))
        tolerance = 1e-2 if case.network_type == "float16" else 1e-5
        np.testing.assert_allclose(np.nan_to_num(part), np.nan_to_num(whole), atol=tolerance)
        differ = read(folder / "part.tif")[0] != read(folder / "whole.tif")[window][0]
        ordered = np.sort(np.nan_to_num(whole), axis=0)
        assert not (differ & (ordered[-1] - ordered[-2] > tolerance)).any()


def test_a_network_that_cannot_be_exact_says_so(tmp_path: Path) -> None:
    def attention(net: Net) -> str:
        x = net.conv(net.input, CLASSES)
        return net.node("Mul", x, net.node("Sigmoid", net.node("GlobalAveragePool", x)))

    report = check(Case(attention, size=(90, 90), tile=32), tmp_path)
    assert report["tiling"]["exact"] is False
    assert "global average pooling" in report["tiling"]["why"]
    assert any("global average pooling" in warning for warning in report["warnings"])
