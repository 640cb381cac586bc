"""Polygons whose pixels look like another class: drawn over the wrong thing, or given the wrong class.

Each pixel is judged by the likelihoods of normally distributed classes (the quadratic classifier of Swain & Davis 1978,
with equal priors), and the polygon itself is left out of its own class: else it would speak for itself, the louder the
larger it is.  A pixel looks like another class where that is the likeliest and at least :data:`TIMES_LIKELIER` times as
likely as its own.  Under a normal distribution at most one in so many pixels of a class does, by Markov's inequality,
whatever the other class is.
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
TIMES_LIKELIER = 20.0
#: A polygon is named where more than this share of its pixels look like one other class.
LEAST_SHARE = 0.5
# So many pixels of a polygon are looked at: the share is then known to a hundredth.
_MOST_OF_ONE = 4096
_BYTES_AT_ONCE = 32 * 2**20


@dataclass(frozen=True)
class Lookalike:
    """A polygon that looks like another class.

    Args:
        shape: number of the polygon.
        place: of its class.
        looks_like: place of the other class.
        share: of its pixels that look like that, 0 to 1.
        pixels: how many it has.
    """

    shape: int
    place: int
    looks_like: int
    share: float
    pixels: int


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
    bands = sampled.values.shape[1]
    moments = [Moments.none(bands) for _ in range(classes)]
    polygons = [0] * classes
    for group in sampled.groups:
        moments[group.place] += _moments(sampled, group)
        polygons[group.place] += group.shape >= 0
    within = within_classes(moments, resolution)
    if within is None:
        return []
    models = [normal_class(part, within) if part.count > 0 else None for part in moments]
    found = []
    for block in _blocks([group for group in sampled.groups if group.shape >= 0 and polygons[group.place] > 1], bands):
        check()
        stops = np.cumsum([_looked_at(group) for group in block])
        values = np.concatenate([sampled.physical(group.start, group.start + _looked_at(group)) for group in block])
        likelihoods = _likelihoods(values, models)
        for group, stop in zip(block, stops, strict=True):
            start = stop - _looked_at(group)
            own = _own_class(sampled, group, moments, within)
            if own is None:
                continue
            other = _other_class(group, own.log_likelihood(values[start:stop]), likelihoods[start:stop])
            if other is not None:
                found.append(other)
    return sorted(found, key=lambda entry: (-entry.share, -entry.pixels, entry.shape))


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
    return Lookalike(group.shape, group.place, place, share, group.pixels)


def _own_class(sampled: Sampled, group: Group, moments: Sequence[Moments], within: Within) -> NormalClass | None:
    """The class of a polygon as the other polygons show it; None where they have no pixels."""
    rest = moments[group.place].without(_moments(sampled, group))
    if rest is None:
        # Rounding ate it: the polygon's values lie far from all others.
        rest = Moments.none(len(within.resolution))
        for other in sampled.groups:
            if other.place == group.place and other.shape != group.shape:
                rest += _moments(sampled, other)
    if rest.count == 0:
        return None
    without = list(moments)
    without[group.place] = rest
    pooled = within_classes(without, within.resolution)
    return None if pooled is None else normal_class(rest, pooled)


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
