"""``thematica:train`` and ``thematica:evaluate`` with the real worker: from labels to a map in Processing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
)

from .conftest import read_codes
from .test_build_dataset import _runtime, build, image, labels  # noqa: F401 - fixtures


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def train(processing, build, store, tmp_path):  # noqa: F811
    dataset = Path(build()["DATASET"]).parent

    def run(**options):
        given = {"DATASET": str(dataset), "NETWORK": "random-forest", "OUTPUT": str(tmp_path / "run"), **options}
        return processing.run("thematica:train", given)

    run.dataset = dataset
    return run


def test_labels_become_a_model_in_the_store_and_the_model_a_map(processing, train, store, image, tmp_path):  # noqa: F811
    result = train(NAME="water and wood", EPOCHS=2)
    assert result["STORED"] == "water and wood"
    assert (store / "water and wood.onnx").is_file()
    assert result["ACCURACY"] == 1.0
    assert json.loads(result["METRICS"])["kappa"] == 1.0
    output = str(tmp_path / "map.tif")
    processing.run("thematica:classifypixels", {"INPUT": [image], "MODEL": "water and wood", "OUTPUT": output})
    codes = read_codes(output)
    # Forest is the first class by name, water the second: west is water.
    assert {row[5] for row in codes} == {2}
    assert {row[55] for row in codes} == {1}


def test_a_network_of_torch_is_trained_too_and_nothing_in_the_store_is_replaced(train, store):
    options = {"NETWORK": "mlp", "NAME": "mine", "EPOCHS": 3, "CHANGES": "batch=16; learning_rate=0.02"}
    first = train(**options)
    again = train(**options, RESUME=True)
    assert (first["STORED"], again["STORED"]) == ("mine", "mine-2")
    recipe = json.loads((Path(first["OUTPUT"]) / "recipe.json").read_text())
    assert (recipe["batch"], recipe["learning_rate"], recipe["epochs"]) == (16, 0.02, 3)


def test_a_convolutional_svm_network_of_windows_becomes_a_map(processing, build, store, image, tmp_path):  # noqa: F811
    dataset = Path(build(OUTPUT=str(tmp_path / "windows"), KIND="windows", SIZE=5)["DATASET"]).parent
    options = {"NETWORK": "convsvm", "NAME": "by windows", "OUTPUT": str(tmp_path / "run")}
    few = "network_options.filters=4; network_options.scales=[1,3]"
    result = processing.run("thematica:train", {"DATASET": str(dataset), "CHANGES": few, **options})
    assert result["ACCURACY"] == 1.0
    output = str(tmp_path / "map.tif")
    processing.run("thematica:classifypixels", {"INPUT": [image], "MODEL": "by windows", "OUTPUT": output})
    codes = read_codes(output)
    assert {row[5] for row in codes} == {2}
    assert {row[55] for row in codes} == {1}


def test_a_model_is_measured(processing, train, tmp_path):
    model = train(STORE=False)
    assert model["STORED"] == ""
    figures = str(tmp_path / "figures.json")
    result = processing.run(
        "thematica:evaluate",
        {"MODEL": model["MODEL"], "DATASET": str(train.dataset), "SPLIT": "train", "JSON": figures},
    )
    assert result["ACCURACY"] == 1.0
    assert json.loads(Path(figures).read_text())["part"] == "train"


def test_the_model_designer_leads_from_labels_to_figures(processing, train, store, image, labels):  # noqa: F811
    sources = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("figures of labels", "tests")

    def add(name, given, made):
        child = QgsProcessingModelChildAlgorithm(f"thematica:{name}")
        child.setChildId(name)
        for parameter, value in given.items():
            child.addParameterSources(parameter, [sources.fromStaticValue(value)])
        for parameter, (source, output) in made.items():
            child.addParameterSources(parameter, [sources.fromChildOutput(source, output)])
        model.addChildAlgorithm(child)
        # These are what the designer offers for the parameter.
        for parameter, (source, output) in made.items():
            definition = child.algorithm().parameterDefinition(parameter)
            offered = model.availableSourcesForChild(name, [definition.type()], ["outputFolder", "outputString"])
            assert (source, output) in [(entry.outputChildId(), entry.outputName()) for entry in offered]

    add("builddataset", {"INPUT": [image.source()], "LABELS": labels, "FIELD": "cover"}, {})
    add("train", {"NETWORK": "random-forest", "NAME": "designed"}, {"DATASET": ("builddataset", "OUTPUT")})
    add("evaluate", {"SPLIT": "train"}, {"DATASET": ("builddataset", "OUTPUT"), "MODEL": ("train", "STORED")})
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
    _, ok = model.run({}, context, feedback)
    assert ok, feedback.textLog()
    assert (store / "designed.onnx").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"DATASET": "/tmp"}, "no training set"),
        ({"NETWORK": "unet"}, "does not learn from pixels"),
        ({"CHANGES": "batch"}, "changes nothing"),
        ({"RECIPE": "none"}, "no recipe"),
        ({"PROCESSES": 2}, "one process"),
    ],
)
def test_what_cannot_be_is_told_in_words_of_processing(train, options, words):
    with pytest.raises(QgsProcessingException, match=words) as raised:
        train(**options)
    assert "--" not in str(raised.value)
