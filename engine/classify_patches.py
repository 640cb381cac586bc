"""Classify patches: from a raster and a network to labels of patches, end to end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rasterio import Affine

from ..errors import InputError, ModelError
from ..models.card import ModelCard
from ..models.reading import read_model_card
from ..models.store import model_files, resolve_model
from ..progress import Monitor
from .backend import deploy, load_network
from .cog import move_into_place, writing
from .deployment import fill_values
from .ground_area import PixelArea, ground_sampling_distance
from .job import PatchJob
from .network import Network
from .outputs import WorkFolders, check_outputs, check_sources
from .patch_grid import PatchGrid, make_grid, map_transform, no_patch_in_area
from .patch_labels import Labelling, PatchStatistics
from .patch_layer import PatchLayer, check_replaceable, probability_columns
from .patch_raster import PatchRaster
from .patch_stream import PatchResult, PatchStream, PatchTiming, choose_batch
from .patch_style import StyledClass, several_labels_style, single_label_style
from .raster import gdal_environment
from .report import backend, beginning, class_figures, ending, write_report
from .scene import Scene, cores, open_scene
from .session import Session, create_session
from .style import write_style


def classify_patches(job: PatchJob, monitor: Monitor | None = None) -> dict[str, Any]:
    """Run a job and return its ``result`` event: ``files`` (name → path) and ``report``.

    Results appear under their final names only when all are complete; a failed or cancelled run
    leaves what was there before.

    Raises:
        InputError: (or one of its kinds) what was given cannot be used.
        Cancelled: the monitor was asked to cancel.
    """
    monitor = monitor or Monitor()
    job.check()
    with gdal_environment(job.threads or cores()):
        return _Run(job, monitor).result()


def load_patch_network(model: str, card: ModelCard, path: Path, output_name: str | None, monitor: Monitor) -> Network:
    """Load a network that classifies patches; of several outputs the first is used unless one is named.

    Args:
        model: what the user called it.
        card: its card.
        path: its file.
        output_name: the output to use.
        monitor: hears what the analyst should know.

    Raises:
        ModelError: not a network for patches, or one whose output is no scores.
    """
    if card.origin == "none":
        monitor.log(
            "The model has no card: its classes are only numbered, and the raster's values enter it as they are.",
            "warning",
        )
    others = card.output_names()[1:]
    network = load_network(path, card, patches=True, output_name=output_name or card.output_name)
    if others and not output_name:
        monitor.log(
            f"The network has several outputs; “{card.output_name}” is used (--output-name chooses another: "
            f"{', '.join(others)}).",
            "warning",
        )
    if network.heads[0].channels == 0:
        raise ModelError(
            f"The network “{card.title or model}” gives class numbers and no scores for its patches: export it with "
            "one score per class."
        )
    return network


class _Run:
    def __init__(self, job: PatchJob, monitor: Monitor) -> None:
        self.job, self.monitor = job, monitor
        self.started = time.perf_counter()
        self.created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.threads = job.threads or cores()
        self.output = Path(job.output)
        self.is_layer = self.output.suffix.lower() == ".gpkg"

    def result(self) -> dict[str, Any]:
        job, monitor = self.job, self.monitor
        monitor.stage("Opening", 0.0)
        # What can be said without opening the model is said first.
        check_outputs(job, {"output": self.output}, () if self.is_layer else ("output",))
        if self.is_layer:
            check_replaceable(self.output)
        model_path = resolve_model(job.model)
        card = read_model_card(model_path, job.card)
        network = load_patch_network(job.model, card, model_path, job.output_name, monitor)
        card = network.heads[0].card
        side = patch_side(network, job.patch)
        with open_scene(job, card, monitor) as scene:
            source, fit = scene.source, scene.fit
            check_sources([self.output, job.report_path()], source.files | model_files(model_path))
            grid = make_grid(side, job.stride or side, source.height, source.width, scene.region)
            deployment = deploy(network, source.data_type, fit.scale, fit.offset, decide=False)
            batch, workers = choose_batch(network, side, job.batch, self.threads)
            threads = max(self.threads // workers, 1)
            session = create_session(deployment, job.provider, threads, job.precision)
            for warning in session.warnings:
                monitor.log(warning, "warning")
            session.warn = partial(monitor.log, level="warning")
            session.unit = "patch"
            if session.parallel_runs:
                workers = session.parallel_runs
            monitor.check()
            labelling = Labelling(network.heads[0], job.threshold)
            transform = map_transform(source.transform, source.crs)
            columns = probability_columns(card.classes) if self.is_layer else []
            statistics = PatchStatistics(len(card.classes))
            cells = _Cells(scene, grid, transform)
            work = WorkFolders([self.output, job.report_path()])
            target: PatchLayer | PatchRaster | None = None
            try:
                folder = work.beside(self.output)
                if self.is_layer:
                    target = PatchLayer(folder, self.output.name, grid, source.crs, transform, columns)
                else:
                    target = PatchRaster(folder, self.output.name, grid, source.crs, transform, card, labelling)
                made = target

                def write(result: PatchResult) -> None:
                    labels = labelling(result.probabilities)
                    statistics.add(labels, cells.hectares(result), result.without_data)
                    if isinstance(made, PatchLayer):
                        made.write(result.rows, result.columns, result.shares, labels)
                    else:
                        made.write(result, labels)

                # The first batch of a large network may take seconds.
                monitor.stage("Classifying", 0.0)
                fill = fill_values(network, source.data_type, fit.scale, fit.offset)
                stream = PatchStream(
                    source, session, grid, scene.area, fill, network.heads[0].channels, batch, workers, monitor
                )
                cache = source.cache_for(side, min(4096, source.width))
                with gdal_environment(self.threads, cache):
                    timing = stream.run(write)
                if timing.patches + timing.without_data == 0:
                    raise no_patch_in_area(side, grid.stride)
                if timing.patches == 0:
                    monitor.log("No patch has data in half of its pixels: the result is empty.", "warning")
                finishing = time.perf_counter()
                monitor.stage("Finishing", 0.9)
                gsd = ground_sampling_distance(source.crs, source.transform, source.width, source.height)
                metres = gsd * min(grid.stride, side) if gsd is not None else None
                finished = self._finish(made, card, labelling, statistics, grid, columns, metres)
                report = self._report(
                    scene, network, model_path, grid, session, (batch, threads, workers), labelling, statistics,
                    columns, timing, time.perf_counter() - finishing,
                )  # fmt: skip
                written = {
                    "output": self.output, "style": self.output.with_suffix(".qml"), "report": job.report_path(),
                }  # fmt: skip
                report["files"] = {name: str(path.absolute()) for name, path in written.items()}
                with writing(written["report"].name):
                    part = write_report(work.beside(written["report"]).path / written["report"].name, report)
                finished[part] = written["report"]
                monitor.check()
                if self.is_layer:
                    check_replaceable(self.output)
                move_into_place(finished)
            finally:
                if isinstance(target, PatchRaster):
                    target.close()
                work.remove()
        monitor.progress("Done", 1.0)
        return {"event": "result", "files": report["files"], "report": report}

    def _finish(
        self,
        made: PatchLayer | PatchRaster,
        card: ModelCard,
        labelling: Labelling,
        statistics: PatchStatistics,
        grid: PatchGrid,
        columns: Sequence[str],
        metres: float | None,
    ) -> dict[Path, Path]:
        """Complete the files in the working folder; returns where each of them goes."""
        if isinstance(made, PatchRaster):
            return made.finish(self.output, statistics, self.threads, self.monitor)
        limits = labelling.limits if labelling.limits is not None else np.zeros(len(card.classes))
        classes = [
            StyledClass(entry.value, entry.name, entry.color, column, float(limit))
            for entry, column, limit in zip(card.classes, columns, limits, strict=True)
        ]
        # Of patches that overlap only the middles are drawn, side by side.
        share = min(grid.stride / grid.side, 1.0)
        if labelling.several:
            text = several_labels_style(classes, share, metres)
        else:
            text = single_label_style(
                classes, card.unclassified_code() if labelling.may_be_unclassified else None, share
            )
        layer = made.finish(text)
        with writing(self.output.name):
            style = write_style(layer, text)
        return {layer: self.output, style: self.output.with_suffix(".qml")}

    def _report(
        self,
        scene: Scene,
        network: Network,
        model_path: Path,
        grid: PatchGrid,
        session: Session,
        plan: tuple[int, int, int],
        labelling: Labelling,
        statistics: PatchStatistics,
        columns: Sequence[str],
        timing: PatchTiming,
        finish_seconds: float,
    ) -> dict[str, Any]:
        card = network.heads[0].card
        batch, threads, workers = plan
        classes = class_figures(
            card, "patches", statistics.patches.tolist(),
            statistics.hectares.tolist() if statistics.hectares is not None else None, statistics.total,
        )  # fmt: skip
        for entry, column in zip(classes, columns, strict=False):
            entry["column"] = column
        seconds = time.perf_counter() - self.started
        return {
            **beginning(self.job, self.created, seconds, scene.source, model_path, card, scene.fit),
            "patches": {
                "side": grid.side,
                "stride": grid.stride,
                "rows": grid.region.height,
                "columns": grid.region.width,
                "first_row": grid.region.row,
                "first_column": grid.region.column,
                "count": statistics.total,
                "without_data": statistics.without_data,
                "below_threshold": statistics.none,
            },
            "threshold": labelling.threshold,
            "batch": batch,
            "backend": backend(session, threads, workers),
            "classes": classes,
            **ending(
                self.monitor.warnings, read=timing.read, infer=timing.infer, write=timing.write, finish=finish_seconds
            ),
        }


def patch_side(network: Network, asked: int | None) -> int:
    """Side of the network's patches in pixels; where it leaves that open, it is set to what was asked for.

    Raises:
        InputError: nobody says it, or it contradicts the network.
        ModelError: its patches are not square.
    """
    card = network.card
    name = card.title or card.name
    fixed = [size for size in card.input_shape[-2:] if size > 0]
    if asked is not None:
        if any(size != asked for size in fixed):
            raise InputError(f"“{name}” takes patches of {fixed[0]} pixels and no others: leave --patch {asked} out.")
        network.tile = (asked, asked)
    if network.tile is None and fixed:
        network.tile = (fixed[0], fixed[0])
    if network.tile is None:
        raise InputError(
            f"“{name}” leaves the size of its patches open: give their side in pixels with --patch, or in the model "
            "card (thematica:tile)."
        )
    height, width = network.tile
    if height != width:
        raise ModelError(
            f"“{name}” takes patches of {height} × {width} pixels; only networks for square patches can be used."
        )
    return height


class _Cells:
    """The ground that each patch stands for."""

    def __init__(self, scene: Scene, grid: PatchGrid, transform: Affine) -> None:
        region = grid.region
        self._grid = grid
        self._area = PixelArea(
            scene.source.crs, grid.cell_transform(transform), region.column + region.width,
            region.row + region.height, codes=[0],
        )  # fmt: skip

    def hectares(self, result: PatchResult) -> np.ndarray | None:
        """Hectares for each patch of a result; None where the raster is not georeferenced."""
        place = result.place
        cells = self._area.pixel_hectares(place.row, place.column, place.height, place.width)
        if cells is None:
            return None
        shares = self._grid.shares_of_cells(result.rows, result.columns)
        hectares: np.ndarray = cells[result.rows - place.row, result.columns - place.column] * shares
        return hectares
