"""Groups are shared out whole, and every class as asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thematica.trainer.dataset import groups
from thematica.trainer.dataset.groups import assign_groups, joined

SHARES = {"validation": 0.1, "test": 0.2}


def shares_of(counts, part):
    return np.stack([counts[part == place].sum(axis=0) for place in range(3)]) / counts.sum(axis=0)


def test_each_class_is_shared_out_as_asked():
    chance = np.random.default_rng(0)
    # Classes of very different size, some groups with several classes.
    counts = chance.integers(1, 200, (300, 5)) * (chance.random((300, 5)) < [0.9, 0.5, 0.3, 0.2, 0.1])
    shares = shares_of(counts, assign_groups(counts, SHARES, seed=3))
    np.testing.assert_allclose(shares, np.repeat([[0.7], [0.1], [0.2]], 5, axis=1), atol=0.02)


def test_several_labels_of_a_patch_are_shared_out_too():
    chance = np.random.default_rng(1)
    counts = (chance.random((5000, 43)) < chance.random(43) * 0.3 + 0.01).astype(np.int64)
    shares = shares_of(counts, assign_groups(counts, SHARES, seed=0))
    np.testing.assert_allclose(shares, np.repeat([[0.7], [0.1], [0.2]], 43, axis=1), atol=0.02)


@pytest.mark.parametrize(("number", "parts"), [(1, {0}), (2, {0, 2}), (3, {0, 1, 2})])
def test_a_class_with_few_groups_trains_first_then_tests_then_validates(number, parts):
    counts = np.zeros((40, 2), np.int64)
    counts[:number, 0] = 10
    counts[number:, 1] = 10
    part = assign_groups(counts, SHARES, seed=0)
    assert set(part[:number].tolist()) == parts


def test_the_seed_settles_who_goes_where():
    counts = np.full((60, 2), 5)
    first, again, other = (assign_groups(counts, SHARES, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_nothing_asked_for_is_all_training():
    assert not assign_groups(np.ones((5, 2), np.int64), {}, 0).any()


@given(
    arrays(np.int64, st.tuples(st.integers(0, 40), st.integers(1, 4)), elements=st.integers(0, 50)),
    st.integers(0, 5),
)
def test_any_table_gives_every_group_a_part_that_was_asked_for(counts, seed):
    part = assign_groups(counts, {"test": 0.3}, seed)
    assert part.shape == (len(counts),)
    assert set(part.tolist()) <= {0, 2}
    # No class is tested that was not trained.
    assert not ((counts[part == 2].sum(axis=0) > 0) & (counts[part == 0].sum(axis=0) == 0)).any()


def test_very_many_groups_are_bundled_and_still_shared_out_as_asked(monkeypatch):
    monkeypatch.setattr(groups, "_MOST_GROUPS", 500)
    chance = np.random.default_rng(2)
    counts = np.zeros((5000, 4), np.int64)
    counts[np.arange(5000), chance.choice(4, 5000, p=[0.7, 0.2, 0.08, 0.02])] = chance.integers(1, 9, 5000)
    shares = shares_of(counts, assign_groups(counts, SHARES, seed=0))
    np.testing.assert_allclose(shares, np.repeat([[0.7], [0.1], [0.2]], 4, axis=1), atol=0.03)


def test_groups_that_share_a_key_are_joined_through_any_number_of_others():
    group = np.array([0, 1, 2, 3, 4])
    result = joined(group, np.array([0, 1, 1, 2, 4]), np.array([7, 7, -9, -9, 5]))
    assert result[0] == result[1] == result[2]
    assert len(set(result.tolist())) == 3
    assert sorted(set(result.tolist())) == [0, 1, 2]
