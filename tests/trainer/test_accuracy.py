"""Figures of a confusion matrix, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.trainer.accuracy import Accuracy

metrics = pytest.importorskip("sklearn.metrics", reason="only this comparison needs scikit-learn")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_they_are_scikit_learns(pairs):
    true, predicted = np.array(pairs).T
    accuracy = Accuracy.of(list("abcd"), true, predicted)
    names = range(4)
    np.testing.assert_array_equal(accuracy.confusion, metrics.confusion_matrix(true, predicted, labels=names))
    assert accuracy.overall == pytest.approx(metrics.accuracy_score(true, predicted))
    recall = metrics.recall_score(true, predicted, labels=names, average=None, zero_division=0)
    precision = metrics.precision_score(true, predicted, labels=names, average=None, zero_division=0)
    np.testing.assert_allclose(accuracy.recall, recall)
    np.testing.assert_allclose(accuracy.precision, precision)
    np.testing.assert_allclose(
        accuracy.f1, metrics.f1_score(true, predicted, labels=names, average=None, zero_division=0)
    )
    if len(set(true) | set(predicted)) > 1:
        assert accuracy.kappa == pytest.approx(metrics.cohen_kappa_score(true, predicted, labels=names), abs=1e-12)


def test_the_metrics_of_a_card_are_named_by_class():
    accuracy = Accuracy.of(["Water", "Land"], np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    found = accuracy.metrics()
    assert found["overall accuracy"] == 0.75
    assert found["kappa"] == 0.5
    assert found["producer's accuracy, Water"] == 0.6667
    assert found["user's accuracy, Land"] == 0.5
