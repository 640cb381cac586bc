"""Every figure is scikit-learn's, and counts may be added up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from thematica.errors import InputError
from thematica.trainer.accuracy import Accuracy
from thematica.trainer.metrics import BINS, RELIABILITY_BINS, Tally, check_monitor

CLASSES = 5
NAMES = [f"class {number}" for number in range(CLASSES)]


def single(seed: int, count: int = 400, absent: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, CLASSES, count)
    if absent is not None:
        labels[labels == absent] = (absent + 1) % CLASSES
    scores = chance.normal(0, 2, (count, CLASSES))
    scores[np.arange(count), labels] += 2
    return scores, labels


def several(seed: int, shift: float = 0.0, count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    labels = (chance.random((count, CLASSES)) < 0.3).astype(np.uint8)
    return chance.normal(0, 2, (count, CLASSES)) + 2.5 * labels + shift, labels


def tally_of(scores: np.ndarray, labels: np.ndarray, **options) -> Tally:
    tally = Tally(NAMES, **options)
    tally.add(scores, labels)
    return tally


@pytest.mark.parametrize("absent", [None, 2])
def test_figures_of_one_label_are_those_of_scikit_learn(absent):
    scores, labels = single(1, absent=absent)
    predicted = scores.argmax(axis=1)
    figures = tally_of(scores, labels).figures()
    near = {"abs": 6e-5}
    assert figures["overall accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted), **near)
    assert figures["kappa"] == pytest.approx(sk.cohen_kappa_score(labels, predicted), **near)
    assert figures["macro F1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"), **near)
    assert figures["micro F1"] == pytest.approx(sk.f1_score(labels, predicted, average="micro"), **near)
    assert figures["mean IoU"] == pytest.approx(sk.jaccard_score(labels, predicted, average="macro"), **near)
    each = sk.precision_recall_fscore_support(labels, predicted, labels=range(CLASSES), zero_division=0)
    for place, name in enumerate(NAMES):
        assert figures[f"user's accuracy, {name}"] == pytest.approx(each[0][place], **near)
        assert figures[f"producer's accuracy, {name}"] == pytest.approx(each[1][place], **near)
        assert figures[f"F1, {name}"] == pytest.approx(each[2][place], **near)


def test_a_class_that_is_neither_there_nor_predicted_does_not_count():
    scores, labels = single(3, absent=2)
    scores[:, 2] = -np.inf
    predicted = scores.argmax(axis=1)
    figures = tally_of(scores, labels).figures()
    assert figures["macro F1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"), abs=6e-5)
    assert figures["mean IoU"] == pytest.approx(sk.jaccard_score(labels, predicted, average="macro"), abs=6e-5)


# Rare classes have low scores everywhere, and then all probabilities are close to 0.
@pytest.mark.parametrize("shift", [0.0, -8.0, 6.0])
def test_figures_of_several_labels_are_those_of_scikit_learn(shift):
    scores, labels = several(2, shift)
    predicted = scores >= 0
    figures = tally_of(scores, labels, several=True).figures()
    near = {"abs": 6e-5}
    for average in ("micro", "macro"):
        wanted = sk.f1_score(labels, predicted, average=average, zero_division=0)
        assert figures[f"{average} F1"] == pytest.approx(wanted, **near)
    each = sk.precision_recall_fscore_support(labels, predicted, zero_division=0)
    for place, name in enumerate(NAMES):
        for title, row in (("precision", 0), ("recall", 1), ("F1", 2)):
            assert figures[f"{title}, {name}"] == pytest.approx(each[row][place], **near)
        wanted = sk.average_precision_score(labels[:, place], scores[:, place])
        assert figures[f"average precision, {name}"] == pytest.approx(wanted, abs=5 / BINS)
    wanted = sk.average_precision_score(labels, scores, average="macro")
    assert figures["mean average precision"] == pytest.approx(wanted, abs=1 / BINS)


def test_classes_without_a_label_do_not_spoil_the_mean_average_precision():
    scores, labels = several(4)
    labels[:, 1] = 0
    there = [0, 2, 3, 4]
    wanted = sk.average_precision_score(labels[:, there], scores[:, there], average="macro")
    found = tally_of(scores, labels, several=True).figures()["mean average precision"]
    assert found == pytest.approx(wanted, abs=1 / BINS)


def test_pixels_without_label_count_for_nothing():
    scores, labels = single(5, count=6 * 8 * 8)
    chips = np.moveaxis(scores.reshape(6, 8, 8, CLASSES), -1, 1)
    places = labels.reshape(6, 8, 8).copy()
    places[:, :3] = 255
    found = tally_of(chips, places.astype(np.uint8), ignore_index=255)
    kept = places.reshape(-1) != 255
    alone = tally_of(scores[kept], labels[kept])
    assert found.confusion.sum() == kept.sum()
    assert found.figures() == alone.figures()


def test_the_calibration_error_is_the_mean_distance_over_the_bins():
    scores, labels = single(6)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    probability = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
    right = scores.argmax(axis=1) == labels
    wanted = 0.0
    for low in np.arange(RELIABILITY_BINS) / RELIABILITY_BINS:
        inside = (probability >= low) & (probability < low + 1 / RELIABILITY_BINS)
        if inside.any():
            wanted += inside.mean() * abs(right[inside].mean() - probability[inside].mean())
    assert tally_of(scores, labels).calibration_error() == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 60), min_size=1, max_size=5), st.booleans())
def test_counts_of_several_processes_add_up_to_those_of_one(seed, sizes, many):
    scores, labels = (several if many else single)(seed, count=sum(sizes))
    whole = tally_of(scores, labels, several=many)
    total, start = np.zeros_like(whole.vector()), 0
    for size in sizes:
        total += tally_of(scores[start : start + size], labels[start : start + size], several=many).vector()
        start += size
    added = Tally(NAMES, many)
    added.set_vector(total)
    assert np.array_equal(added.confusion, whole.confusion)
    assert np.array_equal(added.histogram, whole.histogram)
    assert np.allclose(added.reliability, whole.reliability)
    assert added.figures().keys() == whole.figures().keys()


@pytest.mark.parametrize("many", [False, True])
def test_an_empty_part_has_figures_of_zero_and_no_crash(many):
    figures = Tally(NAMES, many).figures()
    assert all(value == 0 for value in figures.values())


def test_labels_beyond_the_classes_are_told():
    scores, labels = single(7)
    labels[3] = CLASSES
    with pytest.raises(InputError, match="none of its classes"):
        tally_of(scores, labels)


def test_scores_that_are_no_numbers_are_told():
    scores, labels = single(7)
    scores[3, 1] = np.nan
    with pytest.raises(InputError, match="not numbers any more"):
        tally_of(scores, labels)


def test_billions_of_pixels_do_not_overflow():
    confusion = np.array([[9_000_000_000, 10], [10, 4_000_000_000]], np.int64)
    assert 0.99 < Accuracy(["a", "b"], confusion).kappa <= 1


def test_the_best_epoch_is_chosen_by_a_figure_that_there_is():
    for several_labels in (False, True):
        figures = Tally(NAMES, several_labels).figures()
        with pytest.raises(InputError, match="set monitor to one of") as told:
            check_monitor("beauty", several_labels)
        for name in told.value.message.partition("one of ")[2].rstrip(".").split(", "):
            check_monitor(name, several_labels)
            assert name in figures
