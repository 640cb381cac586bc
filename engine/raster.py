"""Reading rasters: one or several files as the bands of one image, window by window with their validity.

Names follow the field: a *window* is a rectangle of pixels, a *block* is the file's own unit of
storage, *nodata* marks missing samples.  Files on other grids than the map's are resampled as they are read
(docs/stacks.md).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from ..errors import InputError
from ..models.bands import BandMatch, is_beside_spectra, is_categorical_name
from ..models.fit import RasterFacts
from .bands_of_file import BandsOfFile
from .facts import read_facts
from .grid import Grid, PixelMapping, output_grid
from .opening import LEAST_CACHE, MOST_CACHE, gdal_environment, open_raster
from .products import expand
from .raster_legend import has_names
from .validity import ValidityCheck

__all__ = ["RasterSource", "gdal_environment", "open_raster"]

# A map that covers less of the first raster than this is worth a sentence.
_TOLD_SHARE = 0.9
# How many times larger or smaller pixels may be than the map's: beyond lies only a damaged georeference.
_MOST_RATIO = 1e6
# What a plan of chunks takes for the blocks of rasters that are all resampled.
_RESAMPLED_BLOCK = (256, 256)


class RasterSource:
    """One or several rasters, read as the bands of a model on one grid.

    Args:
        paths: raster files, or folders of products; the first file that feeds the model gives the CRS.
        crs: replaces the first file's CRS (what the user set on the layer), and that of every file with the same or
            with none.
        nodata: replaces the declared nodata of all bands.
        gsd: ground sampling distance of the grid in metres; None: that of the finest file.
        resampling: how files on other grids are read, one of :data:`.resampling.METHODS`; None: by average where the
            map's pixels are coarser, else bilinear; classes and masks always by the nearest sample.

    Attributes:
        width, height, transform, crs: the grid; known once the bands are chosen, before it is the first file's.
        nodata_override: as ``nodata``.  Like ``nodata_default`` it is not for radar and elevation beside spectra.
        nodata_default: nodata of files that have no word for missing pixels (what the model's card says).
        warnings: sentences on the grid for the analyst; known once the bands are chosen.

    Raises:
        InputError: a file cannot be read.
    """

    def __init__(
        self,
        paths: Sequence[str],
        crs: CRS | None = None,
        nodata: float | None = None,
        gsd: float | None = None,
        resampling: str | None = None,
    ) -> None:
        self._stack = ExitStack()
        self.band_files = expand([str(path) for path in paths])
        self.paths = [file.path for file in self.band_files]
        try:
            self.datasets = [self._stack.enter_context(open_raster(path)) for path in self.paths]
        except BaseException:
            self._stack.close()
            raise
        self.grids = [Grid.of(dataset) for dataset in self.datasets]
        if crs is not None:
            own = self.grids[0].crs
            self.grids = [replace(grid, crs=crs) if grid.crs in (None, own) else grid for grid in self.grids]
        self.nodata_override = nodata
        self.nodata_default: float | None = None
        self.warnings: list[str] = []
        self._gsd, self._resampling = gsd, resampling
        self._matches: list[BandMatch] = []
        self._reads: list[BandsOfFile] = []
        self._missing: list[tuple[list[int], np.ndarray]] = []
        # Known once the bands are chosen.
        self.data_type = np.dtype(np.uint8)
        self._set_grid(self.grids[0])

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        self._stack.close()

    def _set_grid(self, grid: Grid) -> None:
        self.grid = grid
        self.width: int = grid.width
        self.height: int = grid.height
        self.transform: Affine = grid.transform
        self.crs: CRS | None = grid.crs

    @property
    def files(self) -> set[Path]:
        """All local files that are read, also those behind a virtual raster."""
        return {Path(name).resolve() for dataset in self.datasets for name in dataset.files if os.path.isfile(name)}

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of the blocks of the first file that is read as it is stored."""
        aligned = [bands.source for bands in self._reads if bands.shift is not None]
        source = 0 if 0 in aligned or not self._reads else next(iter(aligned), None)
        if source is None:
            return _RESAMPLED_BLOCK
        rows, columns = self.datasets[source].block_shapes[0]
        return rows, columns

    def cache_for(self, rows: int, columns: int) -> int:
        """Bytes of cache with which no block is decoded twice as chunks go down a strip.

        Args:
            rows: rows of a chunk with its margin.
            columns: width of a strip.
        """
        needed = 0.0
        for bands in self._reads:
            dataset = self.datasets[bands.source]
            # Pixel-interleaved files give all their bands at once, wanted or not.
            together = dataset.interleaving is not None and dataset.interleaving.name == "pixel"
            sample = (dataset.count if together else len(bands.bands)) * np.dtype(dataset.dtypes[0]).itemsize
            across, down = bands.size
            needed += (rows * down + 2 * dataset.block_shapes[0][0]) * columns * across * sample
        # Chunks that are being written have their blocks in the same cache.
        return int(min(max(2 * needed + LEAST_CACHE // 2, LEAST_CACHE), MOST_CACHE))

    def facts(self, sample: bool = True) -> list[RasterFacts]:
        """What is known of each file: bands, types, declared scale, ground sampling distance, a sample of values.

        Raises:
            InputError: the file is damaged (the sample cannot be read).
        """
        return [
            read_facts(dataset, file, grid.gsd, sample, self._nodata_of(source))
            for source, (dataset, file, grid) in enumerate(zip(self.datasets, self.band_files, self.grids, strict=True))
        ]

    def _nodata_of(self, source: int, apart: bool = False) -> float | None:
        """The nodata that replaces the file's own, or stands in where it declares none; see ``nodata_override``."""
        if self.nodata_override is not None and not apart:
            return self.nodata_override
        file, dataset = self.band_files[source], self.datasets[source]
        return file.nodata if all(value is None for value in dataset.nodatavals) else None

    def select(self, matches: Sequence[BandMatch], invalid: str = "any") -> None:
        """Choose the bands that :meth:`read` gives, and how missing samples make a pixel invalid; settles the grid.

        Args:
            matches: one raster band per model band.
            invalid: ``any``: a pixel is invalid if any chosen band is; ``all``: only if all are.

        Raises:
            InputError: the files that hold the bands cannot be laid over each other.
        """
        self._matches = list(matches)
        used = sorted({match.source - 1 for match in matches}) or [0]
        self._set_grid(
            output_grid([self.grids[source] for source in used], [self.paths[source] for source in used], self._gsd)
        )
        self._reads = [bands for source in used for bands in self._reads_of(source)]
        self.warnings = self._warnings(used)
        types = {np.dtype(self.datasets[match.source - 1].dtypes[match.band - 1]) for match in matches}
        self.data_type = np.result_type(*types) if types else self.data_type
        self._invalid = invalid

    def _reads_of(self, source: int) -> Iterator[BandsOfFile]:
        """Groups of a file's chosen bands that are read alike."""
        mapping = self._mapping_to(source)
        beside = [is_beside_spectra(match.model_band) for match in self._matches]
        groups: dict[tuple[str, bool], list[int]] = {}
        for place, match in enumerate(self._matches):
            if match.source - 1 == source:
                # An elevation of 0 is no missing pixel, whatever 0 means among the spectra beside it.
                apart = beside[place] and not all(beside)
                groups.setdefault((self._method(source, match.band, mapping), apart), []).append(place)
        for (method, apart), places in groups.items():
            dataset, bands = self.datasets[source], [self._matches[place].band for place in places]
            check = ValidityCheck(dataset, bands, places, self._nodata_of(source, apart))
            if not check.declares_missing and self.nodata_default is not None and not apart:
                check = ValidityCheck(dataset, bands, places, self.nodata_default)
            yield BandsOfFile(dataset, source, bands, places, check, mapping, method)

    def _warnings(self, used: Sequence[int]) -> list[str]:
        warnings = []
        for source in used:
            dataset = self.datasets[source]
            if not self.grids[source].is_placed and (dataset.gcps[0] or dataset.rpcs is not None):
                warnings.append(
                    f"“{self.paths[source]}” has only control points or RPCs, no grid: the map has no place on Earth. "
                    "If it needs one, warp the raster first (Warp in QGIS)."
                )
        first = self.grids[used[0]]
        if first.gsd and self.grid.gsd:
            share = self.width * self.height * self.grid.gsd**2 / (first.width * first.height * first.gsd**2)
            if share < _TOLD_SHARE:
                warnings.append(
                    f"The map covers {share:.0%} of “{self.paths[used[0]]}”: the part that all rasters have in common."
                )
        return warnings

    def _mapping_to(self, source: int) -> PixelMapping | None:
        """Where the map's pixels lie in a file; None where they are the file's own.

        Raises:
            InputError: the file's pixels are of no size that could be resampled.
        """
        if self.grid.same_as(self.grids[source]):
            return None
        mapping = PixelMapping(self.grid, self.grids[source])
        if not all(1 / _MOST_RATIO < side < _MOST_RATIO for side in mapping.size):
            raise InputError(
                f"The pixels of “{self.paths[source]}” and those of the map differ so much in size that the one says "
                "nothing of the other: check its georeference and CRS."
            )
        return mapping

    def _method(self, source: int, band: int, mapping: PixelMapping | None) -> str:
        if mapping is None or mapping.shift is not None:
            return ""
        dataset = self.datasets[source]
        if (
            dataset.colorinterp[band - 1] == ColorInterp.palette
            or has_names(dataset, band)
            or is_categorical_name(dataset.descriptions[band - 1] or Path(self.paths[source]).stem)
        ):
            return "nearest"
        coarser = math.sqrt(mapping.size[0] * mapping.size[1]) > 1.01
        return self._resampling or ("average" if coarser else "bilinear")

    def resampling_of(self, source: int) -> str:
        """How the bands of a file are brought to the grid: a method, ``none``, or ``unused``."""
        methods = sorted({bands.method or "none" for bands in self._reads if bands.source == source})
        return ", ".join(methods) or "unused"

    @property
    def invalid(self) -> str:
        """How missing samples make a pixel invalid; see :meth:`select`."""
        return self._invalid

    @property
    def reads(self) -> Sequence[BandsOfFile]:
        """The chosen bands in groups that are read together; known once they are chosen."""
        return self._reads

    @property
    def chosen(self) -> Sequence[BandMatch]:
        """The bands that :meth:`read` gives."""
        return self._matches

    @property
    def nodata(self) -> list[float | None]:
        """Of each chosen band the stored value of missing samples, or None."""
        values: list[float | None] = [None] * len(self._matches)
        for bands in self._reads:
            for place, value in zip(bands.places, bands.check.nodata, strict=True):
                values[place] = value
        return values

    @property
    def declares_missing(self) -> bool:
        """True where a file says which of the chosen pixels are missing: by nodata, a mask or alpha."""
        return any(bands.check.declares_missing for bands in self._reads)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Read the chosen bands of a window inside the grid.

        Returns:
            The samples as stored, shape (C, rows, columns), in the common type of the bands; and
            the validity (rows, columns), or None where every pixel is valid.

        Raises:
            InputError: a file is damaged there.
        """
        rows, columns = int(window.height), int(window.width)
        validity: list[np.ndarray | None] = []
        self._missing = []
        whole = len(self._reads) == 1 and self._reads[0].places == list(range(len(self._matches)))
        samples = np.empty((0 if whole else len(self._matches), rows, columns), self.data_type)
        for bands in self._reads:
            part, by_band = bands.read(window)
            if whole:
                samples = part if part.dtype == self.data_type else part.astype(self.data_type)
            else:
                samples[bands.places] = part
            if bands.shift is None:
                validity.append(self._combine(by_band) if by_band is not None else None)
                if by_band is not None:
                    self._missing.append((bands.places, ~by_band))
            elif bands.check.needed:
                validity.append(bands.check.valid(samples, bands.window(window), self._invalid))
            else:
                validity.append(None)
        valid: np.ndarray | None = None
        if self._invalid == "all" and not all(bands.may_miss for bands in self._reads):
            # A file that can never miss a pixel keeps all of them.
            return samples, None
        for check in validity:
            if check is None:
                if self._invalid == "all":
                    return samples, None
                continue
            if valid is None:
                valid = check
            else:
                valid = valid & check if self._invalid == "any" else valid | check
        if valid is not None and valid.all():
            valid = None
        return samples, valid

    def _combine(self, by_band: np.ndarray) -> np.ndarray:
        reduce = np.logical_and if self._invalid == "any" else np.logical_or
        result: np.ndarray = reduce.reduce(by_band, axis=0)
        return result

    def fill_single_bands(self, samples: np.ndarray, fill: np.ndarray) -> None:
        """Replace, in place, samples that are missing in pixels that are not: only the rule ``all`` has such.

        Args:
            samples: as the last :meth:`read` gave them.
            fill: per band, the sample that stands for a missing one.
        """
        if self._invalid != "all":
            return
        for bands in self._reads:
            if bands.shift is not None:
                bands.check.fill(samples, fill)
        for places, missing in self._missing:
            for place, holes in zip(places, missing, strict=True):
                samples[place][holes] = fill[place]
