"""Replacing files that QGIS shows: on Windows a file that is open cannot be replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

from qgis.core import QgsMapLayer, QgsProject, QgsProviderRegistry

from ..errors import OutputError


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


def layers_showing(paths: Sequence[str]) -> list[QgsMapLayer]:
    """The project's layers that show one of the files."""
    return [
        layer
        for layer in QgsProject.instance().mapLayers().values()
        if any(_same_file(file_of_layer(layer), path) for path in paths)
    ]


def release_layers(layers: Sequence[QgsMapLayer]) -> None:
    """Take layers out of the project, which closes their files."""
    QgsProject.instance().removeMapLayers([layer.id() for layer in layers])


def refuse_input_as_output(layer: QgsMapLayer, paths: Sequence[str]) -> None:
    """Refuse to write over the raster that is read.

    Raises:
        OutputError: one of the files is the layer's own.
    """
    for path in paths:
        if _same_file(file_of_layer(layer), path):
            raise OutputError(f"“{path}” is the raster that is classified: choose another file for the map.")
