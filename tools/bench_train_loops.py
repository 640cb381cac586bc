"""The loops of ``bench_train.py``, each in a process of its own; prints figures as JSON.

bench_train_loops.py pair NETWORK SET     our loop and a bare one, in turn
bench_train_loops.py alone NETWORK SET    our loop, in as many processes as Horovod started
bench_train_loops.py dense SET            a network of windows over a scene: at once, and window by window
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from thematica.progress import Monitor
from thematica.trainer.dataset.read import TrainingSet
from thematica.trainer.deliver import to_onnx
from thematica.trainer.dense import to_dense
from thematica.trainer.events import Events
from thematica.trainer.loop import Training
from thematica.trainer.metrics import Tally
from thematica.trainer.networks import build_network, network_kind
from thematica.trainer.optimizers import build_optimizer
from thematica.trainer.processes import find_processes
from thematica.trainer.recipe import read_recipe

_LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Ours:
    """The trainer's own loop: a training set on disk, augmentation, running mean, events and checkpoints."""

    def __init__(self, network: str, place: str, changes: list[str], folder: Path) -> None:
        self.processes = find_processes()
        data = TrainingSet(place)
        told = data.description
        name = network_kind(network).recipe_for(told.kind, told.task)
        self.recipe = read_recipe(name, ["epochs=10000", *changes])
        first = self.processes.rank == 0
        events = Events(folder if first else None, Monitor(), self.recipe.epochs)
        self.training = Training(data, self.recipe, folder, self.processes, events)
        self.samples = told.samples("train")
        self.processes.start_alike(self.training.network, self.training.plain_optimizer)
        self.training.optimizer = self.processes.share_gradients(
            self.training.plain_optimizer, self.training.network, self.recipe.accumulate, False
        )
        self._trained = 0.0
        validate = self.training.validate

        def heard(part: str) -> Tally:
            self._trained = time.process_time()
            return validate(part)

        self.training.validate = heard  # type: ignore[assignment,method-assign]

    def epoch(self) -> dict[str, float]:
        """One epoch: what its event says, and the processor's time.

        A bare loop neither validates nor writes checkpoints, so that ``per_second`` and ``cpu`` leave both out;
        ``beside`` is their share of the epoch.
        """
        cpu, wall = time.process_time(), time.perf_counter()
        self.training._train_epoch()
        cpu, wall = self._trained - cpu, time.perf_counter() - wall
        told = self.training.state.history[-1]
        trained = self.samples / told["samples_per_second"]
        return {
            "per_second": told["samples_per_second"],
            "waiting": told["waiting_share"],
            "beside": 1 - trained / wall,
            "cpu": cpu,
        }


class Bare:
    """What one would write down: the same network, optimiser and loss, and an epoch's batches in memory."""

    def __init__(self, ours: Ours) -> None:
        training, self.recipe = ours.training, ours.recipe
        told, self.device = training.data.description, training.device
        self.network = copy.deepcopy(training.network)
        self.optimizer = build_optimizer(self.recipe, self.network)
        self.batches = [
            (x.to(self.device), y.to(self.device)) for x, y, _ in training.loader.batches("train", 0) if len(x)
        ]
        weights = torch.tensor([entry.weight for entry in told.classes], device=self.device)
        self.weights = weights if self.recipe.class_weights else None
        self.several = told.task == "multi-label"
        self.ignored = -100 if told.ignore_index is None else told.ignore_index

    def epoch(self) -> dict[str, float]:
        """All batches once."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.network.train()
        for x, y in self.batches:
            self.step(x, y)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"per_second": sum(len(x) for x, _ in self.batches) / wall, "cpu": cpu}

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Forward, backward, and the weights."""
        self.optimizer.zero_grad()
        lower = _LOWER.get(self.recipe.precision)
        if lower is None:
            loss = self.loss(self.network(x), y)
        else:
            with torch.autocast(self.device.type, lower):
                scores = self.network(x)
            loss = self.loss(scores.float(), y)
        loss.backward()
        self.optimizer.step()

    def loss(self, scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Torch's own, with the recipe's options."""
        if self.several:
            return functional.binary_cross_entropy_with_logits(scores, y, pos_weight=self.weights)
        smoothing = self.recipe.loss_options.get("label_smoothing", 0.0)
        return functional.cross_entropy(scores, y, self.weights, ignore_index=self.ignored, label_smoothing=smoothing)

    def flop_per_sample(self) -> float:
        """Of a step, forward and backward, as torch counts matrix products and convolutions."""
        x, y = self.batches[0]
        with FlopCounterMode(display=False) as counter:
            self.step(x, y)
        return counter.get_total_flops() / len(x)


def peak_flops(device: torch.device, precision: str) -> float:
    """Floating-point operations per second of a large matrix product: what this device reaches at best."""
    side = 8192 if device.type == "cuda" else 1024
    one, other = (torch.randn(side, side, device=device, dtype=_LOWER.get(precision, torch.float32)) for _ in range(2))
    best = 0.0
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(5):
            one @ other
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 5 * 2 * side**3 / (time.perf_counter() - begun))
    return best


def median(rows: list[dict[str, float]], key: str) -> float:
    """Of one figure."""
    return float(np.median([row[key] for row in rows]))


def pair(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Epochs of both loops in turn; each ratio is of two neighbours, so that what else runs slows both."""
    ours = Ours(options.network, options.set, options.changes, folder)
    bare = Bare(ours)
    ours.epoch(), bare.epoch()
    mine: list[dict[str, float]] = []
    plain: list[dict[str, float]] = []
    begun = time.perf_counter()
    while len(mine) < options.rounds or time.perf_counter() - begun < options.seconds:
        mine.append(ours.epoch())
        plain.append(bare.epoch())
    ratios = [one["per_second"] / other["per_second"] for one, other in zip(mine, plain, strict=True)]
    found = {
        "per_second": median(mine, "per_second"),
        "bare_per_second": median(plain, "per_second"),
        "ratio": float(np.median(ratios)),
        "lowest": min(ratios),
        "highest": max(ratios),
        "rounds": float(len(ratios)),
        "cpu_ratio": float(np.median([other["cpu"] / one["cpu"] for one, other in zip(mine, plain, strict=True)])),
        "waiting": median(mine, "waiting"),
        "beside": median(mine, "beside"),
        "batch": float(ours.recipe.batch),
        "step_ms": 1000 * len(bare.batches[0][0]) / median(plain, "per_second"),
    }
    if options.floor:
        flop = bare.flop_per_sample()
        peak = peak_flops(bare.device, ours.recipe.precision)
        found |= {"gflop": flop / 1e9, "peak_tflops": peak / 1e12, "floor_per_second": peak / flop}
    return found


def alone(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Epochs of our loop, all processes together."""
    ours = Ours(options.network, options.set, options.changes, folder)
    ours.epoch()
    rows = [ours.epoch() for _ in range(options.rounds)]
    return {"per_second": median(rows, "per_second"), "rank": float(ours.processes.rank)}


def dense(options: argparse.Namespace, _folder: Path) -> dict[str, float]:
    """Scores of all pixels of a scene that have a whole window around them."""
    told = TrainingSet(options.set).description
    bands, side, _ = told.shape
    kind = network_kind(options.network)
    recipe = read_recipe(kind.recipe_for(told.kind, told.task), options.changes)
    network = build_network(recipe.network, told.shape, len(told.classes), recipe.network_options).eval()
    windowed = to_onnx(network, told.shape)
    sessions = []
    for model in (windowed, to_dense(windowed)):
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        sessions.append(onnxruntime.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"]))
    name = sessions[0].get_inputs()[0].name
    wide = options.scene + side - 1
    scene = np.random.default_rng(1).standard_normal((bands, wide, wide), np.float32)
    # In memory before the clock runs: cutting them out costs the one way alone.
    cut = np.lib.stride_tricks.sliding_window_view(scene, (side, side), axis=(1, 2))
    windows = np.ascontiguousarray(cut.transpose(1, 2, 0, 3, 4)).reshape(-1, bands, side, side)

    def by_windows() -> np.ndarray:
        batches = [windows[at : at + 256] for at in range(0, len(windows), 256)]
        return np.concatenate([sessions[0].run(None, {name: batch})[0] for batch in batches])

    def at_once() -> np.ndarray:
        scores: np.ndarray = sessions[1].run(None, {name: scene[None]})[0][0]
        return scores

    difference = float(np.abs(by_windows().T.reshape(at_once().shape) - at_once()).max())
    seconds: dict[str, list[float]] = {"windows": [], "once": []}
    for _ in range(options.rounds):
        for way, work in (("windows", by_windows), ("once", at_once)):
            begun = time.perf_counter()
            work()
            seconds[way].append(time.perf_counter() - begun)
    ratios = [slow / fast for slow, fast in zip(seconds["windows"], seconds["once"], strict=True)]
    return {
        "windows_s": float(np.median(seconds["windows"])),
        "once_s": float(np.median(seconds["once"])),
        "ratio": float(np.median(ratios)),
        "lowest": min(ratios),
        "highest": max(ratios),
        "difference": difference,
        "side": float(side),
        "scene": float(options.scene),
        "bands": float(bands),
    }


def main() -> None:
    """Measure one thing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    ways: dict[str, Callable[[argparse.Namespace, Path], dict[str, float]]] = {
        "pair": pair, "alone": alone, "dense": dense,
    }  # fmt: skip
    parser.add_argument("way", choices=ways)
    parser.add_argument("network")
    parser.add_argument("set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.0, help="more rounds until then")
    parser.add_argument("--scene", type=int, default=100, help="side of the scene of “dense”")
    parser.add_argument("--floor", action="store_true", help="also what the device would reach at best")
    parser.add_argument("--changes", nargs="*", default=[], help="of the recipe")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        print("FIGURES", json.dumps(ways[options.way](options, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
