"""The small panel on the map canvas with the tolerance of region growing."""

from __future__ import annotations

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QSignalBlocker, pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from .forms import load_form

_SETTING = "thematica/labels/tolerance"
_TOLERANCE = 35


class GrowPanel(QWidget):
    """Slider and spin box, accept and discard, and what the region is.  The tolerance is remembered."""

    #: Another tolerance, 0 to 100.
    tolerance_changed = pyqtSignal(int)
    accepted = pyqtSignal()
    discarded = pyqtSignal()
    #: A number was typed: keys belong to the map again.
    left = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "grow_panel")
        self.setAutoFillBackground(True)
        self.spin.setValue(QgsSettings().value(_SETTING, _TOLERANCE, type=int))
        self.slider.setValue(self.spin.value())
        self.slider.valueChanged.connect(self.spin.setValue)
        self.spin.valueChanged.connect(self._moved)
        self.spin.editingFinished.connect(self.left)
        self.accept_button.clicked.connect(self.accepted)
        self.discard_button.clicked.connect(self.discarded)

    @property
    def tolerance(self) -> int:
        """0 to 100."""
        return self.spin.value()

    def set_tolerance(self, tolerance: float) -> None:
        """Move slider and spin box; ``tolerance_changed`` follows if that is another one."""
        self.spin.setValue(round(tolerance))

    def tell(self, sentence: str, can_accept: bool, can_discard: bool) -> None:
        """What there is, and what may be done with it."""
        self.state.setText(sentence)
        self.accept_button.setEnabled(can_accept)
        self.discard_button.setEnabled(can_discard)

    def _moved(self, tolerance: int) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(tolerance)
        QgsSettings().setValue(_SETTING, tolerance)
        self.tolerance_changed.emit(tolerance)
