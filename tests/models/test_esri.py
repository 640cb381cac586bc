"""Models packed for ArcGIS: definitions, packages, and what is wrong with them.

The definition's keys are those that arcgis.learn writes when it saves a model (``emd``).
"""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thematica.errors import ModelError
from thematica.models import esri
from thematica.models.reading import read_model_card
from thematica.models.store import add_model, list_models, resolve_model, user_data_folder

from ..engine.networks import Net, image, noise, read, save
from ..engine.test_outputs import several
from ..engine.workplace import run_here

EMD = {
    "Framework": "arcgis.learn.models._inferencing", "ModelType": "ImageClassification", "ModelName": "UnetClassifier",
    "ModelFile": "cover.onnx", "ImageHeight": 256, "ImageWidth": 256, "ExtractBands": [0, 1, 2],
    "MinCellSize": {"x": 0.6, "y": 0.6, "spatialReference": {"wkid": 26914}}, "IsMultispectral": False,
    "Classes": [
        {"Value": 1, "Name": "Water", "Color": [0, 92, 230]}, {"Value": 2, "Name": "Wald", "Color": [0, 0, 300]},
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))


def network(path: Path, channels: int = 3, bands: int = 3) -> Path:
    net = Net(bands)
    return save(path, net.model(net.conv(net.input, channels)))


def pair(folder: Path, channels: int = 3, bands: int = 3, **keys) -> Path:
    """Definition and network beside each other; returns the network."""
    folder.mkdir(exist_ok=True)
    content = {key: value for key, value in {**EMD, **keys}.items() if value is not None}
    (folder / "cover.emd").write_text(json.dumps(content), encoding="utf-8")
    return network(folder / "cover.onnx", channels, bands)


def packed(path: Path, files: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as package:
        for name, content in files.items():
            package.writestr(name, content)
    return path


def content_of(folder: Path, **keys) -> dict[str, bytes]:
    model = pair(folder, **keys)
    return {"cover.emd": model.with_suffix(".emd").read_bytes(), "cover.onnx": model.read_bytes()}


def test_a_definition_beside_its_network(tmp_path: Path) -> None:
    card = read_model_card(pair(tmp_path))
    assert (card.origin, card.task, card.tile, card.gsd, card.unit) == ("esri", "segmentation", 256, 0.6, "dn")
    # The first output is what arcgis.learn does not list.
    assert [(entry.value, entry.name, entry.color) for entry in card.classes] == [
        (0, "background", "#d9d9d9"), (1, "Water", "#005ce6"), (2, "Wald", "#0000ff"),
    ]  # fmt: skip
    # Nothing said: 8 bits and ImageNet's statistics.
    for band, (mean, deviation) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        entered = 100 * card.normalisation.gain[band] + card.normalisation.bias[band]
        assert entered == pytest.approx((100 / 255 - mean) / deviation)


@pytest.mark.parametrize("named", ["cover.onnx", ".\\cover.onnx", "C:\\models\\cover.onnx", "sub/cover.onnx"])
def test_the_definition_as_model(tmp_path: Path, named: str) -> None:
    model = pair(tmp_path, ModelFile=named)
    assert resolve_model(str(model.with_suffix(".emd"))) == model
    assert read_model_card(model).origin == "esri"


def test_statistics_of_the_bands_that_are_extracted(tmp_path: Path) -> None:
    stats = {
        "band_min_values": [10, 20, 30, 40, 50], "band_max_values": [110, 220, 330, 440, 550],
        "scaled_mean_values": [0.1, 0.2, 0.3, 0.4, 0.5], "scaled_std_values": [0.11, 0.12, 0.13, 0.14, 0.15],
    }  # fmt: skip
    keys = {
        "IsMultispectral": True, "ExtractBands": [4, 0, 2], "NormalizationStats": stats,
        "Bands": ["Blue", "Green", "Red", "RedEdge", "NIR"],
    }  # fmt: skip
    card = read_model_card(pair(tmp_path, **keys))
    assert [(band.name, band.common_name) for band in card.bands] == [("NIR", "nir"), ("Blue", "blue"), ("Red", "red")]
    for place, number in enumerate((4, 0, 2)):
        low, high = stats["band_min_values"][number], stats["band_max_values"][number]
        scaled = (77 - low) / (high - low)
        expected = (scaled - stats["scaled_mean_values"][number]) / stats["scaled_std_values"][number]
        assert 77 * card.normalisation.gain[place] + card.normalisation.bias[place] == pytest.approx(expected)
    card = read_model_card(pair(tmp_path, **keys, DoNormalize=False))
    assert 50 * card.normalisation.gain[0] + card.normalisation.bias[0] == pytest.approx(0)
    assert 550 * card.normalisation.gain[0] + card.normalisation.bias[0] == pytest.approx(1)


def test_one_score_and_its_threshold(tmp_path: Path) -> None:
    classes = [{"Value": 1, "Name": "Road", "Color": [255, 0, 0]}]
    card = read_model_card(pair(tmp_path, 1, Classes=classes, Threshold=0.7))
    assert [(entry.value, entry.name) for entry in card.classes] == [(0, "background"), (1, "Road")]
    assert card.thresholds == (0.7,)


def test_outputs_of_other_forms(tmp_path: Path) -> None:
    """One score without an axis of classes; class numbers, of which 0 is the background."""
    net = Net(3)
    score = net.node("Squeeze", net.conv(net.input, 1), net.weight(np.array([1], np.int64)))
    numbers = net.node("ArgMax", net.conv(net.input, 3), axis=1, keepdims=0)
    road = [{"Value": 1, "Name": "Road"}]
    model = pair(tmp_path / "score", Classes=road, Threshold=0.7)
    card = read_model_card(save(model, several(net, {"out": (score, ["n", "h", "w"])})))
    assert ([entry.name for entry in card.classes], card.thresholds) == (["background", "Road"], (0.7,))
    model = pair(tmp_path / "numbers")
    card = read_model_card(save(model, several(net, {"out": (numbers, ["n", "h", "w"])}, {"out": "int64"})))
    assert [entry.name for entry in card.classes] == ["background", "Water", "Wald"]


@pytest.mark.parametrize("kind", ["ObjectDetection", "InstanceDetection", "SuperResolution", "ChangeDetection"])
def test_other_tasks_are_no_use_here(tmp_path: Path, kind: str) -> None:
    assert read_model_card(pair(tmp_path, ModelType=kind)).unsupported


def test_cells_in_degrees_say_no_size(tmp_path: Path) -> None:
    cell = {"x": 0.0001, "y": 0.0001, "spatialReference": {"wkid": 4326}}
    assert read_model_card(pair(tmp_path, MinCellSize=cell)).gsd is None


def test_a_byte_order_mark(tmp_path: Path) -> None:
    model = pair(tmp_path)
    text = model.with_suffix(".emd").read_text(encoding="utf-8")
    model.with_suffix(".emd").write_text(text, encoding="utf-8-sig")
    assert read_model_card(model).origin == "esri"


# What is wrong with a definition


@pytest.mark.parametrize(
    "keys",
    [
        {"Classes": [1, 2]},
        {"Classes": [{"Value": "x", "Name": "a"}]},
        {"Classes": [{"Value": n, "Name": "a"} for n in (0, 0, 1)]},
        {"Classes": [{"Value": n, "Name": "a"} for n in (-1, 0, 1)]},
        {"Classes": [{"Value": n, "Name": "a"} for n in (0, 1, 70_000)]},
        {"Classes": [{"Value": 1e400, "Name": "a"}]},
        {"Classes": [{"Value": n, "Name": "a", "Color": [1, 2]} for n in range(3)]},
        {"Classes": [{"Value": n, "Name": "a", "Color": "red"} for n in range(3)]},
        {"ImageHeight": 1e400},
        {"ImageHeight": -5},
        {"ImageHeight": "large"},
        {"ExtractBands": [0], "NormalizationStats": {"band_min_values": [1], "band_max_values": [2]}},
        {"ExtractBands": [0, 1, 9], "NormalizationStats": {"band_min_values": [1], "band_max_values": [2]}},
        {"NormalizationStats": {"band_min_values": [0] * 3, "band_max_values": [1] * 3, "scaled_std_values": [0] * 3}},
        {"NormalizationStats": {"band_min_values": [0] * 3, "band_max_values": [float("nan")] * 3}},
        {"Threshold": "high", "Classes": [{"Value": 1, "Name": "a"}]},
        {"MinCellSize": {"x": "wide"}},
    ],
    ids=str,
)
def test_a_definition_that_makes_no_sense(tmp_path: Path, keys: dict) -> None:
    model = pair(tmp_path, 1 if "Threshold" in keys else 3, **keys)
    with pytest.raises(ModelError):
        read_model_card(model)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "Value", "Name", "Color"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(
            [*EMD, "NormalizationStats", "Bands", "DataRange", "ModelParameters", "Threshold", "Description"]
        ),
        VALUES, max_size=3,
    )
)  # fmt: skip
def test_any_values_give_a_card_or_a_sentence(tmp_path: Path, keys: dict) -> None:
    keys.pop("ModelFile", None)
    try:
        card = read_model_card(pair(tmp_path, **keys))
    except ModelError as error:
        assert error.message  # noqa: PT017
    else:
        numbers = np.array([*card.normalisation.gain, *card.normalisation.bias, card.tile, card.gsd or 1.0])
        assert np.isfinite(numbers).all()
        card.to_json()


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe\x00", b"null", b"[" * 100_000])
def test_a_definition_that_is_none(tmp_path: Path, content: bytes) -> None:
    model = pair(tmp_path)
    model.with_suffix(".emd").write_bytes(content)
    with pytest.raises(ModelError, match="definition"):
        resolve_model(str(model.with_suffix(".emd")))
    with pytest.raises(ModelError, match="definition"):
        read_model_card(model)
    # A neighbour that it says nothing of.
    assert read_model_card(network(tmp_path / "other.onnx")).origin == "none"


def test_a_huge_definition_is_not_read(tmp_path: Path) -> None:
    model = pair(tmp_path)
    with model.with_suffix(".emd").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelError, match="too large"):
        resolve_model(str(model.with_suffix(".emd")))


@pytest.mark.parametrize(
    ("named", "words"),
    [("cover.pth", "no ONNX file"), ("", "without a name"), ("gone.onnx", "does not lie beside"), (None, "no ONNX")],
)
def test_a_definition_without_a_network(tmp_path: Path, named: str | None, words: str) -> None:
    model = pair(tmp_path, ModelFile=named)
    with pytest.raises(ModelError, match=words):
        resolve_model(str(model.with_suffix(".emd")))


# Packages


def test_a_package_is_unpacked_once(tmp_path: Path) -> None:
    package = packed(tmp_path / "cover.dlpk", content_of(tmp_path / "in"))
    path = resolve_model(str(package))
    assert path.is_relative_to(user_data_folder())
    before = path.stat().st_mtime_ns
    assert resolve_model(str(package)) == path
    assert path.stat().st_mtime_ns == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["cover.emd", "cover.onnx"]
    assert read_model_card(path).origin == "esri"


def test_a_new_package_of_the_same_name_is_another(tmp_path: Path) -> None:
    first = resolve_model(str(packed(tmp_path / "cover.dlpk", content_of(tmp_path / "in"))))
    second = resolve_model(str(packed(tmp_path / "cover.dlpk", content_of(tmp_path / "in", ImageHeight=512))))
    assert first != second
    assert (read_model_card(first).tile, read_model_card(second).tile) == (256, 512)


@pytest.mark.parametrize("folder", ["../../", "/", "C:\\Windows\\", "..\\..\\", "deep/er/"])
def test_paths_inside_a_package_lead_nowhere(tmp_path: Path, folder: str) -> None:
    files = {folder + name: content for name, content in content_of(tmp_path / "in").items()}
    package = packed(tmp_path / "cover.dlpk", files)
    path = resolve_model(str(package))
    assert path.name == "cover.onnx"
    assert path.parent.parent == user_data_folder() / "packages"
    places = {found.parent for found in tmp_path.rglob("cover.onnx")}
    assert places == {tmp_path / "in", path.parent}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no ONNX network .*nothing"),
        ({"cover.emd": b"{}"}, "holds no ONNX network"),
        ({"cover.onnx": b"x"}, "holds no ONNX network"),
        ({"cover.emd": b"{}", "cover.pth": b"x", "x.H5": b"y"}, "but cover.pth, x.H5"),
        ({"cover.emd": b"not json", "cover.onnx": b"x"}, "not valid JSON"),
        ({"cover.emd": b'{"ModelFile": "other.onnx"}', "cover.onnx": b"x"}, "other.onnx"),
    ],
)
def test_packages_that_hold_something_else(tmp_path: Path, files: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        resolve_model(str(packed(tmp_path / "p.dlpk", files)))


@pytest.mark.parametrize("content", [b"", b"I am no zip", b"PK\x03\x04"])
def test_what_is_no_package(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.dlpk").write_bytes(content)
    with pytest.raises(ModelError, match="not a model package"):
        resolve_model(str(tmp_path / "p.dlpk"))


def test_no_package_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        resolve_model(str(tmp_path / "gone.dlpk"))


@pytest.mark.parametrize("seed", range(40))
def test_damaged_packages_give_a_sentence_and_leave_nothing_half(tmp_path: Path, seed: int) -> None:
    package = packed(tmp_path / "cover.dlpk", content_of(tmp_path / "in"))
    content = bytearray(package.read_bytes())
    chance = random.Random(seed)
    if seed % 4 == 0:
        del content[chance.randrange(len(content)) :]
    for _ in range(chance.randrange(1, 8)):
        if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    package.write_bytes(content)
    try:
        path = resolve_model(str(package))
        read_model_card(path)
    except ModelError as error:
        assert error.message  # noqa: PT017
    assert not list(user_data_folder().rglob("*.part"))


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esri, "_MOST_BYTES", 1 << 20)
    files = content_of(tmp_path / "in")
    files["cover.onnx"] = b"\0" * (1 << 21)
    with pytest.raises(ModelError, match="too large"):
        resolve_model(str(packed(tmp_path / "p.dlpk", files)))
    monkeypatch.setattr(esri, "_MOST_BYTES_OF_DEFINITION", 1000)
    files = content_of(tmp_path / "in", Description="x" * 2000)
    with pytest.raises(ModelError, match="too large"):
        resolve_model(str(packed(tmp_path / "q.dlpk", files)))
    assert not list(user_data_folder().rglob("*.onnx"))


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    """The directory says 100 bytes, the data are more: no more than 100 are taken, and the checksum fails."""
    package = packed(tmp_path / "p.dlpk", content_of(tmp_path / "in"))
    content = package.read_bytes()
    size = (tmp_path / "in" / "cover.onnx").stat().st_size
    place = content.rindex(size.to_bytes(4, "little"))
    package.write_bytes(content[:place] + (100).to_bytes(4, "little") + content[place + 4 :])
    with pytest.raises(ModelError):
        read_model_card(resolve_model(str(package)))


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid"), reason="needs a folder that cannot be written")
def test_no_room_for_what_is_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = packed(tmp_path / "p.dlpk", content_of(tmp_path / "in"))
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot be unpacked"):
        resolve_model(str(package))


# The doors


def test_a_package_goes_into_the_store(tmp_path: Path) -> None:
    package = packed(tmp_path / "Land Cover.dlpk", content_of(tmp_path / "in"))
    outcome = run_here("models", "--add", package)
    assert outcome.status == 0, outcome.err
    stored = next(entry for entry in list_models() if entry.name == "Land Cover")
    assert stored.card is not None
    said, kept = read_model_card(resolve_model(str(package))), stored.card
    assert (kept.classes, kept.gsd, kept.tile, kept.unit) == (said.classes, said.gsd, said.tile, said.unit)
    np.testing.assert_allclose(kept.normalisation.gain, said.normalisation.gain)
    np.testing.assert_allclose(kept.normalisation.bias, said.normalisation.bias)
    assert kept.activation == said.activation


def test_what_the_output_holds_goes_into_the_store_too(tmp_path: Path) -> None:
    """A network that ends in softmax must not get it twice."""
    net = Net(3)
    pair(tmp_path / "in")
    save(tmp_path / "in" / "cover.onnx", net.model(net.node("Softmax", net.conv(net.input, 3), axis=1)))
    card = add_model(tmp_path / "in" / "cover.emd").card
    assert card is not None
    assert card.activation == "softmax"
    assert next(entry for entry in list_models() if entry.name == "cover").card.activation == "softmax"


def test_a_package_is_inspected_and_run(tmp_path: Path) -> None:
    package = packed(tmp_path / "cover.dlpk", content_of(tmp_path / "in", MinCellSize={"x": 10, "y": 10}))
    shown = run_here("inspect", package)
    assert shown.status == 0
    assert "Water" in shown.out
    assert "esri" in shown.out
    scene = image(tmp_path / "scene.tif", noise((3, 40, 50)), names=["1", "2", "3"])
    outcome = run_here(
        "classify-pixels", scene, "--model", package, "--output", tmp_path / "map.tif", "--progress", "json"
    )
    assert outcome.status == 0, outcome.out
    assert [entry["name"] for entry in outcome.events[-1]["report"]["classes"]] == ["background", "Water", "Wald"]
    assert set(np.unique(read(tmp_path / "map.tif"))) <= {0, 1, 2}


def test_a_wrong_package_in_the_shell(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr("cover.emd", json.dumps({**EMD, "ModelFile": "cover.pth"}))
        package.writestr("cover.pth", b"x")
    (tmp_path / "p.dlpk").write_bytes(buffer.getvalue())
    for command in (("inspect", tmp_path / "p.dlpk"), ("models", "--add", tmp_path / "p.dlpk")):
        outcome = run_here(*command)
        assert outcome.status == 2
        assert "but cover.pth" in outcome.sentence
