"""Areas as extents and as vector files, read with the real libraries; pixels are judged by their centres."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from thematica.engine.area_of_interest import AreaOfInterest, read_area
from thematica.errors import InputError

UTM = CRS.from_epsg(32632)
DEGREES = CRS.from_epsg(4326)
# 60 × 40 pixels of 10 m.
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
WIDTH, HEIGHT = 60, 40


def read(area, area_crs=None, crs=UTM, transform=NORTH_UP, width=WIDTH, height=HEIGHT) -> AreaOfInterest:
    return read_area(area, area_crs, crs, transform, width, height)


def whole_mask(area: AreaOfInterest, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    mask = area.mask(0, 0, height, width)
    return np.ones((height, width), bool) if mask is None else mask


def centres(transform: Affine, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return transform @ (columns.ravel(), rows.ravel())


def inside(polygon, crs: CRS, raster_crs: CRS, transform: Affine, width: int, height: int) -> np.ndarray:
    """The definition itself: is the pixel's centre, brought to the area's CRS, in the polygon?"""
    x, y = centres(transform, width, height)
    if crs != raster_crs:
        x, y = transform_points(raster_crs, crs, x, y)
    return shapely.contains_xy(polygon, x, y).reshape(height, width)


def write_layer(path: Path, geometries, crs="EPSG:32632", geometry_type="Polygon", layer=None, **options) -> Path:
    stored = np.array([None if geometry is None else shapely.to_wkb(geometry) for geometry in geometries], object)
    names = np.array([f"f{index}" for index in range(len(geometries))], object)
    pyogrio.raw.write(path, stored, [names], ["name"], geometry_type=geometry_type, crs=crs, layer=layer, **options)
    return path


# ---------------------------------------------------------------------------------------------- extents


@pytest.mark.parametrize(
    "extent",
    ["500100,4999700,500300,4999900", [500100, 4999700, 500300, 4999900], (500096, 4999704, 500304.9, 4999896)],
)
def test_an_extent_takes_the_pixels_whose_centres_it_holds(extent):
    area = read(extent)
    window = area.window
    assert (window.col_off, window.row_off, window.width, window.height) == (10, 10, 20, 20)
    assert all(isinstance(value, int) for value in window.flatten())
    assert area.mask(10, 10, 20, 20) is None
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:30, 10:30] = True
    assert (whole_mask(area) == expected).all()
    assert area.touches(0, 0, 11, 11)
    assert not area.touches(0, 0, 9, 60)
    assert not area.mask(0, 0, 9, 60).any()


def test_an_extent_beyond_the_raster_is_cut_to_it():
    area = read("0,0,1e7,1e7")
    assert (area.window.width, area.window.height) == (WIDTH, HEIGHT)
    assert area.mask(0, 0, HEIGHT, WIDTH) is None


def test_an_extent_in_another_crs():
    polygon = shapely.box(9.001, 45.1505, 9.006, 45.153)
    area = read(list(polygon.bounds), DEGREES)
    expected = inside(polygon, DEGREES, UTM, NORTH_UP, WIDTH, HEIGHT)
    assert 0.2 < expected.mean() < 0.8
    assert (whole_mask(area) == expected).all()


def test_an_extent_on_a_rotated_raster_keeps_its_direction():
    rotated = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    area = read([500_100, 4_999_800, 500_400, 5_000_000], transform=rotated)
    expected = inside(shapely.box(500_100, 4_999_800, 500_400, 5_000_000), UTM, UTM, rotated, WIDTH, HEIGHT)
    assert (whole_mask(area) == expected).all()


@pytest.mark.parametrize(
    ("extent", "sentence"),
    [
        ("500100,5,500000,6", "each minimum less than its maximum"),
        ("500100,5,500100,6", "each minimum less than its maximum"),
        ([1, 2, 3], "four numbers"),
        ("1,2,3", "four numbers"),
        ([1, 2, "x", 4], "four numbers"),
        ("1,2,nan,4", "four numbers"),
        ("0,0,100,100", "do not overlap.*in EPSG:32632, the raster at 500000, 4999600, 500600, 5000000"),
        ("500101,4999801,500104,4999804", "no pixel's centre"),
    ],
)
def test_useless_extents(extent, sentence):
    with pytest.raises(InputError, match=sentence):
        read(extent)


# ------------------------------------------------------------------------------------------ vector files

TRIANGLE = shapely.Polygon([(500_033, 4_999_621), (500_571, 4_999_742), (500_222, 4_999_987)])
RING = shapely.Polygon(
    shapely.box(500_300, 4_999_650, 500_590, 4_999_900).exterior.coords,
    [shapely.box(500_350, 4_999_700, 500_500, 4_999_800).exterior.coords],
)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp", "fgb"])
def test_all_polygons_of_a_file_are_united(tmp_path, ending):
    crs, shapes = ("EPSG:4326", []) if ending == "geojson" else ("EPSG:32632", [])
    for shape in (TRIANGLE, RING):
        shapes.append(
            shapely.transform(shape, lambda points: np.column_stack(transform_points(UTM, DEGREES, *points.T)))
            if ending == "geojson"
            else shape
        )
    area = read(write_layer(tmp_path / f"Flächen groß.{ending}", shapes, crs))
    expected = inside(shapely.union(TRIANGLE, RING), UTM, UTM, NORTH_UP, WIDTH, HEIGHT)
    assert (whole_mask(area) == expected).all()


def test_a_layer_and_a_filter_may_be_chosen_as_qgis_does(tmp_path):
    path = write_layer(tmp_path / "a.gpkg", [shapely.Point(500_100, 4_999_900)], geometry_type="Point", layer="points")
    write_layer(path, [TRIANGLE], layer="first", append=False)
    write_layer(path, [RING, TRIANGLE], layer="second", append=False)
    triangle, ring = (inside(shape, UTM, UTM, NORTH_UP, WIDTH, HEIGHT) for shape in (TRIANGLE, RING))
    assert (whole_mask(read(path)) == triangle).all()  # the first layer of polygons
    assert (whole_mask(read(f"{path}|layername=second")) == (ring | triangle)).all()
    assert (whole_mask(read(f"{path}|layername=second|geometrytype=Polygon|subset=\"name\" = 'f0'")) == ring).all()
    with pytest.raises(InputError, match="no such layer; it holds “points”, “first”, “second”"):
        read(f"{path}|layername=third")
    with pytest.raises(InputError, match="only points, lines"):
        read(f"{path}|layername=points")
    with pytest.raises(InputError, match="the filter leaves none"):
        read(f"{path}|layername=second|subset=name = 'nobody'")


def test_broken_polygons_are_repaired(tmp_path):
    bow_tie = shapely.Polygon([(500_100, 4_999_700), (500_300, 4_999_900), (500_300, 4_999_700), (500_100, 4_999_900)])
    assert not bow_tie.is_valid
    area = read(write_layer(tmp_path / "a.gpkg", [bow_tie, None]))
    expected = inside(shapely.make_valid(bow_tie), UTM, UTM, NORTH_UP, WIDTH, HEIGHT)
    assert (whole_mask(area) == expected).mean() > 0.99
    assert whole_mask(area).sum() == pytest.approx(bow_tie.convex_hull.area / 2 / 100, rel=0.05)


def test_collections_and_heights_are_read(tmp_path):
    heights = shapely.force_3d(shapely.MultiPolygon([TRIANGLE, shapely.box(500_500, 4_999_900, 500_600, 5_000_000)]), 7)
    mixed = shapely.GeometryCollection([heights, shapely.Point(500_000, 4_999_990)])
    area = read(write_layer(tmp_path / "a.gpkg", [mixed], geometry_type="Unknown"))
    expected = inside(shapely.force_2d(heights), UTM, UTM, NORTH_UP, WIDTH, HEIGHT)
    assert (whole_mask(area) == expected).all()


def test_what_is_no_area_is_refused(tmp_path):
    (tmp_path / "text.gpkg").write_text("no GeoPackage")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.geojson").write_text('{"type":"FeatureCollection","features":[]}')
    (tmp_path / "nothing.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": None}]})
    )
    line = shapely.LineString([(500_000, 4_999_990), (500_100, 4_999_990)])
    cases = {
        "missing.gpkg": "There is no file",
        "text.gpkg": "is not a vector file",
        "table.csv": "only points, lines or a table",
        "empty.geojson": "is empty",
        "nothing.geojson": "holds no polygon",
        write_layer(tmp_path / "lines.gpkg", [line], geometry_type="LineString").name: "only points, lines",
        write_layer(tmp_path / "mixed.gpkg", [line], geometry_type="Unknown").name: "only points, lines",
        write_layer(tmp_path / "far.gpkg", [shapely.box(0, 0, 10, 10)]).name: "do not overlap",
        write_layer(tmp_path / "far.geojson", [shapely.box(0, 0, 1, 1)], "EPSG:4326").name: "do not overlap.*EPSG:4326",
    }
    for name, sentence in cases.items():
        with pytest.raises(InputError, match=sentence) as caught:
            read(tmp_path / name)
        assert name in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write_layer(tmp_path / "a.gpkg", [TRIANGLE])
    path.chmod(0)
    with pytest.raises(InputError, match="permissions"):
        read(path)


# --------------------------------------------------------------------------------------------------- CRS


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_layer_without_crs(tmp_path):
    path = write_layer(tmp_path / "a.gpkg", [TRIANGLE], crs=None)
    with pytest.raises(InputError, match=r"has no CRS.*--area-crs"):
        read(path)
    expected = inside(TRIANGLE, UTM, UTM, NORTH_UP, WIDTH, HEIGHT)
    assert (whole_mask(read(path, UTM)) == expected).all()
    # Neither has one: then both have the same coordinates.
    assert (whole_mask(read(path, crs=None)) == expected).all()


def test_a_raster_without_crs(tmp_path):
    with pytest.raises(InputError, match=r"The raster has no CRS.*EPSG:32632.*--raster-crs"):
        read(write_layer(tmp_path / "a.gpkg", [TRIANGLE]), crs=None)
    assert read("500100,4999700,500300,4999900", crs=None).window.width == 20


def test_on_an_image_without_georeference_areas_hang_downwards_as_in_qgis():
    for extent in ([5, -30, 25, -10], [5, 10, 25, 30]):
        window = read(extent, crs=None, transform=Affine.identity()).window
        assert (window.col_off, window.row_off, window.width, window.height) == (5, 10, 20, 20)


def test_a_local_crs_cannot_be_related():
    local = CRS.from_wkt('LOCAL_CS["site grid",UNIT["metre",1]]')
    with pytest.raises(InputError, match="site grid"):
        read([9, 45, 10, 46], DEGREES, crs=local)


@pytest.mark.parametrize(
    ("crs", "transform", "extent", "area_crs"),
    [
        # All of the Earth, around rasters whose CRSs cannot show all of it.
        ("EPSG:32632", NORTH_UP, (-180, -90, 180, 90), "EPSG:4326"),
        ("EPSG:3857", Affine(1e4, 0, -3e5, 0, -1e4, 2.0e7), (-180, -90, 180, 90), "EPSG:4326"),
        ("EPSG:3995", Affine(1e4, 0, -3e5, 0, -1e4, 2e5), (-180, -90, 180, 90), "EPSG:4326"),
        ("EPSG:32701", Affine(1e3, 0, 1.5e5, 0, -1e3, 8e6), (-180, -90, 180, 90), "EPSG:4326"),
    ],
)
def test_a_world_wide_area_holds_every_raster(crs, transform, extent, area_crs):
    area = read(extent, CRS.from_string(area_crs), CRS.from_string(crs), transform)
    # The seam at the antimeridian may not leave a gap of a pixel.
    assert whole_mask(area).all()


@pytest.mark.parametrize(
    ("crs", "transform", "polygon", "area_crs"),
    [
        # Edges that are curved in the raster's CRS.
        ("EPSG:3035", Affine(2e4, 0, 3.6e6, 0, -2e4, 3.6e6), shapely.box(0, 48, 20, 53), "EPSG:4326"),
        ("EPSG:3995", Affine(1e5, 0, -3e6, 0, -1e5, 2e6), shapely.box(-60, 65, 170, 80), "EPSG:4326"),
        ("EPSG:4326", Affine(0.05, 0, 7.0, 0, -0.05, 54), shapely.box(4e6, 2.6e6, 4.2e6, 3.4e6), "EPSG:3035"),
        # Across the antimeridian: from 0° to 360°, from UTM, and on a raster beyond 180°.
        ("EPSG:4326", Affine(0.1, 0, 178, 0, -0.1, -15), shapely.box(3e5, 7.9e6, 9e5, 8.2e6), "EPSG:32760"),
        ("EPSG:32760", Affine(1e4, 0, 5e5, 0, -1e4, 8.3e6), shapely.box(178, -18, 182, -16), "EPSG:4326"),
    ],
)
def test_edges_follow_their_own_crs(crs, transform, polygon, area_crs):
    crs, area_crs = CRS.from_string(crs), CRS.from_string(area_crs)
    area = read(list(polygon.bounds), area_crs, crs, transform)
    x, y = transform_points(crs, area_crs, *centres(transform, WIDTH, HEIGHT))
    x = np.array(x) % 360 if polygon.bounds[2] > 180 and area_crs.is_geographic else x
    expected = shapely.contains_xy(polygon, x, y).reshape(HEIGHT, WIDTH)
    assert 0.05 < expected.mean() < 0.95
    differ = np.argwhere(whole_mask(area) != expected)
    # Edges may bend by a tenth of a pixel: of the centres along them, one in ten may differ.
    edge = expected != np.roll(expected, 1, 0)
    edge |= expected != np.roll(expected, 1, 1)
    assert len(differ) <= max(2, edge.sum() / 10)


@pytest.mark.parametrize(("left", "west"), [(0, -60), (-180, 300)])
def test_longitude_may_be_counted_in_two_ways(left, west):
    transform = Affine(1, 0, left, 0, -1, 90)
    for area_crs in (None, DEGREES, CRS.from_epsg(4269)):
        area = read([west, 10, west + 20, 30], area_crs, DEGREES, transform, 360, 180)
        expected_left = (west - left) % 360
        assert (area.window.col_off, area.window.row_off) == (expected_left, 60)
        assert (area.window.width, area.window.height) == (20, 20)


# -------------------------------------------------------------------------------------------------- laws

COLUMNS, ROWS = 24, 16
vertices = st.tuples(st.integers(-20, 4 * COLUMNS + 20), st.integers(-20, 4 * ROWS + 20))
# Quarters of pixels: centres and corners of pixels are hit on purpose.
polygons = st.lists(st.lists(vertices, min_size=3, max_size=9), min_size=1, max_size=4).map(
    lambda outlines: [shapely.Polygon(np.array(outline) / 4) for outline in outlines]
)


@settings(max_examples=100, deadline=None)
@given(shapes=polygons, height=st.integers(1, ROWS), width=st.integers(1, COLUMNS))
@example(shapes=[shapely.box(1.5, 1.5, 9.5, 9.5)], height=1, width=1)
def test_any_tiling_gives_the_mask_of_the_whole(shapes, height, width):
    valid = shapely.get_parts(shapely.get_parts(shapely.make_valid(np.array(shapes))))
    valid = valid[shapely.get_type_id(valid) == 3]
    area = AreaOfInterest(valid, COLUMNS, ROWS)
    whole = whole_mask(area, COLUMNS, ROWS)
    mosaic = np.zeros_like(whole)
    for row in range(0, ROWS, height):
        for col in range(0, COLUMNS, width):
            rows, columns = min(height, ROWS - row), min(width, COLUMNS - col)
            mask = area.mask(row, col, rows, columns)
            mosaic[row : row + rows, col : col + columns] = True if mask is None else mask
            if not area.touches(row, col, rows, columns):
                assert not mosaic[row : row + rows, col : col + columns].any()
    assert (mosaic == whole).all()
    assert area.is_empty() == (not whole.any())
    # All of it lies in the window.
    window = area.window
    outside = np.ones_like(whole)
    outside[window.row_off : window.row_off + window.height, window.col_off : window.col_off + window.width] = False
    assert not (whole & outside).any()
    # Centres that are not on an edge are in it if and only if they are in a polygon.
    # (GEOS can lose one of them when it unites many, so each is asked by itself.)
    x, y = centres(Affine.identity(), COLUMNS, ROWS)
    points = shapely.points(x, y)
    on_edge, held = np.zeros(whole.shape, bool), np.zeros(whole.shape, bool)
    for polygon in valid:
        on_edge |= shapely.dwithin(polygon.boundary, points, 0.01).reshape(whole.shape)
        held |= shapely.contains_xy(polygon, x, y).reshape(whole.shape)
    assert (whole == held)[~on_edge].all()


def test_outlines_of_many_vertices_are_cut_and_stay_the_same():
    angles = np.linspace(0, 2 * math.pi, 8_001)[:-1]
    radius = 250 + 20 * np.sin(angles * 300) + 10 * np.sin(angles * 1100)
    coast = shapely.Polygon(np.column_stack([300 + radius * np.cos(angles), 300 + radius * np.sin(angles)]))
    assert coast.is_valid
    area = AreaOfInterest(np.array([coast]), 600, 600)
    mosaic = np.zeros((600, 600), bool)
    for row in range(0, 600, 150):
        for col in range(0, 600, 150):
            mask = area.mask(row, col, 150, 150)
            mosaic[row : row + 150, col : col + 150] = True if mask is None else mask
    assert area.mask(250, 250, 100, 100) is None
    shapely.prepare(coast)
    expected = shapely.contains_xy(coast, *centres(Affine.identity(), 600, 600)).reshape(600, 600)
    # Vertices move by 1/512 of a pixel at most.
    assert (mosaic != expected).mean() < 1e-3


def test_a_filter_that_names_no_field_is_told_as_one(tmp_path):
    path = write_layer(tmp_path / "area.gpkg", [shapely.box(500_000, 4_999_600, 500_600, 5_000_000)], layer="fields")
    with pytest.raises(InputError, match="filter that cannot be used"):
        read(f"{path}|layername=fields|subset=nothing = 1")
