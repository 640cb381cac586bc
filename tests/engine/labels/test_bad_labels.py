"""Labels that cannot be used: one sentence each that says what is wrong and what to do, never another error.

One table: each row prepares a layer that is good otherwise, spoils one thing, and says with which words the sentence
must tell it.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import shapely
from rasterio.crs import CRS

from thematica.engine.grid import Grid
from thematica.engine.labels.reading import read_labels
from thematica.errors import InputError
from thematica.models.label_classes import LabelClass

from .layers import DEGREES, GRID, of_undefined_crs, square, write_layer

TABLE: list = []
LINE = shapely.LineString([(500_000, 5_000_000), (500_100, 4_999_900)])
WITHOUT_CRS = replace(GRID, crs=None)


def row(words: str, **options: Any) -> Callable:
    """Add a row; the function spoils something and returns the source, perhaps with other options."""

    def add(prepare: Callable) -> Callable:
        TABLE.append(pytest.param(prepare, words, options, id=prepare.__name__.strip("_")))
        return prepare

    return add


def good(folder: Path, name: str = "l.gpkg", **more: Any) -> Path:
    return write_layer(folder / name, [square(1, 1), square(20, 20)], **{"class": ["a", "b"], **more})


# The file


@row("no file .*none.gpkg")
def _no_such_file(folder):
    return folder / "none.gpkg"


@row("not a vector file")
def _text(folder):
    (folder / "l.gpkg").write_text("I am no layer")
    return folder / "l.gpkg"


@row("not a vector file")
def _an_empty_file(folder):
    (folder / "l.gpkg").write_bytes(b"")
    return folder / "l.gpkg"


@row("not a vector file|damaged")
def _cut_in_the_middle(folder):
    path = good(folder)
    path.write_bytes(path.read_bytes()[:5000])
    return path


@row("damaged|not a vector file")
def _a_broken_page(folder):
    path = write_layer(folder / "l.gpkg", [square(n % 50, n // 50) for n in range(1500)], **{"class": ["a"] * 1500})
    content = bytearray(path.read_bytes())
    content[100_000:130_000] = os.urandom(30_000)
    path.write_bytes(content)
    return path


@row("not a vector file|no layer")
def _a_folder(folder):
    (folder / "l").mkdir()
    return folder / "l"


@row("not a vector file")
def _a_shapefile_without_its_parts(folder):
    path = good(folder, "l.shp")
    for name in ("l.shx", "l.dbf"):
        (folder / name).unlink()
    path.write_bytes(path.read_bytes()[:60])
    return path


@row("no layer “other”.*“l”")
def _another_layer(folder):
    return f"{good(folder)}|layername=other"


@row("table without geometry|no layer with geometry")
def _a_table(folder):
    with closing(sqlite3.connect(good(folder))) as database, database:
        database.execute("UPDATE gpkg_contents SET data_type = 'attributes'")
        database.execute("DELETE FROM gpkg_geometry_columns")
    return folder / "l.gpkg"


@row("lines, which cover no pixels.*Buffer")
def _lines(folder):
    return write_layer(folder / "l.gpkg", [LINE, LINE], "LineString", **{"class": ["a", "b"]})


@row("holds no label that can be used: 2 features that are lines")
def _lines_in_a_layer_of_anything(folder):
    return write_layer(folder / "l.gpkg", [LINE, LINE], "Unknown", **{"class": ["a", "b"]})


@row("holds no label that can be used: 2 features without a geometry")
def _no_geometries(folder):
    return write_layer(folder / "l.gpkg", [None, None], **{"class": ["a", "b"]})


@row("is empty: it holds no feature")
def _no_features(folder):
    path = good(folder)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TRIGGER IF EXISTS rtree_l_geom_delete")
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("DELETE FROM l")
    return path


@row("names no field of it, or is no SQL", where="nothing = 1")
def _a_filter_of_another_layer(folder):
    return good(folder)


@row("names no field of it, or is no SQL")
def _a_filter_that_is_none(folder):
    return f"{good(folder)}|subset=(("


@row("whole query")
def _a_filter_that_is_a_query(folder):
    return f"{good(folder)}|subset=SELECT * FROM l"


@row("no feature that the filter leaves|no feature", where="class = 'z'")
def _a_filter_that_leaves_nothing(folder):
    return good(folder)


# The field


@row("no field “kind” for the class; it has class, id", field="kind")
def _another_field(folder):
    return good(folder, id=[1, 2])


@row("Say which field .* it has note, kind", field="")
def _no_field_named(folder):
    return write_layer(folder / "l.gpkg", [square(1, 1)], note=["a"], kind=["b"])


@row("has no fields")
def _no_fields(folder):
    return write_layer(folder / "l.gpkg", [square(1, 1)])


@row("holds 1.5, but the codes of classes are whole numbers", field="size")
def _a_measurement(folder):
    return good(folder, size=[1.5, 2.25])


@row("3000 different values", field="number")
def _numbers_of_features(folder):
    return write_layer(folder / "l.gpkg", [square(1, 1)] * 3000, number=list(range(3000)))


@row("holds dates", field="day")
def _dates(folder):
    path = folder / "l.gpkg"
    shapes = np.array([shapely.to_wkb(square(1, 1))], object)
    pyogrio.raw.write(
        path, shapes, [np.array(["2011-09-01"], "datetime64[D]")], ["day"], geometry_type="Polygon", crs="EPSG:32632"
    )
    return path


@row("is empty in all features")
def _no_class_anywhere(folder):
    return write_layer(folder / "l.gpkg", [square(1, 1), square(20, 1)], **{"class": ["", None]})


@row("no field “scene” for the image", image_field="scene", image="a")
def _no_image_field(folder):
    return good(folder)


@row("another image", image_field="scene", image="c.tif")
def _labels_of_other_images(folder):
    return good(folder, scene=["a.tif", "b.tif"])


@row("both fields: --from-field", from_field="start")
def _only_one_date_field(folder):
    return good(folder, start=["2010-01-01", "2010-01-01"])


@row("field “start” .*holds no dates", from_field="start", to_field="end")
def _dates_that_are_none(folder):
    return good(folder, start=["spring", "autumn"], end=["2010-01-01", "2010-01-01"])


@row("without a date", from_field="start", to_field="end")
def _dates_that_go_backwards(folder):
    return good(folder, start=["2011-01-01", "2011-01-01"], end=["2010-01-01", "2011-01-01"])


# Classes


@row("no class “c”; the classes are a, b", merge={"c": "a"})
def _merging_what_there_is_not(folder):
    return good(folder)


@row("no class “c”; the classes are a, b", merge={"a": "c"})
def _merging_into_what_there_is_not(folder):
    return good(folder)


@row("round in a circle", merge={"a": "2", "b": "1"})
def _merging_in_a_circle(folder):
    return good(folder)


@row("round in a circle", merge={"a": "a"})
def _merging_into_itself(folder):
    return good(folder)


@row("Two classes are called", classes=[LabelClass(1, "a", "#000000"), LabelClass(2, "A", "#000001")])
def _two_classes_of_one_name(folder):
    return good(folder)


# The place


@row("has no CRS.*--labels-crs")
def _no_crs(folder):
    path = good(folder, "l.shp")
    (folder / "l.prj").unlink()
    return path


@row("has no CRS.*--labels-crs")
def _a_geopackage_of_an_undefined_crs(folder):
    return of_undefined_crs(good(folder), -1)


@row("has no CRS.*--labels-crs")
def _a_geopackage_of_an_undefined_geographic_crs(folder):
    return of_undefined_crs(good(folder), 0)


@row("raster has no CRS.*--raster-crs.*labels", grid=WITHOUT_CRS)
def _a_raster_without_crs(folder):
    return good(folder)


@row(
    "No label .* lies in the raster: they lie at 500010, .* in EPSG:32632, the raster at",
    grid=replace(GRID, transform=GRID.transform @ GRID.transform.translation(5000, 0)),
)
def _elsewhere(folder):
    return good(folder)


@row("No label .* lies in the raster.*EPSG:4326.*--labels-crs", layer_crs=DEGREES)
def _in_a_crs_that_is_not_theirs(folder):
    return good(folder)


@row("No label .* lies in the raster", grid=Grid(CRS.from_epsg(3031), GRID.transform, 60, 40))
def _at_the_other_end_of_the_earth(folder):
    return good(folder)


@pytest.mark.parametrize(("prepare", "words", "options"), TABLE)
def test_one_sentence_tells_what_is_wrong(tmp_path, prepare, words, options):
    source = prepare(tmp_path)
    before = {entry.name: entry.stat().st_size for entry in tmp_path.iterdir()}
    options = dict(options)
    grid, field = options.pop("grid", GRID), options.pop("field", "class")
    with pytest.raises(InputError) as told:
        read_labels(source, field, grid, **options)
    sentence = told.value.message
    assert re.search(words, sentence), sentence
    assert "\n" not in sentence
    assert len(sentence.replace(str(tmp_path), "")) < 420
    assert {entry.name: entry.stat().st_size for entry in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = good(tmp_path)
    path.chmod(0)
    with pytest.raises(InputError, match="may not be read"):
        read_labels(path, "class", GRID)
