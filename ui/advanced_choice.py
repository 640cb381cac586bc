"""How the raster is cut into tiles, and other things that are rarely needed."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsSettings
from qgis.PyQt.QtWidgets import QComboBox, QWidget

from .forms import load_form

_SETTINGS = "thematica/classify"
_INVALID = ("any", "all")
_MODES = ("exact", "smooth")
_COUNTS = ("tile", "batch", "threads")


class AdvancedChoice(QWidget):
    """Tiles and their stitching, batch, threads, and what counts as no data."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "advanced_choice")
        self._of_patches = False
        settings = QgsSettings()
        for name in _COUNTS:
            getattr(self, name).setValue(settings.value(f"{_SETTINGS}/{name}", 0, type=int))
        for box, values in self._choices():
            last = settings.value(f"{_SETTINGS}/{box.objectName()}", values[0])
            box.setCurrentIndex(values.index(last) if last in values else 0)

    def _choices(self) -> tuple[tuple[QComboBox, tuple[str, ...]], ...]:
        return (self.invalid, _INVALID), (self.mode, _MODES)

    def show_task(self, task: str) -> None:
        """Show what there is to choose for a model's task: patches are not cut into tiles."""
        self._of_patches = task.startswith("patch")
        for widget in (self.tile_label, self.tile, self.mode_label, self.mode):
            widget.setVisible(not self._of_patches)
        self.batch.setSuffix(" patches" if self._of_patches else " tiles")

    def options(self) -> dict[str, Any]:
        """Job options; what is left to the engine is not among them."""
        options: dict[str, Any] = {"invalid": _INVALID[self.invalid.currentIndex()]}
        if not self._of_patches and self.mode.currentIndex():
            options["mode"] = _MODES[self.mode.currentIndex()]
        for name in _COUNTS:
            if getattr(self, name).value() and not (self._of_patches and name == "tile"):
                options[name] = getattr(self, name).value()
        return options

    def is_default(self) -> bool:
        """True where everything is left to the engine."""
        return self.options() == {"invalid": _INVALID[0]}

    def remember(self) -> None:
        """Keep the choice for the next time."""
        settings = QgsSettings()
        for name in _COUNTS:
            settings.setValue(f"{_SETTINGS}/{name}", getattr(self, name).value())
        for box, values in self._choices():
            settings.setValue(f"{_SETTINGS}/{box.objectName()}", values[box.currentIndex()])
