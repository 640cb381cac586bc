"""The processes that train together: one alone, or several through Horovod.

Everything that they must agree on goes through here.  One process never imports Horovod, so that training works where
it cannot be installed (Windows).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ..errors import ThematicaError

#: Set by ``horovodrun`` for each of its processes.
_RANK, _SIZE = "HOROVOD_RANK", "HOROVOD_SIZE"


class Processes(Protocol):
    """What a training asks of its processes.

    Attributes:
        rank: number of this one, from 0; only number 0 writes files.
        size: how many there are.
        local_rank: number of this one on its machine: which of its GPUs it uses.
    """

    rank: int
    size: int
    local_rank: int

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over all processes, float64, the same for each."""
        ...

    def begin_sums(self, values: list[float]) -> Callable[[], list[float]]:
        """Begin such sums of a few numbers; what it returns waits for them.  One message may be on its way."""
        ...

    def start_alike(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Give all processes the weights and the optimiser's state of process 0."""
        ...

    def share_gradients(
        self, optimizer: torch.optim.Optimizer, network: nn.Module, passes: int, compress: bool
    ) -> torch.optim.Optimizer:
        """An optimiser whose steps use the mean of all processes' gradients.

        Args:
            optimizer: of this process.
            network: whose parameters it changes.
            passes: backward passes per step (gradient accumulation).
            compress: send gradients in 16 bits.
        """
        ...

    def gathered(self, optimizer: torch.optim.Optimizer) -> AbstractContextManager[Any]:
        """Wait for all processes' gradients; within, they may be changed, and the optimiser takes its step."""
        ...

    def average_buffers(self, network: nn.Module) -> None:
        """Give all processes the mean of their batch statistics, which each has of its own batches."""
        ...


class OneProcess:
    """A training with one process."""

    rank, size, local_rank = 0, 1, 0

    def sum(self, values: np.ndarray) -> np.ndarray:
        """See :class:`Processes`."""
        return np.asarray(values, np.float64)

    def begin_sums(self, values: list[float]) -> Callable[[], list[float]]:
        """See :class:`Processes`."""
        return lambda: values

    def start_alike(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """See :class:`Processes`."""

    def share_gradients(
        self, optimizer: torch.optim.Optimizer, network: nn.Module, passes: int, compress: bool
    ) -> torch.optim.Optimizer:
        """See :class:`Processes`."""
        return optimizer

    def gathered(self, optimizer: torch.optim.Optimizer) -> AbstractContextManager[Any]:
        """See :class:`Processes`."""
        return nullcontext()

    def average_buffers(self, network: nn.Module) -> None:
        """See :class:`Processes`."""


class HorovodProcesses:
    """The processes that ``horovodrun`` or ``srun`` started (Sergeev & Del Balso 2018)."""

    def __init__(self) -> None:
        try:
            import horovod.torch as hvd
        except ImportError as error:
            raise ThematicaError(
                "Several processes need Horovod, which is not installed in this Python; install it, or train with one "
                "process.",
                repr(error),
            ) from error
        hvd.init()
        self._hvd: Any = hvd
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()
        self.local_rank: int = hvd.local_rank()

    def sum(self, values: np.ndarray) -> np.ndarray:
        """See :class:`Processes`."""
        values = np.asarray(values, np.float64)
        total = self._hvd.allreduce(torch.from_numpy(np.atleast_1d(values)), op=self._hvd.Sum)
        summed: np.ndarray = total.numpy().reshape(values.shape)
        return summed

    def begin_sums(self, values: list[float]) -> Callable[[], list[float]]:
        """See :class:`Processes`."""
        # Horovod remembers tensors by name: those without one are agreed upon anew every time.
        handle = self._hvd.allreduce_async(torch.tensor(values, dtype=torch.float64), name="sums", op=self._hvd.Sum)

        def wait_for_them() -> list[float]:
            summed: list[float] = self._hvd.synchronize(handle).tolist()
            return summed

        return wait_for_them

    def start_alike(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """See :class:`Processes`."""
        self._hvd.broadcast_parameters(network.state_dict(), root_rank=0)
        if optimizer.state:
            self._hvd.broadcast_optimizer_state(optimizer, root_rank=0)

    def share_gradients(
        self, optimizer: torch.optim.Optimizer, network: nn.Module, passes: int, compress: bool
    ) -> torch.optim.Optimizer:
        """See :class:`Processes`."""
        compression = self._hvd.Compression.fp16 if compress else self._hvd.Compression.none
        wrapped: torch.optim.Optimizer = self._hvd.DistributedOptimizer(
            optimizer,
            named_parameters=[entry for entry in network.named_parameters() if entry[1].requires_grad],
            compression=compression,
            backward_passes_per_step=passes,
            op=self._hvd.Average,
        )
        # Horovod's optimiser begins with a state of its own; this one is in the checkpoint, and came from it.
        wrapped.state = optimizer.state
        return wrapped

    def gathered(self, optimizer: torch.optim.Optimizer) -> AbstractContextManager[Any]:
        """See :class:`Processes`."""
        optimizer.synchronize()  # type: ignore[attr-defined]
        own_step: AbstractContextManager[Any] = optimizer.skip_synchronize()  # type: ignore[attr-defined]
        return own_step

    def average_buffers(self, network: nn.Module) -> None:
        """See :class:`Processes`."""
        for name, buffer in network.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(self._hvd.allreduce(buffer, name=f"buffer.{name}", op=self._hvd.Average))


def wait(processes: Processes) -> None:
    """Until all processes are here."""
    processes.sum(np.zeros(1))


def find_processes() -> Processes:
    """The processes that this one belongs to, as whoever started it says."""
    if int(os.environ.get(_SIZE, "1")) > 1 or _RANK in os.environ:
        return HorovodProcesses()
    return OneProcess()
