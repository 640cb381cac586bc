"""What is classified: the rasters of a job opened, matched with the model, and limited to the area."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rasterio.crs import CRS
from rasterio.errors import CRSError

from ..errors import InputError
from ..models.bands import parse_band_option
from ..models.card import ModelCard
from ..models.fit import Fit, check_fit
from ..progress import Monitor
from .area_of_interest import AreaOfInterest, read_area
from .job import RasterJob
from .mask import MaskedArea
from .raster import RasterSource
from .tiling import Rectangle


@dataclass
class Scene:
    """Rasters ready to be read.

    Args:
        source: the rasters, with the bands that the model wants.
        fit: how model and rasters go together.
        area: the pixels to classify; None for all.
        region: the smallest window that holds them.
    """

    source: RasterSource
    fit: Fit
    area: AreaOfInterest | None
    region: Rectangle


@contextmanager
def open_scene(job: RasterJob, card: ModelCard, monitor: Monitor) -> Iterator[Scene]:
    """Open a job's rasters for a model; what the analyst should know goes to the monitor.

    Raises:
        InputError: (or one of its kinds) the rasters cannot be used with this model.
    """
    gsd = _ground_sampling_distance(job, card)
    with (
        RasterSource(job.rasters, parse_crs(job.raster_crs), job.nodata, gsd, job.resampling) as source,
        ExitStack() as stack,
    ):
        fit = check_fit(card, source.facts(), parse_band_option(job.bands), job.scale, job.offset, job.sensor, gsd)
        for warning in fit.warnings:
            monitor.log(warning, "warning")
        source.nodata_default = card.nodata
        source.select(fit.matches, job.invalid)
        for warning in source.warnings:
            monitor.log(warning, "warning")
        area: AreaOfInterest | None = None
        region = Rectangle(0, 0, source.height, source.width)
        if job.area is not None:
            area = read_area(
                job.area, parse_crs(job.area_crs), source.crs, source.transform, source.width, source.height
            )
        if job.mask is not None:
            area = stack.enter_context(MaskedArea(job.mask, source.grid, area))
        if area is not None:
            window = area.window
            region = Rectangle(int(window.row_off), int(window.col_off), int(window.height), int(window.width))
        yield Scene(source, fit, area, region)


def _ground_sampling_distance(job: RasterJob, card: ModelCard) -> float | None:
    """What was asked for, in metres."""
    if job.gsd == "model":
        if card.gsd is None:
            raise InputError("The model's card does not say for which pixels it was made; give --gsd in metres.")
        return card.gsd
    return None if job.gsd is None else float(job.gsd)


def cores() -> int:
    """Cores that this process may use (a Slurm job or container may have fewer than the machine)."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def parse_crs(text: str | None) -> CRS | None:
    """A CRS from what a user writes; None for nothing.

    Raises:
        InputError: no CRS.
    """
    if not text:
        return None
    try:
        return CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise InputError(
            f"“{text[:80]}” is not a coordinate reference system; write EPSG:32632, for example."
        ) from error
