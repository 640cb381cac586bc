"""Writing out what QGIS can open and the runtime cannot: web maps, rasters in databases or in memory, protected files.

QGIS reads such a layer itself and writes the part that is needed to a temporary GeoTIFF, which the worker then
classifies.  Planned in the thread that owns the layer, written in the task's.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable
from xml.sax.saxutils import escape

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsDistanceArea,
    QgsPointXY,
    QgsProject,
    QgsRasterBlockFeedback,
    QgsRasterDataProvider,
    QgsRasterFileWriter,
    QgsRasterLayer,
    QgsRasterPipe,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QThread

from ..errors import Cancelled, InputError
from .compat import METRES, enum_number
from .raster_facts import bands_of_layer, is_rendered

#: What is exported at most, in millions of pixels: it is a copy, and a web service is not to be emptied.
MOST_MEGAPIXELS = 100
#: Pixels around the area that are exported too: networks look beyond a pixel's border.
_MARGIN = 128
_SECONDS_BETWEEN_LOOKS = 0.1
_SAMPLE_SIDE = 512


@dataclass
class RasterExport:
    """A part of a raster layer, ready to be written by another thread.

    Args:
        name: the layer's.
        provider: a copy of the layer's data provider.
        extent: what is written, in the layer's CRS.
        crs: the layer's CRS.
        columns, rows: size in pixels.
        band_names: of the bands, in order.
        is_picture: True for a web map.
        warnings: sentences for the analyst; complete when it is written.
        file_name: what the file is to be called.
    """

    name: str
    provider: QgsRasterDataProvider
    extent: QgsRectangle
    crs: QgsCoordinateReferenceSystem
    columns: int
    rows: int
    band_names: list[str]
    is_picture: bool = False
    warnings: list[str] = field(default_factory=list)
    file_name: str = "raster.tif"

    def write(self, path: Path, on_progress: Callable[[float], None], is_cancelled: Callable[[], bool]) -> Path:
        """Write the GeoTIFF; blocks, so call it from a task's thread.

        Args:
            path: of the file.
            on_progress: gets the share that is written, 0 to 1.
            is_cancelled: polled ten times a second, also while a server lets us wait.

        Raises:
            Cancelled: the file may be there in part.
            InputError: it could not be read or written.
        """
        feedback = QgsRasterBlockFeedback()
        feedback.progressChanged.connect(lambda percent: on_progress(percent / 100))
        writer = QgsRasterFileWriter(str(path))
        writer.setOutputFormat("GTiff")
        writer.setCreateOptions(["COMPRESS=DEFLATE", "ZLEVEL=1", "BIGTIFF=IF_SAFER"])
        # Objects of Qt belong to a thread; the provider opens connections in the one that reads.
        self.provider.moveToThread(QThread.currentThread())
        pipe = QgsRasterPipe()
        pipe.set(self.provider)
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_SECONDS_BETWEEN_LOOKS):
                if is_cancelled():
                    feedback.cancel()
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            status = writer.writeRaster(
                pipe, self.columns, self.rows, self.extent, self.crs, QgsCoordinateTransformContext(), feedback
            )
        finally:
            ended.set()
            watcher.join()
        if is_cancelled():
            raise Cancelled()
        problems = [str(problem) for problem in feedback.errors()]
        if enum_number(status) != 0 or (problems and not path.is_file()):
            raise InputError(
                f"QGIS could not export the layer “{self.name}” for the run: look whether it is drawn on the map, and "
                "whether the disk for temporary files is full.",
                f"status {enum_number(status)}; {'; '.join(problems)}",
            )
        if problems:
            raise InputError(
                f"Parts of the layer “{self.name}” could not be read ({problems[0]}): try again, or choose a smaller "
                "area.",
                "\n".join(problems),
            )
        if self.is_picture:
            self._look_for_holes(path)
        _name_bands(path, self.band_names)
        return path

    def _look_for_holes(self, path: Path) -> None:
        """Tiles that did not arrive are transparent, and QGIS says nothing of them."""
        columns, rows = min(self.columns, _SAMPLE_SIDE), min(self.rows, _SAMPLE_SIDE)
        # The layer must have a name: its provider would go with it.
        exported = QgsRasterLayer(str(path), "exported", "gdal")
        block = exported.dataProvider().block(4, self.extent, columns, rows)
        empty = bytes(block.data()).count(0) / (columns * rows)
        if empty == 1:
            raise InputError(
                f"Nothing of the layer “{self.name}” arrived for this area: look whether it is drawn on the map there, "
                "at this scale, and whether its server answers."
            )
        if empty:
            self.warnings.append(
                f"{max(round(100 * empty), 1)} % of what was exported of the layer “{self.name}” is empty; the map has "
                "no data there. If the layer is drawn there, its server did not answer: run it again."
            )


def plan_export(layer: QgsRasterLayer, extent: QgsRectangle | None, pixel_size: float | None) -> RasterExport:
    """Plan the export of a layer.  Call it in the thread that owns the layer.

    Args:
        layer: a valid raster layer.
        extent: the area of the run in the layer's CRS; None: all of the layer.
        pixel_size: on the ground in metres, for layers that have no pixels of their own (web maps).

    Raises:
        InputError: an area or a pixel size is needed, or it would be too much.
    """
    name, provider = layer.name(), layer.dataProvider()
    if not has_pixels(layer):
        if extent is None:
            raise InputError(area_needed(name))
        if not pixel_size:
            raise InputError(
                f"The layer “{name}” has no pixels of its own, and the model does not say at which pixel size it "
                "works: set the pixel size of the grid in metres (--gsd)."
            )
        step_x, step_y = _steps(layer, extent, pixel_size)
        origin_x, origin_y = extent.xMinimum(), extent.yMaximum()
        part = extent
    else:
        step_x, step_y = layer.rasterUnitsPerPixelX(), layer.rasterUnitsPerPixelY()
        origin_x, origin_y = layer.extent().xMinimum(), layer.extent().yMaximum()
        part = layer.extent() if extent is None else extent.intersect(layer.extent())
        if part.isEmpty():
            raise InputError(f"The area lies outside the layer “{name}”: choose an area that the layer covers.")
    # Whole pixels of the layer's own grid.
    left = math.floor((part.xMinimum() - origin_x) / step_x + 1e-6) - _MARGIN
    right = math.ceil((part.xMaximum() - origin_x) / step_x - 1e-6) + _MARGIN
    top = math.floor((origin_y - part.yMaximum()) / step_y + 1e-6) - _MARGIN
    bottom = math.ceil((origin_y - part.yMinimum()) / step_y - 1e-6) + _MARGIN
    if has_pixels(layer):
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, layer.width()), min(bottom, layer.height())
    columns, rows = right - left, bottom - top
    if columns * rows > MOST_MEGAPIXELS * 1e6:
        raise InputError(
            f"The layer “{name}” must be exported for the run, which would be {columns * rows / 1e6:,.0f} megapixels "
            f"(at most {MOST_MEGAPIXELS}): choose a smaller area{'' if has_pixels(layer) else ' or larger pixels'}."
        )
    copy = provider.clone()
    # No thread owns it until the one that writes takes it.
    copy.moveToThread(None)
    written = QgsRectangle(
        origin_x + left * step_x, origin_y - bottom * step_y, origin_x + right * step_x, origin_y - top * step_y
    )
    names = [band.name for band in bands_of_layer(layer)]
    return RasterExport(name, copy, written, layer.crs(), columns, rows, names, is_rendered(layer))


def has_pixels(layer: QgsRasterLayer) -> bool:
    """False for web maps, which are drawn at any scale."""
    return not is_rendered(layer) and layer.width() > 0 and layer.height() > 0


def area_needed(name: str) -> str:
    """The sentence for a layer without an end that is to be classified as a whole."""
    return (
        f"The layer “{name}” is a web map without pixels of its own and is exported for the run: choose an area, such "
        "as the visible part of the map, or polygons."
    )


def _steps(layer: QgsRasterLayer, extent: QgsRectangle, pixel_size: float) -> tuple[float, float]:
    """Width and height, in the layer's CRS, of pixels that are square on the ground in the middle of an area."""
    if not layer.crs().isValid():
        return pixel_size, pixel_size
    measure = QgsDistanceArea()
    measure.setSourceCrs(layer.crs(), QgsProject.instance().transformContext())
    measure.setEllipsoid("EPSG:7030")
    centre = extent.center()
    unit_x, unit_y = extent.width() / 100 or 1e-6, extent.height() / 100 or 1e-6

    def metres(other: QgsPointXY) -> float:
        return measure.convertLengthMeasurement(measure.measureLine(centre, other), METRES)

    across = metres(QgsPointXY(centre.x() + unit_x, centre.y()))
    up = metres(QgsPointXY(centre.x(), centre.y() + unit_y))
    if not (math.isfinite(across) and math.isfinite(up) and across > 0 and up > 0):
        raise InputError(f"The area cannot be measured on the ground in the CRS of “{layer.name()}”: choose another.")
    return pixel_size * unit_x / across, pixel_size * unit_y / up


def _name_bands(path: Path, names: Sequence[str]) -> None:
    """Say what the bands are called, in the file beside a raster that GDAL reads with it."""
    if not any(names):
        return
    bands = "".join(
        f'<PAMRasterBand band="{number}"><Description>{escape(name)}</Description></PAMRasterBand>'
        for number, name in enumerate(names, start=1)
        if name
    )
    path.with_name(path.name + ".aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>", encoding="utf-8")
