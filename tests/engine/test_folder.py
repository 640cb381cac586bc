"""Classify folder: a table with a line per image, the same labels as in a raster made of them."""

from __future__ import annotations

import csv
import json
import os
import re
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.engine import classify_folder as classify_folder_module
from thematica.engine.classify_folder import classify_folder, image_files
from thematica.engine.classify_patches import classify_patches
from thematica.engine.job import FolderJob, PatchJob, read_job
from thematica.engine.session import Session
from thematica.errors import InputError, OutputError
from thematica.models.bands import Band
from thematica.models.reading import read_model_card
from thematica.models.store import resolve_model
from thematica.progress import Monitor
from thematica.trainer.eurosat_split import TEST, split_of

from .networks import Net, image, make_card, noise, save
from .patch_networks import BANDS, CLASSES, direct, patch_net, table


def lines(path: Path) -> list[dict[str, str]]:
    """The table's lines."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def probabilities(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[name]) for name in row if name.startswith("p_")] for row in rows])


def picture(
    path: Path, side: int | tuple[int, int] = 8, seed: int = 0, driver: str = "PNG", bands: int = BANDS
) -> Path:
    """An image file without a place on Earth, as they lie in such folders."""
    height, width = (side, side) if isinstance(side, int) else side
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = noise((bands, height, width), seed=seed)
    with rasterio.open(path, "w", driver=driver, width=width, height=height, count=bands, dtype="uint8") as dataset:
        dataset.write(samples)
    return path


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(7):
        picture(tmp_path / "images" / f"Klasse {index % 3}" / f"bild_{index}.png", seed=index)
    picture(tmp_path / "images" / "oben.jpg", seed=9, driver="JPEG")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path


def run(folder: Path, model: Path, monitor: Monitor | None = None, **options) -> list[dict[str, str]]:
    """Run a job; returns the table's lines."""
    output = folder / "table.csv"
    classify_folder(FolderJob(str(folder / "images"), str(model), str(output), overwrite=True, **options), monitor)
    return lines(output)


@settings(max_examples=15)
@given(batch=st.integers(1, 12), fixed=st.sampled_from(["n", 3]), several=st.booleans())
def test_every_image_gets_what_a_direct_run_gives(
    tmp_path_factory: pytest.TempPathFactory, batch: int, fixed: int | str, several: bool
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    names = [f"{index % 4}/{index}.png" for index in range(11)]
    for index, name in enumerate(names):
        picture(folder / "images" / name, seed=index)
    model = patch_net(folder / "net.onnx", task="patch-multilabel" if several else "patch", batch=fixed)
    rows = run(folder, model, batch=batch)
    assert [row["file"] for row in rows] == sorted(names)
    wanted = direct(model, np.array([pixels(folder / "images" / row["file"]) for row in rows]), several)
    np.testing.assert_allclose(probabilities(rows), wanted, atol=1e-5)
    np.testing.assert_allclose([float(row["score"]) for row in rows], wanted.max(axis=1), atol=1e-5)
    if several:
        sets = ["; ".join(name for name, value in zip(CLASSES, row, strict=True) if value >= 0.5) for row in wanted]
        assert [row["label"] for row in rows] == sets
    else:
        assert [row["label"] for row in rows] == [CLASSES[index] for index in wanted.argmax(axis=1)]


def test_the_table(folder: Path) -> None:
    messages: list[dict] = []
    rows = run(folder, patch_net(folder / "net.onnx"), Monitor(messages.append))
    text = (folder / "table.csv").read_bytes().decode("utf-8")
    assert text.splitlines()[0] == "file,label,score,p_forest,p_annual_crop,p_water,p_grunland_nass,note"
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert rows[0]["file"] == "Klasse 0/bild_0.png"
    assert rows[-1]["file"] == "oben.jpg"
    assert {row["label"] for row in rows} <= set(CLASSES)
    assert all(row["note"] == "" for row in rows)
    said = [entry["message"] for entry in messages if entry["event"] == "log"]
    assert "1 other file in the folder passed over." in said
    fractions = [entry["fraction"] for entry in messages if entry["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert sorted(path.name for path in folder.iterdir()) == ["images", "net.onnx", "table.csv", "table.report.json"]


def test_what_the_result_says(folder: Path) -> None:
    model = patch_net(folder / "net.onnx")
    result = classify_folder(FolderJob(str(folder / "images"), str(model), str(folder / "table.csv"), threshold=0.6))
    rows = lines(folder / "table.csv")
    assert result["files"] == {"output": str(folder / "table.csv"), "report": str(folder / "table.report.json")}
    report = result["report"]
    assert json.loads((folder / "table.report.json").read_text()) == report
    assert (report["command"], report["task"]) == ("classify-folder", "patch")
    assert {"thematica", "created", "seconds", "warnings", "seconds_per_stage", "versions"} <= set(report)
    assert report["model"]["sha256"] == read_model_card(model).weights_sha256
    assert report["backend"]["provider"] == "CPUExecutionProvider"
    assert report["backend"]["why_not"] == {}
    (kind,) = report["kinds"]
    assert (kind["images"], kind["data_type"]) == (8, "uint8")
    assert [entry["band"] for entry in kind["bands"]] == [1, 2, 3]
    assert report["images"]["count"] == 8
    assert report["images"]["other_files"] == 1
    assert report["images"]["below_threshold"] == sum(row["label"] == "Unclassified" for row in rows)
    for entry in report["classes"]:
        assert entry["images"] == sum(row["label"] == entry["name"] for row in rows)


def test_the_report_runs_the_same_again(folder: Path) -> None:
    options = {"threshold": 0.4, "nodata": 0.0, "bands": "B1=3,B2=2,B3=1", "scale": 0.5, "offset": 0.0, "batch": 3}
    model = patch_net(folder / "net.onnx")
    result = classify_folder(job(folder, model, report=str(folder / "said.json"), **options))
    assert not (folder / "table.report.json").exists()
    again = json.loads((folder / "said.json").read_text())["parameters"]
    assert again == result["report"]["parameters"]
    assert {key: again[key] for key in options} == options
    again.update(output=str(folder / "again.csv"), report=None)
    (folder / "job.json").write_text(json.dumps(again))
    classify_folder(read_job(folder / "job.json", FolderJob))
    assert (folder / "again.csv").read_bytes() == (folder / "table.csv").read_bytes()


def test_kinds_of_images_are_told_apart_in_the_report(folder: Path) -> None:
    image(folder / "images" / "deep.tif", noise((BANDS, 8, 8), "uint16"), names=["B3", "B2", "B1"])
    report = classify_folder(job(folder, patch_net(folder / "net.onnx")))["report"]
    found = {kind["data_type"]: (kind["images"], [band["band"] for band in kind["bands"]]) for kind in report["kinds"]}
    assert found == {"uint8": (8, [1, 2, 3]), "uint16": (1, [3, 2, 1])}


def test_images_that_cannot_be_classified_stay_in_the_table(folder: Path) -> None:
    """A damaged file among thousands is no reason to stop."""
    images = folder / "images"
    good = picture(images / "cut.jpg", 8, driver="JPEG").read_bytes()
    (images / "cut.jpg").write_bytes(good[: len(good) // 3])
    (images / "empty.png").write_bytes(b"")
    (images / "text.tif").write_text("no image")
    picture(images / "large.png", (16, 8))
    good = picture(images / "half.png", seed=5).read_bytes()
    (images / "half.png").write_bytes(good[: len(good) // 2])
    picture(images / "grey.png", bands=1)
    messages: list[dict] = []
    rows = {row["file"]: row for row in run(folder, patch_net(folder / "net.onnx"), Monitor(messages.append))}
    notes = {name: row["note"] for name, row in rows.items() if row["note"]}
    assert set(notes) == {"cut.jpg", "empty.png", "text.tif", "large.png", "grey.png", "half.png"}
    assert "damaged" in notes["cut.jpg"]
    assert "damaged" in notes["half.png"]
    assert notes["large.png"] == "The image has 8 × 16 pixels, the network takes 8 × 8."
    assert "is empty" in notes["empty.png"]
    assert all(rows[name]["label"] == rows[name]["score"] == "" for name in notes)
    assert len(rows) == 8 + 6
    warnings = [entry["message"] for entry in messages if entry.get("level") == "warning"]
    assert any(text.startswith("6 of 14 images could not be classified") for text in warnings)


def test_a_network_of_free_size_takes_images_of_any_size(folder: Path) -> None:
    picture(folder / "images" / "wide.png", (9, 23), seed=30)
    model = patch_net(folder / "free.onnx", None, tile=8)
    rows = run(folder, model)
    wide = next(row for row in rows if row["file"] == "wide.png")
    np.testing.assert_allclose(
        probabilities([wide]), direct(model, pixels(folder / "images" / "wide.png")[None]), atol=1e-5
    )
    assert all(row["label"] for row in rows)


def test_images_of_several_types_in_one_folder(folder: Path) -> None:
    """Bytes and numbers of 16 bits need networks of their own in front."""
    samples = noise((BANDS, 8, 8), "uint16", seed=4, high=255)
    image(folder / "images" / "deep.tif", samples, crs=None, transform=None)
    model = patch_net(folder / "net.onnx")
    rows = run(folder, model)
    deep = next(row for row in rows if row["file"] == "deep.tif")
    np.testing.assert_allclose(probabilities([deep]), direct(model, samples[None]), atol=1e-5)


def test_an_image_without_data_has_no_label(folder: Path) -> None:
    samples = noise((BANDS, 8, 8), seed=4, low=1)
    samples[:, :5] = 0
    image(folder / "images" / "gap.tif", samples, nodata=0)
    samples[:, :4] = 7
    image(folder / "images" / "half.tif", samples, nodata=7)
    model = patch_net(folder / "net.onnx")
    rows = {row["file"]: row for row in run(folder, model)}
    assert "no data" in rows["gap.tif"]["note"]
    # Missing pixels enter as what normalises to 0.
    filled = np.where(samples == 7, np.uint8(128), samples)
    np.testing.assert_allclose(probabilities([rows["half.tif"]]), direct(model, filled[None]), atol=1e-5)


def test_the_nodata_of_the_card_counts_where_an_image_declares_none(folder: Path) -> None:
    samples = noise((BANDS, 8, 8), seed=4, low=1, high=200)
    samples[:, :5] = 250
    image(folder / "images" / "gap.tif", samples)
    samples[:, :5] = 9
    samples[:, :2] = 250
    image(folder / "images" / "half.tif", samples)
    model = patch_net(folder / "net.onnx", nodata=250.0)
    rows = {row["file"]: row for row in run(folder, model)}
    assert "no data" in rows["gap.tif"]["note"]
    filled = np.where(samples == 250, np.uint8(128), samples)
    np.testing.assert_allclose(probabilities([rows["half.tif"]]), direct(model, filled[None]), atol=1e-5)


@pytest.mark.parametrize("wrong", ["a", "c"])
def test_every_image_is_judged_by_its_own_values(tmp_path: Path, wrong: str) -> None:
    """One image with another scale neither lets itself in behind the others nor shuts them out."""
    (tmp_path / "images").mkdir()
    for index, name in enumerate("abc"):
        samples = noise((BANDS, 8, 8), "float32", seed=index, high=10000 if name == wrong else 1)
        image(tmp_path / "images" / f"{name}.tif", samples)
    model = patch_net(tmp_path / "net.onnx", unit="reflectance", value_range=(0.0, 1.0), normalisation_steps=[])
    notes = {row["file"][0]: row["note"] for row in run(tmp_path, model)}
    assert "--scale" in notes.pop(wrong)
    assert set(notes.values()) == {""}


def test_every_image_is_judged_by_its_own_pixels_and_band(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index, (name, resolution) in enumerate({"x_B04": 10, "x_B08": 10, "y_B04": 100, "z_B04": 12}.items()):
        samples = noise((1, 8, 8), seed=index)
        image(tmp_path / "images" / f"{name}.tif", samples, resolution=resolution, names=[""])
    net = Net(1, shape=["n", 1, 8, 8])
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", net.conv(net.input, 6))), 2)
    card = make_card([Band("B04", "red")], 2, "patch", gsd=10.0)
    model = save(tmp_path / "net.onnx", net.model(x, ["n", 2]), card)
    notes = {row["file"]: row["note"] for row in run(tmp_path, model)}
    assert notes["x_B04.tif"] == notes["z_B04.tif"] == ""
    assert "B04" in notes["x_B08.tif"]
    assert "100 m on the ground" in notes["y_B04.tif"]


def test_a_warning_about_many_images_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(5):
        image(tmp_path / "images" / f"{index}.tif", noise((BANDS, 8, 8), seed=index), resolution=18 + index / 10)
    monitor = Monitor()
    run(tmp_path, patch_net(tmp_path / "net.onnx", gsd=10.0), monitor, batch=1)
    (warning,) = [text for text in monitor.warnings if "expect a worse map" in text]
    assert "18 m" in warning


def test_nodata_and_the_rule_for_missing_pixels_are_options(folder: Path) -> None:
    samples = noise((BANDS, 8, 8), seed=4, low=1, high=200)
    samples[0, :6] = 250
    image(folder / "images" / "gap.tif", samples)
    model = patch_net(folder / "net.onnx")
    assert {row["file"]: row["note"] for row in run(folder, model)}["gap.tif"] == ""
    assert "no data" in {row["file"]: row["note"] for row in run(folder, model, nodata=250.0)}["gap.tif"]
    rows = {row["file"]: row for row in run(folder, model, nodata=250.0, invalid="all")}
    filled = np.where(samples == 250, np.uint8(128), samples)
    np.testing.assert_allclose(probabilities([rows["gap.tif"]]), direct(model, filled[None]), atol=1e-5)


def test_the_sensor_names_the_bands(tmp_path: Path) -> None:
    """Of 12 bands without names those of the model are found by the sensor's order."""
    samples = noise((12, 8, 8))
    image(tmp_path / "images.tif", samples, names=[""] * 12)
    (tmp_path / "images").mkdir()
    (tmp_path / "images.tif").rename(tmp_path / "images" / "a.tif")
    net = Net(1, shape=["n", 1, 8, 8])
    x = net.dense(net.node("Flatten", net.node("GlobalAveragePool", net.conv(net.input, 6))), 2)
    model = save(tmp_path / "net.onnx", net.model(x, ["n", 2]), make_card([Band("B08", "nir")], 2, "patch"))
    report = classify_folder(job(tmp_path, model, sensor="sentinel2-l2a"))["report"]
    (kind,) = report["kinds"]
    assert [(entry["band"], entry["how"]) for entry in kind["bands"]] == [(8, "sensor")]


def test_half_precision_on_the_processor_is_told_to_bring_nothing(folder: Path) -> None:
    model = patch_net(folder / "net.onnx")
    report = classify_folder(job(folder, model, provider="cpu", precision="fp16"))["report"]
    assert report["backend"]["precision"] == "fp32"
    assert [text for text in report["warnings"] if "fp16) brings nothing on the CPU" in text]


class Crowd:
    """Counts how many are in it at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.changed = threading.Condition()

    def enter(self, patience: float) -> None:
        """Wait for a second one to come."""
        with self.changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.most > 1, patience)

    def leave(self) -> None:
        with self.changed:
            self.now -= 1


@pytest.mark.parametrize("stands", [1, 2])
def test_no_more_runs_side_by_side_than_the_session_stands(folder: Path, monkeypatch, stands: int) -> None:
    crowd, run_alone = Crowd(), Session.run

    def watched(session: Session, *arguments: object) -> object:
        crowd.enter(10.0 if stands > 1 else 0.05)
        try:
            return run_alone(session, *arguments)
        finally:
            crowd.leave()

    monkeypatch.setattr(Session, "run", watched)
    monkeypatch.setattr(Session, "parallel_runs", stands)
    threads = 1 if stands == 2 else 4
    report = classify_folder(job(folder, patch_net(folder / "net.onnx"), threads=threads, batch=1))["report"]
    assert (crowd.most, report["backend"]["workers"]) == (stands, stands)


def test_a_network_is_asked_once_for_images_that_it_cannot_take(folder: Path, monkeypatch) -> None:
    for index in range(4):
        image(folder / "images" / f"{index}.tif", noise((BANDS, 8, 8), "float32", seed=index))
    asked, really = [], classify_folder_module.deploy
    monkeypatch.setattr(
        classify_folder_module, "deploy", lambda *given, **more: asked.append(given[1]) or really(*given, **more)
    )
    rows = run(folder, patch_net(folder / "net.onnx", data_type="uint8"))
    assert {bool(row["note"]) for row in rows if row["file"].endswith(".tif")} == {True}
    assert len(asked) == len(set(asked))


def test_what_the_session_has_to_say_while_it_runs_is_told(folder: Path, monkeypatch) -> None:
    run_alone = Session.run

    def talking(session: Session, *arguments: object) -> object:
        session.warn("Memory is short.")
        return run_alone(session, *arguments)

    monkeypatch.setattr(Session, "run", talking)
    messages: list[dict] = []
    result = classify_folder(job(folder, patch_net(folder / "net.onnx")), Monitor(messages.append))
    assert "Memory is short." in result["report"]["warnings"]
    assert "Memory is short." in [event.get("message") for event in messages]


def test_bands_and_scale_are_options(folder: Path) -> None:
    model = patch_net(folder / "net.onnx", normalisation_steps=[])
    rows = run(folder, model, bands="B1=3,B2=2,B3=1", scale=0.5, offset=3.0)
    values = np.array([pixels(folder / "images" / row["file"])[::-1] for row in rows]) * 0.5 + 3
    wanted = direct(model, values.astype(np.float32), scaled=False)
    np.testing.assert_allclose(probabilities(rows), wanted, atol=1e-5)


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    for name in ("a.JPG", ".b.png", "._c.tif", "d.jpeg", "sub/e.TIFF", "sub/Thumbs.db", "f.png.aux.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert image_files(tmp_path) == (["a.JPG", "d.jpeg", "sub/e.TIFF"], 4)


# Bad input


def job(here: Path, network: Path, **options) -> FolderJob:
    given = {"folder": str(here / "images"), "model": str(network), "output": str(here / "table.csv"), **options}
    return FolderJob(**given)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folder": "no/such/folder"}, "no folder"),
        ({"output": "table.txt"}, r"end in \.csv"),
        ({"output": "no/such/folder/table.csv"}, "does not exist"),
        ({"threshold": 2.0}, "between 0 and 1"),
        ({"threshold": float("nan")}, "between 0 and 1"),
        ({"batch": 0}, "at least 1"),
        ({"threads": 0}, "at least 1"),
        ({"scale": 0.0}, "--scale 0"),
        ({"scale": float("inf")}, "finite"),
        ({"model": "treefinder"}, "no model"),
        ({"bands": "B1:3"}, "band assignment"),
        ({"provider": "Quantum"}, "provider"),
        ({"output_name": "softness"}, "no output"),
        ({"precision": "int4"}, "no precision"),
        ({"invalid": "some"}, "missing pixels"),
        ({"nodata": float("inf")}, "--nodata"),
    ],
)
def test_bad_options(folder: Path, options: dict, words: str) -> None:
    before = sorted(folder.rglob("*"))
    model = folder.parent / f"{folder.name}.onnx"
    with pytest.raises(InputError, match=words):
        classify_folder(job(folder, patch_net(model), **options))
    assert sorted(folder.rglob("*")) == before


def test_a_folder_without_images(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image files"):
        classify_folder(job(folder, patch_net(folder / "net.onnx"), folder=str(folder / "empty")))
    with pytest.raises(InputError, match="is a file"):
        classify_folder(job(folder, folder / "net.onnx", folder=str(folder / "net.onnx")))


def test_if_no_image_fits_that_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError, match=r"Not one of the 8 .*8 × 8 pixels, the network takes 16 × 16"):
        classify_folder(job(folder, patch_net(folder / "net.onnx", 16)))
    wrong = patch_net(folder / "scaled.onnx", unit="reflectance", value_range=(0.0, 1.0))
    with pytest.raises(InputError, match="--scale"):
        classify_folder(job(folder, wrong))
    assert not (folder / "table.csv").exists()


def test_an_existing_table_is_kept_unless_told_otherwise(folder: Path) -> None:
    model = patch_net(folder / "net.onnx")
    (folder / "table.csv").write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        classify_folder(job(folder, model))
    broken = patch_net(folder / "other.onnx", 16)
    with pytest.raises(InputError):
        classify_folder(job(folder, broken, overwrite=True))
    assert (folder / "table.csv").read_text() == "precious"
    classify_folder(job(folder, model, overwrite=True))
    assert len(lines(folder / "table.csv")) == 8


def test_a_report_is_refused_where_it_would_hit_something(folder: Path) -> None:
    model = patch_net(folder / "net.onnx")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in ("images/oben.jpg", "net.onnx"):
        with pytest.raises(OutputError, match="overwrite the input"):
            classify_folder(job(folder, model, report=str(folder / name), overwrite=True))
    with pytest.raises(OutputError, match="asked for twice"):
        classify_folder(job(folder, model, report=str(folder / "table.csv")))
    with pytest.raises(OutputError, match="exists already"):
        classify_folder(job(folder, model, report=str(folder / "images" / "notes.txt")))
    with pytest.raises(OutputError, match="does not exist"):
        classify_folder(job(folder, model, report=str(folder / "none" / "report.json")))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_report_beside_is_replaced_with_its_table_and_kept_if_the_run_fails(folder: Path) -> None:
    (folder / "table.report.json").write_text("old")
    with pytest.raises(InputError):
        classify_folder(job(folder, patch_net(folder / "other.onnx", 16)))
    assert (folder / "table.report.json").read_text() == "old"
    classify_folder(job(folder, patch_net(folder / "net.onnx")))
    assert json.loads((folder / "table.report.json").read_text())["images"]["count"] == 8


def test_a_full_disk_leaves_nothing(folder: Path, small_disk: Callable[..., Path]) -> None:
    disk = small_disk("size=4k")
    for index in range(100):
        picture(folder / "images" / f"{index}.png", seed=index)
    with pytest.raises(OutputError, match="full"):
        classify_folder(job(folder, patch_net(folder / "net.onnx"), output=str(disk / "table.csv")))
    assert os.listdir(disk) == []


# Real images


@pytest.mark.real
def test_a_mosaic_of_eurosat_is_labelled_as_its_images_are(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    """240 real images: from the files, from a raster made of them, and by ONNX Runtime alone."""
    across, down = 16, 15
    names = []
    (tmp_path / "images").mkdir()
    with zipfile.ZipFile(real_data("eurosat_rgb.zip")) as archive:
        every = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for name in every[:: len(every) // (across * down)][: across * down]:
            names.append(Path(name).name)
            (tmp_path / "images" / Path(name).name).write_bytes(archive.read(name))
    names.sort()
    patches = np.array([pixels(tmp_path / "images" / name) for name in names])
    assert patches.shape == (240, 3, 64, 64)
    mosaic = patches.reshape(down, across, 3, 64, 64).transpose(2, 0, 3, 1, 4).reshape(3, down * 64, across * 64)
    image(tmp_path / "mosaic.tif", np.ascontiguousarray(mosaic), tiled=True, compress="deflate")
    model = patch_net(tmp_path / "net.onnx", 64, [f"class {index}" for index in range(10)])
    rows = run(tmp_path, model)
    assert [row["file"] for row in rows] == names
    classify_patches(PatchJob([str(tmp_path / "mosaic.tif")], str(model), str(tmp_path / "map.gpkg")))
    found = table(tmp_path / "map.gpkg")
    place = np.argsort(found["row"] * across + found["column"])
    assert found["label"][place].tolist() == [row["label"] for row in rows]
    wanted = direct(model, patches)
    assert [row["label"] for row in rows] == [f"class {index}" for index in wanted.argmax(axis=1)]
    assert len({row["label"] for row in rows}) > 1
    got = np.stack([found[name] for name in found if name.startswith("p_")], axis=1)[place]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(probabilities(rows), wanted, atol=1e-5)


@pytest.mark.real
def test_the_model_that_ships_keeps_its_accuracy_on_a_mosaic(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    """400 images of the part that was kept back: as files, and as the patches of one raster."""
    side = 20
    with zipfile.ZipFile(real_data("eurosat_rgb.zip")) as archive:
        kept = sorted(name for name in archive.namelist() if name.endswith(".jpg") and split_of(name) == TEST)
        chosen = kept[:: len(kept) // side**2][: side**2]
        for name in chosen:
            target = tmp_path / "images" / Path(name).name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(archive.read(name))
    names = sorted(Path(name).name for name in chosen)
    patches = np.array([pixels(tmp_path / "images" / name) for name in names])
    mosaic = patches.reshape(side, side, 3, 64, 64).transpose(2, 0, 3, 1, 4).reshape(3, side * 64, side * 64)
    image(tmp_path / "mosaic.tif", np.ascontiguousarray(mosaic), tiled=True, names=["red", "green", "blue"])
    model = resolve_model("eurosat-rgb")
    rows = run(tmp_path, model)
    classify_patches(PatchJob([str(tmp_path / "mosaic.tif")], "eurosat-rgb", str(tmp_path / "map.gpkg")))
    found = table(tmp_path / "map.gpkg")
    labels = found["label"][np.argsort(found["row"] * side + found["column"])].tolist()
    assert labels == [row["label"] for row in rows]
    # "AnnualCrop_17.jpg" is called "Annual crop" on the card.
    folders = {re.sub("[^a-z]", "", entry.name.lower()): entry.name for entry in read_model_card(model).classes}
    folders["sealake"] = folders.pop("seaorlake")
    right = [folders[name.split("_")[0].lower()] == label for name, label in zip(names, labels, strict=True)]
    assert np.mean(right) >= 0.93
