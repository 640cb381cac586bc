"""The live worker's times: from an edit that is sent through its pipe to the picture that is complete.

A made scene of 10 bands (uint16, 4000 × 4000, deflate, tiles of 256) with fields of five classes, 30 polygons drawn on
them, a canvas of 1000 × 1000 pixels.  For each case the median and the worst of several tries:

- *edit*: one polygon is changed, the canvas stays;
- *pan*: the canvas moves by a part of itself, nothing else changes;
- *edit and pan*: both;
- *whole scene*: an edit while the canvas shows the whole scene, which has no overviews.

The stages are the worker's own; *total* is what QGIS waits.  Peak memory is the worker's, as the kernel counts it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.windows import Window

FOLDER = Path("build/bench")
SIDE, BANDS, CLASSES, POLYGONS, CANVAS = 4000, 10, 5, 30, 1000
COLORS = ("#1b7837", "#d9b44a", "#2166ac", "#b2182b", "#7f7f7f")
_FIELD = 80
_ORIGIN, _RESOLUTION = (500_000.0, 5_500_000.0), 10.0
_STAGES = ("read", "train", "predict", "write")


def make_scene(path: Path) -> np.ndarray:
    """Fields of five classes with noise; returns the class of each field, (rows, columns)."""
    random = np.random.default_rng(11)
    fields = random.integers(0, CLASSES, (SIDE // _FIELD, SIDE // _FIELD))
    if path.exists():
        return fields
    spectra = random.uniform(300, 4000, (CLASSES, BANDS))
    shade = random.normal(1, 0.08, fields.shape)
    profile = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "count": BANDS, "dtype": "uint16", "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "interleave": "pixel", "num_threads": "all_cpus",
        "crs": "EPSG:32632", "transform": from_origin(*_ORIGIN, _RESOLUTION, _RESOLUTION),
    }  # fmt: skip
    partial = path.with_suffix(".part.tif")
    with rasterio.open(partial, "w", **profile) as target:
        columns = np.arange(SIDE) // _FIELD
        for row in range(0, SIDE, 256):
            rows = np.arange(row, min(row + 256, SIDE)) // _FIELD
            place = np.ix_(rows, columns)
            values = spectra.T[:, fields[place]] * shade[place]
            values += random.normal(0, 120, values.shape)
            target.write(np.clip(values, 1, 10_000).astype(np.uint16), window=Window(0, row, SIDE, len(rows)))
    partial.rename(path)
    return fields


class Client:
    """The worker, as QGIS has it: a process with pipes."""

    def __init__(self) -> None:
        begun = time.perf_counter()
        # Statistics of the memory of a child begin at its parent's, so its own are read while it lives.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "thematica", "live"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._number = 0
        self._read()
        self.start_s = time.perf_counter() - begun

    def send(self, do: str, **values: Any) -> int:
        """Write a request."""
        assert self.process.stdin is not None
        self._number += 1
        self.process.stdin.write(json.dumps({"id": self._number, "do": do, **values}).encode() + b"\n")
        self.process.stdin.flush()
        return self._number

    def wait(self, number: int) -> dict[str, Any]:
        """The reply to a request."""
        while True:
            event = self._read()
            if event.get("id") == number:
                if event["event"] != "reply":
                    raise SystemExit(f"the worker says {event}")
                return event

    def peak_mib(self) -> float:
        """Its peak memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def end(self) -> None:
        """End it as QGIS does."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the worker has ended")
        event: dict[str, Any] = json.loads(line)
        return event


class Bench:
    """One worker with the scene open and the polygons drawn."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._random = np.random.default_rng(5)
        scene = FOLDER / "live.tif"
        self._fields = make_scene(scene)
        self.client = Client()
        self._crs = CRS.from_epsg(32632).to_wkt()
        begun = time.perf_counter()
        self.client.wait(self.client.send("open", rasters=[str(scene)]))
        self.open_s = time.perf_counter() - begun
        self._draw(range(POLYGONS), replace=True)

    def _draw(self, numbers: Any, replace: bool = False) -> int:
        """Draw polygons of some numbers anew; all classes have some, all over the scene."""
        features = []
        for number in numbers:
            wanted = np.argwhere(self._fields == number % CLASSES)
            row, column = wanted[self._random.integers(len(wanted))] * _FIELD + self._random.integers(5, 25, 2)
            width, height = self._random.integers(20, 50, 2)
            left, top = _ORIGIN[0] + column * _RESOLUTION, _ORIGIN[1] - row * _RESOLUTION
            shape = shapely.box(left, top - height * _RESOLUTION, left + width * _RESOLUTION, top)
            features.append([int(number), int(number) % CLASSES + 1, shapely.to_wkb(shape, hex=True)])
        classes = [{"code": c + 1, "name": f"Class {c + 1}", "color": COLORS[c], "macro": ""} for c in range(CLASSES)]
        return self.client.send(
            "labels", crs=self._crs, classes=classes, replace=replace, features=features, removed=[]
        )

    def preview(self, edit: bool, place: tuple[int, int], pixels: int = CANVAS) -> dict[str, float]:
        """Seconds from an edit (or not) to the picture of a canvas.

        Args:
            edit: change a polygon before.
            place: row and column of the canvas' corner in the scene.
            pixels: of the scene that the canvas shows, per side.
        """
        left, top = _ORIGIN[0] + place[1] * _RESOLUTION, _ORIGIN[1] - place[0] * _RESOLUTION
        extent = [left, top - pixels * _RESOLUTION, left + pixels * _RESOLUTION, top]
        begun = time.perf_counter()
        if edit:
            self._draw([int(self._random.integers(POLYGONS))])
        number = self.client.send("preview", extent=extent, crs=self._crs, size=[CANVAS, CANVAS])
        reply = self.client.wait(number)
        if os.path.getsize(reply["file"]) != 4 * CANVAS * CANVAS:
            raise SystemExit("the picture is not complete")
        total = time.perf_counter() - begun
        os.unlink(reply["file"])
        return {**{stage: reply["seconds"][stage] for stage in _STAGES}, "total": total}

    def grow(self, tolerance: float) -> float:
        """Seconds to a region."""
        point = [_ORIGIN[0] + 2040 * _RESOLUTION, _ORIGIN[1] - 2040 * _RESOLUTION]
        begun = time.perf_counter()
        self.client.wait(self.client.send("grow", point=point, crs=self._crs, tolerance=tolerance))
        return time.perf_counter() - begun


def measure_live(repeats: int) -> dict[str, dict[str, float]]:
    """All cases: the median of each stage, and the total's worst."""
    bench = Bench()
    random = np.random.default_rng(9)
    middle = (1500, 1500)

    def elsewhere() -> tuple[int, int]:
        row, column = random.integers(0, SIDE - CANVAS, 2)
        return int(row), int(column)

    cases: dict[str, list[dict[str, float]]] = {
        "first": [bench.preview(False, middle)],
        "edit": [bench.preview(True, middle) for _ in range(repeats)],
        "pan": [bench.preview(False, elsewhere()) for _ in range(repeats)],
        "edit and pan": [bench.preview(True, elsewhere()) for _ in range(repeats)],
        "whole scene": [bench.preview(True, (0, 0), SIDE) for _ in range(2)],
    }
    figures = {
        name: {
            **{stage: statistics.median(one[stage] for one in tries) for stage in (*_STAGES, "total")},
            "worst": max(one["total"] for one in tries),
        }
        for name, tries in cases.items()
    }
    figures["whole scene"] = {**cases["whole scene"][0], "worst": cases["whole scene"][0]["total"]}
    figures["region"] = {"total": bench.grow(20), "moved": statistics.median(bench.grow(t) for t in (21, 22, 25, 30))}
    figures["worker"] = {"start": bench.client.start_s, "open": bench.open_s, "peak_mib": bench.client.peak_mib()}
    bench.client.end()
    return figures


def table_live(figures: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    lines = [
        f"Scene {SIDE}² × {BANDS} uint16, {CLASSES} classes, {POLYGONS} polygons, canvas {CANVAS}²; seconds.",
        "",
        "| case | read | train | predict | write | total | worst |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in figures.items():
        if "read" in row:
            cells = " | ".join(f"{row[stage]:.3f}" for stage in _STAGES)
            lines.append(f"| {name} | {cells} | **{row['total']:.2f}** | {row['worst']:.2f} |")
    region, worker = figures["region"], figures["worker"]
    lines += [
        "",
        f"Region growing: {region['total']:.3f} s after a click, {region['moved'] * 1000:.0f} ms where the tolerance "
        f"moves. The worker starts in {worker['start']:.2f} s, opens the scene in {worker['open']:.2f} s, and takes "
        f"{worker['peak_mib']:.0f} MiB at most.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    figures = measure_live(options.repeats)
    print(json.dumps(figures, indent=2))
    print(table_live(figures))


if __name__ == "__main__":
    main()
