"""Live classification as it follows the analyst: what was sent after each edit, and what comes back."""

from __future__ import annotations

import os
import signal
import time

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayerUtils,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QSize, QTimer

from thematica.errors import RuntimeMissingError
from thematica.plugin import live_session, live_worker
from thematica.plugin.live_session import COMPUTING, FAILED, OFF, SHOWN, STARTING, WAITING, LiveSession
from thematica.plugin.live_worker import LiveWorker
from thematica.plugin.runtime import Runtime

from .driving import settle, wait_for
from .live_parts import SERVES, DrawnLabels, FakeLive, is_gone, utm

X, Y = 500000.0, 5000000.0


@pytest.fixture
def fake(tmp_path, monkeypatch):
    monkeypatch.setattr(live_worker, "PAUSES", (0.01, 0.02))
    return FakeLive(tmp_path, monkeypatch)


@pytest.fixture
def labels(tmp_path):
    return DrawnLabels(tmp_path / "labels.gpkg")


@pytest.fixture
def raster(scene):
    layer = QgsRasterLayer(str(scene), "scene")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def canvas(raster):
    canvas = QgsMapCanvas()
    canvas.setFrameStyle(0)
    canvas.resize(QSize(240, 160))
    canvas.setDestinationCrs(utm())
    canvas.setExtent(raster.extent())
    canvas.show()
    settle()
    yield canvas
    canvas.deleteLater()


@pytest.fixture
def make(fake, labels, raster, canvas):
    """``make(code)``: a session with what it signalled in ``states``, ``pictures``, ``statistics``."""
    sessions = []

    def start(code=SERVES, rasters=None):
        session = LiveSession(labels, [raster] if rasters is None else rasters, canvas, worker=LiveWorker(fake(code)))
        session.states, session.pictures, session.statistics, session.gone = [], [], [], []
        session.state_changed.connect(lambda state, sentence: session.states.append((state, sentence)))
        session.preview_ready.connect(lambda image, extent: session.pictures.append((image, extent)))
        session.preview_gone.connect(lambda: session.gone.append(len(session.pictures)))
        session.statistics_ready.connect(session.statistics.append)
        sessions.append(session)
        return session

    yield start
    for session in sessions:
        pid = session.worker.pid
        session.end()
        if pid is not None:
            wait_for(lambda pid=pid: is_gone(pid))


def draw_two(labels):
    return labels.draw(1, X + 10, Y - 40), labels.draw(2, X + 150, Y - 40)


def pictures(session, count):
    """Wait until so many pictures came and none is being computed."""
    wait_for(lambda: len(session.pictures) >= count and session.state == SHOWN)


def test_nothing_is_started_before_it_is_wanted(make, fake, labels):
    session = make()
    draw_two(labels)
    settle()
    assert session.state == OFF
    assert fake.starts() == 0


def test_from_an_empty_layer_to_the_first_picture(make, fake, labels, canvas):
    session = make()
    session.set_preview(True)
    assert session.state == STARTING
    wait_for(lambda: session.state == WAITING)
    assert "two classes" in session.sentence
    labels.draw(1, X + 10, Y - 40)
    wait_for(lambda: len(fake.seen("labels")) == 2)
    assert fake.seen("preview") == []
    labels.draw(2, X + 150, Y - 40)
    pictures(session, 1)
    (asked,) = fake.seen("preview")
    assert asked["size"] == [240, 160]
    assert QgsRectangle(*asked["extent"]) == canvas.mapSettings().visibleExtent()
    assert QgsCoordinateReferenceSystem.fromWkt(asked["crs"]) == utm()
    image, _ = session.pictures[0]
    assert (image.width(), image.height()) == (240, 160)
    assert image.pixelColor(5, 5).name() == "#ff0000"
    assert [state for state, _ in session.states] == [STARTING, WAITING, COMPUTING, SHOWN]
    assert session.sentence == "Preview from 9 labelled pixels."


def test_the_worker_gets_what_qgis_knows_of_the_raster(make, fake, labels, raster):
    raster.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    session = make()
    session.want_statistics()
    wait_for(lambda: fake.seen("open"))
    (asked,) = fake.seen("open")
    assert asked["rasters"] == [raster.source()]
    assert QgsCoordinateReferenceSystem.fromWkt(asked["raster_crs"]).authid() == "EPSG:32632"
    # Set another one while it runs: the rasters are opened again.
    raster.setCrs(utm())
    wait_for(lambda: len(fake.seen("open")) == 2)
    assert "raster_crs" not in fake.seen("open")[1]


def test_unsaved_polygons_go_to_the_worker_and_only_what_changed(make, fake, labels):
    first, second = draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    (sent,) = fake.seen("labels")
    assert sent["replace"] is True
    assert {fid for fid, _, _ in sent["features"]} == {first, second}
    assert all(fid < 0 for fid in (first, second))
    assert [entry["name"] for entry in sent["classes"]] == ["Water", "Forest", "Soil"]
    assert QgsCoordinateReferenceSystem.fromWkt(sent["crs"]) == utm()

    # Another class for one.
    labels.layer.changeAttributeValue(first, labels.layer.fields().lookupField("class"), 3)
    pictures(session, 2)
    sent = fake.seen("labels")[-1]
    assert [(fid, code) for fid, code, _ in sent["features"]] == [(first, 3)]
    assert (sent["replace"], sent["removed"]) == (False, [])

    # Another shape.
    moved = labels.layer.getFeature(first).geometry()
    moved.translate(10, 0)
    labels.layer.changeGeometry(first, moved)
    pictures(session, 3)
    (feature,) = fake.seen("labels")[-1]["features"]
    assert feature[:2] == [first, 3]
    came = QgsGeometry()
    came.fromWkb(bytes.fromhex(feature[2]))
    assert came.equals(moved)

    # One more, then undone, then deleted, then undone.
    third = labels.draw(1, X + 60, Y - 80)
    pictures(session, 4)
    labels.layer.undoStack().undo()
    pictures(session, 5)
    assert fake.seen("labels")[-1]["removed"] == [third]
    labels.layer.deleteFeature(second)
    wait_for(lambda: fake.seen("labels")[-1]["removed"] == [second])
    labels.layer.undoStack().undo()
    pictures(session, 6)
    assert [(fid, code) for fid, code, _ in fake.seen("labels")[-1]["features"]] == [(second, 2)]
    assert all(request["replace"] is False for request in fake.seen("labels")[1:])


def test_several_edits_at_once_are_one_message(make, fake, labels):
    session = make()
    session.set_preview(True)
    wait_for(lambda: session.state == WAITING)
    for number in range(20):
        labels.draw(1 + number % 2, X + 10 * number, Y - 40, 5)
    pictures(session, 1)
    assert [len(request["features"]) for request in fake.seen("labels")] == [0, 20]
    assert len(fake.seen("preview")) == 1


def test_what_a_comment_says_changes_no_map(make, fake, labels):
    first, _ = draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    labels.layer.changeAttributeValue(first, labels.layer.fields().lookupField("comment"), "wet")
    wait_for(lambda: not session.changes._read_soon.isActive())
    settle()
    assert len(fake.seen("labels")) == 1
    assert len(fake.seen("preview")) == 1


def test_saving_gives_features_other_numbers_and_the_map_stays(make, fake, labels):
    first, second = draw_two(labels)
    session = make()
    session.set_preview(True)
    session.want_statistics()
    pictures(session, 1)
    wait_for(lambda: len(session.statistics) == 1)
    assert labels.layer.commitChanges()
    wait_for(lambda: len(session.statistics) == 2)
    sent = fake.seen("labels")[-1]
    assert set(sent["removed"]) == {first, second}
    assert sorted(fid for fid, _, _ in sent["features"]) == [1, 2]
    assert len(fake.seen("preview")) == 1
    # Rolling back goes to what is saved.
    labels.draw(3, X + 60, Y - 80)
    pictures(session, 2)
    labels.layer.rollBack()
    pictures(session, 3)
    assert len(fake.seen("labels")[-1]["removed"]) == 1


def test_a_filter_hides_features(make, fake, labels):
    draw_two(labels)
    assert labels.layer.commitChanges()
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    assert labels.layer.setSubsetString('"class" = 1')
    wait_for(lambda: session.state == WAITING)
    wait_for(lambda: len(fake.seen("labels")[-1]["removed"]) == 1)
    assert session.gone[-1] == 1


def test_features_without_class_or_shape_are_left_out(make, fake, labels):
    draw_two(labels)
    labels.draw(None, X + 60, Y - 80)
    labels.layer.addFeature(QgsVectorLayerUtils.createFeature(labels.layer, QgsGeometry(), {1: 2}))
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    assert len(fake.seen("labels")[0]["features"]) == 2


def test_features_of_a_class_that_comes_later(make, fake, labels):
    draw_two(labels)
    fid = labels.draw(7, X + 60, Y - 80)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    assert len(fake.seen("labels")[0]["features"]) == 2
    labels.add_class(7, "Ice")
    pictures(session, 2)
    assert [(number, code) for number, code, _ in fake.seen("labels")[-1]["features"]] == [(fid, 7)]


def test_features_of_another_image_are_left_out(make, fake, labels, raster):
    first, second = (labels.draw(code, X + 60 * code, Y - 40, image="one") for code in (1, 2))
    third = labels.draw(3, X + 60, Y - 80, image="two")
    both = labels.draw(3, X + 90, Y - 80)
    session = make()
    session.set_rasters([raster], "one")
    session.set_preview(True)
    pictures(session, 1)
    assert {fid for fid, _, _ in fake.seen("labels")[-1]["features"]} == {first, second, both}
    session.set_rasters([raster], "two")
    wait_for(lambda: len(fake.seen("labels")) == 2)
    assert {fid for fid, _, _ in fake.seen("labels")[-1]["features"]} == {third, both}


def test_what_was_drawn_on_another_image_is_told(make, labels, raster):
    first = labels.draw(1, X + 60, Y - 40, image="one")
    labels.draw(2, X + 120, Y - 40, image="two")
    session, told = make(), []
    session.findings_changed.connect(told.append)
    session.set_rasters([raster], "two")
    session.want_statistics()
    wait_for(lambda: told)
    sentence = "1 label was drawn on another image than “two”: it is left out here."
    assert told[-1] == [{"code": "other-image", "message": sentence, "features": [first]}]
    second = labels.draw(3, X + 60, Y - 80, image="one")
    wait_for(lambda: len(told) == 2)
    assert set(told[-1][0]["features"]) == {first, second}
    labels.layer.deleteFeatures([first, second])
    wait_for(lambda: len(told) == 3)
    assert told[-1] == []


def test_recolouring_a_class_asks_for_a_picture_and_sends_no_features(make, fake, labels):
    draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    labels.recolor(1, "#123456")
    pictures(session, 2)
    sent = fake.seen("labels")[-1]
    assert sent["features"] == []
    assert sent["classes"][0]["color"] == "#123456"


def test_the_picture_follows_the_canvas(make, fake, labels, canvas, raster):
    draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    part = QgsRectangle(X, Y - 80, X + 120, Y)
    for _ in range(5):  # wheel steps come in flocks
        canvas.zoomByFactor(0.9)
    canvas.setExtent(part)
    pictures(session, 2)
    assert len(fake.seen("preview")) == 2
    assert QgsRectangle(*fake.seen("preview")[-1]["extent"]) == canvas.extent()
    assert len(fake.seen("labels")) == 1
    # Another CRS: the old picture goes at once.
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    assert session.gone[-1] == 2
    canvas.setExtent(QgsRectangle(14.9, 45.1, 15.1, 45.2))
    pictures(session, 3)
    assert QgsCoordinateReferenceSystem.fromWkt(fake.seen("preview")[-1]["crs"]).authid() == "EPSG:4326"


def test_of_a_turned_canvas_the_rectangle_around_it_is_asked_for(make, fake, labels, canvas):
    draw_two(labels)
    canvas.setRotation(90)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    asked = fake.seen("preview")[-1]
    width, height = asked["size"]
    assert (width, height) == (160, 240)
    assert QgsRectangle(*asked["extent"]) == canvas.mapSettings().visibleExtent()


def test_a_very_large_window_gets_a_picture_that_is_stretched(make, fake, labels, canvas, monkeypatch):
    monkeypatch.setattr(live_session, "_MOST_PIXELS", 9600)
    draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    assert fake.seen("preview")[-1]["size"] == [120, 80]


def test_an_edit_while_a_picture_is_computed(make, fake, labels, tmp_path):
    go = tmp_path / "go"
    code = f"""
def slowly(request):
    while not os.path.exists({str(go)!r}): time.sleep(0.01)
    picture(request)
ready(); serve(preview=slowly)
"""
    draw_two(labels)
    session = make(code)
    session.set_preview(True)
    wait_for(lambda: fake.seen("preview"))
    for number in range(4):
        labels.draw(3, X + 60, Y - 80 - 10 * number, 5)
        wait_for(lambda number=number: session._previews >= number + 2)
    go.touch()
    pictures(session, 3)
    # The first, the second, which says that the first is out of date, and the newest.
    assert len(fake.seen("preview")) == 3


def test_statistics_only_while_they_are_wanted(make, fake, labels):
    session = make()
    session.want_statistics()
    wait_for(lambda: len(session.statistics) == 1)
    draw_two(labels)
    wait_for(lambda: len(session.statistics) == 2)
    session.want_statistics(False)
    labels.draw(3, X + 60, Y - 80)
    wait_for(lambda: len(fake.seen("labels")) == 3)
    settle()
    assert len(fake.seen("statistics")) == 2
    session.want_statistics()
    wait_for(lambda: len(session.statistics) == 3)
    assert session.state == OFF
    assert fake.seen("preview") == []


def test_too_few_labels_in_the_image_is_no_failure(make, labels):
    refuse = "say(id=request['id'], event='error', code='too-few-labels', message='Only water.', details='')"
    draw_two(labels)
    session = make(f"ready(); serve(preview=lambda request: {refuse})")
    session.set_preview(True)
    wait_for(lambda: session.state == WAITING)
    assert session.sentence == "Only water."


def test_a_picture_that_fails_is_tried_again_after_the_next_edit(make, labels):
    code = """
def once(request):
    if os.path.exists(os.environ["THEMATICA_SEEN"] + ".tried"): picture(request)
    else:
        open(os.environ["THEMATICA_SEEN"] + ".tried", "w")
        say(id=request["id"], event="error", code="fault", message="No memory.", details="deep")
ready(); serve(preview=once)
"""
    draw_two(labels)
    session = make(code)
    session.set_preview(True)
    wait_for(lambda: session.state == FAILED)
    assert session.sentence == "No memory."
    labels.draw(3, X + 60, Y - 80)
    pictures(session, 1)


def test_a_picture_that_is_none_is_a_sentence(make, labels):
    draw_two(labels)
    session = make("ready(); serve(preview=lambda request: reply(request, file='/etc/passwd', size=[1, 1]))")
    session.set_preview(True)
    wait_for(lambda: session.state == FAILED)
    assert "does not understand" in session.sentence
    assert os.path.exists("/etc/passwd")


def test_a_killed_worker_is_told_everything_again_and_the_picture_comes(make, fake, labels):
    draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    labels.draw(3, X + 60, Y - 80)
    pictures(session, 2)
    os.kill(session.worker.pid, signal.SIGKILL)
    wait_for(lambda: session.state == STARTING)
    pictures(session, 3)
    assert fake.starts() == 2
    sent = fake.seen("labels")[-1]
    assert sent["replace"] is True
    assert len(sent["features"]) == 3


def test_an_edit_while_the_worker_is_being_started_again(make, fake, labels, monkeypatch):
    draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    monkeypatch.setattr(live_worker, "PAUSES", (0.4,))
    os.kill(session.worker.pid, signal.SIGKILL)
    wait_for(lambda: session.state == STARTING)
    labels.draw(3, X + 60, Y - 80)
    pictures(session, 2)
    assert [len(request["features"]) for request in fake.seen("labels")] == [2, 3]


def test_a_worker_that_dies_of_each_picture_ends_with_a_sentence_and_can_be_tried_again(make, fake, labels):
    draw_two(labels)
    session = make("ready(); serve(preview=lambda request: os._exit(7))")
    session.set_preview(True)
    wait_for(lambda: session.state == FAILED)
    assert "3 times in a row" in session.sentence
    assert fake.starts() == 3
    labels.draw(3, X + 60, Y - 80)  # edits do not start it again
    wait_for(lambda: not session.changes._read_soon.isActive())
    assert fake.starts() == 3
    fake(SERVES)
    session.set_preview(False)
    session.set_preview(True)
    pictures(session, 1)
    assert len(fake.seen("labels")[-1]["features"]) == 3


def test_switched_off_while_computing_nothing_is_shown(make, fake, labels, tmp_path):
    go = tmp_path / "go"
    code = f"""
def slowly(request):
    while not os.path.exists({str(go)!r}): time.sleep(0.01)
    picture(request)
ready(); serve(preview=slowly)
"""
    draw_two(labels)
    session = make(code)
    session.set_preview(True)
    wait_for(lambda: fake.seen("preview"))
    session.set_preview(False)
    go.touch()
    session.want_statistics()
    wait_for(lambda: session.statistics)
    assert session.pictures == []
    assert session.state == OFF


def test_a_missing_runtime_is_told(make, tmp_path):
    session = make()
    session.worker._runtime = Runtime(tmp_path / "nowhere" / "python", "setting")
    session.set_preview(True)
    assert session.state == FAILED
    assert "Raster ▸ Thematica ▸ Runtime…" in session.sentence
    failed = []
    session.grow(session.canvas.center(), 5, lambda grown: None, failed.append)
    assert isinstance(failed[0], RuntimeMissingError)


def test_a_raster_that_only_qgis_can_open_is_refused(make, fake, scene):
    layer = QgsRasterLayer(f"type=xyz&url=file:///{scene.parent}/{{z}}/{{x}}/{{y}}.png&zmax=2&zmin=0", "tiles", "wms")
    QgsProject.instance().addMapLayer(layer)
    session = make(rasters=[layer])
    session.set_preview(True)
    assert session.state == FAILED
    assert "“tiles” is no raster file" in session.sentence
    assert "Save As" in session.sentence


def test_other_rasters_are_opened(make, fake, labels, make_raster):
    draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    other = QgsRasterLayer(str(make_raster("other.tif", [[1.0] * 100], 10)), "other")
    QgsProject.instance().addMapLayer(other)
    session.set_rasters([other])
    pictures(session, 2)
    assert fake.seen("open")[-1]["rasters"] == [other.source()]
    assert fake.seen("labels")[-1]["replace"] is True


def test_a_raster_that_is_removed(make, labels, raster):
    draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    QgsProject.instance().removeMapLayer(raster.id())
    assert session.state == FAILED
    assert "raster layer of the labels was removed" in session.sentence
    labels.draw(3, X + 60, Y - 80)
    settle()


@pytest.mark.parametrize("how", ["layer", "project"])
def test_the_worker_ends_with_the_label_layer(make, labels, how):
    draw_two(labels)
    session = make()
    session.set_preview(True)
    pictures(session, 1)
    pid = session.worker.pid
    if how == "layer":
        QgsProject.instance().removeMapLayer(labels.layer.id())
    else:
        QgsProject.instance().clear()
    wait_for(lambda: is_gone(pid))
    assert session.state == OFF
    session.set_preview(False)
    session.set_preview(True)
    session.want_statistics()
    assert session.state == OFF


def test_a_canvas_that_qt_deletes_ends_it(fake, labels, raster):
    canvas = QgsMapCanvas()
    session = LiveSession(labels, [raster], canvas, worker=LiveWorker(fake(SERVES)))
    session.want_statistics()
    pid = session.worker.pid
    sip.delete(canvas)
    assert session.is_ended
    wait_for(lambda: is_gone(pid))


def test_a_region_grows(make, fake, labels, canvas):
    region = QgsGeometry.fromRect(QgsRectangle(X, Y - 20, X + 20, Y))
    code = f"""
def grow(request):
    reply(request, geometry={bytes(region.asWkb()).hex()!r}, pixels=4, tolerance=5, limited=True, hectares=0.04)
ready(); serve(grow=grow)
"""
    session = make(code)
    grown, failed = [], []
    session.grow(canvas.center(), 5.0, grown.append, failed.append)
    wait_for(lambda: grown)
    assert grown[0].geometry.equals(region)
    assert (grown[0].pixels, grown[0].hectares, grown[0].is_limited) == (4, 0.04, True)
    (asked,) = fake.seen("grow")
    assert asked["point"] == [canvas.center().x(), canvas.center().y()]
    assert asked["tolerance"] == 5.0
    assert failed == []


@pytest.mark.parametrize("answer", ["geometry='zz'", "geometry=5", "geometry='00'", "pixels=1.5, geometry=g", "x=1"])
def test_a_region_that_is_none_is_a_sentence(make, canvas, answer):
    region = bytes(QgsGeometry.fromRect(QgsRectangle(0, 0, 1, 1)).asWkb()).hex()
    session = make(f"ready(); g = {region!r}; serve(grow=lambda request: reply(request, {answer}))")
    grown, failed = [], []
    session.grow(canvas.center(), 5.0, grown.append, failed.append)
    wait_for(lambda: grown or failed)
    if answer == "x=1":
        assert grown[0].geometry is None
    else:
        assert "does not understand" in failed[0].message


def test_qgis_stays_fluid_with_a_thousand_polygons(make, fake, labels):
    """The longest time that QGIS's own thread was kept from the window is printed, and must stay far from felt."""
    labels.layer.startEditing()
    labels.layer.beginEditCommand("many")
    for number in range(1000):
        x, y = X + number % 40 * 6, Y - number // 40 * 6
        ring = ", ".join(f"{x + 5 * ((k // 8) % 2)} {y - k % 8 - 1}" for k in range(16))
        feature = QgsVectorLayerUtils.createFeature(
            labels.layer, QgsGeometry.fromWkt(f"Polygon(({ring}, {x} {y - 1}))"), {1: 1 + number % 3}
        )
        labels.layer.addFeature(feature)
    labels.layer.endEditCommand()
    session = make()
    gaps, last = [0.0], [time.perf_counter()]

    def tick():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer(interval=0)
    timer.timeout.connect(tick)
    timer.start()
    session.set_preview(True)
    settle()
    gaps.clear()
    wait_for(lambda: session.pictures and session.state == SHOWN)
    timer.stop()
    print(f"longest gap with 1000 polygons: {1000 * max(gaps):.0f} ms")
    assert len(fake.seen("labels")[0]["features"]) == 1000
    assert max(gaps) < 0.5
