"""The options that the commands share which classify rasters and images, and how they become a job."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ..engine.job import RESAMPLING, Job, job_from_dict, read_job
from ..engine.outputs import check_sources
from ..engine.scores import PRECISIONS
from ..errors import InputError
from ..models.bands import SENSORS
from ..progress import Monitor
from .console import STYLES, Console, cancel_on_signals, cancel_on_stdin

# Options that go into the job under their own names.
_PLAIN = (
    "model", "output", "batch", "bands", "scale", "offset", "nodata", "card", "area_crs", "raster_crs", "sensor",
    "gsd", "resampling", "mask", "invalid", "output_name", "provider", "precision", "threads",
    "report",
)  # fmt: skip

# What a command cannot do without, as its help calls it.
_NEEDED = {"rasters": "a RASTER", "folder": "a folder", "model": "--model", "output": "--output"}

_Job = TypeVar("_Job", bound=Job)


def add_raster_arguments(parser: argparse.ArgumentParser, output: str, what: str) -> None:
    """Add what every such command begins with.

    Args:
        parser: of the command.
        output: how the result's file is named in the help.
        what: what the result is.
    """
    parser.add_argument(
        "rasters",
        nargs="*",
        metavar="RASTER",
        help="image file, or folder of a product (SAFE, …); several act as one image",
    )
    add_model_argument(parser)
    parser.add_argument("--output", metavar=output, help=what)


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a raster is to be understood, and which part of it is wanted."""
    add_value_options(parser)
    parser.add_argument(
        "--gsd",
        type=metres,
        metavar="METRES",
        help="pixel size of the map on the ground, or: model (default: the finest)",
    )
    parser.add_argument(
        "--resampling",
        choices=RESAMPLING,
        help="for rasters on another grid than the map's (default: average to coarser pixels, else bilinear)",
    )
    parser.add_argument("--mask", metavar="FILE", help="raster: classify only where it is neither 0 nor nodata")
    parser.add_argument("--area", metavar="FILE|XMIN,YMIN,XMAX,YMAX", help="classify only polygons or an extent")
    parser.add_argument("--area-crs", metavar="CRS", help="CRS of the extent (default: the raster's)")
    parser.add_argument("--raster-crs", metavar="CRS", help="CRS of the raster, instead of its own")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a job is run and what it leaves behind."""
    add_machine_options(parser)
    parser.add_argument("--precision", choices=PRECISIONS, help="auto: fp16 on a GPU (default: fp32)")
    parser.add_argument("--report", metavar="FILE", help="JSON report (default: beside the result)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    parser.add_argument("--job", metavar="JOB.json", help="take the job from a file (options given here win)")


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``."""
    parser.add_argument("--model", help="ONNX or PyTorch file, or a name in the store (see: thematica models)")


def add_value_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which stored values enter the network, and as what."""
    parser.add_argument("--bands", metavar="MODELBAND=RASTERBAND,…", help="which raster band feeds which model band")
    parser.add_argument("--scale", type=float, metavar="S", help="physical value = stored value × S + offset")
    parser.add_argument("--offset", type=float, metavar="O", help="see --scale")
    parser.add_argument("--card", metavar="CARD.json", help="model card to use instead of the model's own")
    parser.add_argument("--output-name", metavar="NAME", help="of a network with several outputs, the one to use")
    parser.add_argument("--sensor", choices=tuple(SENSORS), help="names the bands of a product that has none")
    parser.add_argument("--nodata", type=float, metavar="V", help="stored value of missing pixels")
    parser.add_argument("--invalid", choices=("any", "all"), help="a pixel is missing if any (or all) of its bands are")


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say on what a network runs, and how that is shown."""
    parser.add_argument(
        "--provider", metavar="NAME,…", help="what to run on, in the order to try: tensorrt,cuda,cpu (see: doctor)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads in all (default: one per core)")
    parser.add_argument("--progress", choices=STYLES, help="default: bar on a terminal, else none")


def job_of(options: argparse.Namespace, kind: type[_Job], plain: tuple[str, ...], title: str) -> _Job:
    """The job that the options ask for, on top of that in a job file.

    Args:
        options: as parsed.
        kind: of job.
        plain: options of this command that go into the job under their own names.
        title: what the command is called in a sentence.

    Raises:
        InputError: something is missing or no job.
    """
    values: dict[str, Any] = {}
    if options.job:
        values = {key: value for key, value in vars(read_job(options.job, kind)).items() if value is not None}
    known = {entry.name for entry in fields(kind)}
    for name in (*_PLAIN, *plain):
        if name in known and getattr(options, name) is not None:
            values[name] = getattr(options, name)
    if "rasters" in known and options.rasters:
        values["rasters"] = options.rasters
    if "area" in known and options.area is not None:
        values["area"] = _area(options.area)
    if options.overwrite:
        values["overwrite"] = True
    for name in kind.needed:
        if not values.get(name):
            raise InputError(f"{title} needs {_NEEDED[name]}; see: thematica {kind.command} --help.")
    job = job_from_dict(values, kind)
    if options.job:
        job.check()
        # The job file is an input too.
        check_sources([Path(values["output"]), job.report_path()], {Path(options.job).resolve()})
    return job


def listening_monitor(console: Console) -> Monitor:
    """A monitor that shows a job's events on the console, and ends the job where that is asked for."""
    monitor = Monitor(console.event)
    cancel_on_signals(monitor)
    if console.style == "json":
        cancel_on_stdin(monitor)
    return monitor


def metres(text: str) -> float | str:
    """Metres, or the word model."""
    return text if text == "model" else float(text)


def _area(text: str) -> str | list[float]:
    """An extent if the text is four numbers, else a file."""
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return text
    return numbers
