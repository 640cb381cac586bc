"""The networks that torch trains; each is built from the shape of a sample and the number of classes.

Importing this costs nothing; torch is loaded when a network is built.  What there is stands in
:mod:`..models.trainable`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...models.trainable import NETWORKS, NetworkKind, network_kind

__all__ = ["NETWORKS", "NetworkKind", "build_network", "network_kind"]

if TYPE_CHECKING:
    from torch import nn

    #: (bands,) or (bands, rows, columns), number of classes, options → a network that gives logits.
    Build = Callable[[tuple[int, ...], int, dict[str, Any]], nn.Module]


def build_network(name: str, shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """A network with fresh weights.

    Args:
        name: one of :data:`NETWORKS`.
        shape: of a sample, (bands,) or (bands, rows, columns).
        classes: channels of the output, which are logits.
        options: what it is built with.

    Raises:
        InputError: an option that it does not have, or that cannot be.
    """
    module = import_module(f".{network_kind(name).module}", __package__)
    try:
        network: nn.Module = module.build(shape, classes, options)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(
            f"The network “{name}” cannot be built with {', '.join(options) or 'these options'}: see its recipe for "
            "the options that it has.",
            repr(error),
        ) from error
    return network
