"""What a training makes small.  Each gives a sum and the weight that it is to be divided by, which labels alone settle.

Parts of a batch can then be added, whichever process they are on, and give what the whole batch would have given.  Dice
alone is no mean over samples: of several parts it gives the mean of the parts' losses, by their numbers of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from ..errors import InputError
from .dataset.description import Description
from .recipe import Recipe


@dataclass(frozen=True)
class Loss:
    """A loss with its options.

    Args:
        total: logits and labels → the sum over samples (or pixels).
        weights: labels, where they were read → those of the samples, (N,); the sum is to be divided by theirs.  All
            processes must know it before they go backwards, so it must not wait for the network.
    """

    total: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    weights: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Both sums."""
        return self.total(scores, labels), float(self.weights(labels).sum())


#: A recipe's options, weights of the classes and the label that does not count → a loss.
_Build = Callable[[dict[str, Any], torch.Tensor | None, int | None], Loss]

# Torch's own default for a label that does not count; no class has it.
_NO_LABEL = -100
_ONE, _SEVERAL = (False,), (True,)


def cross_entropy(options: dict[str, Any], weights: torch.Tensor | None, ignore_index: int | None) -> Loss:
    """Cross-entropy of one label per sample or pixel, with label smoothing (Szegedy et al. 2016)."""
    smoothing = _number(options, "label_smoothing", 0.0, 0.0, 1.0)
    ignored = _NO_LABEL if ignore_index is None else ignore_index

    def total(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            scores, labels, weights, ignore_index=ignored, reduction="sum", label_smoothing=smoothing
        )

    return Loss(total, _weights_of_classes(weights, ignore_index))


def binary_cross_entropy(options: dict[str, Any], weights: torch.Tensor | None, ignore_index: int | None) -> Loss:
    """Cross-entropy of each of several labels; weights of classes are those of labels that are there."""

    def total(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(scores, labels, pos_weight=weights, reduction="sum")

    return Loss(total, _numbers_of_labels)


def mean_squared_error(options: dict[str, Any], weights: torch.Tensor | None, ignore_index: int | None) -> Loss:
    """Squared distance of probabilities and 0 or 1, the mean over classes, as Keras has it behind a softmax.

    Of several labels each has a probability of its own.
    """

    def total(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if labels.is_floating_point():
            return _of_labels((torch.sigmoid(scores) - labels).square(), labels, weights)
        rows, true = _rows(scores, labels, ignore_index)
        wanted = functional.one_hot(true, rows.shape[1]).to(rows.dtype)
        return _of_samples((torch.softmax(rows, dim=1) - wanted).square().mean(dim=1), true, weights)

    return Loss(total, _weights_of_any(weights, ignore_index))


def focal(options: dict[str, Any], weights: torch.Tensor | None, ignore_index: int | None) -> Loss:
    """Cross-entropy that counts a sample the less, the surer the network is of it: (1 - p)^gamma × -log p.

    Lin, T.-Y., Goyal, P., Girshick, R., He, K., Dollár, P. (2017): Focal loss for dense object detection. ICCV 2017,
    2980-2988.  Weights of classes stand for the paper's alpha; with gamma 0 it is the cross-entropy.
    """
    gamma = _number(options, "gamma", 2.0, 0.0, math.inf)

    def faded(log_probability: torch.Tensor) -> torch.Tensor:
        # 1 - p without loss of digits near p = 1; its power has no finite slope at 0 where gamma is below 1.
        rest = (-torch.expm1(log_probability)).clamp(min=torch.finfo(log_probability.dtype).eps)
        return -(rest**gamma) * log_probability

    def total(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if labels.is_floating_point():
            return _of_labels(faded(functional.logsigmoid(torch.where(labels > 0, scores, -scores))), labels, weights)
        rows, true = _rows(scores, labels, ignore_index)
        chosen = torch.log_softmax(rows, dim=1).gather(1, true[:, None])[:, 0]
        return _of_samples(faded(chosen), true, weights)

    return Loss(total, _weights_of_any(weights, ignore_index))


def dice(options: dict[str, Any], weights: torch.Tensor | None, ignore_index: int | None) -> Loss:
    """1 - 2 Σpg / (Σp² + Σg²), p the probability of a class and g 1 where it is: the mean over the batch's classes.

    Milletari, F., Navab, N., Ahmadi, S.-A. (2016): V-Net: Fully convolutional neural networks for volumetric medical
    image segmentation. 3DV 2016, 565-571.  The sums run over all pixels of the batch.  A class that no pixel of the
    batch shows has no overlap to be measured; what is wrongly given to it lacks elsewhere.
    """

    def total(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        rows, true = _rows(scores, labels, ignore_index)
        if not len(true):
            return rows.sum()
        probability = torch.softmax(rows, dim=1)
        wanted = functional.one_hot(true, rows.shape[1]).to(rows.dtype)
        overlap, present = (probability * wanted).sum(dim=0), wanted.sum(dim=0)
        each = 1 - 2 * overlap / (probability.square().sum(dim=0) + present).clamp(min=1.0)
        share = (present > 0).to(rows.dtype) if weights is None else (present > 0) * weights
        return (each * share).sum() / share.sum().clamp(min=1e-12) * len(true)

    # Weights of classes are within each part's mean already.
    return Loss(total, _weights_of_classes(None, ignore_index))


def _rows(scores: torch.Tensor, labels: torch.Tensor, ignore_index: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (M, K) and labels (M,) of all samples or pixels that count, in single precision at least."""
    rows, true = torch.movedim(scores, 1, -1).reshape(-1, scores.shape[1]), labels.reshape(-1)
    if ignore_index is not None:
        counts = true != ignore_index
        rows, true = rows[counts], true[counts]
    return rows, true


def _of_samples(values: torch.Tensor, true: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Sum of one value per sample."""
    return values.sum() if weights is None else (values * weights[true]).sum()


def _of_labels(values: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Sum of one value per label; labels that are there weigh more, as in the binary cross-entropy."""
    if weights is not None:
        values = values * torch.where(labels > 0, weights, torch.ones_like(weights))
    return values.sum()


def _numbers_of_labels(labels: torch.Tensor) -> torch.Tensor:
    return torch.full((len(labels),), math.prod(labels.shape[1:]), dtype=torch.float32)


def _weights_of_classes(
    weights: torch.Tensor | None, ignore_index: int | None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The weight of a sample's label, or the sum over its pixels; those that do not count have none."""
    # Labels come from the training set in the computer's own memory, wherever the network is.
    here = None if weights is None else weights.cpu()

    def of_samples(labels: torch.Tensor) -> torch.Tensor:
        counts = torch.ones(labels.shape) if ignore_index is None else (labels != ignore_index).float()
        if here is not None:
            counts *= here[labels if ignore_index is None else torch.where(counts > 0, labels, 0)]
        return counts.flatten(1).sum(dim=1) if counts.ndim > 1 else counts

    return of_samples


def _weights_of_any(weights: torch.Tensor | None, ignore_index: int | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same, or the number of labels where a sample has several."""
    of_one = _weights_of_classes(weights, ignore_index)
    return lambda labels: _numbers_of_labels(labels) if labels.is_floating_point() else of_one(labels)


@dataclass(frozen=True)
class LossKind:
    """A loss that a recipe can name.

    Args:
        build: see :data:`_Build`.
        several: whether it is for one label per sample or pixel (False), for several (True), or both.
        options: what ``loss_options`` may hold.
    """

    build: _Build
    several: tuple[bool, ...]
    options: tuple[str, ...] = ()


LOSSES: dict[str, LossKind] = {
    "cross-entropy": LossKind(cross_entropy, _ONE, ("label_smoothing",)),
    "binary-cross-entropy": LossKind(binary_cross_entropy, _SEVERAL),
    "mean-squared-error": LossKind(mean_squared_error, _ONE + _SEVERAL),
    "focal": LossKind(focal, _ONE + _SEVERAL, ("gamma",)),
    "dice": LossKind(dice, _ONE),
}


def build_loss(recipe: Recipe, told: Description, device: torch.device) -> Loss:
    """The loss of a recipe for a training set, for scores on a device.

    Raises:
        InputError: there is no such loss, it is not for such labels, or an option cannot be.
    """
    if recipe.loss not in LOSSES:
        raise InputError(f"There is no loss “{recipe.loss}”; choose {', '.join(LOSSES)}.")
    kind, several = LOSSES[recipe.loss], told.task == "multi-label"
    if several not in kind.several:
        fitting = [name for name, entry in LOSSES.items() if several in entry.several]
        what = "several labels" if several else "one label"
        raise InputError(
            f"The loss “{recipe.loss}” is not for samples with {what}; set loss to {' or '.join(fitting)}."
        )
    for name in recipe.loss_options:
        if name not in kind.options:
            raise InputError(f"The loss “{recipe.loss}” has no option “{name}”; leave it out of loss_options.")
    weights = torch.tensor([entry.weight for entry in told.classes], device=device) if recipe.class_weights else None
    return kind.build(recipe.loss_options, weights, told.ignore_index)


def _number(options: dict[str, Any], name: str, default: float, lowest: float, below: float) -> float:
    value = options.get(name, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not lowest <= value < below:
        limit = f" to less than {below:g}" if math.isfinite(below) else ""
        raise InputError(f"The loss's “{name}” is a number from {lowest:g}{limit}, not {value}.")
    return float(value)
