"""Spectral bands: what they are called, where they lie, and which raster band feeds which model band.

A band is matched by explicit assignment first, then by name, by common name (STAC ``eo``), by
centre wavelength, and last by position.  Sensor presets name the bands of unnamed products.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Optional

from ..errors import InputError, MisfitError


@dataclass(frozen=True)
class Band:
    """One spectral band of a model or of a raster.

    Args:
        name: the sensor's own name (``B8A``); may be empty for a raster band without description.
        common_name: STAC ``eo:common_name`` (``nir08``), or empty.
        wavelength: centre wavelength in micrometres, or None.
        unit: unit of the values (``reflectance``, ``dn``, ``K``), or empty where unknown.
        width: full width at half maximum in micrometres, or None.
    """

    name: str = ""
    common_name: str = ""
    wavelength: float | None = None
    unit: str = ""
    width: float | None = None


def _sensor(*rows: tuple[str, str, float | None, float | None]) -> tuple[Band, ...]:
    return tuple(Band(name, common, wavelength, "", width) for name, common, wavelength, width in rows)


# Centre wavelength and full width at half maximum in micrometres.  Sentinel-2A: ESA, Sentinel-2 Spectral
# Response Functions v3.1 (COPE-GSEG-EOPG-TN-15-0007).  Landsat: USGS Landsat 7 and 8-9 data users
# handbooks (LSDS-1927, LSDS-1574), band edges halved.
SENTINEL2_BANDS: dict[str, Band] = {
    band.name: band
    for band in _sensor(
        ("B1", "coastal", 0.4427, 0.020),
        ("B2", "blue", 0.4924, 0.066),
        ("B3", "green", 0.5598, 0.036),
        ("B4", "red", 0.6646, 0.031),
        ("B5", "rededge071", 0.7041, 0.015),
        ("B6", "rededge075", 0.7405, 0.015),
        ("B7", "rededge078", 0.7828, 0.020),
        ("B8", "nir", 0.8328, 0.106),
        ("B8A", "nir08", 0.8647, 0.021),
        ("B9", "nir09", 0.9451, 0.020),
        ("B10", "cirrus", 1.3735, 0.031),
        ("B11", "swir16", 1.6137, 0.091),
        ("B12", "swir22", 2.2024, 0.175),
    )
}


def _sentinel2(*names: str) -> tuple[Band, ...]:
    return tuple(SENTINEL2_BANDS[name] for name in names)


_LANDSAT7 = _sensor(
    ("blue", "blue", 0.485, 0.070),
    ("green", "green", 0.560, 0.080),
    ("red", "red", 0.660, 0.060),
    ("nir", "nir", 0.835, 0.130),
    ("swir1", "swir16", 1.650, 0.200),
    ("swir2", "swir22", 2.220, 0.260),
)
_LANDSAT8 = _sensor(
    ("coastal", "coastal", 0.443, 0.016),
    ("blue", "blue", 0.482, 0.060),
    ("green", "green", 0.561, 0.057),
    ("red", "red", 0.655, 0.038),
    ("nir", "nir08", 0.865, 0.028),
    ("swir1", "swir16", 1.609, 0.085),
    ("swir2", "swir22", 2.201, 0.187),
)
_THERMAL = Band("thermal", "lwir", 11.45, "K", 2.1)
_MASK = Band("mask", "", None, "mask")

#: Band orders in which products are commonly delivered without band descriptions.
SENSORS: dict[str, tuple[Band, ...]] = {
    "sentinel2-l1c": _sentinel2("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"),
    "sentinel2-l2a": _sentinel2("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"),
    "sentinel2-10": _sentinel2("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"),
    "sentinel2-4": _sentinel2("B2", "B3", "B4", "B8"),
    "landsat-6": _LANDSAT7,
    "landsat7-8": (*_LANDSAT7, _THERMAL, _MASK),
    "landsat8-7": _LANDSAT8,
}

SENSOR_TITLES: dict[str, str] = {
    "sentinel2-l1c": "Sentinel-2 L1C, 13 bands (B1 … B12)",
    "sentinel2-l2a": "Sentinel-2 L2A, 12 bands (no B10)",
    "sentinel2-10": "Sentinel-2, the ten 10 m and 20 m bands",
    "sentinel2-4": "Sentinel-2, the four 10 m bands (B2, B3, B4, B8)",
    "landsat-6": "Landsat 4-9, six bands (blue … swir2)",
    "landsat7-8": "Landsat 4-7, six bands, thermal and mask",
    "landsat8-7": "Landsat 8/9, seven bands (coastal … swir2)",
}

# Common names before STAC eo 2.0, and how analysts and other programs spell them.
_SYNONYMS = {
    "swir1": "swir16",
    "swir2": "swir22",
    "nir1": "nir",
    "nirnarrow": "nir08",
    "narrownir": "nir08",
    "watervapour": "nir09",
    "watervapor": "nir09",
    "coastalaerosol": "coastal",
    "aerosol": "coastal",
    "rededge1": "rededge071",
    "rededge2": "rededge075",
    "rededge3": "rededge078",
    "vegetationrededge1": "rededge071",
    "vegetationrededge2": "rededge075",
    "vegetationrededge3": "rededge078",
    "re1": "rededge071",
    "re2": "rededge075",
    "re3": "rededge078",
    "nearinfrared": "nir",
    "dem": "elevation",
    "dtm": "elevation",
    "srtm": "elevation",
    "altitude": "elevation",
    "shortwaveinfrared1": "swir16",
    "shortwaveinfrared2": "swir22",
}


# Folders hold thousands of images with the same names.
@lru_cache(maxsize=4096)
def normalise_name(name: str) -> str:
    """Return a band name in the form in which names are compared.

    ``"Band 08A"``, ``"b8a"`` and ``"B08A"`` all become ``"b8a"``; ``"SWIR 1"`` becomes ``"swir16"``.
    """
    bare = re.sub(r"[^0-9a-z]+", "", name.lower())
    bare = re.sub(r"^band(?=b?\d)", "", bare)
    bare = re.sub(r"^b?0*(\d+a?)$", r"b\1", bare)
    return _SYNONYMS.get(bare, bare)


# Products name their files …_B02, …_B02_10m, …_SR_B2 or …_VV: the band is the last part that looks like one.
_BAND_IN_NAME = re.compile(
    r"(?:^|[_\-.])((?:S[RT]_)?B\d{1,2}A?|[VH][VH])(?:_\d+m)?(?:_(?:db|lin(?:ear)?))?$", re.IGNORECASE
)
# What rasters beside spectra are called, as one word of the file's name.
_TERRAIN = ("elevation", "dem", "dtm", "srtm", "altitude", "dsm", "slope", "aspect")
#: Bands of radar by polarisation: backscatter, in decibels or linear.
RADAR = ("vv", "vh", "hh", "hv")
# Bands of classes and flags, as products call them: between two of their values lies none.
_CATEGORICAL = re.compile(
    r"(?i)(?:^|[^a-z0-9])(SCL|QA(?:_PIXEL|_RADSAT|60)?|F?MASK|CLOUD_?MASK|CLM|LANDCOVER|CLASS(?:ES)?|LABELS?)"
    r"(?:_\d+m)?(?:$|[^a-z0-9])"
)


def band_in_file_name(file_name: str) -> str | None:
    """The band that a file of a product holds by its name: ``T31UDQ_…_B04_10m.jp2`` to ``B04``; None if it tells none.

    A file of one band of another kind says so in a word: ``srtm_sen2.tif`` is not told here, see :func:`match_bands`.
    """
    found = _BAND_IN_NAME.search(_stem(file_name))
    return found.group(1) if found else None


def is_categorical_name(name: str) -> bool:
    """True for a band or file of classes or flags (``SCL``, ``QA_PIXEL``, ``Fmask``), which must not be averaged."""
    return _CATEGORICAL.search(name) is not None


def is_beside_spectra(band: Band) -> bool:
    """True for what is no spectral band but stands beside them: radar, elevation and what is derived from it."""
    return normalise_name(band.name) in (*RADAR, *map(normalise_name, _TERRAIN))


def _stem(file_name: str) -> str:
    return re.sub(r"\.\w+$", "", re.split(r"[\\/]", file_name.split("|")[0])[-1])


def _names_of(band: Band, known: Band | None) -> set[str]:
    """All names that a raster band answers to: ``"B8A, narrow NIR"`` to b8a and nir08.

    A number is a name only where it is known whose: band 4 is red on Sentinel-2 and near infrared on
    Landsat 7, and the fourth band of an unnamed file is anything.
    """
    if known is not None:
        return {normalise_name(known.name)}
    # Two words, one colour: "red edge" is no red, and "coastal blue" no blue.
    description = re.sub(r"(?i)\b(red|infra|coastal)[\s-]+(?=edge|red|blue|aerosol)", r"\1", band.name)
    parts = [description, *re.split(r"[\s,;:()/\[\]|=]+", description)]
    last = _BAND_IN_NAME.search(description)
    if last:
        parts.append(last.group(1))
    return {normalise_name(part) for part in parts if not re.match(r"(?i)\s*(?:band[\s_]*)?\d", part)} - {""}


def named_by_file(bands: Sequence[Band], file_name: str) -> Sequence[Band]:
    """The bands of a file, where a single one without a name takes it from the file: ``T31UDQ_…_B04_10m.jp2``."""
    places = [index for index, band in enumerate(bands) if band.unit not in ("alpha", "mask")]
    if len(places) != 1 or not says_nothing(bands[places[0]]):
        return bands
    words = re.split(r"[\W_]+", _stem(file_name).lower())
    name = band_in_file_name(file_name) or next((word for word in words if word in _TERRAIN), None)
    if name is None:
        return bands
    named = list(bands)
    named[places[0]] = replace(bands[places[0]], name=name)
    return named


def says_nothing(band: Band) -> bool:
    """True where a band has no name but perhaps its number."""
    return not (band.common_name or band.wavelength or (band.name and not _generic(band.name)))


# Landsat's own band numbers: TM and ETM+ on 4 to 7, OLI and TIRS on 8 and 9.
_NUMBERED_LANDSAT7 = {**dict(zip("123457", _LANDSAT7)), "6": _THERMAL}
_NUMBERED_LANDSAT8 = {**dict(zip("1234567", _LANDSAT8)), "10": _THERMAL}
_NUMBERED_SENTINEL2 = {name[1:]: band for name, band in SENTINEL2_BANDS.items()}

# How products name their files.
_SENTINEL2_NAME = re.compile(r"(?:^|[^A-Z])S(?:EN(?:TINEL)?)?[-_]?2(?![0-9])|MSIL[12]|(?:^|_)T\d{2}[A-Z]{3}_")
_LANDSAT_NAME = re.compile(r"(?:^|[^A-Z])L[ETCMO]\d{1,2}(?=_|\d)|LANDSAT")
_LANDSAT7_NAME = re.compile(r"(?:^|[^A-Z])L[ETM]0?[4-7](?=_|\d)|LANDSAT[-_ ]?[4-7]")
_LANDSAT8_NAME = re.compile(r"(?:^|[^A-Z])L[CO]0?[89]|LANDSAT[-_ ]?[89]")


def identify_bands(bands: Sequence[Band], file_name: str = "", sensor: str | None = None) -> list[Band | None]:
    """What each band of a raster is, from its number in the sensor's own count or from its position.

    Args:
        bands: the raster's bands as they are.
        file_name: the file's name, which tells the sensor where the bands do not.
        sensor: a preset of :data:`SENSORS` that decides by position; None: find out.

    Returns:
        The sensor's band for each band, None where nothing is known.

    Raises:
        InputError: there is no such preset.
    """
    places = [index for index, band in enumerate(bands) if band.unit not in ("alpha", "mask")]
    image_bands = [bands[index] for index in places]
    result: list[Band | None] = [None] * len(bands)
    if sensor is None:
        numbered = _numbered(image_bands, file_name)
        if numbered is not None:
            for index, found in zip(places, numbered):
                result[index] = found
            return result
        sensor = guess_sensor(image_bands, file_name)
    if sensor is None:
        return result
    if sensor not in SENSORS:
        raise InputError(f"There is no sensor preset “{sensor}”; known are {', '.join(SENSORS)}.")
    for index, band in zip(places, SENSORS[sensor]):
        result[index] = band
    return result


def _numbered(bands: Sequence[Band], file_name: str) -> list[Band | None] | None:
    """Bands called by numbers (``B8A``, ``SR_B5``, ``band 7 reflectance``), if the sensor can be told."""
    numbers: list[str] = []
    for band in bands:
        found = re.fullmatch(
            r"(?i)(?:(?:sr|st|toa)[ _])?b(?:and)?[ _-]*0?(\d{1,2}a?)(?:[ _:,(-].*)?", band.name.strip()
        )
        numbers.append(found.group(1).upper() if found else "")
    # A mask or an index among the bands has no number.
    if sum(map(bool, numbers)) < max(len(bands) - 2, 1):
        return None
    stem = re.split(r"[\\/]", file_name)[-1].upper()
    # Surface reflectance of Landsat's Collection 2; its files carry the sensor's own numbers.
    landsat = {number for number, band in zip(numbers, bands) if re.match(r"(?i)SR_B", band.name)}
    counted = not landsat and len(bands) > 1 and numbers == [str(position) for position in range(1, len(bands) + 1)]
    if counted:
        # Counted from 1 without a gap: that says no more than the position.
        return None
    if {"8A", "12"} & set(numbers) or _SENTINEL2_NAME.search(stem):
        # Landsat has no band 12.
        table = _NUMBERED_SENTINEL2
    elif _LANDSAT8_NAME.search(stem):
        table = _NUMBERED_LANDSAT8
    elif _LANDSAT7_NAME.search(stem):
        table = _NUMBERED_LANDSAT7
    elif "6" in landsat:
        # On Landsat 4 to 7 band 6 is thermal, ST_B6.
        table = _NUMBERED_LANDSAT8
    elif set("123457") <= landsat:
        table = _NUMBERED_LANDSAT7
    else:
        return None
    return [table.get(number) for number in numbers]


def guess_sensor(bands: Sequence[Band], file_name: str = "") -> str | None:
    """Name the sensor preset of a raster whose bands carry no names of their own.

    Args:
        bands: the raster's bands as they are (descriptions, wavelengths).
        file_name: the file's name; product names (``S2A_``, ``LE07``, ``T31UDQ_…``) decide where
            the number of bands does not.

    Returns:
        A key of :data:`SENSORS`, or None where the bands are named already or nothing fits.
    """
    # "Band 1" says no more than the position.
    if any(band.wavelength for band in bands):
        return None
    if any(band.name and not re.fullmatch(r"(?i)band[\s_]*\d+(\s*:.*)?", band.name) for band in bands):
        return None
    stem = re.split(r"[\\/]", file_name)[-1].upper()
    count = len(bands)
    sentinel, landsat = _SENTINEL2_NAME.search(stem), _LANDSAT_NAME.search(stem)
    if count == 13 and not landsat:
        return "sentinel2-l1c"
    if count == 12 and not landsat:
        return "sentinel2-l2a"
    if count == 10 and sentinel:
        return "sentinel2-10"
    if count == 4 and sentinel:
        return "sentinel2-4"
    if landsat:
        eight_or_nine = _LANDSAT8_NAME.search(stem)
        if count == 7 and eight_or_nine:
            return "landsat8-7"
        if count == 6:
            return "landsat-6"
        if count == 8 and not eight_or_nine:
            return "landsat7-8"
    return None


def names_a_sensor(file_name: str) -> bool:
    """True where a file's name is that of a Sentinel-2 or Landsat product, or says so: ``S2A_…``, ``LE07_…``."""
    stem = re.split(r"[\\/]", file_name)[-1].upper()
    return bool(_SENTINEL2_NAME.search(stem) or _LANDSAT_NAME.search(stem))


# Of a raster band: number of its file and its own, what the file says of it, and what its sensor calls it.
_Candidate = tuple[int, int, Band, Optional[Band]]


@dataclass(frozen=True)
class BandMatch:
    """Which raster band feeds one model band, and how that was found.

    Args:
        model_band: the model's band.
        source: number of the raster file, from 1.
        band: band number in that file, from 1.
        how: ``given``, ``name``, ``common name``, ``wavelength``, ``sensor`` or ``position``.
    """

    model_band: Band
    source: int
    band: int
    how: str


def parse_band_option(text: str) -> dict[str, tuple[int, int]]:
    """Parse ``MODELBAND=[FILE:]BAND,…`` into ``{model band: (file number, band number)}``.

    ``""`` gives an empty mapping.  Numbers count from 1.

    Raises:
        InputError: for a part that is not of that form.
    """
    mapping: dict[str, tuple[int, int]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        parsed = re.fullmatch(r"(.+?)\s*=\s*(?:(\d{1,9})\s*:\s*)?(\d{1,9})", part)
        if not parsed or int(parsed.group(3)) < 1 or (parsed.group(2) and int(parsed.group(2)) < 1):
            raise InputError(
                f"“{part[:80]}” is not a band assignment: write MODELBAND=BANDNUMBER, for example B4=3, "
                "or MODELBAND=FILE:BANDNUMBER, numbers counting from 1."
            )
        name = parsed.group(1).strip()
        if name in mapping:
            raise InputError(f"Band {name} of the model is assigned twice; name one band of the raster for it.")
        mapping[name] = (int(parsed.group(2) or 1), int(parsed.group(3)))
    return mapping


def match_bands(
    model_bands: Sequence[Band],
    raster_bands: Sequence[Sequence[Band]],
    given: Mapping[str, tuple[int, int]] | None = None,
    sensor: str | None = None,
    file_names: Sequence[str] = (),
    gsds: Sequence[float | None] = (),
) -> list[BandMatch]:
    """Find the raster band that feeds each model band.

    Args:
        model_bands: what the model wants, in the order of its input.
        raster_bands: the bands of each raster file, alpha bands left out by giving them the unit
            ``alpha`` and masks ``mask``.
        given: explicit assignments from :func:`parse_band_option`; a key is a model band's name,
            common name or number.
        sensor: a preset of :data:`SENSORS`; guessed per file where None.
        file_names: names of the files, for the guess.
        gsds: ground sampling distance of the files: of a band that several hold the finest is taken.

    Returns:
        One match per model band, in the model's order.

    Raises:
        InputError: an explicit assignment names no band of the model or of the raster.
        MisfitError: a model band has no counterpart in the raster.
    """
    given = dict(given or {})
    assigned = _resolve_given(model_bands, raster_bands, given)

    candidates: list[_Candidate] = []
    for source, given_bands in enumerate(raster_bands, start=1):
        file_name = file_names[source - 1] if source <= len(file_names) else ""
        bands = named_by_file(given_bands, file_name)
        identities = identify_bands(bands, file_name, _preset_for(bands, len(raster_bands), sensor))
        for number, (band, known) in enumerate(zip(bands, identities), start=1):
            if band.unit in ("alpha", "mask") or (known is not None and known.unit == "mask"):
                continue
            candidates.append((source, number, band, known))

    ranks = fineness(gsds) if len(gsds) == len(raster_bands) else [0] * len(raster_bands)
    finest_first = sorted(candidates, key=lambda entry: ranks[entry[0] - 1])
    matches: list[BandMatch | None] = []
    for index, wanted in enumerate(model_bands):
        if index in assigned:
            source, number = assigned[index]
            matches.append(BandMatch(wanted, source, number, "given"))
        else:
            matches.append(_find(wanted, finest_first))

    missing = [band for band, found in zip(model_bands, matches) if found is None]
    if not missing:
        return _without_repeats([match for match in matches if match is not None], given)
    # Only where nothing at all was recognised may the order decide, and only if the counts agree.
    if len(missing) == len(model_bands) and not given and len(candidates) == len(model_bands):
        recognisable = any(band.common_name or band.wavelength for band in model_bands)
        named_raster = any(named or not _is_only(number, band.name) for _, number, band, named in candidates)
        if not (recognisable and named_raster):
            return [
                BandMatch(wanted, source, number, "position")
                for wanted, (source, number, _, _) in zip(model_bands, candidates)
            ]
    raise MisfitError(_missing_sentence(missing, model_bands, candidates))


def _preset_for(bands: Sequence[Band], files: int, sensor: str | None) -> str | None:
    """The preset, where it is meant for this file: among several files only those with its number of bands."""
    if sensor in SENSORS and files > 1 and sum(b.unit not in ("alpha", "mask") for b in bands) != len(SENSORS[sensor]):
        return None
    return sensor


def fineness(gsds: Sequence[float | None]) -> list[int]:
    """Rank of files by the size of their pixels, 0 the finest; sizes within a factor of 1.4 are one.

    So 10, 20 and 60 m differ, but not two dates of one sensor on slightly different grids: their order is kept.
    """
    ranks: dict[float, int] = {}
    start, rank = 0.0, -1
    for gsd in sorted({gsd for gsd in gsds if gsd}):
        if gsd > start * 1.4:
            start, rank = gsd, rank + 1
        ranks[gsd] = rank
    return [ranks[gsd] if gsd else 0 for gsd in gsds]


def _generic(name: str) -> bool:
    return re.fullmatch(r"(?i)(band)?[\s_]*\d+(\s*:.*)?", name) is not None


def _is_only(number: int, name: str) -> bool:
    """True where a name says no more than its position; "Band 8" in the first place says that the order is another."""
    found = re.match(r"\D*0*(\d+)", name)
    return not name or (_generic(name) and found is not None and int(found.group(1)) == number)


def _resolve_given(
    model_bands: Sequence[Band],
    raster_bands: Sequence[Sequence[Band]],
    given: Mapping[str, tuple[int, int]],
) -> dict[int, tuple[int, int]]:
    assigned: dict[int, tuple[int, int]] = {}
    for key, (source, number) in given.items():
        hits = [index for index, band in enumerate(model_bands) if band.name == key]
        if not hits:
            wanted = normalise_name(key)
            hits = [
                index
                for index, band in enumerate(model_bands)
                if wanted in (normalise_name(band.name), normalise_name(band.common_name))
            ]
        if not hits and key.isdigit() and 1 <= int(key) <= len(model_bands):
            hits = [int(key) - 1]
        if not hits:
            names = _listed([band.name for band in model_bands])
            raise InputError(f"The model has no band “{key}”; its bands are {names}.")
        if source > len(raster_bands):
            raise InputError(
                f"Band {key} is assigned to file {source}, but the number of rasters given is {len(raster_bands)}."
            )
        if number > len(raster_bands[source - 1]):
            raise InputError(
                f"Band {key} is assigned to raster band {number}, but the raster has only "
                f"{len(raster_bands[source - 1])}."
            )
        assigned[hits[0]] = (source, number)
    return assigned


def _find(wanted: Band, candidates: Sequence[_Candidate]) -> BandMatch | None:
    """The raster band for one model band: by name, by common name, by wavelength, by what the sensor's band is."""
    name, common = normalise_name(wanted.name), normalise_name(wanted.common_name)
    if name and not _generic(wanted.name):
        found = _called(name, candidates)
        if found:
            source, number, band, _ = found
            # A preset is a guess from file name and position; a description is what the file says.
            said = bool(band.name) and not _generic(band.name)
            return BandMatch(wanted, source, number, "name" if said else "sensor")
    if common:
        declared = next((entry for entry in candidates if normalise_name(entry[2].common_name) == common), None)
        found = declared or _called(common, [entry for entry in candidates if not entry[2].common_name])
        if found:
            return BandMatch(wanted, found[0], found[1], "common name")
    if wanted.wavelength:
        near = [
            (abs(band.wavelength - wanted.wavelength), source, number)
            for source, number, band, _ in candidates
            if band.wavelength
        ]
        # Half the width of the model's band, at least 15 nm: a neighbouring band does not pass.
        tolerance = max((wanted.width or 0.0) / 2, 0.015)
        if near and min(near)[0] <= tolerance:
            _, source, number = min(near)
            return BandMatch(wanted, source, number, "wavelength")
    for source, number, _, known in candidates:
        if known and common and common == normalise_name(known.common_name):
            return BandMatch(wanted, source, number, "sensor")
    # A sensor with one near-infrared band feeds both of a model's, and the other way round.
    nir = {"nir", "nir08"}
    if common in nir:
        for source, number, band, known in candidates:
            if known and normalise_name(known.common_name) in nir:
                return BandMatch(wanted, source, number, "sensor")
            if not known and ({normalise_name(band.common_name)} | _names_of(band, known)) & nir:
                return BandMatch(wanted, source, number, "common name")
    return None


def _called(name: str, candidates: Sequence[_Candidate]) -> _Candidate | None:
    """The raster band with that name: as a whole, or else the only one with it among other words."""
    found = [entry for entry in candidates if name in _names_of(entry[2], entry[3])]
    whole = [entry for entry in found if entry[3] or name == normalise_name(entry[2].name)]
    if whole:
        return whole[0]
    return found[0] if len(found) == 1 else None


def _without_repeats(matches: list[BandMatch], given: Mapping[str, tuple[int, int]]) -> list[BandMatch]:
    """Refuse that one raster band feeds two model bands, unless the user said so."""
    seen: dict[tuple[int, int], BandMatch] = {}
    for match in matches:
        place = (match.source, match.band)
        other = seen.get(place)
        if other and "given" not in (match.how, other.how):
            raise MisfitError(
                f"Raster band {match.band} would feed both {other.model_band.name} and {match.model_band.name} "
                "of the model; assign the bands by hand (--bands MODELBAND=RASTERBAND)."
            )
        seen[place] = match
    return matches


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence can hold them."""
    short = [name if len(name) <= 40 else f"{name[:40]}…" for name in names[:14]]
    return ", ".join([*short, "…"] if len(names) > len(short) else short)


def _missing_sentence(
    missing: Sequence[Band],
    model_bands: Sequence[Band],
    candidates: Sequence[_Candidate],
) -> str:
    def label(band: Band) -> str:
        return f"{band.name} ({band.common_name})" if band.common_name != band.name and band.common_name else band.name

    wanted = _listed([label(band) for band in missing])
    count = len(candidates)
    has = f"the raster has {count} image band{'s' if count != 1 else ''}"
    known = [
        number_name for _, _, band, named in candidates if (number_name := band.name or (named.name if named else ""))
    ]
    if known:
        has += f" ({_listed(known)})"
    if len(missing) == len(model_bands):
        return (
            f"The model needs {len(model_bands)} bands ({wanted}), but {has} and none of them could be recognised: "
            "assign them with --bands MODELBAND=RASTERBAND,… or choose the sensor."
        )
    return (
        f"The model needs {wanted}, but {has} and none of them is it: choose a raster that has it, or another "
        "model, or assign the band with --bands MODELBAND=RASTERBAND."
    )
