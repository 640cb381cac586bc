"""``thematica classify-patches``: labels of the patches of a raster."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .console import Console, print_class_table
from .raster_options import add_input_options, add_raster_arguments, add_run_options, job_of, listening_monitor

# Options of this command alone that go into the job under their own names.
_PLAIN = ("stride", "threshold", "patch")


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "classify-patches", help="label the patches of a raster",
        description=(__doc__ or "").partition(": ")[2].capitalize(),
    )  # fmt: skip
    add_raster_arguments(parser, "OUT.gpkg|OUT.tif", "polygons to make, or a raster with one pixel per patch")
    parser.add_argument("--stride", type=int, metavar="N", help="distance of patches in pixels (default: their side)")
    parser.add_argument(
        "--threshold", type=float, metavar="P",
        help="probability from which a label counts (default: the model's; 0.5 for several labels)",
    )  # fmt: skip
    parser.add_argument(
        "--patch", type=int, metavar="N", help="side of a patch in pixels, where the model leaves it open"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="patches per run of the network")
    add_input_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    from ..engine.classify_patches import classify_patches
    from ..engine.job import PatchJob

    job = job_of(options, PatchJob, _PLAIN, "Classify patches")
    result = classify_patches(job, listening_monitor(console))
    if console.style == "json":
        console.event(result)
    elif console.style == "bar":
        console.close_bar()
        print_class_table(result["report"]["classes"], "patches")
        sys.stdout.write(f"{result['files']['output']}\n")
    return 0
