"""Starting a training with several processes on this machine, and hearing what the first one says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InputError, ThematicaError
from ..progress import Monitor
from .run_folder import STOP, hold_folder

# How horovodrun marks the lines of its processes.
_PREFIX = re.compile(r"\[(\d+)\]<(stdout|stderr)>:")
_SECONDS_BETWEEN_LOOKS = 0.2
_LINES_KEPT = 60


class _ToldError(ThematicaError):
    """What the first process told as its end."""


def train_together(processes: int, arguments: Sequence[str], folder: Path, monitor: Monitor) -> dict[str, Any]:
    """Run ``thematica train`` in several processes; returns the first one's ``result`` event.

    Args:
        processes: how many.
        arguments: of ``thematica train``, without the number of processes.
        folder: of the run.
        monitor: hears what the first process tells; cancelling stops all of them, after a checkpoint.

    Raises:
        InputError: Horovod is not there.
        ThematicaError: as the first process said, or because one of them ended.
    """
    horovodrun = _horovodrun()
    # horovodrun would take options of ours for its own, even behind the program's name: they stand in its code.
    program = str(Path(__file__).resolve().parents[1] / "__main__.py")
    code = (
        f"import runpy, sys; sys.argv = {[program, 'train', *arguments, '--progress', 'json']!r}; "
        f"runpy.run_path({program!r}, run_name='__main__')"
    )
    command = [horovodrun, "--gloo", "-np", str(processes), sys.executable, "-c", code]
    held = hold_folder(folder)
    lock = held.__enter__()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", env=os.environ.copy(),
        # What is killed here does not end the training: whoever looks must see that it lives.
        pass_fds=() if lock is None else (lock.descriptor,),
    )  # fmt: skip
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            if monitor.cancelled:
                # Signals would reach horovodrun, which kills its processes: they must write a checkpoint first.
                # Again and again: at its start the training takes an old one away.
                (folder / STOP).touch()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    said: deque[str] = deque(maxlen=_LINES_KEPT)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            event = _event_of(line)
            if event is None:
                said.append(line.rstrip())
            elif event["event"] == "result":
                result = event if event.get("files") else result
            elif event["event"] == "error":
                error = error or event
            elif event["event"] == "log":
                monitor.log(str(event.get("message", "")), str(event.get("level", "info")))
            elif event["event"] == "progress":
                left = event.get("seconds_left")
                monitor.progress(str(event.get("stage")), float(event.get("fraction") or 0), None, left)
        process.wait()
    finally:
        ended.set()
        watcher.join()
        if process.poll() is None:
            process.kill()
            process.wait()
        held.__exit__(None, None, None)
    if result is not None and process.returncode == 0:
        return result
    if error is not None:
        raise _told(error)
    raise ThematicaError(
        "One of the processes ended, so the training stopped: the log says more. It can go on from the last checkpoint "
        "with --resume.",
        "\n".join(said),
    )


def _horovodrun() -> str:
    beside = Path(sys.executable).parent / "horovodrun"
    found = str(beside) if beside.exists() else shutil.which("horovodrun")
    if found is None:
        raise InputError(
            "Several processes need Horovod, which is not installed here (it cannot be on Windows): leave --processes "
            "away, or see “Horovod” in docs/training.md."
        )
    return found


def _event_of(line: str) -> dict[str, Any] | None:
    """An event of any process; what else is said is for the log."""
    _, _, text = line.rpartition(_PREFIX.match(line).group()) if _PREFIX.match(line) else ("", "", line)  # type: ignore[union-attr]
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _told(error: dict[str, Any]) -> ThematicaError:
    if error.get("code") == Cancelled.code:
        return Cancelled()
    told = _ToldError(str(error.get("message")), str(error.get("details", "")))
    told.code = str(error.get("code", told.code))
    told.exit_status = 1 if told.code == "fault" else 2
    return told
