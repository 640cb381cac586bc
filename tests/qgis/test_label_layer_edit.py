"""The classes are edited: each change is one undo step, and features, style, form and file never part."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest
from osgeo import ogr
from qgis.core import QgsCategorizedSymbolRenderer, QgsProject, QgsVectorLayer

from thematica.errors import InputError, OutputError
from thematica.models import geopackage
from thematica.models.label_classes import LabelClass, read_classes
from thematica.plugin.label_layer import LabelLayer, end_all
from thematica.plugin.label_layer.class_list import ClassList
from thematica.plugin.label_layer.keeping import Kept, write_project

from .label_layers import CLASSES, codes_on_screen, draw, feature_of, make_layer, reopened


@pytest.fixture
def layer(tmp_path):
    """Three classes, four squares: two of water, one of each other class; saved, not being edited."""
    layer = make_layer(tmp_path / "labels.gpkg")
    layer.startEditing()
    for left, code in ((0, 1), (20, 2), (40, 7), (60, 1)):
        draw(layer, left, code)
    assert layer.commitChanges()
    yield layer
    if layer.isEditable():
        layer.rollBack()


@pytest.fixture
def labels(layer):
    return LabelLayer.of(layer)


def legend(layer):
    assert isinstance(layer.renderer(), QgsCategorizedSymbolRenderer)
    return {
        int(c.value()): (c.label(), c.symbol().symbolLayer(1).strokeColor().name())
        for c in layer.renderer().categories()
        if c.label() != "no class"
    }


def form(layer):
    number = layer.fields().lookupField("class")
    return [next(iter(entry)) for entry in layer.editorWidgetSetup(number).config()["map"]]


def screen(labels):
    """All that an analyst sees; what undo must bring back."""
    layer = labels.layer
    classes = labels.classes()
    assert legend(layer) == {c.code: (c.name, c.color) for c in classes}
    assert form(layer) == [f"{c.code} – {c.name}" for c in classes]
    assert labels.current_code() in {c.code for c in classes} or (not classes and labels.current_code() == -1)
    return classes, codes_on_screen(layer)


def in_file(layer):
    """Classes and codes as another program reads them."""
    path = layer.source().partition("|")[0]
    source = ogr.Open(path)
    table = source.GetLayerByName("labels")
    codes = {round(f.geometry().GetEnvelope()[0]): f.GetField("class") for f in table}
    return read_classes(path, "labels"), codes


EDITS = {
    "rename": lambda labels: labels.rename(1, "Deep water"),
    "recolour": lambda labels: labels.recolor(2, "#123456"),
    "recode": lambda labels: labels.recode(1, 300),
    "macro": lambda labels: labels.set_macro(1, "Wet"),
    "add": lambda labels: labels.add_class("Rock"),
    "merge": lambda labels: labels.merge([1, 7], 2),
    "remove": lambda labels: labels.remove(7, into=1),
    "move": lambda labels: labels.move(7, 0),
}


@pytest.mark.parametrize("edit", EDITS)
def test_each_edit_is_one_step_that_can_be_undone_and_redone(layer, labels, edit):
    layer.startEditing()
    before = screen(labels)
    EDITS[edit](labels)
    after = screen(labels)
    assert after != before
    assert layer.undoStack().count() == 1
    layer.undoStack().undo()
    assert screen(labels) == before
    layer.undoStack().redo()
    assert screen(labels) == after
    assert in_file(layer) == before
    assert layer.commitChanges()
    assert in_file(layer) == after
    again = reopened(layer)
    assert screen(LabelLayer.of(again)) == after


def test_edits_do_what_they_say(layer, labels):
    labels.merge([1, 7], 2)
    assert layer.isEditable()
    assert codes_on_screen(layer) == {0: 2, 20: 2, 40: 2, 60: 2}
    labels.recode(2, 65535)
    assert [c.code for c in labels.classes()] == [65535]
    labels.rename(65535, " Land ")
    added = labels.add_class()
    assert added.code == 1
    assert labels.classes()[0].name == "Land"
    assert labels.feature_counts()[65535] == 4


def test_undo_mixes_with_drawing(layer, labels):
    layer.startEditing()
    states = [screen(labels)]
    for step in (
        lambda: draw(layer, 80, 2),
        lambda: labels.recode(2, 9),
        lambda: draw(layer, 100, 9),
        lambda: labels.merge([9], 1),
        lambda: layer.deleteFeature(next(f.id() for f in layer.getFeatures())),
        lambda: labels.remove(7, into=1),
    ):
        step()
        states.append(screen(labels))
    for state in reversed(states[:-1]):
        layer.undoStack().undo()
        assert screen(labels) == state
    for state in states[1:]:
        layer.undoStack().redo()
        assert screen(labels) == state
    assert layer.commitChanges()
    assert in_file(layer) == states[-1]


def walk(layer, labels, rng, steps):
    """Random edits; what the analyst saw after each, by the length of the undo stack."""
    seen = {layer.undoStack().index(): screen(labels)}
    for _ in range(steps):
        codes = [c.code for c in labels.classes()]
        code = rng.choice(codes)
        stack = layer.undoStack()
        before = stack.index(), stack.count(), stack.text(stack.index() - 1)
        kind = rng.choice(["rename", "recolor", "recode", "macro", "add", "merge", "remove", "move", "draw", "drop"])
        try:
            if kind == "rename":
                labels.rename(code, rng.choice(["Water", "Sand", "Forest", "x", " "]))
            elif kind == "recolor":
                labels.recolor(code, f"#{rng.randrange(1 << 24):06x}")
            elif kind == "recode":
                labels.recode(code, rng.choice([0, 1, 2, 3, 65535, 65536]))
            elif kind == "macro":
                labels.set_macro(code, rng.choice(["", "Land", "Sea"]))
            elif kind == "add":
                labels.add_class(rng.choice(["", "Sand", "Rock"]))
            elif kind == "merge":
                labels.merge(rng.sample(codes, rng.randint(1, len(codes))), code)
            elif kind == "remove":
                labels.remove(code, into=rng.choice([None, *codes]))
            elif kind == "move":
                labels.move(code, rng.randrange(5))
            elif kind == "draw":
                draw(layer, 100 + 20 * rng.randrange(10_000), code)
            else:
                layer.deleteFeature(rng.choice([f.id() for f in layer.getFeatures()] or [0]))
        except InputError:
            pass  # refused: nothing may have changed
        index = stack.index()
        if (index, stack.count(), stack.text(index - 1)) == before:
            assert screen(labels) == seen[index], kind
        else:
            seen = {i: state for i, state in seen.items() if i < index} | {index: screen(labels)}
        if rng.random() < 0.3:
            for _ in range(rng.randint(1, 4)):
                layer.undoStack().undo()
            assert screen(labels) == seen[layer.undoStack().index()]
            if rng.random() < 0.5:
                layer.undoStack().redo()
                assert screen(labels) == seen[layer.undoStack().index()]
    return seen


@pytest.mark.parametrize("seed", range(12))
def test_any_number_of_undos_gives_what_was_seen_then(layer, labels, seed):
    rng = random.Random(seed)
    layer.startEditing()
    start = screen(labels)
    seen = walk(layer, labels, rng, 30)
    for _ in range(8):
        place = rng.randint(0, layer.undoStack().count())
        layer.undoStack().setIndex(place)
        if place in seen:
            assert screen(labels) == seen[place]
    if seed % 3 == 0:
        assert layer.rollBack()
        assert screen(labels) == start
        assert in_file(layer) == start
    else:
        last = screen(labels)
        assert layer.commitChanges(seed % 3 == 1)
        assert screen(labels) == last
        assert in_file(layer) == last
        if seed % 3 == 2:
            # The session goes on: a rollback goes back to what was saved, not to its beginning.
            walk(layer, labels, rng, 10)
            assert layer.rollBack()
            assert screen(labels) == last
            assert in_file(layer) == last


def test_a_rollback_brings_back_the_list(layer, labels):
    before = screen(labels)
    labels.add_class("Rock")
    labels.merge([1], 2)
    heard = []
    labels.classes_changed.connect(lambda: heard.append(1))
    assert layer.rollBack()
    assert screen(labels) == before
    assert heard
    assert in_file(layer) == before


def test_a_class_with_polygons_is_not_removed_unawares(layer, labels):
    layer.startEditing()
    with pytest.raises(InputError, match="still has 2 polygons"):
        labels.remove(1)
    draw(layer, 80, 7)
    with pytest.raises(InputError, match="still has 2 polygons"):
        labels.remove(7)
    labels.add_class("Rock", code=20)
    labels.remove(20)
    assert labels.classes() == CLASSES


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda labels: labels.rename(1, ""), "no name"),
        (lambda labels: labels.rename(1, "FOREST"), "Two classes are called"),
        (lambda labels: labels.recode(1, 2), "same code"),
        (lambda labels: labels.recode(1, -1), "whole number"),
        (lambda labels: labels.recode(1, 65536), "whole number"),
        (lambda labels: labels.recolor(1, "blue"), "no colour"),
        (lambda labels: labels.add_class("Rock", code=1), "same code"),
        (lambda labels: labels.merge([1], 1), "at least one other class"),
        (lambda labels: labels.rename(99, "x"), "no class with the code 99"),
        (lambda labels: labels.set_current(99), "no class with the code 99"),
        (lambda labels: labels.set_role("fun"), "training, validation or test"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(layer, labels, edit, words):
    before = screen(labels)
    with pytest.raises(InputError, match=words):
        edit(labels)
    assert screen(labels) == before
    assert not layer.isEditable()
    assert layer.undoStack().count() == 0


def test_no_step_is_made_where_nothing_changes(layer, labels):
    labels.rename(1, "Water")
    labels.recolor(1, "#2c6fbb")
    labels.recode(1, 1)
    assert labels.assign([f.id() for f in layer.getFeatures() if f["class"] == 2], 2) == 0
    assert not layer.isEditable()


def test_a_filter_would_leave_polygons_behind(layer, labels):
    assert layer.setSubsetString('"class" = 2')
    for edit in (lambda: labels.merge([1], 2), lambda: labels.recode(1, 9), lambda: labels.remove(1)):
        with pytest.raises(InputError, match="remove the filter"):
            edit()
    labels.rename(1, "Lake")
    assert layer.commitChanges()
    assert in_file(layer)[0][0].name == "Lake"


def test_selected_polygons_get_a_class_in_one_step(layer, labels):
    layer.startEditing()
    ids = [f.id() for f in layer.getFeatures()]
    assert labels.assign(ids, 7) == 3
    assert set(codes_on_screen(layer).values()) == {7}
    layer.undoStack().undo()
    assert codes_on_screen(layer) == {0: 1, 20: 2, 40: 7, 60: 1}


def test_the_current_class_goes_with_its_code(layer, labels):
    labels.set_current(7)
    labels.recode(7, 8)
    assert labels.current_code() == 8
    labels.merge([8], 2)
    assert labels.current_code() == 2
    heard = []
    labels.current_changed.connect(heard.append)
    layer.undoStack().undo()
    assert labels.current_code() == 2
    labels.set_current(1)
    assert heard == [1]


def test_the_role_is_in_the_file_at_once(layer, labels):
    heard = []
    labels.role_changed.connect(heard.append)
    labels.set_role("test")
    assert heard == ["test"]
    again = reopened(layer)
    assert LabelLayer.of(again).role == "test"
    labels.rename(1, "Lake")
    assert layer.rollBack()
    assert labels.role == "test"


def test_symbols_changed_by_hand_keep_their_form(layer, labels):
    renderer = layer.renderer().clone()
    categories = renderer.categories()  # a category that goes takes its symbol with it
    symbol = categories[0].symbol().clone()
    symbol.symbolLayer(1).setStrokeWidth(2.0)
    renderer.updateCategorySymbol(0, symbol)
    layer.setRenderer(renderer)
    labels.recolor(1, "#ff00ff")
    categories = layer.renderer().categories()
    first = categories[0].symbol().symbolLayer(1)
    assert (first.strokeWidth(), first.strokeColor().name()) == (2.0, "#ff00ff")


def test_another_style_of_the_analysts_stays(layer, labels):
    from qgis.core import QgsFillSymbol, QgsSingleSymbolRenderer

    layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple({})))
    labels.rename(1, "Lake")
    assert isinstance(layer.renderer(), QgsSingleSymbolRenderer)


def test_names_on_the_map_follow(layer, labels):
    labels.show_names(True)
    labels.rename(2, "O'Hara's \\ wood")
    expression = layer.labeling().settings().fieldName
    from qgis.core import QgsExpression

    feature = next(f for f in layer.getFeatures() if f["class"] == 2)
    context = layer.createExpressionContext()
    context.setFeature(feature)
    assert QgsExpression(expression).evaluate(context) == "O'Hara's \\ wood"


# -- files that do not take it ---------------------------------------------------------------------


def lock(layer):
    """Another program writes into the file just now."""
    database = sqlite3.connect(layer.source().partition("|")[0], isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    return database


@pytest.fixture
def impatient(monkeypatch):

    monkeypatch.setattr(geopackage, "SECONDS_TO_WAIT", 0.05)


def test_a_file_that_is_locked_while_saving_gets_the_list_later(layer, labels, impatient):
    labels.merge([1], 2)
    labels.rename(7, "Meadow")
    after = screen(labels)
    told = []
    labels.problem.connect(told.append)
    before = in_file(layer)
    held = lock(layer)
    # OGR waits five seconds by itself.
    done = layer.commitChanges()
    held.rollback()
    held.close()
    assert told
    assert "could not be written" in told[0]
    assert not done
    assert in_file(layer) == before
    assert screen(labels) == after
    assert layer.commitChanges()
    assert in_file(layer) == after


def test_a_list_that_the_file_does_not_take_waits_in_the_project(layer, labels, impatient, monkeypatch):
    from thematica.plugin.label_layer import label_layer

    def fails(*_):
        raise OutputError("The classes could not be written.")

    told = []
    labels.problem.connect(told.append)
    labels.rename(1, "Lake")
    with monkeypatch.context() as patch:
        patch.setattr(label_layer, "write_file", fails)
        assert layer.commitChanges()
    assert told
    assert in_file(layer)[0][0].name == "Water"
    QgsProject.instance().addMapLayer(layer, False)
    # The project knows better than the file until the file takes it.
    labels.end()
    again = LabelLayer.of(layer)
    assert again.classes()[0].name == "Lake"
    again.recolor(1, "#010203")
    assert layer.commitChanges()
    assert in_file(layer)[0][0] == LabelClass(1, "Lake", "#010203")
    assert not layer.customProperty("thematica/label_layer")
    QgsProject.instance().takeMapLayer(layer)


def test_a_commit_that_breaks_off_leaves_no_polygon_without_its_class(layer, labels, tmp_path):
    """A trigger makes the file refuse a geometry, after it has taken the new codes."""
    path = layer.source().partition("|")[0]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON labels BEGIN SELECT RAISE(ABORT, 'no more polygons'); END"
        )
    labels.add_class("Rock", code=20)
    labels.merge([1], 20)
    draw(layer, 200, 2)
    assert not layer.commitChanges()
    classes, codes = in_file(layer)
    assert set(codes.values()) <= {c.code for c in classes}
    assert layer.rollBack()
    classes, codes = in_file(layer)
    assert set(codes.values()) <= {c.code for c in classes}
    again = reopened(layer)
    assert LabelLayer.of(again).classes() == classes == labels.classes()
    assert codes_on_screen(again) == codes_on_screen(layer) == codes


def test_a_read_only_file_is_told(tmp_path, layer):
    import os
    import shutil

    copy = tmp_path / "read only.gpkg"
    shutil.copy(layer.source().partition("|")[0], copy)
    other = QgsVectorLayer(f"{copy}|layername=labels", "x", "ogr")
    other.setReadOnly(True)
    labels = LabelLayer.of(other)
    before = screen(labels)
    with pytest.raises(OutputError, match="cannot be edited"):
        labels.rename(1, "Lake")
    assert screen(labels) == before
    os.chmod(copy, 0o400)


def test_editing_in_a_transaction_of_qgis(layer, labels):
    project = QgsProject.instance()
    project.addMapLayer(layer, False)
    project.setAutoTransaction(True)
    try:
        layer.startEditing()
        assert layer.dataProvider().transaction() is not None
        start = screen(labels)
        labels.merge([1], 2)
        labels.rename(7, "Meadow")
        after = screen(labels)
        layer.undoStack().undo()
        layer.undoStack().undo()
        assert screen(labels) == start
        layer.undoStack().redo()
        layer.undoStack().redo()
        assert screen(labels) == after
        told = []
        labels.problem.connect(told.append)
        assert layer.commitChanges()
        assert told == []
        assert in_file(layer) == after
        layer.startEditing()
        labels.recode(2, 3)
        assert layer.rollBack()
        assert screen(labels) == after
        assert in_file(layer) == after
    finally:
        project.setAutoTransaction(False)
        project.takeMapLayer(layer)


def test_what_is_not_saved_when_the_plugin_goes_is_saved_later(layer, labels):
    labels.merge([1], 2)
    labels.rename(7, "Meadow")
    after = screen(labels)
    end_all()
    again = LabelLayer.of(layer)
    assert again is not labels
    assert screen(again) == after
    end_all()
    assert layer.commitChanges()
    # The plugin comes back: the list that was owed is written.
    assert screen(LabelLayer.of(layer)) == after
    assert in_file(layer) == after
    assert not layer.customProperty("thematica/label_layer")


def test_two_layers_of_one_table_do_not_undo_each_others_classes(layer, labels):
    other = reopened(layer)
    others = LabelLayer.of(other)
    labels.add_class("Rock")
    labels.set_role("test")
    assert layer.commitChanges()
    assert len(others.classes()) == 3
    others.rename(1, "Lake")
    assert others.role == "test"
    assert other.commitChanges()
    assert [c.name for c in read_classes(layer.source().partition("|")[0], "labels")] == [
        "Lake",
        "Forest",
        "Grünland, „nass“",
        "Rock",
    ]


def test_a_spoiled_list_in_the_project_is_no_list(layer):
    other = QgsVectorLayer("Polygon?field=class:integer", "x", "memory")
    write_project(other, Kept("class", ClassList(tuple(CLASSES), {"1": 1})))
    assert LabelLayer.of(other).classes() == CLASSES
    for spoiled in ("{", "[]", '{"field": "class"}', '{"field": "class", "role": 1, "classes": 3, "values": 4}'):
        third = QgsVectorLayer("Polygon?field=class:integer", "x", "memory")
        third.setCustomProperty("thematica/label_layer", spoiled)
        assert LabelLayer.of(third) is None


def test_features_of_unknown_codes_are_counted_for_no_class(layer, labels):
    layer.startEditing()
    layer.addFeature(feature_of(layer, "Polygon((0 0,1 0,1 1,0 0))", [None, 99, None, None, None]))
    layer.addFeature(feature_of(layer, "Polygon((0 0,1 0,1 1,0 0))", [None, None, None, None, None]))
    assert labels.feature_counts() == {1: 2, 2: 1, 7: 1}


# -- several projects, and the plugin switched off in the middle -----------------------------------


def test_what_two_projects_draw_at_the_same_time_keeps_its_classes(layer, labels):
    path = layer.source().partition("|")[0]
    layer.startEditing()
    labels.add_class("Rock", code=20)
    labels.recolor(1, "#010203")
    draw(layer, 200, 20)
    other = reopened(layer)
    others = LabelLayer.of(other)
    others.add_class("Sand", code=30)
    others.add_class("Not drawn yet", code=31)
    others.rename(1, "Lake")
    others.rename(2, "Wood")
    draw(other, 300, 30)
    assert other.commitChanges()
    assert layer.commitChanges()
    known = {c.code: (c.name, c.color) for c in read_classes(path, "labels")}
    assert {code: name for code, (name, _) in known.items()} == {
        1: "Water",
        2: "Wood",
        7: "Grünland, „nass“",
        20: "Rock",
        30: "Sand",
        31: "Not drawn yet",
    }
    assert known[1][1] == "#010203"
    assert set(codes_on_screen(reopened(layer)).values()) <= set(known)


def test_two_classes_of_one_code_are_told(layer, labels):
    told = []
    labels.problem.connect(told.append)
    layer.startEditing()
    labels.add_class("Rock", code=20)
    other = reopened(layer)
    LabelLayer.of(other).add_class("Sand", code=20)
    assert other.commitChanges()
    assert layer.commitChanges()
    assert [c.name for c in labels.classes() if c.code == 20] == ["Rock"]
    assert "“Sand” of the code 20, which is “Rock” here" in told[0]


def test_a_merge_that_is_rolled_back_while_the_plugin_is_off_loses_no_class(layer, labels):
    before = codes_on_screen(layer)
    labels.merge([1], 2)
    end_all()
    assert layer.rollBack()
    again = LabelLayer.of(layer)
    assert codes_on_screen(layer) == before
    assert {c.code for c in again.classes()} == {1, 2, 7}
    assert [c.name for c in in_file(layer)[0] if c.code == 1] == ["Water"]


def test_a_merge_that_is_undone_after_the_plugin_was_off_loses_no_class(layer, labels):
    before = codes_on_screen(layer)
    labels.merge([1], 2)
    end_all()
    again = LabelLayer.of(layer)
    layer.undoStack().undo()
    assert codes_on_screen(layer) == before
    assert layer.commitChanges()
    assert {c.code for c in again.classes()} == {c.code for c in in_file(layer)[0]} == {1, 2, 7}
