"""Labels that hold for some days, on time series: one raster per band or index, whose bands are dates.

The sample of a label is, for each of these rasters, its values on the dates from the label's first day until before
its end.  Labels of one pixel that hold for other days do not contradict each other: a field may bear another crop each
year.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from ...models.bands import Band, BandMatch
from ..image import Image
from .labels import Finding, Labels
from .samples import Samples, labelled_pixels
from .shape_map import ShapeMap
from .spans import Days, parse_day

_MOST_FEATURES = 1000
# A file of dates has some thousand lines.
_MOST_BYTES = 1 << 24


@dataclass(frozen=True)
class Season:
    """Labels that hold for the same days.

    Args:
        first, end: the first day and the day after the last.
        steps: the dates in between, as places in the timeline, from 0.
        labels: their map; its shape numbers count within the season.
        members: the place of each of its shapes in all labels.
    """

    first: np.datetime64
    end: np.datetime64
    steps: range
    labels: ShapeMap
    members: npt.NDArray[np.int64]


class DatedLabels:
    """Labels with their days, and the samples that time series have for them.

    Args:
        image: the time series, opened with all their bands; each file has one band per date.
        labels: with spans.
        dates: (T,) of the bands, rising.

    Attributes:
        length: dates of one sample.
        seasons: the labels by the days that they hold for.
        bands, scales, nodata: of one sample, as in :class:`..image.Image`: all dates of the first file, then those of
            the next.
        findings: those of the labels, and series of another length, which are left out.

    Raises:
        InputError: files and dates do not go together, or most series differ in length.
    """

    def __init__(self, image: Image, labels: Labels, dates: Days) -> None:
        if labels.spans is None:
            raise InputError("The labels have no dates: name the fields that hold them (--from-field, --to-field).")
        self._image, self._dates = image, dates
        self._matches = _bands_by_file(image, dates)
        self.legend = labels.legend
        self.findings: list[Finding] = list(labels.findings)
        starts = np.searchsorted(dates, labels.spans[:, 0])
        ends = np.searchsorted(dates, labels.spans[:, 1])
        self.length = self._common_length(labels, ends - starts)
        kept = np.flatnonzero(ends - starts == self.length)
        self.seasons: list[Season] = []
        different, group = np.unique(labels.spans[kept], axis=0, return_inverse=True)
        for number, (first, end) in enumerate(different):
            members = kept[group.reshape(-1) == number]
            part = replace(
                labels,
                shapes=labels.shapes[members],
                places=labels.places[members],
                features=labels.features[members],
                findings=[],
                images=None,
                spans=labels.spans[members],
            )
            steps = range(int(starts[members[0]]), int(ends[members[0]]))
            shape_map = ShapeMap(part, image.source.height, image.source.width)
            self.seasons.append(Season(first, end, steps, shape_map, members))
        places = [place for series in self._matches.values() for place in series[: self.length]]
        self.scales = [image.scales[place] for place in places]
        self.nodata = [image.nodata[place] for place in places]
        self.bands = [
            Band(f"{name} {step + 1:0{len(str(self.length))}d}", unit=image.bands[series[0]].unit)
            for name, series in self._matches.items()
            for step in range(self.length)
        ]

    def numbers(self, season: Season) -> list[tuple[int, int]]:
        """File and band, from 1, of each of a season's bands."""
        return [self._image.numbers[series[step]] for series in self._matches.values() for step in season.steps]

    def choose(self, season: Season) -> None:
        """Let the image give the bands of a season, in the order of :attr:`bands`."""
        numbers = self.numbers(season)
        self._image.source.select(
            [BandMatch(band, file, number, "given") for band, (file, number) in zip(self.bands, numbers, strict=True)],
            self._image.source.invalid,
        )

    def samples(self, side: int | None = None) -> Iterator[Samples]:
        """The labelled pixels with their series, (n, files × dates), season by season.

        Pixels that miss a value on any of the dates are left out and counted.  The image gives other bands afterwards.

        Raises:
            InputError: a file is damaged.
        """
        for season in self.seasons:
            self.choose(season)
            for part in labelled_pixels(self._image.source, season.labels, side):
                yield replace(part, shapes=season.members[part.shapes].astype(np.int32))

    def _common_length(self, labels: Labels, lengths: npt.NDArray[np.int64]) -> int:
        """How many dates most series have; the others are told."""
        counted = Counter(lengths[lengths > 0].tolist())
        first, last = self._dates[0], self._dates[-1]
        if not counted:
            raise InputError(
                f"No label holds for a date of the time series, which reach from {first} to {last}: check the fields "
                "of dates and the timeline."
            )
        # Of two lengths that are equally frequent the longer.
        length, count = max(counted.items(), key=lambda item: (item[1], item[0]))
        if 2 * count < len(lengths):
            listed = ", ".join(f"{n} of {dates} dates" for dates, n in counted.most_common(5))
            raise InputError(
                f"The labels hold for different numbers of dates ({listed}), but a model takes series of one length: "
                "give them spans that are equally long."
            )
        others = lengths != length
        if others.any():
            number = int(others.sum())
            hold, are = ("holds", "is") if number == 1 else ("hold", "are")
            self.findings.append(
                Finding(
                    "series-length",
                    f"{number} of {len(lengths)} labels {hold} for another number of dates than {length} (the time "
                    f"series reach from {first} to {last}) and {are} left out.",
                    tuple(int(feature) for feature in labels.features[others][:_MOST_FEATURES]),
                )
            )
        return length


def read_timeline(path: str | Path) -> Days:
    """The dates of the bands of time series: one line each, such as ``2007-09-14``.

    Raises:
        InputError: it cannot be read, or is no list of rising dates.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"The timeline “{path}” cannot be read; check the path.", repr(error)) from error
    lines = [line.strip() for line in content.decode("utf-8-sig", "replace").splitlines()]
    lines = [line for line in lines if line]
    dates = np.array([parse_day(line) for line in lines], "datetime64[D]")
    if len(dates) == 0:
        raise InputError(f"The timeline “{path}” is empty; write one date per line, such as 2007-09-14.")
    if np.isnat(dates).any():
        wrong = lines[int(np.flatnonzero(np.isnat(dates))[0])]
        raise InputError(f"“{wrong[:40]}” in the timeline “{path}” is no date; write one per line, such as 2007-09-14.")
    if (dates[1:] <= dates[:-1]).any():
        later = int(np.flatnonzero(dates[1:] <= dates[:-1])[0]) + 1
        raise InputError(
            f"The dates in “{path}” do not rise: {dates[later]} stands after {dates[later - 1]}; put them into the "
            "order of the bands."
        )
    return dates


def _bands_by_file(image: Image, dates: Days) -> dict[str, list[int]]:
    """The places of every file's bands in the image, in the order of the dates."""
    by_file: dict[int, dict[int, int]] = {}
    for place, (file, band) in enumerate(image.numbers):
        by_file.setdefault(file, {})[band] = place
    result: dict[str, list[int]] = {}
    for file, places in by_file.items():
        path = image.source.paths[file - 1]
        count = image.source.datasets[file - 1].count
        if count != len(dates) or len(places) != count:
            raise InputError(
                f"“{path}” has {count} bands, of which {len(places)} are chosen, but the timeline has {len(dates)} "
                "dates: every band is one date; choose the timeline that belongs to it, and all bands."
            )
        name = Path(path.split("|")[0]).stem
        result[name if name not in result else f"{name} ({file})"] = [places[band] for band in sorted(places)]
    return result
