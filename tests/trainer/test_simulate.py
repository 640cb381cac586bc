"""The simulator: repeatable, of the asked shape, and with the traps that real products have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.trainer import simulate as simulation
from thematica.trainer.spectra import LANDSAT_BANDS, SENTINEL2_TEN_BANDS, WAVELENGTHS

SENSORS = {"sentinel2": SENTINEL2_TEN_BANDS, "landsat": LANDSAT_BANDS}


@settings(max_examples=15)
@given(sensor=st.sampled_from(sorted(SENSORS)), count=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_same_seed_same_pixels(sensor, count, seed):
    bands = SENSORS[sensor]
    pixels, labels = simulation.simulate(bands, count, seed)
    again, labels_again = simulation.simulate(bands, count, seed)
    np.testing.assert_array_equal(pixels, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert pixels.shape == (count, len(bands))
    assert pixels.dtype == np.float32
    assert np.isfinite(pixels).all()
    assert pixels.min() > -0.3
    assert pixels.max() < 2.5
    assert set(labels) <= set(range(len(simulation.CLASS_NAMES)))


@settings(max_examples=8)
@given(label=st.integers(0, 7), seed=st.integers(0, 10**6))
def test_shares_decide_which_classes_are_drawn(label, seed):
    shares = np.zeros(8)
    shares[label] = 3.0
    _, labels = simulation.simulate(LANDSAT_BANDS, 50, seed, shares)
    assert set(labels) == {label}


@pytest.mark.parametrize("cover", range(6))
def test_covers_are_varied_and_possible(cover):
    spectra = simulation.draw_cover(cover, 400, np.random.default_rng(1))
    assert spectra.shape == (400, WAVELENGTHS.size)
    assert spectra.min() >= 0
    assert spectra.max() < 1.6
    assert np.all(spectra.std(axis=0) > 0.001)


def test_the_traps_of_real_products_are_in_it():
    pixels, labels = simulation.simulate(SENTINEL2_TEN_BANDS, 20000, 3)
    water = pixels[labels == simulation.WATER]
    assert (water < 0).any(), "surface reflectance that was corrected too far"
    assert 0.08 < (water[:, -1] > 0.09).mean() < 0.3, "the offset of baseline 04.00, not removed"
    saturated = (pixels >= 1.6).any(axis=1)
    assert set(labels[saturated]) >= {simulation.CLOUD, simulation.SNOW}


def test_shadow_is_darker_than_what_lies_in_it():
    pixels, labels = simulation.simulate(SENTINEL2_TEN_BANDS, 20000, 4)
    near_infrared = 6
    shadow, green = (pixels[labels == label][:, near_infrared] for label in (simulation.SHADOW, simulation.GREEN))
    assert np.median(shadow) < 0.5 * np.median(green)
