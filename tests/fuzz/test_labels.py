"""Spoiled label layers, and shapes and values of all sorts through the reading of labels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import strategies as st
from rasterio.crs import CRS

from thematica.engine.grid import Grid
from thematica.engine.labels.class_codes import ClassField
from thematica.engine.labels.reading import shapes_to_labels
from thematica.engine.labels.shape_map import ShapeMap
from thematica.errors import InputError
from thematica.models.label_classes import LabelClass, check_classes

from ..engine.labels.layers import NORTH_UP, codes_raster, point, square, write_layer
from .campaign import fuzz
from .child import function
from .label_reader import read_all
from .mutate import BYTES, TEXT, spoil_bytes, spoil_text, steps

LAYERS = (
    "l.gpkg", "l.gpkg", "l.geojson", "l.shp", "l.dbf", "l.shx", "l.prj", "l.fgb", "l.csv", "codes.tif",
    "codes.tif.aux.xml",
)  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good labels of many kinds."""
    folder = tmp_path_factory.mktemp("seeds")
    squares = [square(6 * n, 5 * n, 5) for n in range(6)]
    fields = {"class": ["a", "b", "c"] * 2, "id": [1, 2, 3] * 2}
    for name in ("l.gpkg", "l.shp", "l.fgb", "l.geojson"):
        write_layer(folder / name, squares, **fields)
    write_layer(folder / "points.gpkg", [point(3.5 * n, 2) for n in range(6)], "Point", **fields)
    (folder / "l.csv").write_text("longitude,latitude,class\n9.001,45.1515,a\n9.002,45.1511,b\n9.003,45.151,b\n")
    codes = np.random.default_rng(0).choice(np.array([0, 1, 5], "uint8"), (40, 60))
    codes_raster(folder / "codes.tif", codes, compress="deflate")
    (folder / "codes.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category/><Category>A</Category></CategoryNames>'
        '<GDALRasterAttributeTable><FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>'
        '<FieldDefn index="1"><Name>Name</Name><Type>2</Type><Usage>2</Usage></FieldDefn>'
        '<Row index="0"><F>5</F><F>Five</F></Row></GDALRasterAttributeTable></PAMRasterBand></PAMDataset>'
    )
    return folder


def test_spoiled_label_layers_end_in_labels_or_a_sentence(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    def spoiled_labels(name: str, mutations: list, words: list) -> None:
        folder = fresh_folder()
        for part in seeds.glob(f"{name.partition('.')[0]}.*"):
            shutil.copy(part, folder / part.name)
        layer = folder / name
        if layer.suffix in (".geojson", ".csv", ".xml", ".prj"):
            layer.write_text(spoil_text(layer.read_text(), words))
        else:
            layer.write_bytes(spoil_bytes(layer.read_bytes(), mutations))
        chosen = {".dbf": "l.shp", ".shx": "l.shp", ".prj": "l.shp", ".xml": "codes.tif"}.get(layer.suffix, name)
        before = {path.name for path in folder.iterdir()}
        ended = function(read_all, [str(folder / chosen)], seeds / "run.log", 6000)
        # GDAL may add what a Shapefile lacks, in memory; it must not do so on disk.
        assert {path.name for path in folder.iterdir()} == before
        assert ended.crashed or ended.status in (0, 2), ended.err[-3000:]

    fuzz(spoiled_labels, st.sampled_from(LAYERS), steps(BYTES), steps(TEXT), examples=40)


CRSS = (
    None, "EPSG:32632", "EPSG:4326", "EPSG:3857", "EPSG:3031", "EPSG:32660", "EPSG:4979", "+proj=ortho +lat_0=40",
    "+proj=sinu +R=6371007.181",
)  # fmt: skip
TRANSFORMS = (
    NORTH_UP, Affine.identity(), Affine(0.01, 0, 9, 0, -0.01, 45.2), Affine(10, 3, 5e5, 3, -10, 5e6),
    Affine(0, 0, 0, 0, 0, 0), Affine(0.5, 0, -180, 0, -0.5, 90), Affine(1e-9, 0, 5, 0, -1e-9, 5),
    Affine(1e6, 0, -1e7, 0, -1e6, 1e7),
)  # fmt: skip
numbers = st.one_of(
    st.floats(-100, 700),
    st.integers(-10, 70).map(float),
    st.floats(-180, 360),
    st.floats(-1e7, 1e7),
    st.floats(allow_nan=False),
)
rings = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=8)
geometries = st.one_of(
    rings.map(shapely.Polygon),
    rings.map(lambda points: shapely.Point(points[0])),
    rings.map(shapely.MultiPoint),
    st.tuples(numbers, st.floats()).map(shapely.Point),
    rings.map(shapely.LineString),
    rings.map(lambda points: shapely.MultiPolygon([shapely.Polygon(points), shapely.Polygon(points[::-1])])),
    rings.map(lambda points: shapely.GeometryCollection([shapely.Polygon(points), shapely.LineString(points)])),
    st.just(shapely.Polygon()),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_shapes_on_any_raster_become_labels_of_its_pixels() -> None:
    legend = [LabelClass(1, "a", "#000000"), LabelClass(2, "b", "#000001")]

    def any_shapes(shapes: list, crs: str | None, raster_crs: str | None, transform: Affine, size: int) -> None:
        grid = Grid(CRS.from_user_input(raster_crs) if raster_crs else None, transform, size, size)
        wkbs = [shapely.to_wkb(shape) for shape in shapes]
        codes = [1 + n % 2 for n in range(len(shapes))]
        try:
            labels = shapes_to_labels(
                wkbs, codes, list(range(len(shapes))), CRS.from_user_input(crs) if crs else None, legend, grid
            )
        except InputError:
            return
        seen = ShapeMap(labels, size, size)
        places, found = seen.read(0, 0, size, size)
        assert set(np.unique(found)) <= {-1, *range(len(labels))}
        assert (places == np.append(labels.places, -1)[found]).all()
        held = np.zeros((size, size), bool)
        for row, col, height, width in seen.windows(16):
            held[row : row + height, col : col + width] = True
        assert held[places >= 0].all()

    sizes = st.sampled_from([1, 7, 60])
    shapes = st.lists(geometries, min_size=1, max_size=5)
    fuzz(
        any_shapes,
        shapes,
        st.sampled_from(CRSS),
        st.sampled_from(CRSS),
        st.sampled_from(TRANSFORMS),
        sizes,
        examples=150,
    )


texts = st.one_of(
    st.sampled_from(["a", "A ", "10", "010", "1.0", "٣", "-1", "70000", "", "\0", "x" * 300]), st.text(max_size=4)
)
values = st.one_of(
    st.lists(st.one_of(st.none(), texts), min_size=1, max_size=12).map(lambda found: np.array(found, object)),
    st.lists(st.integers(-5, 70000), min_size=1, max_size=12).map(lambda found: np.array(found, np.int64)),
    st.lists(st.one_of(st.floats(), st.integers(-5, 9).map(float)), min_size=1, max_size=12).map(np.array),
    st.lists(st.booleans(), min_size=1, max_size=5).map(np.array),
)


def test_any_values_of_a_field_are_classes_or_refused() -> None:
    known = [LabelClass(3, "a", "#000000"), LabelClass(10, "Ten", "#000001")]

    def any_values(found: np.ndarray, with_list: bool) -> None:
        try:
            codes = ClassField(found, known if with_list else [], "class")
        except InputError:
            return
        check_classes(codes.legend)
        assert [entry.code for entry in codes.legend] == sorted({entry.code for entry in codes.legend})
        places = codes.places(found)
        assert places.shape == found.shape
        assert ((places >= -1) & (places < len(codes.legend))).all()
        # The same value has the same class, alone as among others.
        for value, place in zip(found, places, strict=True):
            assert codes.places(np.array([value], found.dtype))[0] == place

    fuzz(any_values, values, st.booleans(), examples=200)
