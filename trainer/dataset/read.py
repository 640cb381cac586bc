"""Reading a training set: memory-mapped arrays, and batches that read the files from front to back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from .description import ARRAYS, PARTS, Description, Shard
from .write import checksum

#: What is read ahead and shuffled, unless told otherwise.
BUFFER_BYTES = 64 << 20
# Of a buffer: they come in any order.
_PIECES = 4


@dataclass(frozen=True)
class Arrays:
    """Samples, labels and places with the same first axis."""

    samples: np.ndarray
    labels: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Arrays:
        """The samples of a slice or of an array of numbers."""
        return Arrays(self.samples[index], self.labels[index], self.places[index])


class TrainingSet:
    """A training set in a folder.

    Args:
        folder: the one with ``dataset.json``.

    Attributes:
        description: what it is.

    Raises:
        InputError: there is none, or it cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.description = Description.read(self.folder)

    def arrays(self, part: str) -> list[Arrays]:
        """The shards of a part, memory-mapped: nothing is read before it is used.

        Raises:
            InputError: a shard is missing, cut off, or holds something else than the description says.
        """
        return [self._shard(shard) for shard in self._shards(part)]

    def names(self) -> list[str]:
        """Names of the patches, which their places count."""
        if not self.description.names:
            return []
        try:
            return (self.folder / self.description.names).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise self._damaged(self.description.names, repr(error)) from error

    def batches(
        self,
        part: str,
        size: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Iterator[Arrays]:
        """All samples of a part in batches; those of several processes have no sample in common and leave none out.

        Every process reads a stretch of the shards.  These come in another order every epoch, the stretches begin
        elsewhere each time, and pieces of a stretch come in any order: no sample has its place at the beginning or the
        end of all epochs.  What is read is shuffled within a buffer; the files themselves are shuffled already.  The
        stretches of two processes differ by one sample at most.

        Args:
            part: ``train``, ``validation`` or ``test``.
            size: samples per batch; the last one may have fewer.
            rank: which process this is, from 0.
            ranks: how many there are.
            seed: settles the order; the same for all processes.
            epoch: likewise.
            shuffle: False gives the samples as they lie.
            buffer_bytes: size of the buffer.

        Raises:
            InputError: a shard is missing, cut off, or holds something else than the description says.
        """
        if size < 1 or not 0 <= rank < ranks:
            raise InputError(f"Batches of {size} for process {rank} of {ranks} cannot be; both count from 1 up.")
        shards = self._shards(part)
        own = np.random.default_rng([seed, epoch, PARTS.index(part), rank])
        each = int(np.prod(self.description.shape)) * np.dtype(self.description.dtype).itemsize
        room = max(buffer_bytes // max(each, 1) // size, 1) * size
        stretch = _stretch([shard.samples for shard in shards], rank, ranks, [seed, epoch] if shuffle else None)
        places = [
            (number, place, min(place + length, stop))
            for length in [max(room // _PIECES, 1) if shuffle else room]
            for number, start, stop in stretch
            for place in range(start, stop, length)
        ]
        if shuffle:
            places = [places[number] for number in own.permutation(len(places))]

        def pieces() -> Iterator[Arrays]:
            """Stretches of at most ``room`` samples."""
            opened: dict[int, Arrays] = {}
            for number, start, stop in places:
                if number not in opened:
                    opened[number] = self._shard(shards[number])
                piece = opened[number][start:stop]
                # Copies: what is memory-mapped would be read again, piece by piece, when it is shuffled.
                yield Arrays(np.array(piece.samples), np.array(piece.labels), np.array(piece.places))

        waiting: list[Arrays] = []
        count = 0
        for piece in pieces():
            waiting.append(piece)
            count += len(piece)
            if count < room:
                continue
            full = _joined(waiting)
            if shuffle:
                full = full[own.permutation(len(full))]
            whole = len(full) // size * size
            for start in range(0, whole, size):
                yield full[start : start + size]
            waiting = [full[whole:]]
            count = len(full) - whole
        if count:
            rest = _joined(waiting)
            if shuffle:
                rest = rest[own.permutation(len(rest))]
            for start in range(0, len(rest), size):
                yield rest[start : start + size]

    def verify(self) -> None:
        """Read everything and compare it with the checksums.

        Raises:
            InputError: a shard is missing or not as it was written.
        """
        for part in self.description.shards:
            for shard in self._shards(part):
                self._shard(shard)
                for array in ARRAYS:
                    path = self.folder / shard.name(array)
                    try:
                        found = checksum(path)
                    except OSError as error:
                        raise self._damaged(path.name, repr(error)) from error
                    if found != shard.sha256[array]:
                        raise self._damaged(path.name, f"sha256 {found} instead of {shard.sha256[array]}")

    # -- shards ----------------------------------------------------------------------------------------

    def _shards(self, part: str) -> list[Shard]:
        if part not in PARTS:
            raise InputError(f"A training set has no part “{part}”; choose train, validation or test.")
        return self.description.shards.get(part, [])

    def _shard(self, shard: Shard) -> Arrays:
        told = self.description
        expected: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "samples": (np.dtype(told.dtype), told.shape),
            "labels": (np.dtype(told.label_dtype), told.label_shape),
            "places": (told.place_dtype, ()),
        }
        found = {}
        for array, (dtype, shape) in expected.items():
            path = self.folder / shard.name(array)
            try:
                size = path.stat().st_size
                if size != shard.bytes[array]:
                    raise self._damaged(path.name, f"{size} bytes instead of {shard.bytes[array]}")
                content = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError, SyntaxError) as error:
                raise self._damaged(path.name, repr(error)) from error
            if content.dtype != dtype or content.shape != (shard.samples, *shape):
                raise self._damaged(path.name, f"{content.dtype} {content.shape}")
            found[array] = content
        return Arrays(**found)

    def _damaged(self, name: str, details: str) -> InputError:
        return InputError(
            f"“{name}” of the training set “{self.folder}” is missing or damaged; copy the set again, or make it anew.",
            details,
        )


def _stretch(sizes: Sequence[int], rank: int, ranks: int, drawn_from: list[int] | None) -> list[tuple[int, int, int]]:
    """What one process reads: shard, first sample, end.

    Args:
        sizes: samples of each shard.
        rank: which process.
        ranks: how many.
        drawn_from: settles the order of the shards, and where the first stretch begins; None: as they lie.
    """
    total = sum(sizes)
    order, begin = np.arange(len(sizes)), 0
    if drawn_from is not None and total:
        chance = np.random.default_rng(drawn_from)
        order, begin = chance.permutation(len(sizes)), int(chance.integers(total))
    first, end = begin + total * rank // ranks, begin + total * (rank + 1) // ranks
    found, before = [], 0
    # Twice round: a stretch may go on at the beginning.
    for number in [*order, *order]:
        start, stop = max(first - before, 0), min(end - before, sizes[number])
        before += sizes[number]
        if start < stop:
            found.append((int(number), start, stop))
    return found


def _joined(pieces: list[Arrays]) -> Arrays:
    if len(pieces) == 1:
        return pieces[0]
    return Arrays(*(np.concatenate([getattr(piece, array) for piece in pieces]) for array in ARRAYS))
