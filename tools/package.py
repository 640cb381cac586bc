"""Make the zip for QGIS's "Install from ZIP" and for the QGIS plugin repository.

Usage: package.py OUT.zip [--folder NAME].  Standard library only.  The same tree gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: What a user of the plugin needs.  A list of what goes in cannot let anything slip in.
FILES = (
    "__init__.py",
    "__main__.py",
    "errors.py",
    "progress.py",
    "metadata.txt",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "requirements.txt",
    "requirements-torch.txt",
    "requirements-training.txt",
)
FOLDERS = ("plugin", "ui", "engine", "models", "trainer", "cli")
CODE = {".py", ".sh", ".sbatch"}
DATA = {".onnx", ".json", ".csv", ".txt", ".md", ".html"}
LOOKS = {".ui", ".svg", ".png", ".qml", ".ts", ".qm"}
SUFFIXES = CODE | DATA | LOOKS

#: The QGIS plugin repository takes no larger upload.
LARGEST = 20 * 1024 * 1024
#: The oldest time that a zip knows: times of a checkout say nothing.
TIME = (1980, 1, 1, 0, 0, 0)


def packaged_files(root: Path = ROOT) -> Iterator[Path]:
    """Yield the files of the package, relative to the root, in the zip's order."""
    for name in FILES:
        if not (root / name).is_file():
            raise SystemExit(f"package.py: {name} is missing")
        yield Path(name)
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            relative = path.relative_to(root)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
            if not path.is_file() or hidden or path.suffix == ".pyc":
                continue
            if path.suffix not in SUFFIXES:
                raise SystemExit(f"package.py: is {relative} meant for users? Then name its suffix in SUFFIXES.")
            yield relative


def make_package(target: Path, folder: str = "thematica", root: Path = ROOT) -> int:
    """Write the zip with everything in one top folder; return its size in bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        for relative in packaged_files(root):
            entry = zipfile.ZipInfo(f"{folder}/{relative.as_posix()}", TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o100644 << 16
            package.writestr(entry, (root / relative).read_bytes())
    size = partial.stat().st_size
    if size > LARGEST:
        partial.unlink()
        raise SystemExit(f"package.py: {size / 2**20:.1f} MiB; the QGIS plugin repository takes at most 20 MB")
    os.replace(partial, target)
    return size


def main() -> None:
    """Read the options and make the zip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--folder", default="thematica", help="name of the one top folder")
    options = parser.parse_args()
    size = make_package(options.target, options.folder)
    print(f"{options.target} ({size / 2**20:.2f} MiB).  QGIS: Plugins > Manage and Install Plugins > Install from ZIP")


if __name__ == "__main__":
    main()
