"""An image without a model: the bands of one or several rasters, and what each of them is.

Bands of classes or masks stand beside the image's bands in many files.  They are left out unless they are asked for:
where the file calls them so (``SCL``, ``Fmask``, a colour table, class names), where the sensor's preset does, and
where nothing says what a band is, the file's other bands are known, and it holds but a few small whole numbers (band 8
of a Landsat stack without a description: an Fmask).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from ..errors import InputError
from ..models.bands import (
    SENSORS,
    Band,
    BandMatch,
    identify_bands,
    is_categorical_name,
    named_by_file,
    normalise_name,
    says_nothing,
)
from ..models.fit import RasterFacts
from .opening import READ_ERRORS, damaged
from .raster import RasterSource, gdal_environment
from .raster_legend import has_names
from .scene import parse_crs

# A mask has no more different values than this, and none greater; and so much of a file is looked at to find out.
_MOST_VALUES, _HIGHEST_VALUE = 16, 255
_SAMPLE_SIDE = 128
# In a file of more bands (hyperspectral, a time series) a few that are constant are no masks.
_MOST_BANDS = 20
_LONGEST_NAME = 48
_MOST_NAMED = 12


@dataclass
class Image:
    """Rasters ready to be read, without a model.

    Args:
        source: the rasters, with the bands chosen.
        bands: what each band is, as far as it is known; every one has a name of its own.
        scales: declared scale and offset of each: physical value = stored value × scale + offset.
        nodata: stored value of missing samples of each, or None.
        warnings: sentences for the analyst.
        numbers: file and band of each, from 1.
        named: whether each has its name from what it is; else its file's is made one, which another date has not.
    """

    source: RasterSource
    bands: list[Band]
    scales: list[tuple[float, float]]
    nodata: list[float | None]
    warnings: list[str]
    numbers: list[tuple[int, int]]
    named: list[bool]


@dataclass(frozen=True)
class _Candidate:
    """A band of a file: its numbers, what it is, and why it is no band of the image, if so."""

    file: int
    band: int
    what: Band
    described: str
    aside: str = ""


@contextmanager
def open_image(
    rasters: Sequence[str | Path],
    *,
    bands: str = "",
    sensor: str | None = None,
    crs: CRS | str | None = None,
    nodata: float | None = None,
    gsd: float | None = None,
    resampling: str | None = None,
    invalid: str = "any",
) -> Iterator[Image]:
    """Open rasters as one image.

    Args:
        rasters: files or folders of products; one of them alone, or several that lie over each other.
        bands: ``1-7``, ``B2,B3,B4``, ``1:3,2:1`` (file:band); numbers count through all files from 1.  Empty: all but
            those of classes and masks.
        sensor: a preset of :data:`..models.bands.SENSORS` that says what unnamed bands are; None: find out.
        crs: replaces that of the first raster, and of every one with the same or with none.
        nodata: replaces the declared nodata of all bands.
        gsd: ground sampling distance of the image in metres; None: that of the finest raster.
        resampling: how rasters on other grids are read; see :class:`.raster.RasterSource`.
        invalid: ``any``: a pixel is missing if any band is; ``all``: only if all are.

    Raises:
        InputError: a raster cannot be read, there is no such band or preset, or the rasters do not lie together.
    """
    if sensor is not None and sensor not in SENSORS:
        raise InputError(f"There is no sensor preset “{sensor}”; known are {', '.join(SENSORS)}.")
    with (
        gdal_environment(),
        RasterSource([str(path) for path in rasters], _crs(crs), nodata, gsd, resampling) as source,
    ):
        facts = source.facts(sample=False)
        for fact in facts:
            if fact.data_type.startswith("c"):
                raise InputError(f"“{fact.path}” holds complex numbers: compute amplitude or backscatter first.")
        warnings: list[str] = []
        candidates = _candidates(source, facts, sensor, warnings)
        chosen = _parse(bands, candidates) if bands.strip() else _images(candidates, warnings)
        source.select([BandMatch(entry.what, entry.file, entry.band, "given") for entry in chosen], invalid)
        yield Image(
            source,
            _with_own_names(chosen, facts),
            [(facts[e.file - 1].scales[e.band - 1], facts[e.file - 1].offsets[e.band - 1]) for e in chosen],
            source.nodata,
            warnings + source.warnings,
            [(entry.file, entry.band) for entry in chosen],
            [bool(entry.what.name) for entry in chosen],
        )


def _crs(crs: CRS | str | None) -> CRS | None:
    return parse_crs(crs) if isinstance(crs, str) else crs


def _candidates(
    source: RasterSource, facts: Sequence[RasterFacts], sensor: str | None, warnings: list[str]
) -> list[_Candidate]:
    """All bands of all files, in their order."""
    result: list[_Candidate] = []
    for number, (fact, dataset) in enumerate(zip(facts, source.datasets, strict=True), start=1):
        name = Path(fact.path.split("|")[0]).name
        bands = named_by_file(fact.bands, name)
        count = sum(band.unit not in ("alpha", "mask") for band in bands)
        preset = sensor if sensor is None or len(facts) == 1 or count == len(SENSORS[sensor]) else None
        known = identify_bands(bands, name, preset)
        reasons = [
            _said_to_be_aside(dataset, place, band, other)
            for place, (band, other) in enumerate(zip(bands, known, strict=True), 1)
        ]
        _find_masks(dataset, bands, known, reasons, warnings)
        for place, (band, other, reason) in enumerate(zip(bands, known, reasons, strict=True), start=1):
            result.append(_Candidate(number, place, _merged(band, other), band.name, reason))
    return result


def _said_to_be_aside(dataset: rasterio.DatasetReader, band: int, stored: Band, known: Band | None) -> str:
    """Why a band is none of the image's, where file or sensor say so; else empty."""
    if stored.unit == "alpha":
        return "transparency"
    if stored.unit == "mask" or (known is not None and known.unit == "mask"):
        return "a mask"
    name = stored.name or (Path(dataset.name).stem if dataset.count == 1 else "")
    if is_categorical_name(name):
        return "classes or flags by its name"
    if dataset.colorinterp[band - 1] == ColorInterp.palette or has_names(dataset, band):
        return "classes with a colour table or names"
    return ""


def _find_masks(
    dataset: rasterio.DatasetReader,
    bands: Sequence[Band],
    known: Sequence[Band | None],
    reasons: list[str],
    warnings: list[str],
) -> None:
    """Add the reason for bands that nothing names and whose values are those of a mask; or warn, where it may be."""
    nameless = [
        p for p, (b, k) in enumerate(zip(bands, known, strict=True)) if k is None and says_nothing(b) and not reasons[p]
    ]
    others = sum(1 for place, reason in enumerate(reasons) if not reason and place not in nameless)
    if not nameless or len(bands) < 2 or len(bands) > _MOST_BANDS:
        return
    like_masks = [place for place in nameless if _is_like_a_mask(dataset, place + 1)]
    if others >= max(2, len(nameless)):
        for place in like_masks:
            reasons[place] = "a mask by its values"
    elif 0 < len(like_masks) < len(nameless):
        listed = ", ".join(str(place + 1) for place in like_masks)
        warnings.append(
            f"Of “{dataset.name}” these bands hold but a few whole numbers, like a mask: {listed}. If they are no part "
            "of the image, choose the others with --bands."
        )


def _is_like_a_mask(dataset: rasterio.DatasetReader, band: int) -> bool:
    """True where a sample of the band's values are a few small whole numbers."""
    found: set[float] = set()
    for window in _sample_windows(dataset.width, dataset.height):
        try:
            values = dataset.read(band, window=window)
        except READ_ERRORS as error:
            raise damaged(dataset.name, error) from error
        different = np.unique(values[np.isfinite(values)] if values.dtype.kind == "f" else values)
        if len(different) > _MOST_VALUES:
            return False
        found.update(float(value) for value in different)
        if len(found) > _MOST_VALUES:
            return False
    nodata = dataset.nodatavals[band - 1]
    found -= {nodata if nodata is not None else -9999.0, -9999.0}
    return all(value.is_integer() and 0 <= value <= _HIGHEST_VALUE for value in found)


def _sample_windows(width: int, height: int) -> list[Window]:
    """A few windows spread over a raster; all of it where it is small."""
    side = _SAMPLE_SIDE
    if width <= 3 * side and height <= 3 * side:
        return [Window(0, 0, width, height)]
    places = (0.1, 0.5, 0.9)
    return [
        Window(int(max(width - side, 0) * x), int(max(height - side, 0) * y), min(side, width), min(side, height))
        for y in places
        for x in places
    ]


def _merged(stored: Band, known: Band | None) -> Band:
    """What the file says of a band, completed by what its sensor's band is."""
    # ENVI's driver appends the wavelength, which stands in its own place.
    name = re.sub(r"\s*\([\d.]+ (micro|nano)meters\)$", "", stored.name, flags=re.IGNORECASE).strip()
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 1]}…"
    if known is None:
        return replace(stored, name=name)
    return replace(
        known,
        common_name=stored.common_name or known.common_name,
        wavelength=stored.wavelength or known.wavelength,
        unit=stored.unit or known.unit,
    )


def _images(candidates: Sequence[_Candidate], warnings: list[str]) -> list[_Candidate]:
    """The bands that are the image's; the others are told."""
    aside = [entry for entry in candidates if entry.aside]
    chosen = [entry for entry in candidates if not entry.aside]
    files = len({entry.file for entry in candidates})
    if not chosen:
        raise InputError(
            f"Every band is left out: {_told(aside, files)}. If it is an image all the same, choose bands with --bands."
        )
    told = [entry for entry in aside if entry.aside != "transparency"]
    if told:
        warnings.append(f"Left out: {_told(told, files)}; take it in with --bands.")
    return chosen


def _told(entries: Sequence[_Candidate], files: int) -> str:
    parts = []
    for entry in entries[:_MOST_NAMED]:
        number = f"{entry.file}:{entry.band}" if files > 1 else str(entry.band)
        parts.append(f"band {number}{f' ({entry.described})' if entry.described else ''}, {entry.aside}")
    return "; ".join([*parts, "…"] if len(entries) > _MOST_NAMED else parts)


def _parse(text: str, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The bands that a list names."""
    chosen: list[_Candidate] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        for entry in _named(part, candidates):
            if entry in chosen:
                raise InputError(f"Band “{part}” is chosen twice in “{text[:80]}”; name every band once.")
            chosen.append(entry)
    if not chosen:
        raise InputError(f"“{text[:80]}” names no band; write --bands 1-4 or --bands B2,B3,B4, for example.")
    return chosen


def _named(part: str, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    numbers = re.fullmatch(r"(?:(\d{1,9})\s*:\s*)?(\d{1,9})(?:\s*-\s*(\d{1,9}))?", part)
    if numbers:
        file, first, last = numbers.groups()
        pool = [entry for entry in candidates if file is None or entry.file == int(file)]
        low, high = int(first), int(last or first)
        if file is not None and not pool:
            raise InputError(
                f"“{part}” names file {file}, but the number of rasters is {candidates[-1].file}; files count from 1."
            )
        if not 1 <= low <= high <= len(pool):
            raise InputError(
                f"“{part}” names a band that is not there: the bands are numbered 1 to {len(pool)}"
                f"{f' in file {file}' if file else ''}."
            )
        return pool[low - 1 : high]
    # A number that is none of the file's is no name either.
    wanted = normalise_name(part) if re.search(r"[^\W\d_]", part) else ""
    for names in (
        lambda entry: (entry.what.name, entry.described),
        lambda entry: (entry.what.common_name,),
    ):
        found = [entry for entry in candidates if wanted and wanted in map(normalise_name, filter(None, names(entry)))]
        if len(found) > 1:
            places = ", ".join(f"{entry.file}:{entry.band}" for entry in found[:_MOST_NAMED])
            raise InputError(f"Several bands are called “{part}”: choose by FILE:BAND, one of {places}.")
        if found:
            return found
    known = [entry.what.name or entry.described for entry in candidates]
    listed = ", ".join([*filter(None, known)][:_MOST_NAMED])
    called = f" or by name ({listed})" if listed else ""
    raise InputError(f"There is no band “{part[:80]}”: choose by number, 1 to {len(candidates)}{called}.")


def _with_own_names(chosen: Sequence[_Candidate], facts: Sequence[RasterFacts]) -> list[Band]:
    """The bands with names, none of which comes twice."""
    files = len({entry.file for entry in chosen})
    result: list[Band] = []
    taken: set[str] = set()
    for entry in chosen:
        fact = facts[entry.file - 1]
        stem = Path(fact.path.split("|")[0]).stem
        name = entry.what.name
        if not name and files > 1:
            name = stem if len(fact.bands) == 1 else f"{stem} {entry.band}"
        name = name or f"Band {entry.band}"
        if name in taken:
            # Two dates of one sensor, say.
            name = (
                f"{name} ({entry.file})"
                if f"{name} ({entry.file})" not in taken
                else f"{name} ({entry.file}:{entry.band})"
            )
        taken.add(name)
        result.append(replace(entry.what, name=name))
    return result
