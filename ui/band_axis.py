"""Where the bands stand along a spectrum: by wavelength where that is known, else one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

#: Beyond it light is emitted, not reflected: on one scale with the rest it would squeeze everything else.
_LONGEST_REFLECTED = 3.0
#: From so many bands on a step that is much wider than the others is a gap: bands were taken out there.
_BANDS_OF_A_SPECTROMETER = 30
_WIDE_STEP = 3.0


@dataclass(frozen=True)
class BandAxis:
    """The horizontal axis of a spectrum.

    Args:
        places: where each band stands: nanometres, or 1, 2, 3, …
        names: what each band is called, in full.
        in_nanometres: whether the places are wavelengths.
        runs: the bands from left to right, in pieces between which no line is drawn.
    """

    places: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    in_nanometres: bool = False
    runs: list[list[int]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What the axis shows."""
        return "Wavelength (nm)" if self.in_nanometres else "Band"


def band_axis(bands: Sequence[Mapping[str, Any]]) -> BandAxis:
    """Lay out the bands of a statistics' ``bands``: ``name``, ``common_name``, ``wavelength`` in micrometres."""
    waves = [_wavelength(band) for band in bands]
    known = [wave for wave in waves if wave is not None]
    # Two dates of one sensor have each wavelength twice: then only their order keeps them apart.
    usable = len(known) == len(bands) > 1 and len(set(known)) == len(known) and max(known) <= _LONGEST_REFLECTED
    if usable:
        places = [1000 * wave for wave in known]
        order = sorted(range(len(bands)), key=places.__getitem__)
    else:
        places = [float(number) for number in range(1, len(bands) + 1)]
        order = list(range(len(bands)))
    return BandAxis(places, [_name(band, n) for n, band in enumerate(bands, 1)], usable, _runs(places, order))


def _runs(places: Sequence[float], order: Sequence[int]) -> list[list[int]]:
    if not order:
        return []
    steps = [places[right] - places[left] for left, right in zip(order, order[1:])]
    widest = _WIDE_STEP * median(steps) if len(order) >= _BANDS_OF_A_SPECTROMETER else float("inf")
    runs = [[order[0]]]
    for band, step in zip(order[1:], steps):
        if step > widest:
            runs.append([])
        runs[-1].append(band)
    return runs


def _wavelength(band: Mapping[str, Any]) -> float | None:
    value = band.get("wavelength")
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def _name(band: Mapping[str, Any], number: int) -> str:
    name, common = str(band.get("name") or ""), str(band.get("common_name") or "")
    if not name:
        return common or f"Band {number}"
    return f"{name} ({common})" if common and common != name else name
