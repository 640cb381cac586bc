"""Pictures of samples: which bands make the colours, how they are stretched, and which samples stand for a class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...models.bands import normalise_name
from .description import PARTS, Description
from .read import Arrays, TrainingSet
from .scene import SceneBand

Picture = npt.NDArray[np.uint8]

# Centre wavelengths of red, green and blue in micrometres, and how far off a band may be.
_COLOURS = (0.66, 0.56, 0.48)
_TOLERANCE = 0.04
# Most of an image is dark: more light for that.
_GAMMA = 0.7
# Labels that are looked through for examples, and samples from which a spectrum is made.
_LOOKED_THROUGH = 2_000_000
_SPECTRUM_SAMPLES = 200_000
# Micrometres from which the Earth shines itself; dates that are a series; bands whose names find room on an axis.
_THERMAL, _SERIES, _NAMED, _LONGEST_NAME = 3.0, 4, 13, 12


def picture_bands(bands: Sequence[SceneBand]) -> list[int]:
    """Places of the bands that are shown as red, green and blue; one place for a grey picture."""
    by_name = {normalise_name(entry.band.common_name or entry.band.name): place for place, entry in enumerate(bands)}
    if {"red", "green", "blue"} <= set(by_name):
        return [by_name["red"], by_name["green"], by_name["blue"]]
    waves = np.array([entry.band.wavelength or np.nan for entry in bands])
    if np.isfinite(waves).any():
        nearest = [int(np.nanargmin(np.abs(waves - colour))) for colour in _COLOURS]
        if all(abs(waves[place] - colour) <= _TOLERANCE for place, colour in zip(nearest, _COLOURS, strict=True)):
            return nearest
    if len(bands) < 3:
        return [0]
    # Of many bands without names, three that are spread over them; of a few, the first.
    return [len(bands) // 2, len(bands) // 4, len(bands) // 8] if len(bands) > 20 else [0, 1, 2]


def bands_in_words(bands: Sequence[SceneBand], places: Sequence[int]) -> str:
    """``"bands B4, B3, B2"``."""
    names = [bands[place].band.name or str(place + 1) for place in places]
    return f"{'band' if len(names) == 1 else 'bands'} {', '.join(names)}"


@dataclass(frozen=True)
class Stretch:
    """How stored samples become brightness.

    Args:
        bands: of the set.
        places: of the bands that are shown.
        low, high: physical values that are black and white, one for each of them; None: samples are bytes in natural
            colours, made for the eye already.
        span: a picture that is stretched by its own values gets this between black and white at least; None: all are
            stretched alike.
    """

    bands: Sequence[SceneBand]
    places: Sequence[int]
    low: npt.NDArray[np.float64] | None
    high: npt.NDArray[np.float64] | None
    span: float | None = None

    @classmethod
    def of(cls, told: Description, places: Sequence[int], shown: Sequence[np.ndarray] = ()) -> Stretch:
        """The stretch of a training set.

        Patches are of many scenes, with snow in some: each is stretched by its own values.

        Args:
            told: the set.
            places: of the bands that are shown.
            shown: samples that will be shown.
        """
        units = [told.bands[place].band.unit for place in places]
        if told.dtype == "uint8" and units == ["dn"] * 3:
            return cls(told.bands, places, None, None)
        low = np.array([told.statistics.p01[place] for place in places])
        high = np.array([told.statistics.p99[place] for place in places])
        stretch = cls(told.bands, places, low, high)
        if told.kind != "patches" or not shown:
            return stretch
        spans = [np.ptp(np.nanpercentile(stretch.physical(samples), (1, 99))) for samples in shown]
        return replace(stretch, span=float(np.median(spans)))

    def physical(self, samples: np.ndarray) -> npt.NDArray[np.float64]:
        """The bands that are shown, (1 or 3, h, w)."""
        layers = [samples[place] * self.bands[place].scale + self.bands[place].offset for place in self.places]
        return np.stack(layers).astype(float)

    def picture(self, samples: np.ndarray) -> Picture:
        """A picture (h, w, 3) of samples (C, h, w)."""
        if self.low is None or self.high is None:
            layers = samples[list(self.places)]
        else:
            values, low, high = self.physical(samples), self.low, self.high
            if self.span is not None:
                dark, bright = np.nanpercentile(values, (1, 99))
                low, high = np.full(len(values), dark), np.full(len(values), max(bright, dark + self.span))
            span = np.where(high > low, high - low, 1.0)
            share = np.clip((values - low[:, None, None]) / span[:, None, None], 0.0, 1.0)
            layers = np.rint(255 * np.nan_to_num(share) ** _GAMMA).astype(np.uint8)
        if len(layers) == 1:
            layers = np.repeat(layers, 3, axis=0)
        return np.ascontiguousarray(np.moveaxis(layers, 0, -1))


def examples(dataset: TrainingSet, number: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Per class some samples (C, h, w) and their labels, of the training part first.

    Args:
        dataset: windows, chips or patches.
        number: samples per class at most.
    """
    told = dataset.description
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in told.classes]
    looked = 0
    for arrays in _shards(dataset):
        if looked > _LOOKED_THROUGH or all(len(those) >= number for those in found):
            break
        looked += len(arrays)
        for place, those in enumerate(found):
            lacking = number - len(those)
            if lacking > 0:
                those += [
                    (np.array(arrays.samples[which]), np.array(arrays.labels[which]))
                    for which in _with_class(arrays, told, place)[:lacking]
                ]
    return found


def _shards(dataset: TrainingSet) -> list[Arrays]:
    return [arrays for part in PARTS for arrays in dataset.arrays(part)]


def _with_class(arrays: Arrays, told: Description, place: int) -> npt.NDArray[np.intp]:
    """Numbers of the samples that have a class; of chips those with the most of it first."""
    if told.task == "multi-label":
        return np.flatnonzero(arrays.labels[:, place])
    if told.task == "single-label":
        return np.flatnonzero(arrays.labels == place)
    # A part of a shard is enough to choose from.
    pixels = (np.asarray(arrays.labels[:500]) == place).sum(axis=(1, 2))
    order = np.argsort(-pixels, kind="stable")
    return order[pixels[order] > 0]


def spectra(dataset: TrainingSet) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each class and band in physical values, (K, C); NaN where a class has no sample.

    Args:
        dataset: of pixels.
    """
    told = dataset.description
    shape = (len(told.classes), len(told.bands))
    total, squares, count = np.zeros(shape), np.zeros(shape), np.zeros(shape[0])
    scale, offset = (np.array([getattr(entry, name) for entry in told.bands]) for name in ("scale", "offset"))
    # Around the mean of all, so that squares do not swallow the digits.
    middle = np.array(told.statistics.mean)
    for arrays in _shards(dataset):
        room = int(_SPECTRUM_SAMPLES - count.sum())
        if room <= 0:
            break
        labels = np.asarray(arrays.labels[:room])
        values = np.nan_to_num(np.asarray(arrays.samples[:room]) * scale + offset - middle)
        for place in np.unique(labels):
            of_class = values[labels == place]
            total[place] += of_class.sum(axis=0)
            squares[place] += (of_class**2).sum(axis=0)
            count[place] += len(of_class)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count[:, None]
        return mean + middle, np.sqrt(np.maximum(squares / count[:, None] - mean**2, 0))


@dataclass(frozen=True)
class SpectrumAxis:
    """Where the bands stand on the axis of a spectrum.

    Args:
        x: (C,).
        runs: first band and the one after the last of each stretch that a line joins.
        label: what the axis is called.
        ticks: places and names; empty to leave them to the drawing.
    """

    x: npt.NDArray[np.float64]
    runs: list[tuple[int, int]]
    label: str
    ticks: list[tuple[float, str]]


def spectrum_axis(bands: Sequence[SceneBand]) -> SpectrumAxis:
    """Wavelengths where all are known and none is thermal, names where they are few, runs of dates or else numbers."""
    waves = np.array([entry.band.wavelength or np.nan for entry in bands], float)
    order = np.arange(1, len(bands) + 1, dtype=float)
    whole = [(0, len(bands))]
    if (np.diff(waves) > 0).all() and np.isfinite(waves).all() and (waves.max() < _THERMAL or waves.min() > _THERMAL):
        in_nanometres = waves.max() < _THERMAL
        return SpectrumAxis(
            waves * (1000 if in_nanometres else 1), whole, "wavelength (nm)" if in_nanometres else "wavelength (µm)", []
        )
    stems = [re.sub(r"[\s_-]*\d+$", "", entry.band.name) for entry in bands]
    starts = [place for place in range(len(bands)) if place == 0 or stems[place] != stems[place - 1]]
    runs = list(zip(starts, [*starts[1:], len(bands)], strict=True))
    # Series of several bands or indices: ndvi 01, ndvi 02, …, evi 01, …
    if len(runs) > 1 and len(set(stems)) == len(runs) and min(end - start for start, end in runs) >= _SERIES:
        ticks = [(float(order[start:end].mean()), stems[start]) for start, end in runs]
        return SpectrumAxis(order, runs, f"dates 1 to {runs[0][1]} of each", ticks)
    # "Band 7" says no more than its number.
    names = [re.sub(r"(?i)^band\s*(?=\d+$)", "", entry.band.name)[:_LONGEST_NAME] for entry in bands]
    if len(bands) <= _NAMED and all(names):
        return SpectrumAxis(order, whole, "band", list(zip(order.tolist(), names, strict=True)))
    return SpectrumAxis(order, whole, "band", [])
