"""Which samples of a file are missing: by nodata, NaN, masks and alpha."""

from __future__ import annotations

import math

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from .opening import READ_ERRORS, damaged


class ValidityCheck:
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
        except READ_ERRORS as error:
            raise damaged(self.dataset.name, error) from error
        return result

    def valid_by_band(
        self, samples: np.ndarray, window: Window, shape: tuple[int, int] | None = None
    ) -> np.ndarray | None:
        """Validity of every band of its own, (C, rows, columns), or None where all samples are valid.

        Args:
            samples: this file's chosen bands alone, (C, rows, columns).
            window: where they lie in the file.
            shape: rows and columns, where fewer samples were read than the window has.
        """
        if not self.needed:
            return None
        result = np.ones(samples.shape, bool)
        try:
            for place, (band, nodata) in enumerate(zip(self.bands, self.nodata, strict=True)):
                part = self._valid_samples(samples[place], nodata)
                if part is not None:
                    result[place] = part
                if band in self.own_masks:
                    result[place] &= self.dataset.read_masks(band, window=window, out_shape=shape) != 0
            if self.alpha:
                result &= self.dataset.read(self.alpha, window=window, out_shape=shape) != 0
            elif self.has_mask:
                result &= self.dataset.read_masks(self.bands[0], window=window, out_shape=shape) != 0
        except READ_ERRORS as error:
            raise damaged(self.dataset.name, error) from error
        return None if result.all() else result

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
