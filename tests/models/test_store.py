"""The store: names and files, and what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thematica.errors import InputError, ModelError
from thematica.models.store import BUNDLED_FOLDER, add_model, list_models, resolve_model, user_data_folder

from ..engine.networks import Net, light, make_card, save


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "Modelle & mehr"
    monkeypatch.setenv("THEMATICA_MODELS", str(place))
    monkeypatch.chdir(tmp_path)
    return place


def test_without_a_folder_there_are_the_bundled_ones(folder: Path) -> None:
    assert not folder.exists()
    models = list_models()
    assert {model.name for model in models} == {path.stem for path in BUNDLED_FOLDER.glob("*.onnx")}
    assert all(model.bundled and model.card and not model.problem for model in models)


def test_added_and_found_again(folder: Path, tmp_path: Path) -> None:
    path = light(tmp_path / "net.onnx", seed=3)
    (tmp_path / "net.json").write_text(make_card(3, ["beside", "b", "c"]).to_json(), encoding="utf-8")
    added = add_model(path, "Bäume 2")
    assert resolve_model("Bäume 2") == added.path == folder / "Bäume 2.onnx"
    assert sorted(entry.name for entry in folder.iterdir()) == ["Bäume 2.json", "Bäume 2.onnx"]
    assert "Bäume 2" in {model.name for model in list_models()}


def test_a_name_is_taken_only_once(tmp_path: Path) -> None:
    first, second = light(tmp_path / "a.onnx"), light(tmp_path / "b.onnx", seed=4)
    add_model(first, "m")
    with pytest.raises(InputError, match="already"):
        add_model(second, "m")
    assert resolve_model("m").read_bytes() == first.read_bytes()
    add_model(second, "m", replace=True)
    assert resolve_model("m").read_bytes() == second.read_bytes()


def test_the_card_of_a_replaced_model_does_not_stay(folder: Path, tmp_path: Path) -> None:
    """The card beside belongs to the network that is gone."""
    net = Net(3)
    bare = save(tmp_path / "a.onnx", net.model(net.conv(net.input, 3)))
    (tmp_path / "a.json").write_text(make_card(3, ["old", "b", "c"]).to_json(), encoding="utf-8")
    add_model(bare, "m")
    other = Net(2, 1)
    add_model(save(tmp_path / "b.onnx", other.model(other.conv(other.input, 2))), "m", replace=True)
    found = next(model for model in list_models() if model.name == "m")
    assert found.problem == ""
    assert len(found.card.bands) == 2


@pytest.mark.parametrize("name", ["../escape", "a/b", "..", "", "a\\b"])
def test_a_name_is_no_path(folder: Path, tmp_path: Path, name: str) -> None:
    path = light(tmp_path / "net.onnx")
    if name:
        with pytest.raises(InputError):
            add_model(path, name)
    with pytest.raises(ModelError):
        resolve_model(name)
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry != folder) == ["net.onnx"]


def test_what_is_no_model_is_not_added(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError):
        add_model(tmp_path / "x.onnx")
    assert not folder.exists()


def test_the_users_model_hides_a_bundled_one(tmp_path: Path) -> None:
    name = list_models()[0].name
    add_model(light(tmp_path / "net.onnx"), name)
    found = [model for model in list_models() if model.name == name]
    assert len(found) == 1
    assert not found[0].bundled
    assert resolve_model(name) == found[0].path


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\x08"])
def test_one_broken_file_does_not_hide_the_others(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "broken.onnx").write_bytes(content)
    (folder / "folder.onnx").mkdir()
    (folder / "gone.onnx").symlink_to(folder / "nowhere")
    models = {model.name: model for model in list_models()}
    assert models["broken"].problem
    assert models["broken"].card is None
    assert {path.stem for path in BUNDLED_FOLDER.glob("*.onnx")} <= set(models)


def test_a_file_and_a_name(folder: Path, tmp_path: Path) -> None:
    path = light(tmp_path / "net.onnx")
    assert resolve_model("net.onnx").resolve() == path
    add_model(path, "forest")
    (tmp_path / "forest").mkdir()
    assert resolve_model("forest") == folder / "forest.onnx"
    # A file of that name that is no network does not hide the store's.
    (tmp_path / "forest").rmdir()
    (tmp_path / "forest").write_text("a list of trees")
    assert resolve_model("forest") == folder / "forest.onnx"


def test_where_the_users_data_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "x"))
    assert user_data_folder() == tmp_path / "x"
    monkeypatch.delenv("THEMATICA_HOME")
    if os.name == "posix":
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert tmp_path / "data" in user_data_folder().parents or "Library" in str(user_data_folder())
