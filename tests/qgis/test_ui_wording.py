"""Numbers, times, bands and models in words; and what the fit looks like band by band."""

from __future__ import annotations

import pytest

from thematica.models.bands import SENSORS, Band, parse_band_option
from thematica.models.card import ModelCard, ModelClass
from thematica.models.fit import RasterFacts
from thematica.ui.fitting import band_keys, band_option, raster_band_labels, view_fit
from thematica.ui.wording import (
    band_label,
    duration_label,
    for_dialog,
    model_summary,
    number_label,
    progress_label,
    wavelength_label,
)

CLASSES = [ModelClass(0, "Wasser & <Eis>", "#0000ff"), ModelClass(1, "Wald", "#00ff00")]


def card(bands, **more):
    return ModelCard("m", more.pop("task", "pixel"), bands, CLASSES, **more)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.2, "1 min 0 s"), (12.3, "13 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds, text):
    assert duration_label(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0001, "0.0001"), (-0.1, "-0.1"), (0, "0"), (11250.0, "11250"), (2.75e-5, "2.75e-05")]
)
def test_numbers(value, text):
    assert number_label(value) == text


def test_progress_says_only_what_is_known():
    assert progress_label({"stage": "Reading", "pixels_per_second": None, "seconds_left": None}) == "Reading"
    event = {"stage": "Classifying", "pixels_per_second": 1.2e8, "seconds_left": 61}
    assert progress_label(event) == "Classifying · 120 Mpx/s · 1 min 1 s left"


def test_bands():
    assert band_label(Band("B8A", "nir08", 0.865)) == "B8A · nir08"
    assert band_label(Band("blue", "blue")) == "blue"
    assert wavelength_label(Band("B8A", "", 0.8647)) == "865 nm"
    assert wavelength_label(Band("thermal", "", 11.45)) == "11.4 µm"
    assert wavelength_label(Band("x")) == ""


def test_sentences_lose_the_shells_options():
    assert for_dialog("Set scale and offset (--scale, --offset) to match.") == "Set scale and offset to match."
    assert (
        for_dialog("assign them with --bands MODELBAND=RASTERBAND,… or choose") == "assign them in the table or choose"
    )
    assert for_dialog("use --scale 0.0001 --offset -0.1.") == "use scale 0.0001 offset -0.1."
    assert for_dialog("describe it with a model card (--card).") == "describe it with a model card."


def test_the_summary_is_safe_for_any_class_name():
    text = model_summary(card([Band("1")]))
    assert "Wasser &amp; &lt;Eis&gt;" in text
    assert "carries no model card" in text


def raster(count, names=(), path="x.tif"):
    bands = [Band(names[i] if i < len(names) else "") for i in range(count)]
    return RasterFacts(path, bands, "float32", [1.0] * count, [0.0] * count)


def test_what_is_there_is_shown_beside_what_is_missing():
    fit = view_fit(card(list(SENSORS["sentinel2-4"])), [raster(3, ("B2", "B4", "B8"))])
    assert not fit.fits
    assert [match.band if match else None for match in fit.matches] == [1, None, 2, 3]


def test_a_choice_by_hand_is_kept_while_another_band_is_missing():
    fit = view_fit(card(list(SENSORS["sentinel2-4"])), [raster(3, ("B2", "?", "B8"))], {"B3": (1, 2)})
    assert not fit.fits
    assert [match.band if match else None for match in fit.matches] == [1, 2, None, 3]


@pytest.mark.parametrize("task", ["pixel", "window", "segmentation", "patch", "patch-multilabel"])
def test_these_tasks_are_served(task):
    assert view_fit(card([Band("1")], task=task), [raster(1)]).fits


def test_change_between_dates_is_refused_with_a_sentence():
    fit = view_fit(card([Band("1")], task="change"), [raster(1)])
    assert not fit.fits
    assert "choose a model" in fit.sentence


def test_band_assignments_survive_the_command_line():
    bands = [Band("B4"), Band("a,b"), Band("x=y"), Band("same"), Band("same"), Band("")]
    keys = band_keys(bands)
    assert keys == ["B4", "2", "3", "4", "5", "6"]
    assigned = {key: (1, number) for number, key in enumerate(keys, start=1)}
    assert parse_band_option(band_option(assigned)) == assigned


def test_raster_bands_are_called_by_name_or_by_the_sensors_order():
    assert raster_band_labels(raster(2, ("red", ""))) == ["1: red", "Band 2"]
    assert raster_band_labels(raster(4), "sentinel2-4") == ["1: B2", "2: B3", "3: B4", "4: B8"]
    assert raster_band_labels(raster(1, ("Band 1",))) == ["Band 1"]
