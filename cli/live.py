"""``thematica live``: the persistent worker behind live classification in QGIS; speaks JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .console import Console

# A line with the shapes of a whole label layer may be long.
_LONGEST_LINE = 256 << 20
# How long an orderly end may take, in seconds; reading a block of a remote raster may take longer.
_PATIENCE = 0.5
_FOLDER = "thematica-live-"
# Folders that a worker left behind when it was killed go after a day.
_OLD_SECONDS = 24 * 3600.0
_NICE = 5


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "live",
        help="serve live classification to QGIS (JSON lines)",
        description=f"{(__doc__ or '').partition(': ')[2].capitalize()} The protocol: docs/architecture.md.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Serve until stdin ends (exit status 0), or a signal comes (3)."""
    from threadpoolctl import threadpool_limits

    from ..engine.live.worker import LiveWorker

    # Matrix products so small gain nothing from threads, which would take QGIS's core.
    threadpool_limits(1)
    _be_modest()
    _remove_old_folders()
    line = _Line()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    worker = LiveWorker(line.send, folder)
    status: list[int] = []

    def end(reason: int) -> None:
        status.append(reason)
        worker.close()

        def force() -> None:
            time.sleep(_PATIENCE)
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(status[0])

        threading.Thread(target=force, name="end", daemon=True).start()

    line.on_broken = lambda: end(3)
    _watch_signals(lambda: end(3))
    threading.Thread(target=_read_requests, args=(worker.feed, lambda: end(0)), name="stdin", daemon=True).start()
    try:
        worker.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return status[0] if status else 0


class _Line:
    """The line to QGIS: stdout, which nobody else may write on."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        # What a library prints goes where logs go.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._lock = threading.Lock()
        self.on_broken = lambda: None

    def send(self, event: dict[str, Any]) -> None:
        """Write an event as a line of JSON."""
        # Other letters escaped: a path may hold bytes that are no text.
        content = json.dumps(event, allow_nan=False).encode() + b"\n"
        with self._lock:
            try:
                while content:
                    content = content[self._stream.write(content) :]
            except OSError:
                self.on_broken()


def _read_requests(feed: Any, end: Any) -> None:
    """Feed the lines of stdin until it ends."""
    pending = bytearray()
    while True:
        try:
            part = os.read(0, 1 << 16)
        except OSError:
            part = b""
        if not part:
            end()
            return
        pending += part
        if len(pending) > _LONGEST_LINE:
            end()
            return
        if b"\n" in part:
            *lines, rest = pending.split(b"\n")
            for line in lines:
                if line.strip():
                    feed(line.decode("utf-8", "replace"))
            pending = bytearray(rest)


def _watch_signals(end: Any) -> None:
    """End on SIGTERM and the like, also where the main thread is in the middle of a library's call."""
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            # The byte that Python writes to the socket tells it; the main thread may be long in coming here.
            signal.signal(number, lambda *_: None)

    def watch() -> None:
        # Both ends live as long as this thread.
        with ours, pythons:
            ours.recv(1)
            end()

    threading.Thread(target=watch, name="signals", daemon=True).start()


def _be_modest() -> None:
    """Let QGIS come first where both want the processor."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_NICE)
        return
    import ctypes

    below_normal = 0x4000
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.SetPriorityClass(kernel.GetCurrentProcess(), below_normal)


def _remove_old_folders() -> None:
    """Remove what workers that were killed left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _OLD_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
