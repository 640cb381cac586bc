"""The figures of a finished model in a window: confusion, F1, reliability, curves."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QDialog, QTabWidget, QVBoxLayout, QWidget

from .picture_view import PictureView

#: File → its tab, and what it shows.
FIGURES = {
    "confusion.png": ("Confusion", "Rows are true classes, columns the predicted ones"),
    "f1.png": ("Classes", "How well each class is told apart"),
    "reliability.png": ("Reliability", "How far the model's probabilities can be trusted"),
    "curves.png": ("Curves", "How it was trained"),
}
_GONE = "This picture is gone from the training's folder."


def figure_files(folder: Path) -> list[Path]:
    """The pictures that a training has made, in the order of their tabs."""
    return [path for path in (folder / "figures" / name for name in FIGURES) if path.is_file()]


class TrainingFigures(QDialog):
    """A tab for each picture; a click on it changes between fitted and full size.

    Args:
        name: of the training.
        files: from :func:`figure_files`.
        parent: the Qt parent.
    """

    def __init__(self, name: str, files: list[Path], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Figures – {name}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, True)
        self.tabs = QTabWidget(self)
        self.tabs.setDocumentMode(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)
        views = [PictureView(str(path), _GONE, self) for path in files]
        for path, view in zip(files, views):
            title, tip = FIGURES[path.name]
            self.tabs.setTabToolTip(self.tabs.addTab(view, title), tip)
        if views:
            size = views[0].fitting_size()
            size.setHeight(size.height() + self.tabs.tabBar().sizeHint().height())
            self.resize(size)
