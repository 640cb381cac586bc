"""The class list of a label layer, and its table in a GeoPackage."""

from __future__ import annotations

import sqlite3

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from thematica.errors import InputError, OutputError
from thematica.models.label_classes import (
    HIGHEST_CODE,
    TABLE,
    LabelClass,
    check_classes,
    from_json,
    next_code,
    parse_merges,
    read_classes,
    recolored,
    to_json,
    with_colors,
    write_classes,
)

CLASSES = [LabelClass(1, "Wasser", "#0000ff"), LabelClass(7, "Wald – „dicht“", "#00aa00", "Grün")]


@pytest.fixture
def geopackage(tmp_path):
    path = tmp_path / "labels.gpkg"
    pyogrio.raw.write(
        path,
        geometry=np.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))], object),
        field_data=[np.array([1])],
        fields=["class"],
        layer="labels",
        driver="GPKG",
        geometry_type="Polygon",
        crs="EPSG:32632",
    )
    return path


def test_what_is_written_is_read_in_the_same_order(geopackage):
    for classes in (CLASSES, CLASSES[::-1]):
        write_classes(geopackage, "labels", classes)
        assert read_classes(geopackage, "labels") == classes


def test_layers_of_one_file_have_lists_of_their_own(geopackage):
    write_classes(geopackage, "labels", CLASSES)
    write_classes(geopackage, "others", CLASSES[:1])
    assert read_classes(geopackage, "labels") == CLASSES
    assert read_classes(geopackage, "others") == CLASSES[:1]
    assert read_classes(geopackage, "none") == []


def test_gdal_lists_the_table_beside_the_layer_which_is_unharmed(geopackage):
    write_classes(geopackage, "labels", CLASSES)
    assert [name for name, _ in pyogrio.list_layers(geopackage)] == ["labels", TABLE]
    assert pyogrio.read_info(geopackage, layer=TABLE)["features"] == 2
    assert pyogrio.read_info(geopackage, layer="labels")["features"] == 1


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0 but broken"])
def test_a_file_that_keeps_no_classes_gives_none(tmp_path, content):
    path = tmp_path / "file.gpkg"
    path.write_bytes(content)
    assert read_classes(path, "labels") == []
    assert path.read_bytes() == content


def test_a_missing_file_gives_none_and_is_not_made(tmp_path):
    assert read_classes(tmp_path / "missing.gpkg", "labels") == []
    assert not (tmp_path / "missing.gpkg").exists()


def test_a_file_that_is_no_geopackage_is_not_written(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")
    with pytest.raises(OutputError, match="could not be written"):
        write_classes(path, "labels", CLASSES)
    with sqlite3.connect(path) as database:
        assert [row[0] for row in database.execute("SELECT name FROM sqlite_master")] == ["mine"]


def test_a_missing_file_is_not_made_by_writing(tmp_path):
    with pytest.raises(OutputError, match="could not be written"):
        write_classes(tmp_path / "missing.gpkg", "labels", CLASSES)
    assert not list(tmp_path.iterdir())


def test_a_locked_file_is_told_and_keeps_its_list(geopackage, monkeypatch):
    write_classes(geopackage, "labels", CLASSES)
    monkeypatch.setattr("thematica.models.geopackage.SECONDS_TO_WAIT", 0.05)
    with sqlite3.connect(geopackage, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OutputError, match="in use"):
            write_classes(geopackage, "labels", CLASSES[:1])
        other.execute("ROLLBACK")
    assert read_classes(geopackage, "labels") == CLASSES


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ([LabelClass(-1, "a", "#000000")], "from 0 to 65535"),
        ([LabelClass(HIGHEST_CODE + 1, "a", "#000000")], "from 0 to 65535"),
        ([LabelClass(True, "a", "#000000")], "whole number"),
        ([LabelClass(1, "  ", "#000000")], "no name"),
        ([LabelClass(1, "a", "red")], "no colour"),
        ([LabelClass(1, "a", "#000000"), LabelClass(1, "b", "#000000")], "same code"),
        ([LabelClass(1, "Wald", "#000000"), LabelClass(2, "wald ", "#000000")], "merge"),
    ],
)
def test_a_list_that_no_map_could_show_is_refused(geopackage, classes, words):
    with pytest.raises(InputError, match=words):
        check_classes(classes)
    with pytest.raises(InputError, match=words):
        write_classes(geopackage, "labels", classes)
    assert read_classes(geopackage, "labels") == []


TEXTS = st.text(min_size=1, max_size=9).filter(lambda text: text.strip())


@given(st.lists(st.tuples(st.integers(0, HIGHEST_CODE), TEXTS), unique_by=(lambda e: e[0], lambda e: e[1]), max_size=9))
def test_json_keeps_everything(entries):
    classes = with_colors(entries)
    assert from_json(to_json(classes)) == classes
    assert len({entry.color for entry in classes}) == len(classes)
    assert next_code(classes) not in {entry.code for entry in classes}


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '[{"code": 1}]', '[{"code": "x", "name": "a", "color": "#000000"}]', "7"]
)
def test_json_that_is_no_list_of_classes_is_refused(text):
    with pytest.raises(InputError, match="list of classes"):
        from_json(text)


def test_one_class_gets_another_colour():
    assert recolored(CLASSES, 7, "#123456") == [CLASSES[0], LabelClass(7, CLASSES[1].name, "#123456", "Grün")]


def test_merges_are_followed_to_their_end():
    assert parse_merges("") == {}
    assert parse_merges("a=b, b = c,d=c") == {"a": "c", "b": "c", "d": "c"}
    assert parse_merges("a=b,a=b") == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("a", "no merge"), ("a=", "no merge"), ("=b", "no merge"), ("a=b,a=c", "two others"), ("a=a", "circle"),
     ("a=b,b=a", "circle"), ("x=a,a=b,b=a", "circle")],
)  # fmt: skip
def test_what_is_no_merge_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        parse_merges(text)
