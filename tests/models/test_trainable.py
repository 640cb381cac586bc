"""What is known of the networks that can be trained, before any of them is built."""

from __future__ import annotations

import pytest

from thematica.models.trainable import LOSSES, NETWORKS, OPTIMIZERS, PRECISIONS, proposed_network
from thematica.trainer import losses, optimizers, recipe


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_title_and_one_sentence_for_who_chooses(name):
    kind = NETWORKS[name]
    assert kind.title
    assert kind.summary.endswith(".")
    assert len(kind.summary) <= 110


def test_a_network_learns_from_its_kinds_of_samples_and_several_labels_only_where_it_can():
    assert NETWORKS["unet"].learns("chips", "segmentation")
    assert not NETWORKS["unet"].learns("pixels", "single-label")
    assert NETWORKS["resnet50"].learns("patches", "multi-label")
    assert not NETWORKS["mlp"].learns("pixels", "multi-label")
    assert NETWORKS["svm"].is_classical
    assert not NETWORKS["mlp"].is_classical


@pytest.mark.parametrize(
    ("kind", "task", "samples", "bands", "name"),
    [
        ("pixels", "single-label", 500, 10, "random-forest"),
        ("pixels", "single-label", 500_000, 10, "mlp"),
        ("windows", "single-label", 500, 4, "small-resnet"),
        ("windows", "single-label", 500, 204, "cnn3d"),
        ("chips", "segmentation", 0, 0, "unet"),
        ("patches", "single-label", 27_000, 3, "small-resnet"),
        ("patches", "multi-label", 500, 12, "small-resnet"),
        ("pixels", "multi-label", 0, 0, ""),
        ("volumes", "single-label", 0, 0, ""),
    ],
)
def test_what_is_proposed_can_learn_from_the_samples(kind, task, samples, bands, name):
    assert proposed_network(kind, task, samples, bands) == name
    assert not name or NETWORKS[name].learns(kind, task)


def test_what_dialogs_offer_is_what_the_trainer_has():
    assert {name: (entry.one, entry.several) for name, entry in LOSSES.items()} == {
        name: (False in kind.several, True in kind.several) for name, kind in losses.LOSSES.items()
    }
    assert list(OPTIMIZERS) == list(optimizers.OPTIMIZERS)
    assert tuple(PRECISIONS) == recipe.PRECISIONS
