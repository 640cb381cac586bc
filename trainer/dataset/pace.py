"""How fast a stage goes, in the words that stand beside its progress."""

from __future__ import annotations

import time

# Before this nothing can be said.
_LEAST_SECONDS = 0.5


class Pace:
    """Counts from its making on.

    Args:
        stage: what is done: ``Writing samples``.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return time.monotonic() - self._started

    def words(self, done: int) -> str:
        """``"Writing samples (12,300 per second)"``.

        Args:
            done: how many so far, in this run.
        """
        if self.seconds < _LEAST_SECONDS or not done:
            return self.stage
        return f"{self.stage} ({done / self.seconds:,.0f} per second)"

    def left(self, done: int, rest: int) -> float | None:
        """Seconds that the rest will take."""
        return rest * self.seconds / done if done and self.seconds >= _LEAST_SECONDS else None
