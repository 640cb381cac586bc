"""Which providers are tried, in which order, and what is said of those that do not load."""

from __future__ import annotations

import contextlib
import os
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.engine.library_messages import catch_messages, explain, is_out_of_memory
from thematica.engine.providers import PROVIDERS, VARIABLE, absent_from_build, failure_sentences, provider_order
from thematica.errors import InputError

CPU = ["AzureExecutionProvider", "CPUExecutionProvider"]
GPU = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def names(asked: str | None) -> list[str]:
    return [entry.short for entry in provider_order(asked).providers]


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


# The order


def test_without_a_wish_the_fastest_that_starts_at_once_is_first_and_the_processor_last():
    order = names(None)
    assert order[0] == "cuda"
    assert order[-1] == "cpu"
    assert "tensorrt" not in order
    assert {"directml", "coreml", "openvino"} < set(order)
    assert not provider_order("").asked


def test_the_order_asked_for_is_kept_and_the_processor_stands_by():
    assert names("cuda") == ["cuda", "cpu"]
    assert names("tensorrt,cuda,cpu") == ["tensorrt", "cuda", "cpu"]
    assert names(" CPU , cuda,") == ["cpu", "cuda"]
    assert names("dml") == ["directml", "cpu"]
    assert names("CUDAExecutionProvider,cuda") == ["cuda", "cpu"]


def test_the_environment_gives_the_default_and_an_option_wins(monkeypatch):
    monkeypatch.setenv(VARIABLE, "openvino,cpu")
    assert names(None) == ["openvino", "cpu"]
    assert provider_order(None).source == VARIABLE
    assert names("cuda") == ["cuda", "cpu"]
    monkeypatch.setenv(VARIABLE, "quantum")
    with pytest.raises(InputError, match=f"“quantum” \\({VARIABLE}\\)"):
        provider_order(None)


@given(st.lists(st.sampled_from([entry.short for entry in PROVIDERS]), min_size=1))
def test_every_list_of_names_is_an_order_without_repetition_that_ends_somewhere(asked):
    order = names(",".join(asked))
    assert len(order) == len(set(order))
    assert order[: len(set(asked))] == list(dict.fromkeys(asked))
    assert "cpu" in order


def test_a_provider_that_no_build_has_is_told_with_the_names_that_there_are():
    with pytest.raises(InputError, match=r"no provider “Quantum” \(--provider\).*tensorrt, cuda, .*cpu"):
        provider_order("Quantum")


def test_a_provider_of_another_build_is_told_with_the_build_to_install():
    with pytest.raises(InputError, match=r"“cuda” .*has Azure, cpu: .*onnxruntime-gpu .*not beside it"):
        absent_from_build(provider_order("cuda"), CPU)
    with pytest.raises(InputError, match="onnxruntime-directml"):
        absent_from_build(provider_order("directml,openvino"), GPU)


def test_of_several_the_absent_ones_have_a_reason():
    assert "onnxruntime-openvino" in absent_from_build(provider_order("openvino,cuda"), GPU)["openvino"]
    assert list(absent_from_build(provider_order("cuda,cpu"), CPU)) == ["cuda"]
    assert absent_from_build(provider_order(None), CPU) == {}
    (sentence,) = failure_sentences({"cuda": "libcublas.so.13 is missing"}, "the CPU")
    assert sentence == "CUDA did not load: libcublas.so.13 is missing. The network runs on the CPU instead."


# Reasons.  The messages are those of onnxruntime-gpu 1.31 and PyTorch 2.13 on a machine without GPU, shortened;
# those of Windows and of drivers are as the sources of ONNX Runtime and CUDA have them.

PREFIX = (
    "\x1b[1;31m2026-11-25 21:06:17.505 [E:onnxruntime:Default, provider_bridge_ort.cc:2458 operator()] "
    "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:2043 onnxruntime::Provider& "
    "onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : "
)
REQUIRE = (
    "\n\x1b[m\n\x1b[0;93m2026-11-25 [W:onnxruntime:Default, onnxruntime_pybind_state.cc:1295 Create] Failed to create "
    "CUDAExecutionProvider. Require cuDNN 9.* and CUDA 13.*. Please install all dependencies as mentioned in the GPU "
    "requirements page (https://onnxruntime.ai/docs), make sure they're in the PATH.\x1b[m"
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f"{PREFIX}Failed to load library /x/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot "
            f"open shared object file: No such file or directory{REQUIRE}",
            r"libcublasLt\.so\.13 is missing \(pip install onnxruntime-gpu.*brings it\); .*cuDNN 9.* and CUDA 13",
        ),
        (
            f"{PREFIX}Failed to load library /x/libonnxruntime_providers_cuda.so with error: libcuda.so.1: cannot open "
            f"shared object file: No such file or directory{REQUIRE}",
            r"no NVIDIA driver \(libcuda\.so\.1 is missing\)",
        ),
        (
            f"{PREFIX}Failed to load library /x/libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.10: "
            "cannot open shared object file: No such file or directory\nPlease install TensorRT libraries as mentioned",
            r"libnvinfer\.so\.10 is missing \(pip install tensorrt",
        ),
        (
            'Error loading "C:\\x\\onnxruntime_providers_cuda.dll" which depends on "cublasLt64_12.dll" which is '
            f"missing. (Error 126){REQUIRE}",
            r"cublasLt64_12\.dll is missing",
        ),
        ("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1", "driver is too old"),
        ("CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=x", "no NVIDIA GPU"),
        ("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", "or no driver for it"),
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=x", "memory is full"),
        ("Torch not compiled with CUDA enabled", "for the CPU only"),
        (REQUIRE, "needs cuDNN 9.* and CUDA 13.*, and a driver and GPU"),
        (f"{PREFIX}Something new.\n\x1b[m", "^Something new$"),
        ("", "no reason"),
    ],
)  # fmt: skip
def test_a_librarys_message_becomes_a_reason(text, reason):
    assert re.search(reason, explain(text)), explain(text)
    assert "\x1b" not in explain(text)


@given(st.text())
def test_every_message_becomes_a_reason_of_one_line(text):
    reason = explain(text)
    assert reason
    assert "\n" not in reason


def test_what_native_code_prints_is_caught_and_stdout_stays_clean(capfd):
    with catch_messages() as caught:
        os.write(2, b"from C++\n")
        print("from Python")
        print("and here", file=sys.stderr)
    assert {"from C++", "from Python", "and here"} <= set(caught.text.splitlines())
    os.write(2, b"after\n")
    assert capfd.readouterr() == ("", "after\n")


def test_messages_are_caught_when_something_fails_and_stderr_comes_back(capfd):
    with contextlib.suppress(ValueError), catch_messages() as caught:
        os.write(2, b"the reason")
        raise ValueError
    assert caught.text == "the reason"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


# Memory


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 3.00 GiB",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
        "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal Failed to allocate memory for requested "
        "buffer of size 8589934592",
        "bfc_arena.cc:345 Available memory of 1073741824 is smaller than requested bytes of 8589934592",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 5.00 GB)",
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
        "DmlExecutionProvider 8007000E Not enough memory resources are available to complete this operation.",
        "std::bad_alloc",
    ],
)
def test_full_memory_is_recognised(message):
    assert is_out_of_memory(RuntimeError(message))


def test_other_failures_are_not_taken_for_full_memory():
    assert is_out_of_memory(MemoryError())
    for message in ("Invalid input shape", "CUDA failure 700: an illegal memory access was encountered", "terminate"):
        assert not is_out_of_memory(RuntimeError(message))
