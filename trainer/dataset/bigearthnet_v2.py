"""BigEarthNet v2 (reBEN): patches in a folder per tile, labels and the authors' split in a Parquet table.

``BigEarthNet-S2/<tile>/<patch>/<patch>_B02.tif`` …, with bands as in :mod:`.bigearthnet`; ``metadata.parquet`` has
``patch_id``, ``labels`` (names of the 19 classes) and ``split`` (Clasen et al. 2024, "reBEN: Refined BigEarthNet
Dataset for Remote Sensing Image Analysis").
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
import rasterio.errors
from rasterio._err import CPLE_BaseError  # rasterio.errors has no name for it

from ...errors import InputError, RuntimeMissingError
from ...progress import Monitor
from . import corine
from .bigearthnet import BANDS, GSD, SIDE, BigEarthNet, band_files, files_of, folder_of, patch_folders, used_classes
from .patch_folder import BandReader, LeftOut, PatchGround, fingerprint_of, tell

CLASSES = 19
_PATCH = re.compile(r"S2[ABC]_MSIL2A_\d{8}T\d+_N\d+_R\d+_T\w{5}_\d+_\d+")
_PATCH_OF_V1 = re.compile(r"S2[ABC]_MSIL2A_\d{8}T\d+_\d+_\d+")
_PARTS = {"train": "train", "training": "train", "validation": "validation", "val": "validation", "test": "test"}
_COLUMNS = ("patch_id", "labels", "split")


class BigEarthNetV2(BigEarthNet):
    """Patches of BigEarthNet v2; see :func:`open_bigearthnet_v2`."""

    def locate(self, monitor: Monitor) -> PatchGround | None:
        """See :meth:`.patch_folder.PatchFolder.locate`; a file of each patch is opened."""
        if self.ground is None:
            zones, corners = np.zeros(len(self), np.int32), np.zeros((len(self), 2))
            for number, (folder, name) in enumerate(zip(self.folders, self.names, strict=True)):
                if number % 64 == 0:
                    monitor.check()
                    monitor.progress("Looking where the patches lie", 0.05 + 0.05 * number / len(self))
                try:
                    with rasterio.open(band_files(folder, name)[1]) as band:
                        zones[number] = band.crs.to_epsg() or 0
                        corners[number] = band.transform.c, band.transform.f
                except (rasterio.errors.RasterioIOError, CPLE_BaseError, AttributeError):
                    # Its place is unknown; it is told, and left out, when its pixels are read.
                    continue
            self.ground = PatchGround(zones, corners, SIDE * GSD)
        return self.ground


_PLACES = corine.places_by_name(CLASSES)


@dataclass
class _Found:
    """What is known of the patches, one entry per patch."""

    names: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)
    official: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def take(self, folder: str, table: dict[str, tuple[list[str], str]]) -> str:
        """Take a patch in, or say why not."""
        name = os.path.basename(folder)
        if self.names and name == self.names[-1]:
            return "twice"
        if name not in table:
            return "unlisted"
        labels, part = table[name]
        mark, missing = files_of(folder, name)
        if missing:
            return "incomplete"
        if any(label not in _PLACES for label in labels):
            return "unknown-class"
        kept = sorted({place for label in labels if (place := _PLACES[label]) is not None})
        if not kept:
            return "no-class"
        if part not in _PARTS:
            return "no-part"
        self.names.append(name)
        self.folders.append(folder)
        self.places.append(kept)
        self.official.append(_PARTS[part])
        self.marks.append(f"{name} {kept} {part} {mark}")
        return ""


def open_bigearthnet_v2(
    source: str | Path, reader: BandReader, monitor: Monitor | None = None, every: bool = False
) -> BigEarthNetV2:
    """BigEarthNet v2's patches with their labels and the authors' split.

    Args:
        source: the folder that holds the patches and ``metadata.parquet``, or the folder of the patches beside it.
        reader: reads the bands of a patch.
        monitor: is told of patches that are left out.
        every: keep classes that no patch has, too.

    Raises:
        InputError: no such folder, no metadata, or nothing of BigEarthNet v2 in it.
        RuntimeMissingError: the package that reads Parquet tables is missing.
    """
    monitor = monitor or Monitor()
    root = folder_of(source)
    monitor.stage("Looking for patches", 0.0)
    table = _read_table(_metadata_of(root))
    folders = sorted(patch_folders(root, _PATCH), key=lambda path: os.path.basename(path))
    if not folders:
        raise InputError(_nothing_in(root))
    found = _Found()
    out = LeftOut(
        {
            "unlisted": "metadata.parquet does not list them (snow, clouds or shadow)",
            "incomplete": "a band file is missing or empty",
            "unknown-class": "a label of theirs is none of the 19 classes",
            "no-class": "they have no label",
            "no-part": "metadata.parquet names no part of the split for them",
            "twice": "they are there twice",
        }
    )
    for number, folder in enumerate(folders):
        if number % 256 == 0:
            monitor.check()
            monitor.progress("Looking for patches", 0.05 * number / len(folders))
        reason = found.take(folder, table)
        if reason:
            out.add(reason, os.path.basename(folder))
    findings = out.findings()
    if not found.names:
        raise InputError(f"Of the {len(folders):,} patches in “{source}” none can be used. {findings[0]['message']}")
    absent = len(table) - len(found.names)
    if absent > 0:
        message = f"{absent:,} patches of metadata.parquet are not used or not here."
        findings.append({"code": "absent", "message": message})
    legend, labels, empty = used_classes(CLASSES, found.places, every)
    patches = BigEarthNetV2(
        name="BigEarthNet v2",
        bands=BANDS,
        dtype=np.dtype(np.uint16),
        side=SIDE,
        gsd=GSD,
        legend=legend,
        names=found.names,
        labels=labels,
        official=found.official,
        provenance={
            "layout": "bigearthnet-v2", "source": str(source), "patches": len(found.names), "nomenclature": CLASSES,
            "findings": [*findings, *empty],
            "citation": "Clasen et al. 2024, reBEN: Refined BigEarthNet Dataset for Remote Sensing Image Analysis",
        },
        fingerprint=fingerprint_of(["all", *found.marks] if every else found.marks),
    )  # fmt: skip
    patches.folders, patches.reader = found.folders, reader
    tell(patches, monitor)
    return patches


def _nothing_in(root: Path) -> str:
    if next(patch_folders(root, _PATCH_OF_V1), None):
        return f"“{root}” holds patches of BigEarthNet v1; choose --layout bigearthnet."
    return (
        f"“{root}” holds no patch of BigEarthNet v2: folders such as "
        "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57, with the bands of a patch each, are expected."
    )


def _metadata_of(root: Path) -> Path:
    for folder in (root, root.parent):
        path = folder / "metadata.parquet"
        if path.is_file():
            return path
    if not next(patch_folders(root, _PATCH), None):
        raise InputError(_nothing_in(root))
    raise InputError(
        f"“{root}” has no metadata.parquet, which holds the labels of BigEarthNet v2: put it into the folder of the "
        "patches or beside it."
    )


def _read_table(path: Path) -> dict[str, tuple[list[str], str]]:
    """Labels and part of each patch."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise RuntimeMissingError(
            "The labels of BigEarthNet v2 are a Parquet table, which the package pyarrow reads; install it into the "
            "runtime: python -m pip install pyarrow.",
            repr(error),
        ) from error
    try:
        table = parquet.read_table(path, columns=list(_COLUMNS))
        ids, labels, parts = (table.column(name).to_pylist() for name in _COLUMNS)
        return {
            str(name): ([str(label) for label in held or []], str(part))
            for name, held, part in zip(ids, labels, parts, strict=True)
        }
    except (OSError, arrow.ArrowException, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"“{path}” cannot be read as the metadata of BigEarthNet v2 ({', '.join(_COLUMNS)}): download it again.",
            repr(error),
        ) from error
