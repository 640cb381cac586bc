"""``thematica doctor``: what it finds, and that nothing broken breaks it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from thematica.cli import doctor
from thematica.cli.graphics import _from_sysfs, read_nvidia_smi, run_quietly
from thematica.cli.trainable import training_facts, training_lines
from thematica.engine.providers import PROVIDERS

from ..engine.workplace import run_here, run_there


@pytest.fixture(scope="module")
def facts() -> dict:
    outcome = run_there("doctor", "--json")
    assert outcome.status == 0, outcome.out
    return json.loads(outcome.out)


def test_it_says_what_the_build_has_what_loads_and_what_is_used(facts: dict) -> None:
    assert facts["providers"] == onnxruntime.get_available_providers()
    assert facts["loads"]["cpu"] == {"loads": True, "why_not": ""}
    known = {entry.short for entry in PROVIDERS if entry.name in facts["providers"]}
    assert set(facts["loads"]) == known
    assert facts["default"] in known
    assert facts["loads"][facts["default"]]["loads"]
    assert facts["order"][-1] == "cpu"
    assert isinstance(facts["gpus"], list)


def test_it_says_what_pytorch_can_do(facts: dict) -> None:
    import torch

    assert facts["torch"]["version"] == torch.__version__
    if not torch.cuda.is_available():
        assert facts["torch"]["devices"] == []
        assert facts["torch"]["why_not"]


def test_for_people_it_says_the_same_in_words(facts: dict) -> None:
    outcome = run_there("doctor")
    assert outcome.status == 0
    assert "ONNX files run on:" in outcome.out
    assert "used by default" in outcome.out
    assert f"(PyTorch {facts['torch']['version']})" in outcome.out
    assert outcome.out.splitlines()[-1] == "All is well."


def test_it_says_whether_training_is_possible(facts: dict) -> None:
    import skl2onnx
    import torch

    training = facts["training"]
    assert training["possible"]
    assert training["problem"] == ""
    assert training["packages"]["torch"] == torch.__version__
    assert training["packages"]["skl2onnx"] == skl2onnx.__version__
    there = importlib.util.find_spec("horovod") is not None
    assert bool(training["horovod"]["version"]) == there
    assert bool(training["horovod"]["why_not"]) != there


@pytest.mark.parametrize(
    ("torch", "probed", "possible", "problem"),
    [
        (None, {}, False, "Not possible: PyTorch is not installed."),
        ({"loads": False, "why_not": "it crashed"}, {}, False, "Not possible: PyTorch does not load (it crashed)."),
        (
            {"version": "2"},
            {},
            True,
            "Only deep networks; for forests, boosted trees and SVM, skl2onnx is not installed.",
        ),
        (
            {"version": "2"},
            {"training": {"loads": False, "why_not": "it crashed (status -11: no message)"}},
            True,
            "skl2onnx does not load (it crashed (status -11: no message)).",
        ),
        (
            {"version": "2"},
            {"training": {"packages": {"skl2onnx": "1"}, "why_not": {"tensorboard": "ImportError: x"}}},
            True,
            "without curves for TensorBoard: tensorboard does not load (ImportError: x).",
        ),
    ],
)
def test_what_hinders_training_is_told(torch: dict | None, probed: dict, possible: bool, problem: str) -> None:
    facts = training_facts(torch, probed)
    assert facts["possible"] == possible
    assert facts["problem"].endswith(problem)
    assert facts["problem"] in training_lines(facts)[0]


def test_why_there_is_one_process_only_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"horovod": {"packages": {}, "why_not": {"horovod": "ImportError: undefined symbol"}}}
    assert "Horovod does not load (ImportError: undefined symbol): training runs in one process." in str(
        training_facts(None, broken)["horovod"]
    )
    assert "Horovod is not installed: training runs in one process." in training_lines(training_facts(None, {}))[1]
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Horovod cannot be installed on Windows" in training_lines(training_facts(None, {}))[1]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another process for PyTorch, which takes seconds."""
    monkeypatch.setattr(doctor, "_probe_elsewhere", lambda name: {"loads": False, "why_not": "not tried"})


@pytest.mark.usefixtures("quick")
def test_the_environment_variable_is_heeded_and_a_wrong_one_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMATICA_PROVIDERS", "openvino,cpu")
    assert doctor.examine()["order"] == ["openvino", "cpu"]
    monkeypatch.setenv("THEMATICA_PROVIDERS", "quantum")
    outcome = run_here("doctor")
    assert outcome.status == 2
    assert "no provider “quantum” (THEMATICA_PROVIDERS)" in outcome.out
    assert "(THEMATICA_PROVIDERS=quantum)" in outcome.out


# What is broken


def broken(tmp_path: Path, name: str, code: str) -> dict[str, str]:
    (tmp_path / f"{name}.py").write_text(code)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_a_pytorch_that_cannot_be_imported_is_told_and_is_no_problem_for_onnx(tmp_path: Path) -> None:
    environment = broken(tmp_path, "torch", "raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    outcome = run_there("doctor", "--json", env=environment)
    facts = json.loads(outcome.out)
    assert outcome.status == 0
    assert "libtorch_cpu.so" in facts["torch"]["why_not"]
    assert any("PyTorch does not load" in line for line in doctor._lines(facts))


def test_a_pytorch_that_crashes_takes_nothing_with_it(tmp_path: Path) -> None:
    environment = broken(tmp_path, "torch", "import os; os.abort()")
    outcome = run_there("doctor", "--json", env=environment)
    assert outcome.status == 0
    assert "crashed" in json.loads(outcome.out)["torch"]["why_not"]


def test_a_broken_onnx_runtime_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    environment = broken(tmp_path, "onnxruntime", "raise ImportError('DLL load failed')")
    outcome = run_there("doctor", "--json", env=environment)
    facts = json.loads(outcome.out)
    assert outcome.status == 2
    assert any("onnxruntime" in problem and "DLL load failed" in problem for problem in facts["problems"])
    assert (facts["loads"], facts["default"]) == ({}, None)
    assert doctor._lines(facts)


@pytest.mark.usefixtures("quick")
def test_two_builds_of_onnx_runtime_side_by_side_are_a_problem(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "onnxruntime_gpu-1.20.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.20.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (problem,) = doctor.examine()["problems"]
    assert problem.startswith(f"onnxruntime {onnxruntime.__version__} and onnxruntime-gpu 1.20.0 are installed side by")
    assert "uninstall both" in problem


def test_providers_are_tried_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A build with three providers: one loads, one does not and says why, one crashes."""
    answers = {
        "cuda": {"loads": False, "why_not": "libcublasLt.so.13 is missing"},
        "tensorrt": {"loads": False, "why_not": "it crashed (status -11: no message)"},
        "openvino": {"loads": True, "why_not": ""},
        "torch": {"version": "2.13.0+cu130", "cuda": "13.0", "why_not": {},
                  "devices": [{"device": "cuda:0", "name": "NVIDIA A100", "memory": 40 * 2**30}]},
        "training": {"packages": {"skl2onnx": "1.20", "tensorboard": "2.21"}, "why_not": {}},
        "horovod": {"packages": {}, "why_not": {"horovod": "ImportError: undefined symbol"}},
    }  # fmt: skip
    names = [entry.name for entry in PROVIDERS if entry.short in (*answers, "cpu")]
    monkeypatch.setattr(doctor, "_try_network", lambda: names)
    monkeypatch.setattr(doctor, "_probe_elsewhere", answers.get)
    monkeypatch.setattr(doctor, "find_gpus", lambda: read_nvidia_smi("NVIDIA A100, 40960, 550.54\n"))
    outcome = run_here("doctor")
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert "GPU: NVIDIA A100, 40 GB, driver 550.54" in lines
    assert "cuda does not load: libcublasLt.so.13 is missing" in lines
    assert "tensorrt does not load: it crashed (status -11: no message)" in lines
    assert "openvino loads ← used by default" in lines
    assert "PyTorch files run on: cuda:0 (NVIDIA A100) (PyTorch 2.13.0+cu130)" in lines
    monkeypatch.setenv("THEMATICA_PROVIDERS", "cpu")
    assert doctor.examine()["default"] == "cpu"


def test_a_provider_is_really_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.probe("cpu") == {"loads": True, "why_not": ""}
    assert not doctor.probe("quantum")["loads"]
    assert not doctor.probe("cuda")["loads"] or "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    program = Path(sys.executable).with_name("thematica")
    done = subprocess.run([program, "doctor", "--probe", "cpu"], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["loads"]
    assert "--probe" not in run_here("doctor", "--help").out


# Graphics


def test_nvidia_smi_is_read() -> None:
    text = "NVIDIA GeForce RTX 3060 Laptop GPU, 6144, 535.183.01\nTesla T4, [N/A], 535.183.01\n\n"
    assert read_nvidia_smi(text) == [
        {"name": "NVIDIA GeForce RTX 3060 Laptop GPU", "memory": 6144 * 2**20, "driver": "535.183.01"},
        {"name": "Tesla T4", "memory": None, "driver": "535.183.01"},
    ]
    assert read_nvidia_smi("No devices were found\n") == []


def test_graphics_without_a_driver_are_found_on_linux(tmp_path: Path) -> None:
    for card, vendor in (("card0", "0x10de"), ("card1", "0x8086"), ("card1-HDMI-A-1", "0x1002"), ("card2", "0x1af4")):
        (tmp_path / card / "device").mkdir(parents=True)
        (tmp_path / card / "device" / "vendor").write_text(f"{vendor}\n")
    names = [entry["name"] for entry in _from_sysfs(tmp_path, skip_nvidia=False)]
    assert names == ["NVIDIA graphics, without NVIDIA's driver (nvidia-smi)", "Intel graphics"]
    assert [entry["name"] for entry in _from_sysfs(tmp_path, skip_nvidia=True)] == ["Intel graphics"]


def test_a_program_that_hangs_or_is_missing_is_given_up() -> None:
    assert run_quietly([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)[0] is None
    assert run_quietly(["/no/such/program"], 1)[0] is None
    assert run_quietly([sys.executable, "-c", "print('hi')"], 20) == (0, "hi\n")
