"""Where a training's folder lies, and names for it and its model that are free."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from qgis.core import QgsProject
from qgis.PyQt.QtCore import QStandardPaths

from ..models.file_lock import is_locked
from ..models.store import BUNDLED_FOLDER, SUFFIXES, user_models_folder
from .training_set import SET_FOLDER

# What a training has learned: a folder that holds it is left alone.
_LEARNED = {"checkpoint.pt", "best.pt", "model.onnx", "training.json"}
# What one leaves that could not begin: it may be tried again in its folder.
_LEFT = {
    "job.json", "told.jsonl", "log.txt", "events.jsonl", "recipe.json", "running.lock", "stop", "finish", "tensorboard",
    SET_FOLDER, f"{SET_FOLDER}.partial",
}  # fmt: skip
_LONGEST_NAME = 60


def plain_name(text: str) -> str:
    """A name for a model and its folder from any text: what every file system and the store take."""
    plain = re.sub(r"[^\w .()-]+", "_", text).strip(" ._")
    return plain[:_LONGEST_NAME].strip(" ._") or "model"


def name_problem(name: str) -> str:
    """Why the store would not take a name, in one sentence; empty where it would."""
    if not name.strip(". "):
        return "Give the model a name."
    if re.search(r'[/\\:*?"<>|\x00-\x1f]', name) or len(name) > _LONGEST_NAME:
        return f"The name of a model has up to {_LONGEST_NAME} letters, digits, spaces, - and _."
    return ""


def free_model_name(name: str) -> str:
    """The name, or that with a number where the store has a model of that name."""
    folders = (user_models_folder(), BUNDLED_FOLDER)

    def is_taken(wanted: str) -> bool:
        return any((folder / f"{wanted}{suffix}").exists() for folder in folders for suffix in SUFFIXES)

    return _free(name, is_taken)


def free_folder(folder: Path) -> Path:
    """The folder, or one beside it with a number where it holds a training, or something else than one's labels."""
    return folder.with_name(_free(folder.name, lambda name: is_taken(folder.with_name(name))))


def is_taken(folder: Path) -> bool:
    """True where a folder holds what a training has learned, one that is at work, or files that no training made."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        return True
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError:
        return True
    return bool(names & _LEARNED) or bool(names - _LEFT) or is_locked(folder / "running.lock")


def folder_problem(folder: str) -> str:
    """Why a training cannot run in a folder, in one sentence with what to do; empty where it can.

    The folder is made.
    """
    if not folder:
        return "Name a folder for the run."
    path = Path(folder)
    if is_taken(path):
        return f"“{folder}” holds a training or other files already: choose another folder for the run."
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"The folder “{folder}” cannot be made ({error.strerror}): choose another one for the run."
    if not os.access(path, os.W_OK):
        return f"The folder “{folder}” cannot be written: choose another one for the run."
    return ""


def folder_for_set(dataset: Path, name: str) -> Path:
    """Where the training on a set runs."""
    return dataset / "runs" / name


def folder_for_labels(name: str) -> Path:
    """Where the training on labels runs: beside the project's file, else among the user's documents."""
    project = QgsProject.instance().homePath()
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    return Path(project or documents or Path.home()) / "trainings" / name


def _free(name: str, is_taken: Callable[[str], bool]) -> str:
    number, wanted = 1, name
    while is_taken(wanted):
        number += 1
        wanted = f"{name[: _LONGEST_NAME - 5]}-{number}"
    return wanted
