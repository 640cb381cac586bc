"""The light classifier: what it learns, how sure it is, and how good it says that it is."""

from __future__ import annotations

import numpy as np
import pytest

from thematica.engine.live.classifier import Perceptron, train, validate
from thematica.errors import Cancelled

from .scenes import no_check


def blobs(
    per_class: int = 200, bands: int = 4, classes: int = 3, spread: float = 100.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Samples around one spectrum per class, 600 apart, and the classes' places: 0, 2, 4, …"""
    random = np.random.default_rng(seed)
    places = np.repeat(np.arange(classes), per_class)
    centers = 1000 + 600 * np.stack([np.roll(np.arange(classes), band) for band in range(bands)], axis=1)
    values = centers[places] + random.normal(0, spread, (len(places), bands))
    return values.astype(np.float32), (2 * places).astype(np.int16)


def found(classifier: Perceptron, values: np.ndarray) -> np.ndarray:
    return classifier.classify(values.T)[0]


def test_it_finds_again_what_it_learnt_by_the_places_it_was_given() -> None:
    values, places = blobs()
    classifier = train(values, places, no_check)
    fresh, truth = blobs(seed=1)
    assert (found(classifier, fresh) == truth).mean() > 0.99


def test_the_same_labels_give_the_same_classifier() -> None:
    values, places = blobs()
    one, other = (train(values, places, no_check) for _ in range(2))
    assert np.array_equal(one.first, other.first)
    assert np.array_equal(one.second, other.second)


@pytest.mark.parametrize(
    ("scale", "offset", "kind"), [(1e-4, 0.0, "float32"), (1.0, 0.0, "uint16"), (10.0, -20_000.0, "int32")]
)
def test_the_unit_of_the_samples_does_not_matter(scale: float, offset: float, kind: str) -> None:
    values, places = blobs()
    changed = (values * scale + offset).astype(kind)
    classifier = train(changed.astype(np.float32), places, no_check)
    assert (classifier.classify(changed.T)[0] == places).mean() > 0.99


def test_a_class_of_few_pixels_is_not_drowned() -> None:
    values, places = blobs(per_class=1000)
    kept = (places != 2) | (np.arange(len(places)) % 100 == 0)
    classifier = train(values[kept], places[kept], no_check)
    assert (found(classifier, values)[places == 2] == 2).mean() > 0.97


def test_it_is_sure_amid_a_class_undecided_between_two_and_wary_far_from_all() -> None:
    values, places = blobs()
    classifier = train(values, places, no_check)
    centers = np.array([values[places == place].mean(axis=0) for place in (0, 2, 4)])

    def certainty(spectrum: np.ndarray) -> float:
        return float(classifier.classify(spectrum[:, None])[1][0])

    amid = [certainty(center) for center in centers]
    assert min(amid) > 0.8
    # Somewhere on the way from one class to the next it is undecided.
    way = [centers[0] * (1 - t) + centers[1] * t for t in np.linspace(0, 1, 200)]
    assert min(map(certainty, way)) < 0.1
    assert certainty(centers[0] - 5000) < 0.1


def test_a_band_that_never_varies_does_no_harm() -> None:
    values, places = blobs()
    values[:, 1] = 7
    classifier = train(values, places, no_check)
    assert np.isfinite(classifier.first).all()
    assert (found(classifier, values) == places).mean() > 0.95
    other = values.copy()
    other[:, 1] = 60_000
    assert np.isfinite(classifier.classify(other.T)[1]).all()


def test_one_wild_sample_does_not_spoil_it() -> None:
    values, places = blobs()
    values[0] = 3e8
    assert (found(train(values, places, no_check), values)[1:] == places[1:]).mean() > 0.95


def test_how_many_threads_share_the_work_changes_nothing() -> None:
    values, places = blobs()
    classifier = train(values, places, no_check)
    many = np.tile(values, (50, 1)).T
    for one, other in zip(classifier.classify(many), classifier.classify(many, threads=3), strict=True):
        assert np.array_equal(one, other)


def test_training_gives_up_where_it_is_told_to() -> None:
    def check() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        train(*blobs(), check)


def test_accuracy_is_asked_of_polygons_that_were_not_trained_on() -> None:
    """Polygons that each have a spectrum of their own: single pixels held back would seem easy."""
    random = np.random.default_rng(0)
    shapes = np.repeat(np.arange(40), 50)
    places = (shapes % 2).astype(np.int16)
    own = random.normal(0, 1000, (40, 5))
    values = (own[shapes] + random.normal(0, 10, (len(shapes), 5))).astype(np.float32)
    assert (found(train(values, places, no_check), values) == places).mean() > 0.95
    assert validate(values, places, shapes, no_check) < 0.75


def test_accuracy_is_high_where_classes_differ() -> None:
    values, places = blobs()
    shapes = np.arange(len(places)) // 20
    assert validate(values, places, shapes, no_check) > 0.98


def test_accuracy_needs_two_classes_of_several_polygons() -> None:
    values, places = blobs(classes=3)
    shapes = np.where(places == 0, np.arange(len(places)) // 20, 1000 + places)
    assert validate(values, places, shapes, no_check) is None
    # A third class with one polygon is trained on, but not asked for.
    shapes = np.where(places != 0, np.arange(len(places)) // 20, 1000)
    assert validate(values, places, shapes, no_check) > 0.98


def test_of_hundreds_of_bands_accuracy_takes_too_long() -> None:
    values, places = blobs(per_class=20, bands=204)
    assert validate(values, places, np.arange(len(places)) // 5, no_check) is None
    assert (found(train(values, places, no_check), values) == places).all()
