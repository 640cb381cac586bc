"""Polygons that look like another class: those that were planted, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.engine.labels.labelled_sample import LabelledSample, Sampled
from thematica.engine.labels.lookalikes import Lookalike, _Classes, lookalikes
from thematica.engine.labels.moments import Moments
from thematica.engine.labels.normal_class import resolution_of
from thematica.engine.labels.small_matrices import one_thread
from thematica.errors import Cancelled
from thematica.progress import Monitor

from .labelled import Pixels, made

BANDS = 4


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def sampled_of(pixels: Pixels, most_bytes: int = 2**30) -> Sampled:
    sample = LabelledSample(most_bytes)
    sample.add(pixels.values, pixels.places, pixels.shapes, pixels.rows, pixels.cols)
    return sample.result([(1.0, 0.0)] * pixels.values.shape[1])


def found_in(pixels: Pixels, classes: int, most_bytes: int = 2**30) -> list[Lookalike]:
    parts = [Moments.of(pixels.values[pixels.places == place].astype(float)) for place in range(classes)]
    steps = np.ones(pixels.values.shape[1]) if pixels.values.dtype.kind in "iu" else None
    return lookalikes(sampled_of(pixels, most_bytes), classes, resolution_of(parts, steps))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), planted=st.integers(0, 14), data_type=st.sampled_from(["int16", "float32"]))
def test_the_mislabelled_polygon_is_found_and_no_other(seed: int, planted: int, data_type: str) -> None:
    pixels = made(np.random.default_rng(seed), [5, 5, 5], bands=BANDS, data_type=data_type)
    true = planted // 5
    called = (true + 1) % 3
    pixels.places[pixels.shapes == planted] = called
    found = found_in(pixels, 3)
    assert [(entry.shape, entry.place, entry.looks_like) for entry in found] == [(planted, called, true)]
    assert found[0].pixels == 60


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), apart=st.floats(0, 6), polygons=st.integers(2, 6))
def test_clean_labels_are_left_in_peace_however_much_their_classes_overlap(
    seed: int, apart: float, polygons: int
) -> None:
    assert found_in(made(np.random.default_rng(seed), [polygons] * 3, bands=BANDS, apart=apart), 3) == []


def test_a_large_polygon_does_not_speak_for_itself() -> None:
    """Most of the class's pixels lie in the wrong polygon: counted in, it would define its class."""
    rng = np.random.default_rng(2)
    wood, water = rng.normal(100, 5, (1060, 2)), rng.normal(200, 5, (120, 2))
    pixels = Pixels(
        np.concatenate([wood, water]).round().astype(np.int16),
        np.array([0] * 60 + [1] * 1000 + [1] * 120, np.int16),
        np.array([0] * 60 + [1] * 1000 + [2] * 60 + [3] * 60, np.int32),
        np.arange(1180),
        np.zeros(1180, int),
    )
    found = found_in(pixels, 2)
    assert [(entry.shape, entry.looks_like) for entry in found] == [(1, 0)]
    assert found[0].share > 0.99


def test_leaving_out_is_what_it_says() -> None:
    """The share is that of a classifier trained anew without the polygon, where polygons are many."""
    pixels = made(np.random.default_rng(3), [30, 30], bands=2, apart=3)
    pixels.places[pixels.shapes == 0] = 1
    (found,) = found_in(pixels, 2)

    def log_density(values: np.ndarray, training: np.ndarray) -> np.ndarray:
        mean, covariance = training.mean(axis=0), np.cov(training, rowvar=False)
        apart = values - mean
        distances = (apart @ np.linalg.inv(covariance) * apart).sum(axis=1)
        return -0.5 * (distances + np.log(np.linalg.det(covariance)))

    values = pixels.values.astype(float)
    own = values[(pixels.places == 1) & (pixels.shapes != 0)]
    polygon, other = values[pixels.shapes == 0], values[pixels.places == 0]
    ratio = log_density(polygon, other) - log_density(polygon, own)
    assert found.shape == 0
    assert found.share == pytest.approx((ratio >= np.log(100)).mean())
    assert 0.5 < found.share < 1
    assert found.evidence == pytest.approx(np.median(ratio), rel=1e-6)


def test_two_misplaced_polygons_in_one_class_do_not_hide_each_other() -> None:
    pixels = made(np.random.default_rng(5), [8, 18], apart=4)
    for planted in (0, 1):
        pixels.places[pixels.shapes == planted] = 1
    assert {entry.shape for entry in found_in(pixels, 2)} == {0, 1}


def test_a_class_whose_polygons_differ_is_not_known_by_two_of_them() -> None:
    """Pixels of a polygon are alike: the next polygon of the class may lie beyond them all, in no other class."""
    rng = np.random.default_rng(1)
    polygons = [(0, 100), (0, 130), (0, 160), *[(1, 300 + 10 * number) for number in range(12)]]
    values = [rng.normal(middle, 3, (200, 2)) for _, middle in polygons]
    pixels = Pixels(
        np.concatenate(values).round().astype(np.int16),
        np.repeat([place for place, _ in polygons], 200).astype(np.int16),
        np.repeat(np.arange(len(polygons)), 200).astype(np.int32),
        np.arange(200 * len(polygons)),
        np.zeros(200 * len(polygons), int),
    )
    assert found_in(pixels, 2) == []


def test_a_polygon_alone_in_its_class_cannot_be_judged() -> None:
    pixels = made(np.random.default_rng(1), [3, 1])
    pixels.values[pixels.places == 1] = pixels.values[pixels.places == 0][:60]
    assert found_in(pixels, 2) == []


def test_points_and_label_rasters() -> None:
    rng = np.random.default_rng(1)
    pixels = made(rng, [1, 1], pixels=200, apart=20)
    pixels.shapes = np.arange(400, dtype=np.int32)
    pixels.places[7] = 1
    assert [(entry.shape, entry.looks_like, entry.share) for entry in found_in(pixels, 2)] == [(7, 0, 1.0)]
    pixels.shapes[:] = -1
    assert found_in(pixels, 2) == []


def test_a_sample_of_large_polygons_is_enough() -> None:
    pixels = made(np.random.default_rng(1), [3, 3], pixels=6000)
    pixels.places[pixels.shapes == 4] = 0
    found = found_in(pixels, 2, most_bytes=600 * (8 + 48))
    assert [(entry.shape, entry.looks_like, entry.pixels) for entry in found] == [(4, 1, 6000)]
    whole = found_in(pixels, 2)
    assert whole[0].share == pytest.approx(found[0].share, abs=0.05)


def test_a_class_is_known_without_rounding_when_a_polygon_beyond_all_others_is_taken_out() -> None:
    pixels = made(np.random.default_rng(1), [3, 3], data_type="float64")
    pixels.values[pixels.shapes == 0] += np.random.default_rng(1).normal(0, 1e12, (60, BANDS))
    sampled = sampled_of(pixels)
    rest = _Classes.of(sampled, 2, np.ones(BANDS), set()).without(sampled, sampled.groups[0])
    assert rest is not None
    others = pixels.values[(pixels.places == 0) & (pixels.shapes != 0)]
    np.testing.assert_allclose(rest.mean, others.mean(axis=0))
    assert np.diag(rest.covariance).max() < 1e5


def test_the_worst_come_first() -> None:
    pixels = made(np.random.default_rng(1), [45, 45], apart=12)
    for shape, wrong in ((1, 40), (3, 55)):
        pixels.values[np.flatnonzero(pixels.shapes == shape)[:wrong]] = pixels.values[pixels.places == 1][:wrong]
    found = found_in(pixels, 2)
    assert [(entry.shape, entry.looks_like, round(60 * entry.share)) for entry in found] == [(3, 1, 55), (1, 1, 40)]


def test_no_pixels_and_single_pixels_are_no_fault() -> None:
    pixels = made(np.random.default_rng(1), [1, 1], pixels=1)
    assert found_in(pixels, 2) == []
    assert lookalikes(Sampled(np.zeros((0, 2), np.uint8), [], [(1.0, 0.0)] * 2), 3, np.ones(2)) == []


def test_it_can_be_cancelled() -> None:
    pixels = made(np.random.default_rng(1), [3, 3])
    monitor = Monitor()
    monitor.cancel()
    with pytest.raises(Cancelled):
        lookalikes(sampled_of(pixels), 2, np.ones(BANDS), monitor.check)
