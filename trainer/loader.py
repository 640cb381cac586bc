"""Samples from a training set to batches for a network: read ahead, in physical values, normalised, augmented."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from .dataset.description import Description
from .dataset.read import BUFFER_BYTES, Arrays, TrainingSet
from .processes import Processes

#: Pieces that wait for the network, in batches of at least one.
_AHEAD = 4
#: Small batches are made many at a time, up to this size: each piece costs the network's thread a while.
_PIECE_BYTES, _MOST_TOGETHER = 1 << 20, 64

Augment = Callable[[torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]]


class Batch(NamedTuple):
    """What a step learns from.

    Args:
        x: normalised samples.
        y: labels, int64; of several labels float32.
        weight: of all samples.
    """

    x: torch.Tensor
    y: torch.Tensor
    weight: float


@dataclass(frozen=True)
class Normaliser:
    """From stored values to those that a network takes: stored × gain + offset.

    What is missing has the mean of the training part in the set, which becomes 0.

    Args:
        gain, offset: (C,) float32.
        mean, std: (C,) of the physical values; what the card says.
    """

    gain: np.ndarray
    offset: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, description: Description) -> Normaliser:
        """From the statistics of the training part; a band that never changes is only shifted."""
        mean = np.array(description.statistics.mean)
        std = np.array(description.statistics.std)
        std = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1), std, 1.0)
        scale, shift = (np.array([getattr(band, name) for band in description.bands]) for name in ("scale", "offset"))
        gain, offset = scale / std, (shift - mean) / std
        return cls(gain.astype(np.float32), offset.astype(np.float32), mean, std)

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        """Normalise samples (N, C) or (N, C, rows, columns); float32."""
        shape = (1, -1) + (1,) * (stored.ndim - 2)
        values = np.multiply(stored, self.gain.reshape(shape), dtype=np.float32)
        values += self.offset.reshape(shape)
        return values


class Loader:
    """The batches of one process.

    Every epoch is read as a number of *streams*, stretches of the shards side by side, and a batch takes as many
    samples of each: there are fewer where they do not divide a batch.  Numbers of processes that divide the number of
    streams share them out, and see the same batches together that one process would see.

    Args:
        data: the training set.
        batch: samples per step and process.
        processes: all that train.
        streams: in all, at most; a number that the processes do not divide becomes theirs.
        seed: of the order.
        weights: labels → the weights of their samples.
        augment: changes a normalised batch and its labels; None: nothing is changed.

    Attributes:
        waited: seconds that the network waited for data.
    """

    def __init__(
        self,
        data: TrainingSet,
        batch: int,
        processes: Processes,
        streams: int,
        seed: int,
        weights: Callable[[torch.Tensor], torch.Tensor],
        augment: Augment | None = None,
    ) -> None:
        self.data, self.batch, self.processes, self.seed = data, batch, processes, seed
        self.weights, self.augment = weights, augment
        whole = batch * processes.size
        streams = math.gcd(streams, whole)
        fits = streams % processes.size == 0
        self.streams = streams if fits else processes.size
        self.normalise = Normaliser.of(data.description)
        self.waited = 0.0
        # The same for all numbers of processes with the same global batch: the order of samples depends on it.
        self._room = BUFFER_BYTES // self.streams if fits else BUFFER_BYTES
        whole_bytes = 4 * whole * int(np.prod(data.description.shape))
        self._together = min(max(_PIECE_BYTES // whole_bytes, 1), _MOST_TOGETHER)

    def steps(self, part: str) -> int:
        """Batches per epoch, the same for all processes; in the last one some may have fewer samples, or none."""
        longest = -(-self.data.description.samples(part) // self.streams)
        return -(-longest // self._each())

    def _each(self) -> int:
        return self.batch * self.processes.size // self.streams

    def batches(self, part: str, epoch: int, first: int = 0, shuffle: bool = True) -> Iterator[Batch]:
        """The batches of an epoch.

        Args:
            part: ``train``, ``validation`` or ``test``.
            epoch: settles the order, together with the seed.
            first: number of the first batch that is wanted.
            shuffle: False: as they lie, and not augmented.
        """
        waiting: queue.Queue[list[Batch] | BaseException | None] = queue.Queue(_AHEAD)
        ended = threading.Event()

        def put(entry: list[Batch] | BaseException | None) -> bool:
            while not ended.is_set():
                try:
                    waiting.put(entry, timeout=0.1)
                    return True
                except queue.Full:
                    continue
            return False

        def read() -> None:
            try:
                steps = self.steps(part)
                drawn = seeds(self.seed, epoch, self.processes.rank, steps, "loader")
                pieces = self._pieces(part, epoch, shuffle)
                for start in range(0, steps, self._together):
                    given = next(pieces)
                    numbers = range(start, min(start + self._together, steps))
                    if numbers.stop <= first:
                        continue
                    made = self._batches(given, [drawn[number] for number in numbers], shuffle)
                    if not put(made[max(first - start, 0) :]):
                        return
                put(None)
            except BaseException as error:  # noqa: BLE001 - raised again where the batch is waited for
                put(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            while True:
                start = time.perf_counter()
                entry = waiting.get()
                self.waited += time.perf_counter() - start
                if entry is None:
                    return
                if isinstance(entry, BaseException):
                    raise entry
                yield from entry
        finally:
            ended.set()
            reader.join()

    def _pieces(self, part: str, epoch: int, shuffle: bool) -> Iterator[list[Arrays]]:
        """What each stream of this process gives to the next batches."""
        mine = self.streams // self.processes.size
        streams = [
            self.data.batches(
                part, self._each() * self._together, rank=number, ranks=self.streams, seed=self.seed, epoch=epoch,
                shuffle=shuffle, buffer_bytes=self._room,
            )
            for number in range(self.processes.rank * mine, (self.processes.rank + 1) * mine)
        ]  # fmt: skip
        while True:
            yield [piece for piece in (next(stream, None) for stream in streams) if piece is not None]

    def _batches(self, pieces: list[Arrays], drawn: list[int], shuffle: bool) -> list[Batch]:
        """As many batches as there are seeds in ``drawn``."""
        told = self.data.description
        if pieces:
            samples = np.concatenate([piece.samples for piece in pieces])
            labels = np.concatenate([piece.labels for piece in pieces])
        else:
            samples = np.empty((0, *told.shape), told.dtype)
            labels = np.empty((0, *told.label_shape), told.label_dtype)
        sizes = [len(samples)]
        if len(drawn) > 1:
            # Of each stream the first samples are the first batch's.
            batch = np.concatenate([np.arange(len(piece)) // self._each() for piece in pieces])
            order = np.argsort(batch, kind="stable")
            samples, labels, sizes = samples[order], labels[order], np.bincount(batch, minlength=len(drawn)).tolist()
        all_x = torch.from_numpy(self.normalise(samples))
        all_y = torch.from_numpy(labels.astype(np.float32 if told.task == "multi-label" else np.int64))
        ends = np.cumsum([0, *sizes])
        sums = np.concatenate([[0.0], np.cumsum(self.weights(all_y).numpy(), dtype=np.float64)])[ends]
        made = []
        for x, y, weight, seed in zip(
            all_x.split(sizes), all_y.split(sizes), np.diff(sums).tolist(), drawn, strict=True
        ):
            if self.augment is not None and shuffle and len(x):
                # A generator for each batch: a training that goes on within an epoch draws the same numbers.
                x, y = self.augment(x, y, torch.Generator().manual_seed(seed))
            # Convolutions are a tenth faster over channels that lie together; here it costs the network no time.
            made.append(Batch(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x, y, weight))
        return made


def seeds(seed: int, epoch: int, rank: int, steps: int, what: str) -> list[int]:
    """A seed for each step of an epoch, in each process and for each of those who draw by chance another one.

    Args:
        seed: the recipe's.
        epoch: number of the epoch.
        rank: of the process.
        steps: of the epoch.
        what: ``network`` or ``loader``.
    """
    sequence = np.random.SeedSequence([seed, epoch, rank], spawn_key=(("network", "loader").index(what),))
    drawn: list[int] = sequence.generate_state(steps).tolist()
    return drawn
