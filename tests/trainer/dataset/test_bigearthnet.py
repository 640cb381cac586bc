"""BigEarthNet v1 and v2: labels, bands on one grid, and splits that keep neighbours together."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from thematica.engine.patch_reader import read_band_files
from thematica.errors import InputError, RuntimeMissingError
from thematica.progress import Monitor
from thematica.trainer.dataset import corine
from thematica.trainer.dataset.bigearthnet import BAND_FILES, BANDS, open_bigearthnet
from thematica.trainer.dataset.bigearthnet_v2 import open_bigearthnet_v2
from thematica.trainer.dataset.description import PARTS, TEST, VALIDATION
from thematica.trainer.dataset.patch_folder import PatchGround
from thematica.trainer.dataset.patch_splits import by_blocks
from thematica.trainer.dataset.patches import PatchOptions, build_patches
from thematica.trainer.dataset.read import TrainingSet

from .patch_sets import patch_v1, set_v2
from .test_eurosat import parts_of


def test_43_classes_are_corine_without_glaciers_and_32_of_them_are_the_19():
    assert len(corine.legend(43)) == 43
    assert len(corine.legend(19)) == 19
    assert len({entry.code for entry in corine.legend(43)}) == 43
    assert sum(1 for *_, place in corine.CORINE if place) == 32
    assert {place for *_, place in corine.CORINE} == set(range(20))
    # A class that is made of one keeps its name and colour.
    made_of = {place: [row for row in corine.CORINE if row[3] == place] for place in range(1, 20)}
    for entry in corine.legend(19):
        assert entry.color in {color for _, _, color, _ in made_of[entry.code]}
        if len(made_of[entry.code]) == 1:
            assert entry.name.replace(", ", "/") == made_of[entry.code][0][1].replace(", ", "/")


def test_bands_stand_in_the_order_of_their_files():
    assert [entry.band.name for entry in BANDS] == [name.replace("B0", "B") for name in BAND_FILES]


@pytest.mark.real
@pytest.mark.parametrize(("classes", "urban"), [(43, "Non-irrigated arable land"), (19, "Arable land")])
def test_the_real_patches_are_read_back_as_their_files_have_them(real_data, tmp_path, classes, urban):
    root = real_data("bigearthnet_tiny")
    patches = open_bigearthnet(root, read_band_files, classes)
    assert len(patches) == 11
    assert patches.legend[0].name == urban
    description = build_patches(tmp_path / "set", patches, PatchOptions(), Monitor())
    assert (description.task, description.shape, description.dtype) == ("multi-label", (12, 120, 120), "uint16")
    dataset = TrainingSet(tmp_path / "set")
    names, seen = dataset.names(), 0
    place_of = corine.places_by_name(classes)
    for part in PARTS:
        for arrays in dataset.arrays(part):
            for sample, held, number in zip(arrays.samples, arrays.labels, arrays.places["name"], strict=True):
                folder = root / "S2" / names[number]
                said = json.loads((folder / f"{folder.name}_labels_metadata.json").read_text())["labels"]
                wanted = {corine.legend(classes)[place_of[label]].name for label in said}
                assert {description.classes[place].label.name for place in np.flatnonzero(held)} == wanted
                for band, file in zip(sample, BAND_FILES, strict=True):
                    assert_resampled(band, folder / f"{folder.name}_{file}.tif")
                seen += 1
    assert seen == 11


def assert_resampled(band: np.ndarray, path: Path) -> None:
    """The stored pixels where they are of 10 m, else between their middles in proportion."""
    with rasterio.open(path) as file:
        stored = file.read(1)
    if stored.shape == band.shape:
        assert (band == stored).all()
        return
    places = (np.arange(120) + 0.5) * len(stored) / 120 - 0.5
    between = map_coordinates(stored.astype(float), np.meshgrid(places, places, indexing="ij"), order=1, mode="nearest")
    assert np.abs(band - between).max() <= 0.51


def v1(tmp_path: Path, *labels: list[str]) -> Path:
    for number, held in enumerate(labels):
        patch_v1(tmp_path / "in", number, held)
    return tmp_path / "in"


def told(patches) -> dict[str, str]:
    return {finding["code"]: finding["message"] for finding in patches.provenance["findings"]}


def test_patches_without_a_class_among_the_19_are_left_out_and_told(tmp_path):
    root = v1(tmp_path, ["Airports", "Port areas"], ["Airports", "Pastures"], ["Rice fields"], ["Pastures"])
    patches = open_bigearthnet(root, read_band_files, 19)
    assert len(patches) == 3
    assert "1 patch was left out" in told(patches)["no-class"]
    assert [entry.name for entry in patches.legend] == ["Arable land", "Pastures"]
    assert patches.labels.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert "17 of the 19 classes" in told(patches)["empty-class"]
    everything = open_bigearthnet(root, read_band_files, 43)
    assert len(everything) == 4
    assert [entry.code for entry in everything.legend] == [123, 124, 213, 231]


def test_classes_without_a_patch_are_kept_if_that_is_asked(tmp_path):
    root = v1(tmp_path, ["Airports", "Pastures"], ["Rice fields"], ["Pastures"])
    some, every = (open_bigearthnet(root, read_band_files, 43, every=every) for every in (False, True))
    assert every.legend == corine.legend(43)
    assert every.labels.shape == (3, 43)
    assert every.labels.sum(axis=1).tolist() == some.labels.sum(axis=1).tolist() == [2, 1, 1]
    held = [entry.code for entry, here in zip(every.legend, every.labels.any(axis=0), strict=True) if here]
    assert held == [entry.code for entry in some.legend]
    assert "40 of the 43 classes have no patch: no network can learn them" in told(every)["empty-class"]
    assert every.fingerprint != some.fingerprint
    description = build_patches(tmp_path / "set", every, PatchOptions(validation=0, test=0), Monitor())
    assert len(description.classes) == 43
    assert sum(entry.weight > 0 for entry in description.classes) == 3


def test_what_cannot_be_used_is_left_out_and_told(tmp_path):
    root = v1(tmp_path, *[["Pastures"], ["Rice fields"]] * 5)
    folders = sorted(root.iterdir())
    (folders[0] / f"{folders[0].name}_B07.tif").unlink()
    (folders[1] / f"{folders[1].name}_labels_metadata.json").write_text("{")
    patch_v1(root, 2, ["Moon dust"])
    (root / "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39").mkdir()
    patches = open_bigearthnet(root, read_band_files, 19)
    assert len(patches) == 7
    findings = told(patches)
    assert folders[0].name in findings["incomplete"]
    assert folders[1].name in findings["damaged"]
    assert "“Moon dust”" in findings["unknown-class"]
    # A file that turns out to be damaged when it is read.
    bad = folders[5] / f"{folders[5].name}_B03.tif"
    bad.write_bytes(bad.read_bytes()[:200])
    description = build_patches(tmp_path / "set", patches, PatchOptions(validation=0), Monitor())
    assert sum(description.samples(part) for part in PARTS) == 6
    assert any(folders[5].name in message for message in description.findings)


def test_so_many_patches_of_each_class_are_drawn_and_the_same_for_the_same_seed(tmp_path):
    root = v1(tmp_path, *[["Pastures"], ["Pastures", "Rice fields"], ["Mixed forest"]] * 6)
    patches = open_bigearthnet(root, read_band_files)
    options = PatchOptions(most=3, seed=5)
    description = build_patches(tmp_path / "set", patches, options, Monitor())
    counts = {entry.label.name: sum(entry.samples.values()) for entry in description.classes}
    assert counts["Mixed forest"] == counts["Arable land"] == 3
    # Each patch with rice fields has pastures, too.
    assert 3 <= counts["Pastures"] <= 6
    build_patches(tmp_path / "again", patches, options, Monitor())
    assert parts_of(tmp_path / "again") == parts_of(tmp_path / "set")
    build_patches(tmp_path / "other", patches, PatchOptions(most=3, seed=6), Monitor())
    assert parts_of(tmp_path / "other") != parts_of(tmp_path / "set")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "none", "no folder"),
        (lambda path: v1(path, ["Pastures"]) / "S2A_MSIL2A_20170617T113321_0_7", "same class only"),
        (lambda path: v1(path, ["Airports"]), "none can be used. 1 patch was left out"),
        (lambda path: path, "holds no patch of BigEarthNet v1"),
        (
            lambda path: (path / "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39").mkdir() or path,
            "Sentinel-1 patches only",
        ),
        (lambda path: (path / "x.zip").write_text("") or path / "x.zip", "unpack"),
        (lambda path: set_v2(path, {1: (["Pastures"], "train")}), "choose --layout bigearthnet-v2"),
    ],
)
def test_what_is_no_bigearthnet_gets_a_sentence(tmp_path, make, words):
    with pytest.raises(InputError, match=words):
        open_bigearthnet(make(tmp_path), read_band_files)


# The second version


V2 = {
    1: (["Pastures", "Inland waters"], "train"),
    2: (["Mixed forest"], "validation"),
    3: (["Pastures"], "test"),
    4: (["Transitional woodland, shrub", "Inland waters"], "train"),
}


def test_the_second_version_is_split_as_its_authors_did(tmp_path):
    patches = open_bigearthnet_v2(set_v2(tmp_path / "in", V2), read_band_files)
    description = build_patches(tmp_path / "set", patches, PatchOptions(), Monitor())
    assert description.split["method"] == "official"
    assert not description.split["optimistic"]
    found = {int(name.split("_")[-2]): part for name, part in parts_of(tmp_path / "set").items()}
    assert found == {number: part for number, (_, part) in V2.items()}
    assert [entry.label.name for entry in description.classes] == [
        "Pastures", "Mixed forest", "Transitional woodland, shrub", "Inland waters",
    ]  # fmt: skip
    (arrays,) = TrainingSet(tmp_path / "set").arrays("test")
    assert arrays.labels.tolist() == [[1, 0, 0, 0]]
    folder = Path(patches.folders[2])
    for band, file in zip(arrays.samples[0], BAND_FILES, strict=True):
        assert_resampled(band, folder / f"{folder.name}_{file}.tif")


def test_the_folder_of_the_patches_beside_the_metadata_will_do_and_so_will_blocks(tmp_path):
    root = set_v2(tmp_path / "in", {n: (["Pastures"] if n % 2 else ["Mixed forest"], "train") for n in range(1, 9)})
    patches = open_bigearthnet_v2(root / "BigEarthNet-S2", read_band_files)
    description = build_patches(tmp_path / "set", patches, PatchOptions(split="blocks", validation=0), Monitor())
    assert description.split["method"] == "blocks"
    assert set(parts_of(tmp_path / "set").values()) == {"train", "test"}
    assert patches.ground is not None
    assert patches.ground.corners.tolist() == [[300_000 + 24_000 * n, 5_300_040] for n in range(1, 9)]


def test_patches_that_the_metadata_do_not_list_are_left_out_and_told(tmp_path):
    root = set_v2(tmp_path / "in", V2)
    folder = next((root / "BigEarthNet-S2").rglob("*_1_57"))
    folder.rename(folder.with_name(folder.name.replace("_1_57", "_9_57")))
    patches = open_bigearthnet_v2(root, read_band_files)
    assert len(patches) == 3
    assert "does not list" in told(patches)["unlisted"]
    assert "1 patches" in told(patches)["absent"]


def test_without_pyarrow_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    root = set_v2(tmp_path / "in", V2)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RuntimeMissingError, match="pip install pyarrow"):
        open_bigearthnet_v2(root, read_band_files)


def _no_table(path: Path) -> Path:
    root = set_v2(path / "in", V2)
    (root / "metadata.parquet").unlink()
    return root


def _no_parquet(path: Path) -> Path:
    root = set_v2(path / "in", V2)
    (root / "metadata.parquet").write_text("no table")
    return root


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_no_table, "has no metadata.parquet"),
        (_no_parquet, "cannot be read as the metadata"),
        (lambda path: v1(path, ["Pastures"]), "choose --layout bigearthnet."),
        (lambda path: path, "holds no patch of BigEarthNet v2"),
    ],
)
def test_what_is_no_second_version_gets_a_sentence(tmp_path, make, words):
    with pytest.raises(InputError, match=words):
        open_bigearthnet_v2(make(tmp_path), read_band_files)


# Blocks of patches


@st.composite
def grounds(draw) -> tuple[PatchGround, np.ndarray]:
    """Patches of two dates and of two zones, on lattices and off them, and their labels."""
    count = draw(st.integers(12, 120))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Around the meridian of 12° E, where the zones meet.
    zones = chance.choice([32632, 32633], count).astype(np.int32)
    west = np.where(zones == 32632, 690_000.0, 280_000.0)
    steps = chance.integers(0, draw(st.integers(5, 40)), (count, 2)) * draw(st.sampled_from([1200.0, 400.0, 1000.0]))
    corners = np.column_stack([west + steps[:, 0], 5_300_040 - steps[:, 1]])
    labels = (chance.random((count, 4)) < [0.8, 0.5, 0.3, 0.1]).astype(np.uint8)
    return PatchGround(zones, corners, 1200.0), labels


@given(grounds(), st.sampled_from([1200.0, 3000.0, 12000.0]), st.sampled_from([0.0, 600.0, 1200.0]), st.integers(0, 9))
def test_no_block_and_no_neighbour_within_the_buffer_is_on_both_sides(made, block, buffer, seed):
    ground, labels = made
    try:
        split = by_blocks(ground, labels, {VALIDATION: 0.1, TEST: 0.2}, block, buffer, seed)
    except InputError:
        return  # so close together that nothing is left to train with, which is told
    parts = split.parts
    keys = [tuple(key) for key in split.keys]
    for key in set(keys):
        of_block = {int(part) for part, other in zip(parts, keys, strict=True) if other == key}
        assert len(of_block - {-1}) <= 1
    kept = np.flatnonzero(parts >= 0)
    for zone in (32632, 32633):
        here = kept[ground.zones[kept] == zone]
        gap = np.abs(ground.corners[here, None] - ground.corners[None, here]).max(axis=-1) - ground.side
        apart = parts[here, None] != parts[None, here]
        assert not (apart & (gap < buffer - 1e-3)).any()
    # Between the zones: on the ellipsoid, by PROJ itself.
    from pyproj import Geod, Transformer

    degrees = np.zeros((len(parts), 2))
    for zone in (32632, 32633):
        here = ground.zones == zone
        middles = ground.corners[here] + [600, -600]
        degrees[here] = np.column_stack(Transformer.from_crs(zone, 4326, always_xy=True).transform(*middles.T))
    first, second = np.meshgrid(kept[ground.zones[kept] == 32632], kept[ground.zones[kept] == 32633])
    first, second = first.ravel(), second.ravel()
    _, _, distance = Geod(ellps="WGS84").inv(*degrees[first].T, *degrees[second].T)
    assert not ((parts[first] != parts[second]) & (np.asarray(distance) < ground.side + buffer)).any()


def test_two_dates_of_one_place_are_on_one_side_and_every_part_has_its_share():
    steps = np.stack(np.meshgrid(np.arange(60), np.arange(60)), -1).reshape(-1, 2) * 1200.0
    corners = np.concatenate([steps, steps]) + [600_000, 5_900_040]
    ground = PatchGround(np.full(len(corners), 32629, np.int32), corners, 1200.0)
    labels = np.eye(3, dtype=np.uint8)[np.arange(len(corners)) % 3]
    parts = by_blocks(ground, labels, {VALIDATION: 0.1, TEST: 0.2}, 12_000, 1_200, 0).parts
    assert (parts[:3600] == parts[3600:]).all()
    shares = np.bincount(parts[parts >= 0], minlength=3) / (parts >= 0).sum()
    assert np.abs(shares - [0.7, 0.1, 0.2]).max() < 0.05
    assert 0 < (parts < 0).mean() < 0.2
