"""A card completed by hand: every option, every refusal, and what is kept is what was said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thematica.errors import ModelError
from thematica.models.bands import Band
from thematica.models.card import ACTIVATIONS, FurtherOutput, ModelCard, ModelClass
from thematica.models.describe import describe, parse_bands, parse_classes, scaling
from thematica.models.reading import forget_corrected_card, read_model_card, save_corrected_card

from ..engine.networks import Net, save
from ..engine.test_outputs import maps, several


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))


@pytest.fixture
def bare(tmp_path: Path) -> ModelCard:
    """What a file with 3 bands and 4 classes says by itself."""
    net = Net(3)
    return read_model_card(save(tmp_path / "bare.onnx", net.model(net.conv(net.input, 4))))


def test_nothing_said_changes_nothing(bare: ModelCard) -> None:
    assert describe(bare) == bare
    assert describe(bare) is not bare


@pytest.mark.parametrize(
    ("said", "field", "expected"),
    [
        ({"title": " Wälder "}, "title", "Wälder"),
        ({"title": " "}, "title", "bare"),
        ({"task": "window"}, "task", "window"),
        ({"bands": [Band("R", "red"), Band("G"), Band("B")]}, "bands", [Band("R", "red"), Band("G"), Band("B")]),
        ({"activation": "softmax"}, "activation", "softmax"),
        ({"threshold": 0.25}, "thresholds", (0.25,)),
        ({"threshold": 0.0}, "thresholds", ()),
        ({"threshold": 1.0}, "thresholds", (1.0,)),
        ({"gsd": 0.1}, "gsd", 0.1),
        ({"tile": 512}, "tile", 512),
        ({"nodata": 0.0}, "nodata", 0.0),
        ({"nodata": -9999.0}, "nodata", -9999.0),
        ({"unit": "reflectance"}, "unit", "reflectance"),
    ],
)
def test_every_option_says_one_thing(bare: ModelCard, said: dict, field: str, expected: object) -> None:
    card = describe(bare, **said)
    assert getattr(card, field) == expected
    assert replace(card, **{field: getattr(bare, field)}) == bare
    assert bare.origin == "none"


def test_classes(bare: ModelCard) -> None:
    classes = [ModelClass(n * 10, f"c{n}", "#00ff00") for n in range(4)]
    assert describe(bare, classes=classes).classes == classes


@pytest.mark.parametrize(
    ("divide", "mean", "std"),
    [
        (255.0, None, None),
        (None, [3.0], None),
        (None, None, [2.0]),
        (10_000.0, [0.1, 0.2, 0.3], [0.5, 0.4, 0.3]),
        (2.0, [1.0], [4.0, 5.0, 6.0]),
    ],
)
def test_values_are_divided_then_centred_then_divided_again(
    bare: ModelCard, divide: float | None, mean: list[float] | None, std: list[float] | None
) -> None:
    card = describe(bare, divide=divide, mean=mean, std=std)
    x = np.array([0.0, 100.0, 3000.0])
    expected = (x / (divide or 1) - np.array(mean or [0.0])) / np.array(std or [1.0])
    np.testing.assert_allclose(x * np.array(card.normalisation.gain) + np.array(card.normalisation.bias), expected)


def test_a_new_scaling_replaces_the_old_one_whole(bare: ModelCard) -> None:
    old = describe(bare, divide=255, mean=[0.5], std=[0.2])
    old.value_range = (0.0, 255.0)
    card = describe(old, divide=10_000)
    assert card.normalisation == scaling(3, 10_000)
    assert card.value_range is None
    assert card.normalisation_steps == []


def test_a_new_pixel_size_replaces_the_old_range(bare: ModelCard) -> None:
    old = replace(bare, gsd=10.0, gsd_range=(5.0, 20.0))
    assert describe(old, gsd=1).gsd_range is None


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"task": "dream"}, "no task “dream”"),
        ({"bands": [Band("1")]}, "1 bands are given, but the network has 3"),
        ({"bands": [Band("1"), Band("1"), Band("2")]}, "same name"),
        ({"bands": [Band("1"), Band(" "), Band("2")]}, "band has no name"),
        ({"classes": []}, "0 classes"),
        ({"classes": [ModelClass(0, "a", "#000000")] * 3}, "3 classes are given, but the network has 4"),
        ({"classes": [ModelClass(0, "a", "#000000")] * 4}, "same value"),
        ({"classes": [ModelClass(n - 1, "a", "#000000") for n in range(4)]}, "between 0 and 65533"),
        ({"classes": [ModelClass(n + 65531, "a", "#000000") for n in range(4)]}, "between 0 and 65533"),
        ({"classes": [ModelClass(n, " ", "#000000") for n in range(4)]}, "no name"),
        ({"classes": [ModelClass(n, "a", "green") for n in range(4)]}, "#rrggbb"),
        ({"divide": 0.0}, "positive"),
        ({"divide": -1.0}, "positive"),
        ({"divide": NAN}, "finite"),
        ({"divide": INF}, "finite"),
        ({"divide": 1e-300}, "positive"),
        ({"mean": [1.0, 2.0]}, "2 means, but 3 bands"),
        ({"mean": []}, "0 means"),
        ({"mean": [NAN]}, "finite"),
        ({"std": [0.0]}, "positive"),
        ({"std": [1.0, 1.0, -1.0]}, "positive"),
        ({"std": [1.0] * 4}, "4 standard deviations"),
        ({"std": [INF]}, "finite"),
        ({"activation": "relu"}, "no activation “relu”"),
        ({"threshold": -0.1}, "between 0 and 1"),
        ({"threshold": 1.1}, "between 0 and 1"),
        ({"threshold": NAN}, "between 0 and 1"),
        ({"gsd": 0.0}, "positive"),
        ({"gsd": NAN}, "positive"),
        ({"gsd": INF}, "positive"),
        ({"tile": 0}, "positive"),
        ({"tile": -5}, "positive"),
        ({"nodata": NAN}, "finite"),
        ({"nodata": INF}, "finite"),
    ],
)
def test_what_cannot_be_is_refused(bare: ModelCard, said: dict, words: str) -> None:
    before = replace(bare)
    with pytest.raises(ModelError, match=words):
        describe(bare, **said)
    assert bare == before


# What is written in a shell


def test_classes_as_written(bare: ModelCard) -> None:
    found = parse_classes("water, Wald ,7=urban, 9 = road #FF0000", bare)
    assert [(entry.value, entry.name) for entry in found] == [(0, "water"), (1, "Wald"), (7, "urban"), (9, "road")]
    assert [entry.color for entry in found] == [*(entry.color for entry in bare.classes[:3]), "#ff0000"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,c", "3 classes are given"),
        ("", "0 classes"),
        ("a,b,c,d,e", "5 classes"),
        ("a,b,c,0=d", "same value"),
        ("a,b,c,65534=d", "between 0 and 65533"),
        ("a,b,c,123456789012345=d", "between 0 and 65533"),
        ("a,b,c,4=", "no name"),
        ("a,b,c,#ff0000", "no name"),
    ],
)
def test_classes_written_wrongly(bare: ModelCard, text: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        parse_classes(text, bare)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30))
def test_any_text_gives_classes_or_a_sentence(bare: ModelCard, text: str) -> None:
    try:
        found = parse_classes(text, bare)
    except ModelError as error:
        assert error.message  # noqa: PT017
    else:
        describe(bare, classes=found)


def test_bands_as_written() -> None:
    found = parse_bands("B4:red, green ,B8", 3)
    assert found == [Band("B4", "red"), Band("green", "green"), Band("B8")]
    with pytest.raises(ModelError, match="2 bands are given, but the network has 3"):
        parse_bands("a,b", 3)


def test_a_band_without_a_name_is_refused(bare: ModelCard) -> None:
    with pytest.raises(ModelError, match="no name"):
        describe(bare, bands=parse_bands(":red,a,b", 3))


# What is kept


def two_outputs(folder: Path) -> Path:
    net = Net(3)
    x = net.conv(net.input, 4)
    outputs = {"cover": (x, maps(4)), "roads": (net.node("Sigmoid", net.conv(net.input, 1)), maps(1))}
    return save(folder / "two.onnx", several(net, outputs))


def kept_card(card: ModelCard, path: Path) -> ModelCard:
    save_corrected_card(card)
    found = read_model_card(path)
    assert found.origin == "corrected"
    return found


def assert_same(found: ModelCard, said: ModelCard) -> None:
    """Equal but for the last digits of the scaling and for what is not of the description."""
    for name in ("gain", "bias"):
        given, kept = getattr(said.normalisation, name), getattr(found.normalisation, name)
        np.testing.assert_allclose(np.broadcast_to(kept, (3,)), np.broadcast_to(given, (3,)), rtol=1e-12)
    ignored = {
        "normalisation": said.normalisation, "normalisation_steps": said.normalisation_steps, "origin": said.origin,
        "description": said.description, "architecture": said.architecture,
    }  # fmt: skip
    # A band without a unit of its own has that of the card.
    said = replace(said, bands=[replace(band, unit=band.unit or said.unit) for band in said.bands])
    assert replace(found, **ignored) == said


def test_all_of_a_description_is_kept(tmp_path: Path) -> None:
    path = two_outputs(tmp_path)
    card = read_model_card(path)
    assert [output.activation for output in card.further_outputs] == ["sigmoid"]
    said = describe(
        card, title="Straßen", task="segmentation", bands=parse_bands("B4:red,B3:green,B2:blue", 3),
        classes=parse_classes("1=Wasser#0000ff,2=Wald,5=Stadt,9=水", card), divide=10_000, mean=[0.1, 0.2, 0.3],
        std=[0.05, 0.06, 0.07], activation="logits", threshold=0.6, gsd=10, tile=256, nodata=0, unit="reflectance",
    )  # fmt: skip
    assert_same(kept_card(said, path), said)
    forget_corrected_card(card.weights_sha256)
    assert read_model_card(path) == card


_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(
    str.strip
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_said_is_kept(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "two.onnx"
    if not path.is_file():
        two_outputs(tmp_path)
    card = read_model_card(path)
    forget_corrected_card(card.weights_sha256)
    card = read_model_card(path)
    positive = st.floats(1e-3, 1e5)
    values = data.draw(st.lists(st.integers(0, 65533), min_size=4, max_size=4, unique=True))
    names = data.draw(st.lists(_NAMES.map(str.strip), min_size=4, max_size=4))
    said = describe(
        card,
        title=data.draw(_NAMES),
        bands=[Band(name) for name in data.draw(st.lists(_NAMES, min_size=3, max_size=3, unique=True))],
        classes=[ModelClass(value, name, "#12ab0f") for value, name in zip(values, names, strict=True)],
        divide=data.draw(positive),
        mean=data.draw(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3)),
        std=data.draw(st.lists(positive, min_size=3, max_size=3)),
        activation=data.draw(st.sampled_from(ACTIVATIONS)),
        threshold=data.draw(st.floats(0, 1)),
        gsd=data.draw(positive),
        tile=data.draw(st.integers(1, 4096)),
        nodata=data.draw(st.floats(-1e6, 1e6)),
        unit=data.draw(st.sampled_from(["", "dn", "reflectance"])),
    )
    said.further_outputs = [
        FurtherOutput("roads", [ModelClass(3, "no", "#000000"), ModelClass(4, "yes", "#ffffff")], "sigmoid",
                      (data.draw(st.floats(0.01, 1)),), said.further_outputs[0].shape)
    ]  # fmt: skip
    assert_same(kept_card(said, path), said)


def test_a_network_that_is_no_use_is_not_kept_as_one_that_is(tmp_path: Path) -> None:
    """The reason is no part of a card: what is kept of a regression network would be a segmentation network."""
    net = Net(3)
    metadata = {"model_type": '"Regressor"'}
    path = save(tmp_path / "r.onnx", net.model(net.conv(net.input, 1)), metadata=metadata)
    card = read_model_card(path)
    with pytest.raises(ModelError, match="regression network"):
        save_corrected_card(describe(card, title="Heights"))
    assert read_model_card(path).unsupported
    # Who made it may know better.
    assert not kept_card(describe(card, task="segmentation"), path).unsupported


def test_a_task_that_the_shape_rules_out_changes_nothing(tmp_path: Path) -> None:
    net = Net(3, shape=["n", 3, 8])
    path = save(tmp_path / "odd.onnx", net.model(net.relu(net.input), ["n", 3, 8]))
    card = read_model_card(path)
    assert "3 axes" in card.unsupported
    assert describe(card, task="segmentation").unsupported == card.unsupported
