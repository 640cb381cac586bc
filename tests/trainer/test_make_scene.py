"""The demo's scene: declared as a good product is, repeatable, and changed between its dates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from thematica.trainer.simulate import BUILT, CLOUD, GREEN, SNOW, WATER


def make(script: Path, folder: Path, seed: int) -> None:
    command = [sys.executable, str(script), str(folder), "--size", "256", "--seed", str(seed)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def scene(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    make(repository / "demo" / "make_scene.py", folder, 7)
    return folder


def dates(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.tif") if "truth" not in path.name)


def test_it_says_what_it_holds(scene):
    assert len(dates(scene)) == 2
    for path in dates(scene):
        with rasterio.open(path) as dataset:
            assert dataset.descriptions == ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
            assert dataset.dtypes == ("uint16",) * 10
            assert set(dataset.scales) == {0.0001}
            assert dataset.nodata == 0
            assert dataset.crs.to_epsg() == 32632
            assert dataset.res == (10, 10)
            assert set(dataset.block_shapes) == {(256, 256)}
            assert dataset.compression.value.lower() == "deflate"


def test_nodata_is_the_same_in_scene_and_truth_and_covers_a_corner(scene):
    for path in dates(scene):
        with rasterio.open(path) as dataset, rasterio.open(path.with_name(f"{path.stem}-truth.tif")) as truth:
            image, classes = dataset.read(), truth.read(1)
            outside = classes == truth.nodata
            np.testing.assert_array_equal(image == 0, np.broadcast_to(outside, image.shape))
            assert outside[0, 0]
            assert not outside[-1, -1]
            assert 0.005 < outside.mean() < 0.2
            assert set(np.unique(classes[~outside])) >= {WATER, GREEN, BUILT, SNOW, CLOUD}


def test_land_cover_changes_between_the_dates_but_mostly_stays(scene):
    first, second = (rasterio.open(path.with_name(f"{path.stem}-truth.tif")).read(1) for path in dates(scene))
    assert 0.03 < (first != second).mean() < 0.5


def test_the_same_seed_gives_the_same_scene(scene, repository, tmp_path):
    make(repository / "demo" / "make_scene.py", tmp_path, 7)
    for path in dates(scene):
        with rasterio.open(path) as first, rasterio.open(tmp_path / path.name) as again:
            np.testing.assert_array_equal(first.read(), again.read())
