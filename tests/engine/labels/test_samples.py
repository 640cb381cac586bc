"""The labelled pixels of an image: their values are those of the file, and nothing else is read."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely

from thematica.engine.image import open_image
from thematica.engine.labels import samples
from thematica.engine.labels.samples import labelled_pixels
from thematica.engine.labels.shape_map import ShapeMap

from ..networks import image, noise
from .layers import labels_of


def all_of(source, labels, **options):
    """Values, class and shape by row and column, and how many pixels are missing."""
    parts = list(labelled_pixels(source, labels, **options))
    rows, cols, places, shapes = (
        np.concatenate([getattr(part, name) for part in parts]).tolist()
        for name in ("rows", "cols", "places", "shapes")
    )
    found = dict(zip(zip(rows, cols, strict=True), zip(places, shapes, strict=True), strict=True))
    return np.concatenate([part.values for part in parts]), found, sum(part.missing for part in parts)


@pytest.fixture
def scene(tmp_path):
    pixels = noise((4, 300, 420), "int16", low=1, high=9000)
    pixels[2, 100:110, 50:60] = -1
    path = image(tmp_path / "a.tif", pixels, nodata=-1, tiled=True, blockxsize=64, blockysize=64)
    shapes = [shapely.box(45, 95, 65, 104), shapely.Point(400.5, 290.5), shapely.Point(400.6, 290.6)]
    return path, pixels, ShapeMap(labels_of(shapes, [0, 1, 1]), 300, 420)


@pytest.mark.parametrize("side", [None, 50, 256, 1000])
def test_values_are_those_of_the_file(scene, side):
    path, pixels, labels = scene
    with open_image([path], bands="3,1") as opened:
        values, places, missing = all_of(opened.source, labels, side=side)
    assert missing == 4 * 10
    assert len(places) == len(values) == 9 * 20 - 40 + 1
    for (row, col), value in zip(places, values, strict=True):
        assert value.tolist() == pixels[[2, 0], row, col].tolist()
    assert places[290, 400] == (1, 1)
    assert places[95, 45] == (0, 0)
    assert values.dtype == np.int16


def test_windows_without_labels_are_not_read(scene, monkeypatch):
    path, _, labels = scene
    read = []
    with open_image([path]) as opened:
        original = opened.source.read
        monkeypatch.setattr(opened.source, "read", lambda window: read.append(window) or original(window))
        list(labelled_pixels(opened.source, labels, side=64))
    assert sum(window.width * window.height for window in read) <= 9 * 20 + 1


def test_images_of_many_bands_are_read_in_parts(scene, monkeypatch):
    path, _, labels = scene
    with open_image([path]) as opened:
        expected = all_of(opened.source, labels)
        monkeypatch.setattr(samples, "_MOST_SAMPLES", 100)
        values, places, missing = all_of(opened.source, labels)
    assert places == expected[1]
    assert missing == expected[2]
    assert (np.sort(values, axis=0) == np.sort(expected[0], axis=0)).all()


def test_windows_do_not_cut_blocks(scene):
    path, *_ = scene
    with open_image([path]) as opened:
        assert samples._side(opened.source) % 64 == 0
    with rasterio.open(path) as dataset:
        assert dataset.block_shapes[0] == (64, 64)
