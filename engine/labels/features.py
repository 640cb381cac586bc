"""What a file of labels holds: features with a class near a raster, read from a vector file or a table of points."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import pyogrio.errors
import pyogrio.raw
import shapely
from rasterio.crs import CRS
from rasterio.errors import CRSError

from ...errors import InputError
from ...models.label_classes import TABLE
from ..raster_place import Box, RasterPlace
from ..vector_file import declared_crs, is_local, split_source
from .points_table import is_points_table, read_points_table

_LINES = ("LineString", "MultiLineString")
# Fields beside that of the class that are read, to see whether one of them disagrees with it.
_MOST_FIELDS = 20
_MOST_NAMED = 20
# Features that are looked at where none is near the raster.
_LOOKED_AT = 10_000
Values = npt.NDArray[Any]


@dataclass
class Features:
    """Features of a layer.

    Args:
        geometries: (n,) as they are stored, None where a feature has none; only those near the raster.
        numbers: (n,) of the features in their layer.
        columns: (n,) values of fields.
        everywhere: the class field's values of all features, wherever they lie.
        crs: None: that of the raster.
        class_field: the field's name as the layer spells it.
        path, layer: where they were read.
        count: features in all.
        bounds: where the layer lies, if that is known.
        notes: what was met, as (code, sentence).
    """

    geometries: npt.NDArray[np.object_]
    numbers: npt.NDArray[np.int64]
    columns: dict[str, Values]
    everywhere: Values
    crs: CRS | None
    class_field: str
    path: str
    layer: str
    count: int
    bounds: Box | None = None
    notes: list[tuple[str, str]] = field(default_factory=list)


def read_features(
    source: str, class_field: str, others: Sequence[str], place: RasterPlace, crs: CRS | None, where: str
) -> Features:
    """Read the features near a raster.

    Args:
        source: a vector file, perhaps with a layer and a filter as QGIS writes them; or a CSV table of points.
        class_field: the field that holds the class; empty: the only one, or the one that is called so.
        others: further fields that are needed.
        place: the raster.
        crs: replaces what the file says.
        where: a filter as OGR reads it.

    Raises:
        InputError: it cannot be read, or holds no such field.
    """
    path, options = split_source(source)
    # os.path, not Path: a name that is too long for the system is no file, and no error.
    if is_local(path) and not os.path.exists(path):
        raise InputError(f"There is no file “{path}” to take labels from; check the path.")
    if is_points_table(path):
        if where or options.get("subset"):
            raise InputError(f"“{path}” is a table, which cannot be filtered: leave the filter away.")
        return _table_features(path, class_field, others, place, crs)
    subset = options.get("subset", "").strip()
    if subset.lower().startswith("select "):
        raise InputError(f"The filter of “{path}” is a whole query: save what it shows as a layer of its own first.")
    filters = " AND ".join(f"({text})" for text in (subset, where.strip()) if text)
    layer = options.get("layername")
    try:
        try:
            return _vector_features(path, layer, class_field, others, place, crs, filters or None)
        except UnicodeDecodeError:
            # A Shapefile that does not say in which encoding its text is; or one that says it wrongly.
            return _vector_features(path, layer, class_field, others, place, crs, filters or None, "ISO-8859-1")
    except (pyogrio.errors.FeatureError, ValueError) as error:
        # Which is a kind of DataLayerError, too.
        if filters and isinstance(error, pyogrio.errors.FeatureError):
            raise InputError(
                f"The filter “{filters[:200]}” cannot be used on “{path}”: it names no field of it, or is no SQL.",
                str(error),
            ) from error
        raise _broken(path, error) from error
    except pyogrio.errors.DataLayerError as error:
        raise InputError(
            f"“{path}” has no layer “{layer or ''}” that can be read; it holds {_layers(path)}.", str(error)
        ) from error
    except pyogrio.errors.DataSourceError as error:
        if is_local(path) and not os.access(path, os.R_OK):
            raise InputError(f"“{path}” may not be read; change its permissions.", str(error)) from error
        raise InputError(
            f"“{path}” is not a vector file that can be read (or it is damaged): choose a GeoPackage, GeoJSON or "
            "Shapefile with polygons or points, or a CSV table of points.",
            str(error),
        ) from error
    except (pyogrio.errors.GeometryError, CRSError, shapely.errors.ShapelyError, UnboundLocalError) as error:
        # The last is what pyogrio 0.13 raises for a CRS that is no text.
        raise _broken(path, error) from error


def _broken(path: str, error: Exception) -> InputError:
    return InputError(
        f"“{path}” is damaged, or holds features that cannot be used, such as coordinates that are no numbers: mend it "
        "(Fix geometries in QGIS), or save it anew.",
        repr(error),
    )


def find_field(names: Iterable[str], wanted: str, what: str, path: str) -> str:
    """The field with this name, as the layer spells it.

    Raises:
        InputError: there is none; the sentence names those that there are.
    """
    names = list(names)
    if wanted in names:
        return wanted
    alike = [name for name in names if name.casefold() == wanted.casefold()]
    if len(alike) == 1:
        return alike[0]
    listed = ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
    if not names:
        raise InputError(f"“{path}” has no fields, so that it cannot say which class its features have: add one.")
    if not wanted:
        raise InputError(f"Say which field of “{path}” holds the {what} (--field); it has {listed}.")
    raise InputError(f"“{path}” has no field “{wanted[:80]}” for the {what}; it has {listed}.")


def _class_field(names: Sequence[str], wanted: str, path: str) -> str:
    if not wanted:
        called = [name for name in names if name.casefold() in ("class", "label", "class_id")]
        if len(called) == 1 or len(names) == 1:
            return called[0] if called else names[0]
    return find_field(names, wanted, "class", path)


def _vector_features(
    path: str,
    layer: str | None,
    class_field: str,
    others: Sequence[str],
    place: RasterPlace,
    crs: CRS | None,
    where: str | None,
    encoding: str | None = None,
) -> Features:
    notes: list[tuple[str, str]] = []
    layer = layer or _layer(path, class_field, notes)
    info = pyogrio.read_info(path, layer=layer, encoding=encoding, force_feature_count=True)
    names = [str(name) for name in info["fields"]]
    geometry_type = info["geometry_type"]
    if geometry_type is None:
        raise InputError(f"The layer “{layer}” of “{path}” is a table without geometry: choose polygons or points.")
    if str(geometry_type).split()[0] in _LINES:
        raise InputError(
            f"The layer “{layer}” of “{path}” holds lines, which cover no pixels: choose polygons or points (Buffer in "
            "QGIS makes polygons of lines)."
        )
    chosen = _class_field(names, class_field, path)
    wanted = [chosen, *(find_field(names, name, "image or date", path) for name in others if name)]
    types = {str(name): str(kind) for name, kind in zip(info["fields"], info["dtypes"], strict=True)}
    comparable = [name for name in names if name not in wanted and types[name].startswith(("int", "object", "float"))]
    columns = list(dict.fromkeys([*wanted, *comparable[:_MOST_FIELDS]]))
    layer_crs = crs or declared_crs(info["crs"])
    if layer_crs is None and place.crs is not None:
        raise InputError(
            f"“{path}” has no CRS, so that its place is unknown: set its CRS in QGIS or with --labels-crs."
        )
    reading: dict[str, Any] = {"layer": layer, "where": where, "encoding": encoding, "return_fids": True}
    _, _, _, (everywhere,) = pyogrio.raw.read(path, columns=[chosen], read_geometry=False, **reading)
    bounds = info["total_bounds"]
    known = tuple(float(value) for value in bounds) if bounds is not None and np.isfinite(bounds).all() else None
    boxes = _boxes(place, layer_crs, known)
    parts = [_read(path, columns, reading, box) for box in boxes]
    if boxes != [None] and not any(len(part[0]) for part in parts):
        # Nothing is near: some of it is looked at, to say why.
        parts = [_read(path, columns, reading, None, _LOOKED_AT)]
    numbers = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
    _, first = np.unique(numbers, return_index=True)
    stored = np.concatenate([np.empty(0, object), *(part[1] for part in parts)])[first]
    return Features(
        shapely.from_wkb(stored, on_invalid="ignore"),
        numbers[first],
        {name: np.concatenate([part[2][name] for part in parts])[first] for name in columns},
        everywhere,
        layer_crs,
        chosen,
        path,
        str(layer),
        len(everywhere),
        known,  # type: ignore[arg-type]
        notes,
    )


def _read(
    path: str, columns: list[str], reading: dict[str, Any], box: Box | None, most: int | None = None
) -> tuple[Values, Values, dict[str, Values]]:
    """Numbers, geometries as WKB and values of the features in a box."""
    meta, fids, stored, values = pyogrio.raw.read(
        path, columns=columns, bbox=box, max_features=most, force_2d=True, **reading
    )
    return fids, stored, dict(zip(map(str, meta["fields"]), values, strict=True))


def _layer(path: str, class_field: str, notes: list[tuple[str, str]]) -> str:
    """The layer to read where none is named: the first with geometry that has the field."""
    layers = [(str(name), kind) for name, kind in pyogrio.list_layers(path) if str(name) != TABLE]
    placed = [name for name, kind in layers if kind is not None]
    if not placed:
        raise InputError(f"“{path}” holds no layer with geometry: choose polygons or points.")
    holding = [
        name
        for name in placed
        if not class_field
        or class_field.casefold() in (str(f).casefold() for f in pyogrio.read_info(path, layer=name)["fields"])
    ]
    if len(holding) > 1:
        notes.append(("layer", f"Of the layers in “{path}” the first is taken, “{holding[0]}”."))
    return (holding or placed)[0]


def _layers(path: str) -> str:
    try:
        return ", ".join(f"“{entry[0]}”" for entry in pyogrio.list_layers(path)[:_MOST_NAMED]) or "none"
    except pyogrio.errors.DataSourceError:
        return "none"


def _boxes(place: RasterPlace, crs: CRS | None, bounds: Sequence[float] | None) -> list[Box | None]:
    """Where features are looked for, in the layer's CRS; None: everywhere."""
    if crs is None or place.crs is None:
        return [None]
    boxes = place.boxes_in(crs)
    if not boxes:
        return [None]
    turns = (-360, 0, 360) if crs.is_geographic else (0,)
    turned: list[Box] = [(box[0] + turn, box[1], box[2] + turn, box[3]) for box in boxes for turn in turns]
    if bounds is not None:
        for box in turned:
            if box[0] <= bounds[0] and box[1] <= bounds[1] and bounds[2] <= box[2] and bounds[3] <= box[3]:
                # All of them are near; those without a geometry are met, too.
                return [None]
        turned = [
            box
            for box in turned
            if box[0] <= bounds[2] and box[2] >= bounds[0] and box[1] <= bounds[3] and box[3] >= bounds[1]
        ] or turned[:1]
    return list(turned)


def _table_features(
    path: str, class_field: str, others: Sequence[str], place: RasterPlace, crs: CRS | None
) -> Features:
    table = read_points_table(path)
    names = [name for name in table.columns if name not in table.coordinates]
    chosen = _class_field(names, class_field, path)
    for name in others:
        if name:
            find_field(names, name, "image or date", path)
    table_crs = crs or (CRS.from_epsg(4326) if table.is_geographic else None)
    if table_crs is None and place.crs is not None:
        listed = " and ".join(table.coordinates)
        raise InputError(
            f"“{path}” gives {listed}, but no CRS, so that the place of its points is unknown: say it with "
            "--labels-crs."
        )
    if table.is_geographic and crs is None and place.crs is None:
        raise InputError(
            f"“{path}” gives longitude and latitude, but the raster has no CRS: set the raster's CRS (--raster-crs)."
        )
    geometries = shapely.points(table.points)
    geometries[~np.isfinite(table.points).all(axis=1)] = None
    return Features(
        geometries,
        np.arange(1, len(geometries) + 1, dtype=np.int64),
        {name: table.columns[name] for name in names},
        table.columns[chosen],
        table_crs,
        chosen,
        path,
        "",
        len(geometries),
        notes=table.notes,
    )
