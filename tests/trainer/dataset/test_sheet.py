"""The preview sheet: what it draws, and that nothing on it is cut off."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from thematica.errors import InputError, OutputError
from thematica.models.bands import SENTINEL2_BANDS, Band
from thematica.progress import Monitor
from thematica.trainer.dataset import corine, sheet
from thematica.trainer.dataset.build import BuildOptions, Length, build_dataset
from thematica.trainer.dataset.description import SHEET, Statistics
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.dataset.scene import SceneBand
from thematica.trainer.dataset.sheet import draw_sheet, split_in_words
from thematica.trainer.dataset.sheet_map import PART_COLORS, GroundMap, distance_in_words, lines_between, scene_maps
from thematica.trainer.dataset.sheet_pictures import Stretch, examples, picture_bands, spectra, spectrum_axis

from .scenes import fields_scene


def made(tmp_path: Path, kind: str = "pixels", **more) -> Path:
    options = BuildOptions(kind=kind, size={"windows": 5, "chips": 24}.get(kind, 0), block=Length(48, "px"), seed=1)
    build_dataset(tmp_path / "set", [fields_scene(**more)], options, Monitor())
    return tmp_path / "set"


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The figures that are saved."""
    caught: list[Figure] = []
    save = sheet._Page.save

    def keep(self, path: Path) -> None:
        save(self, path)
        caught.append(self.figure)

    monkeypatch.setattr(sheet._Page, "save", keep)
    return caught


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def assert_nothing_is_cut_off(figure: Figure) -> None:
    """Every word lies on the page, and the numbers and names along an axis do not run into each other."""
    for axes in figure.axes:
        low, high = axes.get_window_extent().x0, axes.get_window_extent().x1
        labels = [label for label in axes.get_xticklabels() if label.get_text()]
        boxes = sorted((box.x0, box.x1) for box in (label.get_window_extent() for label in labels))
        boxes = [box for box in boxes if low - 5 <= sum(box) / 2 <= high + 5]
        assert all(left[1] <= right[0] for left, right in pairwise(boxes)), [label.get_text() for label in labels]
    page = figure.bbox
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible():
            box = text.get_window_extent(figure.canvas.get_renderer())
            # Marks of an axis beyond its ends are not drawn.
            if text.axes is not None and text in [*text.axes.get_xticklabels(), *text.axes.get_yticklabels()]:
                continue
            assert box.x0 >= page.x0 - 1, text.get_text()
            assert box.x1 <= page.x1 + 1, text.get_text()
            assert box.y0 >= page.y0 - 1, text.get_text()
            assert box.y1 <= page.y1 + 1, text.get_text()


@pytest.mark.parametrize("kind", ["pixels", "windows", "chips"])
def test_a_sheet_shows_samples_counts_and_the_split_on_the_map(tmp_path, figures, kind):
    folder = made(tmp_path, kind)
    target = draw_sheet(folder)
    assert target == folder / SHEET
    picture = imread(target)
    assert picture.shape[1] == 1650
    said = "\n".join(words(figures[0]))
    description = TrainingSet(folder).description
    for entry in description.classes:
        assert entry.label.name in said
        assert " / ".join(f"{entry.samples[part]:,}" for part in ("train", "validation", "test")) in said
    assert "blocks of 48 px (480 m)" in said
    assert_nothing_is_cut_off(figures[0])
    assert sorted(path.name for path in folder.iterdir() if "preview" in path.name) == [SHEET]
    # The three colours of the parts are on the map, each as large as its part.
    if kind == "pixels":
        right = picture[:, 700:, :3]
        shares = [int((np.abs(right - to_rgb(color)).max(axis=2) < 0.02).sum()) for color in PART_COLORS.values()]
        counts = [description.samples(part) for part in PART_COLORS]
        assert np.allclose(np.array(shares) / sum(shares), np.array(counts) / sum(counts), atol=0.08)


def test_a_background_lies_under_the_samples_and_blocks(tmp_path):
    folder = made(tmp_path)
    without = imread(draw_sheet(folder)).copy()
    bright = np.full((240, 320, 3), 250, np.uint8)
    with_one = imread(draw_sheet(folder, {0: (bright, 1.0)}))
    assert without.shape == with_one.shape
    assert (without != with_one).any()
    blue = np.abs(with_one[..., :3] - to_rgb(PART_COLORS["train"])).max(axis=2) < 0.02
    assert blue.sum() > 1000


def described_with(folder: Path, **changes) -> Path:
    """The training set with other entries in its description."""
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
    return folder


def test_long_names_many_classes_and_many_scenes_find_room(tmp_path, figures):
    folder = made(tmp_path, "windows", classes=43, field_side=6, every=10, height=400, width=700)
    told = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    for entry, named in zip(told["classes"], corine.legend(43), strict=False):
        entry["name"] = named.name
    told["scenes"][0]["name"] = "LE07_L1TP_" * 30
    told["split"]["optimistic"] = True
    told["split"]["why"] = "It is optimistic for reasons that fill a line and then another one. " * 4
    (folder / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
    draw_sheet(folder)
    assert_nothing_is_cut_off(figures[0])
    said = "\n".join(words(figures[0]))
    assert "Optimistic split." in said
    assert "areas of natural vegetation" in said


def test_scenes_that_are_not_square_keep_their_shape(tmp_path, figures):
    folder = made(tmp_path, height=60, width=900, every=20)
    draw_sheet(folder)
    maps = [axes for axes in figures[0].axes if axes.get_images()]
    (box,) = [axes.get_position() for axes in maps]
    page = figures[0].get_size_inches()
    (shown,) = scene_maps(TrainingSet(folder), 4)
    wanted = (shown.right - shown.left) / (shown.bottom - shown.top)
    assert box.width * page[0] / (box.height * page[1]) == pytest.approx(wanted, rel=0.05)
    assert_nothing_is_cut_off(figures[0])


def test_large_numbers_and_long_names_of_bands_find_room(tmp_path, figures):
    folder = made(tmp_path, bands=12)
    told = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    for number, entry in enumerate(told["bands"]):
        entry.update(name=f"reflectance {number}", wavelength=None)
    for entry in told["classes"]:
        entry["samples"] = {part: 1_234_567 * count for part, count in entry["samples"].items()}
    (folder / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
    draw_sheet(folder)
    assert_nothing_is_cut_off(figures[0])
    assert any("reflectance" in word for word in words(figures[0]))


def test_patches_are_shown_where_they_lie(tmp_path, figures):
    folder = made(tmp_path, "windows")
    description = TrainingSet(folder).description
    ground = GroundMap(np.array([10.0, 10.2, 30.0]), np.array([50.0, 50.1, 65.0]), np.array([0, 2, -1], np.int8))
    patches = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert patches["kind"] == description.kind
    draw_sheet(folder, ground=ground)
    said = words(figures[0])
    assert any("° E" in word for word in said)
    # What was left out is not shown: 30° E lies far off the map.
    assert not any(word.startswith("30") and "E" in word for word in said)


def test_a_set_that_cannot_be_read_or_written_to_gets_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no training set"):
        draw_sheet(tmp_path)
    folder = made(tmp_path)

    def full(self, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sheet._Page, "save", full)
    with pytest.raises(OutputError, match="cannot be written"):
        draw_sheet(folder)
    assert not [path for path in folder.iterdir() if "preview" in path.name]


# Parts


def bands(*names: str) -> list[SceneBand]:
    return [SceneBand(SENTINEL2_BANDS.get(name, Band(name))) for name in names]


@pytest.mark.parametrize(
    ("given", "places"),
    [
        (bands("B2", "B3", "B4", "B8"), [2, 1, 0]),
        (bands("B4", "B3", "B2"), [0, 1, 2]),
        (bands("blue", "green", "red"), [2, 1, 0]),
        (bands("VV"), [0]),
        (bands("VV", "VH"), [0]),
        (bands("a", "b", "c", "d"), [0, 1, 2]),
        ([SceneBand(Band(str(n), "", 0.4 + 0.01 * n)) for n in range(60)], [26, 16, 8]),
    ],
)
def test_red_green_and_blue_are_found(given, places):
    assert picture_bands(given) == places


def test_series_of_dates_are_runs_and_thermal_bands_stand_beside_the_others():
    axis = spectrum_axis(bands(*[f"{name} {step:02d}" for name in ("ndvi", "evi") for step in range(1, 6)]))
    assert axis.runs == [(0, 5), (5, 10)]
    assert [name for _, name in axis.ticks] == ["ndvi", "evi"]
    waves = [SceneBand(Band("red", "", 0.66)), SceneBand(Band("nir", "", 0.83))]
    assert spectrum_axis(waves).label == "wavelength (nm)"
    assert spectrum_axis(waves).x.tolist() == [660.0, 830.0]
    thermal = spectrum_axis([*waves, SceneBand(Band("thermal", "", 11.45))])
    assert [name for _, name in thermal.ticks] == ["red", "nir", "thermal"]
    assert spectrum_axis(bands(*[f"Band {n}" for n in range(1, 205)])).runs == [(0, 204)]
    assert [name for _, name in spectrum_axis(bands("Band 1", "Band 2", "slope")).ticks] == ["1", "2", "slope"]


def test_the_spectra_are_mean_and_deviation_of_the_training_samples_in_physical_values(tmp_path):
    folder = made(tmp_path, scales=[(0.5, -1.0)] * 4)
    mean, std = spectra(TrainingSet(folder))
    samples, labels = [], []
    for part in ("train", "validation", "test"):
        for arrays in TrainingSet(folder).arrays(part):
            samples.append(np.asarray(arrays.samples) * 0.5 - 1)
            labels.append(np.asarray(arrays.labels))
    values, places = np.concatenate(samples), np.concatenate(labels)
    for place in range(3):
        assert np.allclose(mean[place], values[places == place].mean(axis=0))
        assert np.allclose(std[place], values[places == place].std(axis=0))


def test_examples_have_the_class_that_they_stand_for(tmp_path):
    for kind in ("windows", "chips"):
        dataset = TrainingSet(made(tmp_path / kind if (tmp_path / kind).mkdir() is None else tmp_path, kind))
        for place, those in enumerate(examples(dataset, 5)):
            assert 0 < len(those) <= 5
            assert all((labels == place).any() for _, labels in those)


def test_bytes_in_natural_colours_stay_as_they_are_and_others_are_stretched(tmp_path):
    told = TrainingSet(made(tmp_path)).description
    natural = [SceneBand(Band(name, name, None, "dn")) for name in ("red", "green", "blue")]
    samples = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    same = Stretch.of(replace(told, bands=natural, dtype="uint8"), [0, 1, 2]).picture(samples)
    assert (same == np.moveaxis(samples, 0, -1)).all()
    limits = {name: [0.0] * 4 for name in ("mean", "std", "minimum", "maximum")}
    told = replace(told, statistics=Statistics(**limits, p01=[100.0] * 4, p99=[1100.0] * 4))
    picture = Stretch.of(told, [0]).picture(np.array([[[0, 100, 600, 1100, 5000]]] * 4, np.uint16))
    assert picture[0, [0, 1, 3, 4], 0].tolist() == [0, 0, 255, 255]
    assert 100 < picture[0, 2, 0] < 255
    assert (picture[..., 0] == picture[..., 2]).all()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"pixels": 32, "metres": 960.0}, "32 px (960 m)"),
        ({"pixels": 1200, "metres": 12_000.0}, "1200 px (12 km)"),
        ({"pixels": 3, "metres": None}, "3 px"),
        ({"pixels": 0, "metres": 0.0}, ""),
        (None, ""),
    ],
)
def test_distances_in_words(given, text):
    assert distance_in_words(given) == text


def test_edges_of_blocks_begin_where_the_lattice_does():
    assert list(lines_between(10, 50, 16, 0)) == [16, 32, 48]
    assert list(lines_between(10, 50, 16, -5)) == [11, 27, 43]
    assert list(lines_between(0, 10_000, 16, 0)) == []


def test_a_split_in_words(tmp_path):
    told = TrainingSet(made(tmp_path)).description
    said = split_in_words(told)
    assert said.startswith("Split by blocks of 48 px (480 m), with a buffer of 3 px (30 m) between the parts; seed 1")
    told.split.update(method="official", block=None, buffer=None, seed=None, dropped=0)
    assert split_in_words(told) == "Split as the authors made it."
