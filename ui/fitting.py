"""Model and raster held against each other for the dialog: what fits, and which band feeds which.

The verdict is :func:`..models.fit.check_fit`'s, the very one the engine gives; here it is only made
visible band by band, also where it is a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InputError
from ..models.bands import SENSORS, Band, BandMatch, guess_sensor, named_by_file
from ..models.card import TASK_TITLES, ModelCard
from ..models.fit import RasterFacts, check_fit, find_bands
from ..models.reading import no_classes
from .wording import for_dialog

#: Tasks of the card that "Classify layer" serves.
SERVED_TASKS = ("pixel", "window", "segmentation", "patch", "patch-multilabel")


@dataclass
class FitView:
    """How model and raster go together, as the dialog shows it.

    Args:
        fits: True where the run may start.
        sentence: the verdict for the analyst.
        warnings: more sentences, for a run that may start.
        matches: per model band the raster band that feeds it, or None where it is missing.
        scale, offset: per model band; empty where the model does not fit.
    """

    fits: bool
    sentence: str
    warnings: list[str] = field(default_factory=list)
    matches: list[BandMatch | None] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    offset: list[float] = field(default_factory=list)


def view_fit(
    card: ModelCard,
    rasters: Sequence[RasterFacts],
    given: Mapping[str, tuple[int, int]] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    sensor: str | None = None,
    gsd: float | None = None,
) -> FitView:
    """Check a model against rasters; the arguments are those of :func:`..models.fit.check_fit`."""
    if card.unsupported:
        return FitView(False, f"This is {card.unsupported}; choose a model that gives classes.")
    if card.task not in SERVED_TASKS:
        return FitView(
            False,
            f"This model's task is {TASK_TITLES[card.task]}, which is not done here: "
            "choose a model that classifies pixels or patches of one image.",
        )
    if not card.classes:
        return FitView(False, for_dialog(no_classes(card)), matches=_each_band(card, rasters, given, sensor))
    try:
        fit = check_fit(card, rasters, given, scale, offset, sensor, gsd)
    except InputError as error:
        return FitView(False, for_dialog(error.message), matches=_each_band(card, rasters, given, sensor))
    warnings = [for_dialog(warning) for warning in fit.warnings] + _fed_twice(fit.matches)
    count = len(fit.matches)
    bands = f"all {count} bands are there" if count > 1 else "its band is there"
    what = "this raster" if len(rasters) == 1 else "these rasters"
    return FitView(True, f"The model fits {what}: {bands}.", warnings, list(fit.matches), fit.scale, fit.offset)


def _each_band(
    card: ModelCard,
    rasters: Sequence[RasterFacts],
    given: Mapping[str, tuple[int, int]] | None,
    sensor: str | None,
) -> list[BandMatch | None]:
    """What feeds each band where the whole does not fit: where bands are missing, what is there is shown beside."""
    try:
        return list(find_bands(card, rasters, card.bands, given, sensor))
    except InputError:
        pass
    found: list[BandMatch | None] = []
    for band, key in zip(card.bands, band_keys(card.bands)):
        if given and key in given:
            source, number = given[key]
            found.append(BandMatch(band, source, number, "given"))
            continue
        try:
            match = find_bands(card, rasters, [band], None, sensor)[0]
        except InputError:
            match = None
        # One band alone is matched by position with a raster of one band, which means nothing here.
        found.append(None if match is None or (match.how == "position" and len(card.bands) > 1) else match)
    return found


def _fed_twice(matches: Sequence[BandMatch]) -> list[str]:
    places = Counter((match.source, match.band) for match in matches)
    warnings = []
    for (source, number), count in places.items():
        if count > 1:
            fed = [match for match in matches if (match.source, match.band) == (source, number)]
            names = " and ".join(match.model_band.name for match in fed)
            what = f"Raster band {number}" if source == 1 else f"Band {number} of raster {source}"
            warnings.append(f"{what} feeds {names}; check that this is meant.")
    return warnings


def band_keys(bands: Sequence[Band]) -> list[str]:
    """What names each model band in a band assignment: its name, or its number where that is ambiguous."""
    names = Counter(band.name for band in bands)
    return [
        band.name if band.name and names[band.name] == 1 and not set(band.name) & set(",=") else str(number)
        for number, band in enumerate(bands, start=1)
    ]


def band_option(assigned: Mapping[str, tuple[int, int]]) -> str:
    """The assignment as the command line takes it: ``B4=3,B3=2``."""
    return ",".join(
        f"{key}={number}" if source == 1 else f"{key}={source}:{number}" for key, (source, number) in assigned.items()
    )


def raster_band_labels(raster: RasterFacts, sensor: str | None = None) -> list[str]:
    """What each raster band is called in lists: its number, its name, or what the sensor's order says it is."""
    image_bands = [band for band in raster.bands if band.unit not in ("alpha", "mask")]
    key = sensor or guess_sensor(image_bands, raster.path)
    preset = SENSORS.get(key, ()) if key else ()
    labels = []
    for number, band in enumerate(named_by_file(raster.bands, raster.path), start=1):
        name = band.name or (preset[number - 1].name if number <= len(preset) else "")
        # GDAL's own "Band 1" says no more than the number.
        if name.replace(" ", "").lower() in (f"band{number}", f"band{number:02d}", str(number)):
            name = preset[number - 1].name if number <= len(preset) else ""
        note = f" ({band.unit})" if band.unit in ("alpha", "mask") else ""
        labels.append(f"{number}: {name}{note}" if name else f"Band {number}{note}")
    return labels
