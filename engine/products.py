"""Products that are delivered as one file per band: Sentinel-2 SAFE folders, Landsat Collection 2, BigEarthNet.

A folder stands for its band files; what the product's metadata say of them: :mod:`..models.products`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..models.bands import band_in_file_name, normalise_name
from ..models.products import BandFile, with_metadata

_IMAGES = (".jp2", ".tif", ".tiff", ".gtif", ".gtiff", ".img", ".vrt")
_WITH_FILE = re.compile(r"(?i)_MTL\.(txt|xml)$|(^|_)MTD_(MSIL|SAFL)\w*\.xml$")


def expand(paths: Sequence[str]) -> list[BandFile]:
    """The raster files behind paths: folders of products give their bands, in the order of the bands' numbers.

    A product's metadata file (``MTD_MSIL2A.xml``, ``…_MTL.txt``) stands for its folder.

    Raises:
        InputError: a folder without bands or with those of several scenes; a file that is named twice; metadata that
            cannot be read.
    """
    files: list[BandFile] = []
    for path in paths:
        place = Path(path)
        # os.path, not Path: a name that is too long for the system, or a VRT as text, is no file, and no error.
        if _WITH_FILE.search(place.name) and os.path.isfile(place):
            place = place.parent
        names = [str(file) for file in _bands_in(place)] if os.path.isdir(place) and not _is_raster(place) else [path]
        files += [with_metadata(name) for name in names]
    seen: set[str] = set()
    for file in files:
        real = str(Path(file.path).resolve()) if os.path.exists(file.path) else file.path
        if real in seen:
            raise InputError(f"“{file.path}” is given twice; name every raster once.")
        seen.add(real)
    return files


def _is_raster(folder: Path) -> bool:
    """True for rasters that are folders themselves: an Esri grid, a Zarr store."""
    return (folder / "hdr.adf").is_file() or folder.suffix.lower() == ".zarr"


def _bands_in(folder: Path) -> list[Path]:
    places = [folder, folder / "IMG_DATA"]
    places += sorted(folder.glob("GRANULE/*/IMG_DATA"))
    places += [deeper for place in places for deeper in sorted(place.glob("R[0-9]*m"))]
    images = [
        file for place in dict.fromkeys(places) if place.is_dir() for file in sorted(place.iterdir())
        if file.suffix.lower() in _IMAGES and file.is_file()
    ]  # fmt: skip
    bands: dict[str, list[Path]] = {}
    for file in images:
        name = band_in_file_name(file.name)
        if name is not None:
            bands.setdefault(normalise_name(name), []).append(file)
    if not bands:
        raise InputError(_nothing_in(folder))
    chosen = {name: _finest(files) for name, files in bands.items()}
    for name, files in chosen.items():
        if len(files) > 1:
            raise InputError(
                f"The folder “{folder}” holds band {name.upper()} more than once ({files[0].name}, {files[1].name}): "
                "name the folder of one scene, or the band files themselves."
            )
    return [chosen[name][0] for name in sorted(chosen, key=_band_order)]


def _nothing_in(folder: Path) -> str:
    if (folder / "measurement").is_dir():
        return (
            f"“{folder}” is a Sentinel-1 product as it comes from the satellite: calibrate it and correct it for the "
            "terrain first (SNAP, or a service that gives such images), then choose the VV and VH rasters."
        )
    return (
        f"The folder “{folder}” holds no band files of a product that is known (such as …_B02.jp2 or …_SR_B4.TIF): "
        "choose the raster files themselves."
    )


def _finest(files: list[Path]) -> list[Path]:
    """Of one band at several resolutions (``_10m``, ``_20m``, ``_60m``) the finest; else all."""
    sizes = [re.search(r"(?i)_(\d+)m$", file.stem) for file in files]
    if not all(sizes):
        return files
    finest = min(int(size.group(1)) for size in sizes if size)
    return [file for file, size in zip(files, sizes, strict=True) if size and int(size.group(1)) == finest]


def _band_order(name: str) -> tuple[str, int, str]:
    """B8 before B8A before B9; SR_B4 before ST_B10; VH before VV."""
    parts = re.fullmatch(r"(.*?)(\d+)(a?)", name)
    return (parts.group(1), int(parts.group(2)), parts.group(3)) if parts else (name, 0, "")
