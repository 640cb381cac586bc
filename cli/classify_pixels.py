"""``thematica classify-pixels``: a thematic map from a raster and a network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.bands import SENSORS
from .console import STYLES, Console, cancel_on_signals, cancel_on_stdin

# Options that go into the job under their own names.
_PLAIN = (
    "mode", "tile", "overlap", "batch", "bands", "scale", "offset", "nodata", "card", "area_crs", "raster_crs",
    "sensor", "invalid", "output_name", "confidence", "entropy", "margin", "probabilities", "provider", "threads",
    "report",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "classify-pixels", help="make a thematic map", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("rasters", nargs="*", metavar="RASTER", help="image file; several on one grid act as one image")
    parser.add_argument("--model", help="ONNX file, or a name in the store (see: thematica models)")
    parser.add_argument("--output", metavar="OUT.tif", help="the thematic map to make")
    parser.add_argument("--mode", choices=("exact", "smooth"), help="stitching of tiles: exact, or overlaps blended")
    parser.add_argument("--tile", type=int, metavar="N", help="side of a tile's kept part, in pixels")
    parser.add_argument("--overlap", type=int, metavar="N", help="pixels seen around a tile and cropped")
    parser.add_argument("--batch", type=int, metavar="N", help="tiles per run of the network")
    parser.add_argument("--bands", metavar="MODELBAND=RASTERBAND,…", help="which raster band feeds which model band")
    parser.add_argument("--sensor", choices=tuple(SENSORS), help="names the bands of a product that has none")
    parser.add_argument("--scale", type=float, metavar="S", help="physical value = stored value × S + offset")
    parser.add_argument("--offset", type=float, metavar="O", help="see --scale")
    parser.add_argument("--nodata", type=float, metavar="V", help="stored value of missing pixels")
    parser.add_argument("--invalid", choices=("any", "all"), help="a pixel is missing if any (or all) of its bands are")
    parser.add_argument("--card", metavar="CARD.json", help="model card to use instead of the model's own")
    parser.add_argument("--area", metavar="FILE|XMIN,YMIN,XMAX,YMAX", help="classify only polygons or an extent")
    parser.add_argument("--area-crs", metavar="CRS", help="CRS of the extent (default: the raster's)")
    parser.add_argument("--raster-crs", metavar="CRS", help="CRS of the raster, instead of its own")
    for score, text in (
        ("confidence", "probability of the chosen class"),
        ("entropy", "entropy of the probabilities, 0 sure to 1 undecided"),
        ("margin", "distance between the two best probabilities"),
        ("probabilities", "one band per class"),
    ):
        parser.add_argument(f"--{score}", metavar="FILE.tif", help=f"also write: {text}")
    parser.add_argument("--output-name", metavar="NAME", help="of a network with several outputs, the one to use")
    parser.add_argument("--provider", metavar="NAME", help="ONNX Runtime provider (default: the best present)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads in all (default: one per core)")
    parser.add_argument("--progress", choices=STYLES, help="default: bar on a terminal, else none")
    parser.add_argument("--report", metavar="FILE", help="JSON report (default: beside the map)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    parser.add_argument("--job", metavar="JOB.json", help="take the job from a file (options given here win)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    from ..engine.classify_pixels import classify_pixels
    from ..engine.job import job_from_dict, read_job
    from ..engine.outputs import check_sources
    from ..engine.progress import Monitor

    values: dict[str, Any] = {}
    if options.job:
        values = {key: value for key, value in vars(read_job(options.job)).items() if value is not None}
    if options.rasters:
        values["rasters"] = options.rasters
    for name in ("model", "output", *_PLAIN):
        if getattr(options, name) is not None:
            values[name] = getattr(options, name)
    if options.area is not None:
        values["area"] = _area(options.area)
    if options.overwrite:
        values["overwrite"] = True
    for name, needed in (("rasters", "a RASTER"), ("model", "--model"), ("output", "--output")):
        if not values.get(name):
            raise InputError(f"Classify pixels needs {needed}; see: thematica classify-pixels --help.")

    monitor = Monitor(console.event)
    cancel_on_signals(monitor)
    if console.style == "json":
        cancel_on_stdin(monitor)
    job = job_from_dict(values)
    job.check()
    if options.job:
        check_sources([job.report_path()], {Path(options.job).resolve()})
    result = classify_pixels(job, monitor)
    if console.style == "json":
        console.event(result)
    elif console.style == "bar":
        console.close_bar()
        _print_table(result["report"])
        sys.stdout.write(f"{result['files']['output']}\n")
    return 0


def _area(text: str) -> str | list[float]:
    """An extent if the text is four numbers, else a file."""
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return text
    return numbers


def _print_table(report: dict[str, Any]) -> None:
    width = max([len(entry["name"]) for entry in report["classes"]] + [5])
    sys.stdout.write(f"{'Class':{width}} {'Pixels':>14} {'Hectares':>14} {'Share':>8}\n")
    for entry in report["classes"]:
        hectares = "–" if entry["hectares"] is None else f"{entry['hectares']:,.2f}"
        sys.stdout.write(f"{entry['name']:{width}} {entry['pixels']:>14,} {hectares:>14} {entry['percent']:>7.2f}%\n")
