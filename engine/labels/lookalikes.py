"""Polygons whose pixels look like another class: drawn over the wrong thing, or given the wrong class.

Each pixel is judged by the likelihoods of normally distributed classes (the quadratic classifier of Swain & Davis 1978,
with equal priors), and the polygon itself is left out of its own class: else it would speak for itself, the louder the
larger it is.  A pixel looks like another class where that is the likeliest and at least :data:`TIMES_LIKELIER` times as
likely as its own.  Under a normal distribution at most one in so many pixels of a class does, by Markov's inequality,
whatever the other class is.

Pixels of one polygon are nearly copies of each other, so what is known of a class's spread is counted by polygons: with
few of them the class borrows from the spread of all (see :mod:`.normal_class`).

A misplaced polygon also distorts the class that it is called by: others seem to lie in it, and a second one is hidden.
So the worst are left out of all classes and the others judged again, until no more are found.  Where more than about
a tenth of a class is misplaced, that may not suffice: its figures of separability tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .labelled_sample import Group, Sampled
from .moments import Floats, Moments
from .normal_class import NormalClass, Within, normal_class, within_classes

#: How much likelier another class must be for a pixel to look like it.
TIMES_LIKELIER = 100.0
#: A polygon is named where more than this share of its pixels look like one other class.
LEAST_SHARE = 0.5
# So many pixels of a polygon are looked at: the share is then known to a hundredth.
_MOST_OF_ONE = 4096
_BYTES_AT_ONCE = 32 * 2**20
# Of the polygons that a round finds, the worst of so many are left out in the next; and how much is judged in all.
_LEAVE_OUT_ONE_IN = 4
_MOST_ROUNDS, _MOST_JUDGEMENTS = 20, 20_000


@dataclass(frozen=True)
class Lookalike:
    """A polygon that looks like another class.

    Args:
        shape: number of the polygon.
        place: of its class.
        looks_like: place of the other class.
        share: of its pixels that look like that, 0 to 1.
        pixels: how many it has.
        evidence: median of the logarithm of how much likelier the other class is.
    """

    shape: int
    place: int
    looks_like: int
    share: float
    pixels: int
    evidence: float = 0.0


def lookalikes(
    sampled: Sampled, classes: int, resolution: Floats, check: Callable[[], None] = lambda: None
) -> list[Lookalike]:
    """Find them.

    Args:
        sampled: the labelled pixels, or a sample of them.
        classes: how many there are.
        resolution: (C,), see :func:`.normal_class.resolution_of`.
        check: called now and then; may raise to end the search.

    Returns:
        The polygons, the worst first.  A polygon that is alone in its class cannot be judged and is left out.
    """
    polygons = sum(group.shape >= 0 for group in sampled.groups)
    left_out: set[int] = set()
    found: dict[int, Lookalike] = {}
    for _ in range(max(2, min(_MOST_ROUNDS, _MOST_JUDGEMENTS // max(polygons, 1)))):
        found = _judged(sampled, _Classes.of(sampled, classes, resolution, left_out), check)
        new = sorted(found.keys() - left_out, key=lambda shape: -found[shape].evidence)
        if not new:
            break
        left_out.update(new[: -(-len(new) // _LEAVE_OUT_ONE_IN)])
    return sorted(found.values(), key=lambda entry: (-entry.share, -entry.pixels, entry.shape))


@dataclass(frozen=True)
class _Classes:
    """The classes as the polygons show them that are not left out.

    Args:
        moments: of every class.
        polygons: number of every class's polygons.
        left_out: numbers of the polygons that are not in them.
        within: what the classes have in common; None where nothing can be said.
    """

    moments: Sequence[Moments]
    polygons: Sequence[int]
    left_out: set[int]
    within: Within | None

    @classmethod
    def of(cls, sampled: Sampled, classes: int, resolution: Floats, unwanted: set[int]) -> _Classes:
        """Without unwanted polygons, but where a class has no others."""
        wanted = {group.place for group in sampled.groups if group.shape not in unwanted}
        left_out = {group.shape for group in sampled.groups if group.shape in unwanted and group.place in wanted}
        moments = [Moments.none(sampled.values.shape[1]) for _ in range(classes)]
        polygons = [0] * classes
        for group in sampled.groups:
            if group.shape not in left_out:
                moments[group.place] += _moments(sampled, group)
                polygons[group.place] += 1
        return cls(moments, polygons, left_out, within_classes(moments, resolution))

    def models(self) -> list[NormalClass | None]:
        """The distribution of every class; None of those without pixels."""
        if self.within is None:
            return [None] * len(self.moments)
        return [
            normal_class(moments, self.within, polygons - 1) if polygons else None
            for moments, polygons in zip(self.moments, self.polygons, strict=True)
        ]

    def without(self, sampled: Sampled, group: Group) -> NormalClass | None:
        """The class of a polygon as the other polygons show it; None where they have no pixels."""
        polygons = self.polygons[group.place] - (group.shape not in self.left_out)
        if self.within is None or polygons == 0:
            return None
        rest: Moments | None = self.moments[group.place]
        if group.shape not in self.left_out:
            rest = self.moments[group.place].without(_moments(sampled, group))
        if rest is None:
            # Rounding ate it: the polygon's values lie far from all others.
            rest = Moments.none(sampled.values.shape[1])
            for other in sampled.groups:
                if other.place == group.place and other.shape not in (group.shape, *self.left_out):
                    rest += _moments(sampled, other)
        moments = [*self.moments[: group.place], rest, *self.moments[group.place + 1 :]]
        within = within_classes(moments, self.within.resolution)
        return None if within is None else normal_class(rest, within, polygons - 1)


def _judged(sampled: Sampled, classes: _Classes, check: Callable[[], None]) -> dict[int, Lookalike]:
    """The polygons that look like another class, by their numbers."""
    models = classes.models()
    found = {}
    for block in _blocks([group for group in sampled.groups if group.shape >= 0], sampled.values.shape[1]):
        check()
        stops = np.cumsum([_looked_at(group) for group in block])
        values = np.concatenate([sampled.physical(group.start, group.start + _looked_at(group)) for group in block])
        likelihoods = _likelihoods(values, models)
        for group, stop in zip(block, stops, strict=True):
            part = slice(stop - _looked_at(group), stop)
            own = classes.without(sampled, group)
            other = None if own is None else _other_class(group, own.log_likelihood(values[part]), likelihoods[part])
            if other is not None:
                found[group.shape] = other
    return found


def _looked_at(group: Group) -> int:
    return min(group.stop - group.start, _MOST_OF_ONE)


def _likelihoods(values: Floats, models: Sequence[NormalClass | None]) -> Floats:
    """(n, K) log-likelihoods of values under every class; a class without pixels is never the likeliest."""
    result = np.full((len(values), len(models)), -np.inf)
    for place, model in enumerate(models):
        if model is not None:
            result[:, place] = model.log_likelihood(values)
    return result


def _other_class(group: Group, own: Floats, likelihoods: Floats) -> Lookalike | None:
    """The class that most pixels of a polygon look like, if that is not its own."""
    others = likelihoods.copy()
    others[:, group.place] = -np.inf
    likeliest = others.argmax(axis=1)
    looks = others[np.arange(len(own)), likeliest] >= own + math.log(TIMES_LIKELIER)
    votes = np.bincount(likeliest[looks], minlength=likelihoods.shape[1])
    place = int(votes.argmax())
    share = float(votes[place]) / len(own)
    if share <= LEAST_SHARE:
        return None
    evidence = float(np.median(likelihoods[:, place] - own))
    return Lookalike(group.shape, group.place, place, share, group.pixels, evidence)


def _moments(sampled: Sampled, group: Group) -> Moments:
    """Of a polygon, as if all its pixels were in the sample."""
    total = Moments.none(sampled.values.shape[1])
    step = max(1, _BYTES_AT_ONCE // (8 * sampled.values.shape[1]))
    for start in range(group.start, group.stop, step):
        total += Moments.of(sampled.physical(start, min(start + step, group.stop)))
    return replace(total, count=total.count * group.weight, scatter=total.scatter * group.weight)


def _blocks(groups: Sequence[Group], bands: int) -> Iterator[list[Group]]:
    """Groups, as many at once as the memory allows."""
    most = max(1, _BYTES_AT_ONCE // (8 * bands))
    block: list[Group] = []
    pixels = 0
    for group in groups:
        if block and pixels + _looked_at(group) > most:
            yield block
            block, pixels = [], 0
        block.append(group)
        pixels += _looked_at(group)
    if block:
        yield block
