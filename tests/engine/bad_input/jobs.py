"""Job files with entries that no door would write."""

from __future__ import annotations

import json

from ..workplace import Workplace
from . import row, rows, spoiled


def job(w: Workplace, content: object) -> list:
    """The command that runs a job file with this content."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ["classify-pixels", "--job", str(spoiled(w / "job.json", text))]


def good_job(w: Workplace, **more: object) -> dict:
    """The entries of a job that runs, and more."""
    return {
        "command": "classify-pixels",
        "rasters": [str(w.scene)],
        "model": str(w.model),
        "output": str(w.output),
        **more,
    }


_HUGE = 10**400
rows(
    "entry|--(tile|overlap|batch|threads|scale|offset|nodata)|four numbers|no file|name|wrong type|lacks|command|UTF-8|"
    "no raster|unknown",
    "job_with",
    {
        f"{key}_{name}": lambda w, key=key, value=value: job(w, good_job(w, **{key: value}))
        for key, name, value in [
            ("rasters", "empty", []), ("rasters", "text_of_nothing", [""]), ("rasters", "nul", ["a\0b"]),
            ("rasters", "surrogate", ["a\ud800b"]), ("rasters", "nested", [["x"]]), ("rasters", "mixed", ["x", 1]),
            ("model", "empty", ""), ("model", "nul", "a\0b"), ("model", "surrogate", "a\udfffb"), ("model", "list", []),
            ("output", "nul", "a\0b.tif"), ("output", "surrogate", "\ud800.tif"), ("output", "object", {}),
            ("tile", "huge", _HUGE), ("tile", "negative", -_HUGE), ("tile", "fraction", 1e300),
            ("batch", "huge", _HUGE), ("threads", "huge", _HUGE), ("overlap", "huge", _HUGE),
            ("scale", "huge", _HUGE), ("offset", "huge", -_HUGE), ("nodata", "huge", _HUGE),
            ("nodata", "text", "none"), ("nodata", "infinite", float("inf")), ("scale", "infinite", float("-inf")),
            ("area", "nan", [float("nan")] * 4), ("area", "huge", [0, 0, _HUGE, _HUGE]), ("area", "nul", "a\0b"),
            ("area", "empty", []), ("area", "text", ["0", "0", "1", "1"]), ("area", "true", [True, True, 2, 2]),
            ("area_crs", "number", 4326), ("raster_crs", "surrogate", "\ud83d"), ("raster_crs", "object", {"id": 1}),
            ("card", "nul", "a\0"), ("card", "list", []), ("bands", "nul", "B1=\0"), ("sensor", "surrogate", "\ud800"),
            ("provider", "surrogate", "\ud800"), ("report", "nul", "a\0"), ("report", "surrogate", "\ud800.json"),
            ("confidence", "true", True), ("confidence", "surrogate", "\ud800.tif"), ("invalid", "list", ["any"]),
            ("mode", "list", []), ("overwrite", "text", "yes"), ("output_name", "number", 1),
            ("command", "object", {"a": {}}), ("command", "list", []), ("command", "endless", "x" * 5000),
        ]
    },
)  # fmt: skip


@row("unknown entries")
def _job_with_an_endless_key(w):
    return job(w, good_job(w, **{"k" * 5000: 1}))


@row("unknown entries")
def _job_with_a_thousand_unknown_keys(w):
    return job(w, good_job(w, **{f"k{number}": number for number in range(1000)}))


@row("unknown entries")
def _job_with_a_key_of_half_a_letter(w):
    return job(w, good_job(w, **{"\ud800": 1}))


@row("cannot be read|JSON")
def _job_of_an_endless_number(w):
    return job(w, b'{"tile": ' + b"9" * 10_000 + b"}")


@row("cannot be read|JSON")
def _job_in_utf_16(w):
    return job(w, json.dumps(good_job(w)).encode("utf-16"))


@row("cannot be read")
def _folder_as_job(w):
    (w / "job.json").mkdir()
    return ["classify-pixels", "--job", str(w / "job.json")]


@row("cannot be read")
def _job_name_with_nul(w):
    return ["classify-pixels", "--job", "a\0b"]


@row("cannot be read|JSON")
def _raster_as_job(w):
    return ["classify-pixels", "--job", str(w.scene)]
