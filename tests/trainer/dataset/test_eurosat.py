"""EuroSAT's layout, from folder and zip, with three bands and with 13."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import rasterio

from thematica.errors import Cancelled, InputError
from thematica.progress import Monitor
from thematica.trainer.dataset.description import PARTS
from thematica.trainer.dataset.eurosat import open_eurosat
from thematica.trainer.dataset.patches import PatchOptions, build_patches
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.eurosat_split import split_of

from .patch_sets import eurosat_folder, eurosat_image, zipped


def parts_of(folder: Path) -> dict[str, str]:
    """The part of each patch of a training set by its name."""
    dataset = TrainingSet(folder)
    names = dataset.names()
    return {
        names[number]: part for part in PARTS for arrays in dataset.arrays(part) for number in arrays.places["name"]
    }


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as image:
        return image.read()


@pytest.mark.parametrize("as_zip", [False, True])
def test_folder_and_zip_give_the_pixels_of_the_files_and_the_classes_of_their_names(tmp_path, as_zip):
    root = eurosat_folder(tmp_path / "in")
    source = zipped(root, tmp_path / "euro.zip") if as_zip else root
    patches = open_eurosat(source)
    description = build_patches(tmp_path / "set", patches, PatchOptions(seed=2026), Monitor())
    patches.close()
    assert [entry.label.name for entry in description.classes] == ["Forest", "River", "Sea or lake"]
    assert (description.kind, description.task, description.shape, description.dtype) == (
        "patches", "single-label", (3, 64, 64), "uint8",
    )  # fmt: skip
    assert [entry.band.common_name for entry in description.bands] == ["red", "green", "blue"]
    dataset = TrainingSet(tmp_path / "set")
    dataset.verify()
    names = dataset.names()
    seen = 0
    for part in PARTS:
        for arrays in dataset.arrays(part):
            for sample, label, place in zip(arrays.samples, arrays.labels, arrays.places["name"], strict=True):
                name = names[place]
                assert (sample == pixels(root / name)).all()
                assert description.classes[label].label.name == {"SeaLake": "Sea or lake"}.get(
                    PurePosixPath(name).parent.name, PurePosixPath(name).parent.name
                )
                seen += 1
    assert seen == 30


def test_the_parts_are_those_that_the_shipped_model_was_measured_on_and_are_told_to_be_optimistic(tmp_path):
    patches = open_eurosat(eurosat_folder(tmp_path / "in"))
    description = build_patches(tmp_path / "set", patches, PatchOptions(seed=2026), Monitor())
    assert parts_of(tmp_path / "set") == {name: split_of(name, 2026) for name in patches.names}
    assert description.split["optimistic"]
    assert "look alike" in description.split["why"]
    with pytest.raises(InputError, match="no place on the Earth"):
        build_patches(tmp_path / "other", patches, PatchOptions(split="blocks"), Monitor())
    with pytest.raises(InputError, match="tenths"):
        build_patches(tmp_path / "other", patches, PatchOptions(test=0.25), Monitor())
    build_patches(tmp_path / "other", patches, PatchOptions(test=0.3, validation=0), Monitor())
    assert sorted(parts_of(tmp_path / "other").values()) == ["test"] * 9 + ["train"] * 21


def test_images_of_13_bands_have_a_place_and_are_split_by_blocks(tmp_path):
    for number in range(1, 13):
        label = "Forest" if number % 2 else "River"
        corner = (500_000 + 20_000 * (number // 2), 5_300_000)
        eurosat_image(tmp_path / "in" / label / f"{label}_{number}.tif", number, 13, corner)
    patches = open_eurosat(tmp_path / "in")
    assert [entry.band.name for entry in patches.bands][-2:] == ["B12", "B8A"]
    assert patches.bands[0].scale == 1e-4
    description = build_patches(tmp_path / "set", patches, PatchOptions(), Monitor())
    assert description.split["method"] == "blocks"
    assert not description.split["optimistic"]
    found = parts_of(tmp_path / "set")
    # Forest_3 and River_2 lie on each other, and so on.
    for number in range(2, 11, 2):
        assert found[f"River/River_{number}.tif"] == found[f"Forest/Forest_{number + 1}.tif"]


def test_a_damaged_image_is_left_out_and_told(tmp_path):
    root = eurosat_folder(tmp_path / "in")
    (root / "EuroSAT" / "Forest" / "Forest_3.jpg").write_bytes(b"\xff\xd8 no image")
    eurosat_image(root / "EuroSAT" / "Forest" / "Forest_4.jpg", bands=1)
    eurosat_image(root / "EuroSAT" / "Desert" / "Desert_1.jpg")
    heard: list[str] = []
    monitor = Monitor(lambda event: heard.append(event.get("message", "")))
    description = build_patches(tmp_path / "set", open_eurosat(root, monitor), PatchOptions(), monitor)
    assert sum(description.samples(part) for part in PARTS) == 28
    assert any("1 patch was left out: they are of none of EuroSAT's classes" in message for message in heard)
    assert any("2 patches were left out" in message and "Forest_3.jpg" in message for message in description.findings)
    assert set(description.findings) <= set(heard)


def test_nothing_that_can_be_read_is_refused(tmp_path):
    root = eurosat_folder(tmp_path / "in", per_class=3)
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"\xff\xd8 no image")
    with pytest.raises(InputError, match="can be read"):
        build_patches(tmp_path / "set", open_eurosat(root), PatchOptions(), Monitor())
    assert not (tmp_path / "set").exists()


def _cut(tmp_path: Path) -> Path:
    whole = zipped(eurosat_folder(tmp_path / "in", 2), tmp_path / "cut.zip")
    whole.write_bytes(whole.read_bytes()[:-40])
    return whole


def _text(tmp_path: Path) -> Path:
    (tmp_path / "no.zip").write_text("no zip")
    return tmp_path / "no.zip"


def _empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def _other(tmp_path: Path) -> Path:
    eurosat_image(tmp_path / "in" / "holiday_1.jpg")
    return zipped(tmp_path / "in", tmp_path / "other.zip")


def _mixed(tmp_path: Path) -> Path:
    eurosat_image(tmp_path / "in" / "Forest_2.tif", bands=13)
    return eurosat_folder(tmp_path / "in", 2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "none", "no folder or zip"),
        (_text, "neither a folder nor a zip"),
        (_cut, "neither a folder nor a zip"),
        (_empty, "holds nothing of EuroSAT"),
        (_other, "holds nothing of EuroSAT"),
        (_mixed, "one of both"),
        (lambda path: eurosat_folder(path / "in", 2, ("River",)), r"one class only \(River\)"),
    ],
)
def test_what_is_no_eurosat_gets_a_sentence(tmp_path, make, words):
    with pytest.raises(InputError, match=words):
        open_eurosat(make(tmp_path))


def test_a_zip_that_is_damaged_within_leaves_out_that_image(tmp_path):
    source = zipped(eurosat_folder(tmp_path / "in"), tmp_path / "euro.zip")
    with zipfile.ZipFile(source) as archive:
        place = archive.getinfo("EuroSAT/River/River_5.jpg").header_offset
    content = bytearray(source.read_bytes())
    content[place + 200 : place + 260] = b"x" * 60
    source.write_bytes(content)
    patches = open_eurosat(source)
    description = build_patches(tmp_path / "set", patches, PatchOptions(), Monitor())
    patches.close()
    assert sum(description.samples(part) for part in PARTS) == 29
    assert any("River_5.jpg" in message for message in description.findings)


def test_of_each_class_so_many_and_no_more(tmp_path):
    patches = open_eurosat(eurosat_folder(tmp_path / "in", 20))
    description = build_patches(tmp_path / "set", patches, PatchOptions(most=7, seed=2026), Monitor())
    assert [sum(entry.samples.values()) for entry in description.classes] == [7, 7, 7]
    assert all(split_of(name, 2026) == part for name, part in parts_of(tmp_path / "set").items())


def test_a_run_that_was_cancelled_goes_on_and_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    root = eurosat_folder(tmp_path / "in", 60)
    damaged = root / "EuroSAT" / "Forest" / "Forest_3.jpg"
    damaged.write_bytes(b"no image")
    whole = build_patches(tmp_path / "whole", open_eurosat(root), PatchOptions(), Monitor())
    patches, monitor, read = open_eurosat(root), Monitor(), []

    def cancel_then(number: int) -> np.ndarray:
        read.append(number)
        if len(read) == 100:
            monitor.cancel()
        return type(patches).read(patches, number)

    monkeypatch.setattr(patches, "read", cancel_then)
    with pytest.raises(Cancelled):
        build_patches(tmp_path / "set", patches, PatchOptions(threads=1), monitor)
    assert not (tmp_path / "set").exists()
    before = len(read)
    assert before < 180
    heard: list[str] = []
    again = build_patches(
        tmp_path / "set", patches, PatchOptions(), Monitor(lambda event: heard.append(event.get("message", "")))
    )
    assert any("goes on where it stopped" in message for message in heard)
    assert len(read) == 180
    assert again.shards == whole.shards
    assert again.statistics == whole.statistics
    assert any("Forest_3.jpg" in message for message in again.findings)
