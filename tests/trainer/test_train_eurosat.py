"""Training the EuroSAT model at a tiny size but for real, and the model that ships."""

from __future__ import annotations

import json
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from thematica.errors import InputError
from thematica.models.card import METADATA_KEY, parse_card
from thematica.models.onnx_file import read_onnx_facts
from thematica.models.reading import read_model_card
from thematica.models.store import BUNDLED_FOLDER
from thematica.trainer.eurosat_split import TEST, split_of

torch = pytest.importorskip("torch", reason="only training needs torch")
training = pytest.importorskip("thematica.trainer.train_eurosat")

SHIPPED = BUNDLED_FOLDER / "eurosat-rgb.onnx"
TINY = training.Recipe(widths=(8, 12), depths=(1, 1), epochs=3, batch=16, bfloat16=False)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Networks this small gain nothing from more, and threads that wait for each other are slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of each class: its colour in the card, lightened or darkened, with noise."""
    generator = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("eurosat") / "made.zip"
    with zipfile.ZipFile(path, "w") as target:
        for label, (_, color) in training.CLASSES.items():
            for number in range(1, 41):
                rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]).reshape(3, 1, 1)
                image = rgb * generator.uniform(0.8, 1.1) + generator.normal(0, 12, (3, 64, 64))
                with MemoryFile() as file, warnings.catch_warnings():
                    warnings.simplefilter("ignore", NotGeoreferencedWarning)
                    with file.open(driver="JPEG", width=64, height=64, count=3, dtype="uint8") as raster:
                        raster.write(image.clip(0, 255).astype(np.uint8))
                    target.writestr(f"EuroSAT/{label}/{label}_{number}.jpg", file.read())
    return path


@pytest.fixture(scope="module")
def patches(archive):
    return training.read_patches(archive)


@pytest.fixture(scope="module")
def made(archive, tmp_path_factory):
    """What the command line makes of the made images: the folder with the model and the one with the report."""
    folder = tmp_path_factory.mktemp("trained")
    training.main(
        [
            str(archive),
            "--output",
            str(folder / "model"),
            "--report",
            str(folder / "report"),
            "--epochs",
            "2",
            "--no-bfloat16",
        ]
    )
    return folder


def test_images_are_read_with_their_labels(patches):
    assert patches.pixels.shape == (400, 3, 64, 64)
    assert patches.pixels.dtype == np.uint8
    assert np.bincount(patches.labels).tolist() == [40] * 10
    # Blue is the third band: sea is bluer than red.
    sea = patches.pixels[patches.labels == list(training.CLASSES).index("SeaLake")].mean(axis=(0, 2, 3))
    assert sea[2] > sea[0] + 50


def test_the_parts_are_disjoint_and_whole(patches):
    names = [patches.part(part, 1).names for part in ("train", "validation", "test")]
    assert [len(part) for part in names] == [280, 40, 80]
    assert sorted(name for part in names for name in part) == patches.names


def test_training_lowers_the_loss(patches):
    trained = training.train(patches.part("train", 1), patches.part("validation", 1), TINY, seed=1)
    assert trained.history[-1].train_loss < trained.history[0].train_loss - 0.2
    scores = training.predict(trained.network, patches.part("test", 1), trained.mean, trained.deviation)
    assert (scores.argmax(axis=1) == patches.part("test", 1).labels).mean() > 0.5  # one in ten by chance


def test_the_same_seed_gives_the_same_weights(patches):
    recipe = replace(TINY, epochs=1)
    first, again, other = (
        training.train(patches.part("train", 1), patches.part("validation", 1), recipe, seed) for seed in (1, 1, 2)
    )
    weights = [
        np.concatenate([p.detach().numpy().ravel() for p in t.network.parameters()]) for t in (first, again, other)
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_augmenting_turns_and_mirrors_in_all_eight_ways():
    """Images that are the same get a corner each: with the shifts, all eight places of an L are seen."""
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, 8:56, 8:20] = 4.0
    image[:, :, 44:56, 8:40] = 4.0
    seen = training.augment(image.repeat(8, 1, 1, 1), torch.Generator().manual_seed(0))
    assert seen.shape == (8, 3, 64, 64)
    bright = (seen.mean(axis=1) > 2).float()
    halves = torch.stack(
        [bright[:, :32, :32], bright[:, :32, 32:], bright[:, 32:, :32], bright[:, 32:, 32:]], dim=1
    ).sum(dim=(2, 3))
    # The order of the four quarters by brightness tells the eight symmetries of an L apart.
    assert len({tuple(row.argsort(descending=True).tolist()) for row in halves}) == 8


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [training.learning_rate(step / 100, TINY) for step in range(1, 101)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(1)
    assert np.all(np.diff(rates[: top + 1]) > 0)
    assert np.all(np.diff(rates[top:]) < 0)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_model_card_and_report_are_written(made):
    path = made / "model" / "eurosat-rgb.onnx"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["eurosat-rgb.json", "eurosat-rgb.onnx"]
    check_card(path)
    card = read_model_card(path)
    assert card.trained_on.startswith("280 ")
    tables = (made / "report" / "eurosat-rgb.md").read_text("utf-8")
    assert tables.count("| Pasture |") >= 2
    curve = (made / "report" / "eurosat-rgb-training.svg").read_text("utf-8")
    assert curve.startswith("<svg")
    assert curve.count("<polyline") == 2


def test_the_card_carries_the_whole_normalisation(made, patches):
    """Raw bytes through the card's arithmetic and the file alone give the accuracy that the card states."""
    path = made / "model" / "eurosat-rgb.onnx"
    test = patches.part(TEST, training.SEED)
    right = (scores(path, test.pixels).argmax(axis=1) == test.labels).mean()
    assert right == pytest.approx(read_model_card(path).metrics["overall accuracy"], abs=1e-4)


def test_a_wrong_export_is_found(patches):
    trained = training.train(patches, patches, replace(TINY, epochs=1), seed=1)
    model = training.to_onnx(trained.network)
    with torch.no_grad():
        trained.network.classify[-1].bias[3] += 0.001
    with pytest.raises(RuntimeError, match="export is wrong"):
        training.check_export(model, trained, patches)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "no JPEG images"),
        ({"EuroSAT/Meadow/Meadow_1.jpg": b""}, "none of EuroSAT's classes"),
        ({"EuroSAT/River/River_1.jpg": b"no image"}, "cannot be read as EuroSAT"),
    ],
)
def test_other_archives_are_refused(tmp_path, files, sentence):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    with pytest.raises(InputError, match=sentence):
        training.read_patches(path)


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    for name in ("text.zip", "missing.zip"):
        with pytest.raises(InputError, match="cannot be read as EuroSAT"):
            training.read_patches(tmp_path / name)


# -------------------------------------------------------------------------------------- the model that ships
def scores(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Logits of bytes (N, 3, 64, 64), with nothing but the file and its card."""
    card = read_model_card(path)
    gain, bias = (
        np.array(value, np.float32).reshape(1, -1, 1, 1) for value in (card.normalisation.gain, card.normalisation.bias)
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {card.input_name: pixels.astype(np.float32) * gain + bias})[0]


def check_card(path: Path) -> None:
    facts = read_onnx_facts(path)
    beside = path.with_suffix(".json").read_text("utf-8")
    assert facts.metadata[METADATA_KEY] == beside
    card = parse_card(beside)
    assert card.weights_sha256 == facts.weights_sha256
    assert json.loads(card.to_json()) == json.loads(beside)
    assert not facts.weight_files
    assert card.task == "patch"
    assert card.activation == "logits"
    assert card.input_shape == (-1, 3, 64, 64)
    assert card.output_shape == (-1, 10)
    assert [(band.name, band.common_name, band.unit) for band in card.bands] == [
        ("B4", "red", "dn"),
        ("B3", "green", "dn"),
        ("B2", "blue", "dn"),
    ]
    assert card.unit == "dn"
    assert card.value_range == (0, 255)
    assert card.gsd == 10
    assert card.tile == 64
    assert [entry.value for entry in card.classes] == list(range(10))
    assert len({entry.color for entry in card.classes}) == 10
    assert {"overall accuracy", "kappa", "macro F1"} < set(card.metrics)
    assert len(card.metrics) == 3 + 2 * 10
    assert not card.normalisation.is_identity()
    assert "Helber" in card.sources[0]
    stac_model = pytest.importorskip("stac_model.schema", reason="only this check needs stac-model")
    stac_model.MLModelProperties.model_validate(json.loads(beside)["properties"])


def test_the_shipped_model_is_whole_and_small():
    check_card(SHIPPED)
    assert SHIPPED.stat().st_size <= 10_000_000
    card = read_model_card(SHIPPED)
    assert card.metrics["overall accuracy"] >= 0.93
    assert "Europe" in card.description
    assert "patches of one scene look alike" in card.description


def test_the_shipped_model_takes_any_number_of_patches_and_gives_logits():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 64, 64), dtype=np.uint8)
    together = scores(SHIPPED, pixels)
    assert together.shape == (5, 10)
    assert together.min() < 0  # neither softmax nor sigmoid
    for index in range(5):
        np.testing.assert_allclose(scores(SHIPPED, pixels[index : index + 1])[0], together[index], atol=1e-4)


@pytest.mark.real
def test_the_shipped_model_is_right_on_real_images_that_were_held_out(real_data):
    archive = real_data("eurosat_rgb.zip")
    with zipfile.ZipFile(archive) as images:
        held_out = sorted(name for name in images.namelist() if name.endswith(".jpg") and split_of(name) == TEST)
    sample = np.random.default_rng(3).choice(held_out, 300, replace=False).tolist()
    patches = training.read_patches(archive, sample)
    assert (scores(SHIPPED, patches.pixels).argmax(axis=1) == patches.labels).mean() >= 0.93
