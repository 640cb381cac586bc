"""EuroSAT's layout: a folder or zip with a folder of images per class.

``EuroSAT/<Class>/<Class>_<number>.jpg`` in natural colours, or ``….tif`` with the 13 bands of Sentinel-2 (Helber et al.
2019, "EuroSAT", IEEE JSTARS 12(7)).  The 13 bands stand in the order B1 to B8, B9 to B12, and B8A last
(github.com/phelber/EuroSAT, issue 7), all on a grid of 10 m.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import rasterio
import rasterio.errors
from rasterio._err import CPLE_BaseError  # rasterio.errors has no name for it
from rasterio.io import MemoryFile

from ...errors import InputError
from ...models.bands import SENTINEL2_BANDS
from ...models.label_classes import LabelClass
from ...progress import Monitor
from ..eurosat_split import split_of
from .patch_folder import LeftOut, PatchFolder, PatchGround, fingerprint_of, tell
from .scene import SceneBand

SIDE = 64
GSD = 10.0

#: EuroSAT's folder of each class, in its order: what the analyst reads, and its colour.
CLASSES = {
    "AnnualCrop": ("Annual crop", "#f5e07a"),
    "Forest": ("Forest", "#14532d"),
    "HerbaceousVegetation": ("Herbaceous vegetation", "#8f9a3c"),
    "Highway": ("Highway", "#555560"),
    "Industrial": ("Industrial", "#b565c9"),
    "Pasture": ("Pasture", "#84d672"),
    "PermanentCrop": ("Permanent crop", "#e08e2b"),
    "Residential": ("Residential", "#e0402f"),
    "River": ("River", "#4fb3f0"),
    "SeaLake": ("Sea or lake", "#173f95"),
}

_RGB = ("B4", "B3", "B2")
_ALL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11", "B12", "B8A")
_KINDS = {".jpg": _RGB, ".jpeg": _RGB, ".tif": _ALL, ".tiff": _ALL}
_READ_ERRORS = (
    OSError, zipfile.BadZipFile, zlib.error, rasterio.errors.RasterioIOError, CPLE_BaseError, ValueError,
    # A zip with a password, or compressed in a way that Python does not know.
    RuntimeError,
)  # fmt: skip

_NUMBER = re.compile(r"[0-9]{1,9}")

#: Why a split by names is optimistic, for the description.
WHY_OPTIMISTIC = (
    "EuroSAT's JPEG images have no place on the Earth, so the split goes by their numbers. Patches of one scene lie on "
    "both sides and look alike: accuracy on the test part is higher than on a scene never seen."
)


@dataclass
class _File:
    """An image: its name in the layout, and its size and time in bytes and seconds."""

    name: str
    size: int
    time: str


class _Images:
    """The images of a folder or of a zip, by their names."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._zip: zipfile.ZipFile | None = None
        try:
            if source.is_dir():
                return
            if not source.exists():
                raise InputError(f"There is no folder or zip “{source}”; check the path.")
            self._zip = zipfile.ZipFile(source)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(
                f"“{source}” is neither a folder nor a zip that can be read (or it is cut off): name EuroSAT's zip, or "
                "the folder that it was unpacked to.",
                repr(error),
            ) from error

    def files(self) -> Iterator[_File]:
        """Every image, in whatever order."""
        if self._zip is not None:
            for entry in self._zip.infolist():
                if PurePosixPath(entry.filename).suffix.lower() in _KINDS and not entry.is_dir():
                    yield _File(entry.filename, entry.file_size, str(entry.CRC))
            return
        for folder, _, names in os.walk(self._source):
            for name in names:
                if Path(name).suffix.lower() in _KINDS:
                    path = Path(folder, name)
                    status = path.stat()
                    yield _File(path.relative_to(self._source).as_posix(), status.st_size, str(status.st_mtime_ns))

    def content(self, name: str) -> bytes:
        """The bytes of one file."""
        if self._zip is not None:
            return self._zip.read(name)
        return (self._source / name).read_bytes()

    def close(self) -> None:
        if self._zip is not None:
            self._zip.close()


class EuroSat(PatchFolder):
    """EuroSAT's patches; see :func:`open_eurosat`."""

    _images: _Images

    def read(self, number: int) -> np.ndarray:
        """See :meth:`.patch_folder.PatchFolder.read`."""
        name = self.names[number]
        try:
            with MemoryFile(self._images.content(name)) as file, file.open() as image:
                samples: np.ndarray = image.read()
        except (*_READ_ERRORS, KeyError) as error:
            raise InputError(f"“{name}” cannot be read; it is damaged.", repr(error)) from error
        if samples.shape != (len(self.bands), self.side, self.side):
            raise InputError(
                f"“{name}” has {len(samples)} bands of {samples.shape[1]}×{samples.shape[2]} pixels, not "
                f"{len(self.bands)} of {self.side}×{self.side}."
            )
        if samples.dtype != self.dtype:
            raise InputError(f"“{name}” holds {samples.dtype} numbers, not {self.dtype}.")
        return samples

    def locate(self, monitor: Monitor) -> PatchGround | None:
        """See :meth:`.patch_folder.PatchFolder.locate`: images of 13 bands say it, if all do so in metres."""
        if self.ground is None and len(self.bands) == len(_ALL):
            zones, corners = np.zeros(len(self), np.int32), np.zeros((len(self), 2))
            for number, name in enumerate(self.names):
                if number % 64 == 0:
                    monitor.check()
                    monitor.progress("Looking where the patches lie", 0.05 * number / len(self))
                try:
                    with MemoryFile(self._images.content(name)) as file, file.open() as image:
                        if image.crs is None or not image.crs.is_projected:
                            return None
                        zones[number] = image.crs.to_epsg() or 0
                        corners[number] = image.transform.c, image.transform.f
                except _READ_ERRORS:
                    # Told when its pixels are read.
                    continue
            self.ground = PatchGround(zones, corners, self.side * GSD)
        return self.ground

    def close(self) -> None:
        """Close the zip."""
        self._images.close()


def open_eurosat(source: str | Path, monitor: Monitor | None = None) -> EuroSat:
    """EuroSAT's images, of three or 13 bands.

    Args:
        source: the zip, or the folder that it was unpacked to.
        monitor: is told of images that are left out.

    Raises:
        InputError: no such folder or zip, or nothing of EuroSAT in it.
    """
    monitor = monitor or Monitor()
    images = _Images(Path(source))
    try:
        return _open(Path(source), images, monitor)
    except BaseException:
        images.close()
        raise


def _open(source: Path, images: _Images, monitor: Monitor) -> EuroSat:
    monitor.stage("Looking for patches", 0.0)
    out = LeftOut({"no-class": "they are of none of EuroSAT's classes"})
    files = []
    for file in sorted(images.files(), key=_order):
        if _class_of(file.name):
            files.append(file)
        else:
            out.add("no-class", file.name)
    if not files:
        raise InputError(
            f"“{source}” holds nothing of EuroSAT: images such as Forest/Forest_12.jpg (or .tif) are expected, in "
            f"folders called {', '.join(CLASSES)}."
        )
    bands = {_KINDS[PurePosixPath(file.name).suffix.lower()] for file in files}
    if len(bands) > 1:
        raise InputError(
            f"“{source}” holds EuroSAT in natural colours (.jpg) and with 13 bands (.tif): name the folder of one of "
            "both."
        )
    (order,) = bands
    findings = out.findings()
    present = [label for label in CLASSES if any(_class_of(file.name) == label for file in files)]
    missing = [name for label, (name, _) in CLASSES.items() if label not in present]
    if missing:
        findings.append({"code": "empty-class", "message": f"There is no image of {', '.join(missing)}."})
    if len(present) < 2:
        raise InputError(
            f"“{source}” holds images of one class only ({CLASSES[present[0]][0]}): a training set needs two at least."
        )
    rgb = order == _RGB
    scale = 1.0 if rgb else 1e-4
    unit = "dn" if rgb else "reflectance"
    patches = EuroSat(
        name="EuroSAT" if rgb else "EuroSAT, 13 bands",
        bands=[SceneBand(replace(SENTINEL2_BANDS[name], unit=unit), scale) for name in order],
        dtype=np.dtype(np.uint8 if rgb else np.uint16),
        side=SIDE,
        gsd=GSD,
        legend=[LabelClass(place, *CLASSES[label]) for place, label in enumerate(CLASSES, 1) if label in present],
        names=[file.name for file in files],
        labels=np.array([present.index(_class_of(file.name)) for file in files], np.int16),
    )
    patches._images = images
    patches.fingerprint = fingerprint_of(f"{file.name} {file.size} {file.time}" for file in files)
    patches.provenance = {
        "layout": "eurosat", "source": str(source), "patches": len(files), "findings": findings,
        "citation": "Helber et al. 2019, EuroSAT, IEEE JSTARS 12(7), 2217–2226",
    }  # fmt: skip
    tell(patches, monitor)
    return patches


def _order(file: _File) -> tuple[str, int, str]:
    """By class and number, whatever folders lie above."""
    label, _, number = PurePosixPath(file.name).stem.rpartition("_")
    return label, int(number) if _NUMBER.fullmatch(number) else 0, file.name


def _class_of(name: str) -> str:
    """EuroSAT's word for an image's class; empty for what is none of its images."""
    label, _, number = PurePosixPath(name).stem.rpartition("_")
    return label if label in CLASSES and _NUMBER.fullmatch(number) and int(number) > 0 else ""


def split_by_number(names: Sequence[str], seed: int, validation: float, test: float) -> list[str]:
    """The part of every image by its number: the split that the shipped model was measured on.

    Raises:
        InputError: shares that are no tenths.
    """
    tenths = [round(10 * share) for share in (validation, test)]
    if any(abs(10 * share - whole) > 1e-6 for share, whole in zip((validation, test), tenths, strict=True)):
        raise InputError(
            "EuroSAT is split by tens of images, so --test and --validation must be tenths, such as 0.2 and 0.1."
        )
    return [split_of(PurePosixPath(name).name, seed, *tenths) for name in names]
