"""A training set from patches: split, read one after the other, and written to shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...errors import InputError
from ...progress import Monitor
from .build import Length
from .description import PARTS, PATCH_PLACE, TEST, TRAIN, VALIDATION, ClassEntry, Description
from .eurosat import WHY_OPTIMISTIC, EuroSat, split_by_number
from .pace import Pace
from .patch_folder import LeftOut, PatchFolder, fingerprint_of
from .patch_splits import Parts, by_blocks, by_chance
from .splits import DROPPED
from .statistics import class_weights, label_weights
from .work import Work, writing
from .write import DatasetWriter, Written

#: Blocks of ten by ten patches of BigEarthNet, and one patch between the parts.
BLOCK_METRES = 12_000.0
BUFFER_METRES = 1_200.0
NAMES = "names.txt"
#: Ways to split patches; the first that a layout offers is its default.
METHODS = ("official", "blocks", "numbers", "random")

_TRAINED = PARTS.index(TRAIN)
# Parts of the whole run, for the progress.
_BEGUN, _WRITTEN = 0.1, 0.9
# Patches that are read side by side.
_AT_ONCE = 64


@dataclass(frozen=True)
class PatchOptions:
    """How patches become a training set.

    Args:
        split: one of :data:`METHODS`; empty: as suits the layout.
        test, validation: their shares of the patches.
        seed: of the split and of the order.
        block, buffer: None: :data:`BLOCK_METRES`, :data:`BUFFER_METRES`.
        most: patches per class; None: all.
        threads: that read.
        overwrite: replace another set in the folder.
    """

    split: str = ""
    test: float = 0.2
    validation: float = 0.1
    seed: int = 0
    block: Length | None = None
    buffer: Length | None = None
    most: int | None = None
    threads: int = 2
    overwrite: bool = False


@dataclass
class _Split:
    """Parts, and what ``dataset.json`` says of how they came about."""

    parts: Parts
    told: dict[str, Any]


def build_patches(
    outdir: str | Path,
    patches: PatchFolder,
    options: PatchOptions,
    monitor: Monitor,
    extras: Callable[[Path, Description, Parts], None] | None = None,
) -> Description:
    """Make a training set of patches; one that is there and the same is only described.

    Args:
        outdir: its folder.
        patches: from a layout.
        options: how.
        monitor: hears of progress, and asks to stop.
        extras: adds files (the preview sheet) to the folder before it gets its final name; it is told the part of each
            patch, too.

    Raises:
        InputError: another set lies there, an option cannot be, or nothing is left to train with.
        OutputError: the disk is full or gone.
        Cancelled: what was done is kept for the next run.
    """
    asked = {key: value for key, value in asdict(options).items() if key not in ("overwrite", "threads")}
    fingerprint = fingerprint_of([patches.fingerprint, repr(sorted(asked.items())), PATCH_PLACE.str])
    folder = Path(outdir)
    with Work(folder, fingerprint, options.overwrite, monitor) as work:
        if work.finished is not None:
            monitor.log(f"“{folder}” is made already, of the same patches and with the same options.")
            return work.finished
        chosen = _choose(patches, options)
        split = _split(patches, chosen, options, monitor)
        writer = DatasetWriter(
            work,
            task="multi-label" if patches.several else "single-label",
            shape=(len(patches.bands), patches.side, patches.side),
            dtype=patches.dtype,
            classes=len(patches.legend),
            label_dtype="uint8" if patches.several else "int16",
            place_dtype=PATCH_PLACE,
            expected={part: int((split.parts == place).sum()) for place, part in enumerate(PARTS)},
            seed=options.seed,
            monitor=monitor,
            scale=[band.scale for band in patches.bands],
            offset=[band.offset for band in patches.bands],
        )
        damaged = _write(writer, patches, split.parts, options.threads, monitor)
        if {number for number, _ in damaged}.issuperset(np.flatnonzero(split.parts == _TRAINED).tolist()):
            work.discard()
            raise InputError(f"None of the patches that are to be trained with can be read. {damaged[0][1]}")
        written = writer.finish(_WRITTEN)
        description = _describe(patches, split, written, damaged, asked, fingerprint, monitor)
        with writing(folder):
            # One line each, whatever a name holds.
            lines = "".join(f"{' '.join(name.splitlines())}\n" for name in patches.names)
            (work.path / NAMES).write_text(lines, encoding="utf-8", errors="replace")
            description.write(work.path)
        monitor.check()
        if extras is not None:
            extras(work.path, description, split.parts)
        work.publish()
        monitor.progress("Done", 1.0)
    return description


def _choose(patches: PatchFolder, options: PatchOptions) -> np.ndarray:
    """Which patches are taken, where not all of them are wanted: by chance, until every class has enough."""
    if options.most is None:
        return np.ones(len(patches), bool)
    order = np.random.default_rng([options.seed, 7]).permutation(len(patches))
    chosen = np.zeros(len(patches), bool)
    if not patches.several:
        for place in range(len(patches.legend)):
            chosen[order[patches.labels[order] == place][: options.most]] = True
        return chosen
    counts = np.zeros(len(patches.legend), int)
    for number in order:
        row = patches.labels[number] > 0
        # As long as one of its classes lacks samples; the others get more than that.
        if (counts[row] < options.most).any():
            chosen[number] = True
            counts += row
    return chosen


def _split(patches: PatchFolder, chosen: np.ndarray, options: PatchOptions, monitor: Monitor) -> _Split:
    monitor.stage("Splitting", 0.05)
    fractions = {VALIDATION: options.validation, TEST: options.test}
    method = options.split
    is_eurosat = isinstance(patches, EuroSat)
    ground = None
    if method == "official" and patches.official is None:
        raise InputError("Only BigEarthNet v2 comes with a split of its own; choose --split blocks or random.")
    if not method and patches.official is not None:
        method = "official"
    if method in ("", "blocks"):
        ground = patches.locate(monitor)
        if ground is None and method:
            raise InputError(
                f"The images of {patches.name} have no place on the Earth, so no blocks can be made of them; choose "
                "--split random."
            )
        method = method or ("blocks" if ground is not None else "numbers" if is_eurosat else "random")
    if is_eurosat and method == "random":
        # The split that the shipped model was measured on is one by chance.
        method = "numbers"
    told: dict[str, Any] = {
        "method": method, "seed": options.seed, "test": options.test, "validation": options.validation,
        "block": None, "buffer": None, "optimistic": method in ("numbers", "random"), "why": "",
    }  # fmt: skip
    parts: Parts
    if method == "official":
        parts = np.array([PARTS.index(part) for part in patches.official or ()], np.int8)
        told.update(seed=None, test=None, validation=None, why="The split that the data set's authors made.")
    elif method == "blocks":
        assert ground is not None
        block, buffer = _metres(options.block, BLOCK_METRES, patches), _metres(options.buffer, BUFFER_METRES, patches)
        if block < ground.side:
            raise InputError(f"A block must hold a patch: give --block {ground.side:g} or more metres.")
        parts = np.full(len(patches), DROPPED, np.int8)
        where = np.flatnonzero(chosen)
        part_of = type(ground)(ground.zones[where], ground.corners[where], ground.side)
        parts[where] = by_blocks(part_of, patches.labels[where], fractions, block, buffer, options.seed).parts
        told.update(
            block={"pixels": round(block / (patches.gsd or 1)), "metres": block},
            buffer={"pixels": round(buffer / (patches.gsd or 1)), "metres": buffer},
        )
    elif method == "numbers":
        parts = np.array(
            [PARTS.index(part) for part in split_by_number(patches.names, options.seed, *fractions.values())], np.int8
        )
        told["why"] = WHY_OPTIMISTIC
    else:
        parts = np.full(len(patches), DROPPED, np.int8)
        parts[chosen] = by_chance(patches.labels[chosen], fractions, options.seed)
        told["why"] = "Single patches were drawn, and neighbours look alike: the accuracy that is measured is too high."
    told["dropped"] = int((parts[chosen] == DROPPED).sum())
    parts[~chosen] = DROPPED
    if not (parts == _TRAINED).any():
        raise InputError("No patch is left for training; lower --test, --validation, --block or --buffer.")
    return _Split(parts, told)


def _metres(length: Length | None, usual: float, patches: PatchFolder) -> float:
    if length is None:
        return usual
    return length.value * (patches.gsd or 1.0) if length.unit == "px" else length.value


def _write(
    writer: DatasetWriter, patches: PatchFolder, parts: Parts, threads: int, monitor: Monitor
) -> list[tuple[int, str]]:
    """Read and add the patches; those that cannot be read are left out, with the reason."""
    position = writer.position or {"next": 0, "damaged": []}
    damaged: list[tuple[int, str]] = [(int(number), str(why)) for number, why in position["damaged"]]
    if writer.complete:
        return damaged
    wanted = np.flatnonzero(parts != DROPPED)
    pace, first = Pace("Reading patches"), position["next"]
    with ThreadPoolExecutor(max(threads, 1), "patches") as pool:
        for start in range(first, len(wanted), _AT_ONCE):
            numbers = wanted[start : start + _AT_ONCE]
            samples = list(pool.map(lambda number: _sample(patches, int(number)), numbers))
            damaged += [
                (int(number), sample)
                for number, sample in zip(numbers, samples, strict=True)
                if isinstance(sample, str)
            ]
            for place, part in enumerate(PARTS):
                kept = [
                    i for i, number in enumerate(numbers) if parts[number] == place and not isinstance(samples[i], str)
                ]
                if kept:
                    which = numbers[kept]
                    places = np.zeros(len(kept), PATCH_PLACE)
                    places["name"] = which
                    writer.add(part, np.stack([samples[i] for i in kept]), patches.labels[which], places)
            done = start + len(numbers)
            monitor.progress(
                pace.words(done - first),
                _BEGUN + (_WRITTEN - _BEGUN) * done / len(wanted),
                seconds_left=pace.left(done - first, len(wanted) - done),
            )
            writer.rest({"next": done, "damaged": damaged})
    writer.position = {"next": len(wanted), "damaged": damaged}
    return damaged


def _sample(patches: PatchFolder, number: int) -> np.ndarray | str:
    """The samples of a patch, or why there are none."""
    try:
        return patches.read(number)
    except InputError as error:
        return error.message


def _describe(
    patches: PatchFolder,
    split: _Split,
    written: Written,
    damaged: list[tuple[int, str]],
    asked: dict[str, Any],
    fingerprint: str,
    monitor: Monitor,
) -> Description:
    findings = [str(finding["message"]) for finding in patches.provenance["findings"]]
    out = LeftOut({"damaged": "a file of theirs cannot be read"})
    for number, _ in damaged:
        out.add("damaged", patches.names[number])
    for finding in out.findings():
        monitor.log(finding["message"], "warning")
        findings.append(finding["message"])
    total = sum(written.samples.values())
    for message in _thin_parts(patches, written):
        monitor.log(message, "warning")
        findings.append(message)
    train = written.counts[TRAIN]
    weights = label_weights(train, written.samples[TRAIN]) if patches.several else class_weights(train)
    achieved = {part: round(written.samples.get(part, 0) / total, 4) for part in PARTS}
    return Description(
        kind="patches",
        task="multi-label" if patches.several else "single-label",
        shape=(len(patches.bands), patches.side, patches.side),
        dtype=patches.dtype.name,
        label_dtype="uint8" if patches.several else "int16",
        bands=list(patches.bands),
        gsd=patches.gsd,
        ignore_index=None,
        classes=[
            ClassEntry(entry, weight, {part: written.counts[part][place] for part in written.counts})
            for place, (entry, weight) in enumerate(zip(patches.legend, weights, strict=True))
        ],
        split={**split.told, "achieved": achieved},
        statistics=written.statistics,
        scenes=[{"name": patches.name, **patches.provenance, "fingerprint": patches.fingerprint}],
        options=asked,
        fingerprint=fingerprint,
        shards=written.shards,
        findings=findings,
        names=NAMES,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        software=f"Thematica {__version__}",
    )


def _thin_parts(patches: PatchFolder, written: Written) -> Iterator[str]:
    """Sentences about parts without a patch, and about classes that a part lacks."""
    for part, words in ((TRAIN, "to train with"), (TEST, "to test with")):
        counts = written.counts.get(part)
        if counts is None or not written.samples.get(part):
            if part == TEST:
                yield "The test part has no patch: there are too few blocks. Choose a smaller --block."
            continue
        lacking = [entry.name for entry, count in zip(patches.legend, counts, strict=True) if not count]
        if lacking:
            named = ", ".join(lacking[:5]) + (", …" if len(lacking) > 5 else "")
            have = "One class has" if len(lacking) == 1 else f"{len(lacking)} classes have"
            yield f"{have} no patch {words}: {named}."
