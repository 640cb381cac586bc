"""Labels of patches: what the table shows is what they follow from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.engine.network import Head
from thematica.engine.patch_labels import DIGITS, Labelling

from .networks import make_card


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("beside", [-3e-7, 0, 3e-7])
def test_a_probability_that_is_shown_as_the_threshold_reaches_it(threshold: float, beside: float) -> None:
    labelling = Labelling(Head(make_card(3, 20, "patch"), 20), threshold)
    rest = (1 - threshold - beside) / 19
    found = labelling(np.array([[threshold + beside, *[rest] * 19]], np.float32))
    assert (found.scores[0], found.names[0]) == (threshold, "class 0")


def test_one_score_that_is_shown_as_the_threshold_reaches_it() -> None:
    labelling = Labelling(Head(make_card(3, ["no", "yes"], "patch"), 1), 0.3)
    found = labelling(np.array([[0.7000003, 0.2999997], [0.70001, 0.29999]], np.float32))
    assert list(found.names) == ["yes", "no"]
    # Of the chosen class, though the other is the more probable one.
    np.testing.assert_array_equal(found.scores, [0.3, 0.70001])


def test_of_probabilities_that_are_shown_as_equal_the_best_wins() -> None:
    labelling = Labelling(Head(make_card(3, 2, "patch"), 2))
    assert labelling(np.array([[0.9999997, 0.9999999]], np.float32)).names[0] == "class 1"


@given(
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
    st.floats(0.01, 0.99).map(lambda value: round(value, 2)),
)
def test_a_label_follows_from_the_probabilities_in_the_table(rows: list[list[float]], threshold: float) -> None:
    found = Labelling(Head(make_card(3, 3, "patch"), 3), threshold)(np.array(rows, np.float32))
    np.testing.assert_array_equal(found.probabilities, np.round(found.probabilities, DIGITS))
    np.testing.assert_array_equal(found.scores, found.probabilities.max(axis=1))
    np.testing.assert_array_equal(found.counted.any(axis=1), found.scores >= threshold)
