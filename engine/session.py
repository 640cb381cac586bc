"""Sessions: a deployed network on a backend, ready to run tiles."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnxruntime

from ..errors import InputError, ModelError
from .deployment import Deployment, tensor_name

# The order in which providers are tried where none is asked for; the CPU is always last.
_PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")
_SHORT = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


@dataclass
class Session:
    """An ONNX Runtime session on a deployed network.

    Args:
        session: the runtime's session; its ``run`` may be called from several threads at once.
        deployment: what it runs.
        provider: the provider in use.
        threads: threads inside one run.
        warnings: what the analyst should know, such as a provider that did not load.
    """

    session: onnxruntime.InferenceSession
    deployment: Deployment
    provider: str
    threads: int
    warnings: list[str] = field(default_factory=list)

    def run(self, tiles: np.ndarray, options: onnxruntime.RunOptions | None = None) -> dict[str, np.ndarray]:
        """Run one batch of tiles: samples as stored, in the deployment's layout; outputs by short name.

        Raises:
            ModelError: the network fails on this input.
        """
        names = [tensor_name(name) for name in self.deployment.outputs]
        try:
            results = self.session.run(names, {self.deployment.input_name: tiles}, options)
        except Exception as error:  # ONNX Runtime raises bare errors of its C++ side
            raise ModelError(
                f"The network cannot be run on tiles of shape {tuple(tiles.shape)}: it does not do what its card says, "
                "or needs another tile size (--tile).",
                str(error)[:2000],
            ) from error
        return dict(zip(self.deployment.outputs, results, strict=True))


def choose_provider(asked: str | None) -> str:
    """The provider to use: the one asked for, or the best that is present.

    Raises:
        InputError: the provider asked for is not in this runtime.
    """
    present = onnxruntime.get_available_providers()
    if asked:
        name = _SHORT.get(asked.lower(), asked)
        if name not in present:
            raise InputError(
                f"The provider “{asked}” is not in this runtime; it has {', '.join(present)}. "
                "Choose one of these, or install another build of ONNX Runtime."
            )
        return name
    return next(name for name in _PREFERRED if name in present)


def create_session(deployment: Deployment, provider: str, threads: int) -> Session:
    """Load a deployed network.

    Raises:
        ModelError: ONNX Runtime refuses the network.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the cores that reading and writing need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The runtime's own warnings (constant folding, unused initialisers) say nothing to an analyst.
    options.log_severity_level = 3
    wanted = [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(deployment.content, options, providers=wanted)
    except Exception as error:  # ONNX Runtime raises bare errors of its C++ side
        raise ModelError(
            "ONNX Runtime cannot load the network (an operator or type that it does not know?); export it again.",
            str(error)[:2000],
        ) from error
    used = session.get_providers()
    warnings = []
    if provider not in used:
        warnings.append(f"{provider} did not load; the network runs on {used[0]} instead.")
    return Session(session, deployment, used[0], threads, warnings)


def tile_options() -> onnxruntime.RunOptions:
    """Options of one run; setting their ``terminate`` from another thread ends the run."""
    return onnxruntime.RunOptions()
