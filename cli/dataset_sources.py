"""Where a training set comes from: engine's images and labels, or a folder of patches, handed to the trainer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform

from ..engine.image import open_image
from ..engine.labels.open_labels import open_labels
from ..engine.patch_reader import read_band_files
from ..engine.scene import parse_crs
from ..errors import InputError
from ..models.label_classes import parse_merges
from ..progress import Monitor
from ..trainer.dataset.bigearthnet import open_bigearthnet
from ..trainer.dataset.bigearthnet_v2 import open_bigearthnet_v2
from ..trainer.dataset.build import BuildOptions, build_dataset
from ..trainer.dataset.description import SHEET, Description
from ..trainer.dataset.eurosat import open_eurosat
from ..trainer.dataset.patch_folder import PatchFolder, PatchGround
from ..trainer.dataset.patches import PatchOptions, build_patches
from ..trainer.dataset.sheet import draw_sheet
from ..trainer.dataset.sheet_map import GroundMap
from ..trainer.dataset.sheet_pictures import Picture, Stretch, picture_bands
from .dataset_job import DatasetJob
from .dated_scenes import open_dated_scenes
from .labelled_scene import ImageWithLabels, scene_name


def from_folder(job: DatasetJob, stack: ExitStack, monitor: Monitor) -> Description:
    """Make a training set of a folder of patches.

    Raises:
        InputError: the folder cannot be used.
        OutputError: the training set cannot be written.
    """
    assert job.folder is not None
    patches: PatchFolder
    if job.layout == "eurosat":
        patches = open_eurosat(job.folder, monitor)
    elif job.layout == "bigearthnet":
        patches = open_bigearthnet(job.folder, read_band_files, job.nomenclature or 19, monitor)
    else:
        patches = open_bigearthnet_v2(job.folder, read_band_files, monitor)
    stack.callback(patches.close)
    options = PatchOptions(
        split=job.split or "",
        test=job.test,
        validation=job.validation,
        seed=job.seed,
        block=job.length("block"),
        buffer=job.length("buffer"),
        most=job.most,
        threads=job.threads or os.cpu_count() or 1,
        overwrite=job.overwrite,
    )

    def add_sheet(folder: Path, description: Description, parts: np.ndarray) -> None:
        draw_sheet(folder, ground=_ground_map(patches.ground, parts))

    description = build_patches(job.output, patches, options, monitor, add_sheet)
    if not (Path(job.output) / SHEET).is_file():
        draw_sheet(job.output)
    return description


def _ground_map(ground: PatchGround | None, parts: np.ndarray) -> GroundMap | None:
    if ground is None:
        return None
    middles = ground.corners + ground.side * np.array([0.5, -0.5])
    longitude, latitude = np.zeros(len(parts)), np.zeros(len(parts))
    for zone in np.unique(ground.zones[ground.zones > 0]):
        here = ground.zones == zone
        places = transform(CRS.from_epsg(int(zone)), CRS.from_epsg(4326), middles[here, 0], middles[here, 1])
        longitude[here], latitude[here] = places
    return GroundMap(longitude, latitude, parts)


def from_rasters(job: DatasetJob, stack: ExitStack, monitor: Monitor) -> Description:
    """Make a training set of rasters and labels.

    Raises:
        InputError: the rasters or the labels cannot be used.
        OutputError: the training set cannot be written.
    """
    scenes = _open_scenes(job, stack, monitor)
    for message in dict.fromkeys(
        message
        for scene in scenes
        for message in (*scene.image.warnings, *(finding.message for finding in scene.label_map.findings))
    ):
        monitor.log(message, "warning")
    options = BuildOptions(
        kind=job.kind or "pixels",
        size=job.size or 0,
        split=job.split or "blocks",
        test=job.test,
        validation=job.validation,
        seed=job.seed,
        block=job.length("block"),
        buffer=job.length("buffer"),
        cut_polygons=job.cut_polygons,
        most=job.most,
        overwrite=job.overwrite,
    )

    def add_sheet(folder: Path, description: Description) -> None:
        changed = sorted({name for scene in scenes for name in scene.changed_files()})
        if changed:
            raise InputError(
                f"“{changed[0]}” was changed while the training set was made of it; run the same again when it is "
                "complete."
            )
        # What is there of the set is described, so that the sheet can be drawn from it.
        description.write(folder)
        draw_sheet(folder, _backgrounds(scenes, description))

    description = build_dataset(job.output, scenes, options, monitor, add_sheet)
    if not (Path(job.output) / SHEET).is_file():
        draw_sheet(job.output, _backgrounds(scenes, description))
    return description


def _open_scenes(job: DatasetJob, stack: ExitStack, monitor: Monitor) -> list[ImageWithLabels]:
    sources = [(job.labels or "", ""), (job.validation_labels, "validation"), (job.test_labels, "test")]
    scenes: list[ImageWithLabels] = []
    for labels, part in sources:
        if not labels:
            continue
        found: list[ImageWithLabels] = []
        refused: list[InputError] = []
        for rasters in job.scenes():
            monitor.stage("Reading labels", 0.0)
            monitor.check()
            opened = open_dated_scenes if job.timeline else _open_scene
            try:
                found += opened(job, rasters, labels, part, stack)
            except NoLabelsHere as error:
                refused.append(error.reason)
        if not found:
            raise refused[0]
        # Of several scenes some may have no label.
        for reason in refused:
            monitor.log(reason.message, "warning")
        scenes += found
    return _with_own_names(scenes)


class NoLabelsHere(Exception):
    """The labels cannot be used on one scene; perhaps they can on another.

    Args:
        reason: what is told if they cannot on any.
    """

    def __init__(self, reason: InputError) -> None:
        super().__init__(reason.message)
        self.reason = reason
