"""How the raster is cut into tiles, and other things that are rarely needed."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsRasterLayer, QgsSettings
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from ..plugin.compat import RASTER_LAYERS
from .forms import load_form

_SETTINGS = "thematica/classify"
_COUNTS = ("tile", "batch", "threads")
# Choices: widget → what it means in the job; the first is the engine's own, and left out.
_CHOICES = {
    "invalid": ("any", "all"),
    "mode": ("exact", "smooth"),
    "grid_kind": ("", "model", "given"),
    "resampling": ("", "nearest", "bilinear", "cubic", "average"),
    "precision": ("fp32", "fp16", "auto"),
}
_OF_PIXELS = ("tile", "mode")


class AdvancedChoice(QWidget):
    """Tiles and their stitching, the map's grid, a mask, what counts as no data, and what it is computed on."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "advanced_choice")
        self._of_patches = False
        self.mask.setFilters(RASTER_LAYERS)
        self.mask.setAllowEmptyLayer(True, "everywhere")
        self.mask.setCurrentIndex(0)
        settings = QgsSettings()
        for name in _COUNTS:
            getattr(self, name).setValue(settings.value(f"{_SETTINGS}/{name}", 0, type=int))
        for name, values in _CHOICES.items():
            last = settings.value(f"{_SETTINGS}/{name}", values[0])
            getattr(self, name).setCurrentIndex(values.index(last) if last in values else 0)
        self.gsd.setValue(settings.value(f"{_SETTINGS}/gsd", 10.0, type=float))
        self.provider.setEditText(settings.value(f"{_SETTINGS}/provider", "") or self.provider.itemText(0))
        self.grid_kind.currentIndexChanged.connect(self._show)
        self.gsd.valueChanged.connect(self.changed)
        self._show()

    def _show(self, *_: object) -> None:
        self.gsd.setEnabled(self._chosen("grid_kind") == "given")
        self.changed.emit()

    def _chosen(self, name: str) -> str:
        return _CHOICES[name][getattr(self, name).currentIndex()]

    def show_task(self, task: str) -> None:
        """Show what there is to choose for a model's task: patches are not cut into tiles."""
        self._of_patches = task.startswith("patch")
        for name in _OF_PIXELS:
            for widget in (getattr(self, name), getattr(self, f"{name}_label")):
                widget.setVisible(not self._of_patches)
        self.batch.setSuffix(" patches" if self._of_patches else " tiles")

    def pixel_size(self) -> float | str | None:
        """Side of the map's pixels in metres, ``model``, or None for that of the finest raster."""
        kind = self._chosen("grid_kind")
        return self.gsd.value() if kind == "given" else kind or None

    def mask_layer(self) -> QgsRasterLayer | None:
        """The raster that says where to classify, or None for everywhere."""
        return self.mask.currentLayer()

    def options(self) -> dict[str, Any]:
        """Job options; what is left to the engine is not among them (nor the mask, which is a layer)."""
        options: dict[str, Any] = {"invalid": self._chosen("invalid")}
        for name in ("mode", "resampling", "precision"):
            if getattr(self, name).currentIndex() and not (self._of_patches and name in _OF_PIXELS):
                options[name] = self._chosen(name)
        for name in _COUNTS:
            if getattr(self, name).value() and not (self._of_patches and name in _OF_PIXELS):
                options[name] = getattr(self, name).value()
        if self.pixel_size() is not None:
            options["gsd"] = self.pixel_size()
        if self._provider():
            options["provider"] = self._provider()
        return options

    def _provider(self) -> str:
        text = self.provider.currentText().strip()
        return "" if text == self.provider.itemText(0) else text

    def is_default(self) -> bool:
        """True where everything is left to the engine."""
        return self.options() == {"invalid": _CHOICES["invalid"][0]} and self.mask_layer() is None

    def remember(self) -> None:
        """Keep the choice for the next time (not the mask: it belongs to this scene)."""
        settings = QgsSettings()
        for name in _COUNTS:
            settings.setValue(f"{_SETTINGS}/{name}", getattr(self, name).value())
        for name in _CHOICES:
            settings.setValue(f"{_SETTINGS}/{name}", self._chosen(name))
        settings.setValue(f"{_SETTINGS}/gsd", self.gsd.value())
        settings.setValue(f"{_SETTINGS}/provider", self._provider())
