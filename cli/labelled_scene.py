"""An image of the engine with labels of the engine, as the trainer wants it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.windows import Window

from ..engine.image import Image
from ..engine.labels.labels import LabelMap, Labels
from ..engine.opening import READ_ERRORS
from ..models.bands import Band
from ..trainer.dataset.scene import UNLABELLED, SceneBand

# Pieces of a file that its quick checksum looks at.
_PIECES, _PIECE = 16, 64 << 10
# A picture of a scene has sides up to this; and beyond so many pixels none is made.
_PICTURE_SIDE, _MOST_PIXELS = 1200, 400_000_000


class ImageWithLabels:
    """See :class:`..trainer.dataset.scene.LabelledScene`.

    Args:
        image: open.
        labels: on the image's pixels.
        name: of the scene.
        files: what the labels were read from, themselves first.
        split: the part that these labels are kept for, or empty.
        scale, offset: replace what the raster declares; a scale alone replaces a declared offset, too.
        asked: how image and labels are read, as far as it does not show in them: another text, another scene.
    """

    def __init__(
        self,
        image: Image,
        labels: LabelMap,
        name: str,
        files: Sequence[str | Path],
        split: str = "",
        scale: float | None = None,
        offset: float | None = None,
        asked: str = "",
    ) -> None:
        source = image.source
        self.image, self.label_map, self.name, self.split = image, labels, name, split
        #: File and band of each band, from 1.
        self.numbers = list(image.numbers)
        #: Whether each band's name says what it is; else it was made of its file's.
        self.named = list(image.named)
        self.height, self.width = source.height, source.width
        self.dtype: np.dtype[Any] = np.dtype(source.data_type)
        self.legend = labels.legend
        self.gsd: float | None = source.grid.gsd
        a, b, c, d, e, f = source.transform[:6]
        self.transform: tuple[float, float, float, float, float, float] | None = (
            (a, b, c, d, e, f) if source.grid.is_placed else None
        )
        self.crs: str = source.crs.to_wkt() if source.crs else ""
        self._scale, self._offset, self._asked = scale, offset, asked
        self.bands: Sequence[SceneBand] = self.scene_bands(image.bands, image.scales, image.nodata)
        paths = sorted(source.files | {Path(path).resolve() for path in files})
        self._described = [_file(path) for path in paths if path.is_file()]
        # Shapes are known by what they are: QGIS hands them over in another temporary file every time.
        shapes = getattr(labels, "labels", None)
        self._content = _mark(shapes) if isinstance(shapes, Labels) else ""
        self.polygons = shapes.features if isinstance(shapes, Labels) else None
        self.layer = str(Path(files[0]).resolve())
        self._told_by_content = {str(Path(path).resolve()) for path in files[:1]} if self._content else set()

    def scene_bands(
        self, bands: Sequence[Band], scales: Sequence[tuple[float, float]], nodata: Sequence[float | None]
    ) -> list[SceneBand]:
        """Bands as the trainer wants them, with the scale that was given or that each declares."""
        return [
            SceneBand(band, *self._scale_of(declared), missing)
            for band, declared, missing in zip(bands, scales, nodata, strict=True)
        ]

    def _scale_of(self, declared: tuple[float, float]) -> tuple[float, float]:
        """Scale and offset as :func:`..models.fit.check_fit` takes them for classification."""
        scale, offset = declared
        if self._scale is not None:
            scale, offset = self._scale, 0.0
        return scale, offset if self._offset is None else self._offset

    def call_bands_as(self, other: ImageWithLabels) -> None:
        """Give bands without a name of their own that of another scene's band of the same place, if that has none."""
        pairs = zip(self.bands, other.bands, self.named, other.named, strict=False)
        bands = [
            own if named or its_named else replace(own, band=replace(own.band, name=its.band.name))
            for own, its, named, its_named in pairs
        ]
        self.bands = [*bands, *self.bands[len(bands) :]]

    @property
    def fingerprint(self) -> str:
        """Changes when a file does, or what is taken from it."""
        marks = [
            f"{entry['name']} {entry['bytes']} {entry['modified']} {entry['fingerprint']}"
            for entry in self._described
            if entry["path"] not in self._told_by_content
        ]
        marks += [self._content, self._asked]
        marks += [str(self.numbers), self.crs, str(self.transform), str(self.bands), str(list(self.legend)), self.split]
        return hashlib.sha256("\0".join(marks).encode("utf-8", "replace")).hexdigest()

    @property
    def provenance(self) -> dict[str, Any]:
        """Files, and what was met; grows while labels are read."""
        return {
            "files": self._described,
            "rasters": [str(path) for path in self.image.source.paths],
            "bands": [list(numbers) for numbers in self.numbers],
            "findings": [
                {"code": entry.code, "message": entry.message, "features": list(entry.features[:100])}
                for entry in self.label_map.findings
            ],
            "warnings": list(self.image.warnings),
        }

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Stored samples (C, height, width) and validity."""
        return self.image.source.read(Window(col, row, width, height))

    def labels(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
        """Place in the legend and number of the shape; the window may reach beyond the scene."""
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.height), min(col + width, self.width)
        if (top, left, bottom, right) == (row, col, row + height, col + width):
            return self.label_map.read(row, col, height, width)
        places = np.full((height, width), UNLABELLED, np.int16)
        numbers = np.full((height, width), UNLABELLED, np.int32)
        if top < bottom and left < right:
            here = np.s_[top - row : bottom - row, left - col : right - col]
            places[here], numbers[here] = self.label_map.read(top, left, bottom - top, right - left)
        return places, numbers

    def windows(self, side: int) -> Iterator[tuple[int, int, int, int]]:
        """The windows of a lattice that may hold labels."""
        return self.label_map.windows(side)

    def changed_files(self) -> list[str]:
        """Files that are other ones now than when the scene was opened."""
        return [
            entry["name"]
            for entry in self._described
            if not Path(entry["path"]).is_file() or _file(Path(entry["path"])) != entry
        ]

    def overview(self, places: Sequence[int]) -> np.ndarray | None:
        """Some bands of the whole scene, stored samples (n, h, w), coarser where it is large; None where that is slow.

        Args:
            places: of the bands.
        """
        source = self.image.source
        if self.height * self.width > _MOST_PIXELS:
            return None
        step = max(self.height, self.width) / _PICTURE_SIDE
        shape = (max(round(self.height / max(step, 1)), 1), max(round(self.width / max(step, 1)), 1))
        try:
            if step <= 1 or not all(source.grid.same_as(source.grids[self.numbers[p][0] - 1]) for p in places):
                if self.height * self.width > 4 * _PICTURE_SIDE**2:
                    return None
                samples, _ = self.read(0, 0, self.height, self.width)
                return samples[list(places)]
            picture: np.ndarray | None = None
            for file in sorted({self.numbers[place][0] for place in places}):
                # All bands of a file at once: one that is interleaved by pixels would be decoded for each.
                wanted = [at for at, place in enumerate(places) if self.numbers[place][0] == file]
                bands = [self.numbers[places[at]][1] for at in wanted]
                read = source.datasets[file - 1].read(bands, out_shape=(len(bands), *shape))
                if picture is None:
                    picture = np.empty((len(places), *shape), np.result_type(self.dtype, read.dtype))
                picture[wanted] = read
            return picture
        except READ_ERRORS:
            # A picture is no reason to fail.
            return None


def scene_name(rasters: Sequence[str]) -> str:
    """What a scene is called: its first file without folders and ending."""
    return Path(rasters[0].split("|")[0]).stem or rasters[0]


def _mark(labels: Labels) -> str:
    """Tells the labels of a layer from others, wherever they are kept."""
    digest = hashlib.sha256()
    for shape in shapely.to_wkb(labels.shapes):
        digest.update(shape)
    for array in (labels.places, labels.features, labels.spans):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    digest.update("\0".join(labels.images or ()).encode("utf-8", "replace"))
    return digest.hexdigest()


def _file(path: Path) -> dict[str, Any]:
    """What tells a file from another one that took its name: size, time, and a checksum of some pieces."""
    status = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for place in np.linspace(0, max(status.st_size - _PIECE, 0), _PIECES if status.st_size > _PIECE else 1):
            file.seek(int(place))
            digest.update(file.read(_PIECE))
    return {
        "name": path.name,
        "path": str(path),
        "bytes": status.st_size,
        "modified": datetime.fromtimestamp(status.st_mtime, timezone.utc).isoformat(),
        "fingerprint": digest.hexdigest(),
    }
