"""Accuracy on polygons that were not trained on: networks in cross-validation over whole polygons.

``python tools/polygon_folds.py RASTER LABELS FIELD --networks svm mlp`` makes a training set of each fold, as an
analyst would (``thematica build-dataset``), trains on it (``thematica train``) and counts what the fold's test polygons
are called.  Seeds of ``--split polygons`` would not do: where classes have few polygons, many seeds choose the same.

Folds are stratified by class, or with ``--group`` those of scikit-learn's ``GroupKFold``, which deals the polygons out
by their numbers of pixels alone; there is one such division, and each repeat is another seed of the network.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyogrio
from sklearn.model_selection import GroupKFold, StratifiedKFold

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "build" / "pkg"))

from thematica.cli.main import main as thematica  # noqa: E402
from thematica.trainer.dataset.read import TrainingSet  # noqa: E402


def parts_of(classes: np.ndarray, folds: int, seed: int, pixels: np.ndarray | None) -> list[np.ndarray]:
    """For each fold the part of each polygon: 0 to train, 1 to validate, 2 to test.

    Of each class with three polygons left or more, one validates.

    Args:
        classes: of each polygon.
        folds: how many.
        seed: settles which polygon is where.
        pixels: of each polygon: folds of about as many pixels; None: of all classes.
    """
    chance = np.random.default_rng(seed)
    if pixels is None:
        tests = [test for _, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(classes, classes)]
    else:
        owner = np.repeat(np.arange(len(classes)), pixels)
        tests = [np.unique(owner[test]) for _, test in GroupKFold(folds).split(owner, owner, owner)]
    found = []
    for test in tests:
        parts = np.zeros(len(classes), int)
        parts[test] = 2
        for name in np.unique(classes):
            left = np.flatnonzero((classes == name) & (parts == 0))
            if len(left) >= 3:
                parts[chance.choice(left)] = 1
        found.append(parts)
    return found


def run(*arguments: str) -> None:
    """A command of Thematica, which must go well."""
    if thematica([*arguments, "--progress", "none"]):
        raise SystemExit(f"thematica {' '.join(arguments)} failed")


def count_pixels(folder: Path, raster: str, labels: str, field: str, polygons: int) -> np.ndarray:
    """How many pixels each polygon has."""
    run("build-dataset", str(folder), "--raster", raster, "--labels", labels, "--field", field, "--split", "random")
    data = TrainingSet(folder)
    shapes = [np.array(shard.places["shape"]) for part in data.description.shards for shard in data.arrays(part)]
    return np.bincount(np.concatenate(shapes), minlength=polygons)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("raster")
    parser.add_argument("labels")
    parser.add_argument("field")
    parser.add_argument("--networks", nargs="+", default=["random-forest", "svm", "gradient-boosting", "mlp"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--group", action="store_true", help="folds of GroupKFold instead of stratified ones")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes every recipe")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in options.networks}
    with TemporaryDirectory() as place:
        folder = Path(place)
        info, _, shapes, fields = pyogrio.raw.read(options.labels)
        column = list(info["fields"]).index(options.field)
        kind, crs = info["geometry_type"], info["crs"]
        classes = fields[column].astype(str)
        pixels = None
        if options.group:
            pixels = count_pixels(folder / "all", options.raster, options.labels, options.field, len(classes))
        changes = [word for change in options.set for word in ("--set", change)]
        for repeat in range(options.repeats):
            confusion: dict[str, np.ndarray | int] = dict.fromkeys(options.networks, 0)
            for fold, parts in enumerate(parts_of(classes, options.folds, repeat, pixels)):
                names = [str(folder / f"{repeat}-{fold}-{part}.gpkg") for part in range(3)]
                for part, name in enumerate(names):
                    chosen = parts == part
                    pyogrio.raw.write(
                        name, shapes[chosen], [classes[chosen]], [options.field], geometry_type=kind, crs=crs,
                        driver="GPKG",
                    )  # fmt: skip
                data = str(folder / f"{repeat}-{fold}")
                run(
                    "build-dataset", data, "--raster", options.raster, "--labels", names[0], "--validation-labels",
                    names[1], "--test-labels", names[2], "--field", options.field, "--buffer", "0",
                )  # fmt: skip
                for network in options.networks:
                    run("train", data, "--network", network, "--set", f"seed={2026 + repeat}", *changes)
                    told = json.loads((Path(data) / "runs" / network / "training.json").read_text(encoding="utf-8"))
                    table = np.array(told["confusion"])
                    confusion[network] = confusion[network] + table
                    missed = table.sum() - np.trace(table)
                    print(repeat, fold, network, f"{missed} of {table.sum()} wrong", file=sys.stderr, flush=True)
            for network in options.networks:
                counts = np.asarray(confusion[network])
                right = np.diag(counts)
                f1 = 2 * right / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)
                found[network].append((right.sum() / counts.sum(), f1.mean()))
                print(repeat, network, *(f"{value:.4f}" for value in found[network][-1]), file=sys.stderr, flush=True)
    print("| network | overall accuracy | macro F1 |\n| --- | --- | --- |")
    for network, values in found.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) if len(values) > 1 else (0, 0)
        cells = " | ".join(f"{one:.3f} ± {other:.3f}" for one, other in zip(mean, spread, strict=True))
        print(f"| `{network}` | {cells} |")


if __name__ == "__main__":
    main()
