"""The spectra: physically possible, and shaped as each cover is known to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.models.bands import Band
from thematica.trainer import spectra

BAND_NAMES = [band.name for band in spectra.SENTINEL2_TEN_BANDS]


def at_bands(curves: np.ndarray) -> dict[str, np.ndarray]:
    values = np.atleast_2d(curves) @ spectra.band_weights(spectra.SENTINEL2_TEN_BANDS).T
    return dict(zip(BAND_NAMES, values.T, strict=True))


@pytest.mark.parametrize("bands", [spectra.SENTINEL2_TEN_BANDS, spectra.LANDSAT_BANDS])
def test_a_flat_spectrum_stays_flat(bands):
    weights = spectra.band_weights(bands)
    assert weights.shape == (len(bands), spectra.WAVELENGTHS.size)
    np.testing.assert_allclose(weights @ np.full(spectra.WAVELENGTHS.size, 0.3), 0.3)


def test_a_sloping_spectrum_gives_the_centre_of_the_band():
    nm = spectra.WAVELENGTHS
    means = spectra.band_weights(spectra.SENTINEL2_TEN_BANDS) @ nm
    centres = np.array([band.wavelength * 1000 for band in spectra.SENTINEL2_TEN_BANDS])
    np.testing.assert_allclose(means, centres, atol=0.51)


def test_a_band_outside_the_grid_is_refused():
    with pytest.raises(ValueError, match="outside"):
        spectra.band_weights([Band("lwir", "lwir", 11.0, width=1.0)])


@pytest.mark.parametrize("group", ["green", "dry", "soil", "built", "water"])
def test_tabulated_spectra_are_reflectances(group):
    library = spectra.library(group)
    assert library.shape[1] == spectra.WAVELENGTHS.size
    assert library.min() >= 0
    assert library.max() <= 1
    # Looked up again and again, so nobody may change it.
    assert not library.flags.writeable


def test_every_material_names_a_known_source():
    import json

    content = json.loads(spectra.MATERIALS_FILE.read_text("utf-8"))
    assert {entry["source"] for entry in content["materials"]} <= set(spectra.SOURCES)
    assert {entry["kind"] for entry in content["materials"]} == {"published", "approximate"}


def test_green_canopies_have_a_red_edge_and_dry_ones_do_not():
    green, dry = at_bands(spectra.library("green")), at_bands(spectra.library("dry"))
    assert np.all(green["B8"] > 2 * green["B4"])
    assert np.median(dry["B8"] / dry["B4"]) < 4


@given(
    chlorophyll=st.floats(0.02, 300),
    sediment=st.floats(0.0, 800),
    yellow=st.floats(0.0, 15),
    more=st.floats(1, 200),
)
def test_water_is_dark_in_short_wave_infrared_and_brightens_with_sediment(chlorophyll, sediment, yellow, more):
    values = at_bands(spectra.water_reflectance([chlorophyll] * 2, [sediment, sediment + more], [yellow] * 2))
    assert all(np.all((band >= 0) & (band < 0.7)) for band in values.values())
    assert values["B11"].max() < 0.02
    assert values["B4"][1] > values["B4"][0]


@given(grain=st.floats(0.05, 12), coarser=st.floats(0.05, 5), soot=st.floats(0, 50))
def test_snow_darkens_with_grain_size_most_in_the_infrared(grain, coarser, soot):
    values = at_bands(spectra.snow_reflectance([grain, grain + coarser], [soot] * 2, [1.0] * 2))
    for band in BAND_NAMES:
        assert values[band][1] <= values[band][0] <= 1
    assert values["B11"][0] < values["B4"][0]


@given(depth=st.floats(0, 200), darkening=st.floats(0, 1.2), ground=st.floats(0, 0.9))
def test_cloud_reflects_no_more_than_it_receives_and_none_shows_the_ground(depth, darkening, ground):
    surface = np.full((1, spectra.WAVELENGTHS.size), ground)
    seen = spectra.cloud_reflectance([depth], [darkening], surface)
    assert np.all((seen >= 0) & (seen <= 1))
    np.testing.assert_allclose(spectra.cloud_reflectance([0.0], [darkening], surface), surface)
