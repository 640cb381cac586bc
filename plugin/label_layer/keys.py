"""The keys 1 to 9 and 0 pick the class that is drawn, while the map has the focus and a label layer is active."""

from __future__ import annotations

from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QEvent, QObject, Qt, pyqtSignal
from qgis.PyQt.QtGui import QKeyEvent

from ...errors import ThematicaError
from .label_layer import LabelLayer

#: The keys in the order of the classes.
KEYS = "1234567890"


class ClassKeys(QObject):
    """Listens to one map canvas.

    A key that the analyst has made a shortcut in QGIS never gets here: shortcuts come first.

    Args:
        canvas: whose current layer says what the keys are for; it owns this object.
    """

    #: A class was picked: label layer, code, number of selected polygons that got it.
    picked = pyqtSignal(object, int, int)
    #: A key could not do what it is for; a sentence for the message bar.
    refused = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        canvas.installEventFilter(self)

    def end(self) -> None:
        """Listen no more."""
        self.parent().removeEventFilter(self)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.KeyPress:
            return False
        place = _place(event)
        labels = LabelLayer.of(watched.currentLayer()) if place >= 0 else None
        if labels is None or place >= len(labels.classes()):
            return False
        self._pick(labels, labels.classes()[place].code)
        return True

    def _pick(self, labels: LabelLayer, code: int) -> None:
        labels.set_current(code)
        changed = 0
        if labels.layer.isEditable() and labels.layer.selectedFeatureCount():
            if not labels.holds_codes and not labels.values_of(code):
                self.refused.emit(f"The field has no value for the class “{labels.class_of(code).name}”.")
                return
            try:
                changed = labels.assign(labels.layer.selectedFeatureIds(), code)
            except ThematicaError as error:
                self.refused.emit(error.message)
                return
        self.picked.emit(labels, code, changed)


def _place(event: QKeyEvent) -> int:
    """Which class a key stands for, from 0; -1 for none."""
    modifiers = event.modifiers()
    # Shift: on a French keyboard it is what makes a digit of the key; the text tells.
    harmless = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier
    if modifiers | harmless != harmless or len(event.text()) != 1:
        return -1
    return KEYS.find(event.text())
