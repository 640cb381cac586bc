"""What native libraries print when they fail: caught, and turned into a reason that an analyst can act on.

ONNX Runtime falls back from a provider that does not load without an exception, and says why only on its
C++ log, which is the process's stderr.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator


class Caught:
    """What was printed meanwhile."""

    text = ""


@contextlib.contextmanager
def catch_messages() -> Iterator[Caught]:
    """Catch what C++ and Python code prints on stdout and stderr, and Python's warnings.

    stdout carries JSON lines for the door that called us, so nobody else may write there.
    """
    caught = Caught()
    out = io.StringIO()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        try:
            kept = os.dup(2)
            os.dup2(file.fileno(), 2)
        except OSError:  # no stderr at all, as under pythonw.exe
            kept = -1
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield caught
        finally:
            if kept >= 0:
                os.dup2(kept, 2)
                os.close(kept)
            file.seek(0)
            caught.text = file.read().decode("utf-8", "replace") + out.getvalue()


_MISSING = (
    # Linux, as ONNX Runtime and ctypes say it
    re.compile(r"(?:error: |^|\s)(lib[\w.+-]+\.so[\w.]*): cannot open shared object file", re.MULTILINE),
    # Windows: ONNX Runtime looks for the library that is missing
    re.compile(r"which depends on \"([^\"]+)\" which is missing", re.IGNORECASE),
    # macOS
    re.compile(r"Library not loaded: (\S+)"),
)
_NEEDS = re.compile(r"Require (cuDNN [\d.*]+ and CUDA [\d.*]+)")
_KNOWN = (
    (re.compile(r"driver version is insufficient|CUDA failure 35\b|older than the CUDA", re.IGNORECASE),
     "the NVIDIA driver is too old for its CUDA; update the driver"),
    (re.compile(r"no CUDA-capable device|CUDA failure 100\b|cudaErrorNoDevice|No CUDA GPUs are available"
                r"|Found no NVIDIA driver|CUDA failure 34\b|stub library", re.IGNORECASE),
     "there is no NVIDIA GPU, or no driver for it"),
    (re.compile(r"no kernel image is available|CUDA failure 209\b", re.IGNORECASE),
     "this build has no code for a GPU of this age"),
    (re.compile(r"out of memory|CUDA failure 2\b", re.IGNORECASE),
     "the GPU's memory is full; close what else uses it"),
    (re.compile(r"not compiled with CUDA enabled", re.IGNORECASE),
     "this build of PyTorch is for the CPU only"),
    (re.compile(r"Please install TensorRT libraries", re.IGNORECASE),
     "the libraries of TensorRT are missing (package tensorrt)"),
)  # fmt: skip
_PACKAGES = (
    (re.compile(r"nvinfer"), "pip install tensorrt"),
    (re.compile(r"cu(blas|dnn|fft|rand|dart)|nvrtc"), "pip install onnxruntime-gpu[cuda,cudnn]"),
)
_DRIVER = re.compile(r"libcuda\.so|nvcuda\.dll")
# What ONNX Runtime writes in front: time, severity, file and line, function, error code.
_PREFIX = re.compile(
    r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : |^.*?\[[EWF]:onnxruntime:[^\]]*\]\s*|^\S+\.(?:cc|cpp|h):\d+\s"
)
_COLORS = re.compile(r"\x1b\[[\d;]*m")


def explain(text: str) -> str:
    """The reason in a library's messages, as the end of a sentence: "libcublasLt.so.13 is missing".

    Args:
        text: all that was printed or raised.
    """
    text = _COLORS.sub("", text)
    missing = list(dict.fromkeys(match.group(1) for pattern in _MISSING for match in pattern.finditer(text)))
    if missing:
        if _DRIVER.search(" ".join(missing)):
            return f"there is no NVIDIA driver ({missing[0]} is missing)"
        needs = _NEEDS.search(text)
        build = f"; this build of ONNX Runtime needs {needs.group(1)}" if needs else ""
        brings = next((package for pattern, package in _PACKAGES if pattern.search(missing[0])), "")
        brings = f" ({brings} brings it)" if brings else ""
        return f"{missing[0]} is missing{brings}{build}"
    for pattern, reason in _KNOWN:
        if pattern.search(text):
            return reason
    needs = _NEEDS.search(text)
    if needs:
        return f"this build of ONNX Runtime needs {needs.group(1)}, and a driver and GPU for them"
    lines = [_PREFIX.sub("", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    return lines[-1].rstrip(".")[:200] if lines else "it gave no reason"


_FULL = re.compile(
    r"out of memory|failed to allocate memory|Available memory of \d+ is smaller than requested|not enough memory"
    r"|std::bad_alloc|bad allocation|can't allocate memory|Allocation of \d+ bytes failed"
    r"|(CUBLAS|CUDNN|MIOPEN)_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation|8007000E",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library failed because it got no memory; ONNX Runtime and PyTorch say so only in words."""
    return isinstance(error, MemoryError) or _FULL.search(str(error)) is not None
