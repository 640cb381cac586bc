"""What is said about a training: lines of its log, its state, whatever it has told so far."""

from __future__ import annotations

import itertools
import math

import pytest

from thematica.plugin.training_run import TrainingRun
from thematica.ui.event_words import event_words
from thematica.ui.training_words import figure_label, figures_label, loss_label, run_label, state_line, unbroken

from . import training_folders as made

KINDS = ("start", "step", "epoch", "checkpoint", "note", "log", "optimism", "stopped", "finishing", "exporting", "end",
         "error", "progress", "?")  # fmt: skip
NAMES = ("time", "recipe", "dataset", "processes", "resumed", "epoch", "train_loss", "validation", "seconds", "best",
         "message", "level", "macro F1", "metrics", "stored")  # fmt: skip
STRANGE = (None, 7, -1, 1e300, math.nan, math.inf, "x", "", [], [1], {}, {"macro F1": "x"}, True)


@pytest.mark.parametrize("kind", KINDS)
def test_no_event_is_too_strange_for_a_word(kind):
    for name, value in itertools.product(NAMES, STRANGE):
        assert "\n" not in event_words({"event": kind, name: value}, "mlp", "macro F1")
    assert isinstance(event_words({"event": kind}, "", ""), str)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"event": "start", "resumed": True, "epoch": 6}, "Goes on with epoch 7."),
        (
            {"event": "start", "recipe": {"network": "unet", "epochs": 9}, "dataset": "/d", "processes": 2},
            "Training of “unet” on “/d” begins, in 2 processes: 9 epochs.",
        ),
        ({"event": "stopped", "epoch": 0}, "Stopped in epoch 1, as asked."),
        ({"event": "finishing", "epoch": 4}, "Ended in epoch 5, as asked; the best one becomes the model."),
        (
            {"event": "error", "message": "Make room, and use another folder (--output)."},
            "Make room, and use another folder.",
        ),
        (
            {"event": "optimism", "macro F1": {"random": 0.99, "blocked": 0.8, "gap": 0.19}},
            "With a random split the same training would show macro F1 0.990 instead of 0.800.",
        ),
        ({"event": "step", "loss": 1.0}, ""),
    ],
)
def test_events_in_words(event, words):
    assert event_words(event, "mlp", "macro F1") == words


def test_several_labels_have_other_figures():
    metrics = {"micro F1": 0.7, "macro F1": 0.6, "mean average precision": 0.65}
    assert figures_label(metrics, "validation") == (
        "macro F1 0.600, micro F1 0.700, mean average precision 0.650 on the validation part"
    )
    assert figures_label({}, "test") == ""


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "x"])
def test_what_is_no_number_is_a_dash(value):
    assert figure_label(value) == loss_label(value) == "–"


def test_a_list_says_the_network_where_the_name_does_not():
    assert run_label("fields", "mlp", "running") == "▶ fields · mlp · running"
    assert run_label("fields-mlp", "mlp", "failed") == "✗ fields-mlp · failed"
    assert run_label("fields", "", "interrupted") == "⚠ fields · interrupted"


def test_every_state_has_a_sign_of_its_own_kind():
    states = ("running", "paused", "finished", "failed", "interrupted")
    assert len({run_label("a", "", state)[0] for state in states}) == len(states)


def test_lines_break_between_the_parts_only():
    text = unbroken("Epoch 7 of 40 · 1,234 samples/s · 2 min 10 s left")
    assert text.split(" ") == ["Epoch\u00a07\u00a0of\u00a040\u00a0·", "1,234\u00a0samples/\u2060s\u00a0·",
                               "2\u00a0min\u00a010\u00a0s\u00a0left"]  # fmt: skip
    assert unbroken("A sentence that wraps.") == "A sentence that wraps."


def test_the_line_of_a_training_before_its_first_epoch(tmp_path):
    folder = made.write_run(tmp_path / "run", [made.start(), made.step(0, 1, 10, 0.5)])
    with made.at_work(folder):
        assert state_line(TrainingRun(folder)) == "Epoch 1 of 40"
    assert state_line(TrainingRun(folder)) == "Interrupted before the first epoch had ended"
