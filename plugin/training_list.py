"""The trainings that this QGIS profile knows, and of whose end the analyst has been told."""

from __future__ import annotations

import os
from pathlib import Path

from qgis.core import QgsSettings

_RUNS = "thematica/training/runs"
_TOLD = "thematica/training/told"
_MOST = 50


def known_runs() -> list[Path]:
    """The folders of trainings, the newest first; those that are gone are left out."""
    return [Path(folder) for folder in _read(_RUNS) if os.path.isdir(folder)]


def remember_run(folder: str | Path) -> None:
    """Know a training that has begun, or that was opened; it comes first, and its end will be told."""
    path = _path(folder)
    _write(_RUNS, [path, *(known for known in _read(_RUNS) if known != path)])
    _write(_TOLD, [known for known in _read(_TOLD) if known != path])


def forget_run(folder: str | Path) -> None:
    """Know a training no more; its folder stays."""
    path = _path(folder)
    for setting in (_RUNS, _TOLD):
        _write(setting, [known for known in _read(setting) if known != path])


def untold_runs() -> list[Path]:
    """The known trainings whose end the analyst has not been told of."""
    told = set(_read(_TOLD))
    return [run for run in known_runs() if str(run) not in told]


def set_told(folder: str | Path) -> None:
    """The analyst knows how a training has ended."""
    path = _path(folder)
    if path not in _read(_TOLD):
        _write(_TOLD, [path, *_read(_TOLD)])


def _path(folder: str | Path) -> str:
    return os.path.abspath(folder)


def _read(setting: str) -> list[str]:
    kept = QgsSettings().value(setting, [])
    # A list of one entry comes back as that entry.
    entries = [kept] if isinstance(kept, str) else kept if isinstance(kept, (list, tuple)) else []
    return [entry for entry in entries if isinstance(entry, str) and entry]


def _write(setting: str, folders: list[str]) -> None:
    QgsSettings().setValue(setting, folders[:_MOST])
