"""How much a random split flatters: the same recipe, trained on the same samples, split at random.

Neighbouring pixels are nearly copies of each other.  Where they lie on both sides of a split, the test measures memory
(Lange et al. 2018; Roberts et al. 2017).  The gap to a split by blocks says how much that is here.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, OutputError
from .dataset.description import ARRAYS, PARTS, TEST, VALIDATION, Description, Shard
from .dataset.read import Arrays, TrainingSet
from .dataset.write import checksum

if TYPE_CHECKING:
    from .metrics import Tally

#: Folder within the run's, with a run of its own.
FOLDER = "random-split"
_SET = "dataset"
_PIECE_BYTES = 64 << 20


@dataclass(frozen=True)
class Optimism:
    """The figures of both splits, and what lies between them.

    Args:
        part: that they are of.
        blocked: figures of the split that the set has.
        random: those of the random one.
    """

    part: str
    blocked: dict[str, float]
    random: dict[str, float]

    def gap(self, name: str) -> float:
        """Random less blocked."""
        return round(self.random[name] - self.blocked[name], 4)

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """As JSON values, of the figures with these names."""
        return {
            "part": self.part,
            **{
                name: {"blocked": self.blocked[name], "random": self.random[name], "gap": self.gap(name)}
                for name in names
            },
        }

    def sentence(self, name: str) -> str:
        """What the analyst is told."""
        return (
            f"With a random split the same training would show {name} {self.random[name]:.3f} instead of "
            f"{self.blocked[name]:.3f}: {abs(self.gap(name)):.3f} "
            f"{'too much' if self.gap(name) >= 0 else 'less, which is chance'}."
        )


def check_split(told: Description) -> None:
    """Refuse sets with which there is nothing to compare.

    Raises:
        InputError: the set is split at random already.
    """
    if told.split.get("method") == "random" or told.split.get("optimistic"):
        raise InputError(
            "--report-optimism compares with a split by place, and this training set is split at random: make it with "
            "--split blocks."
        )


def split_at_random(data: TrainingSet, folder: Path, seed: int) -> TrainingSet:
    """A copy of a training set whose samples are dealt out anew at random, as many to each part as before.

    Statistics are kept: samples enter the network as they do with the split that the set has.

    Raises:
        OutputError: the folder cannot be written.
    """
    told = copy.deepcopy(data.description)
    parts = [part for part in PARTS if told.samples(part)]
    shards = [shard for part in parts for shard in data.arrays(part)]
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    order = np.random.default_rng([seed, int(starts[-1])]).permutation(int(starts[-1]))
    told.split = {"method": "random", "seed": seed, "optimistic": True, "why": "neighbours lie in different parts"}
    told.fingerprint = _fingerprint(told, seed)
    counts = {part: np.zeros(len(told.classes), np.int64) for part in PARTS}
    names, first = data.names(), 0
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if told.names:
            (folder / told.names).write_text("\n".join(names) + "\n", encoding="utf-8")
        each = max(int(np.prod(told.shape)) * np.dtype(told.dtype).itemsize, 1)
        step = max(_PIECE_BYTES // each, 1)
        for part in parts:
            chosen = order[first : first + told.samples(part)]
            first += len(chosen)
            pieces = [chosen[start : start + step] for start in range(0, len(chosen), step)]
            told.shards[part] = []
            for number, piece in enumerate(pieces):
                arrays = _gather(shards, starts, piece)
                counts[part] += _counted(arrays.labels, told)
                told.shards[part].append(_write(arrays, folder, f"{part}-{number:05}"))
        told.classes = [
            replace(entry, samples={part: int(counts[part][place]) for part in PARTS})
            for place, entry in enumerate(told.classes)
        ]
        told.write(folder)
    except OSError as error:
        raise OutputError(
            f"The training set could not be split at random in “{folder}”: look whether the disk is full.", repr(error)
        ) from error
    return TrainingSet(folder)


def _fingerprint(told: Description, seed: int) -> str:
    return f"{told.fingerprint}-random-{seed}"


def _is_there(folder: Path, fingerprint: str) -> bool:
    """Whether a run that goes on has left the set, which is described last."""
    try:
        return Description.read(folder).fingerprint == fingerprint
    except InputError:
        return False


def _gather(shards: Sequence[Arrays], starts: np.ndarray, wanted: np.ndarray) -> Arrays:
    """Samples by their number over all shards."""
    which = np.searchsorted(starts, wanted, side="right") - 1
    found: dict[str, np.ndarray] = {}
    for array in ARRAYS:
        like = getattr(shards[0], array)
        found[array] = np.empty((len(wanted), *like.shape[1:]), like.dtype)
    for number in np.unique(which):
        rows = np.flatnonzero(which == number)
        # In the order of the file: it is memory-mapped.
        rows = rows[np.argsort(wanted[rows])]
        for array in ARRAYS:
            found[array][rows] = getattr(shards[number], array)[wanted[rows] - starts[number]]
    return Arrays(**found)


def _counted(labels: np.ndarray, told: Description) -> np.ndarray:
    if told.task == "multi-label":
        counts: np.ndarray = labels.sum(axis=0, dtype=np.int64)
        return counts
    flat = labels.ravel()
    if told.ignore_index is not None:
        flat = flat[flat != told.ignore_index]
    return np.bincount(flat.astype(np.int64), minlength=len(told.classes))


def _write(arrays: Arrays, folder: Path, name: str) -> Shard:
    sizes, sums = {}, {}
    for array in ARRAYS:
        path = folder / f"{name}.{array}.npy"
        np.save(path, getattr(arrays, array))
        sizes[array], sums[array] = path.stat().st_size, checksum(path)
    return Shard(name, len(arrays), sizes, sums)


def measure(
    data: TrainingSet,
    blocked: dict[str, float],
    folder: Path,
    seed: int,
    first: bool,
    wait: Callable[[], None],
    train: Callable[[TrainingSet, Path], Callable[[str], Tally] | None],
) -> Optimism | None:
    """Train on a random split, and compare; None where that training was cut short.

    Args:
        data: the training set, split by place.
        blocked: figures of the network that was trained on it.
        folder: of the run; the other one gets a folder in it.
        seed: of the split.
        first: whether this process writes.
        wait: until all processes are here.
        train: trains on a set in a folder, and returns what counts one of its parts; None: it was cut short.
    """
    inner = folder / FOLDER
    if first and not _is_there(inner / _SET, _fingerprint(data.description, seed)):
        split_at_random(data, inner / _SET, seed)
    wait()
    other = TrainingSet(inner / _SET)
    count = train(other, inner)
    part = TEST if other.description.samples(TEST) else VALIDATION
    found = count(part).figures() if count is not None else None
    wait()
    if first:
        # As large as the set itself, and made again from its seed.
        shutil.rmtree(inner / _SET, ignore_errors=True)
    return Optimism(part, blocked, found) if found is not None else None


def add_to_report(path: Path, optimism: Optimism, names: Sequence[str]) -> None:
    """Write the gap into a ``training.json``.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(path.name + ".part")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["optimism"] = optimism.to_dict(names)
        partial.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"“{path}” cannot be written: look whether the disk is full.", repr(error)) from error
