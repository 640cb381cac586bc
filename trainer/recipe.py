"""Recipes: all that is decided before a training, in one JSON file.

A recipe names a network and everything else that its result depends on.  Those that come with Thematica lie in
``trainer/recipes``; ``--set optimizer.momentum=0.8`` changes an entry, and what was used is kept with the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import InputError

#: The recipes that come with Thematica.
FOLDER = Path(__file__).resolve().parent / "recipes"

PRECISIONS = ("fp32", "bf16", "fp16")
SCHEDULES = ("constant", "cosine", "step", "inverse")


@dataclass
class Recipe:
    """One training.

    Args:
        network: a name in :data:`.networks.NETWORKS`.
        title: one line for the analyst.
        source: the paper that it follows, or how it was found.
        network_options: what the network is built with.
        loss: a name in :data:`.losses.LOSSES`.
        loss_options: ``label_smoothing``, ``gamma``, …
        class_weights: every class counts alike, however often it comes (the weights of the training set).
        optimizer: a name in :data:`.optimizers.OPTIMIZERS`.
        optimizer_options: ``momentum``, ``nesterov``, ``betas``, …
        learning_rate: the highest, for one process; see ``scale_learning_rate``.
        scale_learning_rate: linear scaling with the number of processes (Goyal et al. 2017).
        weight_decay: of matrices and kernels, never of biases and scales.
        schedule: how the rate goes on after the warm-up, one of :data:`SCHEDULES`.
        schedule_options: ``milestones`` (shares of the training) and ``factor`` of ``step``; ``decay`` per step of
            ``inverse``, which is learning_rate / (1 + decay × step).
        warm_up: share of the steps in which the rate rises in a straight line from 0.
        batch: samples per step and process.
        accumulate: steps whose gradients are added before the weights change.
        epochs: passes over the training part.
        patience: epochs without a better validation after which training ends; None: never.
        average: share that a running mean of the weights keeps per step; 0: the weights themselves are the result.
        clip: largest norm of the gradient; None: any.
        augment: name in :data:`.augmentation.AUGMENTATIONS` → its strength.
        precision: of the network's arithmetic while training: one of :data:`PRECISIONS`.
        monitor: figure of the validation part by which the best epoch is chosen, as in :mod:`.metrics`.
        refit: in the end train once more, on the training and the validation part; see :mod:`.refit`.
        weights: file with the weights to start from (see :mod:`.transfer`); empty: fresh ones.
        freeze: layers that keep them: patterns of their names with commas between (``layer1*,bn1``), or
            ``all-but-last``.
        seed: of the first weights, the order and the augmentation.
        search: dotted key → values to try, or ``{"low", "high", "log"}``; see :mod:`.search`.
    """

    network: str
    title: str = ""
    source: str = ""
    network_options: dict[str, Any] = field(default_factory=dict)
    loss: str = "cross-entropy"
    loss_options: dict[str, Any] = field(default_factory=dict)
    class_weights: bool = False
    optimizer: str = "sgd"
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.1
    scale_learning_rate: bool = True
    weight_decay: float = 0.0
    schedule: str = "cosine"
    schedule_options: dict[str, Any] = field(default_factory=dict)
    warm_up: float = 0.0
    batch: int = 128
    accumulate: int = 1
    epochs: int = 20
    patience: int | None = None
    average: float = 0.0
    clip: float | None = None
    augment: dict[str, float] = field(default_factory=dict)
    precision: str = "fp32"
    monitor: str = "overall accuracy"
    refit: bool = False
    weights: str = ""
    freeze: str = ""
    seed: int = 2026
    search: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON values."""
        return asdict(self)

    def check(self) -> None:
        """Check what can be checked without the network.

        Raises:
            InputError: a number outside its range, or a name that there is not.
        """
        for name, lowest in (("batch", 1), ("accumulate", 1), ("epochs", 1), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise InputError(f"The recipe's “{name}” must be at least {lowest}, not {getattr(self, name)}.")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"The recipe's “patience” must be at least 1 epoch, not {self.patience}.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"The recipe's “learning_rate” must be a number above 0, not {self.learning_rate}.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"The recipe's “weight_decay” must be a number from 0, not {self.weight_decay}.")
        for name in ("warm_up", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"The recipe's “{name}” is a share from 0 to less than 1, not {getattr(self, name)}.")
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"The recipe's “clip” must be a number above 0, not {self.clip}.")
        for name, choices in (("precision", PRECISIONS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"The recipe's “{name}” cannot be “{getattr(self, name)}”; use {', '.join(choices[:-1])} or "
                    f"{choices[-1]}."
                )


def recipe_names() -> list[str]:
    """Names of the recipes that come with Thematica."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_recipe(name: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or from a file.

    Args:
        name: one of :func:`recipe_names`, or a JSON file.
        changes: ``KEY=VALUE``, with dots for what lies deeper (``optimizer_options.momentum=0.8``); the value is JSON,
            or else a text.

    Raises:
        InputError: there is none, or an entry that cannot be.
    """
    path = FOLDER / f"{name}.json" if str(name) in recipe_names() else Path(name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"There is no recipe “{name}”; name a file, or one of {', '.join(recipe_names())}.", repr(error)
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The recipe “{path}” is not JSON in UTF-8; correct it.", repr(error)) from error
    if not isinstance(content, dict):
        raise InputError(f"The recipe “{path}” is no JSON object.")
    for change in changes:
        _change(content, change)
    return recipe_from(content)


def recipe_from(content: Mapping[str, Any]) -> Recipe:
    """A recipe from JSON values.

    Raises:
        InputError: an entry that there is not, is missing, or has the wrong type.
    """
    types = get_type_hints(Recipe)
    known = [entry.name for entry in fields(Recipe)]
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise InputError(f"A recipe has no entry “{unknown[0]}”; there are {', '.join(known)}.")
    if not content.get("network"):
        raise InputError("The recipe names no network.")
    for key, value in content.items():
        if not _is_a(value, types[key]):
            raise InputError(f"The recipe's “{key}” cannot be {json.dumps(value, ensure_ascii=False)[:60]}.")
    recipe = Recipe(**content)
    recipe.check()
    return recipe


def _change(content: dict[str, Any], change: str) -> None:
    key, sign, text = change.partition("=")
    *folders, last = key.strip().split(".")
    if not sign or not all([*folders, last]):
        raise InputError(f"“{change}” changes nothing; write --set KEY=VALUE, such as --set learning_rate=0.05.")
    try:
        value = json.loads(text)
    except ValueError:
        value = text.strip()
    inner = content
    for folder in folders:
        inner = inner.setdefault(folder, {})
        if not isinstance(inner, dict):
            raise InputError(f"“{key}” is no entry of a recipe: “{folder}” holds a value and no entries.")
    inner[last] = value


def _is_a(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, UnionType):
        return any(_is_a(value, option) for option in get_args(wanted))
    if wanted is type(None):
        return value is None
    if get_origin(wanted) is dict:
        _, kind = get_args(wanted)
        return isinstance(value, dict) and all(kind is Any or _is_a(entry, kind) for entry in value.values())
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
