"""The figures of labelled pixels: the same in any pieces, physical, and with the warnings that they call for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.engine.labels.figures import LabelFigures
from thematica.engine.labels.labels import Finding, Labels

from .labelled import Pixels, bands_of, legend_of, made

SCALES = [(0.0001, 0.0), (0.0002, -0.1), (1.0, 0.0), (-1.0, 3.0)]


def figures_of(pieces, classes: int, scales=SCALES, data_type="int16", **more) -> dict:
    figures = LabelFigures(bands_of(len(scales)), scales, data_type, legend_of(classes))
    for part in pieces:
        figures.add(part)
    result = figures.result(**more)
    # NaN and infinity are no JSON.
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def assert_alike(one: object, other: object) -> None:
    """The same but for rounding."""
    if isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, list):
        assert isinstance(other, list)
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_alike(a, b)
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-7, abs=1e-9)
    else:
        assert one == other


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), pieces=st.integers(1, 12), apart=st.floats(0.5, 6))
def test_any_pieces_give_what_one_go_gives(seed: int, pieces: int, apart: float) -> None:
    rng = np.random.default_rng(seed)
    pixels = made(rng, [3, 1, 4], apart=apart)
    pixels = pixels[rng.random(len(pixels)) < 0.7]
    assert_alike(figures_of([pixels], 4), figures_of(pixels.pieces(rng, pieces), 4))


def test_amounts_and_spectra_are_those_of_the_physical_values() -> None:
    pixels = made(np.random.default_rng(1), [3, 2])
    pixels.missing = 7
    found = figures_of([pixels], 3)
    assert found["pixels"] == 300
    assert found["unlabelled_missing"] == 7
    assert [entry["name"] for entry in found["bands"]] == ["B1", "B2", "B3", "B4"]
    assert [(c["code"], c["name"], c["polygons"], c["pixels"]) for c in found["classes"]] == [
        (1, "class 0", 3, 180), (4, "class 1", 2, 120), (7, "class 2", 0, 0),
    ]  # fmt: skip
    for place, entry in enumerate(found["classes"][:2]):
        values = pixels.values[pixels.places == place] * np.array(SCALES)[:, 0] + np.array(SCALES)[:, 1]
        np.testing.assert_allclose(entry["mean"], values.mean(axis=0))
        np.testing.assert_allclose(entry["std"], values.std(axis=0, ddof=1))
        np.testing.assert_allclose(entry["p05"], np.percentile(values, 5, axis=0))
        np.testing.assert_allclose(entry["p95"], np.percentile(values, 95, axis=0))
        assert entry["hectares"] is None
    # A class without pixels has no spectrum, and is in no pair.
    assert found["classes"][2]["mean"] == []
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [(1, 4)]


def test_scale_and_offset_leave_separability_as_it_is() -> None:
    pixels = made(np.random.default_rng(1), [3, 3, 3], apart=1)
    stored, scaled = (figures_of([pixels], 3, scales)["pairs"] for scales in ([(1.0, 0.0)] * 4, SCALES))
    assert_alike(stored, scaled)
    assert len(stored) == 3


def test_polygons_have_the_numbers_of_their_layer() -> None:
    pixels = made(np.random.default_rng(1), [4, 4])
    pixels.places[pixels.shapes == 2] = 1
    features = np.array([-5, 10, 11, 12, 13, 14, 15, 16, 99])
    places = np.array([0, 0, 1, 0, 1, 1, 1, 1, 1], np.int16)
    labels = Labels(np.full(9, None, object), places, features, legend_of(2))
    found = figures_of([pixels], 2, labels=labels)
    assert [(entry["feature"], entry["code"], entry["looks_like"]) for entry in found["lookalikes"]] == [(11, 4, 1)]
    # The last polygon holds no pixel, but is drawn.
    assert [entry["polygons"] for entry in found["classes"]] == [3, 6]


def warned(found: dict) -> dict[str, dict]:
    return {entry["code"]: entry for entry in found["warnings"]}


def test_good_labels_give_no_warning() -> None:
    assert figures_of([made(np.random.default_rng(1), [3, 4, 5])], 3)["warnings"] == []


def test_what_is_wrong_with_amounts_is_told() -> None:
    rng = np.random.default_rng(1)
    pixels = made(rng, [20, 2, 1, 3], pixels=40)
    few = (pixels.places != 3) | (rng.random(len(pixels)) < 0.2)
    few_pixels = int((pixels.places[few] == 3).sum())
    assert 0 < few_pixels < 40
    found = warned(figures_of([pixels[few]], 5))
    assert set(found) == {"empty-class", "few-samples", "few-polygons", "one-polygon", "imbalance"}
    assert found["empty-class"]["classes"] == [13]
    assert found["few-samples"]["classes"] == [10]
    assert found["few-samples"]["message"] == (
        f"“class 3” ({few_pixels} pixels) has fewer than 10 pixels for each of 4 bands (40): figures are rough there; "
        "draw more."
    )
    assert found["few-polygons"]["classes"] == [4]
    assert found["one-polygon"]["classes"] == [7]
    assert found["one-polygon"]["features"] == [22]
    assert found["imbalance"]["classes"] == [1, 7, 10]


def test_tenfold_is_not_out_of_balance() -> None:
    assert "imbalance" not in warned(figures_of([made(np.random.default_rng(1), [30, 3])], 2))
    assert "imbalance" in warned(figures_of([made(np.random.default_rng(1), [31, 3])], 2))


def test_pairs_that_overlap_are_told_by_how_much() -> None:
    rng = np.random.default_rng(1)
    n = 3000
    places = np.repeat([0, 1, 2], n).astype(np.int16)
    # Distances of 1 and of 4 standard deviations: JM = 2 (1 − e^(−1/8)) and 2 (1 − e^(−16/8)).
    values = rng.normal(0, 100, (3 * n, 1)) + np.array([0, 100, 500])[places][:, None]
    pixels = Pixels(
        values.round().astype(np.int16), places, np.arange(3 * n, dtype=np.int32) // 1000, np.arange(3 * n), places * 0
    )
    found = figures_of([pixels], 3, SCALES[:1])
    assert {(entry["code"], *entry["classes"]) for entry in found["warnings"]} == {
        ("inseparable", 1, 4), ("poorly-separable", 4, 7),
    }  # fmt: skip
    assert "Jeffries–Matusita 0.2" in found["warnings"][0]["message"]
    # The worst is named first.
    assert found["warnings"][0]["code"] == "inseparable"


def test_of_many_overlapping_pairs_not_each_fills_the_dock() -> None:
    pixels = made(np.random.default_rng(1), [3] * 8, apart=0)
    found = [entry for entry in figures_of([pixels], 8)["warnings"] if "separable" in entry["code"]]
    assert len(found) == 11
    assert "18 further pairs" in found[-1]["message"]


def test_one_class_and_none() -> None:
    pixels = made(np.random.default_rng(1), [3])
    found = warned(figures_of([pixels], 2))
    assert found["one-class"]["classes"] == [1]
    nothing = figures_of([], 2)
    assert nothing["pixels"] == 0
    assert nothing["pairs"] == []
    assert [entry["code"] for entry in nothing["warnings"]] == ["empty-class"]
    assert figures_of([], 0)["classes"] == []


def test_one_pixel_per_class_is_no_fault() -> None:
    found = figures_of([made(np.random.default_rng(1), [1, 1], pixels=1)], 2)
    assert found["pairs"] == []
    assert found["classes"][0]["std"] == [0, 0, 0, 0]


def test_a_raster_of_labels_has_no_polygons_to_be_few() -> None:
    pixels = made(np.random.default_rng(1), [1, 1], pixels=200)
    pixels.shapes[:] = -1
    found = figures_of([pixels], 2)
    assert found["warnings"] == []
    assert [entry["polygons"] for entry in found["classes"]] == [0, 0]


def test_points_are_not_called_polygons() -> None:
    pixels = made(np.random.default_rng(1), [3, 1], pixels=60)
    points = pixels[np.append(np.arange(180), [180, 181])]
    points.shapes = np.append(points.shapes[:180], [3, 4]).astype(np.int32)
    assert "in 2 points only" in warned(figures_of([points], 2))["few-polygons"]["message"]


def test_what_was_met_while_reading_is_told_but_nothing_twice() -> None:
    findings = [Finding("repaired", "One polygon was repaired.", (3,)), Finding("few-samples", "By other rules.")]
    pixels = made(np.random.default_rng(1), [3, 3])
    pixels.missing = 4
    found = figures_of([pixels], 2, findings=findings)["warnings"]
    assert [(entry["code"], entry["features"]) for entry in found] == [("missing", []), ("repaired", [3])]


@pytest.mark.parametrize("data_type", ["uint8", "uint16", "int32", "float32", "float64"])
def test_any_type_of_samples(data_type: str) -> None:
    pixels = made(np.random.default_rng(1), [3, 3])
    pixels.values = (pixels.values // 10 % 256).astype(data_type)
    found = figures_of([pixels], 2, [(1.0, 0.0)] * 4, data_type)
    np.testing.assert_allclose(
        found["classes"][0]["mean"], pixels.values[pixels.places == 0].astype(float).mean(axis=0)
    )


@pytest.mark.parametrize("missing", [np.nan, np.inf, -1.7e308])
def test_what_is_no_measurement_does_not_count(missing: float) -> None:
    pixels = made(np.random.default_rng(1), [3, 3], data_type="float64")
    expected = figures_of([pixels[np.arange(len(pixels)) != 5]], 2, data_type="float64")
    pixels.values[5, 2] = missing
    found = figures_of([pixels], 2, data_type="float64")
    assert found["unlabelled_missing"] == 1
    assert found["warnings"].pop()["code"] == "missing"
    assert_alike({**expected, "unlabelled_missing": 1}, found)
