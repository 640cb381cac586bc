"""Telling training, validation and test apart so that the test says how good a map will be where nobody drew labels.

Neighbouring pixels are alike; a test on neighbours of training pixels flatters (Roberts et al. 2017, Cross-validation
strategies for data with temporal, spatial, hierarchical, or phylogenetic structure, Ecography 40).  So samples are
grouped by square blocks and by polygons, whole groups go to one part, and samples that still lie close to those of
another part are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from .buffer import near
from .description import PARTS, TEST, TRAIN, VALIDATION
from .groups import assign_groups, joined
from .stretches import distinct

METHODS = ("blocks", "polygons", "random")
#: No part: left out.
DROPPED = -1

#: Blocks are chosen so large that each class still has this many groups, and all together so many, where they can.
_GROUPS_OF_CLASS, _GROUPS_WANTED = 20, 40
_SMALLEST_BLOCK = 16
_SMALLEST_BUFFER = 3
#: More groups than these are too many for a table of their classes.
_MANY_GROUPS = 500_000
_TRIES = 8
#: Share of samples left out for the buffer that is worth a sentence.
_MUCH = 0.2
_OPTIMISTIC = (
    "Samples were split at random: neighbouring pixels, and pixels of one polygon, are on both sides, so the accuracy "
    "measured with the test part is better than that of the map elsewhere."
)


@dataclass
class Samples:
    """Everything that could become a sample.

    Args:
        plane: (n,) uint16, which ground they lie on; scenes on one grid share it.
        row, col: (n,) int32, pixel on that ground, 0 or more; of chips the top left one.
        side: of the square that a sample sees.
        extent: of the square that has labels: 1, or a chip's side.
        fixed: (n,) int8, part that the scene's labels are kept for, or -1.
        owner: (m,) int64, sample of each piece; None where piece *i* is sample *i*.
        shape: (m,) int64, polygon of each piece, numbered through all scenes, or -1.
        label: (m,) class of each piece.
        count: (m,) labelled pixels of each piece; None for one each.
        seen: (n,) row and (n,) column of the square that a sample sees, where that is not its own: a chip that reaches
            beyond the image shows what lies before it once more, mirrored.
    """

    plane: npt.NDArray[np.uint16]
    row: npt.NDArray[np.int32]
    col: npt.NDArray[np.int32]
    side: int
    extent: int
    fixed: npt.NDArray[np.int8]
    owner: npt.NDArray[np.int64] | None
    shape: npt.NDArray[np.int64]
    label: npt.NDArray[np.integer]
    count: npt.NDArray[np.int64] | None = None
    seen: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def near(self, asked: npt.NDArray[np.bool_], obstacle: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
        """See :func:`.buffer.near`."""
        row, col = self.seen or (self.row, self.col)
        return near(self.plane, row, col, asked, obstacle, reach)

    @property
    def polygons(self) -> bool:
        """False where the labels are rasters."""
        return bool((self.shape >= 0).any())


@dataclass(frozen=True)
class SplitOptions:
    """How to split.

    Args:
        method: ``blocks``, ``polygons`` or ``random``.
        validation, test: shares asked for; the rest is for training.
        seed: settles what chance settles.
        block: side of the blocks in pixels, or None to choose one.
        buffer: pixels that must lie between samples of two parts, or None to choose.
        cut_polygons: a polygon may be cut where blocks meet.
    """

    method: str = "blocks"
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    block: int | None = None
    buffer: int | None = None
    cut_polygons: bool = False


@dataclass
class Split:
    """A split.

    Args:
        part: (n,) int8, places in :data:`.description.PARTS`, or :data:`DROPPED`.
        options: with block and buffer as they were chosen; block is None where there are none.
        groups: how many groups were shared out.
        dropped: by part, samples that were left out because they lie too close to those of another part.
        optimistic: whether the test flatters, and ``why``.
        findings: sentences.
    """

    part: npt.NDArray[np.int8]
    options: SplitOptions
    groups: int
    dropped: dict[str, int]
    optimistic: bool = False
    why: str = ""
    findings: list[str] = field(default_factory=list)


def check_split_options(options: SplitOptions) -> None:
    """Refuse what cannot be.

    Raises:
        InputError: with what to change.
    """
    if options.method not in METHODS:
        raise InputError(f"“{options.method}” is no way to split; choose blocks, polygons or random.")
    for name, value in (("test", options.test), ("validation", options.validation)):
        if not 0 <= value < 1:
            raise InputError(f"--{name} {value} is no share; give a number from 0 to less than 1, such as 0.2.")
    if options.test + options.validation >= 1:
        raise InputError("Nothing is left for training; --test and --validation must add up to less than 1.")
    if options.block is not None and options.block < 1:
        raise InputError("Blocks must be at least one pixel wide; give a larger --block.")
    if options.buffer is not None and options.buffer < 0:
        raise InputError("The buffer cannot be negative; give --buffer 0 for none.")


def split_samples(samples: Samples, options: SplitOptions, names: list[str]) -> Split:
    """Share samples out.

    With ``blocks``, all samples of a block and all blocks that share a polygon form a group; with ``polygons``, all
    samples of a polygon; groups go to one part whole.  Then samples of the training part that come within the buffer of
    any other part's, and validation samples that come within it of test samples, are left out.  For windows and chips
    the buffer lies between the squares that they see, so that no pixel that is tested was trained with.

    Args:
        samples: all of them.
        options: what was asked.
        names: of the classes, for sentences.

    Raises:
        InputError: no split is possible.
    """
    check_split_options(options)
    fixed = [part for place, part in enumerate(PARTS) if (samples.fixed == place).any()]
    # Where labels are kept for a part, none of the others go there.
    fractions = {
        part: share
        for part, share in ((VALIDATION, options.validation), (TEST, options.test))
        if part not in fixed and share > 0
    }
    labels = len(names)
    if options.method == "random":
        result = _at_random(samples, replace(options, block=None, buffer=None), fractions, labels)
        lost = _lost_classes(samples, result.part, labels)
        if lost:
            raise InputError(
                f"No sample of {_listed(names, lost)} is left for training beside the labels that are kept for "
                "validation and test: draw more of it, or merge it with another class."
            )
        return result
    if options.method == "polygons" and not samples.polygons:
        raise InputError("These labels are a raster and have no polygons; choose --split blocks.")
    cut = options.cut_polygons and options.method == "blocks"
    if options.method == "blocks":
        block = options.block if options.block is not None else _block_for(samples, fractions, cut, labels)
        # A chip lies in one block.
        block = max(-(-block // samples.extent) * samples.extent, 1)
        options = replace(options, block=block)
    else:
        options = replace(options, block=None)
    if options.buffer is None:
        options = replace(options, buffer=_buffer_for(samples, options.block))
    free = np.flatnonzero(samples.fixed < 0)
    group = _groups(samples, free, options, cut)
    groups = int(group.max()) + 1 if len(group) else 0
    _check_groups(groups, fractions, options, samples)
    best: tuple[tuple[int, int], Split] | None = None
    for attempt in range(_TRIES):
        tried = replace(options, seed=options.seed + attempt * 1_000_003)
        result = _shared_out(samples, free, group, groups, fractions, tried, labels)
        result.options = options
        lost = _lost_classes(samples, result.part, labels)
        score = (len(lost), sum(result.dropped.values()))
        if best is None or score < best[0]:
            best = (score, result)
        if not lost:
            break
    assert best is not None
    result = best[1]
    _check_parts(samples, result, fractions, names)
    return result


# -- groups --------------------------------------------------------------------------------------------


def _block_keys(samples: Samples, which: np.ndarray, block: int) -> list[np.ndarray]:
    """The blocks of each sample, the one it lies in first; of a chip those of all corners of what it sees."""
    rows, cols = [samples.row[which]], [samples.col[which]]
    if samples.extent > 1:
        for places in (rows, cols):
            places.append(places[0] + (samples.extent - 1))
        if samples.seen is not None:
            rows.append(samples.seen[0][which])
            cols.append(samples.seen[1][which])
    plane = samples.plane[which].astype(np.int64) << 48
    return [
        plane | (row.astype(np.int64) // block) << 24 | (col.astype(np.int64) // block) for row in rows for col in cols
    ]


def _pieces(samples: Samples, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of the samples ``which``: places in ``which``, and places among all pieces."""
    if samples.owner is None:
        return np.arange(len(which)), which
    place = np.full(len(samples), -1, np.int64)
    place[which] = np.arange(len(which))
    owner = place[samples.owner]
    kept = np.flatnonzero(owner >= 0)
    return owner[kept], kept


def _groups(samples: Samples, free: np.ndarray, options: SplitOptions, cut: bool) -> np.ndarray:
    """(len(free),) the group of each sample that is to be shared out, numbered without gaps."""
    if not len(free):
        return np.zeros(0, np.int64)
    owner, piece = _pieces(samples, free)
    shape = samples.shape[piece]
    if options.block is not None:
        first, *others = _block_keys(samples, free, options.block)
        group = distinct(first)[1]
        if others:
            # Chips that lie across blocks join them; the two keys of a sample stand for it.
            group = np.arange(len(free), dtype=np.int64)
            every = np.concatenate([first, *others])
            group = joined(group, np.tile(group, len(others) + 1), every)
        if not cut:
            there = shape >= 0
            group = joined(group, group[owner[there]], shape[there])
        return group
    if samples.extent > 1:
        group = np.arange(len(free), dtype=np.int64)
        there = shape >= 0
        group = joined(group, group[owner[there]], shape[there])
    else:
        # Labels without polygon among those with one: each is its own.
        keys = np.where(shape >= 0, shape, -1 - np.arange(len(shape)))
        group = distinct(keys)[1]
    # The same pixel at several dates is one place.
    return joined(group, group, _block_keys(samples, free, 1)[0])


def _block_for(samples: Samples, fractions: dict[str, float], cut: bool, labels: int) -> int:
    """The largest block with which classes have enough groups.

    Blocks of 16 pixels (or a chip) and twice that, and so on, up to a quarter of the labelled area's longer side.  A
    class has enough groups with 20, and all together with 40, or with what the smallest blocks give them.
    """
    free = np.flatnonzero(samples.fixed < 0)
    smallest = samples.extent * -(-_SMALLEST_BLOCK // samples.extent)
    if not len(free) or not fractions:
        return smallest
    longest = 0
    for plane in np.unique(samples.plane[free]):
        here = free[samples.plane[free] == plane]
        longest = max(longest, *(int(np.ptp(axis[here])) + samples.extent for axis in (samples.row, samples.col)))
    small = _aggregated(samples, free, smallest)
    best = block = smallest
    enough: tuple[float, float] | None = None
    while block == smallest or block <= longest // 4:
        everything = np.arange(len(small))
        group = _groups(small, everything, SplitOptions(block=block // smallest), cut)
        owner, piece = _pieces(small, everything)
        pairs = np.unique(group[owner] * labels + small.label[piece])
        of_classes = int(np.minimum(np.bincount(pairs % labels, minlength=labels), _GROUPS_OF_CLASS).sum())
        together = min(int(group.max()) + 1, _GROUPS_WANTED)
        if enough is None:
            enough = 0.9 * of_classes, 0.9 * together
        if of_classes < enough[0] or together < enough[1]:
            break
        best = block
        block *= 2
    return best


def _aggregated(samples: Samples, free: np.ndarray, block: int) -> Samples:
    """Blocks as samples of one pixel: what is needed to try larger blocks."""
    owner, piece = _pieces(samples, free)
    # Chips are looked at by their top left corner, which is exact where grids agree.
    keys, place = distinct(_block_keys(samples, free, block)[0])
    shapes, shape = distinct(samples.shape[piece])
    labels = int(samples.label.max()) + 1
    combined = (place[owner] * len(shapes) + shape) * labels + samples.label[piece]
    found = distinct(combined)[0]
    mask = (1 << 24) - 1
    return Samples(
        plane=(keys >> 48).astype(np.uint16),
        row=((keys >> 24) & mask).astype(np.int32),
        col=(keys & mask).astype(np.int32),
        side=1,
        extent=1,
        fixed=np.full(len(keys), -1, np.int8),
        owner=found // (labels * len(shapes)),
        shape=shapes[found // labels % len(shapes)],
        label=found % labels,
    )


def _buffer_for(samples: Samples, block: int | None) -> int:
    """A sixteenth of a block, at least 3 pixels: so far the sensor's point spread and resampling mix neighbours.

    Chips: none, since whole chips would be lost; their squares do not overlap.
    """
    if samples.extent > 1:
        return 0
    return max(_SMALLEST_BUFFER, (block or 0) // 16)


# -- sharing out ---------------------------------------------------------------------------------------


def _shared_out(
    samples: Samples,
    free: np.ndarray,
    group: np.ndarray,
    groups: int,
    fractions: dict[str, float],
    options: SplitOptions,
    labels: int,
) -> Split:
    part = samples.fixed.copy()
    owner, piece = _pieces(samples, free)
    weight = None if samples.count is None else samples.count[piece]
    label = samples.label[piece]
    bundle = np.arange(groups)
    if groups > _MANY_GROUPS:
        bundle = _bundled(group[owner], label, groups, labels, options.seed)
    several = int(bundle.max()) + 1 if groups else 0
    table = np.bincount(bundle[group[owner]] * labels + label, weights=weight, minlength=several * labels)
    chosen = assign_groups(table.reshape(several, labels).astype(np.int64), fractions, options.seed)
    part[free] = chosen[bundle[group]]
    reach = samples.side - 1 + (options.buffer or 0)
    dropped = {}
    close = {}
    for place, name in ((PARTS.index(TRAIN), TRAIN), (PARTS.index(VALIDATION), VALIDATION)):
        close[name] = samples.near(part == place, part > place, reach)
    for name, those in close.items():
        part[those] = DROPPED
        dropped[name] = int(those.sum())
    return Split(part, options, groups, dropped)


def _bundled(group: np.ndarray, label: np.ndarray, groups: int, labels: int, seed: int) -> np.ndarray:
    """(groups,) bundles of small groups of one class; millions of single points need no table each."""
    size = np.bincount(group, minlength=groups)
    first = np.zeros(groups, np.int64)
    first[group] = label
    chance = np.random.default_rng([seed, 5])
    bundles = 20_000
    key = first * bundles + chance.integers(bundles, size=groups)
    large = size > len(group) // bundles
    key[large] = labels * bundles + np.arange(np.count_nonzero(large))
    return np.unique(key, return_inverse=True)[1]


def _at_random(samples: Samples, options: SplitOptions, fractions: dict[str, float], labels: int) -> Split:
    part = samples.fixed.copy()
    free = np.flatnonzero(samples.fixed < 0)
    chance = np.random.default_rng([options.seed, 6])
    if samples.owner is None:
        label = samples.label[free]
    else:
        # A chip counts for its rarest class.
        owner, piece = _pieces(samples, free)
        often = np.bincount(samples.label[piece], minlength=labels)
        label = np.zeros(len(free), np.int64)
        order = np.argsort(-often[samples.label[piece]], kind="stable")
        label[owner[order]] = samples.label[piece][order]
    for entry in range(labels):
        members = chance.permutation(free[label == entry])
        # At least one for training, then for the test, then for validation.
        counts = {p: max(round(share * len(members)), int(share > 0)) for p, share in fractions.items()}
        start = 1 if len(members) else 0
        for name in (TEST, VALIDATION):
            end = min(start + counts.get(name, 0), len(members))
            part[members[start:end]] = PARTS.index(name)
            start = end
        rest = np.r_[members[:1], members[start:]]
        part[rest] = PARTS.index(TRAIN)
    dropped = {}
    for place, name in ((PARTS.index(TRAIN), TRAIN), (PARTS.index(VALIDATION), VALIDATION)):
        # Chance may put neighbours on both sides, but what labels that were kept for a part see is that part's alone.
        kept = (samples.fixed >= 0) & (part > place)
        close = samples.near(part == place, kept, samples.side - 1)
        part[close] = DROPPED
        dropped[name] = int(close.sum())
    return Split(part, options, len(free), dropped, True, _OPTIMISTIC)


# -- what came of it -----------------------------------------------------------------------------------


def _check_groups(groups: int, fractions: dict[str, float], options: SplitOptions, samples: Samples) -> None:
    if groups > len(fractions) or not groups:
        return
    parts = " and ".join(["training", *(p for p in fractions)])
    if options.method == "polygons":
        raise InputError(
            f"All labels are {groups} polygon{'s' * (groups > 1)}, which cannot be shared out to {parts}: draw more "
            "polygons, set --test or --validation to 0, or give --validation-labels and --test-labels."
        )
    hang = "All polygons hang together" if samples.polygons and not options.cut_polygons else "All labels lie together"
    raise InputError(
        f"{hang}: with blocks of {options.block} pixels they form {groups} group{'s' * (groups > 1)}, which cannot be "
        f"shared out to {parts}. Give a smaller --block"
        + (", --split polygons, or --cut-polygons." if samples.polygons and not options.cut_polygons else ".")
    )


def _label_counts(samples: Samples, part: np.ndarray, labels: int) -> np.ndarray:
    """(parts, classes) labelled pixels."""
    owner = np.arange(len(samples)) if samples.owner is None else samples.owner
    of = part[owner]
    kept = of >= 0
    weight = None if samples.count is None else samples.count[kept]
    keys = of[kept].astype(np.int64) * labels + samples.label[kept]
    return np.bincount(keys, weights=weight, minlength=labels * len(PARTS)).reshape(len(PARTS), labels).astype(np.int64)


def _lost_classes(samples: Samples, part: np.ndarray, labels: int) -> list[int]:
    """Classes of which there is something, but nothing to train with."""
    have = np.bincount(samples.label, minlength=labels) > 0
    return np.flatnonzero(have & (_label_counts(samples, part, labels)[0] == 0)).tolist()


def _check_parts(samples: Samples, split: Split, fractions: dict[str, float], names: list[str]) -> None:
    counts = _label_counts(samples, split.part, len(names))
    options = split.options
    lost = _lost_classes(samples, split.part, len(names))
    change = " or ".join((["a smaller --block"] if options.block else []) + ["a smaller --buffer", "another --seed"])
    if lost:
        raise InputError(
            f"No sample of {_listed(names, lost)} is left for training once the parts are kept apart: draw more of it, "
            f"give {change}, or merge it with another class."
        )
    for part in fractions:
        if not counts[PARTS.index(part)].sum():
            raise InputError(
                f"Nothing is left for the {part} part: the labels lie too close together. Give {change}, or set "
                f"--{part} to 0."
            )
    have = counts.sum(axis=0) > 0
    for part in (VALIDATION, TEST):
        if counts[PARTS.index(part)].any():
            without = np.flatnonzero(have & (counts[PARTS.index(part)] == 0)).tolist()
            if without:
                split.findings.append(
                    f"The {part} part has no sample of {_listed(names, without)}: too few separate "
                    f"{'polygons' if options.method == 'polygons' else 'blocks'} have it."
                )
    # With those that were left out: what the groups are to blame for, not the buffer.
    total = max(len(samples.label) if samples.count is None else int(samples.count.sum()), 1)
    for part, share in fractions.items():
        reached = counts[PARTS.index(part)].sum() / total
        if abs(reached - share) > max(0.05, share / 2):
            split.findings.append(
                f"The {part} part has {reached:.0%} of the samples instead of {share:.0%}: the labels form only "
                f"{split.groups} groups that cannot be divided; {change} may help."
            )
    dropped = sum(split.dropped.values())
    if dropped > _MUCH * len(samples):
        sentence = f"{dropped:,} of {len(samples):,} samples lie too close to those of another part and were left out"
        more = [
            what
            for what, helps in (
                ("a larger --block", options.block is not None),
                ("a smaller --buffer", bool(options.buffer)),
                ("a smaller --size", samples.side > 1),
            )
            if helps
        ]
        split.findings.append(f"{sentence}{'; ' * bool(more)}{' or '.join(more)}{' would keep more' * bool(more)}.")


def _listed(names: list[str], places: list[int]) -> str:
    shown = ", ".join(f"“{names[place]}”" for place in places[:5])
    return shown + (f" and {len(places) - 5} more" if len(places) > 5 else "")


def summary(split: Split, samples: Samples, labels: int) -> dict[str, Any]:
    """Shares that were reached: of all samples kept, and of each class."""
    counts = _label_counts(samples, split.part, labels)
    every = np.maximum(counts.sum(axis=0), 1)
    return {
        part: {
            "share": round(float(counts[place].sum() / max(counts.sum(), 1)), 4),
            "classes": [round(float(n), 4) for n in counts[place] / every],
        }
        for place, part in enumerate(PARTS)
    }
