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
#: Exchanges are tried among so few groups only: each is compared with every other.
_MOST_SWAPPED = 3_000
_ROUNDS = 5


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
    found, keys, often = np.unique(keys, return_inverse=True, return_counts=True)
    # What comes once joins nothing: millions of single pixels need no graph.
    shared = often[keys] > 1
    owners, keys = owners[shared], keys[shared]
    things = len(found)
    del found, often, shared
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
    Data, ECML PKDD); then groups are moved and exchanged as long as that brings the shares closer.  A class with few
    groups is in the training part first, then in the test part, then in the validation part.

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
    totals = counts.sum(axis=0)
    balance = _Balance(counts, asked)
    shuffled = chance.permutation(len(counts))
    for entry in np.lexsort((totals, (counts > 0).sum(axis=0))):
        members = shuffled[(counts[shuffled, entry] > 0) & (balance.part[shuffled] < 0)]
        # Ties stay in the order drawn by chance.
        for group in members[np.argsort(-counts[members, entry], kind="stable")]:
            balance.place(group, entry)
    # What has no sample at all.
    balance.part[balance.part < 0] = 0
    for _ in range(_ROUNDS):
        better = [balance.move(group) for group in chance.permutation(len(counts))]
        if len(counts) <= _MOST_SWAPPED:
            better += [balance.swap(group) for group in chance.permutation(len(counts))]
        if not any(better):
            break
    return balance.part


class _Balance:
    """How far the parts are from what was asked.

    The cost is the sum of squared differences of shares over classes and parts, and something for every class that a
    part has not got.

    Attributes:
        part: (groups,) where each is, -1 for nowhere yet.
    """

    def __init__(self, counts: np.ndarray, asked: np.ndarray) -> None:
        self.part = np.full(len(counts), -1, np.int8)
        self._present = counts > 0
        self._shares = counts / np.maximum(counts.sum(axis=0), 1e-300)
        self._parts = np.flatnonzero(asked > 0)
        # What each part still lacks of each class, as a share of the class; how many groups with the class it has.
        self._lack = np.repeat(asked[:, None], counts.shape[1], axis=1)
        self._held = np.zeros(self._lack.shape, np.int64)
        self._empty = np.array([_EMPTY[part] for part in PARTS])

    def place(self, group: int, entry: int) -> None:
        """Put a group into the part that lacks most of a class."""
        present = self._present[group]
        lack = self._lack
        self._put(group, int(max(self._parts, key=lambda p: (lack[p, entry], lack[p, present].sum(), -p))))

    def _put(self, group: int, part: int) -> None:
        before = self.part[group]
        if before >= 0:
            self._lack[before] += self._shares[group]
            self._held[before] -= self._present[group]
        self._lack[part] -= self._shares[group]
        self._held[part] += self._present[group]
        self.part[group] = part

    def move(self, group: int) -> bool:
        """Move a group to another part if that makes it better; whether it did."""
        here = self._present[group]
        share, source = self._shares[group, here], self.part[group]
        lack, held = self._lack[:, here], self._held[:, here]
        if not share.size:
            return False
        leave = (share * (2 * lack[source] + share)).sum() + self._empty[source] * (held[source] == 1).sum()
        best, gain = source, -1e-12
        for part in self._parts:
            change = leave + (share * (share - 2 * lack[part])).sum() - self._empty[part] * (held[part] == 0).sum()
            if part != source and change < gain:
                best, gain = part, change
        if best != source:
            self._put(group, best)
        return best != source

    def swap(self, group: int) -> bool:
        """Exchange a group for one of another part if that makes it better; whether it did."""
        source = self.part[group]
        others = np.flatnonzero(self.part != source)
        if not others.size:
            return False
        part = self.part[others]
        given = self._shares[group] - self._shares[others]
        change = (2 * given * (self._lack[source] - self._lack[part] + given)).sum(axis=1)
        brought = self._present[others].astype(np.int64) - self._present[group]
        for place, sign in ((np.full(len(others), source), 1), (part, -1)):
            before = self._held[place]
            emptied = (before + sign * brought == 0).sum(axis=1) - (before == 0).sum(axis=1)
            change = change + self._empty[place] * emptied
        best = int(np.argmin(change))
        if change[best] >= -1e-12:
            return False
        self._put(group, int(part[best]))
        self._put(int(others[best]), int(source))
        return True
