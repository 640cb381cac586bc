"""Training, export and card, at a tiny size but for real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from thematica.models.card import METADATA_KEY
from thematica.models.onnx_file import read_onnx_facts
from thematica.models.reading import read_model_card
from thematica.trainer import train_basic_cover as training
from thematica.trainer.export import perceptron_to_onnx
from thematica.trainer.simulate import CLASS_NAMES, simulate

sklearn = pytest.importorskip("sklearn", reason="only training needs scikit-learn")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    training.train_all(folder, pixels=6000, seed=1, hidden=(16, 12), epochs=25)
    return folder


def test_it_learns_and_says_how_well(trained):
    for recipe in training.RECIPES:
        card = read_model_card(trained / f"{recipe.name}.onnx")
        assert card.metrics["overall accuracy"] > 0.5  # one class in eight by chance
        assert len(card.metrics) == 1 + 2 * len(CLASS_NAMES)
        assert "imulated" in card.trained_on
        assert "not how well it maps a real scene" in card.split
        assert card.normalisation.is_identity()
        assert card.input_shape == (-1, len(recipe.bands))
        assert card.parameters == sum(
            np.prod(constant.dims) for constant in onnx.load(trained / f"{recipe.name}.onnx").graph.initializer
        )


def test_the_card_stands_inside_and_beside_and_the_hash_is_the_graphs(trained):
    for recipe in training.RECIPES:
        path = trained / f"{recipe.name}.onnx"
        facts = read_onnx_facts(path)
        beside = path.with_suffix(".json").read_text("utf-8")
        assert facts.metadata[METADATA_KEY] == beside
        assert json.loads(beside)["properties"]["thematica:weights_sha256"] == facts.weights_sha256


def test_the_graph_has_nothing_but_gemm_and_relu_and_a_free_batch(trained):
    model = onnx.load(trained / "basic-cover-landsat.onnx")
    assert {node.op_type for node in model.graph.node} == {"Gemm", "Relu"}
    assert model.opset_import[0].version == 17
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_the_exported_network_gives_sklearns_scores(tmp_path):
    """The scaling of the input is folded into the weights: reflectance goes in as it is."""
    from sklearn.neural_network import MLPClassifier

    pixels, labels = simulate(training.LANDSAT_BANDS, 3000, 5)
    mean, deviation = pixels.mean(axis=0), pixels.std(axis=0)
    network = MLPClassifier((10, 6), max_iter=5, random_state=0).partial_fit(
        (pixels - mean) / deviation, labels, classes=np.arange(8)
    )
    weights, biases = training.fold_scaling(network.coefs_, network.intercepts_, mean, deviation)
    path = tmp_path / "network.onnx"
    onnx.save(perceptron_to_onnx(weights, biases), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores = session.run(None, {"reflectance": pixels})[0].astype(float)
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, network.predict_proba((pixels - mean) / deviation), atol=2e-5)


def test_the_same_seed_gives_the_same_file(tmp_path):
    files = []
    for name in ("a", "b"):
        training.train_all(tmp_path / name, pixels=2000, seed=9, hidden=(6,), epochs=1)
        files.append((tmp_path / name / "basic-cover-landsat.onnx").read_bytes())
    assert files[0] == files[1]
