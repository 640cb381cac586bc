"""Spoiled rasters and areas through the whole program: a whole map, or a sentence and nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.shutil import copy

from ..engine.networks import image, light, noise
from .campaign import fuzz
from .child import command
from .laws import ends_well
from .mutate import BYTES, TEXT, TIFF, spoil_bytes, spoil_text, spoil_tiff, steps


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small good rasters of many kinds, areas, and a network that fits them all."""
    folder = tmp_path_factory.mktemp("seeds")
    light(folder / "net.onnx")
    samples = noise((3, 70, 90))
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 32}
    kinds = {
        "strips": {}, "strips_lzw": {"compress": "lzw", "predictor": 2}, "tiles": {**tiles, "compress": "deflate"},
        "big": {**tiles, "BIGTIFF": "YES"}, "bands": {**tiles, "interleave": "band", "nodata": 0},
        "jpeg": {**tiles, "compress": "jpeg"}, "zstd": {**tiles, "compress": "zstd", "BIGTIFF": "YES"},
        "motorola": {"ENDIANNESS": "BIG"}, "sparse": {**tiles, "SPARSE_OK": "TRUE", "nodata": 7},
    }  # fmt: skip
    for name, profile in kinds.items():
        image(folder / f"{name}.tif", samples, **profile)
    image(folder / "floats.tif", noise((3, 70, 90), "float32"), **tiles, compress="lzw", predictor=3)
    with rasterio.open(shutil.copy(folder / "tiles.tif", folder / "overviews.tif"), "r+") as dataset:
        dataset.build_overviews([2, 4])
    corners = [(0, 0), (0, 90), (70, 0), (70, 90)]
    points = [GroundControlPoint(row, column, 5e5 + 10 * column, 5.5e6 - 10 * row) for row, column in corners]
    with rasterio.open(shutil.copy(folder / "strips.tif", folder / "points.tif"), "r+") as dataset:
        dataset.gcps = points, rasterio.CRS.from_epsg(32632)
    image(folder / "pam.tif", samples)
    (folder / "pam.tif.aux.xml").write_text(
        '<PAMDataset>\n<SRS dataAxisToSRSAxisMapping="1,2">EPSG:32632</SRS>\n'
        "<GeoTransform>500000, 10, 0, 5500000, 0, -10</GeoTransform>\n"
        '<Metadata>\n<MDI key="AREA_OR_POINT">Area</MDI>\n</Metadata>\n'
        '<PAMRasterBand band="1">\n<Description>B1</Description>\n<NoDataValue>0</NoDataValue>\n'
        "<Scale>1</Scale>\n<Offset>0</Offset>\n<ColorInterp>Red</ColorInterp>\n</PAMRasterBand>\n</PAMDataset>\n"
    )
    copy(folder / "tiles.tif", folder / "plain.vrt", driver="VRT")
    text = (folder / "plain.vrt").read_text()
    (folder / "plain.vrt").write_text(text.replace('relativeToVRT="0"', 'relativeToVRT="1"'))
    (folder / "circle.vrt").write_text((folder / "plain.vrt").read_text().replace("tiles.tif", "circle.vrt"))
    squares = np.array([shapely.box(500_100, 5_499_500, 500_600, 5_499_900)], object)
    for name, driver in (("area.gpkg", "GPKG"), ("area.geojson", "GeoJSON"), ("area.shp", "ESRI Shapefile")):
        pyogrio.raw.write(
            str(folder / name), shapely.to_wkb(squares), [np.array(["field"], object)], ["name"],
            geometry_type="Polygon", crs="EPSG:4326" if driver == "GeoJSON" else "EPSG:32632", driver=driver,
        )  # fmt: skip
    return folder


RASTERS = (
    "strips", "strips_lzw", "tiles", "big", "bands", "jpeg", "zstd", "motorola", "sparse", "floats", "overviews",
    "points", "pam",
)  # fmt: skip


def classify(seeds: Path, folder: Path, raster: Path, *more: str) -> None:
    """Run Classify pixels into the folder, and hold it to the law."""
    arguments = [
        "classify-pixels", str(raster), "--model", str(seeds / "net.onnx"), "--output", str(folder / "map.tif"),
        "--threads", "1", *more,
    ]  # fmt: skip
    before = {path.name for path in folder.iterdir()}
    ends_well(command(arguments, seeds / "run.log"), folder, before)


def test_spoiled_tiff_headers_end_in_a_map_or_a_sentence(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    def spoiled_tiff(name: str, mutations: list) -> None:
        folder = fresh_folder()
        raster = folder / "scene.tif"
        raster.write_bytes(spoil_tiff((seeds / f"{name}.tif").read_bytes(), mutations))
        if name == "pam":
            shutil.copy(seeds / "pam.tif.aux.xml", folder / "scene.tif.aux.xml")
        classify(seeds, folder, raster)

    fuzz(spoiled_tiff, st.sampled_from(RASTERS), steps(TIFF), examples=50)


def test_spoiled_side_cars_and_virtual_rasters(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    def spoiled_xml(name: str, mutations: list) -> None:
        folder = fresh_folder()
        raster = folder / ("scene.tif" if name == "pam.tif.aux.xml" else name)
        text = spoil_text((seeds / name).read_text(), mutations)
        if name == "pam.tif.aux.xml":
            shutil.copy(seeds / "strips.tif", raster)
            (folder / "scene.tif.aux.xml").write_text(text)
        else:
            shutil.copy(seeds / "tiles.tif", folder / "tiles.tif")
            raster.write_text(text)
        classify(seeds, folder, raster)

    names = st.sampled_from(("pam.tif.aux.xml", "plain.vrt", "plain.vrt", "circle.vrt"))
    fuzz(spoiled_xml, names, steps(TEXT), examples=25)


def test_a_virtual_raster_of_itself(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    """Also through two others, and one that holds itself twice."""
    text = (seeds / "plain.vrt").read_text()
    for chain in (["a.vrt"], ["b.vrt", "a.vrt"], ["b.vrt", "c.vrt", "a.vrt"]):
        folder = fresh_folder()
        for name, source in zip(["a.vrt", *chain], chain, strict=False):
            (folder / name).write_text(text.replace("tiles.tif", source))
        classify(seeds, folder, folder / "a.vrt")


def test_spoiled_areas(seeds: Path, fresh_folder: Callable[[], Path]) -> None:
    def spoiled_area(name: str, mutations: list, words: list) -> None:
        folder = fresh_folder()
        for part in seeds.glob(f"{Path(name).stem}.*"):
            shutil.copy(part, folder / part.name)
        area = folder / name
        if area.suffix == ".geojson":
            area.write_text(spoil_text(area.read_text(), words))
        else:
            area.write_bytes(spoil_bytes(area.read_bytes(), mutations))
        chosen = folder / ("area.shp" if area.suffix in (".dbf", ".shx", ".prj", ".cpg") else name)
        classify(seeds, folder, seeds / "strips.tif", "--area", str(chosen))

    names = ("area.gpkg", "area.gpkg", "area.geojson", "area.geojson", "area.shp", "area.dbf", "area.shx", "area.prj")
    fuzz(spoiled_area, st.sampled_from(names), steps(BYTES), steps(TEXT), examples=25)
