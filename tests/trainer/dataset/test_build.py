"""Training sets against the scenes that they were made from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from thematica.errors import InputError
from thematica.models.label_classes import LabelClass
from thematica.progress import Monitor
from thematica.trainer.dataset import splits
from thematica.trainer.dataset.build import BuildOptions, Length, build_dataset, parse_length
from thematica.trainer.dataset.description import PARTS, Description
from thematica.trainer.dataset.read import TrainingSet

from .scenes import UNLABELLED, ArrayScene, fields_scene, legend_of


def made(folder, scenes, monitor=None, **options):
    build_dataset(folder / "set", scenes, BuildOptions(**options), monitor or Monitor())
    return TrainingSet(folder / "set")


def everything(found):
    """Part, sample, label and place of every sample."""
    for part in PARTS:
        for arrays in found.arrays(part):
            for number in range(len(arrays)):
                yield part, arrays.samples[number], arrays.labels[number], arrays.places[number]


def columns(found, name):
    return np.concatenate([arrays.places[name] for part in PARTS for arrays in found.arrays(part)])


# -- every sample is what the image has there ------------------------------------------------------------


def test_pixels_are_those_of_the_scenes(tmp_path):
    scenes = [fields_scene(seed=1), fields_scene(height=100, width=90, seed=2)]
    scenes[1].transform = None
    found = made(tmp_path, scenes, buffer=Length(0, "px"))
    seen = set()
    for _, sample, label, place in everything(found):
        scene = scenes[place["scene"]]
        row, col = place["row"], place["col"]
        np.testing.assert_array_equal(sample, scene.values[:, row, col])
        assert label == scene.places[row, col]
        assert place["shape"] == scene.shapes[row, col]
        seen.add((int(place["scene"]), int(row), int(col)))
    # Each labelled pixel once, none left out.
    assert len(seen) == sum(1 for _ in everything(found)) == sum(int((s.places >= 0).sum()) for s in scenes)


@pytest.mark.parametrize("side", [1, 2, 5, 8])
def test_windows_are_cut_around_their_pixel_and_reflected_at_the_border(tmp_path, side):
    scene = fields_scene(height=70, width=90)
    # Labels up to every border.
    scene.places[:, :3], scene.shapes[:, :3] = 0, 900
    scene.places[:3, 40:], scene.shapes[:3, 40:] = 1, 901
    scene.places[-2:, 40:], scene.shapes[-2:, 40:] = 2, 902
    found = made(tmp_path, [scene], kind="windows", size=side, split="polygons", buffer=Length(0, "px"))
    half = side // 2
    padded = np.pad(scene.values, ((0, 0), (half, side), (half, side)), mode="reflect")
    count = 0
    for _, sample, label, place in everything(found):
        row, col = place["row"], place["col"]
        np.testing.assert_array_equal(sample, padded[:, row : row + side, col : col + side])
        assert label == scene.places[row, col]
        count += 1
    assert count > 500


def test_a_window_larger_than_the_scene_is_reflected_again_and_again(tmp_path):
    chance = np.random.default_rng(0)
    places = np.array([[0, 1, 0, 1]] * 2)
    scene = ArrayScene(chance.integers(0, 99, (1, 2, 4)).astype(np.uint8), places, np.arange(8).reshape(2, 4))
    found = made(tmp_path, [scene], kind="windows", size=21, split="random")
    padded = np.pad(scene.values, ((0, 0), (10, 10), (10, 10)), mode="reflect")
    for _, sample, _, place in everything(found):
        np.testing.assert_array_equal(sample, padded[:, place["row"] :, place["col"] :][:, :21, :21])


def test_chips_have_labels_where_there_are_some_and_reach_beyond_the_border(tmp_path):
    scene = fields_scene(height=75, width=110)
    scene.places[-3:, -3:] = 2
    found = made(tmp_path, [scene], kind="chips", size=32, split="random")
    told = found.description
    assert (told.task, told.ignore_index, told.label_dtype) == ("segmentation", 255, "uint8")
    padded = np.pad(scene.values, ((0, 0), (0, 32), (0, 32)), mode="reflect")
    corners = set()
    for _, sample, label, place in everything(found):
        row, col = int(place["row"]), int(place["col"])
        assert row % 32 == col % 32 == 0
        corners.add((row, col))
        np.testing.assert_array_equal(sample, padded[:, row : row + 32, col : col + 32])
        expected = scene.labels(row, col, 32, 32)[0].astype(int)
        np.testing.assert_array_equal(label, np.where(expected == UNLABELLED, 255, expected))
    every = [(row, col) for row in range(0, 75, 32) for col in range(0, 110, 32)]
    assert corners == {corner for corner in every if (scene.labels(*corner, 32, 32)[0] >= 0).any()}
    assert (64, 96) in corners


@pytest.mark.parametrize("beyond", [1, 4, 8, 9, 15])
def test_a_chip_at_the_border_mirrors_no_chip_of_another_part(tmp_path, beyond):
    height, width = 16 * 8 - beyond, 16 * 8 - beyond
    # Every pixel is its own number, and labelled.
    values = np.arange(height * width, dtype=np.uint32).reshape(1, height, width)
    places = np.random.default_rng(0).integers(0, 3, (height, width))
    found = made(tmp_path, [ArrayScene(values, places)], kind="chips", size=16, block=Length(16, "px"))
    seen = {part: {int(v) for a in found.arrays(part) for v in np.unique(a.samples)} for part in PARTS}
    assert all(seen.values())
    assert not (seen["train"] & seen["test"])
    assert not (seen["train"] & seen["validation"])
    assert not (seen["validation"] & seen["test"])
    # Chips at the border go with those that they mirror, so that none is lost.
    assert found.description.split["dropped"] == 0


def test_chips_with_too_few_labels_are_left_out(tmp_path):
    scene = fields_scene(height=128, width=128)
    found = made(tmp_path, [scene], kind="chips", size=32, split="random", labelled=0.3)
    shares = [(label != 255).mean() for _, _, label, _ in everything(found)]
    assert shares
    assert min(shares) >= 0.3
    assert len(shares) < 16


def test_many_classes_need_wider_labels_in_chips(tmp_path):
    chance = np.random.default_rng(0)
    places = chance.integers(0, 300, (64, 64))
    places[0] = UNLABELLED
    scene = ArrayScene(chance.integers(0, 99, (1, 64, 64)).astype(np.uint8), places, legend=legend_of(300))
    found = made(tmp_path, [scene], kind="chips", size=8, split="random")
    assert (found.description.label_dtype, found.description.ignore_index) == ("int16", -1)
    for _, _, label, place in everything(found):
        np.testing.assert_array_equal(label, scene.labels(place["row"], place["col"], 8, 8)[0])


# -- missing data ----------------------------------------------------------------------------------------


def test_pixels_without_data_are_left_out_and_told(tmp_path):
    scene = fields_scene(dtype="float32")
    scene.valid = np.ones(scene.places.shape, bool)
    scene.valid[:, 100:140] = False
    scene.values[1, 50:60, :] = np.nan
    found = made(tmp_path, [scene])
    lost = (scene.places >= 0) & (~scene.valid | np.isnan(scene.values[1]))
    assert lost.any()
    for _, sample, _, place in everything(found):
        assert not lost[place["row"], place["col"]]
        assert np.isfinite(sample).all()
    assert f"{lost.sum():,} labelled pixels have no data" in found.description.findings[0]


@pytest.mark.parametrize(("kind", "size"), [("windows", 7), ("chips", 32)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_missing_neighbours_are_the_mean_of_the_training_part_as_when_classified(tmp_path, kind, size, dtype):
    scene = fields_scene(dtype=dtype)
    scene.valid = np.random.default_rng(5).random(scene.places.shape) < 0.9
    found = made(tmp_path, [scene], kind=kind, size=size, split="random")
    mean = np.array(found.description.statistics.mean)
    fill = mean.astype(dtype) if dtype == "float32" else np.rint(mean).astype(dtype)
    valid = np.pad(scene.valid, size, mode="reflect")
    values = np.pad(scene.values, ((0, 0), (size, size), (size, size)), mode="reflect")
    before = size // 2 if kind == "windows" else 0
    missing = 0
    for _, sample, label, place in everything(found):
        row, col = place["row"] - before + size, place["col"] - before + size
        there = valid[row : row + size, col : col + size]
        expected = np.where(there, values[:, row : row + size, col : col + size], fill[:, None, None])
        np.testing.assert_array_equal(sample, expected)
        if kind == "chips":
            assert (label[~there] == 255).all()
        missing += int((~there).sum())
    assert missing > 100


# -- statistics, weights, description --------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "size"), [("pixels", 0), ("windows", 3), ("chips", 16)])
def test_statistics_are_those_of_the_training_part_in_physical_values(tmp_path, kind, size):
    scales = [(0.0001, -0.1), (1.0, 0.0), (-2.0, 5.0), (0.5, 300.0)]
    found = made(tmp_path, [fields_scene(scales=scales)], kind=kind, size=size)
    told = found.description.statistics
    train = np.concatenate([a.samples for a in found.arrays("train")]).astype(np.float64)
    train = np.moveaxis(train, 1, 0).reshape(4, -1)
    train = train * np.array(scales)[:, :1] + np.array(scales)[:, 1:]
    np.testing.assert_allclose(told.mean, train.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(told.std, train.std(axis=1), rtol=1e-9)
    np.testing.assert_allclose(told.minimum, train.min(axis=1))
    np.testing.assert_allclose(told.maximum, train.max(axis=1))
    spread = np.ptp(train, axis=1)
    for percent, values in ((1, told.p01), (99, told.p99)):
        assert (np.abs(np.percentile(train, percent, axis=1) - values) < 0.005 * spread).all()


def test_numbers_that_are_no_measurements_are_missing(tmp_path):
    scene = fields_scene(dtype="float64")
    # R's "no value", which the file does not declare.
    scene.values[1, 2, 2], scene.values[0, 2, 3] = -1.7e308, 1.7e308
    description = made(tmp_path, [scene]).description
    assert "2 labelled pixels have no data" in " ".join(description.findings)
    assert max(description.statistics.maximum) < 10_000


def test_spread_is_exact_far_from_zero(tmp_path):
    """A sum of squares would lose it all."""
    scene = fields_scene(dtype="float64", bands=1)
    scene.values += 1e9
    found = made(tmp_path, [scene])
    train = np.concatenate([a.samples for a in found.arrays("train")])
    assert found.description.statistics.std[0] == pytest.approx(train.std(), rel=1e-9)


def test_counts_and_weights_of_classes(tmp_path):
    found = made(tmp_path, [fields_scene()])
    labels = {part: np.concatenate([a.labels for a in found.arrays(part)]) for part in PARTS}
    for place, entry in enumerate(found.description.classes):
        assert dict(entry.samples) == {part: int((labels[part] == place).sum()) for part in PARTS}
    weights = np.array([entry.weight for entry in found.description.classes])
    of_sample = weights[labels["train"]]
    assert of_sample.mean() == pytest.approx(1)
    sums = [of_sample[labels["train"] == place].sum() for place in range(3)]
    np.testing.assert_allclose(sums, sums[0])


def test_the_description_says_how_it_was_made_and_reads_back_the_same(tmp_path):
    scene = fields_scene(provenance={"files": [{"name": "a.tif", "bytes": 5}], "findings": ["something"]})
    told = build_dataset(tmp_path / "set", [scene], BuildOptions(block=Length(480, "m")), Monitor())
    assert Description.read(tmp_path / "set").to_json() == told.to_json()
    content = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert content["thematica_dataset"] == 1
    assert content["split"]["block"] == {"pixels": 48, "metres": 480.0}
    assert content["split"]["buffer"] == {"pixels": 3, "metres": 30.0}
    assert content["scenes"][0]["files"] == [{"name": "a.tif", "bytes": 5}]
    assert content["options"]["block"] == {"value": 480, "unit": "m"}
    assert sum(content["split"]["achieved"][part]["share"] for part in PARTS) == pytest.approx(1, abs=1e-3)
    assert [entry["code"] for entry in content["classes"]] == [10, 20, 30]


def test_the_shares_come_close_to_what_was_asked_in_every_class(tmp_path):
    # A hundred blocks and more, each class in a third of them.
    found = made(tmp_path, [fields_scene(height=480, width=640)], test=0.25, validation=0.15)
    for part, share in (("train", 0.6), ("validation", 0.15), ("test", 0.25)):
        achieved = found.description.split["achieved"][part]
        assert achieved["share"] == pytest.approx(share, abs=0.02)
        assert achieved["classes"] == pytest.approx([share] * 3, abs=0.03)


def test_extras_come_into_the_folder_before_it_gets_its_name(tmp_path):
    def extras(folder, description):
        assert not (tmp_path / "set").exists()
        (folder / "dataset.preview.png").write_bytes(bytes(description.samples("train") % 256 for _ in range(3)))

    build_dataset(tmp_path / "set", [fields_scene()], BuildOptions(), Monitor(), extras)
    assert (tmp_path / "set" / "dataset.preview.png").stat().st_size == 3


# -- options ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_set_and_another_one_another(tmp_path):
    def order(name, seed):
        (tmp_path / name).mkdir()
        return columns(made(tmp_path / name, [fields_scene()], seed=seed), "row")

    first, again, other = order("a", 1), order("b", 1), order("c", 2)
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or (first != other).any()


def test_many_samples_left_out_for_the_buffer_are_told(tmp_path):
    # Labels everywhere, as a raster of them has: half of the training part lies near another.
    chance = np.random.default_rng(0)
    places = np.kron(chance.integers(0, 3, (12, 12)), np.ones((8, 8), int))
    scene = ArrayScene(chance.integers(0, 99, (1, 96, 96)).astype(np.uint8), places)
    found = made(tmp_path, [scene], kind="windows", size=5, block=Length(16, "px"))
    told = found.description.split
    assert told["dropped"] > 0.2 * 96 * 96
    assert sum(found.description.samples(part) for part in PARTS) == 96 * 96 - told["dropped"]
    assert [sentence for sentence in found.description.findings if "too close" in sentence] == [
        f"{told['dropped']:,} of 9,216 samples lie too close to those of another part and were left out; a larger "
        "--block or a smaller --buffer or a smaller --size would keep more."
    ]
    # That the shares differ is not the groups' fault.
    assert not any("groups that cannot be divided" in sentence for sentence in found.description.findings)


def test_samples_lie_in_an_order_drawn_by_chance(tmp_path):
    found = made(tmp_path, [fields_scene()])
    rows = np.concatenate([a.places["row"] for a in found.arrays("train")]).astype(float)
    assert abs(np.corrcoef(rows[1:], rows[:-1])[0, 1]) < 0.05


def test_at_most_so_many_samples_of_a_class_each_with_the_same_chance(tmp_path):
    found = made(tmp_path, [fields_scene()], most=500)
    whole = fields_scene().places
    for entry in found.description.classes:
        assert sum(entry.samples.values()) == 500
    # From everywhere, not from the top: its mean row is that of all, within four standard errors.
    rows = columns(found, "row")
    every = np.nonzero(whole >= 0)[0]
    assert abs(rows.mean() - every.mean()) < 4 * every.std() / np.sqrt(len(rows))
    for part in ("validation", "test"):
        assert found.description.split["achieved"][part]["share"] > 0.05


def test_a_random_split_is_possible_and_marked_as_optimistic(tmp_path):
    found = made(tmp_path, [fields_scene()], split="random")
    told = found.description.split
    assert told["optimistic"] is True
    assert "neighbouring pixels" in told["why"]
    assert (told["block"], told["buffer"], told["dropped"]) == (None, None, 0)
    assert told["achieved"]["test"]["share"] == pytest.approx(0.2, abs=0.001)
    assert made_blocks_are_honest(tmp_path)


def made_blocks_are_honest(tmp_path):
    (tmp_path / "other").mkdir()
    return made(tmp_path / "other", [fields_scene()]).description.split["optimistic"] is False


def test_labels_kept_for_a_part_go_there_and_the_rest_does_not(tmp_path):
    scenes = [fields_scene(seed=1, name="a"), fields_scene(seed=2, name="b", split="test", transform=None)]
    found = made(tmp_path, scenes, test=0.5)
    parts = {(part, int(place["scene"])) for part, _, _, place in everything(found)}
    assert parts == {("train", 0), ("validation", 0), ("test", 1)}


def test_a_pixel_of_the_test_labels_does_not_train_however_close_the_labels_lie(tmp_path):
    training, test = fields_scene(seed=1, name="training"), fields_scene(seed=1, name="test", split="test")
    # The same ground, the upper half of the same fields.
    test.places[120:], test.shapes[120:] = UNLABELLED, UNLABELLED
    found = made(tmp_path, [training, test], buffer=Length(0, "px"))
    rows = np.concatenate([a.places["row"] for a in found.arrays("train")])
    assert rows.min() >= 120
    assert found.description.split["dropped"] == int((test.places >= 0).sum())


@pytest.mark.parametrize(("kind", "size"), [("pixels", 0), ("windows", 5)])
def test_labels_kept_for_a_part_are_not_trained_with_where_chance_splits_the_rest(tmp_path, kind, size):
    scenes = [fields_scene(seed=1, name="training")]
    for part, rows in (("validation", slice(0, 120)), ("test", slice(96, 180))):
        kept = fields_scene(seed=1, name=part, split=part)
        outside = np.ones(kept.places.shape, bool)
        outside[rows] = False
        kept.places[outside], kept.shapes[outside] = UNLABELLED, UNLABELLED
        scenes.append(kept)
    found = made(tmp_path, scenes, kind=kind, size=size, split="random")
    seen = {part: np.zeros(scenes[0].places.shape, bool) for part in PARTS}
    for part, _, _, place in everything(found):
        top, left = (max(int(place[name]) - size // 2, 0) for name in ("row", "col"))
        seen[part][top : top + max(size, 1), left : left + max(size, 1)] = True
    for part, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not (seen[part] & seen[other]).any()
    assert found.description.split["dropped"] > 0


def test_dates_of_one_place_are_split_alike(tmp_path):
    scenes = [fields_scene(seed=seed, name=f"date {seed}") for seed in (1, 2)]
    scenes[1].places, scenes[1].shapes = scenes[0].places, scenes[0].shapes
    found = made(tmp_path, scenes, buffer=Length(0, "px"))
    part_of = {}
    for part, _, _, place in everything(found):
        assert part_of.setdefault((int(place["row"]), int(place["col"])), part) == part
    assert found.description.samples("test") > 100


def test_very_many_polygons_stay_whole_and_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "_MANY_GROUPS", 50)
    found = made(tmp_path, [fields_scene(field_side=3, every=6)], split="polygons", buffer=Length(0, "px"))
    part_of = {}
    for part, _, _, place in everything(found):
        assert part_of.setdefault(int(place["shape"]), part) == part
    assert len(part_of) > 1000
    for part, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        achieved = found.description.split["achieved"][part]
        assert achieved["classes"] == pytest.approx([share] * 3, abs=0.01)


def test_the_same_ground_on_two_grids_is_told(tmp_path):
    one, other = fields_scene(seed=1, name="one"), fields_scene(seed=2, name="other")
    other.transform = (10.0, 0.0, 500004.0, 0.0, -10.0, 4000000.0)
    found = made(tmp_path, [one, other])
    assert "same ground on different grids" in " ".join(found.description.findings)


def test_the_same_ground_in_two_utm_zones_is_told(tmp_path):
    one, other = fields_scene(seed=1, name="one"), fields_scene(seed=2, name="other")
    # 18° east, 36.1° north, as either zone has it.
    other.crs, one.transform = "EPSG:32634", (10.0, 0.0, 769900.0, 0.0, -10.0, 4000000.0)
    other.transform = (10.0, 0.0, 229900.0, 0.0, -10.0, 4000000.0)
    assert "same ground on different grids" in " ".join(made(tmp_path, [one, other]).description.findings)


def test_a_polygon_is_on_one_side_also_on_images_of_other_grids(tmp_path):
    one, other = fields_scene(seed=1, name="one"), fields_scene(seed=1, name="other")
    other.transform = (10.0, 0.0, 500004.0, 0.0, -10.0, 4000000.0)
    # The other image misses the first rows, and so has other numbers for the same polygons of the layer.
    one.layer = other.layer = "labels.gpkg"
    one.polygons = np.arange(one.shapes.max() + 1) + 1000
    first = int(other.shapes[50:][other.shapes[50:] >= 0].min())
    other.places[:50], other.shapes[:50] = UNLABELLED, UNLABELLED
    other.shapes[other.shapes >= 0] -= first
    other.polygons = one.polygons[first:]
    found = made(tmp_path, [one, other])
    sides = {}
    for part, _, _, place in everything(found):
        sides.setdefault(int((one, other)[place["scene"]].polygons[place["shape"]]), set()).add(part)
    assert {len(parts) for parts in sides.values()} == {1}
    assert set.union(*sides.values()) == set(PARTS)


def test_polygons_that_hang_together_may_be_cut_if_asked(tmp_path):
    scene = fields_scene()
    # One long river through all blocks.
    scene.places[100:104], scene.shapes[100:104] = 0, 5000
    scene.places[:, 100:104], scene.shapes[:, 100:104] = 0, 5000
    scene.places[:, 200:204], scene.shapes[:, 200:204] = 0, 5000
    for row in range(10, 240, 24):
        scene.places[row], scene.shapes[row] = 0, 5000
    with pytest.raises(InputError, match=r"hang together.*--block.*--split polygons.*--cut-polygons"):
        made(tmp_path, [scene])
    found = made(tmp_path, [scene], cut_polygons=True, block=Length(48, "px"))
    assert found.description.split["cut_polygons"] is True
    assert found.description.samples("test") > 0


def test_classes_of_several_legends_come_together_by_their_codes(tmp_path):
    one, other = fields_scene(seed=1), fields_scene(seed=2, classes=2)
    other.legend = [LabelClass(5, "Ice", "#ffffff"), LabelClass(20, "class 1", "#000000")]
    found = made(tmp_path, [one, other], split="random")
    told = found.description.classes
    assert [(entry.label.code, entry.label.name) for entry in told] == [
        (5, "Ice"),
        (10, "Class 0"),
        (20, "Class 1"),
        (30, "Class 2"),
    ]
    for _, _, label, place in everything(found):
        scene = (one, other)[place["scene"]]
        assert told[label].label.code == scene.legend[scene.places[place["row"], place["col"]]].code


def test_a_class_without_a_pixel_is_left_out_and_told(tmp_path):
    scene = fields_scene(classes=3)
    scene.legend = [*legend_of(3)[:1], LabelClass(15, "Swamp", "#123456"), *legend_of(3)[1:]]
    scene.places[scene.places > 0] += 1
    for kind, size in (("pixels", 0), ("chips", 16)):
        (tmp_path / kind).mkdir()
        found = made(tmp_path / kind, [scene], kind=kind, size=size)
        assert [entry.label.code for entry in found.description.classes] == [10, 20, 30]
        assert any("“Swamp”" in sentence for sentence in found.description.findings)
        for _, _, label, place in everything(found):
            expected = scene.places[place["row"], place["col"]]
            if kind == "pixels":
                assert [0, None, 1, 2][expected] == label


# -- bad input -------------------------------------------------------------------------------------------


def refused(tmp_path, scenes, sentence, **options):
    with pytest.raises(InputError, match=sentence):
        made(tmp_path, scenes, **options)
    assert not (tmp_path / "set").exists()


def test_one_class_only_is_refused(tmp_path):
    scene = fields_scene(classes=1)
    scene.legend = legend_of(2)
    refused(tmp_path, [scene], "one class only, “Class 0”")


def test_no_label_in_the_raster_is_refused(tmp_path):
    scene = fields_scene()
    scene.places[:] = UNLABELLED
    for kind in ("pixels", "windows", "chips"):
        refused(tmp_path, [scene], "No pixel of the image has a label", kind=kind)


def test_no_data_under_the_labels_is_refused(tmp_path):
    scene = fields_scene(valid=np.zeros((240, 320), bool))
    for kind in ("pixels", "chips"):
        refused(tmp_path, [scene], "no data where there are labels", kind=kind)


def test_a_class_that_training_would_lose_is_refused(tmp_path):
    scene = fields_scene()
    # Two fields of the third class, all others far smaller than the buffer around them.
    scene.places[scene.places == 2] = 0
    scene.places[:40, :40] = np.where(scene.places[:40, :40] >= 0, 2, UNLABELLED)
    refused(tmp_path, [scene], "“Class 2” is left for training", block=Length(8, "px"), buffer=Length(60, "px"))


def test_a_class_that_is_only_tested_is_refused(tmp_path):
    scenes = [fields_scene(seed=1, classes=2), fields_scene(seed=2, classes=3, split="test", transform=None)]
    refused(tmp_path, scenes, "“Class 2” is left for training")


def test_too_few_polygons_are_refused(tmp_path):
    places = np.full((40, 40), UNLABELLED)
    places[:5, :5], places[20:25, 20:25] = 0, 1
    shapes = np.where(places < 0, -1, places)
    scene = ArrayScene(np.zeros((1, 40, 40), np.uint8), places, shapes)
    refused(tmp_path, [scene], "draw more polygons", split="polygons")
    refused(tmp_path, [replace(scene, shapes=None)], "no polygons; choose --split blocks", split="polygons")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "voxels"}, "no kind of training set"),
        ({"split": "folds"}, "no way to split"),
        ({"test": 1.2}, "--test 1.2"),
        ({"test": 0.6, "validation": 0.4}, "Nothing is left for training"),
        ({"validation": float("nan")}, "--validation"),
        ({"seed": -1}, "--seed"),
        ({"most": 0}, "--most"),
        ({"most": 5, "kind": "chips"}, "--most"),
        ({"size": 5}, "--size"),
        ({"kind": "windows", "size": 1000}, "--size 1000"),
        ({"kind": "chips", "size": -3}, "--size -3"),
        ({"kind": "chips", "labelled": 1.5}, "--labelled"),
        ({"block": Length(0, "px")}, "larger --block"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, sentence):
    refused(tmp_path, [fields_scene()], sentence, **options)


def test_metres_need_to_know_the_pixel(tmp_path):
    refused(tmp_path, [fields_scene(gsd=None)], "--gsd", block=Length(500, "m"))


def test_scenes_that_do_not_go_together_are_refused(tmp_path):
    first = fields_scene(name="first")
    refused(tmp_path, [], "at least one raster")
    refused(tmp_path, [first, fields_scene(bands=3, name="second")], "“second” has 3 bands and “first” 4")
    refused(tmp_path, [first, fields_scene(dtype="float32")], "stored as float32")
    refused(tmp_path, [first, fields_scene(gsd=30.0)], "pixels of 30 m")
    refused(tmp_path, [first, fields_scene(scales=[(2.0, 0.0)] * 4)], "another scale")
    other = fields_scene()
    other.bands = [other.bands[1], other.bands[0], *other.bands[2:]]
    refused(tmp_path, [first, other], "Band 1 is “B1”")
    other = fields_scene()
    other.legend = [LabelClass(10, "Lake", "#000000"), *other.legend[1:]]
    refused(tmp_path, [first, other], "The code 10 is “Class 0”.*“Lake”")
    refused(tmp_path, [first, fields_scene(split="exam")], "no part of a training set")


@pytest.mark.parametrize(
    ("text", "value", "unit"), [("500", 500, "m"), ("2.5m", 2.5, "m"), (" 64 px", 64, "px"), ("0", 0, "m")]
)
def test_lengths_are_metres_or_pixels(text, value, unit):
    assert parse_length(text, "--block") == Length(value, unit)


@pytest.mark.parametrize("text", ["", "-5", "1.5px", "64 pixels", "1e3", "nan"])
def test_other_lengths_are_refused(text):
    with pytest.raises(InputError, match="no length for --block"):
        parse_length(text, "--block")
