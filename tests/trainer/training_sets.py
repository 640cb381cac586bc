"""Small training sets, written by hand from arrays: the trainer's tests do not depend on the builder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

PARTS = ("train", "validation", "test")


def write_set(
    folder: Path,
    samples: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    *,
    kind: str,
    classes: int,
    shards: int = 3,
    scale: float = 1.0,
    ignore_index: int | None = None,
) -> Path:
    """A training set whose parts have these samples and labels."""
    folder.mkdir(parents=True)
    first = samples["train"]
    several = next(iter(labels.values())).ndim == 2
    task = "segmentation" if kind == "chips" else "multi-label" if several else "single-label"
    bands = first.shape[1]
    values = np.moveaxis(first.astype(float), 1, 0).reshape(bands, -1) * scale
    found = {}
    for part in samples:
        found[part] = []
        for number, chosen in enumerate(np.array_split(np.arange(len(samples[part])), shards)):
            if not len(chosen):
                continue
            arrays = {
                "samples": samples[part][chosen],
                "labels": labels[part][chosen],
                "places": np.zeros(
                    len(chosen),
                    [("name", "<i4")]
                    if kind == "patches"
                    else [("scene", "<u2"), ("row", "<i4"), ("col", "<i4"), ("shape", "<i4")],
                ),
            }
            entry = {"file": f"{part}-{number:05}", "samples": len(chosen), "bytes": {}, "sha256": {}}
            for name, array in arrays.items():
                path = folder / f"{entry['file']}.{name}.npy"
                np.save(path, array)
                entry["bytes"][name] = path.stat().st_size
                entry["sha256"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
            found[part].append(entry)
    counts = {part: counted(labels[part], classes, task, ignore_index) for part in samples}
    total = np.maximum(counts["train"], 1)
    weights = total.sum() / (classes * total)
    statistics = {
        "mean": values.mean(axis=1),
        "std": values.std(axis=1),
        "minimum": values.min(axis=1),
        "maximum": values.max(axis=1),
        "p01": np.percentile(values, 1, axis=1),
        "p99": np.percentile(values, 99, axis=1),
    }
    description = {
        "thematica_dataset": 1,
        "kind": kind,
        "task": task,
        "shape": list(first.shape[1:]),
        "dtype": first.dtype.name,
        "label_dtype": labels["train"].dtype.name,
        "bands": [
            {
                "name": f"B{number + 1}", "common_name": "", "wavelength": None, "unit": "reflectance", "width": None,
                "scale": scale, "offset": 0.0, "nodata": None,
            }
            for number in range(bands)
        ],
        "gsd": 10.0,
        "ignore_index": ignore_index,
        "classes": [
            {
                "code": place + 1, "name": f"class {place + 1}", "color": f"#{place * 20 + 10:02x}5080", "macro": "",
                "weight": float(weights[place]), "samples": {part: int(counts[part][place]) for part in samples},
            }
            for place in range(classes)
        ],
        "split": {"method": "blocks", "seed": 1, "optimistic": False},
        "statistics": {name: [float(value) for value in numbers] for name, numbers in statistics.items()},
        "scenes": [],
        "findings": [],
        "options": {},
        "fingerprint": hashlib.sha256(first.tobytes()).hexdigest(),
        "names": "",
        "shards": found,
        "created": "2026-01-01T00:00:00Z",
        "software": "test",
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def counted(labels: np.ndarray, classes: int, task: str, ignore_index: int | None) -> np.ndarray:
    if task == "multi-label":
        return labels.sum(axis=0)
    flat = labels.ravel()
    if ignore_index is not None:
        flat = flat[flat != ignore_index]
    return np.bincount(flat.astype(int), minlength=classes)


def spectra(folder: Path, count: int = 600, bands: int = 4, classes: int = 3, seed: int = 0) -> Path:
    """Pixels of classes that lie apart, with some noise: a linear rule finds nine of ten."""
    chance = np.random.default_rng(seed)
    middle = chance.uniform(1000, 4000, (classes, bands))
    samples, labels = {}, {}
    for part, share in zip(PARTS, (1, 0.3, 0.3), strict=True):
        places = chance.integers(0, classes, int(count * share))
        samples[part] = (middle[places] + chance.normal(0, 300, (len(places), bands))).astype(np.uint16)
        labels[part] = places.astype(np.int16)
    return write_set(folder, samples, labels, kind="pixels", classes=classes, scale=0.0001)
