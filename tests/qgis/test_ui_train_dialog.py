"""The dialog "Train", by clicks and keys; trainings are real and tiny, in the checkout's own runtime."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from qgis.core import QgsProject
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QAbstractButton, QLabel, QMenu

from thematica.models.trainable import NETWORKS
from thematica.plugin.recipes import DEFAULTS
from thematica.plugin.training_list import known_runs
from thematica.plugin.training_run import TrainingRun
from thematica.plugin.training_set import known_sets
from thematica.trainer.recipe import Recipe

from .driving import WAITS, click, pick, settle, wait_for
from .test_build_dataset import add, image, labels  # noqa: F401 - fixtures

CLASSES = {"Water": "#2c6fbb", "Forest": "#2e8b3d"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def real(real_runtime, monkeypatch):
    monkeypatch.setenv("THEMATICA_RUNTIME", str(real_runtime))


@pytest.fixture
def make_set(tmp_path):
    """``make_set(kind=…)``: the folder of a training set that has a description and nothing else."""

    def make(name="my set", *, kind="pixels", task="single-label", side=1, samples=(60, 20, 20), split=None, **more):
        folder = tmp_path / name
        folder.mkdir()
        parts = dict(zip(("train", "validation", "test"), samples, strict=True))
        counts = {part: number // len(CLASSES) for part, number in parts.items()}
        content = {
            "thematica_dataset": 1,
            "kind": kind,
            "task": task,
            "shape": [2] if side == 1 else [2, side, side],
            "bands": [{"name": "B3", "common_name": "green"}, {"name": "B4"}],
            "classes": [{"code": 1, "name": n, "color": c, "samples": counts} for n, c in CLASSES.items()],
            "split": split or {"method": "blocks", "block": {"pixels": 16, "metres": 160.0}, "optimistic": False},
            "shards": {part: [{"file": "x", "samples": number}] for part, number in parts.items() if number},
            "findings": ["Two polygons lie outside.", "Too few groups: a smaller --block or another --seed may help."],
            **more,
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        return folder

    return make


@pytest.fixture
def open_train(iface, tmp_path, store, monkeypatch):
    from thematica.ui.train_dialog import TrainDialog

    # A project that is saved: trainings from labels lie beside it.
    QgsProject.instance().setFileName(str(tmp_path / "project.qgz"))
    dialogs = []

    def make():
        dialog = TrainDialog(iface)
        dialog.begun = []
        dialog.started.connect(dialog.begun.append)
        dialog.show()
        dialogs.append(dialog)
        settle()
        return dialog

    yield make
    for dialog in dialogs:
        if dialog.current_run is not None and dialog.current_run.is_running:
            dialog.current_run.cancel()
            wait_for(lambda dialog=dialog: not dialog.current_run.is_running)
        for folder in dialog.begun:
            TrainingRun(Path(folder)).cancel()
        dialog.end()
        dialog.close()
        dialog.deleteLater()


@pytest.fixture
def starts(monkeypatch):
    """Jobs that trainings were started with; none is started."""
    jobs = []

    class Started:
        state, epochs_done, problem = "running", (), ""

        def look(self):
            return False

        def is_alive(self):
            return False

    def start(job, runtime=None):
        jobs.append(dict(job))
        return Started()

    monkeypatch.setattr(TrainingRun, "start", start)
    return jobs


@pytest.fixture
def on_set(open_train, make_set, real):
    """``on_set(…)``: the dialog, with such a set chosen; its folder is ``dialog.set_folder``."""

    def make(*arguments, **options):
        folder = make_set(*arguments, **options)
        dialog = open_train()
        dialog.choose_dataset(str(folder))
        dialog.set_folder = folder
        settle()
        return dialog

    return make


def write(widget, text):
    widget.setFocus()
    widget.selectAll()
    QTest.keyClicks(widget, text)
    QTest.keyClick(widget, Qt.Key.Key_Tab)
    settle()


def finish(dialog):
    """Wait for the training that was started last."""
    run = TrainingRun(Path(dialog.begun[-1]))
    wait_for(lambda: (run.look(), run.state in ("finished", "failed"))[1], seconds=120)
    return run


# -- real trainings ---------------------------------------------------------------------------------


def test_labels_become_a_model_in_the_store(open_train, image, labels, store, real, tmp_path):  # noqa: F811
    dialog = open_train()
    dialog.choose(labels, [image])
    settle()
    assert dialog.source.sources.field.currentField() == "cover"
    assert dialog.network.current().name == "random-forest"
    dialog.source.choices.block.setValue(100)
    dialog.source.choices.buffer.setValue(0)
    write(dialog.name, "water and wood")
    write(dialog.epochs, "2")
    click(dialog.train_button)
    assert dialog.progress.isVisible()
    assert not dialog.train_button.isEnabled()
    wait_for(lambda: dialog.begun, seconds=60)
    folder = tmp_path / "trainings" / "water and wood"
    assert dialog.begun == [str(folder)]
    assert known_runs() == [folder]
    assert known_sets() == [folder / "training-set"]
    assert "“water and wood” has begun" in dialog.notice.said
    run = finish(dialog)
    assert (run.state, run.stored) == ("finished", "water and wood"), run.log_tail()
    assert run.metrics["overall accuracy"] == 1.0
    assert (store / "water and wood.onnx").is_file()
    # The dialog is ready for the next one, which takes neither the folder nor the name of this one.
    dialog.network.choose("mlp")
    settle()
    assert dialog.train_button.isEnabled()
    assert dialog.folder.filePath() == f"{folder}-2"
    assert "“water and wood-2”" in dialog.store_note.text()


def test_what_the_trainer_refuses_is_said_here_too(open_train, image, labels, real):  # noqa: F811
    dialog = open_train()
    dialog.choose(labels, [image])
    dialog.source.choices.block.setValue(100)
    dialog.source.choices.buffer.setValue(0)
    write(dialog.recipe.more, "network_options.leaves=3")
    click(dialog.train_button)
    wait_for(lambda: dialog.begun, seconds=60)
    wait_for(lambda: dialog.notice.kind == "error", seconds=60)
    assert "no option “leaves”" in dialog.notice.said
    # Nothing was learned, so it may be tried again in the same folder; and nothing that was given is lost.
    assert dialog.folder.filePath() == dialog.begun[0]
    assert dialog.recipe.more.text() == "network_options.leaves=3"
    dialog.recipe.reset()
    settle()
    dialog.source.choices.seed.setValue(7)
    click(dialog.train_button)
    wait_for(lambda: len(dialog.begun) == 2, seconds=60)
    assert dialog.begun[1] == dialog.begun[0]
    assert finish(dialog).state == "finished"


# -- the training set -------------------------------------------------------------------------------


def test_what_a_set_holds_is_shown_and_it_is_known_from_then_on(on_set, open_train):
    dialog = on_set()
    said = dialog.source.sets.facts.toPlainText()
    for words in ("Single pixels", "2: green, B4", "whole blocks of ground of 160 m", "Water", "Two polygons"):
        assert words in said
    assert "a smaller “Block” or another “Seed” may help" in said
    assert dialog.source.sets.notice.kind == ""
    again = open_train()
    assert again.source.is_set()
    assert again.source.sets.folder() == str(dialog.set_folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": (0, 20, 20)}, "no samples in its train part"),
        ({"samples": (60, 0, 20)}, "no samples in its validation part"),
        (
            {"classes": [{"code": 1, "name": "Water", "color": "#2c6fbb", "samples": {"train": 60}}]},
            "“Water” is the only class",
        ),
    ],
)
def test_a_set_from_which_nothing_can_be_learned_is_told(on_set, options, words):
    dialog = on_set(**options)
    assert dialog.source.sets.notice.kind == "error"
    assert words in dialog.source.sets.notice.said
    assert not dialog.train_button.isEnabled()
    assert words in dialog.train_button.toolTip()


def test_a_folder_that_is_no_set_and_a_damaged_one_are_told(open_train, tmp_path, real):
    dialog = open_train()
    dialog.choose_dataset(str(tmp_path))
    assert "choose the folder that holds a dataset.json" in dialog.source.sets.notice.said
    for content in ("{", "[]", '{"thematica_dataset": 2}', '{"thematica_dataset": 1, "kind": "pixels"}'):
        (tmp_path / "dataset.json").write_text(content)
        dialog.choose_dataset(str(tmp_path))
        assert "make" in dialog.source.sets.notice.said
        assert "anew" in dialog.source.sets.notice.said
        assert not dialog.train_button.isEnabled()


def test_a_set_that_was_made_anew_is_read_again(on_set, make_set):
    dialog = on_set()
    (Path(dialog.source.sets.folder()) / "dataset.json").write_text(
        (make_set("other", kind="windows", side=9) / "dataset.json").read_text()
    )
    dialog.close()
    dialog.show()
    settle()
    assert "9 × 9" in dialog.source.sets.facts.toPlainText()
    assert dialog.network.buttons["cnn3d"].isEnabled()


def test_a_set_that_is_gone_is_told_and_its_folder_does_not_come_back(on_set, starts):
    dialog = on_set()
    folder = Path(dialog.source.sets.folder())
    shutil.rmtree(folder)
    click(dialog.train_button)
    assert "is no training set" in dialog.source.sets.notice.said
    assert not dialog.train_button.isEnabled()
    assert not folder.exists()
    assert starts == []


def test_a_refusal_is_forgotten_once_something_else_is_given(on_set, make_set):
    dialog = on_set()
    click(dialog.network.buttons["mlp"])
    dialog.recipe.learning_rate.setText("abc")
    click(dialog.train_button)
    assert "abc" in dialog.notice.said
    dialog.recipe.learning_rate.setText("0.01")
    assert dialog.notice.said == ""
    dialog.folder.setFilePath("/dev/null/x")
    click(dialog.train_button)
    assert "cannot be made" in dialog.notice.said
    QTest.keyClick(dialog.folder.lineEdit(), Qt.Key.Key_Backspace)
    assert dialog.notice.said == ""


def test_an_optimistic_split_and_a_lacking_test_part_are_warned_of(on_set):
    split = {"method": "random", "optimistic": True, "why": "Neighbours are in both parts."}
    dialog = on_set(samples=(60, 20, 0), split=split)
    said = dialog.source.sets.notice.said
    assert "expect worse results on a map. Neighbours are in both parts." in said
    assert "no test part" in said
    assert dialog.train_button.isEnabled()
    # There is nothing to compare a random split with.
    assert not dialog.report_optimism.isEnabled()


# -- the network ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "proposed", "fitting"),
    [
        ({}, "random-forest", {"random-forest", "gradient-boosting", "svm", "mlp"}),
        ({"kind": "windows", "side": 5}, "small-resnet", {"small-resnet", "cnn3d"}),
        ({"kind": "chips", "task": "segmentation", "side": 32}, "unet", {"unet"}),
        ({"kind": "patches", "side": 64}, "small-resnet", {"small-resnet", "resnet50"}),
        ({"kind": "patches", "task": "multi-label", "side": 64}, "small-resnet", {"small-resnet", "resnet50"}),
    ],
)
def test_networks_that_learn_from_the_set_can_be_chosen_and_one_is_proposed(on_set, options, proposed, fitting):
    dialog = on_set(**options)
    enabled = {name for name, button in dialog.network.buttons.items() if button.isEnabled()}
    assert fitting <= enabled
    kind, task = options.get("kind", "pixels"), options.get("task", "single-label")
    assert enabled == {name for name, entry in NETWORKS.items() if entry.learns(kind, task)}
    assert dialog.network.current().name == proposed
    for name in set(NETWORKS) - enabled:
        assert dialog.network.sentences[name].text().startswith("Learns ")


def test_a_network_that_was_chosen_is_kept_where_it_fits(on_set, make_set):
    dialog = on_set()
    click(dialog.network.buttons["svm"])
    dialog.choose_dataset(str(make_set("another")))
    assert dialog.network.current().name == "svm"
    dialog.choose_dataset(str(make_set("chips", kind="chips", task="segmentation", side=32)))
    assert dialog.network.current().name == "unet"


def test_arrow_keys_choose_a_network_too(on_set):
    dialog = on_set()
    dialog.network.buttons["random-forest"].setFocus()
    QTest.keyClick(dialog.network.buttons["random-forest"], Qt.Key.Key_Down)
    settle()
    assert dialog.network.current().name == "gradient-boosting"
    assert dialog.network.by_hand


def test_a_click_on_its_sentence_chooses_a_network(on_set):
    dialog = on_set()
    QTest.mouseClick(dialog.network.sentences["mlp"], Qt.MouseButton.LeftButton)
    settle()
    assert dialog.network.current().name == "mlp"
    assert dialog.name.text() == "my set mlp"


def test_labels_are_cut_as_the_network_needs_them(open_train, image, labels, runtime, starts):  # noqa: F811
    runtime(BUILDS)
    dialog = open_train()
    dialog.choose(labels, [image])
    settle()
    assert not dialog.source.choices.kind.isVisible()
    seen = {}
    for name in ("random-forest", "cnn3d", "unet"):
        click(dialog.network.buttons[name])
        click(dialog.train_button)
        wait_for(lambda: not dialog.current_run.is_running)
        settle()
        job = runtime.job()
        seen[name] = (job["kind"], job.get("size"))
        assert job["output"] == str(Path(dialog.folder.filePath()) / "training-set")
    assert seen == {"random-forest": ("pixels", None), "cnn3d": ("windows", 9), "unet": ("chips", 128)}
    assert not dialog.network.buttons["resnet50"].isEnabled()


def test_a_folder_of_patches_is_learned_from_as_its_layout_says(open_train, runtime, starts, tmp_path, real_runtime):
    runtime(BUILDS.replace('job["kind"]', '"patches"').replace('"pixels": ([2]', '"patches": ([2, 64, 64]'))
    dialog = open_train()
    dialog.source.tabs.setCurrentWidget(dialog.source.sources.folder_tab)
    settle()
    assert not dialog.train_button.isEnabled()
    assert "folder of patches" in dialog.train_button.toolTip()
    dialog.source.sources.folder.setFilePath(str(tmp_path / "EuroSAT.zip"))
    settle()
    enabled = {name for name, button in dialog.network.buttons.items() if button.isEnabled()}
    assert enabled == {name for name, entry in NETWORKS.items() if "patches" in entry.kinds}
    assert dialog.name.text() == "EuroSAT small-resnet"
    click(dialog.train_button)
    wait_for(lambda: not dialog.current_run.is_running)
    job = runtime.job()
    assert (job["folder"], job["layout"]) == (str(tmp_path / "EuroSAT.zip"), "eurosat")
    assert "kind" not in job
    # Several labels have other losses.
    pick(dialog.source.sources.layout_kind, "BigEarthNet (version 1)")
    losses = [dialog.recipe.loss.itemText(i) for i in range(dialog.recipe.loss.count())]
    assert losses == ["Binary cross-entropy", "Mean squared error", "Focal"]


# A worker that makes a set whose description has one class only, and notes its job.
BUILDS = """
json.dump(job, open(os.environ["THEMATICA_SEEN_JOB"], "w"))
os.makedirs(job["output"], exist_ok=True)
path = os.path.join(job["output"], "dataset.json")
classes = [{"code": 1, "name": "Water", "color": "#2c6fbb", "samples": {"train": 9, "validation": 3, "test": 3}}]
shape, task = {"pixels": ([2], "single-label"), "windows": ([2, 9, 9], "single-label"),
               "chips": ([2, 128, 128], "segmentation")}[job["kind"]]
shards = {part: [{"file": "x", "samples": 9}] for part in ("train", "validation", "test")}
json.dump({"thematica_dataset": 1, "kind": job["kind"], "task": task, "shape": shape, "bands": [{"name": "1"}] * 2,
           "classes": classes, "split": {}, "shards": shards, "findings": []}, open(path, "w"))
say(event="result", report={"classes": classes}, files={"dataset": path})
"""


def test_labels_of_one_class_are_refused_once_that_is_seen_and_nothing_begins(
    open_train,
    image,  # noqa: F811
    labels,  # noqa: F811
    runtime,
    starts,
):
    runtime(BUILDS)
    dialog = open_train()
    dialog.choose(labels, [image])
    settle()
    click(dialog.train_button)
    wait_for(lambda: not dialog.current_run.is_running)
    settle()
    assert dialog.notice.kind == "error"
    assert "“Water” is the only class" in dialog.notice.said
    assert starts == []
    assert dialog.train_button.isEnabled()


def test_making_the_set_can_be_cancelled(open_train, image, labels, runtime, starts):  # noqa: F811
    runtime(WAITS)
    dialog = open_train()
    dialog.choose(labels, [image])
    settle()
    click(dialog.train_button)
    wait_for(lambda: dialog.progress.value() == 250)
    click(dialog.cancel_button)
    wait_for(lambda: not dialog.current_run.is_running)
    settle()
    assert "Cancelled" in dialog.notice.said
    assert starts == []
    assert dialog.train_button.isEnabled()


def test_chips_that_cannot_be_halved_are_refused_before_they_are_cut(open_train, image, labels, real, starts):  # noqa: F811
    dialog = open_train()
    dialog.choose(labels, [image])
    settle()
    click(dialog.network.buttons["unet"])
    dialog.source.choices.size.setValue(100)
    click(dialog.train_button)
    assert "multiple of 8" in dialog.notice.said
    assert dialog.current_run is None


# -- name, folder, recipe ---------------------------------------------------------------------------


def test_only_what_was_changed_is_in_the_job(on_set, starts):
    dialog = on_set()
    click(dialog.network.buttons["mlp"])
    click(dialog.train_button)
    (job,) = starts
    folder = dialog.set_folder / "runs" / "my set mlp"
    assert job == {
        "dataset": str(dialog.set_folder),
        "network": "mlp",
        "output": str(folder),
        "name": "my set mlp",
        "store": True,
        "set": [],
    }
    assert dialog.begun == [str(folder)]
    assert known_runs() == [folder]


def test_what_is_changed_under_advanced_becomes_changes_of_the_recipe(on_set, starts, tmp_path):
    weights = tmp_path / "best.pt"
    weights.write_bytes(b"")
    dialog = on_set()
    click(dialog.network.buttons["mlp"])
    dialog.advanced_group.setCollapsed(False)
    settle()
    form = dialog.recipe
    write(form.learning_rate, "0,02")
    write(form.batch, "16")
    pick(form.loss, "Focal")
    pick(form.optimizer, "LARS")
    pick(form.precision, "half (bf16)")
    write(form.patience, "5")
    write(form.seed, "11")
    click(form.class_weights)
    form.weights.setFilePath(str(weights))
    write(form.freeze, "all-but-last")
    write(form.more, "network_options.dropout=0.3; clip = 1")
    write(dialog.epochs, "3")
    click(dialog.report_optimism)
    assert dialog.advanced_group.title() == "Advanced (12 changed)"
    assert form.batch_label.font().bold()
    click(dialog.train_button)
    (job,) = starts
    assert job["set"] == [
        "learning_rate=0.02",
        "batch=16",
        "patience=5",
        'loss="focal"',
        'optimizer="lars"',
        'precision="bf16"',
        "seed=11",
        "class_weights=false",
        "network_options.dropout=0.3",
        "clip = 1",
    ]
    assert (job["weights"], job["freeze"]) == (str(weights), "all-but-last")
    assert (job["epochs"], job["report_optimism"]) == (3, True)
    assert "recipe" not in job
    # Another network and back: nothing is lost, until it is reset.
    click(dialog.network.buttons["svm"])
    assert not form.batch.isVisible()
    assert not dialog.epochs.isEnabled()
    click(dialog.network.buttons["mlp"])
    assert form.batch.value() == 16
    assert form.more.text().startswith("network_options")
    click(form.reset_button)
    own = form.current().entries
    assert (form.batch.value(), form.learning_rate.text()) == (own["batch"], str(own["learning_rate"]))
    assert form.more.text() == ""
    assert not form.batch_label.font().bold()
    assert dialog.advanced_group.title() == "Advanced"
    assert not form.reset_button.isEnabled()


def test_what_a_recipe_leaves_out_has_the_trainers_default():
    recipe = Recipe("mlp").to_dict()
    assert {name: recipe[name] for name in DEFAULTS} == DEFAULTS


def test_recipes_that_fit_are_offered_and_one_of_ones_own(on_set, starts, tmp_path):
    dialog = on_set(kind="windows", side=5)
    click(dialog.network.buttons["cnn3d"])
    dialog.advanced_group.setCollapsed(False)
    settle()
    titles = [dialog.recipe.recipe.itemText(i) for i in range(dialog.recipe.recipe.count())]
    assert titles[0] == "3D convolutional network for hyperspectral windows"
    pick(dialog.recipe.recipe, titles[1])
    assert dialog.recipe.learning_rate.text() == "1"
    assert dialog.epochs.text() == "600, as the recipe says"
    click(dialog.train_button)
    assert starts[-1]["recipe"] == "cnn3d-paper"
    own = tmp_path / "ours.json"
    own.write_text(json.dumps({"network": "cnn3d", "title": "Ours", "epochs": 7, "precision": "fp8"}))
    dialog.recipe.choose_file(str(own))
    settle()
    assert dialog.recipe.recipe.currentText() == "Ours"
    assert dialog.epochs.text() == "7, as the recipe says"
    click(dialog.train_button)
    assert (starts[-1]["recipe"], starts[-1]["set"]) == (str(own), [])
    # Of other samples than these: crops would move the pixel that a window is of.
    click(dialog.network.buttons["small-resnet"])
    assert [dialog.recipe.recipe.itemData(i).name for i in range(dialog.recipe.recipe.count())] == [
        "small-resnet-windows"
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[]", "names no network"),
        ('{"network": "unet"}', "for the network “unet”"),
        ('{"network": "random-forest", "seed": 4294967296}', "its “seed” cannot be 4294967296"),
        ('{"network": "random-forest", "network_options": []}', "“network_options” must be an object"),
        ('{"network": "random-forest", "epochs": "many"}', 'its “epochs” cannot be "many"'),
    ],
)
def test_a_broken_recipe_is_told_and_the_one_before_stays(on_set, tmp_path, content, words):
    dialog = on_set()
    (tmp_path / "recipe.json").write_text(content)
    dialog.recipe.choose_file(str(tmp_path / "recipe.json"))
    settle()
    assert dialog.notice.kind == "error"
    assert words in dialog.notice.said
    assert dialog.recipe.current().name == "random-forest"


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("learning_rate", "fast", "“fast” is no number"),
        ("learning_rate", "-1", "“-1” is no number"),
        ("more", "dropout", "changes nothing"),
        ("weights", "/nowhere/best.pt", "no file “/nowhere/best.pt”"),
    ],
)
def test_what_cannot_be_is_said_before_anything_begins(on_set, starts, field, text, words):
    dialog = on_set()
    click(dialog.network.buttons["mlp"])
    widget = getattr(dialog.recipe, field)
    if field == "weights":
        widget.setFilePath(text)
    else:
        widget.setText(text)
    settle()
    click(dialog.train_button)
    assert dialog.notice.kind == "error"
    assert words in dialog.notice.said
    assert starts == []


def test_a_name_that_is_taken_gets_a_number_and_no_name_is_told(on_set, starts, store):
    store.mkdir()
    (store / "my cover.onnx").write_bytes(b"")
    dialog = on_set()
    write(dialog.name, "my cover")
    assert "“my cover-2”" in dialog.store_note.text()
    click(dialog.train_button)
    assert starts[-1]["name"] == "my cover-2"
    for name, words in (("", "a name"), ("a/b", "letters")):
        dialog.name.setText(name)
        settle()
        assert words in dialog.store_note.text()
        assert not dialog.train_button.isEnabled()


def test_a_finished_training_is_never_replaced(on_set, starts):
    dialog = on_set()
    taken = dialog.set_folder / "runs" / "my set random-forest"
    taken.mkdir(parents=True)
    (taken / "training.json").write_text("{}")
    dialog.name.textChanged.emit("")
    settle()
    assert dialog.folder.filePath() == f"{taken}-2"
    dialog.folder.setFilePath(str(taken))
    settle()
    click(dialog.train_button)
    assert "holds a training or other files" in dialog.notice.said
    assert starts == []
    click(dialog.notice.button)
    assert dialog.folder.filePath() == f"{taken}-2"
    click(dialog.train_button)
    assert starts[-1]["output"] == f"{taken}-2"


def test_a_folder_that_cannot_be_made_is_told(on_set, starts, tmp_path):
    (tmp_path / "file").write_text("")
    dialog = on_set()
    dialog.folder.setFilePath(str(tmp_path / "file" / "run"))
    settle()
    click(dialog.train_button)
    assert "cannot be made" in dialog.notice.said
    assert starts == []


def test_a_recipe_of_ones_own_is_taken_as_it_is_written(on_set, starts, tmp_path):
    dialog = on_set()
    click(dialog.network.buttons["mlp"])
    own = {"learning_rate": 0.12345678901234567, "batch": 2000000, "loss": "ours", "patience": 3, "weights": "best.pt"}
    (tmp_path / "ours.json").write_text(json.dumps({"network": "mlp", **own}))
    dialog.recipe.choose_file(str(tmp_path / "ours.json"))
    settle()
    assert dialog.recipe.count_of_changes() == 0
    click(dialog.train_button)
    # Whether there is such a loss, the trainer says.
    assert (starts[-1]["recipe"], starts[-1]["set"]) == (str(tmp_path / "ours.json"), [])
    dialog.recipe.weights.setFilePath("")
    settle()
    click(dialog.train_button)
    assert starts[-1]["set"] == ['weights=""']


# -- runtime and Horovod ----------------------------------------------------------------------------


def test_without_runtime_or_torch_a_button_leads_to_the_runtime(on_set, monkeypatch, tmp_path):
    dialog = on_set()
    wanted = []
    dialog.runtime_wanted.connect(lambda: wanted.append(True))
    monkeypatch.setenv("THEMATICA_RUNTIME", str(tmp_path / "gone"))
    dialog.check_runtime()
    assert not dialog.train_button.isEnabled()
    click(dialog.runtime_notice.button)
    assert wanted == [True]
    bare = tmp_path / "bare" / "bin"
    bare.mkdir(parents=True)
    (bare.parent / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    (bare.parent / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (bare / "python").write_text("")
    monkeypatch.setenv("THEMATICA_RUNTIME", str(bare.parent))
    dialog.check_runtime()
    assert "needs PyTorch and skl2onnx" in dialog.runtime_notice.said
    assert not dialog.train_button.isEnabled()


def test_several_processes_are_offered_where_there_is_horovod(on_set, starts, monkeypatch):
    from thematica.ui import train_dialog

    problem = []
    monkeypatch.setattr(train_dialog, "horovod_problem", lambda runtime: "".join(problem))
    dialog = on_set()
    # What scikit-learn trains takes all cores anyway.
    assert not dialog.processes.isEnabled()
    click(dialog.network.buttons["mlp"])
    assert dialog.processes.isEnabled()
    dialog.processes.setValue(2)
    click(dialog.train_button)
    assert starts[-1]["processes"] == 2
    problem.append("Horovod cannot be installed on Windows.")
    dialog.check_runtime()
    assert not dialog.processes.isEnabled()
    assert dialog.processes_note.text() == problem[0]
    click(dialog.train_button)
    assert "processes" not in starts[-1]


# -- the window -------------------------------------------------------------------------------------


def mnemonics(dialog):
    """Visible texts with a mnemonic, by its letter."""
    found = {}
    for widget in [*dialog.findChildren(QLabel), *dialog.findChildren(QAbstractButton)]:
        letter = re.search("&([A-Za-z])", widget.text()) if not isinstance(widget, QMenu) else None
        if letter and widget.isVisible():
            found.setdefault(letter.group(1).lower(), []).append(widget)
    return found


def test_no_mnemonic_of_the_dialog_has_two_meanings(on_set, image, labels):  # noqa: F811
    dialog = on_set()
    dialog.advanced_group.setCollapsed(False)
    own = {dialog.name_label, dialog.epochs_label, dialog.train_button, dialog.folder_label, dialog.report_optimism}
    own |= {dialog.recipe.class_weights, dialog.source.sets.sets_label, dialog.source.sets.open_button}

    def check():
        settle()
        for letter, widgets in mnemonics(dialog).items():
            if own & set(widgets):
                assert len(widgets) == 1, (letter, [widget.text() for widget in widgets])

    check()
    click(dialog.network.buttons["mlp"])
    check()
    dialog.choose(labels, [image])
    check()


def test_what_stands_side_by_side_stands_one_above_the_other_in_a_narrow_window(on_set):
    dialog = on_set()

    def places():
        settle()
        return [part.mapTo(dialog.content, QPoint(0, 0)) for part in (dialog.source, dialog.network_group)]

    dialog.resize(1400, 760)
    source, network = places()
    assert (source.x() < network.x(), source.y() == network.y()) == (True, True)
    dialog.resize(dialog.minimumSizeHint().width(), 760)
    source, network = places()
    assert (source.x() == network.x(), source.y() < network.y()) == (True, True)


def test_nothing_is_cut_off_at_the_least_width(on_set):
    dialog = on_set()
    dialog.advanced_group.setCollapsed(False)
    click(dialog.network.buttons["mlp"])
    dialog.resize(dialog.minimumSizeHint())
    settle()
    assert dialog.content.width() <= dialog.scroll.viewport().width()
    # This font is wider than most.
    assert dialog.minimumSizeHint().width() <= 960
    for widget in dialog.findChildren(QLabel):
        if widget.isVisible() and not widget.wordWrap() and widget.text():
            assert widget.width() >= widget.sizeHint().width(), widget.text()
