"""From a trained network to a model: ONNX with its card, checked against torch, and what it was trained with."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from .. import __version__
from ..errors import OutputError, ThematicaError
from ..models.card import ModelCard, ModelClass, Normalisation, slug
from .card_template import keep_words
from .dataset.description import TEST, TRAIN, VALIDATION, Description
from .dataset.read import TrainingSet
from .dense import NoDenseFormError, to_dense
from .events import FILE as EVENTS
from .export import OPSET, save_model
from .figures import curves_figure, result_figures, save_figures
from .loader import Normaliser
from .loop import Trained
from .metrics import Tally
from .networks import network_kind
from .recipe import Recipe
from .schedules import learning_rate

#: Scores of ONNX Runtime and torch may differ by so much.
TOLERANCE = 1e-4
#: Names in the run's folder.
MODEL, WINDOW_MODEL, TRAINING, FIGURES = "model.onnx", "window.onnx", "training.json", "figures"
PART_WORDS = {TRAIN: "training part", VALIDATION: "validation part", TEST: "test part"}
_STAGING = "delivery.part"
_BATCH = 256
_TASKS = {"pixels": "pixel", "windows": "window", "chips": "segmentation", "patches": "patch"}


class WrongExportError(ThematicaError):
    """The exported network does not give what the trained one gives."""

    code = "wrong-export"


def to_onnx(network: nn.Module, shape: tuple[int, ...], maps: bool = False) -> onnx.ModelProto:
    """The network as (N, …) → (N, K, …) with any number of samples.  Batch normalisation is folded into convolutions.

    Args:
        network: in evaluation mode.
        shape: of one sample.
        maps: it gives scores for every pixel, and takes any rows and columns.
    """
    free = {0: "N", 2: "H", 3: "W"} if maps else {0: "N"}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # The newer exporter needs onnxscript and gains nothing for these networks.
        warnings.simplefilter("ignore", DeprecationWarning)
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network,
            (torch.zeros(1, *shape),),
            path,
            input_names=["samples"],
            output_names=["scores"],
            dynamic_axes={"samples": free, "scores": free},
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
        return onnx.load(path)


def check_export(model: onnx.ModelProto, network: nn.Module, samples: np.ndarray) -> float:
    """The largest difference between the scores of ONNX Runtime and torch.

    Args:
        model: the exported network.
        network: the trained one.
        samples: held-out ones, normalised.

    Raises:
        WrongExportError: they differ by more than :data:`TOLERANCE`.
    """
    session = _session(model)
    exported = session.run(None, {session.get_inputs()[0].name: samples})[0]
    with torch.no_grad():
        trained = network(torch.from_numpy(samples)).numpy()
    difference = float(np.abs(exported - trained).max())
    if not difference <= TOLERANCE:
        raise WrongExportError(
            f"The exported network's scores differ from the trained one's by {difference:.2g}: it was not installed; "
            "please report it with the recipe."
        )
    return difference


def run_onnx(model: onnx.ModelProto, data: TrainingSet, part: str) -> Tally:
    """Counts of a part of a training set, as ONNX Runtime classifies it: what the card's figures are made of."""
    told = data.description
    session = _session(model)
    name, normalise = session.get_inputs()[0].name, Normaliser.of(told)
    tally = Tally([entry.label.name for entry in told.classes], told.task == "multi-label", told.ignore_index)
    for batch in data.batches(part, _BATCH, shuffle=False):
        tally.add(session.run(None, {name: normalise(batch.samples)})[0], np.asarray(batch.labels))
    return tally


def make_card(
    told: Description,
    recipe: Recipe,
    name: str,
    figures: dict[str, float],
    part: str,
    normaliser: Normaliser,
    refit: bool = False,
    template: ModelCard | None = None,
) -> ModelCard:
    """The card of a trained network, all but what :func:`.export.save_model` reads off the graph.

    Args:
        told: of the training set.
        recipe: with which it was trained.
        name: for the analyst.
        figures: of the part that is named.
        part: that was measured.
        normaliser: of the training.
        refit: the validation part was trained on in the end.
        template: a card whose words it keeps, see :mod:`.card_template`.
    """
    counts = {part: told.samples(part) for part in told.shards}
    learned = counts.get(TRAIN, 0) + (counts.get(VALIDATION, 0) if refit else 0)
    in_the_end = " and in the end to train, too" if refit else ""
    split = told.split
    what = {"pixels": "pixels", "windows": "windows", "chips": "image chips", "patches": "patches"}[told.kind]
    optimistic = (
        f" The figures are optimistic: {split.get('why', 'the parts are neighbours').rstrip('.')}."
        if split.get("optimistic")
        else ""
    )
    task = "patch-multilabel" if told.task == "multi-label" else _TASKS[told.kind]
    units = {band.band.unit for band in told.bands}
    scaled = any((band.scale, band.offset) != (1.0, 0.0) for band in told.bands)
    unit = units.pop() if len(units) == 1 else ""
    if unit == "dn" and scaled:
        # The engine takes numbers of a model of digital numbers as they are stored; this one has seen others.
        unit = ""
    low, high = min(told.statistics.p01), max(told.statistics.p99)
    if unit == "dn" and told.dtype == "uint8":
        # Pictures are stretched until their numbers fill the bytes.
        low, high = 0.0, 255.0
    card = ModelCard(
        name=slug(name),
        title=name,
        description=f"{network_kind(recipe.network).title}, trained with Thematica.",
        task=task,
        bands=[band.band for band in told.bands],
        classes=[ModelClass(entry.label.code, entry.label.name, entry.label.color) for entry in told.classes],
        normalisation=Normalisation(tuple(1 / normaliser.std), tuple(-normaliser.mean / normaliser.std)),
        normalisation_steps=[
            {"type": "z-score", "mean": float(mean), "stddev": float(std)}
            for mean, std in zip(normaliser.mean, normaliser.std, strict=True)
        ],
        activation="logits",
        unit=unit,
        value_range=(low, high) if low < high else None,
        gsd=told.gsd,
        # Of others the engine finds it in the graph.
        receptive_field={"pixels": 1, "windows": told.shape[-1]}.get(told.kind, 0),
        tile=told.shape[-1] if len(told.shape) == 3 else 0,
        trained_on=f"{learned} {what} of {_scenes(told)}",
        split=f"{split.get('method', 'unknown')}, seed {split.get('seed')}: {counts.get(TRAIN, 0)} to train, "
        f"{counts.get(VALIDATION, 0)} to choose the best epoch{in_the_end}, {counts.get(TEST, 0)} to test. "
        f"The metrics are of the {part} part.{optimistic}",
        metrics=figures,
        sources=[recipe.source] if recipe.source else [],
        architecture=f"{recipe.network} {json.dumps(recipe.network_options)}",
        created=_now(),
    )
    return card if template is None else keep_words(card, template)


def _scenes(told: Description) -> str:
    names = [str(scene.get("name", "")) for scene in told.scenes if scene.get("name")]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "a training set"


def deliver(
    trained: Trained, data: TrainingSet, recipe: Recipe, folder: Path, name: str, template: ModelCard | None = None
) -> dict[str, Any]:
    """Write the model into the run's folder: all of it, or nothing.

    A network of windows is written in two forms, if both give the same scores: ``model.onnx`` runs over whole tiles,
    ``window.onnx`` takes single windows.

    Args:
        trained: the network.
        data: what it was trained on.
        recipe: with which.
        folder: of the run.
        name: of the model, for the analyst.
        template: a card whose words the model keeps, see :mod:`.card_template`.

    Returns:
        ``files`` and ``report``, as a ``result`` event has them.

    Raises:
        WrongExportError: the exported network gives something else; nothing is written.
        OutputError: the folder cannot be written.
    """
    told = data.description
    part = TEST if told.samples(TEST) else VALIDATION
    model = to_onnx(trained.network, told.shape, told.task == "segmentation")
    normaliser = Normaliser.of(told)
    held_out = normaliser(next(iter(data.batches(part, _BATCH, shuffle=False))).samples)
    difference = check_export(model, trained.network, held_out)
    forms = Forms.of(model, told, held_out)
    tally = run_onnx(model, data, part)
    figures = tally.figures()
    card = make_card(told, recipe, name, figures, part, normaliser, trained.refit > 0, template)
    history = [asdict(epoch) for epoch in trained.history]
    report = make_report(told, recipe, part, tally, difference, history, trained.best_epoch)
    report["refit"] = {"epochs": trained.refit} if trained.refit else None
    report["processes"] = trained.loader.processes.size
    report["parameters"] = sum(parameter.numel() for parameter in trained.network.parameters())
    report.update(forms.told())

    def save(staging: Path) -> None:
        forms.save(card, told, staging)

    return write_run(save, report, tally, folder, name, _rates(trained, recipe))


def write_run(
    save: Callable[[Path], None],
    report: dict[str, Any],
    tally: Tally,
    folder: Path,
    name: str,
    rates: Sequence[float] = (),
) -> dict[str, Any]:
    """Write model, report and figures into the folder of a run: all of it, or nothing.

    Args:
        save: writes the model and its card into a folder.
        report: see :func:`make_report`.
        tally: counts of the part that the report names.
        folder: of the run.
        name: of the model, for the analyst.
        rates: learning rate in the middle of each epoch.

    Returns:
        ``files`` and ``report``, as a ``result`` event has them.

    Raises:
        OutputError: the folder cannot be written.
    """
    staging = folder / _STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        save(staging)
        text = json.dumps(report, ensure_ascii=False, indent=1)
        (staging / TRAINING).write_text(text + "\n", encoding="utf-8")
        pictures = result_figures(tally, f"{name}, {PART_WORDS[report['part']]}")
        monitor = report["recipe"]["monitor"]
        if len(report["history"]) > 1 or rates:
            pictures["curves.png"] = curves_figure(report["history"], monitor, rates, report["best_epoch"], name)
        save_figures(pictures, staging / FIGURES)
        _install(staging, folder)
    except OSError as error:
        raise OutputError(
            f"The model could not be written to “{folder}”: look whether the disk is full or read-only. Nothing is "
            "lost: go on with --resume.",
            repr(error),
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    path = folder / MODEL
    files = {
        "model": str(path),
        "card": str(path.with_suffix(".json")),
        "training": str(folder / TRAINING),
        "events": str(folder / EVENTS),
        "figures": str(folder / FIGURES),
    }
    return {"files": files, "report": report}


def _install(staging: Path, folder: Path) -> None:
    """Move what is complete to its final names; the model itself comes last, so that it is there only with the rest."""
    (folder / FIGURES).mkdir(exist_ok=True)
    for path in sorted((staging / FIGURES).iterdir()):
        os.replace(path, folder / FIGURES / path.name)
    kept = {path.name for path in staging.iterdir() if path.is_file()}
    for stale in {WINDOW_MODEL, str(Path(WINDOW_MODEL).with_suffix(".json"))} - kept:
        (folder / stale).unlink(missing_ok=True)
    for file in sorted(kept, key=lambda file: (file == MODEL, file)):
        os.replace(staging / file, folder / file)


@dataclass(frozen=True)
class Forms:
    """The forms in which a model is written.

    Args:
        model: as it was trained.
        dense: of a network of windows, the form that runs over whole tiles with the same scores, if there is one.
        why_not: why there is none; None where there can be none.
    """

    model: onnx.ModelProto
    dense: onnx.ModelProto | None = None
    why_not: str | None = None

    @classmethod
    def of(cls, model: onnx.ModelProto, told: Description, samples: np.ndarray) -> Forms:
        """All that there are of a model; the dense one gives the same scores on held-out samples, normalised."""
        if told.kind != "windows":
            return cls(model)
        try:
            dense = to_dense(model)
            check_dense(model, dense, samples)
        except NoDenseFormError as error:
            return cls(model, None, str(error))
        return cls(model, dense, "")

    def told(self) -> dict[str, Any]:
        """What the report says of it."""
        if self.why_not is None:
            return {}
        return {"fully_convolutional": {"done": self.dense is not None, "why_not": self.why_not}}

    def save(self, card: ModelCard, told: Description, folder: Path) -> None:
        """Write them with their cards."""
        if self.dense is None:
            save_model(self.model, card, folder / MODEL)
            return
        save_model(self.model, replace(card), folder / WINDOW_MODEL)
        save_model(self.dense, _dense_card(card, told), folder / MODEL)


def check_dense(model: onnx.ModelProto, dense: onnx.ModelProto, samples: np.ndarray) -> float:
    """The largest difference between the scores of the two forms, on a tile put together of samples.

    Args:
        model: takes windows (N, C, p, p).
        dense: takes tiles.
        samples: windows, normalised.

    Raises:
        NoDenseFormError: they differ by more than :data:`TOLERANCE`.
    """
    side = samples.shape[-1]
    tile = np.concatenate([samples[number % len(samples)] for number in range(4)], axis=2)
    tile = np.concatenate([tile, tile[:, :, ::-1]], axis=1)
    lost = 2 * (side // 2)
    views = np.lib.stride_tricks.sliding_window_view(tile, (side, side), axis=(1, 2))
    windows = np.ascontiguousarray(views.transpose(1, 2, 0, 3, 4)[: tile.shape[1] - lost, : tile.shape[2] - lost])
    single, whole = _session(model), _session(dense)
    one = single.run(None, {"samples": windows.reshape(-1, *samples.shape[1:])})[0]
    other = np.moveaxis(whole.run(None, {"samples": tile[None]})[0][0], 0, -1)
    difference = float(np.abs(one.reshape(other.shape) - other).max())
    if not difference <= TOLERANCE:
        raise NoDenseFormError(f"Its scores on whole tiles differ by {difference:.2g}.")
    return difference


def _dense_card(card: ModelCard, told: Description) -> ModelCard:
    """The card of the form that runs over tiles: the engine takes it as a segmentation network, which it is."""
    side = told.shape[-1]
    return replace(
        card,
        task="segmentation",
        receptive_field=2 * (side // 2) + 1,
        description=f"{card.description} It sees {side} × {side} pixels around each and runs over whole tiles.",
    )


def _rates(trained: Trained, recipe: Recipe) -> list[float]:
    """The learning rate in the middle of each epoch."""
    steps, processes = trained.loader.steps(TRAIN), trained.loader.processes.size
    return [
        learning_rate(recipe, epoch * steps + steps // 2, steps * recipe.epochs, processes)
        for epoch in range(len(trained.history))
    ]


def make_report(
    told: Description,
    recipe: Recipe,
    part: str,
    tally: Tally,
    difference: float,
    history: list[dict[str, Any]],
    best_epoch: int,
) -> dict[str, Any]:
    """What ``training.json`` says.

    Args:
        told: of the training set.
        recipe: with which it was trained.
        part: whose figures these are.
        tally: its counts.
        difference: largest, between the scores of ONNX Runtime and of what was trained.
        history: one :class:`.loop.Epoch` after the other, as JSON values.
        best_epoch: whose weights are the result, from 0.
    """
    report = {
        "network": recipe.network,
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "processes": 1,
        "dataset": {
            "fingerprint": told.fingerprint,
            "split": told.split,
            "samples": {name: told.samples(name) for name in told.shards},
            "scenes": _scenes(told),
        },
        "part": part,
        "metrics": tally.figures(),
        "classes": tally.names,
        "best_epoch": best_epoch,
        "history": history,
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "onnx_difference": difference,
        "software": _versions(),
        "created": _now(),
    }
    if not tally.several:
        report["confusion"] = tally.confusion.tolist()
    return report


def _versions() -> dict[str, str]:
    found = {"thematica": __version__, "python": platform.python_version()}
    for package in ("torch", "scikit-learn", "onnx", "onnxruntime", "numpy", "horovod"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
