"""From what QGIS shows to a job for the worker.

What QGIS knows and the file does not travels in the job: a CRS or nodata value set on the layer.
Area layers are always written out through QGIS's own feature source, so that unsaved edits,
filters, virtual and database layers come out as they are on the screen.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsFeature,
    QgsFeatureSource,
    QgsFields,
    QgsGeometry,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)

from ..errors import InputError
from ..models.reading import read_model_card
from ..models.store import resolve_model
from .compat import MULTI_POLYGON, POLYGON_GEOMETRY, WKT_PREFERRED, WRITER_NO_ERROR
from .export import RasterExport, has_pixels, plan_export
from .raster_facts import is_rendered

ONE_AREA = "Give either a polygon layer or an extent as the area, not both."


#: Letters of the name of an exported file.
_LONGEST_NAME = 80


@dataclass
class PreparedJob:
    """A job and what must be deleted after it.

    Args:
        job: as in a JSON job file.
        temporary: files and folders that only this job reads.
        warnings: sentences for the analyst about what could not be passed on.
        exports: number of a raster (from 0) → the export that must be made before the run.
        fallbacks: likewise, the export to make if the runtime cannot open the raster.
    """

    job: dict[str, Any]
    temporary: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    exports: dict[int, RasterExport] = field(default_factory=dict)
    fallbacks: dict[int, RasterExport] = field(default_factory=dict)

    def raster(self, number: int) -> str:
        """The file of a raster; where every raster is an image of its own, the job holds a list for each."""
        entry = self.job["rasters"][number]
        return str(entry[0] if isinstance(entry, list) else entry)

    def set_raster(self, number: int, path: str) -> None:
        """Let the worker read another file for a raster."""
        rasters = self.job["rasters"]
        rasters[number] = [path] if isinstance(rasters[number], list) else path

    def folder(self) -> Path:
        """A folder of the job's own for temporary files."""
        if not self.temporary:
            self.temporary.append(Path(tempfile.mkdtemp(prefix="thematica-")))
            # Processing may prepare a job and never run it.
            weakref.finalize(self, shutil.rmtree, self.temporary[0], ignore_errors=True)
        return self.temporary[0]

    def discard(self) -> None:
        """Delete the temporary files; may be called twice."""
        for path in self.temporary:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        self.temporary.clear()
        self.exports.clear()
        self.fallbacks.clear()


def raster_job(
    command: str,
    layers: Sequence[QgsRasterLayer],
    model: str,
    output: str,
    *,
    area_layer: QgsFeatureSource | None = None,
    area_selected_only: bool = False,
    extent: QgsRectangle | None = None,
    extent_crs: QgsCoordinateReferenceSystem | None = None,
    mask: QgsRasterLayer | None = None,
    options: dict[str, Any] | None = None,
) -> PreparedJob:
    """A job that classifies raster layers.  Call it in the thread that owns the layers.

    Args:
        command: of the program: ``classify-pixels`` or ``classify-patches``.
        layers: the raster layers, the one that gives the grid first.
        model: a name in the store or an ONNX file.
        output: the result to write.
        area_layer: polygons (a vector layer or a Processing feature source) to which the map is limited.
        area_selected_only: only the selected features of ``area_layer``.
        extent: rectangle to which the map is limited; at most one of it and ``area_layer``.
        extent_crs: its CRS; the first layer's where None or invalid.
        mask: a raster that marks what is classified.
        options: further keys of the job; None and ``""`` mean "not given".

    Raises:
        InputError: a raster can neither be read by the worker nor exported by QGIS, or the area cannot be used.
    """
    if not layers:
        raise InputError("Choose a raster layer.")
    for layer in layers:
        check_raster(layer)
    job: dict[str, Any] = {
        "command": command,
        "rasters": [raster_source(layer) or layer.name() for layer in layers],
        "model": model,
        "output": output,
    }
    prepared = PreparedJob(job)
    given = {key: value for key, value in (options or {}).items() if value is not None and value != ""}
    job.update(given)
    if mask is not None:
        check_mask(mask)
        prepared.warnings += _mask_warnings(mask)
        job["mask"] = raster_source(mask)
        if not job["mask"]:
            raise InputError(
                f"The mask “{mask.name()}” is no raster file that Thematica can open: export it first (right-click ▸ "
                "Export ▸ Save As…)."
            )
    if area_layer is not None and extent is not None and not extent.isNull():
        raise InputError(ONE_AREA)
    try:
        box = _add_area(prepared, layers[0], area_layer, area_selected_only, extent, extent_crs)
        plan_exports(prepared, layers, box)
        add_layer_knowledge(prepared, layers)
    except BaseException:
        prepared.discard()
        raise
    return prepared


def raster_inputs(layers: Sequence[QgsRasterLayer]) -> PreparedJob:
    """Raster layers as the program opens them where it reads their files again and again, as labelling does.

    Args:
        layers: the raster layers, the one that gives the grid first.

    Returns:
        ``rasters`` and, where they were set on the layers, ``raster_crs`` and ``nodata``; nothing temporary.

    Raises:
        InputError: no layer, a broken one, one that only QGIS can open, or several nodata values.
    """
    if not layers:
        raise InputError("Choose a raster layer.")
    prepared = PreparedJob({"rasters": []})
    for layer in layers:
        check_raster(layer)
        source = raster_source(layer)
        if not source:
            raise InputError(
                f"The layer “{layer.name()}” is no raster file that Thematica can open (a web map, a database, QGIS's "
                "memory or a sign-in): export the part that you label (right-click ▸ Export ▸ Save As…)."
            )
        prepared.job["rasters"].append(source)
    add_layer_knowledge(prepared, layers)
    return prepared


def _add_area(
    prepared: PreparedJob,
    first: QgsRasterLayer,
    area_layer: QgsFeatureSource | None,
    selected_only: bool,
    extent: QgsRectangle | None,
    extent_crs: QgsCoordinateReferenceSystem | None,
) -> QgsReferencedRectangle | None:
    """Put the area into the job; returns the rectangle around it, or None where there is no area."""
    job = prepared.job
    if area_layer is not None:
        job["area"] = str(write_area(area_layer, prepared.folder() / "area.gpkg", selected_only))
        selected = selected_only and isinstance(area_layer, QgsVectorLayer)
        around = area_layer.boundingBoxOfSelected() if selected else area_layer.sourceExtent()
        return QgsReferencedRectangle(around, area_layer.sourceCrs())
    if extent is None or extent.isNull():
        return None
    job["area"] = [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()]
    crs = extent_crs if extent_crs is not None and extent_crs.isValid() else first.crs()
    if crs.isValid():
        job["area_crs"] = crs.toWkt(WKT_PREFERRED)
    return QgsReferencedRectangle(extent, crs)


def plan_exports(prepared: PreparedJob, layers: Sequence[QgsRasterLayer], area: QgsReferencedRectangle | None) -> None:
    """Plan the export of layers that only QGIS can open, and of those that the runtime may turn out not to open.

    Args:
        prepared: the job, whose rasters these are.
        layers: the raster layers.
        area: the part that is needed; None: all.

    Raises:
        InputError: a layer must be exported and cannot be.
    """
    for index, layer in enumerate(layers):
        must = not raster_source(layer)
        try:
            part = _in_crs_of(layer, area) if area is not None else None
            pixel_size = None if has_pixels(layer) else _pixel_size(prepared.job)
            export = plan_export(layer, part, pixel_size)
            export.file_name = f"{scene_name(layer)}.tif"
            if must:
                _check_scale(prepared.job, layer)
        except InputError:
            if must:
                raise
            continue
        (prepared.exports if must else prepared.fallbacks)[index] = export
        if must:
            prepared.warnings.append(
                f"The layer “{layer.name()}” was exported for the run: {export.columns} × {export.rows} pixels."
            )


def _in_crs_of(layer: QgsRasterLayer, area: QgsReferencedRectangle) -> QgsRectangle:
    if not area.crs().isValid() or not layer.crs().isValid() or area.crs() == layer.crs():
        return QgsRectangle(area)
    transform = QgsCoordinateTransform(area.crs(), layer.crs(), QgsProject.instance().transformContext())
    try:
        return transform.transformBoundingBox(area)
    except QgsCsException as error:
        raise InputError(
            f"The area cannot be brought into the CRS of the layer “{layer.name()}”: choose another area.", str(error)
        ) from error


def _pixel_size(job: Mapping[str, Any]) -> float | None:
    """Pixel size on the ground for a web map: the one that was asked for, or the model's."""
    wanted = job.get("gsd")
    if isinstance(wanted, (int, float)):
        return float(wanted)
    if "model" not in job:
        return None
    return read_model_card(resolve_model(job["model"]), job.get("card")).gsd


def _check_scale(job: Mapping[str, Any], layer: QgsRasterLayer) -> None:
    """What QGIS exports has the layer's declared scale applied, which a model of stored numbers must not get."""
    provider = layer.dataProvider()
    numbers = range(1, provider.bandCount() + 1)
    if is_rendered(layer) or all((provider.bandScale(n), provider.bandOffset(n)) == (1.0, 0.0) for n in numbers):
        return
    wants_numbers = "model" in job and read_model_card(resolve_model(job["model"]), job.get("card")).unit == "dn"
    if "scale" in job or "offset" in job or wants_numbers:
        raise InputError(
            f"The layer “{layer.name()}” declares a scale, and QGIS exports it with that scale applied, but stored "
            "numbers are wanted: export it by hand (right-click ▸ Export ▸ Save As…, raw data) and classify the file."
        )


def check_raster(layer: QgsRasterLayer) -> None:
    """Refuse what nobody can read.

    Raises:
        InputError: the layer is broken.
    """
    if not layer.isValid():
        raise InputError(f"The layer “{layer.name()}” cannot be read: check that its file is still there.")


def check_mask(mask: QgsRasterLayer) -> None:
    """Refuse a mask that QGIS shows otherwise than its file says: other pixels would be classified, unseen.

    Raises:
        InputError: the layer is broken, or a CRS or nodata value was set on it that its file does not have.
    """
    check_raster(mask)
    provider = mask.dataProvider()
    if provider.crs().isValid() and mask.crs().isValid() and mask.crs() != provider.crs():
        raise InputError(
            f"The CRS that was set on the mask “{mask.name()}” is not its file's, which is what the run goes by: "
            "assign it to the file (Raster ▸ Projections ▸ Assign Projection…), or set the layer's CRS back."
        )
    # Marked is what is not 0 in the first band: as nodata, 0 changes nothing.
    declared = {0.0, provider.sourceNoDataValue(1)} if provider.sourceHasNoDataValue(1) else {0.0}
    added = [span for span in provider.userNoDataValues(1) if {span.min(), span.max()} - declared]
    if added:
        raise InputError(
            f"The nodata value that was set on the mask “{mask.name()}” ({_listed(added, set())}) is not its file's, "
            "which is what the run goes by: write it into the file (Raster ▸ Conversion ▸ Translate…, Assign nodata), "
            "or take it off in Layer Properties ▸ Transparency."
        )


def _mask_warnings(mask: QgsRasterLayer) -> list[str]:
    """What QGIS shows of a mask and the run does not see, where that does not move or change it."""
    provider, warnings = mask.dataProvider(), []
    if mask.crs().isValid() and not provider.crs().isValid():
        warnings.append(
            f"The CRS that was set on the mask “{mask.name()}” is not in its file and is not passed on. Assign it to "
            "the file (Raster ▸ Projections ▸ Assign Projection…)."
        )
    if provider.sourceHasNoDataValue(1) and not provider.useSourceNoDataValue(1):
        warnings.append(
            f"The mask “{mask.name()}” shows its file's nodata value as data, but nothing is classified there: change "
            "the file's nodata value if it is data."
        )
    return warnings


def raster_source(layer: QgsRasterLayer) -> str:
    """What the worker opens for a raster layer: a file, a ``/vsi…`` path or a subdataset's name.

    Empty where only QGIS can open it: another provider than GDAL, QGIS's memory, a sign-in, open options.
    """
    if layer.providerType() != "gdal":
        return ""
    parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    if "authcfg=" in layer.source() or parts.get("openOptions") or parts.get("credentialOptions"):
        return ""
    source = QgsProviderRegistry.instance().encodeUri("gdal", parts) or layer.source()
    if "/vsimem/" in source:
        return ""
    return os.path.abspath(source) if os.path.exists(source) else source


def scene_name(layer: QgsRasterLayer) -> str:
    """What the worker calls the scene that begins with a layer: its file without folders and ending.

    A layer that QGIS must export gets a file of its own name, as far as a file can be called so.
    """
    source = raster_source(layer)
    if source:
        return Path(source.split("|")[0]).stem or source
    plain = "".join(sign if sign.isalnum() or sign in " -_" else "_" for sign in layer.name()).strip()
    return plain[:_LONGEST_NAME].strip() or "raster"


def add_layer_knowledge(prepared: PreparedJob, layers: Sequence[QgsRasterLayer]) -> None:
    """Put CRS and nodata into the job that were set on the layers and differ from the files'.

    Raises:
        InputError: layers have different ones, and the job takes one.
    """
    exported = [layers[index] for index in prepared.exports]
    first = layers[0]
    if first in exported:
        pass  # the exported file has the layer's CRS
    elif first.crs().isValid() and first.crs() != first.dataProvider().crs():
        prepared.job["raster_crs"] = first.crs().toWkt(WKT_PREFERRED)
    for layer in layers[1:]:
        if layer.crs().isValid() and layer.crs() != layer.dataProvider().crs():
            prepared.warnings.append(
                f"The CRS that was set on the layer “{layer.name()}” is not the file's; only that of the first raster "
                "is passed on. Assign it to the file (Raster ▸ Projections ▸ Assign Projection…)."
            )
    if "nodata" in prepared.job:
        return  # given explicitly
    found = {layer.name(): value for layer in layers for value in [_nodata_set(prepared, layer)] if value is not None}
    if len(set(found.values())) > 1:
        texts = ", ".join(f"{value:g} for “{name}”" for name, value in found.items())
        raise InputError(f"The layers have several nodata values ({texts}); give one nodata value explicitly.")
    if found:
        prepared.job["nodata"] = next(iter(found.values()))


def _nodata_set(prepared: PreparedJob, layer: QgsRasterLayer) -> float | None:
    """The nodata value that was set on a layer, or None where it is the file's own."""
    provider, name = layer.dataProvider(), layer.name()
    numbers = range(1, provider.bandCount() + 1)
    spans = [span for number in numbers for span in provider.userNoDataValues(number)]
    added = {span.min() for span in spans if span.min() == span.max()}
    declared = {provider.sourceNoDataValue(number) for number in numbers if provider.sourceHasNoDataValue(number)}
    used = {
        provider.sourceNoDataValue(number)
        for number in numbers
        if provider.sourceHasNoDataValue(number) and provider.useSourceNoDataValue(number)
    }
    if any(span.min() != span.max() for span in spans) or (len(added | used) > 1 and added):
        raise InputError(
            f"The layer “{name}” has several nodata values ({_listed(spans, used)}); Thematica takes one: keep one in "
            "Layer Properties ▸ Transparency, or give the nodata value explicitly."
        )
    if added:
        return added.pop()
    if declared and not used:
        prepared.warnings.append(
            f"The layer “{name}” shows the file's nodata value as data, but the map has nodata there: change the "
            "file's nodata value if it is data."
        )
    return None


def _listed(spans: list[QgsRasterRange], used: set[float]) -> str:
    texts = [f"{span.min():g}" if span.min() == span.max() else f"{span.min():g} to {span.max():g}" for span in spans]
    return ", ".join(dict.fromkeys([*(f"{value:g}" for value in sorted(used)), *texts]))


def check_area(source: QgsFeatureSource) -> None:
    """Refuse what cannot limit a map.

    Raises:
        InputError: no polygon layer, or no CRS.
    """
    name = source.sourceName() or "area"
    if QgsWkbTypes.geometryType(source.wkbType()) != POLYGON_GEOMETRY:
        raise InputError(f"The area layer “{name}” has no polygons: choose a polygon layer.")
    if not source.sourceCrs().isValid():
        raise InputError(f"The area layer “{name}” has no CRS: set it (right-click ▸ Layer CRS) and try again.")


def write_area(source: QgsFeatureSource, path: Path, selected_only: bool = False) -> Path:
    """Write the polygons of a layer or Processing source, as they are on the screen, to a GeoPackage.

    Curves become segments, Z and M are dropped, attributes are left out.

    Raises:
        InputError: no polygon layer, no CRS, no features, or the file cannot be written.
    """
    check_area(source)
    name = source.sourceName() or "area"
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = "area"
    options.fileEncoding = "UTF-8"
    writer = QgsVectorFileWriter.create(
        str(path), QgsFields(), MULTI_POLYGON, source.sourceCrs(), QgsCoordinateTransformContext(), options
    )
    selected = selected_only and isinstance(source, QgsVectorLayer)
    written = 0
    for feature in source.getSelectedFeatures() if selected else source.getFeatures():
        geometry = feature.geometry()
        if geometry.isEmpty():
            continue
        plain = QgsGeometry(geometry.constGet().segmentize())
        plain.get().dropZValue()
        plain.get().dropMValue()
        area = QgsFeature()
        area.setGeometry(plain)
        writer.addFeature(area)
        written += 1
    failed, message = writer.hasError() != WRITER_NO_ERROR, writer.errorMessage()
    del writer  # closes the file
    if failed:
        raise InputError(f"The polygons of “{name}” could not be written to a temporary file: {message}.")
    if not written:
        what = "no selected polygons" if selected else "no polygons"
        raise InputError(f"The area layer “{name}” has {what} (a filter may hide them): choose another area.")
    return path
