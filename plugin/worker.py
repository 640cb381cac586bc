"""Running one job in the worker: the engine's process, which speaks JSON lines.

A crash, an out-of-memory kill or a hung driver ends the job and never QGIS; cancelling always works.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Callable

from ..errors import Cancelled, RuntimeMissingError, ThematicaError
from .runtime import Runtime, require_runtime, worker_command
from .worker_event import parse_event
from .worker_process import FOREIGN_LINES, WorkerProcess, how_it_ended, lacking_package, told_error, was_killed

#: How long a cancelled worker may take to end by itself.
SECONDS_TO_END = 10.0
_POLL_SECONDS = 0.1
_SECONDS_TO_READ = 2.0


def run_worker(
    command: str,
    job: dict[str, Any],
    on_event: Callable[[dict[str, Any]], None],
    is_cancelled: Callable[[], bool],
    runtime: Runtime | None = None,
) -> dict[str, Any]:
    """Run one job to its end; blocks, so call it from a task's thread.

    Args:
        command: of ``thematica`` (``classify-pixels``).
        job: the job as in a JSON job file.
        on_event: gets the ``progress`` and ``log`` events, in this thread.
        is_cancelled: polled ten times a second.
        runtime: the one to use; :func:`.runtime.find_runtime` where None.

    Returns:
        The ``result`` event, with ``files`` and ``report``.

    Raises:
        Cancelled: nothing was written under its final name.
        ThematicaError: one of its family, as the worker said, or because it ended unexpectedly.
    """
    runtime = require_runtime(runtime)
    handle, job_file = tempfile.mkstemp(prefix="thematica-", suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump({"command": command, **job}, stream, ensure_ascii=False)
        arguments = worker_command(runtime, command, "--job", job_file, "--progress", "json")
        return _Conversation(arguments, on_event, is_cancelled).run()
    finally:
        Path(job_file).unlink(missing_ok=True)


class _Conversation:
    """One worker process, from its start to its end."""

    def __init__(
        self,
        arguments: list[str],
        on_event: Callable[[dict[str, Any]], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.arguments = arguments
        self.on_event = on_event
        self.is_cancelled = is_cancelled
        self.lines: Queue[str | None] = Queue()
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.foreign_lines = 0
        self.cancelled_at: float | None = None

    def run(self) -> dict[str, Any]:
        self.worker = WorkerProcess(self.arguments)
        self.worker.read(self.lines.put)
        try:
            self._listen()
        finally:
            # Also when on_event raised: a worker never outlives the task that started it.
            self.worker.kill()
            self.worker.close_stdin()
            self.worker.join()
        return self._outcome()

    def _listen(self) -> None:
        """Pass events on until the worker has ended, cancelling it when asked to."""
        finished = False
        next_poll = silent_from = 0.0
        while not finished or not self.worker.has_ended():
            # By the clock and not only when idle: a worker that floods its output can be cancelled too.
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + _POLL_SECONDS
                if self.cancelled_at is None and self.is_cancelled():
                    self._cancel()
                if self.cancelled_at is not None and time.monotonic() - self.cancelled_at > SECONDS_TO_END:
                    self.worker.kill()
                    return
            if finished:
                time.sleep(0.02)
                continue
            try:
                line = self.lines.get(timeout=_POLL_SECONDS)
            except Empty:
                # A child of the worker may hold the pipe open after the worker died; but its last line may be long.
                if self.worker.has_ended():
                    silent_from = silent_from or time.monotonic()
                    finished = time.monotonic() - silent_from > _SECONDS_TO_READ
                continue
            silent_from = 0.0
            if line is None:
                finished = True
            else:
                self._take(line)

    def _cancel(self) -> None:
        self.cancelled_at = time.monotonic()
        # Where the worker has just ended, its outcome is read below.
        self.worker.write("cancel\n")
        self.worker.close_stdin()

    def _take(self, line: str) -> None:
        event = parse_event(line)
        if event is None:
            if line.strip() and self.foreign_lines < FOREIGN_LINES:
                self.foreign_lines += 1
                self.on_event({"event": "log", "level": "info", "message": line.strip()[:2000]})
        elif event["event"] == "result":
            self.result = event
        elif event["event"] == "error":
            self.error = event
        else:
            self.on_event(event)

    def _outcome(self) -> dict[str, Any]:
        # A result means complete files under their final names, whatever the process did afterwards
        # (a driver that crashes on unloading, a cancel that came too late).
        if self.result is not None:
            return self.result
        status, tail = self.worker.process.returncode, self.worker.errors()
        if self.cancelled_at is not None:
            raise Cancelled(details=tail)
        if self.error is not None:
            raise told_error(self.error, status, tail)
        if status == Cancelled.exit_status:
            raise Cancelled(details=tail)
        raise _unexpected_end(status, tail)


def _unexpected_end(status: int, tail: str) -> ThematicaError:
    details = f"exit status {status}\n{tail}"
    lacking = lacking_package(tail)
    if lacking:
        return RuntimeMissingError(lacking, details)
    if was_killed(status):
        return ThematicaError(
            "The worker ended unexpectedly: it was killed, probably because memory ran out. Nothing was written; "
            "choose a smaller tile or batch, or close other programs.",
            details,
        )
    return ThematicaError(
        f"The worker ended unexpectedly ({how_it_ended(status)}). Nothing was written; the log of the task says more.",
        details,
    )
