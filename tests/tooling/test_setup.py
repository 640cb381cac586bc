"""Set-up on a machine: system packages are asked for only where they are missing; install and clean."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ..conftest import ROOT

RECORD = '#!/bin/sh\necho "$(basename "$0") $*" >> "{log}"\n[ "$(basename "$0")" != sudo ] || exec "$@"\n'


@pytest.fixture
def ask(tmp_path):
    """Run the script with an apt-get and a sudo that only write down how they are called."""
    log = tmp_path / "log"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("apt-get", "sudo"):
        (programs / name).write_text(RECORD.format(log=log))
        (programs / name).chmod(0o755)

    def run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        told = subprocess.run(
            [str(ROOT / "tools" / "system_packages.sh"), *arguments],
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        calls = log.read_text().splitlines() if log.exists() else []
        return told, [call for call in calls if call.startswith("apt-get")]

    return run


def test_no_apt_where_all_is_there(ask):
    told, calls = ask(sys.executable, "runtime")
    assert (told.returncode, told.stdout, calls) == (0, "", [])


def test_missing_python_is_asked_for_and_missed(ask):
    told, calls = ask("python-that-is-not-there", "runtime")
    assert calls[-1].endswith("--no-install-recommends python3 python3-venv")
    assert calls[0].startswith("apt-get update")
    assert told.returncode == 1
    assert "Python 3.10" in told.stderr


def test_an_unknown_need_is_refused(ask):
    told, calls = ask(sys.executable, "printer")
    assert (told.returncode, calls) == (2, [])


def install(home, *options):
    environment = {key: value for key, value in os.environ.items() if key != "XDG_DATA_HOME"}
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "install.py"), *options],
        env={**environment, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def plugins(home, qgis="QGIS3", profile="default"):
    return home / ".local" / "share" / "QGIS" / qgis / "profiles" / profile / "python" / "plugins"


def test_install_links_once_and_again(tmp_path):
    for _ in range(2):
        told = install(tmp_path)
        assert told.returncode == 0, told.stderr
        assert "start QGIS" in told.stdout
        assert (plugins(tmp_path) / "thematica").resolve() == ROOT


def test_install_serves_each_qgis_and_profile(tmp_path):
    for qgis in ("QGIS3", "QGIS4"):
        plugins(tmp_path, qgis).mkdir(parents=True)
    assert install(tmp_path, "--profile", "field work").returncode == 0
    for qgis in ("QGIS3", "QGIS4"):
        assert (plugins(tmp_path, qgis, "field work") / "thematica").is_symlink()


def test_install_as_copy_replaces_a_link_but_not_the_checkout(tmp_path):
    install(tmp_path)
    for _ in range(2):
        told = install(tmp_path, "--copy")
        assert told.returncode == 0, told.stderr
    copy = plugins(tmp_path) / "thematica"
    assert not copy.is_symlink()
    assert (copy / "metadata.txt").is_file()
    assert not (copy / "tests").exists()
    assert (ROOT / "tests").is_dir()
    assert [path.name for path in plugins(tmp_path).iterdir()] == ["thematica"]


def test_install_leaves_a_stranger_alone(tmp_path):
    stranger = plugins(tmp_path) / "thematica"
    stranger.mkdir(parents=True)
    (stranger / "mine.txt").write_text("kept")
    told = install(tmp_path)
    assert told.returncode == 1
    assert "is not Thematica" in told.stderr
    assert (stranger / "mine.txt").read_text() == "kept"
