"""The curves of a training: axes, what is drawn of few, many, missing and wild values, and what the pointer reads."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from qgis.PyQt.QtCore import QEvent, QPointF, Qt
from qgis.PyQt.QtGui import QColor, QMouseEvent, QPalette
from qgis.PyQt.QtWidgets import QApplication, QToolTip

from thematica.plugin.training_run import TrainingRun
from thematica.ui.curve_plot import Curve, CurvePlot, Picture
from thematica.ui.thinning import ThinSeries
from thematica.ui.training_curves import TrainingCurves
from thematica.ui.value_axis import ValueAxis, loss_axis, share_axis

from . import training_folders as made
from .driving import settle
from .test_ui_signature_plot import pixels

BLUE = ("#0072b2", "#5cb8f0")
LIGHT_BLUE = QColor("#0072b2")


@pytest.fixture
def plot():
    widget = CurvePlot()
    widget.resize(320, 220)
    widget.show()
    settle()
    yield widget
    widget.deleteLater()


@pytest.fixture
def curves():
    widget = TrainingCurves()
    widget.resize(320, 440)
    widget.show()
    settle()
    yield widget
    widget.deleteLater()


@pytest.fixture
def run_of(tmp_path):
    """A training that has told these events."""
    return lambda *events, **recipe: TrainingRun(made.write_run(tmp_path / "run", [made.start(**recipe), *events]))


def move(widget, point):
    none = Qt.MouseButton.NoButton
    on_screen = QPointF(widget.mapToGlobal(point.toPoint()))
    moved = QMouseEvent(QEvent.Type.MouseMove, point, on_screen, none, none, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(widget, moved)
    settle()


def curve(values, **options):
    return Curve("loss", BLUE, [(float(place), value) for place, value in enumerate(values)], **options)


# -- a series in few points ------------------------------------------------------------------------
@pytest.mark.parametrize("count", [0, 1, 7, 19, 20, 21, 100_000])
def test_a_series_of_any_length_is_few_points_with_the_same_mean(count):
    chance = random.Random(count)
    values = [(place, chance.random()) for place in range(count)]
    series = ThinSeries(10)
    for begin in range(0, count, 3000):
        series.add(values[begin : begin + 3000])
    assert len(series) < 20
    points = series.smooth(0)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    if 0 < count < 20:
        assert points == values
    if count == 100_000:
        assert sum(y for _, y in points) / len(points) == pytest.approx(0.5, abs=0.02)
        assert points[0][0] < 10_000
        assert points[-1][0] > 90_000


def test_smoothing_leaves_a_straight_line_straight():
    series = ThinSeries(100)
    series.add((place, 2.0 * place) for place in range(100))
    assert series.smooth(0.2) == [(place, pytest.approx(2.0 * place)) for place in range(100)]


def test_smoothing_calms_noise():
    chance = random.Random(1)
    series = ThinSeries(200)
    series.add((place, chance.random()) for place in range(200))

    def unrest(points):
        return sum(abs(after[1] - before[1]) for before, after in pairwise(points))

    assert unrest(series.smooth(0.1)) < 0.3 * unrest(series.smooth(0))


# -- axes ------------------------------------------------------------------------------------------
def test_a_loss_that_falls_over_decades_has_a_log_axis_and_one_that_does_not_a_linear_one():
    assert loss_axis([1000.0, 3.0, 0.01]).is_log
    assert not loss_axis([1.5, 0.5, 0.1]).is_log
    assert loss_axis([1.5, 0.5, 0.1]).low == 0
    assert not loss_axis([1.0, 0.5, 0.0]).is_log
    assert not loss_axis([3.0, -1.0]).is_log


@pytest.mark.parametrize("values", [[], [math.nan], [0.3], [0.0], [-2.0], [1e-9, 1e-9], [1e300, 1.0], [math.inf, 1.0]])
@pytest.mark.parametrize("make", [loss_axis, share_axis])
def test_every_value_stands_on_its_axis(make, values):
    axis = make(values)
    assert axis.low < axis.high
    for value in values:
        if math.isfinite(value):
            assert 0 <= axis.share(value) <= 1
    slack = 1e-6 * (axis.high - axis.low)
    for most in (2, 5, 20):
        assert all(axis.low - slack <= tick <= axis.high + slack for tick, _ in axis.ticks(most))


def test_an_accuracy_axis_ends_at_one():
    assert share_axis([0.5, 0.99]).high == 1.0
    assert share_axis([-0.1, 0.2]).low < -0.1


def test_decades_get_round_ticks_as_many_as_there_is_room_for():
    axis = ValueAxis(0.01, 1000.0, is_log=True)
    assert [text for _, text in axis.ticks(6)] == ["0.01", "0.1", "1", "10", "100", "1000"]
    assert [text for _, text in axis.ticks(3)] == ["0.01", "1", "100"]
    assert [text for _, text in ValueAxis(0.8, 12.0, is_log=True).ticks(5)] == ["1", "2", "5", "10"]


def test_a_short_axis_has_two_ticks_that_can_be_told_apart():
    ticks = ValueAxis(0.00571, 0.00633).ticks(2)
    assert len(ticks) > 1
    assert len({text for _, text in ticks}) == len(ticks)


# -- what is drawn ---------------------------------------------------------------------------------
def test_later_is_further_right_and_more_is_higher(plot):
    plot.set_picture(Picture([curve([0.5, 0.7, 0.9])], share_axis([0.5, 0.9]), 0, 10))
    first, last = plot.place_of(0, 0.5), plot.place_of(2, 0.9)
    assert first.x() < last.x() < plot.place_of(10, 0.5).x() < plot.width()
    assert last.y() < first.y()
    assert pixels(plot, "#0072b2") > 40


@pytest.mark.parametrize("thin", [True, False])
def test_a_value_that_is_missing_breaks_the_line(plot, thin):
    plot.set_picture(Picture([curve([0.5, 0.5, math.nan, 0.5, 0.5], thin=thin)], ValueAxis(), 0, 4))
    image = plot.grab().toImage()

    def is_drawn(x):
        place = plot.place_of(x, 0.5)
        column = [image.pixelColor(round(place.x()), round(place.y()) + shift) for shift in (-1, 0, 1)]
        return any(color.blue() > color.red() + 30 for color in column)

    assert is_drawn(0.5)
    assert is_drawn(3.5)
    assert not is_drawn(1.6)
    assert not is_drawn(2.4)


def test_one_value_alone_is_a_dot(plot):
    plot.set_picture(Picture([curve([0.5])], ValueAxis(), 0, 40))
    assert pixels(plot, "#0072b2") > 15


def test_nothing_but_missing_values_is_no_error(plot):
    plot.set_picture(Picture([curve([math.nan, math.nan])], ValueAxis(), 0, 2, best=1.0, best_text="best"))
    plot.set_read(1.0)
    plot.grab()


@pytest.mark.parametrize("size", [(40, 30), (170, 120), (320, 220), (1600, 900)])
def test_every_size_can_be_drawn(plot, size):
    plot.setMinimumSize(1, 1)
    plot.resize(*size)
    plot.set_titles("Training loss (cross-entropy)", "Epoch")
    plot.set_picture(Picture([curve([1000.0, 10.0, 0.1])], loss_axis([1000.0, 0.1]), 0, 3, 2.0, "best so far"))
    assert not plot.grab().isNull()


def test_a_dark_theme_gets_its_own_colours(plot):
    dark = QPalette(plot.palette())
    dark.setColor(QPalette.ColorRole.Base, QColor("#202020"))
    dark.setColor(QPalette.ColorRole.Text, QColor("#eeeeee"))
    plot.setPalette(dark)
    plot.set_picture(Picture([curve([0.2, 0.8])], ValueAxis(), 0, 1))
    assert pixels(plot, "#202020") > 5000
    assert pixels(plot, BLUE[1]) > 20
    assert pixels(plot, BLUE[0]) == 0


def test_a_high_resolution_screen_gets_more_pixels(plot, monkeypatch):
    monkeypatch.setattr(plot, "devicePixelRatioF", lambda: 2.0)
    plot.set_picture(Picture([curve([0.2, 0.8])], ValueAxis(), 0, 1))
    plot.place_of(0, 0)
    assert plot.drawing.width() == 2 * plot.width()
    assert plot.drawing.devicePixelRatio() == 2.0


# -- a training ------------------------------------------------------------------------------------
def test_the_figure_that_chooses_the_epoch_is_drawn_beside_the_overall_accuracy_and_its_best_marked(curves, run_of):
    run = run_of(*made.epochs(7, best=4))
    curves.set_run(run)
    assert curves.accuracy.legend() == ["macro F1", "overall accuracy", "best 0.900 (epoch 5)"]
    assert curves.accuracy.picture.best == curves.loss.picture.best == 5.0
    assert curves.loss.legend() == ["epoch's mean", "per step"]
    assert curves.loss.title == "Training loss (cross-entropy)"
    assert curves.accuracy.picture.curves[-1].value_at(5.0) == 0.9


def test_the_axis_ends_where_the_training_is_planned_to_end(curves, run_of):
    curves.set_run(run_of(*made.epochs(3)))
    assert (curves.loss.picture.first, curves.loss.picture.last) == (0, 40)


@pytest.mark.parametrize(("done", "end"), [(3, 50), (51, 100), (100, 100), (590, 600)])
def test_of_hundreds_of_planned_epochs_the_first_ones_can_be_read(curves, run_of, done, end):
    curves.set_run(run_of(*(made.epoch(number, 0.5) for number in range(done)), epochs=600))
    assert curves.loss.picture.last == curves.accuracy.picture.last == end


def test_overall_accuracy_is_not_drawn_twice_where_it_chooses_the_epoch(curves, run_of):
    curves.set_run(run_of(*made.epochs(3), monitor="overall accuracy"))
    assert curves.accuracy.legend()[:2] == ["overall accuracy", "macro F1"]


def test_classical_learners_have_stages(curves, run_of):
    stages = [made.epoch(number, 0.9, 0.4, best=True) for number in range(3)]
    curves.set_run(run_of(*stages, network="random-forest", epochs=10))
    assert curves.loss.x_title == "Stage"
    assert curves.loss.legend() == ["stage's mean"]
    assert curves.accuracy.legend()[-1] == "best 0.900 (stage 3)"
    # Before the first one's end there is nothing.
    assert curves.loss.picture.first == 1.0


def test_one_stage_stands_in_the_middle(curves, run_of):
    curves.set_run(run_of(made.epoch(0, 0.9, 0.4, best=True), network="svm", epochs=1))
    plot = curves.accuracy
    assert abs(plot.place_of(1.0, 0.9).x() - plot.width() / 2) < 40
    assert pixels(plot, "#00795c") > 15


def test_before_the_first_figures_a_sentence_stands_there(curves, tmp_path):
    folder = made.write_run(tmp_path / "run", [made.start()])
    with made.at_work(folder):
        curves.set_run(TrainingRun(folder))
    assert curves.loss.picture.empty == "Here comes the loss."
    assert curves.accuracy.picture.empty == "The first figures come at the end of the first epoch."
    made.say(folder, made.error("It failed."))
    curves.run.look()
    curves.refresh()
    assert curves.accuracy.picture.empty == "No epoch has ended."


def test_null_and_nan_of_an_epoch_break_its_line_only(curves, run_of):
    curves.set_run(
        run_of(made.epoch(0, 0.5), made.epoch(1, None, None), made.epoch(2, 0.7, best=True), made.step(3, 1, 4, None))
    )
    values = curves.accuracy.picture.curves[-1].points
    assert [value for _, value in values if math.isfinite(value)] == [0.5, 0.7]
    assert len(values) == 3
    curves.grab()


def test_a_training_without_any_figure_of_its_own_choice_is_drawn_too(curves, run_of):
    curves.set_run(run_of({"event": "epoch", "epoch": 0}, {"event": "epoch", "epoch": 1, "validation": 7}))
    curves.grab()
    assert curves.accuracy.legend() == []


def test_a_hundred_thousand_steps_and_a_thousand_epochs_are_few_points(curves, run_of):
    events = []
    for number in range(1000):
        events += [made.step(number, place, 100, 1.0 + 1.0 / (number + 1)) for place in range(1, 101)]
        events.append(made.epoch(number, 0.5 + number / 2500, 1.0, best=True))
    run = run_of(*events, epochs=1000)
    while run.look():
        pass
    curves.set_run(run)
    assert len(run.steps) == 100_000
    assert len(curves.loss.picture.curves[0].points) < 2000
    assert curves.loss.picture.last == 1000
    curves.grab()


def test_new_steps_are_added_to_those_that_are_there(curves, run_of):
    run = run_of(*(made.step(0, place, 10, 1.0) for place in range(1, 4)))
    curves.set_run(run)
    made.say(run.folder, *(made.step(0, place, 10, 0.5) for place in range(4, 8)))
    run.look()
    curves.refresh()
    points = curves.loss.picture.curves[0].points
    assert [x for x, _ in points] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


def test_what_is_trained_again_from_a_checkpoint_replaces_what_was_there(curves, run_of):
    run = run_of(*made.epochs(3), *(made.step(3, place, 10, 9.0) for place in range(1, 9)))
    curves.set_run(run)
    made.say(run.folder, made.start(True, 3), made.step(3, 1, 10, 1.0), made.step(3, 2, 10, 1.0))
    run.look()
    curves.refresh()
    points = curves.loss.picture.curves[0].points
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[-1] == (pytest.approx(3.2), 1.0)


def test_the_pointer_reads_an_epoch_in_both_plots(curves, run_of):
    curves.set_run(run_of(*made.epochs(20, best=15)))
    place = curves.accuracy.place_of(16.0, 0.9)
    move(curves.accuracy, place + QPointF(1, 5))
    assert QToolTip.text().split("\n") == [
        "Epoch 16 of 40 · the best",
        "Training loss 0.0938",
        "Macro F1 0.900",
        "Overall accuracy 0.920",
        "2.5 s · 1,234 samples/s",
    ]
    assert (curves.loss._read, curves.accuracy._read) == (16.0, 16.0)
    before = curves.loss.grab().toImage()
    move(curves.accuracy, QPointF(curves.accuracy.place_of(38.0, 0.9)))
    assert (curves.loss._read, curves.accuracy._read) == (None, None)
    assert curves.loss.grab().toImage() != before


def test_plots_stand_side_by_side_where_there_is_room(curves, run_of):
    curves.set_run(run_of(*made.epochs(2)))
    assert curves.accuracy.y() > curves.loss.y()
    curves.resize(900, 300)
    settle()
    assert curves.accuracy.y() == curves.loss.y()
    curves.resize(600, 800)
    settle()
    assert curves.accuracy.y() > curves.loss.y()


def test_no_training_is_no_picture(curves, run_of):
    curves.set_run(run_of(*made.epochs(2)))
    curves.set_run(None)
    assert curves.loss.legend() == []
    move(curves.loss, QPointF(100, 100))
    curves.grab()
