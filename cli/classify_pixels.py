"""``thematica classify-pixels``: a thematic map from a raster and a network."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .console import Console, print_class_table
from .raster_options import add_input_options, add_raster_arguments, add_run_options, job_of, listening_monitor

# Options of this command alone that go into the job under their own names.
_PLAIN = ("mode", "tile", "overlap", "confidence", "entropy", "margin", "probabilities")


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "classify-pixels", help="make a thematic map", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    add_raster_arguments(parser, "OUT.tif", "the thematic map to make")
    parser.add_argument("--mode", choices=("exact", "smooth"), help="stitching of tiles: exact, or overlaps blended")
    parser.add_argument("--tile", type=int, metavar="N", help="side of a tile's kept part, in pixels")
    parser.add_argument("--overlap", type=int, metavar="N", help="pixels seen around a tile and cropped")
    parser.add_argument("--batch", type=int, metavar="N", help="tiles per run of the network")
    add_input_options(parser)
    for score, text in (
        ("confidence", "probability of the chosen class"),
        ("entropy", "entropy of the probabilities, 0 sure to 1 undecided"),
        ("margin", "distance between the two best probabilities"),
        ("probabilities", "one band per class"),
    ):
        parser.add_argument(f"--{score}", metavar="FILE.tif", help=f"also write: {text}")
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    from ..engine.classify_pixels import classify_pixels
    from ..engine.job import PixelJob

    job = job_of(options, PixelJob, _PLAIN, "Classify pixels")
    result = classify_pixels(job, listening_monitor(console))
    if console.style == "json":
        console.event(result)
    elif console.style == "bar":
        console.close_bar()
        print_class_table(result["report"]["classes"], "pixels")
        sys.stdout.write(f"{result['files']['output']}\n")
    return 0
