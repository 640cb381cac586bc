"""What a running job tells: progress, log lines; and how it is asked to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import Cancelled

Listener = Callable[[dict[str, Any]], None]


@dataclass
class Monitor:
    """Carries events out of a job and the wish to cancel into it.  Safe to use from several threads.

    Args:
        listener: gets every event as a dictionary (see docs/architecture.md, "The job").
    """

    listener: Listener | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _last: float = 0.0
    _started: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def cancel(self) -> None:
        """Ask the job to end; it ends at the next tile."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise :class:`Cancelled` if the job was asked to end."""
        if self.cancelled:
            raise Cancelled()

    def log(self, message: str, level: str = "info") -> None:
        """Tell the user something; warnings also go into the report."""
        if level == "warning":
            self.warnings.append(message)
        self._send({"event": "log", "level": level, "message": message})

    def stage(self, name: str, fraction: float) -> None:
        """Tell that a stage begins."""
        self._last = 0.0
        self.progress(name, fraction)

    def progress(
        self, stage: str, fraction: float, pixels_per_second: float | None = None, seconds_left: float | None = None
    ) -> None:
        """Tell how far the job is; at most ten times a second, the end always."""
        now = time.monotonic()
        if now - self._last < 0.1 and fraction < 1:
            return
        self._last = now
        self._send(
            {
                "event": "progress",
                "fraction": round(min(max(fraction, 0.0), 1.0), 4),
                "stage": stage,
                "pixels_per_second": round(pixels_per_second) if pixels_per_second else None,
                "seconds_left": round(seconds_left, 1) if seconds_left is not None else None,
            }
        )

    def _send(self, event: dict[str, Any]) -> None:
        if self.listener is not None:
            self.listener(event)
