"""The live preview on the map canvas: between the image and what lies above it, moving and zooming with the map."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsMapRendererJob,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsPointXY,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QObject, QPointF, QRectF, QTimer
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QTransform

#: Above the map (-10), below rubber bands, vertex markers and whatever else is drawn on the canvas (0 and up).
_Z_VALUE = -5
_MILLISECONDS_TO_WAIT = 40


class LiveOverlay(QgsMapCanvasItem):
    """Draws the picture where it lies on the ground, turned as the map is, and the labels over it once more.

    The map itself is below this item: the label layer, and other vector layers above the image, are drawn again by
    QGIS in the background, in their own style, and laid over the picture.

    Args:
        canvas: the map canvas; it owns the item.
        labels: the label layer, which is drawn again wherever it stands in the layer tree.
    """

    def __init__(self, canvas: QgsMapCanvas, labels: QgsVectorLayer | None = None) -> None:
        super().__init__(canvas)
        self.canvas = canvas
        self.setZValue(_Z_VALUE)
        self._image: QImage | None = None
        self._box = QRectF()
        self._extent = QgsRectangle()
        self._opacity = 0.7
        self._over: QImage | None = None
        self._over_corners: list[QgsPointXY] = []
        self._rasters: list[QgsMapLayer] = []
        self._job: QgsMapRendererJob | None = None
        self._labels: QgsVectorLayer | None = None
        # QgsMapCanvasItem is no QObject: signals need one that goes with it.
        self._guard = QObject()
        self._draw_soon = QTimer(self._guard, singleShot=True, interval=_MILLISECONDS_TO_WAIT)
        self._draw_soon.timeout.connect(self._draw_over)
        canvas.mapCanvasRefreshed.connect(self._refreshed)
        self.set_labels(labels)
        self.hide()

    # -- what is shown --------------------------------------------------------------------------

    def set_labels(self, labels: QgsVectorLayer | None) -> None:
        """Whose polygons stay visible."""
        self._follow(self._labels, False)
        self._labels = labels
        self._follow(labels, True)

    def set_rasters(self, rasters: list[QgsMapLayer]) -> None:
        """The image that is classified: vector layers above it stay visible over the picture."""
        self._rasters = list(rasters)
        self._refreshed()

    def show_preview(self, image: QImage, extent: QgsRectangle) -> None:
        """Show a picture.

        Args:
            image: the picture.
            extent: where it lies, in the canvas's CRS.
        """
        self._image, self._extent = image, QgsRectangle(extent)
        self.show()
        self.updatePosition()
        self.update()
        if self._over is None:
            self._draw_soon.start()

    def clear(self) -> None:
        """Show nothing."""
        self._image = self._over = None
        self._draw_soon.stop()
        self._cancel()
        self.updatePosition()
        self.hide()

    def set_opacity(self, share: float) -> None:
        """How much of the map below is covered: 0 to 1.  The labels stay as they are."""
        self._opacity = min(max(share, 0.0), 1.0)
        self.update()

    @property
    def is_shown(self) -> bool:
        """True while there is a picture."""
        return self._image is not None

    def end(self) -> None:
        """Take the item off the canvas; it must not be used afterwards."""
        self.clear()
        self.set_labels(None)
        try:
            self.canvas.mapCanvasRefreshed.disconnect(self._refreshed)
            self.canvas.scene().removeItem(self)
        except (RuntimeError, TypeError):
            pass  # the canvas is gone, and this with it
        self._guard.deleteLater()

    # -- the layers above -----------------------------------------------------------------------

    def _follow(self, layer: QgsVectorLayer | None, on: bool) -> None:
        if layer is None:
            return
        try:
            for signal, slot in ((layer.repaintRequested, self._refreshed), (layer.willBeDeleted, self._labels_gone)):
                signal.connect(slot) if on else signal.disconnect(slot)
        except (RuntimeError, TypeError):
            pass  # Qt has deleted it

    def _labels_gone(self) -> None:
        self.set_labels(None)
        self.clear()

    def _refreshed(self, *_: object) -> None:
        if self.is_shown:
            self._draw_soon.start()

    def _above(self) -> list[QgsMapLayer]:
        """The vector layers that stand above the image, and the labels if they are shown; the topmost first."""
        layers = self.canvas.layers()
        places = [layers.index(raster) for raster in self._rasters if raster in layers]
        first = min(places) if places else 0
        return [
            layer
            for place, layer in enumerate(layers)
            if isinstance(layer, QgsVectorLayer) and (place < first or layer is self._labels)
        ]

    def _draw_over(self) -> None:
        """Let QGIS draw the layers above in the background."""
        self._cancel()
        settings = QgsMapSettings(self.canvas.mapSettings())
        layers = self._above()
        if not layers or settings.outputSize().isEmpty():
            self._over = None
            self.updatePosition()
            self.update()
            return
        settings.setLayers(layers)
        settings.setBackgroundColor(QColor(0, 0, 0, 0))
        job = self._job = QgsMapRendererSequentialJob(settings)
        job.finished.connect(lambda: self._drawn(job))
        job.start()

    def _drawn(self, job: Any) -> None:
        if job is not self._job:
            return
        self._job = None
        settings = job.mapSettings()
        self._over = job.renderedImage()
        # Its own slot keeps the Python object, and that the picture, for ever.
        job.deleteLater()
        # On a fine screen it has more pixels than the canvas has; here an image is its pixels.
        self._over.setDevicePixelRatio(1.0)
        size, turn = settings.outputSize(), settings.mapToPixel()
        self._over_corners = [turn.toMapCoordinates(x, y) for x, y in ((0, 0), (size.width(), 0), (0, size.height()))]
        self.updatePosition()
        self.update()

    def _cancel(self) -> None:
        job, self._job = self._job, None
        if job is None:
            return
        if not job.isActive():
            job.deleteLater()
            return
        # Qt's object must live until its thread has ended.
        job.finished.connect(job.deleteLater)
        job.cancelWithoutBlocking()

    # -- drawing --------------------------------------------------------------------------------

    def updatePosition(self) -> None:
        """QGIS calls it when the map was moved, zoomed or turned."""
        # Qt's index of the scene finds an item by its box: it must not change without a word.
        self.prepareGeometryChange()
        self._box = QRectF()
        for corners, image in self._pictures():
            self._box = self._box.united(_placed(image, corners).mapRect(QRectF(image.rect())))

    def boundingRect(self) -> QRectF:
        return self._box

    def paint(self, painter: QPainter, option: Any = None, widget: Any = None) -> None:
        """The picture, then the layers above; the old ones, stretched, until new ones come."""
        for number, (corners, image) in enumerate(self._pictures()):
            place = _placed(image, corners)
            painter.save()
            painter.setOpacity(1.0 if number else self._opacity)
            # Pixels of the picture are pixels of the canvas, unless the map has just been zoomed or is turned.
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, place.isRotating())
            painter.setTransform(place, True)
            painter.drawImage(QPointF(0, 0), image)
            painter.restore()

    def _pictures(self) -> list[tuple[list[QPointF], QImage]]:
        """What is drawn, each with the places on the canvas of its upper left, upper right and lower left corner."""
        if self._image is None or self._image.isNull():
            return []
        box = self._extent
        corners = [
            QgsPointXY(box.xMinimum(), box.yMaximum()),
            QgsPointXY(box.xMaximum(), box.yMaximum()),
            QgsPointXY(box.xMinimum(), box.yMinimum()),
        ]
        pictures = [(self._on_canvas(corners), self._image)]
        if self._over is not None and not self._over.isNull():
            pictures.append((self._on_canvas(self._over_corners), self._over))
        return pictures

    def _on_canvas(self, places: list[QgsPointXY]) -> list[QPointF]:
        turn = self.canvas.getCoordinateTransform()
        return [turn.transform(place).toQPointF() for place in places]


def _placed(image: QImage, corners: list[QPointF]) -> QTransform:
    """From the image's pixels to the canvas's: moved, stretched and turned until three corners lie where they must."""
    upper_left, upper_right, lower_left = corners
    width, height = image.width(), image.height()
    return QTransform(
        (upper_right.x() - upper_left.x()) / width,
        (upper_right.y() - upper_left.y()) / width,
        (lower_left.x() - upper_left.x()) / height,
        (lower_left.y() - upper_left.y()) / height,
        upper_left.x(),
        upper_left.y(),
    )
