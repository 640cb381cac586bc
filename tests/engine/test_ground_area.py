"""Areas are compared with geodesic polygons (pyproj's Geod: Karney 2013), which share no code with ours."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from thematica.engine.ground_area import PixelArea, ground_sampling_distance

pyproj = pytest.importorskip("pyproj")

# The whole ellipsoid: 2πa²(1 + (1 − e²)/e · artanh e).
EARTH_HECTARES = 5.10065621724e10

# CRS, then x and y of points that lie well inside what it maps.
PLACES = [
    ("EPSG:32632", 500_000, 5_400_000),  # UTM, on its central meridian
    ("EPSG:32632", 150_000, 7_800_000),  # UTM, beyond its zone
    ("EPSG:32701", 200_000, 8_000_000),  # across the antimeridian
    ("EPSG:3857", 1_000_000, 8_399_738),  # Web Mercator at 60° north
    ("EPSG:3857", -7_000_000, -2_000_000),
    ("EPSG:4326", 12.5, 61.0),
    ("EPSG:4326", 179.9, -45.0),
    ("EPSG:4326", 250.0, 10.0),  # longitudes up to 360°
    ("EPSG:3035", 4_321_000, 3_210_000),  # equal-area, Europe
    ("EPSG:2154", 700_000, 6_600_000),  # conformal conic, France
    ("EPSG:2263", 1_000_000, 200_000),  # conformal conic in feet, New York
    ("EPSG:3995", 0, 0),  # polar stereographic, on the pole
    ("EPSG:3031", 1_200_000, -900_000),  # polar stereographic, Antarctica
    ("ESRI:54030", 4_000_000, 3_000_000),  # Robinson
]


def pixel_size(crs: CRS, metres: float) -> float:
    return metres / 111_320 if crs.is_geographic else metres / crs.linear_units_factor[1]


def geodesic_hectares(crs: CRS, transform: Affine, row: float, col: float, height: float, width: float) -> float:
    """Area of a window, its edges followed closely."""
    steps = np.linspace(0, 1, 65)[:-1]
    columns = np.concatenate([steps, np.ones(64), 1 - steps, np.zeros(64)]) * width + col
    rows = np.concatenate([np.zeros(64), steps, np.ones(64), 1 - steps]) * height + row
    x, y = transform @ (columns, rows)
    to_degrees = pyproj.Transformer.from_crs(crs.to_wkt(), "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(x, y)
    return abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(longitude, latitude)[0]) / 1e4


def whole_of_one_code(crs: CRS, transform: Affine, width: int, height: int) -> float:
    area = PixelArea(crs, transform, width, height, [1, 255])
    area.accumulate(np.ones((height, width), np.uint8), 0, 0)
    assert area.counts == {1: width * height, 255: 0}
    assert area.hectares is not None
    assert area.hectares[255] == 0
    return area.hectares[1]


@settings(max_examples=60, deadline=None)
@given(
    place=st.sampled_from(PLACES),
    metres=st.sampled_from([1.0, 10.0, 30.0, 250.0, 1000.0]),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    degrees=st.sampled_from([0.0, 0.0, 17.0, 90.0, 200.0]),
    south_up=st.booleans(),
)
def test_area_equals_that_of_geodesic_polygons(place, metres, width, height, degrees, south_up):
    name, x, y = place
    crs = CRS.from_user_input(name)
    size = pixel_size(crs, metres)
    rotated = Affine.translation(x, y) @ Affine.rotation(degrees) @ Affine.scale(size, size if south_up else -size)
    transform = rotated @ Affine.translation(-width / 2, -height / 2)
    expected = geodesic_hectares(crs, transform, 0, 0, height, width)
    # Geodesic polygons are right to some 0.01 m².
    assert whole_of_one_code(crs, transform, width, height) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("place", PLACES)
def test_pixels_of_centimetres(place):
    name, x, y = place
    crs = CRS.from_user_input(name)
    coarse, fine = (
        whole_of_one_code(crs, Affine(size, 0, x - size * side / 2, 0, -size, y + size * side / 2), side, side)
        for size, side in ((pixel_size(crs, 10), 4), (pixel_size(crs, 0.05), 800))
    )
    assert fine == pytest.approx(coarse, rel=2e-6)


@settings(max_examples=40, deadline=None)
@given(
    place=st.sampled_from(PLACES),
    metres=st.sampled_from([10.0, 30.0, 300.0]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    block=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    data_type=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_whole_is_the_sum_of_its_blocks(place, metres, size, block, data_type, seed):
    name, x, y = place
    crs = CRS.from_user_input(name)
    height, width = size[0] * 8, size[1] * 8
    pixel = pixel_size(crs, metres)
    transform = Affine(pixel, 0, x, 0, -pixel, y)
    legend = [3, 0, 254, 255] if data_type == np.uint8 else [3, 0, 300, 65534, 65535]
    codes = np.random.default_rng(seed).choice(np.array(legend, data_type), (height, width))
    whole = PixelArea(crs, transform, width, height, legend)
    whole.accumulate(codes, 0, 0)
    parts = PixelArea(crs, transform, width, height, legend)
    for row in range(0, height, block[0] * 8):
        for col in range(0, width, block[1] * 8):
            parts.accumulate(codes[row : row + block[0] * 8, col : col + block[1] * 8], row, col)
    assert parts.counts == whole.counts == {code: int((codes == code).sum()) for code in legend}
    assert parts.hectares == pytest.approx(whole.hectares, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "transform", "width", "height"),
    [
        ("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 65), 1024, 3000),
        ("EPSG:4326", Affine(0.01, 0, 0, 0, -0.01, 90), 700, 500),
        ("EPSG:3857", Affine(20, 0, 1e6, 0, -20, 8.4e6), 700, 2000),
        ("EPSG:3995", Affine(1000, 0, -4e5, 0, -1000, 3e6), 500, 500),
    ],
)
def test_every_class_gets_the_area_of_its_own_place(name, transform, width, height):
    """Bands of code across the raster, where pixels of one end are larger than those of the other."""
    crs = CRS.from_string(name)
    edges = np.linspace(0, height, 9).astype(int)
    codes = np.repeat(np.arange(8, dtype=np.uint8), np.diff(edges))[:, None] * np.ones(width, np.uint8)
    area = PixelArea(crs, transform, width, height, range(8))
    for row in range(0, height, 512):
        for col in range(0, width, 512):
            area.accumulate(codes[row : row + 512, col : col + 512], row, col)
    assert area.hectares is not None
    for code, (top, bottom) in enumerate(pairwise(edges)):
        expected = geodesic_hectares(crs, transform, top, 0, bottom - top, width)
        assert area.hectares[code] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("degrees", [0.1, 1.0, 2.5])
def test_a_global_raster_has_the_area_of_the_earth(degrees):
    width, height = round(360 / degrees), round(180 / degrees)
    for left in (-180, 0):
        transform = Affine(degrees, 0, left, 0, -degrees, 90)
        assert whole_of_one_code(CRS.from_epsg(4326), transform, width, height) == pytest.approx(
            EARTH_HECTARES, rel=1e-4
        )


def test_beyond_the_edge_of_a_world_map_nothing_breaks():
    crs = CRS.from_user_input("ESRI:54009")  # Mollweide: an ellipse in the raster's rectangle
    transform = Affine(1e5, 0, -1.81e7, 0, -1e5, 9.1e6)
    area = PixelArea(crs, transform, 362, 182, [0])
    hectares = area.pixel_hectares(0, 0, 182, 362)
    assert hectares is not None
    assert np.isfinite(hectares).all()
    for row, col in ((90, 180), (30, 120), (150, 300)):
        assert hectares[row, col] == pytest.approx(geodesic_hectares(crs, transform, row, col, 1, 1), rel=1e-4)


def test_web_mercator_at_60_degrees_is_a_quarter():
    y = 8_399_737.9
    area = whole_of_one_code(CRS.from_epsg(3857), Affine(10, 0, 0, 0, -10, y + 500), 100, 100)
    # cos² 60° on a sphere; on the ellipsoid M · N / a² comes to it.
    squared_eccentricity = 0.00669437999
    ratio = 0.25 * (1 - squared_eccentricity) / (1 - squared_eccentricity * 0.75) ** 2
    assert area / 100 == pytest.approx(ratio, rel=1e-5)


def test_where_nothing_leads_to_the_ground_there_is_no_area():
    local = CRS.from_wkt('LOCAL_CS["site grid",UNIT["metre",1]]')
    utm = CRS.from_epsg(32632)
    north_up = Affine(10, 0, 5e5, 0, -10, 5e6)
    for crs, transform in ((None, north_up), (local, north_up), (utm, Affine.identity())):
        area = PixelArea(crs, transform, 40, 30, [0, 7])
        area.accumulate(np.full((30, 40), 7, np.uint8), 0, 0)
        assert area.hectares is None
        assert area.counts == {0: 0, 7: 1200}
        assert area.pixel_hectares(0, 0, 2, 2) is None
        assert ground_sampling_distance(crs, transform, 40, 30) is None


def test_ground_sampling_distance():
    north_up = Affine(10, 0, 5e5, 0, -10, 5e6)
    assert ground_sampling_distance(CRS.from_epsg(32632), north_up, 99, 99) == pytest.approx(10 / 0.9996, rel=1e-5)
    equator = Affine(0.001, 0, 0, 0, -0.001, 0.05)
    assert ground_sampling_distance(CRS.from_epsg(4326), equator, 100, 100) == pytest.approx(110.948, rel=1e-4)


def test_many_classes_are_counted_as_few():
    legend = range(60)
    codes = np.random.default_rng(1).integers(0, 60, (128, 128)).astype(np.uint8)
    area = PixelArea(None, Affine.identity(), 128, 128, legend)
    area.accumulate(codes, 0, 0)
    assert list(area.counts.values()) == np.bincount(codes.ravel(), minlength=60).tolist()


@pytest.mark.parametrize("side", [8, 512])
def test_a_code_of_no_class_is_a_fault(side):
    area = PixelArea(None, Affine.identity(), 512, 512, [0, 1, 300])
    codes = np.zeros((side, side), np.uint16)
    codes[3, 4] = 9
    with pytest.raises(ValueError, match=r"\[9\] belong to no class"):
        area.accumulate(codes, 0, 0)


def test_a_block_beyond_the_raster_is_a_fault():
    area = PixelArea(None, Affine.identity(), 100, 100, [0])
    with pytest.raises(ValueError, match="beyond the raster"):
        area.accumulate(np.zeros((10, 10), np.uint8), 95, 0)
