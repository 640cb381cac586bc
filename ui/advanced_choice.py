"""How the raster is cut into tiles; rarely needed."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsSettings
from qgis.PyQt.QtWidgets import QWidget

from .forms import load_form

_SETTINGS = "thematica/classify"
_INVALID = ("any", "all")


class AdvancedChoice(QWidget):
    """Tile, batch, threads, and what counts as no data."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "advanced_choice")
        settings = QgsSettings()
        for name in ("tile", "batch", "threads"):
            getattr(self, name).setValue(settings.value(f"{_SETTINGS}/{name}", 0, type=int))
        last = settings.value(f"{_SETTINGS}/invalid", _INVALID[0])
        self.invalid.setCurrentIndex(_INVALID.index(last) if last in _INVALID else 0)

    def options(self) -> dict[str, Any]:
        """Job options; what is left to the engine is not among them."""
        options: dict[str, Any] = {"invalid": _INVALID[self.invalid.currentIndex()]}
        for name in ("tile", "batch", "threads"):
            if getattr(self, name).value():
                options[name] = getattr(self, name).value()
        return options

    def is_default(self) -> bool:
        """True where everything is left to the engine."""
        return self.options() == {"invalid": _INVALID[0]}

    def remember(self) -> None:
        """Keep the choice for the next time."""
        settings = QgsSettings()
        for name in ("tile", "batch", "threads"):
            settings.setValue(f"{_SETTINGS}/{name}", getattr(self, name).value())
        settings.setValue(f"{_SETTINGS}/invalid", _INVALID[self.invalid.currentIndex()])
