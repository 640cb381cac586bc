"""Writing the shards of a training set: samples come in any order and lie in the files in an order drawn by chance.

Each sample is dealt to a shard by chance and appended to that shard's working file; a finished shard is read, shuffled
and written as arrays.  So the order is a random one through and through, memory holds two shards at most, and nothing
is read twice but once.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...progress import Monitor
from .description import ARRAYS, IGNORED, PARTS, TRAIN, Shard, Statistics
from .statistics import Moments, physical
from .stretches import stretches
from .work import Work, writing

#: Size of the largest shard; with more than one, the smallest has half of it.
SHARD_BYTES = 128 << 20
#: What is collected in memory before it is appended to the working files.
BUFFER_BYTES = 128 << 20
#: A kill costs at most this much work.
SECONDS_BETWEEN_CHECKPOINTS = 20.0
#: Pixels from which percentiles are taken.
DRAWN = 100_000


@dataclass(frozen=True)
class Written:
    """What the writer knows when all is written.

    Args:
        shards: by part.
        statistics: of the training part.
        counts: by part, (K,) samples per class; of chips the labelled pixels.
        samples: by part.
    """

    shards: dict[str, list[Shard]]
    statistics: Statistics
    counts: dict[str, list[int]]
    samples: dict[str, int]


class DatasetWriter:
    """Takes samples, makes shards.

    Args:
        work: folder in the making; its journal keeps what the writer needs to go on.
        task: ``single-label``, ``multi-label`` or ``segmentation``.
        shape: of a sample, (C,) or (C, h, w).
        dtype: of samples.
        classes: how many.
        label_dtype: of labels.
        place_dtype: of places.
        expected: by part, how many samples will come (about: it settles the number of shards; the same in every run).
        seed: of the order.
        monitor: is asked whether to go on.
        masks: samples may have missing pixels, which get the mean of the training part: what a network is given in
            their place when it classifies.
        scale, offset: of the bands, for the statistics.

    Attributes:
        position: what the last :meth:`rest` before a kill was given; None at the beginning.
        complete: everything came already; go straight to :meth:`finish`.
    """

    def __init__(
        self,
        work: Work,
        *,
        task: str,
        shape: Sequence[int],
        dtype: np.dtype[Any] | str,
        classes: int,
        label_dtype: str,
        place_dtype: np.dtype[Any],
        expected: Mapping[str, int],
        seed: int,
        monitor: Monitor,
        masks: bool = False,
        scale: Sequence[float] | None = None,
        offset: Sequence[float] | None = None,
    ) -> None:
        self._work, self._monitor, self._seed = work, monitor, seed
        self.task, self.shape, self.classes = task, tuple(shape), classes
        self._scale = list(scale) if scale is not None else [1.0] * self.shape[0]
        self._offset = list(offset) if offset is not None else [0.0] * self.shape[0]
        label_shape = self.shape[1:] if task == "segmentation" else (classes,) if task == "multi-label" else ()
        self._ignore = IGNORED[label_dtype] if task == "segmentation" else None
        mask_bytes = -(-math.prod(self.shape[1:]) // 8) if masks else 0
        # "=": samples in this machine's order of bytes, whatever the file's was.
        self._record = np.dtype(
            [
                ("samples", np.dtype(dtype).newbyteorder("="), self.shape),
                ("labels", label_dtype, label_shape),
                ("places", place_dtype),
                ("missing", "u1", (mask_bytes,)),
            ]
        )
        self._parts = [part for part in PARTS if expected.get(part)]
        # The same parts whenever this set is made: shards are numbered from these on.
        self._first: dict[str, int] = {}
        total = 0
        self._shards: dict[str, int] = {}
        for part in self._parts:
            self._first[part] = total
            self._shards[part] = -(-expected[part] * self._record.itemsize // SHARD_BYTES)
            total += self._shards[part]
        self._buffer = np.empty(max(BUFFER_BYTES // self._record.itemsize, 1), self._record)
        self._numbers = np.empty(len(self._buffer), np.int32)
        self._filled = 0
        self._deals: dict[str, tuple[int, np.ndarray]] = {}
        self._folder = work.scratch / "shards"
        with writing(work.folder):
            self._folder.mkdir(exist_ok=True)
        state = work.state.get("writer") or {}
        if not self._trustworthy(state):
            state = {}
        #: Samples in each shard's working file, flushed or not.
        self._lengths = np.array(state.get("lengths") or [0] * total, np.int64)
        self._added: dict[str, int] = dict(state.get("added") or dict.fromkeys(self._parts, 0))
        self._counts = {part: np.array(n, np.int64) for part, n in (state.get("counts") or {}).items()}
        for part in self._parts:
            self._counts.setdefault(part, np.zeros(classes, np.int64))
        self._moments = Moments.from_json(state["moments"]) if state else Moments(self.shape[0])
        self._finished: dict[str, Any] = dict(state.get("finished") or {})
        self.complete: bool = bool(state.get("complete"))
        self.position: Any = state.get("position")
        self._since = time.monotonic()
        with writing(work.folder):
            self._cut()

    # -- taking ----------------------------------------------------------------------------------------

    def add(
        self,
        part: str,
        samples: np.ndarray,
        labels: np.ndarray,
        places: np.ndarray,
        missing: np.ndarray | None = None,
    ) -> None:
        """Take samples.

        Args:
            part: one that was expected.
            samples: (n, …) as stored.
            labels: (n, …).
            places: (n,).
            missing: (n, h, w), True for missing pixels; only with ``masks``.

        Raises:
            OutputError: the disk is full or gone.
        """
        count = len(samples)
        if not count:
            return
        numbers = self._deal(part, count)
        if part == TRAIN:
            self._moments.add(samples, missing)
        self._counts[part] += self._count(labels)
        self._added[part] += count
        start = 0
        while start < count:
            room = min(len(self._buffer) - self._filled, count - start)
            into, of = slice(self._filled, self._filled + room), slice(start, start + room)
            self._buffer["samples"][into] = samples[of]
            self._buffer["labels"][into] = labels[of]
            self._buffer["places"][into] = places[of]
            if self._record["missing"].itemsize:
                flat = None if missing is None else missing[of].reshape(room, -1)
                self._buffer["missing"][into] = 0 if flat is None else np.packbits(flat, axis=1)
            self._numbers[into] = numbers[of]
            self._filled += room
            start += room
            if self._filled == len(self._buffer):
                self._flush()

    def rest(self, position: Any) -> None:
        """Say that all before a position was added: a run that is killed later goes on there.

        Args:
            position: JSON-able; ``position`` of the next writer.

        Raises:
            OutputError: the disk is full or gone.
            Cancelled: the monitor was asked to end; what was done is kept.
        """
        now = time.monotonic()
        if self._monitor.cancelled or now - self._since >= SECONDS_BETWEEN_CHECKPOINTS:
            self._checkpoint(position)
            self._since = time.monotonic()
        self._monitor.check()

    def _deal(self, part: str, count: int) -> np.ndarray:
        """The shards of the next samples: each of them gets as many as any other, in an order drawn by chance."""
        shards, first, start = self._shards[part], self._first[part], self._added[part]
        if shards == 1:
            return np.full(count, first, np.int32)
        length = shards * max(8192 // shards, 1)
        result = np.empty(count, np.int32)
        done = 0
        while done < count:
            run, place = divmod(start + done, length)
            if self._deals.get(part, (-1, None))[0] != run:
                chance = np.random.default_rng([self._seed, 1, PARTS.index(part), run])
                self._deals[part] = (run, chance.permutation(np.arange(length, dtype=np.int32) % shards))
            some = self._deals[part][1][place : place + count - done]
            result[done : done + len(some)] = some + first
            done += len(some)
        return result

    def _count(self, labels: np.ndarray) -> np.ndarray:
        if self.task == "multi-label":
            return labels.astype(np.int64).sum(axis=0)
        flat = labels.ravel()
        if self._ignore is not None:
            flat = flat[flat != self._ignore]
        return np.bincount(flat, minlength=self.classes)

    # -- working files ---------------------------------------------------------------------------------

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:05d}"

    def _trustworthy(self, state: dict[str, Any]) -> bool:
        """Whether all is there that the journal names: somebody may have tidied up."""
        for number, length in enumerate(state.get("lengths") or []):
            finished = (state.get("finished") or {}).get(str(number))
            if finished is None:
                wanted = {self._file(number): length * self._record.itemsize}
            else:
                shard = Shard(**finished)
                wanted = {self._work.path / shard.name(array): size for array, size in shard.bytes.items()}
            if any(size and (not path.is_file() or path.stat().st_size < size) for path, size in wanted.items()):
                return False
        return True

    def _cut(self) -> None:
        """Cut off what was written after the last checkpoint."""
        there = {int(path.name): path for path in self._folder.iterdir() if path.name.isdigit()}
        for number, path in there.items():
            length = int(self._lengths[number]) if number < len(self._lengths) else 0
            if str(number) in self._finished or not length:
                path.unlink()
            else:
                os.truncate(path, length * self._record.itemsize)

    def _flush(self, durable: bool = False) -> None:
        """Append what is in memory to the working files."""
        filled, self._filled = self._filled, 0
        order = np.argsort(self._numbers[:filled], kind="stable")
        numbers = self._numbers[:filled][order]
        # Whole records, as bytes: NumPy would copy them field by field.
        records = self._buffer.view(np.uint8).reshape(len(self._buffer), -1)
        with writing(self._work.folder):
            for start, end in zip(*stretches(numbers), strict=True):
                number = int(numbers[start])
                # Unbuffered: what the disk has no room for is told here, not when the file is closed.
                with self._file(number).open("ab", buffering=0) as file:
                    _write_all(file.fileno(), records.take(order[start:end], axis=0).reshape(-1).data)
                self._lengths[number] += end - start
            if durable:
                for number in range(len(self._lengths)):
                    path = self._file(number)
                    if path.exists():
                        _sync(path)

    def _checkpoint(self, position: Any) -> None:
        self._flush(durable=True)
        self.position = position
        self._save()

    def _save(self) -> None:
        self._work.state["writer"] = {
            "lengths": self._lengths.tolist(),
            "added": self._added,
            "counts": {part: counts.tolist() for part, counts in self._counts.items()},
            "moments": self._moments.to_json(),
            "finished": self._finished,
            "complete": self.complete,
            "position": self.position,
        }
        self._work.save()

    # -- finishing -------------------------------------------------------------------------------------

    def finish(self, begun: float = 0.0) -> Written:
        """Shuffle and write the shards; the folder is complete but for its description.

        Args:
            begun: part of the whole run that is done, for the progress.

        Raises:
            OutputError: the disk is full or gone.
            Cancelled: the monitor was asked to end; what was done is kept.
        """
        if not self.complete:
            self.complete = True
            self._checkpoint(self.position)
        self._buffer = np.empty(0, self._record)
        filling = self._filling()
        shards: dict[str, list[Shard]] = {part: [] for part in self._parts}
        draws = []
        done, everything = 0, max(int(self._lengths.sum()), 1)
        for part in self._parts:
            for index in range(self._shards[part]):
                self._monitor.check()
                number = self._first[part] + index
                length = int(self._lengths[number])
                if not length:
                    continue
                name = f"{part}-{len(shards[part]):05d}"
                if str(number) not in self._finished:
                    self._finished[str(number)] = self._finish_shard(number, part, name, length, filling)
                    self._save()
                with writing(self._work.folder):
                    self._file(number).unlink(missing_ok=True)
                shards[part].append(Shard(**self._finished[str(number)]))
                if part == TRAIN:
                    draws.append(np.load(self._draw_file(name)))
                done += length
                self._monitor.progress("Shuffling", begun + (1 - begun) * done / everything)
        draw = np.concatenate(draws, axis=1) if draws else np.zeros((self.shape[0], 0))
        return Written(
            shards=shards,
            statistics=physical(self._moments, draw, self._scale, self._offset),
            counts={part: self._counts[part].tolist() for part in self._parts},
            samples=dict(self._added),
        )

    def _draw_file(self, name: str) -> Path:
        return self._work.scratch / f"{name}.draw.npy"

    def _filling(self) -> np.ndarray:
        """(C,) what stands for a missing sample: the mean of the training part, as it can be stored."""
        dtype = self._record["samples"].base
        mean = self._moments.mean
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            mean = np.clip(np.rint(mean), limits.min, limits.max)
        return mean.astype(dtype)

    def _finish_shard(self, number: int, part: str, name: str, length: int, filling: np.ndarray) -> dict[str, Any]:
        with writing(self._work.folder):
            content = np.fromfile(self._file(number), np.uint8, count=length * self._record.itemsize)
        order = np.random.default_rng([self._seed, 2, number]).permutation(length)
        # Whole records, as bytes: NumPy would go through them once for each field, and field by field.
        records = content.reshape(length, -1).take(order, axis=0).view(self._record)[:, 0]
        del content
        samples = records["samples"]
        missing: np.ndarray | None = None
        if self._record["missing"].itemsize:
            pixels = math.prod(self.shape[1:])
            missing = np.unpackbits(records["missing"], axis=1, count=pixels).view(bool)
            missing = missing.reshape(length, *self.shape[1:])
        if part == TRAIN:
            share = -(-DRAWN // self._shards[TRAIN])
            draw = _draw(samples, missing, share, np.random.default_rng([self._seed, 3, number]))
            with writing(self._work.folder):
                _write_array(self._draw_file(name), draw)
        if missing is not None and missing.any():
            for band in range(self.shape[0]):
                samples[:, band][missing] = filling[band]
        arrays = {name: records[name] for name in ARRAYS}
        shard = Shard(name, length, {}, {})
        sizes, sums = {}, {}
        with writing(self._work.folder):
            for array in ARRAYS:
                path = self._work.path / shard.name(array)
                sums[array] = _write_array(path, arrays[array])
                sizes[array] = path.stat().st_size
        return {"file": name, "samples": length, "bytes": sizes, "sha256": sums}


def _draw(samples: np.ndarray, missing: np.ndarray | None, share: int, chance: np.random.Generator) -> np.ndarray:
    """About ``share`` pixels of shuffled samples, (C, m) with NaN where one is missing."""
    some = samples[:share]
    if some.ndim == 2:
        return some.T.astype(np.float64)
    count, bands = some.shape[:2]
    pixels = math.prod(some.shape[2:])
    which = chance.integers(pixels, size=(count, max(share // count, 1)))
    rows = np.arange(count)[:, None]
    # (count, per sample, C): the axes of the two index arrays come first where a slice stands between them.
    values = some.reshape(count, bands, pixels)[rows, :, which].astype(np.float64)
    if missing is not None:
        values[missing[:share].reshape(count, pixels)[rows, which]] = np.nan
    return values.reshape(-1, bands).T


def checksum(path: Path) -> str:
    """sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:
    """As ``hashlib.file_digest``, which Python 3.10 has not."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _write_array(path: Path, array: np.ndarray) -> str:
    """Write an array as ``np.save`` does, which hides why a disk took no more; returns its sha256."""
    header = io.BytesIO()
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        for content in (memoryview(header.getvalue()), array.reshape(-1).view(np.uint8).data):
            digest.update(content)
            _write_all(file.fileno(), content)
        os.fsync(file.fileno())
    return digest.hexdigest()


def _write_all(descriptor: int, content: bytes | memoryview[Any]) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left[: 1 << 30]) :]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
