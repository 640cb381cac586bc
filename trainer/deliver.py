"""From a trained network to a model: ONNX with its card, checked against torch, and what it was trained with."""

from __future__ import annotations

import datetime
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from ..errors import ThematicaError
from ..models.card import ModelCard, ModelClass, Normalisation, slug
from .dataset.description import TEST, VALIDATION, Description
from .dataset.read import TrainingSet
from .export import OPSET, save_model
from .loader import Normaliser
from .loop import Trained
from .metrics import Tally
from .networks import network_kind
from .recipe import Recipe

#: Scores of ONNX Runtime and torch may differ by so much.
TOLERANCE = 1e-4
_BATCH = 256
_TASKS = {"pixels": "pixel", "windows": "window", "chips": "segmentation", "patches": "patch"}


class WrongExportError(ThematicaError):
    """The exported network does not give what the trained one gives."""

    code = "wrong-export"


def to_onnx(network: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The network as (N, …) → (N, K, …) with any number of samples; segmentation takes any rows and columns, too.

    Args:
        network: in evaluation mode.
        shape: of one sample.
    """
    sample = torch.zeros(1, *shape)
    with torch.no_grad():
        per_pixel = network(sample).ndim == 4
    free = {0: "N", 2: "rows", 3: "columns"} if per_pixel else {0: "N"}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # The newer exporter needs onnxscript and gains nothing for these networks.
        warnings.simplefilter("ignore", DeprecationWarning)
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network,
            (sample,),
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
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
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
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name, normalise = session.get_inputs()[0].name, Normaliser.of(told)
    tally = Tally([entry.label.name for entry in told.classes], told.task == "multi-label", told.ignore_index)
    for batch in data.batches(part, _BATCH, shuffle=False):
        tally.add(session.run(None, {name: normalise(batch.samples)})[0], np.asarray(batch.labels))
    return tally


def make_card(
    told: Description, recipe: Recipe, name: str, figures: dict[str, float], part: str, normaliser: Normaliser
) -> ModelCard:
    """The card of a trained network, all but what :func:`.export.save_model` reads off the graph."""
    counts = {part: told.samples(part) for part in told.shards}
    split = told.split
    what = {"pixels": "pixels", "windows": "windows", "chips": "image chips", "patches": "patches"}[told.kind]
    optimistic = (
        f" The figures are optimistic: {split.get('why', 'the parts are neighbours')}."
        if split.get("optimistic")
        else ""
    )
    task = "patch-multilabel" if told.task == "multi-label" else _TASKS[told.kind]
    low, high = min(told.statistics.p01), max(told.statistics.p99)
    units = {band.band.unit for band in told.bands}
    return ModelCard(
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
        unit=units.pop() if len(units) == 1 else "",
        value_range=(low, high) if low < high else None,
        gsd=told.gsd,
        tile=told.shape[-1] if len(told.shape) == 3 else 0,
        trained_on=f"{counts.get('train', 0)} {what} of {_scenes(told)}",
        split=f"{split.get('method', 'unknown')}, seed {split.get('seed')}: {counts.get('train', 0)} to train, "
        f"{counts.get(VALIDATION, 0)} to choose the best epoch, {counts.get(TEST, 0)} to test. The metrics are of the "
        f"{part} part.{optimistic}",
        metrics=figures,
        sources=[recipe.source] if recipe.source else [],
        architecture=f"{recipe.network} {json.dumps(recipe.network_options)}",
        created=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _scenes(told: Description) -> str:
    names = [str(scene.get("name", "")) for scene in told.scenes if scene.get("name")]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "a training set"


def deliver(trained: Trained, data: TrainingSet, recipe: Recipe, folder: Path, name: str) -> dict[str, Any]:
    """Write the model into the run's folder.

    Args:
        trained: the network.
        data: what it was trained on.
        recipe: with which.
        folder: of the run.
        name: of the model, for the analyst.

    Returns:
        ``files`` and ``report``, as a ``result`` event has them.

    Raises:
        WrongExportError: the exported network gives something else; nothing is written.
    """
    told = data.description
    part = TEST if told.samples(TEST) else VALIDATION
    model = to_onnx(trained.network, told.shape)
    normaliser = Normaliser.of(told)
    held_out = next(iter(data.batches(part, _BATCH, shuffle=False)))
    difference = check_export(model, trained.network, normaliser(held_out.samples))
    tally = run_onnx(model, data, part)
    figures = tally.figures()
    card = make_card(told, recipe, name, figures, part, normaliser)
    path = folder / "model.onnx"
    card = save_model(model, card, path)
    report = {
        "network": recipe.network,
        "recipe": recipe.to_dict(),
        "parameters": card.parameters,
        "dataset": {"fingerprint": told.fingerprint, "split": told.split},
        "part": part,
        "metrics": figures,
        "confusion": tally.confusion.tolist(),
        "classes": [entry.label.name for entry in told.classes],
        "best_epoch": trained.best_epoch,
        "history": [asdict(epoch) for epoch in trained.history],
        "onnx_difference": difference,
    }
    training = folder / "training.json"
    training.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    files = {"model": str(path), "card": str(path.with_suffix(".json")), "training": str(training)}
    return {"files": files, "report": report}
