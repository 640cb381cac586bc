"""PyTorch networks: what the engine knows of one from its card, and how it is deployed.

PyTorch itself is loaded only when the network runs (``torch_session.py``).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx

from ..errors import MisfitError, ModelError, RuntimeMissingError
from ..models.card import ModelCard
from .deployment import Deployment, _arithmetic, output_of
from .network import Head, Network, fixed_tile, kind_wanted, window_field
from .receptive_field import ReceptiveField
from .scores import SCORES

# Tiles begin at multiples of this: right for every network that halves its resolution up to five times.
_STRIDE = 32


@dataclass
class TorchNetwork(Network):
    """A network in a PyTorch file; ``model`` is an empty graph.

    Args:
        path: the file.
        output_name: the output that was asked for by a name which the card does not know, or empty.
    """

    path: Path = Path()
    output_name: str = ""


@dataclass(frozen=True)
class TorchHead:
    """One output of a PyTorch network, and the decision behind it.

    Args:
        name: the entry to take where the network gives a dictionary.
        place: of the entry to take where it gives a tuple; None: only a name finds it.
        any_will_do: whether the first entry (or ``out``) counts where none is called so: the card's own name may be
            a mere placeholder.
        activation: what the output holds.
        thresholds: see :class:`..models.card.ModelCard`.
        classes: their number.
    """

    name: str
    place: int | None = 0
    any_will_do: bool = True
    activation: str = "logits"
    thresholds: tuple[float, ...] = ()
    classes: int = 0


@dataclass
class TorchDeployment(Deployment):
    """What :mod:`.torch_session` runs: the file, the arithmetic in front of it and the decision behind it.

    Args:
        path: the network's file.
        data_type: of the samples that enter.
        gain, bias, low, high: per band: ``clip(stored, low, high) * gain + bias``.
        wanted: type of the network's input.
        kind: of the network, one of :data:`.network.KINDS`.
        window_axis: True where the network takes (N, 1, C, p, p).
        several: whether a patch may have several labels, each with its own probability.
        decide: False: only ``probabilities`` leave.
        rows: pixels per run of a pixelwise network with a fixed batch, or 0.
        heads: the outputs that are used.
        scores: which of :data:`.scores.SCORES` to compute too.
    """

    path: Path = Path()
    data_type: np.dtype = field(default_factory=lambda: np.dtype(np.float32))
    gain: np.ndarray = field(default_factory=lambda: np.ones(1))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(1))
    low: np.ndarray = field(default_factory=lambda: np.full(1, -np.inf))
    high: np.ndarray = field(default_factory=lambda: np.full(1, np.inf))
    wanted: np.dtype = field(default_factory=lambda: np.dtype(np.float32))
    kind: str = "image"
    window_axis: bool = False
    several: bool = False
    decide: bool = True
    rows: int = 0
    heads: list[TorchHead] = field(default_factory=list)
    scores: tuple[str, ...] = ()


def load_torch_network(path: str | Path, card: ModelCard, patches: bool = False, output_name: str = "") -> TorchNetwork:
    """What the card says of a PyTorch network; the network itself is loaded when it runs.

    Args:
        path: the file.
        card: its card.
        patches: True for Classify patches, False for Classify pixels.
        output_name: the one output to use; empty: all that the card names.  Where the card names only one, another
            entry of a network that gives a dictionary can be asked for: one with the same classes.

    Raises:
        ModelError: not a network of the kind that is wanted, or an output that it does not have.
        RuntimeMissingError: PyTorch is not in this runtime.
    """
    kind = kind_wanted(card, patches)
    if card.data_type not in ("float32", "float16", "uint8", "float64"):
        raise ModelError(f"The network “{card.name}” takes {card.data_type} values, which is not supported.")
    if importlib.util.find_spec("torch") is None:
        raise RuntimeMissingError(
            f"“{Path(path).name}” is a PyTorch network, and PyTorch is not in this runtime: add it (QGIS, Thematica, "
            "Runtime…: with PyTorch; in a shell: pip install torch), or export the network as ONNX."
        )
    unknown = output_name if not card.further_outputs and output_name != card.output_name else ""
    if unknown:
        cards = [replace(card, output_name=unknown)]
    else:
        cards = [card.for_output(name) for name in ([output_name] if output_name else card.output_names())]
    batch = max(card.input_shape[0], 0)
    tile = fixed_tile(card, kind)
    if kind == "window":
        reach = window_field(card, tile)
    else:
        reach = _field(card) if kind == "image" else ReceptiveField(0, 1)
    heads = [Head(entry, _channels(entry)) for entry in cards]
    return TorchNetwork(card, onnx.ModelProto(), reach, kind, heads, batch, tile, Path(path), unknown)


def _channels(card: ModelCard) -> int:
    shape = card.output_shape
    return shape[1] if len(shape) in (2, 4) and shape[1] > 0 else 1 if len(shape) == 3 else len(card.classes)


def _field(card: ModelCard) -> ReceptiveField:
    if card.receptive_field == 1:
        return ReceptiveField(0, 1)
    if card.receptive_field:
        return ReceptiveField(card.receptive_field // 2, _STRIDE)
    return ReceptiveField(
        0,
        _STRIDE,
        False,
        "how far a PyTorch network sees cannot be read from its file, and its card does not say it "
        "(thematica:receptive_field).",
    )


def deploy_torch(
    network: TorchNetwork,
    data_type: np.dtype,
    scale: Sequence[float],
    offset: Sequence[float],
    scores: Sequence[str] = (),
    decide: bool = True,
) -> TorchDeployment:
    """As :func:`.deployment.deploy`, for a PyTorch network.

    Raises:
        MisfitError: the samples cannot be turned into the integers that the network takes.
    """
    card = network.card
    gain, bias, low, high = _arithmetic(card.normalisation, scale, offset)
    wanted = np.dtype(card.data_type)
    identity = np.all(gain == 1) and np.all(bias == 0) and not np.isfinite(low).any() and not np.isfinite(high).any()
    if wanted.kind == "u" and identity and not np.can_cast(data_type, wanted):
        raise MisfitError(
            f"The network takes {wanted} values as they are, but the raster holds {data_type}: convert the "
            f"raster to {wanted}, or give the scaling with --scale and --offset."
        )
    leaving = ["classes", "check", "shape", *(name for name in SCORES if name in scores)]
    if not decide:
        leaving = ["check", "shape", "probabilities"]
    return TorchDeployment(
        content=b"",
        input_name=card.input_name,
        outputs=[output_of(name, number) for number in range(len(network.heads)) for name in leaving],
        batch=0 if network.pixelwise else network.batch,
        channels=[head.channels for head in network.heads],
        path=network.path,
        data_type=data_type,
        gain=gain,
        bias=bias,
        low=low,
        high=high,
        wanted=wanted,
        kind=network.kind,
        window_axis=len(card.input_shape) == 5,
        several=card.task == "patch-multilabel",
        decide=decide,
        rows=network.batch if network.pixelwise else 0,
        heads=[_torch_head(head.card, network) for head in network.heads],
        scores=tuple(scores),
    )


def _torch_head(card: ModelCard, network: TorchNetwork) -> TorchHead:
    names = network.card.output_names()
    return TorchHead(
        name=card.output_name,
        place=None if network.output_name else names.index(card.output_name),
        any_will_do=len(names) == 1 and not network.output_name,
        activation=card.activation,
        thresholds=tuple(card.thresholds),
        classes=len(card.classes),
    )
