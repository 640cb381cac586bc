"""What is known of a raster file before it is read: bands, types, declared scale, a sample of values."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from ..models.bands import Band
from ..models.fit import RasterFacts
from ..models.products import BandFile
from .opening import READ_ERRORS, damaged

# Side of the decimated sample from which the range of values is judged.
_SAMPLE_SIDE = 256


def read_facts(
    dataset: rasterio.DatasetReader, file: BandFile, gsd: float | None, sample: bool, nodata: float | None
) -> RasterFacts:
    """Facts of one file.

    Args:
        dataset: the open file.
        file: what its product says of it.
        gsd: its ground sampling distance.
        sample: whether to read values.
        nodata: the stored value of missing pixels, if it is not the declared one.

    Raises:
        InputError: the file is damaged (the sample cannot be read).
    """
    try:
        bands = _bands(dataset)
    except READ_ERRORS as error:
        raise damaged(file.path, error) from error
    types = dataset.dtypes
    scales, offsets = ([float(value) for value in values] for values in (dataset.scales, dataset.offsets))
    if all(scale == 1 for scale in scales) and not any(offsets):
        # The file's own word counts more than its product's.
        scales, offsets = [file.scale] * dataset.count, [file.offset] * dataset.count
    return RasterFacts(
        path=file.path,
        bands=bands,
        data_type=next((kind for kind in types if kind.startswith("c")), types[0]),
        scales=scales,
        offsets=offsets,
        gsd=gsd,
        sample=_sample(dataset, file.path, nodata) if sample and not types[0].startswith("c") else {},
        colours=[_COLOURS.get(colour, "") for colour in dataset.colorinterp],
    )


_COLOURS = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}


def _bands(dataset: rasterio.DatasetReader) -> list[Band]:
    bands = []
    for index in range(1, dataset.count + 1):
        tags = dataset.tags(index)
        unit = "alpha" if dataset.colorinterp[index - 1] == ColorInterp.alpha else (dataset.units[index - 1] or "")
        bands.append(Band(dataset.descriptions[index - 1] or "", *_spectral_tags(dataset, index, tags), unit))
    return bands


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
    except READ_ERRORS as error:
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
