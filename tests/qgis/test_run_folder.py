"""Where trainings run, and names that are free."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from qgis.core import QgsProject
from qgis.PyQt.QtCore import QStandardPaths

from thematica.plugin.run_folder import (
    folder_for_labels,
    folder_for_set,
    folder_problem,
    free_folder,
    free_model_name,
    is_taken,
    name_problem,
    plain_name,
)
from thematica.plugin.training_set import set_title


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Wälder 2024 (mlp)", "Wälder 2024 (mlp)"),
        ("a/b\\c:d*e", "a_b_c_d_e"),
        (" .. ", "model"),
        ("", "model"),
        ("x" * 70, "x" * 60),
        ("tab\tand\nline", "tab_and_line"),
    ],
)
def test_any_text_gives_a_name_that_the_store_takes(text, name):
    assert plain_name(text) == name
    assert name_problem(plain_name(text)) == ""


@pytest.mark.parametrize("name", ["", ".", "a/b", "a\\b", "a:b", "x" * 61, "line\nbreak"])
def test_a_name_that_the_store_would_not_take_is_told(name):
    assert name_problem(name)


def test_a_name_is_free_beside_models_of_ones_own_and_those_that_come_along(tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path))
    (tmp_path / "mine.onnx").write_bytes(b"")
    (tmp_path / "mine-2.pt2").write_bytes(b"")
    assert free_model_name("mine") == "mine-3"
    assert free_model_name("other") == "other"
    assert free_model_name("eurosat-rgb") == "eurosat-rgb-2"


@pytest.mark.parametrize("name", ["checkpoint.pt", "best.pt", "model.onnx", "training.json", "holidays.jpg"])
def test_a_folder_with_something_in_it_is_left_alone(tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    assert not is_taken(folder)
    (folder / name).write_text("")
    assert is_taken(folder)
    assert folder_problem(str(folder))
    assert free_folder(folder) == tmp_path / "run-2"
    (tmp_path / "run-2").write_text("a file")
    assert free_folder(folder) == tmp_path / "run-3"


def test_what_a_training_left_that_never_began_may_be_used_again(tmp_path):
    for name in ("job.json", "log.txt", "events.jsonl", "recipe.json", "running.lock"):
        (tmp_path / name).write_text("")
    (tmp_path / "training-set").mkdir()
    assert free_folder(tmp_path) == tmp_path
    with (tmp_path / "running.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # One is at work there.
        assert is_taken(tmp_path)


def test_trainings_on_labels_lie_beside_the_project_or_among_the_documents(tmp_path):
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    assert folder_for_labels("a") == Path(documents or Path.home()) / "trainings" / "a"
    QgsProject.instance().setFileName(str(tmp_path / "p.qgz"))
    assert folder_for_labels("a") == tmp_path / "trainings" / "a"
    assert folder_for_set(tmp_path / "set", "a") == tmp_path / "set" / "runs" / "a"


def test_a_set_is_called_by_its_folder_or_by_the_training_that_it_was_made_for(tmp_path):
    assert set_title(tmp_path / "fields") == "fields"
    assert set_title(tmp_path / "fields_training_set") == "fields"
    assert set_title(tmp_path / "cover mlp" / "training-set") == "cover mlp"
