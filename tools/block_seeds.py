"""Accuracy on ground that was not trained on: a network of windows, and others on the spectrum, on several splits.

``python tools/block_seeds.py RASTER LABELS OUTDIR`` makes a training set of windows for each seed of the split
(``thematica build-dataset``), trains on it and on a random split (``thematica train --report-optimism``), and trains
networks of pixels on the pixels in the middle of the same windows.  LABELS is a raster of classes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import rasterio

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "build" / "pkg"))

from thematica.cli.main import main as thematica  # noqa: E402
from thematica.trainer.dataset.description import PARTS  # noqa: E402
from thematica.trainer.dataset.read import TrainingSet  # noqa: E402


def run(*arguments: object) -> None:
    """A command of Thematica, which must go well."""
    if thematica([*map(str, arguments), "--progress", "none"]):
        raise SystemExit(f"thematica {' '.join(map(str, arguments))} failed")


def label_rasters(windows: Path, labels: Path) -> list[Path]:
    """For each part a raster with the labels of its windows' middles."""
    data = TrainingSet(windows)
    with rasterio.open(labels) as file:
        profile, codes = file.profile, file.read(1)
    found = []
    for part in PARTS:
        kept = np.zeros_like(codes)
        for arrays in data.arrays(part):
            row, column = arrays.places["row"], arrays.places["col"]
            kept[row, column] = codes[row, column]
        found.append(windows.with_name(f"{windows.name}-{part}.tif"))
        with rasterio.open(found[-1], "w", **profile) as file:
            file.write(kept, 1)
    return found


def read(folder: Path) -> dict:
    """What a run tells of itself."""
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("raster", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("outdir", type=Path, help="what is there already is not made again")
    parser.add_argument("--size", type=int, default=5, help="side of a window")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--network", default="cnn3d", help="of windows")
    parser.add_argument("--others", nargs="*", default=["random-forest", "svm", "mlp"], help="networks of pixels")
    options = parser.parse_args()
    options.outdir.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in options.seeds:
        windows = options.outdir / f"windows-{seed}"
        run(
            "build-dataset", windows, "--raster", options.raster, "--labels", options.labels, "--kind", "windows",
            "--size", options.size, "--seed", seed,
        )  # fmt: skip
        place = options.outdir / f"{options.network}-{seed}"
        if not (place / "training.json").exists():
            run("train", windows, "--network", options.network, "--report-optimism", "--output", place)
        told = read(place)["optimism"]
        for title, split in ((options.network, "blocked"), (f"{options.network}, split at random", "random")):
            figures = told["overall accuracy"][split], told["macro F1"][split]
            found.setdefault(title, []).append(figures)
        pixels = options.outdir / f"pixels-{seed}"
        if not (pixels / "dataset.json").exists():
            train, validation, test = label_rasters(windows, options.labels)
            run(
                "build-dataset", pixels, "--raster", options.raster, "--labels", train, "--validation-labels",
                validation, "--test-labels", test, "--buffer", "0px",
            )  # fmt: skip
        for network in options.others:
            place = options.outdir / f"{network}-{seed}"
            if not (place / "training.json").exists():
                run("train", pixels, "--network", network, "--output", place)
            figures = read(place)["metrics"]
            found.setdefault(network, []).append((figures["overall accuracy"], figures["macro F1"]))
    print("| network | overall accuracy | macro F1 |\n| --- | --- | --- |")
    for network, values in found.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) if len(values) > 1 else (0, 0)
        cells = " | ".join(f"{one:.3f} ± {other:.3f}" for one, other in zip(mean, spread, strict=True))
        print(f"| `{network}` | {cells} |")


if __name__ == "__main__":
    main()
