"""The runtime: found, judged, created; and an environment without what QGIS put into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from qgis.core import QgsSettings

from thematica import __version__
from thematica.errors import Cancelled, RuntimeMissingError
from thematica.plugin.runtime import (
    SETTING,
    STAMP,
    Runtime,
    base_python,
    check_runtime,
    clean_environment,
    find,
    find_runtime,
    interpreter_in,
    judge,
    process,
    process_options,
    runtime_problem,
    worker_command,
)
from thematica.plugin.runtime.base_python import candidates, find_base_python, probe
from thematica.plugin.runtime.build import requirements

from .runtime_parts import Watching

POISON = {
    "PYTHONHOME": "/nonsense",
    "PYTHONPATH": "/nonsense",
    "PYTHONSTARTUP": "/nonsense",
    "PROJ_LIB": "/nonsense",
    "PROJ_DATA": "/nonsense",
    "GDAL_DATA": "/nonsense",
    "GDAL_DRIVER_PATH": "/nonsense",
    "LD_LIBRARY_PATH": "/nonsense",
    "QT_PLUGIN_PATH": "/nonsense",
    "VIRTUAL_ENV": "/nonsense",
    "CONDA_PREFIX": "/nonsense",
}


@pytest.fixture(autouse=True)
def _no_runtime(monkeypatch, tmp_path):
    """Neither variable nor setting nor checkout names a runtime, unless a test says so."""
    monkeypatch.delenv("THEMATICA_RUNTIME", raising=False)
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(process, "PLUGIN_FOLDER", tmp_path / "plugin")
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "requirements.txt").write_text("# why\nnumpy>=1.26  # reason\n\nrasterio\n")
    QgsSettings().remove(SETTING)
    yield
    QgsSettings().remove(SETTING)


def make_interpreter(folder: Path) -> Path:
    python = interpreter_in(folder)
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return python


def test_the_order_of_search(monkeypatch, tmp_path):
    assert find_runtime() is None
    checkout = make_interpreter(tmp_path / "plugin" / ".venv")
    assert find_runtime() == Runtime(checkout, "checkout")
    own = make_interpreter(tmp_path / "home" / "runtime")
    assert find_runtime() == Runtime(checkout, "checkout"), "an unfinished runtime is not chosen"
    (tmp_path / "home" / "runtime" / STAMP).write_text("{}")
    assert find_runtime() == Runtime(own, "user")
    named = make_interpreter(tmp_path / "named")
    QgsSettings().setValue(SETTING, str(named))
    assert find_runtime() == Runtime(named, "setting")
    variable = make_interpreter(tmp_path / "variable")
    monkeypatch.setenv("THEMATICA_RUNTIME", str(tmp_path / "variable"))
    assert find_runtime() == Runtime(variable, "environment")


def test_problems_are_told_in_a_sentence(monkeypatch, tmp_path):
    assert "no runtime yet" in runtime_problem(None)
    monkeypatch.setenv("THEMATICA_RUNTIME", str(tmp_path / "gone"))
    assert "THEMATICA_RUNTIME" in runtime_problem(find_runtime())
    monkeypatch.delenv("THEMATICA_RUNTIME")

    own = Runtime(make_interpreter(tmp_path / "home" / "runtime"), "user")
    stamp = tmp_path / "home" / "runtime" / STAMP
    assert "not complete" in runtime_problem(own)
    stamp.write_text("{ half")
    assert "not complete" in runtime_problem(own)
    stamp.write_text(json.dumps({"thematica": "0.0.1", "requirements": ["numpy>=1.20"]}))
    assert "made for Thematica 0.0.1" in runtime_problem(own)
    stamp.write_text(json.dumps({"thematica": "0.0.1", "requirements": ["numpy>=1.26", "rasterio"]}))
    assert runtime_problem(own) == "", "what counts is the packages, since the code is the plugin's own"


@pytest.mark.parametrize(
    ("made_for", "packages", "kind", "told"),
    [
        ("0.0.1", {"numpy": "2.1", "rasterio": "1.4"}, "", ""),
        ("0.0.1", {"numpy": "1.25", "rasterio": "1.4"}, "outdated", "needs numpy>=1.26. Open Raster"),
        ("0.0.1", {"numpy": "2.1"}, "outdated", "needs rasterio. Open Raster"),
        ("99.1", {"numpy": "2.1", "rasterio": "1.4", "more": "1"}, "", ""),
        ("99.1", {"rasterio": "1.4"}, "newer", "Update the plugin; or open Raster"),
    ],
)
def test_a_runtime_of_another_version_is_good_while_it_has_what_is_needed(tmp_path, made_for, packages, kind, told):
    own = Runtime(make_interpreter(tmp_path / "home" / "runtime"), "user")
    (own.folder / STAMP).write_text(json.dumps({"thematica": made_for, "requirements": [], "packages": packages}))
    verdict = judge(own)
    assert verdict.kind == kind
    assert told in verdict.sentence
    assert not kind or made_for in verdict.sentence


def test_a_runtime_whose_python_is_gone_is_told_apart(tmp_path):
    own = Runtime(make_interpreter(tmp_path / "home" / "runtime"), "user")
    (own.folder / STAMP).write_text(json.dumps({"base": "/opt/python3.11", "packages": {}}))
    own.python.unlink()
    own.python.symlink_to(tmp_path / "gone")
    assert judge(own).kind == "lost"
    assert "/opt/python3.11" in runtime_problem(find_runtime())


def test_an_exchange_that_was_killed_in_the_middle_is_finished(tmp_path):
    """The old runtime was taken away, and the new one not yet put there."""
    home = tmp_path / "home"
    make_interpreter(home / "runtime.old-7-1")
    (home / "runtime.old-7-1" / STAMP).write_text('{"thematica": "old"}')
    make_interpreter(home / "runtime.new")
    (home / "runtime.new" / STAMP).write_text('{"thematica": "new"}')
    assert find_runtime().folder == home / "runtime"
    assert "new" in (home / "runtime" / STAMP).read_text()


def test_what_is_being_made_is_no_runtime(tmp_path):
    home = tmp_path / "home"
    make_interpreter(home / "runtime.new")
    assert find_runtime() is None
    make_interpreter(home / "runtime.old-7-1")
    (home / "runtime.old-7-1" / STAMP).write_text('{"thematica": "old"}')
    assert "old" in (find_runtime().folder / STAMP).read_text(), "the old one works until then"


def test_a_broken_off_repair_is_no_runtime(tmp_path):
    own = Runtime(make_interpreter(tmp_path / "home" / "runtime"), "user")
    (own.folder / find.REPAIRING).write_text("{}")
    assert find_runtime() == own
    assert "repair" in runtime_problem(own)


def test_an_environment_of_conda_on_windows(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "win32")
    (tmp_path / "python.exe").touch()
    assert interpreter_in(tmp_path) == tmp_path / "python.exe"


def test_requirements_are_read_without_comments():
    assert requirements() == ["numpy>=1.26", "rasterio"]


def test_clean_environment(monkeypatch):
    kept = {
        "HTTPS_PROXY": "http://proxy:8080",
        "LANG": "de_AT.UTF-8",
        "SSL_CERT_FILE": "/etc/own.pem",
        "HOME": "/home/x",
    }
    for name, value in {**POISON, **kept, "THEMATICA_X": "1"}.items():
        monkeypatch.setenv(name, value)
    environment = clean_environment()
    assert not POISON.keys() & environment.keys()
    assert {**kept, "THEMATICA_X": "1"}.items() <= environment.items()
    assert environment["PATH"] == os.environ["PATH"]


def test_on_windows_qgis_leaves_the_path_and_opens_no_window(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    assert process_options() == {"creationflags": 0x08000200}
    assert interpreter_in(tmp_path) == tmp_path / "Scripts" / "python.exe"

    root = tmp_path / "QGIS 3.40"
    monkeypatch.setenv("OSGEO4W_ROOT", str(root))
    monkeypatch.setenv("PATH", os.pathsep.join([str(root / "bin"), "/windows", str(root / "apps" / "qgis" / "bin")]))
    monkeypatch.setenv("SSL_CERT_FILE", str(root / "bin" / "curl-ca-bundle.crt"))
    environment = clean_environment()
    assert environment["PATH"] == "/windows"
    assert not {"OSGEO4W_ROOT", "SSL_CERT_FILE"} & environment.keys()


def test_on_macos_the_application_leaves_the_path(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(sys, "executable", "/Applications/QGIS.app/Contents/MacOS/QGIS")
    monkeypatch.setenv("PATH", "/Applications/QGIS.app/Contents/MacOS/bin:/usr/local/bin")
    assert clean_environment()["PATH"] == "/usr/local/bin"


def test_worker_command_runs_the_plugins_own_code(tmp_path):
    command = worker_command(Runtime(Path("/r/bin/python"), "user"), "doctor", "--json")
    assert command[0] == "/r/bin/python"
    assert command[-3:] == [str(tmp_path / "plugin" / "__main__.py"), "doctor", "--json"]


def test_a_base_python_is_found_and_can_make_environments():
    base = find_base_python(Watching())
    if base is None:
        pytest.skip("this machine has no Python for it")
    version = subprocess.run([base, "-I", "-c", "import venv, ensurepip, sys; print(sys.version_info >= (3, 10))"],
                             capture_output=True, text=True, check=True, env=clean_environment())  # fmt: skip
    assert version.stdout.strip() == "True"


def test_unusable_pythons_are_named(monkeypatch, tmp_path):
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\necho \'["CPython", [3, 8], true, "/usr/bin/python3.8"]\'\n')
    bare = tmp_path / "python3"
    bare.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'ensurepip'\" >&2\nexit 1\n")
    for path in (old, bare):
        path.chmod(0o755)
    monkeypatch.setattr(base_python, "candidates", lambda: [old, bare, tmp_path / "none"])
    listener = Watching()
    assert find_base_python(listener) is None
    assert "it is Python 3.8" in listener.text
    assert "its module ensurepip is missing" in listener.text
    assert len(listener.lines) == 3


def test_a_python_that_cannot_load_packages_from_the_network_is_passed_over(tmp_path):
    without_ssl = tmp_path / "python3"
    code = "import sys; sys.modules['_ssl'] = None"
    without_ssl.write_text(f'#!/bin/sh\nexec /usr/bin/python3 -I -c "{code}\n$3"\n')
    without_ssl.chmod(0o755)
    found, why_not = probe(without_ssl)
    assert found is None
    assert "_ssl" in why_not


def test_apples_stub_is_not_started(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(base_python.shutil, "which", lambda name, path: {"python3": "/usr/bin/python3"}.get(name))
    assert Path("/usr/bin/python3") not in candidates()
    monkeypatch.setattr(sys, "platform", "linux")
    assert Path("/usr/bin/python3") in candidates()


def test_check_refuses_another_version_and_nonsense(tmp_path):
    python = make_interpreter(tmp_path / "r")
    python.write_text('#!/bin/sh\necho \'{"ok": true, "version": "99"}\'\n')
    with pytest.raises(RuntimeMissingError, match="Thematica 99"):
        check_runtime(Runtime(python, "user"))
    python.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(RuntimeMissingError, match="does not work") as caught:
        check_runtime(Runtime(python, "user"))
    assert "broken" in caught.value.details
    python.write_text("#!/bin/sh\nsleep 30\n")
    with pytest.raises(RuntimeMissingError, match="did not answer"):
        check_runtime(Runtime(python, "user"), timeout=0.3)


def test_a_cancelled_doctor_ends_at_once_with_all_that_it_started(tmp_path):
    python, told = make_interpreter(tmp_path / "r"), tmp_path / "children"
    python.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {told}.new; mv {told}.new {told}\nwait\n")
    with pytest.raises(Cancelled):
        check_runtime(Runtime(python, "user"), timeout=30, is_cancelled=told.exists)
    # The group was killed; its orphan is gone, or not yet collected by the system.
    stat = Path(f"/proc/{told.read_text().strip()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_doctor_in_a_poisoned_environment(monkeypatch, real_runtime, repository):
    monkeypatch.setattr(process, "PLUGIN_FOLDER", repository)
    for name, value in POISON.items():
        monkeypatch.setenv(name, value)
    answer = check_runtime(Runtime(real_runtime, "checkout"))
    assert answer["ok"], answer["problems"]
    assert answer["version"] == __version__


# QGIS's own modules are loaded before; what the plugin adds is printed and judged.
_LOAD = """
import sys, time
import qgis.core, qgis.gui, qgis.PyQt.QtWidgets, qgis.PyQt.QtSvg
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
started = time.perf_counter()
import thematica
plugin = thematica.classFactory(None)
plugin.initProcessing()
seconds = time.perf_counter() - started
print(f"{seconds:.3f} s")
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_loading_the_plugin_needs_no_third_party_module(repository, capsys):
    link = repository / "build" / "pkg"
    done = subprocess.run([sys.executable, "-c", _LOAD, str(link)], capture_output=True, text=True, check=True,
                          env={**clean_environment(), "QT_QPA_PLATFORM": "offscreen"})  # fmt: skip
    seconds, modules = done.stdout.strip().splitlines()[-2:]
    with capsys.disabled():
        print(f" [loading the plugin: {seconds}] ", end="")
    foreign = {"numpy", "torch", "onnx", "onnxruntime", "rasterio", "osgeo", "shapely", "processing", "pip", "scipy"}
    assert not foreign & set(modules.split())
    third_party = set(modules.split()) - set(sys.stdlib_module_names) - {"thematica", "qgis", "PyQt5", "PyQt6", "sip"}
    assert not third_party
