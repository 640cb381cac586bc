"""Sums in pieces: the same in any pieces, and exact far from zero."""

from __future__ import annotations

from functools import reduce

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thematica.engine.labels.moments import Moments


def assert_same(found: Moments, values: np.ndarray, tolerance: float = 1e-9) -> None:
    assert found.count == len(values)
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-12)
    expected = np.cov(values, rowvar=False).reshape(found.scatter.shape) * (len(values) - 1)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found.scatter / size, expected / size, atol=tolerance)


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 200), max_size=12), far=st.floats(-1e7, 1e7))
def test_any_pieces_give_what_one_go_gives(seed: int, cuts: list[int], far: float) -> None:
    values = far + np.random.default_rng(seed).normal(size=(200, 3)) * [0.01, 1, 100]
    pieces = [Moments.of(part) for part in np.split(values, sorted(cuts))]
    # Numbers of the size of ``far`` are rounded themselves.
    assert_same(reduce(Moments.__add__, pieces), values, tolerance=1e-6)
    assert_same(reduce(Moments.__add__, reversed(pieces)), values, tolerance=1e-6)


def test_no_digit_is_lost_in_a_million_kelvins() -> None:
    values = 300 + 0.01 * np.random.default_rng(1).normal(size=(1_000_000, 2))
    total = Moments.none(2)
    for part in np.array_split(values, 997):
        total += Moments.of(part)
    assert_same(total, values)


@given(seed=st.integers(0, 2**32 - 1), part=st.integers(0, 60))
def test_a_part_taken_away_leaves_the_rest(seed: int, part: int) -> None:
    values = np.random.default_rng(seed).normal(size=(62, 3)) * [1, 10, 100] + 50
    rest = Moments.of(values).without(Moments.of(values[:part]))
    assert rest is not None
    assert_same(rest, values[part:])


def test_nothing_is_left_of_the_whole() -> None:
    whole = Moments.of(np.random.default_rng(1).normal(size=(10, 2)))
    rest = whole.without(whole)
    assert rest is not None
    assert rest.count == 0
    assert (whole + rest).count == 10


def test_a_rest_that_rounding_ate_is_not_given_out() -> None:
    rest = np.random.default_rng(1).normal(size=(50, 1))
    outlier = np.array([[1e12], [-1e12]])
    assert Moments.of(np.concatenate([rest, outlier])).without(Moments.of(outlier)) is None


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(1)
    values, times = rng.normal(size=(40, 3)), rng.integers(1, 5, 40)
    assert_same(Moments.of(values, times.astype(float)), np.repeat(values, times, axis=0))


def test_the_spread_of_one_sample_is_zero() -> None:
    assert Moments.of(np.array([[3.0, 4.0]])).spread.tolist() == [0, 0]
