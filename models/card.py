"""The model card: one JSON document that says what a model wants, what it gives and how good it is.

A card is a STAC Item with the machine-learning model extension (``mlm:`` fields) and the
``classification`` extension; what they have no field for stands under ``thematica:``.
https://github.com/stac-extensions/mlm
"""

from __future__ import annotations

import colorsys
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .bands import Band

STAC_VERSION = "1.1.0"
MLM_SCHEMA = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
CLASSIFICATION_SCHEMA = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"

#: Key of ``metadata_props`` in an ONNX file that holds the card.
METADATA_KEY = "thematica_card"

#: What a model does; the values of ``thematica:task``.
TASKS = ("pixel", "window", "segmentation", "patch", "patch-multilabel", "change")
TASK_TITLES = {
    "pixel": "pixel-wise, from one pixel's spectrum",
    "window": "pixel-wise, from a window around the pixel",
    "segmentation": "semantic segmentation",
    "patch": "patch classification, one label",
    "patch-multilabel": "patch classification, several labels",
    "change": "change between two dates",
}
_MLM_TASK = {
    "pixel": "classification",
    "window": "classification",
    "segmentation": "semantic-segmentation",
    "patch": "scene-classification",
    "patch-multilabel": "scene-classification",
    "change": "semantic-segmentation",
}
# MLM tasks that no door of Thematica serves, and what they are called in a sentence.
_UNSUPPORTED = {
    "regression": "a regression network (it gives continuous values, not classes)",
    "detection": "an object detector (it gives boxes, not a map)",
    "object-detection": "an object detector (it gives boxes, not a map)",
    "instance-segmentation": "an instance segmentation network",
    "panoptic-segmentation": "a panoptic segmentation network",
    "similarity-search": "a similarity-search network",
    "generative": "a generative network",
    "image-captioning": "an image-captioning network",
    "super-resolution": "a super-resolution network (it gives a finer image, not classes)",
    "downscaling": "a downscaling network (it gives a finer image, not classes)",
}
ACTIVATIONS = ("logits", "softmax", "sigmoid")

#: Pixels of a tile's or window's side; more do not fit into memory.
LARGEST_SIDE = 65536

#: Value of a pixel without a class in thematic rasters with 8 and 16 bits.
NODATA_CODE_8BIT = 255
NODATA_CODE_16BIT = 65535
#: Value of a pixel whose best score stays under the model's threshold.
UNCLASSIFIED_CODE_8BIT = 254
UNCLASSIFIED_CODE_16BIT = 65534


@dataclass(frozen=True)
class ModelClass:
    """One class of the output.

    Args:
        value: code in the thematic raster.
        name: what the analyst reads (any Unicode text).
        color: ``#rrggbb``.
    """

    value: int
    name: str
    color: str


@dataclass(frozen=True)
class Normalisation:
    """Per-band arithmetic from physical values to what enters the network: ``clip(x) * gain + bias``.

    Args:
        gain, bias: one number per band, or one for all.
        minimum, maximum: limits applied before, one per band or one for all; None where there is none.
    """

    gain: tuple[float, ...] = (1.0,)
    bias: tuple[float, ...] = (0.0,)
    minimum: tuple[float | None, ...] = (None,)
    maximum: tuple[float | None, ...] = (None,)

    def is_identity(self) -> bool:
        """True where values enter the network as they are."""
        return (
            all(value == 1.0 for value in self.gain)
            and all(value == 0.0 for value in self.bias)
            and all(value is None for value in (*self.minimum, *self.maximum))
        )


@dataclass(frozen=True)
class FurtherOutput:
    """An output of a network beside its first: a second map from the same image.

    Args:
        name: of the tensor.
        classes: in the order of the output channels.
        activation: what it holds, as in :class:`ModelCard`.
        thresholds: as in :class:`ModelCard`.
        shape: with -1 for free axes; empty where unknown.
    """

    name: str
    classes: list[ModelClass]
    activation: str = "logits"
    thresholds: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()


@dataclass
class ModelCard:
    """What a model is.  Only ``name``, ``task``, ``bands`` and ``classes`` are always known.

    Args:
        name: short name in the store (letters, digits, ``-``, ``_``, ``.``).
        title: what the analyst reads in lists.
        description: what it maps, what it was made from, what it cannot do.
        task: one of :data:`TASKS`.
        bands: the input's bands in order.
        classes: the output's classes, in the order of the output channels.
        normalisation: from physical values to the network's input.
        normalisation_steps: the MLM ``value_scaling`` objects that ``normalisation`` came from.
        activation: what the output holds: one of :data:`ACTIVATIONS`; empty: the card does not say it, and
            :func:`.reading.read_model_card` finds it out from the graph.
        thresholds: per class or one for all: a best score under it means "unclassified"; empty: none.
        data_type: of the input tensor (``float32``, ``float16``, ``uint8``, ``uint16``).
        input_name, output_name: names of the tensors; empty: the first of the graph.
        input_shape, output_shape: with -1 for free axes; empty where unknown.
        unit: unit of the physical values; with ``dn`` a raster's declared scale and offset are not applied.
        value_range: the range in which most physical values lie, or None; used to refuse a wrong scale.
        gsd: ground sampling distance in metres that the model was trained at, or None.
        gsd_range: coarsest and finest it makes sense at; None: four times finer to four times coarser.
        receptive_field: side of the square of pixels that one output pixel sees; 0: find out from the graph.
        tile: side of the input that the model was trained with, or 0.
        nodata: value that marks missing input where the raster declares none, or None.
        trained_on, split: free text; metrics: name → number.
        licence: SPDX identifier; sources: citations.
        parameters: number of weights, or None.
        weights_sha256: over graph and initialisers, without metadata.
        origin: where this card came from: ``corrected``, ``embedded``, ``beside``, ``given``,
            ``deepness``, ``none``.
        unsupported: why no door can serve the model (a sentence part), or empty.
        further_outputs: what the network gives beside its first output.
    """

    name: str
    task: str
    bands: list[Band]
    classes: list[ModelClass]
    title: str = ""
    description: str = ""
    normalisation: Normalisation = field(default_factory=Normalisation)
    normalisation_steps: list[dict[str, Any] | None] = field(default_factory=list)
    activation: str = "logits"
    thresholds: tuple[float, ...] = ()
    data_type: str = "float32"
    input_name: str = ""
    output_name: str = ""
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    unit: str = ""
    value_range: tuple[float, float] | None = None
    gsd: float | None = None
    gsd_range: tuple[float, float] | None = None
    receptive_field: int = 0
    tile: int = 0
    nodata: float | None = None
    trained_on: str = ""
    split: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    licence: str = ""
    sources: list[str] = field(default_factory=list)
    architecture: str = ""
    parameters: int | None = None
    weights_sha256: str = ""
    created: str = "2026-01-01T00:00:00Z"
    origin: str = "none"
    unsupported: str = ""
    further_outputs: list[FurtherOutput] = field(default_factory=list)

    def output_names(self) -> list[str]:
        """Names of all outputs, the first one first."""
        return [self.output_name, *(output.name for output in self.further_outputs)]

    def for_output(self, name: str) -> ModelCard:
        """The card as if the named output were the only one.

        Raises:
            ModelError: the network has no such output.
        """
        if name == self.output_name:
            return replace(self, further_outputs=[])
        for output in self.further_outputs:
            if output.name == name:
                return replace(
                    self, output_name=name, output_shape=output.shape, classes=output.classes,
                    activation=output.activation, thresholds=output.thresholds, further_outputs=[],
                )  # fmt: skip
        raise ModelError(
            f"The network “{self.name}” has no output “{name}”; its outputs are {', '.join(self.output_names())}."
        )

    def class_codes_are_16bit(self) -> bool:
        """True where a class code does not fit beside the reserved codes of 8 bits."""
        return any(entry.value >= UNCLASSIFIED_CODE_8BIT for entry in self.classes)

    def nodata_code(self) -> int:
        """Code of pixels without data in the thematic raster (255, or 65535 with 16 bits)."""
        return NODATA_CODE_16BIT if self.class_codes_are_16bit() else NODATA_CODE_8BIT

    def unclassified_code(self) -> int:
        """Code of pixels under the threshold (254, or 65534 with 16 bits)."""
        return UNCLASSIFIED_CODE_16BIT if self.class_codes_are_16bit() else UNCLASSIFIED_CODE_8BIT

    def to_json(self) -> str:
        """The card as an indented JSON document."""
        return json.dumps(self.to_item(), indent=2, ensure_ascii=False) + "\n"

    def to_item(self) -> dict[str, Any]:
        """The card as a STAC Item."""
        return _to_item(self)


def distinct_colors(count: int) -> list[str]:
    """``count`` colours for classes that have none: hues a golden angle apart, as ``#rrggbb``."""
    colors = []
    for index in range(count):
        hue = (0.33 + index * 0.61803398875) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.25 * (index % 2), 0.9 - 0.2 * (index % 3) / 2)
        colors.append(f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}")
    return colors


def slug(text: str, fallback: str = "model") -> str:
    """``text`` reduced to the letters that STAC names allow: ``"Grünland, nass"`` → ``"Grunland-nass"``."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^0-9A-Za-z_-]+", "-", plain).strip("-") or fallback


def read_card(path: str | Path) -> ModelCard:
    """Read a card from a JSON file.

    Raises:
        ModelError: no such file, not JSON, or not a model card.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ModelError(f"There is no model card “{path}”; check the path.") from None
    except OSError as error:
        raise ModelError(f"The model card “{path}” cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"The model card “{path}” cannot be read: save it as UTF-8 text.", repr(error)) from error
    return parse_card(text, source=str(path))


def parse_card(text: str, source: str = "the model card") -> ModelCard:
    """Read a card from JSON text.

    Raises:
        ModelError: not JSON, or not a model card.
    """
    try:
        item = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source} is not valid JSON ({error}); mend it or leave it out.") from error
    if not isinstance(item, dict):
        raise ModelError(f"{source} is not a model card: a STAC Item with mlm: fields is expected.")
    try:
        # Half a surrogate pair can be written in JSON and nowhere else.
        item = json.loads(json.dumps(item, ensure_ascii=False).encode("utf-8", "replace"))
        return _from_item(item)
    except ModelError as error:
        raise ModelError(f"{source}: {error.message}", error.details) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise ModelError(
            f"{source} is not a usable model card; check it against docs/model-card.md.", repr(error)
        ) from error


def _to_item(card: ModelCard) -> dict[str, Any]:
    rank2 = card.task == "pixel" and len(card.input_shape) in (0, 2)
    one_per_image = rank2 or card.task == "window" or card.task.startswith("patch")
    input_shape = list(card.input_shape) or ([-1, len(card.bands)] if rank2 else [-1, len(card.bands), -1, -1])
    behind = [] if one_per_image else [-1, -1]
    output_shape = list(card.output_shape) or [-1, len(card.classes), *behind]
    input_order = {
        2: ["batch", "bands"],
        4: ["batch", "bands", "height", "width"],
        5: ["batch", "channel", "bands", "height", "width"],
    }
    properties: dict[str, Any] = {
        "datetime": card.created,
        "title": card.title or card.name,
        "description": card.description or card.title or card.name,
        "mlm:name": card.name,
        "mlm:architecture": card.architecture or "unknown",
        "mlm:framework": "ONNX",
        "mlm:tasks": [_MLM_TASK[card.task]],
        "mlm:pretrained": True,
        "mlm:input": [
            {
                "name": card.input_name or "input",
                "bands": [_band_reference(band) for band in card.bands],
                "input": {
                    "shape": input_shape,
                    "dim_order": input_order.get(len(input_shape), [f"axis{i}" for i in range(len(input_shape))]),
                    "data_type": card.data_type,
                },
                "value_scaling": card.normalisation_steps or _steps(card.normalisation),
                "pre_processing_function": None,
            }
        ],
        "mlm:output": [
            _stac_output(card.task, card.output_name or "output", output_shape, card.classes),
            *(
                {
                    **_stac_output(
                        card.task, output.name, list(output.shape) or [-1, len(output.classes), *behind], output.classes
                    ),
                    **({"thematica:activation": output.activation} if output.activation else {}),
                    **({"thematica:thresholds": list(output.thresholds)} if output.thresholds else {}),
                }
                for output in card.further_outputs
            ),
        ],
        "thematica:task": card.task,
    }
    if card.activation:
        properties["thematica:activation"] = card.activation
    if card.parameters is not None:
        properties["mlm:total_parameters"] = card.parameters
    if card.gsd is not None:
        properties["gsd"] = card.gsd
    if card.licence:
        properties["license"] = card.licence
    optional: dict[str, Any] = {
        "unit": card.unit,
        "value_range": list(card.value_range) if card.value_range else None,
        "gsd_range": list(card.gsd_range) if card.gsd_range else None,
        "receptive_field": card.receptive_field or None,
        "tile": card.tile or None,
        "nodata": card.nodata,
        "thresholds": list(card.thresholds),
        "trained_on": card.trained_on,
        "split": card.split,
        "metrics": card.metrics,
        "sources": card.sources,
        "weights_sha256": card.weights_sha256,
    }
    properties.update({f"thematica:{key}": value for key, value in optional.items() if value not in (None, "", [], {})})
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [MLM_SCHEMA, CLASSIFICATION_SCHEMA],
        "id": card.name,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {
            "model": {
                "href": f"./{card.name}.onnx",
                "type": "application/octet-stream; framework=onnx; profile=onnx",
                "title": card.title or card.name,
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "onnx",
                "bands": [_stac_band(band) for band in card.bands],
            }
        },
    }


_OUTPUT_ORDER = {
    1: ["batch"],
    2: ["batch", "classes"],
    3: ["batch", "height", "width"],
    4: ["batch", "classes", "height", "width"],
}


def _stac_output(task: str, name: str, shape: Sequence[int], classes: Sequence[ModelClass]) -> dict[str, Any]:
    return {
        "name": name,
        "tasks": [_MLM_TASK[task]],
        "result": {
            "shape": list(shape),
            "dim_order": _OUTPUT_ORDER.get(len(shape), [f"axis{i}" for i in range(len(shape))]),
            "data_type": "float32",
        },
        "classification:classes": _stac_classes(classes),
        "post_processing_function": None,
    }


def _band_reference(band: Band) -> str:
    return band.name or band.common_name or "band"


def _stac_band(band: Band) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": _band_reference(band)}
    if band.common_name:
        entry["eo:common_name"] = band.common_name
    if band.wavelength is not None:
        entry["eo:center_wavelength"] = band.wavelength
    if band.width is not None:
        entry["eo:full_width_half_max"] = band.width
    if band.unit:
        entry["unit"] = band.unit
    return entry


def _stac_classes(classes: Sequence[ModelClass]) -> list[dict[str, Any]]:
    entries = []
    used: set[str] = set()
    for entry in classes:
        # STAC names are plain ASCII; the analyst's own spelling stands in the description, since the stac-model
        # package knows no title.
        plain, numbered = _stac_names(entry.name, entry.value)
        name = numbered if plain in used else plain
        used.add(name)
        entries.append(
            {
                "value": entry.value,
                "name": name,
                "description": entry.name,
                "color_hint": entry.color.lstrip("#").upper(),
            }
        )
    return entries


def _stac_names(name: str, value: int) -> tuple[str, str]:
    """The STAC name of a class, and the one it gets where another class has that already."""
    plain = slug(name, f"class-{value}")
    return plain, f"{plain}-{value}"


def _class_name(entry: Mapping[str, Any], value: int) -> str:
    """What the analyst reads: title, or the description where the name is only its STAC form, or the name."""
    name, description = str(entry.get("name") or ""), str(entry.get("description") or "")
    if description and name in _stac_names(description, value):
        name = description
    return str(entry.get("title") or name or description or f"class {value}")


def _steps(normalisation: Normalisation) -> list[dict[str, Any] | None]:
    """Express ``(x - mean) / stddev`` in MLM terms; clipping cannot stand beside it there."""
    if normalisation.is_identity():
        return []
    if any(value is not None for value in (*normalisation.minimum, *normalisation.maximum)):
        raise ModelError("A card with clipping keeps the value_scaling objects it was read from.")
    count = max(len(normalisation.gain), len(normalisation.bias))
    gains = normalisation.gain * count if len(normalisation.gain) == 1 else normalisation.gain
    biases = normalisation.bias * count if len(normalisation.bias) == 1 else normalisation.bias
    return [{"type": "z-score", "mean": -bias / gain, "stddev": 1 / gain} for gain, bias in zip(gains, biases)]


def _normalisation(steps: Sequence[Mapping[str, Any] | None], bands: int) -> Normalisation:
    """Read MLM ``value_scaling``: one object for all bands, or one per band."""
    if not steps:
        return Normalisation()
    if len(steps) not in (1, bands):
        raise ModelError(f"value_scaling has {len(steps)} entries; it needs one, or one for each of the {bands} bands.")
    gain: list[float] = []
    bias: list[float] = []
    low: list[float | None] = []
    high: list[float | None] = []
    for step in steps:
        a, b, lowest, highest = _one_step(step)
        if not all(math.isfinite(number) for number in (a, b, lowest or 0, highest or 0)) or a == 0:
            raise ModelError("value_scaling is not made of finite numbers.")
        gain.append(a)
        bias.append(b)
        low.append(lowest)
        high.append(highest)
    return Normalisation(tuple(gain), tuple(bias), tuple(low), tuple(high))


def _one_step(step: Mapping[str, Any] | None) -> tuple[float, float, float | None, float | None]:
    """Gain, bias and limits of one MLM value scaling object."""
    kind = "identity" if step is None else str(step.get("type"))
    step = step or {}
    if kind == "identity":
        return 1.0, 0.0, None, None
    if kind == "z-score":
        deviation = float(step["stddev"])
        if not deviation > 0:
            raise ModelError(f"value_scaling has a standard deviation of {deviation:g}; it must be positive.")
        return 1 / deviation, -float(step["mean"]) / deviation, None, None
    if kind == "min-max":
        low, high = float(step["minimum"]), float(step["maximum"])
        if high <= low:
            raise ModelError("value_scaling has a maximum that is not above its minimum.")
        return 1 / (high - low), -low / (high - low), None, None
    if kind == "offset":
        return 1.0, -float(step["value"]), None, None
    if kind == "scale":
        if float(step["value"]) == 0:
            raise ModelError("value_scaling divides by 0.")
        return 1 / float(step["value"]), 0.0, None, None
    if kind == "clip":
        return 1.0, 0.0, float(step["minimum"]), float(step["maximum"])
    if kind == "clip-min":
        return 1.0, 0.0, float(step["minimum"]), None
    if kind == "clip-max":
        return 1.0, 0.0, None, float(step["maximum"])
    raise ModelError(f"value_scaling of type “{kind}” is not supported; fold it into the network's graph.")


def _from_item(item: Mapping[str, Any]) -> ModelCard:
    properties = item.get("properties", item)
    if not any(str(key).startswith("mlm:") for key in properties):
        raise ModelError("this is not a model card: a STAC Item with mlm: fields is expected.")
    inputs, outputs = properties.get("mlm:input") or [], properties.get("mlm:output") or []
    if not inputs or not outputs:
        raise ModelError("the card has no mlm:input or no mlm:output.")
    model_input, model_output = inputs[0], outputs[0]
    input_shape = tuple(int(size) for size in model_input.get("input", {}).get("shape", ()))
    output_shape = tuple(int(size) for size in model_output.get("result", {}).get("shape", ()))

    unit = str(properties.get("thematica:unit", ""))
    bands = _read_bands(item, properties, model_input, input_shape, unit)
    tasks = [str(task) for task in properties.get("mlm:tasks") or model_output.get("tasks") or []]
    unsupported = next((_UNSUPPORTED[task] for task in tasks if task in _UNSUPPORTED), "")
    classes = [] if unsupported else _read_classes(model_output, output_shape)
    task = str(properties.get("thematica:task") or _task_of(tasks, input_shape, output_shape))
    if task not in TASKS:
        raise ModelError(f"thematica:task is “{task}”; it must be one of {', '.join(TASKS)}.")
    activation = _activation(properties)
    if model_input.get("pre_processing_function"):
        raise ModelError("pre_processing_function is not supported; fold it into the network's graph.")
    steps = list(model_input.get("value_scaling") or [])
    thresholds = _thresholds(properties, classes)

    def pair(key: str) -> tuple[float, float] | None:
        value = properties.get(key)
        if not value:
            return None
        low, high = float(value[0]), float(value[1])
        if not -math.inf < low <= high < math.inf:
            raise ModelError(f"{key} must be two finite numbers, the smaller one first.")
        return low, high

    def whole(key: str) -> int:
        value = int(properties.get(key, 0))
        if not 0 <= value <= LARGEST_SIDE:
            raise ModelError(f"{key} must lie between 0 and {LARGEST_SIDE}.")
        return value

    gsd, nodata, parameters = (properties.get(key) for key in ("gsd", "thematica:nodata", "mlm:total_parameters"))
    if gsd is not None and not 0 < float(gsd) < math.inf:
        raise ModelError(f"gsd must be a number of metres above 0, not {float(gsd):g}.")
    if nodata is not None and math.isinf(float(nodata)):
        raise ModelError("thematica:nodata must be a finite number.")
    metrics = {str(key): float(value) for key, value in dict(properties.get("thematica:metrics", {})).items()}
    return ModelCard(
        name=slug(str(properties.get("mlm:name") or item.get("id") or "model")),
        task=task,
        bands=bands,
        classes=classes,
        title=str(properties.get("title") or properties.get("mlm:name") or item.get("id") or ""),
        description=str(properties.get("description") or ""),
        normalisation=_normalisation(steps, len(bands)),
        normalisation_steps=steps,
        activation=activation,
        thresholds=thresholds,
        data_type=str(model_input.get("input", {}).get("data_type", "float32")),
        input_name=str(model_input.get("name") or ""),
        output_name=str(model_output.get("name") or ""),
        input_shape=input_shape,
        output_shape=output_shape,
        unit=unit,
        value_range=pair("thematica:value_range"),
        gsd=float(gsd) if gsd is not None else None,
        gsd_range=pair("thematica:gsd_range"),
        receptive_field=whole("thematica:receptive_field"),
        tile=whole("thematica:tile"),
        nodata=float(nodata) if nodata is not None else None,
        trained_on=str(properties.get("thematica:trained_on", "")),
        split=str(properties.get("thematica:split", "")),
        # JSON has no word for what is no number.
        metrics={key: value for key, value in metrics.items() if math.isfinite(value)},
        licence=str(properties.get("license", "")),
        sources=[str(source) for source in properties.get("thematica:sources", ())],
        architecture=str(properties.get("mlm:architecture", "")),
        parameters=int(parameters) if isinstance(parameters, (int, float)) else None,
        weights_sha256=str(properties.get("thematica:weights_sha256", "")),
        created=str(properties.get("datetime") or "2026-01-01T00:00:00Z"),
        unsupported=unsupported,
        further_outputs=[] if unsupported else _further_outputs(outputs[1:]),
    )


def _activation(holder: Mapping[str, Any]) -> str:
    if holder.get("thematica:activation") is None:
        return ""
    activation = str(holder["thematica:activation"])
    if activation not in ACTIVATIONS:
        raise ModelError(f"thematica:activation is “{activation}”; it must be one of {', '.join(ACTIVATIONS)}.")
    return activation


def _thresholds(holder: Mapping[str, Any], classes: Sequence[ModelClass]) -> tuple[float, ...]:
    thresholds = tuple(float(value) for value in holder.get("thematica:thresholds", ()))
    if len(thresholds) not in (0, 1, len(classes)):
        raise ModelError(f"thematica:thresholds has {len(thresholds)} entries; it needs one, or one per class.")
    if not all(0 <= value < math.inf for value in thresholds):
        raise ModelError("thematica:thresholds must be finite numbers from 0.")
    return thresholds


def _further_outputs(entries: Sequence[Mapping[str, Any]]) -> list[FurtherOutput]:
    """The outputs after the first that give classes; others are none of our business."""
    found = []
    for entry in entries:
        shape = tuple(int(size) for size in entry.get("result", {}).get("shape", ()))
        if entry.get("classification:classes") or entry.get("classes"):
            classes = _read_classes(entry, shape)
            thresholds = _thresholds(entry, classes)
            found.append(FurtherOutput(str(entry.get("name") or ""), classes, _activation(entry), thresholds, shape))
    return found


def _read_bands(
    item: Mapping[str, Any],
    properties: Mapping[str, Any],
    model_input: Mapping[str, Any],
    input_shape: Sequence[int],
    unit: str,
) -> list[Band]:
    # Band details stand on the asset, on the item, or nowhere; eo:bands is their name before STAC 1.1.
    details: dict[str, Mapping[str, Any]] = {}
    for holder in (*dict(item.get("assets") or {}).values(), properties):
        for entry in holder.get("bands") or holder.get("eo:bands") or ():
            if isinstance(entry, Mapping) and entry.get("name"):
                details.setdefault(str(entry["name"]), entry)
    references = list(model_input.get("bands") or ())
    if not references and len(input_shape) >= 2 and input_shape[1] > 0:
        references = [str(number) for number in range(1, input_shape[1] + 1)]
    if not references:
        raise ModelError("the card names no input bands.")
    bands = []
    for reference in references:
        name = str(reference["name"]) if isinstance(reference, Mapping) else str(reference)
        if isinstance(reference, Mapping) and reference.get("expression"):
            raise ModelError(f"band {name} is computed by an expression, which is not supported; compute it first.")
        entry = details.get(name, {})
        wavelength = entry.get("eo:center_wavelength", entry.get("center_wavelength"))
        width = entry.get("eo:full_width_half_max", entry.get("full_width_half_max"))
        bands.append(
            Band(
                name=name,
                common_name=str(entry.get("eo:common_name", entry.get("common_name", ""))),
                wavelength=_micrometres(wavelength, name),
                unit=str(entry.get("unit", unit)),
                width=_micrometres(width, name),
            )
        )
    return bands


def _micrometres(value: Any, band: str) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ModelError(f"the wavelength of band {band} is no finite number; correct it or leave it out.")
    return number


def _read_classes(model_output: Mapping[str, Any], output_shape: Sequence[int]) -> list[ModelClass]:
    entries = model_output.get("classification:classes") or model_output.get("classes") or []
    if not entries and len(output_shape) >= 2 and output_shape[1] > 0:
        entries = [{"value": value, "name": f"class {value}"} for value in range(output_shape[1])]
    if not entries:
        raise ModelError("the card names no output classes.")
    colors = distinct_colors(len(entries))
    classes = []
    for index, entry in enumerate(entries):
        hint = str(entry.get("color_hint") or "").lstrip("#")
        color = f"#{hint.lower()}" if re.fullmatch(r"[0-9A-Fa-f]{6}", hint) else colors[index]
        value = int(entry.get("value", index))
        classes.append(ModelClass(value, _class_name(entry, value), color))
    values = [entry.value for entry in classes]
    if len(set(values)) != len(values):
        raise ModelError("two classes of the card have the same value.")
    if min(values) < 0 or max(values) >= UNCLASSIFIED_CODE_16BIT:
        raise ModelError(f"class values must lie between 0 and {UNCLASSIFIED_CODE_16BIT - 1}.")
    return classes


def _task_of(tasks: Sequence[str], input_shape: Sequence[int], output_shape: Sequence[int]) -> str:
    """The task of a card without ``thematica:task``, from MLM's tasks and the shapes."""
    if len(input_shape) == 2:
        return "pixel"
    if len(output_shape) == 2 or "scene-classification" in tasks:
        return "patch"
    return "segmentation"
