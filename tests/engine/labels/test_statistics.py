"""What labels say on an image, from files: compared with sums over the source pixels made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from rasterio.warp import transform_geom
from rasterio.windows import Window

from thematica.engine.ground_area import PixelArea
from thematica.engine.image import Image, open_image
from thematica.engine.labels.open_labels import open_labels
from thematica.engine.labels.pixel_cache import PixelCache
from thematica.engine.labels.statistics import label_statistics
from thematica.errors import Cancelled
from thematica.progress import Monitor

from ..networks import image

RealData = Callable[[str], Path]


@contextmanager
def opened(rasters: list[Path], labels: Path, field: str = "", **more) -> Iterator[tuple[Image, object]]:
    with open_image(rasters, **more) as scene, open_labels(str(labels), field, scene.source.grid) as label_map:
        yield scene, label_map


def statistics_of(rasters: list[Path], labels: Path, field: str = "", **more) -> dict:
    with opened(rasters, labels, field, **more) as (scene, label_map):
        return label_statistics(scene, label_map)


def burnt(raster: Path, vectors: Path, field: str) -> dict[str, list[tuple[int, np.ndarray]]]:
    """Of every class, its features with the (H, W) pixels that each holds: another program's way to find them."""
    meta, fids, wkbs, (values,) = pyogrio.raw.read(vectors, columns=[field], return_fids=True)
    found: dict[str, list[tuple[int, np.ndarray]]] = {}
    with rasterio.open(raster) as dataset:
        for fid, wkb, value in zip(fids, wkbs, values, strict=True):
            shape = shapely.geometry.mapping(shapely.from_wkb(wkb))
            shape = transform_geom(meta["crs"], dataset.crs, shape)
            mask = rasterio.features.geometry_mask([shape], dataset.shape, dataset.transform, invert=True)
            found.setdefault(str(value), []).append((int(fid), mask))
    return found


def by_the_book(one: np.ndarray, two: np.ndarray) -> tuple[float, float, float]:
    """Bhattacharyya, Jeffries–Matusita and transformed divergence of samples (n, C), as the books write them."""
    delta = one.mean(axis=0) - two.mean(axis=0)
    a, b = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    middle = (a + b) / 2
    determinants = [np.linalg.slogdet(part)[1] for part in (middle, a, b)]
    distance = delta @ np.linalg.solve(middle, delta) / 8 + (determinants[0] - sum(determinants[1:]) / 2) / 2
    inverse_a, inverse_b = np.linalg.inv(a), np.linalg.inv(b)
    divergence = np.trace((a - b) @ (inverse_b - inverse_a)) / 2 + delta @ (inverse_a + inverse_b) @ delta / 2
    return distance, 2 * (1 - np.exp(-distance)), 2 * (1 - np.exp(-divergence / 8))


def assert_by_hand(found: dict, samples: dict[str, np.ndarray], rtol: float = 1e-9) -> None:
    """Spectra of every class, and the figures of every pair whose classes have enough pixels."""
    bands = len(found["bands"])
    names = {entry["code"]: entry["name"] for entry in found["classes"]}
    assert set(samples) == set(names.values())
    for entry in found["classes"]:
        values = samples[entry["name"]].astype(float)
        assert entry["pixels"] == len(values)
        np.testing.assert_allclose(entry["mean"], values.mean(axis=0), rtol=rtol)
        np.testing.assert_allclose(entry["std"], values.std(axis=0, ddof=1), rtol=rtol)
        np.testing.assert_allclose(entry["p05"], np.percentile(values, 5, axis=0), rtol=rtol)
        np.testing.assert_allclose(entry["p95"], np.percentile(values, 95, axis=0), rtol=rtol)
    assert len(found["pairs"]) == len(samples) * (len(samples) - 1) / 2
    compared = 0
    for pair in found["pairs"]:
        one, two = samples[names[pair["a"]]], samples[names[pair["b"]]]
        if min(len(one), len(two)) > 10 * bands:
            expected = by_the_book(one.astype(float), two.astype(float))
            np.testing.assert_allclose(
                [pair["bhattacharyya"], pair["jeffries_matusita"], pair["transformed_divergence"]], expected, rtol=1e-6
            )
            compared += 1
    assert compared


@pytest.mark.real
def test_landsat7_chiapas_is_what_its_pixels_say(real_data: RealData) -> None:
    raster = real_data("landsat7_chiapas/LE70220491999322EDC01_stack.gtif")
    vectors = real_data("landsat7_chiapas/training_data.shp")
    found = statistics_of([raster], vectors, "class")
    with rasterio.open(raster) as dataset:
        values = dataset.read(list(range(1, 8)))
    samples = {
        name: np.concatenate([values[:, mask].T for _, mask in features])
        for name, features in burnt(raster, vectors, "class").items()
    }
    assert_by_hand(found, samples)
    assert sum(entry["polygons"] for entry in found["classes"]) == 30
    # 30 m pixels in UTM, 900 m² but for the projection's scale.
    for entry in found["classes"]:
        assert entry["hectares"] == pytest.approx(entry["pixels"] * 0.09, rel=0.002)
    warned = {entry["code"]: entry for entry in found["warnings"]}
    assert len(warned["few-polygons"]["features"]) == 2
    assert {"few-samples", "imbalance", "poorly-separable"} < set(warned)
    assert warned["fields-disagree"]["features"] == [6, 8]


@pytest.mark.real
def test_of_the_second_date_pixels_without_data_do_not_count(real_data: RealData, tmp_path: Path) -> None:
    raster = real_data("landsat7_chiapas/LE70220492002106EDC00_stack.gtif")
    vectors = real_data("landsat7_chiapas/training_data.shp")
    with rasterio.open(raster) as dataset:
        values, profile = dataset.read(), dataset.profile
    masks = burnt(raster, vectors, "class")
    # A bite out of one polygon, as clouds are taken out.
    rows, cols = np.nonzero(masks["forest"][0][1])
    values[2, rows[:5], cols[:5]] = -9999
    bitten = tmp_path / "bitten.tif"
    with rasterio.open(bitten, "w", **{**profile, "driver": "GTiff", "nodata": -9999}) as dataset:
        dataset.write(values)
    found = statistics_of([bitten], vectors, "class", bands="1-7")
    valid = (values[:7] != -9999).all(axis=0)
    samples = {
        name: np.concatenate([values[:7, mask & valid].T for _, mask in features]) for name, features in masks.items()
    }
    lost = sum(int((mask & ~valid).sum()) for features in masks.values() for _, mask in features)
    assert lost >= 5
    assert found["unlabelled_missing"] == lost
    assert_by_hand(found, samples)
    assert "missing" in [entry["code"] for entry in found["warnings"]]


@pytest.mark.real
def test_sentinel2_brazil_is_what_its_pixels_say(real_data: RealData) -> None:
    raster = real_data("sentinel2_brazil/sen2_brazil.tif")
    vectors = real_data("sentinel2_brazil/training_sen2.gpkg")
    found = statistics_of([raster], vectors, "class")
    with rasterio.open(raster) as dataset:
        values = dataset.read()
        area = PixelArea(dataset.crs, dataset.transform, dataset.width, dataset.height, [0, 1])
    masks = burnt(raster, vectors, "class")
    assert_by_hand(
        found,
        {name: np.concatenate([values[:, mask].T for _, mask in features]) for name, features in masks.items()},
        rtol=1e-6,
    )
    # Degrees are no metres: hectares come from the ellipsoid.
    forest = next(entry for entry in found["classes"] if entry["name"] == "forest")
    area.accumulate(np.any([mask for _, mask in masks["forest"]], axis=0).astype(np.uint8), 0, 0)
    assert area.hectares is not None
    assert forest["hectares"] == pytest.approx(area.hectares[1], rel=1e-4)
    assert forest["hectares"] / forest["pixels"] == pytest.approx(0.00993, rel=0.001)
    assert found["bands"][7] == {"name": "B8", "common_name": "nir", "wavelength": 0.8328}
    # Accuracy by polygon is 0.999 here: nothing to mend.
    assert found["lookalikes"] == []
    assert found["warnings"] == []


@pytest.mark.real
def test_a_polygon_of_brazil_that_is_given_the_wrong_class_is_found(real_data: RealData, tmp_path: Path) -> None:
    raster = real_data("sentinel2_brazil/sen2_brazil.tif")
    meta, _, wkbs, (values,) = pyogrio.raw.read(
        real_data("sentinel2_brazil/training_sen2.gpkg"), columns=["class"], return_fids=True
    )
    for planted in range(0, len(values), 4):
        wrong = values.copy()
        wrong[planted] = "water" if values[planted] != "water" else "forest"
        path = tmp_path / f"wrong{planted}.gpkg"
        pyogrio.raw.write(path, wkbs, [wrong], ["class"], geometry_type="Polygon", crs=meta["crs"], layer="labels")
        found = statistics_of([raster], path, "class")
        names = {entry["code"]: entry["name"] for entry in found["classes"]}
        assert [(entry["feature"], names[entry["looks_like"]]) for entry in found["lookalikes"]] == [
            (planted + 1, values[planted])
        ]


@pytest.mark.real
def test_salinas_has_more_bands_than_some_classes_could_bear(real_data: RealData) -> None:
    raster, truth = real_data("salinas_a/salinasA_204.tif"), real_data("salinas_a/salinasA_gt.tif")
    with rasterio.open(raster) as dataset:
        values = dataset.read()
    with rasterio.open(truth) as dataset:
        codes = dataset.read(1)
    few = statistics_of([raster], truth, bands="10,40,100,150")
    assert_by_hand(
        few, {f"Class {code}": values[[9, 39, 99, 149]][:, codes == code].T for code in (1, 10, 11, 12, 13, 14)}
    )
    all_bands = statistics_of([raster], truth)
    assert [entry["code"] for entry in all_bands["classes"]] == [1, 10, 11, 12, 13, 14]
    assert all(np.isfinite(pair["bhattacharyya"]) for pair in all_bands["pairs"])
    assert all_bands["classes"][0]["hectares"] is None
    np.testing.assert_allclose(all_bands["classes"][1]["mean"], values[:, codes == 10].mean(axis=1))
    assert len(next(entry for entry in all_bands["warnings"] if entry["code"] == "few-samples")["classes"]) == 6


def scene_with_labels(folder: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """A scene of 700 × 600 pixels, more than one window, with a raster of two classes; values and codes too."""
    rng = np.random.default_rng(1)
    codes = np.zeros((700, 600), np.uint8)
    codes[10:300, 20:590], codes[350:690, 5:400] = 3, 7
    values = (rng.normal(100, 5, (3, 700, 600)) + 50 * (codes == 7)).round().astype(np.int16)
    values[1, 20:30, 30:50] = -1
    raster = image(folder / "scene.tif", values, nodata=-1, tiled=True, blockxsize=128, blockysize=128)
    return raster, image(folder / "codes.tif", codes[None]), values, codes


def test_windows_add_up_and_declared_scales_hold(tmp_path: Path) -> None:
    raster, labels, values, codes = scene_with_labels(tmp_path)
    with rasterio.open(raster, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.01, 0.01, 1.0), (0.0, -0.5, 0.0)
    valid = values[1] != -1
    physical = values * np.array([0.01, 0.01, 1.0])[:, None, None] + np.array([0, -0.5, 0])[:, None, None]
    found = statistics_of([raster], labels)
    assert_by_hand(found, {f"Class {code}": physical[:, (codes == code) & valid].T for code in (3, 7)})
    assert found["unlabelled_missing"] == 200
    with rasterio.open(raster) as dataset:
        area = PixelArea(dataset.crs, dataset.transform, 600, 700, [0, 3, 7])
    area.accumulate(np.where(valid, codes, 0), 0, 0)
    assert area.hectares is not None
    assert [entry["hectares"] for entry in found["classes"]] == pytest.approx(
        [area.hectares[code] for code in (3, 7)], rel=1e-4
    )


def test_progress_is_told_and_cancelling_ends_it(tmp_path: Path) -> None:
    raster, labels, _, _ = scene_with_labels(tmp_path)
    events: list[dict] = []
    with opened([raster], labels) as (scene, label_map):
        label_statistics(scene, label_map, Monitor(events.append))
        fractions = [event["fraction"] for event in events]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1
        monitor = Monitor()
        monitor.cancel()
        with pytest.raises(Cancelled):
            label_statistics(scene, label_map, monitor)


def test_area_of_single_pixels_is_that_of_their_block() -> None:
    transform = rasterio.Affine(0.5, 0, -180, 0, -0.5, 90)
    area = PixelArea(rasterio.CRS.from_epsg(4326), transform, 720, 360, [0])
    block = area.pixel_hectares(100, 200, 50, 40)
    rows, cols = np.mgrid[100:150, 200:240]
    np.testing.assert_allclose(area.hectares_at(rows.ravel(), cols.ravel()), block.ravel())
    nowhere = PixelArea(None, rasterio.Affine.identity(), 10, 10, [0])
    assert nowhere.hectares_at(np.array([1]), np.array([1])) is None


def test_after_an_edit_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raster, labels, _, codes = scene_with_labels(tmp_path)
    cache = PixelCache()
    windows: list[Window] = []
    with opened([raster], labels) as (scene, label_map):
        read = scene.source.read
        monkeypatch.setattr(scene.source, "read", lambda window: (windows.append(window), read(window))[1])
        first = label_statistics(scene, label_map, cache=cache)
        assert len(windows) > 3
        assert first == label_statistics(scene, label_map)
        windows.clear()
        assert label_statistics(scene, label_map, cache=cache) == first
        assert windows == []
        # Another class on the same pixels: nothing to read.  A pixel more: its window alone.
        codes[codes == 7] = 9
        codes[699, 599] = 3
        with open_labels(str(image(tmp_path / "edited.tif", codes[None])), "", scene.source.grid) as edited:
            found = label_statistics(scene, edited, cache=cache)
            assert len(windows) == 1
            assert found == label_statistics(scene, edited)
    assert [entry["code"] for entry in found["classes"]] == [3, 9]


def test_the_cache_keeps_what_was_read_last_and_no_more_than_it_may(tmp_path: Path) -> None:
    raster, _, values, _ = scene_with_labels(tmp_path)
    asked = np.ones((10, 100), bool)
    with open_image([raster]) as scene:
        cache = PixelCache(3 * (10 * 100 * 3 * 2 + 1000))
        for row in (0, 100, 200, 0, 300, 0):
            found, wanted = cache.read(scene.source, Window(200, row, 100, 10), asked)
            assert wanted.all()
            np.testing.assert_array_equal(found.T.reshape(3, 10, 100), values[:, row : row + 10, 200:300])
        assert [place[0] for place in cache._parts] == [200, 300, 0]
