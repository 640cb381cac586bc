"""The gap between a random split and one by place: large where neighbours are copies, none where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from thematica.errors import Cancelled, InputError
from thematica.progress import Monitor
from thematica.trainer import loop
from thematica.trainer.dataset.description import PARTS
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.optimism import split_at_random
from thematica.trainer.run import TrainOptions, train

from .training_sets import spectra, write_set

SIZES = {"train": 600, "validation": 200, "test": 200}


def fields(folder: Path, copies: int) -> Path:
    """Fields of so many pixels that are nearly copies of each other; what a field looks like says little of its class.

    With one pixel per field the samples are independent.
    """
    chance = np.random.default_rng(4)
    samples, labels = {}, {}
    for part, size in SIZES.items():
        each = size // copies
        classes = chance.integers(0, 2, each)
        looks = chance.normal(0, 1, (each, 12)) + 0.25 * classes[:, None]
        samples[part] = (np.repeat(looks, copies, axis=0) + chance.normal(0, 0.01, (size, 12))).astype(np.float32)
        labels[part] = np.repeat(classes, copies).astype(np.int16)
    return write_set(folder, samples, labels, kind="pixels", classes=2)


def trained(data: Path, **options) -> tuple[dict, list[str]]:
    heard: list[str] = []
    monitor = Monitor(lambda event: heard.append(event["message"]) if event["event"] == "log" else None)
    changes = ["network_options={\"hidden\":[64]}", "learning_rate=0.03", "batch=50", "epochs=10",
               "monitor=\"overall accuracy\""]  # fmt: skip
    result = train(TrainOptions(str(data), "mlp", changes=changes, report_optimism=True, **options), monitor)
    return result, heard


def test_the_gap_is_large_where_neighbours_are_copies(tmp_path):
    result, heard = trained(fields(tmp_path / "set", copies=20))
    optimism = result["report"]["optimism"]
    assert optimism["part"] == "test"
    assert optimism["overall accuracy"]["gap"] > 0.2
    assert optimism["overall accuracy"]["random"] > 0.95
    assert optimism["overall accuracy"]["blocked"] == result["report"]["metrics"]["overall accuracy"]
    assert [line for line in heard if "too much" in line and "overall accuracy" in line]
    run = Path(result["files"]["model"]).parent
    assert json.loads((run / "training.json").read_text())["optimism"] == optimism
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events][-2:] == ["optimism", "end"]
    # As large as the set: it does not stay.
    assert not (run / "random-split" / "dataset").exists()


def test_there_is_no_gap_where_samples_are_independent(tmp_path):
    result, _ = trained(fields(tmp_path / "set", copies=1))
    assert abs(result["report"]["optimism"]["overall accuracy"]["gap"]) < 0.1


@pytest.mark.parametrize("kind", ["pixels", "chips", "patches"])
def test_a_random_split_has_the_same_samples_dealt_out_anew(tmp_path, kind):
    if kind == "pixels":
        data = TrainingSet(spectra(tmp_path / "set"))
    else:
        chance = np.random.default_rng(1)
        shape = (2, 4, 4) if kind == "chips" else (3,)
        sizes = {"train": 30, "validation": 7, "test": 11}
        samples = {part: chance.integers(0, 9999, (size, 2, 4, 4)).astype(np.uint16) for part, size in sizes.items()}
        labels = {
            part: chance.integers(0, 2, (size, *(shape[1:] if kind == "chips" else shape))).astype(np.uint8)
            for part, size in sizes.items()
        }
        if kind == "chips":
            labels["train"][:, 0] = 255
        ignored = 255 if kind == "chips" else None
        made = write_set(
            tmp_path / "set", samples, labels, kind=kind, classes=2 if kind == "chips" else 3, ignore_index=ignored
        )
        data = TrainingSet(made)
    other = split_at_random(data, tmp_path / "random", 7)
    other.verify()

    def all_of(one: TrainingSet, parts=PARTS) -> list[bytes]:
        return [
            bytes(sample) + bytes(label)
            for part in parts
            for arrays in one.arrays(part)
            for sample, label in zip(arrays.samples, arrays.labels, strict=True)
        ]

    assert sorted(all_of(data)) == sorted(all_of(other))
    assert all_of(data, ["test"]) != all_of(other, ["test"])
    for part in PARTS:
        assert other.description.samples(part) == data.description.samples(part)
    total = [sum(entry.samples.values()) for entry in data.description.classes]
    assert [sum(entry.samples.values()) for entry in other.description.classes] == total
    assert other.description.split["optimistic"]
    again = split_at_random(data, tmp_path / "again", 7)
    assert all_of(again) == all_of(other)


def test_a_set_that_is_split_at_random_is_refused(tmp_path):
    data = split_at_random(TrainingSet(spectra(tmp_path / "set")), tmp_path / "random", 1)
    with pytest.raises(InputError, match="split at random"):
        train(TrainOptions(str(data.folder), "mlp", report_optimism=True), Monitor())


class Hears(Monitor):
    """Does something when the training on the random split begins."""

    def __init__(self, folder: Path, wish: str) -> None:
        super().__init__()
        self.folder, self.wish = folder, wish

    @property
    def cancelled(self) -> bool:
        if (self.folder / "random-split" / "events.jsonl").exists():
            (self.folder / self.wish).touch()
        return False


FEW = {"gradient-boosting": ["network_options.trees=10"], "mlp": ["network_options.hidden=[8]", "batch=1", "epochs=2"]}


@pytest.mark.parametrize("network", FEW)
def test_the_training_on_a_random_split_is_stopped_as_any_other(tmp_path, network, monkeypatch):
    # However fast the training is.
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_LOOKS", 0)
    data, run = spectra(tmp_path / "set"), tmp_path / "run"
    asked = TrainOptions(str(data), network, output=str(run), changes=FEW[network], report_optimism=True)
    with pytest.raises(Cancelled):
        train(asked, Hears(run, "stop"))
    # The model was there before.
    assert (run / "model.onnx").exists()


@pytest.mark.parametrize("network", FEW)
def test_who_wants_to_finish_gets_the_model_without_the_gap(tmp_path, network, monkeypatch):
    # However fast the training is.
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_LOOKS", 0)
    data, run = spectra(tmp_path / "set"), tmp_path / "run"
    asked = TrainOptions(str(data), network, output=str(run), changes=FEW[network], report_optimism=True)
    heard = Hears(run, "finish")
    report = train(asked, heard)["report"]
    assert "optimism" not in report
    assert any("was not measured" in warning for warning in heard.warnings)
    assert not (run / "random-split" / "dataset").exists()
    assert not (run / "finish").exists()
