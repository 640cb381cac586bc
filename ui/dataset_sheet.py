"""The picture of a training set in a window: fitted to it, or at its own size."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QGuiApplication, QPixmap, QResizeEvent
from qgis.PyQt.QtWidgets import QDialog, QLabel, QScrollArea, QVBoxLayout, QWidget

_SHARE_OF_SCREEN = 0.85


class SheetWindow(QDialog):
    """A click on the picture changes between fitted and full size.

    Args:
        path: the PNG.
        parent: the Qt parent.
    """

    def __init__(self, path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Training Set – {Path(path).parent.name}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        self.picture = QPixmap(path)
        self.is_fitted = True
        self.label = QLabel(self)
        self.label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.label.setToolTip("Click: full size, or fitted to the window")
        self.area = QScrollArea(self)
        self.area.setWidget(self.label)
        self.area.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.area)
        screen = QGuiApplication.primaryScreen().availableGeometry().size()
        most = QSize(int(screen.width() * _SHARE_OF_SCREEN), int(screen.height() * _SHARE_OF_SCREEN))
        size = self.picture.size() + QSize(4, 4)
        if size.width() > most.width() or size.height() > most.height():
            size.scale(most, Qt.AspectRatioMode.KeepAspectRatio)
        self.resize(size.expandedTo(QSize(320, 240)))
        self._fit()

    def mousePressEvent(self, event: object) -> None:
        self.is_fitted = not self.is_fitted
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self.picture.isNull():
            self.label.setText("The picture of this training set is gone; make the set again to get a new one.")
            self.label.adjustSize()
            return
        shown = self.picture
        room = self.area.maximumViewportSize()
        if self.is_fitted and (room.width() < shown.width() or room.height() < shown.height()):
            shown = shown.scaled(room, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)
        self.label.setPixmap(shown)
        self.label.resize(shown.size())
