"""The report beside a result: enough to understand it and to run it again (docs/result-files.md)."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from .. import __version__
from ..models.card import ModelCard
from ..models.fit import Fit
from .ground_area import PixelArea
from .job import Job, PixelJob, RasterJob
from .pipeline import Timing
from .raster import RasterSource
from .session import Session
from .tiling import Plan


class MappedOutput(Protocol):
    """An output of the network and the file that it became."""

    path: Path

    @property
    def card(self) -> ModelCard:
        """The card as if this output were the only one."""


#: Packages whose versions can change a result.
PACKAGES = ("numpy", "rasterio", "onnx", "onnxruntime", "pyogrio", "shapely")


def package_versions() -> dict[str, str]:
    """Versions of the runtime's packages; those that are absent are left out."""
    versions = {}
    for name in (*PACKAGES, "onnxruntime-gpu", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def build_report(
    job: PixelJob,
    created: str,
    seconds: float,
    source: RasterSource,
    model_path: Path,
    layers: Sequence[MappedOutput],
    fit: Fit,
    plan: Plan,
    session: Session,
    areas: Sequence[PixelArea],
    timing: Timing,
    finish_seconds: float,
    warnings: list[str],
) -> dict[str, Any]:
    """Everything about a run, as plain values."""
    card = layers[0].card
    maps = [_map(layer.card, area) for layer, area in zip(layers, areas, strict=True)]
    return {
        **beginning(job, created, seconds, source, model_path, card, fit),
        "window": asdict(plan.region),
        "tiling": {
            "mode": "smooth" if plan.smooth else "exact",
            "tile": list(plan.core),
            "halo": plan.halo,
            "stride": plan.stride,
            "batch": plan.batch,
            "exact": plan.exact,
            "why": plan.why,
            "tiles": timing.tiles,
            "skipped": timing.skipped,
        },
        "backend": backend(session, plan.threads, plan.workers),
        **maps[0],
        **_further_maps(layers, maps),
        **ending(warnings, read=timing.read, infer=timing.infer, write=timing.write, finish=finish_seconds),
    }


def beginning(
    job: RasterJob,
    created: str,
    seconds: float,
    source: RasterSource,
    model_path: Path,
    card: ModelCard,
    fit: Fit,
) -> dict[str, Any]:
    """What every report begins with: what ran on what, and how the two were brought together."""
    return {
        **heading(job, created, seconds, card),
        "inputs": [
            {
                "path": path,
                "width": grid.width,
                "height": grid.height,
                "crs": grid.crs.to_string() if grid.crs else None,
                "transform": list(grid.transform[:6]),
                "gsd": grid.gsd,
                "resampling": source.resampling_of(index),
            }
            for index, (path, grid) in enumerate(zip(source.paths, source.grids, strict=True))
        ],
        "grid": {
            "width": source.width,
            "height": source.height,
            "crs": source.crs.to_string() if source.crs else None,
            "transform": list(source.transform[:6]),
            "gsd": source.grid.gsd,
        },
        **model_and_parameters(job, model_path, card),
        "bands": bands(fit),
        "scale": fit.scale,
        "offset": fit.offset,
    }


def heading(job: Job, created: str, seconds: float, card: ModelCard) -> dict[str, Any]:
    """What ran, when, and how long."""
    return {
        "thematica": __version__,
        "command": job.command,
        "task": card.task,
        "created": created,
        "seconds": round(seconds, 3),
    }


def model_and_parameters(job: Job, model_path: Path, card: ModelCard) -> dict[str, Any]:
    """Which model was used, and the job as ``--job`` takes it."""
    return {
        "model": {
            "name": card.name,
            "title": card.title,
            "description": card.description,
            "path": str(model_path),
            "sha256": card.weights_sha256,
            "card": card.origin,
        },
        "parameters": {"command": job.command, **job.to_dict()},
    }


def bands(fit: Fit) -> list[dict[str, Any]]:
    """Which file and band fed each band of the model."""
    return [
        {"model": match.model_band.name, "file": match.source, "band": match.band, "how": match.how}
        for match in fit.matches
    ]


def backend(session: Session, threads: int, workers: int) -> dict[str, Any]:
    """What ran the network.

    Args:
        session: what ran it.
        threads: inside each run.
        workers: runs side by side.
    """
    return {**session.facts(), "threads": threads, "workers": workers}


def ending(warnings: list[str], **stages: float) -> dict[str, Any]:
    """What every report ends with; ``stages``: seconds that each stage was busy."""
    return {
        "warnings": warnings,
        "seconds_per_stage": {name: round(seconds, 3) for name, seconds in stages.items()},
        "versions": {"thematica": __version__, "python": platform.python_version(), **package_versions()},
    }


def class_figures(
    card: ModelCard, unit: str, counts: Sequence[int], hectares: Sequence[float] | None, known: int
) -> list[dict[str, Any]]:
    """Of each class: how often it was found, and on how much ground.

    Args:
        card: names, values and colours.
        unit: what was counted: ``pixels`` or ``patches``.
        counts: per class.
        hectares: per class; None where the raster is not georeferenced.
        known: how many make 100 %.
    """
    return [
        {
            "value": entry.value,
            "name": entry.name,
            "color": entry.color,
            unit: int(counts[index]),
            "hectares": round(float(hectares[index]), 4) if hectares is not None else None,
            "percent": round(100 * int(counts[index]) / known, 4) if known else 0.0,
        }
        for index, entry in enumerate(card.classes)
    ]


def _map(card: ModelCard, areas: PixelArea) -> dict[str, Any]:
    """Pixels and ground area of each class of one map."""
    values = [entry.value for entry in card.classes]
    counts, ground = areas.counts, areas.hectares
    known = sum(counts[value] for value in values) + counts[card.unclassified_code()]
    classes = class_figures(
        card, "pixels", [counts[value] for value in values],
        [ground[value] for value in values] if ground else None, known,
    )  # fmt: skip
    return {
        "classes": classes,
        "nodata": {"value": card.nodata_code(), "pixels": counts[card.nodata_code()]},
        "unclassified": {"value": card.unclassified_code(), "pixels": counts[card.unclassified_code()]},
    }


def _further_maps(layers: Sequence[MappedOutput], maps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where the network has several outputs: what became of each after the first."""
    if len(layers) < 2:
        return {}
    return {
        "output_name": layers[0].card.output_name,
        "further_outputs": [
            {"output_name": layer.card.output_name, "file": layer.path.name, **figures}
            for layer, figures in zip(layers[1:], maps[1:], strict=True)
        ],
    }


def write_report(path: Path, report: dict[str, Any]) -> Path:
    """Write a report as indented JSON."""
    # A path may hold bytes that are no text.
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
    return path
