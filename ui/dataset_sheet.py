"""The picture of a training set in a window."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QDialog, QVBoxLayout, QWidget

from .picture_view import PictureView


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
        self.view = PictureView(path, "The picture of this training set is gone; make the set again.", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        self.resize(self.view.fitting_size())
