"""Run a job of whichever kind."""

from __future__ import annotations

from typing import Any

from ..progress import Monitor
from .classify_patches import classify_patches
from .classify_pixels import classify_pixels
from .job import PatchJob, PixelJob


def classify(job: PixelJob | PatchJob, monitor: Monitor | None = None) -> dict[str, Any]:
    """Run a job and return its ``result`` event; see :func:`.classify_pixels` and :func:`.classify_patches`.

    Raises:
        InputError: (or one of its kinds) what was given cannot be used.
        Cancelled: the monitor was asked to cancel.
    """
    if isinstance(job, PatchJob):
        return classify_patches(job, monitor)
    return classify_pixels(job, monitor)
