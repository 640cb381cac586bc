"""The switches of the live preview, and the sentence that says what it is doing."""

from __future__ import annotations

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from .forms import load_form

_SETTINGS = "thematica/labels"


class LivePanel(QWidget):
    """On or off, how opaque, with the veil of doubt or without."""

    preview_switched = pyqtSignal(bool)
    veil_switched = pyqtSignal(bool)
    #: 0 to 1.
    opacity_changed = pyqtSignal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "live_panel")
        settings = QgsSettings()
        self.preview.setChecked(settings.value(f"{_SETTINGS}/preview", False, type=bool))
        self.veil.setChecked(settings.value(f"{_SETTINGS}/veil", True, type=bool))
        self.opacity.setValue(settings.value(f"{_SETTINGS}/opacity", 70, type=int))
        # Wide enough for every value, or the slider would twitch while it is moved.
        self.percent.setMinimumWidth(self.percent.fontMetrics().horizontalAdvance("100 %"))
        self.preview.toggled.connect(self._switch_preview)
        self.veil.toggled.connect(self._switch_veil)
        self.opacity.valueChanged.connect(self._move)
        self._show()

    def tell(self, sentence: str) -> None:
        """What the preview is doing."""
        self.state.setText(sentence)
        self.state.setVisible(bool(sentence))

    @property
    def opacity_share(self) -> float:
        """The opacity, 0 to 1."""
        return self.opacity.value() / 100

    def _switch_preview(self, on: bool) -> None:
        QgsSettings().setValue(f"{_SETTINGS}/preview", on)
        self._show()
        self.preview_switched.emit(on)

    def _switch_veil(self, on: bool) -> None:
        QgsSettings().setValue(f"{_SETTINGS}/veil", on)
        self.veil_switched.emit(on)

    def _move(self, value: int) -> None:
        QgsSettings().setValue(f"{_SETTINGS}/opacity", value)
        self._show()
        self.opacity_changed.emit(value / 100)

    def _show(self) -> None:
        self.percent.setText(f"{self.opacity.value()} %")
        for widget in (self.veil, self.opacity, self.percent):
            widget.setEnabled(self.preview.isChecked())
