"""How a raster is cut into patches, and from which probability a label counts."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtWidgets import QWidget

from ..models.card import ModelCard
from .forms import load_form
from .wording import patches_label

#: What counts where a model of several labels says nothing of its own; the engine does the same.
USUAL_THRESHOLD = 0.5
# Stands for a threshold per label; one step below 0 %.
_OWN = -0.05


def patch_side(card: ModelCard) -> int:
    """Side of a model's patches in pixels, or 0 where neither network nor card says it."""
    fixed = card.input_shape[-1] if len(card.input_shape) == 4 else 0
    return fixed if fixed > 0 else card.tile


class PatchChoice(QWidget):
    """Stride, and for several labels the threshold; hidden for models of other tasks."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "patch_choice")
        self._side = 0
        self._usual_threshold: float | None = None
        self.stride.valueChanged.connect(self._show_note)
        self.show_model(None)

    def show_model(self, card: ModelCard | None) -> None:
        """Start with the patches of another model, side by side."""
        is_patch = card is not None and card.task.startswith("patch")
        self.setVisible(is_patch)
        if card is None or not is_patch:
            return
        self._side = patch_side(card)
        self.stride.setValue(self._side)
        several = card.task == "patch-multilabel"
        # A model with thresholds of its own, one per label, is not asked for one.
        own = len(set(card.thresholds)) > 1
        self._usual_threshold = None
        for widget in (self.threshold_label, self.threshold):
            widget.setVisible(several)
        if several:
            self.threshold.setMinimum(round(100 * _OWN) if own else 0)
            self._usual_threshold = _OWN if own else (card.thresholds[0] if card.thresholds else USUAL_THRESHOLD)
            self.threshold.setSpecialValueText("one for each label" if own else "")
            self.threshold.setValue(round(100 * self._usual_threshold))
        self._show_note()

    def options(self) -> dict[str, Any]:
        """Job options; what is left to the engine is not among them."""
        options: dict[str, Any] = {}
        if self.stride.value() not in (0, self._side):
            options["stride"] = self.stride.value()
        if self._usual_threshold is not None and self.threshold.value() != round(100 * self._usual_threshold):
            options["threshold"] = self.threshold.value() / 100
        return options

    def _show_note(self) -> None:
        self.note.setText(patches_label(self._side, self.stride.value()))
