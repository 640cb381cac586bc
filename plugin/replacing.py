"""Files that QGIS shows and a run replaces: which layers show them, letting go of them, and the one never replaced."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from qgis.core import QgsMapLayer, QgsMapLayerStyle, QgsProject, QgsProviderRegistry, QgsVectorLayer

from ..errors import OutputError

#: Providers whose layers are files of ours: rasters, and polygons of patches.
_FILE_PROVIDERS = ("gdal", "ogr")


def file_of_layer(layer: QgsMapLayer) -> str:
    """The file that a layer shows, or empty where it is none."""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    return str(parts.get("path") or "")


def _same_file(one: str, other: str) -> bool:
    if not one or not other:
        return False
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return Path(one).absolute() == Path(other).absolute()


def layers_showing(path: str, project: QgsProject | None = None) -> list[QgsMapLayer]:
    """The layers of a project (the current one where None) that show a file."""
    layers = (project or QgsProject.instance()).mapLayers().values()
    return [layer for layer in layers if _same_file(file_of_layer(layer), path)]


def refuse_input_as_output(layers: Sequence[QgsMapLayer], paths: Sequence[str]) -> None:
    """Refuse to write over a raster that is read.

    Raises:
        OutputError: one of the files is a layer's own.
    """
    for path in paths:
        if any(_same_file(file_of_layer(layer), path) for layer in layers):
            raise OutputError(f"“{path}” is the raster that is classified: choose another file for the map.")


def refuse_edited_file(path: str, project: QgsProject | None = None) -> None:
    """Refuse to replace a file with unsaved edits.

    Raises:
        OutputError: a layer of the project shows the file and is being edited.
    """
    for layer in layers_showing(path, project):
        if isinstance(layer, QgsVectorLayer) and layer.isEditable():
            raise OutputError(
                f"The layer “{layer.name()}” is being edited, and a new result would replace its file “{path}”: "
                "save or discard the edits first, or choose another file."
            )


def refuse_held_file(path: str, project: QgsProject | None) -> None:
    """On Windows, refuse to replace a file that QGIS shows: Processing cannot ask for the layer to make way.

    Raises:
        OutputError: a layer of the project shows the file, or is being edited (on every system).
    """
    if project is not None:
        refuse_edited_file(path, project)
    held = layers_showing(path, project) if sys.platform == "win32" and project is not None else []
    if held:
        raise OutputError(
            f"The layer “{held[0].name()}” shows “{path}”, and Windows replaces no file that is open: "
            "remove the layer, or choose another file."
        )


def release_layers(path: str, project: QgsProject | None = None) -> Callable[[], None]:
    """Make QGIS let go of a file that is about to be replaced (Windows refuses otherwise).

    The layers stay in the project, unavailable for the time being.

    Returns:
        What to call afterwards, whether or not the file was replaced: the layers are read again. A file
        that did not change gets its layers' own styles back, a new one comes with its own.
    """
    project = project or QgsProject.instance()
    before = _fingerprint(path)
    released = []
    for layer in layers_showing(path, project):
        if layer.providerType() in _FILE_PROVIDERS:
            style = QgsMapLayerStyle()
            style.readFromLayer(layer)
            released.append((layer.id(), layer.source(), layer.providerType(), style))
            layer.setDataSource("", layer.name(), layer.providerType())

    def restore() -> None:
        is_new = _fingerprint(path) != before
        for layer_id, source, provider, style in released:
            layer = project.mapLayer(layer_id)
            if layer is None:
                continue  # removed by the analyst in the meantime
            layer.setDataSource(source, layer.name(), provider, is_new)
            if not is_new:
                style.writeToLayer(layer)
            layer.triggerRepaint()

    return restore


def _fingerprint(path: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
