"""Labels from a vector file or a table of points, in the pixels of a raster, with all that was met on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.crs import CRS

from ...errors import InputError
from ...models.label_classes import LabelClass, read_classes
from ..grid import Grid
from ..raster_place import Places as Indices
from ..raster_place import RasterPlace, crs_name, valid_polygons
from .class_codes import ClassField
from .crossing_fields import disagreements
from .features import Features, find_field, read_features
from .labels import UNLABELLED, Finding, Labels, Places
from .quality import quality
from .spans import parse_spans

_POINT, _MULTIPOINT, _POLYGON, _MULTIPOLYGON, _COLLECTION = 0, 4, 3, 6, 7
#: Features that a finding names at most.
MOST_FEATURES = 1000
# What lies outside by less, in pixels, is the rounding of a file.
_ROUNDING = 0.01
# The ending of a raster's name begins with a letter: .tif, .jp2, .SAFE.
_ENDING = re.compile(r"\.[a-z][a-z0-9]{0,5}$")
# No CRS has coordinates beyond, and GEOS cannot compute with all numbers that there are.
_FARTHEST = 1e12


def read_labels(
    source: str | Path,
    field: str,
    grid: Grid,
    *,
    layer_crs: CRS | None = None,
    classes: Sequence[LabelClass] | None = None,
    merge: Mapping[str, str] | None = None,
    image_field: str = "",
    image: str | Sequence[str] = "",
    from_field: str = "",
    to_field: str = "",
    where: str = "",
) -> Labels:
    """Read labelled polygons or points and bring them to the pixels of a raster.

    Args:
        source: a vector file, as QGIS writes it (``file.gpkg|layername=x|subset=…``), or a CSV table with longitude and
            latitude, or x and y.
        field: the field that holds the class: whole numbers are codes, words are names.  Empty: the only field, or the
            one called ``class``.
        grid: the raster's.
        layer_crs: replaces what the file says.
        classes: replace those that a label layer keeps in its GeoPackage.
        merge: classes, by name or code, that become part of others.
        image_field: a field with the name of the image that a feature was drawn on; empty in it: on any.
        image: of features with another name there none are taken; several: the files of one image; empty: all are.
        from_field: first day that a feature holds for.
        to_field: the day after the last.
        where: a filter, as OGR reads it.

    Returns:
        The shapes near the raster; the legend holds the classes of all features, wherever they lie.

    Raises:
        InputError: the labels cannot be read, hold no classes, or none lies in the raster.
    """
    place = RasterPlace(grid.crs, grid.transform, grid.width, grid.height, "the labels")
    features = read_features(str(source), field, (image_field, from_field, to_field), place, layer_crs, where)
    if features.count == 0:
        raise InputError(
            f"“{features.path}” is empty: it holds no feature{' that the filter leaves' if where else ''}."
        )
    known = read_classes(features.path, features.layer) if classes is None else list(classes)
    codes = ClassField(features.everywhere, known, features.class_field)
    codes.merge(merge or {})
    findings = [Finding(code, message) for code, message in features.notes] + codes.findings
    column = features.columns[features.class_field]
    places = codes.places(column)
    findings += _without_class(places, features)
    findings += disagreements(features, codes.legend, places)
    table = _Shapes(features.geometries, places, features.numbers)
    if image_field:
        table.images = _names(features.columns[find_field(features.columns, image_field, "image", features.path)])
    if from_field or to_field:
        spans, bad = parse_spans(features.columns, from_field, to_field, features.path)
        table.spans = spans
        if bad.any():
            findings.append(
                _finding("no-date", "{} without a date that can be read {} left out.", features.numbers[bad])
            )
            table.keep(~bad)
    table.keep(table.places != UNLABELLED)
    if image and table.images is not None:
        files = [image] if isinstance(image, str) else image
        other = np.array([bool(n) and not any(same_image(n, file) for file in files) for n in table.images], bool)
        if other.any():
            findings.append(_finding("other-image", "{} drawn on another image {} left out.", table.numbers[other]))
            table.keep(~other)
    far = features.count - len(features.numbers)
    labels = _placed(table, features.crs, codes.legend, place, f"“{features.path}”", findings, far)
    if len(labels) == 0:
        raise _nothing(features, place, table, labels.findings)
    return labels


def shapes_to_labels(
    wkbs: Sequence[bytes],
    codes: Sequence[int],
    features: Sequence[int],
    crs: CRS | None,
    classes: Sequence[LabelClass],
    grid: Grid,
) -> Labels:
    """Bring labelled shapes, as QGIS has them, to the pixels of a raster; none at all is fine.

    Args:
        wkbs: (n,) well-known binary.
        codes: (n,) the class of each.
        features: (n,) the number of each in its layer; negative for what is not saved yet.
        crs: of the shapes; None: that of the raster.
        classes: the legend.
        grid: the raster's.

    Raises:
        InputError: the raster has no CRS, but the shapes do.
    """
    place = RasterPlace(grid.crs, grid.transform, grid.width, grid.height, "the labels")
    legend = sorted(classes, key=lambda entry: entry.code)
    place_of = {entry.code: number for number, entry in enumerate(legend)}
    places = np.array([place_of.get(code, UNLABELLED) for code in codes], np.int16)
    numbers = np.array(features, np.int64)
    findings = []
    if (places == UNLABELLED).any():
        findings.append(
            _finding("no-class", "{} without a class of the list {} left out.", numbers[places == UNLABELLED])
        )
    geometries = shapely.force_2d(shapely.from_wkb(np.array([bytes(wkb) for wkb in wkbs], object), on_invalid="ignore"))
    table = _Shapes(np.atleast_1d(geometries), places, numbers)
    table.keep(table.places != UNLABELLED)
    return _placed(table, crs, legend, place, "The label layer", findings)


def same_image(one: str, other: str) -> bool:
    """True where two names mean one image: a path, a file's name, or that without its ending."""

    def forms(name: str) -> set[str]:
        last = re.split(r"[\\/]", name.split("|")[0].strip())[-1].casefold()
        # The last part of scene.2020 is no ending: scene.2021 is another image.
        return {last, _ENDING.sub("", last)}

    return bool(forms(one) & forms(other))


@dataclass
class _Shapes:
    """Features on their way to labels."""

    geometries: npt.NDArray[np.object_]
    places: Places
    numbers: npt.NDArray[np.int64]
    images: list[str] | None = None
    spans: npt.NDArray[np.datetime64] | None = None

    def keep(self, kept: npt.NDArray[Any]) -> None:
        """Only some of them, by a mask or by their places."""
        self.geometries, self.places, self.numbers = self.geometries[kept], self.places[kept], self.numbers[kept]
        if self.images is not None:
            self.images = np.array(self.images, object)[kept].tolist()
        if self.spans is not None:
            self.spans = self.spans[kept]


def _placed(
    table: _Shapes,
    crs: CRS | None,
    legend: Sequence[LabelClass],
    place: RasterPlace,
    name: str,
    findings: list[Finding],
    far: int = 0,
) -> Labels:
    """The shapes in pixels; what cannot be used is left out and told, as are those that were not even read."""
    types = shapely.get_type_id(table.geometries)
    empty = (types < 0) | shapely.is_empty(table.geometries)
    coordinates, owners = shapely.get_coordinates(table.geometries, return_index=True)
    with np.errstate(invalid="ignore"):
        wild = ~(np.abs(coordinates) < _FARTHEST).all(axis=1)
    finite = np.bincount(owners[wild], minlength=len(types)) == 0
    usable = np.isin(types, (_POINT, _MULTIPOINT, _POLYGON, _MULTIPOLYGON, _COLLECTION))
    for code, what, chosen in (
        ("no-geometry", "{} without a geometry {} left out.", empty),
        ("no-geometry", "{} with coordinates that cannot be {} left out.", ~empty & ~finite),
        ("lines", "{} that {} lines and cover no pixels {} left out.", ~empty & finite & ~usable),
    ):
        if chosen.any():
            numbers = table.numbers[chosen]
            if code == "lines":
                what = what.replace("{} lines", "is a line" if len(numbers) == 1 else "are lines", 1)
            findings.append(_finding(code, what, numbers))
    table.keep(~empty & finite & usable)
    try:
        shapes = _in_pixels(table, crs, place, name, findings)
    except (shapely.errors.ShapelyError, OverflowError) as error:
        raise InputError(
            f"{name} has outlines that cannot be used: mend them (Fix geometries in QGIS), or draw them anew.",
            repr(error),
        ) from error
    raster = shapely.box(0, 0, place.width, place.height)
    inside = shapely.intersects(shapes, raster)
    outside = table.numbers[~inside]
    if len(outside) or far:
        total = len(outside) + far
        # One without a geometry is found nowhere, where only those near the raster are read.
        lies, has = (" lies", "has") if total == 1 else ("s lie", "have")
        message = f"{total} feature{lies} outside the raster{f', or {has} no geometry' if far else ''}."
        findings.append(Finding("outside", message, tuple(map(int, outside[:MOST_FEATURES]))))
    table.keep(inside)
    shapes = shapes[inside]
    bounds = shapely.bounds(shapes)
    beyond = (bounds[:, :2] < -_ROUNDING).any(axis=1) | (
        bounds[:, 2:] > np.array([place.width, place.height]) + _ROUNDING
    ).any(axis=1)
    if beyond.any():
        findings.append(
            _finding("partly-outside", "{} {} partly outside the raster.", table.numbers[beyond], "lies", "lie")
        )
    labels = Labels(shapes, table.places, table.numbers, legend, findings, table.images, table.spans)
    findings += quality(labels, place.height, place.width)
    return labels


_LEFT_OUT = ("no-class", "no-geometry", "lines", "no-date", "other-image")


def _in_pixels(
    table: _Shapes, crs: CRS | None, place: RasterPlace, name: str, findings: list[Finding]
) -> npt.NDArray[np.object_]:
    """Valid shapes in pixel coordinates, empty ones for what is nowhere near the raster."""
    types = shapely.get_type_id(table.geometries)
    result = np.full(len(types), shapely.Point(), object)
    points = np.isin(types, (_POINT, _MULTIPOINT))
    if points.any():
        result[points] = _points_in_pixels(table.geometries[points], crs, place)
    areas = np.flatnonzero(~points)
    if not len(areas):
        return result
    broken = ~shapely.is_valid(table.geometries[areas])
    if broken.any():
        findings.append(
            _finding("repaired", "{} with crossing or overlapping outlines {} repaired.", table.numbers[areas[broken]])
        )
    polygons, owners = valid_polygons(table.geometries[areas])
    flat = np.setdiff1d(np.arange(len(areas)), owners)
    if len(flat):
        findings.append(_finding("no-geometry", "{} without any area {} left out.", table.numbers[areas[flat]]))
    parts, part_owners = _polygons_in_pixels(polygons, owners, crs, place, name)
    near = shapely.intersects(parts, shapely.box(0, 0, place.width, place.height))
    # A polygon whose parts lie inside and outside keeps all of them, one that was turned round the Earth does not.
    parts, part_owners = parts[near], part_owners[near]
    order = np.argsort(part_owners, kind="stable")
    parts, part_owners = parts[order], part_owners[order]
    whole = (
        shapely.multipolygons(parts, indices=part_owners, out=np.full(len(areas), None, object))
        if len(parts)
        else np.full(len(areas), None, object)
    )
    single = np.bincount(part_owners, minlength=len(areas)) == 1
    if single.any():
        whole[single] = shapely.get_geometry(whole[single], 0)
    overlapping = np.array([entry is not None for entry in whole], bool) & ~shapely.is_valid(whole)
    for number in np.flatnonzero(overlapping):
        whole[number] = shapely.union_all(shapely.get_parts(whole[number]))
    missing = shapely.is_missing(whole)
    whole[missing] = shapely.Point()
    result[areas] = whole
    return result


def _points_in_pixels(
    geometries: npt.NDArray[np.object_], crs: CRS | None, place: RasterPlace
) -> npt.NDArray[np.object_]:
    coordinates, owners = shapely.get_coordinates(geometries, return_index=True)
    pixels = place.points_to_pixels(coordinates, crs)
    with np.errstate(invalid="ignore"):
        # A point on the last edge lies in the next pixel, which is not there.
        inside = (pixels >= 0).all(axis=1) & (pixels < (place.width, place.height)).all(axis=1)
    result = np.full(len(geometries), shapely.Point(), object)
    counts = np.bincount(owners[inside], minlength=len(geometries))
    kept, points = owners[inside], shapely.points(pixels[inside])
    result[kept] = points
    for number in np.flatnonzero(counts > 1):
        result[number] = shapely.MultiPoint(list(points[kept == number]))
    return result


def _polygons_in_pixels(
    polygons: npt.NDArray[np.object_], owners: Indices, crs: CRS | None, place: RasterPlace, name: str
) -> tuple[npt.NDArray[np.object_], Indices]:
    try:
        parts, places = place.to_pixels(polygons, crs, name)
        return parts, owners[places]
    except InputError:
        if place.crs is None or len(polygons) == 0:
            raise
    # One of them reaches beyond what the raster's CRS can show: halve until it stands alone, and is left out.
    if len(polygons) == 1:
        return np.empty(0, object), np.empty(0, np.intp)
    half = len(polygons) // 2
    some = [
        _polygons_in_pixels(polygons[part], owners[part], crs, place, name) for part in (slice(half), slice(half, None))
    ]
    return np.concatenate([part[0] for part in some]), np.concatenate([part[1] for part in some])


def _without_class(places: Places, features: Features) -> list[Finding]:
    missing = places == UNLABELLED
    if not missing.any():
        return []
    return [
        _finding(
            "no-class", f"{{}} without a class in “{features.class_field}” {{}} left out.", features.numbers[missing]
        )
    ]


def _names(values: npt.NDArray[Any]) -> list[str]:
    return ["" if value is None or value != value else str(value).strip() for value in values]


def _finding(
    code: str, sentence: str, numbers: npt.NDArray[np.int64], one: str = "is", several: str = "are"
) -> Finding:
    """A finding on some features: how many, and is or are, stand in the sentence."""
    count = len(numbers)
    return Finding(
        code,
        sentence.format(f"{count} feature{'s' if count != 1 else ''}", one if count == 1 else several),
        tuple(map(int, numbers[:MOST_FEATURES])),
    )


def _nothing(features: Features, place: RasterPlace, table: _Shapes, findings: Sequence[Finding]) -> InputError:
    """The error for labels of which none can be used here."""
    codes = {finding.code for finding in findings}
    told = " ".join(finding.message for finding in findings if finding.code in _LEFT_OUT)
    if "outside" not in codes and told:
        return InputError(f"“{features.path}” holds no label that can be used: {told}")
    where = ""
    bounds = features.bounds
    if bounds is None and len(features.geometries):
        total = shapely.total_bounds(features.geometries)
        bounds = (
            (float(total[0]), float(total[1]), float(total[2]), float(total[3])) if np.isfinite(total).all() else None
        )
    if bounds is not None:
        there, here = _listed(bounds, features.crs or place.crs), _listed(place.bounds, place.crs)
        where = f": they lie at {there}, the raster at {here}"
    return InputError(
        f"No label of “{features.path}” lies in the raster{where}; check that they belong together, and their CRS"
        f" (--labels-crs).{f' {told}' if told else ''}"
    )


def _listed(bounds: Sequence[float], crs: CRS | None) -> str:
    return ", ".join(f"{number:.7g}" for number in bounds) + (f" in {crs_name(crs)}" if crs else "")
