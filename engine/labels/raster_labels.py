"""Labels that are a raster: every pixel has the code of its class, or none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.windows import Window

from ...errors import InputError
from ...models.card import distinct_colors
from ...models.label_classes import HIGHEST_CODE, LabelClass, with_colors
from ..bands_of_file import BandsOfFile
from ..grid import Grid, PixelMapping
from ..mask import laid_over
from ..opening import READ_ERRORS, damaged, open_raster
from ..raster_legend import Entry, read_legend
from ..validity import ValidityCheck
from .class_codes import MOST_CLASSES, ClassField
from .labels import UNLABELLED, Finding, Numbers, Places
from .quality import few_samples

# Side of the windows in which the labels are looked through once.
_SIDE = 512


class RasterLabels:
    """Labels of a raster on the pixels of an image; see :class:`.labels.LabelMap`.

    On another grid each pixel has the label at its centre.  The raster is looked through once, to know its codes.

    Args:
        path: the label raster.
        grid: the image's.
        band: which band holds the codes, from 1.
        ignore: codes that mean "no label"; nodata always does.
        classes: replace the names that the raster itself has (category names, attribute table, colour table).
        merge: classes, by name or code, that become part of others.
        crs: replaces the label raster's CRS.

    Raises:
        InputError: it cannot be read or laid over the image, or holds no codes of classes there.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        *,
        band: int = 1,
        ignore: Sequence[int] = (0,),
        classes: Sequence[LabelClass] | None = None,
        merge: Mapping[str, str] | None = None,
        crs: CRS | None = None,
    ) -> None:
        self.height, self.width = grid.height, grid.width
        self.findings: list[Finding] = []
        self._name = f"The label raster “{path}”"
        self._stack = ExitStack()
        try:
            dataset = self._stack.enter_context(open_raster(str(path)))
            if not 1 <= band <= dataset.count:
                raise InputError(f"{self._name} has no band {band}, only {dataset.count}.")
            if np.dtype(dataset.dtypes[band - 1]).kind not in "iuf":
                raise InputError(f"{self._name} holds complex numbers, no codes of classes.")
            own = Grid.of(dataset)
            own = laid_over(replace(own, crs=crs) if crs is not None else own, grid, self._name)
            mapping = PixelMapping(grid, own)
            if mapping.shift is None:
                self.findings.append(
                    Finding("other-grid", f"{self._name} has another grid than the image: the nearest label is taken.")
                )
            check = ValidityCheck(dataset, [band], [0], None)
            self._bands = BandsOfFile(dataset, 0, [band], [0], check, mapping, "nearest")
            self._ignore = np.array(sorted(ignore), np.int64)
            counts, self._occupied = self._look_through()
            if not counts:
                raise InputError(
                    f"{self._name} has no label in the image: all over it there is nodata, {self._ignored()}or "
                    "nothing; check that it is the right raster and lies in the right place."
                )
            named = _named(read_legend(dataset, band), counts, ignore) if classes is None else classes
            self._assign(named, counts, merge or {}, lambda: self._everywhere(dataset, band))
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> RasterLabels:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def read(self, row: int, col: int, height: int, width: int) -> tuple[Places, Numbers]:
        """The labels of a window: place of the class, (height, width); shapes there are none."""
        places = np.full((max(height, 0), max(width, 0)), UNLABELLED, np.int16)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.height), min(col + width, self.width)
        if top < bottom and left < right:
            codes, valid = self._codes(top, left, bottom - top, right - left)
            at = np.clip(np.searchsorted(self._known_codes, codes), 0, len(self._known_codes) - 1)
            part = np.where(valid & (self._known_codes[at] == codes), self._place_of_code[at], UNLABELLED)
            places[top - row : bottom - row, left - col : right - col] = part
        return places, np.full(places.shape, UNLABELLED, np.int32)

    def windows(self, side: int) -> Iterator[tuple[int, int, int, int]]:
        """The windows (row, col, height, width) of a lattice of this side that may hold labels, in reading order."""
        for row in range(0, self.height, side):
            height = min(side, self.height - row)
            strip = np.any(self._occupied[row // _SIDE : (row + height - 1) // _SIDE + 1], axis=0)
            for col in range(0, self.width, side):
                width = min(side, self.width - col)
                if np.any(strip[col // _SIDE : (col + width - 1) // _SIDE + 1]):
                    yield row, col, height, width

    def _codes(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes of a window inside the image, and where there is a label."""
        samples, by_band = self._bands.resampled(Window(col, row, width, height))
        stored = samples[0]
        valid = by_band[0].copy() if by_band is not None else np.ones(stored.shape, bool)
        if stored.dtype.kind == "f":
            valid &= np.isfinite(stored)
            stored = np.where(valid, stored, 0)
            if (stored != np.round(stored)).any():
                first = float(stored[stored != np.round(stored)][0])
                raise InputError(
                    f"{self._name} holds {first:g}, but codes of classes are whole numbers: choose a raster of classes."
                )
        codes = stored.astype(np.int64)
        valid &= ~np.isin(codes, self._ignore)
        return codes, valid

    def _look_through(self) -> tuple[dict[int, int], np.ndarray]:
        """How many pixels each code has, and which windows of a lattice hold labels."""
        counts: dict[int, int] = {}
        occupied = np.zeros((-(-self.height // _SIDE), -(-self.width // _SIDE)), bool)
        for i, j in np.ndindex(*occupied.shape):
            row, col = i * _SIDE, j * _SIDE
            codes, valid = self._codes(row, col, min(_SIDE, self.height - row), min(_SIDE, self.width - col))
            occupied[i, j] = valid.any()
            for code, count in zip(
                *(part.tolist() for part in np.unique(codes[valid], return_counts=True)), strict=True
            ):
                counts[code] = counts.get(code, 0) + count
            if len(counts) > MOST_CLASSES:
                raise InputError(
                    f"{self._name} holds more than {MOST_CLASSES} different values: it is an image, no raster of "
                    "classes."
                )
        return counts, occupied

    def _everywhere(self, dataset: rasterio.DatasetReader, band: int) -> set[int]:
        """All codes of the raster, also where the image is not; empty where these are no codes."""
        codes: set[int] = set()
        for row in range(0, dataset.height, _SIDE):
            for col in range(0, dataset.width, _SIDE):
                window = Window(col, row, min(_SIDE, dataset.width - col), min(_SIDE, dataset.height - row))
                try:
                    stored = dataset.read(band, window=window, masked=True).compressed()
                except READ_ERRORS as error:
                    raise damaged(dataset.name, error) from error
                different = np.unique(stored)
                whole = (different >= 0) & (different <= HIGHEST_CODE) & (different == np.round(different))
                codes.update(different[whole].astype(np.int64).tolist())
                if len(codes) > MOST_CLASSES:
                    return set()
        return codes - set(self._ignore.tolist())

    def _assign(
        self,
        known: Sequence[LabelClass],
        counts: Mapping[int, int],
        merge: Mapping[str, str],
        everywhere: Callable[[], set[int]],
    ) -> None:
        """The legend, and the place in it of each code."""
        codes = np.array(sorted(counts), np.int64)
        classes = ClassField(codes, known, "codes", self._name)
        self.findings += classes.findings
        try:
            classes.merge(merge)
        except InputError:
            # A class of the merge may lie elsewhere in the raster, on another image of the same training set.
            others = sorted(everywhere() - {entry.code for entry in classes.legend})
            if not others:
                raise
            named = [*classes.legend, *with_colors([(code, f"Class {code}") for code in others])]
            classes = ClassField(codes, named, "codes", self._name)
            classes.merge(merge)
        self.legend: Sequence[LabelClass] = classes.legend
        self._known_codes, self._place_of_code = codes, classes.places(codes)
        pixels = np.zeros(len(self.legend), np.int64)
        labelled = self._place_of_code != UNLABELLED
        np.add.at(pixels, self._place_of_code[labelled], np.array([counts[code] for code in codes[labelled].tolist()]))
        self.findings += few_samples(self.legend, pixels)

    def _ignored(self) -> str:
        return "".join(f"{code}, " for code in self._ignore)


def _named(legend: Mapping[int, Entry], counts: Mapping[int, int], ignore: Collection[int]) -> list[LabelClass]:
    """The classes that a raster's own legend names, and those of its codes that it gives but a colour."""
    codes = [code for code, entry in legend.items() if 0 <= code <= HIGHEST_CODE and code not in ignore]
    codes = [code for code in codes if legend[code].name or code in counts]
    names = [legend[code].name or f"Class {code}" for code in codes]
    folded = [name.casefold() for name in names]
    return [
        LabelClass(
            code,
            name if folded.count(name.casefold()) == 1 else f"{name} ({code})",
            legend[code].color or color,
        )
        for code, name, color in zip(codes, names, distinct_colors(len(codes)), strict=True)
    ]
