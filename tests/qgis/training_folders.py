"""Folders of trainings as the trainer leaves them, in any state: written by hand, fast."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thematica.models.file_lock import try_lock
from thematica.plugin.training_list import remember_run

RECIPE = {"network": "mlp", "epochs": 40, "monitor": "macro F1", "loss": "cross-entropy"}
METRICS = {"overall accuracy": 0.9312, "kappa": 0.9, "macro F1": 0.92, "micro F1": 0.9312, "mean IoU": 0.85}
#: Long ago: what has said nothing since was interrupted.
_PAST = 1_700_000_000


def start(resumed: bool = False, epoch: int = 0, **recipe: Any) -> dict[str, Any]:
    return {
        "event": "start", "time": _PAST, "recipe": {**RECIPE, **recipe}, "dataset": "/data/fields", "processes": 1,
        "resumed": resumed, "epoch": epoch,
    }  # fmt: skip


def step(epoch: int, number: int, steps: int, loss: float | None) -> dict[str, Any]:
    return {"event": "step", "epoch": epoch, "step": number, "steps": steps, "loss": loss, "learning_rate": 0.001}


def epoch(number: int, figure: float | None, loss: float | None = 0.5, **more: Any) -> dict[str, Any]:
    figures = {"macro F1": figure, "overall accuracy": None if figure is None else min(figure + 0.02, 1.0)}
    return {
        "event": "epoch", "time": _PAST, "epoch": number, "train_loss": loss, "validation": figures, "seconds": 2.5,
        "samples_per_second": 1234.0, "waiting_share": 0.01, "best": False, **more,
    }  # fmt: skip


def epochs(count: int, best: int | None = None) -> list[dict[str, Any]]:
    """So many, whose figures rise; the best one is the last, or the given one."""
    chosen = count - 1 if best is None else best
    events = []
    for number in range(count):
        figure = 0.9 if number == chosen else 0.5 + 0.3 * number / max(count, 1)
        events += [step(number, place, 4, 1.5 / (number + place / 4)) for place in range(1, 5)]
        events.append(epoch(number, figure, 1.5 / (number + 1), best=number == chosen))
        events.append({"event": "checkpoint", "time": _PAST, "file": "checkpoint.pt", "epoch": number + 1, "step": 0})
    return events


def end(stored: str = "fields") -> dict[str, Any]:
    return {"event": "end", "time": _PAST, "metrics": METRICS, "part": "test", "model": "model.onnx", "stored": stored}


def error(message: str) -> dict[str, Any]:
    return {"event": "error", "time": _PAST, "code": "nan-loss", "message": message}


def stopped(number: int) -> dict[str, Any]:
    return {"event": "stopped", "time": _PAST, "reason": "asked to", "epoch": number, "step": 3}


def lines(events: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def write_run(folder: Path, events: Sequence[dict[str, Any]], *, files: Sequence[str] = (), **job: Any) -> Path:
    """A run's folder with these events; ``files`` are made beside them, empty."""
    folder.mkdir(parents=True)
    told = {"command": "train", "network": "mlp", "name": folder.name, "output": str(folder), **job}
    (folder / "job.json").write_text(json.dumps(told))
    (folder / "events.jsonl").write_text(lines(events))
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    for path in folder.iterdir():
        os.utime(path, (_PAST, _PAST))
    return folder


def write_known(place: Path, name: str, *events: dict[str, Any], **options: Any) -> Path:
    """The folder of a training that has begun and that QGIS knows."""
    folder = write_run(place / name, [start(), *events], **options)
    remember_run(folder)
    return folder


def say(folder: Path, *events: dict[str, Any], text: str = "") -> None:
    """The training tells more."""
    with (folder / "events.jsonl").open("a") as stream:
        stream.write(lines(events) + text)


@contextmanager
def at_work(folder: Path):
    """As long as it lasts a process seems to train there."""
    descriptor = os.open(folder / "running.lock", os.O_RDWR | os.O_CREAT)
    assert try_lock(descriptor)
    try:
        yield folder
    finally:
        os.close(descriptor)
