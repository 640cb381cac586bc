"""Live classification with the real worker and a real label layer: from drawing to the picture, and to the region."""

from __future__ import annotations

import os
import random
import signal

import pytest
from qgis.core import QgsFeature, QgsGeometry, QgsPointXY, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

from thematica.models.label_classes import LabelClass
from thematica.plugin.add_label import add_label
from thematica.plugin.label_layer import LabelLayer, create_label_layer
from thematica.plugin.live_session import FAILED, SHOWN, STARTING, WAITING, LiveSession
from thematica.plugin.live_worker import LiveWorker
from thematica.plugin.runtime import Runtime
from thematica.ui.live_overlay import LiveOverlay

from .conftest import FOREST, SENTINEL_BANDS, WATER
from .driving import settle, wait_for
from .live_parts import is_gone, utm

X, Y = 500000.0, 5000000.0
WIDTH, HEIGHT = 60, 40


@pytest.fixture
def raster(make_raster):
    """Water at the left, forest at the right, with noise."""
    noise = random.Random(3)
    bands = [
        [
            (WATER if column < WIDTH // 2 else FOREST)[band] + noise.gauss(0, 0.004)
            for _ in range(HEIGHT)
            for column in range(WIDTH)
        ]
        for band in range(len(SENTINEL_BANDS))
    ]
    path = make_raster("szene ä.tif", bands, WIDTH, descriptions=SENTINEL_BANDS)
    layer = QgsRasterLayer(str(path), "scene")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def labels(tmp_path):
    classes = [LabelClass(10, "Wasser", "#0000ff"), LabelClass(20, "Wald", "#00aa00")]
    layer = create_label_layer(tmp_path / "labels.gpkg", "labels", utm(), classes)
    QgsProject.instance().addMapLayer(layer)
    return LabelLayer.of(layer)


@pytest.fixture
def canvas(raster, labels):
    canvas = QgsMapCanvas()
    canvas.setFrameStyle(0)
    canvas.resize(QSize(WIDTH * 4, HEIGHT * 4))
    canvas.setDestinationCrs(utm())
    canvas.setLayers([labels.layer, raster])
    canvas.setExtent(raster.extent())
    canvas.show()
    settle()
    yield canvas
    canvas.stopRendering()
    canvas.setLayers([])
    canvas.deleteLater()


@pytest.fixture
def session(labels, raster, canvas, real_runtime):
    worker = LiveWorker(Runtime(real_runtime, "environment"))
    session = LiveSession(labels, [raster], canvas, worker=worker)
    session.pictures, session.statistics, session.logged = [], [], []
    session.preview_ready.connect(lambda image, extent: session.pictures.append(image))
    session.statistics_ready.connect(session.statistics.append)
    session.log.connect(lambda level, text: session.logged.append((level, text)))
    yield session
    pid = worker.pid
    session.end()
    wait_for(lambda: pid is None or is_gone(pid))


def draw(labels, code, x, y, side=60.0):
    layer = labels.layer
    labels.set_current(code)
    return add_label(labels, QgsGeometry.fromRect(QgsRectangle(x, y - side, x + side, y)), layer.crs(), code)


def shown(session, count):
    wait_for(lambda: session.state in (SHOWN, FAILED) and len(session.pictures) >= count, 60)
    assert session.state == SHOWN, (session.sentence, session.logged)
    return session.pictures[-1]


def is_close(color, name):
    wanted = QColor(name)
    return (
        all(abs(a - b) < 60 for a, b in zip(color.getRgb()[:3], wanted.getRgb()[:3], strict=True))
        and color.alpha() > 128
    )


def test_from_drawing_to_the_picture_and_through_a_kill(session, labels, canvas):
    overlay = LiveOverlay(canvas, labels.layer)
    overlay.set_rasters(session.rasters)
    overlay.set_opacity(1.0)
    session.preview_ready.connect(overlay.show_preview)
    session.set_preview(True)
    session.want_statistics()
    wait_for(lambda: session.state == WAITING, 60)
    assert [band["name"] for band in session.scene["bands"]] == list(SENTINEL_BANDS)
    draw(labels, 10, X + 50, Y - 50)
    draw(labels, 20, X + 450, Y - 50)
    image = shown(session, 1)
    assert (image.width(), image.height()) == (240, 160)
    assert is_close(image.pixelColor(20, 140), "#0000ff")
    assert is_close(image.pixelColor(220, 140), "#00aa00")
    assert canvas.grab().toImage().pixelColor(20, 140).blue() > 150

    # The figures of unsaved polygons, under their own numbers.
    wait_for(lambda: session.statistics and session.statistics[-1]["pixels"] == 72)
    figures = {entry["code"]: entry for entry in session.statistics[-1]["classes"]}
    assert {code: (entry["polygons"], entry["pixels"]) for code, entry in figures.items()} == {10: (1, 36), 20: (1, 36)}
    assert session.statistics[-1]["pairs"][0]["jeffries_matusita"] > 1.9

    # A class in another colour.
    labels.recolor(10, "#ff00ff")
    count = len(session.pictures)
    image = shown(session, count + 1)
    assert is_close(image.pixelColor(20, 140), "#ff00ff")

    # Killed: it is started again, and the picture comes.
    count = len(session.pictures)
    os.kill(session.worker.pid, signal.SIGKILL)
    wait_for(lambda: session.state == STARTING)
    image = shown(session, count + 1)
    assert is_close(image.pixelColor(20, 140), "#ff00ff")

    # Saved, and the canvas moved.
    assert labels.layer.commitChanges()
    canvas.setExtent(QgsRectangle(X + 300, Y - 200, X + 600, Y))
    image = shown(session, len(session.pictures) + 1)
    assert is_close(image.pixelColor(20, 140), "#00aa00")
    overlay.end()


def test_a_region_grows_over_similar_spectra_and_becomes_a_label(session, labels, canvas):
    grown, failed = [], []
    session.grow(QgsPointXY(X + 105, Y - 105), 60, grown.append, failed.append)
    wait_for(lambda: grown or failed, 60)
    assert failed == []
    (region,) = grown
    box = region.geometry.boundingBox()
    assert region.pixels > 0.9 * WIDTH / 2 * HEIGHT
    assert box.xMaximum() == pytest.approx(X + 300)
    assert region.hectares == pytest.approx(region.pixels / 100, rel=0.01)
    fid = add_label(labels, region.geometry, utm(), 10, QgsPointXY(X + 105, Y - 105))
    feature = labels.layer.getFeature(fid)
    assert isinstance(feature, QgsFeature)
    assert labels.code_of_feature(feature) == 10
    assert labels.layer.commitChanges(), labels.layer.commitErrors()
    session.grow(QgsPointXY(X - 1000, Y), 60, grown.append, failed.append)
    wait_for(lambda: len(grown) == 2 or failed)
    assert grown[-1].geometry is None
