"""Accuracy on polygons that were not trained on: networks in cross-validation over whole polygons.

``python tools/polygon_folds.py RASTER LABELS FIELD --networks svm mlp`` makes a training set of each fold, as an
analyst would (``thematica build-dataset``), trains on it (``thematica train``) and counts what the fold's test polygons
are called.  Seeds of ``--split polygons`` would not do: where classes have few polygons, many seeds choose the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyogrio
from sklearn.model_selection import StratifiedKFold

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "build" / "pkg"))

from thematica.cli.main import main as thematica  # noqa: E402


def parts_of(classes: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """For each fold the part of each polygon: 0 to train, 1 to validate, 2 to test.

    Of each class with three polygons left or more, one validates.
    """
    chance = np.random.default_rng(seed)
    found = []
    for _, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(classes, classes):
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


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("raster")
    parser.add_argument("labels")
    parser.add_argument("field")
    parser.add_argument("--networks", nargs="+", default=["random-forest", "svm", "gradient-boosting", "mlp"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in options.networks}
    with TemporaryDirectory() as place:
        folder = Path(place)
        info, _, shapes, fields = pyogrio.raw.read(options.labels)
        column = list(info["fields"]).index(options.field)
        kind, crs = info["geometry_type"], info["crs"]
        classes = fields[column].astype(str)
        for repeat in range(options.repeats):
            confusion: dict[str, np.ndarray | int] = dict.fromkeys(options.networks, 0)
            for fold, parts in enumerate(parts_of(classes, options.folds, repeat)):
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
                    run("train", data, "--network", network)
                    told = json.loads((Path(data) / "runs" / network / "training.json").read_text(encoding="utf-8"))
                    confusion[network] = confusion[network] + np.array(told["confusion"])
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
