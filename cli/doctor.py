"""``thematica doctor``: is this runtime complete, what can it run on, and what is wrong."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from .console import Console
from .graphics import find_gpus, run_quietly
from .trainable import PROBES, start_probes, training_facts, training_lines
from .trainable import probe as probe_training

# What classification needs, and the smallest version that is known to work.
_NEEDED = {
    "numpy": "1.26",
    "rasterio": "1.3.9",
    "onnx": "1.15",
    "onnxruntime": "1.17",
    "pyogrio": "0.7",
    "shapely": "2.0",
}
# Builds of ONNX Runtime that share one folder: of two, the one installed last has overwritten half of the other.
_BUILDS = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm",
    "onnxruntime-migraphx", "onnxruntime-silicon",
)  # fmt: skip
# How long a provider may take to load, in seconds; a driver that hangs must not hang the doctor.
_PATIENCE = 20.0
# PyTorch is gigabytes, which are read for the first time just after an installation.
_PATIENCE_WITH_TORCH = 45.0


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor", help="check the runtime", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    # The doctor's own helper: a provider that crashes takes another process with it.
    parser.add_argument("--probe", metavar="PROVIDER", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command; exit status 2 where something is wrong."""
    if options.probe:
        sys.stdout.write(json.dumps(probe(options.probe)) + "\n")
        return 0
    facts = examine()
    if options.json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(facts)) + "\n")
    return 0 if facts["ok"] else 2


def examine() -> dict[str, Any]:
    """Import every package that is needed, and run a network of one node on every provider."""
    problems: list[str] = []
    with ThreadPoolExecutor() as pool:
        gpus = pool.submit(find_gpus)
        # Both import for a second; meanwhile we do.
        torch = pool.submit(_probe_elsewhere, "torch") if importlib.util.find_spec("torch") else None
        training = start_probes(lambda name: pool.submit(_probe_elsewhere, name).result)
        packages = _import_all(problems)
        _look_for_two_builds(problems)
        providers: list[str] = []
        loads: dict[str, dict[str, Any]] = {}
        if "onnxruntime" in packages and "onnx" in packages:
            try:
                providers = _try_network()
            except Exception as error:  # noqa: BLE001 - a broken binary raises anything, and that is what we look for
                problems.append(f"ONNX Runtime cannot run a network ({type(error).__name__}: {error}).")
            else:
                loads = _try_providers(providers, pool)
        if "rasterio" in packages:
            try:
                _try_projection()
            except Exception as error:  # noqa: BLE001 - see above
                problems.append(f"rasterio cannot transform coordinates ({type(error).__name__}: {error}).")
        order, used = _default(loads, problems)
        torch_found = torch.result() if torch is not None else None
        return {
            "ok": not problems,
            "version": __version__,
            "python": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
            "packages": packages,
            "gpus": gpus.result(),
            "providers": providers,
            "loads": loads,
            "order": order,
            "default": used,
            "torch": torch_found,
            "training": training_facts(torch_found, {name: wait() for name, wait in training.items()}),
            "problems": problems,
        }


def probe(name: str) -> dict[str, Any]:
    """Run a network of one node on a provider, or look at PyTorch or what training needs; for a process of its own."""
    if name == "torch":
        from ..engine.torch_session import torch_facts

        return torch_facts()
    if name in PROBES:
        return probe_training(name)
    import numpy as np
    import onnxruntime

    from ..engine.ort_session import try_provider
    from ..engine.providers import find_provider

    provider = find_provider(name)
    if provider is None:
        return {"loads": False, "why_not": "Thematica does not know it"}
    session, reason = try_provider(_tiny_network(), provider, onnxruntime.get_available_providers(), 1)
    if session is not None:
        result = session.run(None, {"x": np.array([-1, 1], np.float32)})[0]
        if list(result) != [0.0, 1.0]:
            return {"loads": False, "why_not": "it gives wrong results"}
    return {"loads": session is not None, "why_not": reason}


def _probe_elsewhere(name: str) -> dict[str, Any]:
    """:func:`probe` in another process: what crashes or hangs there is only told here."""
    program = Path(__file__).resolve().parents[1] / "__main__.py"
    patience = _PATIENCE_WITH_TORCH if name in ("torch", *PROBES) else _PATIENCE
    status, output = run_quietly([sys.executable, str(program), "doctor", "--probe", name], patience)
    try:
        if status == 0:
            found: dict[str, Any] = json.loads(output.splitlines()[-1])
            return found
    except (ValueError, IndexError):
        pass
    told = output.strip().splitlines()[-1][:200] if output.strip() else "no message"
    reason = f"it took longer than {patience:.0f} s" if status is None else f"it crashed (status {status}: {told})"
    return {"loads": False, "why_not": reason}


def _import_all(problems: list[str]) -> dict[str, str]:
    packages: dict[str, str] = {}
    for name, least in _NEEDED.items():
        try:
            module = importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a broken binary raises anything, and that is what we look for
            problems.append(f"{name} cannot be imported ({type(error).__name__}: {error}).")
            continue
        packages[name] = str(getattr(module, "__version__", "?"))
        if _numbers(packages[name]) < _numbers(least):
            problems.append(f"{name} {packages[name]} is older than {least}.")
    return packages


def _look_for_two_builds(problems: list[str]) -> None:
    builds = []
    for name in _BUILDS:
        try:
            builds.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    if len(builds) > 1:
        problems.append(
            f"{' and '.join(builds)} are installed side by side, but share one folder, and each has overwritten files "
            "of the other: uninstall both, then install one of them."
        )


def _try_providers(present: list[str], pool: ThreadPoolExecutor) -> dict[str, dict[str, Any]]:
    """Which providers of the build load, by short name, and why others do not."""
    from ..engine.providers import PROVIDERS

    running = {
        entry.short: pool.submit(_probe_elsewhere, entry.short)
        for entry in PROVIDERS
        if entry.name in present and entry.short != "cpu"
    }
    loads = {short: future.result() for short, future in running.items()}
    # The processor ran the network just now, in this process.
    loads["cpu"] = {"loads": True, "why_not": ""}
    return loads


def _default(loads: dict[str, dict[str, Any]], problems: list[str]) -> tuple[list[str], str | None]:
    """The order in which providers are tried where a job asks for none, and the first of them that loads."""
    from ..engine.providers import VARIABLE, provider_order
    from ..errors import InputError

    try:
        order = [entry.short for entry in provider_order(None).providers]
    except InputError as error:
        problems.append(f"{error.message} (environment variable {VARIABLE}={os.environ.get(VARIABLE)})")
        return [], None
    return order, next((short for short in order if loads.get(short, {}).get("loads")), None)


def _lines(facts: dict[str, Any]) -> list[str]:
    from ..engine.providers import VARIABLE

    lines = [f"Thematica {facts['version']}, Python {facts['python']} ({facts['executable']})"]
    lines += [f"  {name:12} {version}" for name, version in facts["packages"].items()]
    for gpu in facts["gpus"]:
        memory = f", {gpu['memory'] / 2**30:.0f} GB" if gpu.get("memory") else ""
        driver = f", driver {gpu['driver']}" if gpu.get("driver") else ""
        lines.append(f"GPU: {gpu['name']}{memory}{driver}")
    if not facts["gpus"]:
        lines.append("GPU: none found")
    lines.append("ONNX files run on:")
    for short, found in facts["loads"].items():
        used = "  ← used by default" if short == facts["default"] else ""
        lines.append(f"  {short:12} {'loads' if found['loads'] else 'does not load: ' + found['why_not']}{used}")
    if os.environ.get(VARIABLE):
        lines.append(f"  ({VARIABLE}={os.environ[VARIABLE]})")
    torch = facts["torch"]
    if torch is None:
        lines.append("PyTorch files: PyTorch is not installed (.pt, .pt2 and .ts files need it, and training)")
    elif "version" not in torch:
        lines.append(f"PyTorch files: PyTorch does not load: {torch['why_not']}")
    else:
        devices = ", ".join(f"{entry['device']} ({entry['name']})" for entry in torch["devices"]) or "the CPU"
        lines.append(f"PyTorch files run on: {devices} (PyTorch {torch['version']})")
        lines += [f"  {device:12} does not load: {reason}" for device, reason in torch["why_not"].items()]
    lines += training_lines(facts["training"])
    lines += [f"Problem: {problem}" for problem in facts["problems"]]
    lines.append("All is well." if facts["ok"] else "Repair the runtime: QGIS, Thematica, Runtime….")
    return lines


def _numbers(version: str) -> tuple[int, ...]:
    parts = []
    for part in version.split(".")[:3]:
        digits = "".join(character for character in part if character.isdigit())
        parts.append(int(digits or 0))
    return tuple(parts)


def _tiny_network() -> bytes:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "doctor",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def _try_network() -> list[str]:
    import numpy as np
    import onnxruntime

    providers = list(onnxruntime.get_available_providers())
    session = onnxruntime.InferenceSession(_tiny_network(), providers=["CPUExecutionProvider"])
    result = session.run(None, {"x": np.array([-1, 1], np.float32)})[0]
    if list(result) != [0.0, 1.0]:
        raise RuntimeError("a wrong result")
    return providers


def _try_projection() -> None:
    from rasterio.crs import CRS
    from rasterio.warp import transform

    (longitude,), (latitude,) = transform(CRS.from_epsg(32632), CRS.from_epsg(4326), [500000.0], [5500000.0])
    if abs(longitude - 9) > 1e-6 or not 49 < latitude < 50:
        raise RuntimeError("a wrong result")
