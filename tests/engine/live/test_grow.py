"""Region growing against its definition, walked pixel by pixel."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize

from thematica.engine.live import grow
from thematica.engine.live.grow import Region, RegionGrower, band_spread, filled, spectral_distance

from .scenes import ArraySource, no_check, stripes

_STEPS = {4: [(0, 1), (0, -1), (1, 0), (-1, 0)]}
_STEPS[8] = _STEPS[4] + [(1, 1), (1, -1), (-1, 1), (-1, -1)]


def walked(inside: np.ndarray, seed: tuple[int, int], connectivity: int) -> np.ndarray:
    """What can be reached from the seed, pixel by pixel."""
    region = np.zeros(inside.shape, bool)
    region[seed] = True
    queue = deque([seed])
    while queue:
        row, col = queue.popleft()
        for down, right in _STEPS[connectivity]:
            place = row + down, col + right
            is_there = 0 <= place[0] < inside.shape[0] and 0 <= place[1] < inside.shape[1]
            if is_there and inside[place] and not region[place]:
                region[place] = True
                queue.append(place)
    return region


def whole(source: ArraySource, region: Region) -> np.ndarray:
    """A region as a mask of the whole image."""
    mask = np.zeros((source.height, source.width), bool)
    height, width = region.mask.shape
    mask[region.row : region.row + height, region.col : region.col + width] = region.mask
    return mask


@st.composite
def growing(draw) -> tuple[ArraySource, tuple[int, int], float, int]:
    """A small image with areas that are alike, a seed, a tolerance and a connectivity."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    samples = random.integers(0, draw(st.sampled_from([2, 4, 1000])), (draw(st.integers(1, 3)), height, width))
    valid = random.random((height, width)) > 0.2 if draw(st.booleans()) else None
    seed = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    if valid is not None:
        valid[seed] = True
    return ArraySource(samples.astype(np.float32), valid), seed, draw(st.floats(0, 100)), draw(st.sampled_from([4, 8]))


@given(growing())
def test_a_region_is_all_that_is_within_the_tolerance_and_connected_with_the_seed(case) -> None:
    source, seed, tolerance, connectivity = case
    region = RegionGrower(source).grow(*seed, tolerance, no_check, connectivity=connectivity)
    row, col = seed
    around = np.s_[max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2]
    valid = np.ones((source.height, source.width), bool) if source.mask is None else source.mask
    spectrum = source.samples[(slice(None), *around)][:, valid[around]].mean(axis=1, dtype=float)
    distance = spectral_distance(source.samples, spectrum, band_spread(source, no_check))
    inside = (distance <= grow._distance_at(grow.level_of(tolerance))) & valid
    inside[seed] = True
    assert np.array_equal(whole(source, region), walked(inside, seed, connectivity))
    assert region.pixels == whole(source, region).sum()
    assert not region.limited


@given(growing(), st.lists(st.floats(0, 100), min_size=1, max_size=4), st.integers(1, 30))
def test_a_higher_tolerance_never_gives_less(case, tolerances: list[float], most: int) -> None:
    """Also where a region may have no more than so many pixels, and whatever was looked at before."""
    source, seed, _, connectivity = case
    grower = RegionGrower(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grow, "_FIRST_REACH", 1)
        regions = [
            whole(source, grower.grow(*seed, tolerance, no_check, most, connectivity))
            for tolerance in sorted(tolerances)
        ]
        for tolerance, region in zip(sorted(tolerances), regions, strict=True):
            fresh = RegionGrower(source).grow(*seed, tolerance, no_check, most, connectivity)
            assert np.array_equal(whole(source, fresh), region)
    for smaller, larger in pairwise(regions):
        assert not (smaller & ~larger).any()
    for region in regions:
        assert region[seed]
        assert region.sum() <= most
        assert np.array_equal(walked(region, seed, connectivity), region)


@given(growing())
def test_the_window_that_is_looked_at_first_does_not_matter(case) -> None:
    source, seed, tolerance, connectivity = case
    wide = RegionGrower(source).grow(*seed, tolerance, no_check, connectivity=connectivity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grow, "_FIRST_REACH", 1)
        narrow = RegionGrower(source).grow(*seed, tolerance, no_check, connectivity=connectivity)
    assert np.array_equal(whole(source, wide), whole(source, narrow))


@given(growing(), st.integers(0, 10))
def test_the_outline_covers_the_regions_pixels_and_no_others(case, holes: int) -> None:
    source, seed, tolerance, connectivity = case
    region = RegionGrower(source).grow(*seed, tolerance, no_check, connectivity=connectivity, fill_holes=holes)
    outline = region.outline(connectivity)
    assert outline.is_valid
    assert outline.area == region.pixels
    mask = rasterize([outline], (source.height, source.width)).astype(bool)
    assert np.array_equal(mask, whole(source, region))
    if connectivity == 4:
        assert outline.geom_type == "Polygon"


@given(growing(), st.integers(0, 20))
def test_only_holes_up_to_a_size_are_filled(case, most: int) -> None:
    source, seed, tolerance, connectivity = case
    grower = RegionGrower(source)
    region = whole(source, grower.grow(*seed, tolerance, no_check, connectivity=connectivity))
    full = filled(region, most, connectivity)
    assert not (region & ~full).any()
    outside = np.pad(~region, 1, constant_values=True)
    open_air = walked(outside, (0, 0), 12 - connectivity)[1:-1, 1:-1]
    for place in map(tuple, np.argwhere(~region)):
        hole = walked(~region, place, 12 - connectivity)
        assert full[place] == (not open_air[place] and hole.sum() <= most)


def test_a_stripe_is_found_whatever_the_sensors_numbers_are() -> None:
    samples, stripe = stripes(bands=5, data_type="float64")
    for scale, offset in ((1, 0), (1e-4, 0), (50, -30_000)):
        region = RegionGrower(ArraySource(samples * scale + offset)).grow(30, 30, 35, no_check)
        assert (whole(ArraySource(samples), region) == (stripe == 1)).mean() > 0.99


def test_no_data_is_no_seed_and_no_bridge() -> None:
    samples = np.zeros((1, 5, 9), np.float32)
    valid = np.ones((5, 9), bool)
    valid[:, 4] = False
    grower = RegionGrower(ArraySource(samples, valid))
    assert grower.grow(2, 4, 50, no_check) is None
    assert grower.grow(2, -1, 50, no_check) is None
    region = grower.grow(2, 2, 100, no_check)
    assert (region.pixels, region.row, region.col, region.mask.shape) == (20, 0, 0, (5, 4))


def test_moving_the_tolerance_reads_nothing_again() -> None:
    source = ArraySource(stripes(side=90)[0])
    grower = RegionGrower(source)
    grower.grow(30, 30, 20, no_check)
    before = len(source.reads)
    for tolerance in (25, 60, 5):
        grower.grow(30, 30, tolerance, no_check)
    assert len(source.reads) == before


def test_a_region_that_goes_on_and_on_ends_at_the_largest_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grow, "_FIRST_REACH", 4)
    monkeypatch.setattr(grow, "_LAST_REACH", 20)
    source = ArraySource(np.zeros((2, 100, 100), np.uint8))
    region = RegionGrower(source).grow(50, 50, 10, no_check)
    assert region.limited
    assert (region.row, region.col, region.mask.shape, region.pixels) == (30, 30, (41, 41), 41 * 41)


def test_what_is_all_alike_is_cut_to_a_square_around_the_click() -> None:
    source = ArraySource(np.zeros((2, 50, 50), np.uint8))
    region = RegionGrower(source).grow(25, 25, 10, no_check, most_pixels=100)
    assert region.limited
    assert region.pixels == 81
    assert (region.row, region.col) == (21, 21)


def test_a_click_in_a_corner_or_on_a_single_pixel() -> None:
    source = ArraySource(np.array([[[5]]], np.uint8))
    region = RegionGrower(source).grow(0, 0, 0, no_check)
    assert region.outline(4).equals(shapely.box(0, 0, 1, 1))


def test_an_image_without_any_data_or_of_one_value_has_a_spread_all_the_same() -> None:
    nothing = ArraySource(np.zeros((2, 8, 8), np.uint8), np.zeros((8, 8), bool))
    assert band_spread(nothing, no_check).tolist() == [1, 1]
    assert band_spread(ArraySource(np.full((2, 8, 8), 7, np.uint8)), no_check).tolist() == [1, 1]
