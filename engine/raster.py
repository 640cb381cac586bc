"""Reading rasters: facts before anything runs, then windows with their validity.

Names follow the field: a *window* is a rectangle of pixels, a *block* is the file's own unit of
storage, *nodata* marks missing samples.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rasterio
import rasterio.errors
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from ..errors import InputError
from ..models.bands import Band, BandMatch
from ..models.fit import RasterFacts
from .ground_area import ground_sampling_distance

# Side of the decimated sample from which the range of values is judged.
_SAMPLE_SIDE = 256

# GDAL's shared cache of decoded blocks.  Set by us: its default is a share of the machine's memory.
_LEAST_CACHE, _MOST_CACHE = 64 << 20, 256 << 20


def gdal_environment(threads: int = 1, cache: int = _LEAST_CACHE) -> rasterio.Env:
    """The GDAL settings under which the engine reads and writes.

    Args:
        threads: threads that decode the blocks of one request side by side.
        cache: bytes for decoded blocks; see :meth:`RasterSource.cache_for`.
    """
    return rasterio.Env(
        GDAL_CACHEMAX=cache,
        GDAL_NUM_THREADS=str(threads),
        # A folder with a million files must not be listed to look for side-cars; known names are still tried.
        GDAL_DISABLE_READDIR_ON_OPEN="TRUE",
        GDAL_PAM_ENABLED="YES",
    )


def open_raster(path: str) -> rasterio.DatasetReader:
    """Open a raster for reading.

    Raises:
        InputError: no such file, or nothing that GDAL can read.
    """
    # QGIS appends options to a path behind a bar; but a bar may also stand in a file's name.
    plain = path if Path(path).exists() else path.split("|")[0]
    looks_local = not plain.startswith(("/vsi", "http:", "https:", "s3:")) and "://" not in plain
    is_subdataset = looks_local and ":" in plain[2:]
    if looks_local and not is_subdataset and not Path(plain).exists():
        raise InputError(f"There is no file “{plain}”; check the path.")
    if looks_local and Path(plain).is_file() and Path(plain).stat().st_size == 0:
        raise InputError(f"“{plain}” is empty; it holds no raster.")
    try:
        dataset = rasterio.open(plain)
    except rasterio.errors.RasterioIOError as error:
        if looks_local and Path(plain).exists() and not os.access(plain, os.R_OK):
            raise InputError(f"“{plain}” may not be read; change its permissions.", str(error)) from error
        raise InputError(
            f"“{plain}” is not a raster that can be read (or it is damaged): choose an image such as a GeoTIFF.",
            str(error),
        ) from error
    if dataset.count == 0:
        names = dataset.subdatasets
        dataset.close()
        hint = f"; it holds several, choose one of them, such as {names[0]}" if names else ""
        raise InputError(f"“{plain}” holds no image bands{hint}.")
    return dataset


class RasterSource:
    """One or several raster files on one grid, read as the bands of a model.

    Args:
        paths: the files; the first gives the grid.
        crs: replaces the first file's CRS (what the user set on the layer).
        nodata: replaces the declared nodata of all bands.

    Raises:
        InputError: a file cannot be read, or the files lie on different grids.
    """

    def __init__(self, paths: Sequence[str], crs: CRS | None = None, nodata: float | None = None) -> None:
        self._stack = ExitStack()
        self.paths = [str(path) for path in paths]
        try:
            self.datasets = [self._stack.enter_context(open_raster(path)) for path in self.paths]
            self._check_grids()
        except BaseException:
            self._stack.close()
            raise
        first = self.datasets[0]
        self.width: int = first.width
        self.height: int = first.height
        self.transform = first.transform
        self.crs: CRS | None = crs if crs is not None else first.crs
        self.nodata_override = nodata
        self._matches: list[BandMatch] = []
        self._reads: list[tuple[int, list[int], list[int]]] = []
        self._checks: list[_ValidityCheck] = []
        # Known once the bands are chosen.
        self.data_type = np.dtype(np.uint8)

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        self._stack.close()

    def _check_grids(self) -> None:
        first = self.datasets[0]
        for dataset in self.datasets[1:]:
            same_size = (dataset.width, dataset.height) == (first.width, first.height)
            if not same_size or not dataset.transform.almost_equals(first.transform, precision=1e-6):
                raise InputError(
                    f"“{dataset.name}” lies on another grid than “{first.name}” "
                    f"({dataset.width} × {dataset.height} against {first.width} × {first.height} pixels or another "
                    "origin or resolution): bring the files onto one grid first (gdal_merge, or Warp in QGIS)."
                )

    @property
    def files(self) -> set[Path]:
        """All local files that are read, also those behind a virtual raster."""
        return {Path(name).resolve() for dataset in self.datasets for name in dataset.files if os.path.isfile(name)}

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of the first file's blocks."""
        rows, columns = self.datasets[0].block_shapes[0]
        return rows, columns

    def cache_for(self, rows: int, columns: int) -> int:
        """Bytes of cache with which no block is decoded twice as chunks go down a strip.

        Args:
            rows: rows of a chunk with its margin.
            columns: width of a strip.
        """
        sample = 0
        for source, bands, _ in self._reads:
            dataset = self.datasets[source]
            # Pixel-interleaved files give all their bands at once, wanted or not.
            together = dataset.interleaving is not None and dataset.interleaving.name == "pixel"
            sample += (dataset.count if together else len(bands)) * np.dtype(dataset.dtypes[0]).itemsize
        rows += 2 * self.block_shape[0]
        # Chunks that are being written have their blocks in the same cache.
        return min(max(2 * rows * columns * sample + _LEAST_CACHE // 2, _LEAST_CACHE), _MOST_CACHE)

    def facts(self, sample: bool = True) -> list[RasterFacts]:
        """What is known of each file: bands, types, declared scale, ground sampling distance, a sample of values.

        Raises:
            InputError: the file is damaged (the sample cannot be read).
        """
        gsd = ground_sampling_distance(self.crs, self.transform, self.width, self.height)
        return [
            _facts(dataset, path, gsd, sample, self.nodata_override)
            for dataset, path in zip(self.datasets, self.paths, strict=True)
        ]

    def select(self, matches: Sequence[BandMatch], invalid: str = "any") -> None:
        """Choose the bands that :meth:`read` gives, and how missing samples make a pixel invalid.

        Args:
            matches: one raster band per model band.
            invalid: ``any``: a pixel is invalid if any chosen band is; ``all``: only if all are.
        """
        self._matches = list(matches)
        self._reads = []
        for source, _dataset in enumerate(self.datasets, start=1):
            places = [index for index, match in enumerate(matches) if match.source == source]
            if places:
                self._reads.append((source - 1, [matches[index].band for index in places], places))
        types = {np.dtype(self.datasets[match.source - 1].dtypes[match.band - 1]) for match in matches}
        self.data_type = np.result_type(*types) if types else self.data_type
        self._checks = [
            _ValidityCheck(self.datasets[source], bands, places, self.nodata_override)
            for source, bands, places in self._reads
        ]
        self._invalid = invalid

    @property
    def declares_missing(self) -> bool:
        """True where a file says which of the chosen pixels are missing: by nodata, a mask or alpha."""
        return any(check.declares_missing for check in self._checks)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Read the chosen bands of a window inside the raster.

        Returns:
            The samples as stored, shape (C, rows, columns), in the common type of the bands; and
            the validity (rows, columns), or None where every pixel is valid.

        Raises:
            InputError: the file is damaged there.
        """
        rows, columns = int(window.height), int(window.width)
        if len(self._reads) == 1 and self._reads[0][2] == list(range(len(self._matches))):
            source, bands, _ = self._reads[0]
            samples = self._read_bands(source, bands, window)
            if samples.dtype != self.data_type:
                samples = samples.astype(self.data_type)
        else:
            samples = np.empty((len(self._matches), rows, columns), self.data_type)
            for source, bands, places in self._reads:
                samples[places] = self._read_bands(source, bands, window)
        valid: np.ndarray | None = None
        if self._invalid == "all" and not all(check.needed for check in self._checks):
            # A file that can never miss a pixel keeps all of them.
            return samples, None
        for check in self._checks:
            part = check.valid(samples, window, self._invalid) if check.needed else None
            if part is None:
                continue
            if valid is None:
                valid = part
            else:
                valid = valid & part if self._invalid == "any" else valid | part
        if valid is not None and valid.all():
            valid = None
        return samples, valid

    def fill_single_bands(self, samples: np.ndarray, fill: np.ndarray) -> None:
        """Replace, in place, samples that are missing in pixels that are not: only the rule ``all`` has such.

        Args:
            samples: as :meth:`read` gives them.
            fill: per band, the sample that stands for a missing one.
        """
        if self._invalid == "all":
            for check in self._checks:
                check.fill(samples, fill)

    def _read_bands(self, source: int, bands: list[int], window: Window) -> np.ndarray:
        dataset = self.datasets[source]
        try:
            return dataset.read(bands, window=window)
        except rasterio.errors.RasterioIOError as error:
            raise damaged(self.paths[source], error) from error


class _ValidityCheck:
    """Finds the missing pixels of one file's chosen bands."""

    def __init__(
        self, dataset: rasterio.DatasetReader, bands: list[int], places: list[int], nodata: float | None
    ) -> None:
        self.dataset, self.bands, self.places = dataset, bands, places
        self.nodata: list[float | None] = []
        for band in bands:
            declared = nodata if nodata is not None else dataset.nodatavals[band - 1]
            self.nodata.append(_representable(declared, np.dtype(dataset.dtypes[band - 1])))
        self.is_float = any(np.dtype(dataset.dtypes[band - 1]).kind == "f" for band in bands)
        flags = dataset.mask_flag_enums
        # GDAL takes the fourth band of any file of bytes for alpha; who feeds it to the model knows better.
        self.alpha = next(
            (
                index
                for index, kind in enumerate(dataset.colorinterp, start=1)
                if kind == ColorInterp.alpha and index not in bands
            ),
            0,
        )
        # Bands with a mask of their own have no flag at all.
        self.own_masks = [band for band in bands if flags[band - 1] == []]
        self.has_mask = not self.alpha and any(
            MaskFlags.per_dataset in flags[band - 1] and MaskFlags.alpha not in flags[band - 1] for band in bands
        )
        self.declares_missing = (
            self.has_mask or bool(self.own_masks or self.alpha) or any(value is not None for value in self.nodata)
        )
        self.needed = self.is_float or self.declares_missing

    def valid(self, samples: np.ndarray, window: Window, rule: str) -> np.ndarray | None:
        """Validity of the window's pixels, or None where all are valid."""
        result: np.ndarray | None = None

        def combine(part: np.ndarray) -> None:
            nonlocal result
            if result is None:
                result = part
            elif rule == "any":
                result &= part
            else:
                result |= part

        try:
            if self.is_float or self.own_masks or any(value is not None for value in self.nodata):
                for band, place, nodata in zip(self.bands, self.places, self.nodata, strict=True):
                    part = self._valid_samples(samples[place], nodata)
                    if band in self.own_masks:
                        mask = self.dataset.read_masks(band, window=window) != 0
                        part = mask if part is None else part & mask
                    if part is not None:
                        combine(part)
                    elif rule == "all":
                        # One band that can never be missing keeps every pixel valid under this rule.
                        combine(np.ones(samples[place].shape, bool))
            if self.alpha:
                alpha = self.dataset.read(self.alpha, window=window) != 0
                result = alpha if result is None else result & alpha
            elif self.has_mask:
                mask = self.dataset.read_masks(self.bands[0], window=window) != 0
                result = mask if result is None else result & mask
        except rasterio.errors.RasterioIOError as error:
            raise damaged(self.dataset.name, error) from error
        return result

    def fill(self, samples: np.ndarray, fill: np.ndarray) -> None:
        """Replace the missing samples of each band by themselves."""
        for place, nodata in zip(self.places, self.nodata, strict=True):
            valid = self._valid_samples(samples[place], nodata)
            if valid is not None:
                samples[place][~valid] = fill[place]

    def _valid_samples(self, band: np.ndarray, nodata: float | None) -> np.ndarray | None:
        part: np.ndarray | None = None
        if nodata is not None and not math.isnan(nodata):
            # Stored as float32, -3.4e38 is not the same number as in the header's decimals.
            part = band != band.dtype.type(nodata)
        if self.is_float:
            finite = np.isfinite(band)
            part = finite if part is None else part & finite
        return part


def damaged(path: str, error: Exception) -> InputError:
    """The error for a file that can be opened but not read to its end."""
    return InputError(
        f"“{path}” is damaged or cut off: a part of it cannot be read. Copy or download it again.", str(error)
    )


def _representable(nodata: float | None, data_type: np.dtype) -> float | None:
    """A nodata value that the type can hold, else None: -9999 in an unsigned image marks nothing."""
    if nodata is None:
        return None
    if data_type.kind == "f":
        return nodata
    if math.isnan(nodata) or math.isinf(nodata) or data_type.kind == "c":
        return None
    limits = np.iinfo(data_type)
    return nodata if limits.min <= nodata <= limits.max and float(nodata).is_integer() else None


def _facts(
    dataset: rasterio.DatasetReader, path: str, gsd: float | None, sample: bool, nodata: float | None
) -> RasterFacts:
    bands = []
    for index in range(1, dataset.count + 1):
        tags = dataset.tags(index)
        unit = "alpha" if dataset.colorinterp[index - 1] == ColorInterp.alpha else (dataset.units[index - 1] or "")
        bands.append(Band(dataset.descriptions[index - 1] or "", *_spectral_tags(dataset, index, tags), unit))
    types = dataset.dtypes
    return RasterFacts(
        path=path,
        bands=bands,
        data_type=next((kind for kind in types if kind.startswith("c")), types[0]),
        scales=[float(scale) for scale in dataset.scales],
        offsets=[float(offset) for offset in dataset.offsets],
        gsd=gsd,
        sample=_sample(dataset, path, nodata) if sample and not types[0].startswith("c") else {},
    )


def _spectral_tags(dataset: rasterio.DatasetReader, index: int, tags: dict[str, str]) -> tuple[str, float | None]:
    """Common name and centre wavelength in micrometres, as GDAL's drivers put them in band metadata."""
    lowered = {key.lower(): value for key, value in tags.items()}
    imagery = {key.lower(): value for key, value in dataset.tags(index, ns="IMAGERY").items()}
    common = lowered.get("common_name", "")
    raw = imagery.get("central_wavelength_um") or lowered.get("wavelength") or lowered.get("center_wavelength")
    if raw is None:
        return common, None
    try:
        wavelength = float(raw)
    except ValueError:
        return common, None
    units = lowered.get("wavelength_units", "").lower()
    # Nanometres are written as numbers in the hundreds, micrometres as 0.4 to 15.
    if units.startswith("nano") or (not units.startswith("micro") and wavelength > 100):
        wavelength /= 1000
    return common, wavelength


def _sample(dataset: rasterio.DatasetReader, path: str, nodata: float | None) -> dict[int, tuple[float, float]]:
    """2nd and 98th percentile of each band, from blocks spread over the file or from an overview."""
    height, width = dataset.height, dataset.width
    has_overview = bool(dataset.overviews(1))
    windows: list[Window]
    shape: tuple[int, int] | None = None
    if has_overview or height * width <= 4 * _SAMPLE_SIDE**2:
        windows = [Window(0, 0, width, height)]
        shape = (min(height, _SAMPLE_SIDE), min(width, _SAMPLE_SIDE))
    else:
        # A decimated read of a large file without overviews would decode all of it.
        side = _SAMPLE_SIDE // 2
        windows = [
            Window(int((width - side) * x), int((height - side) * y), side, side)
            for y in (0.2, 0.5, 0.8)
            for x in (0.2, 0.5, 0.8)
            if width > side and height > side
        ] or [Window(0, 0, min(width, side), min(height, side))]
    result: dict[int, tuple[float, float]] = {}
    try:
        # All bands of a window at once: in pixel-interleaved files a band alone costs as much as all.
        parts = [
            dataset.read(window=window, masked=True, **({"out_shape": (dataset.count, *shape)} if shape else {}))
            for window in windows
        ]
    except rasterio.errors.RasterioIOError as error:
        raise damaged(path, error) from error
    for index in range(1, dataset.count + 1):
        values = np.concatenate([part[index - 1].compressed() for part in parts]).astype(np.float64)
        values = values[np.isfinite(values)]
        if nodata is not None:
            values = values[values != nodata]
        if values.size:
            low, high = np.percentile(values, [2, 98])
            result[index] = (float(low), float(high))
    return result
