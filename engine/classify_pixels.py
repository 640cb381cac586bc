"""Classify pixels: from a raster and a network to a thematic map, end to end."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..models.card import ModelCard
from ..models.map_names import marked, marks
from ..models.reading import read_model_card
from ..models.store import model_files, resolve_model
from ..progress import Monitor
from .backend import deploy, load_network
from .cog import RasterWriter, move_into_place, writing
from .deployment import fill_values
from .ground_area import PixelArea
from .inference import ChunkResult, Decoding
from .job import PixelJob
from .network import Head
from .outputs import WorkFolders, check_outputs, check_sources
from .pam import UNCLASSIFIED_COLOR, UNCLASSIFIED_NAME, ClassRow, write_pam
from .pipeline import run_pipeline
from .raster import gdal_environment
from .report import build_report, write_report
from .scene import Scene, cores, open_scene
from .session import GPU_BATCH, create_session
from .style import score_style, thematic_style, write_style
from .tiling import make_plan


def classify_pixels(job: PixelJob, monitor: Monitor | None = None) -> dict[str, Any]:
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


@dataclass
class Layer:
    """The map that one of the network's outputs becomes.

    Args:
        head: the output.
        path: of the thematic raster.
        scores: path of each score raster, by name.
        key: suffix of its names among the result's files (empty for the first).
    """

    head: Head
    path: Path
    scores: dict[str, Path]
    key: str

    @property
    def card(self) -> ModelCard:
        """The output's card."""
        return self.head.card

    def files(self) -> dict[str, Path]:
        """All rasters by their names among the result's files."""
        return {f"output{self.key}": self.path, **{f"{name}{self.key}": path for name, path in self.scores.items()}}

    def decoding(self) -> Decoding:
        """How class indices become codes."""
        card = self.card
        codes = [entry.value for entry in card.classes] + [card.unclassified_code()]
        # Class numbers that the network gives may be none of the card's.
        unsure = self.head.channels == 0 or (bool(card.thresholds) and self.head.channels > 1)
        kind = np.uint16 if card.class_codes_are_16bit() else np.uint8
        return Decoding(self.head, np.array(codes, kind), card.nodata_code(), unsure)


def layers_of(job: PixelJob, heads: list[Head]) -> list[Layer]:
    """Which files the outputs go to: the first to the names given, the others beside them with the output's name."""
    layers = []
    for head, mark in zip(heads, marks([head.card.output_name for head in heads]), strict=True):
        scores = {score: marked(path, mark) for score, path in job.scores().items()}
        layers.append(Layer(head, marked(job.output, mark), scores, f":{mark}" if mark else ""))
    return layers


class _Run:
    def __init__(self, job: PixelJob, monitor: Monitor) -> None:
        self.job, self.monitor = job, monitor
        self.started = time.perf_counter()
        self.created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.threads = job.threads or cores()

    def result(self) -> dict[str, Any]:
        job, monitor = self.job, self.monitor
        monitor.stage("Opening", 0.0)
        # What can be said without opening the model is said first.
        check_outputs(job, {"output": Path(job.output), **job.scores()})
        model_path = resolve_model(job.model)
        card = read_model_card(model_path, job.card)
        if card.origin == "none":
            monitor.log(
                "The model has no card: its classes are only numbered, and the raster's values enter it as they are.",
                "warning",
            )
        network = load_network(model_path, card, output_name=job.output_name or "")
        layers = layers_of(job, network.heads)
        files = {name: path for layer in layers for name, path in layer.files().items()}
        check_outputs(job, files, [f"output{layer.key}" for layer in layers])
        with open_scene(job, card, monitor) as scene:
            source, fit = scene.source, scene.fit
            check_sources([*files.values(), job.report_path()], source.files | model_files(model_path))
            planned = partial(
                make_plan, network, scene.region, source.block_shape, source.width, job.tile, job.overlap,
                threads=self.threads, mode=job.mode, raster_height=source.height,
            )  # fmt: skip
            plan = planned(batch=job.batch)
            if not plan.exact and not plan.smooth:
                monitor.log(f"The map can differ from one run over the whole image: {plan.why}", "warning")
            scores = list(job.scores())
            deployment = deploy(network, source.data_type, fit.scale, fit.offset, scores, decide=not plan.smooth)
            session = create_session(deployment, job.provider, plan.threads, job.precision)
            for warning in session.warnings:
                monitor.log(warning, "warning")
            session.warn = partial(monitor.log, level="warning")
            if network.kind == "window":
                session.unit = "window"
            if session.parallel_runs:
                # Of windows the plan takes many at a time anyway.
                batch = job.batch or (GPU_BATCH if session.on_gpu and network.kind == "image" else None)
                plan = replace(planned(batch=batch), workers=session.parallel_runs)
            monitor.check()

            decodings = [layer.decoding() for layer in layers]
            areas = [
                PixelArea(
                    source.crs, source.transform, source.width, source.height,
                    codes=[*map(int, entry.codes), entry.nodata],
                )
                for entry in decodings
            ]  # fmt: skip
            work = WorkFolders([*files.values(), job.report_path()])
            writers: dict[str, RasterWriter] = {}
            try:
                for layer in layers:
                    writers.update(_writers(work, scene, layer))

                def write(result: ChunkResult) -> None:
                    chunk = result.chunk
                    for number, layer in enumerate(layers):
                        entry, area = decodings[number], areas[number]
                        if result.codes is None:
                            # Left out of the file, which makes it nodata.
                            nothing = np.full((chunk.height, chunk.width), entry.nodata, entry.codes.dtype)
                            area.accumulate(nothing, chunk.row, chunk.column)
                            continue
                        writers[f"output{layer.key}"].write(result.codes[number], chunk)
                        for name, score in result.scores[number].items():
                            writers[f"{name}{layer.key}"].write(score, chunk)
                        area.accumulate(result.codes[number], chunk.row, chunk.column)

                # The first chunk of a large network may take seconds.
                monitor.stage("Classifying", 0.0)
                cache = source.cache_for(plan.chunk[0] + 2 * plan.halo, min(plan.strip, source.width))
                fill = fill_values(network, source.data_type, fit.scale, fit.offset)
                with gdal_environment(self.threads, cache):
                    timing = run_pipeline(source, session, plan, scene.area, decodings, fill, scores, write, monitor)
                if timing.tiles == 0:
                    monitor.log("No pixel with data lies in the area: the map is empty.", "warning")
                finishing = time.perf_counter()
                monitor.stage("Writing overviews", 0.9)
                finished: dict[Path, Path] = {}
                for layer, area, entry in zip(layers, areas, decodings, strict=True):
                    finished.update(self._finish(layer, writers, area, entry.thresholds))
                report = build_report(
                    self.job, self.created, time.perf_counter() - self.started, source, model_path, layers, fit,
                    plan, session, areas, timing, time.perf_counter() - finishing, monitor.warnings,
                )  # fmt: skip
                report_path = job.report_path()
                written = {"output": files["output"], "style": files["output"].with_suffix(".qml")}
                written.update({"report": report_path, **files})
                report["files"] = {name: str(path.absolute()) for name, path in written.items()}
                with writing(report_path.name):
                    part = write_report(work.beside(report_path).path / report_path.name, report)
                finished[part] = report_path
                monitor.check()
                move_into_place(finished)
                for layer in layers:
                    for path in layer.scores.values():
                        # QGIS keeps statistics there; those of a replaced raster would stretch the new one wrongly.
                        path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)
            finally:
                for writer in writers.values():
                    writer.close()
                work.remove()
        monitor.progress("Done", 1.0)
        return {"event": "result", "files": report["files"], "report": report}

    def _finish(
        self, layer: Layer, writers: dict[str, RasterWriter], areas: PixelArea, has_unclassified: bool
    ) -> dict[Path, Path]:
        """Make a layer's files in the working folders; returns where each of them goes."""
        moves: dict[Path, Path] = {}
        card = layer.card
        unclassified = card.unclassified_code() if has_unclassified else None
        for name, target in layer.files().items():
            self.monitor.check()
            made = writers[name].finish(self.threads, self.monitor)
            if target == layer.path:
                rows = _rows(card, areas)
                if unclassified is not None:
                    rows.append(_row(unclassified, UNCLASSIFIED_NAME, UNCLASSIFIED_COLOR, areas))
                with writing(target.name):
                    table = write_pam(made, rows, card.nodata_code(), unclassified)
                    style = write_style(made, thematic_style(rows, card.nodata_code(), unclassified))
                moves[table] = target.with_name(target.name + ".aux.xml")
                moves[style] = target.with_suffix(".qml")
            else:
                with writing(target.name):
                    style = write_style(made, score_style(name.partition(":")[0], 0.0, 1.0))
                moves[style] = target.with_suffix(".qml")
            moves[made] = target
        return moves


def _writers(work: WorkFolders, scene: Scene, layer: Layer) -> dict[str, RasterWriter]:
    """A writer for every raster of a layer."""
    card, source, region = layer.card, scene.source, scene.region
    rows = [*_rows(card, None), ClassRow(card.unclassified_code(), UNCLASSIFIED_NAME, UNCLASSIFIED_COLOR)]
    colors = {row.value: (*row.rgb(), 255) for row in rows}
    colors[card.nodata_code()] = (0, 0, 0, 0)
    tags = {"TIFFTAG_SOFTWARE": "Thematica", "THEMATICA_MODEL": card.name}
    writers = {
        f"output{layer.key}": RasterWriter(
            work.beside(layer.path), layer.path.name, region, source.crs, source.transform,
            "uint16" if card.class_codes_are_16bit() else "uint8", nodata=card.nodata_code(), colors=colors,
            descriptions=["Class"], tags=tags,
        )
    }  # fmt: skip
    for name, path in layer.scores.items():
        names = [entry.name for entry in card.classes] if name == "probabilities" else [name]
        writers[f"{name}{layer.key}"] = RasterWriter(
            work.beside(path), path.name, region, source.crs, source.transform, "float32", bands=len(names),
            nodata=float("nan"), descriptions=names, tags=tags,
        )  # fmt: skip
    return writers


def _rows(card: ModelCard, areas: PixelArea | None) -> list[ClassRow]:
    return [_row(entry.value, entry.name, entry.color, areas) for entry in card.classes]


def _row(value: int, name: str, color: str, areas: PixelArea | None) -> ClassRow:
    if areas is None:
        return ClassRow(value, name, color)
    hectares = areas.hectares
    return ClassRow(value, name, color, areas.counts[value], hectares[value] if hectares else None)
