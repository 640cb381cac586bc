"""What a sample is, how samples are split, and what is rarely needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsSettings, QgsVectorLayer
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from ..errors import InputError
from ..models.bands import SENSOR_TITLES
from ..plugin.dataset_job import KINDS, SPLITS
from .forms import load_form

_SETTINGS = "thematica/dataset"
#: Sides that are usual: of windows, and of chips.
_SIDES = {"windows": 9, "chips": 128}
_OF_LABELS = (
    "samples_group", "block_label", "block", "buffer_label", "buffer", "show_blocks", "advanced_group",
)  # fmt: skip


class DatasetChoices(QWidget):
    """The kind of samples, the split, and advanced options."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "dataset_choices")
        self.kind.addItems(list(KINDS.values()))
        self.split.addItems(list(SPLITS.values()))
        self.sensor.addItem("as the bands say", "")
        for key, title in SENSOR_TITLES.items():
            self.sensor.addItem(title, key)
        self.timeline_label.setBuddy(self.timeline.lineEdit())
        for choice in (self.image_field, self.from_field, self.to_field):
            choice.setAllowEmptyFieldName(True)
        settings = QgsSettings()
        self.kind.setCurrentIndex(_place(KINDS, settings.value(f"{_SETTINGS}/kind", "pixels")))
        self.split.setCurrentIndex(_place(SPLITS, settings.value(f"{_SETTINGS}/split", "blocks")))
        self._unit = "m"
        self._from_folder = False
        self._kind_is_open = True
        self.kind.currentIndexChanged.connect(self._kind_chosen)
        for signal in (
            self.split.currentIndexChanged, self.block.valueChanged, self.buffer.valueChanged,
            self.show_blocks.toggled, self.size.valueChanged, self.test_share.valueChanged,
            self.validation_share.valueChanged,
        ):  # fmt: skip
            signal.connect(self._show)
        self.advanced_group.setSaveCollapsedState(False)
        self.advanced_group.setCollapsed(True)
        self._kind_chosen()

    def chosen_kind(self) -> str:
        """``pixels``, ``windows`` or ``chips``."""
        return list(KINDS)[self.kind.currentIndex()]

    def chosen_split(self) -> str:
        """``blocks``, ``polygons`` or ``random``."""
        return list(SPLITS)[self.split.currentIndex()]

    def follow_network(self, kind: str) -> None:
        """Leave the kind of samples to a network that is chosen elsewhere, and the map to itself.

        Args:
            kind: ``pixels``, ``windows`` or ``chips``.
        """
        self._kind_is_open = False
        for widget in (self.kind_label, self.kind, self.show_blocks):
            widget.setVisible(False)
        self.kind.setCurrentIndex(_place(KINDS, kind))

    def show_source(self, from_folder: bool, layer: QgsVectorLayer | None, in_metres: bool) -> None:
        """Show what there is to choose for a source.

        Args:
            from_folder: patches of a folder, whose kind is fixed.
            layer: the labels, where they are vectors.
            in_metres: lengths are in metres; else the rasters have no CRS, and lengths are in pixels.
        """
        self._from_folder, self._unit = from_folder, "m" if in_metres else "px"
        for name in _OF_LABELS:
            getattr(self, name).setVisible(not from_folder and (self._kind_is_open or name != "show_blocks"))
        # What a folder of patches leaves to choose has no “blocks of ground” of its own.
        self.split_label.setVisible(not from_folder)
        self.split.setVisible(not from_folder)
        for choice in (self.image_field, self.from_field, self.to_field):
            if choice.layer() is not layer:
                choice.setLayer(layer)
                choice.setField("image" if choice is self.image_field and _has_field(layer, "image") else "")
            choice.setEnabled(layer is not None)
        for box in (self.block, self.buffer):
            box.setSuffix(f" {self._unit}")
            box.setDecimals(0 if self._unit == "px" else 1)
        self._show()

    def block_side(self) -> tuple[float, str] | None:
        """Side of the blocks and its unit (``m`` or ``px``), where it was chosen and blocks are asked for."""
        if self._from_folder or self.chosen_split() != "blocks" or not self.block.value():
            return None
        return self.block.value(), self._unit

    def automatic_block(self, pixels: int | None) -> tuple[float, str] | None:
        """Side of the blocks that the builder chose and its unit, where the choice was left to it; and shows that."""
        if self._from_folder or self.chosen_split() != "blocks" or self.block.value() or not pixels:
            return None
        self.show_blocks.setEnabled(True)
        return float(pixels), "px"

    def options(self) -> dict[str, Any]:
        """Job options; what is left to the builder is not among them.

        Raises:
            InputError: a text that is no number.
        """
        options: dict[str, Any] = {
            "test": self.test_share.value() / 100,
            "validation": self.validation_share.value() / 100,
            "seed": self.seed.value(),
        }
        if self._from_folder:
            return options
        options["merge"] = self.merge.text().strip()
        kind = self.chosen_kind()
        options |= {"kind": kind, "split": self.chosen_split()}
        if kind != "pixels":
            options["size"] = self.size.value()
        if self.most.value():
            options["most"] = self.most.value()
        for name in ("block", "buffer"):
            box = getattr(self, name)
            if box.isVisibleTo(self) and box.isEnabled() and box.value() > box.minimum():
                options[name] = f"{box.value():g}{'px' if self._unit == 'px' else ''}"
        options["bands"] = self.bands.text().strip()
        options["sensor"] = self.sensor.currentData()
        options["scale"] = self._scale()
        for name in ("image_field", "from_field", "to_field"):
            options[name] = getattr(self, name).currentField()
        options["timeline"] = self.timeline.filePath().strip()
        return options

    def _scale(self) -> float | None:
        text = self.scale.text().strip().replace(",", ".")
        try:
            return float(text) if text else None
        except ValueError:
            raise InputError(f"The scale “{text}” is no number; write 0.0001, for example.") from None

    def remember(self) -> None:
        """Keep the choice for the next time."""
        QgsSettings().setValue(f"{_SETTINGS}/kind", self.chosen_kind())
        QgsSettings().setValue(f"{_SETTINGS}/split", self.chosen_split())

    def _kind_chosen(self, *_: object) -> None:
        side = _SIDES.get(self.chosen_kind())
        if side is not None:
            self.size.setValue(side)
        self._show()

    def _show(self, *_: object) -> None:
        pixels, split = self.chosen_kind() == "pixels", self.chosen_split()
        for widget in (self.size_label, self.size):
            widget.setEnabled(not pixels)
        for widget in (self.block_label, self.block):
            widget.setEnabled(split == "blocks")
        for widget in (self.buffer_label, self.buffer):
            widget.setEnabled(split != "random")
        self.show_blocks.setEnabled(self.block_side() is not None)
        self.changed.emit()


def _place(entries: dict[str, str], key: object) -> int:
    return list(entries).index(str(key)) if key in entries else 0


def _has_field(layer: QgsVectorLayer | None, name: str) -> bool:
    return layer is not None and layer.fields().lookupField(name) >= 0


def suggested_folder(labels: str) -> str:
    """A folder's name from that of the label layer."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in labels)[:60]
    return str(Path.home() / f"{plain or 'labels'}_training_set")
