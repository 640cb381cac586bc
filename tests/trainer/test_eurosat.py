"""The way of the EuroSAT model that ships (``make train-eurosat``), at a tiny size but for real."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from thematica.models.reading import read_model_card
from thematica.models.store import BUNDLED_FOLDER
from thematica.trainer.dataset.eurosat import CLASSES
from thematica.trainer.eurosat_split import TEST, TRAIN, split_of

from ..engine.workplace import run_here
from .dataset.patch_sets import zipped

#: Much smaller than the recipe that ships, and in 32 bits: not every processor knows the 16.
TINY = (
    "network_options.widths=[8,12]", "network_options.depths=[1,1]", "batch=16", "precision=fp32", "epochs=3",
        "average=0.9")  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of each class: its colour, lightened or darkened, with noise."""
    chance = np.random.default_rng(5)
    root = tmp_path_factory.mktemp("pictures")
    for label, (_, color) in CLASSES.items():
        rgb = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]).reshape(3, 1, 1)
        (root / "EuroSAT" / label).mkdir(parents=True)
        for number in range(1, 41):
            image = rgb * chance.uniform(0.8, 1.1) + chance.normal(0, 12, (3, 64, 64))
            path = root / "EuroSAT" / label / f"{label}_{number}.jpg"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(path, "w", driver="JPEG", width=64, height=64, count=3, dtype="uint8") as file:
                    file.write(image.clip(0, 255).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the training set and the run."""
    folder = tmp_path_factory.mktemp("made")
    archive = zipped(pictures, folder / "eurosat.zip")
    done = run_here("build-dataset", folder / "set", "--folder", archive, "--layout", "eurosat")
    assert done.status == 0, done.err
    settings = [word for change in TINY for word in ("--set", change)]
    done = run_here(
        "train", folder / "set", "--network", "small-resnet", "--card", BUNDLED_FOLDER / "eurosat-rgb.json", "--output",
        folder / "run", "--name", "eurosat-rgb", *settings,
    )  # fmt: skip
    assert done.status == 0, done.err
    return folder


def test_the_card_is_that_of_the_model_that_ships_but_for_what_was_measured(made):
    new, shipped = read_model_card(made / "run" / "model.onnx"), read_model_card(BUNDLED_FOLDER / "eurosat-rgb.onnx")
    for field in (
        "name", "title", "description", "task", "bands", "classes", "activation", "data_type", "input_name",
        "output_name", "input_shape", "output_shape", "unit", "value_range", "gsd", "tile", "licence", "sources",
    ):  # fmt: skip
        assert getattr(new, field) == getattr(shipped, field), field
    assert set(new.metrics) == set(shipped.metrics)
    assert new.trained_on.startswith("280 patches")
    assert "80 to test" in new.split
    assert new.metrics["overall accuracy"] > 0.5  # one in ten by chance
    training = json.loads((made / "run" / "training.json").read_text())
    losses = [epoch["loss"] for epoch in training["history"]]
    assert losses[-1] < losses[0] - 0.2


def test_no_image_that_trained_counts_as_held_out(made):
    names = (made / "set" / "names.txt").read_text("utf-8").splitlines()
    parts = {
        part: {names[place] for path in (made / "set").glob(f"{part}-*.places.npy") for place in np.load(path)["name"]}
        for part in ("train", "test")
    }
    assert (len(parts["train"]), len(parts["test"])) == (280, 80)
    assert {split_of(name) for name in parts["train"]} == {TRAIN}
    assert {split_of(name) for name in parts["test"]} == {TEST}


def test_the_pictures_alone_give_the_accuracy_that_the_card_states(made, pictures):
    """``classify-folder`` decodes and scales by the card; it knows nothing of the training set."""
    held_out = made / "held-out"
    held_out.mkdir()
    for path in pictures.rglob("*.jpg"):
        if split_of(path.name) == TEST:
            (held_out / path.name).symlink_to(path)
    table, model = made / "labels.csv", made / "run" / "model.onnx"
    done = run_here("classify-folder", held_out, "--model", model, "--output", table)
    assert done.status == 0, done.err
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    right = [CLASSES[row["file"].partition("_")[0]][0] == row["label"] for row in rows]
    assert len(right) == 80
    assert np.mean(right) == pytest.approx(read_model_card(model).metrics["overall accuracy"], abs=1e-4)


def test_evaluate_finds_the_classes_of_the_model_that_ships_by_their_names(made):
    done = run_here("evaluate", "eurosat-rgb", made / "set", "--progress", "json")
    assert done.status == 0, done.out
    report = done.events[-1]["report"]
    assert (report["matched_by"], report["samples"]) == ("name", 80)
    assert report["bands"] == ["B4", "B3", "B2"]
    assert report["classes"] == [name for name, _ in CLASSES.values()]
