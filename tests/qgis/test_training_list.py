"""The list of known trainings: kept in QGIS's settings, newest first."""

from __future__ import annotations

import pytest
from qgis.core import QgsSettings

from thematica.plugin.training_list import forget_run, known_runs, remember_run, set_told, untold_runs


@pytest.fixture
def folders(tmp_path):
    made = [tmp_path / f"run {number}" for number in range(3)]
    for folder in made:
        folder.mkdir()
    return made


def test_there_is_none_at_first():
    assert known_runs() == untold_runs() == []


@pytest.mark.parametrize("count", [1, 3])
def test_the_newest_comes_first_and_one_alone_is_a_list_too(folders, count):
    for folder in folders[:count]:
        remember_run(folder)
    QgsSettings().sync()
    assert known_runs() == folders[:count][::-1]


def test_one_that_begins_again_comes_first_and_once(folders):
    for folder in (*folders, str(folders[0])):
        remember_run(folder)
    assert known_runs() == [folders[0], folders[2], folders[1]]


def test_one_whose_folder_is_gone_is_left_out_until_it_is_there_again(folders):
    for folder in folders:
        remember_run(folder)
    folders[1].rmdir()
    assert known_runs() == [folders[2], folders[0]]
    folders[1].mkdir()
    assert folders[1] in known_runs()


def test_a_file_is_no_training(tmp_path):
    (tmp_path / "file").write_text("")
    remember_run(tmp_path / "file")
    assert known_runs() == []


def test_one_that_is_forgotten_leaves_its_folder(folders):
    for folder in folders:
        remember_run(folder)
    forget_run(str(folders[1]))
    assert known_runs() == [folders[2], folders[0]]
    assert folders[1].is_dir()


def test_the_fifty_newest_are_kept(tmp_path):
    for number in range(60):
        (tmp_path / str(number)).mkdir()
        remember_run(tmp_path / str(number))
    assert [run.name for run in known_runs()] == [str(number) for number in range(59, 9, -1)]


def test_an_end_is_told_once_and_again_when_the_training_went_on(folders):
    for folder in folders:
        remember_run(folder)
    set_told(folders[1])
    set_told(folders[1])
    assert untold_runs() == [folders[2], folders[0]]
    remember_run(folders[1])
    assert untold_runs() == [folders[1], folders[2], folders[0]]


@pytest.mark.parametrize("damage", [7, {"a": 1}, [3, None, ""], ""])
def test_settings_that_say_something_else_say_nothing(damage):
    QgsSettings().setValue("thematica/training/runs", damage)
    assert known_runs() == []
