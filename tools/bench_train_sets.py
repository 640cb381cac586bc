"""The training sets of ``bench_train.py``: made once by ``thematica build-dataset`` from rasters of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio
from bench_dataset import make_patches
from rasterio.transform import from_origin

FOLDER = Path("build/bench/train")
CLASSES, FIELD = 5, 32
_NAMES = ("AnnualCrop", "Forest", "Highway", "Pasture", "River")


def make_scene(folder: Path, side: int, bands: int, labelled: int) -> tuple[Path, Path]:
    """Fields of five classes with noise, and the classes of so many of its pixels; returns the paths of both."""
    image, labels = folder / f"scene-{bands}.tif", folder / f"labels-{bands}.tif"
    chance = np.random.default_rng(11)
    fields = chance.integers(1, CLASSES + 1, (side // FIELD, side // FIELD)).astype("uint8")
    codes = np.kron(fields, np.ones((FIELD, FIELD), "uint8"))
    spectra = chance.uniform(1000, 4000, (bands, CLASSES + 1))
    profile = {
        "driver": "GTiff", "width": side, "height": side, "tiled": True, "blockxsize": 128, "blockysize": 128,
        "crs": "EPSG:32632", "transform": from_origin(500000, 5500000, 10, 10),
    }  # fmt: skip
    with rasterio.open(image, "w", count=bands, dtype="uint16", **profile) as target:
        for band in range(bands):
            values = spectra[band][codes] * chance.normal(1, 0.2, codes.shape)
            target.write(np.clip(values, 0, 65535).astype("uint16"), band + 1)
    hidden = chance.permutation(side * side)[labelled:]
    codes.reshape(-1)[hidden] = 0
    with rasterio.open(labels, "w", count=1, dtype="uint8", **profile) as target:
        target.write(codes, 1)
    return image, labels


def make_pictures(root: Path, count: int) -> None:
    """Patches of 64 × 64 in EuroSAT's layout."""
    chance = np.random.default_rng(12)
    for name in _NAMES:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(1, count // len(_NAMES) + 1):
            values = chance.integers(0, 255, (3, 64, 64), np.uint8)
            with rasterio.open(
                root / name / f"{name}_{number}.jpg", "w", driver="JPEG", width=64, height=64, count=3, dtype="uint8"
            ) as target:
                target.write(values)


def make_set(kind: str, small: bool = False) -> Path:
    """The folder of a training set, made anew where it is not there.

    Args:
        kind: ``pixels``, ``windows``, ``chips``, ``patches`` (64², 3 bands, one label) or ``multi-label`` (120², 12
            bands).
        small: as few samples as a trial needs.
    """
    made = FOLDER / f"{kind}{'-small' if small else ''}"
    if (made / "dataset.json").exists():
        return made
    source = FOLDER / f"{made.name}-source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    more: tuple[object, ...]
    if kind == "patches":
        make_pictures(source / "pictures", 100 if small else 1500)
        more = ("--folder", source / "pictures", "--layout", "eurosat")
    elif kind == "multi-label":
        make_patches(source / "patches", 40 if small else 80)
        more = ("--folder", source / "patches", "--layout", "bigearthnet", "--buffer", 0, "--split", "random")
    else:
        side, bands, labelled, size = {
            "pixels": (1024, 10, 1024 * 1024, ()),
            "windows": (256, 100, 10_000, ("--size", 7)),
            "chips": (1024, 10, 1024 * 1024, ("--size", 128)),
        }[kind]
        if small:
            side, labelled = (512, side * side) if kind == "chips" else (128, 1000)
        image, labels = make_scene(source, side, bands, labelled)
        more = ("--raster", image, "--labels", labels, "--kind", kind, *size, "--buffer", "0px")
    command = [sys.executable, "-m", "thematica", "build-dataset", str(made), "--overwrite", "--progress", "none"]
    run = subprocess.run([*command, *map(str, more)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        raise SystemExit(f"the training set {kind} was not made:\n{run.stdout}")
    shutil.rmtree(source)
    return made
