"""Which points lie close to others: the quick way against the plain one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thematica.trainer.dataset import buffer
from thematica.trainer.dataset.buffer import near


def plainly(plane, row, col, asked, obstacle, reach):
    result = np.zeros(len(row), bool)
    for i in np.flatnonzero(asked):
        there = obstacle & (plane == plane[i])
        result[i] = (there & (np.abs(row - row[i]) <= reach) & (np.abs(col - col[i]) <= reach)).any()
    return result


def points(seed, count, spread):
    chance = np.random.default_rng(seed)
    row, col = chance.integers(0, spread, (2, count)).astype(np.int32)
    kind = chance.integers(0, 3, count)
    return chance.integers(0, 2, count).astype(np.uint16), row, col, kind == 0, kind == 1


@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 300),
    spread=st.sampled_from([1, 30, 600, 5000]),
    reach=st.integers(0, 700),
)
def test_near_is_exact(seed, count, spread, reach):
    given_points = points(seed, count, spread)
    np.testing.assert_array_equal(near(*given_points, reach), plainly(*given_points, reach))


def test_many_points_are_counted_instead_of_compared(monkeypatch):
    given_points = points(1, 1500, 900)
    expected = plainly(*given_points, 7)
    assert 0 < expected.sum() < given_points[3].sum()
    monkeypatch.setattr(buffer, "_FEW_PAIRS", -1)
    np.testing.assert_array_equal(near(*given_points, 7), expected)


@given(seed=st.integers(0, 1000), reach=st.integers(1025, 30_000))
def test_a_very_large_distance_misses_none_and_takes_little_more(seed, reach):
    given_points = points(seed, 60, 60_000)
    found = near(*given_points, reach)
    assert not (plainly(*given_points, reach) & ~found).any()
    assert not (found & ~plainly(*given_points, reach + 2 * -(-reach // 1024))).any()
