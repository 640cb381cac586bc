"""Tables of points: separators, encodings and decimal commas as spreadsheets write them."""

from __future__ import annotations

import numpy as np
import pytest

from thematica.engine.grid import Grid
from thematica.engine.labels.points_table import is_points_table, read_points_table
from thematica.engine.labels.reading import read_labels
from thematica.engine.labels.shape_map import ShapeMap
from thematica.errors import InputError

from .layers import DEGREES, GRID, codes_of, finding

# Of GRID: (9.0001, 45.1535) is its corner.
HERE = "9.001,45.1515"


@pytest.mark.parametrize(
    "text",
    [
        "longitude,latitude,class\n9.001,45.1515,a\n9.002,45.1511,b\n",
        '"Lon";"Lat";"class"\r\n"9,001";"45,1515";"a"\r\n"9,002";"45,1511";"b"\r\n',
        "class\tlng\tlat\na\t9.001\t45.1515\n\nb\t9.002\t45.1511",
        "\ufeffdecimalLongitude,decimalLatitude,class\n9.001,45.1515,a\n9.002,45.1511,b\n",
    ],
    ids=["plain", "with decimal commas", "with tabs", "with a byte order mark"],
)
def test_longitude_and_latitude_in_whatever_form(tmp_path, text):
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8", newline="")
    labels = read_labels(path, "class", GRID)
    assert [entry.name for entry in labels.legend] == ["a", "b"]
    assert labels.features.tolist() == [1, 2]
    places, _ = ShapeMap(labels, 40, 60).read(0, 0, 40, 60)
    assert (places >= 0).sum() == 2


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_text_in_the_encodings_of_spreadsheets(tmp_path, encoding):
    path = tmp_path / "p.csv"
    path.write_bytes(f"longitude,latitude,class\n{HERE},Grünland\n{HERE},Öde\n".encode(encoding))
    if encoding != "utf-16":
        assert {entry.name for entry in read_labels(path, "class", GRID).legend} == {"Grünland", "Öde"}
    assert read_points_table(str(path)).columns["class"].tolist() == ["Grünland", "Öde"]


def test_x_and_y_need_a_crs(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("x,y,class\n500005,4999995,1\n500205,4999995,2\n")
    with pytest.raises(InputError, match=r"gives x and y, but no CRS.*--labels-crs"):
        read_labels(path, "class", GRID)
    labels = read_labels(path, "class", GRID, layer_crs=GRID.crs)
    assert [shape.bounds[:2] for shape in labels.shapes] == [pytest.approx((0.5, 0.5)), pytest.approx((20.5, 0.5))]
    without = Grid(None, GRID.transform, GRID.width, GRID.height)
    assert len(read_labels(path, "class", without)) == 2


def test_longitude_and_latitude_may_be_in_another_crs(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("longitude,latitude,class\n500005,4999995,1\n500205,4999995,2\n")
    assert len(read_labels(path, "class", GRID, layer_crs=GRID.crs)) == 2
    with pytest.raises(InputError, match="No label"):
        read_labels(path, "class", GRID)


def test_whole_numbers_are_codes_and_empty_cells_no_class(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(f"longitude,latitude,code\n{HERE},10\n{HERE},\n{HERE},3\n")
    labels = read_labels(path, "code", GRID)
    assert [(entry.code, entry.name) for entry in labels.legend] == [(3, "Class 3"), (10, "Class 10")]
    assert finding(labels, "no-class").features == (2,)


def test_numbers_with_leading_zeros_stay_text(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(f"longitude,latitude,code\n{HERE},007\n{HERE},010\n")
    assert read_points_table(str(path)).columns["code"].tolist() == ["007", "010"]


def test_rows_without_a_place_or_of_another_length_are_told(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(f"longitude,latitude,class\n{HERE},a\nsomewhere,,a\n{HERE}\n{HERE},b,c,d\n")
    labels = read_labels(path, "class", GRID)
    assert finding(labels, "no-geometry").features == (2,)
    assert finding(labels, "no-class").features == (3,)
    assert "2 rows" in finding(labels, "rows").message


def test_points_on_the_other_side_of_the_earth_lie_outside(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(f"longitude,latitude,class\n{HERE},a\n-171,-45,a\n9,95,b\n{HERE},b\n")
    labels = read_labels(path, "class", GRID)
    assert labels.features.tolist() == [1, 4]
    assert finding(labels, "outside").features == (2, 3)
    assert "same-pixel" in codes_of(labels)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no columns longitude and latitude"),
        ("a,b\n1,2\n", "no columns longitude and latitude.*a, b"),
        ("longitude,latitude,class\n", "is empty"),
        ("longitude,latitude,a,a\n1,2,3,4\n", "several columns of one name"),
        ("longitude,latitude\n1,2\n", "no fields"),
        ("longitude,latitude,kind\n1,2,3\n", "no field “class” for the class; it has kind"),
        ("longitude,latitude,class\n9,45.1,1.5\n", "holds 1.5, but"),
        ('longitude,latitude,class\n"9,45', "is empty"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, text, words):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_labels(path, "class", GRID)


def test_a_table_with_geometries_as_text_is_left_to_gdal(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('WKT,class\n"POLYGON ((500000 5000000,500100 5000000,500100 4999900,500000 5000000))",a\n')
    assert not is_points_table(str(path))
    labels = read_labels(path, "class", GRID, layer_crs=GRID.crs)
    assert labels.shapes[0].area == pytest.approx(50)


def test_a_filter_on_a_table_is_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(f"longitude,latitude,class\n{HERE},a\n")
    with pytest.raises(InputError, match="cannot be filtered"):
        read_labels(path, "class", GRID, where="class = 'a'")


def test_a_table_on_a_raster_without_crs_is_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(f"longitude,latitude,class\n{HERE},a\n")
    with pytest.raises(InputError, match="raster-crs"):
        read_labels(path, "class", Grid(None, GRID.transform, 60, 40))


def test_a_raster_in_degrees_needs_no_reprojection(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("longitude,latitude,class\n0.25,9.75,a\n1.25,9.75,b\n359.5,9.5,b\n")
    grid = Grid(DEGREES, GRID.transform.__class__(0.5, 0, -1, 0, -0.5, 10), 10, 10)
    places, numbers = ShapeMap(read_labels(path, "class", grid), 10, 10).read(0, 0, 10, 10)
    assert np.argwhere(numbers >= 0).tolist() == [[0, 2], [0, 4], [1, 1]]
    assert places[0, 2] == 0
