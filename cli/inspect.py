"""``thematica inspect``: what a model wants, gives and was made from."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..errors import InputError, ModelError, RuntimeMissingError
from ..models.card import TASK_TITLES
from ..models.reading import read_model_card, save_corrected_card
from ..models.store import resolve_model
from .console import Console


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "inspect", help="show what a model is", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("model", metavar="MODEL", help="ONNX file, or a name in the store")
    parser.add_argument("--card", metavar="CARD.json", help="model card to use instead of the model's own")
    parser.add_argument(
        "--keep", action="store_true", help="with --card: keep that card as your correction, for this network's weights"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: the card, and what its graph says")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    path = resolve_model(options.model)
    card = read_model_card(path, options.card)
    if options.keep:
        if not options.card:
            raise InputError("--keep keeps the card that --card names; give one.")
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
    if not card.unsupported and card.task in ("pixel", "segmentation"):
        from ..engine.backend import load_network

        try:
            reach = load_network(path, card).field
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
    if "receptive_field" in facts:
        line("Receptive field", f"{facts['receptive_field']} px, total stride {facts['total_stride']} px")
        line("Stitching", "exact" if facts["exact_stitching"] else f"not exact: {facts['why_not_exact']}")
    line("Trained on", card.trained_on)
    line("Split", card.split)
    line("Accuracy", ", ".join(f"{name} {value:.3f}" for name, value in card.metrics.items()))
    line("Licence", card.licence)
    line("Weights", card.weights_sha256)
    return 0
