"""What a run of the trainer asks for before it begins."""

from __future__ import annotations

import pytest

from thematica.errors import InputError, OutputError
from thematica.models.file_lock import is_locked
from thematica.trainer import run, run_folder
from thematica.trainer.recipe import Recipe


@pytest.mark.parametrize(
    ("network", "there", "told"),
    [
        ("mlp", set(), "needs PyTorch, which"),
        ("random-forest", {"torch"}, "needs skl2onnx, which"),
        ("random-forest", set(), "needs PyTorch and skl2onnx, which"),
    ],
)
def test_a_python_that_cannot_train_is_refused_with_what_to_do(monkeypatch, network, there, told) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: object() if name in there else None)
    with pytest.raises(InputError, match="Runtime…, tick “With PyTorch”") as caught:
        run.require_packages(network)
    assert told in caught.value.message


def test_a_network_needs_no_skl2onnx(monkeypatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: object() if name == "torch" else None)
    run.require_packages("mlp")


def test_who_waited_for_the_folder_sees_what_the_other_training_left(tmp_path, monkeypatch):
    hold = run_folder.hold_folder

    def wait_for_the_other(folder):
        lock = hold(folder)
        (folder / "training.json").touch()
        return lock

    monkeypatch.setattr(run_folder, "hold_folder", wait_for_the_other)
    with pytest.raises(OutputError, match="holds a training already"):
        run_folder.prepare_folder(tmp_path, Recipe("svm"), False, "training.json")
    assert not is_locked(tmp_path / "running.lock")
    assert not (tmp_path / "recipe.json").exists()
