"""Models made for the QGIS plugin Deepness: their metadata keys read as Deepness means them.

https://qgis-plugin-deepness.readthedocs.io (creators / add metadata to model)
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from .bands import Band
from .card import LARGEST_SIDE, FurtherOutput, ModelCard, ModelClass, Normalisation, distinct_colors, slug
from .onnx_file import OnnxFacts, TensorFacts, class_outputs

_KEYS = ("model_type", "class_names", "names", "resolution", "tile_size", "tiles_size", "standardization_mean")

_UNSUPPORTED = {
    "regression": "a regression network (it gives continuous values, not classes)",
    "regressor": "a regression network (it gives continuous values, not classes)",
    "detector": "an object detector (it gives boxes, not a map)",
    "superresolution": "a super-resolution network (it gives a finer image, not classes)",
    "recognition": "a recognition network (it compares a map with an image)",
}


def _value(metadata: Mapping[str, str], key: str) -> Any:
    """Values are JSON, mostly; some are Python's literals (``{0: 'tree'}``), and what is neither is taken as text."""
    text = metadata.get(key)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return text


def _number(value: Any, least: float = 0.0) -> float | None:
    """A finite number above ``least``, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least < value < 1e9:
        return None
    return float(value)


def card_from_deepness(name: str, facts: OnnxFacts) -> ModelCard | None:
    """A card from Deepness's metadata keys, or None where the file has none of them.

    Raises:
        ModelError: the standardisation, without which the network gives nonsense, cannot be understood.
    """
    metadata = facts.metadata
    if not any(key in metadata for key in _KEYS):
        return None
    first = facts.inputs[0]
    kind = str(_value(metadata, "model_type") or "Segmentor")
    unsupported = _UNSUPPORTED.get(kind.lower(), "")
    bands = first.shape[1] if len(first.shape) == 4 and first.shape[1] > 0 else 3
    # Deepness divides 8-bit values by 255 before it standardises.
    mean = _numbers(name, _value(metadata, "standardization_mean"), bands, 0.0)
    deviation = _numbers(name, _value(metadata, "standardization_std"), bands, 1.0)
    if min(deviation) <= 0:
        raise ModelError(
            f"The standardization_std of “{name}” is not positive; describe it with a model card (--card)."
        )
    normalisation = Normalisation(
        tuple(1 / (255 * value) for value in deviation),
        tuple(-m / value for m, value in zip(mean, deviation)),
    )
    resolution = _number(_value(metadata, "resolution"))
    tile = _number(_value(metadata, "tile_size")) or _number(_value(metadata, "tiles_size")) or 0
    threshold = _number(_value(metadata, "seg_thresh"))
    names = ["red", "green", "blue"]
    maps = [_output(metadata, facts.outputs.index(tensor), tensor, threshold) for tensor in class_outputs(facts)]
    return ModelCard(
        name=slug(name),
        title=name,
        description="Read from the metadata that the plugin Deepness uses.",
        task="segmentation",
        bands=[Band(str(number), names[number - 1] if bands == 3 else "") for number in range(1, bands + 1)],
        classes=maps[0].classes,
        normalisation=normalisation,
        activation=maps[0].activation,
        thresholds=maps[0].thresholds,
        unit="dn",
        # A mean above 1 (of values divided by 255) was measured on images of more than 8 bits.
        value_range=(0.0, 255.0) if max(mean) <= 1 else None,
        output_name=maps[0].name,
        gsd=resolution / 100 if resolution is not None else None,
        tile=int(tile) if tile <= LARGEST_SIDE else 0,
        unsupported=unsupported,
        further_outputs=maps[1:],
    )


def _output(metadata: Mapping[str, str], index: int, tensor: TensorFacts, threshold: float | None) -> FurtherOutput:
    """What one of the outputs gives: scores of classes, or one score, of what is not background."""
    names = _names(metadata, index)
    if tensor.holds_whole_numbers:
        return FurtherOutput(tensor.name, _classes(names, max(names, default=-1) + 1), shape=tensor.shape)
    channels = tensor.shape[1] if len(tensor.shape) == 4 else 1
    if channels <= 0:
        # What the graph leaves open, the names say.
        channels = max(names, default=0) + 1
    binary = channels == 1
    classes = _classes(names, 2 if binary else channels)
    return FurtherOutput(
        tensor.name,
        classes,
        # Deepness compares the one score of two classes with its threshold as it is.
        "sigmoid" if binary else "",
        (threshold,) if threshold is not None else (),
        tensor.shape,
    )


def _numbers(name: str, value: Any, count: int, default: float) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        return [default] * count
    numbers = [_number(number, -1e9) for number in value]
    if None in numbers:
        raise ModelError(
            f"The standardisation of “{name}” is not made of numbers; describe it with a model card (--card)."
        )
    return [number for number in numbers if number is not None]


def _names(metadata: Mapping[str, str], index: int) -> dict[int, str]:
    """Names by class number, of one of the outputs."""
    names = _value(metadata, "class_names") or _value(metadata, "names") or {}
    if isinstance(names, list):
        # Of a network with several outputs there is one table for each.
        several = bool(names) and all(isinstance(entry, dict) for entry in names)
        if several:
            names = names[index] if index < len(names) else {}
        else:
            names = dict(enumerate(names))
    if not isinstance(names, dict):
        names = {}
    return {int(key): str(value) for key, value in names.items() if re.fullmatch("[0-9]{1,4}", str(key))}


def _classes(named: Mapping[int, str], count: int) -> list[ModelClass]:
    colors = distinct_colors(count)
    if count == 2 and set(named) == {0}:
        # One name for one score: that of what is found, and the rest is background.
        return [ModelClass(0, "background", "#d9d9d9"), ModelClass(1, named[0], colors[0])]
    return [ModelClass(value, named.get(value, f"class {value}"), colors[value]) for value in range(count)]
