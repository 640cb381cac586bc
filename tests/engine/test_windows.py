"""Networks that classify the pixel in the middle of a window.

The law: a pixel's class and probabilities are those of a direct run on its own window, cut from the raster reflected
beyond its border, missing pixels replaced by the documented value.  The pixel is the window's ``side // 2``-th.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from thematica.engine import PixelJob, classify, tiling
from thematica.engine.deployment import fill_values
from thematica.engine.network import load_network
from thematica.engine.session import Session
from thematica.models.reading import read_model_card

from .networks import Net, image, make_card, noise, read, save, z_scores
from .test_exact import reflect
from .workplace import Workplace, run_here


@dataclass
class Case:
    """One run: everything that hypothesis may vary."""

    bands: int = 3
    side: int = 5
    classes: int = 3
    size: tuple[int, int] = (13, 11)
    deep: bool = False
    fixed_batch: int = 0
    batch: int | None = None
    tile: int | None = None
    raster_type: str = "uint8"
    network_type: str = "float32"
    missing: float = 0.0
    extent: tuple[float, float, float, float] | None = None
    numbers: bool = False
    mode: str = "exact"
    seed: int = 0
    chunk_pixels: int = 1 << 20


def window_network(case: Case) -> onnx.ModelProto:
    """A convolution over part of the window, then a dense layer over all that is left, so that every place counts."""
    bands, side = case.bands, case.side
    batch: int | str = case.fixed_batch or "n"
    shape = [batch, 1, bands, side, side] if case.deep else [batch, bands, side, side]
    net = Net(bands, case.seed, shape, case.network_type)
    x = net.input
    if case.deep:
        # (N, 1, C, p, p) as three-dimensional networks take it.
        w = net.random.normal(size=(4, 1, 2 if bands > 1 else 1, 1, 1)).astype(net.real)
        x = net.relu(net.node("Conv", x, net.weight(w)))
        count = 4 * (bands - 1 if bands > 1 else 1) * side * side
    else:
        kernel = min(3, side)
        x = net.relu(net.conv(x, 4, kernel, pads=(0, 0, 0, 0)))
        count = 4 * (side - kernel + 1) ** 2
    x = net.node("Flatten", x, channels=count)
    outputs = 1 if case.classes == 2 and case.seed % 2 else case.classes
    x = net.dense(x, outputs)
    if case.numbers:
        return net.model(net.node("ArgMax", x, axis=1, keepdims=0), [batch], "int64")
    return net.model(x, [batch, outputs])


def run(case: Case, folder: Path) -> None:
    steps = z_scores([100.0] * case.bands, [60.0] * case.bands)
    card = make_card(case.bands, case.classes, "window", normalisation_steps=steps)
    model = save(folder / "net.onnx", window_network(case), card)
    random = np.random.default_rng(case.seed)
    height, width = case.size
    samples = random.uniform(1, 255, (case.bands, height, width)).astype(case.raster_type)
    valid = random.random((height, width)) >= case.missing
    nodata = 0 if case.missing else None
    samples[0][~valid] = 0
    raster = image(folder / "scene.tif", samples, nodata=nodata)
    area = inside = None
    if case.extent is not None:
        inside = np.zeros((height, width), bool)
        top, bottom = sorted(round(share * height) for share in case.extent[:2])
        left, right = sorted(round(share * width) for share in case.extent[2:])
        bottom, right = max(bottom, top + 1), max(right, left + 1)
        top, bottom, left, right = min(top, height - 1), min(bottom, height), min(left, width - 1), min(right, width)
        inside[top:bottom, left:right] = True
        area = [500_000 + 10.0 * left, 5_500_000 - 10.0 * bottom, 500_000 + 10.0 * right, 5_500_000 - 10.0 * top]
    with mock.patch.object(tiling, "CHUNK_PIXELS", case.chunk_pixels):
        result = classify(
            PixelJob(
                [str(raster)], str(model), str(folder / "map.tif"), tile=case.tile, batch=case.batch, area=area,
                threads=1 + case.seed % 2, mode=case.mode,
                probabilities=None if case.numbers else str(folder / "p.tif"),
            )
        )  # fmt: skip
    assert result["report"]["tiling"]["exact"]
    assert result["report"]["tiling"]["mode"] == "exact"

    network = load_network(model, read_model_card(model))
    fill = fill_values(network, samples.dtype, [1.0] * case.bands, [0.0] * case.bands)
    stored = samples.astype(np.float64)
    stored[:, ~valid] = fill.astype(np.float64)[:, None]
    half = case.side // 2
    padded = reflect(reflect((stored - 100) / 60, 1, half, half), 2, half, half).astype(case.network_type)
    windows = np.stack(
        [padded[:, r : r + case.side, c : c + case.side] for r in range(height) for c in range(width)]
    )  # fmt: skip
    if case.deep:
        windows = windows[:, None]
    proto = onnx.load(model)
    for tensor in (*proto.graph.input, *proto.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "n"
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"image": windows})[0]
    seen = valid if inside is None else valid & inside
    if inside is None:
        crop = (slice(0, height), slice(0, width))
    else:
        crop = (slice(top, bottom), slice(left, right))
    codes = read(folder / "map.tif")[0]
    np.testing.assert_array_equal(codes == 255, ~seen[crop])
    if case.numbers:
        expected = scores.reshape(height, width)
        np.testing.assert_array_equal(codes[seen[crop]], expected[crop][seen[crop]])
        return
    scores = scores.astype(np.float64).T.reshape(-1, height, width)
    if len(scores) == 1:
        second = 1 / (1 + np.exp(-scores[0]))
        expected = np.stack([1 - second, second])
    else:
        exponents = np.exp(scores - scores.max(axis=0))
        expected = exponents / exponents.sum(axis=0)
    expected = expected[:, crop[0], crop[1]]
    found, here = read(folder / "p.tif"), seen[crop]
    assert np.isnan(found[:, ~here]).all()
    tolerance = 2e-2 if case.network_type == "float16" else 1e-5
    np.testing.assert_allclose(found[:, here], expected[:, here], atol=tolerance)
    ordered = np.sort(expected, axis=0)
    clear = here & (ordered[-1] - ordered[-2] > tolerance)
    np.testing.assert_array_equal(codes[clear], expected.argmax(axis=0)[clear])


@st.composite
def cases(draw) -> Case:
    size = st.one_of(st.integers(1, 9), st.sampled_from([16, 23]))
    share = st.floats(0, 1)
    return Case(
        bands=draw(st.sampled_from([1, 2, 3, 6])),
        side=draw(st.sampled_from([1, 2, 3, 4, 5, 8, 9])),
        classes=draw(st.sampled_from([2, 3, 7])),
        size=(draw(size), draw(size)),
        deep=draw(st.booleans()),
        fixed_batch=draw(st.sampled_from([0, 0, 1, 5])),
        batch=draw(st.sampled_from([None, 1, 7, 1000])),
        tile=draw(st.sampled_from([None, 1, 4, 10])),
        raster_type=draw(st.sampled_from(["uint8", "uint16", "int16", "float32"])),
        network_type=draw(st.sampled_from(["float32", "float32", "float16"])),
        missing=draw(st.sampled_from([0.0, 0.2, 0.9, 1.0])),
        extent=draw(st.none() | st.tuples(share, share, share, share)),
        numbers=draw(st.sampled_from([False, False, False, True])),
        mode=draw(st.sampled_from(["exact", "exact", "smooth"])),
        seed=draw(st.integers(0, 20)),
        chunk_pixels=draw(st.sampled_from([50, 1 << 20])),
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_every_pixel_is_classified_from_its_own_window(case: Case) -> None:
    if case.numbers:
        case.mode = "exact"  # There is nothing that could be blended, and what could not is said elsewhere.
    with tempfile.TemporaryDirectory() as folder:
        run(case, Path(folder))


@pytest.mark.parametrize("side", [2, 3, 4, 7])
@pytest.mark.parametrize("deep", [False, True])
def test_sides(tmp_path: Path, side: int, deep: bool) -> None:
    run(Case(side=side, deep=deep, size=(9, 14), missing=0.1), tmp_path)


def test_the_pixel_in_the_middle_is_the_one_that_is_meant(workplace: Workplace) -> None:
    """A network that repeats one of the window's pixels: of an even side, the one behind the middle."""
    for side in (4, 5):
        net = Net(1, shape=["n", 1, side, side])
        w = np.zeros((2, side * side), np.float32)
        w[1, side // 2 * side + side // 2] = 1
        x = net.node("Gemm", net.node("Flatten", net.input), net.weight(w), transB=1, channels=2)
        x = net.node("Add", x, net.weight(np.array([[127.5, 0]], np.float32)))
        model = save(workplace / f"w{side}.onnx", net.model(x, ["n", 2]), make_card(1, 2, "window"))
        scene = image(workplace / f"s{side}.tif", noise((1, 20, 30)))
        assert workplace.run("--overwrite", model=model, raster=scene).status == 0
        np.testing.assert_array_equal(read(workplace.output)[0], read(scene)[0] > 127)


@pytest.mark.parametrize(("batch", "most"), [(None, 1024), (100, 100)])
def test_windows_are_not_made_all_at_once(workplace: Workplace, batch: int | None, most: int) -> None:
    """A window of 9 × 9 holds every pixel 81 times: all together they would not fit into memory."""
    case = Case(side=9, classes=3)
    model = save(workplace / "w.onnx", window_network(case), make_card(3, 3, "window"))
    scene = image(workplace / "s.tif", noise((3, 70, 90)))
    counts = []
    real_run = Session.run

    def spy(self, tiles, *arguments):
        counts.append(len(tiles))
        assert tiles.shape[1:] == (3, 9, 9)
        assert tiles.flags.owndata or tiles.base is None or tiles.base.nbytes == tiles.nbytes
        return real_run(self, tiles, *arguments)

    options = ["--batch", str(batch)] if batch else []
    with mock.patch.object(Session, "run", spy):
        assert workplace.run(*options, model=model, raster=scene).status == 0
    assert sum(counts) == 70 * 90
    assert max(counts) <= most
    assert len(counts) >= 70 * 90 // most


def test_a_bare_file_says_window_or_patch(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """(N,1,C,p,p) can only be a window; of (N,C,p,p) a description by hand says it."""
    monkeypatch.setenv("THEMATICA_HOME", str(workplace / "home"))
    deep = save(workplace / "deep.onnx", window_network(Case(deep=True)))
    card = read_model_card(deep)
    assert (card.task, card.tile, len(card.bands), len(card.classes)) == ("window", 5, 3, 3)
    flat = save(workplace / "flat.onnx", window_network(Case()))
    outcome = workplace.run(model=flat)
    assert outcome.status == 2
    assert "patches" in outcome.sentence
    kept = run_here("inspect", flat, "--task", "window", "--classes", "a,b,c", "--keep")
    assert kept.status == 0, kept.err
    assert workplace.run(model=flat).status == 0


def test_a_window_whose_side_is_open_needs_it_from_the_card(workplace: Workplace) -> None:
    net = Net(3, shape=["n", 3, "h", "w"])
    x = net.dense(net.node("Flatten", net.node("GlobalMaxPool", net.conv(net.input, 4))), 3)
    model = net.model(x, ["n", 3])
    path = save(workplace / "net.onnx", model, make_card(3, 3, "window"))
    outcome = workplace.run(model=path)
    assert outcome.status == 2
    assert "thematica:tile" in outcome.sentence
    assert workplace.run(model=save(path, model, make_card(3, 3, "window", tile=5))).status == 0


def test_scores_per_window_beyond_the_card(workplace: Workplace) -> None:
    net = Net(3, shape=["n", 3, 5, 5])
    model = save(workplace / "net.onnx", net.model(net.conv(net.input, 3), ["n", 3, 5, 5]), make_card(3, 3, "window"))
    outcome = workplace.run(model=model)
    assert outcome.status == 2
    assert "(N, K)" in outcome.sentence


@pytest.mark.parametrize("said", [["n", 3], ["n", "k"]])
def test_a_map_where_one_score_per_class_is_declared(workplace: Workplace, said: list) -> None:
    """What the file says wrongly shows only when it runs: the convolution gives 3 × 5 × 5 scores."""
    net = Net(3, shape=["n", 3, 5, 5])
    path = save(workplace / "net.onnx", net.model(net.conv(net.input, 3), said), make_card(3, 3, "window"))
    outcome = workplace.run(model=path)
    assert outcome.status == 2
    assert "contradicts its card" in outcome.sentence or "not a valid ONNX" in outcome.sentence


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_class_numbers_in_a_column(workplace: Workplace, kind: int) -> None:
    net = Net(3, shape=["n", 3, 5, 5])
    x = net.dense(net.node("Flatten", net.conv(net.input, 2), channels=50), 3)
    x = net.node("Cast", net.node("ArgMax", x, axis=1, keepdims=1), to=kind)
    path = workplace / "net.onnx"
    from .test_outputs import several

    model = several(net, {"label": (x, ["n", 1])}, {"label": "int64" if kind == TensorProto.INT64 else "int32"})
    assert workplace.run(model=save(path, model, make_card(3, 3, "window"))).status == 0
    assert set(np.unique(read(workplace.output))) <= {0, 1, 2}
