"""What labelled pixels say of their classes: amounts, spectra, separability, and which polygons look misplaced.

Pixels are summed as they are read (:mod:`.moments`), so that memory does not grow with their number; percentiles and
single polygons are judged by a sample (:mod:`.labelled_sample`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...models.bands import Band
from ...models.label_classes import LabelClass
from ...progress import Monitor
from ..ground_area import PixelArea
from .label_warnings import ClassCounts, warnings_of
from .labelled_sample import LabelledSample, Sampled, percentiles, physical
from .labels import Finding, Labels, Numbers, Places
from .lookalikes import Lookalike, lookalikes
from .moments import Floats, Moments
from .normal_class import normal_class, resolution_of, steps_of, within_classes
from .separability import Separability, separability
from .small_matrices import one_thread

_LOW, _HIGH = 0.05, 0.95
# No measurement is larger: a band that is missing in a pixel that counts, or nodata that is not declared.
_LARGEST = 1e100
# Features that a warning names.
_MOST_FEATURES = 100


class LabelledPixels(Protocol):
    """Pixels of one piece of a raster that have a label and data.

    Attributes:
        values: (n, C) as stored.
        places: (n,) of their classes in the legend.
        shapes: (n,) numbers of their polygons, or -1.
        rows, cols: (n,) where they lie.
        missing: how many labelled pixels of that piece have no data.
    """

    values: npt.NDArray[Any]
    places: Places
    shapes: Numbers
    rows: npt.NDArray[Any]
    cols: npt.NDArray[Any]
    missing: int


class LabelFigures:
    """Takes labelled pixels in, piece by piece, and says what they tell.

    Args:
        bands: (C,) of the image.
        scales: (scale, offset) per band.
        data_type: of the stored values.
        legend: the classes.
        area: of the image's pixels on the ground; None: no hectares.
    """

    def __init__(
        self,
        bands: Sequence[Band],
        scales: Sequence[tuple[float, float]],
        data_type: npt.DTypeLike,
        legend: Sequence[LabelClass],
        area: PixelArea | None = None,
    ) -> None:
        self._bands, self._scales, self._legend, self._area = bands, scales, legend, area
        self._steps = steps_of(data_type, scales)
        self._moments = [Moments.none(len(bands)) for _ in legend]
        self._hectares = np.zeros(len(legend))
        self._sample = LabelledSample()
        self._missing = 0

    def add(self, pixels: LabelledPixels) -> None:
        """Take pixels in, each at most once."""
        self._missing += pixels.missing
        values = physical(pixels.values, self._scales)
        stored, places, shapes, rows, cols = pixels.values, pixels.places, pixels.shapes, pixels.rows, pixels.cols
        # Not true of NaN, either.
        usable = (np.abs(values) < _LARGEST).all(axis=1)
        if not usable.all():
            self._missing += int(np.count_nonzero(~usable))
            values, stored = values[usable], stored[usable]
            places, shapes, rows, cols = places[usable], shapes[usable], rows[usable], cols[usable]
        order = np.argsort(places, kind="stable")
        starts = np.searchsorted(places[order], np.arange(len(self._legend) + 1))
        for place, (start, stop) in enumerate(pairwise(starts)):
            if stop > start:
                self._moments[place] += Moments.of(values[order[start:stop]])
        if self._area is not None and len(places):
            hectares = self._area.hectares_at(rows, cols)
            if hectares is None:
                self._area = None
            else:
                self._hectares += np.bincount(places, hectares, len(self._legend))
        self._sample.add(stored, places, shapes, rows, cols)

    def result(
        self, labels: Labels | None = None, findings: Sequence[Finding] = (), monitor: Monitor | None = None
    ) -> dict[str, Any]:
        """All figures of what was taken in so far, JSON-able (docs/labels-figures.md explains each).

        Args:
            labels: what the polygons are called in their layer, and which there are without pixels; None: polygons go
                by their numbers, if there are any.
            findings: what was met while the labels were read; become warnings.
            monitor: may end the work.
        """
        monitor = monitor or Monitor()
        sampled = self._sample.result(self._scales)
        resolution = resolution_of(self._moments, self._steps) if self._moments else np.ones(len(self._bands))
        with one_thread():
            pairs = self._pairs(resolution, monitor)
            alike = lookalikes(sampled, len(self._legend), resolution, monitor.check)
        counts = self._counts(sampled, labels)
        by_polygon = any(group.shape >= 0 for group in sampled.groups)
        return {
            "bands": [
                {"name": band.name, "common_name": band.common_name, "wavelength": band.wavelength}
                for band in self._bands
            ],
            "pixels": sum(count.pixels for count in counts),
            "unlabelled_missing": self._missing,
            "classes": self._classes(counts, sampled, labels),
            "pairs": [
                {
                    "a": a,
                    "b": b,
                    "jeffries_matusita": figures.jeffries_matusita,
                    "bhattacharyya": figures.bhattacharyya,
                    "transformed_divergence": figures.transformed_divergence,
                }
                for (a, b), figures in pairs.items()
            ],
            "lookalikes": [self._lookalike(entry, labels) for entry in alike],
            "warnings": warnings_of(counts, pairs, len(self._bands), self._missing, by_polygon, findings),
        }

    def _pairs(self, resolution: Floats, monitor: Monitor) -> dict[tuple[int, int], Separability]:
        """Separability of each two classes with pixels, by their codes; empty where no class has two pixels."""
        within = within_classes(self._moments, resolution) if self._moments else None
        if within is None:
            return {}
        models = {
            entry.code: normal_class(moments, within)
            for entry, moments in zip(self._legend, self._moments, strict=True)
            if moments.count
        }
        pairs = {}
        for a, b in combinations(models, 2):
            monitor.check()
            pairs[a, b] = separability(models[a], models[b])
        return pairs

    def _counts(self, sampled: Sampled, labels: Labels | None) -> list[ClassCounts]:
        shapes: list[list[int]] = [[] for _ in self._legend]
        for group in sampled.groups:
            if group.shape >= 0:
                shapes[group.place].append(group.shape)
        return [
            ClassCounts(
                entry=entry,
                pixels=int(moments.count),
                polygons=len(own),
                features=tuple(_feature(shape, labels) for shape in own[:_MOST_FEATURES]),
            )
            for entry, moments, own in zip(self._legend, self._moments, shapes, strict=True)
        ]

    def _classes(self, counts: Sequence[ClassCounts], sampled: Sampled, labels: Labels | None) -> list[dict[str, Any]]:
        drawn = [count.polygons for count in counts]
        if labels is not None:
            # As many as there are in the layer, also those without a pixel.
            drawn = np.bincount(labels.places, minlength=len(counts)).tolist()
        classes = []
        for place, count in enumerate(counts):
            moments = self._moments[place]
            groups = [group for group in sampled.groups if group.place == place]
            low, high = percentiles(sampled, groups, (_LOW, _HIGH)) if groups else ([], [])
            classes.append(
                {
                    "code": count.entry.code,
                    "name": count.entry.name,
                    "color": count.entry.color,
                    "macro": count.entry.macro,
                    "polygons": drawn[place],
                    "pixels": count.pixels,
                    "hectares": None if self._area is None else float(self._hectares[place]),
                    "mean": moments.mean.tolist() if groups else [],
                    "std": moments.spread.tolist() if groups else [],
                    "p05": low,
                    "p95": high,
                }
            )
        return classes

    def _lookalike(self, entry: Lookalike, labels: Labels | None) -> dict[str, Any]:
        return {
            "feature": _feature(entry.shape, labels),
            "code": self._legend[entry.place].code,
            "looks_like": self._legend[entry.looks_like].code,
            "share": entry.share,
            "pixels": entry.pixels,
        }


def _feature(shape: int, labels: Labels | None) -> int:
    """The number of a polygon in its layer."""
    return shape if labels is None else int(labels.features[shape])
