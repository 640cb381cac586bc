"""Transfer learning: weights from a file, for another number of bands or other classes, and layers that keep them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import InputError
from .checkpoint import load_tensors

#: Freezes everything but the last layer.
ALL_BUT_LAST = "all-but-last"
# Under which the weights lie in checkpoints: ours (the running mean first, where there is one) and others'.
_ENTRIES = ("averaged", "network", "state_dict", "model_state_dict", "model")
# Weights of networks for grey or natural-colour images are spread over any number of bands.
_SPREADABLE = (1, 3)
_SHOWN = 4


@dataclass
class Taken:
    """What came of weights from a file.

    Args:
        tensors: how many were taken.
        fresh: names of those that were not, and start anew.
        spread: bands in the file and in the training set, where the first convolution was spread; else None.
    """

    tensors: int
    fresh: list[str]
    spread: tuple[int, int] | None

    def __str__(self) -> str:
        said = f"{self.tensors} tensors were taken from the file of weights"
        if self.spread:
            said += f"; the first convolution was spread from {self.spread[0]} to {self.spread[1]} bands"
        if self.fresh:
            said += f"; {_listed(self.fresh)} start{'s' if len(self.fresh) == 1 else ''} anew"
        return said + "."


def load_weights(network: nn.Module, path: Path) -> Taken:
    """Give a network the weights of a file.

    The file is one of torch's with a ``state_dict``, alone or in a checkpoint (a run's ``best.pt`` can be used); what
    its names begin with (``module.``, ``backbone.``) does not matter.  A last layer for another number of classes
    starts anew.  A first convolution for 1 or 3 bands is spread over all: each band gets the mean of the file's times
    file's bands / own bands, which leaves the answer to a grey image as it was (repeated and divided, as Carreira &
    Zisserman 2017 do along time).

    Args:
        network: with fresh weights.
        path: the file.

    Raises:
        InputError: it cannot be read, would run code, or holds another network's weights.
    """
    own = network.state_dict()
    given = _same_names(_tensors(load_tensors(path, "file of weights"), path), own)
    learned, last, first = [name for name, _ in network.named_parameters()], _last(network), _first_kernel(network)
    common = [name for name in learned if name in given]
    # The last layer is often left out of what is published.
    lacking = [name for name in learned if name not in given and name not in last]
    if not common or lacking:
        raise InputError(
            f"The weights of “{path}” are of another network: {_listed(lacking or learned)} "
            f"{'is' if len(lacking or learned) == 1 else 'are'} not among them. Choose the network that they are of, "
            "with the same network_options.",
        )
    taken = dict(own)
    result = Taken(0, [], None)
    for name, fresh in own.items():
        found = given.get(name)
        if found is not None and found.shape != fresh.shape and name == first and _differs_in_bands(found, fresh):
            result.spread = found.shape[1], fresh.shape[1]
            found = _spread(found, fresh, path)
        if found is not None and found.shape != fresh.shape and name not in last:
            raise InputError(
                f"The weights of “{path}” do not fit: {name} is {_size(found)} in the file and {_size(fresh)} here. "
                "They are for another number of bands or another size of window, or the network has other "
                "network_options.",
            )
        if found is None or found.shape != fresh.shape:
            result.fresh += [name] if name in learned else []
            continue
        taken[name] = found.to(fresh.dtype)
        result.tensors += 1
    network.load_state_dict(taken)
    return result


def freeze(network: nn.Module, patterns: str) -> list[str]:
    """Let parameters keep their weights; normalisation whose scale is frozen keeps its statistics, too.

    Args:
        network: any.
        patterns: of parameters' or layers' names, with commas between; ``*`` stands for any letters.  Or
            :data:`ALL_BUT_LAST`.

    Returns:
        Names of the frozen parameters.

    Raises:
        InputError: a pattern that is no layer's name, or nothing is left to be learned.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen: set[str] = set()
    for pattern in filter(None, (entry.strip() for entry in patterns.split(","))):
        if pattern == ALL_BUT_LAST:
            frozen.update(set(names) - _last(network))
            continue
        found = {name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")}
        if not found:
            layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
            tops = list(dict.fromkeys(name.partition(".")[0] for name in names))
            raise InputError(
                f"No layer is called “{pattern}”; there are {', '.join(tops if len(tops) > 1 else layers)}, and "
                f"{ALL_BUT_LAST}."
            )
        frozen |= found
    if frozen >= set(names):
        raise InputError("All layers are frozen, so that nothing could be learned: freeze fewer of them.")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for name, module in network.named_modules():
        own = {f"{name}.{inner}".lstrip(".") for inner, _ in module.named_parameters(recurse=False)}
        if isinstance(module, _BatchNorm) and own and own <= frozen:
            # Whoever calls train() means the network: a hook is asked before every pass.
            module.register_forward_pre_hook(_keep_statistics)
    return [name for name in names if name in frozen]


def _keep_statistics(module: nn.Module, _: Any) -> None:
    module.training = False


def _tensors(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The dictionary of names and tensors in what a file holds."""
    for _ in range(3):
        if not isinstance(content, dict):
            break
        if content and all(isinstance(value, torch.Tensor) for value in content.values()):
            return {str(name): value for name, value in content.items()}
        entries = (content.get(entry) for entry in _ENTRIES)
        content = next((entry for entry in entries if isinstance(entry, dict) and entry), None)
    raise InputError(f"“{path}” holds no weights of a network: save its state_dict() instead.")


def _same_names(given: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The given tensors by the network's own names: without what most of them begin with."""
    beginnings: Counter[str] = Counter()
    for name in given:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in own:
                beginnings["".join(f"{part}." for part in parts[:start])] += 1
    if not beginnings:
        return {}
    # Of two that fit equally well the shorter.
    beginning = min(beginnings, key=lambda entry: (-beginnings[entry], len(entry)))
    return {name[len(beginning) :]: tensor for name, tensor in given.items() if name.startswith(beginning)}


def _first_kernel(network: nn.Module) -> str:
    """Name of the first convolution's weights, if the network begins with one over rows and columns."""
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.Conv3d)):
            return f"{name}.weight" if isinstance(module, nn.Conv2d) else ""
    return ""


def _last(network: nn.Module) -> set[str]:
    """Names of the parameters of the last layer, which gives the classes' scores."""
    layers = {name: module for name, module in network.named_modules() if list(module.parameters(recurse=False))}
    name, module = list(layers.items())[-1]
    return {f"{name}.{inner}".lstrip(".") for inner, _ in module.named_parameters(recurse=False)}


def _differs_in_bands(found: torch.Tensor, fresh: torch.Tensor) -> bool:
    same = found.ndim == fresh.ndim and found.shape[0] == fresh.shape[0] and found.shape[2:] == fresh.shape[2:]
    return same and found.shape[1] != fresh.shape[1]


def _spread(kernel: torch.Tensor, fresh: torch.Tensor, path: Path) -> torch.Tensor:
    given, wanted = kernel.shape[1], fresh.shape[1]
    if given not in _SPREADABLE:
        raise InputError(
            f"The weights of “{path}” are for {given} bands and the training set has {wanted}: only those for 1 or 3 "
            "bands can be spread over others. Make the training set with the bands that the weights are for."
        )
    return kernel.mean(dim=1, keepdim=True).expand_as(fresh) * (given / wanted)


def _size(tensor: torch.Tensor) -> str:
    return " × ".join(map(str, tensor.shape)) or "one number"


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
