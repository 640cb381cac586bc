"""What is listed is taught by a test, and told to the reader."""

from __future__ import annotations

import pytest

from thematica.models import trainable
from thematica.trainer.augmentation import AUGMENTATIONS
from thematica.trainer.losses import LOSSES
from thematica.trainer.networks import NETWORKS
from thematica.trainer.optimizers import OPTIMIZERS
from thematica.trainer.recipe import recipe_names

from ..conftest import ROOT
from . import test_classical, test_conv_svm, test_optimizers
from .networks import test_learning


def test_every_network_is_trained_above_a_baseline():
    of_torch = {network for network, *_ in test_learning.CASES}
    # Its test goes through the kinds of samples.
    windows = {"convsvm"} if set(test_conv_svm.MADE) == {"windows", "patches"} else set()
    assert of_torch | set(test_classical.NAMES) | windows == set(NETWORKS)


def test_every_optimizer_is_trained_above_a_baseline():
    assert set(test_optimizers.RATES) == set(OPTIMIZERS)


def test_the_dialog_offers_what_there_is():
    assert set(trainable.LOSSES) == set(LOSSES)
    assert set(trainable.OPTIMIZERS) == set(OPTIMIZERS)


@pytest.mark.parametrize("names", [NETWORKS, LOSSES, OPTIMIZERS, AUGMENTATIONS, recipe_names()])
def test_what_can_be_named_stands_in_the_documents(names):
    text = "".join((ROOT / "docs" / file).read_text(encoding="utf-8") for file in ("networks.md", "search.md"))
    assert [name for name in names if f"`{name}`" not in text] == []
