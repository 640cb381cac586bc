"""Classify pixels: from a raster and a network to a thematic map, end to end."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from ..errors import InputError, OutputError
from ..models.bands import parse_band_option
from ..models.card import ModelCard
from ..models.fit import check_fit
from ..models.reading import read_model_card
from ..models.store import resolve_model
from .area_of_interest import AreaOfInterest, read_area
from .cog import RasterWriter, WorkFolder, move_into_place, writing
from .deployment import deploy, fill_values
from .ground_area import PixelArea
from .job import PixelJob
from .mask import MaskedArea
from .network import load_network
from .pam import UNCLASSIFIED_COLOR, UNCLASSIFIED_NAME, ClassRow, write_pam
from .pipeline import ChunkResult, Decoding, run_pipeline
from .progress import Monitor
from .raster import RasterSource, gdal_environment
from .report import build_report, write_report
from .session import choose_provider, create_session
from .style import score_style, thematic_style, write_style
from .tiling import Rectangle, make_plan


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
    with gdal_environment(job.threads or _cores()):
        return _Run(job, monitor).result()


class _Run:
    def __init__(self, job: PixelJob, monitor: Monitor) -> None:
        self.job, self.monitor = job, monitor
        self.started = time.perf_counter()
        self.created = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def result(self) -> dict[str, Any]:
        job, monitor = self.job, self.monitor
        monitor.stage("Opening", 0.0)
        _check_outputs(job)
        model_path = resolve_model(job.model)
        card = read_model_card(model_path, job.card)
        if card.origin == "none":
            monitor.log(
                "The model has no card: its classes are only numbered, and the raster's values enter it as they are.",
                "warning",
            )
        network = load_network(model_path, card)
        gsd = _ground_sampling_distance(job, card)
        with (
            RasterSource(job.rasters, _parse_crs(job.raster_crs), job.nodata, gsd, job.resampling) as source,
            ExitStack() as stack,
        ):
            fit = check_fit(card, source.facts(), parse_band_option(job.bands), job.scale, job.offset, job.sensor, gsd)
            for warning in fit.warnings:
                monitor.log(warning, "warning")
            _check_sources(job, source)
            source.nodata_default = card.nodata
            source.select(fit.matches, job.invalid)
            for warning in source.warnings:
                monitor.log(warning, "warning")
            area: AreaOfInterest | None = None
            if job.area is not None:
                area = read_area(
                    job.area,
                    _parse_crs(job.area_crs),
                    source.crs,
                    source.transform,
                    source.width,
                    source.height,
                )
            if job.mask is not None:
                area = stack.enter_context(MaskedArea(job.mask, source.grid, area))
            region = Rectangle(0, 0, source.height, source.width)
            if area is not None:
                window = area.window
                region = Rectangle(int(window.row_off), int(window.col_off), int(window.height), int(window.width))
            threads = job.threads or _cores()
            plan = make_plan(
                network, region, source.block_shape, source.width, job.tile, job.overlap, job.batch, threads
            )
            if not plan.exact:
                monitor.log(f"The map can differ from one run over the whole image: {plan.why}", "warning")
            deployment = deploy(network, source.data_type, fit.scale, fit.offset, list(job.scores()))
            session = create_session(deployment, choose_provider(job.provider), plan.threads)
            for warning in session.warnings:
                monitor.log(warning, "warning")
            monitor.check()

            codes = np.array(
                [entry.value for entry in card.classes] + [card.unclassified_code()],
                np.uint16 if card.class_codes_are_16bit() else np.uint8,
            )
            decoding = Decoding(
                codes, card.nodata_code(), fill_values(network, source.data_type, fit.scale, fit.offset),
                bool(card.thresholds) and network.channels > 1,
            )  # fmt: skip
            areas = PixelArea(
                source.crs,
                source.transform,
                source.width,
                source.height,
                codes=[*map(int, codes), card.nodata_code()],
            )
            work = _WorkFolders(job)
            writers: dict[str, RasterWriter] = {}
            try:
                writers = self._writers(work, source, card, region)

                def write(result: ChunkResult) -> None:
                    if result.codes is None:
                        # Left out of the file, which makes it nodata.
                        nothing = np.full((result.chunk.height, result.chunk.width), card.nodata_code(), codes.dtype)
                        areas.accumulate(nothing, result.chunk.row, result.chunk.column)
                        return
                    writers["output"].write(result.codes, result.chunk)
                    for name, score in result.scores.items():
                        writers[name].write(score, result.chunk)
                    areas.accumulate(result.codes, result.chunk.row, result.chunk.column)

                # The first chunk of a large network may take seconds.
                monitor.stage("Classifying", 0.0)
                cache = source.cache_for(plan.chunk[0] + 2 * plan.halo, min(plan.strip, source.width))
                with gdal_environment(threads, cache):
                    timing = run_pipeline(source, session, plan, area, decoding, write, monitor)
                if timing.tiles == 0:
                    monitor.log("No pixel with data lies in the area: the map is empty.", "warning")
                finishing = time.perf_counter()
                monitor.stage("Writing overviews", 0.9)
                finished = self._finish(writers, card, areas, decoding.thresholds, threads)
                report = build_report(
                    self.job, self.created, time.perf_counter() - self.started, source, model_path, card, fit,
                    plan, session, areas, timing, time.perf_counter() - finishing, monitor.warnings,
                )  # fmt: skip
                report_path = job.report_path()
                files = self._files()
                report["files"] = files
                with writing(report_path.name):
                    part = write_report(work.beside(report_path).path / report_path.name, report)
                finished[part] = report_path
                monitor.check()
                move_into_place(finished)
                for path in job.scores().values():
                    # QGIS keeps statistics there; those of a replaced raster would stretch the new one wrongly.
                    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)
            finally:
                for writer in writers.values():
                    writer.close()
                work.remove()
        monitor.progress("Done", 1.0)
        return {"event": "result", "files": files, "report": report}

    def _writers(
        self, work: _WorkFolders, source: RasterSource, card: ModelCard, region: Rectangle
    ) -> dict[str, RasterWriter]:
        rows = [*_rows(card, None), ClassRow(card.unclassified_code(), UNCLASSIFIED_NAME, UNCLASSIFIED_COLOR)]
        colors = {row.value: (*row.rgb(), 255) for row in rows}
        colors[card.nodata_code()] = (0, 0, 0, 0)
        tags = {"TIFFTAG_SOFTWARE": "Thematica", "THEMATICA_MODEL": card.name}
        writers = {
            "output": RasterWriter(
                work.beside(Path(self.job.output)), Path(self.job.output).name, region, source.crs, source.transform,
                "uint16" if card.class_codes_are_16bit() else "uint8", nodata=card.nodata_code(), colors=colors,
                descriptions=["Class"], tags=tags,
            )
        }  # fmt: skip
        for name, path in self.job.scores().items():
            names = [entry.name for entry in card.classes] if name == "probabilities" else [name]
            writers[name] = RasterWriter(
                work.beside(path), path.name, region, source.crs, source.transform, "float32", bands=len(names),
                nodata=float("nan"), descriptions=names, tags=tags,
            )  # fmt: skip
        return writers

    def _finish(
        self, writers: dict[str, RasterWriter], card: ModelCard, areas: PixelArea, has_unclassified: bool, threads: int
    ) -> dict[Path, Path]:
        """Make all files in the working folders; returns where each of them goes."""
        moves: dict[Path, Path] = {}
        unclassified = card.unclassified_code() if has_unclassified else None
        for name, writer in writers.items():
            self.monitor.check()
            target = Path(self.job.output) if name == "output" else self.job.scores()[name]
            made = writer.finish(threads, self.monitor)
            if name == "output":
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
                    style = write_style(made, score_style(name, 0.0, 1.0))
                moves[style] = target.with_suffix(".qml")
            moves[made] = target
        return moves

    def _files(self) -> dict[str, str]:
        output = Path(self.job.output)
        files = {"output": output, "style": output.with_suffix(".qml"), "report": self.job.report_path()}
        files.update(self.job.scores())
        return {name: str(path.absolute()) for name, path in files.items()}


def _rows(card: ModelCard, areas: PixelArea | None) -> list[ClassRow]:
    return [_row(entry.value, entry.name, entry.color, areas) for entry in card.classes]


def _row(value: int, name: str, color: str, areas: PixelArea | None) -> ClassRow:
    if areas is None:
        return ClassRow(value, name, color)
    hectares = areas.hectares
    return ClassRow(value, name, color, areas.counts[value], hectares[value] if hectares else None)


def _cores() -> int:
    """Cores that this process may use (a Slurm job or container may have fewer than the machine)."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def _parse_crs(text: str | None) -> CRS | None:
    if not text:
        return None
    try:
        return CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise InputError(
            f"“{text[:80]}” is not a coordinate reference system; write EPSG:32632, for example."
        ) from error


def _ground_sampling_distance(job: PixelJob, card: ModelCard) -> float | None:
    """What was asked for, in metres."""
    if job.gsd == "model":
        if card.gsd is None:
            raise InputError("The model's card does not say for which pixels it was made; give --gsd in metres.")
        return card.gsd
    return None if job.gsd is None else float(job.gsd)


class _WorkFolders:
    """A working folder in every folder that gets a result: a file can only be renamed within one disk."""

    def __init__(self, job: PixelJob) -> None:
        self._folders: dict[Path, WorkFolder] = {}
        try:
            for path in (Path(job.output), *job.scores().values(), job.report_path()):
                if path.parent.resolve() not in self._folders:
                    self._folders[path.parent.resolve()] = WorkFolder(path)
        except BaseException:
            self.remove()
            raise

    def beside(self, result: Path) -> WorkFolder:
        """The working folder in the folder of a result."""
        return self._folders[result.parent.resolve()]

    def remove(self) -> None:
        """Delete the folders and what is left in them."""
        for folder in self._folders.values():
            folder.remove()


def _check_outputs(job: PixelJob) -> None:
    """Refuse results that would hit an input, each other or, unasked, an existing file."""
    rasters = {"output": Path(job.output), **job.scores()}
    targets = [*rasters.items(), ("report", job.report_path())]
    # What a result brings with it; it is replaced with the result.
    brought = [(f"style of {name}", path.with_suffix(".qml")) for name, path in rasters.items()]
    brought.append(("table of output", rasters["output"].with_name(rasters["output"].name + ".aux.xml")))
    given = [*job.rasters, job.mask, job.model, job.card, job.area if isinstance(job.area, str) else None]
    try:
        inputs = {Path(name.split("|")[0]).resolve() for name in given if name and _is_local_file(name.split("|")[0])}
        seen: dict[Path, str] = {}
        for name, path in (*targets, *brought):
            if path.is_dir():
                raise OutputError(f"“{path}” is a folder; give the result another name.")
            if not path.parent.is_dir():
                raise OutputError(f"The folder “{path.parent}” does not exist; create it or choose another place.")
            resolved = path.resolve()
            if resolved in inputs:
                raise OutputError(f"The result would overwrite the input “{path}”; choose another name.")
            if resolved in seen:
                raise OutputError(f"“{path}” is asked for twice ({seen[resolved]} and {name}); choose different names.")
            seen[resolved] = name
            # Names that only this map's files have; a report's name that was chosen, and that of a style
            # (fields.qml is also the style of fields.gpkg), may be anybody's.
            own = name == "table of output" or (name == "report" and not job.report)
            replaceable = job.overwrite or own
            if path.exists() and not replaceable:
                raise OutputError(f"“{path}” exists already; use --overwrite to replace it, or choose another name.")
    except OSError as error:
        raise OutputError(
            f"The result cannot have this name ({error.strerror}); choose another name.", repr(error)
        ) from error


def _is_local_file(name: str) -> bool:
    return "://" not in name and not name.startswith("/vsi") and len(name) < 4096 and os.path.isfile(name)


def _check_sources(job: PixelJob, source: RasterSource) -> None:
    """Refuse a result in place of a file behind a virtual raster."""
    sources = source.files
    for path in (Path(job.output), *job.scores().values(), job.report_path()):
        if path.resolve() in sources:
            raise OutputError(f"The result would overwrite the input “{path}”; choose another name.")
