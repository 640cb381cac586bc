"""Sessions: a deployed network on a backend, ready to run tiles.

What all backends share is here: splitting a batch that does not fit into memory, filling up one that is too
small, and the sentences.  ``ort_session.py`` and ``torch_session.py`` run the network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from ..errors import ModelError
from .deployment import Deployment
from .library_messages import is_out_of_memory
from .providers import Order, Provider, failure_sentences, provider_order
from .torch_network import TorchDeployment

#: Tiles per run on a GPU where none are asked for; what does not fit is halved.
GPU_BATCH = 8


class Session(ABC):
    """A deployed network on a backend; :meth:`run` may be called from several threads at once.

    Args:
        deployment: what it runs.
        order: the providers asked for.
        used: the provider in use.
        threads: threads inside one run.
        precision: ``fp32`` or ``fp16``.
    """

    #: ``onnxruntime`` or ``torch``.
    backend = ""

    def __init__(self, deployment: Deployment, order: Order, used: Provider, threads: int, precision: str) -> None:
        self.deployment, self.order, self.used = deployment, order, used
        self.threads, self.precision = threads, precision
        #: Name of what runs the network, for the report.
        self.provider = used.name
        #: The same in a sentence.
        self.title = used.title
        #: Why providers before it were not used, by short name.
        self.why_not: dict[str, str] = {}
        #: What the analyst should know, such as a provider that did not load.
        self.warnings: list[str] = []
        #: Called with what the analyst should know once tiles run.
        self.warn: Callable[[str], None] = self.warnings.append
        #: What one sample of a batch is called: whoever runs windows, patches or images says so.
        self.unit = "pixel" if deployment.layout == "cn" else "tile"
        # Samples of a batch that are known to fit into memory; 0: no limit was met.
        self._most = 0

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.used.on_gpu

    @property
    def parallel_runs(self) -> int:
        """Calls of :meth:`run` side by side that make sense; 0: as many as the processor has workers for."""
        return self.used.parallel_runs

    def facts(self) -> dict[str, Any]:
        """What the report says of the backend."""
        return {
            "name": self.backend,
            "asked": self.order.asked or None,
            "provider": self.provider,
            "why_not": self.why_not,
            "precision": self.precision,
            "largest_batch": self._most or None,
        }

    def run(self, tiles: np.ndarray, options: onnxruntime.RunOptions | None = None) -> dict[str, np.ndarray]:
        """Run one batch of tiles: samples as stored, in the deployment's layout; outputs by short name.

        A batch that does not fit into memory is halved, and so are the batches after it.

        Raises:
            ModelError: the network fails on this input, or memory does not hold even one tile.
        """
        axis = 1 if self.deployment.layout == "cn" else 0
        parts: list[dict[str, np.ndarray]] = []
        start, count = 0, tiles.shape[axis]
        while start < count:
            size = min(self._most or count, count - start)
            part = tiles if size == count else tiles[:, start : start + size] if axis else tiles[start : start + size]
            try:
                parts.append(self._run_filled(part, axis, options))
            except Exception as error:  # both libraries raise bare errors of their C++ side
                if getattr(options, "terminate", False) or not is_out_of_memory(error):
                    raise self._failure(tiles, error) from error
                if size == 1 or self.deployment.batch:
                    raise self._too_large(tiles, error) from error
                self._halve(size)
                continue
            start += size
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _run_filled(self, tiles: np.ndarray, axis: int, options: Any) -> dict[str, np.ndarray]:
        """Run a batch; one that is smaller than the network's fixed batch is filled up with copies."""
        count = tiles.shape[axis]
        short = self.deployment.batch - count
        if short <= 0:
            return self._run(np.ascontiguousarray(tiles), options)
        pads = [(0, short if index == axis else 0) for index in range(tiles.ndim)]
        outputs = self._run(np.pad(tiles, pads, mode="edge"), options)
        return {
            name: array if name.partition(".")[0] in ("check", "shape") else array[:count]
            for name, array in outputs.items()
        }

    @abstractmethod
    def _run(self, tiles: np.ndarray, options: Any) -> dict[str, np.ndarray]:
        """Run one batch as it is; raises what the library raises."""

    def _free_memory(self) -> None:  # noqa: B027 - not every library keeps memory
        """Give back what the library keeps for later."""

    def _halve(self, size: int) -> None:
        self._free_memory()
        half = max(size // 2, 1)
        # Another thread may have met a lower limit meanwhile.
        if not self._most or half < self._most:
            self._most = half
            self.warn(
                f"Memory does not hold a batch of {size} {self._units}; the run goes on with {half} at a time "
                f"(--batch {half} starts so)."
            )

    def _failure(self, tiles: np.ndarray, error: Exception) -> ModelError:
        other = ", or needs another tile size (--tile)" if self.unit == "tile" else ""
        return ModelError(
            f"The network cannot be run on {self._units} of shape {tuple(tiles.shape)}: it does not do what its card "
            f"says{other}.",
            str(error)[:2000],
        )

    def _too_large(self, tiles: np.ndarray, error: Exception) -> ModelError:
        where = "the GPU's memory" if self.on_gpu else "memory"
        if self.deployment.layout == "cn":
            size = "one pixel"
        else:
            batch = self.deployment.batch
            how_many = f"its fixed batch of {batch} {self._units}" if batch > 1 else f"one {self.unit}"
            size = f"{how_many} of {tiles.shape[-2]} × {tiles.shape[-1]} pixels"
        # Only the size of tiles can be chosen: that of the others is the network's or the image's.
        advice = ["a smaller --tile"] if self.unit == "tile" else []
        if self.on_gpu and self.precision == "fp32":
            advice.append("half precision (--precision fp16)")
        advice.append("another --provider")
        return ModelError(
            f"The network does not fit into {where} with {size}: use {', or '.join(advice)}.",
            str(error)[:2000],
        )

    @property
    def _units(self) -> str:
        return f"{self.unit}{'es' if self.unit.endswith('h') else 's'}"


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The outputs of the parts of a batch as those of one run."""
    outputs = {}
    for name in parts[0]:
        arrays = [part[name] for part in parts]
        what = name.partition(".")[0]
        if what == "check":
            # NaN spreads through a sum.
            outputs[name] = np.sum(arrays, axis=0)
        elif what == "shape":
            shape = np.array(arrays[0])
            shape[0] = sum(int(array[0]) for array in arrays)
            outputs[name] = shape
        else:
            outputs[name] = np.concatenate(arrays)
    return outputs


def create_session(
    deployment: Deployment, provider: str | None = None, threads: int = 1, precision: str = "fp32"
) -> Session:
    """Load a deployed network on the first provider that takes it.

    Args:
        deployment: what to run; its class says on which backend.
        provider: names in the order to try; None: see :func:`.providers.provider_order`.
        threads: threads inside one run.
        precision: one of :data:`.scores.PRECISIONS`; ``auto``: fp16 on a GPU.

    Raises:
        InputError: no such provider, or it is not in this runtime.
        ModelError: the network is refused.
        RuntimeMissingError: a PyTorch file, and PyTorch is not there.
    """
    order = provider_order(provider)
    if isinstance(deployment, TorchDeployment):
        from .torch_session import create_torch_session

        session: Session = create_torch_session(deployment, order, threads, precision)
    else:
        from .ort_session import create_ort_session

        session = create_ort_session(deployment, order, threads, precision)
    session.warnings += failure_sentences(session.why_not, session.title)
    if precision == "fp16" and session.precision != "fp16":
        session.warnings.append(
            f"Half precision (fp16) brings nothing on {session.title}: the network is computed in single precision."
            if not session.on_gpu
            else "Half precision (fp16) would lose radiometry in this per-pixel network: it is computed in single "
            "precision."
        )
    return session


def tile_options() -> onnxruntime.RunOptions:
    """Options of one run; setting their ``terminate`` from another thread ends the run."""
    return onnxruntime.RunOptions()
