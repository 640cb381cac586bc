"""The Labels dock with a real label layer and a session that says what it is told to."""

from __future__ import annotations

import pytest
from qgis.core import QgsProject, QgsRasterLayer, QgsRectangle, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, QPoint, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QImage
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QAction, QColorDialog, QInputDialog, QMessageBox, QToolButton

from thematica.models.label_classes import LabelClass
from thematica.plugin.label_layer import LabelLayer
from thematica.ui.adopt_layer import AdoptLayer
from thematica.ui.labels_dock import LabelsDock
from thematica.ui.new_label_layer import NewLabelLayer

from .driving import LEFT, FakeInterface, answer, answer_next_question, click, pick, settle, wait_for
from .label_figures import COLORS, NAMES, label_class, statistics
from .label_layers import codes_on_screen, draw, feature_of, make_layer, square


class Interface(FakeInterface):
    """What the dock touches beyond what a dialog does."""

    def __init__(self):
        super().__init__()
        self.active = None
        self.add_feature = QAction("Add feature", self.window)
        self.drawn_in = []
        self.add_feature.triggered.connect(lambda: self.drawn_in.append(self.active))

    def activeLayer(self):
        return self.active

    def setActiveLayer(self, layer):
        self.active = layer

    def actionAddFeature(self):
        return self.add_feature


class Session(QObject):
    """Keeps what it was asked for."""

    statistics_ready = pyqtSignal(dict)
    statistics_failed = pyqtSignal(str)
    preview_ready = pyqtSignal(QImage, QgsRectangle)
    preview_gone = pyqtSignal()
    state_changed = pyqtSignal(str, str)
    findings_changed = pyqtSignal(list)
    log = pyqtSignal(str, str)

    def __init__(self, labels, rasters, canvas, image):
        super().__init__()
        self.labels, self.rasters, self.canvas, self.image = labels, list(rasters), canvas, image
        self.asked = []
        self.ended = False

    def want_statistics(self, on=True):
        self.asked.append(("statistics", on))

    def set_preview(self, on):
        self.asked.append(("preview", on))

    def set_veil(self, on):
        self.asked.append(("veil", on))

    def set_rasters(self, rasters, image):
        self.rasters, self.image = list(rasters), image

    def end(self):
        self.ended = True


CLASSES = [LabelClass(code, NAMES[code - 1], COLORS[code - 1]) for code in (1, 2, 3)]


@pytest.fixture
def labels(tmp_path):
    layer = make_layer(tmp_path / "labels.gpkg", CLASSES, name="training")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def image(scene):
    layer = QgsRasterLayer(str(scene), "scene")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def open_dock(runtime):
    """``open_dock()``: the dock, 320 px wide, with every session that it made in ``dock.sessions``."""
    made = []

    def make(width=320):
        interface, sessions = Interface(), []

        def session(*arguments):
            sessions.append(Session(*arguments))
            return sessions[-1]

        dock = LabelsDock(interface, interface.window, session)
        dock.sessions = sessions
        dock.setFloating(True)
        dock.resize(width, 760)
        dock.show()
        made.append((dock, interface))
        settle()
        return dock

    yield make
    for dock, interface in made:
        dock.end()
        dock.deleteLater()
        interface.window.deleteLater()
    settle()


@pytest.fixture
def dock(open_dock, labels, image):
    """The dock with layer, image and figures."""
    dock = open_dock()
    dock.sessions[-1].statistics_ready.emit(statistics())
    settle()
    return dock


def click_class(dock, code, *, double=False, modifier=Qt.KeyboardModifier.NoModifier):
    area = dock.classes.visualRect(dock.classes.indexOf(code))
    for act in (QTest.mouseClick, QTest.mouseDClick)[: 2 if double else 1]:
        act(dock.classes.viewport(), LEFT, modifier, area.center())
    settle()


def names(dock):
    return [dock.classes.item(row).text() for row in range(dock.classes.count())]


def told(dock):
    """The newest sentence of QGIS's message bar."""
    return dock.iface.bar.currentItem().text()


# -- nothing there yet -----------------------------------------------------------------------------
def test_without_a_label_layer_the_dock_says_what_to_do(open_dock, image):
    dock = open_dock()
    assert "Make a layer for them" in dock.guide_text.text()
    assert dock.new_button.isVisible()
    assert not dock.body.isVisible()
    assert dock.sessions == []


def test_without_an_image_it_asks_for_one(open_dock, labels):
    dock = open_dock()
    assert dock.body.isVisible()
    assert dock.live.state.text().startswith("Add an image")
    assert dock.sessions == []


def test_an_image_that_comes_later_starts_the_session(open_dock, labels, scene):
    dock = open_dock()
    layer = QgsRasterLayer(str(scene), "scene")
    QgsProject.instance().addMapLayer(layer)
    wait_for(lambda: dock.sessions)
    assert dock.sessions[-1].rasters == [layer]
    assert dock.sessions[-1].labels is LabelLayer.of(labels)


def test_a_label_layer_that_comes_later_is_shown(open_dock, image, tmp_path):
    dock = open_dock()
    QgsProject.instance().addMapLayer(make_layer(tmp_path / "late.gpkg", CLASSES))
    wait_for(dock.body.isVisible)
    assert names(dock) == list(NAMES[:3])
    wait_for(lambda: len(dock.sessions) == 1)


def test_other_vector_layers_are_not_offered(open_dock, labels, image, tmp_path):
    QgsProject.instance().addMapLayer(QgsVectorLayer("Polygon?crs=EPSG:32633&field=class:integer", "roads", "memory"))
    dock = open_dock()
    assert [dock.sources.labels.itemText(i) for i in range(dock.sources.labels.count())] == ["training"]


def test_without_a_runtime_its_sentence_leads_to_it(open_dock, labels, image, monkeypatch):
    monkeypatch.setenv("THEMATICA_RUNTIME", "/nowhere/python")
    dock = open_dock()
    wanted = []
    dock.runtime_wanted.connect(lambda: wanted.append(True))
    assert "/nowhere/python" in dock.notice.said
    assert names(dock) == list(NAMES[:3])
    click(dock.notice.button)
    assert wanted == [True]
    assert dock.sessions == []


def test_a_runtime_that_was_made_meanwhile_is_used(open_dock, labels, image, monkeypatch, fake_worker):
    with monkeypatch.context() as patch:
        patch.setenv("THEMATICA_RUNTIME", "/nowhere/python")
        dock = open_dock()
        assert dock.sessions == []
    dock.check_runtime()
    wait_for(lambda: dock.sessions)
    assert dock.notice.said == ""


def test_polygons_are_counted_without_a_worker(open_dock, labels, monkeypatch):
    monkeypatch.setenv("THEMATICA_RUNTIME", "/nowhere/python")
    dock = open_dock()
    labels.startEditing()
    draw(labels, 0, 2)
    draw(labels, 20, 2)
    wait_for(lambda: dock.classes.row_of(2).polygons == 2)
    assert dock.classes.row_of(1).polygons == 0
    labels.rollBack()
    wait_for(lambda: dock.classes.row_of(2).polygons == 0)


def test_the_image_on_which_labels_were_drawn_is_proposed(open_dock, make_raster, tmp_path):
    for name in ("a", "b", "c"):
        path = make_raster(f"{name}.tif", [[1.0] * 16], 4)
        QgsProject.instance().addMapLayer(QgsRasterLayer(str(path), name))
    web = QgsRasterLayer("type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png", "a web map", "wms")
    QgsProject.instance().addMapLayer(web)
    QgsProject.instance().addMapLayer(make_layer(tmp_path / "l.gpkg", CLASSES, image="b"))
    dock = open_dock()
    offered = [dock.sources.raster.itemText(i) for i in range(dock.sources.raster.count())]
    assert offered == ["a", "b", "c"]
    assert dock.sources.raster.currentText() == "b"
    assert [layer.name() for layer in dock.sessions[-1].rasters] == ["b"]


# -- classes ---------------------------------------------------------------------------------------
def test_each_class_shows_its_figures(dock):
    water = dock.classes.row_of(1)
    assert (water.polygons, water.pixels, water.hectares, water.share) == (3, 700, 7.0, 0.7)
    assert water.figures() == "3 polygons · 700 px · 7.00 ha"
    assert water.percent() == "70.0 %"
    assert dock.classes.row_of(2).figures().startswith("1 polygon ·")


def test_a_code_that_is_not_the_key_is_told(dock):
    LabelLayer.of(dock.label_layer.layer).recode(3, 30)
    assert dock.classes.row_of(30).figures().startswith("code 30")


def test_a_click_and_a_digit_pick_the_class_that_is_drawn(dock):
    assert dock.label_layer.current_code() == 1
    click_class(dock, 3)
    assert dock.label_layer.current_code() == 3
    QTest.keyClick(dock.classes, Qt.Key.Key_2)
    assert dock.label_layer.current_code() == 2
    assert dock.classes.current() == 2
    QTest.keyClick(dock.classes, Qt.Key.Key_9)
    assert dock.label_layer.current_code() == 2
    QTest.keyClick(dock.classes, Qt.Key.Key_Up)
    assert dock.label_layer.current_code() == 1


def test_a_class_that_is_picked_elsewhere_is_marked(dock):
    click_class(dock, 1)
    dock.label_layer.set_current(3)
    assert dock.classes.current() == 3
    assert dock.classes.selected() == [3]


def test_after_new_figures_a_digit_still_marks_one_class_alone(dock):
    click_class(dock, 1)
    for code in (2, 3):
        dock.sessions[-1].statistics_ready.emit(statistics())
        dock.label_layer.set_current(code)
        assert dock.classes.selected() == [code]
    dock.sessions[-1].statistics_ready.emit(statistics())
    QTest.keyClick(dock.classes, Qt.Key.Key_1)
    assert dock.classes.selected() == [1]


def test_choosing_several_to_merge_does_not_change_what_is_drawn(dock):
    click_class(dock, 1)
    click_class(dock, 3, modifier=Qt.KeyboardModifier.ControlModifier)
    assert dock.classes.selected() == [1, 3]
    assert dock.label_layer.current_code() == 1


def test_new_figures_keep_selection_and_place(open_dock, image, tmp_path):
    many = [LabelClass(code, f"Class {code}", COLORS[code % 5]) for code in range(1, 20)]
    QgsProject.instance().addMapLayer(make_layer(tmp_path / "many.gpkg", many))
    dock = open_dock()
    classes = [label_class(code, [0.1] * 4, name=f"Class {code}") for code in range(1, 20)]
    dock.sessions[-1].statistics_ready.emit(statistics(classes=classes, pairs=[], lookalikes=[]))
    dock.classes.scrollToBottom()
    settle()
    click_class(dock, 18)
    place = dock.classes.verticalScrollBar().value()
    assert place > 0
    dock.sessions[-1].statistics_ready.emit(statistics(classes=classes[:5], pairs=[], lookalikes=[]))
    assert dock.classes.selected() == [18]
    assert dock.classes.verticalScrollBar().value() == place
    assert dock.label_layer.current_code() == 18


def test_a_double_click_leads_to_the_polygons_of_the_class(dock):
    layer = dock.label_layer.layer
    layer.startEditing()
    draw(layer, 500000, 2)
    canvas = dock.iface.mapCanvas()
    canvas.setDestinationCrs(layer.crs())
    canvas.setExtent(QgsRectangle(0, 0, 1e6, 1e6))
    click_class(dock, 2, double=True)
    assert canvas.extent().width() < 1000
    assert canvas.extent().contains(QgsRectangle(500000, 0, 500010, 10))
    click_class(dock, 3, double=True)
    assert told(dock) == "Nothing is drawn of this class yet."


# -- changing classes ------------------------------------------------------------------------------
def test_add_rename_recolour_recode_and_undo(dock, monkeypatch):
    monkeypatch.setattr(QInputDialog, "getText", lambda *a, **more: ("Cropland", True))
    click(dock.add_button)
    assert names(dock)[-1] == "Cropland"
    assert dock.label_layer.current_code() == 4
    monkeypatch.setattr(QInputDialog, "getText", lambda *a, **more: ("Fields", True))
    dock.classes.setFocus()
    dock.actions.rename.trigger()
    assert names(dock)[-1] == "Fields"
    monkeypatch.setattr(QColorDialog, "getColor", lambda *a: QColor("#010203"))
    dock.actions.recolor.trigger()
    assert dock.classes.row_of(4).entry.color == "#010203"
    monkeypatch.setattr(QInputDialog, "getInt", lambda *a: (44, True))
    dock.actions.recode.trigger()
    assert dock.classes.row_of(44).entry.name == "Fields"
    dock.label_layer.layer.undoStack().undo()
    assert dock.classes.row_of(4).entry.name == "Fields"


def test_names_and_colours_are_new_at_once_in_figures_that_are_a_moment_older(dock):
    dock.label_layer.rename(2, "Wood")
    dock.label_layer.recolor(2, "#123456")
    assert [(entry.name, entry.color) for entry in dock.spectra.plot.signatures][1] == ("Wood", "#123456")
    assert dock.separability.table.item(0, 0).text() == "Wood"
    assert dock.lookalikes.table.item(1, 1).text() == "Wood"


def test_digits_pick_the_class_while_the_map_has_the_focus(dock):
    canvas = dock.iface.mapCanvas()
    canvas.setCurrentLayer(dock.label_layer.layer)
    QTest.keyClick(canvas, Qt.Key.Key_3)
    assert dock.classes.current() == 3
    canvas.setCurrentLayer(None)


def test_a_name_that_is_taken_is_refused_with_a_sentence(dock, monkeypatch):
    click_class(dock, 2)
    monkeypatch.setattr(QInputDialog, "getText", lambda *a, **more: ("Water", True))
    dock.actions.rename.trigger()
    assert "Two classes are called “Water”" in told(dock)
    assert names(dock)[1] == "Forest"


def test_merging_the_chosen_classes(dock, monkeypatch):
    layer = dock.label_layer.layer
    layer.startEditing()
    draw(layer, 0, 1)
    draw(layer, 20, 3)
    click_class(dock, 1)
    click_class(dock, 3, modifier=Qt.KeyboardModifier.ControlModifier)
    offered = []

    def choose(parent, title, label, items, *more):
        offered.append((label, items))
        return "Water", True

    monkeypatch.setattr(QInputDialog, "getItem", choose)
    dock.actions.merge.trigger()
    assert offered == [("2 classes become part of:", ["Water", "Bare soil"])]
    assert names(dock) == ["Water", "Forest"]
    assert codes_on_screen(layer) == {0: 1, 20: 1}


def test_removing_asks_where_the_polygons_go(dock, monkeypatch):
    layer = dock.label_layer.layer
    layer.startEditing()
    draw(layer, 0, 3)
    click_class(dock, 3)
    monkeypatch.setattr(QInputDialog, "getItem", lambda *a: ("Forest", True))
    QTest.keyClick(dock.classes, Qt.Key.Key_Delete)
    assert names(dock) == ["Water", "Forest"]
    assert codes_on_screen(layer) == {0: 2}
    click_class(dock, 1)
    seen = answer_next_question(QMessageBox.StandardButton.Yes)
    QTest.keyClick(dock.classes, Qt.Key.Key_Delete)
    assert "Nothing is drawn of it" in seen[0]
    assert names(dock) == ["Forest"]


def test_a_class_is_moved_and_its_key_with_it(dock):
    click_class(dock, 3)
    dock.actions.up.trigger()
    assert names(dock) == ["Water", "Bare soil", "Forest"]
    assert dock.classes.row_of(3).key == "2"


def test_selected_polygons_get_a_class(dock):
    layer = dock.label_layer.layer
    layer.startEditing()
    draw(layer, 0, 1)
    draw(layer, 20, 1)
    click_class(dock, 2)
    assert not dock.actions.assign.isEnabled()
    layer.selectAll()
    assert dock.actions.assign.isEnabled()
    assert dock.actions.assign.text() == "Give the 2 polygons the class “Forest”"
    dock.actions.assign.trigger()
    assert codes_on_screen(layer) == {0: 2, 20: 2}


def test_the_macro_class_is_set_by_a_real_dialog(dock):
    click_class(dock, 2)

    def respond(window):
        box = window.findChild(QInputDialog) or window
        box.setTextValue("Vegetation")
        box.accept()

    answer(respond)
    dock.actions.group.trigger()
    assert dock.classes.row_of(2).entry.macro == "Vegetation"


# -- figures ---------------------------------------------------------------------------------------
def test_a_pair_is_brought_forward_in_list_plot_and_map(dock):
    layer = dock.label_layer.layer
    layer.startEditing()
    for left, code in ((0, 1), (20, 2), (40, 3)):
        draw(layer, left, code)
    dock.tabs.setCurrentWidget(dock.separability)
    settle()
    table = dock.separability.table
    at = table.visualItemRect(table.item(0, 0)).center()
    QTest.mouseClick(table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
    assert dock.classes.selected() == [2, 3]
    assert dock.spectra.plot.emphasis() == {2, 3}
    assert sorted(round(f.geometry().boundingBox().xMinimum()) for f in layer.selectedFeatures()) == [20, 40]
    QTest.mouseDClick(table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
    assert dock.tabs.currentWidget() is dock.spectra
    click_class(dock, 1)
    assert dock.spectra.plot.emphasis() == set()


def test_a_doubtful_polygon_is_shown_selected_and_given_the_other_class(dock):
    layer = dock.label_layer.layer
    layer.startEditing()
    doubtful = draw(layer, 500000, 2).id()
    draw(layer, 0, 1)
    (doubtful,) = [f.id() for f in layer.getFeatures() if f.attributes()[layer.fields().lookupField("class")] == 2]
    rows = [{"feature": doubtful, "code": 2, "looks_like": 3, "share": 0.9, "pixels": 12}]
    dock.sessions[-1].statistics_ready.emit(statistics(lookalikes=rows))
    assert dock.tabs.tabText(2).endswith(" 1")
    dock.tabs.setCurrentWidget(dock.lookalikes)
    settle()
    table = dock.lookalikes.table
    at = table.visualItemRect(table.item(0, 1)).center()
    QTest.mouseClick(table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
    assert layer.selectedFeatureIds() == [doubtful]
    assert dock.iface.mapCanvas().extent().contains(QgsRectangle(500000, 0, 500010, 10))
    click(dock.lookalikes.change_button)
    assert codes_on_screen(layer)[500000] == 3


def test_a_polygon_that_is_gone_is_told(dock):
    dock.lookalikes.polygon_clicked.emit(999)
    assert "gone" in told(dock)


def test_notes_and_findings_are_sentences_that_lead_to_their_subject(dock):
    dock.sessions[-1].findings_changed.emit(
        [{"code": "outside", "message": "Two polygons lie outside the image.", "features": [1, 2]}]
    )
    assert dock.notes.said()[0] == "Two polygons lie outside the image."
    assert "7 times as many pixels" in dock.notes.said()[1]
    assert "1\u00a0more…" in dock.notes.label.text()
    dock.notes.label.linkActivated.emit("more")
    assert "7 times as many pixels" in dock.notes.label.text()
    dock.notes.label.linkActivated.emit("1")
    assert dock.classes.selected() == [3]


def test_figures_that_fail_are_told_and_leave_the_list(dock):
    dock.sessions[-1].statistics_failed.emit("The raster was replaced: choose it again.")
    assert dock.live.state.text() == "The raster was replaced: choose it again."
    assert names(dock) == list(NAMES[:3])
    assert dock.spectra.plot.signatures == []


def test_a_line_that_is_clicked_picks_its_class(dock):
    point = dock.spectra.plot.place_of(3, 1).toPoint()
    QTest.mouseClick(dock.spectra.plot, LEFT, Qt.KeyboardModifier.NoModifier, point)
    assert dock.label_layer.current_code() == 3


# -- drawing, preview, coming and going ------------------------------------------------------------
def test_draw_starts_qgiss_own_tool_on_the_layer(dock):
    click(dock.draw_button)
    layer = dock.label_layer.layer
    assert layer.isEditable()
    assert dock.iface.drawn_in == [layer]
    assert "shared borders" in told(dock)
    QgsProject.instance().setTopologicalEditing(False)
    click(dock.draw_button)
    assert not QgsProject.instance().topologicalEditing()


def test_the_switches_reach_session_and_are_remembered(dock, open_dock):
    session = dock.sessions[-1]
    assert session.asked == [("veil", True), ("statistics", True), ("preview", False)]
    click(dock.live.preview)
    click(dock.live.veil)
    assert session.asked[3:] == [("preview", True), ("veil", False)]
    again = open_dock()
    assert again.sessions[-1].asked == [("veil", False), ("statistics", True), ("preview", True)]


def test_the_preview_is_laid_over_the_map_as_opaque_as_the_slider_says(dock):
    session, canvas = dock.sessions[-1], dock.iface.mapCanvas()
    image = QImage(4, 4, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(QColor("#2e8b3d"))
    click(dock.live.preview)
    session.preview_ready.emit(image, QgsRectangle(500000, 4999840, 500240, 5000000))
    session.state_changed.emit("shown", "Preview from 12 labelled pixels.")
    assert dock.overlay.is_shown
    assert dock.live.state.text() == "Preview from 12 labelled pixels."
    dock.live.opacity.setFocus()
    QTest.keyClick(dock.live.opacity, Qt.Key.Key_Home)
    assert dock.live.percent.text() == "5 %"
    session.preview_gone.emit()
    assert not dock.overlay.is_shown
    assert canvas is dock.overlay.canvas


def test_a_closed_dock_ends_the_session_and_begins_anew_when_opened(dock):
    first = dock.sessions[-1]
    dock.close()
    assert first.ended
    assert dock.session is None
    dock.show()
    wait_for(lambda: len(dock.sessions) == 2)
    assert not dock.sessions[-1].ended


def test_another_label_layer_gets_a_session_of_its_own(dock, tmp_path):
    first = dock.sessions[-1]
    other = make_layer(tmp_path / "other.gpkg", CLASSES[:2], name="validation")
    QgsProject.instance().addMapLayer(other)
    settle()
    pick(dock.sources.labels, "validation")
    wait_for(lambda: len(dock.sessions) == 2)
    assert first.ended
    assert dock.sessions[-1].labels is LabelLayer.of(other)
    assert names(dock) == ["Water", "Forest"]


def test_another_image_is_taken_by_the_same_session(dock, scene):
    other = QgsRasterLayer(str(scene), "another")
    QgsProject.instance().addMapLayer(other)
    settle()
    pick(dock.sources.raster, "another")
    assert [layer.name() for layer in dock.sessions[-1].rasters] == ["another"]
    dock.sources.more_rasters.menu().aboutToShow.emit()
    (offered,) = dock.sources.more_rasters.menu().actions()
    assert offered.text() == "scene"
    offered.trigger()
    assert [layer.name() for layer in dock.sessions[-1].rasters] == ["another", "scene"]
    wait_for(lambda: len(dock.sessions) == 1)


def test_only_labels_of_the_image_that_is_chosen_count(open_dock, make_raster, tmp_path):
    for name in ("may", "june"):
        raster = QgsRasterLayer(str(make_raster(f"{name}.tif", [[1.0] * 16] * 2, 4)), name.upper())
        QgsProject.instance().addMapLayer(raster)
    layer = make_layer(tmp_path / "l.gpkg", CLASSES, image="june")
    QgsProject.instance().addMapLayer(layer)
    dock = open_dock()
    assert dock.sessions[-1].image == "june"
    layer.startEditing()
    draw(layer, 500000, 1)
    pick(dock.sources.raster, "MAY")
    assert dock.sessions[-1].image == "may"
    # Of a stack, the labels may have been drawn while another raster was the first.
    dock.sources.more_rasters.menu().aboutToShow.emit()
    dock.sources.more_rasters.menu().actions()[0].trigger()
    assert dock.sessions[-1].image == "june"
    layer.rollBack()


def test_a_layer_that_is_removed_leaves_the_guide(dock):
    session = dock.sessions[-1]
    QgsProject.instance().removeMapLayer(dock.label_layer.layer.id())
    settle()
    assert session.ended
    assert dock.label_layer is None
    assert dock.guide.isVisible()


def test_a_layer_whose_class_field_is_deleted_is_a_label_layer_no_more(dock):
    layer = dock.label_layer.layer
    layer.startEditing()
    assert layer.deleteAttribute(layer.fields().lookupField("class"))
    assert layer.commitChanges()
    wait_for(dock.guide.isVisible)
    assert dock.label_layer is None
    assert dock.sessions[-1].ended


def test_a_new_project_leaves_the_guide(dock):
    QgsProject.instance().clear()
    settle()
    assert dock.label_layer is None
    assert dock.guide.isVisible()
    assert dock.sessions[-1].ended


def test_the_project_remembers_layer_and_rasters(dock, tmp_path, scene):
    for name in ("another", "third"):
        QgsProject.instance().addMapLayer(QgsRasterLayer(str(scene), name))
    QgsProject.instance().addMapLayer(make_layer(tmp_path / "other.gpkg", CLASSES[:2], name="validation"))
    settle()
    pick(dock.sources.labels, "validation")
    pick(dock.sources.raster, "third")
    dock.sources.stack.add(QgsProject.instance().mapLayersByName("another")[0])
    path = str(tmp_path / "project.qgz")
    assert QgsProject.instance().write(path)
    QgsProject.instance().clear()
    assert QgsProject.instance().read(path)
    settle()
    assert dock.label_layer.layer.name() == "validation"
    assert [layer.name() for layer in dock.sources.rasters()] == ["third", "another"]


def test_labels_keep_on_which_image_they_were_drawn(dock, scene):
    assert dock.label_layer.image() == scene.stem
    dock.label_layer.set_image(scene.stem, "2020-06-30")
    layer = dock.label_layer.layer
    layer.startEditing()
    assert draw(layer, 0).attribute("date") == "2020-06-30"


def test_the_menu_says_what_the_labels_are_for(dock):
    def choose(text):
        dock.layer_menu.fill()
        action = next(action for action in dock.layer_menu.actions() if action.text() == text)
        action.trigger()
        dock.layer_menu.fill()
        return next(action for action in dock.layer_menu.actions() if action.text() == text).isChecked()

    labels = dock.label_layer
    assert choose("Validation")
    assert labels.role == "validation"
    assert choose("Write the classes on the map")
    assert labels.layer.labelsEnabled()
    asking = labels.is_asking()
    assert choose("Ask for the class of each new polygon") is not asking
    assert labels.is_asking() is not asking


def test_new_label_layer_opens_its_dialog_and_what_it_makes_is_shown(open_dock, image, tmp_path):
    dock = open_dock()
    click(dock.new_button)
    (dialog,) = dock.iface.window.findChildren(NewLabelLayer)
    dialog.file.setFilePath(str(tmp_path / "new.gpkg"))
    click(dialog.create_button)
    assert dock.label_layer.layer.isEditable()
    assert len(names(dock)) == 5
    assert dock.iface.drawn_in == [dock.label_layer.layer]
    wait_for(lambda: len(dock.sessions) == 1)


def test_a_layer_that_is_there_is_taken_over_in_a_dialog(open_dock, image):
    roads = QgsVectorLayer("Polygon?crs=EPSG:32633&field=cover:integer", "plots", "memory")
    for left, code in ((0, 3), (20, 3), (40, 8)):
        roads.dataProvider().addFeature(feature_of(roads, square(left).asWkt(), [code]))
    QgsProject.instance().addMapLayer(roads)
    dock = open_dock()
    click(dock.use_button)
    (dialog,) = dock.iface.window.findChildren(AdoptLayer)
    dialog.as_it_is.setChecked(True)
    click(dialog.take_button)
    settle()
    assert dock.label_layer.layer is roads
    assert [entry.code for entry in dock.label_layer.classes()] == [3, 8]
    wait_for(lambda: dock.classes.row_of(3).polygons == 2)


# -- a narrow dock ---------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [320, 450])
def test_nothing_is_cut_off(open_dock, labels, image, width):
    dock = open_dock(width)
    dock.sessions[-1].statistics_ready.emit(statistics())
    dock.sessions[-1].state_changed.emit("shown", "Preview from 12 labelled pixels; 99 % right on polygons left out.")
    settle()
    assert dock.width() == width
    assert dock.content.width() <= dock.scroll.viewport().width()
    for button in (dock.draw_button, dock.grow_button, dock.add_button, dock.class_button, dock.live.veil):
        right = button.mapTo(dock.content, QPoint(button.width(), 0)).x()
        assert button.width() >= button.sizeHint().width()
        assert right <= dock.content.width()
    bar = dock.tabs.tabBar()
    assert bar.tabRect(2).right() <= bar.width()
    # Qt's arrows for tabs that do not fit.
    assert not any(arrow.isVisible() for arrow in bar.findChildren(QToolButton))
    bottom = dock.live.mapTo(dock.content, QPoint(0, dock.live.height())).y()
    assert bottom <= dock.content.height()
    state = dock.live.state
    assert state.height() >= state.heightForWidth(state.width())


def test_a_low_dock_scrolls(open_dock, labels, image):
    dock = open_dock()
    dock.resize(320, 300)
    settle()
    assert dock.scroll.verticalScrollBar().maximum() > 0
    assert dock.classes.height() >= dock.classes.minimumSizeHint().height()
