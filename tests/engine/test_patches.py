"""Classify patches: every patch gets what a direct run on it gives, whatever the raster, the stride or the batch."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine

from thematica.engine import patch_grid
from thematica.engine.classify_patches import classify_patches
from thematica.engine.job import PatchJob
from thematica.engine.patch_layer import probability_columns
from thematica.errors import InputError, OutputError
from thematica.models.card import FurtherOutput, ModelClass

from .networks import Net, image, make_card, noise, read, save, z_scores
from .patch_networks import BANDS, CLASSES, direct, patch_net, table
from .test_exact import reflect


def scene(path: Path, height: int = 40, width: int = 50, **profile) -> Path:
    """Blocks of one value under a little noise, so that patches differ."""
    coarse = noise((BANDS, height // 8 + 1, width // 8 + 1), seed=1, low=40, high=220)
    samples = np.repeat(np.repeat(coarse, 8, 1), 8, 2)[:, :height, :width]
    return image(path, samples + noise(samples.shape, seed=2, high=8), **profile)


def run(folder: Path, raster: Path, model: Path, output: str = "map.gpkg", **options) -> dict:
    """Run a job; returns its report."""
    return classify_patches(PatchJob([str(raster)], str(model), str(folder / output), **options))["report"]


def expected_patches(
    samples: np.ndarray, valid: np.ndarray, side: int, stride: int, fill: int, centres: np.ndarray | None = None
) -> tuple[list[tuple[int, int]], np.ndarray, list[float]]:
    """The rule of the grid, written down again: which patches, what they see, how much of it has data."""
    _, height, width = samples.shape
    filled = np.where(valid, samples, fill)
    seen = reflect(reflect(filled, 1, 0, side), 2, 0, side)
    has_data = np.zeros((height + side, width + side), bool)
    has_data[:height, :width] = valid
    places, patches, shares = [], [], []
    for i, row in enumerate(range(0, height, stride)):
        for j, column in enumerate(range(0, width, stride)):
            share = has_data[row : row + side, column : column + side].mean()
            centre = min(row + side // 2, height - 1), min(column + side // 2, width - 1)
            # What lies in the raster of a patch that has half of its pixels there is at least half of each side.
            if share >= 0.5 and (centres is None or centres[centre]):
                places.append((i, j))
                patches.append(seen[:, row : row + side, column : column + side])
                shares.append(share)
    return places, np.array(patches).reshape(-1, len(samples), side, side), shares


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    side=st.integers(1, 8),
    stride=st.integers(1, 20),
    batch=st.one_of(st.none(), st.integers(1, 70)),
    missing=st.sampled_from(["none", "some", "half", "all"]),
    several=st.booleans(),
    area=st.one_of(st.none(), st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(8, 60))),
    fixed=st.sampled_from(["n", 1, 5]),
    seed=st.integers(0, 5),
    chunk_pixels=st.sampled_from([1, 600, 1 << 20]),
)
def test_every_patch_gets_what_a_direct_run_gives(
    size, side, stride, batch, missing, several, area, fixed, seed, chunk_pixels
) -> None:
    if size[0] * size[1] > 400 * stride**2:
        stride = 8
    random = np.random.default_rng(seed)
    samples = noise((BANDS, *size), seed=seed, low=1)
    gone = {
        "none": np.zeros(size, bool), "some": random.random(size) < 0.05, "all": np.ones(size, bool),
        "half": np.add.outer(np.arange(size[0]), np.arange(size[1])) > sum(size) / 2,
    }[missing]  # fmt: skip
    samples[:, gone] = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raster = image(folder / "scene.tif", samples, nodata=0)
        model = patch_net(folder / "net.onnx", side, task="patch-multilabel" if several else "patch", batch=fixed)
        options: dict = {"stride": stride, "batch": batch}
        inside = None
        if area is not None:
            row, column, length = area
            left, top = 500_000 + column * 10, 5_500_000 - row * 10
            options["area"] = [float(left), float(top - length * 10), float(left + length * 10), float(top)]
            inside = np.zeros(size, bool)
            inside[row : row + length, column : column + length] = True
        places, patches, shares = expected_patches(samples, ~gone, side, stride, 128, inside)
        with mock.patch.object(patch_grid, "CHUNK_PIXELS", chunk_pixels), mock.patch.object(patch_grid, "_STRIP", 20):
            if inside is not None and not middles(size, side, stride, inside):
                with pytest.raises(InputError, match=r"middle|overlap|pixel"):
                    run(folder, raster, model, **options)
                return
            report = run(folder, raster, model, **options)
        found = table(folder / "map.gpkg")
        probabilities = direct(model, patches, several) if places else None
    assert sorted(zip(found["row"].tolist(), found["column"].tolist(), strict=True)) == sorted(places)
    assert report["patches"]["count"] == len(places)
    assert report["patches"]["count"] + report["patches"]["without_data"] == middles(size, side, stride, inside)
    if probabilities is None:
        return
    order = {place: index for index, place in enumerate(places)}
    here = [order[place] for place in zip(found["row"].tolist(), found["column"].tolist(), strict=True)]
    wanted = probabilities[here]
    got = np.stack([found[name] for name in probability_columns([ModelClass(i, n, "") for i, n in enumerate(CLASSES)])])
    np.testing.assert_allclose(got.T, wanted, atol=1e-5)
    np.testing.assert_allclose(found["valid"], np.array(shares)[here], atol=1e-4)
    np.testing.assert_allclose(found["score"], wanted.max(axis=1), atol=1e-5)
    best_two = np.sort(wanted, axis=1)[:, -2:]
    sure = best_two[:, 1] - best_two[:, 0] > 1e-5
    np.testing.assert_array_equal(found["code"][sure], wanted.argmax(axis=1)[sure])
    if not several:
        assert found["label"][sure].tolist() == [CLASSES[index] for index in wanted.argmax(axis=1)[sure]]
    else:
        clear = (np.abs(wanted - 0.5) > 1e-5).all(axis=1)
        sets = ["; ".join(name for name, value in zip(CLASSES, row, strict=True) if value >= 0.5) for row in wanted]
        assert found["label"][clear].tolist() == np.array(sets, object)[clear].tolist()


def middles(size: tuple[int, int], side: int, stride: int, inside: np.ndarray | None) -> int:
    """How many patches of the grid have their middle in the area."""
    count = 0
    for row in range(0, size[0], stride):
        for column in range(0, size[1], stride):
            fits = row + side / 2 <= size[0] and column + side / 2 <= size[1]
            centre = min(row + side // 2, size[0] - 1), min(column + side // 2, size[1] - 1)
            count += bool(fits and (inside is None or inside[centre]))
    return count


# The layer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scene(tmp_path / "scene.tif")
    patch_net(tmp_path / "net.onnx")
    patch_net(tmp_path / "several.onnx", task="patch-multilabel")
    return tmp_path


def test_the_layer_and_its_columns(folder: Path) -> None:
    result = classify_patches(PatchJob([str(folder / "scene.tif")], str(folder / "net.onnx"), str(folder / "map.gpkg")))
    assert set(result["files"]) == {"output", "style", "report"}
    assert sorted(path.name for path in folder.glob("map*")) == ["map.gpkg", "map.qml", "map.report.json"]
    assert result["report"] == json.loads((folder / "map.report.json").read_text(encoding="utf-8"))
    info = pyogrio.read_info(folder / "map.gpkg", layer="map")
    assert info["geometry_type"] == "Polygon"
    assert info["crs"] == "EPSG:32632"
    assert list(info["fields"]) == [
        "label", "code", "score", "valid", "row", "column", "p_forest", "p_annual_crop", "p_water", "p_grunland_nass",
    ]  # fmt: skip
    found = table(folder / "map.gpkg")
    # 40 × 50 pixels: five patches down; six across, and two columns of pixels that are too few for a seventh.
    assert len(found["label"]) == 5 * 6
    first = shapely.from_wkb(found["outline"][0])
    assert first.bounds == (500_000, 5_500_000 - 80, 500_080, 5_500_000)
    assert shapely.is_ccw(first.exterior)
    assert found["p_forest"].dtype == np.float64


def test_a_patch_beyond_the_border_is_cut_there(folder: Path) -> None:
    """45 columns and patches of 8: the sixth has 5 of its columns in the raster."""
    scene(folder / "odd.tif", 40, 45)
    run(folder, folder / "odd.tif", folder / "net.onnx")
    found = table(folder / "map.gpkg")
    last = found["column"] == 5
    assert last.sum() == 5
    np.testing.assert_allclose(found["valid"][last], 5 / 8)
    assert {shapely.from_wkb(outline).bounds[2] for outline in found["outline"][last]} == {500_450.0}
    everything = shapely.union_all(shapely.from_wkb(found["outline"]))
    assert everything.equals(shapely.box(500_000, 5_500_000 - 400, 500_450, 5_500_000))


@pytest.mark.parametrize("kind", ["rotated", "south-up", "none"])
def test_on_every_grid_polygons_lie_where_the_pixels_do(folder: Path, kind: str) -> None:
    transforms = {
        "rotated": Affine(8, 6, 500_000, 6, -8, 5_500_000), "south-up": Affine(10, 0, 500_000, 0, 10, 5_500_000),
        "none": Affine.identity(),
    }  # fmt: skip
    crs = None if kind == "none" else "EPSG:32632"
    raster = scene(folder / "other.tif", crs=crs, transform=transforms[kind])
    report = run(folder, raster, folder / "net.onnx", stride=16)
    found = table(folder / "map.gpkg")
    # Without a place on Earth QGIS shows an image downwards from 0.
    shown = Affine.scale(1, -1) if kind == "none" else transforms[kind]
    for row, column, outline in zip(found["row"], found["column"], found["outline"], strict=True):
        corners = [(column * 16 + x, row * 16 + y) for y, x in ((0, 0), (8, 0), (8, 8), (0, 8))]
        wanted = shapely.Polygon([shown @ corner for corner in corners])
        assert shapely.from_wkb(outline).equals(wanted)
    assert pyogrio.read_info(folder / "map.gpkg", layer="map")["crs"] == crs
    assert (report["classes"][0]["hectares"] is None) == (kind == "none")
    run(folder, raster, folder / "net.onnx", "map.tif", stride=16, overwrite=True)
    with rasterio.open(folder / "map.tif") as dataset:
        assert dataset.crs == (None if crs is None else crs)
        # Its pixels lie around the middles of the patches.
        assert dataset.transform @ (0.5, 0.5) == pytest.approx(shown @ (4, 4))
        assert dataset.transform @ (2.5, 1.5) == pytest.approx(shown @ (36, 20))


def test_the_same_label_whatever_the_area(folder: Path) -> None:
    run(folder, folder / "scene.tif", folder / "net.onnx", "all.gpkg", stride=4)
    extent = [500_111.0, 5_499_733.0, 500_333.0, 5_499_901.0]
    report = run(folder, folder / "scene.tif", folder / "net.onnx", "part.gpkg", stride=4, area=extent)
    everything, part = table(folder / "all.gpkg"), table(folder / "part.gpkg")
    of = {
        (row, column): (label, outline)
        for row, column, label, outline in zip(*(everything[key] for key in ("row", "column", "label", "outline")),
                                               strict=True)
    }  # fmt: skip
    assert 0 < len(part["row"]) < len(everything["row"])
    for row, column, label, outline in zip(*(part[key] for key in ("row", "column", "label", "outline")), strict=True):
        assert of[row, column] == (label, outline)
    assert report["patches"]["count"] == len(part["row"])


def test_names_of_columns_are_unique_whatever_the_classes_are_called() -> None:
    names = ["Wald", "wald", "WALD!", "森林", "水", "x" * 100, "x" * 99 + "y", "", "p_wald", "a-b c"]
    columns = probability_columns([ModelClass(value, name, "#000000") for value, name in enumerate(names)])
    assert len({column.lower() for column in columns}) == len(names)
    assert max(map(len, columns)) <= 63
    assert columns[:5] == ["p_wald", "p_wald_2", "p_wald_3", "p_class_3", "p_class_4"]
    assert columns[-1] == "p_a_b_c"
    with pytest.raises(InputError, match="raster"):
        probability_columns([ModelClass(value, str(value), "#000000") for value in range(2000)])


def test_class_codes_are_those_of_the_card(folder: Path) -> None:
    classes = [ModelClass(value, name, "#123456") for value, name in zip((7, 300, 0, 12), CLASSES, strict=True)]
    model = patch_net(folder / "coded.onnx", class_list=classes)
    run(folder, folder / "scene.tif", model)
    run(folder, folder / "scene.tif", model, "map.tif", overwrite=True)
    found = table(folder / "map.gpkg")
    of = {entry.name: entry.value for entry in classes}
    assert found["code"].tolist() == [of[label] for label in found["label"]]
    codes = read(folder / "map.tif")[0]
    assert codes.dtype == np.uint16
    assert codes[found["row"], found["column"]].tolist() == found["code"].tolist()


# Thresholds


def test_under_the_threshold_there_is_no_class(folder: Path) -> None:
    report = run(folder, folder / "scene.tif", folder / "net.onnx", threshold=0.6)
    found = table(folder / "map.gpkg")
    under = found["score"] < 0.6
    assert 0 < under.sum() < len(under)
    assert set(found["label"][under]) == {"Unclassified"}
    assert set(found["code"][under]) == {254}
    assert not set(found["code"][~under]) & {254}
    assert report["patches"]["below_threshold"] == under.sum()
    assert report["threshold"] == 0.6
    for entry in report["classes"]:
        assert entry["patches"] == (found["label"] == entry["name"]).sum()
    assert sum(entry["percent"] for entry in report["classes"]) < 100


@pytest.mark.parametrize("threshold", [None, 0.0, 0.25, 0.7, 1.0])
def test_every_label_above_the_threshold_counts(folder: Path, threshold: float | None) -> None:
    report = run(folder, folder / "scene.tif", folder / "several.onnx", threshold=threshold)
    found = table(folder / "map.gpkg")
    limit = 0.5 if threshold is None else threshold
    columns = [entry["column"] for entry in report["classes"]]
    counts = np.stack([found[column] >= limit for column in columns])
    wanted = ["; ".join(name for name, yes in zip(CLASSES, row, strict=True) if yes) for row in counts.T]
    assert found["label"].tolist() == wanted
    assert [entry["patches"] for entry in report["classes"]] == counts.sum(axis=1).tolist()
    assert report["patches"]["below_threshold"] == (~counts.any(axis=0)).sum()
    assert report["threshold"] == limit
    assert found["code"].tolist() == np.stack([found[column] for column in columns]).argmax(axis=0).tolist()


def test_thresholds_of_the_card_one_per_class(folder: Path) -> None:
    model = patch_net(folder / "m.onnx", task="patch-multilabel", thresholds=(0.1, 0.9, 0.5, 0.3))
    report = run(folder, folder / "scene.tif", model)
    assert report["threshold"] == [0.1, 0.9, 0.5, 0.3]
    found = table(folder / "map.gpkg")
    for entry, limit in zip(report["classes"], report["threshold"], strict=True):
        has = np.array([entry["name"] in label.split("; ") for label in found["label"]])
        np.testing.assert_array_equal(has, found[entry["column"]] >= limit)
        assert f"thematica_threshold, {limit}" in (folder / "map.qml").read_text(encoding="utf-8")


# The raster at patch resolution


def test_a_raster_with_one_pixel_per_patch(folder: Path) -> None:
    run(folder, folder / "scene.tif", folder / "net.onnx", "map.gpkg", stride=4, threshold=0.5)
    report = run(folder, folder / "scene.tif", folder / "net.onnx", "r.tif", stride=4, threshold=0.5)
    found = table(folder / "map.gpkg")
    with rasterio.open(folder / "r.tif") as dataset:
        codes = dataset.read(1)
        assert dataset.res == (40, 40)
        assert (dataset.nodata, dataset.descriptions) == (255, ("Class",))
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.colormap(1)[254] == (200, 200, 200, 255)
    assert codes.shape == (report["patches"]["rows"], report["patches"]["columns"])
    np.testing.assert_array_equal(codes[found["row"], found["column"]], found["code"])
    text = (folder / "r.tif.aux.xml").read_text(encoding="utf-8")
    assert "<Category>Grünland, nass</Category>" in text
    assert "paletted" in (folder / "r.qml").read_text(encoding="utf-8")


def test_probabilities_of_several_labels_as_a_raster(folder: Path) -> None:
    scene(folder / "gaps.tif", nodata=0)
    with rasterio.open(folder / "gaps.tif", "r+") as dataset:
        dataset.write(np.zeros((BANDS, 20, 20), np.uint8), window=rasterio.windows.Window(0, 0, 20, 20))
    run(folder, folder / "gaps.tif", folder / "several.onnx")
    run(folder, folder / "gaps.tif", folder / "several.onnx", "r.tif")
    found = table(folder / "map.gpkg")
    with rasterio.open(folder / "r.tif") as dataset:
        assert dataset.descriptions == CLASSES
        values = dataset.read()
    assert values.dtype == np.float32
    assert np.isnan(values[:, :2, :2]).all()
    assert np.isnan(values).sum() == 4 * (values[0].size - len(found["row"]))
    np.testing.assert_allclose(
        values[:, found["row"], found["column"]], [found[name] for name in found if name.startswith("p_")], atol=1e-6
    )
    assert not (folder / "r.tif.aux.xml").exists()


# Ground


@pytest.mark.parametrize("stride", [3, 8, 11])
def test_no_ground_counts_twice(folder: Path, stride: int) -> None:
    """On the raster's own CRS, whose pixels measure 10 m but for 0.04 %."""
    report = run(folder, folder / "scene.tif", folder / "net.onnx", stride=stride)
    found = table(folder / "map.gpkg")
    drawn = shapely.from_wkb(found["outline"])
    if stride >= 8:
        wanted = shapely.area(drawn).sum()
    else:
        # A cell of one stride around each middle, as far as it lies in the raster.
        x = 500_000 + 10 * (found["column"] * stride + 4.0)
        y = 5_500_000 - 10 * (found["row"] * stride + 4.0)
        half = stride * 5
        cells = shapely.box(x - half, y - half, x + half, y + half)
        wanted = shapely.area(shapely.intersection(cells, shapely.box(500_000, 5_499_600, 500_500, 5_500_000))).sum()
    assert sum(entry["hectares"] for entry in report["classes"]) == pytest.approx(wanted / 1e4, rel=2e-3)


# The size of patches


def test_a_network_that_leaves_the_size_open(folder: Path) -> None:
    model = patch_net(folder / "free.onnx", None)
    with pytest.raises(InputError, match="--patch"):
        run(folder, folder / "scene.tif", model)
    report = run(folder, folder / "scene.tif", model, patch=8)
    assert report["patches"]["side"] == 8
    run(folder, folder / "scene.tif", folder / "net.onnx", "fixed.gpkg")
    free, fixed = table(folder / "map.gpkg"), table(folder / "fixed.gpkg")
    assert free["label"].tolist() == fixed["label"].tolist()
    card = patch_net(folder / "card.onnx", None, tile=10)
    assert run(folder, folder / "scene.tif", card, "c.gpkg")["patches"]["side"] == 10
    assert run(folder, folder / "scene.tif", card, "d.gpkg", patch=5)["patches"]["side"] == 5
    with pytest.raises(InputError, match="8 pixels and no others"):
        run(folder, folder / "scene.tif", folder / "net.onnx", "e.gpkg", patch=9)


# Replacing


def test_a_layer_that_is_open_elsewhere_is_not_replaced(folder: Path) -> None:
    """SQLite would take the other program's log for that of the new file."""
    import sqlite3

    run(folder, folder / "scene.tif", folder / "net.onnx")
    other = sqlite3.connect(folder / "map.gpkg")
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("UPDATE gpkg_contents SET description = 'mine'")
    other.commit()
    with pytest.raises(OutputError, match="open in another program"):
        run(folder, folder / "scene.tif", folder / "net.onnx", overwrite=True)
    assert other.execute("SELECT description FROM gpkg_contents").fetchone() == ("mine",)
    other.close()
    run(folder, folder / "scene.tif", folder / "net.onnx", overwrite=True)
    new = sqlite3.connect(folder / "map.gpkg")
    assert new.execute("SELECT description FROM gpkg_contents").fetchone() == ("",)
    new.close()


def test_a_log_that_was_left_behind_does_not_ruin_the_new_layer(folder: Path) -> None:
    """As after a crash of QGIS: the log is still there, and nobody holds it."""
    import shutil
    import sqlite3

    run(folder, folder / "scene.tif", folder / "net.onnx")
    other = sqlite3.connect(folder / "map.gpkg")
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("UPDATE gpkg_contents SET description = 'mine'")
    other.commit()
    for name in ("map.gpkg", "map.gpkg-wal"):
        shutil.copy(folder / name, folder / f"crashed-{name}")
    other.close()
    for name in ("map.gpkg", "map.gpkg-wal"):
        shutil.move(folder / f"crashed-{name}", folder / name)
    run(folder, folder / "scene.tif", folder / "net.onnx", overwrite=True)
    assert not (folder / "map.gpkg-wal").exists()
    new = sqlite3.connect(folder / "map.gpkg")
    assert new.execute("SELECT description FROM gpkg_contents").fetchone() == ("",)
    new.close()


def test_the_style_travels_inside(folder: Path) -> None:
    import sqlite3

    run(folder, folder / "scene.tif", folder / "several.onnx")
    database = sqlite3.connect(folder / "map.gpkg")
    rows = database.execute(
        "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
    ).fetchall()
    assert rows == [("map", "geom", 1, (folder / "map.qml").read_text(encoding="utf-8"))]
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("SELECT count(*) FROM rtree_map_geom").fetchone() == (30,)
    database.close()
    assert [name for name, _ in pyogrio.list_layers(folder / "map.gpkg")] == ["map", "layer_styles"]


def test_the_same_run_gives_the_same_rows(folder: Path) -> None:
    """Whatever the threads do."""
    for name, batch in (("a", 1), ("b", 7), ("c", None)):
        run(folder, folder / "scene.tif", folder / "net.onnx", f"{name}.gpkg", stride=2, batch=batch, threads=2)
    first, second, third = (table(folder / f"{name}.gpkg") for name in "abc")
    for key in ("row", "column", "label", "outline"):
        assert first[key].tolist() == second[key].tolist() == third[key].tolist()


def test_patches_that_overlap_are_shown_whole(folder: Path) -> None:
    scene(folder / "odd.tif", 40, 45)
    run(folder, folder / "odd.tif", folder / "net.onnx", stride=5)
    found = table(folder / "map.gpkg")
    outlines = shapely.from_wkb(found["outline"])
    assert set(shapely.area(outlines)) == {6400.0}
    assert (found["valid"] < 1).any()


@pytest.mark.parametrize("kind", ["uint16", "int16", "float32"])
def test_samples_of_other_types(folder: Path, kind: str) -> None:
    """Also with gaps that the type has a word of its own for."""
    samples = noise((BANDS, 40, 48), kind, seed=8, low=1)
    gone = np.zeros((40, 48), bool)
    gone[5:9, 3:30] = gone[20:, 8:14] = True
    missing = np.nan if kind == "float32" else 0
    samples[:, gone] = missing
    raster = image(folder / "typed.tif", samples, **({} if kind == "float32" else {"nodata": 0}))
    run(folder, raster, folder / "net.onnx", stride=8)
    found = table(folder / "map.gpkg")
    places, patches, _ = expected_patches(np.where(gone, 0, samples), ~gone, 8, 8, 128)
    assert list(zip(found["row"], found["column"], strict=True)) == places
    assert 0 < len(places) < 30
    got = np.stack([found[name] for name in found if name.startswith("p_")], axis=1)
    np.testing.assert_allclose(got, direct(folder / "net.onnx", patches), atol=1e-5)


def test_a_network_of_bytes(folder: Path) -> None:
    model = patch_net(folder / "bytes.onnx", data_type="uint8")
    run(folder, folder / "scene.tif", model)
    found = table(folder / "map.gpkg")
    samples = read(folder / "scene.tif")
    _, patches, _ = expected_patches(samples, np.ones((40, 50), bool), 8, 8, 0)
    got = np.stack([found[name] for name in found if name.startswith("p_")], axis=1)
    np.testing.assert_allclose(got, direct(model, patches, scaled=False), atol=1e-5)


def test_several_rasters_are_one_image(folder: Path) -> None:
    samples = read(folder / "scene.tif")
    for band in range(BANDS):
        image(folder / f"band{band}.tif", samples[band : band + 1], names=[f"B{band + 1}"])
    # In another order than the network's.
    rasters = [str(folder / f"band{band}.tif") for band in (2, 0, 1)]
    classify_patches(PatchJob(rasters, str(folder / "net.onnx"), str(folder / "stack.gpkg")))
    run(folder, folder / "scene.tif", folder / "net.onnx")
    assert table(folder / "stack.gpkg")["p_water"].tolist() == table(folder / "map.gpkg")["p_water"].tolist()


def test_a_raster_without_data_gives_an_empty_layer(folder: Path) -> None:
    raster = image(folder / "empty.tif", np.zeros((BANDS, 40, 50), np.uint8), nodata=0)
    report = run(folder, raster, folder / "net.onnx")
    assert (report["patches"]["count"], report["patches"]["without_data"]) == (0, 30)
    assert any("empty" in warning for warning in report["warnings"])
    info = pyogrio.read_info(folder / "map.gpkg", layer="map")
    assert (info["features"], len(info["fields"]), info["geometry_type"]) == (0, 10, "Polygon")
    run(folder, raster, folder / "several.onnx", "r.tif")
    assert np.isnan(read(folder / "r.tif")).all()


def test_one_score_for_two_classes(folder: Path) -> None:
    """A single sigmoid is the probability of the second class."""
    net = Net(BANDS, 3, ["n", BANDS, 8, 8])
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", net.relu(net.conv(net.input, 6)))), 1)
    card = make_card(BANDS, ["no", "yes"], "patch", normalisation_steps=z_scores([128] * 3, [20] * 3))
    model = save(folder / "binary.onnx", net.model(x, ["n", 1]), card)
    _, patches, _ = expected_patches(read(folder / "scene.tif"), np.ones((40, 50), bool), 8, 8, 0)
    wanted = direct(model, patches, several=True)[:, 0]
    for threshold in (None, 0.8):
        run(folder, folder / "scene.tif", model, threshold=threshold, overwrite=True)
        found = table(folder / "map.gpkg")
        np.testing.assert_allclose(found["p_yes"], wanted, atol=1e-5)
        np.testing.assert_allclose(found["p_no"], 1 - wanted, atol=1e-5)
        assert found["label"].tolist() == ["yes" if value >= (threshold or 0.5) else "no" for value in wanted]


def test_of_several_outputs_one_is_used(folder: Path) -> None:
    from onnx import TensorProto, helper

    net = Net(BANDS, 3, ["n", BANDS, 8, 8])
    pooled = net.node("Flatten", net.node("GlobalAveragePool", net.relu(net.conv(net.input, 6))))
    first, second = net.dense(pooled, 4), net.dense(pooled, 2)
    net.nodes.append(helper.make_node("Identity", [second], ["quality"]))
    graph = net.model(first, ["n", 4])
    graph.graph.output.append(helper.make_tensor_value_info("quality", TensorProto.FLOAT, ["n", 2]))
    qualities = [ModelClass(0, "bad", "#ff0000"), ModelClass(1, "good", "#00ff00")]
    further = FurtherOutput("quality", qualities, shape=(-1, 2))
    model = save(folder / "two.onnx", graph, make_card(BANDS, CLASSES, "patch", further_outputs=[further]))
    report = run(folder, folder / "scene.tif", model)
    assert any("--output-name" in warning for warning in report["warnings"])
    assert [entry["name"] for entry in report["classes"]] == list(CLASSES)
    report = run(folder, folder / "scene.tif", model, "q.gpkg", output_name="quality")
    assert [entry["name"] for entry in report["classes"]] == ["bad", "good"]
    assert set(table(folder / "q.gpkg")["label"]) <= {"bad", "good"}
