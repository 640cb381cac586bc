"""A build that is killed, cancelled or runs out of disk goes on and gives what it would have given anyway."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from thematica.errors import Cancelled, InputError, OutputError
from thematica.progress import Monitor
from thematica.trainer.dataset import build as building
from thematica.trainer.dataset import survey, write
from thematica.trainer.dataset.build import build_dataset
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.dataset.work import Work

from . import killed
from .scenes import fields_scene

PACKAGES = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    for module, name in (
        (building, "_CHUNK_BYTES"),
        (survey, "_WINDOW_BYTES"),
        (survey, "_SECONDS_BETWEEN_CHECKPOINTS"),
        (write, "SHARD_BYTES"),
        (write, "BUFFER_BYTES"),
        (write, "SECONDS_BETWEEN_CHECKPOINTS"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    killed.small_parts()
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def build(folder, kind="pixels", monitor=None, **others):
    return build_dataset(folder, killed.scenes(), killed.options(kind, **others), monitor or Monitor())


def content(folder):
    """All bytes of the set, without the time at which it was made."""
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    told = json.loads(found["dataset.json"])
    del told["created"]
    return {**found, "dataset.json": told}


def run(folder, kind, where, number):
    code = [sys.executable, "-m", "thematica.tests.trainer.dataset.killed", str(folder), kind, where, str(number)]
    return subprocess.run(code, cwd=PACKAGES, check=False, capture_output=True, text=True).returncode


@pytest.mark.parametrize(
    ("kind", "where", "number"),
    [
        ("pixels", "save", 35),
        ("windows", "save", 35),
        ("chips", "save", 35),
        # More than there are between two checkpoints; fewer than in the whole run.
        ("pixels", "write", 90),
        ("windows", "write", 600),
        ("chips", "write", 90),
    ],
)
def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path, kind, where, number):
    build(tmp_path / "whole", kind)
    deaths = 0
    while run(tmp_path / "set", kind, where, number) == -signal.SIGKILL:
        deaths += 1
        assert not (tmp_path / "set").exists()
        assert deaths < 30
    assert deaths >= 1
    assert content(tmp_path / "set") == content(tmp_path / "whole")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["set", "whole"]


@pytest.mark.parametrize("number", [1, 2])
def test_killed_while_one_set_replaces_another_one_of_them_is_there_in_the_end(tmp_path, number):
    folder = tmp_path / "set"
    build_dataset(folder, [fields_scene(seed=9)], killed.options("pixels"), Monitor())
    before = content(folder)
    script = (
        "from thematica.tests.trainer.dataset import killed\n"
        "from dataclasses import replace\n"
        "own = killed.options\n"
        "killed.options = lambda kind: own(kind, overwrite=True)\n"
        f"killed.main({str(folder)!r}, 'pixels', 'rename', {number})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PACKAGES, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Whoever looks next finds the old one in place, and finishes the new one.
    with pytest.raises(InputError, match="--overwrite"):
        build(folder)
    assert content(folder) == before
    build(folder, overwrite=True)
    build(tmp_path / "whole")
    assert content(folder) == content(tmp_path / "whole")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["set", "whole"]


@contextmanager
def largest_file(size):
    """No file can grow beyond this: as a full disk, it stops a write in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["pixels", "windows", "chips"])
# The survey's files, the working files, the shards, the journal.
@pytest.mark.parametrize("size", [500, 4_000, 9_000, 17_000])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, kind, size):
    with largest_file(size), pytest.raises(OutputError, match="no room left"):
        build(tmp_path / "set", kind)
    assert not (tmp_path / "set").exists()
    build(tmp_path / "set", kind)
    build(tmp_path / "whole", kind)
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_a_full_disk_leaves_the_set_that_is_to_be_replaced(tmp_path):
    folder = tmp_path / "set"
    build_dataset(folder, [fields_scene(seed=9)], killed.options("pixels"), Monitor())
    before = content(folder)
    with largest_file(9_000), pytest.raises(OutputError):
        build(folder, overwrite=True)
    assert content(folder) == before


@pytest.mark.parametrize("kind", ["pixels", "windows", "chips"])
@pytest.mark.parametrize("fraction", [0.2, 0.6, 0.95])
def test_cancelled_it_goes_on_later(tmp_path, kind, fraction):
    monitor = Monitor()

    def listen(event):
        monitor._last = 0.0
        if event["event"] == "progress" and event["fraction"] >= fraction:
            monitor.cancel()

    monitor.listener = listen
    with pytest.raises(Cancelled):
        build(tmp_path / "set", kind, monitor)
    assert not (tmp_path / "set").exists()
    events = []
    build(tmp_path / "set", kind, Monitor(events.append))
    assert any("goes on where it stopped" in event.get("message", "") for event in events)
    build(tmp_path / "whole", kind)
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_done_and_unchanged_it_returns_at_once(tmp_path, monkeypatch):
    first = build(tmp_path / "set")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    monkeypatch.setattr(survey, "_Survey", None)
    assert build(tmp_path / "set").to_json() == first.to_json()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()} == times
    assert not (tmp_path / "set.partial").exists()


def test_other_options_or_inputs_are_refused_unless_asked_to_overwrite(tmp_path):
    folder = tmp_path / "set"
    build(folder)
    before = content(folder)
    with pytest.raises(InputError, match="--overwrite"):
        build(folder, seed=5)
    with pytest.raises(InputError, match="--overwrite"):
        build_dataset(folder, [fields_scene(seed=3)], killed.options("pixels"), Monitor())
    assert content(folder) == before
    build(folder, seed=5, overwrite=True)
    assert TrainingSet(folder).description.split["seed"] == 5


def test_work_of_other_options_is_not_gone_on_with(tmp_path):
    with largest_file(9_000), pytest.raises(OutputError):
        build(tmp_path / "set", "windows")
    events = []
    build(tmp_path / "set", "pixels", Monitor(events.append))
    assert any("left unfinished here is thrown away" in event.get("message", "") for event in events)
    build(tmp_path / "whole", "pixels")
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_a_shard_that_went_missing_is_made_again(tmp_path):
    build(tmp_path / "set")
    before = content(tmp_path / "set")
    (tmp_path / "set" / "train-00001.samples.npy").unlink()
    build(tmp_path / "set")
    assert content(tmp_path / "set") == before


def test_working_files_that_somebody_tidied_up_are_made_again(tmp_path):
    for left in ("survey.values", "shards/00000"):
        folder = tmp_path / left.replace("/", "-")
        # Killed in the middle of the writing.
        assert run(folder, "pixels", "save", 25) == -signal.SIGKILL
        (folder.with_name(folder.name + ".partial") / "working" / left).unlink()
        build(folder)
        build(tmp_path / "whole")
        assert content(folder) == content(tmp_path / "whole")


def test_two_runs_for_one_set_do_not_get_in_each_others_way(tmp_path):
    with Work(tmp_path / "set", "one", False, Monitor()), pytest.raises(OutputError, match="Another run"):
        build(tmp_path / "set")
    build(tmp_path / "set")


def test_an_empty_folder_is_taken_and_one_with_other_files_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    build(tmp_path / "empty")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        build(tmp_path / "full", overwrite=True)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    with pytest.raises(InputError, match="is a file"):
        build(tmp_path / "full" / "thesis.txt")
    with pytest.raises(OutputError, match="does not exist"):
        build(tmp_path / "nowhere" / "set")


@pytest.mark.parametrize("ending", ["partial", "replaced"])
def test_a_folder_that_happens_to_be_called_so_is_left_alone(tmp_path, ending):
    mine = tmp_path / f"set.{ending}" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        build(tmp_path / "set")
    assert mine.read_text() == "mine"
    assert not (tmp_path / "set").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        build(tmp_path / "set")
