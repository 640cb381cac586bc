"""From layers with labels, or from a folder of labelled patches, to a job that builds a training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qgis.core import QgsFeatureSource, QgsRasterLayer, QgsReferencedRectangle, QgsVectorLayer

from ..errors import InputError
from .job import PreparedJob, add_layer_knowledge, check_raster, plan_exports, raster_source
from .label_export import write_labels

#: Command of the program.
COMMAND = "build-dataset"
#: What a sample can be: name in the job → what the analyst reads.
KINDS = {
    "pixels": "Pixels: the spectrum of one pixel",
    "windows": "Windows: the pixels around a labelled one",
    "chips": "Chips: image pieces with a label for every pixel",
}
#: How samples are split.
SPLITS = {
    "blocks": "Blocks: whole blocks of ground and whole polygons",
    "polygons": "Polygons: whole polygons",
    "random": "Random: single samples (optimistic)",
}
#: Layouts of folders of labelled patches.
LAYOUTS = {
    "eurosat": "EuroSAT",
    "bigearthnet": "BigEarthNet (version 1)",
    "bigearthnet-v2": "BigEarthNet v2 (reBEN)",
}


@dataclass
class LabelSet:
    """Labels as QGIS shows them.

    Args:
        source: polygons or points, a layer or a source of Processing; or a raster layer of classes.
        field: the field with the class; empty for a raster.
        selected_only: only the selected features of a layer.
    """

    source: QgsFeatureSource | QgsRasterLayer
    field: str = ""
    selected_only: bool = False


def labels_job(
    layers: Sequence[QgsRasterLayer],
    labels: LabelSet,
    output: str,
    *,
    apart: bool = False,
    validation: LabelSet | None = None,
    test: LabelSet | None = None,
    options: dict[str, Any] | None = None,
) -> PreparedJob:
    """A job that builds a training set from rasters and labels.  Call it in the thread that owns the layers.

    Args:
        layers: the raster layers.
        labels: what is drawn on them.
        output: the folder to make.
        apart: every raster is an image of its own, not the bands of one.
        validation: labels that are kept for the validation part.
        test: labels that are kept for the test part.
        options: further keys of the job; None and ``""`` mean "not given".

    Raises:
        InputError: a layer can neither be read by the worker nor exported by QGIS.
    """
    if not layers:
        raise InputError("Choose a raster layer that the labels lie on.")
    for layer in layers:
        check_raster(layer)
    sources = [raster_source(layer) or layer.name() for layer in layers]
    rasters: list[Any] = [[source] for source in sources] if apart else list(sources)
    job: dict[str, Any] = {"command": COMMAND, "output": output, "rasters": rasters}
    job.update(_given(options))
    prepared = PreparedJob(job)
    try:
        job["labels"], job["field"] = _hand_over(prepared, "labels", labels)
        for key, given in (("validation_labels", validation), ("test_labels", test)):
            if given is not None:
                job[key], field = _hand_over(prepared, key, given)
                if field != job["field"]:
                    raise InputError(
                        f"The classes stand in “{job['field']}” of the labels and in “{field}” of those that are kept "
                        "apart: let the field have one name in all of them."
                    )
        plan_exports(prepared, layers, _around(labels))
        add_layer_knowledge(prepared, layers)
    except BaseException:
        prepared.discard()
        raise
    return prepared


def folder_job(folder: str, layout: str, output: str, options: dict[str, Any] | None = None) -> PreparedJob:
    """A job that builds a training set from a folder or archive of labelled patches.

    Args:
        folder: the folder, or a zip.
        layout: one of :data:`LAYOUTS`.
        output: the folder to make.
        options: further keys of the job; None and ``""`` mean "not given".
    """
    job = {"command": COMMAND, "output": output, "folder": folder, "layout": layout, **_given(options)}
    return PreparedJob(job)


def _given(options: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (options or {}).items() if value is not None and value != ""}


def _hand_over(prepared: PreparedJob, key: str, labels: LabelSet) -> tuple[str, str]:
    """The file with the labels and its field, for the worker: what is on the screen, unsaved edits included."""
    if isinstance(labels.source, QgsRasterLayer):
        check_raster(labels.source)
        source = raster_source(labels.source)
        if not source:
            raise InputError(
                f"The labels “{labels.source.name()}” are no raster file that Thematica can open: export them first "
                "(right-click ▸ Export ▸ Save As…)."
            )
        return source, ""
    if not labels.field:
        raise InputError(f"Choose the field of “{labels.source.sourceName()}” that holds the class.")
    written = write_labels(labels.source, prepared.folder() / f"{key}.gpkg", labels.field, labels.selected_only)
    prepared.warnings += written.warnings
    return str(written.path), written.field


def _around(labels: LabelSet) -> QgsReferencedRectangle | None:
    """The rectangle around the labels: of a layer that must be exported, no more than that is needed."""
    if isinstance(labels.source, QgsRasterLayer):
        return QgsReferencedRectangle(labels.source.extent(), labels.source.crs())
    if labels.selected_only and isinstance(labels.source, QgsVectorLayer):
        return QgsReferencedRectangle(labels.source.boundingBoxOfSelected(), labels.source.crs())
    return QgsReferencedRectangle(labels.source.sourceExtent(), labels.source.sourceCrs())
