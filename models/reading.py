"""Finding a model's card: corrected, given, embedded, beside the file, Deepness keys, Esri's definition, or none.

A file without any card still runs where nothing about it is ambiguous: its classes are numbered
and its values enter the network as they are, and the report says so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import ModelError
from .bands import Band
from .card import METADATA_KEY, FurtherOutput, ModelCard, ModelClass, distinct_colors, parse_card, read_card, slug
from .deepness import card_from_deepness
from .esri import card_beside
from .onnx_file import OnnxFacts, TensorFacts, class_outputs, read_onnx_facts
from .torch_file import is_torch_file, read_torch_facts

# More bands or classes than any sensor or legend has; only in a damaged file.
_MOST_CHANNELS = 65534


def read_model_card(path: str | Path, given: str | Path | None = None) -> ModelCard:
    """The card of a model file.

    Args:
        path: the ONNX file, or one that PyTorch runs.
        given: a card that the user names explicitly; it wins over all others.

    Returns:
        The card, its ``origin`` saying where it came from and its ``weights_sha256``, shapes and
        data type as the file has them.

    Raises:
        ModelError: the file or the card cannot be read, or they contradict each other.
    """
    path = Path(path)
    facts = _torch_facts(path) if is_torch_file(path) else read_onnx_facts(path)
    card, origin = _find_card(path, facts, given)
    if is_torch_file(path):
        _describe_tensors(card, facts)
    card.origin = origin
    card.weights_sha256 = facts.weights_sha256
    _take_tensors(card, facts)
    _take_activations(card, facts)
    return card


def _torch_facts(path: Path) -> OnnxFacts:
    """What a PyTorch file says of itself: its hash, and a card if one was stored in it."""
    facts = read_torch_facts(path)
    return OnnxFacts(metadata=facts.metadata, weights_sha256=facts.weights_sha256)


def _describe_tensors(card: ModelCard, facts: OnnxFacts) -> None:
    """A PyTorch file does not name its tensors' shapes; those of the card count, or what its task implies."""
    free = (-1, -1)
    shape = card.input_shape or (-1, len(card.bands), *(() if card.task == "pixel" else free))
    behind = free if card.task == "segmentation" else ()
    facts.inputs = [TensorFacts(card.input_name or "input", card.data_type, tuple(shape))]
    facts.outputs = [
        TensorFacts(name, "float32", tuple(given or (-1, len(classes), *behind)))
        for name, given, classes in [
            (card.output_name or "output", card.output_shape, card.classes),
            *((output.name, output.shape, output.classes) for output in card.further_outputs),
        ]
    ]


def corrected_card_path(weights_sha256: str) -> Path:
    """Where the user's correction of a model's card is kept."""
    from .store import user_data_folder

    return user_data_folder() / "cards" / f"{weights_sha256}.json"


def save_corrected_card(card: ModelCard) -> Path:
    """Keep a card that the user completed or corrected, under the hash of the weights.

    Raises:
        ModelError: a card that would be no use, or less than the file's own.
    """
    if card.unsupported:
        raise ModelError(f"“{card.title or card.name}” is {card.unsupported}: say with --task what else it does.")
    if not card.classes:
        raise ModelError(no_classes(card))
    path = corrected_card_path(card.weights_sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(card.to_json(), encoding="utf-8")
    partial.replace(path)
    return path


def no_classes(card: ModelCard) -> str:
    """The sentence for a network whose classes nobody has named."""
    return (
        f"“{card.title or card.name}” gives class numbers, but does not say how many classes there are: name them once "
        "(thematica inspect MODEL --classes NAME,… --keep), or give a model card (--card)."
    )


def forget_corrected_card(weights_sha256: str) -> None:
    """Delete a correction, so that the file's own card counts again."""
    corrected_card_path(weights_sha256).unlink(missing_ok=True)


def _find_card(path: Path, facts: OnnxFacts, given: str | Path | None) -> tuple[ModelCard, str]:
    if given is not None:
        return read_card(given), "given"
    corrected = corrected_card_path(facts.weights_sha256)
    if corrected.is_file():
        return read_card(corrected), "corrected"
    if METADATA_KEY in facts.metadata:
        return parse_card(facts.metadata[METADATA_KEY], f"The card inside “{path}”"), "embedded"
    for beside in (path.with_suffix(".json"), path.with_name(path.name + ".json")):
        if beside.is_file():
            return read_card(beside), "beside"
    if is_torch_file(path):
        raise ModelError(
            f"“{path}” is a PyTorch network, which does not say what its bands and classes are: put its model card "
            f"beside it ({path.stem}.json), or name one with --card."
        )
    if not facts.inputs or not facts.outputs:
        raise ModelError(f"“{path}” has no input or no output tensor; it is not a network that classifies images.")
    tensors = (facts.inputs[0], *facts.outputs)
    if any(size > _MOST_CHANNELS for one in tensors for size in one.shape[1 : 3 if len(one.shape) == 5 else 2]):
        raise ModelError(f"“{path}” has a tensor with more than {_MOST_CHANNELS} channels; the file is damaged.")
    foreign = card_from_deepness(path.stem, facts)
    if foreign is not None:
        return foreign, "deepness"
    packed = card_beside(path, facts)
    if packed is not None:
        return packed, "esri"
    return _bare_card(path.stem, facts), "none"


def _bare_card(name: str, facts: OnnxFacts) -> ModelCard:
    """What the shapes alone say."""
    first = facts.inputs[0]
    rank = len(first.shape)
    results = class_outputs(facts)
    result = results[0]
    unsupported, task = "", "segmentation"
    # (N, 1, C, p, p) has a channel more in front of the bands.
    bands = first.shape[2 if rank == 5 else 1] if rank > 1 else 0
    if len(facts.inputs) > 1:
        unsupported = f"a network with {len(facts.inputs)} inputs"
    elif rank == 2:
        task = "pixel"
    elif rank == 5 and len(result.shape) == 2:
        task = "window"
    elif rank != 4:
        unsupported = f"a network whose input has {rank} axes"
    elif len(result.shape) == 2:
        task = "patch"
    elif len(result.shape) not in (3, 4):
        unsupported = f"a network whose output has {len(result.shape)} axes"
    elif first.shape[2] > 0 and result.shape[-2] > first.shape[2]:
        unsupported = "a super-resolution network (it gives a finer image, not classes)"
    if not unsupported and bands <= 0:
        raise ModelError(f"“{name}” does not say how many bands it takes; describe it with a model card (--card).")
    maps = [] if unsupported else [_bare_output(name, tensor) for tensor in results]
    return ModelCard(
        name=slug(name),
        title=name,
        task=task,
        bands=[Band(str(number)) for number in range(1, bands + 1)],
        classes=maps[0].classes if maps else [],
        activation="",
        output_name=result.name,
        tile=first.shape[-1] if task in ("patch", "window") and first.shape[-1] > 0 else 0,
        unsupported=unsupported,
        further_outputs=maps[1:],
    )


def _bare_output(name: str, tensor: TensorFacts) -> FurtherOutput:
    channels = 1 if len(tensor.shape) == 3 else tensor.shape[1] if len(tensor.shape) > 1 else 0
    if tensor.holds_whole_numbers and channels <= 1:
        # How many classes there are, only who made it knows: they are named by hand.
        return FurtherOutput(tensor.name, [], "", shape=tensor.shape)
    if channels <= 0:
        raise ModelError(f"“{name}” does not say how many classes it gives; describe it with a model card (--card).")
    # One score per pixel is that of the second of two classes.
    count = 2 if channels == 1 else channels
    colors = distinct_colors(count)
    classes = [ModelClass(value, f"class {value}", colors[value]) for value in range(count)]
    return FurtherOutput(tensor.name, classes, "", shape=tensor.shape)


def _take_tensors(card: ModelCard, facts: OnnxFacts) -> None:
    """Fill in the tensors' names, shapes and type from the file, and refuse a card that contradicts it."""
    first = _tensor(facts.inputs, card.input_name, "input")
    result = _tensor(facts.outputs, card.output_name, "output")
    card.input_name, card.input_shape, card.data_type = first.name, first.shape, first.data_type
    card.output_name, card.output_shape = result.name, result.shape
    if card.unsupported:
        return
    rank = len(first.shape)
    if rank not in (2, 4, 5):
        # Refused for that, not for what its card counts.
        return
    bands = first.shape[2 if rank == 5 else 1]
    if bands > 0 and bands != len(card.bands):
        raise ModelError(
            f"The card of “{card.name}” names {len(card.bands)} bands, but the network takes {bands}: "
            "the card belongs to another network, or must be corrected."
        )
    _check_classes(card.name, len(card.classes), result)
    named = {tensor.name: tensor for tensor in facts.outputs}
    card.further_outputs = [
        replace(output, shape=named[output.name].shape)
        for output in card.further_outputs
        if output.name in named and output.name != card.output_name
    ]
    for output in card.further_outputs:
        _check_classes(card.name, len(output.classes), named[output.name])


def _take_activations(card: ModelCard, facts: OnnxFacts) -> None:
    """What the outputs hold, by the operator at their end, where the card does not say it."""
    ends = {tensor.name: tensor.operator.lower() for tensor in facts.outputs}

    def found(name: str) -> str:
        return ends[name] if ends.get(name) in ("sigmoid", "softmax") else "logits"

    card.activation = card.activation or found(card.output_name)
    card.further_outputs = [
        replace(output, activation=output.activation or found(output.name)) for output in card.further_outputs
    ]


def _check_classes(name: str, classes: int, result: TensorFacts) -> None:
    if result.holds_whole_numbers:
        # Class numbers: how many there are, only the card knows.
        return
    channels = result.shape[1] if len(result.shape) in (2, 4) else 1 if len(result.shape) == 3 else -1
    if channels == 1 and classes == 1:
        raise ModelError(
            f"The network “{name}” gives one score per pixel, so its card must name two classes (first the one of "
            "low scores, then that of high ones), not one."
        )
    binary = channels == 1 and classes == 2
    if channels > 0 and channels != classes and not binary:
        raise ModelError(
            f"The card of “{name}” names {classes} classes, but the network gives {channels} scores: "
            "the card belongs to another network, or must be corrected."
        )


def _tensor(tensors: list[TensorFacts], name: str, kind: str) -> TensorFacts:
    if not tensors:
        raise ModelError(f"The network has no {kind} tensor; it is not a network that classifies images.")
    return next((tensor for tensor in tensors if tensor.name == name), tensors[0])
