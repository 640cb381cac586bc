"""Running a prepared job to its end: first what QGIS must export, then the worker."""

from __future__ import annotations

from typing import Any, Callable

from ..errors import UnreadableRasterError
from .export import RasterExport
from .job import PreparedJob
from .worker import run_worker

#: Share of the progress bar that exporting takes, where there is something to export.
_SHARE = 0.3

_Listener = Callable[[dict[str, Any]], None]


def run_prepared(prepared: PreparedJob, on_event: _Listener, is_cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Run a job; blocks, so call it from a task's thread.

    Args:
        prepared: the job; its temporary files stay until :meth:`.job.PreparedJob.discard`.
        on_event: gets the ``progress`` and ``log`` events, in this thread.
        is_cancelled: polled ten times a second.

    Returns:
        The worker's ``result`` event.

    Raises:
        Cancelled: nothing was written under its final name.
        ThematicaError: one of its family.
    """
    job = prepared.job
    listener = on_event
    if prepared.exports:
        _export(prepared, prepared.exports, on_event, is_cancelled)
        listener = _squeezed(on_event)
    while True:
        try:
            return run_worker(job["command"], job, listener, is_cancelled)
        except UnreadableRasterError as error:
            # QGIS's GDAL can have drivers that the runtime's has not: what is on the screen can be exported.
            refused = [index for index in prepared.fallbacks if prepared.raster(index) in error.message]
            if not refused:
                raise
        exports = {index: prepared.fallbacks.pop(index) for index in refused}
        names = " and ".join(f"“{export.name}”" for export in exports.values())
        message = f"The runtime cannot open {names}; QGIS exports it first."
        on_event({"event": "log", "level": "info", "message": message})
        _export(prepared, exports, on_event, is_cancelled)
        listener = _squeezed(on_event)


def _export(
    prepared: PreparedJob, exports: dict[int, RasterExport], on_event: _Listener, is_cancelled: Callable[[], bool]
) -> None:
    folder = prepared.folder()
    for done, (index, export) in enumerate(exports.items()):
        stage = f"Exporting {export.name}"

        def tell(fraction: float, done: int = done, stage: str = stage) -> None:
            on_event({"event": "progress", "fraction": _SHARE * (done + fraction) / len(exports), "stage": stage})

        tell(0.0)
        # Two layers may have one name.
        place = folder / f"raster-{index + 1}"
        place.mkdir(exist_ok=True)
        prepared.set_raster(index, str(export.write(place / export.file_name, tell, is_cancelled)))
        for warning in export.warnings:
            on_event({"event": "log", "level": "warning", "message": warning})
        prepared.warnings += export.warnings


def _squeezed(on_event: _Listener) -> _Listener:
    """The worker's progress begins where the export's ended."""

    def pass_on(event: dict[str, Any]) -> None:
        fraction = event.get("fraction")
        if isinstance(fraction, (int, float)):
            event = {**event, "fraction": _SHARE + (1 - _SHARE) * fraction}
        on_event(event)

    return pass_on
