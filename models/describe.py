"""Completing a model's card by hand: what a form or the shell's options say replaces what the file says."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import ModelError
from .bands import Band
from .card import ACTIVATIONS, TASKS, ModelCard, ModelClass, Normalisation, distinct_colors

# Axes of the input that each task can have.
_INPUT_AXES = {
    "pixel": (2, 4), "window": (4, 5), "segmentation": (4,), "patch": (4,), "patch-multilabel": (4,), "change": (4,),
}  # fmt: skip

# Scaling is done in single precision, which ends at 1e38.
_FAR = 1e15


def describe(
    card: ModelCard,
    *,
    title: str | None = None,
    task: str | None = None,
    bands: Sequence[Band] | None = None,
    classes: Sequence[ModelClass] | None = None,
    divide: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str | None = None,
    threshold: float | None = None,
    gsd: float | None = None,
    tile: int | None = None,
    nodata: float | None = None,
    unit: str | None = None,
) -> ModelCard:
    """A copy of a card with what is given here in place of what it says; None leaves it as it is.

    Args:
        card: as :func:`.reading.read_model_card` gives it, with the shapes of the file.
        title: what lists show.
        task: one of :data:`.card.TASKS`.
        bands: as many as the network takes.
        classes: as many as it gives scores; two where it gives one.
        divide: values are divided by this first.  It, ``mean`` and ``std`` say together what is done to values: of
            what is not given here, none is left of what the card says, and 1, 0 and 1 count.
        mean: it is subtracted then, one per band or one for all.
        std: the rest is divided by it, likewise.
        activation: what the output holds.
        threshold: a best score under it means "unclassified"; of one score, where the second class begins.
        gsd: ground sampling distance in metres.
        tile: side of the tiles, windows or patches that it was trained with.
        nodata: value of missing samples.
        unit: of the values; ``dn`` for numbers as stored.

    Raises:
        ModelError: a value that cannot be, or a number of bands or classes that is not the network's.
    """
    for name, numbers in (
        ("divisor", [divide]),
        ("mean", mean),
        ("standard deviation", std),
        ("nodata value", [nodata]),
    ):
        if any(number is not None and not math.isfinite(number) for number in numbers or ()):
            raise ModelError(f"The {name} must be a finite number.")
    changes: dict[str, Any] = {"further_outputs": list(card.further_outputs)}
    if title is not None:
        changes["title"] = title.strip() or card.name
    if task is not None:
        if task not in TASKS:
            raise ModelError(f"There is no task “{task}”; use one of {', '.join(TASKS)}.")
        changes["task"] = task
        if not card.input_shape or len(card.input_shape) in _INPUT_AXES[task]:
            changes["unsupported"] = ""
    if bands is not None:
        _check_count("bands", len(bands), len(card.bands))
        names = [band.name for band in bands]
        if any(not name.strip() for name in names):
            raise ModelError("A band has no name.")
        if len(set(names)) != len(names):
            raise ModelError("Two bands have the same name; give each one of its own.")
        changes["bands"] = list(bands)
    if classes is not None:
        _check_class_count(len(classes), card)
        check_classes(classes)
        changes["classes"] = list(classes)
    if divide is not None or mean is not None or std is not None:
        changes["normalisation"] = scaling(len(card.bands), 1.0 if divide is None else divide, mean, std)
        changes["normalisation_steps"] = []
        # The old range was that of other values.
        changes["value_range"] = None
    if activation is not None:
        if activation not in ACTIVATIONS:
            raise ModelError(f"There is no activation “{activation}”; use one of {', '.join(ACTIVATIONS)}.")
        changes["activation"] = activation
    if threshold is not None:
        if not 0 <= threshold <= 1:
            raise ModelError(f"A threshold lies between 0 and 1, not at {threshold:g}.")
        changes["thresholds"] = (threshold,) if threshold else ()
    for name, value in (("gsd", gsd), ("tile", tile)):
        if value is not None:
            if not 0 < value < 1e7:
                raise ModelError(
                    f"{'The pixel size' if name == 'gsd' else 'The tile'} must be positive, not {value:g}."
                )
            changes[name] = value
    if gsd is not None:
        changes["gsd_range"] = None
    if nodata is not None:
        if math.isinf(nodata):
            raise ModelError("The value of missing samples must be a finite number, or nan.")
        changes["nodata"] = nodata
    if unit is not None:
        changes["unit"] = unit
    return replace(card, **changes)


def scaling(
    bands: int, divide: float = 1.0, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> Normalisation:
    """``(stored / divide - mean) / std`` as gain and bias.

    Raises:
        ModelError: a divisor or deviation that is not positive, or another number of them than of bands.
    """
    means = [0.0] if mean is None else list(mean)
    deviations = [1.0] if std is None else list(std)
    for name, values in (("means", means), ("standard deviations", deviations)):
        if len(values) not in (1, bands):
            raise ModelError(f"There are {len(values)} {name}, but {bands} bands: give one, or one for each band.")
    if not all(abs(value) < _FAR for value in (divide, *means, *deviations)):
        raise ModelError("The divisor, the means and the standard deviations must be finite numbers.")
    if not all(value > 1 / _FAR for value in (divide, *deviations)):
        raise ModelError("The divisor and the standard deviations must be positive.")
    return Normalisation(
        tuple(1 / (divide * value) for value in _spread(deviations, bands)),
        tuple(-m / value for m, value in zip(_spread(means, bands), _spread(deviations, bands))),
    )


def parse_bands(text: str, count: int) -> list[Band]:
    """Bands from ``B2,B3,B4`` or ``red,green,blue``; a common name may follow a colon: ``1:red``.

    Raises:
        ModelError: another number of them than the network takes.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    _check_count("bands", len(parts), count)
    bands = []
    for part in parts:
        name, _, common = part.partition(":")
        bands.append(Band(name.strip(), common.strip() or (name.strip().lower() if _is_colour(name) else "")))
    return bands


def parse_classes(text: str, card: ModelCard) -> list[ModelClass]:
    """Classes from ``water,forest,1=urban,2=road#ff0000``: names in the order of the outputs; values and colours are
    optional.

    Raises:
        ModelError: another number of them than the network gives, or a value twice.
    """
    parts = [" ".join(part.split()) for part in text.split(",") if part.strip()]
    _check_class_count(len(parts), card)
    olds = list(card.classes) or [ModelClass(n, "", color) for n, color in enumerate(distinct_colors(len(parts)))]
    classes = []
    for part, old in zip(parts, olds):
        found = re.fullmatch(r"(?:([0-9]+)\s*=)?\s*(.*?)\s*(#[0-9A-Fa-f]{6})?", part, re.DOTALL)
        assert found is not None
        value = int(found.group(1)[:9]) if found.group(1) else old.value
        classes.append(ModelClass(value, found.group(2), (found.group(3) or old.color).lower()))
    check_classes(classes)
    return classes


_COLOURS = ("coastal", "blue", "green", "red", "nir", "swir16", "swir22", "pan", "yellow", "cirrus", "lwir")


def _is_colour(name: str) -> bool:
    return name.strip().lower() in _COLOURS


def _spread(values: Sequence[float], count: int) -> list[float]:
    return list(values) * count if len(values) == 1 else list(values)


def _check_count(what: str, given: int, wanted: int) -> None:
    if given != wanted:
        raise ModelError(f"{given} {what} are given, but the network has {wanted}: give that many, in its order.")


def _check_class_count(given: int, card: ModelCard) -> None:
    """Of a network that gives class numbers nobody but its maker knows how many classes there are."""
    _check_count("classes", given, len(card.classes) or max(given, 1))


def check_classes(classes: Sequence[ModelClass]) -> None:
    """Refuse classes that cannot stand in a map.

    Raises:
        ModelError: a value that is taken or out of range, a class without a name, or a colour that is none.
    """
    values = [entry.value for entry in classes]
    if len(set(values)) != len(values):
        raise ModelError("Two classes have the same value; give each one of its own.")
    if any(not 0 <= value <= 65533 for value in values):
        raise ModelError("Class values must lie between 0 and 65533.")
    if any(not entry.name.strip() for entry in classes):
        raise ModelError("A class has no name.")
    for entry in classes:
        if not re.fullmatch("#[0-9A-Fa-f]{6}", entry.color):
            raise ModelError(f"“{entry.color}” is no colour; write it as #rrggbb.")
