"""Raster in, map out: reading, tiling, sessions, stitching, writing.

From Python::

    from thematica.engine import PixelJob, classify

    result = classify(PixelJob(["scene.tif"], "basic-cover-sentinel2", "map.tif"))
    print(result["report"]["classes"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..progress import Monitor
    from .classify_job import classify
    from .job import PatchJob, PixelJob

__all__ = ["Monitor", "PatchJob", "PixelJob", "classify"]


def __getattr__(name: str) -> Any:
    """Import on first use: listing models must not wait for rasterio and ONNX Runtime."""
    if name == "classify":
        from .classify_job import classify

        return classify
    if name in ("PixelJob", "PatchJob"):
        from . import job

        return getattr(job, name)
    if name == "Monitor":
        from ..progress import Monitor

        return Monitor
    raise AttributeError(name)
