"""The sample of labelled pixels: bounded, fair, and the same in whatever pieces the pixels come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.engine.labels.labelled_sample import LabelledSample, Sampled, percentiles

from .labelled import Pixels, made

BYTES_PER_PIXEL = 4 * 2 + 48


def sample_of(pieces, most_bytes: int = 2**30) -> Sampled:
    sample = LabelledSample(most_bytes)
    for part in pieces:
        sample.add(part.values, part.places, part.shapes, part.rows, part.cols)
    return sample.result([(1.0, 0.0)] * 4)


def test_what_fits_is_kept_whole() -> None:
    pixels = made(np.random.default_rng(1), [2, 3])
    sampled = sample_of([pixels])
    assert [(group.place, group.shape, group.pixels) for group in sampled.groups] == [
        (0, 0, 60), (0, 1, 60), (1, 2, 60), (1, 3, 60), (1, 4, 60),
    ]  # fmt: skip
    for group in sampled.groups:
        assert group.weight == 1
        kept = sampled.values[group.start : group.stop]
        assert sorted(map(tuple, kept)) == sorted(map(tuple, pixels.values[pixels.shapes == group.shape]))


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), pieces=st.integers(1, 20), most=st.integers(1, 700))
def test_pieces_and_their_order_do_not_matter(seed: int, pieces: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = made(rng, [1, 2, 3], pixels=100)
    # Polygons of unlike sizes, and a class of a label raster.
    keep = rng.random(len(pixels)) < 1 / (1 + pixels.shapes)
    pixels = pixels[keep]
    pixels.shapes[pixels.places == 2] = -1
    whole = sample_of([pixels], most * BYTES_PER_PIXEL)
    pieced = sample_of(pixels.pieces(rng, pieces), most * BYTES_PER_PIXEL)
    assert pieced.groups == whole.groups
    np.testing.assert_array_equal(pieced.values, whole.values)
    assert len(whole.values) <= max(most, len(whole.groups))


def test_memory_is_bounded_and_small_polygons_stay_whole() -> None:
    rng = np.random.default_rng(1)
    sample = LabelledSample(1000 * BYTES_PER_PIXEL)
    pieces = 0
    for row in range(300):
        n = 1000
        shapes = np.where(np.arange(n) < 2, 7, row % 3).astype(np.int32)
        values = rng.integers(0, 100, (n, 4)).astype(np.int16)
        sample.add(values, np.zeros(n, np.int16), shapes, np.full(n, row), np.arange(n))
        pieces = max(pieces, sum(len(part[2]) for part in sample._pieces))
    assert pieces <= 2500
    groups = {group.shape: group for group in sample.result([(1.0, 0.0)] * 4).groups}
    assert sum(group.pixels for group in groups.values()) == 300_000
    # As many of each.
    assert {group.stop - group.start for group in groups.values()} == {250}
    assert groups[7].weight == pytest.approx(600 / 250)
    small = LabelledSample(100 * BYTES_PER_PIXEL)
    places = np.zeros(1000, np.int16)
    small.add(values, places, np.where(np.arange(1000) < 20, 1, 0).astype(np.int32), places, np.arange(1000))
    assert [(group.pixels, group.stop - group.start) for group in small.result([(1.0, 0.0)] * 4).groups] == [
        (980, 80), (20, 20),
    ]  # fmt: skip


def test_percentiles_are_numpys_and_physical() -> None:
    pixels = made(np.random.default_rng(1), [3], pixels=33)
    sampled = sample_of([pixels])
    scales = [(0.5, 1.0), (-0.1, 0.0), (1.0, 0.0), (2.0, -7.0)]
    sampled = Sampled(sampled.values, sampled.groups, scales)
    shares = (0.0, 0.05, 0.5, 0.95, 1.0)
    values = pixels.values * np.array(scales)[:, 0] + np.array(scales)[:, 1]
    np.testing.assert_allclose(
        percentiles(sampled, sampled.groups, shares), np.percentile(values, np.array(shares) * 100, axis=0)
    )
    one = sampled.groups[1]
    np.testing.assert_allclose(
        percentiles(sampled, [one], [0.25]), [np.percentile(values[pixels.shapes == 1], 25, axis=0)]
    )


def test_a_thinned_sample_speaks_for_all() -> None:
    """A large polygon counts as many pixels as it has, though no more of it is kept than of a small one."""
    rng = np.random.default_rng(1)
    n = 200_000
    shapes = (np.arange(n) >= 190_000).astype(np.int32)
    values = np.where(shapes[:, None] == 1, 500, 100) + rng.normal(0, 10, (n, 4))
    pixels = Pixels(values.astype(np.int16), np.zeros(n, np.int16), shapes, np.arange(n) // 500, np.arange(n) % 500)
    sampled = sample_of(pixels.pieces(rng, 20), 8000 * BYTES_PER_PIXEL)
    assert len(sampled.values) == 8000
    found = percentiles(sampled, sampled.groups, (0.05, 0.5, 0.9))
    np.testing.assert_allclose(found, np.percentile(pixels.values, [5, 50, 90], axis=0), atol=2)


def test_one_pixel_is_its_own_percentile() -> None:
    pixels = made(np.random.default_rng(1), [1], pixels=1)
    sampled = sample_of([pixels])
    np.testing.assert_array_equal(percentiles(sampled, sampled.groups, (0.05, 0.95)), [pixels.values[0]] * 2)


def test_nothing_is_sampled_of_nothing() -> None:
    sampled = sample_of([])
    assert len(sampled.groups) == 0
    assert sampled.values.shape == (0, 4)
