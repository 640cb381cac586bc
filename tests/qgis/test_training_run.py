"""A training in the background: it outlives whoever started it, is found again, paused, ended and begun anew."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thematica.errors import OutputError
from thematica.plugin.runtime import Runtime
from thematica.plugin.training_run import TrainingRun

from .conftest import CHECKOUT_PYTHON
from .driving import wait_for

# Enough for a slow machine.
SECONDS = 120.0


@pytest.fixture
def runtime(real_runtime) -> Runtime:
    return Runtime(real_runtime, "")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Made by the runtime's Python: what writes training sets for tests needs NumPy's newer ways."""
    if not CHECKOUT_PYTHON.exists():
        pytest.skip("there is no .venv in this checkout: make runtime")
    folder = tmp_path_factory.mktemp("sets") / "spectra"
    code = (
        "import pathlib, sys; from thematica.tests.trainer.training_sets import spectra;"
        "spectra(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([str(CHECKOUT_PYTHON), "-c", code, str(folder)], check=True)
    return folder


@pytest.fixture
def job(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    return {
        "dataset": str(dataset), "network": "mlp", "output": str(tmp_path / "run"), "name": "fields", "store": True,
        "set": ["network_options.hidden=[8]", "batch=32"],
    }  # fmt: skip


@pytest.fixture
def endless(job, runtime):
    """A training that would not end by itself."""
    run = TrainingRun.start({**job, "epochs": 100_000}, runtime)
    yield run
    run.cancel()


def until(run: TrainingRun, *states: str) -> None:
    wait_for(lambda: (run.look(), run.state in states)[1], SECONDS)
    assert run.state in states


def until_epochs(run: TrainingRun, count: int) -> None:
    wait_for(lambda: (run.look(), len(run.epochs_done) >= count)[1], SECONDS)


def test_a_training_runs_to_its_end_and_tells_all_of_it(job, runtime, tmp_path):
    run = TrainingRun.start({**job, "epochs": 3}, runtime)
    assert run.state == "starting"
    until(run, "finished")
    assert (run.name, run.network, run.dataset, run.epochs) == ("fields", "mlp", job["dataset"], 3)
    assert [entry.epoch for entry in run.epochs_done] == [0, 1, 2]
    assert run.fraction == 1.0
    assert run.epochs_done[run.best_epoch].validation[run.monitor] == max(
        entry.validation[run.monitor] for entry in run.epochs_done
    )
    assert 0.5 < run.metrics["overall accuracy"] <= 1.0
    assert run.part == "test"
    assert run.model_path.is_file()
    assert (tmp_path / "store" / f"{run.stored}.onnx").is_file()
    assert not (run.may_pause)
    assert not (run.may_finish)
    assert not (run.may_go_on)
    assert not (run.may_discard)
    # Seen by somebody else, it is the same.
    other = TrainingRun(run.folder)
    assert (other.state, other.metrics, other.epochs_done, other.stored) == (
        "finished", run.metrics, run.epochs_done, "fields",
    )  # fmt: skip


def test_it_is_paused_goes_on_and_ends_with_the_best_epoch(endless, runtime):
    run = endless
    until_epochs(run, 2)
    assert run.state == "running"
    assert run.may_pause
    run.pause()
    assert run.state in ("pausing", "paused")
    until(run, "paused")
    assert run.may_go_on
    done = len(run.epochs_done)
    run.go_on(runtime)
    until_epochs(run, done + 2)
    epochs = [entry.epoch for entry in run.epochs_done]
    assert epochs == list(range(len(epochs)))
    positions = [step.position for step in run.steps]
    assert positions == sorted(set(positions))
    run.finish()
    until(run, "finished")
    assert run.stored == "fields"


def test_the_best_epoch_of_a_paused_training_becomes_the_model(endless, runtime):
    until_epochs(endless, 1)
    endless.pause()
    until(endless, "paused")
    found = TrainingRun(endless.folder)
    assert found.may_finish
    found.finish(runtime)
    until(found, "finished")
    assert found.model_path is not None


def test_it_outlives_the_process_that_started_it_and_is_found_again(job, runtime, tmp_path):
    asked = {**job, "epochs": 100_000}
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import json;"
        "from thematica.plugin.runtime import Runtime; from thematica.plugin.training_run import TrainingRun;"
        "TrainingRun.start(json.loads(sys.argv[2]), Runtime(Path(sys.argv[3]), ''))"
    )
    package = str(Path(sys.modules["thematica"].__file__).parents[1])
    # A group of its own that is ended as a whole, as a session that is closed.
    starter = subprocess.Popen(
        [sys.executable, "-c", code, package, json.dumps(asked), str(runtime.python)], start_new_session=True
    )
    assert starter.wait(60) == 0
    run = TrainingRun(tmp_path / "run")
    try:
        until_epochs(run, 2)
        assert run.state == "running"
        with pytest.raises(OutputError, match=r"Another training is at work|holds a training already"):
            TrainingRun.start(asked, runtime)
    finally:
        run.cancel()
    assert not run.is_alive()
    assert run.state == "paused"
    assert run.may_go_on


def test_a_training_that_was_killed_says_so_and_can_go_on(endless, runtime):
    until_epochs(endless, 2)
    os.killpg(json.loads((endless.folder / "running.lock").read_text())["pid"], signal.SIGKILL)
    until(endless, "failed")
    assert "was killed" in endless.problem
    # After a restart of QGIS nobody knows what killed it.
    found = TrainingRun(endless.folder)
    assert (found.state, found.problem, found.may_go_on) == ("interrupted", "", True)
    done = len(found.epochs_done)
    found.go_on(runtime)
    until_epochs(found, done + 1)
    found.cancel()


def test_what_cannot_be_trained_fails_with_the_trainers_sentence(job, runtime, dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "set")
    for shard in (tmp_path / "set").glob("train-*.samples.npy"):
        shard.write_bytes(shard.read_bytes()[:-100])
    run = TrainingRun.start({**job, "dataset": str(tmp_path / "set")}, runtime)
    until(run, "failed")
    assert "missing or damaged" in run.problem
    assert TrainingRun(run.folder).problem == run.problem


def test_a_mistake_that_is_found_before_the_training_is_told_too(job, runtime):
    run = TrainingRun.start({**job, "set": ["batch=0"]}, runtime)
    until(run, "failed")
    assert "batch" in run.problem
    # The mistake mended, the same folder is used.
    again = TrainingRun.start({**job, "epochs": 1}, runtime)
    until(again, "finished")


def test_a_finished_training_is_not_written_over(job, runtime):
    run = TrainingRun.start({**job, "epochs": 1}, runtime)
    until(run, "finished")
    with pytest.raises(OutputError, match="holds a training already"):
        TrainingRun.start({**job, "epochs": 1}, runtime)
    assert TrainingRun(run.folder).state == "finished"


def write_events(folder: Path, *events: object) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_damaged_and_strange_lines_are_passed_over(tmp_path):
    folder = write_events(
        tmp_path / "run",
        {"event": "start", "recipe": {"epochs": 5, "network": "mlp"}, "epoch": 0},
        '{"event": "step", "epo',
        "[1, 2]",
        {"event": "step", "epoch": 0, "step": 1, "steps": 2, "loss": None, "learning_rate": "?"},
        {"event": "epoch", "epoch": 0, "validation": {"overall accuracy": None, "kappa": 0.5}, "seconds": "long"},
        {"event": "epoch", "epoch": "first"},
        {"event": 5},
    )
    run = TrainingRun(folder)
    assert run.state == "interrupted"
    assert (run.steps[0].position, run.steps[0].loss) == (0.5, None)
    assert run.epochs_done[0].validation == {"kappa": 0.5}


def test_a_last_training_with_the_validation_part_is_half_of_the_work(tmp_path):
    recipe = {"epochs": 4, "network": "mlp", "refit": True}
    epochs = [{"event": "epoch", "epoch": number, "validation": {}, "seconds": 10} for number in range(4)]
    run = TrainingRun(write_events(tmp_path / "run", {"event": "start", "recipe": recipe, "epoch": 0}, *epochs))
    assert (run.fraction, run.refit) == (0.5, None)
    again = {"event": "refit", "epoch": 1, "epochs": 4, "train_loss": 0.1}
    run = TrainingRun(write_events(tmp_path / "run", {"event": "start", "recipe": recipe, "epoch": 0}, *epochs, again))
    assert (run.fraction, run.refit) == (0.75, (1, 4))


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(tmp_path):
    folder = write_events(tmp_path / "run", {"event": "start", "recipe": {"epochs": 5}, "epoch": 0})
    run = TrainingRun(folder)
    line = json.dumps({"event": "epoch", "epoch": 0, "train_loss": 1.5, "validation": {}})
    with (folder / "events.jsonl").open("a") as stream:
        stream.write(line[:20])
        stream.flush()
        run.look()
        assert run.epochs_done == []
        stream.write(line[20:] + "\n")
    assert run.look()
    assert run.epochs_done[0].train_loss == 1.5
    assert not run.look()


def test_a_folder_that_vanishes_is_no_fault(tmp_path):
    folder = write_events(tmp_path / "run", {"event": "start", "recipe": {"epochs": 5}, "epoch": 0})
    run = TrainingRun(folder)
    shutil.rmtree(folder)
    run.look()
    assert run.state == "interrupted"
    assert run.log_tail() == ""
    with pytest.raises(OutputError, match="cannot be written"):
        run.pause()
