"""What a command prints: a progress bar for people, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Sequence
from typing import Any

from ..progress import Monitor

STYLES = ("bar", "json", "none")


class Console:
    """Prints events in one of :data:`STYLES`; results and JSON go to stdout, all else to stderr.

    Args:
        style: ``bar``, ``json`` or ``none``; None: a bar where stderr is a terminal, else none.
    """

    def __init__(self, style: str | None = None) -> None:
        self.style = style or ("bar" if sys.stderr.isatty() else "none")
        self._lock = threading.Lock()
        self._bar_is_open = False

    def event(self, event: dict[str, Any]) -> None:
        """Show an event of a job."""
        if self.style == "json":
            self._json(event)
        elif event["event"] == "progress":
            self._bar(event)
        elif event["event"] == "log":
            self._line(f"{event['level']}: {event['message']}" if event["level"] != "info" else event["message"])

    def error(self, code: str, message: str, details: str) -> None:
        """Tell a failure: one sentence for the user, details on stderr or in the JSON event."""
        if self.style == "json":
            self._json({"event": "error", "code": code, "message": message, "details": details})
            return
        self._line(f"thematica: {message}")
        # A traceback helps a developer; details of bad input only repeat what was said.
        if details and (code == "fault" or os.environ.get("THEMATICA_DEBUG")):
            self._line(details)

    def close_bar(self) -> None:
        """End the line of the progress bar."""
        if self._bar_is_open:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._bar_is_open = False

    def _json(self, event: dict[str, Any]) -> None:
        with self._lock:
            # Other letters escaped: the encoding of stdout may be anything, and a path may hold bytes that are no text.
            sys.stdout.write(json.dumps(event, allow_nan=False) + "\n")
            sys.stdout.flush()

    def _line(self, text: str) -> None:
        with self._lock:
            self.close_bar()
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def _bar(self, event: dict[str, Any]) -> None:
        if self.style != "bar":
            return
        width = 30
        filled = round(event["fraction"] * width)
        rate = event.get("pixels_per_second")
        left = event.get("seconds_left")
        text = f"\r[{'#' * filled}{'.' * (width - filled)}] {event['fraction']:4.0%} {event['stage']}"
        if rate:
            text += f" {rate / 1e6:.1f} Mpx/s"
        if left is not None:
            text += f" {left:.0f} s left"
        with self._lock:
            sys.stderr.write(text.ljust(79))
            sys.stderr.flush()
            self._bar_is_open = True
            if event["fraction"] >= 1:
                self.close_bar()


def print_class_table(classes: Sequence[dict[str, Any]], unit: str) -> None:
    """Print what a report says of its classes.

    Args:
        classes: as in the report.
        unit: what was counted: ``pixels`` or ``patches``.
    """
    width = max([len(entry["name"]) for entry in classes] + [5])
    sys.stdout.write(f"{'Class':{width}} {unit.capitalize():>14} {'Hectares':>14} {'Share':>8}\n")
    for entry in classes:
        hectares = "–" if entry["hectares"] is None else f"{entry['hectares']:,.2f}"
        sys.stdout.write(f"{entry['name']:{width}} {entry[unit]:>14,} {hectares:>14} {entry['percent']:>7.2f}%\n")


def cancel_on_signals(monitor: Monitor) -> None:
    """Let Ctrl-C and a polite kill end the job cleanly."""

    def handler(_number: int, _frame: object) -> None:
        monitor.cancel()

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, handler)


def cancel_on_stdin(monitor: Monitor) -> None:
    """Let the line ``cancel`` or the end of stdin end the job: so it also ends when QGIS is killed.

    Only a pipe counts that somebody holds open at the other end when we start: a closed or empty
    stdin, as under cron, says nothing about our caller.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError, ValueError):
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return
    # A caller that cancelled while we were still starting has written its line and gone; that counts.
    abandoned = False
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        abandoned = any(flags & (select.POLLHUP | select.POLLERR) for _, flags in poll.poll(0))

    def watch() -> None:
        while True:
            line = os.read(descriptor, 4096)
            if b"cancel" in line or not (line or abandoned):
                monitor.cancel()
            if not line or monitor.cancelled:
                return

    threading.Thread(target=watch, name="stdin", daemon=True).start()
