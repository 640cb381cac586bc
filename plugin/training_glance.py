"""How a training stands, from the last line of its events: for lists and for the watch, which look at many."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .training_run import TrainingRun

#: What tells that a folder is a training's.
_FILES = ("events.jsonl", "recipe.json", "job.json", "checkpoint.pt")
#: An event with the figures of a thousand classes is shorter.
_TAIL = 1 << 18
#: A process that was just started has said nothing yet.
_SECONDS_TO_START = 60.0
_ENDS = {"end": "finished", "error": "failed", "stopped": "paused"}


@dataclass(frozen=True)
class Glance:
    """What a list says of a training.

    Args:
        name: of the model, or the folder's.
        network: what is trained; empty where unknown.
        state: as :attr:`.TrainingRun.state`, but of one at work only that it is ``running``.
        last: the last event, empty where there is none.
    """

    name: str
    network: str
    state: str
    last: dict[str, Any] = field(default_factory=dict)


def is_run_folder(folder: Path) -> bool:
    """Whether a training has been in a folder."""
    return any((folder / name).is_file() for name in _FILES)


def glance(folder: Path) -> Glance:
    """Look at a training without reading all that it has told."""
    job, recipe = _read_object(folder / "job.json"), _read_object(folder / "recipe.json")
    last = _last_event(folder / "events.jsonl")
    if TrainingRun(folder).is_alive():
        state = "running"
    else:
        state = _ENDS.get(str(last.get("event")), "interrupted")
        if state == "interrupted" and _seconds_since_a_word(folder) < _SECONDS_TO_START:
            state = "starting"
    name = str(job.get("name") or folder.name)
    return Glance(name, str(job.get("network") or recipe.get("network") or ""), state, last)


def stamp(folder: Path) -> tuple[int, int]:
    """Changes when the training tells something: what one saw at a glance need not be looked at again."""
    try:
        told = os.stat(folder / "events.jsonl")
    except OSError:
        return 0, 0
    return told.st_mtime_ns, told.st_size


def _seconds_since_a_word(folder: Path) -> float:
    last = 0.0
    for name in ("events.jsonl", "job.json", "log.txt"):
        try:
            last = max(last, os.stat(folder / name).st_mtime)
        except OSError:
            continue
    return time.time() - last


def _last_event(path: Path) -> dict[str, Any]:
    """The last whole line that can be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL))
            lines = stream.read(_TAIL).splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            return event
    return {}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
