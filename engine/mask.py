"""A raster that says which pixels are to be mapped."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from ..errors import InputError
from .area_of_interest import AreaOfInterest
from .bands_of_file import BandsOfFile
from .grid import Grid, PixelMapping
from .opening import open_raster
from .validity import ValidityCheck


class MaskedArea(AreaOfInterest):
    """The pixels of a grid at whose centres a mask raster's first band is neither 0 nor missing.

    Args:
        path: the mask, on a grid of its own; without georeference it must have the grid's size.
        grid: the map's grid.
        inside: an area that is narrowed further, or None.

    Raises:
        InputError: the mask cannot be read or laid over the grid, or leaves no pixel.
    """

    def __init__(self, path: str, grid: Grid, inside: AreaOfInterest | None = None) -> None:
        self._inside = inside
        self.window = inside.window if inside is not None else Window(0, 0, grid.width, grid.height)
        self._stack = ExitStack()
        try:
            dataset = self._stack.enter_context(open_raster(path))
            mapping = PixelMapping(grid, laid_over(Grid.of(dataset), grid, f"The mask “{path}”"))
            self._bands = BandsOfFile(dataset, 0, [1], [0], ValidityCheck(dataset, [1], [0], None), mapping, "nearest")
            if self.is_empty():
                where = "the area" if inside is not None else "the raster"
                raise InputError(
                    f"The mask “{path}” leaves nothing to classify: all over {where} it is 0, nodata or absent; check "
                    "that it is the right mask (pixels that are not 0 are classified) and lies in the right place."
                )
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> MaskedArea:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()

    def touches(self, row: int, col: int, height: int, width: int) -> bool:
        """False only if no pixel of the window lies in the area around; the mask is looked at by :meth:`mask`."""
        return self._inside is None or self._inside.touches(row, col, height, width)

    def mask(self, row: int, col: int, height: int, width: int) -> npt.NDArray[np.bool_] | None:
        """The pixels of a window that are marked, (height, width); None where all are."""
        samples, valid = self._bands.resampled(Window(col, row, width, height))
        marked: npt.NDArray[np.bool_] = samples[0] != 0
        if valid is not None:
            marked &= valid[0]
        around = self._inside.mask(row, col, height, width) if self._inside is not None else None
        if around is not None:
            marked &= around
        return None if marked.all() else marked


def laid_over(mask: Grid, grid: Grid, name: str) -> Grid:
    """A mask's grid with what it lacks taken from the raster's.

    Args:
        mask: of the mask, or of another raster whose pixels go with the raster's.
        grid: the raster's.
        name: what the mask is called at the beginning of a sentence.

    Raises:
        InputError: nobody knows where it lies over the raster.
    """
    same_size = (mask.width, mask.height) == (grid.width, grid.height)
    if not mask.is_placed or not grid.is_placed:
        if same_size:
            return replace(grid)
        raise InputError(
            f"{name} ({mask.width} × {mask.height} pixels) and the raster ({grid.width} × {grid.height}) are not both "
            "georeferenced, so they must have the same size: choose one that has, or georeference it."
        )
    if (mask.crs is None) != (grid.crs is None) and not mask.same_as(grid):
        lacking = name if mask.crs is None else "The raster"
        raise InputError(f"{lacking} has no CRS, so nobody knows where the one lies over the other: set its CRS.")
    return mask
