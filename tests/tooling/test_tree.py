"""The tree itself: no trace of the machine it was made on, no stray files, packages that pip finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:  # comes with pytest there
    import tomli as tomllib

TEXT = {".py", ".md", ".toml", ".txt", ".json", ".ui", ".sh", ".cfg", ".csv", ".qml", ".svg", ""}


def tracked_files() -> list[Path]:
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if told.returncode != 0:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in told.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_paths_of_a_machine_and_no_private_registries():
    # Put together here, so that this file does not find itself.  pip's options may be spoken of, with the public
    # indexes or a placeholder, but not with an address of some machine's.
    public = r"https://(download\.pytorch\.org|mirror\.example)\b"
    address = "(?:index-" + "url|find-" + rf"links)[ =]+(?!{public})(\w+:/|/)"
    telling = re.compile("|".join(["/" + "work/", "/" + "root/", r"/home/\w+/", address, "pypi" + r"\.org"]))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked_files()
        if path.suffix in TEXT
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if telling.search(line)
    ]
    assert found == []


def test_nothing_made_is_tracked():
    made = {".pyc", ".so", ".zip", ".tif", ".tiff", ".gpkg", ".log"}
    assert [str(path.relative_to(ROOT)) for path in tracked_files() if path.suffix in made] == []


def test_no_large_files():
    # A model that ships may have 10 MB.
    assert [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path.stat().st_size > (10_000_000 if path.suffix == ".onnx" else 2 * 2**20)
    ] == []


def test_every_folder_of_code_is_a_package_that_pip_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    folders = {
        path.parent.relative_to(ROOT)
        for package in ("engine", "models", "trainer", "cli")
        for path in (ROOT / package).rglob("*.py")
    }
    assert listed == {"thematica", *(".".join(("thematica", *folder.parts)) for folder in folders)}


def test_every_folder_of_tests_is_a_package():
    """Otherwise two tests of the same file name shadow one another."""
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_readme_names_the_two_commands():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make demo" in readme
    assert "make test" in readme
