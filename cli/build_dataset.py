"""``thematica build-dataset``: a training set from rasters with labels, or from a folder of labelled patches."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.job import RESAMPLING
from ..errors import InputError
from ..models.bands import SENSORS
from ..progress import Listener, Monitor
from .console import STYLES, Console
from .dataset_job import KINDS, LAYOUTS, NOMENCLATURES, SEED, SPLITS, DatasetJob
from .raster_options import job_of, listening_monitor

if TYPE_CHECKING:
    from ..trainer.dataset.description import Description

# Options of this command that go into the job under their own names, beside those that commands share.
_PLAIN = (
    "labels", "field", "folder", "layout", "nomenclature", "all_classes", "kind", "size", "split", "test",
    "validation", "seed", "block", "buffer", "cut_polygons", "validation_labels", "test_labels", "merge",
    "image_field", "from_field", "to_field", "timeline", "most", "labels_crs",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "build-dataset", help="make a training set",
        description=(__doc__ or "").partition(": ")[2].capitalize(),
    )  # fmt: skip
    parser.add_argument("output", nargs="?", metavar="OUTDIR", help="the folder to make")
    images = parser.add_argument_group("rasters with labels")
    images.add_argument(
        "--raster", dest="rasters", nargs="+", action="append", metavar="R",
        help="a scene: one file, or several that lie over each other; once more for another scene",
    )  # fmt: skip
    images.add_argument("--labels", metavar="L", help="polygons, points (also a CSV table), or a raster of classes")
    images.add_argument("--field", metavar="F", help="field of the labels that holds the class")
    images.add_argument("--kind", choices=KINDS, help="what a sample is (default: pixels)")
    images.add_argument("--size", type=int, metavar="N", help="side of windows or chips in pixels (default: 9; 128)")
    images.add_argument("--merge", metavar="NAME=NAME,…", help="classes that become part of others")
    images.add_argument("--validation-labels", metavar="L", help="labels that are kept for validation")
    images.add_argument("--test-labels", metavar="L", help="labels that are kept for the test")
    images.add_argument("--image-field", metavar="F", help="field that names the scene that a label belongs to")
    images.add_argument("--from-field", metavar="F", help="field with a label's first day, for images of many dates")
    images.add_argument("--to-field", metavar="F", help="field with the day after a label's last")
    images.add_argument("--timeline", metavar="FILE", help="the date of each band of the rasters, one a line")
    images.add_argument("--labels-crs", metavar="CRS", help="CRS of the labels, instead of their own")
    patches = parser.add_argument_group("patches in folders")
    patches.add_argument("--folder", metavar="DIR|ZIP", help="a data set of patches")
    patches.add_argument("--layout", choices=LAYOUTS, help="which one")
    patches.add_argument("--nomenclature", type=int, choices=NOMENCLATURES, help="classes of BigEarthNet (default: 19)")
    patches.add_argument(
        "--all-classes", action="store_const", const=True, help="keep classes of BigEarthNet that no patch has"
    )
    split = parser.add_argument_group("split")
    split.add_argument(
        "--split", choices=SPLITS, help="default: blocks of the ground; BigEarthNet v2: official; EuroSAT: random"
    )
    split.add_argument("--test", type=float, metavar="SHARE", help="default: 0.2")
    split.add_argument("--validation", type=float, metavar="SHARE", help="default: 0.1")
    split.add_argument("--seed", type=int, metavar="S", help=f"default: {SEED}")
    split.add_argument("--block", metavar="METRES|Npx", help="side of a block (default: chosen)")
    split.add_argument("--buffer", metavar="METRES|Npx", help="distance between the parts (default: chosen)")
    split.add_argument(
        "--cut-polygons", action="store_const", const=True, help="a polygon may be cut where blocks meet"
    )
    split.add_argument("--most", type=int, metavar="N", help="samples per class, drawn by chance (default: all)")
    values = parser.add_argument_group("what the rasters are")
    values.add_argument("--bands", metavar="B2,B3,…|1-7", help="bands to take (default: all that are no masks)")
    values.add_argument("--sensor", choices=tuple(SENSORS), help="names the bands of a product that has none")
    values.add_argument("--scale", type=float, metavar="S", help="physical value = stored value × S + offset")
    values.add_argument("--offset", type=float, metavar="O", help="see --scale")
    values.add_argument("--nodata", type=float, metavar="V", help="stored value of missing pixels")
    values.add_argument("--invalid", choices=("any", "all"), help="a pixel is missing if any (or all) of its bands are")
    values.add_argument("--gsd", type=float, metavar="METRES", help="size of pixels (default: the finest raster's)")
    values.add_argument("--resampling", choices=RESAMPLING, help="for rasters on another grid")
    values.add_argument("--raster-crs", metavar="CRS", help="CRS of the rasters, instead of their own")
    parser.add_argument("--threads", type=int, metavar="N", help="threads that read (default: one per core)")
    parser.add_argument("--progress", choices=STYLES, help="default: bar on a terminal, else none")
    parser.add_argument("--overwrite", action="store_true", help="replace another training set")
    parser.add_argument("--job", metavar="JOB.json", help="take the job from a file (options given here win)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    if not (options.output or options.job):
        raise InputError("Build dataset needs a folder to make; see: thematica build-dataset --help.")
    job = job_of(options, DatasetJob, _PLAIN, "Build dataset")
    job.check()
    monitor = listening_monitor(console)
    monitor.listener = _with_time_left(console.event)
    result = build(job, monitor)
    if console.style == "json":
        console.event(result)
    elif console.style == "bar":
        console.close_bar()
        _print_table(result)
    return 0


def build(job: DatasetJob, monitor: Monitor) -> dict[str, Any]:
    """Make the training set of a job; returns the ``result`` event.

    Raises:
        InputError: the job, the rasters or the labels cannot be used.
        OutputError: the training set cannot be written.
        Cancelled: the monitor was asked to end; what was done is kept for the next run.
    """
    from .dataset_sources import from_folder, from_rasters

    with ExitStack() as stack:
        description = (from_folder if job.folder else from_rasters)(job, stack, monitor)
    folder = Path(job.output)
    files = {"dataset": str(folder / "dataset.json"), "sheet": str(folder / "dataset.preview.png")}
    return {"event": "result", "files": files, "report": _report(description)}


def _report(description: Description) -> dict[str, Any]:
    report = description.to_json()
    report.pop("shards")
    return report


def _with_time_left(listener: Listener) -> Listener:
    """Add the time left to progress that does not tell it: what is left will take as long as what is done."""
    started = time.monotonic()

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "progress" and event["seconds_left"] is None and 0.02 < event["fraction"] < 1:
            taken = time.monotonic() - started
            event = {**event, "seconds_left": round(taken * (1 / event["fraction"] - 1), 1)}
        listener(event)

    return listen


def _print_table(result: dict[str, Any]) -> None:
    """The classes with their samples in each part, and how they were split."""
    report = result["report"]
    parts = ("train", "validation", "test")
    width = max([len(entry["name"]) for entry in report["classes"]] + [5])
    sys.stdout.write(f"{'Class':{width}} {'Training':>12} {'Validation':>12} {'Test':>12} {'Weight':>8}\n")
    for entry in report["classes"]:
        counts = " ".join(f"{entry['samples'].get(part, 0):>12,}" for part in parts)
        sys.stdout.write(f"{entry['name']:{width}} {counts} {entry['weight']:>8.3g}\n")
    if report["split"].get("optimistic"):
        sys.stdout.write(f"Optimistic: {report['split']['why']}\n")
    sys.stdout.write(f"{result['files']['sheet']}\n{result['files']['dataset']}\n")
