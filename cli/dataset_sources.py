"""Where a training set comes from: engine's images and labels, or a folder of patches, handed to the trainer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform

from ..engine.image import Image, open_image
from ..engine.labels.dated import DatedLabels, read_timeline
from ..engine.labels.open_labels import open_labels
from ..engine.labels.reading import read_labels
from ..engine.patch_reader import read_band_files
from ..engine.scene import parse_crs
from ..engine.vector_file import split_source
from ..errors import InputError
from ..models.label_classes import HIGHEST_CODE, LabelClass, next_code, parse_merges
from ..progress import Monitor
from ..trainer.dataset.bigearthnet import open_bigearthnet
from ..trainer.dataset.bigearthnet_v2 import open_bigearthnet_v2
from ..trainer.dataset.build import BuildOptions, build_dataset
from ..trainer.dataset.description import SHEET, Description
from ..trainer.dataset.eurosat import open_eurosat
from ..trainer.dataset.patch_folder import PatchFolder, PatchGround
from ..trainer.dataset.patches import PatchOptions, build_patches
from ..trainer.dataset.sheet import MOST_MAPS, draw_sheet
from ..trainer.dataset.sheet_map import GroundMap
from ..trainer.dataset.sheet_pictures import Picture, Stretch, picture_bands
from .dataset_job import DatasetJob
from .dated_scenes import dated_scenes
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
        patches = open_bigearthnet(job.folder, read_band_files, job.nomenclature or 19, monitor, job.all_classes)
    else:
        patches = open_bigearthnet_v2(job.folder, read_band_files, monitor, job.all_classes)
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
    """Every scene with every kind of labels; of several scenes some may have none."""
    scenes: list[ImageWithLabels] = []
    for labels, part in ((job.labels, ""), (job.validation_labels, "validation"), (job.test_labels, "test")):
        if not labels:
            continue
        found: list[ImageWithLabels] = []
        refused: list[InputError] = []
        for rasters in job.scenes():
            monitor.stage("Reading labels", 0.0)
            monitor.check()
            image = stack.enter_context(
                open_image(
                    rasters, bands=job.bands, sensor=job.sensor, crs=job.raster_crs, nodata=job.nodata, gsd=job.gsd,
                    resampling=job.resampling, invalid=job.invalid,
                )
            )  # fmt: skip
            try:
                # Labels that are kept for a part call their classes as the first ones do.
                classes = _before_merging(scenes[0].legend, parse_merges(job.merge)) if scenes else None
                found += _labelled(job, image, rasters, labels, part, classes, stack)
            except InputError as error:
                refused.append(error)
        if not found:
            raise refused[0]
        for reason in refused:
            monitor.log(reason.message, "warning")
        scenes += found
    _give_own_names(scenes)
    for scene in scenes[1:]:
        scene.call_bands_as(scenes[0])
    return scenes


def _labelled(
    job: DatasetJob,
    image: Image,
    rasters: Sequence[str],
    labels: str,
    part: str,
    classes: Sequence[LabelClass] | None,
    stack: ExitStack,
) -> list[ImageWithLabels]:
    """An image with its labels: one scene, or one for each period of dated labels."""
    crs, merge, grid = parse_crs(job.labels_crs), parse_merges(job.merge), image.source.grid
    name = scene_name(rasters)
    image_field, of_image = job.image_field or "", rasters if job.image_field else ""
    path, _ = split_source(labels)
    asked = repr((job.invalid, job.resampling, job.gsd, job.labels_crs, sorted(merge.items())))
    values = (part, job.scale, job.offset, asked)
    if job.timeline:
        shapes = read_labels(
            labels, job.field or "", grid, layer_crs=crs, classes=classes, merge=merge, from_field=job.from_field or "",
            to_field=job.to_field or "", image_field=image_field, image=of_image,
        )  # fmt: skip
        dated = DatedLabels(image, shapes, read_timeline(job.timeline))
        return dated_scenes(image, dated, name, [path, job.timeline], *values)
    label_map = stack.enter_context(
        open_labels(
            labels,
            job.field or "",
            grid,
            layer_crs=crs,
            classes=classes,
            merge=merge,
            image_field=image_field,
            image=of_image,
        )
    )
    return [ImageWithLabels(image, label_map, name, [path], *values)]


def _before_merging(legend: Sequence[LabelClass], merges: Mapping[str, str]) -> list[LabelClass]:
    """The classes with those that were merged away, so that they can be merged again where there are none of them."""
    classes = list(legend)
    for name in merges:
        codes = {entry.code for entry in classes}
        code = int(name) if name.isdecimal() and int(name) <= HIGHEST_CODE else next_code(classes)
        if code not in codes and name.casefold() not in {entry.name.casefold() for entry in classes}:
            classes.append(LabelClass(code, name, "#888888"))
    return classes


def _give_own_names(scenes: Sequence[ImageWithLabels]) -> None:
    """Tell scenes apart that are called alike: two dates in folders of their own, or the labels kept for the test."""
    for scene in scenes:
        if scene.split:
            scene.name = f"{scene.name} ({scene.split} labels)"
    seen: dict[str, int] = {}
    for scene in scenes:
        seen[scene.name] = seen.get(scene.name, 0) + 1
        if seen[scene.name] > 1:
            scene.name = f"{scene.name} ({seen[scene.name]})"


def _backgrounds(scenes: Sequence[ImageWithLabels], description: Description) -> dict[int, tuple[Picture, float]]:
    """Pictures of the scenes for the sheet, and how much higher than wide their pixels are on the ground."""
    places = picture_bands(description.bands)
    stretch = Stretch.of(description, places)
    pictures = {}
    for number, scene in enumerate(scenes[:MOST_MAPS]):
        layers = scene.overview(places)
        if layers is None:
            continue
        samples = np.zeros((len(scene.bands), *layers.shape[1:]), layers.dtype)
        samples[places] = layers
        pictures[number] = stretch.picture(samples), _aspect(scene)
    return pictures


def _aspect(scene: ImageWithLabels) -> float:
    grid = scene.image.source.grid
    if not grid.is_placed:
        return 1.0
    wide, high = abs(grid.transform.a), abs(grid.transform.e)
    if grid.crs is not None and grid.crs.is_geographic:
        _, latitude = grid.transform * (grid.width / 2, grid.height / 2)
        wide *= max(np.cos(np.radians(latitude)), 0.01)
    return float(np.clip(high / wide, 0.1, 10)) if wide and high else 1.0
