"""The contract of ``thematica build-dataset``, and training sets of real scenes compared with the source pixels."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import shapely
from rasterio.transform import from_origin

from thematica.cli.build_dataset import build
from thematica.cli.dataset_job import DatasetJob
from thematica.errors import InputError, OutputError
from thematica.models.label_classes import LabelClass, write_classes
from thematica.progress import Monitor
from thematica.trainer.dataset.description import PARTS
from thematica.trainer.dataset.read import TrainingSet

from ..engine.labels.layers import square, write_layer
from ..engine.workplace import run_here, run_there
from ..trainer.dataset.patch_sets import eurosat_folder, patch_v1

# A scene of 60 × 40 pixels, as the squares of ..engine.labels.layers expect it.
SHAPE = (3, 40, 60)


def raster(path: Path, seed: int = 0, left: float = 500_000, bands: int = 3) -> Path:
    values = np.random.default_rng(seed).integers(1, 10_000, (bands, *SHAPE[1:])).astype("uint16")
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=bands, height=SHAPE[1], width=SHAPE[2], crs="EPSG:32632",
        transform=from_origin(left, 5_000_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(values)
    return path


def lattice(path: Path, classes: tuple[str, ...] = ("forest", "water"), **fields) -> Path:
    """Squares of 4×4 pixels, 6 pixels apart, of the classes in turn."""
    squares = [square(col, row) for row in range(1, 36, 10) for col in range(1, 56, 10)]
    names = [classes[number % len(classes)] for number in range(len(squares))]
    return write_layer(path, squares, name=names, **{key: value(squares) for key, value in fields.items()})


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return raster(tmp_path / "scene.tif")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return lattice(tmp_path / "labels.gpkg")


def command(out: Path, scene: Path, labels: Path, *more: object) -> list[object]:
    return ["build-dataset", out, "--raster", scene, "--labels", labels, "--field", "name", *more]


def samples_of(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.void]]:
    """Part, sample, label and place of every sample of a training set, after its checksums were compared."""
    dataset = TrainingSet(folder)
    dataset.verify()
    for part in PARTS:
        for arrays in dataset.arrays(part):
            for sample, label, place in zip(arrays.samples, arrays.labels, arrays.places, strict=True):
                yield part, np.asarray(sample), np.asarray(label), place


def names_of(folder: Path) -> list[str]:
    return [entry.label.name for entry in TrainingSet(folder).description.classes]


# What programs may rely on


def test_with_json_stdout_is_json_lines_and_nothing_else(tmp_path, scene, labels):
    outcome = run_there(*command(tmp_path / "set", scene, labels, "--progress", "json", "--seed", 3))
    assert (outcome.status, outcome.err) == (0, "")
    events = outcome.events
    assert {event["event"] for event in events} <= {"progress", "log", "result"}
    result = events[-1]
    assert result["event"] == "result"
    assert result["files"] == {
        "dataset": str(tmp_path / "set" / "dataset.json"), "sheet": str(tmp_path / "set" / "dataset.preview.png"),
    }  # fmt: skip
    for path in result["files"].values():
        assert Path(path).is_file()
    written = json.loads((tmp_path / "set" / "dataset.json").read_text(encoding="utf-8"))
    written.pop("shards")
    assert result["report"] == written
    assert written["split"]["seed"] == 3
    (described,) = written["scenes"]
    assert [entry["name"] for entry in described["files"]] == ["labels.gpkg", "scene.tif"]
    assert all(entry["bytes"] and entry["modified"] and entry["fingerprint"] for entry in described["files"])
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_for_people_there_is_a_table(tmp_path, scene, labels):
    outcome = run_here(*command(tmp_path / "set", scene, labels, "--split", "random", "--progress", "bar"))
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["Class", "Training", "Validation", "Test", "Weight"]
    assert [line.split()[0] for line in lines[1:3]] == ["forest", "water"]
    assert lines[3].startswith("Optimistic: ")
    assert lines[-1] == str(tmp_path / "set" / "dataset.json")


def test_a_job_file_and_options_that_win(tmp_path, scene, labels):
    job = {
        "command": "build-dataset", "rasters": [str(scene)], "labels": str(labels), "field": "name", "kind": "windows",
        "size": 5, "split": None, "block": "80", "output": str(tmp_path / "elsewhere"),
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    outcome = run_here("build-dataset", tmp_path / "set", "--job", tmp_path / "job.json", "--size", 3)
    assert outcome.status == 0, outcome.err
    assert not (tmp_path / "elsewhere").exists()
    description = TrainingSet(tmp_path / "set").description
    assert (description.kind, description.shape) == ("windows", (3, 3, 3))
    assert description.split["block"]["pixels"] == 8


def test_the_same_again_changes_nothing_and_a_lost_sheet_is_drawn_again(tmp_path, scene, labels):
    call = command(tmp_path / "set", scene, labels, "--progress", "json")
    assert run_here(*call).status == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    (tmp_path / "set" / "dataset.preview.png").unlink()
    again = run_here(*call)
    assert again.status == 0
    assert any("there already" in event.get("message", "") for event in again.events)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    sheet = tmp_path / "set" / "dataset.preview.png"
    assert {**after, sheet: 0} == {**before, sheet: 0}


# Scenes, parts and images


def test_labels_that_are_kept_for_validation_and_test_stay_there(tmp_path, scene, labels):
    for part, column in (("validation", 1), ("test", 31)):
        write_layer(
            tmp_path / f"{part}.gpkg", [square(column, 7, 4, 2), square(column + 10, 7, 4, 2)], name=["forest", "water"]
        )
    outcome = run_here(
        *command(tmp_path / "set", scene, labels), "--validation-labels", tmp_path / "validation.gpkg",
        "--test-labels", tmp_path / "test.gpkg", "--buffer", "0px",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    rows = {part: [] for part in PARTS}
    for part, _, _, place in samples_of(tmp_path / "set"):
        rows[part].append((int(place["row"]), int(place["col"])))
    assert {row for row, _ in rows["validation"]} | {row for row, _ in rows["test"]} == {7, 8}
    assert not {row for row, _ in rows["train"]} & {7, 8}
    assert {col // 20 for _, col in rows["validation"]} == {0}


def test_classes_go_by_their_names_where_the_kept_labels_have_fewer(tmp_path, scene):
    labels = lattice(tmp_path / "labels.gpkg", ("barren", "forest", "wood", "water"))
    squares = [square(1, 7, 4, 2), square(11, 7, 4, 2), square(21, 7, 4, 2)]
    kept = write_layer(tmp_path / "kept.gpkg", squares, name=["water", "water", "forest"])
    # The kept labels have no wood to be merged; their codes, counted on their own, would be others.
    call = [*command(tmp_path / "set", scene, labels), "--validation", 0, "--merge", "wood=forest"]
    outcome = run_here(*call, "--test-labels", kept)
    assert outcome.status == 0, outcome.err
    assert names_of(tmp_path / "set") == ["barren", "forest", "water"]
    found = {
        (int(place["col"]) // 10, names_of(tmp_path / "set")[label])
        for part, _, label, place in samples_of(tmp_path / "set")
        if part == "test"
    }
    assert found == {(0, "water"), (1, "water"), (2, "forest")}


def test_of_several_scenes_each_has_the_labels_that_name_it(tmp_path):
    first, second = raster(tmp_path / "a.tif", 1), raster(tmp_path / "b.tif", 2)
    labels = lattice(tmp_path / "labels.gpkg", image=lambda squares: ["a.tif", "b"] * (len(squares) // 2))
    outcome = run_here(
        "build-dataset", tmp_path / "set", "--raster", first, "--raster", second, "--labels", labels, "--field", "name",
        "--image-field", "image",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    description = TrainingSet(tmp_path / "set").description
    assert [scene["name"] for scene in description.scenes] == ["a", "b"]
    sources = [rasterio.open(path).read() for path in (first, second)]
    seen = set()
    for _, sample, label, place in samples_of(tmp_path / "set"):
        assert (sample == sources[place["scene"]][:, place["row"], place["col"]]).all()
        # The squares are of the classes in turn, and so are the images.
        assert names_of(tmp_path / "set")[label] == ("forest", "water")[place["scene"]]
        seen.add((int(place["scene"]), int(label)))
    assert len(seen) == 2


def test_a_label_belongs_to_the_scene_of_any_of_its_files_and_dates_are_no_endings(tmp_path):
    rasters = [raster(tmp_path / f"{name}.tif", number) for number, name in enumerate(("a.2020", "x", "a.2021", "y"))]
    names = ["a.2020", "a.2021", "x.tif", "y"]
    labels = lattice(tmp_path / "labels.gpkg", image=lambda squares: names * (len(squares) // 4))
    outcome = run_here(
        "build-dataset", tmp_path / "set", "--raster", *rasters[:2], "--raster", *rasters[2:], "--labels", labels,
        "--field", "name", "--image-field", "image", "--split", "random",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    for _, _, label, place in samples_of(tmp_path / "set"):
        # Of the four names the first and the third are of the first scene, and of one class.
        assert label == place["scene"]


def test_a_job_names_several_scenes_as_lists_of_files(tmp_path):
    first, second = raster(tmp_path / "a.tif", 1), raster(tmp_path / "b.tif", 2)
    job = {
        "rasters": [[str(first)], [str(second)]], "labels": str(lattice(tmp_path / "labels.gpkg")), "field": "name",
        "output": str(tmp_path / "set"),
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    outcome = run_here("build-dataset", "--job", tmp_path / "job.json")
    assert outcome.status == 0, outcome.err
    description = TrainingSet(tmp_path / "set").description
    assert [scene["name"] for scene in description.scenes] == ["a", "b"]
    # Both lie on the same ground: no place is in one part with one of them and in another part with the other.
    parts: dict[tuple[int, int], set[str]] = {}
    for part, _, _, place in samples_of(tmp_path / "set"):
        parts.setdefault((int(place["row"]), int(place["col"])), set()).add(part)
    assert all(len(those) == 1 for those in parts.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rasters": [1]}, "wrong type"),
        ({"rasters": [["a.tif"], []]}, "scene without a raster"),
        ({"rasters": []}, "either from --raster"),
        ({"rooster": "a"}, "unknown entries: rooster"),
        ({"size": "9"}, "wrong type"),
        ({"labels": "a\0b"}, "no name can have"),
        ({"command": "classify-pixels"}, "for the command"),
        ({"split": "sideways"}, "no split “sideways”"),
        ({"nomenclature": 20, "rasters": None, "labels": None, "folder": "x", "layout": "bigearthnet"}, "19 or 43"),
    ],
)
def test_jobs_that_cannot_be(tmp_path, scene, labels, change, words):
    job = {"rasters": [str(scene)], "labels": str(labels), "field": "name", "output": str(tmp_path / "set"), **change}
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    outcome = run_here("build-dataset", "--job", tmp_path / "job.json")
    assert outcome.status == 2
    assert words in outcome.sentence
    assert not (tmp_path / "set").exists()


def test_of_several_scenes_one_without_labels_is_told(tmp_path, scene, labels):
    far = raster(tmp_path / "far.tif", left=900_000)
    outcome = run_here(*command(tmp_path / "set", scene, labels, "--raster", far))
    assert outcome.status == 0
    assert "No label of" in outcome.err
    assert [entry["name"] for entry in TrainingSet(tmp_path / "set").description.scenes] == ["scene"]


def test_a_class_to_be_merged_may_lie_on_another_scene(tmp_path, scene):
    east = raster(tmp_path / "east.tif", left=500_600)
    codes = np.random.default_rng(0).integers(2, 4, (1, 40, 120)).astype("uint8")
    # Code 1 lies on the first scene only, 4 on the second.
    codes[0, :, 10:20], codes[0, :, 90:100] = 1, 4
    with rasterio.open(
        tmp_path / "codes.tif", "w", driver="GTiff", dtype="uint8", count=1, height=40, width=120, crs="EPSG:32632",
        transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(codes)
    outcome = run_here(
        "build-dataset", tmp_path / "set", "--raster", scene, "--raster", east, "--labels", tmp_path / "codes.tif",
        "--merge", "Class 1=Class 2,Class 4=Class 3", "--split", "random",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    description = TrainingSet(tmp_path / "set").description
    assert [entry["name"] for entry in description.scenes] == ["scene", "east"]
    assert [entry.label.code for entry in description.classes] == [2, 3]
    for _, _, label, place in samples_of(tmp_path / "set"):
        code = codes[0, place["row"], place["col"] + 60 * place["scene"]]
        assert (2, 3)[label] == {1: 2, 4: 3}.get(code, code)


@pytest.mark.parametrize(
    ("first", "second"),
    [([], ["--invalid", "all"]), (["--merge", "Class 1=Class 2"], ["--merge", "Class 1=Class 3"])],
)
def test_what_is_read_otherwise_is_another_set(tmp_path, scene, first, second):
    codes = np.random.default_rng(0).integers(1, 4, (1, *SHAPE[1:])).astype("uint8")
    with rasterio.open(
        tmp_path / "codes.tif", "w", driver="GTiff", dtype="uint8", count=1, height=40, width=60, crs="EPSG:32632",
        transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(codes)
    arguments = ["build-dataset", tmp_path / "set", "--raster", scene, "--labels", tmp_path / "codes.tif"]
    assert run_here(*arguments, *first).status == 0
    outcome = run_here(*arguments, *second)
    assert outcome.status == 2
    assert "other options" in outcome.err


def test_an_offset_by_hand_leaves_the_declared_scale(tmp_path, labels):
    path = raster(tmp_path / "scaled.tif")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [1e-4] * 3, [-0.1] * 3
    assert run_here(*command(tmp_path / "set", path, labels, "--offset", -0.2)).status == 0
    assert run_here(*command(tmp_path / "other", path, labels, "--scale", 2)).status == 0
    for folder, expected in (("set", (1e-4, -0.2)), ("other", (2, 0))):
        for band in TrainingSet(tmp_path / folder).description.bands:
            assert (band.scale, band.offset) == expected


def test_classes_are_merged_and_bands_chosen_and_scaled(tmp_path, scene):
    labels = lattice(tmp_path / "labels.gpkg", ("forest", "wood", "water"))
    outcome = run_here(
        *command(tmp_path / "set", scene, labels, "--merge", "wood=forest", "--bands", "3,1", "--scale", 0.5)
    )
    assert outcome.status == 0, outcome.err
    assert names_of(tmp_path / "set") == ["forest", "water"]
    description = TrainingSet(tmp_path / "set").description
    assert [entry.scale for entry in description.bands] == [0.5, 0.5]
    source = rasterio.open(scene).read([3, 1])
    values = np.stack([sample for part, sample, _, _ in samples_of(tmp_path / "set") if part == "train"])
    assert np.allclose(description.statistics.mean, values.mean(axis=0) / 2)
    for _, sample, _, place in samples_of(tmp_path / "set"):
        assert (sample == source[:, place["row"], place["col"]]).all()


# Bad input


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--test", "1.2"], "--test is a share"),
        (["--test", "0.6", "--validation", "0.5"], "leave nothing"),
        (["--block", "wide"], "no length for --block"),
        (["--merge", "forest"], "no merge of classes"),
        (["--most", "0"], "--most must be at least 1"),
        (["--size", "9"], "no size"),
        (["--kind", "windows", "--size", "9999"], "cannot be"),
        (["--split", "official"], "Only BigEarthNet v2"),
        (["--timeline", "x"], "--from-field, --to-field and --timeline"),
        (["--folder", "x"], "give one of both"),
        (["--layout", "eurosat"], "go with --folder"),
        (["--bands", "9"], "bands are numbered 1 to 3"),
        (["--field", "kind"], "no field “kind”"),
        (["--labels-crs", "nowhere"], "no|not a coordinate reference system"),
        (["--scale", "0"], "would make all values equal"),
        (["--seed", "-1"], "--seed must be a whole number"),
    ],
)
def test_options_that_cannot_be(tmp_path, scene, labels, more, words):
    outcome = run_here(*command(tmp_path / "set", scene, labels, *more))
    assert outcome.status == 2
    assert re.search(words, outcome.sentence), outcome.sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.gpkg", "scene.tif"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs a folder to make"),
        (["set"], "either from --raster and --labels or from --folder"),
        (["set", "--raster", "a.tif"], "need labels"),
        (["set", "--folder", "x"], "how the folder is laid out"),
        (["set", "--folder", "x", "--layout", "eurosat", "--labels", "y"], "brings its own labels"),
        (["set", "--folder", "x", "--layout", "eurosat", "--split", "polygons"], "no polygons"),
        (["set", "--folder", "x", "--layout", "eurosat", "--bands", "1"], "no option “bands”"),
        (["set", "--folder", "x", "--layout", "eurosat", "--cut-polygons"], "no option “cut-polygons”"),
        (["set", "--folder", "x", "--layout", "eurosat", "--nomenclature", "19"], "ten classes"),
        (["set", "--folder", "x", "--layout", "eurosat", "--all-classes"], "ten classes"),
        (["set", "--folder", "x", "--layout", "bigearthnet-v2", "--nomenclature", "43"], "19 classes only"),
        (["set", "--folder", "x", "--layout", "eurosat"], "no folder or zip"),
    ],
)
def test_what_is_missing_or_does_not_go_together(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    outcome = run_here("build-dataset", *arguments)
    assert outcome.status == 2
    assert words in outcome.sentence
    assert not any(tmp_path.iterdir())


def test_labels_outside_and_of_one_class_are_refused(tmp_path, scene, labels):
    far = raster(tmp_path / "far.tif", left=900_000)
    outcome = run_here(*command(tmp_path / "set", far, labels))
    assert outcome.status == 2
    assert "lies in the raster" in outcome.sentence
    one = write_layer(tmp_path / "one.gpkg", [square(1, 1), square(20, 20)], name=["forest", "forest"])
    outcome = run_here(*command(tmp_path / "set", scene, one))
    assert outcome.status == 2
    assert "one class only, “forest”" in outcome.sentence
    assert not (tmp_path / "set").exists()


def test_an_empty_class_is_told_and_left_out_and_codes_that_are_text_are_names(tmp_path, scene):
    layer = lattice(tmp_path / "codes.gpkg", ("10", "7"))
    write_classes(
        layer, "codes", [LabelClass(7, "Wood", "#00aa00"), LabelClass(9, "Rock", "#777777"),
                         LabelClass(10, "Lake", "#0000ff")],
    )  # fmt: skip
    outcome = run_here(*command(tmp_path / "set", scene, layer))
    assert outcome.status == 0, outcome.err
    assert "Rock" in outcome.err
    classes = [entry.label for entry in TrainingSet(tmp_path / "set").description.classes]
    assert [(entry.code, entry.name, entry.color) for entry in classes] == [
        (7, "Wood", "#00aa00"), (10, "Lake", "#0000ff"),
    ]  # fmt: skip


def test_a_raster_that_is_replaced_under_the_labels_is_noticed(tmp_path, scene, labels):
    call = command(tmp_path / "set", scene, labels)
    assert run_here(*call).status == 0
    before = (tmp_path / "set" / "dataset.json").read_bytes()
    raster(scene, seed=99)
    outcome = run_here(*call)
    assert outcome.status == 2
    assert "--overwrite" in outcome.sentence
    assert (tmp_path / "set" / "dataset.json").read_bytes() == before
    assert run_here(*call, "--overwrite").status == 0
    source = rasterio.open(scene).read()
    for _, sample, _, place in samples_of(tmp_path / "set"):
        assert (sample == source[:, place["row"], place["col"]]).all()


def test_a_raster_that_is_replaced_while_it_is_read_makes_no_training_set(tmp_path, scene, labels):
    def replace_it(event: dict) -> None:
        if event.get("stage") == "Shuffling":
            raster(scene, seed=99)

    job = DatasetJob(str(tmp_path / "set"), [str(scene)], str(labels), "name")
    with pytest.raises(InputError, match="was changed while"):
        build(job, Monitor(replace_it))
    assert not (tmp_path / "set").exists()
    # What was read of the old one does not get into the new one.
    build(job, Monitor())
    source = rasterio.open(scene).read()
    for _, sample, _, place in samples_of(tmp_path / "set"):
        assert (sample == source[:, place["row"], place["col"]]).all()


def test_a_full_disk_in_the_middle_is_told_and_with_room_the_same_call_succeeds(tmp_path, labels, small_disk):
    scene = raster(tmp_path / "deep.tif", bands=200)
    disk = small_disk("size=160k")
    job = DatasetJob(str(disk / "set"), [str(scene)], str(labels), "name")
    with pytest.raises(OutputError, match="no room left"):
        build(job, Monitor())
    assert not (disk / "set").exists()
    job.output = str(tmp_path / "set")
    build(job, Monitor())
    assert (tmp_path / "set" / "dataset.json").is_file()


# Folders of patches


def test_folders_of_patches_go_the_same_way(tmp_path):
    outcome = run_here(
        "build-dataset", tmp_path / "euro", "--folder", eurosat_folder(tmp_path / "in"), "--layout", "eurosat",
        "--progress", "json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    report = outcome.events[-1]["report"]
    assert (report["kind"], report["split"]["optimistic"]) == ("patches", True)
    assert Path(outcome.events[-1]["files"]["sheet"]).is_file()
    for number in range(8):
        patch_v1(tmp_path / "ben", number, ["Pastures"] if number % 2 else ["Mixed forest", "Pastures"])
    outcome = run_here(
        "build-dataset", tmp_path / "patches", "--folder", tmp_path / "ben", "--layout", "bigearthnet",
        "--nomenclature", 43, "--block", 5000, "--buffer", "60px", "--validation", 0,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    description = TrainingSet(tmp_path / "patches").description
    assert description.split["block"] == {"pixels": 500, "metres": 5000.0}
    assert description.split["buffer"] == {"pixels": 60, "metres": 600.0}
    assert [entry.label.code for entry in description.classes] == [231, 313]
    outcome = run_here(
        "build-dataset", tmp_path / "all", "--folder", tmp_path / "ben", "--layout", "bigearthnet", "--all-classes",
        "--validation", 0,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert len(TrainingSet(tmp_path / "all").description.classes) == 19


# Real scenes, compared with their pixels by other means


def rasterized(path: Path, field: str, source: rasterio.DatasetReader) -> tuple[np.ndarray, list[str]]:
    """The class at every pixel's centre by GDAL's own rasteriser, -1 for none or for two, and the classes."""
    meta, _, geometries, (values,) = pyogrio.raw.read(path, columns=[field])
    names = sorted({str(value) for value in values})
    shapes = shapely.from_wkb(geometries)
    if meta["crs"] and rasterio.crs.CRS.from_user_input(meta["crs"]) != source.crs:
        geoms = rasterio.warp.transform_geom(meta["crs"], source.crs, [shape.__geo_interface__ for shape in shapes])
        shapes = [shapely.geometry.shape(geom) for geom in geoms]
    result = np.full(source.shape, -1)
    for place, name in enumerate(names):
        of_class = [shape for shape, value in zip(shapes, values, strict=True) if str(value) == name]
        here = rasterio.features.rasterize(of_class, source.shape, transform=source.transform, dtype="uint8") > 0
        result[here] = np.where(result[here] == -1, place, -2)
    return np.where(result < 0, -1, result), names


def real_scene(real_data, tmp_path: Path, name: str, labels: str, field: str, *more: object):
    """A training set of a real scene, and the scene with its labels by other means."""
    path, drawn = real_data(name), real_data(labels)
    outcome = run_here("build-dataset", tmp_path / "set", "--raster", path, "--labels", drawn, "--field", field, *more)
    assert outcome.status == 0, outcome.err
    with rasterio.open(path) as source:
        codes, names = rasterized(drawn, field, source)
        return source.read(), codes, names, outcome


@pytest.mark.real
def test_landsat7_chiapas_pixel_by_pixel(real_data, tmp_path):
    values, codes, names, outcome = real_scene(
        real_data, tmp_path, "landsat7_chiapas/LE70220491999322EDC01_stack.gtif",
        "landsat7_chiapas/training_data.shp", "class",
    )  # fmt: skip
    assert "disagree on 2 features" in outcome.err
    assert "band 8" in outcome.err
    assert names_of(tmp_path / "set") == names
    seen = set()
    for _, sample, label, place in samples_of(tmp_path / "set"):
        row, col = int(place["row"]), int(place["col"])
        assert (sample == values[:7, row, col]).all()
        assert label == codes[row, col]
        seen.add((row, col))
    dropped = TrainingSet(tmp_path / "set").description.split["dropped"]
    assert len(seen) + dropped == (codes >= 0).sum()


@pytest.mark.real
def test_sentinel2_brazil_window_by_window(real_data, tmp_path):
    values, codes, names, _ = real_scene(
        real_data, tmp_path, "sentinel2_brazil/sen2_brazil.tif", "sentinel2_brazil/training_sen2.gpkg", "class",
        "--kind", "windows", "--size", 7,
    )  # fmt: skip
    assert names_of(tmp_path / "set") == names
    padded = np.pad(values, ((0, 0), (3, 3), (3, 3)), mode="reflect")
    seen = set()
    for _, sample, label, place in samples_of(tmp_path / "set"):
        row, col = int(place["row"]), int(place["col"])
        assert (sample == padded[:, row : row + 7, col : col + 7]).all()
        assert label == codes[row, col]
        seen.add((row, col))
    assert len(seen) + TrainingSet(tmp_path / "set").description.split["dropped"] == (codes >= 0).sum()


@pytest.mark.real
def test_salinas_a_is_what_its_matlab_file_holds(real_data, tmp_path):
    from scipy.io import loadmat

    outcome = run_here(
        "build-dataset", tmp_path / "set", "--raster", real_data("salinas_a/salinasA_204.tif"), "--labels",
        real_data("salinas_a/salinasA_gt.tif"),
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    cube = loadmat(real_data("salinas_a/SalinasA_corrected.mat"))["salinasA_corrected"]
    truth = loadmat(real_data("salinas_a/SalinasA_gt.mat"))["salinasA_gt"]
    description = TrainingSet(tmp_path / "set").description
    codes = [entry.label.code for entry in description.classes]
    assert codes == [1, 10, 11, 12, 13, 14]
    count = 0
    for _, sample, label, place in samples_of(tmp_path / "set"):
        row, col = int(place["row"]), int(place["col"])
        assert (sample == cube[row, col]).all()
        assert codes[label] == truth[row, col]
        count += 1
    assert count + description.split["dropped"] == (truth > 0).sum()


@pytest.mark.real
def test_modis_mato_grosso_has_the_series_of_each_points_own_year(real_data, tmp_path):
    folder = real_data("modis_mato_grosso")
    indices = ("ndvi", "evi", "nir")
    outcome = run_here(
        "build-dataset", tmp_path / "set", "--raster", *[folder / f"{name}.tif" for name in indices], "--labels",
        folder / "samples.csv", "--field", "label", "--from-field", "from", "--to-field", "to", "--timeline",
        folder / "timeline", "--labels-crs", "EPSG:4326",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    dates = (folder / "timeline").read_text().split()
    cubes = [rasterio.open(folder / f"{name}.tif").read() for name in indices]
    with rasterio.open(folder / "ndvi.tif") as source:
        inverse, crs = ~source.transform, source.crs
    # Every point's pixel and year, by hand.
    expected: dict[tuple[int, int, str], set[str]] = {}
    for line in (folder / "samples.csv").read_text().splitlines()[1:]:
        longitude, latitude, begin, end, label = line.replace('"', "").split(",")
        xs, ys = rasterio.warp.transform("EPSG:4326", crs, [float(longitude)], [float(latitude)])
        col, row = inverse.a * xs[0] + inverse.c, inverse.e * ys[0] + inverse.f
        expected.setdefault((int(np.floor(row)), int(np.floor(col)), f"{begin} to {end}"), set()).add(label)
    description = TrainingSet(tmp_path / "set").description
    assert description.shape == (3 * 23,)
    names, seen = names_of(tmp_path / "set"), 0
    for _, sample, label, place in samples_of(tmp_path / "set"):
        scene = description.scenes[place["scene"]]["name"]
        period = scene.partition(" ")[2]
        row, col = int(place["row"]), int(place["col"])
        assert expected[row, col, period] == {names[label]}
        begin, _, end = period.partition(" to ")
        steps = [number for number, date in enumerate(dates) if begin <= date < end]
        assert (sample == np.concatenate([cube[steps, row, col] for cube in cubes])).all()
        seen += 1
    assert seen > 400


@pytest.mark.real
def test_some_of_eurosat_are_the_pixels_of_its_images(real_data, tmp_path):
    archive = real_data("eurosat_rgb.zip")
    outcome = run_here(
        "build-dataset", tmp_path / "set", "--folder", archive, "--layout", "eurosat", "--most", 12, "--threads", 1
    )
    assert outcome.status == 0, outcome.err
    dataset = TrainingSet(tmp_path / "set")
    names = dataset.names()
    seen: dict[int, int] = {}
    for _, sample, label, place in samples_of(tmp_path / "set"):
        with rasterio.open(f"/vsizip/{archive}/{names[place['name']]}") as image:
            assert (sample == image.read()).all()
        seen[int(label)] = seen.get(int(label), 0) + 1
    assert seen == dict.fromkeys(range(10), 12)


@pytest.mark.real
def test_nothing_is_written_beside_the_sources(real_data, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(real_data("salinas_a"), source)
    before = sorted(path.name for path in source.iterdir())
    assert (
        run_here(
            "build-dataset", tmp_path / "set", "--raster", source / "salinasA_204.tif", "--labels",
            source / "salinasA_gt.tif", "--kind", "chips", "--size", 16,
        ).status
        == 0
    )  # fmt: skip
    assert sorted(path.name for path in source.iterdir()) == before
