"""``thematica labels stats``: what an analyst types and reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ..engine.labels.layers import codes_raster, point, square, write_layer
from ..engine.networks import image
from ..engine.workplace import Outcome, run_here, run_there

MIDDLES = {"water": 20, "meadow": 120, "wood": 70}


@dataclass
class Labelled:
    """A scene of 60 × 40 pixels of 10 m: water on the left, wood in the middle, meadow on the right; and polygons."""

    folder: Path
    scene: Path
    labels: Path

    def run(self, *more: object, labels: object = None, field: str | None = "class", raster: object = None) -> Outcome:
        return run_here(
            "labels", "stats", "--raster", *(raster if isinstance(raster, list) else [raster or self.scene]),
            "--labels", labels or self.labels, *(["--field", field] if field else []), *more,
        )  # fmt: skip

    def json(self, *more: object, **given: object) -> dict:
        outcome = self.run(*more, "--json", **given)
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)


def values() -> np.ndarray:
    rng = np.random.default_rng(1)
    columns = np.repeat(list(MIDDLES.values())[:1] + [70, 120], 20)
    return (columns + rng.normal(0, 4, (3, 40, 60)) + np.array([0, 5, 10])[:, None, None]).round().astype(np.uint8)


@pytest.fixture
def labelled(tmp_path: Path) -> Labelled:
    scene = image(tmp_path / "scene.tif", values(), origin=(500_000, 5_000_000))
    squares, classes = [], []
    for number, name in enumerate(("water", "wood", "meadow")):
        for row in (1, 11, 21, 31):
            squares.append(square(20 * number + 3, row, 6))
            classes.append(name)
    return Labelled(
        tmp_path, scene, write_layer(tmp_path / "labels.gpkg", squares, layer="labels", **{"class": classes})
    )


def relabelled(labelled: Labelled, which: int, name: str) -> Path:
    classes = ["water"] * 4 + ["wood"] * 4 + ["meadow"] * 4
    classes[which] = name
    squares = [square(20 * (number // 4) + 3, 1 + 10 * (number % 4), 6) for number in range(12)]
    return write_layer(labelled.folder / "wrong.gpkg", squares, layer="labels", **{"class": classes})


def test_a_table_for_people(labelled: Labelled) -> None:
    outcome = labelled.run()
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "432 labelled pixels, 3 bands"
    assert lines[1].split() == ["Code", "Class", "Features", "Pixels", "Hectares"]
    assert lines[2].split() == ["1", "meadow", "4", "144", "1.44"]
    assert "Separability: 2 is complete, 0 none" in lines
    assert any(line.split() == ["meadow", "water", "2.000", *line.split()[3:]] for line in lines)
    # Nothing is wrong: no table of lookalikes, no warning.
    assert "look like" not in outcome.out
    assert "Warnings" not in outcome.out
    assert outcome.err == ""


def test_a_misplaced_polygon_and_warnings_are_told(labelled: Labelled) -> None:
    outcome = labelled.run(labels=relabelled(labelled, 5, "meadow"))
    part = outcome.out.partition("Features that look like another class")[2].splitlines()
    assert part[2].split() == ["6", "meadow", "wood", "100%", "36"]
    few = labelled.run("--merge", "water=wood", labels=relabelled(labelled, 0, "lake"))
    assert "- “lake” has pixels in 1 polygon only" in few.out.partition("Warnings")[2]


def test_json_is_one_object(labelled: Labelled) -> None:
    found = labelled.json()
    assert set(found) == {"bands", "pixels", "unlabelled_missing", "classes", "pairs", "lookalikes", "warnings"}
    assert [entry["name"] for entry in found["classes"]] == ["meadow", "water", "wood"]
    np.testing.assert_allclose(
        found["classes"][1]["mean"],
        np.concatenate([values()[:, r : r + 6, 3:9] for r in (1, 11, 21, 31)], 1).mean((1, 2)),
    )


def test_merged_classes(labelled: Labelled) -> None:
    found = labelled.json("--merge", "meadow=wood")
    assert {entry["name"]: entry["pixels"] for entry in found["classes"]} == {"water": 144, "wood": 288}
    refused = labelled.run("--merge", "meadow")
    assert (refused.status, "NAME=NAME" in refused.sentence) == (2, True)


def test_progress_as_json_ends_with_the_result(labelled: Labelled) -> None:
    outcome = run_there(
        "labels", "stats", "--raster", labelled.scene, "--labels", relabelled(labelled, 0, "lake"), "--field", "class",
        "--progress", "json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    events = outcome.events
    assert [event["event"] for event in events][-1] == "result"
    assert events[-1]["files"] == {}
    assert events[-1]["report"]["pixels"] == 432
    logged = [event["message"] for event in events if event["event"] == "log" and event["level"] == "warning"]
    assert logged == [entry["message"] for entry in events[-1]["report"]["warnings"]]
    assert any("lake" in message for message in logged)
    assert any(event["event"] == "progress" for event in events)


def test_a_raster_of_classes_needs_no_field(labelled: Labelled) -> None:
    codes = np.zeros((40, 60), np.uint8)
    codes[:, :15], codes[:, 25:35] = 4, 9
    found = labelled.json(labels=codes_raster(labelled.folder / "codes.tif", codes), field=None)
    assert [(entry["code"], entry["pixels"], entry["polygons"]) for entry in found["classes"]] == [
        (4, 600, 0), (9, 400, 0),
    ]  # fmt: skip
    assert "Features" not in labelled.run(labels=labelled.folder / "codes.tif", field=None).out


def test_points_and_several_files_as_one_image(labelled: Labelled) -> None:
    second = image(labelled.folder / "second.tif", values()[:1] + 1, origin=(500_000, 5_000_000), names=["extra"])
    points = [point(col + 0.5, row + 0.5) for col in (5, 25) for row in range(30)]
    layer = write_layer(labelled.folder / "points.gpkg", points, "Point", kind=[1] * 30 + [2] * 30)
    found = labelled.json(labels=layer, field="kind", raster=[labelled.scene, second])
    assert [entry["name"] for entry in found["bands"]] == ["B1", "B2", "B3", "extra"]
    assert [(entry["polygons"], entry["pixels"]) for entry in found["classes"]] == [(30, 30), (30, 30)]


def test_values_as_they_are_meant(labelled: Labelled) -> None:
    plain = labelled.json("--bands", "B2")["classes"][0]
    scaled = labelled.json("--bands", "B2", "--scale", "0.01", "--offset", "-1")["classes"][0]
    for key in ("mean", "p05", "p95"):
        assert scaled[key] == pytest.approx([plain[key][0] * 0.01 - 1])
    assert scaled["std"] == pytest.approx([plain["std"][0] * 0.01])
    value = int(values()[0, 1, 3])
    without = labelled.json("--nodata", str(value))
    assert without["unlabelled_missing"] > 0
    assert without["pixels"] + without["unlabelled_missing"] == 432


def test_a_scale_by_hand_replaces_what_is_declared(labelled: Labelled) -> None:
    import rasterio

    with rasterio.open(labelled.scene, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1,) * 3, (5.0,) * 3
    declared, given = (labelled.json(*more)["classes"][0]["mean"][0] for more in ([], ["--scale", "1"]))
    assert declared == pytest.approx(given * 0.1 + 5)


def test_an_image_field_leaves_out_what_was_drawn_elsewhere(labelled: Labelled) -> None:
    squares = [square(3, 1, 6), square(3, 11, 6), square(23, 1, 6)]
    layer = write_layer(
        labelled.folder / "two.gpkg",
        squares,
        **{"class": ["a", "b", "b"], "image": ["scene.tif", "scene.tif", "other.tif"]},
    )
    found = labelled.json("--image-field", "image", labels=layer)
    assert [entry["pixels"] for entry in found["classes"]] == [36, 36]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scale", "0"], "--scale 0"),
        (["--scale", "nan"], "finite"),
        (["--offset", "inf"], "finite"),
        (["--bands", "9"], "band"),
        (["--labels-crs", "nowhere"], "coordinate reference system"),
        (["--raster-crs", "nowhere"], "coordinate reference system"),
        (["--gsd", "0"], "above 0"),
        (["--nodata", "inf"], "finite number or nan"),
        (["--merge", "a=b"], "“a”"),
        (["--raster", "other.tif"], "give --raster once"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(labelled: Labelled, options: list[str], words: str) -> None:
    outcome = labelled.run(*options)
    assert outcome.status == 2
    assert words in outcome.sentence
    assert outcome.out == ""


def test_labels_without_a_pixel_are_no_result(labelled: Labelled) -> None:
    tiny = write_layer(labelled.folder / "tiny.gpkg", [square(3.1, 3.1, 0.2)], **{"class": ["a"]})
    assert "no polygon holds the centre of a pixel" in labelled.run(labels=tiny).sentence
    nothing = image(
        labelled.folder / "nothing.tif", np.zeros((1, 40, 60), np.uint8), nodata=0, origin=(500_000, 5_000_000)
    )
    assert "None of the 432 labelled pixels has data" in labelled.run(raster=nothing).sentence
    far = write_layer(labelled.folder / "far.gpkg", [square(900, 900)], **{"class": ["a"]})
    assert labelled.run(labels=far).status == 2
    nowhere = labelled.run(labels=labelled.folder / "nowhere.gpkg")
    assert (nowhere.status, "nowhere.gpkg" in nowhere.sentence) == (2, True)


def test_one_class_and_strange_names(labelled: Labelled) -> None:
    layer = write_layer(labelled.folder / "one.gpkg", [square(3, 1, 6)], **{"class": ["Wald “Süd”\n<b>"]})
    outcome = labelled.run(labels=layer)
    assert outcome.status == 0
    assert "a classification needs two classes" in outcome.out
    assert "Separability" not in outcome.out


def test_what_is_needed_is_asked_for() -> None:
    for given in (["labels"], ["labels", "stats"], ["labels", "stats", "--raster", "x.tif"]):
        outcome = run_here(*given)
        assert outcome.status == 2
        assert "required" in outcome.err


@pytest.mark.real
def test_the_scene_whose_fields_disagree(real_data: Callable[[str], Path]) -> None:
    folder = real_data("landsat7_chiapas/training_data.shp").parent
    outcome = run_here(
        "labels", "stats", "--raster", folder / "LE70220491999322EDC01_stack.gtif",
        "--labels", folder / "training_data.shp", "--field", "class",
    )  # fmt: skip
    assert outcome.status == 0
    warned = outcome.out.partition("Warnings")[2]
    for words in ("“class” and “id” disagree on 2 features", "“urban” has pixels in 2 polygons only", "band 8"):
        assert words in warned
