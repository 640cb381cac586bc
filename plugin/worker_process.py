"""A process of the runtime, its pipes emptied by threads, and its end told in a sentence.

One job of the toolbox (:mod:`.worker`) and the persistent worker of live classification (:mod:`.live_worker`) start,
read and end their processes alike.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
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
from .runtime import clean_environment, kill_process, process_options

#: Lines that are not JSON come from libraries; a flood of them would only freeze the log.
FOREIGN_LINES = 200
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


class WorkerProcess:
    """The process from its start to its end; a clean environment, no console window, a process group of its own.

    Args:
        arguments: the command.

    Raises:
        RuntimeMissingError: it does not start.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._readers: list[threading.Thread] = []
        self._errors: deque[str] = deque()
        try:
            self.process = subprocess.Popen(
                list(arguments),
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
                f"{arguments}\n{error}",
            ) from error

    def read(self, on_line: Callable[[str | None], None]) -> None:
        """Begin to read; ``on_line`` gets each line of stdout, and None at its end, in a thread of its own."""
        self._readers = [
            threading.Thread(target=self._read_errors, daemon=True),
            threading.Thread(target=self._read_lines, args=(on_line,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_lines(self, on_line: Callable[[str | None], None]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in iter(lambda: stream.readline(_LONGEST_LINE), ""):
                on_line(line)
        on_line(None)

    def _read_errors(self) -> None:
        """Drain stderr, so that the process never waits for us, and keep its tail for the log."""
        assert self.process.stderr is not None
        kept = 0
        with self.process.stderr as stream:
            while chunk := stream.read(4096):
                self._errors.append(chunk)
                kept += len(chunk)
                while kept - len(self._errors[0]) > _STDERR_CHARACTERS:
                    kept -= len(self._errors.popleft())

    def has_ended(self) -> bool:
        """True once the process is gone; a child of it may still hold its pipes."""
        return self.process.poll() is not None

    def write(self, text: str) -> bool:
        """Write to its stdin; False where nobody reads any more.  Blocks while the pipe is full."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except (OSError, ValueError):
            return False  # it has just ended, or the pipe was closed: whoever reads stdout sees the end
        return True

    def close_stdin(self) -> None:
        """Close its stdin, which ends a worker cleanly."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except OSError:
            pass  # closing flushes, and the process at the other end may be gone

    def kill(self) -> None:
        """End it and its children at once, where it has not ended by itself."""
        if self.process.poll() is None:
            kill_process(self.process)

    def join(self) -> None:
        """Wait for the threads; not for ever: a child of the process may still hold its pipes."""
        for reader in self._readers:
            if reader is not threading.current_thread():
                reader.join(1.0)

    def errors(self) -> str:
        """The end of what it wrote to stderr."""
        return "".join(self._errors)[-_STDERR_CHARACTERS:].strip()


def told_error(event: Mapping[str, Any], status: int | None = None, tail: str = "") -> ThematicaError:
    """An ``error`` event as one of our family.

    Args:
        event: from :func:`.worker_event.parse_event`, with ``code``, ``message`` and ``details`` as text.
        status: the exit status, which tells the kind where the code is new.
        tail: of stderr.
    """
    kind = _FAMILY.get(event["code"]) or _BY_STATUS.get(status, ThematicaError)
    details = "\n".join(filter(None, (event["details"], tail)))
    return kind(event["message"] or "The worker reported a fault without a reason.", details)


def lacking_package(tail: str) -> str:
    """The sentence for a runtime without one of its packages, or empty where stderr says nothing of that."""
    missing = re.search(r"ModuleNotFoundError: No module named '([^'.]+)", tail)
    if not missing or missing.group(1) == "thematica":
        return ""
    return f"The runtime lacks the package {missing.group(1)}. Open Raster ▸ Thematica ▸ Runtime… and repair it."


def was_killed(status: int) -> bool:
    """True where the system killed the process, which it mostly does when memory runs out."""
    return sys.platform != "win32" and status == -9


def how_it_ended(status: int) -> str:
    """``"signal 11"`` or ``"exit status 1"``."""
    return f"signal {-status}" if status < 0 else f"exit status {status}"
