"""``thematica``: one program for desktop, script, cluster node and QGIS.

Exit status: 0 done, 2 bad input or options, 3 cancelled, 1 a fault of ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import __version__
from ..errors import Cancelled, ThematicaError
from . import (
    build_dataset,
    classify_folder,
    classify_patches,
    classify_pixels,
    doctor,
    evaluate,
    inspect,
    labels,
    live,
    models,
    train,
)  # fmt: skip
from .console import Console

# The option of a command with which it needs less memory.
_LESS = {"classify-pixels": "--tile", "classify-patches": "--batch", "classify-folder": "--batch"}
COMMANDS = (
    classify_pixels, classify_patches, classify_folder, labels, build_dataset, train, evaluate, inspect, models, live,
    doctor,
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="thematica", description="Thematic maps from satellite and aerial images with neural networks."
    )
    parser.add_argument("--version", action="version", version=f"thematica {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _join_numbers(arguments: Sequence[str]) -> Iterator[str]:
    """``--area -70,-20,…`` as ``--area=-70,-20,…``: argparse takes what begins with a minus for an option."""
    pending = ""
    for argument in arguments:
        if pending and re.match(r"-[\d.]", argument):
            yield f"{pending}={argument}"
            pending = ""
            continue
        if pending:
            yield pending
        pending = argument if argument.startswith("--") else ""
        if not pending:
            yield argument
    if pending:
        yield pending


def _forget_other_gdal() -> None:
    """Forget where another GDAL keeps its files, if rasterio brought its own, as its wheels do.

    QGIS, OSGeo4W, conda and the modules of clusters set these; with another version's database PROJ knows no CRS.
    """
    found = importlib.util.find_spec("rasterio")
    for folder in (found.submodule_search_locations or []) if found else []:
        if (Path(folder) / "proj_data").is_dir():
            for name in ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH"):
                os.environ.pop(name, None)


def _leave_gdal_behind(status: int) -> None:
    """End the process at once if GDAL is still at work for a run that was cancelled."""
    from ..engine.cog import LEFT_BEHIND

    if any(thread.name == LEFT_BEHIND for thread in threading.enumerate()):
        # An orderly end would take GDAL down under the feet of that thread.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _say_nothing(_: object) -> None:
    """Leave an error that nobody can catch unsaid."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _forget_other_gdal()
    if not sys.warnoptions:
        # What libraries warn of is for developers: python -W default -m thematica … shows it.
        warnings.simplefilter("ignore")
        if arguments is None:
            # Nor does what goes wrong inside GDAL's own log, which Python prints with a traceback.
            sys.unraisablehook = _say_nothing
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no umlauts is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(list(_join_numbers(sys.argv[1:] if arguments is None else arguments)))
    console = Console(getattr(options, "progress", None))
    try:
        status: int = options.run(options, console)
        return status
    except ThematicaError as error:
        console.error(error.code, error.message, error.details)
        if isinstance(error, Cancelled):
            _leave_gdal_behind(error.exit_status)
        return error.exit_status
    except KeyboardInterrupt:
        console.error("cancelled", "Cancelled.", "")
        return 3
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell, nor at exit, when Python empties stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 3
    except MemoryError as error:
        less = f"use a smaller {_LESS[options.command]}" if options.command in _LESS else "close other programs"
        console.error("memory", f"The machine has too little free memory for this; {less}.", repr(error))
        return 1
    except Exception as error:  # noqa: BLE001 - the last net: no traceback reaches a user, the log gets it
        console.error(
            "fault",
            f"A fault in Thematica ({type(error).__name__}); please report it with the log.",
            traceback.format_exc(),
        )
        return 1
