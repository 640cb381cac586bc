"""A command, or a function, in a process of its own with limits: what GDAL or ONNX Runtime do to it hits no test.

Processes are forked from one that has loaded everything, so that thousands of them are cheap.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "thematica.cli.main",
        "thematica.engine.classify_pixels",
        "thematica.tests.engine.workplace",
        "thematica.tests.fuzz.label_reader",
    ]
)

#: Seconds after which a run is asked to end, and those that it may take for that.
PATIENCE, TO_END = 10.0, 10.0

#: How processes ended: exit status, negative for signals.
ENDS: dict[int, int] = {}


@dataclass
class Ended:
    """How a process ended.

    Args:
        status: exit status; negative for a signal that killed it.
        asked: whether it was asked to end, having run for :data:`PATIENCE`.
        out, err: what it wrote.
    """

    status: int
    asked: bool
    out: str
    err: str

    @property
    def crashed(self) -> bool:
        """True where a library took the process down."""
        return self.status < 0 and self.status != -signal.SIGKILL


def command(arguments: list[str], log: Path, megabytes: int = 6000) -> Ended:
    """Run ``thematica`` with these arguments; its output goes to files beside ``log``."""
    return function(_run_command, arguments, log, megabytes)


def function(body: Callable[[list[str]], int], arguments: list[str], log: Path, megabytes: int) -> Ended:
    """Run a function of a module; what it returns is the exit status."""
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    process = _CONTEXT.Process(target=_child, args=(body, arguments, str(out), str(err), megabytes))
    process.start()
    process.join(PATIENCE)
    asked = process.is_alive()
    if asked:
        os.kill(process.pid, signal.SIGTERM)
        process.join(TO_END)
    hung = process.is_alive()
    if hung:
        process.kill()
        process.join()
    status = process.exitcode
    process.close()
    ENDS[status] = ENDS.get(status, 0) + 1
    said = err.read_text("utf-8", "replace") if err.exists() else ""
    if hung:
        raise AssertionError(f"it hangs, and does not end when asked: {arguments}\n{said[-3000:]}")
    return Ended(status, asked, out.read_text("utf-8", "replace") if out.exists() else "", said)


def _child(body: Callable[[list[str]], int], arguments: list[str], out: str, err: str, megabytes: int) -> None:
    for stream, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), "utf-8", write_through=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
    # Past the limit a write fails, as on a full disk, instead of killing us.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    status = body(arguments)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _run_command(arguments: list[str]) -> int:
    from thematica.cli.main import main

    # As a program, with its own idea of what the user is to see.
    sys.argv = ["thematica", *arguments]
    try:
        return main()
    except SystemExit as stop:  # how argparse ends
        return int(stop.code or 0)


def events(ended: Ended) -> list[dict]:
    """What a run with JSON progress said."""
    return [json.loads(line) for line in ended.out.splitlines()]
