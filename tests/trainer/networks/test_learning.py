"""Every network, loss and augmentation that is listed learns what the plainest rule cannot find."""

from __future__ import annotations

from pathlib import Path

import pytest

from thematica.progress import Monitor
from thematica.trainer.augmentation import AUGMENTATIONS
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.events import Events
from thematica.trainer.loop import Training
from thematica.trainer.losses import LOSSES
from thematica.trainer.networks import NETWORKS
from thematica.trainer.processes import OneProcess
from thematica.trainer.recipe import Recipe, read_recipe

from . import sets

#: Tiny versions: name → options.
TINY = {
    "mlp": {"hidden": [16]},
    "cnn3d": {"filters": [4, 8], "dense": [16], "normalise": True, "spectral_pooling": 2},
    "small-resnet": {"widths": [8, 16], "depths": [1, 1]},
    "resnet50": {"width": 4},
    "unet": {"widths": [4, 8, 16]},
}
#: Network, training set, epochs, what the plainest rule gives (chance, a threshold), what must be reached, the figure.
CASES = [
    ("mlp", sets.rings, 8, 0.5, 0.95, "overall accuracy"),
    ("cnn3d", sets.absorptions, 6, 0.33, 0.8, "overall accuracy"),
    ("small-resnet", sets.grains, 4, 0.33, 0.85, "overall accuracy"),
    ("small-resnet", sets.marks, 6, 0.5, 0.85, "mean average precision"),
    ("resnet50", sets.grains, 8, 0.33, 0.7, "overall accuracy"),
    ("resnet50", sets.marks, 8, 0.5, 0.7, "mean average precision"),
    ("unet", sets.fields, 8, 0.69, 0.85, "overall accuracy"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Training sets, each made once."""
    folders: dict[str, Path] = {}

    def get(make):
        if make.__name__ not in folders:
            folders[make.__name__] = make(tmp_path_factory.mktemp("sets") / make.__name__)
        return folders[make.__name__]

    return get


def best(folder: Path, data: Path, network: str, figure: str, **changes) -> float:
    """The validation's figure in the best epoch."""
    options = {
        "network_options": TINY[network], "optimizer": "adamw", "learning_rate": 0.01, "batch": 16, "warm_up": 0.1,
        "monitor": figure, **changes,
    }  # fmt: skip
    recipe = Recipe(network, **options)
    folder.mkdir()
    events = Events(folder, Monitor(), recipe.epochs)
    trained = Training(TrainingSet(data), recipe, folder, OneProcess(), events).run()
    events.close()
    return trained.history[trained.best_epoch].validation[figure]


@pytest.mark.parametrize(("network", "make", "epochs", "plain", "reached", "figure"), CASES)
def test_each_network_learns_more_than_the_plainest_rule(tmp_path, made, network, make, epochs, plain, reached, figure):
    assert plain < reached
    loss = "binary-cross-entropy" if make is sets.marks else "cross-entropy"
    # The deep one needs time for each step, however small.
    batch = 32 if network == "resnet50" else 16
    assert best(tmp_path / "run", made(make), network, figure, epochs=epochs, loss=loss, batch=batch) > reached


def test_the_recipe_of_the_3d_networks_paper_learns_as_it_is(tmp_path, made):
    recipe = read_recipe("cnn3d-paper", ["epochs=20"])
    assert (recipe.learning_rate, recipe.schedule_options, recipe.batch) == (1.0, {"decay": 5e-6}, 50)
    (tmp_path / "run").mkdir()
    events = Events(None, Monitor(), recipe.epochs)
    data = TrainingSet(made(sets.absorptions))
    history = Training(data, recipe, tmp_path / "run", OneProcess(), events).run().history
    # One in three by chance; in the end, not in a lucky epoch.
    assert history[-1].validation["overall accuracy"] > 0.8


def test_every_network_that_torch_trains_is_among_them():
    learned = {(network, make.__name__ == "marks") for network, make, *_ in CASES}
    listed = {
        (kind.name, several) for kind in NETWORKS.values() if kind.module for several in {False, kind.several}
    }  # fmt: skip
    assert learned == listed


@pytest.mark.parametrize(
    ("loss", "several"), [(name, several) for name, kind in LOSSES.items() for several in kind.several]
)
def test_each_loss_teaches_more_than_the_plainest_rule(tmp_path, made, loss, several):
    if several:
        # Half of the patches have each label.
        assert best(
            tmp_path / "run", made(sets.marks), "small-resnet", "mean average precision", epochs=6, loss=loss,
            class_weights=True,
        ) > 0.8  # fmt: skip
    else:
        # The best threshold finds 0.69.
        assert best(
            tmp_path / "run", made(sets.fields), "unet", "overall accuracy", epochs=8, loss=loss, class_weights=True
        ) > 0.8  # fmt: skip


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_with_each_augmentation_more_is_learned_than_by_chance(tmp_path, made, name):
    strength = 1.0 if name in ("flips", "rotations") else 0.1
    figure = "overall accuracy"
    # One in three by chance.
    found = best(tmp_path / "run", made(sets.grains), "small-resnet", figure, epochs=5, augment={name: strength})
    assert found > 0.7
