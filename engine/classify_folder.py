"""Classify a folder of image files, one patch each: a table with a line per file."""

from __future__ import annotations

import csv
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rasterio.windows import Window

from ..errors import InputError
from ..models.bands import parse_band_option
from ..models.card import ModelCard
from ..models.fit import Fit, check_fit
from ..models.reading import read_model_card
from ..models.store import model_files, resolve_model
from ..progress import Monitor
from .backend import deploy
from .classify_patches import load_patch_network
from .cog import move_into_place, writing
from .deployment import fill_values
from .in_order import run_in_order
from .job import FolderJob
from .network import Network
from .outputs import WorkFolders, check_sources, check_table
from .patch_grid import LEAST_VALID
from .patch_labels import DIGITS, Labelling
from .patch_layer import probability_columns
from .patch_stream import choose_batch, run_patches
from .providers import provider_order
from .raster import RasterSource, gdal_environment
from .report import backend, bands, ending, heading, model_and_parameters, write_report
from .scene import cores
from .session import Session, create_session

#: Ends of the names of image files.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".gtif", ".jp2", ".j2k", ".bmp", ".gif", ".webp", ".img"}
)
# Side of images that is assumed for planning where the network leaves it open.
_USUAL_SIDE = 128


def classify_folder(job: FolderJob, monitor: Monitor | None = None) -> dict[str, Any]:
    """Run a job and return its ``result`` event: ``files`` (name → path) and ``report``.

    Table and report appear under their final names only when both are complete; a failed or cancelled run leaves what
    was there before.  An image that cannot be classified stays in the table, without a label and with the reason.

    Raises:
        InputError: (or one of its kinds) what was given cannot be used, or not one image could be classified.
        Cancelled: the monitor was asked to cancel.
    """
    monitor = monitor or Monitor()
    job.check()
    with gdal_environment(job.threads or cores()):
        return _Run(job, monitor).result()


def image_files(folder: Path) -> tuple[list[str], int]:
    """Image files in a folder and its subfolders, relative with ``/``, sorted; and how many other files there are."""
    images: list[str] = []
    others = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                images.append(path.relative_to(folder).as_posix())
            else:
                others += 1
    return sorted(images), others


@dataclass
class _Line:
    """What became of one image: probabilities, or why there are none."""

    file: str
    probabilities: np.ndarray | None = None
    note: str = ""
    pixels: int = 0
    data_type: str = ""
    fit: Fit | None = None


@dataclass
class _Kind:
    """What runs images of one type and scale.

    Args:
        session: the network with that scale in front.
        fill: per band, the sample that stands for a missing one.
    """

    session: Session
    fill: np.ndarray


@dataclass
class _Images:
    """Reads images and runs the network on them.  Safe to use from several threads at once.

    Args:
        job, card, network: what is run.
        threads: inside each run.
        workers: runs side by side, unless the session wants another number.
        monitor: hears what the analyst should know.
    """

    job: FolderJob
    card: ModelCard
    network: Network
    threads: int
    workers: int
    monitor: Monitor
    #: By type, scale and offset: what runs such images, or why nothing does.
    kinds: dict[tuple[Any, ...], _Kind] = field(default_factory=dict)
    refused: dict[tuple[Any, ...], str] = field(default_factory=dict)
    #: Seconds that reading and the network took, threads added up.
    read: float = 0.0
    infer: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    # Lets through as many runs as the session stands side by side; the others read meanwhile.
    gate: threading.Semaphore | None = None

    def classify(self, files: list[str], options: onnxruntime.RunOptions) -> list[_Line]:
        """The lines of some files; those of one kind and size go through the network together."""
        lines = [_Line(name) for name in files]
        groups: dict[tuple[int, tuple[int, ...]], list[tuple[_Line, np.ndarray]]] = {}
        kinds: dict[int, _Kind] = {}
        started = time.perf_counter()
        for line in lines:
            self.monitor.check()
            try:
                kind, samples = self._read(line)
            except InputError as error:
                line.note = error.message
                continue
            kinds[id(kind)] = kind
            groups.setdefault((id(kind), samples.shape), []).append((line, samples))
        with self.lock:
            self.read += time.perf_counter() - started
        for (number, _), group in groups.items():
            self._run(kinds[number], group, options)
        return lines

    def _run(self, kind: _Kind, group: list[tuple[_Line, np.ndarray]], options: onnxruntime.RunOptions) -> None:
        patches = np.stack([samples for _, samples in group])
        # A network with a fixed batch gets its last batch filled up with copies.
        short = kind.session.deployment.batch - len(patches)
        if short > 0:
            patches = np.concatenate([patches, np.repeat(patches[-1:], short, axis=0)])
        assert self.gate is not None
        with self.gate:
            started = time.perf_counter()
            found = run_patches(kind.session, patches, self.network.heads[0].channels, options)
            seconds = time.perf_counter() - started
        with self.lock:
            self.infer += seconds
        for (line, samples), probabilities in zip(group, found, strict=False):
            line.probabilities, line.pixels = probabilities, samples.shape[1] * samples.shape[2]

    def _read(self, line: _Line) -> tuple[_Kind, np.ndarray]:
        """An image's kind and samples, (C, rows, columns), missing ones filled.

        Every image is matched with the model for itself: one scaled otherwise may lie among thousands.

        Raises:
            InputError: why it cannot be classified.
        """
        job = self.job
        with RasterSource([str(Path(job.folder) / line.file)], nodata=job.nodata) as source:
            source.nodata_default = self.card.nodata
            wanted = list(self.card.input_shape[-2:])
            size = (source.height, source.width)
            if any(given not in (side, -1) for given, side in zip(wanted, size, strict=True)):
                raise InputError(
                    f"The image has {size[1]} × {size[0]} pixels, the network takes {wanted[1]} × {wanted[0]}."
                )
            assigned = parse_band_option(job.bands)
            # Values are looked at where the card says what they should be.
            facts = source.facts(sample=self.card.value_range is not None or self.card.unit == "reflectance")
            fit = check_fit(self.card, facts, assigned, job.scale, job.offset, job.sensor)
            source.select(fit.matches, job.invalid)
            line.fit, line.data_type = fit, str(source.data_type)
            kind = self._kind(source.data_type, fit)
            samples, valid = source.read(Window(0, 0, source.width, source.height))
            if valid is not None:
                if valid.mean() < LEAST_VALID:
                    raise InputError("More than half of the image's pixels have no data.")
                samples[:, ~valid] = kind.fill[:, None]
            source.fill_single_bands(samples, kind.fill)
            return kind, samples

    def _kind(self, data_type: np.dtype, fit: Fit) -> _Kind:
        """What runs images of a type and scale, made where there is none yet.

        Raises:
            InputError: the network cannot take such images.
        """
        key = (data_type, tuple(fit.scale), tuple(fit.offset))
        with self.lock:
            if key in self.refused:
                raise InputError(self.refused[key])
            if key not in self.kinds:
                try:
                    self.kinds[key] = self._new_kind(data_type, fit)
                except InputError as error:
                    # Asking a large network again for each of thousands of images would take hours.
                    self.refused[key] = error.message
                    raise
            return self.kinds[key]

    def _new_kind(self, data_type: np.dtype, fit: Fit) -> _Kind:
        deployment = deploy(self.network, data_type, fit.scale, fit.offset, decide=False)
        session = create_session(deployment, self.job.provider, self.threads, self.job.precision)
        for warning in session.warnings:
            if warning not in self.monitor.warnings:
                self.monitor.log(warning, "warning")
        session.warn = partial(self.monitor.log, level="warning")
        session.unit = "image"
        if self.gate is None:
            self.workers = session.parallel_runs or self.workers
            self.gate = threading.Semaphore(self.workers)
        return _Kind(session, fill_values(self.network, data_type, fit.scale, fit.offset))

    def backend(self) -> dict[str, Any]:
        """What ran the network, for the report: all sessions run on the same."""
        sessions = [kind.session for kind in self.kinds.values()]
        limits = [limit for session in sessions if (limit := session.facts()["largest_batch"])]
        return {**backend(sessions[0], self.threads, self.workers), "largest_batch": min(limits, default=None)}


class _Warnings:
    """Tells what is to be said of images, once: of thousands the same may be true, with other names and numbers."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._told: set[str] = set()

    def tell(self, line: _Line) -> None:
        """Tell what was not yet told of another image."""
        for warning in line.fit.warnings if line.fit is not None else ():
            what = re.sub(r"“[^”]*”|[\d.]+(e[+-]\d+)?", "", warning)
            if what not in self._told:
                self._told.add(what)
                self._monitor.log(warning, "warning")


class _Run:
    def __init__(self, job: FolderJob, monitor: Monitor) -> None:
        self.job, self.monitor = job, monitor
        self.started = time.perf_counter()
        self.created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.files = {"output": Path(job.output), "report": job.report_path()}

    def result(self) -> dict[str, Any]:
        job, monitor = self.job, self.monitor
        monitor.stage("Opening", 0.0)
        # What can be said without opening the model is said first.
        check_table(job)
        model_path = resolve_model(job.model)
        check_sources(self.files.values(), model_files(model_path))
        card = read_model_card(model_path, job.card)
        network = load_patch_network(job.model, card, model_path, job.output_name, monitor)
        card = network.heads[0].card
        # What the file itself leaves open stays open, whatever it was trained with.
        side = max(network.tile) if network.tile is not None else _USUAL_SIDE
        if any(size < 0 for size in card.input_shape[-2:]):
            network.tile = None
        provider_order(job.provider)
        parse_band_option(job.bands)
        files, others = image_files(Path(job.folder))
        if not files:
            raise InputError(
                f"“{job.folder}” holds no image files (such as .jpg, .png or .tif), nor do its subfolders: name the "
                "folder that does."
            )
        self._check_report(files)
        if others:
            monitor.log(f"{others} other file{'s' if others > 1 else ''} in the folder passed over.")
        threads = job.threads or cores()
        batch, workers = choose_batch(network, side, job.batch, threads)
        images = _Images(job, card, network, max(threads // workers, 1), workers, monitor)
        labelling = Labelling(network.heads[0], job.threshold)
        columns = probability_columns(card.classes)
        table = _Table(labelling, columns)
        work = WorkFolders(self.files.values())
        try:
            part, report_part = (work.beside(path).path / path.name for path in self.files.values())
            # A name that is no text in UTF-8 is shown as well as may be.
            with writing(part.name), part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
                table.begin(stream)
                self._run(images, files, batch, table)
            if table.classified == 0:
                raise InputError(
                    f"Not one of the {len(files)} images could be classified; of the first: {table.reason}"
                )
            if table.skipped:
                monitor.log(
                    f"{table.skipped} of {len(files)} images could not be classified; the table says why. "
                    f"The first: {table.reason}",
                    "warning",
                )
            report = self._report(images, model_path, table, others, batch)
            with writing(report_part.name):
                write_report(report_part, report)
            monitor.check()
            move_into_place({part: self.files["output"], report_part: self.files["report"]})
        finally:
            work.remove()
        monitor.progress("Done", 1.0)
        return {"event": "result", "files": report["files"], "report": report}

    def _check_report(self, images: list[str]) -> None:
        """Refuse a report in place of an image; the table's name is none that an image has."""
        report = self.files["report"]
        if self.job.report and report.exists():
            folder = Path(self.job.folder)
            check_sources([report], {(folder / name).resolve() for name in images})

    def _run(self, images: _Images, files: list[str], batch: int, table: _Table) -> None:
        monitor = self.monitor
        monitor.stage("Classifying", 0.0)
        started = time.monotonic()
        done = pixels = 0
        warnings = _Warnings(monitor)

        def batches() -> Iterator[list[str]]:
            for start in range(0, len(files), batch):
                yield files[start : start + batch]

        def take(lines: list[_Line]) -> None:
            nonlocal done, pixels
            table.write(lines)
            for line in lines:
                warnings.tell(line)
            done += len(lines)
            pixels += sum(line.pixels for line in lines)
            elapsed = max(time.monotonic() - started, 1e-6)
            left = (len(files) - done) * elapsed / done
            monitor.progress("Classifying", 0.99 * done / len(files), pixels / elapsed, left)

        # Two at least, so that images are read while the network runs.
        run_in_order(batches(), images.classify, max(images.workers, 2), take, monitor)

    def _report(self, images: _Images, model_path: Path, table: _Table, others: int, batch: int) -> dict[str, Any]:
        card = images.card
        return {
            **heading(self.job, self.created, time.perf_counter() - self.started, card),
            **model_and_parameters(self.job, model_path, card),
            "images": {
                "count": table.classified,
                "skipped": table.skipped,
                "below_threshold": table.none,
                "other_files": others,
            },
            "kinds": [{**kind, "images": count} for kind, count in table.kinds.values()],
            "threshold": table.labelling.threshold,
            "batch": batch,
            "backend": images.backend(),
            "classes": [
                {
                    "value": entry.value,
                    "name": entry.name,
                    "color": entry.color,
                    "column": column,
                    "images": int(count),
                    "percent": round(100 * int(count) / table.classified, 4),
                }
                for entry, column, count in zip(card.classes, table.columns, table.counts, strict=True)
            ],
            **ending(self.monitor.warnings, read=images.read, infer=images.infer, write=table.seconds),
            "files": {name: str(path.absolute()) for name, path in self.files.items()},
        }


class _Table:
    """The table as it grows, and what is counted on the way."""

    def __init__(self, labelling: Labelling, columns: list[str]) -> None:
        self.labelling, self.columns = labelling, columns
        self.counts = np.zeros(len(columns), np.int64)
        self.classified = self.skipped = self.none = 0
        #: Of the first image that was skipped: its name and why.
        self.reason = ""
        #: How images were read, and how many so: by all that may differ between them.
        self.kinds: dict[str, tuple[dict[str, Any], int]] = {}
        #: That writing took.
        self.seconds = 0.0

    def begin(self, stream: Any) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow(["file", "label", "score", *self.columns, "note"])

    def write(self, lines: list[_Line]) -> None:
        started = time.perf_counter()
        found = [line.probabilities for line in lines if line.probabilities is not None]
        labels = self.labelling(np.stack(found)) if found else None
        number = 0
        for line in lines:
            if line.probabilities is None or labels is None:
                self.skipped += 1
                self.reason = self.reason or f"{line.file}: {line.note}"
                self._writer.writerow([line.file, "", "", *[""] * len(self.columns), line.note])
                continue
            numbers = [labels.scores[number], *labels.probabilities[number]]
            self._writer.writerow([line.file, labels.names[number], *(f"{value:.{DIGITS}f}" for value in numbers), ""])
            number += 1
            self._count_kind(line)
        if labels is not None:
            self.classified += number
            self.counts += labels.counted.sum(axis=0)
            self.none += int((~labels.counted.any(axis=1)).sum())
        self.seconds += time.perf_counter() - started

    def _count_kind(self, line: _Line) -> None:
        assert line.fit is not None
        fit = line.fit
        kind = {"data_type": line.data_type, "bands": bands(fit), "scale": fit.scale, "offset": fit.offset}
        known, count = self.kinds.get(str(kind), (kind, 0))
        self.kinds[str(kind)] = (known, count + 1)
