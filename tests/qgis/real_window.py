"""A script in the real QGIS window, which answers with a JSON file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_in_window(folder: Path, script: str, screen: str, seconds: float, **variables: object) -> dict:
    """What the script wrote into ``$FOUND``; it fails where the script raised something.

    Args:
        folder: for the profile and all that is made; a second window with the same one finds what the first has left.
        script: runs inside QGIS once the window is there.
        screen: size of the screen: ``1400x900``.
        seconds: it may take.
        variables: of the environment.
    """
    qgis = shutil.which("qgis.bin", path="/usr/bin") or shutil.which("qgis")
    if qgis is None or shutil.which("xvfb-run") is None:
        pytest.skip("QGIS's window needs qgis and xvfb-run")
    plugins = folder / "profiles" / "default" / "python" / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    if not (plugins / "thematica").exists():
        (plugins / "thematica").symlink_to(ROOT)
    file, answer = folder / "script.py", folder / "found.json"
    answer.unlink(missing_ok=True)
    file.write_text(script, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "QGIS_CUSTOM_CONFIG_PATH"}
    environment.update({name: str(value) for name, value in variables.items()})
    # QGIS finds its Python by the path.
    environment.update(FOUND=str(answer), QT_QPA_PLATFORM="xcb", PATH=f"/usr/bin:{os.environ.get('PATH', '')}")
    command = ["xvfb-run", "-a", "-s", f"-screen 0 {screen}x24", qgis, "--nologo", "--noversioncheck"]
    command += ["--profiles-path", str(folder), "--code", str(file)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
    assert answer.is_file(), said
    result = json.loads(answer.read_text())
    print({name: value for name, value in result.items() if name.endswith("seconds")})
    assert result["raised"] == [], (result, said)
    return result
