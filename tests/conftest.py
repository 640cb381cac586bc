"""What all tests share: where things are, and that nothing of the user's is read or changed."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

needs_horovod = pytest.mark.skipif(
    not (Path(sys.executable).parent / "horovodrun").exists(), reason="Horovod is not installed: make horovod"
)

if importlib.util.find_spec("hypothesis"):  # QGIS's own Python has none, and needs none
    from hypothesis import settings

    # A slow machine is no failure; a failure comes with what repeats it.
    settings.register_profile("thematica", deadline=None, print_blob=True)
    settings.load_profile("thematica")


@pytest.fixture(autouse=True, scope="session")
def _own_user_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models and corrected cards of whoever runs the tests stay out of them."""
    before = {name: os.environ.get(name) for name in ("THEMATICA_HOME", "THEMATICA_MODELS")}
    os.environ["THEMATICA_HOME"] = str(tmp_path_factory.mktemp("thematica-home"))
    os.environ.pop("THEMATICA_MODELS", None)
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """``real_data("sentinel2_brazil/sen2_brazil.tif")``: a real file, or the test skips and says why."""

    def find(name: str) -> Path:
        path = ROOT.parent / "shared" / "data" / name
        if not path.exists():
            pytest.skip(f"the real scene ../shared/data/{name} is not here")
        return path

    return find
