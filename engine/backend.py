"""The file decides the backend: ONNX Runtime for ONNX files, PyTorch for its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..models.card import ModelCard
from ..models.torch_file import is_torch_file
from . import deployment, network
from .torch_network import TorchNetwork, deploy_torch, load_torch_network


def load_network(path: str | Path, card: ModelCard, patches: bool = False, output_name: str = "") -> network.Network:
    """Load a model file; see :func:`.network.load_network`.

    Raises:
        ModelError: not a network that can be used.
        RuntimeMissingError: a PyTorch file, and PyTorch is not there.
    """
    load = load_torch_network if is_torch_file(path) else network.load_network
    return load(path, card, patches, output_name)


def deploy(
    given: network.Network,
    data_type: np.dtype,
    scale: Sequence[float],
    offset: Sequence[float],
    scores: Sequence[str] = (),
    decide: bool = True,
) -> deployment.Deployment:
    """Put scaling in front of a network and the decision behind it; see :func:`.deployment.deploy`.

    Raises:
        MisfitError: the samples cannot be turned into the integers that the network takes.
    """
    if isinstance(given, TorchNetwork):
        return deploy_torch(given, data_type, scale, offset, scores, decide)
    return deployment.deploy(given, data_type, scale, offset, scores, decide)
