"""The plot of the spectral signatures: its axes, what the pointer reads, what clicks and ticks do."""

from __future__ import annotations

import math

import pytest
from qgis.PyQt.QtCore import QEvent, QPoint, QPointF, Qt
from qgis.PyQt.QtGui import QColor, QMouseEvent, QPalette
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QToolTip

from thematica.ui.band_axis import band_axis
from thematica.ui.signature_panel import SignaturePanel
from thematica.ui.signature_plot import SignaturePlot
from thematica.ui.ticks import round_ticks, tick_label

from .driving import LEFT, settle
from .label_figures import bands, label_class, statistics


@pytest.fixture
def plot():
    widget = SignaturePlot()
    widget.resize(320, 220)
    widget.show()
    settle()
    yield widget
    widget.deleteLater()


@pytest.fixture
def panel():
    widget = SignaturePanel()
    widget.resize(320, 340)
    widget.show()
    settle()
    yield widget
    widget.deleteLater()


def at(widget, point, down=0):
    """Where to click."""
    return QPoint(round(point.x()), round(point.y()) + down)


def move(widget, point):
    """Move the pointer; QTest does so only on a screen."""
    where, no_button = QPointF(at(widget, point)), Qt.MouseButton.NoButton
    on_screen = QPointF(widget.mapToGlobal(at(widget, point)))
    moved = QMouseEvent(QEvent.Type.MouseMove, where, on_screen, no_button, no_button, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(widget, moved)


def pixels(widget, color):
    """How many pixels have nearly this colour."""
    image, wanted = widget.grab().toImage(), QColor(color)
    found = 0
    for y in range(image.height()):
        for x in range(image.width()):
            seen = image.pixelColor(x, y)
            parts = ((seen.red(), wanted.red()), (seen.green(), wanted.green()), (seen.blue(), wanted.blue()))
            found += all(abs(one - other) <= 2 for one, other in parts)
    return found


# -- axes ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0.0, 0.4, 5, [0, 0.1, 0.2, 0.3, 0.4]),
        (-0.13, 0.42, 4, [0, 0.2, 0.4]),
        (0.0, 3000.0, 4, [0, 1000, 2000, 3000]),
        (7.0, 7.0, 4, []),
        (0.0, math.nan, 4, []),
    ],
)
def test_ticks_are_round_numbers(low, high, most, ticks):
    assert round_ticks(low, high, most) == pytest.approx(ticks)


def test_ticks_have_the_decimals_that_tell_them_apart():
    assert [tick_label(value, 0.05) for value in (0.0, 0.05, 0.1)] == ["0", "0.05", "0.10"]
    assert tick_label(2000.0, 500.0) == "2000"
    assert tick_label(-0.0, 0.1) == "0"


def test_bands_stand_at_their_wavelengths_whatever_their_order():
    axis = band_axis(bands(("B8", "nir", 0.833), ("B2", "blue", 0.492)))
    assert axis.in_nanometres
    assert axis.places == [833, 492]
    assert axis.runs == [[1, 0]]
    assert axis.names == ["B8 (nir)", "B2 (blue)"]


@pytest.mark.parametrize(
    "entries",
    [
        [("B2", "blue", 0.492), ("elevation", "", None)],
        # Two dates of one sensor; light that is emitted.
        [("B2", "blue", 0.492), ("B2", "blue", 0.492)],
        [("B2", "blue", 0.492), ("B10", "thermal", 10.9)],
    ],
)
def test_without_wavelengths_of_their_own_bands_stand_in_order(entries):
    axis = band_axis(bands(*entries))
    assert not axis.in_nanometres
    assert axis.places == [1, 2]
    assert axis.title == "Band"


def test_a_spectrometers_line_is_broken_where_bands_were_taken_out():
    waves = [0.4 + 0.01 * band for band in range(100) if not 40 <= band < 55]
    axis = band_axis(bands(*((f"b{wave:.2f}", "", wave) for wave in waves)))
    assert [len(run) for run in axis.runs] == [40, 45]


def test_a_scanners_few_bands_are_joined_over_wide_steps():
    waves = (0.48, 0.56, 0.66, 0.83, 1.65, 2.2)
    assert len(band_axis(bands(*((str(wave), "", wave) for wave in waves))).runs) == 1


# -- what is drawn ---------------------------------------------------------------------------------
def test_higher_values_are_drawn_higher_and_longer_waves_further_right(plot):
    plot.set_statistics(statistics())
    blue, red, nir = (plot.place_of(2, band) for band in (0, 2, 3))
    assert nir.y() < blue.y()
    assert blue.x() < red.x() < nir.x()
    assert plot.place_of(1, 3).y() > plot.place_of(3, 3).y()


def test_every_class_is_drawn_in_its_colour(plot):
    plot.set_statistics(statistics())
    assert all(pixels(plot, entry["color"]) > 40 for entry in statistics()["classes"])


@pytest.mark.parametrize("count", [1, 3, 204])
def test_one_band_three_and_204_are_drawn(plot, count):
    values = [0.2 + 0.1 * math.sin(band) for band in range(count)]
    named = bands(*(("", "", None) for _ in range(count)))
    plot.set_statistics(statistics(bands=named, classes=[label_class(1, values)], pairs=[]))
    assert pixels(plot, label_class(1, values)["color"]) > 5
    for band in (0, count - 1):
        assert plot.rect().contains(at(plot, plot.place_of(1, band)))


def test_a_missing_value_breaks_the_line(plot):
    classes = [label_class(1, [0.13, None, 0.13, 0.13], color="#804000")]
    plot.set_statistics(statistics(classes=classes, pairs=[]))
    assert math.isnan(plot.place_of(1, 1).x())
    plot.set_spread("none")
    image, ground = plot.grab().toImage(), plot.palette().color(QPalette.ColorRole.Base)

    def drawn(x, y):
        return any(image.pixelColor(round(x), round(y) + dy).blueF() < 0.95 * ground.blueF() for dy in (-1, 0, 1))

    first, third, last = (plot.place_of(1, band) for band in (0, 2, 3))
    assert drawn((third.x() + last.x()) / 2, third.y())
    assert not drawn((first.x() + third.x()) / 2, first.y())


def test_without_figures_or_pixels_the_plot_has_a_sentence_instead(plot):
    pictures = []
    for figures in ({}, statistics(classes=[label_class(1, [None] * 4, pixels=0)], pairs=[]), statistics()):
        plot.set_statistics(figures)
        pictures.append(plot.grab().toImage())
        assert pixels(plot, plot.palette().color(QPalette.ColorRole.Window)) < plot.width() * plot.height()
    assert plot.shown() != []
    assert pictures[0] != pictures[1] != pictures[2]


def test_a_theme_that_changes_is_followed(plot):
    plot.set_statistics(statistics())
    dark = QPalette(plot.palette())
    dark.setColor(QPalette.ColorRole.Base, QColor("#202020"))
    plot.setPalette(dark)
    settle()
    assert pixels(plot, "#202020") > 5000


# -- pointer ---------------------------------------------------------------------------------------
def test_the_pointer_reads_class_band_and_value(plot):
    plot.set_statistics(statistics())
    assert plot.read_at(plot.place_of(2, 3) + QPointF(3, -2)) == (2, 3)
    told = plot.sentence(2, 3)
    assert told.startswith("Forest\nB8 (nir), 833 nm: 0.35 ± 0.01")
    assert "between 0.33 and 0.37" in told
    assert plot.read_at(QPointF(plot.place_of(2, 3).x() - 30, 3)) is None


def test_moving_over_a_line_shows_the_tooltip(plot):
    plot.set_statistics(statistics())
    move(plot, plot.place_of(3, 2))
    assert QToolTip.text().startswith("Bare soil\nB4")


def test_a_click_on_a_line_picks_the_class_and_one_beside_it_none(plot):
    plot.set_statistics(statistics())
    picked, ground = [], []
    plot.class_clicked.connect(picked.append)
    plot.ground_clicked.connect(lambda: ground.append(True))
    QTest.mouseClick(plot, LEFT, Qt.KeyboardModifier.NoModifier, at(plot, plot.place_of(3, 1)))
    assert picked == [3]
    QTest.mouseClick(plot, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(plot.width() // 2, 14))
    assert (picked, ground) == ([3], [True])


# -- legend ----------------------------------------------------------------------------------------
def tick_of(legend, row):
    """Where the tick of a row is clicked."""
    area = legend.visualItemRect(legend.item(row))
    return QPoint(area.left() + 10, area.center().y())


def test_axes_can_be_read_where_a_dark_theme_leaves_the_text_dark(plot):
    """As QGIS's Night Mapping does, which colours by style sheet."""
    palette = QPalette(plot.palette())
    palette.setColor(QPalette.ColorRole.Base, QColor("#222222"))
    palette.setColor(QPalette.ColorRole.Text, QColor("#111111"))
    plot.setPalette(palette)
    plot.set_statistics(statistics())
    settle()
    assert pixels(plot, "#dddddd") > 50


def test_a_tick_hides_a_class_and_shows_it_again(panel):
    panel.set_statistics(statistics())
    settle()
    water = statistics()["classes"][0]["color"]
    seen = pixels(panel.plot, water)
    QTest.mouseClick(panel.legend.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, tick_of(panel.legend, 0))
    assert [entry.name for entry in panel.plot.shown()] == ["Forest", "Bare soil"]
    assert pixels(panel.plot, water) == 0
    QTest.mouseClick(panel.legend.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, tick_of(panel.legend, 0))
    assert pixels(panel.plot, water) == seen


def test_a_hidden_class_stays_hidden_when_new_figures_come(panel):
    panel.set_statistics(statistics())
    settle()
    QTest.mouseClick(panel.legend.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, tick_of(panel.legend, 1))
    panel.set_statistics({})
    panel.set_statistics(statistics(classes=[*statistics()["classes"], label_class(4, [0.3] * 4)]))
    assert [entry.code for entry in panel.plot.shown()] == [1, 3, 4]


def test_with_all_ticks_away_nothing_is_drawn(panel):
    panel.set_statistics(statistics())
    settle()
    for row in range(3):
        QTest.mouseClick(panel.legend.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, tick_of(panel.legend, row))
    assert panel.plot.shown() == []
    panel.plot.grab()


def test_many_long_names_leave_the_plot_its_room(panel):
    classes = [
        label_class(code, [0.01 * code] * 4, name=f"Land principally occupied by {code}") for code in range(1, 20)
    ]
    panel.set_statistics(statistics(classes=classes, pairs=[]))
    settle()
    assert panel.legend.height() < 120
    assert panel.plot.height() > 150
    assert panel.legend.horizontalScrollBar().maximum() == 0


def test_the_spread_is_shaded_as_chosen_and_remembered(panel):
    panel.set_statistics(statistics())
    settle()
    panel.spread.setFocus()
    QTest.keyClick(panel.spread, Qt.Key.Key_End)
    bare = panel.plot.grab().toImage()
    QTest.keyClick(panel.spread, Qt.Key.Key_Home)
    assert panel.plot.grab().toImage() != bare
    QTest.keyClick(panel.spread, Qt.Key.Key_Down)
    again = SignaturePanel()
    assert again.spread.currentData() == "percentiles"
    again.deleteLater()
