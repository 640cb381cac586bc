"""Sessions on ONNX Runtime: memory, fixed batches, half precision, and what the report says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from thematica.engine.deployment import deploy
from thematica.engine.half_precision import in_half_precision
from thematica.engine.network import load_network
from thematica.engine.ort_session import OrtSession, heavy_operators
from thematica.engine.providers import find_provider, provider_order
from thematica.engine.session import create_session, tile_options
from thematica.errors import InputError, ModelError
from thematica.models.reading import read_model_card

from .networks import Net, image, light, make_card, mlp, noise, read, save, z_scores
from .workplace import Workplace, run_here


def deployed(path: Path, data_type: str = "uint8", scores=("confidence", "margin"), scale: float = 1.0):
    network = load_network(path, read_model_card(path))
    bands = len(network.card.bands)
    return deploy(network, np.dtype(data_type), [scale] * bands, [0.0] * bands, scores)


def hungry(path: Path, images: int, free: str | int = "n", task: str = "segmentation") -> Path:
    """A network that needs a petabyte for more than so many images at once; patches and windows have 8 × 8 pixels."""
    whole = task == "segmentation"
    net = Net(3, shape=[free, 3, *(["h", "w"] if whole else [8, 8])])
    count = net.node("Gather", net.node("Shape", net.input), net.weight(np.array([0], np.int64)), axis=0)
    more = net.node("Max", net.node("Sub", count, net.weight(np.array([images], np.int64))), net.weight(np.array([0])))
    size = net.node("Mul", more, net.weight(np.array([10**15], np.int64)))
    ones = net.node("ConstantOfShape", size, value=onnx.numpy_helper.from_array(np.ones(1, np.float32)))
    extra = net.node("ReduceSum", ones, keepdims=0)
    scores = net.conv(net.input, 2, 1)
    if not whole:
        scores = net.node("Flatten", net.node("GlobalAveragePool", scores))
    result = net.node("Add", scores, net.node("Mul", extra, net.weight(np.array(0, np.float32))))
    net.channels[result] = 2
    return save(path, net.model(result, None if whole else [free, 2]), make_card(3, 2, task))


# Memory


@pytest.mark.parametrize(("images", "limit"), [(1, 1), (2, 1), (3, 3), (7, None)])
def test_a_batch_that_memory_does_not_hold_is_halved_and_the_run_goes_on(tmp_path, images, limit):
    session = create_session(deployed(hungry(tmp_path / "net.onnx", images)), "cpu")
    samples = noise((7, 3, 8, 8))
    found = session.run(samples, tile_options())
    assert session.facts()["largest_batch"] == limit
    assert bool(session.warnings) == (limit is not None)
    alone = [session.run(samples[index : index + 1]) for index in range(7)]
    for name in ("classes", "confidence", "margin"):
        np.testing.assert_array_equal(found[name], np.concatenate([run[name] for run in alone]))
    assert list(found["shape"]) == [7, 2, 8, 8]
    assert not np.isnan(found["check"]).any()


def test_the_smaller_batch_is_remembered_and_told_once(tmp_path):
    session = create_session(deployed(hungry(tmp_path / "net.onnx", 2)), "cpu")
    told: list[str] = []
    session.warn = told.append
    session.run(noise((8, 3, 8, 8)))
    session.run(noise((8, 3, 8, 8)))
    assert [sentence.split(";")[0] for sentence in told] == [
        "Memory does not hold a batch of 8 tiles", "Memory does not hold a batch of 4 tiles",
    ]  # fmt: skip
    assert "--batch 2" in told[-1]


def test_where_one_tile_does_not_fit_the_sentence_names_the_tile(tmp_path):
    session = create_session(deployed(hungry(tmp_path / "net.onnx", 0)), "cpu")
    with pytest.raises(
        ModelError, match="does not fit into memory with one tile of 8 × 16 pixels: use a smaller --tile"
    ):
        session.run(noise((4, 3, 8, 16)))
    assert session.facts()["largest_batch"] == 1


def test_a_fixed_batch_cannot_be_halved_and_the_sentence_says_so(tmp_path):
    session = create_session(deployed(hungry(tmp_path / "net.onnx", 3, free=4)), "cpu")
    with pytest.raises(ModelError, match="its fixed batch of 4 tiles of 8 × 8 pixels: use a smaller --tile"):
        session.run(noise((4, 3, 8, 8)))


def runs_of(w: Workplace, images: int, free: str | int = "n") -> dict[str, list[object]]:
    """Commands whose network needs too much for more than so many patches, images or windows at once."""
    patch, window = (hungry(w / f"{task}.onnx", images, free, task) for task in ("patch", "window"))
    for index in range(4):
        image(w / "images" / f"{index}.tif", noise((3, 8, 8), seed=index))
    return {
        "patch": ["classify-patches", w.scene, "--model", patch, "--output", w / "map.gpkg"],
        "image": ["classify-folder", w / "images", "--model", patch, "--output", w / "table.csv"],
        "window": w.command(model=window),
    }


@pytest.mark.parametrize(("unit", "units"), [("patch", "patches"), ("image", "images"), ("window", "windows")])
def test_the_sentences_name_what_runs_and_only_options_that_there_are(workplace: Workplace, unit, units) -> None:
    (workplace / "images").mkdir()
    alone = run_here(*runs_of(workplace, 0)[unit])
    assert alone.status == 2
    assert f"not fit into memory with one {unit} of 8 × 8 pixels: use another --provider." in alone.sentence
    fixed = run_here(*runs_of(workplace, 0, 4)[unit])
    assert f"its fixed batch of 4 {units} of 8 × 8 pixels: use another --provider." in fixed.sentence
    halved = run_here(*runs_of(workplace, 2)[unit], "--batch", 4, "--progress", "json")
    assert halved.status == 0
    assert any(
        f"not hold a batch of 4 {units}; the run goes on with 2 at a time" in event.get("message", "")
        for event in halved.events
    )


def test_the_network_of_a_whole_run_may_be_hungry(workplace: Workplace) -> None:
    model = hungry(workplace / "hungry.onnx", 1)
    scene = image(workplace / "larger.tif", noise((3, 200, 200)))
    outcome = workplace.run("--progress", "json", "--tile", 32, "--batch", 6, raster=scene, model=model)
    assert outcome.status == 0, outcome.out
    report = outcome.events[-1]["report"]
    assert report["backend"]["largest_batch"] == 1
    assert any("goes on with 3 at a time" in warning for warning in report["warnings"])
    frugal = hungry(workplace / "frugal.onnx", 9)
    other = workplace.run("--tile", 32, "--batch", 6, raster=scene, model=frugal, output=workplace / "other.tif")
    assert other.status == 0, other.err
    np.testing.assert_array_equal(read(workplace.output), read(workplace / "other.tif"))


def test_rows_of_pixels_are_halved_too(tmp_path):
    """Networks of single pixels that cannot be rewritten: their batch lies along the second axis."""
    path = mlp(tmp_path / "net.onnx", 4, 3)
    session = create_session(dataclasses.replace(deployed(path)), "cpu")
    assert session.deployment.layout == "nchw"
    net = Net(4, 0, ["n", 4])
    x = net.dense(net.input, 3)
    model = net.model(net.node("Add", x, net.node("ReduceMean", x, axes=[1], keepdims=1)))
    session = create_session(deployed(save(tmp_path / "rows.onnx", model, make_card(4, 3, "pixel"))), "cpu")
    assert session.deployment.layout == "cn"
    samples = noise((4, 50))
    whole = session.run(samples)
    session._most = 16
    parts = session.run(samples)
    for name, array in whole.items():
        if name != "check":
            np.testing.assert_array_equal(array, parts[name], err_msg=name)


def test_a_run_that_was_told_to_stop_is_not_halved(tmp_path):
    session = create_session(deployed(hungry(tmp_path / "net.onnx", 1)), "cpu")
    options = tile_options()
    options.terminate = True
    with pytest.raises(ModelError):
        session.run(noise((4, 3, 8, 8)), options)
    assert session.facts()["largest_batch"] is None


# Fixed batches


def test_a_batch_too_small_for_the_network_is_filled_up(tmp_path):
    net = Net(3, shape=[4, 3, "h", "w"])
    path = save(tmp_path / "net.onnx", net.model(net.conv(net.input, 3)), make_card(3, 3))
    session = create_session(deployed(path), "cpu")
    samples = noise((4, 3, 8, 8))
    whole, part = session.run(samples), session.run(samples[:3])
    assert part["classes"].shape == (3, 8, 8)
    np.testing.assert_array_equal(part["confidence"], whole["confidence"][:3])


# Providers


def test_the_report_says_what_was_asked_for_what_runs_and_why(workplace: Workplace) -> None:
    outcome = workplace.run("--progress", "json")
    backend = outcome.events[-1]["report"]["backend"]
    assert (backend["name"], backend["asked"], backend["why_not"]) == ("onnxruntime", None, {})
    outcome = workplace.run("--progress", "json", "--provider", "rocm,cpu", "--overwrite")
    report = outcome.events[-1]["report"]
    assert report["backend"]["asked"] == "rocm,cpu"
    assert report["backend"]["provider"] == "CPUExecutionProvider"
    assert "onnxruntime-rocm" in report["backend"]["why_not"]["rocm"]
    (warning,) = [text for text in report["warnings"] if "ROCm" in text]
    assert warning.endswith("The network runs on the CPU instead.")
    assert warning in [event.get("message") for event in outcome.events]


def test_the_environment_variable_reaches_the_job(workplace: Workplace, monkeypatch) -> None:
    monkeypatch.setenv("THEMATICA_PROVIDERS", "directml,cpu")
    outcome = workplace.run("--progress", "json")
    assert outcome.events[-1]["report"]["backend"]["asked"] == "directml,cpu"
    monkeypatch.setenv("THEMATICA_PROVIDERS", "directml")
    outcome = workplace.run("--overwrite")
    assert outcome.status == 2
    assert "THEMATICA_PROVIDERS" in outcome.sentence


def test_a_provider_behind_the_one_that_runs_is_no_news(tmp_path):
    session = create_session(deployed(light(tmp_path / "net.onnx")), "cpu,cuda")
    assert session.why_not == {}
    assert session.warnings == []


class FakeBuild:
    """ONNX Runtime's builds that cannot be had here: a provider that does not load, or takes nothing."""

    def __init__(self, monkeypatch, *, loads: bool, message: bytes = b"", raises: str = ""):
        self.loads, self.message, self.raises = loads, message, raises
        self.real = onnxruntime.InferenceSession
        self.given: list[dict] = []
        present = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: present)
        monkeypatch.setattr(onnxruntime, "InferenceSession", self.session)
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublas.so.13"), raising=False)

    def session(self, content, options, providers, **more):
        import os

        wanted = [entry if isinstance(entry, str) else entry[0] for entry in providers]
        if wanted == ["CPUExecutionProvider"]:
            return self.real(content, options, providers=wanted)
        self.given.append(more)
        os.write(2, self.message)
        if self.raises:
            raise RuntimeError(self.raises)
        made = self.real(content, options, providers=["CPUExecutionProvider"])
        if self.loads:
            made.get_providers = lambda: wanted
        return made


def test_a_provider_that_falls_back_silently_is_told_with_its_reason(tmp_path, monkeypatch, capfd):
    build = FakeBuild(
        monkeypatch, loads=False,
        message=b"[E:onnxruntime:Default, x.cc:1 f] with error: libcudnn.so.9: cannot open shared object file: No\n",
    )  # fmt: skip
    session = create_session(deployed(light(tmp_path / "net.onnx")), "cuda")
    assert session.provider == "CPUExecutionProvider"
    assert session.why_not["cuda"].startswith("libcudnn.so.9 is missing")
    assert session.warnings[0].startswith("CUDA did not load: libcudnn.so.9 is missing")
    assert build.given == [{"enable_fallback": 0}]
    # Nothing of it reaches stdout, which carries JSON, or the terminal.
    assert capfd.readouterr() == ("", "")


def test_a_provider_that_raises_is_told_too(tmp_path, monkeypatch):
    FakeBuild(monkeypatch, loads=False, raises="CUDA failure 100: no CUDA-capable device is detected ; GPU=-1")
    session = create_session(deployed(light(tmp_path / "net.onnx")), None)
    assert session.provider == "CPUExecutionProvider"
    assert "no NVIDIA GPU" in session.why_not["cuda"]


def test_a_provider_that_takes_nothing_of_the_network_has_not_loaded(tmp_path, monkeypatch):
    """As OpenVINO does where an output is a scalar: it is in the list, and the CPU does all the work."""
    FakeBuild(monkeypatch, loads=True)
    session = create_session(deployed(light(tmp_path / "net.onnx")), "cuda")
    assert session.provider == "CPUExecutionProvider"
    assert session.why_not["cuda"] == "it takes none of the 2 operators that cost time in this network"


def test_operators_that_cost_time_are_counted(tmp_path):
    session = create_session(deployed(light(tmp_path / "net.onnx")), "cpu")
    assert isinstance(session, OrtSession)
    assert heavy_operators(session.session) == (0, 2)


def test_a_network_that_no_provider_loads_is_refused(tmp_path):
    deployment = deployed(light(tmp_path / "net.onnx"))
    with pytest.raises(ModelError, match="ONNX Runtime cannot load the network"):
        create_session(dataclasses.replace(deployment, content=deployment.content[:-40]), "cpu")


def test_input_bound_to_a_device_gives_the_same(tmp_path):
    """The way of tiles on CUDA, here with buffers in main memory."""
    session = create_session(deployed(light(tmp_path / "net.onnx")), "cpu")
    assert isinstance(session, OrtSession)
    bound = OrtSession(session.session, session.deployment, session.order, session.used, 1, "fp32")
    bound._device = "cpu"
    kept = []
    for shape in ((2, 3, 16, 16), (2, 3, 16, 16), (1, 3, 8, 24)):
        samples = noise(shape, seed=len(kept))
        kept.append((session.run(samples), bound.run(samples)))
    for wanted, found in kept:
        for name, array in wanted.items():
            np.testing.assert_array_equal(array, found[name], err_msg=name)


@pytest.mark.parametrize(
    ("name", "runs", "gpu"), [("cpu", 0, False), ("cuda", 2, True), ("directml", 1, True), ("openvino", 1, False)]
)
def test_runs_side_by_side_are_what_the_provider_stands(name, runs, gpu):
    entry = find_provider(name)
    assert entry is not None
    assert (entry.parallel_runs, entry.on_gpu) == (runs, gpu)
    assert find_provider(entry.name) is entry
    assert provider_order(name).providers[0] is entry


# Half precision


def test_half_precision_computes_the_network_in_16_bits_and_its_edges_in_32(tmp_path):
    path = light(tmp_path / "net.onnx", normalisation_steps=z_scores([30000] * 3, [20000] * 3))
    given = deployed(path, "uint16", ["confidence", "entropy", "margin", "probabilities"])
    half = in_half_precision(given)
    assert half is not None
    model = onnx.load_from_string(half.content)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {kind for name, kind in kinds.items() if name.startswith("w")} == {TensorProto.FLOAT16}
    assert kinds["thematica_gain"] == TensorProto.FLOAT
    assert {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.output} == {
        entry.name: entry.type.tensor_type.elem_type for entry in onnx.load_from_string(given.content).graph.output
    }
    samples = noise((2, 3, 32, 32), "uint16", high=65535)
    single, double = create_session(half, "cpu").run(samples), create_session(given, "cpu").run(samples)
    for name in ("confidence", "entropy", "margin", "probabilities"):
        assert single[name].dtype == np.float32
        np.testing.assert_allclose(single[name], double[name], atol=5e-3)
        assert not np.array_equal(single[name], double[name])
    sure = double["margin"] > 1e-2
    np.testing.assert_array_equal(single["classes"][sure], double["classes"][sure])


@pytest.mark.parametrize("data_type", ["uint8", "float16"])
def test_half_precision_of_other_inputs(tmp_path, data_type):
    net = Net(3, data_type=data_type)
    x = net.conv(net.relu(net.conv(net.input, 4)), 3, 1)
    given = deployed(save(tmp_path / "net.onnx", net.model(x), make_card(3, 3)))
    half = in_half_precision(given)
    assert (half is None) == (data_type == "float16")
    if half is not None:
        samples = noise((1, 3, 16, 16))
        first, second = create_session(half, "cpu").run(samples), create_session(given, "cpu").run(samples)
        assert (first["classes"] == second["classes"]).mean() > 0.95


def test_per_pixel_networks_stay_in_single_precision(tmp_path):
    path = mlp(tmp_path / "net.onnx", normalisation_steps=z_scores([5000] * 4, [2000] * 4))
    assert in_half_precision(deployed(path, "uint16")) is None


def test_half_precision_on_the_processor_is_told_to_bring_nothing(workplace: Workplace) -> None:
    outcome = workplace.run("--progress", "json", "--precision", "fp16", "--provider", "cpu")
    report = outcome.events[-1]["report"]
    assert report["backend"]["precision"] == "fp32"
    assert any("fp16) brings nothing on the CPU" in warning for warning in report["warnings"])
    outcome = workplace.run("--progress", "json", "--precision", "auto", "--provider", "cpu", "--overwrite")
    assert outcome.events[-1]["report"]["warnings"] == []


def test_a_job_with_an_unknown_precision_is_refused(workplace: Workplace) -> None:
    from thematica.engine.job import job_from_dict

    values = {"rasters": [str(workplace.scene)], "model": str(workplace.model), "output": str(workplace.output)}
    with pytest.raises(InputError, match=r"no precision “int4”; use one of fp32, fp16, auto"):
        job_from_dict({**values, "precision": "int4"}).check()


def test_half_precision_of_a_network_that_resizes_normalises_and_pools(tmp_path):
    net = Net(3)
    x = net.relu(net.conv(net.input, 8))
    ones, small = np.ones(8, np.float32), np.full(8, 0.1, np.float32)
    x = net.node("BatchNormalization", x, *(net.weight(array) for array in (ones, small, small, ones)))
    low = net.relu(net.conv(net.pool(x), 8))
    up = net.resize(low, 2.0, "linear")
    x = net.node("Softmax", net.conv(net.concat(x, up), 4, 1), axis=1)
    path = save(tmp_path / "net.onnx", net.model(x), make_card(3, 4, activation="softmax"))
    given = deployed(path, scale=1 / 255)
    half = in_half_precision(given)
    assert half is not None
    assert len(half.content) < len(given.content)
    samples = noise((1, 3, 32, 32))
    first, second = create_session(half, "cpu").run(samples), create_session(given, "cpu").run(samples)
    np.testing.assert_allclose(first["confidence"], second["confidence"], atol=5e-3)
    sure = second["margin"] > 1e-2
    np.testing.assert_array_equal(first["classes"][sure], second["classes"][sure])
