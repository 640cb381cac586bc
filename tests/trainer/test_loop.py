"""Training: it learns, it goes on as if it had not stopped, and several processes do what one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from thematica.errors import Cancelled, InputError, OutputError
from thematica.progress import Monitor
from thematica.trainer.checkpoint import load_checkpoint
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.events import Events
from thematica.trainer.loop import BEST, CHECKPOINT, NotANumberError, Training
from thematica.trainer.metrics import Tally
from thematica.trainer.processes import OneProcess
from thematica.trainer.recipe import Recipe

from ..conftest import ROOT, needs_horovod
from .training_sets import spectra, write_set

RECIPE = {
    "network": "mlp", "network_options": {"hidden": [8]}, "optimizer": "adamw", "learning_rate": 0.01, "batch": 32,
    "epochs": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    return spectra(tmp_path_factory.mktemp("sets") / "spectra")


def training(folder: Path, data: Path, listener: Monitor | None = None, resume: bool = False, **changes) -> Training:
    folder.mkdir(exist_ok=True)
    recipe = Recipe(**{**RECIPE, **changes})
    events = Events(folder, listener or Monitor(), recipe.epochs, resume)
    made = Training(TrainingSet(data), recipe, folder, OneProcess(), events)
    if resume:
        assert made.resume()
    return made


def told(folder: Path, event: str) -> list[dict]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def test_it_learns_what_a_linear_rule_finds(tmp_path, pixels):
    made = training(tmp_path / "run", pixels)
    trained = made.run()
    assert trained.history[-1].validation["overall accuracy"] > 0.85
    assert trained.history[-1].loss < trained.history[0].loss / 2
    # The network that is handed out is the best one, measured anew.
    again = made.validate("validation", trained.network).figures()
    assert again["overall accuracy"] == trained.history[trained.best_epoch].validation["overall accuracy"]


def test_of_epochs_that_are_as_good_the_last_counts_and_patience_does_not_wait_for_them(tmp_path, pixels, monkeypatch):
    figures = iter([0.5, 0.9, 0.8, 0.9, 0.9, 0.7, 0.9, 0.9])
    made = training(tmp_path / "run", pixels, epochs=8, patience=4)
    figures_of = Tally.figures
    monkeypatch.setattr(Tally, "figures", lambda tally: {**figures_of(tally), "overall accuracy": next(figures)})
    trained = made.run()
    # The second epoch was the last that was better than all before.
    assert len(trained.history) == 6
    assert trained.best_epoch == 4
    assert [entry["best"] for entry in told(tmp_path / "run", "epoch")] == [True, True, False, True, True, False]


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_training_that_was_stopped_goes_on_to_the_last_bit(tmp_path, pixels, average):
    options = {"network_options": {"hidden": [8], "dropout": 0.3}, "average": average, "epochs": 3}
    whole = training(tmp_path / "whole", pixels, **options).run()

    class StopsIn(Monitor):
        def __init__(self, steps):
            super().__init__()
            self.steps = steps

        @property
        def cancelled(self):
            self.steps -= 1
            return self.steps < 0

    folder = tmp_path / "stopped"
    resume = False
    for steps in (7, 1, 30):  # in the first epoch, again at once, in a later one
        with pytest.raises(Cancelled):
            training(folder, pixels, StopsIn(steps), resume, **options).run()
        resume = True
    rest = training(folder, pixels, None, True, **options).run()
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, rest.network.state_dict()[name]), name
    assert [epoch.validation for epoch in whole.history] == [epoch.validation for epoch in rest.history]
    assert [epoch.loss for epoch in whole.history] == [epoch.loss for epoch in rest.history]


def test_a_finished_training_may_be_made_longer(tmp_path, pixels):
    folder = tmp_path / "run"
    training(folder, pixels, schedule="constant", epochs=2).run()
    longer = training(folder, pixels, None, True, schedule="constant", epochs=3).run()
    whole = training(tmp_path / "whole", pixels, schedule="constant", epochs=3).run()
    assert [epoch.loss for epoch in longer.history] == [epoch.loss for epoch in whole.history]


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"network_options": {"hidden": [9]}}, "another recipe"), ({"batch": 16}, "another recipe")],
)
def test_a_checkpoint_of_another_network_is_refused(tmp_path, pixels, changes, words):
    folder = tmp_path / "run"
    training(folder, pixels, epochs=1).run()
    with pytest.raises(InputError, match=words):
        training(folder, pixels, None, True, **{"epochs": 1, **changes})


def test_a_checkpoint_of_another_training_set_is_refused(tmp_path, pixels):
    folder = tmp_path / "run"
    training(folder, pixels, epochs=1).run()
    other = spectra(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="another training set"):
        training(folder, other, None, True, epochs=1)


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"nonsense"])
def test_a_damaged_checkpoint_is_told(tmp_path, pixels, spoil):
    folder = tmp_path / "run"
    training(folder, pixels, epochs=1).run()
    path = folder / CHECKPOINT
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match="damaged"):
        training(folder, pixels, None, True, epochs=1)


class Runs:
    def __reduce__(self):
        return os.system, ("touch it-ran",)


def test_a_checkpoint_that_wants_to_run_code_is_refused(tmp_path, pixels, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    torch.save({"format": 1, "network": Runs()}, folder / CHECKPOINT)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="would run code"):
        training(folder, pixels, None, True)
    assert not (tmp_path / "it-ran").exists()


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, pixels, monkeypatch):
    folder = tmp_path / "run"
    training(folder, pixels, epochs=1).run()
    before = (folder / CHECKPOINT).read_bytes()
    real = torch.save

    def full(content, stream):
        real(content, stream)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="disk is full"):
        training(folder, pixels, None, True, epochs=2).run()
    assert (folder / CHECKPOINT).read_bytes() == before
    assert sorted(path.name for path in folder.iterdir() if path.suffix in (".pt", ".part")) == [BEST, CHECKPOINT]


def test_a_loss_that_is_no_number_is_told_with_step_and_rate(tmp_path, pixels):
    made = training(tmp_path / "run", pixels, optimizer="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(
        NotANumberError, match=r"in step \d+ of epoch 1 at a learning rate of 1e\+30.*learning_rate=1e\+29"
    ):
        made.run()


def test_weights_that_the_only_step_of_an_epoch_breaks_are_told_likewise(tmp_path, pixels):
    made = training(tmp_path / "run", pixels, batch=1000, learning_rate=1e38, optimizer="sgd", schedule="constant")
    with pytest.raises(NotANumberError, match="step 1 of epoch 1 at a learning rate of 1e\\+38"):
        made.run()
    assert not (tmp_path / "run" / BEST).exists()


def test_patience_ends_a_training_that_gets_no_better(tmp_path, pixels):
    trained = training(
        tmp_path / "run", pixels, optimizer="sgd", learning_rate=1e-12, schedule="constant", epochs=50, patience=3
    ).run()
    # Four epochs that are as good: patience counts from the first, and the last is taken.
    assert len(trained.history) == 4
    assert trained.best_epoch == 3


def test_accumulated_steps_change_weights_as_one_large_step_does(tmp_path, pixels):
    options = {"optimizer": "sgd", "schedule": "constant", "epochs": 1, "learning_rate": 0.05}
    # 600 samples: 25 batches of 24, 75 of 8.
    one = training(tmp_path / "one", pixels, batch=24, **options).run()
    three = training(tmp_path / "three", pixels, batch=8, accumulate=3, **options).run()
    for name, tensor in one.network.state_dict().items():
        assert tensor.shape == three.network.state_dict()[name].shape
    # Batches are drawn in another order; what is learned is alike.
    assert abs(one.history[0].loss - three.history[0].loss) < 0.1


def test_the_events_tell_the_whole_story(tmp_path, pixels):
    monitor_events = []
    folder = tmp_path / "run"
    training(folder, pixels, Monitor(monitor_events.append)).run()
    epochs = told(folder, "epoch")
    assert [entry["epoch"] for entry in epochs] == [0, 1, 2, 3]
    assert epochs[0]["best"]
    assert {"overall accuracy", "kappa", "macro F1", "mean IoU"} <= set(epochs[0]["validation"])
    assert 0 <= epochs[0]["waiting_share"] <= 1
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "binary-cross-entropy"}, "not for samples with one label"),
        ({"loss": "none"}, "no loss “none”"),
        ({"optimizer": "none"}, "no optimiser “none”"),
        ({"optimizer_options": {"none": 1}}, "cannot have none"),
        ({"network_options": {"none": 1}}, "cannot be built with none"),
        ({"network": "none"}, "no network “none”"),
        ({"augment": {"none": 1}}, "no augmentation “none”"),
        ({"augment": {"flips": 1}}, "image pieces"),
        ({"monitor": "mean average precision"}, "cannot be chosen by"),
        ({"schedule_options": {"none": 1}}, "no option “none”"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_runs(tmp_path, pixels, changes, words):
    with pytest.raises(InputError, match=words):
        training(tmp_path / "run", pixels, **changes)


def test_a_set_without_validation_is_refused(tmp_path):
    samples = {"train": np.zeros((9, 2), np.float32)}
    data = write_set(tmp_path / "set", samples, {"train": np.arange(9, dtype=np.int16) % 2}, kind="pixels", classes=2)
    with pytest.raises(InputError, match="no validation part"):
        training(tmp_path / "run", data)


# -- several processes ---------------------------------------------------------------------------------

PROGRAM = """
import json, os, signal, sys
from pathlib import Path
from thematica.errors import Cancelled
from thematica.progress import Monitor
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.events import Events
from thematica.trainer.loop import Training
from thematica.trainer.processes import find_processes
from thematica.trainer.recipe import Recipe

data, folder, recipe, dies = sys.argv[1:]
recipe, folder = Recipe(**json.loads(recipe)), Path(folder)
processes = find_processes()
events = Events(folder if processes.rank == 0 else None, Monitor(), recipe.epochs)
made = Training(TrainingSet(data), recipe, folder, processes, events)
made.resume()
if int(dies) == processes.rank:
    steps = [0]
    step = made._step
    def dying(*arguments):
        steps[0] += 1
        if steps[0] == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        step(*arguments)
    made._step = dying
if stops := int(os.environ.get("STOPS_IN", 0)):
    left = [stops]
    whole = made._step
    def stopping(*arguments):
        left[0] -= 1
        if not left[0] and processes.rank == 1:
            made.stop()
        whole(*arguments)
    made._step = stopping
try:
    trained = made.run()
except Cancelled:
    sys.exit()
print("WEIGHTS", sum(float(p.double().sum()) for p in trained.network.parameters()), flush=True)
"""


def start(count: int, folder: Path, data: Path, recipe: dict, dies: int = -1, stops: int = 0) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(data), str(folder), json.dumps(recipe), str(dies)]
    if count > 1:
        command = [str(Path(sys.executable).parent / "horovodrun"), "--gloo", "-np", str(count), *command]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "build" / "pkg"),
        "OMP_NUM_THREADS": "1",
        "STOPS_IN": str(stops),
    }
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen, seconds: float = 120) -> str:
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"it did not end: {process.communicate()[0]}")


@needs_horovod
def test_two_processes_give_the_loss_curve_of_one(tmp_path):
    # 601 samples: the last batches are uneven.
    data = spectra(tmp_path / "set", count=601)
    options = {
        **RECIPE, "optimizer": "sgd", "optimizer_options": {"momentum": 0.9}, "scale_learning_rate": False, "clip": 0.5,
    }  # fmt: skip
    one = start(1, tmp_path / "one", data, {**options, "batch": 64})
    assert "WEIGHTS" in finish(one)
    two = start(2, tmp_path / "two", data, {**options, "batch": 32})
    assert "WEIGHTS" in finish(two)
    curves = [[entry["train_loss"] for entry in told(tmp_path / name, "epoch")] for name in ("one", "two")]
    assert len(curves[0]) == 4
    # Sums in another order, in single precision.
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
    figures = [[entry["validation"] for entry in told(tmp_path / name, "epoch")] for name in ("one", "two")]
    assert figures[0][-1]["overall accuracy"] == pytest.approx(figures[1][-1]["overall accuracy"], abs=0.01)


def test_no_process_reads_the_best_weights_before_the_first_one_has_written_them(tmp_path, pixels):
    first = training(tmp_path / "first", pixels, epochs=1).run()

    class Second(OneProcess):
        rank, size = 1, 2
        ended = False

        def average_buffers(self, network):
            self.ended = True

        def sum(self, values):
            # The first process takes part in this when it has written, and not before.
            if self.ended and len(values) == 1:
                shutil.copy(tmp_path / "first" / BEST, tmp_path / "second" / BEST)
            return super().sum(values)

    recipe = Recipe(**{**RECIPE, "epochs": 1})
    (tmp_path / "second").mkdir()
    events = Events(None, Monitor(), 1)
    second = Training(TrainingSet(pixels), recipe, tmp_path / "second", Second(), events).run()
    for mine, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(mine, other)


@needs_horovod
def test_two_processes_that_were_stopped_go_on_to_the_last_bit(tmp_path, pixels):
    # The mean of past gradients is part of the optimiser's state, and clipping needs those of both processes.
    recipe = {**RECIPE, "batch": 16, "epochs": 2, "clip": 0.1, "average": 0.9}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert "WEIGHTS" in finish(start(2, whole, pixels, recipe))
    assert "WEIGHTS" not in finish(start(2, parts, pixels, recipe, stops=9))
    assert told(parts, "stopped")[0]["step"] == 9
    assert "WEIGHTS" in finish(start(2, parts, pixels, recipe))
    one, other = (load_checkpoint(folder / CHECKPOINT) for folder in (whole, parts))
    assert one["state"]["history"][-1]["loss"] == other["state"]["history"][-1]["loss"]
    assert one["optimizer"]["state"]
    for name, tensor in one["network"].items():
        assert torch.equal(tensor, other["network"][name]), name


@needs_horovod
def test_a_process_that_dies_ends_all_within_a_minute(tmp_path, pixels):
    process = start(2, tmp_path / "run", pixels, {**RECIPE, "epochs": 10_000}, dies=1)
    begun = time.monotonic()
    said = finish(process, 100)
    assert process.returncode != 0
    assert "WEIGHTS" not in said
    assert time.monotonic() - begun < 90
