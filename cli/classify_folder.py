"""``thematica classify-folder``: a table of labels for a folder of image files, one patch each."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .console import Console
from .raster_options import add_model_argument, add_run_options, add_value_options, job_of, listening_monitor

# Options of this command alone that go into the job under their own names.
_PLAIN = ("folder", "threshold")


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "classify-folder", help="label image files, one patch each",
        description=(__doc__ or "").partition(": ")[2].capitalize(),
    )  # fmt: skip
    parser.add_argument("folder", nargs="?", metavar="DIR", help="folder of image files; its subfolders count too")
    add_model_argument(parser)
    parser.add_argument("--output", metavar="TABLE.csv", help="the table to make")
    parser.add_argument(
        "--threshold", type=float, metavar="P",
        help="probability from which a label counts (default: the model's; 0.5 for several labels)",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, metavar="N", help="images per run of the network")
    add_value_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    from ..engine.classify_folder import classify_folder
    from ..engine.job import FolderJob

    job = job_of(options, FolderJob, _PLAIN, "Classify folder")
    result = classify_folder(job, listening_monitor(console))
    if console.style == "json":
        console.event(result)
    elif console.style == "bar":
        console.close_bar()
        report = result["report"]
        width = max([len(entry["name"]) for entry in report["classes"]] + [5])
        sys.stdout.write(f"{'Class':{width}} {'Images':>10} {'Share':>8}\n")
        for entry in report["classes"]:
            sys.stdout.write(f"{entry['name']:{width}} {entry['images']:>10,} {entry['percent']:>7.2f}%\n")
        sys.stdout.write(f"{result['files']['output']}\n")
    return 0
