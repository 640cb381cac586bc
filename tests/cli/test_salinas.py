"""A hyperspectral scene: windows that share no ground between the parts, a random split's optimism, and the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from thematica.trainer.dataset.description import PARTS
from thematica.trainer.dataset.read import TrainingSet

from ..engine.workplace import run_here

SIZE = 5


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_windows_of_salinas_are_learned_on_ground_of_their_own_and_mapped(real_data, tmp_path):
    labels, scene = real_data("salinas_a/salinasA_gt.tif"), tmp_path / "scene.tif"
    # Every sixth band: the same scene in a sixth of the time.
    with rasterio.open(real_data("salinas_a/salinasA_204.tif")) as file:
        values = file.read(list(range(1, 205, 6)))
        with rasterio.open(scene, "w", **{**file.profile, "count": len(values)}) as copy:
            copy.write(values)
    data, run = tmp_path / "set", tmp_path / "run"
    built = run_here(
        "build-dataset", data, "--raster", scene, "--labels", labels, "--kind", "windows", "--size", SIZE, "--seed", 1
    )
    assert built.status == 0, built.err
    middles = {part: places_of(data, part) for part in PARTS}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        apart = np.abs(middles[one][:, None] - middles[other][None]).max(axis=2).min()
        # Windows do not touch, and three pixels lie between them.
        assert apart >= SIZE + 3

    trained = run_here(
        "train", data, "--network", "cnn3d", "--epochs", 5, "--report-optimism", "--output", run, "--progress", "json"
    )
    assert trained.status == 0, trained.out
    report = trained.events[-1]["report"]
    confusion = np.array(report["confusion"])
    # Who always says the most frequent class has 0.29; with all bands and 20 epochs it is 0.98.
    assert confusion.sum(axis=1).max() / confusion.sum() < 0.3
    assert report["metrics"]["overall accuracy"] > 0.8
    told = report["optimism"]["overall accuracy"]
    assert told["blocked"] == report["metrics"]["overall accuracy"]
    assert told["gap"] == pytest.approx(told["random"] - told["blocked"], abs=1e-4)
    assert told["random"] > 0.8

    # The model that is delivered runs over the whole scene, and is as good on the test pixels as it was measured.
    mapped = run_here("classify-pixels", scene, "--model", run / "model.onnx", "--output", tmp_path / "map.tif")
    assert mapped.status == 0, mapped.err
    with rasterio.open(tmp_path / "map.tif") as found, rasterio.open(labels) as truth:
        codes, wanted = found.read(1), truth.read(1)
    assert codes.shape == (83, 86)
    assert set(np.unique(codes)) <= {1, 10, 11, 12, 13, 14}
    row, column = middles["test"].T
    assert (codes[row, column] == wanted[row, column]).sum() == np.trace(confusion)


def places_of(data: Path, part: str) -> np.ndarray:
    """(n, 2) rows and columns of the labelled pixels."""
    found = [np.stack([piece.places["row"], piece.places["col"]], axis=1) for piece in TrainingSet(data).arrays(part)]
    return np.concatenate(found).astype(int)
