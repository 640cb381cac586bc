"""Providers: what a network can run on, the order in which they are tried, and what is said where one is absent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError

#: Names the order for all runs that do not ask for one: ``THEMATICA_PROVIDERS=cuda,cpu``.
VARIABLE = "THEMATICA_PROVIDERS"


@dataclass(frozen=True)
class Provider:
    """Something that runs networks.

    Args:
        short: what ``--provider`` takes.
        name: ONNX Runtime's name.
        title: what the analyst reads.
        package: the build of ONNX Runtime that has it.
        device: PyTorch's device type for the same hardware, or empty.
        parallel_runs: runs side by side that make sense: on CUDA two, one copies while the other computes;
            0: as many as there are workers for the processor.
    """

    short: str
    name: str
    title: str
    package: str
    device: str = ""
    parallel_runs: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether tiles should come in batches that keep thousands of cores busy."""
        return self.short not in ("cpu", "openvino")


PROVIDERS = (
    Provider("tensorrt", "TensorrtExecutionProvider", "TensorRT", "onnxruntime-gpu with tensorrt"),
    Provider("cuda", "CUDAExecutionProvider", "CUDA", "onnxruntime-gpu", "cuda", 2),
    Provider("migraphx", "MIGraphXExecutionProvider", "MIGraphX", "onnxruntime-migraphx", "cuda"),
    Provider("rocm", "ROCMExecutionProvider", "ROCm", "onnxruntime-rocm", "cuda"),
    Provider("directml", "DmlExecutionProvider", "DirectML", "onnxruntime-directml"),
    Provider("coreml", "CoreMLExecutionProvider", "CoreML", "onnxruntime for macOS", "mps"),
    Provider("openvino", "OpenVINOExecutionProvider", "OpenVINO", "onnxruntime-openvino"),
    Provider("cpu", "CPUExecutionProvider", "the CPU", "onnxruntime", "cpu", 0),
)
_BY_SHORT = {entry.short: entry for entry in PROVIDERS}
_BY_NAME = {entry.name.lower(): entry for entry in PROVIDERS}
_ALIASES = {"dml": "directml", "mps": "coreml", "trt": "tensorrt", "gpu": "cuda"}

#: Tried in this order where none is asked for.  TensorRT is left out: it builds an engine for minutes before
#: the first tile, and for each new tile size.
DEFAULT_ORDER = ("cuda", "migraphx", "rocm", "directml", "coreml", "openvino", "cpu")


@dataclass(frozen=True)
class Order:
    """Which providers to try.

    Args:
        asked: what was asked for, as it was written; empty: nothing, the order is the default.
        source: where it was asked for (``--provider`` or the environment variable).
        wanted: those that were asked for.
        providers: to try one after the other: those asked for and at the end the CPU, or the default.
    """

    asked: str
    source: str
    wanted: tuple[Provider, ...]
    providers: tuple[Provider, ...]


def provider_order(asked: str | None) -> Order:
    """The order asked for, else that of ``$THEMATICA_PROVIDERS``, else the default.

    Args:
        asked: names separated by commas: ``cuda``, or ``tensorrt,cuda,cpu``; ONNX Runtime's own names too.

    Raises:
        InputError: a name that no provider has.
    """
    source = "--provider"
    text = (asked or "").strip()
    if not text:
        source, text = VARIABLE, os.environ.get(VARIABLE, "").strip()
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        return Order("", "", (), tuple(_BY_SHORT[name] for name in DEFAULT_ORDER))
    wanted: list[Provider] = []
    for name in names:
        key = _ALIASES.get(name.lower(), name.lower())
        entry = _BY_SHORT.get(key) or _BY_NAME.get(key)
        if entry is None:
            raise InputError(
                f"There is no provider “{name[:80]}” ({source}); write one of {', '.join(_BY_SHORT)}, or several in "
                "the order in which to try them (cuda,cpu)."
            )
        if entry not in wanted:
            wanted.append(entry)
    cpu = _BY_SHORT["cpu"]
    return Order(text, source, tuple(wanted), (*wanted, *(() if cpu in wanted else (cpu,))))


def absent_from_build(order: Order, present: Sequence[str]) -> dict[str, str]:
    """Why providers that were asked for cannot even be tried, by short name.

    Args:
        order: what was asked for.
        present: ONNX Runtime's names of the providers in its build.

    Raises:
        InputError: none of those asked for is in the build.
    """
    if not order.asked:
        return {}
    missing = [entry for entry in order.wanted if entry.name not in present]
    if len(missing) == len(order.wanted):
        first = missing[0]
        raise InputError(
            f"The provider “{order.asked}” ({order.source}) is not in this runtime's ONNX Runtime, which has "
            f"{', '.join(_title(name) for name in present)}: choose one of these, or make a runtime with "
            f"{first.package} (in place of the build that is there, not beside it)."
        )
    return {entry.short: f"it is not in this build of ONNX Runtime ({entry.package} has it)" for entry in missing}


def find_provider(name: str) -> Provider | None:
    """A provider by ONNX Runtime's name or by its short one."""
    return _BY_NAME.get(name.lower()) or _BY_SHORT.get(name.lower())


def _title(name: str) -> str:
    entry = find_provider(name)
    return entry.short if entry else name.removesuffix("ExecutionProvider")


def failure_sentences(why_not: dict[str, str], used: str) -> list[str]:
    """One sentence for each provider that was tried and did not load.

    Args:
        why_not: reasons by short name.
        used: what runs the network instead, in words.
    """
    return [
        f"{_BY_SHORT[short].title if short in _BY_SHORT else short} did not load: {reason}. "
        f"The network runs on {used} instead."
        for short, reason in why_not.items()
    ]
