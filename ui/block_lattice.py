"""The blocks of ground that a split keeps together, drawn on the map while they are chosen."""

from __future__ import annotations

import math

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsPointXY, QgsProject, QgsRasterLayer
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QPointF
from qgis.PyQt.QtGui import QColor, QPainter, QPen

from ..plugin.raster_facts import ground_sampling_distance

#: More lines than this along one side would only grey the map.
_MOST_LINES = 400
_ABOVE_RUBBER_BANDS = 20.0
#: Straight lines of the raster's grid bend in another CRS.
_STEPS = 16


class BlockLattice(QgsMapCanvasItem):
    """Lines of a lattice that begins at the raster's upper left corner, over the raster's extent.

    Args:
        canvas: the map canvas.
    """

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._lines: list[list[QgsPointXY]] = []
        self.setZValue(_ABOVE_RUBBER_BANDS)

    def show_blocks(self, layer: QgsRasterLayer | None, side: float, unit: str) -> None:
        """Draw blocks of a side in pixels (``px``) or metres (``m``); no layer or a side of 0 draws nothing."""
        self._lines = []
        if layer is not None and layer.isValid() and side > 0:
            self._lines = self._lattice(layer, self._pixels(layer, side, unit))
        self.setRect(self._canvas.extent())
        self.update()

    @staticmethod
    def _pixels(layer: QgsRasterLayer, side: float, unit: str) -> float:
        if unit == "px":
            return max(round(side), 1)
        return max(round(side / (ground_sampling_distance(layer) or 1.0)), 1)

    def _lattice(self, layer: QgsRasterLayer, pixels: float) -> list[list[QgsPointXY]]:
        extent = layer.extent()
        wide, high = pixels * layer.rasterUnitsPerPixelX(), pixels * layer.rasterUnitsPerPixelY()
        columns, rows = math.ceil(extent.width() / wide), math.ceil(extent.height() / high)
        if max(columns, rows) > _MOST_LINES:
            return []
        steps = [step / _STEPS for step in range(_STEPS + 1)]
        lines = []
        for column in range(columns + 1):
            x = min(extent.xMinimum() + column * wide, extent.xMaximum())
            lines.append([QgsPointXY(x, extent.yMinimum() + step * extent.height()) for step in steps])
        for row in range(rows + 1):
            y = max(extent.yMaximum() - row * high, extent.yMinimum())
            lines.append([QgsPointXY(extent.xMinimum() + step * extent.width(), y) for step in steps])
        target = self._canvas.mapSettings().destinationCrs()
        if not (layer.crs().isValid() and target.isValid()) or layer.crs() == target:
            return lines
        transform = QgsCoordinateTransform(layer.crs(), target, QgsProject.instance())
        try:
            return [[transform.transform(point) for point in line] for line in lines]
        except QgsCsException:
            return []

    def paint(self, painter: QPainter, *_: object) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        # A dark line on a light one is seen on any ground.
        for color, width in ((QColor(255, 255, 255, 160), 3.0), (QColor(30, 30, 30, 200), 1.0)):
            painter.setPen(QPen(color, width))
            for line in self._lines:
                points = [self.toCanvasCoordinates(point) - self.pos() for point in line]
                for start, end in zip(points, points[1:]):
                    painter.drawLine(QPointF(start), QPointF(end))

    def updatePosition(self) -> None:
        self.setRect(self._canvas.extent())
