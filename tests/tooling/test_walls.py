"""Who may import whom.  The walls stand in pyproject.toml; here each is shown to hold, and to fall when breached."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT

PACKAGES = ("plugin", "ui", "engine", "models", "trainer", "cli")

#: How requirements are called when they are imported, where that differs.
IMPORT_NAMES = {"scikit_learn": "sklearn"}


def required(file: str) -> set[str]:
    """The import names of a requirements file."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text("utf-8").splitlines())
    names = {re.split(r"[<>=!~\[; ]", line)[0].lower().replace("-", "_") for line in lines if line}
    return {IMPORT_NAMES.get(name, name) for name in names}


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a module imports absolutely, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"__future__", "thematica"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def foreign(paths: list[Path], allowed: set[str]) -> dict[str, set[str]]:
    """What modules import beyond the standard library and what is allowed."""
    found = {str(path.relative_to(ROOT)): imported(path) - allowed for path in paths}
    return {name: names for name, names in found.items() if names}


@pytest.mark.parametrize("package", ["plugin", "ui"])
def test_qgis_process_loads_only_qgis_and_the_standard_library(package):
    assert foreign(modules(package), {"qgis", "processing"}) == {}


def test_models_and_errors_are_pure_standard_library():
    # Scripts that make the bundled models are no part of what QGIS loads.
    loaded = [path for path in modules("models") if path.parent.name != "bundled"]
    assert foreign([ROOT / "errors.py", ROOT / "progress.py", *loaded], set()) == {}


@pytest.mark.parametrize("package", ["engine", "cli"])
def test_the_runtime_needs_what_its_requirements_say(package):
    """A package that only the development tools bring would be missing at the analyst's."""
    found = foreign(modules(package), required("requirements.txt"))
    # The second back end, which is loaded for PyTorch's files alone.
    assert found.pop(str(Path("engine/torch_session.py")), {"torch"}) == {"torch"}
    assert found == {}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--config", "thematica/pyproject.toml", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("module", "line", "wall"),
    [
        ("plugin/runtime/find.py", "import numpy", "QGIS's process"),
        ("ui/forms.py", "from ..engine import job", "QGIS's process"),
        ("engine/tiling.py", "from qgis.core import QgsProject", "never see QGIS"),
        ("trainer/__init__.py", "from ..engine import job", "meet only in models"),
        ("models/bands.py", "from ..engine import job", "models imports neither"),
        ("errors.py", "from .models import bands", "errors stands alone"),
        ("engine/job.py", "import torch", "without torch"),
    ],
)
def test_a_breach_is_found(tmp_path, module, line, wall):
    copy = tmp_path / "thematica"
    copy.mkdir()
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    for file in ("__init__.py", "__main__.py", "errors.py", "progress.py", "pyproject.toml"):
        shutil.copy(ROOT / file, copy / file)
    with (copy / module).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    told = lint_imports(tmp_path)
    assert told.returncode == 1, told.stdout + told.stderr
    broken = " ".join(re.findall(r"(?s)Broken contracts.*", told.stdout)[0].split())
    assert wall in broken
