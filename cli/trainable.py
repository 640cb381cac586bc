"""Whether this Python can train, and in several processes: a part of ``thematica doctor``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

#: Beside PyTorch: what classical learners cannot do without, and what only draws curves.
CLASSICAL, CURVES = "skl2onnx", "tensorboard"
#: Names of :func:`probe`.
PROBES = ("training", "horovod")


def probe(name: str) -> dict[str, Any]:
    """Import what training needs; for a process of its own.

    Returns:
        ``packages`` (name → version) and ``why_not`` (name → reason) of those that are installed.
    """
    packages, why_not = {}, {}
    modules = {"horovod": "horovod.torch"} if name == "horovod" else {CLASSICAL: CLASSICAL, CURVES: CURVES}
    for package, module in modules.items():
        if find_spec(package) is None:
            continue
        try:
            loaded = importlib.import_module(module)
            if name == "horovod" and not loaded.gloo_built():
                raise RuntimeError("it was built without Gloo")
            packages[package] = str(getattr(sys.modules[package], "__version__", "?"))
        except Exception as error:  # noqa: BLE001 - a broken binary raises anything, and that is what we look for
            why_not[package] = f"{type(error).__name__}: {error}"
    return {"packages": packages, "why_not": why_not}


def start_probes(submit: Callable[[str], Callable[[], dict[str, Any]]]) -> dict[str, Callable[[], dict[str, Any]]]:
    """Begin what takes time, for what is installed.

    Args:
        submit: runs :func:`probe` elsewhere, and gives a function that waits for its answer.
    """
    wanted = {"training": find_spec(CLASSICAL) or find_spec(CURVES), "horovod": find_spec("horovod")}
    return {name: submit(name) for name in PROBES if wanted[name]}


def training_facts(torch: dict[str, Any] | None, probed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is told of training.

    Args:
        torch: the doctor's answer for PyTorch; None where it is not installed.
        probed: answers of :func:`probe`, which may be those of a process that crashed.

    Returns:
        ``possible``, ``problem`` (a sentence, or empty where everything can be trained), ``packages``, and
        ``horovod``: its ``version`` or None, and ``why_not``.
    """
    packages: dict[str, str] = {}
    found = probed.get("training", {})
    problem = ""
    if torch is None:
        problem = "Not possible: PyTorch is not installed."
    elif "version" not in torch:
        problem = f"Not possible: PyTorch does not load ({torch['why_not']})."
    else:
        packages = {"torch": torch["version"], **found.get("packages", {})}
        if CLASSICAL not in packages:
            problem = f"Only deep networks; for forests, boosted trees and SVM, {_lacking(CLASSICAL, found)}."
        elif CURVES not in packages:
            problem = f"Possible, but without curves for TensorBoard: {_lacking(CURVES, found)}."
    return {
        "possible": torch is not None and "version" in torch,
        "problem": problem,
        "packages": packages,
        "horovod": _horovod(probed.get("horovod")),
    }


def _horovod(found: dict[str, Any] | None) -> dict[str, Any]:
    version = (found or {}).get("packages", {}).get("horovod")
    if version:
        return {"version": version, "why_not": ""}
    if sys.platform == "win32":
        why_not = "Horovod cannot be installed on Windows: training runs in one process."
    else:
        why_not = f"{_lacking('Horovod', found or {})}: training runs in one process."
    return {"version": None, "why_not": why_not}


def _lacking(package: str, found: dict[str, Any]) -> str:
    why_not = found.get("why_not", {})
    # Of a process that crashed there is one reason for all.
    reason = why_not if isinstance(why_not, str) else why_not.get(package.lower())
    return f"{package} does not load ({reason})" if reason else f"{package} is not installed"


def training_lines(facts: dict[str, Any]) -> list[str]:
    """The same for people."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    horovod = facts["horovod"]
    several = f"with Horovod {horovod['version']}" if horovod["version"] else horovod["why_not"]
    told = facts["problem"] or "Possible"
    return [f"Training: {told}{f' ({versions})' if versions else ''}", f"Training in several processes: {several}"]
