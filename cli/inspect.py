"""``thematica inspect``: what a model wants, gives and was made from."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..errors import InputError, ModelError, RuntimeMissingError
from ..models.card import ACTIVATIONS, TASK_TITLES, TASKS
from ..models.describe import describe, parse_bands, parse_classes
from ..models.onnx_file import read_onnx_facts
from ..models.reading import forget_corrected_card, no_classes, read_model_card, save_corrected_card
from ..models.store import resolve_model
from ..models.torch_file import is_torch_file, read_torch_facts
from .console import Console

_DESCRIBING = ("title", "task", "divide", "mean", "std", "activation", "threshold", "gsd", "tile", "nodata", "unit")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"“{text}” is no number, nor numbers with commas between them") from None


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "inspect", help="show what a model is", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("model", metavar="MODEL", help="ONNX file, or a name in the store")
    parser.add_argument("--card", metavar="CARD.json", help="model card to use instead of the model's own")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the card, as given here, as your correction for this network's weights",
    )
    parser.add_argument(
        "--forget", action="store_true", help="delete your correction: the file's own card counts again"
    )
    group = parser.add_argument_group("what the file does not say (with --keep: once and for all)")
    group.add_argument("--title", help="what lists show")
    group.add_argument("--task", choices=TASKS, help="what it does")
    group.add_argument("--classes", metavar="NAME,…", help="names in the order of the outputs, or VALUE=NAME#rrggbb")
    group.add_argument("--band-names", metavar="NAME,…", help="names in the order of the input, or NAME:COMMONNAME")
    group.add_argument("--divide", type=float, metavar="D", help="values are divided by this first (255, 10000)")
    group.add_argument("--mean", type=_numbers, metavar="M,…", help="then this is subtracted: one, or one per band")
    group.add_argument("--std", type=_numbers, metavar="S,…", help="and divided by this: one, or one per band")
    group.add_argument("--activation", choices=ACTIVATIONS, help="what the output holds")
    group.add_argument("--threshold", type=float, metavar="P", help="a best score under it means unclassified")
    group.add_argument("--gsd", type=float, metavar="METRES", help="ground sampling distance that it was trained at")
    group.add_argument("--tile", type=int, metavar="N", help="side of its training tiles, windows or patches in pixels")
    group.add_argument("--nodata", type=float, metavar="V", help="value of missing samples")
    group.add_argument("--unit", help="of the values: reflectance, or dn for numbers as stored")
    parser.add_argument("--json", action="store_true", help="print JSON: the card, and what its graph says")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    path = resolve_model(options.model)
    if options.forget:
        # The correction may be what cannot be read.
        facts_of_file = read_torch_facts(path) if is_torch_file(path) else read_onnx_facts(path)
        forget_corrected_card(facts_of_file.weights_sha256)
    card = read_model_card(path, options.card)
    given = {name: getattr(options, name) for name in _DESCRIBING if getattr(options, name) is not None}
    if options.classes is not None:
        given["classes"] = parse_classes(options.classes, card)
    if options.band_names is not None:
        given["bands"] = parse_bands(options.band_names, len(card.bands))
    card = describe(card, **given)
    if options.keep:
        if not options.card and not given:
            raise InputError("--keep keeps what --card, --classes and the like say of the network; give one of them.")
        sys.stderr.write(f"Kept as {save_corrected_card(card)}.\n")
    facts: dict[str, Any] = {
        "path": str(path),
        "card_origin": card.origin,
        "weights_sha256": card.weights_sha256,
        "input": {"name": card.input_name, "shape": list(card.input_shape), "data_type": card.data_type},
        "output": {"name": card.output_name, "shape": list(card.output_shape)},
        "usable": not card.unsupported,
        "problem": card.unsupported,
    }
    if not card.unsupported and not card.classes:
        facts["usable"], facts["problem"] = False, no_classes(card)
    elif not card.unsupported:
        from ..engine.backend import load_network

        try:
            network = load_network(path, card, patches=card.task.startswith("patch"))
            reach = network.field
            facts["outputs"] = [
                {
                    "name": head.card.output_name,
                    "shape": list(head.card.output_shape),
                    "activation": head.card.activation,
                }
                for head in network.heads
            ]
            facts["receptive_field"] = 2 * reach.radius + 1
            facts["total_stride"], facts["halo"] = reach.stride, reach.halo
            facts["exact_stitching"], facts["why_not_exact"] = reach.exact, reach.why
        except (ModelError, RuntimeMissingError) as error:
            facts["usable"], facts["problem"] = False, error.message
    if options.json:
        sys.stdout.write(json.dumps({**facts, "card": card.to_item()}, indent=2) + "\n")
        return 0

    def line(name: str, text: object) -> None:
        if text not in ("", None, [], ()):
            sys.stdout.write(f"{name + ':':17}{text}\n")

    line("Model", card.title or card.name)
    line("File", path)
    line("Card", {"none": "none (only the shapes are known)"}.get(card.origin, card.origin))
    line("Task", TASK_TITLES[card.task])
    if facts["problem"]:
        line("Not usable", facts["problem"])
    line("About", card.description)
    line("Input", f"{card.data_type} {tuple(card.input_shape)}")
    for band in card.bands:
        place = f"{band.wavelength:.3f} µm" if band.wavelength else ""
        line("  band", "  ".join(filter(None, (band.name, band.common_name, place, band.unit))))
    line("Values", f"{card.unit} {card.value_range[0]:g} to {card.value_range[1]:g}" if card.value_range else card.unit)
    line("Made for", f"{card.gsd:g} m pixels" if card.gsd else "")
    for entry in card.classes:
        line("  class", f"{entry.value}  {entry.name}  {entry.color}")
    for output in card.further_outputs:
        line("Further output", output.name)
        for entry in output.classes:
            line("  class", f"{entry.value}  {entry.name}  {entry.color}")
    line("Patch" if card.task.startswith("patch") else "Tile", f"{card.tile} px" if card.tile else "")
    if "receptive_field" in facts and not card.task.startswith("patch"):
        line("Receptive field", f"{facts['receptive_field']} px, total stride {facts['total_stride']} px")
        line("Stitching", "exact" if facts["exact_stitching"] else f"not exact: {facts['why_not_exact']}")
    line("Trained on", card.trained_on)
    line("Split", card.split)
    line("Accuracy", ", ".join(f"{name} {value:.3f}" for name, value in card.metrics.items()))
    line("Licence", card.licence)
    line("Weights", card.weights_sha256)
    return 0
