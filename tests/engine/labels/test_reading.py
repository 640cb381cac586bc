"""Labels read from files: the traps that real layers have, met and told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from thematica.engine.grid import Grid
from thematica.engine.labels.reading import read_labels, same_image, shapes_to_labels
from thematica.engine.labels.shape_map import ShapeMap
from thematica.errors import InputError
from thematica.models.label_classes import LabelClass, write_classes

from .layers import DEGREES, GRID, codes_of, finding, of_undefined_crs, point, square, write_layer


def read(path, field="class", grid=GRID, **options):
    return read_labels(str(path), field, grid, **options)


def by_class(labels) -> dict[str, int]:
    """Pixels of each class."""
    places, _ = ShapeMap(labels, GRID.height, GRID.width).read(0, 0, GRID.height, GRID.width)
    return {entry.name: int((places == n).sum()) for n, entry in enumerate(labels.legend) if (places == n).any()}


def classes(labels) -> list[tuple[int, str]]:
    return [(entry.code, entry.name) for entry in labels.legend]


# ------------------------------------------------------------------------------------------------ codes


@pytest.mark.parametrize("name", ["l.gpkg", "l.shp", "l.geojson", "l.fgb"])
def test_sparse_codes_are_the_codes_of_the_legend(tmp_path, name):
    path = write_layer(tmp_path / name, [square(1, 1), square(10, 10), square(20, 20)], code=[14, 1, 300])
    labels = read(path, "code")
    assert classes(labels) == [(1, "Class 1"), (14, "Class 14"), (300, "Class 300")]
    assert sorted(labels.places.tolist()) == [0, 1, 2]
    assert by_class(labels) == {"Class 1": 16, "Class 14": 16, "Class 300": 16}
    # FlatGeobuf puts features into an order of its own.
    assert sorted(shape.bounds for shape in labels.shapes)[0] == pytest.approx((1, 1, 5, 5))


def test_words_are_names_in_alphabetical_order(tmp_path):
    path = write_layer(
        tmp_path / "l.gpkg", [square(9 * n, 1) for n in range(4)], **{"class": ["water", "Forest", "water", "bog"]}
    )
    labels = read(path)
    assert classes(labels) == [(1, "bog"), (2, "Forest"), (3, "water")]
    assert labels.places.tolist() == [2, 1, 2, 0]
    assert len({entry.color for entry in labels.legend}) == 3


def test_numbers_as_text_are_codes(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1), square(10, 10)], code=["10", "2"])
    assert classes(read(path, "code")) == [(2, "2"), (10, "10")]


def test_numbers_among_words_are_names_too_and_told(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(9 * n, 1) for n in range(3)], code=["10", "forest", "10"])
    labels = read(path, "code")
    assert classes(labels) == [(1, "10"), (2, "forest")]
    assert "“10”" in finding(labels, "mixed").message


def test_whole_numbers_with_a_point_are_codes(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1), square(10, 10)], code=[3.0, 7.0])
    assert classes(read(path, "code")) == [(3, "Class 3"), (7, "Class 7")]


def test_codes_beyond_16_bits_become_names(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1), square(10, 10)], code=[3_301_010_000, 3_301_010_100])
    labels = read(path, "code")
    assert classes(labels) == [(1, "3301010000"), (2, "3301010100")]
    assert labels.places.tolist() == [0, 1]
    assert "65535" in finding(labels, "renumbered").message


def test_negative_codes_are_no_classes(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(9 * n, 1) for n in range(3)], code=[1, -9999, 2])
    labels = read(path, "code")
    assert classes(labels) == [(1, "Class 1"), (2, "Class 2")]
    assert [f.features for f in labels.findings if f.code == "no-class" and f.features] == [(2,)]
    assert any("-9999" in f.message for f in labels.findings)


def test_spellings_of_one_name_are_one_class(tmp_path):
    names = ["Forest", "forest ", "Forest", "water"]
    path = write_layer(tmp_path / "l.gpkg", [square(9 * n, 1) for n in range(4)], code=names)
    labels = read(path, "code")
    assert classes(labels) == [(1, "Forest"), (2, "water")]
    assert labels.places.tolist() == [0, 0, 0, 1]
    assert "spelling" in codes_of(labels)


def test_features_without_a_class_are_left_out_and_told(tmp_path):
    for field in (["a", None, "", "b"], [1, None, None, 2]):
        path = write_layer(tmp_path / "l.gpkg", [square(9 * n, 1) for n in range(4)], code=field)
        labels = read(path, "code")
        assert len(labels) == 2
        assert finding(labels, "no-class").features == (2, 3)
        path.unlink()


def test_the_legend_is_that_of_the_whole_layer_wherever_the_raster_lies(tmp_path):
    """Else one class had other codes in the scene beside."""
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1), square(5000, 10), square(20, 20)], code=["b", "a", "c"])
    labels = read(path, "code")
    assert classes(labels) == [(1, "a"), (2, "b"), (3, "c")]
    assert labels.features.tolist() == [1, 3]
    assert "1 feature lies outside" in finding(labels, "outside").message
    assert "a." in finding(labels, "empty-class").message


def test_our_label_layers_bring_their_classes(tmp_path):
    path = write_layer(
        tmp_path / "l.gpkg", [square(1, 1), square(10, 10), square(20, 10)], layer="mine", code=[7, 3, 9]
    )
    write_classes(path, "mine", [LabelClass(7, "Wald", "#00aa00", "Vegetation"), LabelClass(3, "See", "#0000ff")])
    labels = read(path, "code")
    assert labels.legend[0] == LabelClass(3, "See", "#0000ff")
    assert labels.legend[1] == LabelClass(7, "Wald", "#00aa00", "Vegetation")
    assert (labels.legend[2].code, labels.legend[2].name) == (9, "Class 9")
    assert "Class 9" in finding(labels, "unknown-class").message


def test_names_in_a_field_are_found_in_the_class_list(tmp_path):
    path = write_layer(
        tmp_path / "l.gpkg", [square(1, 1), square(10, 10), square(20, 1)], layer="mine", code=["wald", "3", "Moor"]
    )
    given = [LabelClass(7, "Wald", "#00aa00"), LabelClass(3, "See", "#0000ff")]
    labels = read(path, "code", classes=given)
    assert classes(labels) == [(3, "See"), (7, "Wald"), (8, "Moor")]
    assert labels.places.tolist() == [1, 0, 2]


def test_a_class_of_the_list_without_labels_is_told(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1)], code=[1])
    labels = read(path, "code", classes=[LabelClass(1, "a", "#00aa00"), LabelClass(2, "b", "#0000ff")])
    assert "b" in finding(labels, "empty-class").message
    assert "one-class" in codes_of(labels)


@pytest.mark.parametrize(
    "merge", [{"wheat": "Crops", "Maize": "crops"}, {"2": "1", "3": "1"}, {"3": "wheat", "Wheat": "1"}]
)
def test_classes_are_merged_by_name_or_code(tmp_path, merge):
    path = write_layer(tmp_path / "l.gpkg", [square(9 * n, 1) for n in range(4)], code=[1, 2, 3, 4])
    known = [LabelClass(n, name, f"#00000{n}") for n, name in enumerate(["Crops", "Wheat", "Maize", "Water"], 1)]
    labels = read(path, "code", classes=known, merge=merge)
    assert classes(labels) == [(1, "Crops"), (4, "Water")]
    assert labels.places.tolist() == [0, 0, 0, 1]


def test_the_class_field_need_not_be_named_where_it_is_plain(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1), square(10, 1)], note=["x", "y"], CLASS=["a", "b"])
    assert classes(read(path, "")) == [(1, "a"), (2, "b")]
    assert classes(read(path, "class")) == [(1, "a"), (2, "b")]
    with pytest.raises(InputError, match=r"no field “kind”.*note, CLASS"):
        read(path, "kind")


# ------------------------------------------------------------------------------------------- geometries


def test_another_crs_gives_the_pixels_whose_centres_lie_in_the_polygon(tmp_path):
    outline = shapely.Polygon([(9.0001, 45.1531), (9.0068, 45.1527), (9.005, 45.1500), (9.0009, 45.1505)])
    path = write_layer(tmp_path / "l.gpkg", [outline], crs="EPSG:4326", code=[1])
    grid = GRID
    labels = read(path, "code", grid)
    places, _ = ShapeMap(labels, grid.height, grid.width).read(0, 0, grid.height, grid.width)
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    x, y = grid.transform @ (columns.ravel(), rows.ravel())
    lon, lat = transform_points(grid.crs, DEGREES, x, y)
    expected = shapely.contains_xy(outline, lon, lat).reshape(columns.shape)
    assert expected.sum() > 100
    assert ((places == 0) == expected).all()


def test_points_in_another_crs_lie_in_their_pixels(tmp_path):
    east, north = [500_105.0, 500_333.0], [4_999_705.0, 4_999_999.0]
    lon, lat = transform_points(GRID.crs, DEGREES, east, north)
    path = write_layer(tmp_path / "l.gpkg", shapely.points(lon, lat), "Point", "EPSG:4326", code=[1, 2])
    _, numbers = ShapeMap(read(path, "code"), 40, 60).read(0, 0, 40, 60)
    assert np.argwhere(numbers >= 0).tolist() == [[0, 33], [29, 10]]


def test_crossing_outlines_are_repaired_and_told(tmp_path):
    bow_tie = shapely.Polygon([(500_000, 5_000_000), (500_100, 4_999_900), (500_100, 5_000_000), (500_000, 4_999_900)])
    path = write_layer(tmp_path / "l.gpkg", [bow_tie, square(20, 20)], code=[1, 2])
    labels = read(path, "code")
    assert finding(labels, "repaired").features == (1,)
    assert by_class(labels)["Class 1"] == pytest.approx(50, abs=6)
    assert shapely.is_valid(labels.shapes).all()


def test_overlapping_parts_of_one_polygon_are_all_of_it(tmp_path):
    twice = shapely.MultiPolygon([square(1, 1), square(3, 1)])
    path = write_layer(tmp_path / "l.gpkg", [twice, square(20, 20)], "MultiPolygon", code=[1, 2])
    assert by_class(read(path, "code"))["Class 1"] == 24


def test_several_parts_are_one_shape(tmp_path):
    apart = shapely.MultiPolygon([square(1, 1), square(30, 30)])
    path = write_layer(tmp_path / "l.gpkg", [apart, square(20, 20)], "MultiPolygon", code=[1, 2])
    labels = read(path, "code")
    assert len(labels) == 2
    assert by_class(labels) == {"Class 1": 32, "Class 2": 16}
    _, numbers = ShapeMap(labels, 40, 60).read(0, 0, 40, 60)
    assert numbers[2, 2] == numbers[32, 32] == 0


def test_overlaps_of_two_classes_are_told_with_what_they_share(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1, 6), square(4, 1, 6), square(30, 1, 6)], code=["a", "b", "b"])
    labels = read(path, "code")
    told = finding(labels, "overlap")
    assert told.features == (1, 2)
    assert "18 px" in told.message
    assert by_class(labels) == {"a": 18, "b": 18 + 36}


def test_overlaps_of_one_class_count_once(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1, 6), square(4, 1, 6), square(30, 1)], code=["a", "a", "b"])
    labels = read(path, "code")
    assert finding(labels, "overlap-same-class").features == (1, 2)
    assert "overlap" not in codes_of(labels)
    assert by_class(labels) == {"a": 54, "b": 16}


def test_neighbours_with_a_common_edge_do_not_overlap(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1, 6), square(7, 1, 6)], code=["a", "b"])
    assert not {"overlap", "overlap-same-class"} & codes_of(read(path, "code"))


def test_shapes_that_hold_no_centre_are_told(tmp_path):
    path = write_layer(
        tmp_path / "l.gpkg", [square(1.1, 1.1, 0.3), square(7, 1, 6), square(30.6, 2, 0.2, 30)], code=[1, 2, 2]
    )
    assert finding(read(path, "code"), "too-small").features == (1, 3)


def test_a_class_with_too_few_samples_is_told(tmp_path):
    shapes = [square(9 * n, 1, 6) for n in range(4)] + [square(1, 20), square(9, 20)]
    path = write_layer(tmp_path / "l.gpkg", shapes, code=["many"] * 4 + ["few"] * 2)
    told = finding(read(path, "code"), "few-samples")
    assert "“few” has only 2 labelled shapes with 32 pixels" in told.message
    assert told.features == (5, 6)


def test_missing_empty_and_endless_geometries_are_left_out(tmp_path):
    endless = shapely.Polygon([(500_000, 5_000_000), (500_100, np.inf), (500_100, 5_000_000)])
    shapes = [square(1, 1), None, shapely.Polygon(), square(10, 10)]
    labels = read(write_layer(tmp_path / "l.gpkg", shapes, code=[1, 2, 2, 2]), "code")
    assert labels.features.tolist() == [1, 4]
    assert finding(labels, "no-geometry").features == (2, 3)
    labels = read(write_layer(tmp_path / "m.gpkg", [*shapes, endless, square(900, 1)], code=[1, 2, 2, 2, 2, 2]), "code")
    assert labels.features.tolist() == [1, 4]
    assert "or have no geometry" in finding(labels, "outside").message


def test_lines_among_polygons_are_left_out(tmp_path):
    line = shapely.LineString([(500_000, 5_000_000), (500_100, 4_999_900)])
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1), line], "Unknown", code=[1, 2])
    labels = read(path, "code")
    assert finding(labels, "lines").features == (2,)
    assert "is a line" in finding(labels, "lines").message


def test_polygons_without_area_are_left_out(tmp_path):
    flat = shapely.Polygon([(500_000, 5_000_000), (500_100, 4_999_900), (500_000, 5_000_000)])
    labels = read(write_layer(tmp_path / "l.gpkg", [square(1, 1), flat], code=[1, 2]), "code")
    assert labels.features.tolist() == [1]


def test_points_and_polygons_live_in_one_layer(tmp_path):
    path = write_layer(
        tmp_path / "l.gpkg", [square(1, 1), point(20.5, 20.5), point(2.5, 2.5)], "Unknown", code=[1, 2, 2]
    )
    labels = read(path, "code")
    assert by_class(labels) == {"Class 1": 15, "Class 2": 1}
    assert finding(labels, "same-pixel").features == (3,)


def test_points_in_one_pixel_are_told(tmp_path):
    places = [(1.2, 1.2), (1.8, 1.1), (3.5, 1.5), (3.6, 1.6), (6.5, 1.5)]
    path = write_layer(tmp_path / "l.gpkg", [point(*p) for p in places], "Point", code=[1, 1, 1, 2, 2])
    labels = read(path, "code")
    assert finding(labels, "same-pixel-same-class").features == (1, 2)
    assert finding(labels, "same-pixel").features == (3, 4)


def test_multipoints_are_one_shape(tmp_path):
    many = shapely.MultiPoint([point(1.5, 1.5), point(8.5, 9.5), point(-20, 0), point(500, 2)])
    path = write_layer(tmp_path / "l.gpkg", [many, shapely.MultiPoint([point(30.5, 3.5)])], "MultiPoint", code=[1, 2])
    labels = read(path, "code")
    _, numbers = ShapeMap(labels, 40, 60).read(0, 0, 40, 60)
    assert np.argwhere(numbers == 0).tolist() == [[1, 1], [9, 8]]


def test_labels_partly_outside_are_told(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(-2, 1), square(10, 10), square(80, 1)], code=[1, 2, 2])
    labels = read(path, "code")
    assert finding(labels, "partly-outside").features == (1,)
    assert "1 feature lies outside" in finding(labels, "outside").message
    assert by_class(labels) == {"Class 1": 8, "Class 2": 16}


def test_only_what_lies_near_is_read(tmp_path, monkeypatch):
    """A layer of a whole country is not read for one image."""
    x, y = np.meshgrid(np.arange(100) * 1000.0, np.arange(50) * 1000.0)
    shapes = shapely.box(500_000 + x.ravel(), 4_000_000 + y.ravel(), 500_100 + x.ravel(), 4_000_100 + y.ravel())
    path = write_layer(tmp_path / "l.gpkg", [*shapes, square(1, 1)], code=[1] * 5000 + [2])
    geometries = []
    original = pyogrio.raw.read

    def counting(*arguments, **options):
        result = original(*arguments, **options)
        geometries.append(0 if result[2] is None else len(result[2]))
        return result

    monkeypatch.setattr(pyogrio.raw, "read", counting)
    labels = read(path, "code")
    assert sum(geometries) == 1
    assert "5000 features lie outside" in finding(labels, "outside").message


@pytest.mark.parametrize("turn", [0, 360])
def test_longitudes_may_be_counted_either_way(tmp_path, turn):
    grid = Grid(DEGREES, Affine(0.01, 0, -60.0 + turn, 0, -0.01, -3.0), 50, 50)
    for other in (0, 360):
        shape = shapely.box(-59.9 + other, -3.3, -59.8 + other, -3.2)
        path = write_layer(
            tmp_path / f"l{other}.gpkg",
            [shape, shapely.Point(-59.605 + other, -3.405)],
            "Unknown",
            "EPSG:4326",
            code=[1, 2],
        )
        labels = read(path, "code", grid)
        places, _ = ShapeMap(labels, 50, 50).read(0, 0, 50, 50)
        assert (places == 0).sum() == pytest.approx(100, abs=20)
        assert places[40, 39] == 1


def test_a_raster_across_the_antimeridian_has_labels_on_both_sides(tmp_path):
    grid = Grid(CRS.from_epsg(32660), Affine(1000, 0, 700_000, 0, -1000, 130_000), 300, 100)
    shapes = [shapely.box(179.2, 0.6, 179.5, 0.9), shapely.box(-179.5, 0.6, -179.2, 0.9)]
    path = write_layer(tmp_path / "l.gpkg", shapes, crs="EPSG:4326", code=[1, 2])
    labels = read(path, "code", grid)
    places, _ = ShapeMap(labels, 100, 300).read(0, 0, 100, 300)
    assert (places == 0).sum() == pytest.approx(1110, rel=0.05)
    assert (places == 1).sum() == pytest.approx(1110, rel=0.05)


def test_an_image_without_georeference_takes_labels_drawn_on_it_in_qgis(tmp_path):
    grid = Grid(None, Affine.identity(), 60, 40)
    path = write_layer(
        tmp_path / "l.gpkg", [shapely.box(5, -9, 9, -5), shapely.Point(20.5, -30.5)], "Unknown", None, code=[1, 2]
    )
    labels = read(path, "code", grid)
    _, numbers = ShapeMap(labels, 40, 60).read(0, 0, 40, 60)
    assert (numbers[5:9, 5:9] == 0).all()
    assert numbers[30, 20] == 1
    assert (numbers >= 0).sum() == 17
    undefined = read(of_undefined_crs(path, -1), "code", grid)
    assert (ShapeMap(undefined, 40, 60).read(0, 0, 40, 60)[1] == numbers).all()


# ----------------------------------------------------------------------------------------------- fields


def test_two_fields_that_disagree_are_told_with_the_features(tmp_path):
    names = ["forest"] * 6 + ["water"] * 5 + ["urban"] * 4
    numbers = [1] * 6 + [2] * 4 + [3] + [3] * 4
    shapes = [square(3.5 * n, 1, 3) for n in range(15)]
    path = write_layer(tmp_path / "l.gpkg", shapes, **{"class": names}, id=numbers, size=list(range(15)))
    told = finding(read(path), "fields-disagree")
    assert told.features == (11,)
    assert "feature 11 is water and 3, elsewhere urban" in told.message


@pytest.mark.parametrize(
    "other",
    [list(range(15)), [1] * 15, [1] * 6 + [2] * 5 + [3] * 4, [1, 2, 3] * 5, ["note"] * 14 + ["other"]],
    ids=["numbers of features", "all alike", "agreeing", "unrelated", "remarks"],
)
def test_fields_that_say_something_else_do_not_disagree(tmp_path, other):
    shapes = [square(3.5 * n, 1, 3) for n in range(15)]
    path = write_layer(
        tmp_path / "l.gpkg", shapes, **{"class": ["forest"] * 6 + ["water"] * 5 + ["urban"] * 4}, other=other
    )
    assert "fields-disagree" not in codes_of(read(path))


def test_features_of_another_image_are_left_out(tmp_path):
    images = ["/data/a.tif", "B", None, "b.tif"]
    path = write_layer(tmp_path / "l.gpkg", [square(9 * n, 1) for n in range(4)], code=[1, 2, 1, 2], image=images)
    labels = read(path, "code", image_field="image", image="C:\\scenes\\b.tif")
    assert labels.features.tolist() == [2, 3, 4]
    assert finding(labels, "other-image").features == (1,)
    assert read(path, "code", image_field="image").images == ["/data/a.tif", "B", "", "b.tif"]


def test_images_are_told_apart_by_the_names_of_their_files():
    assert same_image("/a/S2A.tif", "s2a")
    assert same_image("a.tif|option:x", "b/a.tif")
    assert not same_image("a.tif", "b.tif")
    assert same_image("/a/LC08.2020.tif", "LC08.2020")
    assert not same_image("LC08.2021", "LC08.2020")
    assert not same_image("LC08.2021", "LC08.2020.tif")


def test_dates_become_spans(tmp_path):
    path = write_layer(
        tmp_path / "l.gpkg", [square(9 * n, 1) for n in range(3)], code=[1, 2, 2],
        start=["2011-09-01", "2012/09/01", "never"], end=["2012-09-01", "2013-09-01T00:00:00", "2013-09-01"],
    )  # fmt: skip
    labels = read(path, "code", from_field="start", to_field="end")
    assert labels.spans.astype(str).tolist() == [["2011-09-01", "2012-09-01"], ["2012-09-01", "2013-09-01"]]
    assert finding(labels, "no-date").features == (3,)


def test_a_layer_and_a_filter_may_be_named_as_qgis_writes_them(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1)], layer="one", code=[1])
    append_layer(path, write_layer(tmp_path / "m.gpkg", [square(1, 1), square(10, 10)], layer="two", code=[5, 6]))
    assert classes(read(f"{path}|layername=two", "code")) == [(5, "Class 5"), (6, "Class 6")]
    assert classes(read(f"{path}|layername=two|subset=\"code\" = 6 OR 'a|b' = 'x'", "code")) == [(6, "Class 6")]
    assert classes(read(f"{path}|layername=two", "code", where="code = 5")) == [(5, "Class 5")]
    labels = read(path, "code")
    assert classes(labels) == [(1, "Class 1")]
    assert "“one”" in finding(labels, "layer").message


def append_layer(path, other) -> None:
    """Put the layer of one GeoPackage into another."""
    meta, _, stored, values = pyogrio.raw.read(other)
    pyogrio.raw.write(
        path, stored, values, meta["fields"], geometry_type=meta["geometry_type"], crs=meta["crs"],
        layer=pyogrio.list_layers(other)[0][0], append=True,
    )  # fmt: skip


@pytest.mark.parametrize("declared", ["UTF-8", None, "ISO-8859-1"])
def test_text_of_a_shapefile_that_is_not_in_the_encoding_it_says(tmp_path, declared):
    path = write_layer(tmp_path / "l.shp", [square(1, 1), square(10, 10)], **{"class": ["Gr\u00fcn", "Wald"]})
    dbf = tmp_path / "l.dbf"
    dbf.write_bytes(dbf.read_bytes().replace("Gr\u00fcn".encode(), "Gr\u00fcn ".encode("latin-1")))
    (tmp_path / "l.cpg").unlink(missing_ok=True)
    if declared:
        (tmp_path / "l.cpg").write_text(declared)
    assert {entry.name for entry in read(path).legend} == {"Gr\u00fcn", "Wald"}


# ------------------------------------------------------------------------------------- shapes as QGIS has them


def test_shapes_of_a_layer_that_is_being_drawn():
    legend = [LabelClass(5, "b", "#00ff00"), LabelClass(2, "a", "#ff0000")]
    shapes = [square(1, 1), square(10, 10), point(20.5, 20.5), square(900, 1), square(1, 20)]
    labels = shapes_to_labels(
        [shapely.to_wkb(shape) for shape in shapes], [2, 5, 5, 2, 99], [-1, 7, -2, 8, 9], GRID.crs, legend, GRID
    )
    assert [entry.code for entry in labels.legend] == [2, 5]
    assert labels.features.tolist() == [-1, 7, -2]
    assert labels.places.tolist() == [0, 1, 1]
    assert finding(labels, "outside").features == (8,)
    assert finding(labels, "no-class").features == (9,)


def test_no_shape_yet_is_fine():
    legend = [LabelClass(1, "a", "#ff0000")]
    labels = shapes_to_labels([], [], [], GRID.crs, legend, GRID)
    assert len(labels) == 0
    labels = shapes_to_labels([b"rubbish", shapely.to_wkb(square(-90, 0))], [1, 1], [1, 2], None, legend, GRID)
    assert len(labels) == 0
    assert {"no-geometry", "outside"} <= codes_of(labels)


def test_shapes_beyond_what_the_rasters_crs_can_show_are_outside():
    legend = [LabelClass(1, "a", "#ff0000")]
    pole = shapely.Polygon([(0, 89), (120, 89), (240, 89)])
    near = shapely.box(9.001, 45.151, 9.004, 45.153)
    labels = shapes_to_labels([shapely.to_wkb(pole), shapely.to_wkb(near)], [1, 1], [1, 2], DEGREES, legend, GRID)
    assert labels.features.tolist() == [2]


def test_a_read_only_layer_and_its_folder_stay_as_they_are(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [square(1, 1)], code=[1])
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    read(path, "code")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_a_raster_whose_transform_is_degenerate_is_taken_as_not_placed(tmp_path):
    path = write_layer(tmp_path / "l.gpkg", [shapely.box(1, 1, 5, 5)], crs=None, code=[1])
    grid = replace(GRID, crs=None, transform=Affine(0, 0, 0, 0, 0, 0))
    assert len(read(path, "code", grid)) == 1
