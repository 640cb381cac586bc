"""The last training, with the validation part as well."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from thematica.errors import Cancelled
from thematica.models.reading import read_model_card
from thematica.progress import Monitor
from thematica.trainer import deliver, loop, refit
from thematica.trainer.checkpoint import load_checkpoint
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.loader import Normaliser
from thematica.trainer.loop import Trained
from thematica.trainer.recipe import Recipe
from thematica.trainer.refit import keep_weights, refit_epochs, with_validation
from thematica.trainer.run import TrainOptions, train

from .training_sets import spectra, write_set

CHANGES = ("network_options.hidden=[8]", "batch=32", "epochs=3")


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    return spectra(tmp_path_factory.mktemp("sets") / "spectra")


def run(folder: Path, data: Path, *changes: str, monitor: Monitor | None = None, **options) -> dict:
    asked = TrainOptions(str(data), "mlp", output=str(folder), changes=[*CHANGES, *changes], **options)
    return train(asked, monitor or Monitor())


def told(folder: Path, event: str) -> list[dict]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def samples(data: TrainingSet, part: str) -> np.ndarray:
    return np.sort(np.concatenate([np.asarray(shard.samples) for shard in data.arrays(part)]), axis=0)


def test_the_joined_set_has_the_samples_of_both_parts_and_leaves_the_test_alone(pixels):
    data = TrainingSet(pixels)
    joined = with_validation(data)
    both = np.sort(np.concatenate([samples(data, "train"), samples(data, "validation")]), axis=0)
    np.testing.assert_array_equal(samples(joined, "train"), both)
    np.testing.assert_array_equal(samples(joined, "test"), samples(data, "test"))
    assert joined.description.samples("validation") == 0
    # Every class counts alike in both parts together; what enters a network is scaled as before.
    labels = np.concatenate([shard.labels for shard in joined.arrays("train")])
    weights = np.array([entry.weight for entry in joined.description.classes])
    np.testing.assert_allclose(np.bincount(labels) * weights, len(labels) / len(weights))
    np.testing.assert_array_equal(Normaliser.of(joined.description).gain, Normaliser.of(data.description).gain)
    # The set itself is as it was.
    assert data.description.samples("validation") > 0


def test_the_model_is_the_one_that_was_trained_on_both_parts(tmp_path, pixels):
    folder = tmp_path / "run"
    result = run(folder, pixels)
    data = TrainingSet(pixels)
    assert result["report"]["refit"] == {"epochs": 3}
    assert result["report"]["part"] == "test"
    assert [event["epoch"] for event in told(folder, "refit")] == [0, 1, 2]
    assert len(told(folder, "epoch")) == len(result["report"]["history"]) == 3
    first = load_checkpoint(folder / "best.pt")["network"]
    second = load_checkpoint(folder / "refit.pt")["network"]
    assert not any(torch.equal(first[name], second[name]) for name in first)
    assert not (folder / "refit").exists()
    card = read_model_card(folder / "model.onnx")
    both = data.description.samples("train") + data.description.samples("validation")
    assert card.trained_on.startswith(f"{both} pixels")
    assert "in the end to train, too" in card.split


def test_what_only_the_validation_part_shows_is_learned_in_the_end(tmp_path):
    # A class lies in two places, and the training part has one of them only.
    chance = np.random.default_rng(0)

    def part(middles: dict[int, list[float]], each: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.concatenate([chance.normal(middle, 200, (each, 2)) for middle in middles.values()]).astype(np.float32)
        return x, np.repeat(list(middles), each).astype(np.int16)

    parts = {
        "train": part({0: [1000, 1000], 1: [2000, 1000]}, 60),
        "validation": part({0: [1000, 1000], 1: [1000, 2000]}, 60),
        "test": part({0: [1000, 1000], 1: [1000, 2000]}, 60),
    }
    x, y = ({name: entry[place] for name, entry in parts.items()} for place in (0, 1))
    data = write_set(tmp_path / "set", x, y, kind="pixels", classes=2)
    figures = {
        refit: run(tmp_path / refit, data, "epochs=40", f"refit={refit}")["report"]["metrics"]["overall accuracy"]
        for refit in ("true", "false")
    }
    assert figures["true"] > 0.95
    assert figures["false"] < 0.8


def test_without_a_test_part_the_validation_part_stays_out(tmp_path):
    whole = TrainingSet(spectra(tmp_path / "spectra"))
    x, y = (
        {p: np.concatenate([np.asarray(getattr(s, name)) for s in whole.arrays(p)]) for p in ("train", "validation")}
        for name in ("samples", "labels")
    )
    data = write_set(tmp_path / "set", x, y, kind="pixels", classes=3)
    heard = Monitor()
    result = run(tmp_path / "run", data, monitor=heard)
    assert result["report"]["refit"] is None
    assert result["report"]["part"] == "validation"
    assert any("no test part" in warning for warning in heard.warnings)


NOTHING = Trained(torch.nn.Identity(), [], 0, None)


def ended_in_refit(folder: Path, data: Path) -> Path:
    """The folder of a run that died when all was trained and nothing delivered."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deliver, "deliver", lambda *_: {"files": {}, "report": {"metrics": {}, "part": "test"}})
        patched.setattr(refit, "keep_weights", lambda *_: None)
        patched.setattr("thematica.trainer.run.end_run", lambda *_: {})
        run(folder, data)
    return folder


class StopsInRefit(Monitor):
    """Stops the last training after some of its steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.begun = steps, False

    def progress(self, stage, *figures) -> None:
        self.begun = self.begun or stage.startswith("With the validation part")

    @property
    def cancelled(self) -> bool:
        self.steps -= self.begun
        return self.steps < 0


def test_a_last_training_that_was_stopped_goes_on_to_the_last_bit(tmp_path, pixels):
    run(tmp_path / "whole", pixels)
    folder = tmp_path / "stopped"
    with pytest.raises(Cancelled):
        run(folder, pixels, monitor=StopsInRefit(1))
    assert not (folder / "model.onnx").exists()
    assert len(told(folder, "stopped")) == 1
    assert (folder / "refit" / "checkpoint.pt").exists()
    run(folder, pixels, resume=True)
    assert len(told(folder, "epoch")) == 3
    whole, rest = (load_checkpoint(tmp_path / name / "refit.pt")["network"] for name in ("whole", "stopped"))
    assert all(torch.equal(tensor, rest[name]) for name, tensor in whole.items())


def test_a_training_that_goes_on_throws_an_older_last_training_away(tmp_path, pixels):
    folder = tmp_path / "run"
    with pytest.raises(Cancelled):
        run(folder, pixels, monitor=StopsInRefit(1))
    result = run(folder, pixels, "epochs=4", resume=True)
    assert result["report"]["refit"] == {"epochs": 4}
    assert [event["epoch"] for event in told(folder, "refit")][-4:] == [0, 1, 2, 3]


def test_who_wants_the_best_epoch_now_gets_it_without_a_last_training(tmp_path, pixels, monkeypatch):
    # However fast the training is.
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_LOOKS", 0)
    folder = tmp_path / "run"

    class Finishes(Monitor):
        def progress(self, stage, *figures) -> None:
            if stage.startswith("With the validation part"):
                (folder / "finish").touch()

    result = run(folder, pixels, "epochs=1", "batch=1", monitor=Finishes())
    assert result["report"]["refit"] is None
    assert (folder / "model.onnx").exists()
    # Weights that are not the model's would be taken for it.
    assert not (folder / "refit.pt").exists()
    assert not (folder / "refit").exists()


def test_a_last_training_of_another_length_is_begun_anew(tmp_path, pixels):
    folder = tmp_path / "run"
    with pytest.raises(Cancelled):
        run(folder, pixels, monitor=StopsInRefit(1))
    # With patience the best epoch says how long.
    result = run(folder, pixels, "patience=9", resume=True)
    assert result["report"]["refit"] == {"epochs": result["report"]["best_epoch"] + 1}


def test_who_dies_while_the_weights_are_put_away_can_go_on(tmp_path, pixels, monkeypatch):
    folder = tmp_path / "run"

    def dies(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(refit.shutil, "rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            keep_weights(ended_in_refit(folder, pixels), replace(NOTHING, refit=3))
    assert run(folder, pixels, resume=True)["report"]["refit"] == {"epochs": 3}


def test_the_last_training_is_not_repeated_where_the_random_split_was_stopped(tmp_path, pixels):
    folder = tmp_path / "run"

    class StopsAtRandom(Monitor):
        @property
        def cancelled(self) -> bool:
            return (folder / "random-split" / "events.jsonl").exists()

    with pytest.raises(Cancelled):
        run(folder, pixels, monitor=StopsAtRandom(), report_optimism=True)
    assert len(told(folder, "refit")) == 3
    result = run(folder, pixels, resume=True, report_optimism=True)
    assert len(told(folder, "refit")) == 3
    assert result["report"]["refit"] == {"epochs": 3}
    assert "optimism" in result["report"]
    assert (folder / "refit.pt").exists()
    assert not (folder / "refit").exists()


def test_patience_lets_the_validation_part_choose_the_length():
    recipe = Recipe("mlp", epochs=40)
    assert refit_epochs(recipe, 7) == 40
    assert refit_epochs(replace(recipe, patience=5), 7) == 8
