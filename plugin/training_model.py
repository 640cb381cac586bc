"""The model of a finished training, under its name in the store; where it is not there yet, it is put there."""

from __future__ import annotations

import filecmp
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..models.store import add_new_model, user_models_folder

if TYPE_CHECKING:
    from .training_run import TrainingRun


def name_in_store(run: TrainingRun) -> str:
    """What the store calls the model that a training has made.

    Raises:
        ThematicaError: the model is gone, or the store cannot take it.
    """
    folder = user_models_folder()
    if run.stored and (folder / f"{run.stored}.onnx").is_file():
        return run.stored
    made = run.model_path
    if made is None or not made.is_file():
        raise ModelError("The model of this training is gone from its folder, and from the store; train it again.")
    for known in sorted(folder.glob("*.onnx")):
        if filecmp.cmp(made, known, shallow=False):
            return known.stem
    return add_new_model(made, run.name).name
