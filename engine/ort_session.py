"""ONNX Runtime: providers tried one after the other, and why one did not load."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from ..errors import ModelError
from ..models.store import user_data_folder
from .deployment import Deployment, tensor_name
from .half_precision import in_half_precision
from .library_messages import catch_messages, explain
from .providers import Order, Provider, absent_from_build, find_provider
from .session import Session

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_HEAVY = {
    "Conv", "ConvTranspose", "FusedConv", "NhwcFusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "LSTM", "GRU",
    "Attention", "MultiHeadAttention", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul", "Einsum",
}  # fmt: skip


class OrtSession(Session):
    """An ONNX Runtime session on a deployed network."""

    backend = "onnxruntime"

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        deployment: Deployment,
        order: Order,
        used: Provider,
        threads: int,
        precision: str,
    ) -> None:
        super().__init__(deployment, order, used, threads, precision)
        self.session = session
        self._names = [tensor_name(name) for name in deployment.outputs]
        # Where tiles are copied to before a run; buffers on a GPU are made once per thread and size.
        self._device = "cuda" if used.name in (_CUDA, "TensorrtExecutionProvider") else ""
        self._bound = threading.local()
        # DirectML breaks when two threads run one session; the others that run alone do not mind.
        self._alone = threading.Lock() if used.parallel_runs == 1 else None

    def _run(self, tiles: np.ndarray, options: Any) -> dict[str, np.ndarray]:
        if self._device:
            results = self._run_bound(tiles, options)
        elif self._alone is not None:
            with self._alone:
                results = self.session.run(self._names, {self.deployment.input_name: tiles}, options)
        else:
            results = self.session.run(self._names, {self.deployment.input_name: tiles}, options)
        return dict(zip(self.deployment.outputs, results, strict=True))

    def _run_bound(self, tiles: np.ndarray, options: Any) -> list[np.ndarray]:
        """Run with the input in a buffer on the device; class codes and scores come back at the end of the run."""
        bound = getattr(self._bound, "input", None)
        if bound is None or bound.fits != (tiles.shape, tiles.dtype):
            # The old buffer goes before the new one comes.
            self._bound.input = None
            value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(tiles.shape, tiles.dtype.type, self._device, 0)
            binding = self.session.io_binding()
            binding.bind_ortvalue_input(self.deployment.input_name, value)
            bound = self._bound.input = _Bound((tiles.shape, tiles.dtype), value, binding)
        bound.value.update_inplace(tiles)
        bound.binding.clear_binding_outputs()
        for name in self._names:
            bound.binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(bound.binding, options)
        return [value.numpy() for value in bound.binding.get_outputs()]

    def _free_memory(self) -> None:
        self._bound.input = None


@dataclass
class _Bound:
    """A buffer on the device and the binding that feeds the network from it."""

    fits: tuple[tuple[int, ...], np.dtype]
    value: onnxruntime.OrtValue
    binding: onnxruntime.IOBinding


def create_ort_session(deployment: Deployment, order: Order, threads: int, precision: str) -> OrtSession:
    """Load a network on the first provider of an order that takes it.

    Raises:
        InputError: none of the providers asked for is in this build.
        ModelError: ONNX Runtime refuses the network.
    """
    present = onnxruntime.get_available_providers()
    absent = absent_from_build(order, present)
    # Only of those before the one that is used; the others were not needed.
    why_not: dict[str, str] = {}
    half: Deployment | None = None
    if precision != "fp32" and any(entry.on_gpu and entry.name in present for entry in order.providers):
        half = in_half_precision(deployment)
    for entry in order.providers:
        if entry.name not in present:
            if entry.short in absent:
                why_not[entry.short] = absent[entry.short]
            continue
        chosen = half if half is not None and entry.on_gpu else deployment
        session, reason = try_provider(chosen.content, entry, present, threads, chosen is half)
        if session is None:
            why_not[entry.short] = reason
            continue
        found = OrtSession(session, chosen, order, entry, threads, "fp16" if chosen is half else "fp32")
        found.why_not = why_not
        taken, total = heavy_operators(session)
        if entry.name != _CPU and taken < total:
            found.warnings.append(
                f"{entry.title} takes only {taken} of the {total} operators that cost time in this network; the CPU "
                "runs the others, and copying between the two may cost more than it gains."
            )
        return found
    raise ModelError(
        "ONNX Runtime cannot load the network (an operator or type that it does not know?); export it again.",
        "\n".join(f"{short}: {reason}" for short, reason in why_not.items())[:2000],
    )


def try_provider(
    content: bytes, provider: Provider, present: list[str], threads: int, half: bool = False
) -> tuple[onnxruntime.InferenceSession | None, str]:
    """A session on a provider, or the reason why there is none.

    Args:
        content: the serialised network.
        provider: what to load.
        present: ONNX Runtime's names of the providers in its build.
        threads: threads inside one run.
        half: whether the network computes in half precision.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the cores that reading and writing need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The runtime's own warnings (constant folding, unused initialisers) say nothing to an analyst.
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if provider.name == "DmlExecutionProvider":
        # DirectML knows neither.
        options.enable_mem_pattern = False
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    wanted: list[Any] = [(provider.name, _provider_options(provider, half))]
    if provider.name == "TensorrtExecutionProvider" and _CUDA in present:
        # What TensorRT leaves over stays on the GPU.
        wanted.append((_CUDA, _provider_options(find_provider(_CUDA) or provider, half)))
    if provider.name != _CPU:
        wanted.append(_CPU)
    if provider.name == _CPU:
        try:
            return onnxruntime.InferenceSession(content, options, providers=[_CPU]), ""
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises bare errors of its C++ side
            return None, str(error)
    with catch_messages() as caught:
        raised = ""
        session = None
        try:
            if provider.name in (_CUDA, "TensorrtExecutionProvider") and hasattr(onnxruntime, "preload_dlls"):
                # CUDA's libraries of the packages nvidia-… and torch, which lie where no loader looks.
                onnxruntime.preload_dlls()
            # Its own fallback would say nothing but on stdout, and hide the reason.
            session = onnxruntime.InferenceSession(content, options, providers=wanted, enable_fallback=0)
        except Exception as error:  # noqa: BLE001 - see above
            raised = str(error)
    if session is not None and provider.name in session.get_providers():
        taken, total = heavy_operators(session)
        if total and not taken:
            return None, f"it takes none of the {total} operators that cost time in this network"
        return session, ""
    return None, explain(f"{caught.text}\n{raised}")


def heavy_operators(session: onnxruntime.InferenceSession) -> tuple[int, int]:
    """Operators that cost time (of a network without any: all), and how many of them are not left to the processor.

    A provider that loads may still refuse the network, operator by operator, and says so to nobody.
    """
    try:
        parts = session.get_provider_graph_assignment_info()
    except (AttributeError, RuntimeError):  # ONNX Runtime before 1.24
        return 0, 0
    kinds = [(node.op_type, part.ep_name) for part in parts for node in part.get_nodes()]
    names = [name for kind, name in kinds if kind in _HEAVY] or [name for _, name in kinds]
    return sum(name != _CPU for name in names), len(names)


def _provider_options(provider: Provider, half: bool) -> dict[str, str]:
    """Settings of a provider that keep its results those of the CPU, as nearly as it can, and its start short."""
    if provider.name == _CUDA:
        return {
            # TF32 would round float32 to 10 bits without saying so.
            "use_tf32": "0",
            # Trying all algorithms anew for each size of tile costs more than it saves.
            "cudnn_conv_algo_search": "HEURISTIC",
            # Twice the size at each growth, as is the default, wastes what a batch needs.
            "arena_extend_strategy": "kSameAsRequested",
        }
    if provider.name == "TensorrtExecutionProvider":
        folder = user_data_folder() / "tensorrt"
        folder.mkdir(parents=True, exist_ok=True)
        # An engine is built for minutes; it is kept for the next run.
        return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
    if provider.name == "CoreMLExecutionProvider":
        # The Neural Engine computes in 16 bits whatever the network says.
        return {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL" if half else "CPUAndGPU"}
    if provider.name == "OpenVINOExecutionProvider":
        # On processors with bfloat16 it would compute in that unasked.
        return {"device_type": "CPU", "precision": "FP32"}
    return {}
