"""The one family of exceptions that Thematica raises on purpose.

Each carries a sentence for the analyst (what is wrong, what to do about it), a short code that
programs can test, and details for the log.  Pure standard library: QGIS loads this file too.
"""

from __future__ import annotations

import re


class ThematicaError(Exception):
    """A fault that can be told to the analyst in one sentence.

    Args:
        message: one sentence (or two short ones) for the analyst: what is wrong and what to do.
        details: what helps a developer (file, library message, values); goes to the log.
    """

    #: Short identifier in JSON ``error`` events.
    code = "fault"
    #: Exit status of the command line: 1 is a fault of ours.
    exit_status = 1

    def __init__(self, message: str, details: str = "") -> None:
        # Names from files may hold anything, and be of any length.
        message = re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", message)
        message = re.sub("“([^“”]{250})[^“”]+”", r"“\1…”", message)
        super().__init__(message)
        self.message = message
        self.details = details


class InputError(ThematicaError):
    """What was given (file, option, area, combination of model and raster) cannot be used."""

    code = "bad-input"
    exit_status = 2


class UnreadableRasterError(InputError):
    """A raster that this GDAL cannot open; another one, with more drivers, may."""

    code = "unreadable-raster"


class ModelError(InputError):
    """The model file or its card cannot be used."""

    code = "bad-model"


class MisfitError(InputError):
    """Model and raster do not fit together (band, resolution, scale); told before anything runs."""

    code = "misfit"


class OutputError(InputError):
    """The result cannot be written where it was asked for."""

    code = "bad-output"


class RuntimeMissingError(InputError):
    """There is no usable runtime, or it lacks a package."""

    code = "no-runtime"


class Cancelled(ThematicaError):
    """The job was cancelled; nothing was written under its final name."""

    code = "cancelled"
    exit_status = 3

    def __init__(self, message: str = "Cancelled.", details: str = "") -> None:
        super().__init__(message, details)
