"""The map's grid, and where its pixels lie in rasters on other grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rasterio import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.warp import transform as transform_points

from thematica.engine.grid import Grid, PixelMapping, output_grid, project
from thematica.errors import InputError

UTM32, UTM33, DEGREES, MERCATOR = (CRS.from_epsg(code) for code in (32632, 32633, 4326, 3857))


def grid(
    resolution: float = 10, width: int = 60, height: int = 48, x: float = 500_000, y: float = 5_500_000, crs=UTM32
):
    return Grid(crs, from_origin(x, y, resolution, resolution), width, height)


def made(*grids: Grid, gsd: float | None = None) -> Grid:
    return output_grid(grids, [f"{number}.tif" for number in range(len(grids))], gsd)


def test_rasters_on_one_grid_keep_it() -> None:
    assert made(grid(), grid()) == grid()
    # Rounding in the files' headers is no other grid.
    assert made(grid(), grid(x=500_000.00001)) == grid()


@pytest.mark.parametrize("order", [(10, 20, 60), (60, 20, 10), (20, 10, 60)])
def test_the_finest_pixels_are_kept_whatever_the_order(order: tuple[int, ...]) -> None:
    """A Sentinel-2 tile: three resolutions, one extent."""
    grids = [grid(size, 120 * 10 // size, 60 * 10 // size) for size in order]
    assert made(*grids) == grid(10, 120, 60)


def test_the_map_reaches_as_far_as_all_rasters_do() -> None:
    scene, elevation = grid(10, 100, 80), grid(30, 20, 20, x=500_195, y=5_499_905)
    result = made(scene, elevation)
    # Centres from 500 195 on: the pixel that starts at 500 190 has its centre on the edge.
    assert (result.transform.c, result.transform.f) == (500_190, 5_499_910)
    assert (result.width, result.height) == (61, 61)
    assert result.crs == UTM32


@given(
    sizes=st.lists(st.sampled_from([5.0, 10.0, 20.0, 25.0]), min_size=2, max_size=3),
    offsets=st.lists(st.integers(-300, 300), min_size=6, max_size=6),
    gsd=st.sampled_from([None, 4.0, 10.0, 33.0]),
)
def test_all_rasters_cover_the_centres_of_all_pixels_and_of_no_others(sizes, offsets, gsd) -> None:
    grids = [
        grid(size, round(2000 / size), round(1500 / size), 500_000 + offsets[2 * i], 5_500_000 + offsets[2 * i + 1])
        for i, size in enumerate(sizes)
    ]
    result = made(*grids, gsd=gsd)

    def covered(column: float, row: float) -> bool:
        x, y = result.transform @ (column, row)
        edge = 0.02 * result.transform.a
        boxes = [(*(entry.transform @ (0, entry.height)), *(entry.transform @ (entry.width, 0))) for entry in grids]
        return all(
            left - edge <= x <= right + edge and bottom - edge <= y <= top + edge for left, bottom, right, top in boxes
        )

    right, bottom = result.width - 0.5, result.height - 0.5
    assert covered(0.5, 0.5)
    assert covered(right, bottom)
    inner = 0.05
    for column, row in ((-0.5 - inner, 0.5), (0.5, -0.5 - inner), (right + 1 + inner, 0.5), (0.5, bottom + 1 + inner)):
        assert not covered(column, row)
    # Where the size was not asked for, the map's pixels are those of the finest raster.
    if gsd is None:
        finest = min(grids, key=lambda entry: entry.transform.a)
        assert PixelMapping(result, finest).shift is not None


def test_of_another_crs_the_size_counts_and_the_first_gives_the_crs() -> None:
    x, y = transform_points(UTM32, DEGREES, [500_000], [5_500_000])
    coarse = Grid(DEGREES, from_origin(x[0] - 0.001, y[0] + 0.001, 0.0005, 0.0005), 40, 40)
    fine = grid(10, 300, 300)
    result = made(coarse, fine)
    assert result.crs == DEGREES
    assert result.gsd == pytest.approx(10, rel=0.01)
    # The corner lies on the first raster's own: whole pixels of it are cut into parts.
    assert made(fine, coarse).transform.a == 10
    assert made(fine, coarse).crs == UTM32


@pytest.mark.parametrize(("asked", "side"), [(20, 20), (10, 10), (10.02, 10), (5, 5), (15, 15), (60, 60)])
def test_metres_of_utm_are_metres(asked: float, side: float) -> None:
    """On the ellipsoid 10 m of UTM measure 9.996 m; nobody wants pixels of 10.004 m."""
    result = made(grid(10, 600, 600), gsd=asked)
    assert result.transform.a == pytest.approx(side, abs=1e-9)
    assert result.width == 6000 // side
    assert (result.transform.c, result.transform.f) == (500_000, 5_500_000)


@pytest.mark.parametrize("crs", [DEGREES, MERCATOR])
def test_metres_are_those_on_the_ground(crs: CRS) -> None:
    x, y = transform_points(DEGREES, crs, [10.0], [60.0])
    side = 0.0002 if crs == DEGREES else 20.0
    start = Grid(crs, from_origin(x[0], y[0], side, side), 400, 400)
    result = made(start, gsd=30)
    assert result.gsd == pytest.approx(30, rel=1e-3)
    assert start.gsd == pytest.approx(22.3 * math.sqrt(0.5) if crs == DEGREES else 10, rel=0.01)


def test_feet_are_no_metres() -> None:
    feet = Grid(CRS.from_epsg(2263), from_origin(1_000_000, 200_000, 10, 10), 300, 300)
    assert made(feet, gsd=6.096).transform.a == pytest.approx(20, rel=1e-4)


@pytest.mark.parametrize("turn", [Affine.scale(1, -1), Affine.rotation(25)])
def test_south_up_and_rotated_grids_stay_what_they_are(turn: Affine) -> None:
    start = Grid(UTM32, Affine.translation(500_000, 5_500_000) @ turn @ Affine.scale(10, -10), 60, 48)
    assert made(start) == start
    coarse = Grid(UTM32, start.transform @ Affine.scale(2), 30, 24)
    assert made(coarse, start) == start
    halved = made(start, gsd=20)
    assert halved.transform.almost_equals(coarse.transform)
    assert (halved.width, halved.height) == (30, 24)


# Refusals


@pytest.mark.parametrize(
    ("grids", "gsd", "words"),
    [
        ([grid(), grid(x=900_000)], None, "0.tif.*1.tif.*do not overlap"),
        ([grid(), grid(crs=CRS.from_epsg(32733), y=9e6)], None, "do not overlap"),
        ([grid(), grid(20, crs=None)], None, "1.tif.*has no CRS"),
        ([grid(20, crs=None), grid()], None, "0.tif.*has no CRS"),
        ([grid(), Grid(None, Affine.identity(), 10, 10)], None, "1.tif.*not georeferenced"),
        ([Grid(None, Affine.identity(), 10, 10)], 10, "not georeferenced.*--gsd"),
        ([grid(crs=None)], 10, "no CRS.*--raster-crs"),
        ([grid()], 1e-3, "pixels.*--gsd"),
        ([grid()], 1e-300, "pixels.*--gsd"),
        ([grid()], 1e4, "Not even one pixel"),
        ([grid(), grid(x=500_597)], None, "less than a pixel"),
    ],
)
def test_rasters_that_cannot_be_laid_over_each_other(grids: list[Grid], gsd: float | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(*grids, gsd=gsd)


def test_a_large_raster_is_no_reason_to_refuse() -> None:
    """The limit is on pixels that somebody asked for, not on those that are there."""
    huge = grid(1, 100_000, 100_000)
    assert made(huge) == huge
    assert made(huge, grid(2, 50_000, 50_000)).width == 100_000


def test_no_crs_at_all_is_one_crs() -> None:
    assert made(grid(crs=None), grid(20, 30, 24, crs=None)) == grid(crs=None)


# Positions

PAIRS = [
    (grid(10, 500, 400), grid(10, 500, 400, x=700_000, crs=UTM33)),
    (grid(10, 500, 400), Grid(DEGREES, from_origin(8.9, 49.7, 0.0001, 0.0001), 900, 900)),
    (grid(5000, 500, 400, x=0, y=6_000_000), Grid(DEGREES, from_origin(-5, 60, 0.05, 0.05), 900, 900)),
    (Grid(DEGREES, from_origin(-180, 90, 1, 1), 360, 180), grid(1000, 900, 900)),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_positions_between_crss_are_right(pair: tuple[Grid, Grid]) -> None:
    target, source = pair
    x, y = PixelMapping(target, source).at(0, 0, target.height, target.width)
    rows, columns = (part.ravel() for part in np.mgrid[0 : target.height : 17, 0 : target.width : 13])
    east, north = target.transform @ (columns + 0.5, rows + 0.5)
    for index in range(len(rows)):
        try:
            (there_x,), (there_y,) = transform_points(target.crs, source.crs, [east[index]], [north[index]])
        except CPLE_BaseError:  # not on Earth
            continue
        expected = ~source.transform @ (there_x, there_y)
        if 0 <= expected[0] <= source.width and 0 <= expected[1] <= source.height:
            found = x[rows[index], columns[index]], y[rows[index], columns[index]]
            assert found == pytest.approx(expected, abs=0.05)


@given(
    pair=st.sampled_from([*PAIRS[:3], (grid(), Grid(UTM32, grid().transform @ Affine.rotation(11), 70, 70))]),
    window=st.tuples(*[st.integers(0, 399)] * 4),
)
def test_a_position_does_not_depend_on_the_window(pair: tuple[Grid, Grid], window: tuple[int, ...]) -> None:
    target, source = pair
    top, bottom = sorted(window[:2])
    left, right = sorted(window[2:])
    assume(top < bottom)
    assume(left < right)
    mapping = PixelMapping(target, source)
    whole = mapping.at(0, 0, 400, 400)
    part = mapping.at(top, left, bottom - top, right - left)
    for axis in (0, 1):
        np.testing.assert_array_equal(part[axis], whole[axis][top:bottom, left:right])


def test_points_far_beyond_the_earth_are_nowhere() -> None:
    """PROJ would turn such a longitude back into the circle for years."""
    x = np.array([1e20, 500_000.0, -1e300, np.nan, np.inf])
    longitude, latitude = project(CRS.from_epsg(3857), CRS.from_epsg(4326), x, np.full(5, 6_000_000.0))
    assert np.isnan(longitude).tolist() == [True, False, True, True, True]
    assert (longitude[1], latitude[1]) == pytest.approx((4.4916, 47.3537), abs=1e-4)
