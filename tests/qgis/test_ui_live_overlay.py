"""The live preview on a real map canvas, looked at pixel by pixel."""

from __future__ import annotations

import pytest
from qgis.core import (
    QgsFillSymbol,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSingleSymbolRenderer,
    QgsWkbTypes,
)
from qgis.gui import QgsMapCanvas, QgsMapToolPan, QgsRubberBand
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QPoint, QSize, Qt
from qgis.PyQt.QtGui import QColor, QImage
from qgis.PyQt.QtTest import QTest

from thematica.ui import live_overlay
from thematica.ui.live_overlay import LiveOverlay

from .driving import drag, settle, wait_for
from .live_parts import DrawnLabels, utm

X, Y = 500000.0, 5000000.0
RED, LIME = "#ff0000", "#00ff00"


@pytest.fixture
def raster(make_raster):
    layer = QgsRasterLayer(str(make_raster("grey.tif", [[100.0, 200.0] * 192], 24)), "grey")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def labels(tmp_path):
    labels = DrawnLabels(tmp_path / "labels.gpkg")
    symbol = QgsFillSymbol.createSimple({"color": LIME, "outline_style": "no"})
    labels.layer.setRenderer(QgsSingleSymbolRenderer(symbol))
    return labels


@pytest.fixture
def canvas(raster, labels):
    canvas = QgsMapCanvas()
    canvas.setFrameStyle(0)
    canvas.resize(QSize(240, 160))
    canvas.setDestinationCrs(utm())
    canvas.setLayers([labels.layer, raster])
    canvas.setExtent(raster.extent())
    canvas.show()
    settle()
    canvas.waitWhileRendering()
    yield canvas
    canvas.stopRendering()
    canvas.setLayers([])
    canvas.deleteLater()


@pytest.fixture
def overlay(canvas, labels, raster):
    overlay = LiveOverlay(canvas, labels.layer)
    overlay.set_rasters([raster])
    overlay.set_opacity(1.0)
    yield overlay
    overlay.end()
    settle()


def halves(width=240, height=160):
    """Red above, blue below."""
    image = QImage(width, height, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(QColor("#0000ff"))
    for y in range(height // 2):
        for x in range(width):
            image.setPixelColor(x, y, QColor(RED))
    return image


def seen(canvas, x, y):
    return canvas.grab().toImage().pixelColor(x, y).name()


def test_nothing_is_drawn_before_there_is_a_picture(canvas, overlay):
    assert not overlay.is_shown
    assert seen(canvas, 120, 40) not in (RED, "#0000ff")


def test_the_picture_lies_on_its_extent(canvas, overlay, raster):
    overlay.show_preview(halves(), raster.extent())
    assert seen(canvas, 5, 5) == RED
    assert seen(canvas, 5, 79) == RED
    assert seen(canvas, 5, 81) == "#0000ff"
    overlay.clear()
    assert seen(canvas, 5, 5) != RED


def test_opacity_lets_the_image_through_and_the_labels_stay(canvas, overlay, labels, raster):
    labels.draw(1, X + 100, Y - 20)
    overlay.show_preview(halves(), raster.extent())
    overlay.set_opacity(0.5)
    wait_for(lambda: seen(canvas, 110, 30) == LIME)
    red = canvas.grab().toImage().pixelColor(5, 5)
    assert red.red() > 200
    assert 30 < red.green() < 200  # of the grey below


def test_labels_stay_visible_over_the_picture_also_new_and_undone_ones(canvas, overlay, labels, raster):
    overlay.show_preview(halves(), raster.extent())
    labels.draw(1, X + 100, Y - 20)
    labels.layer.triggerRepaint()
    wait_for(lambda: seen(canvas, 110, 30) == LIME)
    assert seen(canvas, 95, 30) == RED
    labels.layer.undoStack().undo()
    labels.layer.triggerRepaint()
    wait_for(lambda: seen(canvas, 110, 30) == RED)


def test_labels_that_are_switched_off_are_not_drawn(canvas, overlay, labels, raster):
    labels.draw(1, X + 100, Y - 20)
    canvas.setLayers([raster])
    canvas.waitWhileRendering()
    overlay.show_preview(halves(), raster.extent())
    settle()
    wait_for(lambda: not overlay._draw_soon.isActive() and overlay._job is None)
    assert seen(canvas, 110, 30) == RED


def test_labels_below_the_image_in_the_tree_are_drawn_all_the_same(canvas, overlay, labels, raster):
    labels.draw(1, X + 100, Y - 20)
    canvas.setLayers([raster, labels.layer])
    overlay.show_preview(halves(), raster.extent())
    wait_for(lambda: seen(canvas, 110, 30) == LIME)


def test_zoomed_and_moved_the_old_picture_stays_where_it_lies(canvas, overlay, labels, raster):
    labels.draw(1, X + 100, Y - 20)
    overlay.show_preview(halves(), raster.extent())
    wait_for(lambda: seen(canvas, 110, 30) == LIME)
    # At once, before anything new was drawn: the upper left quarter, twice as large.
    canvas.setExtent(QgsRectangle(X, Y - 80, X + 120, Y))
    image = canvas.grab().toImage()
    assert image.pixelColor(5, 155).name() == RED
    assert image.pixelColor(220, 60).name() == LIME
    canvas.setExtent(QgsRectangle(X, Y - 160, X + 120, Y - 80))
    assert seen(canvas, 5, 5) == "#0000ff"
    # Zoomed out, it covers its own place only.
    canvas.setExtent(QgsRectangle(X - 120, Y - 240, X + 360, Y + 80))
    image = canvas.grab().toImage()
    assert image.pixelColor(70, 50).name() == RED
    assert image.pixelColor(20, 20).name() != RED


def test_while_the_map_is_dragged_the_picture_goes_with_it(canvas, overlay, raster):
    pan = QgsMapToolPan(canvas)
    canvas.setMapTool(pan)
    overlay.show_preview(halves(), raster.extent())
    view = canvas.viewport()
    QTest.mousePress(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(100, 60))
    drag(view, QPoint(100, 80))
    drag(view, QPoint(100, 100))
    dragged = canvas.grab().toImage()
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(100, 100))
    settle()
    released = canvas.grab().toImage()
    for image in (dragged, released):
        assert image.pixelColor(100, 110).name() == RED
        assert image.pixelColor(100, 130).name() == "#0000ff"
    assert released.pixelColor(100, 20).name() != RED


def test_a_turned_map_turns_the_picture(canvas, overlay, raster):
    overlay.show_preview(halves(), raster.extent())
    canvas.setRotation(90)
    settle()
    # Clockwise: what was above is at the right now; the picture is 240 wide and turned about the middle.
    image = canvas.grab().toImage()
    assert image.pixelColor(130, 80).name() == RED
    assert image.pixelColor(110, 80).name() == "#0000ff"
    assert image.pixelColor(20, 80).name() not in (RED, "#0000ff")


def test_rubber_bands_are_above(canvas, overlay, raster):
    overlay.show_preview(halves(), raster.extent())
    band = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
    band.setColor(QColor("#ffff00"))
    band.setToGeometry(QgsGeometry.fromRect(QgsRectangle(X + 50, Y - 60, X + 90, Y - 20)), None)
    assert seen(canvas, 70, 40) == "#ffff00"
    canvas.scene().removeItem(band)


def test_the_label_layer_goes_and_the_picture_with_it(canvas, overlay, labels, raster):
    overlay.show_preview(halves(), raster.extent())
    QgsProject.instance().removeMapLayer(labels.layer.id())
    assert not overlay.is_shown


def test_ended_it_leaves_nothing_on_the_canvas(canvas, labels, raster):
    items = len(canvas.scene().items())
    overlay = LiveOverlay(canvas, labels.layer)
    overlay.show_preview(halves(), raster.extent())
    overlay.end()
    assert len(canvas.scene().items()) == items
    canvas.refresh()
    canvas.waitWhileRendering()
    settle()


def test_what_draws_the_layers_above_is_gone_when_it_is_done(canvas, overlay, labels, monkeypatch):
    made, make = [], live_overlay.QgsMapRendererSequentialJob
    monkeypatch.setattr(
        live_overlay, "QgsMapRendererSequentialJob", lambda settings: made.append(make(settings)) or made[-1]
    )
    overlay.show_preview(halves(), QgsRectangle(X, Y - 160, X + 240, Y))
    for _ in range(3):
        overlay._draw_over()  # the one before is cancelled

    def all_gone():
        settle()
        return all(sip.isdeleted(job) for job in made)

    wait_for(all_gone)
    assert len(made) >= 3
    assert not overlay._over.isNull()
