"""*smooth* stitching: tiles that overlap are blended, so that no seam shows where hard cuts leave one.

The law: probabilities are the weighted mean over all tiles of a grid that covers the raster, whatever the chunks they
are computed in; the weights rise from a tile's border as a raised cosine.
"""

from __future__ import annotations

import json
import subprocess
import sys
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

from thematica.engine import PixelJob, classify, tiling
from thematica.models.card import FurtherOutput

from .networks import Net, image, light, make_card, mlp, noise, read, save, z_scores
from .test_exact import reflect
from .test_outputs import classes, maps, several
from .workplace import Workplace


def of_the_tile(net: Net, x: str) -> str:
    """Something that differs from tile to tile and is the same within one: its mean, times ten."""
    return net.node("Mul", net.node("GlobalAveragePool", x), net.weight(np.array(10, net.real)))


def seamy(path: Path, channels: int = 2, shape: list | None = None, margin: int = 0, **card) -> Path:
    """A network whose scores depend on the mean of the tile: hard cuts leave seams."""
    net = Net(3, shape=shape)
    pads = {"pads": (0, 0, 0, 0)} if margin else {}
    x = net.conv(net.input, channels, 2 * margin + 1 if margin else 3, **pads)
    x = net.node("Add", x, of_the_tile(net, net.conv(net.input, channels, 1)))
    size = ["ho", "wo"] if shape is None and margin else None
    result = [shape[0], channels, shape[2] - 2 * margin, shape[3] - 2 * margin] if shape else None
    if size:
        result = ["n", channels, *size]
    described = make_card(
        3, max(channels, 2), normalisation_steps=z_scores([128.0] * 3, [64.0] * 3), **card
    )  # fmt: skip
    return save(path, net.model(x, result), described)


@dataclass
class Case:
    """One run: everything that hypothesis may vary."""

    channels: int = 3
    size: tuple[int, int] = (70, 61)
    tile: int | None = 16
    overlap: int | None = 8
    fixed: tuple[int, int] | None = None
    fixed_batch: int = 0
    margin: int = 0
    missing: float = 0.0
    threads: int = 2
    budget: int = 1 << 18
    batch: int | None = None
    threshold: float | None = None
    area: bool = False
    seed: int = 0


def ramp(length: int, reach: int) -> np.ndarray:
    """Raised cosine over twice the reach from both ends, written anew."""
    weights = np.ones(length)
    for place in range(length):
        from_end = min(place, length - 1 - place) + 0.5
        if from_end < 2 * reach:
            weights[place] = 0.5 - 0.5 * np.cos(np.pi * from_end / (2 * reach))
    return weights


def whole_image(case: Case, model: Path, samples: np.ndarray, valid: np.ndarray, tiling_report: dict) -> np.ndarray:
    """Sums over the whole raster in double precision, tile by tile, with nothing of the engine."""
    core, halo = tiling_report["tile"], tiling_report["halo"]
    proto = onnx.load(model)
    for tensor in (*proto.graph.input, *proto.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "n"
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    height, width = valid.shape
    stored = samples.astype(np.float64)
    # The mean enters as 0.
    stored[:, ~valid] = 128
    entered = (stored - 128) / 64
    count = max(case.channels, 2)
    sums, weights = np.zeros((count, height, width)), np.zeros((height, width))
    sides = case.fixed or tuple(side + 2 * halo for side in core)
    far = max(sides) + max(core)
    padded = reflect(reflect(entered, 1, far, far), 2, far, far).astype(np.float32)
    for row in range(0, height, core[0]):
        for column in range(0, width, core[1]):
            top, left = row - halo, column - halo
            tile = padded[:, top + far : top + far + sides[0], left + far : left + far + sides[1]]
            scores = session.run(None, {"image": tile[None]})[0][0].astype(np.float64)
            if case.channels == 1:
                second = 1 / (1 + np.exp(-scores[0]))
                probabilities = np.stack([1 - second, second])
            else:
                exponents = np.exp(scores - scores.max(axis=0))
                probabilities = exponents / exponents.sum(axis=0)
            # A fixed tile may see more behind its core than the halo; that counts for nothing.
            top, left = top + case.margin, left + case.margin
            rows, columns = (side + 2 * (halo - case.margin) for side in core)
            weight = np.outer(ramp(rows, halo - case.margin), ramp(columns, halo - case.margin))
            for r in range(rows):
                if not 0 <= top + r < height:
                    continue
                first, last = max(left, 0), min(left + columns, width)
                if first < last:
                    inside = slice(first - left, last - left)
                    sums[:, top + r, first:last] += probabilities[:, r, inside] * weight[r, inside]
                    weights[top + r, first:last] += weight[r, inside]
    assert (weights > 0).all()
    return sums / weights


def run(case: Case, folder: Path) -> dict:
    shape = None
    if case.fixed or case.fixed_batch:
        shape = [case.fixed_batch or "n", 3, *(case.fixed or ("h", "w"))]
        if not case.fixed:
            shape, case.margin = [case.fixed_batch, 3, "h", "w"], 0
    thresholds = (case.threshold,) if case.threshold is not None else ()
    if shape and not case.fixed:
        net = Net(3, shape=shape)
        x = net.node("Add", net.conv(net.input, case.channels), of_the_tile(net, net.conv(net.input, case.channels, 1)))
        card = make_card(3, max(case.channels, 2), normalisation_steps=z_scores([128.0] * 3, [64.0] * 3))
        card.thresholds = thresholds
        model = save(folder / "net.onnx", net.model(x), card)
    else:
        model = seamy(folder / "net.onnx", case.channels, shape, case.margin, thresholds=thresholds)
    random = np.random.default_rng(case.seed)
    samples = random.uniform(1, 255, (3, *case.size)).astype(np.uint8)
    # Differences between tiles as in a real scene.
    samples = (samples * np.linspace(0.2, 1, case.size[1])).clip(1, 255).astype(np.uint8)
    valid = random.random(case.size) >= case.missing
    samples[:, ~valid] = 0
    raster = image(folder / "scene.tif", samples, nodata=0 if case.missing else None)
    area, crop = None, (slice(None), slice(None))
    if case.area:
        top, left = case.size[0] // 3, case.size[1] // 4
        area = [500_000 + 10.0 * left, 5_500_000 - 10.0 * case.size[0], 500_000 + 10.0 * case.size[1],
                5_500_000 - 10.0 * top]  # fmt: skip
        crop = (slice(top, None), slice(left, None))
    with mock.patch.object(tiling, "_BLENDING_BUDGET", case.budget):
        result = classify(
            PixelJob(
                [str(raster)], str(model), str(folder / "map.tif"), mode="smooth", tile=case.tile, overlap=case.overlap,
                batch=case.batch, threads=case.threads, area=area, overwrite=True,
                **{name: str(folder / f"{name}.tif") for name in ("confidence", "entropy", "margin", "probabilities")},
            )
        )  # fmt: skip
    report = result["report"]
    assert report["tiling"]["mode"] == "smooth"
    expected = whole_image(case, model, samples, valid, report["tiling"])[:, crop[0], crop[1]]
    here = valid[crop]
    found, codes = read(folder / "probabilities.tif"), read(folder / "map.tif")[0]
    np.testing.assert_array_equal(codes == 255, ~here)
    np.testing.assert_allclose(found[:, here], expected[:, here], atol=1e-5)
    # The decision and the scores follow from the probabilities that were written.
    p = found[:, here].astype(np.float64)
    if case.channels == 1:
        chosen = (p[1] >= np.float32(0.5 if case.threshold is None else case.threshold)).astype(int)
    else:
        chosen = p.argmax(axis=0)
        if case.threshold is not None:
            chosen = np.where(p.max(axis=0) < np.float32(case.threshold), 254, chosen)
    np.testing.assert_array_equal(codes[here], chosen)
    ordered = np.sort(p, axis=0)
    shares = p / p.sum(axis=0)
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=0) / np.log(len(p))
    # Of one score the threshold decides, and the class that it chose may be the less probable one.
    best = np.where(chosen == 1, p[1], p[0]) if case.channels == 1 else ordered[-1]
    for name, values in (("confidence", best), ("margin", ordered[-1] - ordered[-2]), ("entropy", entropy)):
        score = read(folder / f"{name}.tif")[0]
        assert np.isnan(score[~here]).all()
        np.testing.assert_allclose(score[here], values, atol=1e-5)
    return report


@st.composite
def cases(draw) -> Case:
    size = st.one_of(st.integers(1, 20), st.sampled_from([32, 53, 70]))
    fixed = draw(st.sampled_from([None, None, (32, 32), (40, 36), (52, 47)]))
    return Case(
        channels=draw(st.sampled_from([1, 2, 4])),
        size=(draw(size), draw(size)),
        tile=draw(st.sampled_from([8, 16, 30])),
        overlap=draw(st.sampled_from([1, 5, 12, 16])),
        fixed=fixed,
        fixed_batch=draw(st.sampled_from([0, 0, 1, 3])),
        margin=draw(st.sampled_from([0, 0, 2, 4])),
        missing=draw(st.sampled_from([0.0, 0.1, 0.95])),
        threads=draw(st.integers(1, 3)),
        budget=draw(st.sampled_from([1, 1 << 16, 1 << 18, 1 << 28])),
        batch=draw(st.sampled_from([None, 4])),
        threshold=draw(st.sampled_from([None, None, 0.6])),
        area=draw(st.booleans()),
        seed=draw(st.integers(0, 9)),
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_the_map_is_the_weighted_mean_of_whole_tiles(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(case, Path(folder))


@pytest.mark.parametrize("budget", [1, 1 << 17, 1 << 28])
def test_fixed_tiles_that_see_more_behind_than_before(tmp_path: Path, budget: int) -> None:
    """Total stride 8 and a fixed side that it does not divide: more is seen behind a core than before it."""
    net = Net(3, shape=["n", 3, 52, 52])
    x = net.conv(net.input, 3)
    for _ in range(3):
        x = net.pool(x, 1, 2)
    x = net.node("Add", net.conv(net.input, 3), net.node("GlobalAveragePool", x))
    model = save(tmp_path / "net.onnx", net.model(x, ["n", 3, 52, 52]), make_card(3, 3))
    raster = image(tmp_path / "scene.tif", noise((3, 150, 90)) // 64)
    job = PixelJob(
        [str(raster)], str(model), str(tmp_path / "map.tif"), mode="smooth", overlap=16,
        probabilities=str(tmp_path / "p.tif"),
    )  # fmt: skip
    with mock.patch.object(tiling, "_BLENDING_BUDGET", budget):
        report = classify(job)["report"]
    assert (report["tiling"]["stride"], report["tiling"]["halo"], report["tiling"]["tile"]) == (8, 16, [16, 16])
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    padded = reflect(reflect(read(raster).astype(np.float32), 1, 80, 80), 2, 80, 80)
    sums, weights = np.zeros((3, 310, 250)), np.zeros((310, 250))
    weight = np.outer(ramp(48, 16), ramp(48, 16))
    for row in range(0, 150, 16):
        for column in range(0, 90, 16):
            window = (slice(row + 64, row + 64 + 52), slice(column + 64, column + 64 + 52))
            scores = session.run(None, {"image": padded[(slice(None), *window)][None]})[0][0].astype(np.float64)
            exponents = np.exp(scores - scores.max(axis=0))
            probabilities = exponents / exponents.sum(axis=0)
            # What the tile sees behind its core beyond the halo counts for nothing.
            window = (slice(row + 64, row + 64 + 48), slice(column + 64, column + 64 + 48))
            sums[(slice(None), *window)] += probabilities[:, :48, :48] * weight
            weights[window] += weight
    expected = (sums / np.maximum(weights, 1e-12))[:, 80:230, 80:170]
    np.testing.assert_allclose(read(tmp_path / "p.tif"), expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["exact", "smooth"])
def test_a_coarse_pyramid_leaves_room_for_overlaps(tmp_path: Path, mode: str) -> None:
    """Pooling over the whole of a fixed tile, as pyramids of scenes do, is a stride as large as the tile."""
    net = Net(3, shape=["n", 3, 64, 64])
    everything = net.pool(net.conv(net.input, 3), 64, 64, "AveragePool")
    x = net.node("Add", net.conv(net.input, 3), everything)
    model = save(tmp_path / "net.onnx", net.model(x, ["n", 3, 64, 64]), make_card(3, 3))
    raster = image(tmp_path / "scene.tif", noise((3, 150, 90)))
    tiling_report = classify(PixelJob([str(raster)], str(model), str(tmp_path / "map.tif"), mode=mode))["report"][
        "tiling"
    ]
    assert tiling_report["halo"] >= 8
    assert tiling_report["tile"][0] == 64 - 2 * tiling_report["halo"]


# Seams


def jump(values: np.ndarray, side: int) -> float:
    """How much larger the steps across the borders of tiles are than those two pixels before and behind."""
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(values, axis=axis)).mean(axis=1 - axis)
        borders = np.arange(side - 1, len(steps) - 2, side)
        around = (steps[borders - 2] + steps[borders + 2]) / 2
        ratios.append(steps[borders].mean() / around.mean())
    return max(ratios)


def brighter(size: int, kind: str = "uint8") -> np.ndarray:
    """Smooth brightness, so that every tile has another mean."""
    row, column = np.mgrid[0:size, 0:size] / size
    plane = 40 + 120 * (0.5 + 0.25 * np.sin(5 * row) + 0.25 * np.cos(7 * column))
    return np.stack([plane, plane * 0.8, plane * 1.2]).astype(kind)


@pytest.mark.parametrize("fixed", [None, 96])
def test_no_seams(tmp_path: Path, fixed: int | None) -> None:
    """Hard cuts show the tiles of this network; blended they cannot be seen."""
    side = 64
    model = seamy(tmp_path / "net.onnx", 2, ["n", 3, fixed, fixed] if fixed else None)
    raster = image(tmp_path / "scene.tif", brighter(384))
    jumps = {}
    for mode in ("exact", "smooth"):
        job = PixelJob(
            [str(raster)], str(model), str(tmp_path / f"{mode}.tif"), mode=mode, overlap=16,
            tile=None if fixed else side, probabilities=str(tmp_path / f"{mode}-p.tif"),
            confidence=str(tmp_path / f"{mode}-c.tif"),
        )  # fmt: skip
        report = classify(job)["report"]
        assert report["tiling"]["tile"] == [side, side]
        assert report["tiling"]["exact"] is False
        # Confidence bends where the best class changes; the probability of one class shows the seams alone.
        jumps[mode] = jump(read(tmp_path / f"{mode}-p.tif")[1].astype(np.float64), side)
    assert jumps["exact"] > 5
    assert jumps["smooth"] < 1.1


def test_a_network_that_hard_cuts_suit_is_not_harmed(tmp_path: Path) -> None:
    """Where tiles agree, so does their mean: the map of a local network is the same."""
    model = light(tmp_path / "net.onnx", normalisation_steps=z_scores([128.0] * 3, [64.0] * 3))
    raster = image(tmp_path / "scene.tif", noise((3, 100, 90)))
    for mode in ("exact", "smooth"):
        classify(
            PixelJob(
                [str(raster)], str(model), str(tmp_path / f"{mode}.tif"), mode=mode, tile=32, overlap=8,
                probabilities=str(tmp_path / f"{mode}-p.tif"),
            )
        )  # fmt: skip
    np.testing.assert_allclose(read(tmp_path / "smooth-p.tif"), read(tmp_path / "exact-p.tif"), atol=0.25)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    difference = np.abs(read(tmp_path / "smooth-p.tif")[inner] - read(tmp_path / "exact-p.tif")[inner])
    # Near a tile's border its padding shows, with little weight.
    assert np.median(difference) < 1e-5


# Several outputs, and networks without tiles


def test_several_outputs(tmp_path: Path) -> None:
    net = Net(3)
    gate = of_the_tile(net, net.conv(net.input, 1, 1))
    outputs = {
        "cover": (net.node("Add", net.conv(net.input, 3), gate), maps(3)),
        "roads": (net.node("Sigmoid", net.node("Add", net.conv(net.input, 1), gate)), maps(1)),
    }
    card = make_card(
        3, 3, output_name="cover", normalisation_steps=z_scores([128.0] * 3, [64.0] * 3),
        further_outputs=[FurtherOutput("roads", classes(2, 7), "sigmoid", (0.4,))],
    )  # fmt: skip
    model = save(tmp_path / "two.onnx", several(net, outputs), card)
    raster = image(tmp_path / "scene.tif", noise((3, 90, 70)))
    common = {"mode": "smooth", "tile": 16, "overlap": 8, "overwrite": True}
    two = {"probabilities": str(tmp_path / "p.tif"), **common}
    classify(PixelJob([str(raster)], str(model), str(tmp_path / "map.tif"), **two))
    for name, mark in (("cover", ""), ("roads", "_roads")):
        one = PixelJob(
            [str(raster)], str(model), str(tmp_path / "one.tif"), output_name=name,
            probabilities=str(tmp_path / "one-p.tif"), **common,
        )  # fmt: skip
        classify(one)
        np.testing.assert_allclose(read(tmp_path / f"p{mark}.tif"), read(tmp_path / "one-p.tif"), atol=1e-6)
        np.testing.assert_array_equal(read(tmp_path / f"map{mark}.tif"), read(tmp_path / "one.tif"))
    second = read(tmp_path / "p_roads.tif")[1]
    np.testing.assert_array_equal(read(tmp_path / "map_roads.tif")[0], np.where(second >= np.float32(0.4), 8, 7))


def test_networks_of_single_pixels_have_nothing_to_blend(tmp_path: Path) -> None:
    model = mlp(tmp_path / "net.onnx", 3)
    raster = image(tmp_path / "scene.tif", noise((3, 60, 50)))
    reports = {}
    for mode in ("exact", "smooth"):
        job = PixelJob(
            [str(raster)], str(model), str(tmp_path / f"{mode}.tif"), mode=mode,
            probabilities=str(tmp_path / f"{mode}-p.tif"),
        )  # fmt: skip
        reports[mode] = classify(job)["report"]["tiling"]
    assert reports["smooth"] == reports["exact"]
    np.testing.assert_array_equal(read(tmp_path / "smooth.tif"), read(tmp_path / "exact.tif"))
    np.testing.assert_array_equal(read(tmp_path / "smooth-p.tif"), read(tmp_path / "exact-p.tif"))


def test_smooth_warns_of_nothing_and_says_so_in_the_report(workplace: Workplace) -> None:
    """Who asks for blending knows that the map is not that of one run."""
    outcome = workplace.run("--mode", "smooth", "--progress", "json")
    assert outcome.status == 0, outcome.err
    report = outcome.events[-1]["report"]
    assert report["warnings"] == []
    assert "blended" in report["tiling"]["why"]
    assert report["parameters"]["mode"] == "smooth"


def test_smooth_can_be_cancelled_and_leaves_nothing(workplace: Workplace) -> None:
    from thematica.errors import Cancelled
    from thematica.progress import Monitor

    class Stop(Monitor):
        def progress(self, *arguments, **options):
            super().progress(*arguments, **options)
            self.cancel()

    before = workplace.files()
    job = PixelJob([str(workplace.scene)], str(workplace.model), str(workplace.output), mode="smooth")
    with pytest.raises(Cancelled):
        classify(job, Stop())
    assert workplace.files() == before


CHILD = """
import json, re, sys, time
from thematica.engine import PixelJob, classify
begun = time.monotonic()
report = classify(PixelJob(**json.loads(sys.argv[1])))["report"]
# Not ru_maxrss: that counts what the process that started this one held.
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps([peak, time.monotonic() - begun, report["tiling"]]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory a process held at most")
def test_memory_does_not_depend_on_the_size_of_the_raster(tmp_path: Path) -> None:
    model = light(tmp_path / "net.onnx", 3, 6, normalisation_steps=z_scores([128.0] * 3, [64.0] * 3))
    source = image(tmp_path / "part.tif", noise((3, 1000, 1000)), tiled=True, blockxsize=256, blockysize=256)
    side = 4000
    parts = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{source.name}</SourceFilename><SourceBand>BAND</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="1000" ySize="1000"/>'
        f'<DstRect xOff="{x}" yOff="{y}" xSize="1000" ySize="1000"/></SimpleSource>'
        for y in range(0, side, 1000)
        for x in range(0, side, 1000)
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><Description>B{n}</Description>{parts.replace("BAND", str(n))}'
        "</VRTRasterBand>"
        for n in (1, 2, 3)
    )
    scene = tmp_path / "large.vrt"
    scene.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>500000, 10, 0, 5500000, 0, -10</GeoTransform>{bands}</VRTDataset>",
        encoding="utf-8",
    )
    job = {"rasters": [str(scene)], "model": str(model), "output": str(tmp_path / "map.tif"), "mode": "smooth",
           "confidence": str(tmp_path / "c.tif"), "threads": 2}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", CHILD, json.dumps(job)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    kilobytes, seconds, report = json.loads(done.stdout)
    print(f"smooth, {side} × {side}: {kilobytes / 1024:.0f} MiB, {seconds:.1f} s, {report}")
    assert kilobytes < 1024 * 1024
