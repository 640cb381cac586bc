"""``thematica doctor``: is this runtime complete, what can it run on, and what is wrong."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
from typing import Any

from .. import __version__
from .console import Console

# What classification needs, and the smallest version that is known to work.
_NEEDED = {
    "numpy": "1.26",
    "rasterio": "1.3.9",
    "onnx": "1.15",
    "onnxruntime": "1.17",
    "pyogrio": "0.7",
    "shapely": "2.0",
}


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor", help="check the runtime", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command; exit status 2 where something is wrong."""
    facts = examine()
    if options.json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write(f"Thematica {facts['version']}, Python {facts['python']} ({facts['executable']})\n")
        for name, version in facts["packages"].items():
            sys.stdout.write(f"  {name:12} {version}\n")
        sys.stdout.write(f"Providers: {', '.join(facts['providers']) or 'none'}\n")
        for problem in facts["problems"]:
            sys.stdout.write(f"Problem: {problem}\n")
        sys.stdout.write("All is well.\n" if facts["ok"] else "Repair the runtime: QGIS, Thematica, Runtime….\n")
    return 0 if facts["ok"] else 2


def examine() -> dict[str, Any]:
    """Import every package that is needed, and run a network of one node."""
    problems: list[str] = []
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
    providers: list[str] = []
    if "onnxruntime" in packages and "onnx" in packages:
        try:
            providers = _try_network()
        except Exception as error:  # noqa: BLE001 - see above
            problems.append(f"ONNX Runtime cannot run a network ({type(error).__name__}: {error}).")
    if "rasterio" in packages:
        try:
            _try_projection()
        except Exception as error:  # noqa: BLE001 - see above
            problems.append(f"rasterio cannot transform coordinates ({type(error).__name__}: {error}).")
    return {
        "ok": not problems,
        "version": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": packages,
        "providers": providers,
        "problems": problems,
    }


def _numbers(version: str) -> tuple[int, ...]:
    parts = []
    for part in version.split(".")[:3]:
        digits = "".join(character for character in part if character.isdigit())
        parts.append(int(digits or 0))
    return tuple(parts)


def _try_network() -> list[str]:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "doctor",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    providers = list(onnxruntime.get_available_providers())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
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
