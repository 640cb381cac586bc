"""What is wrong with labels once they are in pixels: overlaps, shapes without a pixel, classes with too few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely

from ...models.label_classes import LabelClass
from .labels import Finding, Labels
from .scanlines import Outlines

#: A class of fewer shapes cannot be split into training, validation and test; one of fewer pixels cannot be learned.
FEW_SHAPES, FEW_PIXELS = 3, 30
# Overlaps of less, in pixels, are how neighbours are drawn.
_LEAST_OVERLAP = 0.5
_MOST_NAMED = 5
_CHUNK = 256
_MOST_FEATURES = 1000
_POLYGONS = (3, 6)


def quality(labels: Labels, height: int, width: int) -> list[Finding]:
    """What the analyst should know of labels on a raster of this size."""
    is_polygon = np.isin(shapely.get_type_id(labels.shapes), _POLYGONS)
    pixels = np.array([shapely.get_num_geometries(shape) for shape in labels.shapes], np.int64)
    pixels[is_polygon] = Outlines(labels.shapes[is_polygon]).counts(height, width)
    findings = _too_small(labels, pixels)
    moments = _moments(labels)
    findings += _overlaps(labels, is_polygon, moments)
    findings += _same_pixel(labels, is_polygon, moments)
    return findings + _classes(labels, pixels)


def _too_small(labels: Labels, pixels: npt.NDArray[np.int64]) -> list[Finding]:
    small = labels.features[pixels == 0]
    if not len(small):
        return []
    what = (
        "polygon holds no pixel's centre and gives" if len(small) == 1 else "polygons hold no pixel's centre and give"
    )
    return [Finding("too-small", f"{len(small)} {what} no sample.", _listed_numbers(small))]


def _moments(labels: Labels) -> npt.NDArray[np.intp]:
    """Labels that hold for other days do not contradict each other: a number for those of the same days."""
    if labels.spans is None:
        return np.zeros(len(labels), np.intp)
    return np.unique(labels.spans, axis=0, return_inverse=True)[1].reshape(-1)


def _overlaps(labels: Labels, is_polygon: npt.NDArray[np.bool_], moments: npt.NDArray[np.intp]) -> list[Finding]:
    """Polygons that lie over each other, of two classes and of one."""
    chosen = np.flatnonzero(is_polygon)
    shapes, places = labels.shapes[chosen], labels.places[chosen]
    tree = shapely.STRtree(shapes)
    pairs: dict[bool, list[tuple[int, int, float]]] = {True: [], False: []}
    for start in range(0, len(chosen), _CHUNK):
        first, second = tree.query(shapes[start : start + _CHUNK], predicate="intersects")
        first = first + start
        once = (first < second) & (moments[chosen[first]] == moments[chosen[second]])
        first, second = first[once], second[once]
        for low in range(0, len(first), 1 << 14):
            a, b = first[low : low + (1 << 14)], second[low : low + (1 << 14)]
            shared = shapely.area(shapely.intersection(shapes[a], shapes[b]))
            for i, j, area in zip(
                a[shared >= _LEAST_OVERLAP], b[shared >= _LEAST_OVERLAP], shared[shared >= _LEAST_OVERLAP], strict=True
            ):
                pairs[bool(places[i] != places[j])].append((int(chosen[i]), int(chosen[j]), float(area)))
    findings = []
    if pairs[True]:
        findings.append(
            Finding(
                "overlap",
                f"{_count(len(pairs[True]), 'pair')} of polygons of different classes {_verb(pairs[True], 'overlap')}: "
                f"{_told(labels, pairs[True])}. What two classes claim stays unlabelled.",
                _listed_numbers(labels.features[sorted({n for pair in pairs[True] for n in pair[:2]})]),
            )
        )
    if pairs[False]:
        findings.append(
            Finding(
                "overlap-same-class",
                f"{_count(len(pairs[False]), 'pair')} of polygons of one class {_verb(pairs[False], 'overlap')}: what "
                "they share counts once.",
                _listed_numbers(labels.features[sorted({n for pair in pairs[False] for n in pair[:2]})]),
            )
        )
    return findings


def _told(labels: Labels, pairs: Sequence[tuple[int, int, float]]) -> str:
    largest = sorted(pairs, key=lambda pair: -pair[2])[:_MOST_NAMED]
    parts = [
        f"{labels.features[i]} ({labels.legend[labels.places[i]].name}) and {labels.features[j]} "
        f"({labels.legend[labels.places[j]].name}) share {max(round(area), 1)} px"
        for i, j, area in largest
    ]
    return "; ".join([*parts, "…"] if len(pairs) > _MOST_NAMED else parts)


def _same_pixel(labels: Labels, is_polygon: npt.NDArray[np.bool_], moments: npt.NDArray[np.intp]) -> list[Finding]:
    """Points that share a pixel with each other, or lie in a polygon of another class."""
    points = np.flatnonzero(~is_polygon)
    if not len(points):
        return []
    coordinates, owner = shapely.get_coordinates(labels.shapes[points], return_index=True)
    owner = points[owner]
    pixels = np.column_stack([np.floor(coordinates).astype(np.int64), moments[owner]])
    order = np.lexsort((labels.places[owner], *pixels.T))
    pixels, owner = pixels[order], owner[order]
    starts = np.append(True, (pixels[1:] != pixels[:-1]).any(axis=1))
    group = np.cumsum(starts) - 1
    places = labels.places[owner]
    # Sorted by class, too: a pixel is disputed if its first and last point are of two classes.
    first = np.flatnonzero(starts)
    last = np.append(first[1:], len(owner)) - 1
    disputed = (places[first] != places[last])[group]
    shared = (np.bincount(group) > 1)[group] & ~disputed
    polygons = np.flatnonzero(is_polygon)
    if len(polygons):
        tree = shapely.STRtree(labels.shapes[polygons])
        point, polygon = tree.query(shapely.points(pixels[:, :2] + 0.5), predicate="intersects")
        one, other = owner[point], polygons[polygon]
        disputed[point[(labels.places[one] != labels.places[other]) & (moments[one] == moments[other])]] = True
    findings = []
    if disputed.any():
        count = int(disputed.sum())
        findings.append(
            Finding(
                "same-pixel",
                f"{_count(count, 'point')} {'lies' if count == 1 else 'lie'} in a pixel that another class claims, "
                "too: such pixels stay unlabelled.",
                _listed_numbers(np.unique(labels.features[owner[disputed]])),
            )
        )
    if shared.any():
        findings.append(
            Finding(
                "same-pixel-same-class",
                f"{int(shared.sum())} points of one class share {_count(len(np.unique(group[shared])), 'pixel')}: such "
                "pixels count once.",
                _listed_numbers(np.unique(labels.features[owner[shared]])),
            )
        )
    return findings


def _classes(labels: Labels, pixels: npt.NDArray[np.int64]) -> list[Finding]:
    count = len(labels.legend)
    shapes_of = np.bincount(labels.places[pixels > 0], minlength=count)
    pixels_of = np.bincount(labels.places, weights=pixels, minlength=count).astype(np.int64)
    features_of = [_listed_numbers(labels.features[labels.places == place]) for place in range(count)]
    return few_samples(labels.legend, pixels_of, shapes_of, features_of)


def few_samples(
    legend: Sequence[LabelClass],
    pixels: npt.NDArray[np.int64],
    shapes: npt.NDArray[np.int64] | None = None,
    features: Sequence[tuple[int, ...]] = (),
) -> list[Finding]:
    """Classes without a label here, and those with too few.

    Args:
        legend: the classes.
        pixels: (classes,) how many pixels each has.
        shapes: (classes,) how many polygons or points hold them; None where labels are a raster.
        features: of each class.
    """
    findings = []
    empty = [entry.name for entry, count in zip(legend, pixels, strict=True) if count == 0]
    if empty:
        what = "class has" if len(empty) == 1 else "classes have"
        findings.append(Finding("empty-class", f"{len(empty)} {what} no label in this raster: {_names(empty)}."))
    for place, entry in enumerate(legend):
        enough = pixels[place] >= FEW_PIXELS and (shapes is None or shapes[place] >= FEW_SHAPES)
        if pixels[place] == 0 or enough:
            continue
        held = "" if shapes is None else f"{_count(shapes[place], 'labelled shape')} with "
        findings.append(
            Finding(
                "few-samples",
                f"“{entry.name}” has only {held}{_count(pixels[place], 'pixel')} here: label more, or merge it with "
                "another class.",
                features[place] if features else (),
            )
        )
    if len(legend) - len(empty) == 1:
        findings.append(
            Finding("one-class", "Only one class has labels in this raster: a map needs at least two to tell apart.")
        )
    return findings


def _count(count: int, name: str) -> str:
    return f"{count} {name}{'s' if count != 1 else ''}"


def _verb(subjects: Sequence[object], verb: str) -> str:
    return f"{verb}s" if len(subjects) == 1 else verb


def _names(names: Sequence[str]) -> str:
    return ", ".join([*names[:12], "…"] if len(names) > 12 else names)


def _listed_numbers(numbers: npt.NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers[:_MOST_FEATURES])
