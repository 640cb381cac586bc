"""The EuroSAT model that ships, with plain rasterio and ONNX Runtime: is it whole, small, and as good as it says?"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import onnxruntime
import pytest
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from thematica.models.card import METADATA_KEY, parse_card
from thematica.models.onnx_file import read_onnx_facts
from thematica.models.reading import read_model_card
from thematica.models.store import BUNDLED_FOLDER
from thematica.trainer.eurosat_split import TEST, split_of

MODEL = BUNDLED_FOLDER / "eurosat-rgb.onnx"
DOCS = Path(__file__).resolve().parents[2] / "docs"
#: Of the folders in EuroSAT's zip, in the order of the codes 0 to 9.
NAMES = (
    "Annual crop", "Forest", "Herbaceous vegetation", "Highway", "Industrial", "Pasture", "Permanent crop",
    "Residential", "River", "Sea or lake",
)  # fmt: skip


def scores(pixels: np.ndarray) -> np.ndarray:
    """Logits of bytes (N, 3, 64, 64), with nothing but the file and its card."""
    card = read_model_card(MODEL)
    gain, bias = (
        np.array(value, np.float32).reshape(1, -1, 1, 1) for value in (card.normalisation.gain, card.normalisation.bias)
    )
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    return session.run(None, {card.input_name: pixels.astype(np.float32) * gain + bias})[0]


def test_codes_names_bands_and_values_are_what_maps_and_scripts_rely_on():
    card = read_model_card(MODEL)
    assert (card.name, card.task, card.activation, card.origin) == ("eurosat-rgb", "patch", "logits", "embedded")
    assert [(entry.value, entry.name) for entry in card.classes] == list(enumerate(NAMES))
    assert len({entry.color for entry in card.classes}) == 10
    assert [(band.name, band.common_name, band.unit) for band in card.bands] == [
        ("B4", "red", "dn"), ("B3", "green", "dn"), ("B2", "blue", "dn"),
    ]  # fmt: skip
    assert (card.input_shape, card.output_shape) == ((-1, 3, 64, 64), (-1, 10))
    assert (card.unit, card.value_range, card.gsd, card.tile) == ("dn", (0, 255), 10, 64)
    assert not card.normalisation.is_identity()


def test_the_card_is_honest():
    card = read_model_card(MODEL)
    assert "European" in card.description
    assert "Patches of one scene lie on both sides and look alike" in card.split
    assert card.trained_on.startswith("15055 patches of EuroSAT")
    assert "4332 to test" in card.split
    assert "Helber" in card.sources[0]
    assert card.licence == "GPL-2.0-or-later"
    assert card.metrics["overall accuracy"] >= 0.95
    assert all(f"{title}, {name}" in card.metrics for title in ("F1", "user's accuracy") for name in NAMES)


def test_the_results_say_what_the_card_says():
    """Accuracy, F1 of each class and the network itself: a model that is trained anew needs new results."""
    card, results = read_model_card(MODEL), (DOCS / "results.md").read_text("utf-8")
    assert f"**{card.metrics['overall accuracy']:.2%}**".replace("%", " %") in results
    assert card.weights_sha256 in results
    for name in NAMES:
        (row,) = re.findall(rf"^\| {name} \| \d+ \| .* \| (\d\.\d+) \|$", results, re.MULTILINE)
        assert float(row) == pytest.approx(card.metrics[f"F1, {name}"], abs=6e-4)


def test_the_file_is_small_and_the_card_beside_is_the_card_inside():
    facts, beside = read_onnx_facts(MODEL), MODEL.with_suffix(".json").read_text("utf-8")
    assert MODEL.stat().st_size <= 10_000_000
    assert not facts.weight_files
    assert facts.metadata[METADATA_KEY] == beside
    card = parse_card(beside)
    assert card.weights_sha256 == facts.weights_sha256
    assert json.loads(card.to_json()) == json.loads(beside)


def test_the_card_validates_against_mlm():
    stac_model = pytest.importorskip("stac_model.schema", reason="only this check needs stac-model")
    item = json.loads(MODEL.with_suffix(".json").read_text("utf-8"))
    stac_model.MLModelProperties.model_validate(item["properties"])


def test_it_takes_any_number_of_patches_and_gives_logits():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 64, 64), dtype=np.uint8)
    together = scores(pixels)
    assert together.shape == (5, 10)
    assert together.min() < 0  # neither softmax nor sigmoid
    for index in range(5):
        np.testing.assert_allclose(scores(pixels[index : index + 1])[0], together[index], atol=1e-4)


@pytest.mark.real
def test_it_is_right_on_real_images_that_were_held_out(real_data):
    with zipfile.ZipFile(real_data("eurosat_rgb.zip")) as images:
        held_out = sorted(name for name in images.namelist() if name.endswith(".jpg") and split_of(name) == TEST)
        chosen = np.random.default_rng(3).choice(held_out, 300, replace=False).tolist()
        pixels = np.array([_decoded(images.read(name)) for name in chosen])
    labels = [PurePosixPath(name).parent.name for name in chosen]
    # "SeaLake" is called "Sea or lake".
    folders = ["".join(word.title() for word in name.replace(" or ", " ").split()) for name in NAMES]
    right = [folders[place] == label for place, label in zip(scores(pixels).argmax(axis=1), labels, strict=True)]
    assert np.mean(right) >= 0.94


def _decoded(content: bytes) -> np.ndarray:
    with warnings.catch_warnings(), MemoryFile(content) as file:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open() as image:
            return image.read()
