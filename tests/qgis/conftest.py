"""QGIS for the tests: a real application without a display, small rasters, and workers of all sorts."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

qgis_core = pytest.importorskip("qgis.core", reason="these tests run in QGIS's Python: make qgis-tests")

from osgeo import gdal, osr  # noqa: E402
from qgis.core import QgsApplication, QgsProject  # noqa: E402

from .driving import WRITES, FakeInterface, settle, wait_for  # noqa: E402

gdal.UseExceptions()

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT_PYTHON = ROOT / ".venv" / "bin" / "python"


@pytest.fixture(autouse=True, scope="session")
def qgis_app() -> QgsApplication:
    """The application, with a profile of its own."""
    from qgis.testing import start_app

    return start_app()


@pytest.fixture(autouse=True)
def _empty_project() -> Iterator[None]:
    yield
    QgsProject.instance().clear()


@pytest.fixture(scope="session")
def processing(qgis_app: QgsApplication) -> Iterator[object]:
    """The ``processing`` module, with Thematica's provider registered."""
    sys.path.insert(0, str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins"))
    import processing as module
    from processing.core.Processing import Processing

    from thematica.plugin.provider import ThematicaProvider

    Processing.initialize()
    provider = ThematicaProvider()
    QgsApplication.processingRegistry().addProvider(provider)
    yield module
    QgsApplication.processingRegistry().removeProvider(provider)


@pytest.fixture(scope="session")
def real_runtime() -> Path:
    """The checkout's own runtime, or the test skips."""
    if not CHECKOUT_PYTHON.exists():
        pytest.skip("there is no .venv in this checkout: make runtime")
    return CHECKOUT_PYTHON


def _make_raster(
    path: Path,
    bands: Sequence[Sequence[float]],
    width: int,
    *,
    kind: int = gdal.GDT_Float32,
    descriptions: Sequence[str] = (),
    nodata: float | None = None,
    epsg: int | None = 32633,
    pixel: float = 10.0,
) -> Path:
    height = len(bands[0]) // width
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), width, height, len(bands), kind)
    dataset.SetGeoTransform((500000, pixel, 0, 5000000, 0, -pixel))
    if epsg:
        crs = osr.SpatialReference()
        crs.ImportFromEPSG(epsg)
        dataset.SetProjection(crs.ExportToWkt())
    for number, values in enumerate(bands, start=1):
        band = dataset.GetRasterBand(number)
        if nodata is not None:
            band.SetNoDataValue(nodata)
        if number <= len(descriptions):
            band.SetDescription(descriptions[number - 1])
        packed = struct.pack(f"{len(values)}d", *values)
        band.WriteRaster(0, 0, width, height, packed, buf_type=gdal.GDT_Float64)
    return path


@pytest.fixture
def make_raster(tmp_path: Path) -> Callable[..., Path]:
    """``make_raster("a.tif", bands, width, …)``: a small GeoTIFF; bands are flat lists of values."""
    return lambda name, *arguments, **options: _make_raster(tmp_path / name, *arguments, **options)


SENTINEL_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
WATER = (0.05, 0.04, 0.03, 0.02, 0.015, 0.012, 0.01, 0.01, 0.005, 0.004)
FOREST = (0.02, 0.05, 0.03, 0.08, 0.25, 0.32, 0.35, 0.37, 0.17, 0.08)


def read_codes(path: str | Path) -> list[list[int]]:
    """Rows of class codes of a map."""
    dataset = gdal.Open(str(path))
    width = dataset.RasterXSize
    raw = dataset.GetRasterBand(1).ReadRaster(buf_type=gdal.GDT_Int32)
    flat = struct.unpack(f"{len(raw) // 4}i", raw)
    return [list(flat[start : start + width]) for start in range(0, len(flat), width)]


@pytest.fixture
def scene(make_raster: Callable[..., Path]) -> Path:
    """A 10-band Sentinel-2-like image, 24 × 16: water at the left, forest at the right, no data in a corner."""
    width, height = 24, 16

    def value(band: int, row: int, column: int) -> float:
        if row < 3 and column < 4:
            return -1.0
        return WATER[band] if column < width // 2 else FOREST[band]

    bands = [
        [value(band, row, column) for row in range(height) for column in range(width)]
        for band in range(len(SENTINEL_BANDS))
    ]
    return make_raster("szene ä 1.tif", bands, width, descriptions=SENTINEL_BANDS, nodata=-1.0)


# Made by the runtime, which has the libraries for it.  Every network gives per class how much of one band there is.
_MAKE_NETWORKS = """
import sys
from pathlib import Path
import numpy as np
from onnx import TensorProto, helper
from thematica.models.bands import Band
from thematica.models.card import FurtherOutput
from thematica.tests.engine.networks import Net, make_card, save

folder, side, names = Path(sys.argv[1]), 8, ["Water", "Forest", "Bare soil"]

def patch(file, task, activation, bands=3, **more):
    net = Net(3, shape=["n", 3, side, side])
    mean = net.node("Flatten", net.node("GlobalAveragePool", net.input), channels=3)
    scores = net.node("Mul", net.node("Sub", mean, net.weight(np.float32(0.5))), net.weight(np.float32(20)))
    if activation == "sigmoid":
        scores = net.node("Sigmoid", scores)
    model = net.model(scores, output_shape=["n", 3])
    card = make_card(bands, names, task, activation=activation, gsd=10.0, **more) if more.pop("card", True) else None
    return save(folder / file, model, card)

patch("patch.onnx", "patch", "logits")
patch("multilabel.onnx", "patch-multilabel", "sigmoid")
named = [Band(name) for name in ("B4", "B8", "B11")]
patch("multilabel-sentinel2.onnx", "patch-multilabel", "sigmoid", bands=named)
patch("own-thresholds.onnx", "patch-multilabel", "sigmoid", thresholds=(0.3, 0.5, 0.7))
patch("bare-patch.onnx", "patch", "logits", card=False)

net = Net(3)
save(folder / "bare.onnx", net.model(net.conv(net.input, 3, 1)))

net = Net(3)
numbers = net.model(net.node("ArgMax", net.conv(net.input, 3, 1), axis=1, keepdims=0), output_shape=["n", "h", "w"])
numbers.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
save(folder / "numbers.onnx", numbers)

# The band with the highest number wins: red, green or blue.
net = Net(3)
net.input = net.node("Mul", net.input, net.weight(np.float32(1)))
card = make_card([Band(n, n) for n in ("red", "green", "blue")], ["Red", "Green", "Blue"], gsd=10.0, unit="dn")
save(folder / "colours.onnx", net.model(net.input), card)

net = Net(2)
first = net.conv(net.input, 2, 1)
second = net.conv(net.input, 3, 1)
model = net.model(first)
model.graph.node.append(helper.make_node("Identity", [second], ["moisture"]))
model.graph.output.append(helper.make_tensor_value_info("moisture", TensorProto.FLOAT, ["n", 3, "h", "w"]))
card = make_card(2, ["Land", "Sea"], output_name="scores")
wet = make_card(2, ["dry", "moist", "wet"]).classes
card.further_outputs = [FurtherOutput("moisture", wet, shape=(-1, 3, -1, -1))]
save(folder / "two-outputs.onnx", model, card)
"""


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory, real_runtime: Path) -> Path:
    """A folder with tiny networks: ``patch``, ``multilabel``, ``own-thresholds`` (patches of 8 × 8 pixels, 3 bands),
    ``bare-patch``, ``bare`` and ``numbers`` (without a card; the last gives class numbers), ``colours`` (the brightest
    of three colours), ``two-outputs``."""
    folder = tmp_path_factory.mktemp("networks")
    package = ROOT / "build" / "pkg"
    arguments = [str(real_runtime), "-c", _MAKE_NETWORKS, str(folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        arguments, env={**environment, "PYTHONPATH": str(package)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def patchwork(make_raster: Callable[..., Path]) -> Path:
    """Three bands, 32 × 16 pixels: patches of 8 × 8 pixels of water, forest, both, nothing, and again."""
    width, height = 32, 16

    def value(band: int, column: int) -> float:
        shown = ((0.9, 0.1, 0.1), (0.1, 0.8, 0.1), (0.7, 0.6, 0.1), (0.1, 0.1, 0.1))[column // 8]
        return shown[band]

    bands = [[value(band, column) for _ in range(height) for column in range(width)] for band in range(3)]
    return make_raster("patchwork.tif", bands, width, descriptions=("B1", "B2", "B3"))


# What the fake worker does is said by $THEMATICA_FAKE, which a clean environment keeps.
_FAKE = r"""#!{python} -I
import json, os, signal, sys, time
job = json.load(open(sys.argv[sys.argv.index("--job") + 1], encoding="utf-8"))
def say(**event):
    print(json.dumps(event), flush=True)
def wait_for_cancel():
    line = sys.stdin.readline()
    assert line in ("cancel\n", ""), line
    say(event="error", code="cancelled", message="Cancelled.", details="")
    sys.exit(3)
exec(os.environ["THEMATICA_FAKE"])
"""


@pytest.fixture
def fake_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """``fake_worker(code)``: a runtime whose interpreter runs this code instead of Thematica's."""
    from thematica.plugin.runtime import Runtime

    def make(code: str) -> Runtime:
        interpreter = tmp_path / "fake-python"
        interpreter.write_text(_FAKE.format(python=os.path.realpath(sys.executable)), encoding="utf-8")
        interpreter.chmod(0o755)
        monkeypatch.setenv("THEMATICA_FAKE", code)
        return Runtime(interpreter, "environment")

    return make


# -- dialogs ---------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def _settings():
    qgis_core.QgsSettings().remove("thematica")
    yield
    qgis_core.QgsSettings().remove("thematica")


@pytest.fixture(autouse=True)
def _no_exception_in_a_slot(monkeypatch):
    """Qt swallows what a slot raises, or aborts; a test must fail instead."""
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: raised.append("".join(traceback.format_exception(*error))))
    yield
    assert raised == []


@pytest.fixture
def iface():
    interface = FakeInterface()
    yield interface
    interface.window.deleteLater()


@pytest.fixture
def runtime(fake_worker, monkeypatch, tmp_path):
    """``runtime(code)``: find_runtime() gives a fake worker; jobs that it saw are in ``runtime.job()``."""
    seen = tmp_path / "seen-job.json"
    monkeypatch.setenv("THEMATICA_SEEN_JOB", str(seen))

    def use(code):
        monkeypatch.setenv("THEMATICA_RUNTIME", str(fake_worker(code).python))

    use.job = lambda: json.loads(seen.read_text())
    use(WRITES)
    return use


@pytest.fixture
def open_dialog(iface, runtime):
    dialogs = []

    def make():
        shown = []
        from thematica.ui.classify_dialog import ClassifyDialog

        dialog = ClassifyDialog(iface, shown.append)
        dialog.shown_reports = shown
        dialog.show()
        dialogs.append(dialog)
        settle()
        return dialog

    yield make
    for dialog in dialogs:
        if dialog.current_run is not None and dialog.current_run.is_running:
            dialog.current_run.cancel()
            wait_for(lambda dialog=dialog: not dialog.current_run.is_running)
        dialog.close()
        dialog.deleteLater()
