"""What the metadata of a product say of its band files: Sentinel-2 SAFE folders, Landsat Collection 2.

The image files themselves do not hold scale, offset and nodata.  Facts of the formats: ESA, Sentinel-2 Products
Specification Document (S2-PDGS-TAS-DI-PSD); USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

from ..errors import InputError
from .bands import SENTINEL2_BANDS, band_in_file_name, normalise_name

_SENTINEL2_METADATA = ("MTD_MSIL*.xml", "*_MTD_SAFL*.xml")
_MOST_METADATA = 64 << 20


@dataclass(frozen=True)
class BandFile:
    """A raster file, and what its product says of it.

    Args:
        path: of the file.
        scale, offset: from stored to physical values.
        nodata: stored value of missing pixels, or None.
    """

    path: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None


def with_metadata(path: str) -> BandFile:
    """What the product of a band file says of it; nothing where it is of none.

    Raises:
        InputError: the metadata cannot be read.
    """
    place = Path(path)
    # os.path: a name that is too long for a file is no error there.
    if "://" in path or path.startswith("/vsi") or not os.path.isfile(path):
        return BandFile(path)
    name = band_in_file_name(place.name)
    if name is None:
        return BandFile(path)
    if re.search(r"(?i)(^|_)(T\d{2}[A-Z]{3}_\d{8}T\d{6}|S2[A-D]_OPER_MSI_L1C_TL_\w+)_B", place.name):
        for folder in _product_folders(place):
            found = _first(sorted(folder.glob(pattern)) for pattern in _SENTINEL2_METADATA)
            if found is not None:
                scale, offsets = _sentinel2(found)
                # No sensor measures a reflectance of exactly nothing: 0 is what lies beyond the swath.
                return BandFile(path, scale, offsets.get(normalise_name(name), 0.0) * scale, 0.0)
    landsat = re.match(r"(?i)(L[CTEO]\d{2}_L[12]\w+?)_(?:S[RT]_)?B\d", place.name)
    if landsat:
        found = _first([place.with_name(f"{landsat.group(1)}_MTL{end}")] for end in (".txt", ".xml"))
        if found is not None:
            return _landsat(path, name, _landsat_metadata(found))
    return BandFile(path)


def _product_folders(band: Path) -> Iterator[Path]:
    """Where the metadata of a Sentinel-2 band file can lie: beside it, or at the top of its SAFE folder."""
    yield band.parent
    # GRANULE/L2A_T32UNU_…/IMG_DATA/R10m
    for folder in list(band.absolute().parents)[:2]:
        if folder.name == "IMG_DATA" and folder.parent.parent.name == "GRANULE":
            yield folder.parent.parent.parent


def _first(candidates: Iterable[Sequence[Path]]) -> Path | None:
    return next((path for paths in candidates for path in paths if path.is_file()), None)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_METADATA:
            raise ValueError("too large for metadata")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"The product's metadata “{path}” cannot be read, and with them scale and offset: download the product again, "
        "or take the band files out of it and give --scale and --offset.",
        repr(error),
    )


@lru_cache(maxsize=8)
def _sentinel2(path: Path) -> tuple[float, dict[str, float]]:
    """The factor to reflectance, and the number to add to each band's stored values before."""
    try:
        values: dict[str, list[tuple[str | None, float]]] = {}
        for element in ElementTree.fromstring(_text(path)).iter():
            tag = element.tag.rpartition("}")[2]
            if tag in ("BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE", "BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"):
                values.setdefault(tag, []).append((element.get("band_id"), float(element.text or "")))
        divisor = (values.get("BOA_QUANTIFICATION_VALUE") or values["QUANTIFICATION_VALUE"])[0][1]
        names = [normalise_name(name) for name in SENTINEL2_BANDS]
        offsets = {
            names[int(band or "")]: offset
            for tag in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
            for band, offset in values.get(tag, [])
        }
        if not all(map(math.isfinite, (1 / divisor, *offsets.values()))):
            raise ValueError("numbers that are not finite")
        return 1 / divisor, offsets
    except (ElementTree.ParseError, KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise _unreadable(path, error) from error


@lru_cache(maxsize=8)
def _landsat_metadata(path: Path) -> dict[tuple[str, str], str]:
    """The entries of an MTL file by group and name."""
    entries: dict[tuple[str, str], str] = {}
    if path.suffix.lower() == ".xml":
        try:
            root = ElementTree.fromstring(_text(path))
        except ElementTree.ParseError as error:
            raise _unreadable(path, error) from error
        return {(group.tag, entry.tag): (entry.text or "").strip() for group in root for entry in group}
    group = ""
    for line in _text(path).splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            group = value
        entries[group, key] = value.strip('"')
    return entries


def _landsat(path: str, name: str, metadata: dict[tuple[str, str], str]) -> BandFile:
    number = re.sub(r"(?i)^(?:s[rt]_)?b0*", "", name)
    kinds = [
        ("LEVEL1_RADIOMETRIC_RESCALING", "REFLECTANCE", f"BAND_{number}"),
        ("LEVEL1_RADIOMETRIC_RESCALING", "RADIANCE", f"BAND_{number}"),
    ]
    if name.upper().startswith("SR_"):
        kinds = [("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE", f"BAND_{number}")]
    elif name.upper().startswith("ST_"):
        kinds = [("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", "TEMPERATURE", f"BAND_ST_B{number}")]
    for group, quantity, band in kinds:
        try:
            factor, offset = (float(metadata[group, f"{quantity}_{part}_{band}"]) for part in ("MULT", "ADD"))
        except (KeyError, ValueError):
            continue
        if math.isfinite(factor) and math.isfinite(offset) and factor:
            return BandFile(path, factor, offset, 0.0)
    # Metadata of another processing: the numbers are taken as they are, and checked against the model's range.
    return BandFile(path)
