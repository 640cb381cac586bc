"""The dock "Training": which training it shows, in which state, what its buttons do, and what it survives."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest
from qgis.PyQt.QtCore import Qt, QUrl
from qgis.PyQt.QtGui import QColor, QDesktopServices, QGuiApplication, QImage
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QFileDialog, QMessageBox

from thematica.models.store import BUNDLED_FOLDER
from thematica.plugin.training_list import known_runs, remember_run, untold_runs
from thematica.plugin.training_run import TrainingRun
from thematica.ui.training_dock import TrainingDock
from thematica.ui.training_figures import TrainingFigures

from . import training_folders as made
from .driving import LEFT, answer_next_question, click, pick, settle, wait_for
from .test_training_run import SECONDS, dataset, job, runtime  # noqa: F401 - fixtures

PROBLEM = "The loss is not a number any more: try a tenth of it (--set learning_rate=0.05), or clip=1."


@pytest.fixture
def open_dock(iface):
    docks = []

    def make():
        dock = TrainingDock(iface)
        docks.append(dock)
        dock.classified, dock.set_up = [], []
        dock.classify_wanted.connect(dock.classified.append)
        dock.runtime_wanted.connect(lambda: dock.set_up.append(True))
        dock.resize(330, 640)
        dock.show()
        settle()
        return dock

    yield make
    for dock in docks:
        dock.end()
        dock.close()
        dock.deleteLater()
    settle()


@pytest.fixture
def write(tmp_path):
    """``write("name", events…)``: a training's folder that is known."""
    return partial(made.write_known, tmp_path)


def look(dock):
    """What the timer does once a second."""
    dock._look()
    settle()


def shown(dock):
    return [dock.runs.itemText(place) for place in range(dock.runs.count())]


def state(dock):
    return dock.state.text().replace("\u00a0", " ").replace("\u2060", "")


# -- which training --------------------------------------------------------------------------------
def test_without_a_training_it_says_how_to_begin(open_dock):
    dock = open_dock()
    assert dock.guide.isVisible()
    assert "Train…" in dock.guide_text.text()
    assert not dock.body.isVisible()
    assert not dock.runs.isEnabled()
    assert not dock.forget_action.isEnabled()


def test_opened_it_shows_the_newest_training_that_is_at_work(open_dock, write):
    write("old", *made.epochs(2), made.end())
    working = write("working", *made.epochs(3))
    write("newest", *made.epochs(4), made.end())
    with made.at_work(working):
        dock = open_dock()
        assert dock.runs.currentText() == "▶ working · mlp · running"
        assert shown(dock)[0] == "✓ newest · mlp · finished"
        assert state(dock).startswith("▶ Epoch 4 of 40 · 1,234 samples/s · ")
        assert state(dock).endswith(" left · best so far 0.900 (epoch 3)")


def test_without_one_at_work_the_newest_is_shown(open_dock, write):
    write("old", *made.epochs(2), made.end())
    write("newest", *made.epochs(4), made.error(PROBLEM))
    assert open_dock().runs.currentText() == "✗ newest · mlp · failed"


def test_a_training_that_is_asked_for_is_shown_even_while_another_is_at_work(open_dock, write):
    old = write("old", *made.epochs(2), made.end())
    working = write("working", *made.epochs(3))
    with made.at_work(working):
        dock = open_dock()
        dock.hide()
        dock.show_run(str(old))
        dock.show()
        settle()
        assert "old" in dock.runs.currentText()
        dock.hide()
        dock.show()
        settle()
        assert "working" in dock.runs.currentText()


def test_another_training_is_picked_from_the_list(open_dock, write):
    write("old", *made.epochs(2), made.end())
    write("new", *made.epochs(4), made.end())
    dock = open_dock()
    pick(dock.runs, "✓ old · mlp · finished")
    assert state(dock) == "✓ Finished after 2 of 40 epochs · best 0.900 (epoch 2)"
    assert dock.curves.accuracy.picture.best == 2.0


def test_a_training_made_elsewhere_is_opened_from_its_folder(open_dock, tmp_path, monkeypatch):
    folder = made.write_run(tmp_path / "cluster", [made.start(), *made.epochs(2), made.end("")])
    chosen = [str(tmp_path), str(folder)]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: chosen.pop(0))
    dock = open_dock()
    click(dock.open_button)
    assert "no training" in dock.notice.said
    assert known_runs() == []
    click(dock.open_button)
    assert "cluster" in dock.runs.currentText()
    assert known_runs() == [folder]


def test_a_training_is_forgotten_and_its_folder_stays(open_dock, write):
    first, second = write("first", *made.epochs(2), made.end()), write("second", *made.epochs(2), made.end())
    dock = open_dock()
    dock.forget_action.trigger()
    assert known_runs() == [first]
    assert "first" in dock.runs.currentText()
    assert second.is_dir()
    dock.forget_action.trigger()
    assert dock.guide.isVisible()
    assert shown(dock) == []


def test_one_at_work_cannot_be_forgotten(open_dock, write):
    with made.at_work(write("working", *made.epochs(2))):
        assert not open_dock().forget_action.isEnabled()


# -- states ----------------------------------------------------------------------------------------
def test_what_a_training_tells_appears_while_it_is_shown(open_dock, write):
    folder = write("fields")
    with made.at_work(folder):
        dock = open_dock()
        assert state(dock).startswith("▶ Epoch 1 of 40")
        made.say(folder, *made.epochs(10))
        look(dock)
        assert state(dock).startswith("▶ Epoch 11 of 40")
        assert dock.progress.value() == 250
        assert dock.curves.accuracy.picture.best == 10.0
        made.say(folder, made.end())
    look(dock)
    assert state(dock) == "✓ Finished after 10 of 40 epochs · best 0.900 (epoch 10)"
    assert dock.runs.currentText() == "✓ fields · mlp · finished"
    assert not dock.under_way.isVisible()


def test_the_buttons_of_a_training_at_work(open_dock, write):
    folder = write("fields", *made.epochs(2))
    with made.at_work(folder):
        dock = open_dock()
        assert (dock.pause_button.text(), dock.finish_button.text()) == ("&Pause", "&Stop, keep the best")
        for button in (dock.pause_button, dock.finish_button, dock.cancel_button):
            assert button.isVisible()
            assert button.isEnabled()
            assert button.toolTip()
        assert not dock.results.isVisible()
        click(dock.pause_button)
        assert (folder / "stop").exists()
        assert "pausing" in state(dock)
        assert not dock.pause_button.isEnabled()


def test_stop_and_keep_the_best_asks_the_training_to_finish(open_dock, write):
    folder = write("fields", *made.epochs(2))
    with made.at_work(folder):
        dock = open_dock()
        click(dock.finish_button)
        assert (folder / "finish").exists()
        assert "keep the best" in state(dock)


def test_waiting_for_samples_is_told_where_it_costs_time(open_dock, write):
    folder = write("fields", made.epoch(0, 0.5, seconds=60.0, waiting_share=0.23))
    with made.at_work(folder):
        dock = open_dock()
        assert dock.notice.kind == "info"
        assert "23 %" in dock.notice.said
        made.say(folder, made.epoch(1, 0.5, seconds=60.0, waiting_share=0.04))
        look(dock)
        assert dock.notice.said == ""
        made.say(folder, made.epoch(2, 0.5, seconds=0.1, waiting_share=0.5))
        look(dock)
        assert dock.notice.said == ""


def test_a_training_that_failed_says_why_in_words_of_the_dialog_and_shows_its_log(open_dock, write):
    folder = write("fields", *made.epochs(1), made.error(PROBLEM))
    (folder / "log.txt").write_text("Traceback of a library\n")
    dock = open_dock()
    assert dock.notice.kind == "error"
    assert dock.notice.said.startswith("The loss is not a number any more")
    assert "--" not in dock.notice.said
    click(dock.notice.button)
    assert dock.tabs.currentWidget() is dock.log
    assert "Traceback of a library" in dock.log.output.toPlainText()
    assert "--" not in dock.log.events.toPlainText()


def test_a_training_that_was_paused_may_go_on_or_become_a_model(open_dock, write):
    write("fields", *made.epochs(3), made.stopped(3), files=["checkpoint.pt", "best.pt"])
    dock = open_dock()
    assert state(dock) == "◫ Paused after 3 of 40 epochs · best 0.900 (epoch 3)"
    assert (dock.pause_button.text(), dock.finish_button.text()) == ("&Go on", "Keep the &best")
    assert dock.pause_button.isEnabled()
    assert dock.finish_button.isEnabled()
    assert not dock.cancel_button.isVisible()


def test_without_a_runtime_go_on_leads_to_it(open_dock, write, monkeypatch, tmp_path):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(tmp_path / "none"))
    write("fields", *made.epochs(3), made.stopped(3), files=["checkpoint.pt"])
    dock = open_dock()
    click(dock.pause_button)
    assert dock.notice.kind == "error"
    look(dock)
    click(dock.notice.button)
    assert dock.set_up == [True]


def test_one_that_ended_without_a_word_is_told_so(open_dock, write):
    write("fields", *made.epochs(3), files=["checkpoint.pt"])
    dock = open_dock()
    assert dock.notice.kind == "warning"
    assert "without a word" in dock.notice.said
    assert state(dock).startswith("⚠ Interrupted after 3 of 40 epochs")


def test_what_go_on_would_do_after_an_accident_is_told(open_dock, write):
    write("kept", *made.epochs(3), files=["checkpoint.pt"])
    write("lost", *made.epochs(3))
    write("ended", *made.epochs(1), made.stopped(1))
    dock = open_dock()
    for name, sentence in (
        ("kept", "“Go on” continues from its last checkpoint."),
        ("lost", "memory ran out. “Go on” begins it anew."),
        ("ended", "It was ended before there was a checkpoint. “Go on” begins it anew."),
    ):
        pick(dock.runs, f"⚠ {name} · mlp · interrupted")
        assert dock.notice.said.endswith(sentence)
    assert "without a word" not in dock.notice.said


def test_curves_have_all_that_was_told_when_a_training_is_cancelled(open_dock, write):
    folder = write("fields", *made.epochs(3), files=["checkpoint.pt"])
    with made.at_work(folder):
        dock = open_dock()
        made.say(folder, made.epoch(3, 0.95, best=True))
        # The button's own look is the first that sees it.
        dock._do(lambda run: None)
    assert dock.curves.accuracy.picture.best == 4.0


def test_a_training_that_has_just_been_started_is_not_called_interrupted(open_dock, tmp_path):
    folder = tmp_path / "fields"
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({"network": "mlp", "name": "fields"}))
    (folder / "log.txt").touch()
    remember_run(folder)
    dock = open_dock()
    assert dock.notice.said == ""
    assert state(dock).startswith("▷ Starting")
    assert dock.runs.currentText() == "▷ fields · mlp · starting"
    assert not dock.pause_button.isEnabled()


def test_classical_learners_are_told_in_stages(open_dock, tmp_path):
    stages = [made.epoch(number, 0.9, best=True) for number in range(3)]
    events = [made.start(network="random-forest", epochs=10), *stages]
    folder = made.write_run(tmp_path / "forest", events, network="random-forest")
    remember_run(folder)
    with made.at_work(folder):
        assert state(open_dock()).startswith("▶ Stage 4 of 10 · 1,234 samples/s")


# -- what came of it -------------------------------------------------------------------------------
def test_a_finished_model_is_told_with_its_figures(open_dock, write):
    write("fields", *made.epochs(3), made.end("fields-2"))
    dock = open_dock()
    assert dock.notice.kind == "ok"
    assert dock.notice.said == (
        "Overall accuracy 0.931, macro F1 0.920, kappa 0.900, mean IoU 0.850 on the test part. "
        "The model “fields-2” is in the store."
    )


def test_a_model_of_the_store_goes_to_classify_layer(open_dock, write, tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "fields-2.onnx").touch()
    write("fields", *made.epochs(3), made.end("fields-2"), files=["model.onnx"])
    dock = open_dock()
    click(dock.classify_button)
    assert dock.classified == ["fields-2"]


def test_a_model_that_is_not_in_the_store_is_put_there_once(open_dock, write, tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    folder = write("fields", *made.epochs(3), made.end(""))
    shutil.copy(next(BUNDLED_FOLDER.glob("*.onnx")), folder / "model.onnx")
    dock = open_dock()
    assert "not in the store" in dock.notice.said
    click(dock.classify_button)
    click(dock.classify_button)
    assert dock.classified == ["fields", "fields"]
    assert [path.name for path in (tmp_path / "store").glob("*.onnx")] == ["fields.onnx"]


def test_a_model_that_is_gone_cannot_classify(open_dock, write, tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    write("fields", *made.epochs(3), made.end("fields-2"))
    dock = open_dock()
    click(dock.classify_button)
    assert dock.classified == []
    assert "gone" in dock.notice.said


def test_its_figures_are_shown_in_a_window(open_dock, write, iface):
    folder = write("fields", *made.epochs(3), made.end())
    dock = open_dock()
    assert not dock.figures_button.isEnabled()
    (folder / "figures").mkdir()
    for name in ("curves.png", "confusion.png"):
        image = QImage(400, 300, QImage.Format.Format_RGB32)
        image.fill(QColor("#a04060"))
        image.save(str(folder / "figures" / name))
    pick_again(dock)
    click(dock.figures_button)
    window = next(child for child in iface.window.children() if isinstance(child, TrainingFigures))
    assert window.isVisible()
    assert [window.tabs.tabText(place) for place in range(window.tabs.count())] == ["Confusion", "Curves"]
    assert window.tabs.currentWidget().picture.width() == 400
    window.close()


def pick_again(dock):
    dock.show_run(dock.shown_folder())
    settle()


def test_its_folder_is_opened(open_dock, write, monkeypatch):
    folder, opened = write("fields", *made.epochs(3), made.end()), []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    dock = open_dock()
    click(dock.folder_button)
    dock.folder_action.trigger()
    assert opened == 2 * [QUrl.fromLocalFile(str(folder))]


def test_who_has_seen_the_end_need_not_be_told_of_it(open_dock, write):
    folder = write("fields", *made.epochs(3))
    with made.at_work(folder):
        dock = open_dock()
        assert untold_runs() == [folder]
        made.say(folder, made.end())
    look(dock)
    assert untold_runs() == []


# -- the log ---------------------------------------------------------------------------------------
def test_the_log_tells_what_happened_in_words_and_is_copied(open_dock, write):
    folder = write("fields", *made.epochs(2))
    (folder / "told.jsonl").write_text(
        json.dumps({"event": "log", "level": "warning", "message": "No sample of “water”."}) + "\n"
    )
    (folder / "log.txt").write_text("a library says\nsomething\n")
    dock = open_dock()
    QTest.mouseClick(dock.tabs.tabBar(), LEFT, Qt.KeyboardModifier.NoModifier, dock.tabs.tabBar().tabRect(1).center())
    settle()
    told = dock.log.events.toPlainText()
    assert "Training of “mlp” on “/data/fields” begins: 40 epochs." in told
    assert "Epoch 2, the best so far: training loss 0.75, macro F1 0.900, overall accuracy 0.920, 2.5 s." in told
    assert "Checkpoint written" in told
    assert "⚠ No sample of “water”." in told
    assert dock.log.output.toPlainText() == "a library says\nsomething"
    made.say(folder, made.stopped(2))
    look(dock)
    assert dock.log.events.toPlainText().endswith("Stopped in epoch 3, as asked.")
    assert dock.log.events.toPlainText().count("Epoch 2,") == 1
    click(dock.log.copy_button)
    assert QGuiApplication.clipboard().text() == dock.log.text()
    assert "a library says" in dock.log.text()
    assert "Epoch 1" in dock.log.text()


def test_a_log_that_begins_anew_is_shown_anew(open_dock, write):
    folder = write("fields", *made.epochs(5))
    dock = open_dock()
    dock.tabs.setCurrentWidget(dock.log)
    (folder / "events.jsonl").write_text(made.lines([made.start(network="unet")]))
    look(dock)
    assert "Training of “unet”" in dock.log.events.toPlainText()
    assert "Epoch 5" not in dock.log.events.toPlainText()


# -- what it survives ------------------------------------------------------------------------------
def test_half_a_line_is_read_when_it_is_whole(open_dock, write):
    folder = write("fields", *made.epochs(1))
    whole = made.lines([made.epoch(1, 0.95, best=True)])
    with made.at_work(folder):
        dock = open_dock()
        made.say(folder, text=whole[:50])
        look(dock)
        assert "Epoch 2 of 40" in state(dock)
        made.say(folder, text=whole[50:])
        look(dock)
        assert "Epoch 3 of 40" in state(dock)
        assert "0.950 (epoch 2)" in state(dock)


def test_damaged_lines_are_left_out(open_dock, write):
    folder = write("fields", *made.epochs(2))
    damage = ["{", "[1, 2]", "null", '{"event": 7}', '{"event": "epoch"}', '{"event": "step", "epoch": "x"}', "\0" * 40]
    made.say(folder, text="\n".join(damage) + "\n")
    (folder / "events.jsonl").write_bytes((folder / "events.jsonl").read_bytes() + b"\xff\xfe\n")
    made.say(folder, made.epoch(2, 0.95, best=True))
    with made.at_work(folder):
        dock = open_dock()
        dock.tabs.setCurrentWidget(dock.log)
        settle()
        assert "Epoch 4 of 40" in state(dock)
        assert "Epoch 3, the best so far" in dock.log.events.toPlainText()


def test_a_folder_that_vanishes_is_told_and_nothing_can_be_pressed(open_dock, write):
    folder = write("fields", *made.epochs(2))
    with made.at_work(folder):
        dock = open_dock()
        shutil.rmtree(folder)
        look(dock)
    look(dock)
    assert "gone" in dock.notice.said
    assert not dock.controls.isVisible()
    assert not dock.folder_action.isEnabled()
    assert dock.forget_action.isEnabled()
    dock.tabs.setCurrentWidget(dock.log)
    look(dock)
    dock.forget_action.trigger()
    assert dock.guide.isVisible()


def test_a_checkpoint_without_events_is_a_training_that_was_interrupted(open_dock, tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "checkpoint.pt").touch()
    dock = open_dock()
    dock.show_run(str(folder))
    settle()
    assert state(dock).startswith("⚠ Interrupted")
    assert not dock.controls.isVisible()
    dock.grab()


def test_a_training_that_has_told_megabytes_is_read_in_pieces_before_anything_is_said(open_dock, write):
    many = [made.step(0, place, 30_000, 1.0) for place in range(1, 30_001)]
    folder = write("fields", *many, made.epoch(0, 0.9, best=True), made.end())
    assert (folder / "events.jsonl").stat().st_size > 2 << 20
    dock = TrainingDock(None)
    dock.show_run(str(folder))
    assert state(dock) == "Reading what the training has told so far…"
    assert dock.notice.said == ""
    assert dock.runs.currentText() == "✓ fields · mlp · finished"
    wait_for(lambda: state(dock).startswith("✓ Finished after 1"))
    assert len(dock.run.steps) == 30_000
    dock.tabs.setCurrentWidget(dock.log)
    wait_for(lambda: "Finished: overall accuracy" in dock.log.events.toPlainText())
    dock.end()
    dock.deleteLater()


# -- looking ---------------------------------------------------------------------------------------
def test_it_looks_while_it_is_seen_only(open_dock, write):
    write("fields", *made.epochs(2), made.end())
    dock = open_dock()
    assert dock._timer.isActive()
    assert dock._timer.interval() == 1000
    dock.hide()
    settle()
    assert not dock._timer.isActive()
    assert dock.shown_folder() == ""
    dock.show()
    settle()
    assert dock._timer.isActive()
    dock.end()
    assert not dock._timer.isActive()


def test_it_fits_into_a_narrow_dock(open_dock, write):
    write("a training with a long name that says much", *made.epochs(20), made.end())
    dock = open_dock()
    dock.resize(320, 600)
    settle()
    assert dock.width() == 320
    assert dock.scroll.horizontalScrollBar().maximum() == 0
    assert dock.scroll.verticalScrollBar().maximum() == 0
    for button in (dock.classify_button, dock.figures_button, dock.folder_button):
        assert button.width() >= button.fontMetrics().horizontalAdvance(button.text().replace("&", ""))


# -- with the real trainer -------------------------------------------------------------------------
def test_a_real_training_is_paused_goes_on_and_becomes_a_model(open_dock, job, runtime, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("THEMATICA_RUNTIME", str(runtime.python))
    started = TrainingRun.start({**job, "epochs": 100_000}, runtime)
    remember_run(started.folder)
    dock = open_dock()
    try:
        assert "starting" in dock.runs.currentText()

        def until(what):
            wait_for(lambda: (look(dock), what())[1], SECONDS)

        until(lambda: dock.pause_button.isEnabled() and len(dock.run.epochs_done) > 2)
        assert dock.notice.kind in ("", "info")
        click(dock.pause_button)
        until(lambda: dock.run.state == "paused")
        epochs = len(dock.run.epochs_done)
        assert "Paused" in state(dock)
        click(dock.pause_button)
        until(lambda: dock.run.state == "running" and len(dock.run.epochs_done) > epochs)
        assert untold_runs() == [started.folder]
        click(dock.finish_button)
        until(lambda: dock.run.state == "finished")
        assert "“fields” is in the store" in dock.notice.said
        assert dock.figures_button.isEnabled()
        click(dock.classify_button)
        assert dock.classified == ["fields"]
        dock.tabs.setCurrentWidget(dock.log)
        settle()
        assert "Finished: overall accuracy" in dock.log.text()
    finally:
        dock.run.cancel()
        started.cancel()


def test_cancel_asks_and_a_no_changes_nothing(open_dock, job, runtime):  # noqa: F811
    started = TrainingRun.start({**job, "epochs": 100_000}, runtime)
    dock = open_dock()
    dock.show_run(str(started.folder))
    try:
        wait_for(lambda: (look(dock), dock.cancel_button.isEnabled() and dock.run.state == "running")[1], SECONDS)
        said = answer_next_question(QMessageBox.StandardButton.No)
        click(dock.cancel_button)
        assert "keep the best" in said[0]
        assert started.is_alive()
        answer_next_question(QMessageBox.StandardButton.Yes)
        click(dock.cancel_button)
        assert not started.is_alive()
        assert not dock.under_way.isVisible()
        assert known_runs() == [started.folder]
    finally:
        started.cancel()
