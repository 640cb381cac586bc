"""Which layers show a file that is about to be replaced, and the one that must never be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

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


def layers_showing(path: str) -> list[QgsMapLayer]:
    """The project's layers that show a file."""
    return [layer for layer in QgsProject.instance().mapLayers().values() if _same_file(file_of_layer(layer), path)]


def refuse_input_as_output(layer: QgsMapLayer, paths: Sequence[str]) -> None:
    """Refuse to write over the raster that is read.

    Raises:
        OutputError: one of the files is the layer's own.
    """
    for path in paths:
        if _same_file(file_of_layer(layer), path):
            raise OutputError(f"“{path}” is the raster that is classified: choose another file for the map.")
