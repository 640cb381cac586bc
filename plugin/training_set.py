"""What ``dataset.json`` tells an analyst about a training set, and the sets that this QGIS profile knows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.trainable import NetworkKind

FILE = "dataset.json"
#: In the folder of a training from labels: the set that was made of them.
SET_FOLDER = "training-set"
PARTS = ("train", "validation", "test")
#: Version of the format that is read.
_FORMAT = 1
#: A description has a few kilobytes per scene; one beyond this is something else.
_MOST_BYTES = 64 * 2**20
_SETTING = "thematica/training/sets"
_MOST_KNOWN = 20
# What “Make Training Set” proposes ends so.
_SUFFIX = "_training_set"
_KINDS = ("pixels", "windows", "chips", "patches")
_TASKS = ("single-label", "multi-label", "segmentation")


@dataclass(frozen=True)
class SetClass:
    """A class of a training set.

    Args:
        name: its name.
        color: ``#rrggbb``.
        samples: by part; of chips the labelled pixels.
    """

    name: str
    color: str
    samples: Mapping[str, int]


@dataclass(frozen=True)
class TrainingSetFacts:
    """A training set as its description says.

    Args:
        folder: that holds it.
        kind: ``pixels``, ``windows``, ``chips`` or ``patches``.
        task: ``single-label``, ``multi-label`` or ``segmentation``.
        side: of a sample in pixels; 1 for single pixels.
        bands: names, empty where a band has none.
        classes: in the order of the labels.
        samples: of each part.
        split: how the parts were told apart: ``method``, ``block``, ``optimistic``, ``why``, …
        findings: what was met when it was made.
    """

    folder: Path
    kind: str
    task: str
    side: int
    bands: list[str]
    classes: list[SetClass]
    samples: Mapping[str, int]
    split: Mapping[str, Any]
    findings: list[str]


def read_training_set(folder: str | Path) -> TrainingSetFacts:
    """What there is to know of the training set in a folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = Path(folder) / FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"“{path}” is too large for the description of a training set; choose another folder.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"“{folder}” is no training set: choose the folder that holds a {FILE}.", repr(error)
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"“{path}” is damaged; make the training set anew.", repr(error)) from error
    if not isinstance(content, dict) or content.get("thematica_dataset") != _FORMAT:
        raise InputError(f"“{path}” is not of a training set that this version of Thematica reads; make it anew.")
    try:
        return _facts(Path(folder), content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"“{path}” is damaged; make the training set anew.", repr(error)) from error


def _facts(folder: Path, content: dict[str, Any]) -> TrainingSetFacts:
    kind, task, shape = content["kind"], content["task"], content["shape"]
    if kind not in _KINDS or task not in _TASKS:
        raise ValueError(f"{kind} {task}")
    shards = content["shards"]
    return TrainingSetFacts(
        folder=folder,
        kind=kind,
        task=task,
        side=int(shape[1]) if len(shape) > 1 else 1,
        bands=[str(band.get("common_name") or band.get("name") or "") for band in content["bands"]],
        classes=[
            SetClass(
                str(entry["name"]),
                str(entry.get("color") or ""),
                {part: int(entry["samples"].get(part, 0)) for part in PARTS},
            )
            for entry in content["classes"]
        ],
        samples={part: sum(int(shard["samples"]) for shard in shards.get(part, ())) for part in PARTS},
        split=dict(content.get("split") or {}),
        findings=[str(finding) for finding in content.get("findings", ())],
    )


def training_set_problem(facts: TrainingSetFacts, network: NetworkKind | None = None) -> str:
    """Why a network cannot be trained on a set, in one sentence with what to do; empty where it can.

    Args:
        facts: the set.
        network: None asks for what any network needs.
    """
    if network is not None and not network.learns(facts.kind, facts.task):
        what = f"{facts.kind} with several labels" if facts.task == "multi-label" else facts.kind
        return f"“{network.title}” does not learn from {what}, which this training set holds: choose another network."
    for part, purpose in (("train", "learn from"), ("validation", "choose the best epoch by")):
        if not facts.samples.get(part):
            return (
                f"The training set has no samples in its {part} part, so there is nothing to {purpose}: make it anew "
                "with a share for it, or with more labels."
            )
    present = [entry for entry in facts.classes if entry.samples.get("train")]
    if facts.task != "multi-label" and len(present) < 2:
        only = f"“{present[0].name}” is the only class" if present else "There is no class"
        return f"{only} with samples in the train part: label at least two classes, so that they can be told apart."
    return ""


def training_set_warnings(facts: TrainingSetFacts) -> list[str]:
    """What the analyst should know before training, in sentences."""
    warnings = []
    if facts.split.get("optimistic"):
        why = str(facts.split.get("why") or "Neighbouring samples are on both sides of it.").strip()
        warnings.append(f"The split is optimistic: expect worse results on a map. {why}")
    if not facts.samples.get("test"):
        warnings.append("There is no test part: the model is measured on what chose its best epoch, which flatters.")
    for part in ("train", "test"):
        absent = [entry.name for entry in facts.classes if facts.samples.get(part) and not entry.samples.get(part)]
        if absent:
            names = "”, “".join(absent[:3])
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            cannot = "cannot be learned" if part == "train" else "cannot be measured"
            warnings.append(f"“{names}”{more} {cannot}: no samples in the {part} part.")
    return warnings


def set_title(folder: str | Path) -> str:
    """What a training set is called: by its folder, or by that of the training that it was made for."""
    path = Path(folder)
    name = path.parent.name if path.name == SET_FOLDER else path.name
    return name[: -len(_SUFFIX)] if name.endswith(_SUFFIX) and name != _SUFFIX else name or str(path)


# -- sets that are known ----------------------------------------------------------------------------


def known_sets() -> list[Path]:
    """The training sets that were made or used last, the newest first; those that are gone are left out."""
    return [Path(folder) for folder in _known() if os.path.isfile(os.path.join(folder, FILE))]


def remember_set(folder: str | Path) -> None:
    """Know a training set; it comes first."""
    from qgis.core import QgsSettings

    path = os.path.abspath(folder)
    QgsSettings().setValue(_SETTING, [path, *(known for known in _known() if known != path)][:_MOST_KNOWN])


def _known() -> list[str]:
    from qgis.core import QgsSettings

    kept = QgsSettings().value(_SETTING, [])
    # A list of one entry comes back as that entry.
    return [kept] if isinstance(kept, str) and kept else [str(entry) for entry in kept or []]
