"""Region growing with the mouse and the keys on a real map canvas."""

from __future__ import annotations

import pytest
from qgis.core import QgsGeometry, QgsPointXY, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.gui import QgsStatusBar, QgsUserInputWidget
from qgis.PyQt.QtCore import QPoint, QPointF, QSize, Qt
from qgis.PyQt.QtGui import QWheelEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication

from thematica.errors import InputError
from thematica.plugin.add_label import add_label
from thematica.plugin.live_session import LiveSession
from thematica.plugin.live_worker import LiveWorker
from thematica.ui.grow_tool import GrowTool

from .driving import LEFT, FakeInterface, click, drag, settle, wait_for
from .live_parts import DrawnLabels, FakeLive, is_gone, utm

X, Y = 500000.0, 5000000.0
RIGHT = Qt.MouseButton.RightButton
NO_KEYS = Qt.KeyboardModifier.NoModifier

#: A square around the pixel, as many metres to each side as the tolerance says.
GROWS = """
def square(request):
    import struct
    (x, y), t = request["point"], request["tolerance"]
    ring = [(x - t, y - t), (x + t, y - t), (x + t, y + t), (x - t, y + t), (x - t, y - t)]
    wkb = struct.pack("<BIII", 1, 3, 1, 5) + b"".join(struct.pack("<dd", *p) for p in ring)
    reply(request, geometry=wkb.hex(), pixels=int(t), tolerance=t, limited=t > 60, hectares=t / 100)
ready(); serve(grow=square)
"""


class Interface(FakeInterface):
    """With the place on the canvas for a map tool's own widgets."""

    def __init__(self):
        super().__init__()
        self.window.setCentralWidget(self.canvas)
        self.inputs = QgsUserInputWidget(self.canvas)
        self.inputs.show()

        self.status = QgsStatusBar(self.window)
        self.window.statusBar().addPermanentWidget(self.status, 1)

    def statusBarIface(self):
        return self.status

    def addUserInputWidget(self, widget):
        self.inputs.addUserInputWidget(widget)


@pytest.fixture
def iface():
    interface = Interface()
    yield interface
    interface.canvas.stopRendering()
    interface.window.deleteLater()


@pytest.fixture
def raster(scene):
    layer = QgsRasterLayer(str(scene), "scene")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def labels(tmp_path):
    return DrawnLabels(tmp_path / "labels.gpkg")


@pytest.fixture
def canvas(iface, raster):
    canvas = iface.canvas
    canvas.setFrameStyle(0)
    iface.window.resize(QSize(600, 420))
    canvas.setDestinationCrs(utm())
    iface.window.show()
    settle()
    canvas.setExtent(raster.extent())
    settle()
    return canvas


@pytest.fixture
def make(iface, labels, raster, canvas, tmp_path, monkeypatch):
    fake = FakeLive(tmp_path, monkeypatch)
    sessions = []

    def start(code=GROWS):
        session = LiveSession(labels, [raster], canvas, worker=LiveWorker(fake(code)))
        sessions.append(session)
        tool = GrowTool(iface, session)
        tool.fake = fake
        canvas.setMapTool(tool)
        tool.panel.set_tolerance(20)
        settle()
        return tool

    yield start
    canvas.unsetMapTool(canvas.mapTool()) if canvas.mapTool() else None
    for session in sessions:
        pid = session.worker.pid
        session.end()
        if pid is not None:
            wait_for(lambda pid=pid: is_gone(pid))


def at(canvas, x, y):
    """The pixel of the canvas at a place of the map."""
    place = canvas.getCoordinateTransform().transform(QgsPointXY(x, y))
    return QPoint(round(place.x()), round(place.y()))


def press(canvas, x, y, button=LEFT):
    QTest.mouseClick(canvas.viewport(), button, NO_KEYS, at(canvas, x, y))
    settle()


def wheel(canvas, steps, modifier):
    view = canvas.viewport()
    middle = QPointF(view.rect().center())
    around = QPointF(view.mapToGlobal(view.rect().center()))
    event = QWheelEvent(
        middle, around, QPoint(0, 0), QPoint(0, 120 * steps), Qt.MouseButton.NoButton, modifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(view, event)
    settle()


def grown(tool, tolerance=None):
    """Wait for the region, of a tolerance or of any."""
    wait_for(lambda: tool.grown is not None and not tool._is_waiting)
    if tolerance is not None:
        assert tool.grown.pixels == tolerance
    return tool.grown


def shapes(labels):
    return {feature.id(): feature for feature in labels.layer.getFeatures()}


def said(iface):
    item = iface.bar.currentItem()
    return item.text() if item is not None else ""


def test_a_click_lets_a_region_grow_in_the_colour_of_the_class(make, canvas, labels, iface):
    tool = make()
    assert "Click a pixel" in tool.panel.state.text()
    assert "Click a pixel" in iface.status.currentMessage()
    press(canvas, X + 120, Y - 80)
    region = grown(tool, 20)
    assert region.geometry.boundingBox().center().distance(QgsPointXY(X + 120, Y - 80)) < 2
    assert "20 pixels" in tool.panel.state.text()
    assert "Enter or right click" in iface.status.currentMessage()
    assert tool._band.strokeColor().name() == "#0000ff"
    labels.set_current(2)
    assert tool._band.strokeColor().name() == "#00aa00"
    assert shapes(labels) == {}


@pytest.mark.parametrize("how", ["return", "enter", "right click", "button"])
def test_it_is_accepted(make, canvas, labels, how):
    tool = make()
    labels.set_current(2)
    press(canvas, X + 120, Y - 80)
    region = grown(tool).geometry
    if how == "right click":
        press(canvas, X + 60, Y - 60, RIGHT)
    elif how == "button":
        click(tool.panel.accept_button)
    else:
        QTest.keyClick(canvas, Qt.Key.Key_Return if how == "return" else Qt.Key.Key_Enter)
    (feature,) = shapes(labels).values()
    assert feature["class"] == 2
    assert feature.geometry().equals(region)
    assert labels.layer.isEditable()
    assert labels.layer.undoStack().count() == 1
    assert labels.layer.undoStack().text(0) == "Grow region"
    labels.layer.undoStack().undo()
    assert shapes(labels) == {}
    # The tool is ready for the next.
    assert tool.grown is None
    assert tool._band is None
    press(canvas, X + 60, Y - 60)
    grown(tool)


def test_escape_discards(make, canvas, labels):
    tool = make()
    press(canvas, X + 120, Y - 80)
    grown(tool)
    items = len(canvas.scene().items())
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    settle()
    assert tool.grown is None
    assert len(canvas.scene().items()) == items - 2
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    press(canvas, X + 60, Y - 60, RIGHT)
    assert shapes(labels) == {}
    assert not labels.layer.isEditable()


def test_another_click_starts_anew(make, canvas):
    tool = make()
    press(canvas, X + 120, Y - 80)
    first = grown(tool)
    press(canvas, X + 60, Y - 60)
    wait_for(lambda: grown(tool) is not first)
    assert tool.grown.geometry.boundingBox().center().distance(QgsPointXY(X + 60, Y - 60)) < 2


def test_control_and_wheel_move_the_tolerance(make, canvas):
    tool = make()
    extent = canvas.extent()
    press(canvas, X + 120, Y - 80)
    wheel(canvas, 3, Qt.KeyboardModifier.ControlModifier)
    grown(tool, 23)
    wheel(canvas, -10, Qt.KeyboardModifier.ControlModifier)
    grown(tool, 13)
    assert tool.panel.slider.value() == 13
    assert canvas.extent() == extent
    # Without Ctrl the map zooms.
    wheel(canvas, 1, NO_KEYS)
    wait_for(lambda: canvas.extent() != extent)
    assert tool.panel.tolerance == 13


def test_dragging_from_the_pixel_moves_the_tolerance(make, canvas):
    tool = make()
    view, place = canvas.viewport(), at(canvas, X + 120, Y - 80)
    QTest.mousePress(view, LEFT, NO_KEYS, place)
    drag(view, place + QPoint(2, 0))
    assert tool.panel.tolerance == 20
    drag(view, place + QPoint(40, 0))
    grown(tool, 30)
    drag(view, place + QPoint(-40, 0))
    drag(view, place + QPoint(-20, 0))
    QTest.mouseRelease(view, LEFT, NO_KEYS, place + QPoint(-20, 0))
    region = grown(tool, 15)
    # It still grows around the pixel that was pressed.
    assert region.geometry.boundingBox().center().distance(QgsPointXY(X + 120, Y - 80)) < 2


def test_slider_and_spin_box(make, canvas):
    tool = make()
    press(canvas, X + 120, Y - 80)
    tool.panel.slider.setFocus()
    for _ in range(5):
        QTest.keyClick(tool.panel.slider, Qt.Key.Key_Right)
    grown(tool, 25)
    tool.panel.spin.setFocus()
    tool.panel.spin.selectAll()
    QTest.keyClicks(tool.panel.spin, "42")
    QTest.keyClick(tool.panel.spin, Qt.Key.Key_Return)
    grown(tool, 42)
    assert canvas.hasFocus() or not canvas.isActiveWindow()


def test_accepted_while_it_still_grows_it_is_added_when_it_is_there(make, canvas, labels, tmp_path):
    go = tmp_path / "go"
    tool = make(f"""
def wait():
    while not os.path.exists({str(go)!r}): time.sleep(0.01)
{GROWS.replace("import struct", "import struct; wait()")}""")
    press(canvas, X + 120, Y - 80)
    tool.panel.set_tolerance(30)
    tool.panel.set_tolerance(31)
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert shapes(labels) == {}
    go.touch()
    wait_for(lambda: shapes(labels))
    (feature,) = shapes(labels).values()
    assert feature.geometry().boundingBox().width() == pytest.approx(62)


def test_a_region_that_is_cut_off_is_told_once(make, canvas, iface):
    tool = make()
    press(canvas, X + 120, Y - 80)
    tool.panel.set_tolerance(70)
    grown(tool, 70)
    assert "cut off at 70 pixels" in said(iface)
    iface.bar.clearWidgets()
    tool.panel.set_tolerance(71)
    grown(tool, 71)
    assert said(iface) == ""
    assert "cut off" in tool.panel.state.text()


def test_where_the_image_has_no_data(make, canvas, labels):
    tool = make("ready(); serve(grow=lambda r: reply(r, geometry=None, pixels=0, tolerance=1, limited=False))")
    press(canvas, X + 120, Y - 80)
    grown(tool)
    assert "no data there" in tool.panel.state.text()
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert shapes(labels) == {}


def test_an_error_is_told_in_the_message_bar(make, canvas, iface):
    refuse = "say(id=r['id'], event='error', code='bad-input', message='That lies outside the image.', details='')"
    tool = make(f"ready(); serve(grow=lambda r: {refuse})")
    press(canvas, X + 120, Y - 80)
    wait_for(lambda: said(iface))
    assert "outside the image" in said(iface)
    assert tool._seed is None


def test_without_a_session_it_says_what_to_do(make, canvas, iface):
    tool = make()
    tool.set_session(None)
    press(canvas, X + 120, Y - 80)
    assert "Labels dock" in said(iface)


def test_without_a_class_nothing_is_added(make, canvas, labels, iface):
    tool = make()
    labels.set_current(99)
    press(canvas, X + 120, Y - 80)
    grown(tool)
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert "Choose the class" in said(iface)
    assert tool.grown is not None  # it is not lost
    labels.set_current(3)
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert len(shapes(labels)) == 1


def test_a_layer_that_is_removed_meanwhile(make, canvas, labels, iface):
    tool = make()
    press(canvas, X + 120, Y - 80)
    grown(tool)
    QgsProject.instance().removeMapLayer(labels.layer.id())
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    press(canvas, X + 60, Y - 60)
    assert "Labels dock" in said(iface)


def test_the_tool_leaves_nothing_behind(make, canvas, iface):
    items = len(canvas.scene().items())
    tool = make()
    press(canvas, X + 120, Y - 80)
    grown(tool)
    canvas.unsetMapTool(tool)
    settle()
    assert tool.panel is None
    assert len(canvas.scene().items()) == items
    assert iface.status.currentMessage() == ""


def test_the_tolerance_is_remembered(make, canvas):
    tool = make()
    tool.panel.set_tolerance(37)
    canvas.unsetMapTool(tool)
    canvas.setMapTool(tool)
    assert tool.panel.tolerance == 37


# -- what becomes of a polygon ---------------------------------------------------------------------
def square(x, y, side):
    return QgsGeometry.fromRect(QgsRectangle(x, y - side, x + side, y))


def avoid_overlaps(on=True):
    from thematica.plugin.compat import AVOID_IN_LAYER, AVOID_NOTHING

    QgsProject.instance().setAvoidIntersectionsMode(AVOID_IN_LAYER if on else AVOID_NOTHING)


@pytest.fixture(autouse=True)
def _project_settings():
    yield
    avoid_overlaps(False)
    QgsProject.instance().setTopologicalEditing(False)


def test_overlaps_are_avoided_where_the_project_says_so(labels):
    labels.draw(1, X + 20, Y, 20)
    add_label(labels, square(X, Y, 40), utm(), 2)
    assert shapes(labels)[-3 if -3 in shapes(labels) else min(shapes(labels))].geometry().area() == pytest.approx(1600)
    labels.layer.undoStack().undo()
    avoid_overlaps()
    fid = add_label(labels, square(X, Y, 40), utm(), 2)
    new = labels.layer.getFeature(fid).geometry()
    assert new.area() == pytest.approx(1600 - 400)
    old = next(feature.geometry() for number, feature in shapes(labels).items() if number != fid)
    assert new.intersection(old).area() == 0
    assert old.area() == pytest.approx(400)


def test_of_several_parts_the_one_around_the_pixel_is_taken(labels):
    avoid_overlaps()
    labels.draw(1, X + 20, Y + 50, 200)
    strip = QgsGeometry.fromRect(QgsRectangle(X, Y - 20, X + 250, Y - 10))
    fid = add_label(labels, strip, utm(), 2, QgsPointXY(X + 240, Y - 15))
    assert labels.layer.getFeature(fid).geometry().boundingBox() == QgsRectangle(X + 220, Y - 20, X + 250, Y - 10)
    labels.layer.undoStack().undo()
    fid = add_label(labels, strip, utm(), 2)
    assert labels.layer.getFeature(fid).geometry().area() == pytest.approx(300)


def test_nothing_left_between_the_neighbours_is_told(labels):
    avoid_overlaps()
    labels.draw(1, X, Y, 100)
    count = labels.layer.undoStack().count()
    with pytest.raises(InputError, match="Nothing of the polygon is left"):
        add_label(labels, square(X + 10, Y - 10, 20), utm(), 2)
    assert labels.layer.undoStack().count() == count


def test_shared_borders_get_shared_vertices(labels):
    avoid_overlaps()
    QgsProject.instance().setTopologicalEditing(True)
    old = labels.draw(1, X + 20, Y, 40)
    count = labels.layer.undoStack().count()
    add_label(labels, square(X, Y - 10, 30), utm(), 2)
    corners = {(point.x(), point.y()) for point in labels.layer.getFeature(old).geometry().vertices()}
    assert {(X + 20, Y - 10), (X + 20, Y - 40)} <= corners | {(X + 20, Y - 40)}
    assert (X + 20, Y - 10) in corners
    assert labels.layer.undoStack().count() == count + 1


def test_a_polygon_comes_in_the_layers_crs(labels):
    from qgis.core import QgsCoordinateReferenceSystem, QgsCoordinateTransform

    wgs84 = QgsCoordinateReferenceSystem("EPSG:4326")
    polygon = square(X, Y, 40)
    polygon.transform(QgsCoordinateTransform(utm(), wgs84, QgsProject.instance()))
    fid = add_label(labels, polygon, wgs84, 1)
    assert labels.layer.getFeature(fid).geometry().area() == pytest.approx(1600, rel=1e-4)


def test_layers_of_multi_polygons_get_them_and_defaults_are_set(tmp_path):
    from qgis.core import QgsDefaultValue

    labels = DrawnLabels(tmp_path / "multi.gpkg", kind="MultiPolygon")
    layer = labels.layer
    layer.setDefaultValueDefinition(layer.fields().lookupField("image"), QgsDefaultValue("'one'"))
    fid = add_label(labels, square(X, Y, 40), utm(), 2)
    feature = layer.getFeature(fid)
    assert feature.geometry().isMultipart()
    assert feature["image"] == "one"
    assert layer.commitChanges(), layer.commitErrors()


def test_a_layer_of_points_takes_no_region(tmp_path):
    labels = DrawnLabels(tmp_path / "points.gpkg", kind="Point")
    with pytest.raises(InputError, match="has no polygons"):
        add_label(labels, square(X, Y, 40), utm(), 2)
