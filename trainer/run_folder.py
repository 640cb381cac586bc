"""The folder of a run: its recipe, and the files by which anybody can end the training in it."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ..errors import OutputError
from .recipe import Recipe
from .run_lock import RunLock

RECIPE = "recipe.json"
#: Whoever makes this file stops the training, after a checkpoint.
STOP = "stop"
#: Whoever makes this file ends the training now, and gets the model of the best epoch so far.
FINISH = "finish"


def prepare_folder(folder: Path, recipe: Recipe, resume: bool, result: str) -> AbstractContextManager[RunLock | None]:
    """Make the folder of a run, with its recipe.

    Args:
        folder: the folder.
        recipe: what will be trained.
        resume: going on with what is there is meant.
        result: name of the file that says that the folder holds a training.

    Returns:
        The lock, for as long as the training works.

    Raises:
        OutputError: it holds a training already, another is at work there, or it cannot be written.
    """
    lock = hold_folder(folder)
    # Not before: a training that held the folder until now has left one.
    if not resume and (folder / result).exists():
        with lock:
            raise OutputError(
                f"“{folder}” holds a training already: go on with it (--resume), or choose another folder (--output)."
            )
    try:
        text = json.dumps(recipe.to_dict(), ensure_ascii=False, indent=1)
        (folder / STOP).unlink(missing_ok=True)
        if not resume:
            (folder / FINISH).unlink(missing_ok=True)
        (folder / RECIPE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        with lock:
            raise _unwritable(folder, error) from error
    return lock


def hold_folder(folder: Path) -> AbstractContextManager[RunLock | None]:
    """Make a folder and lock it; of many processes the one that started them holds the lock.

    Raises:
        OutputError: another training is at work there, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return nullcontext() if is_one_of_many() else RunLock(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def is_one_of_many() -> bool:
    """True where ``horovodrun`` started this process."""
    return "HOROVOD_RANK" in os.environ


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The folder “{folder}” cannot be written ({error.strerror}); choose another with --output.", repr(error)
    )
