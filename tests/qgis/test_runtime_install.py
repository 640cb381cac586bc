"""Installing for real: from nothing, offline, after a kill, over an older runtime; repairing; a CPython of our own.

Most runtimes here hold small wheels made by the test (real virtual environments, real pip, another doctor); the slow
ones hold everything that the engine needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from qgis.core import QgsSettings

from thematica import __version__
from thematica.errors import Cancelled, InputError, RuntimeMissingError
from thematica.plugin.runtime import (
    SETTING,
    STAMP,
    Runtime,
    base_python,
    check_runtime,
    clean_environment,
    find_runtime,
    horovod,
    interpreter_in,
    judge,
    own_python,
    process,
    runtime_problem,
)
from thematica.plugin.runtime import install as module
from thematica.plugin.runtime.build import BUILDS
from thematica.plugin.runtime.install import (
    JOURNAL,
    Choice,
    create_runtime,
    download_arguments,
    install_horovod,
    repair_runtime,
)
from thematica.plugin.runtime.installed import installed_packages, site_packages
from thematica.plugin.runtime.network import Network
from thematica.plugin.runtime.training import horovod_problem, lacking_for_training, training_problem
from thematica.plugin.worker import run_worker

from .conftest import SENTINEL_BANDS
from .runtime_parts import QUIET_PIP, ROOT, Watching, WheelIndex, make_plugin, make_python_archive, make_wheel

POISON = ("PYTHONHOME", "PYTHONPATH", "PROJ_LIB", "GDAL_DATA", "LD_LIBRARY_PATH")
LISTED = ["alpha>=1", "onnxruntime>=1.17"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A plugin that needs two small packages, and a folder with their wheels."""
    folder = tmp_path_factory.mktemp("small")
    make_plugin(folder / "plugin", LISTED, ["alpha", "onnxruntime"], __version__)
    make_wheel(folder / "wheels", "alpha", "1.0")
    make_wheel(folder / "wheels", "onnxruntime", "1.20.0")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch, small):
    """A clean home folder, no network, and the small plugin in place of the real one."""
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("THEMATICA_RUNTIME", raising=False)
    for name, value in QUIET_PIP.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(process, "PLUGIN_FOLDER", small / "plugin")
    QgsSettings().remove(SETTING)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory, small):
    """A runtime of the small plugin, made once; tests take copies."""
    folder = tmp_path_factory.mktemp("made") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET_PIP.items():
            patch.setenv(name, value)
        patch.delenv("PIP_FIND_LINKS", raising=False)
        patch.setattr(process, "PLUGIN_FOLDER", small / "plugin")
        create_runtime(Choice(wheels=small / "wheels"), Watching(), folder)
    return folder


@pytest.fixture
def made(home, made_once):
    """The user's own runtime, small."""
    shutil.copytree(made_once, home / "runtime", symlinks=True)
    return home / "runtime"


@pytest.fixture
def offline(small):
    return Choice(wheels=small / "wheels")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# -- creating -----------------------------------------------------------------------------------------


def test_a_runtime_says_what_it_is_made_of(made, small):
    found = find_runtime()
    assert found == Runtime(interpreter_in(made), "user")
    assert runtime_problem(found) == ""
    stamp = json.loads((made / STAMP).read_text())
    assert stamp["thematica"] == __version__
    assert (stamp["build"], stamp["torch"], stamp["wheels"]) == ("cpu", False, str(small / "wheels"))
    assert stamp["packages"]["alpha"] == "1.0"
    assert stamp["requirements"] == LISTED
    assert not (made / JOURNAL).exists()
    assert check_runtime(found)["ok"]


def test_an_update_replaces_the_old_runtime_and_leaves_nothing_beside_it(made, home, offline):
    (made / "old-file").touch()
    (home / "runtime.old-1-1").mkdir()
    listener = Watching()
    create_runtime(offline, listener)
    assert not (made / "old-file").exists()
    assert names(home) == ["runtime", "runtime.lock"]
    fractions = [fraction for _, fraction in listener.steps if fraction is not None]
    assert fractions[-1] == 1.0


def test_installing_in_an_environment_poisoned_in_every_way(home, offline, monkeypatch):
    for variable in POISON:
        monkeypatch.setenv(variable, "/nonsense")
    assert check_runtime(create_runtime(offline, Watching()))["ok"]


def test_a_failure_leaves_the_old_runtime_and_the_next_try_goes_on(made, small, tmp_path):
    before = (made / STAMP).read_text()
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0")
    with pytest.raises(RuntimeMissingError, match="no wheel of onnxruntime") as caught:
        create_runtime(Choice(wheels=wheels), Watching())
    assert str(wheels) in caught.value.message
    assert (made / STAMP).read_text() == before
    assert judge(find_runtime()).kind == ""

    make_wheel(wheels, "onnxruntime", "1.21.0")
    listener = Watching()
    create_runtime(Choice(wheels=wheels), listener)
    assert "Going on with" in listener.text
    assert json.loads((made / STAMP).read_text())["packages"]["onnxruntime"] == "1.21.0"


def test_packages_that_the_engine_cannot_run_with_are_not_put_in_place(made, small, tmp_path, monkeypatch):
    before = (made / STAMP).read_text()
    broken = tmp_path / "wheels"
    make_wheel(broken, "alpha", "1.0")
    make_wheel(broken, "onnxruntime", "1.30.0", {"onnxruntime/__init__.py": "raise ImportError('no libfoo.so')\n"})
    with pytest.raises(RuntimeMissingError, match=r"no libfoo\.so"):
        create_runtime(Choice(wheels=broken), Watching())
    assert (made / STAMP).read_text() == before


def test_cancelling_leaves_the_old_runtime_and_no_gigabytes(made, home, offline):
    before = (made / STAMP).read_text()
    with pytest.raises(Cancelled):
        create_runtime(offline, Watching(cancel_at="Installing alpha"))
    assert (made / STAMP).read_text() == before
    assert names(home) == ["runtime", "runtime.lock"]


def test_too_little_space_is_told_before_anything_is_written(home, monkeypatch):
    monkeypatch.setattr(module, "bytes_free", lambda folder: 100_000_000)
    with pytest.raises(RuntimeMissingError, match=r"needs about 5\.0 GB .* 100 MB are free: .*smaller build"):
        create_runtime(Choice("cuda"), Watching())
    assert not home.exists()


def test_a_folder_without_wheels_is_refused(home, tmp_path):
    with pytest.raises(InputError, match="holds no wheels"):
        create_runtime(Choice(wheels=tmp_path), Watching())
    with pytest.raises(InputError, match="holds no wheels"):
        create_runtime(Choice(wheels=tmp_path / "none"), Watching())


def test_a_folder_that_cannot_be_written(home, offline, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeMissingError, match="could not be written"):
        create_runtime(offline, Watching(), tmp_path / "file" / "runtime")


def test_two_builds_never_meet(made, home, small):
    """From the processor's build to CUDA's: made anew, not installed over."""
    gpu = make_wheel(small / "wheels", "onnxruntime-gpu", "1.30.0", {"onnxruntime/__init__.py": "gpu = True\n"})
    try:
        create_runtime(Choice("cuda", wheels=small / "wheels"), Watching())
    finally:
        gpu.unlink()
    assert {"onnxruntime", "onnxruntime-gpu"} & installed_packages(made).keys() == {"onnxruntime-gpu"}
    assert json.loads((made / STAMP).read_text())["build"] == "cuda"


# -- versions -----------------------------------------------------------------------------------------


def test_a_runtime_from_an_older_plugin_version_is_explained_and_updated(home, small, tmp_path, monkeypatch):
    """Made by the older plugin itself, through its command line; then this version comes."""
    older = make_plugin(tmp_path / "older", ["alpha>=0.5,<0.9"], ["alpha"], "0.0.9")
    make_wheel(tmp_path / "wheels", "alpha", "0.8")
    command = ["/usr/bin/python3", str(older / "plugin" / "runtime"), "create", "--build", "cpu"]
    subprocess.run([*command, "--wheels", str(tmp_path / "wheels")], check=True, capture_output=True, timeout=120)
    verdict = judge(find_runtime())
    assert verdict.kind == "outdated"
    assert "made for Thematica 0.0.9" in verdict.sentence
    assert "alpha>=1" in verdict.sentence
    create_runtime(Choice(wheels=small / "wheels"), Watching())
    assert judge(find_runtime()).kind == ""
    assert check_runtime(find_runtime())["version"] == __version__


# -- repairing ----------------------------------------------------------------------------------------


def break_file(site):
    (site / "alpha" / "data.txt").unlink()


def break_bytes(site):
    (site / "onnxruntime" / "data.txt").write_text("x" * 500)


def break_record(site):
    (site / "alpha-1.0.dist-info" / "RECORD").unlink()


def break_version(site):
    (site / "alpha-1.0.dist-info").rename(site / "alpha-0.3.dist-info")


def break_everything_of_it(site):
    shutil.rmtree(site / "alpha")
    shutil.rmtree(site / "alpha-1.0.dist-info")


def break_by_a_rival(site):
    """What ``pip install onnxruntime-gpu`` into our runtime does."""
    (site / "onnxruntime" / "__init__.py").write_text("gpu = True\n")
    rival = site / "onnxruntime_gpu-1.30.0.dist-info"
    rival.mkdir()
    (rival / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.30.0\n")
    (rival / "RECORD").write_text("onnxruntime/__init__.py,,\nonnxruntime_gpu-1.30.0.dist-info/RECORD,,\n")


@pytest.mark.parametrize(
    ("breaking", "told"),
    [
        (break_file, "alpha lacks a file (data.txt)"),
        (break_bytes, "onnxruntime has a damaged file (data.txt)"),
        (break_record, "alpha was not installed completely"),
        (break_version, "alpha is 0.3 instead of 1.0"),
        (break_everything_of_it, "alpha is missing"),
        (break_by_a_rival, "onnxruntime-gpu does not belong here"),
    ],
)
def test_what_is_broken_is_found_and_installed_anew(made, offline, breaking, told):
    site = site_packages(made)
    breaking(site)
    (made / "ours").touch()
    listener = Watching()
    repaired = repair_runtime(offline, listener)
    assert told in listener.text
    assert check_runtime(repaired)["ok"]
    assert judge(find_runtime()).kind == ""
    packages = installed_packages(made)
    assert (packages["alpha"].version, packages["onnxruntime"].version) == ("1.0", "1.20.0")
    assert "onnxruntime-gpu" not in packages
    assert (
        (site / "alpha" / "data.txt").read_text() == (site / "onnxruntime" / "data.txt").read_text() == "data\n" * 100
    )
    assert (made / "ours").exists(), "only what is broken is touched"


def test_a_runtime_in_order_stays_as_it_is(made, offline):
    listener = Watching()
    repair_runtime(offline, listener)
    assert "Nothing was broken" in listener.text
    assert judge(find_runtime()).kind == ""


def test_a_runtime_whose_python_has_vanished_is_made_anew(made, offline):
    python = interpreter_in(made)
    for path in python.parent.glob("python*"):
        path.unlink()
    python.symlink_to("/opt/gone/python3.11")
    assert judge(find_runtime()).kind == "lost"
    listener = Watching()
    assert check_runtime(repair_runtime(offline, listener))["ok"]
    assert "made anew: its interpreter is gone" in listener.text


def test_a_repair_that_was_broken_off_is_gone_on_with(made, offline):
    break_file(site_packages(made))
    with pytest.raises(Cancelled):
        repair_runtime(offline, Watching(cancel_at="lacks a file"))
    assert judge(find_runtime()).kind == "incomplete"
    repair_runtime(offline, Watching())
    assert judge(find_runtime()).kind == ""
    assert (site_packages(made) / "alpha" / "data.txt").is_file()


def test_where_pip_is_broken_the_runtime_is_made_anew(made, offline):
    shutil.rmtree(site_packages(made) / "pip")
    listener = Watching()
    assert check_runtime(repair_runtime(offline, listener))["ok"]
    assert "made anew" in listener.text


# -- training -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_with_torch_once(tmp_path_factory, small):
    """A runtime with PyTorch as an older version of the plugin made it, and the wheels for that; tests take copies."""
    folder = tmp_path_factory.mktemp("with-torch")
    shutil.copytree(small / "wheels", folder / "wheels")
    make_wheel(folder / "wheels", "torch", "2.0")
    older = make_plugin(folder / "older", LISTED, ["alpha", "onnxruntime"], __version__)
    (older / "requirements-training.txt").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET_PIP.items():
            patch.setenv(name, value)
        patch.delenv("PIP_FIND_LINKS", raising=False)
        patch.setattr(process, "PLUGIN_FOLDER", older)
        create_runtime(Choice(torch=True, wheels=folder / "wheels"), Watching(), folder / "runtime")
    return folder


@pytest.fixture
def with_torch(home, made_with_torch_once, tmp_path):
    """The user's own runtime is such a one; gives a folder of wheels without what training needs beside PyTorch."""
    shutil.copytree(made_with_torch_once / "runtime", home / "runtime", symlinks=True)
    shutil.copytree(made_with_torch_once / "wheels", tmp_path / "wheels")
    return tmp_path / "wheels"


def test_a_runtime_with_pytorch_of_an_older_plugin_classifies_and_is_completed_in_place(with_torch, home):
    found = find_runtime()
    assert runtime_problem(found) == "", "it classifies as before"
    assert lacking_for_training(found) == ["skl2onnx>=1.17"]
    assert "needs skl2onnx" in training_problem(found, True)
    assert training_problem(found, True).endswith("and repair it.")
    assert training_problem(found, False) == ""
    (found.folder / "ours").touch()
    make_wheel(with_torch, "skl2onnx", "1.20")
    listener = Watching()
    repaired = repair_runtime(Choice(wheels=with_torch), listener)
    assert "Training needs more, which is installed: skl2onnx>=1.17" in listener.text
    assert (found.folder / "ours").exists(), "nothing else is made anew"
    assert lacking_for_training(repaired) == []
    assert training_problem(find_runtime(), True) == ""
    assert json.loads((found.folder / STAMP).read_text())["packages"]["skl2onnx"] == "1.20"


def test_where_it_cannot_be_completed_it_classifies_all_the_same(with_torch, home):
    with pytest.raises(RuntimeMissingError, match="no wheel of skl2onnx"):
        repair_runtime(Choice(wheels=with_torch), Watching())
    assert names(home) == ["runtime", "runtime.lock"]
    assert runtime_problem(find_runtime()) == ""
    assert lacking_for_training(find_runtime()) == ["skl2onnx>=1.17"]


def test_a_new_runtime_with_pytorch_can_train(with_torch, home):
    make_wheel(with_torch, "skl2onnx", "1.20")
    create_runtime(Choice(torch=True, wheels=with_torch), Watching())
    assert training_problem(find_runtime(), True) == ""
    assert "skl2onnx>=1.17" in json.loads((home / "runtime" / STAMP).read_text())["requirements"]


_HOROVODS_BUILD = r"""
import base64, pathlib, zipfile

def build_wheel(folder, settings=None, metadata=None):
    text = pathlib.Path("CMakeLists.txt").read_text() + pathlib.Path("horovod/torch/CMakeLists.txt").read_text()
    if text.count("CMAKE_CXX_STANDARD 20") != 2:
        raise SystemExit("error: these headers want C++20")
    info = "horovod-0.28.1.dist-info"
    files = {
        "horovod/__init__.py": "",
        "horovod/torch/__init__.py": "def gloo_built(): return True\n",
        "horovod-0.28.1.data/scripts/horovodrun": "#!python\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: horovod\nVersion: 0.28.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
    name = "horovod-0.28.1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as packed:
        for path, text in files.items():
            packed.writestr(path, text)
    return name

def prepare_metadata_for_build_wheel(folder, settings=None):
    info = pathlib.Path(folder) / "horovod-0.28.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: horovod\nVersion: 0.28.1\n")
    return info.name

def build_sdist(folder, settings=None):
    raise NotImplementedError
"""


@pytest.fixture
def source_of_horovod(with_torch, tmp_path, monkeypatch):
    """A small Horovod in the folder of wheels, built as the real one is; and a compiler, which it does not need."""
    source = tmp_path / "horovod-0.28.1"
    (source / "horovod" / "torch").mkdir(parents=True)
    for path in (source / "CMakeLists.txt", source / "horovod" / "torch" / "CMakeLists.txt"):
        path.write_text("set(CMAKE_CXX_STANDARD 14)\n")
    (source / "backend.py").write_text(_HOROVODS_BUILD)
    project = '[project]\nname = "horovod"\nversion = "0.28.1"\n'
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (source / "pyproject.toml").write_text(project + system)
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: horovod\nVersion: 0.28.1\n")
    with tarfile.open(with_torch / "horovod-0.28.1.tar.gz", "w:gz") as packed:
        packed.add(source, source.name)
    for name, version in (("setuptools", "80.0"), ("wheel", "1.0"), ("packaging", "1.0"), ("cloudpickle", "1.0"),
                          ("psutil", "1.0"), ("pyyaml", "1.0"), ("cffi", "2.0")):  # fmt: skip
        make_wheel(with_torch, name, version)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cmake", "make", "c++"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(horovod, "_PROBE", "print(True, True)")
    return with_torch


def test_horovod_is_built_into_the_runtime_and_belongs_to_it(source_of_horovod, home):
    assert horovod_problem(find_runtime())
    install_horovod(Watching(), Network(), source_of_horovod)
    assert horovod_problem(find_runtime()) == ""
    assert json.loads((home / "runtime" / STAMP).read_text())["packages"]["horovod"] == "0.28.1"
    assert not list((home / "runtime").glob("horovod-*")), "what was compiled is gone"
    assert judge(find_runtime()).kind == ""
    # Where it is damaged it is taken out: it is no wheel that could be installed anew.
    record = site_packages(home / "runtime") / "horovod-0.28.1.dist-info" / "RECORD"
    record.unlink()
    make_wheel(source_of_horovod, "skl2onnx", "1.20")
    listener = Watching()
    repair_runtime(Choice(wheels=source_of_horovod), listener)
    assert "build it again" in listener.text
    assert "made anew" not in listener.text
    assert not record.parent.exists()
    assert judge(find_runtime()).kind == ""


def test_horovod_that_does_not_compile_is_one_sentence_and_leaves_the_runtime(source_of_horovod, home, monkeypatch):
    monkeypatch.setattr(horovod, "_unpack", lambda archive: archive.parent)
    listener = Watching()
    with pytest.raises(RuntimeMissingError, match="could not be built; the log says more"):
        install_horovod(listener, Network(), source_of_horovod)
    assert "is not installable" in listener.lines[-1], "what the compiler said is in the log"
    assert not list((home / "runtime").glob("horovod-*"))
    assert "build it" in horovod_problem(find_runtime())
    assert judge(find_runtime()).kind == ""


def test_what_the_compiler_needs_is_named_before_anything_is_downloaded(with_torch, monkeypatch, tmp_path):
    monkeypatch.setattr(horovod, "_PROBE", "print(True, False)")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        RuntimeMissingError, match=r"lacks the headers of Python .*cmake, make, a C\+\+ compiler"
    ) as told:
        install_horovod(Watching(), Network(), with_torch)
    assert "apt install" in told.value.message or "brew" in told.value.message


def test_without_pytorch_there_is_nothing_to_build_horovod_against(made):
    with pytest.raises(RuntimeMissingError, match="make it with PyTorch first"):
        install_horovod(Watching(), Network())


# -- a CPython of our own -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python_archive(tmp_path_factory):
    """An archive as python-build-standalone has it, made from a CPython of this machine."""
    base = base_python.find_base_python(Watching())
    if base is None:
        pytest.skip("this machine has no Python to make an archive from")
    return make_python_archive(tmp_path_factory.mktemp("archive"), base, own_python.platform_name())


def test_without_any_python_one_from_the_folder_of_wheels_is_used(home, small, tmp_path, monkeypatch, python_archive):
    monkeypatch.setattr(base_python, "candidates", list)
    wheels = tmp_path / "wheels"
    shutil.copytree(small / "wheels", wheels)
    with pytest.raises(RuntimeMissingError, match=r"no archive of one \(cpython-3\.…-install_only\.tar\.gz\)"):
        create_runtime(Choice(wheels=wheels), Watching())
    shutil.copy(python_archive, wheels)
    listener = Watching()
    runtime = create_runtime(Choice(wheels=wheels), listener)
    assert check_runtime(runtime)["ok"]
    assert "Unpacking" in listener.text
    base = json.loads((runtime.folder / STAMP).read_text())["base"]
    assert Path(base).is_relative_to(home / "python")
    # It is kept for the next time.
    listener = Watching()
    create_runtime(Choice(wheels=small / "wheels"), listener)
    assert "Unpacking" not in listener.text


@pytest.mark.slow
def test_without_any_python_uv_brings_one(home, small, tmp_path, monkeypatch, python_archive):
    """uv from the package index, and the CPython from a mirror of our own (GitHub need not be reachable)."""
    for name in QUIET_PIP:
        monkeypatch.delenv(name)
    monkeypatch.setattr(base_python, "candidates", list)
    version, family = python_archive.name.split("-")[1].split("+")[0], own_python.platform_name().split("-")[0]
    major, minor, patch = (int(part) for part in version.split("."))
    monkeypatch.setattr(own_python, "VERSION", f"{major}.{minor}")
    release = {
        "name": "cpython", "arch": {"family": family, "variant": None}, "os": "linux", "libc": "gnu",
        "major": major, "minor": minor, "patch": patch, "prerelease": "", "variant": None, "build": "20260101",
        "url": python_archive.as_uri(), "sha256": hashlib.sha256(python_archive.read_bytes()).hexdigest(),
    }  # fmt: skip
    releases = tmp_path / "releases.json"
    releases.write_text(json.dumps({f"cpython-{version}-linux-{family}-gnu": release}))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", releases.as_uri())
    listener = Watching()
    try:
        python = module.find_python(Choice(), listener)
    except RuntimeMissingError as error:
        if "package index cannot be reached" in error.message:
            pytest.skip("the package index, where uv is, cannot be reached")
        raise
    assert python.is_relative_to(home / "python")
    told = subprocess.run([python, "-I", "-c", "import ssl, venv, sys; print(sys.prefix)"], capture_output=True,
                          text=True, check=True, env=clean_environment())  # fmt: skip
    assert Path(told.stdout.strip()).resolve().is_relative_to((home / "python").resolve())
    assert not list((home / "python").glob(".uv-*")), "uv itself is not left there"
    assert not (Path.home() / ".local" / "bin" / f"python{major}.{minor}").is_relative_to(home)


def test_where_no_python_can_be_brought_the_sentence_says_what_to_do(home, monkeypatch):
    monkeypatch.setattr(base_python, "candidates", list)
    monkeypatch.setattr(own_python, "candidates", list)
    with pytest.raises(RuntimeMissingError, match=r"cannot be reached.*or install Python 3\.12") as caught:
        create_runtime(Choice(), Watching())
    assert "sudo apt install python3-venv" in caught.value.message


# -- everything that the engine needs -----------------------------------------------------------------


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """A folder of wheels for this machine, made with the command that the dialog shows."""
    python = module.python_here("cpu")
    if python is None:
        pytest.skip("this machine has no Python to make a runtime from")
    pip = ROOT / ".venv" / "bin" / "python"
    folder = tmp_path_factory.mktemp("offline") / "wheels"
    command = [pip, "-m", "pip", *download_arguments(Choice("cpu"), python, str(folder)), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=clean_environment())
    if done.returncode != 0:
        assert "rror" in done.stderr
        if "NewConnectionError" in done.stderr or "Max retries" in done.stderr:
            pytest.skip("the package index cannot be reached")
        pytest.fail(done.stderr[-3000:])
    return folder


def headless(home: Path, *arguments: str, plugin: Path = ROOT, **more: str) -> subprocess.Popen:
    """The installer without QGIS, in a clean home folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "THEMATICA_"))}
    environment.update(HOME=str(home), **more)
    home.mkdir(exist_ok=True)
    command = ["/usr/bin/python3", str(plugin / "plugin" / "runtime"), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(running: subprocess.Popen) -> tuple[int, str]:
    said, _ = running.communicate(timeout=300)
    return running.returncode, said


@pytest.mark.slow
def test_from_nothing_in_a_clean_home_folder(tmp_path, real_runtime):
    status, said = finish(headless(tmp_path / "home", "create", "--build", "cpu"))
    if status != 0 and "package index cannot be reached" in said:
        pytest.skip("the package index cannot be reached")
    assert status == 0, said
    folder = tmp_path / "home" / ".local" / "share" / "thematica"
    assert said.strip().splitlines()[-1] == str(folder / "runtime")
    assert names(folder) == ["runtime", "runtime.lock"]
    answer = check_runtime(Runtime(interpreter_in(folder / "runtime"), "user"))
    assert answer["ok"], answer["problems"]
    size = sum(path.stat().st_size for path in (folder / "runtime").rglob("*") if path.is_file())
    assert size < 1.3 * BUILDS["cpu"].installed[False], "the dialog tells the analyst another size"


@pytest.fixture(scope="session")
def offline_home(tmp_path_factory, wheels):
    """A home folder with a whole runtime, made offline in an environment that is poisoned in every way at once.

    (But PYTHONHOME: see the test above.)
    """
    home = tmp_path_factory.mktemp("offline-home")
    nowhere = "http://127.0.0.1:9"
    # PYTHONHOME would stop the command line's own Python, which is no Python of ours.
    poison = {name: "/nonsense" for name in POISON if name != "PYTHONHOME"}
    network = {
        "PIP_INDEX_URL": f"{nowhere}/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "HTTPS_PROXY": nowhere,
        "HTTP_PROXY": nowhere,
    }
    settings = {**poison, **network, "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""}
    status, said = finish(headless(home, "create", "--build", "cpu", "--wheels", str(wheels), **settings))
    assert status == 0, said
    assert "http" not in said.replace(nowhere, ""), "something was asked of the network"
    return home / ".local" / "share" / "thematica"


@pytest.mark.slow
@pytest.mark.parametrize("variable", POISON)
def test_doctor_and_classification_of_an_offline_runtime_in_a_poisoned_environment(
    offline_home, scene, tmp_path, monkeypatch, variable
):
    monkeypatch.setenv("THEMATICA_HOME", str(offline_home))
    monkeypatch.setenv(variable, "/nonsense")
    runtime = Runtime(interpreter_in(offline_home / "runtime"), "user")
    assert runtime_problem(runtime) == ""
    answer = check_runtime(runtime)
    assert answer["ok"], answer["problems"]
    assert len(SENTINEL_BANDS) == 10
    job = {"rasters": [str(scene)], "model": "basic-cover-sentinel2", "output": str(tmp_path / "map.tif")}
    result = run_worker("classify-pixels", job, lambda event: None, lambda: False, runtime)
    assert Path(result["files"]["output"]).is_file()
    found = {entry["name"]: entry["pixels"] for entry in result["report"]["classes"] if entry["pixels"]}
    assert len(found) == 2, "water and forest"


def children_of(process_id: int) -> list[int]:
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process_id)], capture_output=True, text=True, check=False)
    return [int(word) for word in told.stdout.split()]


@pytest.mark.slow
@pytest.mark.parametrize("kill_tree", [True, False], ids=["the whole tree", "only the installer"])
def test_after_a_kill_in_the_middle_the_next_run_goes_on(tmp_path, wheels, kill_tree):
    home = tmp_path / "home"
    folder = home / ".local" / "share" / "thematica"
    # Of the real packages those that take longest to install: time enough to be killed in.
    plugin = make_plugin(tmp_path / "plugin", ["numpy", "onnxruntime"], ["numpy", "onnxruntime"], __version__)
    arguments = ("create", "--build", "cpu", "--wheels", str(wheels))
    settings = {
        "plugin": plugin,
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "http://127.0.0.1:9",
        "PIP_FIND_LINKS": "",
    }
    killed = headless(home, *arguments, **settings)
    assert killed.stdout is not None
    for line in killed.stdout:
        # Some packages are there, the next is half there.
        if "Installing collected packages" in line:
            site = site_packages(folder / "runtime.new")
            limit = time.monotonic() + 60
            while len(list(site.glob("*.dist-info"))) < 4 and time.monotonic() < limit:
                time.sleep(0.01)
            break
    else:
        pytest.fail("it ended before it was killed")
    pips = children_of(killed.pid)
    for victim in [killed.pid, *(pips if kill_tree else [])]:
        os.kill(victim, signal.SIGKILL)
    killed.stdout.close()
    killed.wait()
    assert not (folder / "runtime").exists(), "nothing half done under the final name"
    assert (folder / "runtime.new" / JOURNAL).is_file()
    if kill_tree:
        assert "onnxruntime" not in installed_packages(folder / "runtime.new")
    status, said = finish(headless(home, *arguments, **settings))
    assert status == 0, said
    assert "Going on with the installation that was broken off" in said
    assert "Creating a virtual environment with" not in said
    assert names(folder) == ["runtime", "runtime.lock"]
    importing = [interpreter_in(folder / "runtime"), "-I", "-c", "import numpy, onnxruntime"]
    subprocess.run(importing, check=True, env=clean_environment(), timeout=60)
    stamp = json.loads((folder / "runtime" / STAMP).read_text())
    assert {"numpy", "onnxruntime"} <= stamp["packages"].keys()


@pytest.fixture
def wheel_index(tmp_path):
    for name in ("alpha", "beta", "gamma"):
        make_wheel(tmp_path / "served", name, "1.0")
    served = WheelIndex(tmp_path / "served")
    yield served
    served.close()


@pytest.mark.parametrize("how", ["killed", "connection lost"])
def test_what_was_downloaded_is_not_downloaded_again(tmp_path, wheel_index, how):
    plugin = make_plugin(tmp_path / "plugin", ["alpha", "beta", "gamma"], ["alpha", "beta", "gamma"], __version__)
    settings = {**QUIET_PIP, "PIP_INDEX_URL": wheel_index.url, "PIP_FIND_LINKS": "", "plugin": plugin}
    wheel_index.hangs, wheel_index.breaks = ("gamma", "") if how == "killed" else ("", "gamma")
    first = headless(tmp_path / "home", "create", "--build", "cpu", **settings)
    if how == "killed":
        limit = time.monotonic() + 60
        while not any(name.startswith("gamma") for name in wheel_index.asked) and time.monotonic() < limit:
            time.sleep(0.02)
        for victim in [*children_of(first.pid), first.pid]:
            os.kill(victim, signal.SIGKILL)
    status, said = finish(first)
    assert status != 0
    if how == "connection lost":
        assert "connection broke off" in said.splitlines()[-1]
    assert [name.partition("-")[0] for name in wheel_index.asked][:2] == ["alpha", "beta"]
    wheel_index.asked.clear()
    wheel_index.hangs = wheel_index.breaks = ""
    status, said = finish(headless(tmp_path / "home", "create", "--build", "cpu", **settings))
    assert status == 0, said
    assert [name.partition("-")[0] for name in wheel_index.asked] == ["gamma"], said
    folder = tmp_path / "home" / ".local" / "share" / "thematica"
    assert names(folder) == ["runtime", "runtime.lock"]
    assert not (folder / "runtime" / "thematica-downloads").exists()


@pytest.mark.slow
def test_a_deleted_library_is_found_and_installed_anew(offline_home, wheels, monkeypatch):
    monkeypatch.setenv("THEMATICA_HOME", str(offline_home))
    runtime = Runtime(interpreter_in(offline_home / "runtime"), "user")
    library = next(site_packages(offline_home / "runtime").glob("onnxruntime/capi/onnxruntime_pybind11_state*.so"))
    library.unlink()
    assert not check_runtime(runtime)["ok"]
    listener = Watching()
    repair_runtime(Choice(wheels=wheels), listener)
    assert f"onnxruntime lacks a file ({library.name})" in listener.text
    assert "made anew" not in listener.text
    assert check_runtime(runtime)["ok"]
