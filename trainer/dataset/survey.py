"""The first look at labelled scenes: where samples could come from.  Kept in files, so that it need not be done twice.

A split can only be decided when all labels are known, and which pixels have data is known only when they were read.
So every window with labels is read once here; of single pixels the values are kept right away, and the image is not
read again.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...progress import Monitor
from .scene import UNLABELLED, LabelledScene
from .work import Work, writing

#: A sample: pixel (chips: their top left one), polygon or -1, class (chips: 0).
RECORD = np.dtype([("row", "<i4"), ("col", "<i4"), ("shape", "<i4"), ("label", "<i2")])
#: What a chip's labels are made of: number of the chip, polygon, class, pixels.
PIECE = np.dtype([("owner", "<i8"), ("shape", "<i4"), ("label", "<i2"), ("count", "<i4")])
#: A window that has samples, and how many; they follow one another in the order of the windows.
WINDOW = np.dtype(
    [("scene", "<u2"), ("row", "<i4"), ("col", "<i4"), ("height", "<i4"), ("width", "<i4"), ("count", "<i8")]
)

#: About what one window's samples may need in memory.
_WINDOW_BYTES = 32 << 20
_SECONDS_BETWEEN_CHECKPOINTS = 20.0
# No measurement is larger: what nobody declared to be nodata.  Its square would be no number any more.
_LARGEST = 1e100


@dataclass(frozen=True)
class Surveyed:
    """What was found.

    Args:
        records: (n,) of :data:`RECORD`.
        windows: of :data:`WINDOW`.
        pieces: of :data:`PIECE`, for chips; else empty.
        values: file with the samples of single pixels, (n, C) in stored order; None for other kinds.
        missing: labelled pixels without data, by scene.
    """

    records: npt.NDArray[np.void]
    windows: npt.NDArray[np.void]
    pieces: npt.NDArray[np.void]
    values: Path | None
    missing: list[int]


class _Appended:
    """A file that grows; what was written after the last checkpoint can be cut off."""

    def __init__(self, path: Path, length: int) -> None:
        self.path = path
        self._file = path.open("ab", buffering=1 << 20)
        os.truncate(path, length)

    def append(self, array: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(array).tobytes())

    def settle(self) -> int:
        """Its length, once all lies safely on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.path.stat().st_size

    def close(self) -> None:
        try:
            self._file.close()
        except OSError:
            # What could not be written was told, or is written again.
            pass


def survey(
    scenes: Sequence[LabelledScene],
    tables: Sequence[npt.NDArray[np.int16]],
    kind: str,
    side: int,
    labelled: float,
    work: Work,
    monitor: Monitor,
    share: float,
) -> Surveyed:
    """Look at all scenes, or go on where an earlier run stopped.

    Args:
        scenes: in their order.
        tables: of each scene, the class of each place in its legend.
        kind: ``pixels``, ``windows`` or ``chips``.
        side: of a chip.
        labelled: smallest share of labelled pixels of a chip; with 0 a single one is enough.
        work: folder in the making.
        monitor: is told the progress and asked whether to go on.
        share: part of the whole run that this is, for the progress.

    Raises:
        OutputError: the disk is full or gone.
        Cancelled: the monitor was asked to end; what was done is kept.
    """
    return _Survey(scenes, tables, kind, side, labelled, work, monitor, share).run()


class _Survey:
    def __init__(
        self,
        scenes: Sequence[LabelledScene],
        tables: Sequence[npt.NDArray[np.int16]],
        kind: str,
        side: int,
        labelled: float,
        work: Work,
        monitor: Monitor,
        share: float,
    ) -> None:
        self.scenes, self.tables, self.kind, self.side, self.labelled = scenes, tables, kind, side, labelled
        self.work, self.monitor, self.share = work, monitor, share
        self.state: dict[str, Any] = work.state.get("survey") or {}
        self._paths = {name: work.scratch / f"survey.{name}" for name in ("records", "windows", "pieces", "values")}
        lengths = self.state.get("lengths", {})
        if any(_size(self._paths[name]) < length for name, length in lengths.items()):
            # Somebody tidied up.
            self.state, lengths = {}, {}
            work.state.clear()
        self.missing = list(self.state.get("missing") or [0] * len(scenes))
        self.found = int(self.state.get("found", 0))
        self.files: dict[str, _Appended] = {}
        if not self.state.get("complete"):
            with writing(work.folder):
                for name, path in self._paths.items():
                    self.files[name] = _Appended(path, lengths.get(name, 0))

    def run(self) -> Surveyed:
        try:
            if not self.state.get("complete"):
                self._look()
        finally:
            for file in self.files.values():
                file.close()
        load = {"records": RECORD, "windows": WINDOW, "pieces": PIECE}
        with writing(self.work.folder):
            found = {name: np.fromfile(self._paths[name], dtype) for name, dtype in load.items()}
        values = self._paths["values"] if self.kind == "pixels" else None
        return Surveyed(values=values, missing=self.missing, **found)

    def _look(self) -> None:
        first, skip = self.state.get("scene", 0), self.state.get("window", 0)
        since = time.monotonic()
        for number in range(first, len(self.scenes)):
            scene = self.scenes[number]
            begin = skip if number == first else 0
            windows = islice(scene.windows(self._window_side(scene)), begin, None)
            for done, window in enumerate(windows, start=begin):
                row, _, height, _ = window
                fraction = (number + min((row + height) / scene.height, 1.0)) / len(self.scenes)
                self.monitor.progress("Reading labels", self.share * fraction)
                if self.monitor.cancelled or time.monotonic() - since >= _SECONDS_BETWEEN_CHECKPOINTS:
                    # This window is not done yet.
                    self._checkpoint(number, done)
                    since = time.monotonic()
                self.monitor.check()
                if self.kind == "chips":
                    self._chips(number, window)
                else:
                    self._pixels(number, window)
        self._checkpoint(len(self.scenes), 0, complete=True)

    def _window_side(self, scene: LabelledScene) -> int:
        """Windows whose samples need a few megabytes: as many pixels for many bands as for few would need gigabytes."""
        pixels = _WINDOW_BYTES // (len(scene.bands) * np.dtype(scene.dtype).itemsize)
        side = min(max(math.isqrt(pixels) // 64 * 64, 64), 1024)
        return side if self.kind != "chips" else self.side * max(side // self.side, 1)

    def _checkpoint(self, scene: int, window: int, complete: bool = False) -> None:
        with writing(self.work.folder):
            lengths = {name: file.settle() for name, file in self.files.items()}
        self.work.state["survey"] = self.state = {
            "scene": scene,
            "window": window,
            "lengths": lengths,
            "missing": self.missing,
            "found": self.found,
            "complete": complete,
        }
        self.work.save()

    def _labels(self, number: int, window: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        places, shapes = self.scenes[number].labels(*window)
        table = self.tables[number]
        # The place after the last is what -1 finds.
        return np.append(table, np.int16(UNLABELLED))[places], shapes

    def _valid(self, number: int, window: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        return read_valid(self.scenes[number], *window)

    def _pixels(self, number: int, window: tuple[int, int, int, int]) -> None:
        labels, shapes = self._labels(number, window)
        rows, cols = np.nonzero(labels != UNLABELLED)
        if not rows.size:
            return
        # Only what is needed is read: a polygon may lie in a corner of its window.
        top, left = int(rows.min()), int(cols.min())
        height, width = int(rows.max()) - top + 1, int(cols.max()) - left + 1
        samples, valid = self._valid(number, (window[0] + top, window[1] + left, height, width))
        if valid is not None:
            there = valid[rows - top, cols - left]
            self.missing[number] += int(rows.size - there.sum())
            rows, cols = rows[there], cols[there]
            if not rows.size:
                return
        records = np.empty(len(rows), RECORD)
        records["row"], records["col"] = rows + window[0], cols + window[1]
        records["shape"], records["label"] = shapes[rows, cols], labels[rows, cols]
        with writing(self.work.folder):
            if self.kind == "pixels":
                self.files["values"].append(native(samples)[:, rows - top, cols - left].T)
        self._found(number, window, records)

    def _chips(self, number: int, window: tuple[int, int, int, int]) -> None:
        scene, side = self.scenes[number], self.side
        row, col = window[0] // side * side, window[1] // side * side
        # Whole chips, also beyond the border of the scene.
        height = -(-(window[0] + window[2] - row) // side) * side
        width = -(-(window[1] + window[3] - col) // side) * side
        labels, shapes = self._labels(number, (row, col, height, width))
        if not (labels != UNLABELLED).any():
            return
        inside = (row, col, min(height, scene.height - row), min(width, scene.width - col))
        _, valid = self._valid(number, inside)
        if valid is not None:
            here = labels[: inside[2], : inside[3]]
            lost = (here != UNLABELLED) & ~valid
            self.missing[number] += int(lost.sum())
            here[lost] = UNLABELLED
        there = labels != UNLABELLED
        blocks = there.reshape(height // side, side, width // side, side)
        counts = blocks.sum(axis=(1, 3))
        down, right = np.nonzero(counts >= max(1, math.ceil(self.labelled * side * side)))
        if not down.size:
            return
        records = np.zeros(len(down), RECORD)
        records["row"], records["col"] = row + down * side, col + right * side
        records["shape"] = UNLABELLED
        chip = np.full(counts.shape, -1, np.int64)
        chip[down, right] = self.found + np.arange(len(down))
        rows, cols = np.nonzero(there)
        owner = chip[rows // side, cols // side]
        kept = owner >= 0
        keys = np.stack([owner[kept], shapes[rows, cols][kept], labels[rows, cols][kept]])
        found, amount = np.unique(keys, axis=1, return_counts=True)
        pieces = np.empty(found.shape[1], PIECE)
        pieces["owner"], pieces["shape"], pieces["label"] = found
        pieces["count"] = amount
        with writing(self.work.folder):
            self.files["pieces"].append(pieces)
        self._found(number, (row, col, height, width), records)

    def _found(self, number: int, window: tuple[int, int, int, int], records: np.ndarray) -> None:
        with writing(self.work.folder):
            self.files["records"].append(records)
            self.files["windows"].append(np.array([(number, *window, len(records))], WINDOW))
        self.found += len(records)


def native(samples: np.ndarray) -> np.ndarray:
    """In this machine's order of bytes."""
    return samples.astype(samples.dtype.newbyteorder("="), copy=False)


def read_valid(
    scene: LabelledScene, row: int, col: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """A window of a scene; pixels with a value that is no number, or no measurement, are missing, too.

    Returns:
        Samples (C, height, width) and validity (height, width), None where all are valid.
    """
    samples, valid = scene.read(row, col, height, width)
    if samples.dtype.kind == "f":
        # Not true of NaN, either; shorter floats have no such numbers but infinity.
        largest = min(_LARGEST, float(np.finfo(samples.dtype).max))
        finite = (np.abs(samples) <= largest).all(axis=0)
        if not finite.all():
            valid = finite if valid is None else valid & finite
    return samples, None if valid is None or valid.all() else valid


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
