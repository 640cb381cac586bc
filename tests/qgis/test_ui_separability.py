"""The list of pairs, and that of polygons which look like another class."""

from __future__ import annotations

import math

import pytest
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest

from thematica.ui.lookalike_table import LookalikeTable
from thematica.ui.separability_table import MEASURES, SeparabilityTable, verdict

from .driving import LEFT, click, pick, settle
from .label_figures import label_class, pair, statistics


@pytest.fixture
def table():
    widget = SeparabilityTable()
    widget.resize(320, 260)
    widget.show()
    yield widget
    widget.deleteLater()


@pytest.fixture
def lookalikes():
    widget = LookalikeTable()
    widget.resize(320, 260)
    widget.show()
    yield widget
    widget.deleteLater()


def click_row(table, row, column=0):
    item = table.item(row, column)
    table.scrollToItem(item)
    QTest.mouseClick(table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, table.visualItemRect(item).center())
    settle()


def many(count):
    classes = [
        label_class(code, [0.1] * 4, name=f"Land principally occupied by {code}") for code in range(1, count + 1)
    ]
    pairs = [
        pair(a, b, 2 * ((a * 31 + b * 17) % 100) / 100) for a in range(1, count + 1) for b in range(a + 1, count + 1)
    ]
    return statistics(classes=classes, pairs=pairs)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("jeffries_matusita", 0.99, "poor"),
        ("jeffries_matusita", 1.0, "middling"),
        ("jeffries_matusita", 1.9, "good"),
        ("jeffries_matusita", None, "unknown"),
        ("jeffries_matusita", math.nan, "unknown"),
        ("transformed_divergence", 1.69, "poor"),
        ("transformed_divergence", 1.75, "middling"),
        ("transformed_divergence", 2.0, "good"),
        ("bhattacharyya", 0.6, "poor"),
        ("bhattacharyya", 2.9, "middling"),
        ("bhattacharyya", math.inf, "good"),
    ],
)
def test_a_value_is_judged_by_its_measures_limits(key, value, said):
    assert verdict(next(measure for measure in MEASURES if measure.key == key), value) == said


def test_bhattacharyya_and_jeffries_matusita_judge_alike():
    matusita, bhattacharyya, _ = MEASURES
    for tenth in range(60):
        distance = tenth / 10 + 0.05
        assert verdict(bhattacharyya, distance) == verdict(matusita, 2 * (1 - math.exp(-distance)))


def test_the_least_separable_pair_is_on_top(table):
    table.set_statistics(statistics())
    assert table.pairs() == [(2, 3), (1, 3), (1, 2)]
    assert table.table.item(0, 0).text() == "Forest"
    assert table.table.item(0, 1).text() == "Bare soil"
    assert table.table.item(0, 2).text() == "0.80 ✗"
    assert table.summary.text() == "3 pairs: 1 hardly separable."


def test_a_distance_just_under_a_limit_does_not_read_as_the_limit(table):
    table.set_statistics(statistics(pairs=[pair(1, 2, 1.897), pair(1, 3, 1.9), pair(2, 3, 1.9999)]))
    assert [table.table.item(row, 2).text() for row in range(3)] == ["1.89 ~", "1.90 ✓", "2.00 ✓"]


def test_a_pair_with_too_few_pixels_comes_last(table):
    table.set_statistics(statistics(pairs=[pair(1, 2, None), pair(1, 3, 1.95)]))
    assert table.pairs() == [(1, 3), (1, 2)]
    assert table.table.item(1, 2).text() == "–"
    assert table.summary.text() == "No pair is mixed up."


def test_the_measure_is_changed_by_keys_explained_and_remembered(table):
    table.set_statistics(statistics(pairs=[pair(1, 2, 1.0, transformed_divergence=1.5), pair(1, 3, 0.5)]))
    assert table.pairs() == [(1, 3), (1, 2)]
    pick(table.measures, "Transformed divergence")
    assert table.pairs() == [(1, 2), (1, 3)]
    assert "Swain and Davis" in table.table.item(0, 2).toolTip()
    assert "Swain and Davis" in table.measures.toolTip()
    again = SeparabilityTable()
    assert again.measure.key == "transformed_divergence"
    again.deleteLater()


def test_a_click_tells_the_pair(table):
    table.set_statistics(statistics())
    clicked = []
    table.pair_clicked.connect(lambda *codes: clicked.append(codes))
    click_row(table.table, 1, 2)
    assert clicked == [(1, 3)]


def test_new_figures_keep_the_chosen_pair_and_the_place(table):
    table.set_statistics(many(19))
    click_row(table.table, 100)
    chosen, place = table.pairs()[100], table.table.verticalScrollBar().value()
    assert place > 0
    clicked = []
    table.pair_clicked.connect(lambda *codes: clicked.append(codes))
    other = many(19)
    other["pairs"][3]["jeffries_matusita"] = 0.0
    table.set_statistics(other)
    assert table.pairs()[table.table.currentRow()] == chosen
    assert table.table.verticalScrollBar().value() == place
    assert clicked == []


def test_a_pair_that_is_gone_is_chosen_no_more(table):
    table.set_statistics(statistics())
    click_row(table.table, 0)
    table.set_statistics(statistics(pairs=[pair(1, 2, 1.99)]))
    assert table.table.selectedItems() == []


def test_nothing_to_compare_is_said(table):
    for figures in ({}, statistics(classes=[label_class(1, [0.1] * 4)], pairs=[])):
        table.set_statistics(figures)
        assert table.summary.text() == "Needs two classes with polygons."
        assert not table.table.isVisible()


def test_names_are_no_markup(table):
    first, second = label_class(1, [0.1] * 4, name="a<b>&"), label_class(2, [0.1] * 4)
    table.set_statistics(statistics(classes=[first, second], pairs=[pair(1, 2, 0.5)]))
    assert "a&lt;b&gt;&amp;" in table.table.item(0, 0).toolTip()
    assert table.table.item(0, 0).text() == "a<b>&"


# -- polygons that look like another class ---------------------------------------------------------
def test_the_most_doubtful_polygon_is_on_top(lookalikes):
    lookalikes.set_statistics(statistics())
    rows = [[lookalikes.table.item(row, column).text() for column in range(4)] for row in range(2)]
    assert rows == [["new", "Bare soil", "Forest", "90 %"], ["12", "Forest", "Bare soil", "60 %"]]
    assert lookalikes.summary.text().startswith("2 polygons look like")


def test_a_click_leads_to_the_polygon_and_the_button_gives_it_the_other_class(lookalikes):
    lookalikes.set_statistics(statistics())
    went, changed = [], []
    lookalikes.polygon_clicked.connect(went.append)
    lookalikes.class_wanted.connect(lambda *values: changed.append(values))
    assert not lookalikes.change_button.isEnabled()
    click_row(lookalikes.table, 1)
    assert went == [12]
    assert lookalikes.change_button.text() == "Set class “Bare soil”"
    click(lookalikes.change_button)
    assert changed == [(12, 3)]


def test_the_chosen_polygon_stays_chosen_when_new_figures_come(lookalikes):
    lookalikes.set_statistics(statistics())
    click_row(lookalikes.table, 0)
    figures = statistics()
    figures["lookalikes"][0]["share"] = 0.99
    lookalikes.set_statistics(figures)
    assert lookalikes.table.currentRow() == 1
    assert lookalikes.change_button.text() == "Set class “Forest”"


def test_no_doubtful_polygon_and_nothing_to_compare_are_told_apart(lookalikes):
    lookalikes.set_statistics(statistics(lookalikes=[]))
    assert lookalikes.summary.text() == "No polygon looks like another class."
    lookalikes.set_statistics({})
    assert lookalikes.summary.text() == "Needs two classes with polygons."
    assert not lookalikes.change_button.isVisible()
