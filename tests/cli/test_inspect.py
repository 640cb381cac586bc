"""``thematica inspect``: what a file says, and what is said of it by hand once and for all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from thematica.models.card import ModelClass
from thematica.models.reading import corrected_card_path, read_model_card

from ..engine.networks import Net, make_card, save
from ..engine.test_outputs import maps, several
from ..engine.torch_networks import Segmenter, seeded, segmenter_card, write
from ..engine.workplace import Workplace, run_here


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A network without a card: 3 bands, 2 classes."""
    net = Net(3)
    return save(tmp_path / "bare.onnx", net.model(net.conv(net.input, 2)))


def shown(*arguments: object) -> dict:
    outcome = run_here("inspect", *arguments, "--json")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


@pytest.mark.parametrize(
    ("option", "value", "key", "expected"),
    [
        ("--title", "Wälder", "title", "Wälder"),
        ("--task", "window", "thematica:task", "window"),
        ("--activation", "softmax", "thematica:activation", "softmax"),
        ("--threshold", "0.5", "thematica:thresholds", [0.5]),
        ("--gsd", "0.2", "gsd", 0.2),
        ("--tile", "512", "thematica:tile", 512),
        ("--nodata", "0", "thematica:nodata", 0.0),
        ("--unit", "dn", "thematica:unit", "dn"),
    ],
)
def test_every_option_stands_in_the_card(bare: Path, option: str, value: str, key: str, expected: object) -> None:
    assert shown(bare)["card"]["properties"].get(key) != expected
    assert shown(bare, option, value)["card"]["properties"][key] == expected
    # Not kept: said for this once.
    assert shown(bare)["card_origin"] == "none"
    assert shown(bare, option, value, "--keep")["card"]["properties"][key] == expected
    again = shown(bare)
    assert again["card_origin"] == "corrected"
    assert again["card"]["properties"][key] == expected


def test_classes_bands_and_values(bare: Path) -> None:
    kept = run_here(
        "inspect", bare, "--classes", "3=water#0000ff,wood", "--band-names", "B4:red,B3,blue", "--divide", "10000",
        "--mean", "0.1,0.2,0.3", "--std", "0.5", "--keep",
    )  # fmt: skip
    assert kept.status == 0
    card = read_model_card(bare)
    assert str(corrected_card_path(card.weights_sha256)) in kept.err
    assert card.classes[0] == ModelClass(3, "water", "#0000ff")
    assert [(band.name, band.common_name) for band in card.bands] == [("B4", "red"), ("B3", ""), ("blue", "blue")]
    entered = 2500 * np.array(card.normalisation.gain) + np.array(card.normalisation.bias)
    np.testing.assert_allclose(entered, (0.25 - np.array([0.1, 0.2, 0.3])) / 0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--classes", "a,b,c"], "3 classes are given, but the network has 2"),
        (["--classes", "1=a,1=b"], "same value"),
        (["--band-names", "a,b"], "2 bands"),
        (["--band-names", "a,a,b"], "same name"),
        (["--divide", "0"], "positive"),
        (["--divide", "nan"], "finite"),
        (["--mean", "1,2"], "2 means"),
        (["--std", "0"], "positive"),
        (["--threshold", "2"], "between 0 and 1"),
        (["--gsd", "0"], "positive"),
        (["--tile", "-1"], "positive"),
        (["--nodata", "nan"], "finite"),
        (["--keep"], "--keep keeps what"),
        (["--card", "nowhere.json"], "nowhere.json"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_kept(bare: Path, options: list[str], words: str) -> None:
    outcome = run_here("inspect", bare, *options, *([] if "--keep" in options else ["--keep"]))
    assert outcome.status == 2
    assert words in outcome.sentence
    assert read_model_card(bare).origin == "none"


@pytest.mark.parametrize(
    "options", [["--mean", "a,b"], ["--std", ""], ["--mean", "1;2"], ["--task", "dream"], ["--tile", "1.5"]]
)
def test_options_that_are_no_values(bare: Path, options: list[str]) -> None:
    outcome = run_here("inspect", bare, *options)
    assert outcome.status == 2
    assert options[0] in outcome.err
    assert "_numbers" not in outcome.err
    assert "Traceback" not in outcome.err


def test_forgetting(bare: Path) -> None:
    assert run_here("inspect", bare, "--title", "Mine", "--keep").status == 0
    assert "Mine" in run_here("inspect", bare).out
    assert "Mine" not in run_here("inspect", bare, "--forget").out
    # Nothing to forget is no fault.
    assert run_here("inspect", bare, "--forget").status == 0


def test_forgetting_what_was_said_of_a_pytorch_file(tmp_path: Path) -> None:
    path = write(tmp_path, "traced.pt", seeded(Segmenter, 3, 2), segmenter_card(3, 2))
    assert run_here("inspect", path, "--title", "Mine", "--keep").status == 0
    assert read_model_card(path).origin == "corrected"
    outcome = run_here("inspect", path, "--forget")
    assert outcome.status == 0, outcome.err
    assert "Mine" not in outcome.out
    assert read_model_card(path).origin == "beside"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_correction_that_was_damaged_can_be_forgotten(bare: Path, content: str) -> None:
    run_here("inspect", bare, "--title", "Mine", "--keep")
    corrected_card_path(read_model_card(bare).weights_sha256).write_text(content, encoding="utf-8")
    assert run_here("inspect", bare).status == 2
    assert run_here("inspect", bare, "--forget").status == 0
    assert read_model_card(bare).origin == "none"


def test_a_card_is_kept_as_given_and_with_what_is_said_beside_it(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(make_card(3, ["wet", "dry"], gsd=10.0).to_json(), encoding="utf-8")
    assert run_here("inspect", bare, "--card", tmp_path / "card.json", "--tile", "128", "--keep").status == 0
    card = read_model_card(bare)
    assert ([entry.name for entry in card.classes], card.gsd, card.tile) == (["wet", "dry"], 10.0, 128)


def test_what_an_output_holds_is_kept(workplace: Workplace) -> None:
    """A correction of names must not turn sigmoid into sigmoid of sigmoid, which is always above one half."""
    net = Net(3)
    path = save(workplace / "net.onnx", net.model(net.node("Sigmoid", net.conv(net.input, 1))))
    assert run_here("inspect", path, "--classes", "rest,road", "--divide", "255", "--keep").status == 0
    assert read_model_card(path).activation == "sigmoid"
    outcome = workplace.run("--progress", "json", model=path)
    assert all(entry["pixels"] > 0 for entry in outcome.events[-1]["report"]["classes"])


def test_a_regression_network_cannot_be_kept_as_it_is(tmp_path: Path) -> None:
    net = Net(3)
    path = save(tmp_path / "r.onnx", net.model(net.conv(net.input, 1)), metadata={"model_type": '"Regressor"'})
    assert shown(path)["usable"] is False
    outcome = run_here("inspect", path, "--title", "Heights", "--keep")
    assert outcome.status == 2
    assert "regression network" in outcome.sentence
    assert shown(path)["usable"] is False


def test_all_outputs_are_shown(tmp_path: Path) -> None:
    net = Net(3)
    x = net.node("Softmax", net.conv(net.input, 3), axis=1)
    roads = net.node("Sigmoid", net.conv(net.input, 1))
    path = save(tmp_path / "two.onnx", several(net, {"cover": (x, maps(3)), "roads": (roads, maps(1))}))
    facts = shown(path)
    assert [(entry["name"], entry["activation"]) for entry in facts["outputs"]] == [
        ("cover", "softmax"), ("roads", "sigmoid"),
    ]  # fmt: skip
    text = run_here("inspect", path).out
    assert "Further output:  roads" in text
