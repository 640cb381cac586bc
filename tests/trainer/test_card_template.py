"""A model that is trained anew keeps the words of a card, and the codes and colours of its classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from thematica.models.bands import Band
from thematica.models.card import ModelCard, ModelClass
from thematica.models.reading import read_model_card

from ..engine.workplace import run_here
from .training_sets import spectra

CLASSES = [
    ModelClass(30, "Class  3", "#300000"),
    ModelClass(10, "class 1", "#100000"),
    ModelClass(0, "class 2", "#000001"),
]
CARD = ModelCard(
    "three-spectra", "pixel", [Band("B1")], CLASSES, title="Three spectra of the valley", description="Not for hills.",
    licence="CC0-1.0", sources=["Anyone (2020)"], metrics={"overall accuracy": 0.1}, unit="dn", gsd=300,
)  # fmt: skip


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    return spectra(tmp_path / "spectra")


def train(data: Path, card: ModelCard, network: str):
    path = data.parent / "old.json"
    path.write_text(card.to_json(), encoding="utf-8")
    recipe = ("--set", "network_options.hidden=[8]", "--epochs", 8) if network == "mlp" else ()
    run = data.parent / "run"
    return run_here(
        "train", data, "--network", network, "--card", path, "--name", "new one", "--output", run, *recipe
    ), run


@pytest.mark.parametrize("network", ["mlp", "random-forest"])
def test_words_codes_and_colours_are_the_cards_and_all_else_is_the_trainings(pixels, network):
    done, run = train(pixels, CARD, network)
    assert done.status == 0, done.err
    card = read_model_card(run / "model.onnx")
    assert (card.name, card.title, card.description) == ("new-one", CARD.title, CARD.description)
    assert (card.licence, card.sources) == (CARD.licence, CARD.sources)
    # In the order of the network's outputs, which is that of the training set.
    assert card.classes == [CLASSES[1], CLASSES[2], CLASSES[0]]
    assert [band.name for band in card.bands] == ["B1", "B2", "B3", "B4"]
    assert (card.unit, card.gsd) == ("reflectance", 10)
    assert card.metrics["overall accuracy"] > 0.8
    assert "780 pixels" in card.trained_on  # those of the validation part in the end, too
    measured = run_here("evaluate", run / "model.onnx", pixels, "--progress", "json")
    assert measured.events[-1]["report"]["metrics"]["overall accuracy"] == card.metrics["overall accuracy"]


@pytest.mark.parametrize("network", ["mlp", "random-forest"])
def test_a_card_without_one_of_the_classes_is_refused_before_anything_is_trained(pixels, network):
    done, run = train(pixels, replace(CARD, classes=CLASSES[1:]), network)
    assert done.status == 2
    assert "has no class “class 3”, which the training set has" in done.err
    assert not run.exists()


def test_what_is_no_card_is_refused(pixels, tmp_path):
    path = tmp_path / "list.json"
    for content, words in (("[]", "is not a model card"), ("no JSON", "is not valid JSON")):
        path.write_text(content)
        done = run_here("train", pixels, "--network", "mlp", "--card", path)
        assert (done.status, words in done.err) == (2, True), done.err
