"""Options of a command from a JSON file: how QGIS hands a job to commands whose options are their own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import InputError


def take_job(options: argparse.Namespace, command: str) -> None:
    """Fill the options that were not given with those of the file that ``--job`` names, if it names one.

    Args:
        options: as parsed; an option that was not given is None, False or an empty list.
        command: of the program.

    Raises:
        InputError: no such file, no job of this command, or an entry that is no option of it.
    """
    if not options.job:
        return
    try:
        content: Any = json.loads(Path(options.job).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The job file “{options.job}” cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The job file “{options.job}” is not JSON in UTF-8.", repr(error)) from error
    if not isinstance(content, dict):
        raise InputError("A job is a JSON object.")
    if content.pop("command", command) != command:
        raise InputError(f"The job is for another command than {command}.")
    for key, value in content.items():
        if key in ("job", "run", "command") or not hasattr(options, key):
            raise InputError(f"The job has an unknown entry: {str(key)[:80]}.")
        present = getattr(options, key)
        wanted = type(present) if isinstance(present, (bool, list, int)) else (str, int, float)
        if value is not None and not isinstance(value, wanted):
            raise InputError(f"The job's entry “{key}” has the wrong type ({type(value).__name__}).")
        if isinstance(value, list) and not all(isinstance(entry, str) for entry in value):
            raise InputError(f"The job's entry “{key}” must hold texts.")
        if present in (None, False, []) or (key == "processes" and present == 1):
            setattr(options, key, present if value is None else value)
