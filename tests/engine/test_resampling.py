"""Samples at the pixels of another grid: as GDAL computes them, and never a missing one among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.warp import reproject

from thematica.engine.resampling import METHODS, resample_axes, resample_scattered, taps

from .networks import noise

# Side of a pixel in samples, and where the first one starts.
SHAPES = [(0.5, 0.0), (1 / 3, 0.0), (0.45, 1.3), (1.0, 0.35), (2.0, 0.0), (2.5, 1.0), (7.3, 0.4)]


def resampled(samples: np.ndarray, size: float, start: float, shape, method: str, valid=None, scattered=False):
    rows = start + size * (np.arange(shape[0]) + 0.5)
    columns = start + size * (np.arange(shape[1]) + 0.5)
    height, width = samples.shape[1:]
    if scattered:
        x, y = np.meshgrid(columns, rows)
        return resample_scattered(samples, valid, taps(y, size, height, method), taps(x, size, width, method), method)
    return resample_axes(samples, valid, taps(rows, size, height, method), taps(columns, size, width, method), method)


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "start"), SHAPES)
def test_gdal_computes_the_same(size: float, start: float, method: str, kind: str) -> None:
    samples = noise((2, 40, 50), kind, low=60, high=140)
    margin = int(np.ceil(3 / size))
    shape = int((38 - start) / size), int((48 - start) / size)
    found, valid = resampled(samples, size, start, shape, method)
    expected = np.zeros((2, *shape))
    reproject(
        samples.astype("float64"), expected, src_crs="EPSG:32632", dst_crs="EPSG:32632",
        src_transform=from_origin(900, 900, 1, 1), dst_transform=from_origin(900 + start, 900 - start, size, size),
        resampling=Resampling[method], tolerance=0,
    )  # fmt: skip
    assert valid is None
    assert found.dtype == kind
    # Whole numbers are rounded; at the border GDAL falls back from cubic to bilinear.
    tolerance = 0.5001 if kind.startswith(("u", "i")) else 1e-3
    inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
    assert np.abs(found - expected)[inner].max() <= tolerance
    if method in ("nearest", "bilinear", "average"):
        assert np.abs(found - expected).max() <= tolerance


@given(
    method=st.sampled_from(METHODS),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 999),
    scattered=st.booleans(),
    share=st.sampled_from([0.02, 0.3, 0.9]),
)
def test_missing_samples_take_no_part(method, shape, seed: int, scattered: bool, share: float) -> None:
    """What is known is 7 everywhere: whatever stands in the missing samples, 7 is all that comes out."""
    random = np.random.default_rng(seed)
    samples = np.full((2, 12, 14), 7.0, np.float32)
    valid = random.random(samples.shape) > share
    samples[~valid] = random.choice([np.nan, np.inf, -1e38, 3e4], int((~valid).sum()))
    size, start = shape
    found, there = resampled(samples, size, start, (9, 5), method, valid, scattered)
    there = np.ones(found.shape, bool) if there is None else there
    np.testing.assert_allclose(found[there], 7, rtol=1e-4)
    if method != "average":
        under = np.floor(start + size * (np.arange(9) + 0.5)).astype(int)
        beside = np.floor(start + size * (np.arange(5) + 0.5)).astype(int)
        on_edge = np.any([np.isclose(start + size * (np.arange(9) + 0.5) % 1, 0)])
        inside = (under < 12)[:, None] & (beside < 14)
        expected = valid[:, np.minimum(under, 11)][:, :, np.minimum(beside, 13)] & inside
        if not on_edge:
            np.testing.assert_array_equal(there, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_ways_give_the_same(method: str, shape: tuple[float, float]) -> None:
    samples = noise((2, 30, 30), "float32")
    valid = np.random.default_rng(1).random(samples.shape) > 0.2
    along, scattered = (resampled(samples, *shape, (5, 4), method, valid, way) for way in (False, True))
    np.testing.assert_array_equal(along[1], scattered[1])
    np.testing.assert_allclose(along[0][along[1]], scattered[0][scattered[1]], rtol=1e-4, atol=1e-3)


def test_a_pixel_half_covered_has_an_average() -> None:
    samples = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4)
    valid = np.ones((1, 4, 4), bool)
    valid[0, :2, :2] = [[True, False], [False, True]]
    valid[0, 2:, 2:] = [[True, False], [False, False]]
    found, there = resampled(samples, 2, 0, (2, 2), "average", valid)
    np.testing.assert_array_equal(there[0], [[True, True], [True, False]])
    assert found[0, 0, 0] == pytest.approx((0 + 5) / 2)


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("method", METHODS)
def test_the_limits_of_a_type_are_kept(kind: str, method: str) -> None:
    """Cubic overshoots, and large numbers have no float of their own."""
    limits = np.iinfo(kind)
    samples = np.full((1, 8, 8), limits.min, kind)
    samples[:, :, 4:] = limits.max
    found, _ = resampled(samples, 0.4, 0, (20, 20), method)
    assert found[0, 9, 0] == limits.min
    assert abs(int(found[0, 9, 19]) - limits.max) <= (2048 if kind.endswith("64") else 0)
    assert (np.diff(found[0, 9].astype(float)) >= 0).all() or method == "cubic"


def test_large_numbers_are_exact() -> None:
    samples = np.array([[[4_294_967_291, 4_294_967_293], [16_777_217, 16_777_219]]], np.uint32)
    found, _ = resampled(samples, 0.5, 0, (4, 4), "bilinear")
    assert found[0, 0, 0] == 4_294_967_291
    assert found[0, 3, 3] == 16_777_219


@pytest.mark.parametrize("method", METHODS)
def test_positions_outside_are_missing(method: str) -> None:
    samples = noise((1, 6, 6), "uint8")
    found, there = resampled(samples, 1.0, -2.0, (10, 10), method)
    assert found.shape == (1, 10, 10)
    expected = np.zeros((10, 10), bool)
    expected[2:8, 2:8] = True
    np.testing.assert_array_equal(there[0], expected)
    np.testing.assert_array_equal(found[0, 2:8, 2:8], samples[0])


@pytest.mark.parametrize("method", METHODS)
def test_rounding_leaves_no_rim(method: str) -> None:
    samples = noise((1, 6, 6), "uint8")
    found, there = resampled(samples, 1.0, 0.51, (6, 6), method)
    assert there is None
    if method != "cubic":
        assert found[0, 5, 5] == samples[0, 5, 5]
