"""Labels that are a raster: codes with holes, names from wherever they stand, other grids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.engine.grid import Grid
from thematica.engine.labels.labels import UNLABELLED
from thematica.engine.labels.open_labels import open_labels
from thematica.engine.labels.raster_labels import RasterLabels
from thematica.engine.labels.shape_map import ShapeMap
from thematica.engine.pam import ClassRow, write_pam
from thematica.errors import InputError
from thematica.models.label_classes import LabelClass

from .layers import GRID, codes_of, codes_raster, finding, square, write_layer


def some_codes(height=40, width=60, values=(0, 1, 10, 14)) -> np.ndarray:
    return np.random.default_rng(3).choice(np.array(values), (height, width))


def whole(labels):
    places, shapes = labels.read(0, 0, labels.height, labels.width)
    assert (shapes == UNLABELLED).all()
    codes = np.array([entry.code for entry in labels.legend] + [-1])
    return codes[places]


def test_sparse_codes_and_zero_for_no_label(tmp_path):
    codes = some_codes().astype("uint8")
    with RasterLabels(codes_raster(tmp_path / "l.tif", codes), GRID) as labels:
        assert [(entry.code, entry.name) for entry in labels.legend] == [
            (1, "Class 1"),
            (10, "Class 10"),
            (14, "Class 14"),
        ]
        assert (whole(labels) == np.where(codes == 0, -1, codes.astype(int))).all()
        assert labels.findings == []


def test_nodata_and_chosen_codes_are_no_labels(tmp_path):
    codes = some_codes(values=(0, 1, 2, 255)).astype("int16")
    path = codes_raster(tmp_path / "l.tif", codes, nodata=255)
    with RasterLabels(path, GRID, ignore=(2,)) as labels:
        assert [entry.code for entry in labels.legend] == [0, 1]
        assert (whole(labels) == np.where(np.isin(codes, (2, 255)), -1, codes)).all()


def test_codes_stored_as_real_numbers(tmp_path):
    codes = some_codes().astype("float32")
    codes[3, 3] = np.nan
    with RasterLabels(codes_raster(tmp_path / "l.tif", codes), GRID) as labels:
        assert (whole(labels) == np.where(np.isnan(codes) | (codes == 0), -1, np.nan_to_num(codes))).all()


def test_names_and_colours_of_a_map_of_ours(tmp_path):
    path = codes_raster(tmp_path / "l.tif", some_codes().astype("uint8"))
    rows = [ClassRow(1, "Forêt", "#00ff00"), ClassRow(10, "Water", "#0000ff"), ClassRow(20, "Ice", "#ffffff")]
    write_pam(path, rows, 255, None)
    with RasterLabels(path, GRID) as labels:
        assert labels.legend[0] == LabelClass(1, "Forêt", "#00ff00")
        assert [(entry.code, entry.name) for entry in labels.legend[1:]] == [
            (10, "Water"), (14, "Class 14"), (20, "Ice"),
        ]  # fmt: skip
        assert "Ice" in finding(labels, "empty-class").message
        assert "Class 14" in finding(labels, "unknown-class").message


def test_names_of_a_virtual_raster_and_colours_of_a_table(tmp_path):
    path = codes_raster(tmp_path / "l.tif", some_codes().astype("uint8"))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {1: (255, 0, 0), 10: (0, 0, 255)})
    with RasterLabels(path, GRID) as labels:
        assert [entry.color for entry in labels.legend[:2]] == ["#ff0000", "#0000ff"]
    from rasterio.shutil import copy

    copy(path, tmp_path / "l.vrt", driver="VRT")
    text = (tmp_path / "l.vrt").read_text()
    names = "<CategoryNames><Category/><Category>Red</Category></CategoryNames>"
    (tmp_path / "l.vrt").write_text(text.replace("</VRTRasterBand>", f"{names}</VRTRasterBand>"))
    with RasterLabels(tmp_path / "l.vrt", GRID) as labels:
        assert labels.legend[0].name == "Red"


def test_names_in_an_envi_header(tmp_path):
    codes = some_codes(values=(0, 1, 2)).astype("uint8")
    path = tmp_path / "classes"
    height, width = codes.shape
    with rasterio.open(
        path,
        "w",
        driver="ENVI",
        width=width,
        height=height,
        count=1,
        dtype="uint8",
        crs=GRID.crs,
        transform=GRID.transform,
    ) as dataset:
        dataset.write(codes, 1)
    header = next(tmp_path.glob("classes*.hdr"))
    header.write_text(header.read_text() + "\nclass names = {Unclassified, Rice, Wheat}\n")
    (tmp_path / "classes.aux.xml").unlink(missing_ok=True)
    with RasterLabels(path, GRID) as labels:
        assert [entry.name for entry in labels.legend] == ["Rice", "Wheat"]


def test_two_codes_of_one_name_stay_two_classes(tmp_path):
    path = codes_raster(tmp_path / "l.tif", some_codes().astype("uint8"))
    write_pam(path, [ClassRow(1, "Forest", "#00ff00"), ClassRow(10, "forest", "#0000ff")], 255, None)
    with RasterLabels(path, GRID) as labels:
        assert [entry.name for entry in labels.legend[:2]] == ["Forest (1)", "forest (10)"]


def test_a_damaged_sidecar_says_nothing(tmp_path):
    path = codes_raster(tmp_path / "l.tif", some_codes().astype("uint8"))
    (tmp_path / "l.tif.aux.xml").write_text("<PAMDataset><PAMRasterBand band='1'><CategoryNames>")
    with RasterLabels(path, GRID) as labels:
        assert labels.legend[0].name == "Class 1"


def test_classes_are_merged_and_given(tmp_path):
    path = codes_raster(tmp_path / "l.tif", some_codes().astype("uint8"))
    given_classes = [LabelClass(1, "a", "#000001"), LabelClass(10, "b", "#000002"), LabelClass(14, "c", "#000003")]
    with RasterLabels(path, GRID, classes=given_classes, merge={"b": "a"}) as labels:
        assert [entry.name for entry in labels.legend] == ["a", "c"]
        assert ((whole(labels) == 1) == np.isin(some_codes(), (1, 10))).all()
    with pytest.raises(InputError, match="no class “z”; the classes are a, b, c"):
        RasterLabels(path, GRID, classes=given_classes, merge={"z": "a"})


def test_labels_on_another_grid_are_those_at_the_centres(tmp_path):
    coarse = some_codes(20, 30).astype("uint8")
    path = codes_raster(tmp_path / "l.tif", coarse, resolution=30, origin=(499_900, 5_000_100))
    with RasterLabels(path, GRID) as labels:
        rows, columns = np.arange(40), np.arange(60)
        expected = coarse[
            ((rows + 0.5) * 10 + 100)[:, None].astype(int) // 30, ((columns + 0.5) * 10 + 100).astype(int) // 30
        ]
        assert (whole(labels) == np.where(expected == 0, -1, expected.astype(int))).all()
        assert "other-grid" in codes_of(labels)


def test_labels_that_cover_only_a_part(tmp_path):
    path = codes_raster(tmp_path / "l.tif", np.full((5, 5), 3, "uint8"), origin=(500_100, 4_999_900))
    with RasterLabels(path, GRID) as labels:
        found = whole(labels)
        assert (found[10:15, 10:15] == 3).all()
        assert (found == 3).sum() == 25


def test_an_image_and_labels_without_georeference_have_the_same_size(tmp_path):
    grid = Grid(None, rasterio.Affine.identity(), 60, 40)
    path = codes_raster(tmp_path / "l.tif", some_codes().astype("uint8"), crs=None, transform=None)
    with RasterLabels(path, grid) as labels:
        assert (whole(labels) > 0).any()
    with RasterLabels(path, GRID) as labels:
        assert (whole(labels) > 0).any()
    with pytest.raises(InputError, match="not both georeferenced"):
        RasterLabels(path, replace(GRID, height=41))


@settings(max_examples=40)
@given(st.tuples(st.integers(-3, 45), st.integers(-3, 65), st.integers(0, 50), st.integers(0, 70)), st.booleans())
def test_any_window_is_that_part_of_the_whole(tmp_path_factory, window, same_grid):
    path = tmp_path_factory.getbasetemp() / f"window{same_grid}.tif"
    if not path.exists():
        options = {} if same_grid else {"resolution": 7.0, "origin": (500_013, 4_999_991)}
        codes_raster(path, some_codes().astype("uint8"), **options)
    with RasterLabels(path, GRID) as labels:
        expected = np.full((150, 150), UNLABELLED)
        expected[10:50, 10:70] = labels.read(0, 0, 40, 60)[0]
        row, col, height, width = window
        found = labels.read(row, col, height, width)[0]
        assert (found == expected[row + 10 : row + 10 + height, col + 10 : col + 10 + width]).all()


@pytest.mark.parametrize("side", [100, 256, 512, 700])
def test_windows_without_labels_are_left_out(tmp_path, side):
    codes = np.zeros((1500, 1300), "uint8")
    codes[1490, 5], codes[3, 1200] = 1, 2
    grid = replace(GRID, height=1500, width=1300)
    with RasterLabels(codes_raster(tmp_path / "l.tif", codes), grid) as labels:
        found = np.zeros(codes.shape, int)
        windows = list(labels.windows(side))
        for row, col, height, width in windows:
            found[row : row + height, col : col + width] = labels.read(row, col, height, width)[0] + 1
        assert (found == codes).all()
        assert len(windows) < (1500 / side) * (1300 / side)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((40, 60), "uint8"), "no label in the image"),
        (np.full((40, 60), 1.5, "float32"), "1.5.*whole numbers"),
        (np.arange(2400).reshape(40, 60).astype("uint16"), "more than 1000 different values"),
        (np.full((40, 60), -3, "int16"), "empty|no label"),
        (np.ones((40, 60), "complex64"), "complex"),
    ],
    ids=["nothing", "fractions", "an image", "only negative", "complex"],
)
def test_rasters_that_are_no_labels_are_refused(tmp_path, codes, words):
    with pytest.raises(InputError, match=words):
        RasterLabels(codes_raster(tmp_path / "l.tif", codes), GRID)


def test_a_label_raster_elsewhere_is_refused(tmp_path):
    path = codes_raster(tmp_path / "l.tif", some_codes().astype("uint8"), origin=(900_000, 5_000_000))
    with pytest.raises(InputError, match="no label in the image"):
        RasterLabels(path, GRID)
    with pytest.raises(InputError, match="no band 2"):
        RasterLabels(path, GRID, band=2)


def test_the_file_decides_what_labels_are(tmp_path):
    raster = codes_raster(tmp_path / "l.tif", some_codes().astype("uint8"))
    vector = write_layer(tmp_path / "l.gpkg", [square(1, 1), square(10, 10)], code=[1, 2])
    table = tmp_path / "l.csv"
    table.write_text("x,y,code\n500005,4999995,1\n500105,4999995,2\n")
    with open_labels(str(raster), "", GRID) as labels:
        assert isinstance(labels, RasterLabels)
    with open_labels(str(vector), "code", GRID) as labels:
        assert isinstance(labels, ShapeMap)
    with open_labels(f"{vector}|layername=l", "code", GRID, merge={"1": "2"}) as labels:
        assert len(labels.legend) == 1
    with open_labels(str(table), "code", GRID, layer_crs=GRID.crs) as labels:
        assert isinstance(labels, ShapeMap)
    with pytest.raises(InputError, match="no file"), open_labels(str(tmp_path / "none.tif"), "code", GRID):
        pass
