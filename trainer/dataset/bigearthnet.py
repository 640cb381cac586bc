"""BigEarthNet v1: a folder per patch, with 12 Sentinel-2 bands in files of their own and the labels in JSON.

``<patch>/<patch>_B02.tif`` …: 120×120 pixels of 10 m, 60×60 of 20 m, 20×20 of 60 m; ``<patch>_labels_metadata.json``
has CORINE's names, the upper left corner and the UTM zone (Sumbul et al. 2019, "BigEarthNet", IGARSS; with 19 classes:
:mod:`.corine`).  Sentinel-1's folders beside them are passed over.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...models.bands import SENSORS
from ...models.label_classes import LabelClass
from ...progress import Monitor
from . import corine
from .patch_folder import BandReader, LeftOut, PatchFolder, PatchGround, fingerprint_of, tell
from .scene import SceneBand

SIDE = 120
GSD = 10.0
#: Ends of the files' names, in the order of the bands.
BAND_FILES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
BANDS = tuple(SceneBand(replace(band, unit="reflectance"), 1e-4) for band in SENSORS["sentinel2-l2a"])

_PATCH = re.compile(r"S2[ABC]_MSIL2A_(\d{8})T\d+_\d+_\d+")
_PATCH_OF_V2 = re.compile(r"S2[ABC]_MSIL2A_\d{8}T\d+_N\d+_R\d+_T\w{5}_\d+_\d+")
_RADAR = re.compile(r"S1[AB]_IW_GRDH_")
_EPSG = re.compile(r'AUTHORITY\["EPSG","(\d+)"\]\]\s*$')
_METADATA = "_labels_metadata.json"
# Folders above the patches: the archive's own, and what it was unpacked into.
_DEEPEST = 4


class BigEarthNet(PatchFolder):
    """Patches of BigEarthNet; see :func:`open_bigearthnet` and :mod:`.bigearthnet_v2`.

    Attributes:
        folders: (n,) where the files of each patch lie.
        reader: brings the bands of a patch to the grid of 10 m.
    """

    folders: list[str]
    reader: BandReader

    def read(self, number: int) -> np.ndarray:
        """See :meth:`.patch_folder.PatchFolder.read`."""
        samples = self.reader(band_files(self.folders[number], self.names[number]))
        if samples.shape != (len(BANDS), SIDE, SIDE):
            raise InputError(
                f"The bands of “{self.names[number]}” have {samples.shape[1]}×{samples.shape[2]} pixels, not "
                f"{SIDE}×{SIDE}."
            )
        return samples.astype(self.dtype, copy=False)


def band_files(folder: str, patch: str) -> list[str]:
    """The files of a patch, in the order of :data:`BANDS`."""
    return [os.path.join(folder, f"{patch}_{band}.tif") for band in BAND_FILES]


@dataclass
class _Found:
    """What the metadata of the patches say, one entry per patch."""

    names: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)
    zones: list[int] = field(default_factory=list)
    corners: list[tuple[float, float]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)


def open_bigearthnet(
    source: str | Path, reader: BandReader, classes: int = 19, monitor: Monitor | None = None, every: bool = False
) -> BigEarthNet:
    """BigEarthNet v1's patches with their labels.

    Args:
        source: the folder of the patches' folders, or one above.
        reader: reads the bands of a patch.
        classes: 19, or CORINE's 43.
        monitor: is told of patches that are left out.
        every: keep classes that no patch has, too.

    Raises:
        InputError: no such folder, nothing of BigEarthNet v1 in it, or no patch with labels.
    """
    monitor = monitor or Monitor()
    root = folder_of(source)
    monitor.stage("Looking for patches", 0.0)
    folders = sorted(patch_folders(root, _PATCH), key=lambda path: os.path.basename(path))
    if not folders:
        raise InputError(_nothing_in(root))
    found, findings = _read_metadata(folders, corine.places_by_name(classes), monitor)
    if not found.names:
        raise InputError(f"Of the {len(folders):,} patches in “{source}” none can be used. {findings[0]['message']}")
    legend, labels, empty = used_classes(classes, found.places, every)
    patches = BigEarthNet(
        name=f"BigEarthNet v1, {classes} classes",
        bands=BANDS,
        dtype=np.dtype(np.uint16),
        side=SIDE,
        gsd=GSD,
        legend=legend,
        names=found.names,
        labels=labels,
        ground=PatchGround(np.array(found.zones, np.int32), np.array(found.corners, float), SIDE * GSD),
        provenance={
            "layout": "bigearthnet", "source": str(source), "patches": len(found.names), "nomenclature": classes,
            "findings": [*findings, *empty],
            "citation": "Sumbul et al. 2021, BigEarthNet-MM, IEEE Geoscience and Remote Sensing Magazine 9(3), 174–180",
        },
        fingerprint=fingerprint_of([f"{classes} all" if every else str(classes), *found.marks]),
    )  # fmt: skip
    patches.folders, patches.reader = found.folders, reader
    tell(patches, monitor)
    return patches


def folder_of(source: str | Path) -> Path:
    """The folder that was named.

    Raises:
        InputError: there is none.
    """
    root = Path(source)
    if root.is_dir():
        return root
    if root.exists():
        raise InputError(f"“{source}” is a file: unpack BigEarthNet's archive, and name the folder of its patches.")
    raise InputError(f"There is no folder “{source}”; check the path.")


def patch_folders(root: Path, pattern: re.Pattern[str], deepest: int = _DEEPEST) -> Iterator[str]:
    """The folders whose names are those of patches, wherever they lie under ``root``."""
    if pattern.fullmatch(root.name):
        yield str(root)
        return
    try:
        with os.scandir(root) as entries:
            folders = [entry for entry in entries if entry.is_dir()]
    except OSError:
        # What may not be read is not there.
        return
    for entry in folders:
        if pattern.fullmatch(entry.name):
            yield entry.path
        elif deepest > 1 and not _RADAR.match(entry.name):
            yield from patch_folders(Path(entry.path), pattern, deepest - 1)


def _nothing_in(root: Path) -> str:
    if next(patch_folders(root, _PATCH_OF_V2), None):
        return f"“{root}” holds patches of BigEarthNet v2; choose --layout bigearthnet-v2."
    if next(patch_folders(root, re.compile(_RADAR.pattern + ".*")), None):
        return f"“{root}” holds Sentinel-1 patches only; name the folder of BigEarthNet's Sentinel-2 patches."
    return (
        f"“{root}” holds no patch of BigEarthNet v1: folders such as S2A_MSIL2A_20170617T113321_36_85, with the bands "
        "and labels of a patch each, are expected."
    )


def _read_metadata(
    folders: list[str], places: dict[str, int | None], monitor: Monitor
) -> tuple[_Found, list[dict[str, Any]]]:
    """Labels and places of the patches, and findings about those that are left out."""
    found = _Found()
    strange: set[str] = set()
    out = LeftOut(
        {
            "no-class": "none of their classes is among the 19",
            "unknown-class": "a label of theirs is none of BigEarthNet's",
            "damaged": "their labels cannot be read",
            "incomplete": "a band file is missing or empty",
            "twice": "they are there twice",
        }
    )
    for number, folder in enumerate(folders):
        if number % 256 == 0:
            monitor.check()
            monitor.progress("Reading labels", 0.05 * number / len(folders))
        name = os.path.basename(folder)
        if found.names and name == found.names[-1]:
            out.add("twice", name)
            continue
        mark, missing = files_of(folder, name)
        if missing:
            out.add("incomplete", name)
            continue
        try:
            metadata = json.loads(Path(folder, name + _METADATA).read_text(encoding="utf-8"))
            labels = [str(label) for label in metadata["labels"]]
            corner = float(metadata["coordinates"]["ulx"]), float(metadata["coordinates"]["uly"])
            zone = int(_EPSG.search(metadata["projection"]).group(1))  # type: ignore[union-attr]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            out.add("damaged", name)
            continue
        unknown = [label for label in labels if label not in places]
        if unknown:
            strange.update(unknown)
            out.add("unknown-class", name)
            continue
        kept = sorted({place for label in labels if (place := places[label]) is not None})
        if not kept:
            out.add("no-class", name)
            continue
        found.names.append(name)
        found.folders.append(folder)
        found.places.append(kept)
        found.zones.append(zone)
        found.corners.append(corner)
        found.marks.append(f"{name} {kept} {mark}")
    if strange:
        out.reasons["unknown-class"] += ", such as " + ", ".join(f"“{label}”" for label in sorted(strange)[:3])
    return found, out.findings()


def files_of(folder: str, patch: str) -> tuple[str, bool]:
    """Sizes and times of a patch's files as text, and whether a band is missing or empty."""
    try:
        with os.scandir(folder) as entries:
            states = {entry.name: entry.stat() for entry in entries}
    except OSError:
        return "", True
    missing = any(
        f"{patch}_{band}.tif" not in states or not states[f"{patch}_{band}.tif"].st_size for band in BAND_FILES
    )
    return " ".join(f"{name}:{state.st_size}:{state.st_mtime_ns}" for name, state in sorted(states.items())), missing


def used_classes(
    classes: int, places: list[list[int]], every: bool = False
) -> tuple[list[LabelClass], np.ndarray, list[dict[str, Any]]]:
    """The classes that occur (or all), the labels (n, K) as 0 and 1, and a finding about classes that do not."""
    legend = corine.legend(classes)
    labels = np.zeros((len(places), len(legend)), np.uint8)
    for row, held in zip(labels, places, strict=True):
        row[held] = 1
    used = labels.max(axis=0) > 0
    absent = [entry.name for entry, here in zip(legend, used, strict=True) if not here]
    findings = []
    if absent:
        findings.append(
            {
                "code": "empty-class",
                "message": f"{len(absent)} of the {len(legend)} classes have no patch"
                + (": no network can learn them." if every else " and were left out of the list."),
                "classes": absent,
            }
        )
    kept = [entry for entry, here in zip(legend, used, strict=True) if here]
    if len(kept) < 2:
        raise InputError(
            f"All patches have the same class only ({kept[0].name}): a training set needs two classes at least."
        )
    if every:
        return legend, labels, findings
    return kept, labels[:, used], findings
