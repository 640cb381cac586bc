"""The machine's own CPython, from which a runtime can be made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .process import Listener, clean_environment, process_options

OLDEST_PYTHON = (3, 10)
# With ssl: QGIS's own Python on Windows finds its libraries only with QGIS's PATH, and pip would then fail.
_PROBE = """
import json, platform, sys
import ensurepip, ssl, venv
print(json.dumps([platform.python_implementation(), sys.version_info[:2], sys.maxsize > 2**32,
                  getattr(sys, "_base_executable", "") or sys.executable]))
"""


def find_base_python(listener: Listener, oldest: tuple[int, int] = OLDEST_PYTHON) -> Path | None:
    """A CPython of the system that can make virtual environments, or None.

    Args:
        listener: told which ones were passed over, and why.
        oldest: the oldest version that will do.
    """
    for candidate in candidates():
        found, why_not = probe(candidate, oldest)
        if found is not None:
            return found
        listener.line(f"Not usable: {candidate}: {why_not}")
    return None


def candidates() -> list[Path]:
    """Interpreters to try, the versions with the most wheels first."""
    minors = (12, 13, 11, 10, 14)
    found: list[Path] = []
    if sys.platform == "win32":
        roots = [Path(os.environ[name]) for name in ("LOCALAPPDATA", "PROGRAMFILES") if name in os.environ]
        for minor in minors:
            for root in roots:
                found += [root / "Programs" / "Python" / f"Python3{minor}" / "python.exe"]
                found += [root / f"Python3{minor}" / "python.exe"]
            found.append(Path(f"C:/Python3{minor}/python.exe"))
        # QGIS's own interpreter, as a base only: the environment made from it has packages of its own.
        found.append(Path(sys.base_prefix) / "python.exe")
    else:
        search = clean_environment().get("PATH", "") + os.pathsep + "/usr/bin:/usr/local/bin:/opt/homebrew/bin"
        names = [f"python3.{minor}" for minor in minors] + ["python3"]
        found += [Path(path) for name in names if (path := shutil.which(name, path=search))]
        for minor in minors:
            found.append(Path(f"/Library/Frameworks/Python.framework/Versions/3.{minor}/bin/python3"))
        if sys.platform == "darwin":
            # A stub that opens a window asking for Apple's developer tools; with them it is Python 3.9, too old.
            found = [path for path in found if path != Path("/usr/bin/python3")]
    return [path for path in dict.fromkeys(found) if path.is_file()]


def probe(candidate: Path, oldest: tuple[int, int] = OLDEST_PYTHON) -> tuple[Path | None, str]:
    """The real interpreter behind a candidate, or None and why it will not do."""
    try:
        done = subprocess.run(
            [str(candidate), "-I", "-c", _PROBE],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=False,
            **process_options(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"it does not start ({error})"
    try:
        implementation, version, is_64bit, executable = json.loads(done.stdout)
    except ValueError:
        missing = re.search(r"No module named '?(\w+)", done.stderr)
        return None, f"its module {missing.group(1)} is missing" if missing else f"it fails: {done.stderr[-500:]}"
    if implementation != "CPython" or not is_64bit:
        return None, "it is no 64-bit CPython"
    if tuple(version) < oldest:
        return None, f"it is Python {version[0]}.{version[1]}"
    return Path(executable), ""
