"""What ``dataset.json`` says of a training set.  It is written once and believed only after a look."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...models.bands import Band
from ...models.label_classes import LabelClass
from .scene import SceneBand

#: Version of the format, under the key ``thematica_dataset``.
FORMAT = 1
FILE = "dataset.json"
SHEET = "dataset.preview.png"

#: The parts of a training set; a later one goes before an earlier one where two come too close.
TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")

KINDS = ("pixels", "windows", "chips", "patches")
TASKS = ("single-label", "multi-label", "segmentation")
#: The files of a shard: ``train-00000.samples.npy``, …
ARRAYS = ("samples", "labels", "places")

#: Where a sample comes from: place of its scene in the description, pixel (chips: their top left one), polygon or -1.
PIXEL_PLACE = np.dtype([("scene", "<u2"), ("row", "<i4"), ("col", "<i4"), ("shape", "<i4")])
#: Where a patch comes from: line in the file ``names``, from 0.
PATCH_PLACE = np.dtype([("name", "<i4")])

#: Where a chip has no label, by the type of its labels.
IGNORED = {"uint8": 255, "int16": -1}


@dataclass(frozen=True)
class ClassEntry:
    """A class and how often it comes.

    Args:
        label: code, name, colour, macro-class.
        weight: for a loss that is to count every class alike (see :func:`.statistics.class_weights`).
        samples: by part; of chips the labelled pixels.
    """

    label: LabelClass
    weight: float
    samples: Mapping[str, int]


@dataclass(frozen=True)
class Shard:
    """Three files with the same number of samples, in an order drawn by chance.

    Args:
        file: what their names begin with: ``train-00000``.
        samples: how many.
        bytes, sha256: of each file, by the names in :data:`ARRAYS`.
    """

    file: str
    samples: int
    bytes: Mapping[str, int]
    sha256: Mapping[str, str]

    def name(self, array: str) -> str:
        """File name of one of its arrays."""
        return f"{self.file}.{array}.npy"


@dataclass(frozen=True)
class Statistics:
    """Of the training part alone, in physical values, one number per band.

    ``p01`` and ``p99`` are those of up to 100,000 pixels drawn by chance.
    """

    mean: list[float]
    std: list[float]
    minimum: list[float]
    maximum: list[float]
    p01: list[float]
    p99: list[float]


@dataclass
class Description:
    """A training set.

    Args:
        kind: ``pixels`` (C,), ``windows`` (C, p, p) around a pixel, ``chips`` (C, p, p) with a label per pixel,
            ``patches`` (C, p, p) with a label for all.
        task: ``single-label``, ``multi-label`` or ``segmentation``.
        shape: of one sample.
        dtype: of samples, as stored: physical value = stored value × scale + offset.
        label_dtype: of labels: places in ``classes``, or for several labels 0 and 1 for each class.
        bands: (C,).
        gsd: ground sampling distance in metres, or None.
        ignore_index: label of a chip's pixels without label, or None.
        classes: in the order of the labels.
        split: how training, validation and test were told apart.
        statistics: of the training part.
        scenes: where the samples come from; ``places`` count them.
        options: what was asked for.
        fingerprint: of inputs and options.
        shards: by part.
        findings: what the analyst should know, one sentence each.
        names: file with a name per line that the places of patches count, or empty.
        created: time in UTC.
        software: name and version.
    """

    kind: str
    task: str
    shape: tuple[int, ...]
    dtype: str
    label_dtype: str
    bands: list[SceneBand]
    gsd: float | None
    ignore_index: int | None
    classes: list[ClassEntry]
    split: dict[str, Any]
    statistics: Statistics
    scenes: list[dict[str, Any]]
    options: dict[str, Any]
    fingerprint: str
    shards: dict[str, list[Shard]]
    findings: list[str] = field(default_factory=list)
    names: str = ""
    created: str = ""
    software: str = ""

    def samples(self, part: str) -> int:
        """How many samples a part has."""
        return sum(shard.samples for shard in self.shards.get(part, []))

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of one sample's label."""
        if self.task == "segmentation":
            return self.shape[1:]
        return (len(self.classes),) if self.task == "multi-label" else ()

    @property
    def place_dtype(self) -> np.dtype[Any]:
        """Type of the places."""
        return PATCH_PLACE if self.kind == "patches" else PIXEL_PLACE

    def to_json(self) -> dict[str, Any]:
        """The content of ``dataset.json``."""
        return {
            "thematica_dataset": FORMAT,
            "kind": self.kind,
            "task": self.task,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "label_dtype": self.label_dtype,
            "bands": [
                {
                    "name": entry.band.name,
                    "common_name": entry.band.common_name,
                    "wavelength": entry.band.wavelength,
                    "unit": entry.band.unit,
                    "width": entry.band.width,
                    "scale": entry.scale,
                    "offset": entry.offset,
                    # JSON has no NaN.
                    "nodata": "nan" if entry.nodata is not None and math.isnan(entry.nodata) else entry.nodata,
                }
                for entry in self.bands
            ],
            "gsd": self.gsd,
            "ignore_index": self.ignore_index,
            "classes": [
                {
                    "code": entry.label.code,
                    "name": entry.label.name,
                    "color": entry.label.color,
                    "macro": entry.label.macro,
                    "weight": entry.weight,
                    "samples": dict(entry.samples),
                }
                for entry in self.classes
            ],
            "split": self.split,
            "statistics": vars(self.statistics),
            "scenes": self.scenes,
            "findings": self.findings,
            "options": self.options,
            "fingerprint": self.fingerprint,
            "names": self.names,
            "shards": {
                part: [
                    {"file": s.file, "samples": s.samples, "bytes": dict(s.bytes), "sha256": dict(s.sha256)}
                    for s in shards
                ]
                for part, shards in self.shards.items()
            },
            "created": self.created,
            "software": self.software,
        }

    def write(self, folder: Path) -> None:
        """Write ``dataset.json``.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1, allow_nan=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, content: Any) -> Description:
        """What :meth:`to_json` gave.

        Raises:
            InputError: it is no description, or one that contradicts itself.
        """
        if not isinstance(content, dict) or "thematica_dataset" not in content:
            raise InputError("This is no training set of Thematica: its dataset.json says nothing of the kind.")
        if content["thematica_dataset"] != FORMAT:
            raise InputError(
                f"This training set has the format {content['thematica_dataset']!r}, and this version of Thematica "
                f"reads {FORMAT}; make the set anew."
            )
        return _described(content)

    @classmethod
    def read(cls, folder: Path) -> Description:
        """The description of the training set in a folder.

        Raises:
            InputError: there is none, or it cannot be used.
        """
        path = folder / FILE
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(
                f"“{folder}” is no training set: it has no readable {FILE}; choose the folder that holds it.",
                repr(error),
            ) from error
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"“{path}” is damaged: it is no JSON; make the training set anew.", repr(error)) from error
        try:
            return cls.from_json(content)
        except InputError as error:
            raise InputError(f"“{path}”: {error.message}", error.details) from error


# ------------------------------------------------------------------------------------------- reading


def _described(content: dict[str, Any]) -> Description:
    kind = _one_of(content, "kind", KINDS)
    task = _one_of(content, "task", TASKS)
    shape = tuple(_list(content, "shape", lambda value: _whole(value, 1)))
    bands = _list(content, "bands", _band)
    classes = _list(content, "classes", _class)
    if not shape or len(shape) not in (1, 3) or shape[0] != len(bands) or (len(shape) == 1) != (kind == "pixels"):
        raise _wrong("shape", content.get("shape"))
    if (len(classes) < 2 and task != "multi-label") or not classes:
        raise _wrong("classes", f"{len(classes)} of them")
    if (kind == "chips") != (task == "segmentation"):
        raise _wrong("task", task)
    label_dtype = _one_of(content, "label_dtype", ("int16",) if task == "single-label" else ("uint8", "int16"))
    ignore = _optional(content, "ignore_index", lambda value: _whole(value, -1))
    if ignore != (IGNORED[label_dtype] if task == "segmentation" else None):
        raise _wrong("ignore_index", ignore)
    statistics = content.get("statistics")
    if not isinstance(statistics, dict):
        raise _wrong("statistics", statistics)
    numbers = {name: _list(statistics, name, _number, "statistics.") for name in Statistics.__dataclass_fields__}
    for name, values in numbers.items():
        if len(values) != len(bands):
            raise _wrong(f"statistics.{name}", f"{len(values)} numbers for {len(bands)} bands")
    shards = content.get("shards")
    if not isinstance(shards, dict) or not set(shards) <= set(PARTS):
        raise _wrong("shards", shards)
    return Description(
        kind=kind,
        task=task,
        shape=shape,
        dtype=_dtype(content),
        label_dtype=label_dtype,
        bands=bands,
        gsd=_optional(content, "gsd", _number),
        ignore_index=ignore,
        classes=classes,
        split=_of_type(content, "split", dict),
        statistics=Statistics(**numbers),
        scenes=_list(content, "scenes", _mapping),
        options=_of_type(content, "options", dict),
        fingerprint=_of_type(content, "fingerprint", str),
        shards={part: _list(shards, part, _shard, "shards.") for part in shards},
        findings=_list(content, "findings", str),
        names=_optional({"names": content.get("names") or None}, "names", _file_name) or "",
        created=_of_type(content, "created", str),
        software=_of_type(content, "software", str),
    )


def _wrong(key: str, value: Any) -> InputError:
    return InputError(f"“{key}” in it cannot be right; make the training set anew.", f"{key}: {str(value)[:200]}")


def _of_type(content: Mapping[str, Any], key: str, kind: type) -> Any:
    value = content.get(key)
    if not isinstance(value, kind):
        raise _wrong(key, value)
    return value


def _one_of(content: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = content.get(key)
    if value not in choices:
        raise _wrong(key, value)
    return str(value)


def _list(content: Mapping[str, Any], key: str, convert: Callable[[Any], Any], of: str = "") -> list[Any]:
    values = content.get(key)
    if not isinstance(values, list):
        raise _wrong(of + key, values)
    try:
        return [convert(value) for value in values]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _wrong(of + key, repr(error)) from error


def _optional(content: Mapping[str, Any], key: str, convert: Callable[[Any], Any]) -> Any:
    value = content.get(key)
    try:
        return None if value is None else convert(value)
    except (TypeError, ValueError) as error:
        raise _wrong(key, value) from error


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _whole(value: Any, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise ValueError(f"{value!r} is no whole number from {lowest}")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value


def _dtype(content: Mapping[str, Any]) -> str:
    try:
        dtype = np.dtype(_of_type(content, "dtype", str))
    except TypeError as error:
        raise _wrong("dtype", content["dtype"]) from error
    if dtype.kind not in "iuf":
        raise _wrong("dtype", content["dtype"])
    return dtype.name


def _file_name(value: Any) -> str:
    """A name without folders: what stands in the description must not reach out of the set."""
    if not isinstance(value, str) or not value or value != Path(value).name or "\\" in value:
        raise ValueError(f"{value!r} is no file name")
    return value


def _band(value: Any) -> SceneBand:
    nodata = value["nodata"]
    return SceneBand(
        Band(
            str(value["name"]),
            str(value["common_name"]),
            None if value["wavelength"] is None else _number(value["wavelength"]),
            str(value["unit"]),
            None if value.get("width") is None else _number(value["width"]),
        ),
        _number(value["scale"]),
        _number(value["offset"]),
        math.nan if nodata == "nan" else None if nodata is None else _number(nodata),
    )


def _class(value: Any) -> ClassEntry:
    label = LabelClass(_whole(value["code"], 0), str(value["name"]), str(value["color"]), str(value["macro"]))
    samples = {part: _whole(value["samples"].get(part, 0), 0) for part in PARTS}
    return ClassEntry(label, _number(value["weight"]), samples)


def _shard(value: Any) -> Shard:
    return Shard(
        _file_name(value["file"]),
        _whole(value["samples"], 1),
        {array: _whole(value["bytes"][array], 1) for array in ARRAYS},
        {array: str(value["sha256"][array]) for array in ARRAYS},
    )
