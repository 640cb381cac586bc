"""Does this model fit this raster?  Answered before anything runs, with a sentence that says what to change.

The same rules serve the engine (facts read with rasterio) and the dialog (facts read from the QGIS
layer), so what the dialog shows is what the engine does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import MisfitError
from .bands import (
    SENSOR_TITLES,
    SENTINEL2_BANDS,
    Band,
    BandMatch,
    fineness,
    guess_sensor,
    identify_bands,
    is_beside_spectra,
    match_bands,
    named_by_file,
    names_a_sensor,
    normalise_name,
    says_nothing,
)
from .card import ModelCard

#: How many times coarser or finer than its training images a model may be used.
REFUSED_GSD_FACTOR = 4.0
WARNED_GSD_FACTOR = 1.5
# A file whose pixels are so many times coarser than the map's adds little to it.  Sentinel-2's 60 m beside 10 m do.
_WARNED_COARSER = 10.0
# The offset as reflectance, less a hundredth: the atmosphere's correction leaves values a little under 0.
_SENTINEL2_OFFSET = 0.09


@dataclass
class RasterFacts:
    """What is known of one raster file before it is read.

    Args:
        path: file or source string.
        bands: its bands; alpha and mask bands have the units ``alpha`` and ``mask``.
        data_type: name of the sample type (``uint16``).
        scales, offsets: declared per band (1 and 0 where nothing is declared).
        gsd: ground sampling distance in metres, or None where it cannot be known (no CRS).
        sample: per band ``(low, high)``: the 2nd and 98th percentile of some stored, valid values, or
            empty where nothing was sampled.
        colours: per band ``red``, ``green``, ``blue`` or empty, as the file says to viewers.
    """

    path: str
    bands: list[Band]
    data_type: str
    scales: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    gsd: float | None = None
    sample: dict[int, tuple[float, float]] = field(default_factory=dict)
    colours: list[str] = field(default_factory=list)


@dataclass
class Fit:
    """How a model and a raster go together.

    Args:
        matches: which raster band feeds which model band, in the model's order.
        scale, offset: per model band, from stored to physical value: ``stored * scale + offset``.
        warnings: sentences for the analyst.
    """

    matches: list[BandMatch]
    scale: list[float]
    offset: list[float]
    warnings: list[str] = field(default_factory=list)


def check_fit(
    card: ModelCard,
    rasters: Sequence[RasterFacts],
    given_bands: Mapping[str, tuple[int, int]] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    sensor: str | None = None,
    gsd: float | None = None,
) -> Fit:
    """Match bands, scale and resolution of a model with one or several rasters.

    Args:
        card: the model's card.
        rasters: facts of the raster files, on whatever grids.
        given_bands: explicit band assignments (:func:`.bands.parse_band_option`).
        scale: overrides what the raster declares, for all bands in the card's unit; radar or elevation beside spectra
            keep what their files declare.
        offset: likewise.
        sensor: a preset of :data:`.bands.SENSORS`.
        gsd: ground sampling distance to which the rasters are resampled; None: that of the finest that is used.

    Returns:
        The band matches, per-band scale and offset, and warnings.

    Raises:
        MisfitError: what does not fit, and what to change.
        InputError: an explicit assignment that names no band.
    """
    for raster in rasters:
        if raster.data_type.startswith(("complex", "cint", "cfloat")):
            raise MisfitError(
                f"“{raster.path}” holds complex numbers ({raster.data_type}), which no model here reads: "
                "convert it to amplitude or intensity first."
            )
    matches = find_bands(card, rasters, card.bands, given_bands, sensor)

    warnings: list[str] = []
    by_position = [match for match in matches if match.how == "position"]
    if by_position and len(card.bands) > 1:
        warnings.append("The bands carry no names and were taken in their order; check the assignment.")
    warnings += _seen_by_colour(card, rasters, matches)
    warnings += _guessed_sensor(rasters, matches, sensor)
    warnings += _bands_in_several_files(rasters, matches)
    scales, offsets = _scaling(card, rasters, matches, scale, offset)
    warnings += _check_resolution(card, [rasters[source - 1] for source in sorted({m.source for m in matches})], gsd)
    _check_values(card, rasters, matches, scales, offsets)
    warnings += _check_sentinel2_offset(card, rasters, matches, scales, offsets, sensor)
    return Fit(matches, scales, offsets, warnings)


def find_bands(
    card: ModelCard,
    rasters: Sequence[RasterFacts],
    wanted: Sequence[Band],
    given_bands: Mapping[str, tuple[int, int]] | None = None,
    sensor: str | None = None,
) -> list[BandMatch]:
    """Which raster bands feed some of a model's bands, whatever else fits or not.

    Args:
        card: the model's card.
        rasters: facts of the raster files.
        wanted: the model bands in question.
        given_bands: explicit band assignments (:func:`.bands.parse_band_option`).
        sensor: a preset of :data:`.bands.SENSORS`.

    Raises:
        MisfitError: one of them has no counterpart.
        InputError: an explicit assignment that names no band.
    """
    return match_bands(
        wanted,
        [bands_of_picture(card, raster) for raster in rasters],
        given_bands,
        sensor,
        [raster.path for raster in rasters],
        [raster.gsd for raster in rasters],
    )


_COLOURS = {"red", "green", "blue"}


def bands_of_picture(card: ModelCard, raster: RasterFacts) -> list[Band]:
    """The bands of a raster, named by their colours where nothing else names them and the model wants but these.

    Not for other models: who stores infrared, red and green shows them as red, green and blue.
    """
    wanted = {normalise_name(band.common_name or band.name) for band in card.bands}
    if not wanted <= _COLOURS or not _COLOURS.issubset(raster.colours) or not all(map(says_nothing, raster.bands)):
        return raster.bands
    return [
        replace(band, name=colour, common_name=colour) if colour else band
        for band, colour in zip(raster.bands, raster.colours)
    ]


def _seen_by_colour(card: ModelCard, rasters: Sequence[RasterFacts], matches: Sequence[BandMatch]) -> list[str]:
    """Say so where only the colours of a scene told its bands."""
    for source in sorted({match.source for match in matches if match.how != "given"}):
        raster = rasters[source - 1]
        # A photograph without a place on Earth has no infrared band.
        if raster.gsd is not None and bands_of_picture(card, raster) is not raster.bands:
            return [
                "The bands carry no names and were told by their colours: an infrared image that is stored so that it "
                "shows in false colours is taken for a photograph; check the assignment."
            ]
    return []


def _bands_in_several_files(rasters: Sequence[RasterFacts], matches: Sequence[BandMatch]) -> list[str]:
    """Say so where another file as fine holds a band of the same name: two dates, or two places."""
    names = [[normalise_name(band.name) for band in named_by_file(raster.bands, raster.path)] for raster in rasters]
    ranks = fineness([raster.gsd for raster in rasters])
    repeated, chosen, other = [], "", ""
    for match in matches:
        name = names[match.source - 1][match.band - 1]
        places = [index for index, known in enumerate(names) if name and name in known and index != match.source - 1]
        same = [index for index in places if ranks[index] == ranks[match.source - 1]]
        if same and match.how not in ("given", "position"):
            repeated.append(match.model_band.name)
            chosen, other = rasters[match.source - 1].path, rasters[same[0]].path
    if not repeated:
        return []
    what = f"Band {repeated[0]} is" if len(repeated) == 1 else f"Bands {', '.join(repeated)} are"
    return [
        f"{what} in several rasters; the first was taken (“{chosen}”, not “{other}”): name the rasters of one date and "
        "place only, or assign the bands by hand (--bands MODELBAND=FILE:BAND)."
    ]


def _guessed_sensor(rasters: Sequence[RasterFacts], matches: Sequence[BandMatch], sensor: str | None) -> list[str]:
    """Say so where the number of bands alone told the sensor: two dates of six bands are twelve bands too."""
    warnings = []
    for source in sorted({match.source for match in matches if match.how == "sensor"} if sensor is None else ()):
        bands = [band for band in rasters[source - 1].bands if band.unit not in ("alpha", "mask")]
        guess = guess_sensor(bands, rasters[source - 1].path)
        if guess is not None and not names_a_sensor(rasters[source - 1].path):
            warnings.append(
                f"The {len(bands)} bands carry no names; by their number they were taken for {SENSOR_TITLES[guess]}: "
                "check the assignment, or choose the sensor."
            )
    return warnings


def _scaling(
    card: ModelCard,
    rasters: Sequence[RasterFacts],
    matches: Sequence[BandMatch],
    scale: float | None,
    offset: float | None,
) -> tuple[list[float], list[float]]:
    scales, offsets = [], []
    for match in matches:
        raster, index = rasters[match.source - 1], match.band - 1
        beside = _is_beside(card, match.model_band)
        # A model of digital numbers wants them as they are stored.
        declared = ((match.model_band.unit if beside else "") or card.unit) != "dn"
        own_scale = raster.scales[index] if declared and index < len(raster.scales) else 1.0
        own_offset = raster.offsets[index] if declared and index < len(raster.offsets) else 0.0
        if beside:
            scales.append(own_scale)
            offsets.append(own_offset)
            continue
        scales.append(scale if scale is not None else own_scale)
        # A scale given by hand replaces the declared pair: mixing the two is never what was meant.
        offsets.append(offset if offset is not None else (0.0 if scale is not None else own_offset))
    return scales, offsets


def _is_beside(card: ModelCard, band: Band) -> bool:
    """True for a band in another unit than the model's values as a whole: metres or decibels beside reflectance."""
    if band.unit and card.unit and band.unit != card.unit:
        return True
    return is_beside_spectra(band) and not all(map(is_beside_spectra, card.bands))


def _check_resolution(card: ModelCard, rasters: Sequence[RasterFacts], gsd: float | None) -> list[str]:
    """Judge the map's ground sampling distance by the model's, and every file's by the map's."""
    known = [raster.gsd for raster in rasters if raster.gsd is not None]
    if not known:
        return []
    finest_file = min(known)
    warnings = []
    if gsd is not None and gsd * WARNED_GSD_FACTOR < finest_file:
        warnings.append(
            f"The finest raster's pixels measure {finest_file:.3g} m; resampled to {gsd:g} m they show no more detail."
        )
    resulting = finest_file if gsd is None else gsd
    for raster in rasters:
        if raster.gsd is not None and raster.gsd > resulting * _WARNED_COARSER and raster.gsd > finest_file * 1.01:
            warnings.append(
                f"The pixels of “{raster.path}” measure {raster.gsd:.3g} m, those of the map {resulting:.3g} m: the "
                "map shows less detail than its pixels promise."
            )
    if card.gsd is None and card.gsd_range is None:
        return warnings
    if card.gsd_range is not None:
        finest, coarsest = card.gsd_range
    else:
        assert card.gsd is not None
        finest, coarsest = card.gsd / REFUSED_GSD_FACTOR, card.gsd * REFUSED_GSD_FACTOR
    whose = "The raster's pixels measure" if gsd is None else "The map's pixels would measure"
    # A hundredth of tolerance: pixels measured on the ellipsoid are never quite round.
    if not finest * 0.99 <= resulting <= coarsest * 1.01:
        wanted = f"{card.gsd:g} m" if card.gsd else f"{finest:g} to {coarsest:g} m"
        direction = "coarser" if resulting < finest else "finer"
        nearest = card.gsd or (finest if resulting < finest else coarsest)
        raise MisfitError(
            f"{whose} {resulting:.3g} m on the ground, the model was made for {wanted} "
            f"(it may be used from {finest:g} to {coarsest:g} m): let it be resampled to a {direction} grid "
            f"(--gsd {nearest:g}), or choose another model."
        )
    if card.gsd_range is None and card.gsd is not None:
        factor = max(resulting / card.gsd, card.gsd / resulting)
        if factor > WARNED_GSD_FACTOR:
            warnings.append(
                f"{whose} {resulting:.3g} m, the model was made for {card.gsd:g} m: expect a worse map, or resample "
                f"with --gsd {card.gsd:g}."
            )
    return warnings


def _check_values(
    card: ModelCard,
    rasters: Sequence[RasterFacts],
    matches: Sequence[BandMatch],
    scales: Sequence[float],
    offsets: Sequence[float],
) -> None:
    if card.value_range is None:
        return
    low, high = card.value_range
    span = high - low
    lows, highs = [], []
    for match, band_scale, band_offset in zip(matches, scales, offsets):
        if _is_beside(card, match.model_band):
            continue
        sample = rasters[match.source - 1].sample.get(match.band)
        if sample is None:
            continue
        ends = sorted(value * band_scale + band_offset for value in sample)
        lows.append(ends[0])
        highs.append(ends[1])
    if not highs:
        return
    seen_low, seen_high = min(lows), max(highs)
    unit = f" {card.unit}" if card.unit else ""
    wanted = f"The model wants{unit} values from {low:g} to {high:g}"
    seen = f"the raster's, as read, lie between {seen_low:.4g} and {seen_high:.4g}"
    # Bright cloud and noise go somewhat beyond; a wrong scale is off by a factor of 100 or more.
    if seen_high > high + 4 * span or seen_low < low - 4 * span:
        hint = ""
        are_bytes = all(rasters[match.source - 1].data_type == "uint8" for match in matches)
        divisors: tuple[int, ...] = (255,) if are_bytes else (100, 255, 10000, 65535)
        if card.unit.lower() == "db" and seen_low >= 0:
            hint = " (they look like linear backscatter: convert it to decibels first, 10 · log10)"
            divisors = ()
        elif all(is_beside_spectra(match.model_band) for match in matches) and seen_low < 0 <= low:
            hint = " (they look like decibels: convert them to linear backscatter first, 10^(dB / 10))"
            divisors = ()
        elif card.unit == "dn":
            # Numbers for an image of 8 bits may have been stretched in any way.
            divisors = ()
        elif any(_is_landsat_collection2(raster) for raster in rasters):
            hint = " (those of Landsat Collection 2 need scale 0.0000275 and offset -0.2)"
            divisors = ()
        for divisor in divisors:
            # Only numbers × 10000 go far beyond 1: over cloud and snow.
            most = high + span * (1.0 if divisor == 10000 else 0.2)
            if low - span <= seen_low / divisor and high - 0.98 * span <= seen_high / divisor <= most:
                hint = f" (they look like {card.unit or 'values'} × {divisor}: use scale {1 / divisor:.6g})"
                if divisor == 10000:
                    hint = (
                        f" (they look like {card.unit or 'values'} × 10000: use scale 0.0001, and for Sentinel-2 "
                        "products since baseline 04.00 also offset -0.1)"
                    )
                break
        raise MisfitError(f"{wanted}; {seen}{hint}: set scale and offset (--scale, --offset) to match.")
    if seen_high - seen_low < span * 1e-3 and seen_high < low + span * 2e-3 and seen_high != 0:
        raise MisfitError(
            f"{wanted}; {seen}, which is thousands of times less: the scale is wrong; "
            "set --scale 1 --offset 0 if the raster holds the right values as stored."
        )


def _is_landsat_collection2(raster: RasterFacts) -> bool:
    """Surface reflectance of Landsat's Collection 2: ``LC08_L2SP_…_02_T1_SR_B4.TIF``, or bands called ``SR_B4``."""
    named = any(re.match(r"(?i)SR_B\d", band.name) for band in raster.bands)
    return named or re.search(r"L[CTEO]0\d_L2S[PR]_", raster.path) is not None


def _check_sentinel2_offset(
    card: ModelCard,
    rasters: Sequence[RasterFacts],
    matches: Sequence[BandMatch],
    scales: Sequence[float],
    offsets: Sequence[float],
    sensor: str | None,
) -> list[str]:
    """Warn of the 1000 that ESA adds to Sentinel-2 numbers since processing baseline 04.00 (January 2022)."""
    spectral = [index for index, match in enumerate(matches) if not _is_beside(card, match.model_band)]
    matches, scales, offsets = (
        [matches[index] for index in spectral],
        [scales[index] for index in spectral],
        [offsets[index] for index in spectral],
    )
    if card.unit != "reflectance" or any(offsets):
        return []
    for source in sorted({match.source for match in matches}):
        raster = rasters[source - 1]
        baseline = re.search(r"_N(\d{2})(\d{2})_", raster.path)
        if baseline and int(baseline.group(1)) >= 4 and raster.data_type in ("uint16", "int16", "int32"):
            return [
                f"The product's name says processing baseline {baseline.group(1)}.{baseline.group(2)}: its numbers "
                "are 1000 too high unless that was corrected; use --scale 0.0001 --offset -0.1."
            ]
    # Water, forest and shadow are dark in some band; a scene in which nothing is has the offset in it, or is
    # all desert, snow or cloud.
    darkest = [
        raster.sample[match.band][0] * scale
        for match, scale in zip(matches, scales)
        for raster in [rasters[match.source - 1]]
        if match.band in raster.sample
    ]
    known = [
        identify_bands(named_by_file(raster.bands, raster.path), raster.path, sensor if len(rasters) == 1 else None)
        for raster in rasters
    ]
    # Whatever the model calls its bands, it is the raster that is Sentinel-2's, or not.
    sentinel2 = all(known[match.source - 1][match.band - 1] in SENTINEL2_BANDS.values() for match in matches)
    if sentinel2 and len(darkest) == len(matches) and min(darkest) >= _SENTINEL2_OFFSET:
        return [
            f"Even the darkest pixels have a reflectance of {min(darkest):.2f} in every band: the offset of Sentinel-2 "
            "products since 2022 may still be in them; if so, use --offset -0.1."
        ]
    return []
