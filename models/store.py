"""The store: the models that ship with Thematica and those in the user's own folder.

A model in the store is an ONNX file; its name is the file's stem.  The user's folder is
``$THEMATICA_MODELS`` or ``<user data>/thematica/models`` (one per user, not per QGIS profile).
Corrections that a user made to a card are kept there too, under the hash of the weights.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, ModelError, OutputError
from .card import ModelCard
from .esri import SUFFIXES as ESRI_SUFFIXES
from .esri import network_of_emd, unpack
from .onnx_file import read_onnx_facts, read_weight_files
from .reading import read_model_card
from .torch_file import TORCH_SUFFIXES, is_torch_file

#: Endings of the files in the store; of one name, the first counts.
SUFFIXES = (".onnx", *TORCH_SUFFIXES)

# Letters may take four bytes in the name of a file, which has 255 at most.
_LONGEST_NAME = 60
BUNDLED_FOLDER = Path(__file__).resolve().parent / "bundled"


@dataclass
class StoredModel:
    """One entry of the store.

    Args:
        name: what ``--model`` takes.
        path: the model file.
        bundled: True for a model that ships with Thematica.
        card: its card, or None where it cannot be read.
        problem: why the card cannot be read, or empty.
    """

    name: str
    path: Path
    bundled: bool
    card: ModelCard | None
    problem: str = ""


def user_data_folder() -> Path:
    """The user's folder for Thematica: models, corrected cards, the runtime.

    ``$THEMATICA_HOME`` overrides it; otherwise it is the platform's place for application data.
    """
    override = os.environ.get("THEMATICA_HOME")
    if override:
        return Path(override)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "thematica"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "thematica"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "thematica"


def user_models_folder() -> Path:
    """The folder with the user's own models (it may not exist yet)."""
    return Path(os.environ.get("THEMATICA_MODELS") or user_data_folder() / "models")


def list_models() -> list[StoredModel]:
    """All models, the user's own first; a user's model hides a bundled one of the same name."""
    found: dict[str, StoredModel] = {}
    for folder, bundled in ((user_models_folder(), False), (BUNDLED_FOLDER, True)):
        for path in sorted((path for suffix in SUFFIXES for path in folder.glob(f"*{suffix}")), key=_rank):
            if path.stem in found:
                continue
            try:
                found[path.stem] = StoredModel(path.stem, path, bundled, read_model_card(path))
            except ModelError as error:
                found[path.stem] = StoredModel(path.stem, path, bundled, None, error.message)
    return list(found.values())


def _rank(path: Path) -> tuple[str, int]:
    return path.stem, SUFFIXES.index(path.suffix)


def resolve_model(model: str) -> Path:
    """The file that ``MODEL`` means: a name in the store, or a file (also Esri's ``.emd`` and ``.dlpk``).

    A name in the store wins over a file of the same name in the working folder only where that
    file is no model file.

    Raises:
        ModelError: neither a name in the store nor a file.
    """
    as_path = Path(model)
    if "\0" in model:
        raise ModelError("The model's name holds a character that no name can have; check the path.")
    try:
        if as_path.suffix.lower() == ".emd" and as_path.is_file():
            return network_of_emd(as_path)
        if as_path.suffix.lower() == ".dlpk" and as_path.is_file():
            return unpack(as_path, user_data_folder() / "packages")
        names = [f"{model}{suffix}" for suffix in SUFFIXES]
        candidates = [folder / name for folder in (user_models_folder(), BUNDLED_FOLDER) for name in names]
        stored = next((path for path in candidates if path.name in names and path.is_file()), None)
        if as_path.is_file() and (stored is None or as_path.suffix.lower() in SUFFIXES):
            return as_path
        if stored is not None:
            return stored
        if model and as_path.is_dir():
            raise ModelError(f"“{model}” is a folder; choose an ONNX file (.onnx).")
    except OSError as error:
        raise ModelError(f"There is no model “{model[:80]}” ({error.strerror}); check the path.") from error
    if as_path.suffix or "/" in model or "\\" in model:
        raise ModelError(f"There is no model file “{model}”; check the path.")
    there = ", ".join(entry.name for entry in list_models()) or "none"
    raise ModelError(f"There is no model “{model}” in the store; the store has: {there}.")


def model_files(path: Path) -> set[Path]:
    """What belongs to a model's file: itself, its weights, and cards and definitions beside it."""
    cards = [path.with_suffix(".json"), path.with_name(path.name + ".json")]
    weights = [] if is_torch_file(path) else [path.parent / name for name in read_weight_files(path)]
    return {file.resolve() for file in (path, *weights, *cards, *path.parent.glob("*.emd")) if file.is_file()}


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a model in the store.

    Raises:
        InputError: it cannot.
    """
    if not name.strip(". ") or re.search(r"[/\\:\x00-\x1f]", name) or len(name) > _LONGEST_NAME:
        shown = re.sub(r"[\x00-\x1f]", "?", name[:80])
        raise InputError(
            f"“{shown}” cannot be the name of a model; use up to {_LONGEST_NAME} letters, digits, spaces, - and _."
        )


def add_model(path: Path, name: str | None = None, replace: bool = False) -> StoredModel:
    """Copy a model file, and the card beside it, into the user's store.

    Raises:
        InputError: the name is taken and ``replace`` is False, or it is no name.
        ModelError: the file is not a model that can be read.
    """
    if name is not None:
        check_name(name)
    asked = path.stem
    if path.suffix.lower() in ESRI_SUFFIXES:
        # What the definition says goes into the store as a card.
        path = resolve_model(str(path))
    card = read_model_card(path)
    if not is_torch_file(path) and read_onnx_facts(path).weight_files:
        raise ModelError(
            f"“{path}” keeps its weights in files of their own, which the store cannot hold: export the network into "
            "one file, or use it where it is."
        )
    folder = user_models_folder()
    folder.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower() if is_torch_file(path) else ".onnx"
    target = folder / f"{name or asked}{suffix}"
    same = [entry for entry in (target.with_name(target.stem + suffix) for suffix in SUFFIXES) if entry.exists()]
    if same and not replace:
        raise InputError(f"The store already has a model “{target.stem}”; choose another name or replace it.")
    # Written beside and renamed: a copy that breaks off leaves no half model in the store.
    partial = target.with_suffix(".part")
    shutil.copyfile(path, partial)
    beside = next(
        (card for card in (path.with_suffix(".json"), path.with_name(path.name + ".json")) if card.is_file()), None
    )
    others = [entry for entry in same if entry != target]
    cards = [entry.with_name(entry.name + ".json") for entry in (*others, target)]
    for old in (target.with_suffix(".json"), *others, *cards):
        # The card of the model that is replaced says nothing about the new one.
        old.unlink(missing_ok=True)
    if beside is not None:
        shutil.copyfile(beside, target.with_suffix(".json"))
    elif card.origin == "esri":
        target.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
    os.replace(partial, target)
    return StoredModel(target.stem, target, False, card)


def add_new_model(path: Path, wanted: str) -> StoredModel:
    """Put a model into the store under a name, or that with a number where it is taken: nothing there is replaced.

    Raises:
        InputError: it is no name, or a thousand models have it.
        ModelError: the file is not a model that can be read.
        OutputError: the store cannot be written.
    """
    check_name(wanted)
    for number in range(1, 1000):
        ending = "" if number == 1 else f"-{number}"
        free = wanted[: _LONGEST_NAME - len(ending)] + ending
        if any((user_models_folder() / f"{free}{suffix}").exists() for suffix in SUFFIXES):
            continue
        try:
            return add_model(path, free)
        except OSError as error:
            raise OutputError(
                f"The model is “{path}”, but it could not be put into the store “{user_models_folder()}” "
                f"({error.strerror}): look whether the disk is full or read-only, and add it later.",
                repr(error),
            ) from error
    raise InputError(f"The store has a thousand models called “{wanted}”: choose another name.")
