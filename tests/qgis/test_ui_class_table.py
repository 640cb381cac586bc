"""The table of classes, edited with mouse and keys: a list that is made up, and a label layer with its undo stack."""

from __future__ import annotations

import pytest
from qgis.core import QgsProject
from qgis.gui import QgsColorDialog
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDialogButtonBox, QInputDialog, QLineEdit

from thematica.models.label_classes import LabelClass
from thematica.plugin.label_layer import LabelLayer
from thematica.plugin.label_layer.draft import ClassDraft
from thematica.ui.class_table import ClassTable

from .driving import answer, click, settle, wait_for
from .label_layers import CLASSES, codes_on_screen, draw, make_layer

LEFT = Qt.MouseButton.LeftButton
KEY, CODE, NAME, MACRO, DRAWN = range(5)


@pytest.fixture
def table():
    widget = ClassTable()
    widget.resize(560, 320)
    widget.show()
    yield widget
    widget.set_source(None)
    widget.deleteLater()


@pytest.fixture
def draft(table):
    draft = ClassDraft(CLASSES)
    table.set_source(draft)
    return draft


@pytest.fixture
def layer(tmp_path):
    layer = make_layer(tmp_path / "labels.gpkg")
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    for left, code in ((0, 1), (20, 2), (40, 1)):
        draw(layer, left, code)
    assert layer.commitChanges()
    return layer


@pytest.fixture
def labels(table, layer):
    labels = LabelLayer.of(layer)
    table.set_source(labels)
    return labels


def place(table, row, column):
    return table.table.visualItemRect(table.table.item(row, column)).center()


def press(table, row, column=NAME, modifier=Qt.KeyboardModifier.NoModifier):
    QTest.mouseClick(table.table.viewport(), LEFT, modifier, place(table, row, column))
    settle()


def double_click(table, row, column):
    # Qt takes the second press of a double click for one only after a first.
    QTest.mouseClick(table.table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, place(table, row, column))
    QTest.mouseDClick(table.table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, place(table, row, column))
    settle()


def write(table, row, column, text):
    """Double-click a cell, write over what it holds, press Enter."""
    double_click(table, row, column)
    editor = table.table.findChild(QLineEdit)
    assert editor is not None
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key.Key_Return)
    settle()


def shown(table, column):
    return [table.table.item(row, column).text() for row in range(table.table.rowCount())]


def choose(text):
    """Answer the next question for a class."""
    seen = []

    def respond(window):
        assert isinstance(window, QInputDialog)
        seen.append(window.labelText())
        window.setTextValue(text)
        QTest.mouseClick(window.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok), LEFT)

    answer(respond)
    return seen


def test_a_list_is_shown_with_its_keys(table, draft):
    assert shown(table, KEY) == ["1", "2", "3"]
    assert shown(table, CODE) == ["1", "2", "7"]
    assert shown(table, NAME) == [c.name for c in CLASSES]
    assert shown(table, MACRO) == ["", "Vegetation", "Vegetation"]
    assert table.table.isColumnHidden(DRAWN)
    assert table.table.item(0, KEY).icon().pixmap(20, 13).toImage().pixelColor(10, 6).name() == "#2c6fbb"


def test_cells_are_edited_in_place(table, draft):
    write(table, 0, NAME, "Lake")
    write(table, 1, MACRO, "Wood")
    write(table, 2, CODE, "12")
    assert draft.classes() == [
        LabelClass(1, "Lake", "#2c6fbb"),
        LabelClass(2, "Forest", "#2e8b3d", "Wood"),
        LabelClass(12, "Grünland, „nass“", "#aacc44", "Vegetation"),
    ]
    assert not table.notice.isVisible()


@pytest.mark.parametrize(
    ("row", "column", "text", "words"),
    [
        (0, NAME, "forest", "Two classes are called"),
        (0, NAME, " ", "no name"),
        (0, CODE, "2", "same code"),
        (0, CODE, "two", "whole number"),
        (0, CODE, "70000", "whole number"),
    ],
)
def test_what_is_refused_is_told_and_the_old_text_comes_back(table, draft, row, column, text, words):
    write(table, row, column, text)
    assert words in table.notice.said
    assert draft.classes() == CLASSES
    assert shown(table, column)[row] == [str(CLASSES[row].code), CLASSES[row].name][column - CODE]


def test_a_new_class_is_named_at_once(table, draft):
    click(table.add_button)
    editor = QApplication.focusWidget() if isinstance(QApplication.focusWidget(), QLineEdit) else None
    editor = editor or table.table.findChild(QLineEdit)
    editor.selectAll()
    QTest.keyClicks(editor, "Rock")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    settle()
    assert [(c.code, c.name) for c in draft.classes()][-1] == (8, "Rock")
    assert len({c.color for c in draft.classes()}) == 4


def test_a_colour_is_chosen_by_the_square(table, draft, monkeypatch):
    asked = []

    def choose_color(color, parent, title, opacity):
        asked.append((color.name(), title))
        return QColor("#ff0080")

    monkeypatch.setattr(QgsColorDialog, "getColor", choose_color)
    double_click(table, 1, KEY)
    assert asked == [("#2e8b3d", "Colour of “Forest”")]
    assert draft.class_of(2).color == "#ff0080"
    monkeypatch.setattr(QgsColorDialog, "getColor", lambda *a: QColor())
    press(table, 0)
    click(table.color_button)
    assert draft.class_of(1).color == "#2c6fbb"


def test_classes_move_and_the_selection_with_them(table, draft):
    press(table, 2)
    click(table.up_button)
    click(table.up_button)
    assert [c.code for c in draft.classes()] == [7, 1, 2]
    assert table.selected_codes() == [7]
    assert not table.up_button.isEnabled()
    click(table.down_button)
    assert [c.code for c in draft.classes()] == [1, 7, 2]


def test_classes_are_removed_and_merged(table, draft):
    assert not table.remove_button.isEnabled()
    press(table, 0)
    click(table.remove_button)
    assert [c.code for c in draft.classes()] == [2, 7]
    press(table, 0)
    press(table, 1, modifier=Qt.KeyboardModifier.ControlModifier)
    assert not table.remove_button.isEnabled()
    seen = choose("7 – Grünland, „nass“")
    click(table.merge_button)
    assert seen == ["These 2 classes become:"]
    assert [c.code for c in draft.classes()] == [7]
    assert table.selected_codes() == [7]


def test_a_label_layer_is_edited_with_undo(table, layer, labels):
    assert shown(table, DRAWN) == ["2", "1", "0"]
    write(table, 0, NAME, "Lake")
    assert labels.class_of(1).name == "Lake"
    assert layer.isEditable()
    layer.undoStack().undo()
    settle()
    assert shown(table, NAME)[0] == "Water"
    layer.undoStack().redo()
    settle()
    assert shown(table, NAME)[0] == "Lake"
    layer.rollBack()
    settle()
    assert shown(table, NAME)[0] == "Water"


def test_a_click_makes_a_class_the_current_one(table, layer, labels):
    press(table, 1)
    assert labels.current_code() == 2
    assert table.table.item(1, NAME).font().bold()
    assert not table.table.item(0, NAME).font().bold()
    labels.set_current(7)
    assert table.table.item(2, NAME).font().bold()


def test_polygons_of_a_removed_class_are_asked_for(table, layer, labels):
    press(table, 0)
    seen = choose("2 – Forest")
    click(table.remove_button)
    assert seen == ["“Water” has 2 features, which become:"]
    assert set(codes_on_screen(layer).values()) == {2}
    wait_for(lambda: shown(table, DRAWN) == ["3", "0"])
    layer.undoStack().undo()
    assert codes_on_screen(layer) == {0: 1, 20: 2, 40: 1}
    answer(lambda window: window.reject())
    press(table, 0)
    click(table.remove_button)
    assert len(labels.classes()) == 3


def test_counts_follow_drawing(table, layer, labels):
    layer.startEditing()
    draw(layer, 60, 7)
    wait_for(lambda: shown(table, DRAWN) == ["2", "1", "1"])
    layer.undoStack().undo()
    wait_for(lambda: shown(table, DRAWN) == ["2", "1", "0"])


def test_a_layer_that_goes_leaves_an_empty_table(table, layer, labels):
    QgsProject.instance().removeMapLayer(layer.id())
    settle()
    assert table.source is None
    assert table.table.rowCount() == 0
    assert not table.isEnabled()
