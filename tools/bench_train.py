"""The trainer: its loop beside a bare one, two processes beside one, waiting for data, and whole scenes at once.

- *loop*: for each network, epochs of ``trainer/loop.py`` and of a bare loop in turn, with one thread and with two.
  Ours reads a training set from disk, shuffles, normalises and augments it, keeps the recipe's running mean of the
  weights and clips gradients, tells events and can be stopped; the bare loop runs the same network, optimiser and loss
  over an epoch's batches that lie in memory, and nothing else.  Both leave out validation and checkpoints, which come
  once an epoch (*beside* is their share of it).  Waiting for data is what the epochs' events say.
- *processes*: our loop in two processes of one thread each (Horovod) beside one such process, samples per second, with
  the recipe's batch in each; and two processes that know nothing of each other: what the machine gives.
- *dense*: the 3D-CNN over a scene in one pass beside window by window, the windows cut out before the clock runs.
- *device*: ResNet-50 in mixed precision on 12 bands of 120 × 120 beside the bare loop, and beside what the device would
  reach if all of it ran like a large matrix product (the floor of the time).

    python tools/bench.py --only train                    all but a GPU: five minutes on two cores
    python tools/bench.py --only train --device cuda      the device alone
    python tools/bench_train.py --small                   a trial of everything, with figures that say nothing
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from bench_train_sets import make_set

_LOOPS = Path(__file__).with_name("bench_train_loops.py")
#: Network → training set, changes of the recipe.
CASES: dict[str, tuple[str, list[str]]] = {
    "mlp": ("pixels", []),
    "cnn3d": ("windows", []),
    "small-resnet": ("patches", []),
    "unet": ("chips", []),
    # The recipe's 64 take too long for a benchmark on two cores.
    "resnet50": ("multi-label", ["batch=8"]),
}
TOGETHER = ("small-resnet", "unet", "mlp")
_SMALL = {
    "small-resnet": ["batch=16"],
    "unet": ["batch=4"],
    "cnn3d": ["batch=32"],
    "resnet50": ["network_options.width=8"],
}
Figures = dict[str, dict[str, float]]


def _command(way: str, network: str, small: bool, *more: object) -> list[str]:
    kind, changes = CASES[network]
    found = [*changes, *(_SMALL.get(network, []) if small else [])]
    place = make_set(kind, small)
    return [sys.executable, str(_LOOPS), way, network, str(place), *map(str, more), "--changes", *found]


def _start(command: list[str], threads: int) -> subprocess.Popen[str]:
    # Horovod's processes would share the cores otherwise, and NumPy's products have threads of their own.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _figures(process: subprocess.Popen[str]) -> dict[str, float]:
    said, wrong = process.communicate()
    # Horovod writes whose line it is before each.
    rows = [json.loads(line.partition("FIGURES ")[2]) for line in said.splitlines() if "FIGURES " in line]
    if process.returncode or not rows:
        raise SystemExit(f"{' '.join(map(str, process.args))} failed:\n{said}{wrong}")  # type: ignore[arg-type]
    found: dict[str, float] = min(rows, key=lambda row: row.get("rank", 0))
    return found


def measure_loop(network: str, threads: int, small: bool) -> dict[str, float]:
    """Our loop beside the bare one."""
    often = ("--rounds", 1) if small else ("--rounds", 3, "--seconds", 4)
    return _figures(_start(_command("pair", network, small, "--threads", threads, *often), threads))


def measure_processes(network: str, small: bool) -> dict[str, float] | None:
    """Two processes beside one; None without Horovod."""
    horovodrun = Path(sys.executable).with_name("horovodrun")
    if not horovodrun.exists():
        return None
    command = _command("alone", network, small, "--rounds", 1 if small else 3)
    together = [str(horovodrun), "--gloo", "-np", "2", *command]
    once = [_figures(_start(command, 1))["per_second"]]
    twice = [_figures(_start(together, 1))["per_second"]]
    apart = [_start(command, 1) for _ in range(2)]
    free = sum(_figures(process)["per_second"] for process in apart)
    twice.append(_figures(_start(together, 1))["per_second"])
    once.append(_figures(_start(command, 1))["per_second"])
    one, two = float(np.median(once)), float(np.median(twice))
    return {
        "one_per_second": one,
        "two_per_second": two,
        "ratio": two / one,
        "lowest": min(twice) / max(once),
        "highest": max(twice) / min(once),
        "apart": free / one,
    }


def measure_train(device: str = "cpu", small: bool = False) -> Figures:
    """All figures, by what they are of.

    Args:
        device: ``cpu``, or ``cuda`` for the device alone.
        small: a trial, which takes the processor where there is no GPU.
    """
    if device != "cpu":
        import torch

        if not torch.cuda.is_available():
            if not small:
                raise SystemExit("There is no GPU here that PyTorch can use: leave --device away.")
            device = "cpu"
        return {f"device {device}": _measure_device(small)}
    found: Figures = {}
    for network in CASES:
        for threads in (1,) if small else (1, 2):
            found[f"loop {network} {threads}"] = measure_loop(network, threads, small)
            print(network, threads, found[f"loop {network} {threads}"], flush=True)
    for network in TOGETHER[2:] if small else TOGETHER:
        row = measure_processes(network, small)
        if row is not None:
            found[f"processes {network}"] = row
            print(network, row, flush=True)
    threads = os.cpu_count() or 1
    scene = ("--scene", 12, "--rounds", 1) if small else ("--scene", 60)
    found["dense cnn3d"] = _figures(_start(_command("dense", "cnn3d", small, "--threads", threads, *scene), threads))
    return found


def _measure_device(small: bool) -> dict[str, float]:
    command = _command("pair", "resnet50", small, "--threads", os.cpu_count() or 1, "--floor", "--rounds", 1)
    if not small:
        command += ["batch=64"]
    return _figures(_start(command, os.cpu_count() or 1))


def table_train(figures: Figures) -> str:
    """The figures as Markdown."""
    groups: dict[str, list[tuple[str, dict[str, float]]]] = {"loop": [], "processes": [], "dense": [], "device": []}
    for name, row in figures.items():
        what, _, of = name.partition(" ")
        groups[what].append((of, row))
    lines = [
        "| network | batch | threads | bare step | samples/s | bare loop | ratio | lowest to highest | processor time, "
        "bare ÷ ours | waiting for data | beside |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_loop_row(of, row) for of, row in groups["loop"]),
        "",
        "| network | one process, samples/s | two | ratio | lowest to highest | two that know nothing of each other |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_processes_row(of, row) for of, row in groups["processes"]),
    ]
    for of, row in groups["dense"]:
        lines += ["", _dense_sentence(of, row)]
    for of, row in groups["device"]:
        lines += ["", _device_sentence(of, row)]
    return "\n".join(lines)


def _range(row: dict[str, float], digits: int) -> str:
    return f"{row['lowest']:.{digits}f} to {row['highest']:.{digits}f}"


def _loop_row(of: str, row: dict[str, float]) -> str:
    network, threads = of.rsplit(" ", 1)
    return (
        f"| `{network}` | {row['batch']:.0f} | {threads} | {row['step_ms']:,.1f} ms | {row['per_second']:,.0f} | "
        f"{row['bare_per_second']:,.0f} | **{row['ratio']:.3f}** | {_range(row, 2)} | {row['cpu_ratio']:.2f} | "
        f"**{row['waiting']:.1%}** | {row['beside']:.0%} |"
    )


def _processes_row(network: str, row: dict[str, float]) -> str:
    return (
        f"| `{network}` | {row['one_per_second']:,.0f} | {row['two_per_second']:,.0f} | **{row['ratio']:.2f}** | "
        f"{_range(row, 2)} | {row['apart']:.2f} |"
    )


def _dense_sentence(network: str, row: dict[str, float]) -> str:
    return (
        f"`{network}` over a scene of {row['scene']:.0f}² pixels and {row['bands']:.0f} bands, windows of "
        f"{row['side']:.0f}²: {row['once_s']:.2f} s in one pass, {row['windows_s']:.1f} s window by window, "
        f"**{row['ratio']:.1f}** times as fast ({_range(row, 1)}); scores differ by {row['difference']:.1g} at most."
    )


def _device_sentence(device: str, row: dict[str, float]) -> str:
    share = row["per_second"] / row["floor_per_second"]
    return (
        f"ResNet-50, 12 bands, 120 × 120, mixed precision, batches of {row['batch']:.0f}, on `{device}`: "
        f"{row['per_second']:,.0f} images/s, the bare loop {row['bare_per_second']:,.0f} (ratio "
        f"**{row['ratio']:.3f}**); at the rate of a matrix product ({row['peak_tflops']:.3g} TFLOP/s, "
        f"{row['gflop']:.1f} GFLOP an image) it would be {row['floor_per_second']:,.0f}, of which this is "
        f"**{share:.0%}**."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="a trial: few samples, one round")
    options = parser.parse_args()
    figures = measure_train(options.device, options.small)
    print(json.dumps(figures, indent=2))
    print(table_train(figures))


if __name__ == "__main__":
    main()
