"""Processing: the algorithm, batch, saved models, ``qgis_process``; with the real worker."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from osgeo import gdal, ogr
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QPointF

from thematica.plugin.runtime import clean_environment

from .conftest import read_codes

MODEL = "basic-cover-sentinel2"
NODATA = 255


class Log(QgsProcessingFeedback):
    """Keeps what an algorithm says."""

    def __init__(self):
        super().__init__(False)
        self.texts, self.infos, self.warnings, self.errors, self.details = [], [], [], [], []

    def setProgressText(self, text):
        self.texts.append(text)

    def pushInfo(self, text):
        self.infos.append(text)

    def pushWarning(self, text):
        self.warnings.append(text)

    def pushDebugInfo(self, text):
        self.details.append(text)

    def reportError(self, text, fatal=False):
        self.errors.append(text)


@pytest.fixture
def runtime(real_runtime, monkeypatch):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(real_runtime))
    return real_runtime


@pytest.fixture
def classify(processing, runtime, scene, tmp_path):
    """``classify(PARAMETER=value, …)``: run it on the scene; gives results and log."""

    def run(**parameters):
        log = Log()
        given = {"INPUT": str(scene), "MODEL": MODEL, "OUTPUT": str(tmp_path / "Karte 1.tif"), **parameters}
        return processing.run("thematica:classifypixels", given, feedback=log), log

    return run


def area_layer(*rectangles: QgsRectangle, crs: str = "EPSG:32633") -> QgsVectorLayer:
    layer = QgsVectorLayer(f"Polygon?crs={crs}", "area", "memory")
    for rectangle in rectangles:
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(rectangle))
        layer.dataProvider().addFeature(feature)
    return layer


def valid_pixels(path) -> set[tuple[int, int]]:
    """Rows and columns, in the scene, of the pixels that have a class: a map may cover a part of it only."""
    left, _, _, top, _, _ = gdal.Open(str(path)).GetGeoTransform()
    first_row, first_column = round((5000000 - top) / 10), round((left - 500000) / 10)
    return {
        (first_row + row, first_column + column)
        for row, codes in enumerate(read_codes(path))
        for column, code in enumerate(codes)
        if code != NODATA
    }


CORNER = {(row, column) for row in range(3) for column in range(4)}
EVERYWHERE = {(row, column) for row in range(16) for column in range(24)} - CORNER


def pixels(left: int, top: int, right: int, bottom: int) -> QgsRectangle:
    """A rectangle in map units around pixels of the scene."""
    return QgsRectangle(500000 + left * 10, 5000000 - bottom * 10, 500000 + right * 10, 5000000 - top * 10)


# ------------------------------------------------------------------------------------------ the algorithm
def test_a_map_of_water_and_forest(classify, tmp_path):
    results, log = classify(
        CONFIDENCE=str(tmp_path / "c.tif"), PROBABILITIES="TEMPORARY_OUTPUT", REPORT=str(tmp_path / "r.json")
    )
    codes = read_codes(results["OUTPUT"])
    assert valid_pixels(results["OUTPUT"]) == EVERYWHERE
    water, forest = codes[8][2], codes[8][20]
    assert water != forest
    names = {row["value"]: row["name"] for row in json.loads(results["CLASS_AREAS"])}
    assert "water" in names[water].lower()
    assert "green" in names[forest].lower()
    assert results["NODATA_PIXELS"] == len(CORNER)
    assert results["CONFIDENCE"] == str(tmp_path / "c.tif")
    assert gdal.Open(results["PROBABILITIES"]).RasterCount == len(names)
    assert "ENTROPY" not in results
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["model"]["name"] == MODEL
    assert log.errors == []
    assert any("ha" in text for text in log.infos)
    # The style lies beside the map, and QGIS finds it by itself.
    assert QgsRasterLayer(results["OUTPUT"], "map").renderer().type() == "paletted"


def test_a_temporary_output_is_a_tif(classify):
    results, _ = classify(OUTPUT="TEMPORARY_OUTPUT")
    assert results["OUTPUT"].endswith(".tif")
    assert valid_pixels(results["OUTPUT"]) == EVERYWHERE


def test_an_extent_in_another_crs(classify):
    # About pixels 4 to 20 and 4 to 12 of the scene, in degrees.
    results, _ = classify(
        EXTENT=QgsReferencedRectangle(pixels(4, 4, 20, 12), QgsCoordinateReferenceSystem("EPSG:32633"))
    )
    assert valid_pixels(results["OUTPUT"]) == {(row, column) for row in range(4, 12) for column in range(4, 20)}


def test_an_edited_unsaved_area(classify):
    layer = area_layer(pixels(0, 0, 24, 16))
    assert layer.startEditing()
    for feature in list(layer.getFeatures()):
        layer.deleteFeature(feature.id())
    drawn = QgsFeature(layer.fields())
    drawn.setGeometry(QgsGeometry.fromRect(pixels(6, 5, 9, 8)))
    layer.addFeature(drawn)
    QgsProject.instance().addMapLayer(layer)
    results, _ = classify(AREA=layer)
    assert valid_pixels(results["OUTPUT"]) == {(row, column) for row in range(5, 8) for column in range(6, 9)}
    layer.rollBack()


def test_an_existing_map_is_replaced(classify, tmp_path):
    (tmp_path / "Karte 1.tif").write_bytes(b"an older map")
    results, _ = classify()
    assert valid_pixels(results["OUTPUT"]) == EVERYWHERE


def test_a_style_of_another_layer_is_not_replaced(classify, tmp_path):
    style = tmp_path / "fields.qml"
    style.write_text("the style of fields.gpkg", encoding="utf-8")
    with pytest.raises(QgsProcessingException, match=r"fields\.qml"):
        classify(OUTPUT=str(tmp_path / "fields.tif"))
    assert style.read_text("utf-8") == "the style of fields.gpkg"
    assert not (tmp_path / "fields.tif").exists()


def test_windows_refuses_before_the_run_to_replace_what_qgis_shows(classify, monkeypatch):
    results, _ = classify()
    shown = QgsRasterLayer(results["OUTPUT"], "my map")
    QgsProject.instance().addMapLayer(shown)
    monkeypatch.setattr("thematica.plugin.replacing.sys.platform", "win32")
    with pytest.raises(QgsProcessingException, match=r"“my map” shows “.*Karte 1.tif”.*remove the layer"):
        classify()
    QgsProject.instance().removeMapLayer(shown)


def test_temporary_files_do_not_stay(classify, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    classify(AREA=area_layer(pixels(0, 0, 10, 10)))
    assert list(folder.iterdir()) == []
    with pytest.raises(QgsProcessingException):
        classify(AREA=area_layer(pixels(0, 0, 10, 10)), SCALE=0.000001)
    assert list(folder.iterdir()) == []


def test_errors_are_one_sentence_and_keep_the_older_map(classify, tmp_path):
    older = tmp_path / "Karte 1.tif"
    older.write_bytes(b"an older map")
    with pytest.raises(QgsProcessingException) as caught:
        classify(BANDS="B77=1")
    assert "B77" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert older.read_bytes() == b"an older map"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"MODEL": "no-such-model"}, "no-such-model"),
        ({"EXTENT": "0,1,0,1 [EPSG:32633]", "AREA": area_layer}, "not both"),
    ],
)
def test_what_cannot_be_prepared_is_said(classify, parameters, sentence):
    if callable(parameters.get("AREA")):
        parameters = {**parameters, "AREA": area_layer(pixels(0, 0, 5, 5))}
    with pytest.raises(QgsProcessingException) as caught:
        classify(**parameters)
    assert sentence in str(caught.value)


def test_a_mask_with_nodata_of_its_own_is_refused_with_the_sentence(classify, scene):
    mask = QgsRasterLayer(str(scene), "mask")
    mask.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0.05, 0.06)])
    with pytest.raises(QgsProcessingException, match="nodata value that was set on the mask"):
        classify(MASK=mask)


def test_area_without_crs_is_refused(classify):
    layer = area_layer(pixels(0, 0, 5, 5))
    layer.setCrs(QgsCoordinateReferenceSystem())
    with pytest.raises(QgsProcessingException, match="no CRS"):
        classify(AREA=layer)


def test_an_area_without_features_is_refused(processing, runtime, scene, tmp_path):
    log = Log()
    given = {"INPUT": str(scene), "MODEL": MODEL, "AREA": area_layer(), "OUTPUT": str(tmp_path / "o.tif")}
    with pytest.raises(QgsProcessingException):
        processing.run("thematica:classifypixels", given, feedback=log)
    assert "The area layer “area” has no polygons" in log.errors[0]


def test_a_poisoned_environment_does_not_reach_the_worker(classify, monkeypatch):
    for name in (
        "PYTHONHOME",
        "PYTHONPATH",
        "PROJ_LIB",
        "PROJ_DATA",
        "GDAL_DATA",
        "LD_LIBRARY_PATH",
        "GDAL_DRIVER_PATH",
    ):
        monkeypatch.setenv(name, "/nonsense")
    results, _ = classify()
    assert valid_pixels(results["OUTPUT"]) == EVERYWHERE


def test_without_a_runtime_it_is_listed_and_explains(processing, monkeypatch, tmp_path):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(tmp_path / "nowhere"))
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypixels")
    assert algorithm is not None
    possible, why = algorithm.canExecute()
    assert not possible
    assert str(tmp_path / "nowhere") in why


def test_the_algorithm_describes_itself(processing):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypixels")
    assert MODEL in algorithm.shortHelpString()
    assert "sentinel2-l2a" in algorithm.shortHelpString()
    assert not algorithm.icon().isNull()
    assert algorithm.icon().pixmap(32, 32).toImage().pixelColor(16, 16).alpha() == 255
    model = algorithm.parameterDefinition("MODEL")
    assert model.type() == "string"
    assert model.defaultValue().startswith("basic-cover")


# --------------------------------------------------------------------------------- fake workers, cancelling
def test_progress_in_words_but_not_for_every_event(processing, fake_worker, monkeypatch, scene, tmp_path):
    runtime = fake_worker(
        "for n in range(500): say(event='progress', fraction=n/500, stage='Classifying', pixels_per_second=2.5e6,"
        " seconds_left=3.2)\n"
        "say(event='log', level='warning', message='careful, use --offset -0.1')\n"
        "say(event='result', files={'output': job['output']}, report={})"
    )
    monkeypatch.setenv("THEMATICA_RUNTIME", str(runtime.python))
    log, fractions = Log(), []
    log.progressChanged.connect(fractions.append)
    processing.run(
        "thematica:classifypixels",
        {"INPUT": str(scene), "MODEL": MODEL, "OUTPUT": str(tmp_path / "o.tif")},
        feedback=log,
    )
    assert log.texts[0] == "Classifying · 2.5 Mpx/s · 4 s left"
    assert len(log.texts) < 5
    assert log.warnings == ["careful, use OFFSET -0.1"]
    assert max(fractions) > 99


def test_a_killed_worker_is_explained(processing, fake_worker, monkeypatch, scene, tmp_path):
    runtime = fake_worker("os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setenv("THEMATICA_RUNTIME", str(runtime.python))
    with pytest.raises(QgsProcessingException, match="memory"):
        processing.run(
            "thematica:classifypixels", {"INPUT": str(scene), "MODEL": MODEL, "OUTPUT": str(tmp_path / "o.tif")}
        )


def workers_of(folder: Path) -> list[int]:
    """Processes that have the folder's name in a job file of theirs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "classify-pixels" in command and any(str(folder) in argument for argument in command):
            found.append(int(entry.name))
    return found


@pytest.fixture
def large_scene(tmp_path):
    """Enough for a few seconds: a VRT that repeats a small file."""
    small = gdal.GetDriverByName("GTiff").Create(str(tmp_path / "small.tif"), 512, 512, 10, gdal.GDT_Float32)
    small.SetGeoTransform((500000, 10, 0, 5000000, 0, -10))
    for number in range(1, 11):
        small.GetRasterBand(number).Fill(0.01 * number)
        small.GetRasterBand(number).SetDescription(
            ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"][number - 1]
        )
    small.SetProjection(QgsCoordinateReferenceSystem("EPSG:32633").toWkt())
    del small
    side = 20480
    bands = "".join(
        f'<VRTRasterBand dataType="Float32" band="{band}"><Description>{name}</Description>'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">small.tif</SourceFilename><SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="512" ySize="512"/>'
            f'<DstRect xOff="{x}" yOff="{y}" xSize="512" ySize="512"/></SimpleSource>'
            for y in range(0, side, 512)
            for x in range(0, side, 512)
        )
        + "</VRTRasterBand>"
        for band, name in enumerate(["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"], start=1)
    )
    vrt = tmp_path / "large.vrt"
    crs = QgsCoordinateReferenceSystem("EPSG:32633").toWkt().replace('"', "&quot;")
    vrt.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>{crs}</SRS>'
        f"<GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    return vrt


def start(parameters, context, log):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypixels")
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, log)
    ended = []
    task.executed.connect(lambda ok, results: ended.append((ok, results)))
    QgsApplication.taskManager().addTask(task)
    return task, ended


def wait_until(condition, seconds=30):
    limit = time.monotonic() + seconds
    while not condition():
        QCoreApplication.processEvents()
        time.sleep(0.01)
        assert time.monotonic() < limit


def test_cancelling_a_real_run(processing, runtime, large_scene, tmp_path, monkeypatch):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(jobs))
    context, log = QgsProcessingContext(), Log()
    output = tmp_path / "out" / "map.tif"
    output.parent.mkdir()
    task, ended = start({"INPUT": str(large_scene), "MODEL": MODEL, "OUTPUT": str(output)}, context, log)
    wait_until(lambda: log.texts or ended)
    assert not ended, log.errors
    cancelled_at = time.monotonic()
    task.cancel()
    wait_until(lambda: ended)
    assert time.monotonic() - cancelled_at < 3
    assert not ended[0][0]
    assert list(output.parent.iterdir()) == []
    assert workers_of(jobs) == []


def test_a_real_worker_killed_in_the_middle(processing, runtime, large_scene, tmp_path, monkeypatch):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(jobs))
    context, log = QgsProcessingContext(), Log()
    output = tmp_path / "out" / "map.tif"
    output.parent.mkdir()
    output.write_bytes(b"an older map")
    _, ended = start({"INPUT": str(large_scene), "MODEL": MODEL, "OUTPUT": str(output)}, context, log)
    wait_until(lambda: log.texts or ended)
    (pid,) = workers_of(jobs)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: ended)
    assert not ended[0][0]
    assert any("memory" in text for text in log.errors), log.errors
    assert output.read_bytes() == b"an older map"


_RUN_AND_BE_KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from thematica.plugin.worker import run_worker
def killed(event):
    if event["event"] == "progress" and event["fraction"] > 0:
        os.kill(os.getpid(), signal.SIGKILL)
job = {"rasters": [sys.argv[2]], "model": sys.argv[3], "output": sys.argv[4]}
run_worker("classify-pixels", job, killed, lambda: False)
"""


def test_the_worker_ends_when_qgis_is_killed(runtime, large_scene, tmp_path, repository):
    jobs, folder = tmp_path / "jobs", tmp_path / "out"
    jobs.mkdir()
    folder.mkdir()
    package = str(repository / "build" / "pkg")
    arguments = [package, str(large_scene), MODEL, str(folder / "map.tif")]
    done = subprocess.run(
        [sys.executable, "-c", _RUN_AND_BE_KILLED, *arguments], env={**os.environ, "TMPDIR": str(jobs)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: not workers_of(jobs), seconds=10)
    assert list(folder.iterdir()) == []


# ------------------------------------------------------------------------------------------------ patches
@pytest.fixture
def classify_patches(processing, fake_worker, monkeypatch, patchwork, networks, tmp_path):
    """``classify_patches(PARAMETER=value, …)`` with a worker that does nothing; gives results and the job."""
    seen = tmp_path / "job.json"
    report = {
        "classes": [{"value": 0, "name": "Water", "color": "#0", "patches": 3, "hectares": None, "percent": 75.0}],
        "patches": {"side": 8, "stride": 8, "count": 4, "without_data": 0, "below_threshold": 1},
    }
    code = (
        f"json.dump(job, open({str(seen)!r}, 'w'))\n"
        f"say(event='result', files={{'output': job['output']}}, report={report!r})"
    )
    monkeypatch.setenv("THEMATICA_RUNTIME", str(fake_worker(code).python))

    def run(**parameters):
        log = Log()
        given = {"INPUT": str(patchwork), "MODEL": str(networks / "patch.onnx"), **parameters}
        return processing.run("thematica:classifypatches", given, feedback=log), json.loads(seen.read_text()), log

    return run


def test_patches_as_polygons(classify_patches, tmp_path):
    results, job, log = classify_patches(OUTPUT=str(tmp_path / "p.gpkg"), STRIDE=4, THRESHOLD=0.0)
    assert (job["command"], job["stride"], job["threshold"]) == ("classify-patches", 4, 0.0)
    assert job["output"] == results["OUTPUT"] == str(tmp_path / "p.gpkg")
    assert results["PATCHES"] == 4
    rows = json.loads(results["CLASS_AREAS"])
    assert [(row["name"], row["patches"]) for row in rows] == [("Water", 3), ("below the threshold", 1)]
    assert "Water: 3 patches (75.0 %)" in log.infos


def test_patches_as_a_raster_or_a_temporary_file(classify_patches, tmp_path):
    results, job, _ = classify_patches(RASTER=str(tmp_path / "p.tif"))
    assert job["output"] == results["RASTER"] == str(tmp_path / "p.tif")
    assert "OUTPUT" not in results
    _, job, _ = classify_patches(OUTPUT="TEMPORARY_OUTPUT")
    assert job["output"].endswith(".gpkg")
    assert "threshold" not in job


@pytest.mark.parametrize("wanted", [{}, {"OUTPUT": "TEMPORARY_OUTPUT", "RASTER": "TEMPORARY_OUTPUT"}])
def test_exactly_one_result_of_patches(classify_patches, wanted):
    with pytest.raises(QgsProcessingException, match="Choose one result"):
        classify_patches(**wanted)


def test_several_rasters_are_passed_on_in_order(classify_patches, patchwork, scene, tmp_path):
    _, job, _ = classify_patches(
        INPUT=[str(patchwork), QgsRasterLayer(str(scene), "s")], RASTER=str(tmp_path / "p.tif")
    )
    assert job["rasters"] == [str(patchwork), str(scene)]


def test_the_raster_of_a_geopackage_that_holds_polygons_too(classify_patches, patchwork, tmp_path):
    geopackage = tmp_path / "both.gpkg"
    polygons = ogr.GetDriverByName("GPKG").CreateDataSource(str(geopackage))
    polygons.CreateLayer("fields", None, ogr.wkbPolygon)
    polygons.Destroy()
    image = gdal.Translate("", str(patchwork), format="MEM", outputType=gdal.GDT_Byte)
    options = ["RASTER_TABLE=image", "APPEND_SUBDATASET=YES"]
    gdal.GetDriverByName("GPKG").CreateCopy(str(geopackage), image, options=options)
    _, job, _ = classify_patches(INPUT=str(geopackage), RASTER=str(tmp_path / "p.tif"))
    assert job["rasters"] == [str(geopackage)]


def test_a_raster_that_is_missing_among_several_is_told(classify_patches, patchwork, tmp_path):
    with pytest.raises(QgsProcessingException, match=r"could not be opened|INPUT|Raster"):
        classify_patches(INPUT=[str(patchwork), str(tmp_path / "gone.tif")], RASTER=str(tmp_path / "p.tif"))


# --------------------------------------------------------------------------- loading, batch, models, headless
def test_loaded_results_are_styled_and_grouped(processing, runtime, scene, tmp_path):
    from processing.gui.Postprocessing import handleAlgorithmResults

    project = QgsProject.instance()
    context, log = QgsProcessingContext(), Log()
    context.setProject(project)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypixels")
    output = QgsProcessingOutputLayerDefinition(str(tmp_path / "map.tif"), project)
    parameters = {"INPUT": str(scene), "MODEL": MODEL, "OUTPUT": output}
    results, ok = algorithm.run(parameters, context, log)
    assert ok, log.errors
    handleAlgorithmResults(algorithm, context, log, parameters)
    (node,) = project.layerTreeRoot().findLayers()
    assert node.parent().name() == "Thematica"
    assert node.isExpanded()
    layer = node.layer()
    assert layer.renderer().type() == "paletted"
    assert layer.customProperty("thematica/report") == str(tmp_path / "map.report.json")
    assert results["OUTPUT"] == layer.source()


@pytest.mark.parametrize("temporary", [False, True])
def test_maps_of_further_outputs_are_loaded_and_returned(processing, runtime, patchwork, networks, tmp_path, temporary):
    from processing.gui.Postprocessing import handleAlgorithmResults

    project = QgsProject.instance()
    context, log = QgsProcessingContext(), Log()
    context.setProject(project)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypixels")
    place = "TEMPORARY_OUTPUT" if temporary else str(tmp_path / "map.tif")
    parameters = {
        "INPUT": str(patchwork), "MODEL": str(networks / "two-outputs.onnx"), "BANDS": "1=1,2=2",
        "OUTPUT": QgsProcessingOutputLayerDefinition(place, project),
    }  # fmt: skip
    results, ok = algorithm.run(parameters, context, log)
    assert ok, log.errors
    handleAlgorithmResults(algorithm, context, log, parameters)
    (further,) = json.loads(results["FURTHER_OUTPUTS"]).items()
    output = Path(results["OUTPUT"])
    assert further == ("moisture", str(output.with_name(f"{output.stem}_moisture.tif")))
    first, second = project.layerTreeRoot().findGroup("Thematica").findLayers()
    assert (first.layer().source(), second.layer().source()) == (str(output), further[1])
    assert [first.isVisible(), second.isVisible()] == [True, False]
    assert second.layer().name().startswith("moisture – ")
    assert [entry.label for entry in second.layer().renderer().classes()][:3] == ["dry", "moist", "wet"]


def test_an_existing_map_of_a_further_output_is_replaced(classify, patchwork, networks, tmp_path):
    old = tmp_path / "map_moisture.tif"
    old.write_bytes(b"old")
    results, _ = classify(
        INPUT=str(patchwork),
        MODEL=str(networks / "two-outputs.onnx"),
        BANDS="1=1,2=2",
        OUTPUT=str(tmp_path / "map.tif"),
    )
    assert json.loads(results["FURTHER_OUTPUTS"]) == {"moisture": str(old)}
    assert old.read_bytes() != b"old"


def _is_over(dialog):
    return sip.isdeleted(dialog) or not dialog.cancelButton().isEnabled()


def test_batch(processing, runtime, scene, tmp_path):
    from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog

    second = tmp_path / "second.tif"
    shutil.copy(scene, second)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypixels")
    dialog = BatchAlgorithmDialog(algorithm, None)
    panel = dialog.mainWidget()
    panel.checkLoadLayersOnCompletion.setChecked(False)
    while panel.batchRowCount() < 2:
        panel.addRow()
    context = QgsProcessingContext()
    for row, path in enumerate((scene, second)):
        for name, value in (("INPUT", str(path)), ("MODEL", MODEL)):
            panel.wrappers[row][panel.parameter_to_column[name]].setParameterValue(value, context)
        output = panel.tblParameters.cellWidget(row + 1, panel.parameter_to_column["OUTPUT"])
        output.setValue(str(tmp_path / f"{row}.tif"))
    dialog.runAlgorithm()
    # From QGIS 3.34 on, each run is a task of its own, and the dialog must outlive them.
    wait_until(lambda: (tmp_path / "0.report.json").is_file() and (tmp_path / "1.report.json").is_file())
    wait_until(partial(_is_over, dialog))
    # QGIS's batch dialog has a progress task that waits for the dialog's end, in a thread that QGIS waits for.
    if not sip.isdeleted(dialog):
        dialog.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    del dialog, panel, output
    gc.collect()
    wait_until(lambda: not QgsApplication.taskManager().activeTasks())
    assert valid_pixels(tmp_path / "0.tif") == EVERYWHERE
    assert read_codes(tmp_path / "0.tif") == read_codes(tmp_path / "1.tif")


def two_step_model() -> QgsProcessingModelAlgorithm:
    """Classify, then reclassify class 0 to 100: as the model designer would make it."""
    model = QgsProcessingModelAlgorithm("cover twice", "tests", "cover")
    image = QgsProcessingModelParameter("image")
    image.setPosition(QPointF(0, 0))
    model.addModelParameter(QgsProcessingParameterRasterLayer("image", "Image"), image)

    first = QgsProcessingModelChildAlgorithm("thematica:classifypixels")
    first.setChildId("classify")
    static = QgsProcessingModelChildParameterSource.fromStaticValue
    first.addParameterSources("INPUT", [QgsProcessingModelChildParameterSource.fromModelParameter("image")])
    first.addParameterSources("MODEL", [static(MODEL)])
    first.addParameterSources("MODE", [static("exact")])
    model.addChildAlgorithm(first)

    second = QgsProcessingModelChildAlgorithm("native:reclassifybytable")
    second.setChildId("reclassify")
    second.addParameterSources(
        "INPUT_RASTER", [QgsProcessingModelChildParameterSource.fromChildOutput("classify", "OUTPUT")]
    )
    second.addParameterSources("RASTER_BAND", [static(1)])
    second.addParameterSources("TABLE", [static([0, 1, 100])])
    second.addParameterSources("RANGE_BOUNDARIES", [static(1)])
    result = QgsProcessingModelOutput("result")
    result.setChildId("reclassify")
    result.setChildOutputName("OUTPUT")
    second.setModelOutputs({"result": result})
    model.addChildAlgorithm(second)
    return model


def test_a_saved_model_of_the_model_designer(processing, runtime, scene, classify, tmp_path):
    path = tmp_path / "cover.model3"
    assert two_step_model().toFile(str(path))
    # In the file the model's name must stand as text: an index would mean another one after an update.
    assert MODEL in path.read_text(encoding="utf-8")

    model = QgsProcessingModelAlgorithm()
    assert model.fromFile(str(path))
    model.initAlgorithm()
    assert model.canExecute()[0]
    context, log = QgsProcessingContext(), Log()
    outputs = [output.name() for output in model.outputDefinitions()]
    target = next(name for name in outputs if name.endswith("result"))
    results, ok = model.run({"image": str(scene), target: str(tmp_path / "final.tif")}, context, log)
    assert ok, log.errors
    single = read_codes(classify()[0]["OUTPUT"])
    final = read_codes(results[target])
    assert any(0 in row for row in single)
    for row, expected in zip(final, single, strict=True):
        assert [code for code, given in zip(row, expected, strict=True) if given == 0] == [100] * expected.count(0)


@pytest.fixture
def qgis_process(tmp_path, repository):
    """``qgis_process(arguments…)`` in a profile of its own that has the plugin switched on."""
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
    if program is None:
        pytest.skip("there is no qgis_process on this machine")
    plugins = tmp_path / "profile" / "profiles" / "default" / "python" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "thematica").symlink_to(repository)
    environment = {
        **clean_environment(),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile"),
        "QT_QPA_PLATFORM": "offscreen",
    }

    def run(*arguments, **variables):
        return subprocess.run(
            [program, *arguments], env={**environment, **variables}, capture_output=True, text=True, check=False
        )

    enabled = run("plugins", "enable", "thematica")
    assert enabled.returncode == 0, enabled.stdout + enabled.stderr
    return run


def test_qgis_process(qgis_process, runtime, scene, tmp_path):
    listed = qgis_process("--json", "list")
    assert "thematica:classifypixels" in json.loads(listed.stdout)["providers"]["thematica"]["algorithms"]
    done = qgis_process(
        "--json", "run", "thematica:classifypixels", f"--INPUT={scene}", f"--MODEL={MODEL}",
        f"--OUTPUT={tmp_path / 'headless.tif'}", "--EXTENT=500000,500100,4999900,5000000 [EPSG:32633]",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["results"]["OUTPUT"] == str(tmp_path / "headless.tif")
    assert (
        valid_pixels(tmp_path / "headless.tif") == {(row, column) for row in range(10) for column in range(10)} - CORNER
    )


def test_qgis_process_says_one_sentence(qgis_process, runtime, scene, tmp_path):
    done = qgis_process(
        "run", "thematica:classifypixels", f"--INPUT={scene}", f"--MODEL={MODEL}", "--SCALE=100",
        f"--OUTPUT={tmp_path / 'headless.tif'}",
    )  # fmt: skip
    assert done.returncode != 0
    assert "SCALE" in done.stdout + done.stderr
    assert "--scale" not in done.stderr
    assert not (tmp_path / "headless.tif").exists()


def test_qgis_process_runs_a_saved_model(qgis_process, runtime, processing, scene, tmp_path):
    path = tmp_path / "cover.model3"
    model = two_step_model()
    assert model.toFile(str(path))
    target = next(output.name() for output in model.outputDefinitions() if output.name().endswith("result"))
    done = qgis_process("--json", "run", str(path), f"--image={scene}", f"--{target}={tmp_path / 'final.tif'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(100 in row for row in read_codes(tmp_path / "final.tif"))


def test_the_model_widget_of_processings_dialog(processing, runtime):
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    from thematica.plugin.model_widget import ModelWidget

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypixels")
    dialog = AlgorithmDialog(algorithm, False, None)
    wrapper = dialog.mainWidget().wrappers["MODEL"]
    assert isinstance(wrapper, ModelWidget)
    assert wrapper.value() == algorithm.parameterDefinition("MODEL").defaultValue()
    wrapper.setValue("/models/my own.onnx")
    assert wrapper.value() == "/models/my own.onnx"
    wrapper.setValue(MODEL)
    assert wrapper.value() == MODEL
    dialog.close()


def test_the_model_widget_of_the_model_designer(processing, runtime):
    from processing.modeler.ModelerParametersDialog import ModelerParametersDialog

    designed = QgsProcessingModelAlgorithm("m", "g")
    name = QgsProcessingModelParameter("network")
    designed.addModelParameter(QgsProcessingParameterString("network", "Network"), name)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypixels")
    dialog = ModelerParametersDialog(algorithm, designed)
    wrapper = dialog.widget.widget.wrappers["MODEL"]

    def chosen():
        return dialog.createAlgorithm().parameterSources()["MODEL"][0]

    wrapper.setValue(MODEL)
    assert chosen().staticValue() == MODEL
    wrapper.setValue("/models/my own.onnx")
    assert chosen().staticValue() == "/models/my own.onnx"
    wrapper.setValue(QgsProcessingModelChildParameterSource.fromModelParameter("network"))
    assert chosen().parameterName() == "network"
    dialog.close()


def test_qgis_process_labels_patches(qgis_process, runtime, patchwork, networks, tmp_path):
    done = qgis_process(
        "--json", "run", "thematica:classifypatches", f"--INPUT={patchwork}", f"--MODEL={networks / 'multilabel.onnx'}",
        f"--OUTPUT={tmp_path / 'patches.gpkg'}", "--THRESHOLD=0.4",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["results"]["PATCHES"] == 8
    layer = QgsVectorLayer(str(tmp_path / "patches.gpkg"), "patches", "ogr")
    assert {str(feature["label"] or "") for feature in layer.getFeatures()} == {"Water", "Forest", "Water; Forest", ""}


def test_qgis_process_takes_several_rasters(qgis_process, runtime, make_raster, tmp_path):
    from .conftest import FOREST, SENTINEL_BANDS

    def part(name, chosen):
        bands = [[FOREST[i]] * 64 for i in chosen]
        return make_raster(name, bands, 8, descriptions=[SENTINEL_BANDS[i] for i in chosen])

    first, second = part("one, 1.tif", range(5)), part("two.tif", range(5, 10))
    done = qgis_process(
        "--json", "run", "thematica:classifypixels", f"--INPUT={first}", f"--INPUT={second}", f"--MODEL={MODEL}",
        f"--OUTPUT={tmp_path / 'map.tif'}", f"--MASK={first}", "--GSD=20", "--RESAMPLING=average",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    codes = read_codes(tmp_path / "map.tif")
    assert (len(codes), len(codes[0])) == (4, 4)
    assert len({code for row in codes for code in row}) == 1


@pytest.mark.parametrize("wrong", ["0,5", "models"])
def test_a_pixel_size_that_is_none_is_told(classify, wrong):
    with pytest.raises(QgsProcessingException, match="GSD must be a number of metres or the word model"):
        classify(GSD=wrong)


def test_labelled_patches_are_loaded_with_style_and_group(processing, runtime, patchwork, networks, tmp_path):
    from processing.gui.Postprocessing import handleAlgorithmResults

    project = QgsProject.instance()
    context, log = QgsProcessingContext(), Log()
    context.setProject(project)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("thematica:classifypatches")
    output = QgsProcessingOutputLayerDefinition(str(tmp_path / "patches.gpkg"), project)
    parameters = {"INPUT": str(patchwork), "MODEL": str(networks / "patch.onnx"), "OUTPUT": output}
    _, ok = algorithm.run(parameters, context, log)
    assert ok, log.errors
    handleAlgorithmResults(algorithm, context, log, parameters)
    (node,) = project.layerTreeRoot().findLayers()
    assert node.parent().name() == "Thematica"
    assert node.layer().renderer().type() == "categorizedSymbol"
    assert node.layer().customProperty("thematica/report") == str(tmp_path / "patches.report.json")
