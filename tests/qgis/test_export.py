"""Layers that only QGIS can open are exported for the run: web maps, virtual rasters, memory, open options."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import threading

import pytest
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor, QImage

from thematica.errors import Cancelled, InputError, UnreadableRasterError
from thematica.plugin.export import plan_export
from thematica.plugin.job import raster_job
from thematica.plugin.raster_facts import facts_of_layer
from thematica.plugin.running import run_prepared

from .conftest import read_codes
from .driving import click, settle, wait_for

WEB_MERCATOR = QgsCoordinateReferenceSystem("EPSG:3857")
# Tile 10/550/335 of the usual scheme, and the one to its right.
ZOOM, COLUMN, ROW = 14, 8800, 5360
WORLD = 20037508.342789244
SIDE = 2 * WORLD / 2**ZOOM


@pytest.fixture
def tiles(tmp_path):
    """A local XYZ layer: red tiles and green tiles by turns, at one zoom."""
    for column in range(COLUMN - 1, COLUMN + 3):
        for row in range(ROW - 1, ROW + 3):
            image = QImage(256, 256, QImage.Format.Format_ARGB32)
            image.fill(QColor(200, 30, 10) if column % 2 == 0 else QColor(20, 180, 40))
            folder = tmp_path / "tiles" / str(ZOOM) / str(column)
            folder.mkdir(parents=True, exist_ok=True)
            assert image.save(str(folder / f"{row}.png"))
    address = (tmp_path / "tiles").as_uri() + "/{z}/{x}/{y}.png"
    layer = QgsRasterLayer(f"type=xyz&url={address}&zmin={ZOOM}&zmax={ZOOM}", "tiles", "wms")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    return layer


def around_tiles():
    """The middle of two tiles, red at the left and green at the right, in web Mercator."""
    left, top = COLUMN * SIDE - WORLD, WORLD - ROW * SIDE
    return QgsRectangle(left + SIDE / 2, top - SIDE * 0.75, left + SIDE * 1.5, top - SIDE / 4)


def values(path, band):
    dataset = gdal.Open(str(path))
    raw = dataset.GetRasterBand(band).ReadRaster(buf_type=gdal.GDT_Float64)
    return list(struct.unpack(f"{len(raw) // 8}d", raw))


def export(layer, folder, extent=None, pixel_size=None):
    """The exported file's path, written in another thread as a task would."""
    planned = plan_export(layer, extent, pixel_size)
    outcome = []

    def work():
        try:
            outcome.append(planned.write(folder / "export.tif", lambda _: None, lambda: False))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: not thread.is_alive(), 30)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


# -- what is written ----------------------------------------------------------------------------


def test_a_web_map_is_written_as_its_colours_with_pixels_of_the_size_asked_for(tiles, tmp_path):
    path = export(tiles, tmp_path, around_tiles(), 10.0)
    dataset = gdal.Open(str(path))
    assert dataset.RasterCount == 4
    assert [dataset.GetRasterBand(n).GetDescription() for n in (1, 2, 3, 4)] == ["red", "green", "blue", "alpha"]
    made = QgsRasterLayer(str(path), "made")
    assert facts_of_layer(made).gsd == pytest.approx(10.0, rel=0.01)
    middle = dataset.RasterYSize // 2 * dataset.RasterXSize
    half = dataset.RasterXSize // 2
    rows = [values(path, band)[middle : middle + dataset.RasterXSize] for band in (1, 2, 3)]
    left, right = [row[half - 5] for row in rows], [row[half + 5] for row in rows]
    assert left == [200, 30, 10]
    assert right == [20, 180, 40]
    assert facts_of_layer(made).bands[3].unit == "alpha"


def test_what_a_web_map_needs_is_told(tiles):
    with pytest.raises(InputError, match="choose an area"):
        plan_export(tiles, None, 10.0)
    with pytest.raises(InputError, match="set the pixel size"):
        plan_export(tiles, around_tiles(), None)
    with pytest.raises(InputError, match=r"megapixels \(at most 100\).*or larger pixels"):
        plan_export(tiles, around_tiles(), 0.05)


def test_numbers_and_names_survive(make_raster, tmp_path):
    bands = [[float(n) for n in range(16)], [0.5] * 16]
    layer = QgsRasterLayer(str(make_raster("a.tif", bands, 4, descriptions=("B4", "N<&>ä"), nodata=3.0)), "a")
    path = export(layer, tmp_path)
    dataset = gdal.Open(str(path))
    assert [dataset.GetRasterBand(n).GetDescription() for n in (1, 2)] == ["B4", "N<&>ä"]
    assert dataset.GetGeoTransform() == gdal.Open(layer.source()).GetGeoTransform()
    assert dataset.GetRasterBand(1).GetNoDataValue() == 3.0
    assert values(path, 1) == [float(n) for n in range(16)]


def test_nodata_set_on_the_layer_goes_with_the_job(make_raster, networks):
    layer = QgsRasterLayer(f"{make_raster('a.tif', [[0.0] * 16] * 3, 4)}|option:NUM_THREADS=2", "a")
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0.0, 0.0)])
    prepared = raster_job("classify-pixels", [layer], str(networks / "bare.onnx"), "o.tif")
    assert prepared.exports
    assert prepared.job["nodata"] == 0.0
    prepared.discard()


def test_only_the_area_and_a_margin_are_written_on_the_layers_own_grid(make_raster, tmp_path):
    side = 600
    layer = QgsRasterLayer(str(make_raster("a.tif", [[float(n) for n in range(side * side)]], side)), "a")
    area = QgsRectangle(500000 + 3003, 5000000 - 3017, 500000 + 3017, 5000000 - 3003)
    path = export(layer, tmp_path, area)
    dataset = gdal.Open(str(path))
    # Pixels 300 and 301, and 128 around them.
    assert (dataset.RasterXSize, dataset.RasterYSize) == (258, 258)
    assert dataset.GetGeoTransform()[0] == 500000 + 172 * 10
    assert values(path, 1)[0] == 172 * side + 172
    with pytest.raises(InputError, match="outside the layer"):
        plan_export(layer, QgsRectangle(0, 0, 10, 10), None)


def test_cancelling_ends_the_export(make_raster, tmp_path):
    layer = QgsRasterLayer(str(make_raster("a.tif", [[1.0] * 16], 4)), "a")
    with pytest.raises(Cancelled):
        plan_export(layer, None, None).write(tmp_path / "e.tif", lambda _: None, lambda: True)


def test_cancelling_does_not_wait_for_a_server_that_is_silent(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/{{z}}/{{x}}/{{y}}.png"
        layer = QgsRasterLayer(f"type=xyz&url={address}&zmin={ZOOM}&zmax={ZOOM}", "silent", "wms")
        planned = plan_export(layer, around_tiles(), 10.0)
        cancelled, outcome = [], []

        def work():
            try:
                planned.write(tmp_path / "e.tif", lambda _: None, lambda: bool(cancelled))
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        server.accept()  # a tile was asked for
        cancelled.append(True)
        wait_for(lambda: not thread.is_alive(), 20)
    assert isinstance(outcome[0], Cancelled)


def test_a_web_map_without_an_answer_is_told_and_not_classified(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    # Nobody listens there any more.
    address = f"http://127.0.0.1:{port}/{{z}}/{{x}}/{{y}}.png"
    layer = QgsRasterLayer(f"type=xyz&url={address}&zmin={ZOOM}&zmax={ZOOM}", "dead", "wms")
    with pytest.raises(InputError, match="“dead”"):
        export(layer, tmp_path, around_tiles(), 10.0)


def test_tiles_that_do_not_arrive_are_told(tiles, tmp_path):
    (tmp_path / "tiles" / str(ZOOM) / str(COLUMN + 1) / f"{ROW}.png").unlink()
    planned = plan_export(tiles, around_tiles(), 10.0)
    planned.write(tmp_path / "e.tif", lambda _: None, lambda: False)
    assert "% of what was exported of the layer “tiles” is empty" in planned.warnings[0]


def test_a_file_that_cannot_be_written_is_told(make_raster, tmp_path):
    layer = QgsRasterLayer(str(make_raster("a.tif", [[1.0] * 16], 4)), "a")
    with pytest.raises(InputError, match="could not export the layer “a”"):
        plan_export(layer, None, None).write(tmp_path / "no folder" / "e.tif", lambda _: None, lambda: False)


# -- the job ------------------------------------------------------------------------------------


def test_a_layer_with_a_scale_is_not_exported_where_stored_numbers_are_wanted(make_raster, networks, tmp_path):
    path = make_raster("s.tif", [[1.0] * 16] * 3, 4)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetScale(0.1)
    dataset = None
    layer = QgsRasterLayer(f"{path}|option:NUM_THREADS=2", "s")
    model = str(networks / "bare.onnx")
    assert raster_job("classify-pixels", [layer], model, "o.tif").exports
    with pytest.raises(InputError, match="declares a scale"):
        raster_job("classify-pixels", [layer], model, "o.tif", options={"scale": 2.0})


def test_what_the_runtime_cannot_open_is_exported_after_all(fake_worker, monkeypatch, make_raster, tmp_path):
    layer = QgsRasterLayer(str(make_raster("odd.tif", [[1.0, 2.0, 3.0, 4.0]], 2)), "odd")
    monkeypatch.setenv(
        "THEMATICA_RUNTIME",
        str(
            fake_worker(
                "if 'raster-1' not in job['rasters'][0]:\n"
                "    say(event='error', code='unreadable-raster', message=job['rasters'][0] + ' is no raster.')\n"
                "    sys.exit(2)\n"
                "say(event='progress', fraction=0.5)\n"
                "say(event='result', files={'output': 'o.tif'}, report={'raster': job['rasters'][0]})"
            ).python
        ),
    )
    prepared = raster_job("classify-pixels", [layer], "m", "o.tif")
    assert not prepared.exports
    events = []
    result = run_prepared(prepared, events.append, lambda: False)
    assert values(result["report"]["raster"], 1) == [1.0, 2.0, 3.0, 4.0]
    assert any("cannot open “odd”" in str(event.get("message")) for event in events)
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    prepared.discard()
    assert list(tmp_path.glob("thematica-*")) == []


def test_what_nobody_can_open_is_told_by_the_runtime(fake_worker, monkeypatch, scene):
    code = "say(event='error', code='unreadable-raster', message=job['rasters'][0] + ' is no raster.'); sys.exit(2)"
    monkeypatch.setenv("THEMATICA_RUNTIME", str(fake_worker(code).python))
    prepared = raster_job("classify-pixels", [QgsRasterLayer(str(scene), "s")], "m", "o.tif")
    with pytest.raises(UnreadableRasterError):
        run_prepared(prepared, lambda _: None, lambda: False)


# -- with the real engine, through Processing ---------------------------------------------------


@pytest.fixture
def classify(processing, real_runtime, monkeypatch, tmp_path):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(real_runtime))

    def run(layer, model="basic-cover-sentinel2", **parameters):
        given = {"INPUT": layer, "MODEL": model, "OUTPUT": str(tmp_path / "map.tif"), **parameters}
        return processing.run("thematica:classifypixels", given)

    return run


def check_water_and_forest(result):
    codes = read_codes(result["OUTPUT"])
    assert codes[0][0] == 255  # no data
    assert codes[8][2] != codes[8][20]
    names = {row["value"]: row["name"] for row in json.loads(result["CLASS_AREAS"])}
    assert "water" in names[codes[8][2]].lower()


def test_a_layer_with_open_options(classify, scene):
    check_water_and_forest(classify(QgsRasterLayer(f"{scene}|option:NUM_THREADS=2", "options")))


def test_a_layer_in_memory(classify, scene):
    gdal.FileFromMemBuffer("/vsimem/scene.tif", scene.read_bytes())
    try:
        check_water_and_forest(classify(QgsRasterLayer("/vsimem/scene.tif", "memory")))
    finally:
        gdal.Unlink("/vsimem/scene.tif")


def test_a_format_that_only_qgiss_gdal_reads(classify, make_raster, networks, tmp_path):
    """Azavea's raster grids, which the runtime's GDAL has no driver for, as three rasters."""
    driver = gdal.GetDriverByName("ARG")
    if driver is None:
        pytest.skip("this QGIS's GDAL has no driver that the runtime's has not")
    layers = []
    for name, low in (("red", 10.0), ("green", 50.0), ("blue", 30.0)):
        source = make_raster(f"{name}.tif", [[low + n for n in range(64)]], 8)
        driver.CreateCopy(str(tmp_path / f"{name}.arg"), gdal.Open(str(source)))
        layers.append(QgsRasterLayer(str(tmp_path / f"{name}.arg"), name))
        assert layers[-1].isValid()
    bands = "red=1:1,green=2:1,blue=3:1"
    result = classify(layers, str(networks / "colours.onnx"), BANDS=bands)
    assert {code for row in read_codes(result["OUTPUT"]) for code in row} == {1}


def test_a_virtual_raster_computed_by_qgis(classify, make_raster, networks, monkeypatch, tmp_path):
    source = QgsRasterLayer(str(make_raster("base.tif", [[0.2] * 64], 8)), "base")
    QgsProject.instance().addMapLayer(source)
    uri = (
        f"?crs=EPSG:32633&extent={source.extent().xMinimum()},{source.extent().yMinimum()},"
        f"{source.extent().xMaximum()},{source.extent().yMaximum()}&width=8&height=8"
        f"&formula=%22base@1%22%20*%202&base:uri={source.source()}&base:provider=gdal"
    )
    layer = QgsRasterLayer(uri, "twice", "virtualraster")
    if not layer.isValid():
        pytest.skip("this QGIS computes no virtual rasters")
    assert values(export(layer, tmp_path), 1) == pytest.approx([0.4] * 64)


def test_a_web_map_is_classified(classify, tiles, networks, tmp_path):
    to_degrees = QgsCoordinateTransform(WEB_MERCATOR, QgsCoordinateReferenceSystem("EPSG:4326"), QgsProject.instance())
    degrees = to_degrees.transformBoundingBox(around_tiles())
    extent = f"{degrees.xMinimum()},{degrees.xMaximum()},{degrees.yMinimum()},{degrees.yMaximum()} [EPSG:4326]"
    result = classify(tiles, str(networks / "colours.onnx"), EXTENT=extent)
    codes = read_codes(result["OUTPUT"])
    row = codes[len(codes) // 2]
    assert (row[len(row) // 2 - 5], row[len(row) // 2 + 5]) == (0, 1)


# -- in the dialog ------------------------------------------------------------------------------


def test_the_dialog_asks_for_an_area_and_exports_a_web_map(open_dialog, tiles, networks, runtime, iface, tmp_path):
    dialog = open_dialog()
    dialog.model.choose_file(str(networks / "colours.onnx"))
    settle()
    assert "choose an area" in dialog.fit_notice.said
    assert not dialog.run_button.isEnabled()
    iface.canvas.setDestinationCrs(WEB_MERCATOR)
    iface.canvas.setExtent(around_tiles())
    click(dialog.area.canvas)
    assert dialog.fit_notice.kind == "ok", dialog.fit_notice.said
    keep = tmp_path / "kept.tif"
    from .driving import WRITES

    runtime(f"import shutil; shutil.copy(job['rasters'][0], {str(keep)!r})\n" + WRITES)
    click(dialog.run_button)
    wait_for(lambda: not dialog.current_run.is_running)
    assert dialog.run_notice.kind == "ok", dialog.run_notice.said
    assert "“tiles” was exported for the run" in dialog.run_notice.said
    assert gdal.Open(str(keep)).RasterCount == 4
    assert not shutil.os.path.exists(runtime.job()["rasters"][0])


def test_polygons_say_what_is_exported(open_dialog, tiles, networks):
    rectangle = around_tiles()
    polygons = QgsVectorLayer("Polygon?crs=EPSG:3857", "area", "memory")
    from qgis.core import QgsFeature, QgsGeometry

    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(rectangle))
    polygons.dataProvider().addFeature(feature)
    polygons.updateExtents()
    prepared = raster_job("classify-pixels", [tiles], str(networks / "colours.onnx"), "o.tif", area_layer=polygons)
    export = prepared.exports[0]
    assert export.extent.contains(rectangle)
    assert export.columns * export.rows < 1_000_000
    prepared.discard()
