"""Equal keys side by side."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thematica.trainer.dataset.stretches import distinct

keys = st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 5)), max_size=12)


@given(keys)
def test_distinct_keys_are_those_of_numpy(runs: list[tuple[int, int]]) -> None:
    given = np.repeat(*np.array(runs, np.int64).reshape(-1, 2).T)
    found, place = distinct(given)
    wanted, inverse = np.unique(given, return_inverse=True)
    assert found.tolist() == wanted.tolist()
    assert place.tolist() == inverse.tolist()
