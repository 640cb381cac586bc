"""Bands in files of their own, brought to one grid: the same numbers as classification sees."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.windows import Window

from thematica.engine import plain_tiff
from thematica.engine.patch_reader import read_band_files
from thematica.engine.plain_tiff import read_plain
from thematica.engine.raster import RasterSource
from thematica.errors import InputError
from thematica.models.bands import Band, BandMatch


def band_file(path: Path, side: int, seed: int = 0, shift: float = 0.0, **more) -> Path:
    values = np.random.default_rng(seed).integers(0, 5000, (side, side)).astype("uint16")
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 1, "width": side, "height": side, "crs": "EPSG:32633",
        "transform": from_origin(500_000 + shift, 5_000_000, 1200 / side, 1200 / side), **more,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values.astype(profile["dtype"]), 1)
    return path


def as_classification_reads(paths) -> np.ndarray:
    with RasterSource(paths) as source:
        source.select([BandMatch(Band(), number, 1, "given") for number in range(1, len(source.paths) + 1)])
        return source.read(Window(0, 0, source.width, source.height))[0]


@pytest.mark.parametrize(
    "more",
    [
        {}, {"compress": "deflate"}, {"dtype": "float32"}, {"compress": "lzw"}, {"nodata": 0},
        {"compress": "deflate", "predictor": 2}, {"tiled": True, "blockxsize": 16, "blockysize": 16},
    ],
)  # fmt: skip
def test_the_numbers_are_those_that_classification_sees(tmp_path, more):
    paths = [str(band_file(tmp_path / f"{n}.tif", side, n, **more)) for n, side in enumerate((60, 120, 20, 120, 60))]
    read = read_band_files(paths)
    assert read.shape == (5, 120, 120)
    assert (read == as_classification_reads(paths)).all()


def test_bands_that_do_not_cover_the_same_square_are_laid_over_each_other(tmp_path):
    paths = [str(band_file(tmp_path / f"{n}.tif", 120, n, shift)) for n, shift in enumerate((0.0, 40.0))]
    read = read_band_files(paths)
    assert read.shape == (2, 120, 116)
    assert (read == as_classification_reads(paths)).all()


@pytest.mark.real
def test_real_patches_are_the_same_too_and_need_no_gdal(real_data, monkeypatch):
    folders = sorted(real_data("bigearthnet_tiny/S2").iterdir())
    wanted = [as_classification_reads([str(folder)]) for folder in folders]
    monkeypatch.setattr("thematica.engine.patch_reader.RasterSource", None)
    names = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
    for folder, samples in zip(folders, wanted, strict=True):
        read = read_band_files([f"{folder}/{folder.name}_{name}.tif" for name in names])
        assert read.dtype == np.uint16
        assert (read == samples).all()


def test_missing_and_damaged_files_get_a_sentence(tmp_path):
    whole = str(band_file(tmp_path / "whole.tif", 120))
    with pytest.raises(InputError, match="no file"):
        read_band_files([whole, str(tmp_path / "none.tif")])
    cut = tmp_path / "cut.tif"
    cut.write_bytes(Path(whole).read_bytes()[:9000])
    with pytest.raises(InputError, match="damaged"):
        read_band_files([whole, str(cut)])
    cut.write_bytes(b"II*\0")
    with pytest.raises(InputError, match="not a raster"):
        read_band_files([whole, str(cut)])


@given(
    st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]), st.integers(1, 30), st.integers(1, 30),
    st.sampled_from([{}, {"compress": "deflate"}, {"blockysize": 3}, {"endianness": "big"}]), st.integers(0, 99),
)  # fmt: skip
def test_what_is_read_without_gdal_is_what_gdal_reads(dtype, height, width, more, seed):
    values = np.random.default_rng(seed).integers(0, 200, (height, width)).astype(dtype)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype=dtype, count=1, width=width, height=height, crs="EPSG:32633",
            transform=from_origin(1000.5, 2000, 2, 3), **more,
        ) as file:  # fmt: skip
            file.write(values, 1)
        content = bytes(memory.getbuffer())
        with memory.open() as file:
            bounds = file.bounds
    image = plain_tiff._parse(content)
    assert image is not None
    assert image.samples.dtype == np.dtype(dtype)
    assert (image.samples == values).all()
    assert image.bounds == (bounds.left, bounds.top, bounds.right, bounds.bottom)


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=8))
def test_damaged_bytes_are_left_to_gdal_or_are_another_image_but_no_crash(place, noise):
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype="uint16", count=1, width=20, height=20, crs="EPSG:32633",
            transform=from_origin(0, 0, 10, 10),
        ) as file:  # fmt: skip
            file.write(np.ones((20, 20), "uint16"), 1)
        content = bytearray(memory.getbuffer())
    content[place % len(content) : place % len(content) + len(noise)] = noise
    with TemporaryDirectory() as folder:
        path = Path(folder, "spoilt.tif")
        path.write_bytes(bytes(content))
        image = read_plain(path)
    assert image is None or image.samples.ndim == 2


def test_turned_and_unplaced_and_large_images_and_those_of_several_bands_are_left_to_gdal(tmp_path):
    for number, more in enumerate(({"count": 2}, {"transform": Affine(10, 2, 0, 1, -10, 0)}, {"transform": None})):
        assert read_plain(band_file(tmp_path / f"{number}.tif", 20, **more)) is None
    assert read_plain(band_file(tmp_path / "large.tif", 2000)) is None
    with rasterio.open(band_file(tmp_path / "scaled.tif", 20), "r+") as file:
        file.scales = (0.5,)
    assert read_plain(tmp_path / "scaled.tif") is None
    beside = band_file(tmp_path / "beside.tif", 20)
    assert read_plain(beside) is not None
    beside.with_name("beside.tif.aux.xml").write_text("<PAMDataset/>")
    assert read_plain(beside) is None
