"""Whether a runtime can train, and in several processes: told from its folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from thematica.plugin.runtime import Runtime, clean_environment, interpreter_in
from thematica.plugin.runtime.training import horovod_problem, training_problem

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the folders of a virtual environment elsewhere")


@pytest.fixture
def environment(tmp_path):
    """``environment(module…)``: a virtual environment's folder in which these modules lie."""

    def make(*modules: str, shares: bool = False, at: Path = tmp_path / "env") -> Path:
        site = at / "lib" / "python3.12" / "site-packages"
        for module in modules:
            (site / module).mkdir(parents=True)
            (site / module / "__init__.py").touch()
        site.mkdir(parents=True, exist_ok=True)
        python = interpreter_in(at)
        python.parent.mkdir(parents=True)
        python.touch()
        (at / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = {str(shares).lower()}\n")
        return at

    return make


def named(folder: Path) -> Runtime:
    return Runtime(interpreter_in(folder), "setting")


def test_a_runtime_without_pytorch_is_sent_to_the_dialog(environment):
    problem = training_problem(named(environment("sklearn")), False)
    assert problem.startswith("Training needs PyTorch, which")
    assert "Raster ▸ Thematica ▸ Runtime…, tick “With PyTorch”" in problem


@pytest.mark.parametrize("classical", [False, True])
def test_with_all_of_it_there_is_nothing_to_say(environment, classical):
    assert training_problem(named(environment("torch", "skl2onnx")), classical) == ""


def test_only_classical_networks_need_skl2onnx(environment):
    runtime = named(environment("torch"))
    assert training_problem(runtime, False) == ""
    assert "needs skl2onnx" in training_problem(runtime, True)


def test_a_folder_that_a_removed_package_left_is_no_package(environment):
    folder = environment("torch")
    (folder / "lib" / "python3.12" / "site-packages" / "torch" / "__init__.py").unlink()
    assert "needs PyTorch and skl2onnx" in training_problem(named(folder), True)


def test_where_packages_come_from_elsewhere_as_well_nothing_is_claimed(environment):
    assert training_problem(named(environment(shares=True)), True) == ""
    assert training_problem(Runtime(Path("/usr/bin/python3"), "environment"), True) == ""


def test_an_environment_of_conda_has_what_lies_in_it(environment):
    folder = environment("torch")
    (folder / "pyvenv.cfg").unlink()
    (folder / "conda-meta").mkdir()
    assert training_problem(named(folder), False) == ""
    assert "skl2onnx" in training_problem(named(folder), True)


def test_whoever_named_the_runtime_installs_into_it(environment):
    folder = environment()
    problem = training_problem(Runtime(interpreter_in(folder), "environment"), True)
    assert "requirements-training.txt" in problem
    assert str(folder) in problem


def test_a_runtime_that_is_broken_is_told_as_everywhere(tmp_path):
    assert "no runtime yet" in training_problem(None, False)
    assert "is not complete" in training_problem(Runtime(tmp_path / "bin" / "python", "user"), True)


def test_no_horovod_on_windows():
    assert horovod_problem(None, "win32") == "Horovod cannot be installed on Windows: training runs in one process."


def test_horovod_lies_beside_the_interpreter(environment):
    folder = environment("torch")
    problem = horovod_problem(named(folder), "linux")
    assert "one process" in problem
    assert problem.endswith(f"runtime horovod --python {interpreter_in(folder)}")
    assert horovod_problem(Runtime(interpreter_in(folder), "user"), "linux").endswith("runtime horovod")
    interpreter_in(folder).with_name("horovodrun").touch()
    assert horovod_problem(named(folder), "linux") == ""
    assert horovod_problem(named(folder), "darwin") == ""
    assert "Windows" in horovod_problem(named(folder), "win32")
    assert horovod_problem(None, "linux") != ""


def test_the_checkouts_runtime_is_read_as_it_is(real_runtime):
    command = [str(real_runtime), "-I", "-c", "import importlib.util; print(bool(importlib.util.find_spec('torch')))"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout
    problem = training_problem(Runtime(real_runtime, "checkout"), False)
    assert (problem == "") == (said.strip() == "True")
