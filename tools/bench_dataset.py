"""Training sets: samples per second of building and of reading back, beside plain loops that do no more than they must.

- *pixels*: a scene of 3200 × 3200 pixels, 10 bands (uint16, deflate, tiles of 256), all of them labelled by a raster;
- *windows*: the same scene, windows of 9 × 9 around every labelled pixel, 64,000 drawn by chance;
- *patches*: BigEarthNet's layout, 12 files per patch.

The command runs in a process of its own: *wall* is all of it, from its start to the finished folder, with the split,
the shuffling, the checksums and the preview sheet; peak memory is that process's, as the kernel counts it.  Beside it
stands what a script would do with rasterio: read the same blocks or files, cut out the samples and save them as arrays,
in the order of the image and without any split.  *Reading back* goes through all batches of the training part once,
beside copying the arrays batch by batch with NumPy.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.windows import Window

from thematica.engine.raster import gdal_environment
from thematica.trainer.dataset.bigearthnet import BAND_FILES
from thematica.trainer.dataset.read import TrainingSet

FOLDER = Path("build/bench")
SIDE, BANDS, CLASSES, FIELD = 3200, 10, 5, 40
WINDOW, WINDOWS = 9, 64_000
PATCHES, BATCH = 1600, 4096
_COARSER = {"B01": 20, "B09": 20, **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 60)}
# Runs its arguments; prints wall seconds and peak memory in KiB.
_SMALL_PARENT = """
import resource, subprocess, sys, time
begun = time.perf_counter()
status = subprocess.call(sys.argv[1:])
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def make_scene(image: Path, labels: Path, few: Path) -> np.ndarray:
    """Fields of five classes with noise, their classes, and the classes of some pixels; returns where these lie."""
    chance = np.random.default_rng(7)
    fields = chance.integers(1, CLASSES + 1, (SIDE // FIELD, SIDE // FIELD)).astype("uint8")
    drawn = np.sort(chance.choice(SIDE * SIDE, WINDOWS, replace=False))
    places = np.column_stack(np.divmod(drawn, SIDE))
    if few.exists():
        return places
    spectra = chance.uniform(300, 4000, (BANDS, CLASSES + 1))
    profile = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "crs": "EPSG:32632", "transform": from_origin(500000, 5500000, 10, 10),
    }  # fmt: skip
    with rasterio.open(image, "w", count=BANDS, dtype="uint16", interleave="pixel", **profile) as target:
        for row in range(0, SIDE, 256):
            rows = np.arange(row, min(row + 256, SIDE)) // FIELD
            values = spectra[:, fields[np.ix_(rows, np.arange(SIDE) // FIELD)]]
            noisy = values * chance.normal(1, 0.05, values.shape)
            target.write(noisy.astype("uint16"), window=Window(0, row, SIDE, len(rows)))
    codes = np.kron(fields, np.ones((FIELD, FIELD), "uint8"))
    with rasterio.open(labels, "w", count=1, dtype="uint8", **profile) as target:
        target.write(codes, 1)
    chosen = np.zeros_like(codes)
    chosen[tuple(places.T)] = codes[tuple(places.T)]
    with rasterio.open(few, "w", count=1, dtype="uint8", **profile) as target:
        target.write(chosen, 1)
    return places


def make_patches(root: Path, count: int = PATCHES) -> None:
    """Patches of BigEarthNet v1 on a lattice."""
    if (root / "complete").exists():
        return
    chance = np.random.default_rng(8)
    labels = ("Pastures", "Mixed forest", "Water bodies", "Rice fields")
    wkt = CRS.from_epsg(32629).to_wkt(version="WKT1_GDAL")
    for number in range(count):
        column, row = number % 40, number // 40
        left, top = 400_000 + 3600 * column, 5_900_040 - 3600 * row
        name = f"S2A_MSIL2A_20170617T113321_{3 * column}_{3 * row}"
        (root / name).mkdir(parents=True, exist_ok=True)
        for band in BAND_FILES:
            side = _COARSER.get(band, 120)
            with rasterio.open(
                root / name / f"{name}_{band}.tif", "w", driver="GTiff", dtype="uint16", count=1, width=side,
                height=side, crs=CRS.from_epsg(32629), transform=from_origin(left, top, 1200 / side, 1200 / side),
            ) as target:  # fmt: skip
                target.write(chance.integers(0, 4000, (1, side, side)).astype("uint16"))
        metadata = {
            "labels": [labels[number % 4], labels[(number // 4) % 4]], "projection": wkt,
            "coordinates": {"ulx": left, "uly": top, "lrx": left + 1200, "lry": top - 1200},
        }  # fmt: skip
        (root / name / f"{name}_labels_metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    (root / "complete").touch()


def command(output: Path, *arguments: object) -> dict[str, float]:
    """Build a training set in a process of its own."""
    shutil.rmtree(output, ignore_errors=True)
    program = [sys.executable, "-m", "thematica", "build-dataset", str(output), *map(str, arguments)]
    done = subprocess.run(
        [sys.executable, "-c", _SMALL_PARENT, *program], capture_output=True, text=True, check=True
    )  # fmt: skip
    wall, peak = map(float, done.stdout.split()[-2:])
    description = TrainingSet(output).description
    samples = sum(description.samples(part) for part in ("train", "validation", "test"))
    left_out = int(description.split["dropped"])
    return {"samples": samples, "wall": wall, "per_second": (samples + left_out) / wall, "peak_mib": peak / 1024}


def timed(work: Callable[[], int]) -> float:
    """Samples per second of something that returns how many it did."""
    begun = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - begun)


def plain_pixels(image: Path, labels: Path, target: Path) -> int:
    """Labelled pixels block by block, saved as they come."""
    count = 0
    with gdal_environment(), rasterio.open(image) as source, rasterio.open(labels) as classes:
        for number, (_, window) in enumerate(source.block_windows(1)):
            codes = classes.read(1, window=window)
            there = codes > 0
            np.save(target / f"{number}.samples.npy", source.read(window=window)[:, there].T)
            np.save(target / f"{number}.labels.npy", codes[there])
            count += int(there.sum())
    return count


def plain_windows(image: Path, places: np.ndarray, target: Path) -> int:
    """Windows one by one, in the order of the image, saved as they come."""
    half, cut = WINDOW // 2, []
    with gdal_environment(), rasterio.open(image) as source:
        for row, col in places:
            window = Window(int(col) - half, int(row) - half, WINDOW, WINDOW)
            cut.append(source.read(window=window, boundless=False))
    whole = [samples for samples in cut if samples.shape == (BANDS, WINDOW, WINDOW)]
    np.save(target / "windows.npy", np.stack(whole))
    return len(cut)


def plain_patches(root: Path, target: Path) -> int:
    """Patches one by one, coarser bands by GDAL's own bilinear."""
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    with gdal_environment():
        for number, folder in enumerate(folders):
            samples = np.empty((len(BAND_FILES), 120, 120), "uint16")
            for place, band in enumerate(BAND_FILES):
                with rasterio.open(folder / f"{folder.name}_{band}.tif") as source:
                    samples[place] = source.read(1, out_shape=(120, 120), resampling=Resampling.bilinear)
            np.save(target / f"{number}.npy", samples)
    return len(folders)


def read_back(folder: Path) -> int:
    """All batches of the training part."""
    return sum(len(batch) for batch in TrainingSet(folder).batches("train", BATCH))


def plain_read_back(folder: Path) -> int:
    """The same arrays, batch by batch in the order of the files."""
    count = 0
    for path in sorted(folder.glob("train-*.samples.npy")):
        samples = np.load(path, mmap_mode="r")
        labels = np.load(path.with_name(path.name.replace("samples", "labels")), mmap_mode="r")
        for start in range(0, len(samples), BATCH):
            count += len(np.array(samples[start : start + BATCH]))
            np.array(labels[start : start + BATCH])
    return count


def measure_dataset() -> dict[str, dict[str, float]]:
    """All figures by the kind of sample."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    image, labels, few = (FOLDER / f"dataset{name}.tif" for name in ("", "-labels", "-few"))
    patches, scratch = FOLDER / "patches", FOLDER / "plain"
    places = make_scene(image, labels, few)
    make_patches(patches)
    cases: dict[str, tuple[tuple[object, ...], Callable[[], int]]] = {
        "pixels": (
            ("--raster", image, "--labels", labels),
            lambda: plain_pixels(image, labels, scratch),
        ),
        "windows": (
            ("--raster", image, "--labels", few, "--kind", "windows", "--size", WINDOW),
            lambda: plain_windows(image, places, scratch),
        ),
        "patches": (
            ("--folder", patches, "--layout", "bigearthnet", "--buffer", 0),
            lambda: plain_patches(patches, scratch),
        ),
    }
    figures = {}
    for name, (arguments, plain) in cases.items():
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        made = FOLDER / f"set-{name}"
        row = command(made, *arguments)
        row["plain_per_second"] = timed(plain)
        row["read_per_second"] = timed(partial(read_back, made))
        row["plain_read_per_second"] = timed(partial(plain_read_back, made))
        figures[name] = row
        shutil.rmtree(made)
        shutil.rmtree(scratch)
    return figures


def table_dataset(figures: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    lines = [
        f"Pixels and windows ({WINDOW}×{WINDOW}): scene {SIDE}² × {BANDS} uint16, every pixel labelled; {PATCHES} "
        "patches of 12 × 120². Samples per second.",
        "",
        "| samples | in the set | wall | building | plain rasterio loop | peak memory | reading back | plain NumPy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in figures.items():
        lines.append(
            f"| {name} | {row['samples']:,} | {row['wall']:.1f} s | **{row['per_second']:,.0f}** | "
            f"{row['plain_per_second']:,.0f} | {row['peak_mib']:,.0f} MiB | **{row['read_per_second']:,.0f}** | "
            f"{row['plain_read_per_second']:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    figures = measure_dataset()
    print(json.dumps(figures, indent=2))
    print(table_dataset(figures))


if __name__ == "__main__":
    main()
