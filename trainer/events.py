"""What a training tells: JSON lines in its folder, TensorBoard's files, and progress for whoever waits."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..progress import Monitor

FILE = "events.jsonl"
#: Seconds between two lines about steps: a light network takes thousands in that time.
_BETWEEN_STEPS = 0.25


class Events:
    """Writes for process 0; for others it is silent.

    Args:
        folder: the run's; None: nothing is written.
        monitor: hears of the progress.
        epochs: of the whole training.
        resumed: lines are added to those of the run that goes on.
    """

    def __init__(self, folder: Path | None, monitor: Monitor, epochs: int, resumed: bool = False) -> None:
        self.monitor, self.epochs = monitor, epochs
        self._last_step = self._started = time.monotonic()
        self._stream = None
        self._board: Any = None
        self._first_share: float | None = None
        if folder is None:
            return
        board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            monitor.log("TensorBoard is not installed; the curves are in events.jsonl alone.")
        else:
            board = SummaryWriter
        try:
            cut_off = resumed and _is_cut_off(folder / FILE)
            self._stream = (folder / FILE).open("a" if resumed else "w", encoding="utf-8")
            if cut_off:
                self._stream.write("\n")
            self._board = board(str(folder / "tensorboard")) if board is not None else None
        except OSError as error:
            self.close()
            raise OutputError(f"The folder “{folder}” cannot be written: {error.strerror}.", repr(error)) from error

    def tell(self, event: str, **values: Any) -> None:
        """Write one event.

        Raises:
            OutputError: the disk is full.
        """
        if self._stream is None:
            return
        line = json.dumps({"event": event, "time": round(time.time(), 3), **_plain(values)}, ensure_ascii=False)
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            raise OutputError(
                f"“{self._stream.name}” could not be written: {error.strerror}; make room, and go on with --resume."
            ) from error

    def step(self, epoch: int, step: int, steps: int, loss: float, rate: float) -> None:
        """Tell of a step of training, at most four times a second."""
        now = time.monotonic()
        share = (epoch + step / max(steps, 1)) / self.epochs
        if self._first_share is None:
            self._first_share = share
        if now - self._last_step < _BETWEEN_STEPS:
            return
        self._last_step = now
        self.tell("step", epoch=epoch, step=step, steps=steps, loss=loss, learning_rate=rate)
        done = share - self._first_share
        left = (now - self._started) / done * (1 - share) if done > 0 else None
        self.monitor.progress(f"Epoch {epoch + 1} of {self.epochs}", share, None, left)

    def epoch(self, epoch: int, **values: Any) -> None:
        """Tell of a finished epoch."""
        self.tell("epoch", epoch=epoch, **values)
        if self._board is not None:
            numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
            try:
                for name, value in {**numbers, **values.get("validation", {})}.items():
                    if isinstance(value, (int, float)) and math.isfinite(value):
                        self._board.add_scalar(name.replace(" ", "_"), value, epoch + 1)
            except OSError as error:
                raise OutputError(
                    f"The curves for TensorBoard could not be written: {error.strerror}; make room, and go on with "
                    "--resume.",
                    repr(error),
                ) from error

    def close(self) -> None:
        """Close the files."""
        for file in (self._stream, self._board):
            # What a full disk did not take was told when it was written; here it must not hide the error.
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()


def _is_cut_off(path: Path) -> bool:
    """Whether the last line has no end: the process died while it wrote, or the disk was full."""
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"


def _plain(value: Any) -> Any:
    """As JSON can hold it: it has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
