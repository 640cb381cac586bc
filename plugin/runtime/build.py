"""The builds of the runtime: for the processor or for a graphics card, with PyTorch (and able to train) or without.

``onnxruntime``, ``onnxruntime-gpu`` and ``onnxruntime-directml`` install the same files (the package ``onnxruntime``):
of two of them, each overwrites the other's.  So a build has exactly one.  Since 1.27 the wheels of ``onnxruntime-gpu``
on PyPI are made for CUDA 13, before for CUDA 12 (read from their metadata); NVIDIA's release notes ask for a driver
of 580 or newer for CUDA 13 and of 525 for CUDA 12, and CUDA 13 left out the cards before Turing (capability 7.5).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from ...errors import InputError
from . import process
from .gpu import Gpu, find_nvidia_gpu

_GB = 1000**3
#: Every one of these packages fills the folder ``onnxruntime``.
RIVALS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")
#: A CPython that we bring, unpacked, and its archive.
PYTHON_BYTES = 150_000_000


@dataclass(frozen=True)
class Build:
    """One build.

    Args:
        name: in the stamp and on the command line.
        title: for the analyst.
        package: the requirement that stands for ``onnxruntime``; empty: as requirements.txt has it.
        oldest_python: for which there are wheels.
        installed: bytes in the runtime's folder, without and with PyTorch and what training needs (of that, 240 MB and
            76 MB of wheels).  Measured on Linux x86_64 with Python 3.11 in November 2026 (``du`` of the environment);
            estimated for DirectML, and for CUDA 12 with PyTorch.
        downloaded: bytes of the wheels, likewise.
    """

    name: str
    title: str
    package: str = ""
    oldest_python: tuple[int, int] = (3, 10)
    installed: tuple[int, int] = (770_000_000, 1_920_000_000)
    downloaded: tuple[int, int] = (200_000_000, 475_000_000)


BUILDS = {
    build.name: build
    for build in (
        Build("cpu", "Processor"),
        Build(
            "cuda",
            "NVIDIA graphics card (CUDA 13)",
            "onnxruntime-gpu[cuda,cudnn]>=1.27",
            (3, 11),
            (3_230_000_000, 6_170_000_000),
            (1_745_000_000, 3_250_000_000),
        ),
        Build(
            "cuda12",
            "Older NVIDIA graphics card or driver (CUDA 12)",
            "onnxruntime-gpu[cuda,cudnn]>=1.21,<1.27",
            (3, 11),
            (3_980_000_000, 6_970_000_000),
            (2_155_000_000, 3_650_000_000),
        ),
        Build(
            "directml",
            "Any graphics card (DirectML)",
            "onnxruntime-directml>=1.17",
            (3, 10),
            (810_000_000, 1_960_000_000),
            (220_000_000, 495_000_000),
        ),
    )
}

_OLDEST_DRIVER = {"cuda": (580,), "cuda12": (525,)}
_OLDEST_CAPABILITY = {"cuda": (7, 5)}


def builds_here() -> list[Build]:
    """The builds that there are wheels for on this system and processor."""
    machine = platform.machine().lower()
    names = ["cpu"]
    if sys.platform == "win32" and machine in ("amd64", "x86_64"):
        names += ["cuda", "cuda12", "directml"]
    elif sys.platform.startswith("linux") and machine in ("amd64", "x86_64"):
        names += ["cuda", "cuda12"]
    return [BUILDS[name] for name in names]


def build_title(build: Build) -> str:
    """The build's title on this system: on a Mac the plain wheel computes on the graphics card too."""
    return "Processor and Apple's CoreML" if build.name == "cpu" and sys.platform == "darwin" else build.title


def propose_build(find: Callable[[], Gpu | None] = find_nvidia_gpu) -> tuple[str, str]:
    """The build to propose, and a sentence that says why."""
    names = [build.name for build in builds_here()]
    if sys.platform == "darwin":
        return "cpu", "On a Mac one build serves processor and graphics card."
    gpu = find()
    if "cuda" not in names:
        return "cpu", "For this kind of computer there is only the build for the processor."
    if gpu is None:
        if "directml" in names:
            return "directml", "No NVIDIA graphics card was found; DirectML uses any other, or the processor."
        return "cpu", "No NVIDIA graphics card was found."
    for name in ("cuda", "cuda12"):
        driver_fits = not gpu.driver or gpu.driver >= _OLDEST_DRIVER[name]
        if driver_fits and (not gpu.capability or gpu.capability >= _OLDEST_CAPABILITY.get(name, (0,))):
            return name, f"Found: {gpu.label}."
    return "cpu", f"Found: {gpu.label}. That driver is too old for CUDA 12: with 525 or newer the card can be used."


def find_build(name: str) -> Build:
    """The build of this name.

    Raises:
        InputError: there is none.
    """
    if name not in BUILDS:
        raise InputError(f"There is no build “{name}”; choose one of: {', '.join(BUILDS)}.")
    return BUILDS[name]


def requirements(build: str = "cpu", torch: bool = False, training: bool = True) -> list[str]:
    """The packages that a runtime of this build needs, from the one list in ``requirements.txt``.

    Args:
        build: its name.
        torch: with PyTorch, and with what training needs beside it.
        training: False leaves away what only training needs.
    """
    replaced = find_build(build).package
    listed = _read_list("requirements.txt")
    if replaced:
        listed = [replaced if package_name(line) in RIVALS else line for line in listed]
    if torch and training:
        listed += training_requirements()
    return listed + (torch_requirements() if torch else [])


def torch_requirements() -> list[str]:
    """PyTorch: what comes from an index of its own on some systems."""
    return _read_list("requirements-torch.txt")


def training_requirements() -> list[str]:
    """What training needs beside PyTorch."""
    return _read_list("requirements-training.txt")


def _read_list(name: str) -> list[str]:
    text = (process.PLUGIN_FOLDER / name).read_text(encoding="utf-8")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def torch_index(build: str, named: str = "") -> str:
    """The additional package index for PyTorch's wheels, or ``""`` where the ordinary one has the right ones.

    On PyPI the wheels for Linux bring CUDA, those for Windows and macOS know the processor only.

    Args:
        build: its name.
        named: by the analyst; wins, as does ``$THEMATICA_TORCH_INDEX``.
    """
    named = named or os.environ.get("THEMATICA_TORCH_INDEX", "")
    if named:
        return named
    folder = ""
    if sys.platform == "win32":
        folder = {"cuda": "cu130", "cuda12": "cu126"}.get(build, "")
    elif sys.platform.startswith("linux"):
        folder = {"cpu": "cpu", "cuda12": "cu126"}.get(build, "")
    return f"https://download.pytorch.org/whl/{folder}" if folder else ""


# -- versions -------------------------------------------------------------------------------------


def package_name(requirement: str) -> str:
    """The package that a requirement names, as indexes spell it: ``Foo_Bar[x]>=1`` → ``foo-bar``."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""


def numbers(version: str) -> tuple[int, ...]:
    """``"1.27.0rc1+cu13"`` → (1, 27, 0): what comes after the numbers does not matter here."""
    found = re.match(r"\s*v?(\d+(?:\.\d+)*)", version)
    parts = [int(part) for part in found[1].split(".")] if found else [0]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


_COMPARE = {
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    "==": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
}


def unmet(listed: list[str], packages: Mapping[str, str]) -> list[str]:
    """Which requirements these packages (name → version) do not meet.  Only what our own lists use is understood."""
    missing = []
    for requirement in listed:
        version = packages.get(package_name(requirement))
        wanted = re.findall(r"(>=|<=|==|!=|>|<)\s*([0-9][^,;\s]*)", requirement.partition(";")[0])
        if version is None or not all(_COMPARE[sign](numbers(version), numbers(want)) for sign, want in wanted):
            missing.append(requirement)
    return missing


# -- space ----------------------------------------------------------------------------------------


def bytes_needed(build: str, torch: bool, downloads: bool, brings_python: bool) -> int:
    """Bytes that an installation fills, at its fullest: packages, and the wheels in pip's cache.

    Args:
        build: its name.
        torch: with PyTorch.
        downloads: False where the wheels lie in a folder already.
        brings_python: a CPython of our own is brought.
    """
    sizes = find_build(build)
    fetched = sizes.downloaded[torch] if downloads else 0
    return sizes.installed[torch] + fetched + (PYTHON_BYTES if brings_python else 0)


def bytes_free(folder: Path) -> int | None:
    """Bytes free where this folder is or will be; None where the system does not say."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def size_label(size: int) -> str:
    """``"440 MB"``, ``"2.8 GB"``: decimal, as shops and file managers count."""
    return f"{size / _GB:.1f} GB" if size >= _GB else f"{max(1, round(size / 1_000_000))} MB"
