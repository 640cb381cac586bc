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
from .job import PixelJob
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
        "thematica": __version__,
        "command": job.command,
        "task": card.task,
        "created": created,
        "seconds": round(seconds, 3),
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
        "model": {
            "name": card.name,
            "title": card.title,
            "description": card.description,
            "path": str(model_path),
            "sha256": card.weights_sha256,
            "card": card.origin,
        },
        "parameters": {"command": job.command, **job.to_dict()},
        "bands": [
            {"model": match.model_band.name, "file": match.source, "band": match.band, "how": match.how}
            for match in fit.matches
        ],
        "scale": fit.scale,
        "offset": fit.offset,
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
        "backend": {
            "name": "onnxruntime",
            "provider": session.provider,
            "threads": plan.threads,
            "workers": plan.workers,
        },
        **maps[0],
        **_further_maps(layers, maps),
        "warnings": warnings,
        "seconds_per_stage": {
            "read": round(timing.read, 3),
            "infer": round(timing.infer, 3),
            "write": round(timing.write, 3),
            "finish": round(finish_seconds, 3),
        },
        "versions": {"thematica": __version__, "python": platform.python_version(), **package_versions()},
    }


def _map(card: ModelCard, areas: PixelArea) -> dict[str, Any]:
    """Pixels and ground area of each class of one map."""
    classes = []
    coded = [(entry.value, entry.name, entry.color) for entry in card.classes]
    counts, areas_on_ground = areas.counts, areas.hectares
    known = sum(counts[value] for value, _, _ in coded) + counts[card.unclassified_code()]
    for value, name, color in coded:
        pixels, hectares = counts[value], areas_on_ground[value] if areas_on_ground else None
        classes.append(
            {
                "value": value,
                "name": name,
                "color": color,
                "pixels": pixels,
                "hectares": round(hectares, 4) if hectares is not None else None,
                "percent": round(100 * pixels / known, 4) if known else 0.0,
            }
        )
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
