"""The pixels that a live classifier is trained on."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from thematica.engine.labels.labels import Labels
from thematica.engine.live import training_pixels
from thematica.engine.live.training_pixels import TrainingPixels

from .scenes import CLASSES, ArraySource, no_check


def source(side: int = 600) -> ArraySource:
    """An image whose samples say where they are."""
    rows, columns = np.mgrid[:side, :side]
    return ArraySource(np.stack([rows, columns]).astype(np.uint16))


def drawn(*shapes: tuple[int, int, shapely.Geometry]) -> Labels:
    """Labels of (feature, place of the class, shape)."""
    return Labels(
        np.array([shape for _, _, shape in shapes], object),
        np.array([place for _, place, _ in shapes], np.int16),
        np.array([feature for feature, _, _ in shapes], np.int64),
        CLASSES,
    )


def places(samples) -> set[tuple[int, int, int, int]]:
    """Row, column, class and feature of each sample."""
    rows, columns = samples.values.astype(int).T
    return set(zip(rows.tolist(), columns.tolist(), samples.places.tolist(), samples.features.tolist(), strict=True))


def test_samples_are_the_pixels_of_the_shapes_with_their_classes() -> None:
    labels = drawn((5, 2, shapely.box(10, 20, 13, 22)), (-3, 0, shapely.Point(500.5, 300.5)))
    found = places(TrainingPixels(source()).read(labels, no_check))
    assert found == {(row, col, 2, 5) for row in (20, 21) for col in (10, 11, 12)} | {(300, 500, 0, -3)}


def test_pixels_that_two_classes_claim_or_that_have_no_data_are_left_out() -> None:
    image = source()
    image.mask = np.ones((600, 600), bool)
    image.mask[0, 0] = False
    labels = drawn((1, 0, shapely.box(0, 0, 4, 1)), (2, 1, shapely.box(3, 0, 6, 1)))
    assert places(TrainingPixels(image).read(labels, no_check)) == {
        (0, 1, 0, 1), (0, 2, 0, 1), (0, 4, 1, 2), (0, 5, 1, 2),
    }  # fmt: skip


def test_no_labels_are_no_samples() -> None:
    samples = TrainingPixels(source()).read(drawn(), no_check)
    assert (samples.values.shape, len(samples.places), len(samples.features)) == ((0, 2), 0, 0)


def test_an_edit_reads_only_what_it_changes() -> None:
    image = source()
    training = TrainingPixels(image)
    shapes = [(1, 0, shapely.box(10, 10, 20, 20)), (2, 1, shapely.box(300, 300, 310, 310))]
    training.read(drawn(*shapes), no_check)
    assert len(image.reads) == 2
    training.read(drawn(*shapes), no_check)
    assert len(image.reads) == 2
    changed = training.read(drawn(shapes[0], (2, 1, shapely.box(301, 300, 310, 310))), no_check)
    assert len(image.reads) == 3
    assert (300, 300, 1, 2) not in places(changed)


def test_a_class_that_is_inserted_before_changes_places_but_reads_nothing() -> None:
    image = source()
    training = TrainingPixels(image)
    labels = drawn((1, 0, shapely.box(10, 10, 20, 20)))
    labels.legend = CLASSES[1:]
    assert set(training.read(labels, no_check).places.tolist()) == {0}
    labels = drawn((1, 1, shapely.box(10, 10, 20, 20)))
    assert set(training.read(labels, no_check).places.tolist()) == {1}
    assert len(image.reads) == 1


def test_another_class_settles_anew_which_pixels_are_disputed() -> None:
    training = TrainingPixels(source())
    one, other = shapely.box(0, 0, 4, 1), shapely.box(3, 0, 6, 1)
    assert len(training.read(drawn((1, 0, one), (2, 1, other)), no_check).places) == 5
    assert len(training.read(drawn((1, 0, one), (2, 0, other)), no_check).places) == 6


def test_the_same_labels_give_the_same_samples_whatever_came_before() -> None:
    labels = drawn((1, 0, shapely.box(0, 0, 250, 250)), (2, 1, shapely.box(280, 100, 550, 500)))
    fresh = TrainingPixels(source()).read(labels, no_check)
    used = TrainingPixels(source())
    used.read(drawn((1, 1, shapely.box(40, 40, 300, 300))), no_check)
    again = used.read(labels, no_check)
    assert np.array_equal(fresh.values, again.values)
    assert np.array_equal(fresh.places, again.places)


def test_their_number_is_bounded_and_no_class_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_pixels, "_TILE", 16)
    monkeypatch.setattr(training_pixels, "_MOST_TILES", 20)
    monkeypatch.setattr(training_pixels, "_MOST_PIXELS", 10)
    image = source()
    everywhere = drawn(
        (1, 0, shapely.box(0, 0, 600, 590)),
        (2, 1, shapely.box(100, 595, 104, 599)),
        (3, 2, shapely.box(500, 592, 504, 596)),
    )
    samples = TrainingPixels(image).read(everywhere, no_check)
    assert len(image.reads) <= 20
    assert len(samples.places) <= 20 * 10
    assert set(samples.places.tolist()) == {0, 1, 2}
