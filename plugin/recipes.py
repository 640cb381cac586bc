"""The recipes of trainings as QGIS reads them: plain JSON files, of which the trainer understands more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.trainable import NetworkKind

FOLDER = Path(__file__).resolve().parents[1] / "trainer" / "recipes"
#: What a recipe has that says nothing of it, as the trainer takes it.
DEFAULTS: dict[str, Any] = {
    "loss": "cross-entropy",
    "class_weights": False,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "batch": 128,
    "epochs": 20,
    "patience": None,
    "precision": "fp32",
    "weights": "",
    "freeze": "",
    "seed": 2026,
}
_KINDS_OF = {
    "loss": str,
    "class_weights": bool,
    "optimizer": str,
    "learning_rate": (int, float),
    "batch": int,
    "epochs": int,
    "patience": (int, type(None)),
    "precision": str,
    "weights": str,
    "freeze": str,
    "seed": int,
}
_MOST_BYTES = 2**20
# What a box for whole numbers can show.
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class RecipeFile:
    """A recipe.

    Args:
        name: as a job names it: that of one which comes with Thematica, or a file.
        network: that it is for.
        title: one line for the analyst.
        entries: what :data:`DEFAULTS` lists, with the recipe's own values.
        options: what the network is built with.
    """

    name: str
    network: str
    title: str
    entries: dict[str, Any]
    options: dict[str, Any]


def read_recipe(path: Path, name: str = "") -> RecipeFile:
    """Read a recipe's file.

    Args:
        path: a JSON file.
        name: what the job calls it; the path where empty.

    Raises:
        InputError: it cannot be read, or is no recipe.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"“{path}” is too large for a recipe; choose another file.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The recipe “{path}” cannot be read: {error.strerror or 'check the path'}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The recipe “{path}” is not JSON in UTF-8; correct it.", repr(error)) from error
    if not isinstance(content, dict) or not isinstance(content.get("network"), str) or not content["network"]:
        raise InputError(f"The recipe “{path}” names no network; see “Networks and recipes” in the documentation.")
    entries = {key: content.get(key, default) for key, default in DEFAULTS.items()}
    for key, value in entries.items():
        wrong_bool = isinstance(value, bool) and _KINDS_OF[key] is not bool
        beyond = isinstance(value, int) and not 0 <= value <= _LARGEST
        if not isinstance(value, _KINDS_OF[key]) or wrong_bool or beyond:
            shown = json.dumps(value, ensure_ascii=False)[:60]
            raise InputError(f"The recipe “{path}” is wrong: its “{key}” cannot be {shown}.")
    options = content.get("network_options", {})
    if not isinstance(options, dict):
        raise InputError(f"The recipe “{path}” is wrong: its “network_options” must be an object.")
    return RecipeFile(name or str(path), content["network"], str(content.get("title") or path.stem), entries, options)


def recipes_for(network: NetworkKind, kind: str, task: str) -> list[RecipeFile]:
    """The recipes that come with Thematica for a network and such samples, the one that is taken by itself first.

    Args:
        network: that is to be trained.
        kind: of the samples: ``pixels``, ``windows``, ``chips`` or ``patches``.
        task: ``single-label``, ``multi-label`` or ``segmentation``.
    """
    own = network.recipe_for(kind, task)
    # Those that the network takes for other samples are of no use for these.
    of_others = {network.recipe, *dict(network.others).values()} - {own}
    found = []
    for path in sorted(FOLDER.glob("*.json"), key=lambda path: (path.stem != own, path.stem)):
        if path.stem not in of_others:
            recipe = read_recipe(path, path.stem)
            if recipe.network == network.name:
                found.append(recipe)
    return found
