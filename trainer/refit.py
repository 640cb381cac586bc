"""The last training: with the validation part as well, once that has done its work.

With few polygons the validation part holds what training can hardly spare.  The test part stays out and tells what the
network is worth.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dataset.description import PARTS, TEST, TRAIN, VALIDATION, Description
from .dataset.read import TrainingSet
from .dataset.statistics import class_weights, label_weights
from .events import Events
from .recipe import Recipe

if TYPE_CHECKING:
    from .loop import Trained, Training

#: Folder within the run's, for the checkpoints of this training.
FOLDER = "refit"
#: The weights that come of it.
WEIGHTS = "refit.pt"
NO_TEST = (
    "The validation part was not trained on: there is no test part, so it must tell how good the network is. Make the "
    "training set with a share for the test to train on more."
)


def can_refit(told: Description) -> bool:
    """False where no other part than the validation could tell how good the result is."""
    return told.samples(TEST) > 0


def with_validation(data: TrainingSet) -> TrainingSet:
    """The set with its validation part in the training part.

    The weights of the classes are of both; the statistics are kept, so that samples enter the network as before.
    """
    told = data.description
    shards = {**told.shards, TRAIN: [*told.shards.get(TRAIN, []), *told.shards.get(VALIDATION, [])], VALIDATION: []}
    counts = [entry.samples.get(TRAIN, 0) + entry.samples.get(VALIDATION, 0) for entry in told.classes]
    every = sum(shard.samples for shard in shards[TRAIN])
    weights = label_weights(counts, every) if told.task == "multi-label" else class_weights(counts)
    classes = [
        replace(entry, weight=weight, samples={**entry.samples, TRAIN: count, VALIDATION: 0})
        for entry, weight, count in zip(told.classes, weights, counts, strict=True)
    ]
    joined = copy.copy(data)
    joined.description = replace(told, shards={part: shards.get(part, []) for part in PARTS}, classes=classes)
    return joined


def refit_epochs(recipe: Recipe, best_epoch: int) -> int:
    """How long to train: as long as the recipe says; where it has patience, up to the best epoch.

    A validation part of a few polygons does not tell one epoch from the next, and the last ones of a falling learning
    rate are hardly ever worse.
    """
    return recipe.epochs if recipe.patience is None else best_epoch + 1


class RefitEvents(Events):
    """Tells the run of each epoch of its last training, and whoever waits how far it is.

    Args:
        outer: the run's.
        epochs: of this training.
    """

    def __init__(self, outer: Events, epochs: int) -> None:
        super().__init__(None, outer.monitor, epochs)
        self._outer = outer

    def tell(self, event: str, **values: Any) -> None:
        """See :class:`.Events`; the run hears only how it ended."""
        if event in ("stopped", "finishing"):
            self._outer.tell(event, **values)

    def step(self, epoch: int, step: int, steps: int, loss: float, rate: float) -> None:
        """See :class:`.Events`."""
        share = (epoch + step / max(steps, 1)) / self.epochs
        self.monitor.progress(f"With the validation part: epoch {epoch + 1} of {self.epochs}", share)

    def epoch(self, epoch: int, **values: Any) -> None:
        """See :class:`.Events`."""
        self._outer.tell("refit", epoch=epoch, epochs=self.epochs, train_loss=values.get("train_loss"))


def train_again(
    training: Training, trained: Trained, begin: Callable[[TrainingSet, Path, Events, int], Training]
) -> Trained:
    """Train a fresh network on the training and the validation part.

    Args:
        training: that used the validation part to choose, and has ended.
        trained: what came of it.
        begin: makes a training from set, folder, events and number of epochs, or goes on with the one in the folder.

    Returns:
        The new network with the history of the first training; ``trained`` where it was asked to end now.

    Raises:
        Cancelled: it was asked to stop; a checkpoint is written.
    """
    from .processes import wait

    events, folder = training.events, training.folder / FOLDER
    if not can_refit(training.data.description):
        events.monitor.log(NO_TEST, "warning")
        return trained
    first = training.processes.rank == 0
    epochs = refit_epochs(training.recipe, trained.best_epoch)
    if first:
        if training.advanced or not _is_as_long(folder, epochs, training.recipe):
            # It was for a training that ended earlier.
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    wait(training.processes)
    again = begin(with_validation(training.data), folder, RefitEvents(events, epochs), epochs)
    found = again.run()
    # All have read the result before anyone clears the folder.
    wait(training.processes)
    if again.finishing:
        training.finishing = True
        return trained
    return replace(trained, network=found.network, refit=epochs)


def _is_as_long(folder: Path, epochs: int, recipe: Recipe) -> bool:
    """Whether what was begun in the folder, if anything was, can be gone on with."""
    from .checkpoint import load_checkpoint
    from .loop import CHECKPOINT

    path = folder / CHECKPOINT
    return not path.exists() or load_checkpoint(path).get("length") == [epochs, recipe.epochs]


def keep_weights(folder: Path, trained: Trained) -> None:
    """Of the folder of the last training keep the weights alone, in the folder of the run, if they are the model's."""
    from .loop import BEST, CHECKPOINT

    # Whoever dies in here leaves a training that begins anew, and none that looks finished and has no weights.
    (folder / FOLDER / CHECKPOINT).unlink(missing_ok=True)
    if not trained.refit:
        (folder / WEIGHTS).unlink(missing_ok=True)
    elif (folder / FOLDER / BEST).exists():
        (folder / FOLDER / BEST).replace(folder / WEIGHTS)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
