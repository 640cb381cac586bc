"""A picture from a file: fitted to the room there is, or at its own size; a click changes between the two."""

from __future__ import annotations

from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QGuiApplication, QMouseEvent, QPixmap, QResizeEvent
from qgis.PyQt.QtWidgets import QLabel, QScrollArea, QWidget

_SHARE_OF_SCREEN = 0.85


class PictureView(QScrollArea):
    """Shows one picture.

    Args:
        path: the image file.
        gone: what is said where the file is gone.
        parent: the Qt parent.
    """

    def __init__(self, path: str, gone: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.picture = QPixmap(path)
        self.is_fitted = True
        self._gone = gone
        self.label = QLabel(self)
        self.label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.label.setToolTip("Click: full size, or fitted to the window")
        self.setWidget(self.label)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._fit()

    def fitting_size(self) -> QSize:
        """That of the picture, or less on a small screen."""
        screen = QGuiApplication.primaryScreen().availableGeometry().size()
        most = QSize(int(screen.width() * _SHARE_OF_SCREEN), int(screen.height() * _SHARE_OF_SCREEN))
        size = self.picture.size() + QSize(4, 4)
        if size.width() > most.width() or size.height() > most.height():
            size.scale(most, Qt.AspectRatioMode.KeepAspectRatio)
        return size.expandedTo(QSize(320, 240))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Change between fitted and full size."""
        self.is_fitted = not self.is_fitted
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the picture in anew."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self.picture.isNull():
            self.label.setText(self._gone)
            self.label.adjustSize()
            return
        shown = self.picture
        room = self.maximumViewportSize()
        if self.is_fitted and (room.width() < shown.width() or room.height() < shown.height()):
            ratio = self.devicePixelRatioF()
            shown = shown.scaled(
                room * ratio, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            )
            shown.setDevicePixelRatio(ratio)
        self.label.setPixmap(shown)
        self.label.resize(shown.size() / shown.devicePixelRatio())
