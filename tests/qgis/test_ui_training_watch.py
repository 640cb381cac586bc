"""The watch: an analyst is told once that a training has ended which nobody was looking at."""

from __future__ import annotations

import json
from functools import partial

import pytest
from qgis.PyQt.QtWidgets import QPushButton

from thematica.plugin.training_list import remember_run, set_told, untold_runs
from thematica.ui.training_watch import TrainingWatch

from . import training_folders as made
from .driving import click, settle


@pytest.fixture
def watch(iface):
    iface.window.show()
    iface.bar.resize(700, 60)
    made_watch = TrainingWatch(iface)
    made_watch.maps, made_watch.shown = [], []
    made_watch.classify_wanted.connect(made_watch.maps.append)
    made_watch.show_wanted.connect(made_watch.shown.append)
    yield made_watch
    made_watch.end()
    made_watch.deleteLater()


@pytest.fixture
def write(tmp_path):
    """``write("name", events…)``: a training's folder that is known."""
    return partial(made.write_known, tmp_path)


def told(iface):
    settle()
    return [item.text() for item in iface.bar.items()]


def press(iface, text):
    settle()
    buttons = iface.bar.currentItem().findChildren(QPushButton)
    click(next(button for button in buttons if button.text() == text))


def test_a_model_that_came_into_the_store_is_told_once(watch, write, iface):
    folder = write("fields", *made.epochs(2), made.end("fields"))
    watch.look()
    assert told(iface) == ["The model “fields” is in the store: overall accuracy 0.931."]
    assert untold_runs() == []
    iface.bar.clearWidgets()
    watch.look()
    TrainingWatch(iface).look()
    assert told(iface) == []
    remember_run(folder)
    watch.look()
    assert len(told(iface)) == 1


def test_its_buttons_make_a_map_and_show_the_training(watch, write, iface):
    folder = write("fields", *made.epochs(2), made.end("fields"))
    watch.look()
    press(iface, "Show training")
    assert (watch.maps, watch.shown) == ([], [str(folder)])
    assert told(iface) == []
    remember_run(folder)
    watch.look()
    press(iface, "Classify layer…")
    assert watch.maps == ["fields"]


def test_one_at_work_is_told_when_it_has_ended(watch, write, iface):
    folder = write("fields", *made.epochs(2))
    with made.at_work(folder):
        watch.look()
        assert told(iface) == []
        made.say(folder, made.error("The disk is full; make room, and go on with --resume."))
        watch.look()
        assert told(iface) == []
    watch.look()
    assert told(iface)[0].startswith("The training of “fields” failed. The disk is full")
    assert "--" not in told(iface)[0]


def test_a_training_that_never_began_to_learn_says_why(watch, write, iface):
    folder = write("fields")
    (folder / "events.jsonl").unlink()
    (folder / "told.jsonl").write_text(
        json.dumps({"event": "error", "code": "input", "message": "The set is damaged."}) + "\n"
    )
    watch.look()
    assert told(iface) == ["The training of “fields” failed. The set is damaged."]


@pytest.mark.parametrize(("files", "more"), [([], ""), (["checkpoint.pt"], "; it can go on from its last checkpoint")])
def test_a_power_cut_is_told(watch, write, iface, files, more):
    write("fields", *made.epochs(2), files=files)
    watch.look()
    assert told(iface) == [f"The training of “fields” was interrupted{more}."]


def test_one_that_was_paused_is_not_told(watch, write, iface):
    write("fields", *made.epochs(2), made.stopped(2), files=["checkpoint.pt"])
    watch.look()
    assert told(iface) == []


def test_who_looks_at_it_in_the_dock_is_not_told(watch, write, iface):
    folder = write("fields", *made.epochs(2), made.end())
    watch.watched = lambda: str(folder)
    watch.look()
    assert told(iface) == []


def test_what_was_told_is_not_even_read(watch, write, iface, monkeypatch):
    set_told(write("fields", *made.epochs(2), made.end()))
    monkeypatch.setattr("thematica.ui.training_watch.glance", lambda _: pytest.fail("it was read"))
    watch.look()


def test_a_folder_that_is_gone_or_damaged_is_no_error(watch, write, iface, tmp_path):
    remember_run(tmp_path / "gone")
    folder = write("damaged")
    (folder / "events.jsonl").write_bytes(b"\xff\x00{{\n[]\n")
    (folder / "job.json").write_text("[")
    watch.look()
    assert told(iface) == ["The training of “damaged” was interrupted."]


def test_figures_of_a_thousand_classes_are_read_too(watch, write, iface):
    end = made.end("big")
    end["metrics"] = {**{f"producer's accuracy, class {number}": 0.5 for number in range(5000)}, **made.METRICS}
    write("big", *made.epochs(2), end)
    watch.look()
    assert told(iface) == ["The model “big” is in the store: overall accuracy 0.931."]


def test_it_begins_some_seconds_after_the_start_and_ends(watch):
    assert not watch._begin.isActive()
    assert not watch._timer.isActive()
    watch.start()
    assert watch._begin.isActive()
    assert watch._begin.isSingleShot()
    assert watch._begin.interval() >= 3000
    watch._begin.timeout.emit()
    assert watch._timer.isActive()
    watch.end()
    assert not watch._begin.isActive()
    assert not watch._timer.isActive()
