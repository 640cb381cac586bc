"""Groups of samples, and to which part each of them goes, so that every class is shared out as asked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .description import PARTS, TEST, TRAIN, VALIDATION

#: More groups than these are bundled first: they are so many that a single one does not matter.
_MOST_GROUPS = 20_000
#: What a part without any sample of a class costs, beside squared differences of shares (which are 1 at most).
_EMPTY = {TRAIN: 100.0, TEST: 2.0, VALIDATION: 1.0}
_ROUNDS = 10


def joined(
    group: npt.NDArray[np.int64], owners: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Groups in which those that share a key have become one.

    Args:
        group: (n,) group of each sample, numbered from 0 without gaps.
        owners: (m,) a group each.
        keys: (m,) what it has; the same number for the same thing.

    Returns:
        (n,) numbered from 0 without gaps.
    """
    if not len(group):
        return group
    groups = int(group.max()) + 1
    _, keys = np.unique(keys, return_inverse=True)
    things = int(keys.max()) + 1 if len(keys) else 0
    pairs = np.unique(owners * max(things, 1) + keys)
    ones = np.ones(len(pairs), bool)
    ends = (pairs // max(things, 1), groups + pairs % max(things, 1))
    graph = coo_array((ones, ends), shape=(groups + things, groups + things))
    _, component = connected_components(graph, directed=False)
    _, numbered = np.unique(component[:groups], return_inverse=True)
    return numbered.astype(np.int64)[group]


def assign_groups(counts: npt.NDArray[np.integer], fractions: Mapping[str, float], seed: int) -> npt.NDArray[np.int8]:
    """The part of each group, so that each class is shared out as closely as possible to what was asked.

    Groups stay whole.  First greedy, the rarest class first, its largest groups first, each to the part that lacks most
    of that class (iterative stratification: Sechidis, Tsoumakas & Vlahavas 2011, On the Stratification of Multi-Label
    Data, ECML PKDD); then single groups are moved as long as that brings the shares closer.  A class with few groups
    is in the training part first, then in the test part, then in the validation part.

    Args:
        counts: (groups, classes) samples of each class, or with several labels per sample how many have the label.
        fractions: share asked for ``validation`` and ``test``; the rest is for training.
        seed: settles which of equal groups goes where.

    Returns:
        (groups,) places in :data:`.description.PARTS`.
    """
    counts = np.asarray(counts, np.float64)
    asked = np.array([1.0 - sum(fractions.values()), fractions.get(VALIDATION, 0.0), fractions.get(TEST, 0.0)])
    chance = np.random.default_rng([seed, 4])
    result = np.zeros(len(counts), np.int8)
    if not len(counts) or asked[0] == 1.0:
        return result
    bundle = _bundles(counts, chance)
    bundled = np.zeros((int(bundle.max()) + 1, counts.shape[1]))
    np.add.at(bundled, bundle, counts)
    return _assigned(bundled, asked, chance)[bundle]


def _bundles(counts: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """(groups,) numbers of bundles: each group alone, or small groups of the same classes together."""
    groups = len(counts)
    if groups <= _MOST_GROUPS:
        return np.arange(groups)
    # Which classes a group has, as one number.
    signs = np.random.default_rng(0).integers(1, 1 << 62, counts.shape[1])
    kind = (counts > 0).astype(np.int64) @ signs
    # What a group is, measured by the class of which it has the largest share.
    weight = (counts / np.maximum(counts.sum(axis=0), 1)).max(axis=1)
    order = np.lexsort((chance.permutation(groups), kind))
    filled = np.floor(np.cumsum(weight[order]) * (_MOST_GROUPS / 2) / max(weight.sum(), 1e-300))
    new = np.r_[True, (np.diff(filled) > 0) | (np.diff(kind[order]) != 0)]
    result = np.empty(groups, np.int64)
    result[order] = np.cumsum(new) - 1
    return result


def _assigned(counts: np.ndarray, asked: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    groups, classes = counts.shape
    totals = counts.sum(axis=0)
    shares = counts / np.maximum(totals, 1e-300)
    parts = np.flatnonzero(asked > 0)
    # What each part still lacks of each class, as a share of the class.
    lack = np.repeat(asked[:, None], classes, axis=1)
    result = np.full(groups, -1, np.int8)
    held = np.zeros((len(PARTS), classes), np.int64)
    shuffled = chance.permutation(groups)
    number_of_groups = (counts > 0).sum(axis=0)
    for entry in np.lexsort((totals, number_of_groups)):
        members = shuffled[(counts[shuffled, entry] > 0) & (result[shuffled] < 0)]
        # Ties stay in the order drawn by chance.
        for group in members[np.argsort(-counts[members, entry], kind="stable")]:
            present = counts[group] > 0
            part = max(parts, key=lambda p: (lack[p, entry], lack[p, present].sum(), -p))
            result[group] = part
            lack[part] -= shares[group]
            held[part] += present
    result[result < 0] = 0
    _improve(result, counts > 0, shares, lack, held, parts, chance)
    return result


def _improve(
    result: np.ndarray,
    present: np.ndarray,
    shares: np.ndarray,
    lack: np.ndarray,
    held: np.ndarray,
    parts: np.ndarray,
    chance: np.random.Generator,
) -> None:
    """Move groups while that brings the shares closer to what was asked."""
    empty = np.array([_EMPTY[part] for part in PARTS])
    for _ in range(_ROUNDS):
        moved = False
        for group in chance.permutation(len(result)):
            here = present[group]
            share = shares[group, here]
            if not share.size:
                continue
            source = result[group]
            # Cost of a part: squared differences, and classes that it has not got.
            leave = ((lack[source, here] + share) ** 2 - lack[source, here] ** 2).sum()
            leave += empty[source] * (held[source, here] == 1).sum()
            best, gain = source, -1e-12
            for part in parts:
                if part == source:
                    continue
                change = leave + ((lack[part, here] - share) ** 2 - lack[part, here] ** 2).sum()
                change -= empty[part] * (held[part, here] == 0).sum()
                if change < gain:
                    best, gain = part, change
            if best != source:
                lack[source] += shares[group]
                lack[best] -= shares[group]
                held[source] -= here
                held[best] += here
                result[group] = best
                moved = True
        if not moved:
            return
