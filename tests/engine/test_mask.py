"""A mask raster says which pixels are mapped; what the network sees around them stays the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thematica.engine import PixelJob, classify
from thematica.errors import InputError

from .networks import image, light, noise, read


def run(folder: Path, mask: Path | None, **options) -> np.ndarray:
    scene, model = folder / "scene.tif", folder / "m.onnx"
    if not scene.exists():
        image(scene, noise((3, 60, 80)))
        light(model)
    classify(
        PixelJob([str(scene)], str(model), str(folder / "map.tif"), mask=str(mask) if mask else None, tile=16,
                 overwrite=True, **options)
    )  # fmt: skip
    return read(folder / "map.tif")[0]


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
def test_only_what_the_mask_marks_is_mapped(tmp_path: Path, kind: str) -> None:
    everything = run(tmp_path, None)
    marks = np.random.default_rng(1).choice([0, 1, 7], (1, 60, 80)).astype(kind)
    marks[0, 20:, 40:] = 0
    if kind == "float32":
        marks[0, 3, :] = np.nan
    found = run(tmp_path, image(tmp_path / "mask.tif", marks, nodata=7))
    inside = marks[0] == 1
    # The neighbours of a pixel count, marked or not.
    np.testing.assert_array_equal(found, np.where(inside, everything, 255))


def test_a_mask_on_a_grid_of_its_own_is_read_at_the_centres(tmp_path: Path) -> None:
    everything = run(tmp_path, None)
    # Pixels of 30 m from a corner inside the scene: three by three, and nothing beyond.
    marks = np.random.default_rng(2).choice([0, 1], (1, 8, 9)).astype("uint8")
    mask = image(tmp_path / "mask.tif", marks, resolution=30, origin=(500_100, 5_499_900))
    found = run(tmp_path, mask)
    inside = np.zeros((60, 80), bool)
    inside[10:34, 10:37] = np.kron(marks[0], np.ones((3, 3)))
    np.testing.assert_array_equal(found, np.where(inside, everything, 255))


def test_a_mask_in_another_crs(tmp_path: Path) -> None:
    everything = run(tmp_path, None)
    mask = image(tmp_path / "mask.tif", np.ones((1, 300, 300), "uint8"), crs="EPSG:4326", resolution=1e-5,
                 origin=(9.003, 49.65))  # fmt: skip
    found = run(tmp_path, mask)
    inside = found != 255
    assert 0.05 < inside.mean() < 0.9
    np.testing.assert_array_equal(found[inside], everything[inside])


def test_a_mask_and_an_area_together(tmp_path: Path) -> None:
    everything = run(tmp_path, None)
    marks = np.random.default_rng(1).choice([0, 1], (1, 60, 80)).astype("uint8")
    run(tmp_path, image(tmp_path / "mask.tif", marks), area=[500_100, 5_499_600, 500_400, 5_499_900])
    found = read(tmp_path / "map.tif")[0]
    assert found.shape == (30, 30)
    here = (slice(10, 40), slice(10, 40))
    np.testing.assert_array_equal(found, np.where(marks[0][here] == 1, everything[here], 255))


def test_a_mask_without_georeference_lies_pixel_on_pixel(tmp_path: Path) -> None:
    everything = run(tmp_path, None)
    marks = np.random.default_rng(1).choice([0, 255], (1, 60, 80)).astype("uint8")
    found = run(tmp_path, image(tmp_path / "mask.tif", marks, crs=None, transform=None))
    np.testing.assert_array_equal(found, np.where(marks[0] > 0, everything, 255))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"samples": np.zeros((1, 60, 80), "uint8")}, "leaves nothing to classify"),
        ({"samples": np.full((1, 60, 80), 3, "uint8"), "nodata": 3}, "leaves nothing to classify"),
        ({"samples": np.ones((1, 60, 80), "uint8"), "origin": (900_000, 5_500_000)}, "leaves nothing to classify"),
        ({"samples": np.ones((1, 30, 80), "uint8"), "crs": None, "transform": None}, "same size"),
        ({"samples": np.ones((1, 30, 80), "uint8"), "crs": None}, "no CRS"),
    ],
)
def test_masks_that_cannot_be(tmp_path: Path, mask: dict, words: str) -> None:
    run(tmp_path, None)
    before = (tmp_path / "map.tif").read_bytes()
    with pytest.raises(InputError, match=words):
        run(tmp_path, image(tmp_path / "mask.tif", mask.pop("samples"), **mask))
    assert (tmp_path / "map.tif").read_bytes() == before
