"""How a training stands, from the last line of its events: for lists and for the watch, which look at many."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Cancelled
from ..models.file_lock import is_locked
from .training_run import CHECKPOINT, EVENTS, JOB, LOCK, TOLD, has_just_begun

#: What tells that a folder is a training's.
_FILES = (EVENTS, "recipe.json", JOB, CHECKPOINT)
#: An event with the figures of a thousand classes is shorter.
_TAIL = 1 << 18


@dataclass(frozen=True)
class Glance:
    """What a list says of a training.

    Args:
        name: of the model, or the folder's.
        network: what is trained; empty where unknown.
        state: as :attr:`.TrainingRun.state`, but of one at work only that it is ``running``.
        end: the event that tells of the finished model, where there is one.
        problem: why it failed.
    """

    name: str
    network: str
    state: str
    end: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def is_run_folder(folder: Path) -> bool:
    """Whether a training has been in a folder."""
    return any((folder / name).is_file() for name in _FILES)


def glance(folder: Path) -> Glance:
    """Look at a training without reading all that it has told."""
    job, recipe = _read_object(folder / JOB), _read_object(folder / "recipe.json")
    name = str(job.get("name") or folder.name)
    network = str(job.get("network") or recipe.get("network") or "")
    if is_locked(folder / LOCK):
        return Glance(name, network, "running")
    # What the process said last; where it was started in a shell, the folder's events alone tell.
    event, answer = _last_event(folder / EVENTS), _last_event(folder / TOLD)
    if event.get("event") == "end" and answer.get("event") != "error":
        return Glance(name, network, "finished", event)
    if answer.get("event") == "result":
        report = answer.get("report")
        return Glance(name, network, "finished", dict(report) if isinstance(report, dict) else {})
    if event.get("event") == "stopped" or answer.get("code") == Cancelled.code:
        return Glance(name, network, "paused" if (folder / CHECKPOINT).exists() else "interrupted")
    for told in (answer, event):
        if told.get("event") == "error":
            return Glance(name, network, "failed", problem=str(told.get("message") or ""))
    return Glance(name, network, "starting" if not event and has_just_begun(folder) else "interrupted")


def stamp(folder: Path) -> tuple[int, int]:
    """Changes when the training tells something: what one saw at a glance need not be looked at again."""
    try:
        told = os.stat(folder / EVENTS)
    except OSError:
        return 0, 0
    return told.st_mtime_ns, told.st_size


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
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and "event" in event:
            return event
    return {}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
