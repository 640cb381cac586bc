"""What the live worker knows: an image, labels, and what was computed of both."""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.crs import CRS

from ...errors import InputError
from ...models.label_classes import LabelClass, check_classes
from ...progress import Monitor
from ..grid import Grid, project
from ..ground_area import PixelArea
from ..image import Image, open_image
from ..labels.labels import Finding, Labels
from ..labels.reading import shapes_to_labels
from ..scene import cores
from .canvas import CanvasPixels, View, read_canvas, shown_grid
from .classifier import Perceptron, train, validate
from .grow import MOST_PIXELS, RegionGrower
from .preview import picture
from .requests import GrowRequest, LabelsRequest, OpenRequest, PreviewRequest
from .training_pixels import TrainingPixels, TrainingSamples

Check = Callable[[], None]
Reply = dict[str, Any]

# Pictures that wait for QGIS to read them; an older one it will not read any more.
_MOST_PICTURES = 3


class TooFewLabelsError(InputError):
    """There are not two classes with pixels to learn from."""

    code = "too-few-labels"


class NothingOpenError(InputError):
    """No image was opened before it was asked for."""

    code = "not-open"


class Session:
    """One image and its labels.

    Args:
        folder: where pictures are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pictures: deque[Path] = deque()
        self._opened: OpenRequest | None = None
        self._image: _OpenImage | None = None
        self._in_use = 0
        self._features: dict[int, tuple[int, bytes]] = {}
        self._classes: list[LabelClass] = []
        self._labels_crs: CRS | None = None
        self._labels: Labels | None = None

    def close(self) -> None:
        """Close the image."""
        if self._image is not None:
            self._image.close()
        self._image = None
        self._labels = None

    def open(self, request: OpenRequest) -> Reply:
        """Open another image; the labels stay.

        Raises:
            InputError: it cannot be read.
        """
        self.close()
        self._opened = request
        image = self._current()
        source = image.image.source
        return {
            "bands": [
                {"name": band.name, "common_name": band.common_name, "wavelength": band.wavelength}
                for band in image.image.bands
            ],
            "width": source.width,
            "height": source.height,
            "gsd": source.grid.gsd,
            "crs": source.crs.to_wkt() if source.crs else "",
            "warnings": image.image.warnings,
        }

    def set_labels(self, request: LabelsRequest) -> Reply:
        """Change the labels, or replace them; tells what is wrong with them where an image is open.

        Raises:
            InputError: a class list that cannot be.
        """
        check_classes(request.classes)
        if request.replace:
            self._features.clear()
        for fid in request.removed:
            self._features.pop(fid, None)
        for fid, code, shape in request.features:
            self._features[fid] = code, shape
        self._classes, self._labels_crs, self._labels = request.classes, request.crs, None
        return {"features": len(self._features), "findings": [asdict(finding) for finding in self._findings()]}

    def _findings(self) -> list[Finding]:
        if self._opened is None:
            return []
        try:
            return self._current_labels().findings
        except InputError as error:
            # The labels are known all the same, and good as soon as the image is there again.
            return [Finding(error.code, error.message)]

    def statistics(self, check: Check) -> Reply:
        """Figures on the classes, from all labelled pixels.

        Raises:
            InputError: the image cannot be read.
        """
        from ..labels.shape_map import ShapeMap
        from ..labels.statistics import label_statistics

        with self._using() as opened:
            image, labels = opened.image, self._current_labels()
            label_map = ShapeMap(labels, image.source.height, image.source.width)
            return {"statistics": label_statistics(image, label_map, _Checked(check), labels)}

    def preview(self, request: PreviewRequest, check: Check) -> Reply:
        """Train a classifier on the labels, and write a picture of what it makes of the visible part of the image.

        Raises:
            TooFewLabelsError: fewer than two classes have pixels.
            InputError: the image cannot be read.
        """
        with self._using() as image:
            return self._preview(image, self._current_labels(), request, check)

    def _preview(self, image: _OpenImage, labels: Labels, request: PreviewRequest, check: Check) -> Reply:
        clock = _Clock()
        samples = image.training.read(labels, check)
        clock.lap("read")
        classifier, accuracy = image.trained(samples, labels, check)
        clock.lap("train")
        pixels = image.canvas(request.view, check)
        clock.lap("read")
        classes, certainty = _classified(classifier, pixels, check)
        clock.lap("predict")
        colors = [entry.color for entry in labels.legend]
        path = self._write(
            pixels.on_canvas(picture(classes, certainty, colors, request.opacity, request.veil)).tobytes(), check
        )
        clock.lap("write")
        counts = np.bincount(classes[classes >= 0], minlength=len(labels.legend))
        total = max(int(counts.sum()), 1)
        return {
            "file": str(path),
            "format": "argb32-premultiplied",
            "size": [request.view.width, request.view.height],
            "extent": list(request.view.extent),
            "seconds": clock.seconds(),
            "classes": [
                {"code": entry.code, "share": round(int(count) / total, 6)}
                for entry, count in zip(labels.legend, counts, strict=True)
            ],
            "accuracy": accuracy,
            "samples": len(samples.places),
        }

    def grow(self, request: GrowRequest, check: Check) -> Reply:
        """The region of similar spectra around a point.

        Raises:
            InputError: the image cannot be read.
        """
        with self._using() as image:
            return self._grow(image, request, check)

    def _grow(self, image: _OpenImage, request: GrowRequest, check: Check) -> Reply:
        source = image.image.source
        grid = shown_grid(source.grid, request.point[1])
        nothing = {
            "geometry": None, "pixels": 0, "tolerance": request.tolerance, "limited": False, "hectares": None,
        }  # fmt: skip
        place = _pixel_at(grid, request.point, request.crs)
        if place is None:
            return nothing
        region = image.grower.grow(
            *place, request.tolerance, check, request.most_pixels or MOST_PIXELS, request.connectivity,
            request.fill_holes,
        )  # fmt: skip
        if region is None:
            return nothing
        check()
        outline = _from_pixels(region.outline(request.connectivity), grid, request.crs)
        return {
            "geometry": shapely.to_wkb(outline, hex=True),
            "pixels": region.pixels,
            "tolerance": request.tolerance,
            "limited": region.limited,
            "hectares": image.hectares(region.mask, region.row, region.col),
        }

    @contextmanager
    def _using(self) -> Iterator[_OpenImage]:
        """The image for a request, which may be interrupted by another that uses it, too."""
        image = self._current()
        self._in_use += 1
        try:
            yield image
        finally:
            self._in_use -= 1

    def _current(self) -> _OpenImage:
        """The image, opened again where its files have changed, but never under a request that reads it."""
        if self._opened is None:
            raise NothingOpenError("No image is open; choose a raster layer for the labels.")
        if self._image is not None and (self._in_use or self._image.is_as_it_was()):
            return self._image
        self.close()
        self._image = _OpenImage(self._opened)
        return self._image

    def _current_labels(self) -> Labels:
        grid = self._current().image.source.grid
        if self._labels is None:
            # In the order of their numbers: the same labels give the same picture, whichever way they came about.
            numbers = sorted(self._features)
            self._labels = shapes_to_labels(
                [self._features[fid][1] for fid in numbers],
                [self._features[fid][0] for fid in numbers],
                numbers,
                # QGIS shows a raster without CRS in the coordinates of the map, whichever they are.
                self._labels_crs if grid.crs is not None else None,
                self._classes,
                grid,
            )
        return self._labels

    def _write(self, content: bytes, check: Check) -> Path:
        """Write a picture under a name of its own."""
        check()
        while len(self._pictures) >= _MOST_PICTURES:
            self._pictures.popleft().unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(prefix="preview-", suffix=".argb", dir=self._folder)
        path = Path(name)
        self._pictures.append(path)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        return path


class _Checked(Monitor):
    """A monitor whose check is another one."""

    def __init__(self, check: Check) -> None:
        super().__init__()
        self._look = check

    def check(self) -> None:
        self._look()


class _OpenImage:
    """An open image and what is kept of it."""

    def __init__(self, request: OpenRequest) -> None:
        self._stack = ExitStack()
        self.image: Image = self._stack.enter_context(
            open_image(
                request.rasters,
                bands=request.bands,
                sensor=request.sensor,
                crs=request.raster_crs,
                nodata=request.nodata,
            )
        )
        source = self.image.source
        self._files = _fingerprint(source.files)
        self.training = TrainingPixels(source)
        self.grower = RegionGrower(source)
        self._area = PixelArea(source.crs, source.transform, source.width, source.height, [0])
        self._view: tuple[View, CanvasPixels] | None = None
        self._trained: tuple[TrainingSamples, Perceptron, float | None] | None = None

    def close(self) -> None:
        """Close its files."""
        self._stack.close()

    def is_as_it_was(self) -> bool:
        """False where a file was replaced or has gone."""
        return _fingerprint(self._files) == self._files

    def canvas(self, view: View, check: Check) -> CanvasPixels:
        """The pixels of a canvas; those of the last one are kept."""
        if self._view is None or self._view[0] != view:
            self._view = None
            self._view = view, read_canvas(self.image.source, view, check)
        return self._view[1]

    def trained(self, samples: TrainingSamples, labels: Labels, check: Check) -> tuple[Perceptron, float | None]:
        """A classifier of these samples, and its accuracy; the last one is kept."""
        kept = self._trained
        if kept is not None and all(
            np.array_equal(getattr(kept[0], name), getattr(samples, name)) for name in ("places", "features", "values")
        ):
            return kept[1], kept[2]
        present = np.unique(samples.places)
        if len(present) < 2:
            raise TooFewLabelsError(_what_is_missing(present, labels))
        classifier = train(samples.values, samples.places, check)
        accuracy = validate(samples.values, samples.places, samples.features, check)
        self._trained = samples, classifier, accuracy
        return classifier, accuracy

    def hectares(self, mask: npt.NDArray[np.bool_], row: int, col: int) -> float | None:
        """The area of a region on the ground."""
        each = self._area.pixel_hectares(row, col, *mask.shape)
        return None if each is None else round(float(each[mask].sum()), 6)


def _what_is_missing(present: npt.NDArray[np.int16], labels: Labels) -> str:
    if len(present) == 1:
        return f"Only the class “{labels.legend[present[0]].name}” has labelled pixels; draw polygons of another class."
    return "No class has labelled pixels in the image; draw polygons of two classes."


def _classified(
    classifier: Perceptron, pixels: CanvasPixels, check: Check
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Class and certainty of the samples of a canvas, -1 where there is no data."""
    count, height, width = pixels.samples.shape
    values = pixels.samples.reshape(count, height * width)
    check()
    # QGIS keeps a core to itself.
    threads = max(cores() - 1, 1)
    if pixels.valid is None:
        classes, certainty = classifier.classify(values, threads)
    else:
        present = pixels.valid.ravel()
        classes, certainty = np.full(len(present), -1, np.int16), np.zeros(len(present), np.float32)
        classes[present], certainty[present] = classifier.classify(values[:, present], threads)
    return classes.reshape(height, width), certainty.reshape(height, width)


def _pixel_at(grid: Grid, point: tuple[float, float], crs: CRS | None) -> tuple[int, int] | None:
    """Row and column of a point; None where it cannot be placed."""
    x, y = np.array([point[0]]), np.array([point[1]])
    if crs is not None and grid.crs is not None and crs != grid.crs:
        x, y = project(crs, grid.crs, x, y)
    if not (np.isfinite(x[0]) and np.isfinite(y[0])):
        return None
    column, row = ~grid.transform * (float(x[0]), float(y[0]))
    if not (0 <= column < grid.width and 0 <= row < grid.height):
        return None
    return int(row), int(column)


def _from_pixels(shape: shapely.Geometry, grid: Grid, crs: CRS | None) -> shapely.Geometry:
    """A shape in pixel coordinates, in a CRS."""

    def move(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        a, b, c, d, e, f = grid.transform[:6]
        x, y = a * points[:, 0] + b * points[:, 1] + c, d * points[:, 0] + e * points[:, 1] + f
        if crs is not None and grid.crs is not None and crs != grid.crs:
            x, y = project(grid.crs, crs, x, y)
        return np.column_stack([x, y])

    moved = shapely.transform(shape, move)
    if not np.isfinite(shapely.bounds(moved)).all():
        raise InputError("The region reaches beyond what the map's CRS can show; choose another CRS for the map.")
    return moved if shapely.is_valid(moved) else shapely.make_valid(moved)


def _fingerprint(files: Sequence[Path] | set[Path] | dict[Path, Any]) -> dict[Path, Any]:
    result: dict[Path, Any] = {}
    for path in files:
        try:
            status = os.stat(path)
            result[path] = status.st_size, status.st_mtime_ns, status.st_ino
        except OSError:
            result[path] = None
    return result


class _Clock:
    """Seconds of the stages of a preview."""

    def __init__(self) -> None:
        self._begun = self._last = time.perf_counter()
        self._stages: dict[str, float] = dict.fromkeys(("read", "train", "predict", "write"), 0.0)

    def lap(self, stage: str) -> None:
        """Add the time since the last call to a stage."""
        now = time.perf_counter()
        self._stages[stage] += now - self._last
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Of every stage, and in total."""
        stages = {name: round(value, 4) for name, value in self._stages.items()}
        return {**stages, "total": round(self._last - self._begun, 4)}
