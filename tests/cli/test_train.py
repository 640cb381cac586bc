"""``thematica train``: from a training set to a model, and every end that is not one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
from rasterio.transform import from_origin

from thematica.models.file_lock import is_locked
from thematica.models.reading import read_model_card
from thematica.trainer.dataset.description import PARTS
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.loader import Normaliser

from ..conftest import needs_horovod
from ..engine.labels.layers import square, write_layer
from ..engine.workplace import run_here
from ..trainer.training_sets import spectra, write_set

SMALL = ("--set", "network_options.hidden=[8]", "--set", "batch=32")


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    return spectra(tmp_path / "spectra")


def scene(path: Path, bands: int = 4) -> Path:
    """60 × 40 pixels of two classes in columns of 10 pixels, with scale and offset."""
    chance = np.random.default_rng(5)
    places = (np.arange(60) // 10) % 2
    middle = np.array([[2000, 3000, 2500, 6000], [3500, 2000, 2600, 3000]])[:, :bands]
    values = middle[places].T[:, None, :] + chance.normal(0, 500, (bands, 40, 60))
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=bands, height=40, width=60, crs="EPSG:32632",
        transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(values.clip(1).astype("uint16"))
        file.scales, file.offsets = [0.0001] * bands, [-0.1] * bands
    return path


def set_of(folder: Path, raster: Path, *more: object) -> Path:
    squares = [square(column, row) for row in range(1, 36, 10) for column in range(1, 56, 10)]
    names = [("forest", "water")[number % 2] for number in range(len(squares))]
    labels = write_layer(folder.with_suffix(".gpkg"), squares, name=names)
    done = run_here("build-dataset", folder, "--raster", raster, "--labels", labels, "--field", "name", *more)
    assert done.status == 0, done.err
    return folder


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def trained(data: Path, network: str, *more: object) -> dict:
    done = run_here("train", data, "--network", network, "--progress", "json", *more)
    assert done.status == 0, done.out
    return done.events[-1]


# -- the whole way ---------------------------------------------------------------------------------------


def test_from_a_training_set_to_a_model_that_the_store_takes(tmp_path, pixels):
    run = tmp_path / "run"
    result = trained(pixels, "mlp", "--epochs", 12, "--output", run, "--name", "Three spectra", *SMALL)
    assert result["files"] == {
        "model": str(run / "model.onnx"), "card": str(run / "model.json"), "training": str(run / "training.json"),
        "events": str(run / "events.jsonl"), "figures": str(run / "figures"),
    }  # fmt: skip
    assert sorted(path.name for path in (run / "figures").iterdir()) == [
        "confusion.png", "curves.png", "f1.png", "reliability.png",
    ]  # fmt: skip
    assert list(run.rglob("*.part")) == []
    training = json.loads((run / "training.json").read_text())
    assert training == result["report"]
    assert training["metrics"]["overall accuracy"] > 0.8
    assert training["onnx_difference"] <= 1e-4
    assert {"torch", "onnx", "onnxruntime", "thematica"} <= set(training["software"])
    assert training["seed"] == training["recipe"]["seed"] == 2026
    assert training["dataset"]["fingerprint"] == TrainingSet(pixels).description.fingerprint
    assert len(training["history"]) == 12
    lines = [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert (lines[0], lines[-1]) == ("start", "end")
    card = read_model_card(run / "model.onnx")
    assert (card.title, card.task, card.unit, card.gsd) == ("Three spectra", "pixel", "reflectance", 10.0)
    assert card.metrics == training["metrics"]
    assert "180 to test" in card.split
    assert run_here("models", "--add", run / "model.onnx", "--name", "three", "--replace").status == 0
    measured = run_here("evaluate", "three", pixels, "--progress", "json")
    assert measured.status == 0, measured.out
    assert measured.events[-1]["report"]["metrics"] == training["metrics"]


def test_optimistic_splits_are_told_on_the_card(tmp_path, pixels):
    path = pixels / "dataset.json"
    content = json.loads(path.read_text())
    content["split"] = {"method": "random", "seed": 1, "optimistic": True, "why": "Neighbours lie in different parts."}
    path.write_text(json.dumps(content))
    result = trained(pixels, "mlp", "--epochs", 1, *SMALL)
    said = read_model_card(result["files"]["model"]).split
    assert said.endswith(" The figures are optimistic: Neighbours lie in different parts.")


def test_the_engine_gives_the_pixels_of_the_set_the_classes_that_the_trainer_gives(tmp_path):
    raster = scene(tmp_path / "scene.tif")
    data = set_of(tmp_path / "set", raster)
    result = trained(data, "mlp", "--epochs", 3, *SMALL)
    compare(raster, data, result["files"]["model"], tmp_path / "map.tif")


@pytest.mark.parametrize("size", [5, 6])
def test_windows_are_classified_alike_by_trainer_engine_and_fully_convolutional(tmp_path, size):
    raster = scene(tmp_path / "scene.tif")
    data = set_of(tmp_path / "set", raster, "--kind", "windows", "--size", size)
    options = ("network_options.filters=[8,6]", "network_options.dense=[12]", "network_options.spectral_pooling=2")
    settings = [f"--set={option}" for option in options]
    result = trained(data, "cnn3d", "--epochs", 2, *settings)
    assert result["report"]["fully_convolutional"] == {"done": True, "why_not": ""}
    model = Path(result["files"]["model"])
    card = read_model_card(model)
    assert (card.task, card.receptive_field) == ("segmentation", 2 * (size // 2) + 1)
    window = model.with_name("window.onnx")
    assert read_model_card(window).task == "window"
    maps = {}
    for name, path in (("whole", model), ("single", window)):
        compare(raster, data, path, tmp_path / f"{name}.tif", "--probabilities", tmp_path / f"{name}-p.tif", by=window)
        maps[name] = read(tmp_path / f"{name}-p.tif")
    # The whole raster with its border, where windows are reflected.
    assert maps["whole"].shape == (2, 40, 60)
    assert np.abs(maps["whole"] - maps["single"]).max() < 1e-4
    measured = [run_here("evaluate", path, data, "--progress", "json").events[-1] for path in (model, window)]
    assert measured[0]["report"]["confusion"] == measured[1]["report"]["confusion"] == result["report"]["confusion"]


def test_a_network_that_pads_its_windows_stays_as_it_is_and_says_why(tmp_path):
    data = set_of(tmp_path / "set", scene(tmp_path / "scene.tif"), "--kind", "windows", "--size", 9)
    settings = ("--set", "network_options.widths=[8,8]", "--set", "network_options.depths=[1,1]")
    result = trained(data, "small-resnet", "--epochs", 1, "--set", "augment={}", *settings)
    assert not result["report"]["fully_convolutional"]["done"]
    assert "pads the window" in result["report"]["fully_convolutional"]["why_not"]
    assert read_model_card(result["files"]["model"]).task == "window"
    assert not Path(result["files"]["model"]).with_name("window.onnx").exists()


def compare(raster: Path, data: Path, model: Path, output: Path, *more: object, by: Path | None = None) -> None:
    """The engine's classes of the set's pixels are those that ONNX Runtime gives its samples as the trainer does."""
    done = run_here("classify-pixels", raster, "--model", model, "--output", output, *more)
    assert done.status == 0, done.err
    codes = read(output)[0]
    samples = TrainingSet(data)
    session = onnxruntime.InferenceSession(str(by or model), providers=["CPUExecutionProvider"])
    legend = np.array([entry.label.code for entry in samples.description.classes])
    compared = 0
    for arrays in (piece for part in PARTS for piece in samples.arrays(part)):
        given = Normaliser.of(samples.description)(np.asarray(arrays.samples))
        wanted = legend[session.run(None, {session.get_inputs()[0].name: given})[0].argmax(axis=1)]
        found = codes[arrays.places["row"], arrays.places["col"]]
        assert np.array_equal(found, wanted)
        compared += len(wanted)
    assert compared > 100
    assert len(np.unique(codes)) == 2


def test_patches_are_classified_alike_by_trainer_and_engine(tmp_path):
    side, count = 16, 48
    chance = np.random.default_rng(2)
    samples, labels = {}, {}
    for part in PARTS:
        labels[part] = chance.integers(0, 2, count).astype(np.int16)
        values = chance.normal(100, 30, (count, 3, side, side)) + 20 * labels[part][:, None, None, None]
        samples[part] = values.clip(0, 255).astype(np.uint8)
    data = write_set(tmp_path / "set", samples, labels, kind="patches", classes=2)
    settings = ("--set", "network_options.widths=[8,16]", "--set", "network_options.depths=[1,1]")
    result = trained(data, "small-resnet", "--epochs", 2, "--set", "batch=16", *settings)
    model = result["files"]["model"]
    mosaic = samples["test"].reshape(6, 8, 3, side, side).transpose(2, 0, 3, 1, 4).reshape(3, 6 * side, 8 * side)
    raster = tmp_path / "mosaic.tif"
    with rasterio.open(
        raster, "w", driver="GTiff", dtype="uint8", count=3, height=6 * side, width=8 * side, crs="EPSG:32632",
        transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(mosaic)
        file.descriptions = ("B1", "B2", "B3")
    done = run_here(
        "classify-patches", raster, "--model", model, "--output", tmp_path / "map.tif", "--progress", "json"
    )
    assert done.status == 0, done.out
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    given = Normaliser.of(TrainingSet(data).description)(samples["test"])
    wanted = session.run(None, {"samples": given})[0].argmax(axis=1) + 1
    assert np.array_equal(read(tmp_path / "map.tif")[0].ravel(), wanted)
    # Batch normalisation is folded: nothing but filters and their biases is left.
    network = {node.op_type for node in onnx.load(model).graph.node}
    assert "BatchNormalization" not in network


# -- stopping and going on -------------------------------------------------------------------------------


def start(*arguments: object) -> subprocess.Popen:
    program = Path(sys.executable).with_name("thematica")
    return subprocess.Popen(
        [str(program), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def end(process: subprocess.Popen, seconds: float = 120) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"it did not end: {process.communicate()}")
    return process.returncode, out, err


def wait_for_epochs(process: subprocess.Popen, run: Path, epochs: int) -> None:
    events, until = run / "events.jsonl", time.monotonic() + 120
    while not (events.exists() and events.read_text().count('"event": "epoch"') >= epochs):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(f"it trained too little: {process.communicate()}")
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_writes_a_checkpoint_and_the_training_goes_on_from_there(tmp_path, pixels, number):
    run = tmp_path / "run"
    asked = ("train", pixels, "--network", "mlp", "--output", run, *SMALL)
    process = start(*asked, "--epochs", 100_000, "--set", "schedule=constant", "--set", "warm_up=0")
    wait_for_epochs(process, run, 3)
    process.send_signal(number)
    status, _, err = end(process)
    assert (status, err.strip().splitlines()[-1]) == (3, "thematica: Cancelled.")
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    stopped = next(line for line in lines if line["event"] == "stopped")
    assert (run / "checkpoint.pt").exists()
    assert not (run / "model.onnx").exists()
    epochs = stopped["epoch"] + 2
    done = run_here(
        *asked, "--epochs", epochs, "--set", "schedule=constant", "--set", "warm_up=0", "--resume", "--progress", "json"
    )
    assert done.status == 0, done.out
    assert len(done.events[-1]["report"]["history"]) == epochs
    again = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    # Nothing that was told before is lost, and no epoch is trained twice.
    assert again[: len(lines)] == lines
    assert [line["epoch"] for line in again if line["event"] == "epoch"] == list(range(epochs))


def test_a_file_named_stop_ends_a_training(tmp_path, pixels):
    run = tmp_path / "run"
    process = start("train", pixels, "--network", "mlp", "--output", run, "--epochs", 100_000, *SMALL)
    wait_for_epochs(process, run, 1)
    (run / "stop").touch()
    assert end(process)[0] == 3
    assert (run / "checkpoint.pt").exists()


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=needs_horovod)])
def test_a_file_named_finish_ends_a_training_with_the_best_model_so_far(tmp_path, pixels, processes):
    run = tmp_path / "run"
    process = start(
        "train", pixels, "--network", "mlp", "--output", run, "--epochs", 100_000, "--processes", processes, *SMALL
    )
    wait_for_epochs(process, run, 2)
    (run / "finish").touch()
    status, out, err = end(process, 240)
    assert status == 0, out + err
    report = json.loads((run / "training.json").read_text())
    assert 2 <= len(report["history"]) < 100_000
    assert (run / "model.onnx").exists()
    assert not (run / "finish").exists()
    assert "finishing" in {json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()}


def test_the_best_of_a_stopped_training_can_still_be_kept(tmp_path, pixels):
    run = tmp_path / "run"
    asked = ("train", pixels, "--network", "mlp", "--output", run, "--epochs", 100_000, *SMALL)
    process = start(*asked)
    wait_for_epochs(process, run, 3)
    (run / "stop").touch()
    assert end(process)[0] == 3
    (run / "finish").touch()
    done = run_here(*asked, "--resume", "--progress", "json")
    assert done.status == 0, done.out
    epochs = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    # No further epoch was trained: there was one to keep.
    assert len(done.events[-1]["report"]["history"]) == sum(line["event"] == "epoch" for line in epochs)


def test_a_folder_has_one_training_at_a_time_and_the_one_at_work_is_known(tmp_path, pixels):
    run = tmp_path / "run"
    asked = ("train", pixels, "--network", "mlp", "--output", run, "--epochs", 100_000, *SMALL)
    process = start(*asked)
    wait_for_epochs(process, run, 1)
    assert is_locked(run / "running.lock")
    assert json.loads((run / "running.lock").read_text())["pid"] == process.pid
    before = (run / "events.jsonl").read_text()
    other = run_here(*asked, "--resume")
    assert (other.status, "Another training is at work" in other.err) == (2, True)
    # What the first one has told is still there.
    assert (run / "events.jsonl").read_text().startswith(before)
    process.kill()
    process.wait()
    assert not is_locked(run / "running.lock")


@pytest.mark.parametrize("network", ["mlp", "random-forest"])
def test_the_model_goes_into_the_store_under_a_free_name(tmp_path, pixels, monkeypatch, network):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    names = []
    for number in range(2):
        run = tmp_path / f"run-{number}"
        more = ("--output", run, "--name", "fields", "--epochs", 2, "--store", *(SMALL if network == "mlp" else ()))
        names.append(trained(pixels, network, *more)["report"]["stored"])
        last = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
        assert (last["event"], last["stored"], last["part"]) == ("end", names[-1], "test")
    assert names == ["fields", "fields-2"]
    assert sorted(path.name for path in (tmp_path / "store").glob("*.onnx")) == ["fields-2.onnx", "fields.onnx"]


def test_a_search_puts_its_best_trial_alone_into_the_store(tmp_path, pixels, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    more = ("--search", "grid", "--set", 'search={"network_options.C": [1, 10]}', "--output", tmp_path / "runs")
    result = trained(pixels, "svm", *more, "--name", "fields", "--store")
    assert result["report"]["stored"] == "fields"
    assert [path.name for path in (tmp_path / "store").glob("*.onnx")] == ["fields.onnx"]


@pytest.mark.parametrize("search", [(), ("--search", "grid")])
def test_a_name_that_the_store_cannot_take_is_told_before_anything_runs(tmp_path, pixels, search):
    said = refused(pixels, "--network", "svm", "--output", tmp_path / "run", "--name", "a/b", "--store", *search)
    assert "cannot be the name of a model" in said
    assert not (tmp_path / "run").exists()


def test_a_store_that_cannot_be_written_is_told_with_the_place_of_the_model(tmp_path, pixels, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "file" / "store"))
    said = refused(pixels, "--network", "svm", "--output", tmp_path / "run", "--store")
    assert str(tmp_path / "run" / "model.onnx") in said
    assert (tmp_path / "run" / "model.onnx").exists()


@needs_horovod
def test_a_training_whose_starter_was_killed_still_holds_its_folder(tmp_path, pixels):
    run = tmp_path / "run"
    asked = ("train", pixels, "--network", "mlp", "--output", run, "--epochs", 100_000, *SMALL)
    process = start(*asked, "--processes", 2)
    wait_for_epochs(process, run, 1)
    process.kill()
    assert is_locked(run / "running.lock")
    other = run_here(*asked, "--resume")
    assert (other.status, "Another training is at work" in other.err) == (2, True)
    # Its processes live on, and are stopped as any training.
    (run / "stop").touch()
    end(process)
    until = time.monotonic() + 60
    while is_locked(run / "running.lock"):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert '"stopped"' in (run / "events.jsonl").read_text()


@needs_horovod
def test_two_processes_train_one_model(tmp_path, pixels):
    run = tmp_path / "run"
    process = start(
        "train", pixels, "--network", "mlp", "--output", run, "--epochs", 3, "--processes", 2, "--progress", "json",
        *SMALL,
    )  # fmt: skip
    status, out, err = end(process, 240)
    assert status == 0, out + err
    result = json.loads(out.splitlines()[-1])
    assert result["report"]["processes"] == 2
    assert result["report"]["onnx_difference"] <= 1e-4
    assert sum(map(sum, result["report"]["confusion"])) == 180
    assert Path(result["files"]["model"]).exists()


@needs_horovod
def test_what_is_wrong_is_told_once_for_all_processes(tmp_path, pixels):
    damage(pixels)
    process = start("train", pixels, "--network", "mlp", "--output", tmp_path / "run", "--processes", 2, *SMALL)
    status, _, err = end(process, 240)
    assert status == 2, err
    assert [line for line in err.splitlines() if "is missing or damaged" in line] == [err.strip().splitlines()[-1]]
    assert "Traceback" not in err


# -- what cannot be --------------------------------------------------------------------------------------


def damage(data: Path) -> None:
    shard = sorted(data.glob("train-*.samples.npy"))[0]
    shard.write_bytes(shard.read_bytes()[:-100])


def refused(*arguments: object) -> str:
    """The one sentence, without any traceback, and exit status 2."""
    done = run_here("train", *arguments)
    assert done.status == 2, done.err
    assert "Traceback" not in done.err
    return done.sentence


def test_a_network_for_other_samples_is_refused_with_those_that_can_be(tmp_path, pixels):
    said = refused(pixels, "--network", "unet")
    assert "does not learn from pixels" in said
    assert "mlp" in said


def test_an_unknown_network_is_refused(pixels):
    assert "no network “wonder”" in refused(pixels, "--network", "wonder")


def test_a_finished_run_is_not_written_over(tmp_path, pixels):
    run = tmp_path / "run"
    trained(pixels, "mlp", "--epochs", 1, "--output", run, *SMALL)
    before = {path.name: path.read_bytes() for path in run.glob("*.*")}
    assert "holds a training already" in refused(pixels, "--network", "mlp", "--output", run, *SMALL)
    assert {path.name: path.read_bytes() for path in run.glob("*.*")} == before


def test_a_corrupted_shard_is_named(pixels, tmp_path):
    damage(pixels)
    said = refused(pixels, "--network", "mlp", "--output", tmp_path / "run", *SMALL)
    assert "train-00000.samples.npy" in said
    assert "missing or damaged" in said
    assert not (tmp_path / "run" / "model.onnx").exists()


def test_one_class_alone_is_refused(pixels):
    path = pixels / "dataset.json"
    content = json.loads(path.read_text())
    content["classes"] = content["classes"][:1]
    path.write_text(json.dumps(content))
    assert "classes" in refused(pixels, "--network", "mlp")


def test_a_loss_that_is_no_number_is_told(pixels, tmp_path):
    said = refused(
        pixels, "--network", "mlp", "--output", tmp_path / "run", *SMALL,
        "--set", "optimizer=sgd", "--set", "learning_rate=1e30", "--set", "warm_up=0", "--set", "clip=null",
    )  # fmt: skip
    assert "not a number any more" in said
    assert "learning_rate=" in said
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "error"
    assert events[-1]["message"] == said


def test_a_full_disk_is_told_and_leaves_no_half_model(pixels, small_disk):
    run = small_disk("size=100k") / "run"
    wide = ("--set", "network_options.hidden=[200,200]")
    said = refused(pixels, "--network", "mlp", "--epochs", 2, "--output", run, *wide)
    assert "disk is full" in said
    assert not list(run.glob("*.part"))
    assert not (run / "model.onnx").exists()


@pytest.mark.parametrize("network", ["mlp", "random-forest"])
def test_a_disk_that_is_full_from_the_first_line_on_is_told_without_a_fault(pixels, small_disk, network):
    for size in (4, 8, 12, 16):
        run = small_disk(f"size={size}k") / "run"
        said = refused(pixels, "--network", network, "--epochs", 2, "--output", run)
        assert "could not be written" in said or "cannot be written" in said
        assert not is_locked(run / "running.lock")


def test_a_training_that_goes_on_begins_a_line_of_its_own(tmp_path, pixels):
    run = tmp_path / "run"
    asked = (pixels, "mlp", "--output", run, *SMALL)
    trained(*asked, "--epochs", 1)
    # What a full disk took of the last line.
    with (run / "events.jsonl").open("a") as stream:
        stream.write('{"event": "st')
    trained(*asked, "--epochs", 2, "--resume")
    lines = (run / "events.jsonl").read_text().splitlines()
    cut = lines.index('{"event": "st')
    assert json.loads(lines[cut + 1])["event"] == "start"


def test_a_folder_that_cannot_be_made_is_told(pixels, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in refused(pixels, "--network", "mlp", "--output", tmp_path / "file" / "run", *SMALL)


def test_the_gap_to_a_random_split_needs_a_split_by_place(pixels, tmp_path):
    path = pixels / "dataset.json"
    content = json.loads(path.read_text())
    content["split"] = {"method": "random", "seed": 1, "optimistic": True}
    path.write_text(json.dumps(content))
    assert "split at random" in refused(pixels, "--network", "mlp", "--report-optimism")


@pytest.mark.parametrize(
    ("missing", "network", "words"), [("torch", "mlp", "PyTorch"), ("skl2onnx", "svm", "skl2onnx")]
)
def test_a_package_that_is_not_there_is_named(pixels, monkeypatch, tmp_path, missing, network, words):
    from thematica.trainer import run as trainer_run

    monkeypatch.setattr(trainer_run, "find_spec", lambda name: None if name == missing else object())
    done = run_here("train", pixels, "--network", network, "--output", tmp_path / "run")
    assert done.status == 2
    assert f"needs {words}" in done.err
    assert not (tmp_path / "run").exists()


def test_a_job_file_holds_the_options_and_those_given_win(pixels, tmp_path):
    job = tmp_path / "job.json"
    content = {
        "command": "train", "dataset": str(pixels), "network": "mlp", "epochs": 9, "output": str(tmp_path / "run"),
        "set": ["network_options.hidden=[4]"], "resume": False,
    }  # fmt: skip
    job.write_text(json.dumps(content))
    done = run_here("train", "--job", job, "--epochs", 1)
    assert done.status == 0, done.err
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (recipe["epochs"], recipe["network_options"]["hidden"]) == (1, [4])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "JSON object"),
        ("{", "not JSON"),
        ('{"command": "evaluate"}', "another command"),
        ('{"none": 1}', "unknown entry: none"),
        ('{"job": "x"}', "unknown entry"),
        ('{"network": ["mlp"]}', "wrong type"),
        ('{"set": [1]}', "must hold texts"),
        ('{"network": "mlp"}', "needs a training set"),
    ],
)
def test_a_job_file_that_cannot_be_is_told(tmp_path, content, words):
    job = tmp_path / "job.json"
    job.write_text(content)
    done = run_here("train", "--job", job)
    assert done.status == 2
    assert words in done.err
