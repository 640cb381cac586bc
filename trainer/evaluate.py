"""How good a model is on a training set: any ONNX model whose bands the set has, wherever it was trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ..errors import InputError, MisfitError, ModelError
from ..models.card import ModelCard
from ..models.fit import Fit, RasterFacts, check_fit
from ..models.reading import read_model_card
from ..progress import Monitor
from .dataset.description import PARTS, TRAIN, Description
from .dataset.read import TrainingSet
from .metrics import Tally

_BATCH_BYTES = 32 << 20
_MOST = 4096
# What a model does → kinds of sets that it can be tried on.
_KINDS = {
    "pixel": ("pixels", "windows", "chips"),
    "window": ("windows",),
    "segmentation": ("chips", "windows"),
    "patch": ("patches",),
    "patch-multilabel": ("patches",),
}

Run = Callable[[np.ndarray], np.ndarray]


@dataclass
class Evaluation:
    """What came of it.

    Args:
        tally: counts; its names are the set's classes, and behind them those that only the model has.
        samples: how many were classified.
        bands: name of the set's band for each of the model's.
        by: what the classes were matched by, ``name`` or ``code``.
        warnings: sentences for the analyst.
    """

    tally: Tally
    samples: int
    bands: list[str]
    by: str
    warnings: list[str] = field(default_factory=list)


def evaluate(path: Path, data: TrainingSet, part: str, monitor: Monitor) -> Evaluation:
    """Classify a part of a training set with a model, and count.

    Args:
        path: of the model, an ONNX file.
        data: the training set.
        part: ``train``, ``validation`` or ``test``.
        monitor: hears of the progress.

    Raises:
        InputError: the set has no such part, or its classes are not the model's.
        MisfitError: bands or values are not what the model wants.
        ModelError: it is no model that can be tried on such a set.
        Cancelled: it was asked to end.
    """
    told = data.description
    _check_part(told, part)
    card = read_model_card(path)
    _check_task(card, told)
    fit = fit_to_set(card, told, str(data.folder))
    by, places, extra = match_classes(card, told)
    classes = len(told.classes) + len(extra)
    prepare, run = _prepare(card, fit), _session(path, card)
    tally = Tally([entry.label.name for entry in told.classes] + extra, told.task == "multi-label", told.ignore_index)
    total, done = told.samples(part), 0
    each = int(np.prod(told.shape)) * 4
    for batch in data.batches(part, max(min(_BATCH_BYTES // each, _MOST), 1), shuffle=False):
        monitor.check()
        scores = _scores(card, told, run, prepare(np.asarray(batch.samples)))
        tally.add(_in_order(scores, places, classes), _labels(batch.labels, len(extra), told))
        done += len(batch)
        monitor.progress("Classifying", done / total)
    warnings = list(fit.warnings)
    if part == TRAIN:
        warnings.append("These are the samples of the training part: a model that learned from them remembers them.")
    if card.thresholds:
        warnings.append("The model's thresholds were not applied: the class with the best score counts.")
    names = {entry.label.name for entry in told.classes}
    missing = sorted(names - {told.classes[place].label.name for place in places if place < len(told.classes)})
    if missing:
        warnings.append(f"The model does not know {_listed(missing)}: samples of it count as wrong.")
    return Evaluation(tally, done, [told.bands[match.band - 1].band.name for match in fit.matches], by, warnings)


def _check_part(told: Description, part: str) -> None:
    if part not in PARTS:
        raise InputError(f"A training set has no part “{part}”; choose train, validation or test (--split).")
    if not told.samples(part):
        there = [name for name in PARTS if told.samples(name)]
        raise InputError(f"The training set has no {part} part; choose {' or '.join(there)} (--split).")


def _check_task(card: ModelCard, told: Description) -> None:
    name = card.title or card.name
    if card.unsupported:
        raise ModelError(f"“{name}” is {card.unsupported}; a network that gives class scores is needed.")
    if told.kind not in _KINDS.get(card.task, ()):
        wanted = " or ".join(_KINDS.get(card.task, ())) or "none that there is"
        raise ModelError(
            f"“{name}” cannot be tried on {told.kind}, which this training set holds: it wants a set of {wanted}."
        )
    if (card.task == "patch-multilabel") != (told.task == "multi-label"):
        what = "several labels" if card.task == "patch-multilabel" else "one label"
        raise ModelError(f"“{name}” gives {what} per patch, and the training set has it otherwise: choose another set.")


def fit_to_set(card: ModelCard, told: Description, name: str) -> Fit:
    """Which of the set's bands feed the model, and how their values become those that it wants.

    Raises:
        MisfitError: a band is not there, or values lie elsewhere.
    """
    sample = {
        number: tuple(sorted((value - band.offset) / band.scale for value in ends))
        for number, (band, *ends) in enumerate(
            zip(told.bands, told.statistics.p01, told.statistics.p99, strict=True), start=1
        )
        if band.scale
    }
    facts = RasterFacts(
        path=name,
        bands=[entry.band for entry in told.bands],
        data_type=told.dtype,
        scales=[entry.scale for entry in told.bands],
        offsets=[entry.offset for entry in told.bands],
        gsd=told.gsd,
        sample={number: (ends[0], ends[1]) for number, ends in sample.items()},
    )
    try:
        return check_fit(card, [facts])
    except MisfitError as error:
        # Nothing can be assigned by hand here: what the sentence about rasters advises does not help.
        said = error.message.partition(": set scale")[0].partition(": assign")[0].partition(": choose a raster")[0]
        said = said.replace("the raster", "the training set").replace("The raster", "The training set")
        raise MisfitError(
            f"{said.rstrip('.')}: choose another model or another training set.", error.details
        ) from error


def match_classes(card: ModelCard, told: Description) -> tuple[str, list[int], list[str]]:
    """Where the model's classes stand among the set's.

    Returns:
        What they were matched by; for each class of the model its place in the set's classes, or behind them; and the
        names of those behind.

    Raises:
        InputError: they are other classes.
    """
    mine = [_plain(entry.label.name) for entry in told.classes]
    theirs = [_plain(entry.name) for entry in card.classes]
    common = set(mine) & set(theirs)
    by = "name"
    if 2 * len(common) < len(mine):
        codes = {entry.label.code for entry in told.classes}
        if not codes <= {entry.value for entry in card.classes} or common:
            raise InputError(
                f"The model's classes ({_listed([entry.name for entry in card.classes])}) are not those of the "
                f"training set ({_listed([entry.label.name for entry in told.classes])}): give them the same names, or "
                "choose another model."
            )
        by = "code"
    keys = mine if by == "name" else [str(entry.label.code) for entry in told.classes]
    wanted = theirs if by == "name" else [str(entry.value) for entry in card.classes]
    places: list[int] = []
    extra: list[str] = []
    for key, entry in zip(wanted, card.classes, strict=True):
        if key in keys:
            places.append(keys.index(key))
            continue
        places.append(len(keys) + len(extra))
        extra.append(entry.name)
    return by, places, extra


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


# -- from stored samples to scores -----------------------------------------------------------------------


def _prepare(card: ModelCard, fit: Fit) -> Run:
    """Stored samples of the set (N, C, …) → the network's input, as the engine does it in its graph."""
    bands = [match.band - 1 for match in fit.matches]
    count = len(bands)

    def per_band(values: tuple[float | None, ...], absent: float) -> np.ndarray:
        numbers = [absent if value is None else value for value in values]
        return np.array(numbers * count if len(numbers) == 1 else numbers, np.float64)

    normalisation = card.normalisation
    gain, bias = per_band(normalisation.gain, 1), per_band(normalisation.bias, 0)
    low, high = per_band(normalisation.minimum, -np.inf), per_band(normalisation.maximum, np.inf)
    scale, offset = np.array(fit.scale), np.array(fit.offset)
    dtype = np.dtype(card.data_type)

    def prepare(stored: np.ndarray) -> np.ndarray:
        shape = (1, -1) + (1,) * (stored.ndim - 2)
        values = stored[:, bands].astype(np.float64)
        values = np.clip(
            values * scale.reshape(shape) + offset.reshape(shape), low.reshape(shape), high.reshape(shape)
        ) * gain.reshape(shape) + bias.reshape(shape)
        if dtype.kind == "u":
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return values.astype(dtype)

    return prepare


def _session(path: Path, card: ModelCard) -> Run:
    """Runs the network; an output of single scores gets a class axis."""
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"Only ONNX models can be evaluated, and “{path.name}” is none: export it to ONNX.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises bare errors of its C++ side
        raise ModelError(f"The network “{card.name}” cannot be loaded by ONNX Runtime.", str(error)[:2000]) from error
    given, wanted = session.get_inputs()[0], card.output_name or session.get_outputs()[0].name
    batch = given.shape[0] if isinstance(given.shape[0], int) else 0

    def run(samples: np.ndarray) -> np.ndarray:
        if len(given.shape) == 5:
            samples = samples[:, None]
        parts = []
        for start in range(0, len(samples), batch or len(samples)):
            piece = samples[start : start + (batch or len(samples))]
            short = batch - len(piece)
            filled = np.concatenate([piece, np.repeat(piece[-1:], short, axis=0)]) if short > 0 else piece
            try:
                result = session.run([wanted], {given.name: np.ascontiguousarray(filled)})[0]
            except Exception as error:
                raise ModelError(
                    f"The network “{card.name}” cannot be run on samples of shape {tuple(filled.shape[1:])}: the "
                    "training set's samples have another size than it wants.",
                    str(error)[:2000],
                ) from error
            parts.append(np.asarray(result)[: len(piece)])
        return np.concatenate(parts)

    return run


def _scores(card: ModelCard, told: Description, run: Run, samples: np.ndarray) -> np.ndarray:
    """Logits (N, K), or (N, K, rows, columns) of chips."""
    if card.task == "pixel" and samples.ndim == 4:
        if told.kind == "windows":
            samples = samples[:, :, samples.shape[2] // 2, samples.shape[3] // 2]
        elif len(card.input_shape) == 2:
            count, _, rows, columns = samples.shape
            flat = _logits(card, run(np.moveaxis(samples, 1, -1).reshape(-1, samples.shape[1])))
            return np.moveaxis(flat.reshape(count, rows, columns, -1), -1, 1)
    if samples.ndim == 2 and len(card.input_shape) == 4:
        samples = samples[:, :, None, None]
    if card.task == "window":
        samples = _middle(card, samples)
    if card.task == "segmentation" and told.kind == "windows" and samples.shape[-1] % 2 == 0:
        # An odd window has a pixel in its middle; what is added lies beyond what the network sees of it, or is a guess.
        samples = np.pad(samples, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge")
    result = _logits(card, run(samples))
    if result.ndim == 4 and told.kind != "chips":
        return result[:, :, result.shape[2] // 2, result.shape[3] // 2]
    if told.kind == "chips" and result.shape[-2:] != samples.shape[-2:]:
        raise ModelError(
            f"The network “{card.name}” gives scores for fewer pixels than it is given, which cannot be compared with "
            "chips here: make a set of windows for it."
        )
    return result


def _middle(card: ModelCard, samples: np.ndarray) -> np.ndarray:
    """The window around the same pixel that the model takes, where the set's are larger."""
    side = card.input_shape[-1] if card.input_shape and card.input_shape[-1] > 0 else card.tile
    given = samples.shape[-1]
    if not side or side == given:
        return samples
    if side > given:
        raise ModelError(
            f"“{card.title or card.name}” sees {side} × {side} pixels, and the training set's windows have {given}: "
            f"make the set with --size {side}."
        )
    start = given // 2 - side // 2
    return samples[:, :, start : start + side, start : start + side]


def _logits(card: ModelCard, scores: np.ndarray) -> np.ndarray:
    """Scores as :class:`.metrics.Tally` takes them, whatever the model's last layer gives."""
    classes = len(card.classes)
    if scores.dtype.kind not in "f" or scores.ndim < 2:
        raise ModelError(f"The network “{card.name}” gives class numbers and no scores, which cannot be evaluated.")
    scores = scores.astype(np.float64)
    with np.errstate(divide="ignore"):
        if card.activation == "sigmoid":
            scores = np.log(scores) - np.log1p(-scores)
        elif card.activation == "softmax":
            scores = np.log(np.maximum(scores, 0))
    if scores.shape[1] == 1 and classes == 2:
        # One score that says how much the second class it is.
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    if scores.shape[1] != classes:
        raise ModelError(f"The network “{card.name}” gives {scores.shape[1]} scores for {classes} classes.")
    return scores


def _in_order(scores: np.ndarray, places: list[int], classes: int) -> np.ndarray:
    """Scores of the set's classes; of those that the model does not know nothing speaks for them."""
    result = np.full((len(scores), classes, *scores.shape[2:]), -np.inf)
    result[:, places] = scores
    return result


def _labels(labels: np.ndarray, extra: int, told: Description) -> np.ndarray:
    labels = np.asarray(labels)
    if told.task == "multi-label" and extra:
        return np.pad(labels, ((0, 0), (0, extra)))
    return labels


def report(result: Evaluation, data: TrainingSet, path: Path, part: str) -> dict[str, Any]:
    """The figures as JSON values."""
    told, tally = data.description, result.tally
    content: dict[str, Any] = {
        "model": str(path),
        "dataset": str(data.folder),
        "fingerprint": told.fingerprint,
        "part": part,
        "samples": result.samples,
        "optimistic": bool(told.split.get("optimistic")),
        "matched_by": result.by,
        "bands": result.bands,
        "classes": tally.names,
        "metrics": tally.figures(),
        "warnings": result.warnings,
    }
    if not tally.several:
        content["confusion"] = tally.confusion.tolist()
    return content
