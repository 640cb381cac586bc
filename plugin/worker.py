"""Running one job in the worker: the engine's process, which speaks JSON lines.

A crash, an out-of-memory kill or a hung driver ends the job and never QGIS; cancelling always works.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Callable

from ..errors import (
    Cancelled,
    InputError,
    MisfitError,
    ModelError,
    OutputError,
    RuntimeMissingError,
    ThematicaError,
    UnreadableRasterError,
)
from .runtime import Runtime, clean_environment, kill_process, process_options, require_runtime, worker_command
from .worker_event import parse_event

#: How long a cancelled worker may take to end by itself.
SECONDS_TO_END = 10.0
_POLL_SECONDS = 0.1
_SECONDS_TO_READ = 2.0
#: Lines that are not JSON come from libraries; a flood of them would only freeze the log.
_FOREIGN_LINES = 200
_STDERR_CHARACTERS = 20_000
#: Characters of a line; a report with all the classes that a map can have is shorter.
_LONGEST_LINE = 32 << 20

_FAMILY = {
    kind.code: kind
    for kind in (
        ThematicaError, InputError, UnreadableRasterError, ModelError, MisfitError, OutputError, RuntimeMissingError,
        Cancelled,
    )
}  # fmt: skip
_BY_STATUS = {InputError.exit_status: InputError, Cancelled.exit_status: Cancelled}


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
        self.errors: deque[str] = deque()
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.foreign_lines = 0
        self.cancelled_at: float | None = None

    def run(self) -> dict[str, Any]:
        try:
            self.process = subprocess.Popen(
                self.arguments,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                **process_options(),
            )
        except OSError as error:
            raise RuntimeMissingError(
                "The runtime's Python does not start. Open Raster ▸ Thematica ▸ Runtime… and repair it.",
                f"{self.arguments}\n{error}",
            ) from error
        readers = [threading.Thread(target=read, daemon=True) for read in (self._read_lines, self._read_errors)]
        for reader in readers:
            reader.start()
        try:
            self._listen()
        finally:
            # Also when on_event raised: a worker never outlives the task that started it.
            if self.process.poll() is None:
                kill_process(self.process)
            self._close_stdin()
            for reader in readers:
                # Not for ever: a child of the worker may still hold the pipe open.
                reader.join(1.0)
        return self._outcome()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in iter(lambda: stream.readline(_LONGEST_LINE), ""):
                self.lines.put(line)
        self.lines.put(None)

    def _read_errors(self) -> None:
        """Drain stderr, so that the worker never waits for us, and keep its tail for the log."""
        assert self.process.stderr is not None
        kept = 0
        with self.process.stderr as stream:
            while chunk := stream.read(4096):
                self.errors.append(chunk)
                kept += len(chunk)
                while kept - len(self.errors[0]) > _STDERR_CHARACTERS:
                    kept -= len(self.errors.popleft())

    def _listen(self) -> None:
        """Pass events on until the worker has ended, cancelling it when asked to."""
        finished = False
        next_poll = silent_from = 0.0
        while not finished or self.process.poll() is None:
            # By the clock and not only when idle: a worker that floods its output can be cancelled too.
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + _POLL_SECONDS
                if self.cancelled_at is None and self.is_cancelled():
                    self._cancel()
                if self.cancelled_at is not None and time.monotonic() - self.cancelled_at > SECONDS_TO_END:
                    kill_process(self.process)
                    return
            if finished:
                time.sleep(0.02)
                continue
            try:
                line = self.lines.get(timeout=_POLL_SECONDS)
            except Empty:
                # A child of the worker may hold the pipe open after the worker died; but its last line may be long.
                if self.process.poll() is not None:
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
        assert self.process.stdin is not None
        try:
            self.process.stdin.write("cancel\n")
            self.process.stdin.flush()
        except OSError:
            pass  # the worker has just ended; its outcome is read below
        self._close_stdin()

    def _close_stdin(self) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except OSError:
            pass  # closing flushes, and the worker at the other end may be gone

    def _take(self, line: str) -> None:
        event = parse_event(line)
        if event is None:
            if line.strip() and self.foreign_lines < _FOREIGN_LINES:
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
        status = self.process.returncode
        tail = "".join(self.errors)[-_STDERR_CHARACTERS:].strip()
        if self.cancelled_at is not None:
            raise Cancelled(details=tail)
        if self.error is not None:
            code, message = self.error["code"], self.error["message"]
            kind = _FAMILY.get(code) or _BY_STATUS.get(status, ThematicaError)
            details = "\n".join(filter(None, (self.error["details"], tail)))
            raise kind(message or "The worker reported a fault without a reason.", details)
        if status == Cancelled.exit_status:
            raise Cancelled(details=tail)
        raise _unexpected_end(status, tail)


def _unexpected_end(status: int, tail: str) -> ThematicaError:
    details = f"exit status {status}\n{tail}"
    missing = re.search(r"ModuleNotFoundError: No module named '([^'.]+)", tail)
    if missing and missing.group(1) != "thematica":
        return RuntimeMissingError(
            f"The runtime lacks the package {missing.group(1)}. Open Raster ▸ Thematica ▸ Runtime… and repair it.",
            details,
        )
    if sys.platform != "win32" and status == -9:
        return ThematicaError(
            "The worker ended unexpectedly: it was killed, probably because memory ran out. Nothing was written; "
            "choose a smaller tile or batch, or close other programs.",
            details,
        )
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return ThematicaError(
        f"The worker ended unexpectedly ({how}). Nothing was written; the log of the task says more.", details
    )
