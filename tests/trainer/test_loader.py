"""Batches: every sample once, the same whoever reads them, and from any step on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.loader import Loader

from .training_sets import PARTS, write_set

#: Many more batches than are made at a time, and a last one that is short.
COUNT, BATCH = 1203, 8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pixels that say which they are."""
    samples = {part: np.arange(2 * COUNT, dtype=np.float32).reshape(COUNT, 2) for part in PARTS}
    labels = {part: np.arange(COUNT, dtype=np.int16) % 3 for part in PARTS}
    return TrainingSet(write_set(tmp_path_factory.mktemp("set") / "set", samples, labels, kind="pixels", classes=3))


def loader(data, rank=0, size=1, augment=None, batch=BATCH):
    processes = SimpleNamespace(rank=rank, size=size, local_rank=rank)
    weights = torch.tensor([1.0, 2.0, 0.5])
    return Loader(data, batch // size, processes, 8, 5, lambda labels: weights[labels], augment)


def numbers(made, batch) -> list[int]:
    """Which samples a batch holds."""
    gain, offset = made.normalise.gain[0], made.normalise.offset[0]
    return np.rint((batch.x[:, 0].numpy() - offset) / gain / 2).astype(int).tolist()


def test_an_epoch_has_every_sample_once_with_its_label_and_weight(data):
    made = loader(data)
    batches = list(made.batches("train", 0))
    assert len(batches) == made.steps("train")
    seen = [number for batch in batches for number in numbers(made, batch)]
    assert sorted(seen) == list(range(COUNT))
    for batch in batches:
        assert (np.array(numbers(made, batch)) % 3 == batch.y.numpy()).all()
        assert batch.weight == pytest.approx(sum((1.0, 2.0, 0.5)[label] for label in batch.y.tolist()))
    assert seen != [number for batch in made.batches("train", 1) for number in numbers(made, batch)]


@pytest.mark.parametrize("first", [0, 1, 63, 64, 65, 150])
def test_an_epoch_that_is_taken_up_again_goes_on_with_the_same_batches(data, first):
    made = loader(data, augment=lambda x, y, generator: (x + torch.rand(x.shape, generator=generator), y))
    whole = list(made.batches("train", 2))[first:]
    rest = list(made.batches("train", 2, first))
    assert len(rest) == len(whole)
    for one, other in zip(whole, rest, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
        assert one.weight == other.weight


@pytest.mark.parametrize(("size", "batch"), [(2, BATCH), (4, BATCH), (2, 50), (2, 6), (4, 12)])
def test_processes_see_together_what_one_sees(data, size, batch):
    alone = loader(data, batch=batch)
    several = [loader(data, rank, size, batch=batch) for rank in range(size)]
    whole = list(alone.batches("train", 3))
    parts = [list(made.batches("train", 3)) for made in several]
    assert {len(part) for part in parts} == {len(whole)}
    for step, batch in enumerate(whole):
        pairs = zip(several, parts, strict=True)
        together = [number for made, part in pairs for number in numbers(made, part[step])]
        assert sorted(together) == sorted(numbers(alone, batch))
        assert sum(part[step].weight for part in parts) == pytest.approx(batch.weight)
