"""From BigEarthNet's patches to a layer with several labels for each: built, trained in two processes, classified."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from thematica.models.reading import read_model_card
from thematica.trainer.dataset.corine import legend
from thematica.trainer.dataset.description import PARTS
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.loader import Normaliser
from thematica.trainer.networks import build_network

from ..conftest import needs_horovod
from ..engine.patch_networks import table
from ..engine.workplace import run_here

pytestmark = [pytest.mark.real, needs_horovod]


def test_an_epoch_of_resnet50_in_two_processes_makes_a_layer_with_several_labels_per_patch(real_data, tmp_path):
    patches = real_data("bigearthnet_tiny")
    data, run = tmp_path / "set", tmp_path / "run"
    built = run_here(
        "build-dataset", data, "--folder", patches, "--layout", "bigearthnet", "--nomenclature", 43, "--all-classes"
    )
    assert built.status == 0, built.err

    # A program of its own, as an analyst starts it: horovodrun starts two more.
    trained = subprocess.run(
        [
            str(Path(sys.executable).with_name("thematica")), "train", str(data), "--network", "resnet50", "--epochs",
            "1", "--processes", "2", "--output", str(run), "--set", "batch=2", "--progress", "json",
        ],
        capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stdout + trained.stderr
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert events[0]["processes"] == 2
    assert [event["event"] for event in events if event["event"] in ("epoch", "end")] == ["epoch", "end"]
    # 5 patches to train with: 2 for each process, then 1 for the first.
    assert max(event["steps"] for event in events if event["event"] == "step") == 2

    names = [entry.name for entry in legend(43)]
    card = read_model_card(run / "model.onnx")
    assert card.task == "patch-multilabel"
    assert [entry.name for entry in card.classes] == names
    network = build_network("resnet50", (12, 120, 120), 43, {})
    network.load_state_dict(torch.load(run / "best.pt", weights_only=True)["network"])
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_624_363

    found = directly(network.eval(), run / "model.onnx", TrainingSet(data))
    assert len(found) == 11
    # An epoch teaches little: from this probability on, half of all labels count.
    threshold = round(float(np.median(list(found.values()))), 4)
    several = 0
    for name, probabilities in found.items():
        layer = classified(patches / "S2" / name, run / "model.onnx", tmp_path / f"{name}.gpkg", threshold)
        (label,) = layer["label"]
        columns = [column for column in layer if column.startswith("p_")]
        np.testing.assert_allclose([layer[column][0] for column in columns], probabilities, atol=1e-3)
        sure = np.abs(probabilities - threshold) > 1e-3
        held = set(label.split("; "))
        assert held >= {names[place] for place in np.flatnonzero(sure & (probabilities > threshold))}
        assert not held & {names[place] for place in np.flatnonzero(sure & (probabilities < threshold))}
        several += len(held) > 1
    assert several >= 6


def directly(network: torch.nn.Module, model: Path, data: TrainingSet) -> dict[str, np.ndarray]:
    """Patch → probabilities by the trained network, which ONNX Runtime must give, too."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names, normalise, found = data.names(), Normaliser.of(data.description), {}
    for arrays in (piece for part in PARTS for piece in data.arrays(part)):
        for sample, number in zip(arrays.samples, arrays.places["name"], strict=True):
            given = normalise(sample[None])
            with torch.no_grad():
                scores = network(torch.from_numpy(given)).numpy()
            np.testing.assert_allclose(session.run(None, {session.get_inputs()[0].name: given})[0], scores, atol=1e-3)
            found[names[number]] = 1 / (1 + np.exp(-scores[0].astype(np.float64)))
    return found


def classified(folder: Path, model: Path, output: Path, threshold: float) -> dict[str, np.ndarray]:
    """The layer of a patch's folder: twelve files of three resolutions, which do not say what their numbers are."""
    done = run_here(
        "classify-patches", folder, "--model", model, "--output", output, "--threshold", threshold, "--scale", 0.0001
    )
    assert done.status == 0, done.err
    return table(output)
