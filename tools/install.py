"""Put the plugin into the user's QGIS profile: a link to this checkout, or a copy.

Usage: install.py [--profile NAME] [--copy].  Standard library only; running it again changes nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from package import make_package  # noqa: E402 - a neighbour of this script, not an installed module


def qgis_folders() -> list[Path]:
    """The folders of QGIS 3 and QGIS 4 in which this user's profiles lie."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", home / "AppData" / "Roaming")) / "QGIS"
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support" / "QGIS"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "QGIS"
    return [base / "QGIS3", base / "QGIS4"]


def plugin_folders(profile: str) -> list[Path]:
    """The plugin folders to install into: of each QGIS that has been started, else of QGIS 3."""
    folders = qgis_folders()
    used = [folder for folder in folders if folder.is_dir()] or folders[:1]
    return [folder / "profiles" / profile / "python" / "plugins" for folder in used]


def install(plugins: Path, copy: bool) -> str:
    """Install into one plugin folder; return a sentence that says what was done."""
    target = plugins / "thematica"
    if target.is_symlink() and not copy and target.resolve() == ROOT:
        return f"{target} leads to this checkout already."
    plugins.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        # Made first: what is installed goes away only when what replaces it is there.
        package = Path(scratch) / "thematica.zip"
        if copy:
            make_package(package)
        _make_room(target)
        if copy:
            with zipfile.ZipFile(package) as archive:
                archive.extractall(plugins)
            return f"Copied to {target}."
    try:
        target.symlink_to(ROOT, target_is_directory=True)
    except OSError as error:
        raise SystemExit(f"{target} cannot be made a link ({error}); use: make install COPY=1") from error
    return f"Linked {target} to this checkout."


def _make_room(target: Path) -> None:
    """Take away an installed Thematica: a link, or a copy, which is kept outside the plugin folder."""
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        if not (target / "metadata.txt").is_file():
            raise SystemExit(f"{target} is not Thematica; move it away and run this again.")
        # Beside the plugins it would be loaded as a plugin of its own.
        backup = target.parent.parent / "thematica-before"
        shutil.rmtree(backup, ignore_errors=True)
        shutil.move(str(target), str(backup))


def main() -> None:
    """Read the options, install, and say what to do next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="default", help="name of the QGIS profile")
    parser.add_argument("--copy", action="store_true", help="copy the files instead of linking to the checkout")
    options = parser.parse_args()
    for plugins in plugin_folders(options.profile):
        print(install(plugins, options.copy))
    print("Next: start QGIS, tick Thematica under Plugins > Manage and Install Plugins > Installed,")
    print("then right-click a raster layer and choose “Classify layer”.")


if __name__ == "__main__":
    main()
