"""Reading back: batches for any number of processes, and files that are not as they were written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thematica.errors import InputError
from thematica.progress import Monitor
from thematica.trainer.dataset import write
from thematica.trainer.dataset.build import BuildOptions, build_dataset
from thematica.trainer.dataset.read import TrainingSet

from .scenes import fields_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set with several shards."""
    path = tmp_path_factory.mktemp("sets") / "set"
    before, write.SHARD_BYTES = write.SHARD_BYTES, 40_000
    try:
        build_dataset(path, [fields_scene()], BuildOptions(), Monitor())
    finally:
        write.SHARD_BYTES = before
    return path


@pytest.fixture
def copy(folder, tmp_path):
    target = tmp_path / "set"
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def pixels(batches):
    """Where the samples of all batches come from, in their order."""
    return [(int(p["row"]), int(p["col"])) for batch in batches for p in batch.places]


def everything(found, part):
    return [(int(p["row"]), int(p["col"])) for arrays in found.arrays(part) for p in arrays.places]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    part=st.sampled_from(["train", "validation", "test"]),
    size=st.sampled_from([1, 7, 64, 100_000]),
    ranks=st.sampled_from([1, 2, 3, 8, 37]),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
    buffer_bytes=st.sampled_from([1, 3_000, 1 << 26]),
)
def test_every_sample_comes_once_for_any_number_of_processes(folder, part, size, ranks, epoch, shuffle, buffer_bytes):
    found = TrainingSet(folder)
    own = []
    for rank in range(ranks):
        batches = list(
            found.batches(part, size, rank=rank, ranks=ranks, epoch=epoch, shuffle=shuffle, buffer_bytes=buffer_bytes)
        )
        assert all(len(batch) == size for batch in batches[:-1])
        own.append(pixels(batches))
    lengths = [len(places) for places in own]
    assert max(lengths) - min(lengths) <= 1
    assert sorted(place for places in own for place in places) == sorted(everything(found, part))


def test_samples_keep_their_labels_when_shuffled(folder):
    scene = fields_scene()
    for batch in TrainingSet(folder).batches("train", 50):
        rows, cols = batch.places["row"], batch.places["col"]
        np.testing.assert_array_equal(batch.samples, scene.values[:, rows, cols].T)
        np.testing.assert_array_equal(batch.labels, scene.places[rows, cols])


def test_the_order_is_that_of_seed_and_epoch(folder):
    found = TrainingSet(folder)

    def order(**options):
        return pixels(found.batches("train", 64, **options))

    assert order(seed=1, epoch=1) == order(seed=1, epoch=1)
    assert order(seed=1, epoch=1) != order(seed=1, epoch=2)
    assert order(seed=1, epoch=1) != order(seed=2, epoch=1)
    assert order(shuffle=False) == everything(found, "train")


def test_shuffling_in_a_small_buffer_still_mixes(folder):
    found = TrainingSet(folder)
    own = pixels(found.batches("train", 10, buffer_bytes=800))
    assert own != everything(found, "train")
    assert sorted(own) == sorted(everything(found, "train"))


@pytest.mark.parametrize("ranks", [1, 3])
def test_no_sample_stays_in_one_half_of_all_epochs(folder, ranks):
    found = TrainingSet(folder)
    places = {place: [] for place in everything(found, "train")}
    for epoch in range(20):
        for rank in range(ranks):
            own = pixels(found.batches("train", 10, rank=rank, ranks=ranks, epoch=epoch, buffer_bytes=800))
            for number, place in enumerate(own):
                places[place].append(number / len(own))
    assert all(len(seen) == 20 for seen in places.values())
    assert all(min(seen) < 0.5 < max(seen) for seen in places.values())


def test_a_whole_set_is_verified_and_a_changed_byte_is_found(copy):
    TrainingSet(copy).verify()
    for array in ("samples", "labels", "places"):
        path = copy / f"train-00002.{array}.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"“train-00002.{array}.npy”.*missing or damaged"):
            TrainingSet(copy).verify()
        content[-1] ^= 1
        path.write_bytes(content)
    TrainingSet(copy).verify()


def _cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def _overwrite_header(path):
    path.write_bytes(b"\x00" * 20 + path.read_bytes()[20:])


def _other_shape(path):
    size = path.stat().st_size
    np.save(path, np.zeros((size - 128) // 8))


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), _cut, _overwrite_header, _other_shape])
def test_a_spoiled_shard_is_told(copy, spoil):
    spoil(copy / "train-00001.samples.npy")
    for use in (
        lambda: TrainingSet(copy).arrays("train"),
        lambda: list(TrainingSet(copy).batches("train", 64)),
        lambda: TrainingSet(copy).verify(),
    ):
        with pytest.raises(InputError, match=r"“train-00001.samples.npy”.*missing or damaged; copy the set again"):
            use()
    # The other parts are as they were.
    assert len(TrainingSet(copy).arrays("test")) > 0


def test_an_array_that_wants_to_run_code_is_refused(copy):
    path = copy / "train-00001.labels.npy"
    size = path.stat().st_size
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    path.write_bytes(path.read_bytes().ljust(size, b"\0")[:size])
    with pytest.raises(InputError, match="missing or damaged"):
        TrainingSet(copy).arrays("train")


def test_what_is_no_training_set_is_told(tmp_path, copy):
    with pytest.raises(InputError, match="is no training set"):
        TrainingSet(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        TrainingSet(tmp_path)
    (tmp_path / "dataset.json").write_text('{"name": "something"}')
    with pytest.raises(InputError, match="no training set of Thematica"):
        TrainingSet(tmp_path)
    content = json.loads((copy / "dataset.json").read_text())
    content["thematica_dataset"] = 2
    (copy / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="has the format 2"):
        TrainingSet(copy)


def test_parts_and_batches_that_cannot_be_are_refused(folder):
    found = TrainingSet(folder)
    with pytest.raises(InputError, match="no part “exam”"):
        found.arrays("exam")
    for options in ({"size": 0}, {"size": 5, "rank": 2, "ranks": 2}, {"size": 5, "rank": -1}):
        with pytest.raises(InputError, match="cannot be"):
            next(found.batches("train", **options))


_SPOILED = {
    "kind": "voxels",
    "task": "regression",
    "shape": [3],
    "dtype": "object",
    "label_dtype": "float32",
    "bands": [{"name": "B1"}],
    "classes": [],
    "ignore_index": 255,
    "statistics": {"mean": [1, 2, 3, 4]},
    "shards": {"train": [{"file": "../../etc/passwd", "samples": 1, "bytes": {}, "sha256": {}}]},
    "names": "/etc/passwd",
    "split": None,
    "gsd": "ten",
    "options": [],
    "fingerprint": 5,
    "scenes": [5],
}


@pytest.mark.parametrize("key", _SPOILED)
@pytest.mark.parametrize("how", ["other", "missing"])
def test_a_description_that_contradicts_itself_is_told(copy, key, how):
    content = json.loads((copy / "dataset.json").read_text())
    if how == "missing":
        del content[key]
    else:
        content[key] = _SPOILED[key]
    (copy / "dataset.json").write_text(json.dumps(content))
    if how == "missing" and key in ("gsd", "ignore_index", "names"):
        # These may be left out.
        TrainingSet(copy)
        return
    with pytest.raises(InputError, match=f"“{key}"):
        TrainingSet(copy)
