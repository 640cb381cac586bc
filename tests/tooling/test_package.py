"""The zip: what the QGIS plugin repository accepts, and what QGIS loads from it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..conftest import ROOT

QGIS_PYTHON = os.environ.get("QGIS_PYTHON", "/usr/bin/python3")
LOAD = Path(__file__).with_name("load_in_qgis.py")


def make(target: Path, *options: str) -> Path:
    script = ROOT / "tools" / "package.py"
    subprocess.run([sys.executable, str(script), str(target), *options], check=True, capture_output=True, timeout=60)
    return target


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return make(tmp_path_factory.mktemp("package") / "thematica.zip")


@pytest.fixture(scope="module")
def names(package):
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_one_top_folder_with_what_qgis_wants(names):
    assert {name.split("/")[0] for name in names} == {"thematica"}
    for wanted in ("__init__.py", "metadata.txt", "LICENSE", "README.md", "requirements.txt", "plugin/plugin.py"):
        assert f"thematica/{wanted}" in names


def test_the_bundled_models_are_in(names):
    shipped = {path.name for path in (ROOT / "models" / "bundled").glob("*.onnx")}
    assert shipped
    assert {Path(name).name for name in names if name.endswith(".onnx")} == shipped


def test_no_code_but_source_and_nothing_hidden(names):
    compiled = (".so", ".pyd", ".dll", ".dylib", ".pyc", ".exe", ".whl")
    assert [name for name in names if name.endswith(compiled) or "__pycache__" in name] == []
    assert [name for name in names if any(part.startswith(".") for part in name.split("/"))] == []
    assert {name.split("/")[1] for name in names} & {"tests", "demo", "tools", "docs", "build"} == set()


def test_small_enough(package):
    assert package.stat().st_size <= 20_000_000


def test_the_same_tree_gives_the_same_bytes(package, tmp_path):
    assert make(tmp_path / "again.zip").read_bytes() == package.read_bytes()


@pytest.mark.parametrize("folder", ["thematica", "thematica-main"])
def test_qgis_loads_it(tmp_path, folder):
    """GitHub's own zips unpack as thematica-main; QGIS takes the folder's name as the package's."""
    plugins = tmp_path / "profiles" / "default" / "python" / "plugins"
    with zipfile.ZipFile(make(tmp_path / "plugin.zip", "--folder", folder)) as archive:
        archive.extractall(plugins)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PROJ_", "GDAL_"))}
    told = subprocess.run(
        [QGIS_PYTHON, str(LOAD), str(plugins), folder],
        env={
            **clean,
            "QT_QPA_PLATFORM": "offscreen",
            "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.splitlines()[-1] == "thematica:classifypixels"
