"""A line of the worker's output as an event that everybody can rely on.

The process at the other end may be of another version, or a library in it may write into its output: what QGIS's
windows show must not depend on that.
"""

from __future__ import annotations

import json
import math
from typing import Any

_FIGURES = ("fraction", "pixels_per_second", "seconds_left")
_LONGEST_MESSAGE = 2000


def parse_event(line: str) -> dict[str, Any] | None:
    """The event that a line holds, or None where it holds none.

    Returns:
        ``progress``: ``stage`` is text, and of ``fraction`` (0 to 1), ``pixels_per_second`` and ``seconds_left``
        those are there that are finite numbers.  ``log``: ``level`` and ``message`` are text.  ``result``: ``files``
        maps names to paths (none where only figures were asked for), ``report`` is an object.  ``error``: ``code``,
        ``message`` and ``details`` are text.
    """
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind = event.get("event") if isinstance(event, dict) else None
    if kind == "progress":
        known: dict[str, Any] = {"event": kind, "stage": _text(event.get("stage"))}
        known.update({name: event[name] for name in _FIGURES if _is_figure(event.get(name))})
        if "fraction" in known:
            known["fraction"] = min(max(float(known["fraction"]), 0.0), 1.0)
        return known
    if kind == "log":
        return {"event": kind, "level": _text(event.get("level")), "message": _text(event.get("message"))}
    if kind == "error":
        words = {name: _text(event.get(name), None) for name in ("code", "message", "details")}
        return {"event": kind, **words}
    if kind == "result":
        files, report = event.get("files"), event.get("report")
        named = isinstance(files, dict) and all(isinstance(path, str) for path in files.values())
        return event if named and isinstance(report, dict) else None
    return None


def _text(value: Any, longest: int | None = _LONGEST_MESSAGE) -> str:
    # Half a letter can be written in JSON, and shown nowhere.
    return value[:longest].encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def _is_figure(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    # JSON's whole numbers have no limit.
    return abs(value) < 1e15 if isinstance(value, int) else math.isfinite(value)
