"""Reading a whole label layer, in a process of its own."""

from __future__ import annotations

from rasterio.crs import CRS

from thematica.engine.grid import Grid
from thematica.engine.labels.open_labels import open_labels
from thematica.errors import InputError

from ..engine.labels.layers import NORTH_UP


def read_all(arguments: list[str]) -> int:
    """Exit status 2 where the layer is refused."""
    try:
        with open_labels(arguments[0], "class", Grid(CRS.from_epsg(32632), NORTH_UP, 60, 40)) as labels:
            for window in labels.windows(16):
                labels.read(*window)
    except InputError:
        return 2
    return 0
