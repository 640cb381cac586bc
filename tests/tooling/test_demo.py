"""The demo's way, on a small scene: classified by qgis_process, drawn by QGIS, all in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from ..conftest import ROOT

QGIS_PYTHON = os.environ.get("QGIS_PYTHON", "/usr/bin/python3")
SIDE = 96


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "demo" / "run.py"), "--qgis-python", QGIS_PYTHON, *options],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def scene(tmp_path):
    """Forest and water in reflectance × 10000, with declared scale and named bands."""
    path = tmp_path / "wood and lake.tif"
    forest = np.array([200, 400, 250, 800, 2200, 2800, 3000, 3200, 1500, 700])
    water = np.array([400, 350, 200, 120, 80, 70, 60, 50, 30, 20])
    pixels = np.empty((10, SIDE, SIDE), np.uint16)
    pixels[:, :, : SIDE // 2] = forest[:, None, None]
    pixels[:, :, SIDE // 2 :] = water[:, None, None]
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 10, "dtype": "uint16"}
    transform = rasterio.transform.from_origin(600_000, 5_300_000, 10, 10)
    with rasterio.open(path, "w", crs="EPSG:32632", transform=transform, **profile) as dataset:
        dataset.write(pixels)
        dataset.scales = [0.0001] * 10
        dataset.descriptions = ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]
    return path


def test_a_scene_becomes_a_picture_with_its_legend(scene, tmp_path):
    told = demo("--scene", str(scene), "--folder", str(tmp_path / "out"))
    assert told.returncode == 0, told.stdout + told.stderr
    picture = Path(told.stdout.splitlines()[-1].removeprefix("Map with legend: "))
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(picture) as dataset:
        drawn = dataset.read((1, 2, 3))
    assert drawn.shape[2] > 1500

    # Half the scene is 46 ha; the table says so for the two classes, and the map shows both colours.
    hectares = {name: float(area) for name, area in re.findall(r"^(\w[\w ]*?) {2,}([\d.]+) ", told.stdout, re.M)}
    for name, (red, green, blue) in {"Water": (43, 111, 196), "Green vegetation": (47, 143, 58)}.items():
        assert hectares[name] == pytest.approx(SIDE * SIDE / 2 / 100, rel=0.05)
        alike = np.all(np.abs(drawn.astype(int) - np.array([red, green, blue])[:, None, None]) < 4, axis=0)
        assert alike.sum() > 50_000


def test_what_goes_wrong_is_said_in_a_sentence(scene, tmp_path):
    told = demo("--scene", str(scene), "--folder", str(tmp_path / "out"), "--model", "no-such-model")
    assert told.returncode != 0
    assert "no-such-model" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_missing_scene(tmp_path):
    told = demo("--scene", str(tmp_path / "nowhere.tif"), "--folder", str(tmp_path / "out"))
    assert told.returncode == 2
    assert "There is no scene" in told.stderr
