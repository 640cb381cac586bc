"""The form "Describe the Model": what a network's file does not say, said once and kept for its weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qgis.gui import QgsColorButton
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialog,
    QHeaderView,
    QInputDialog,
    QMessageBox,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from ..errors import ModelError
from ..models.bands import SENSOR_TITLES, SENSORS, Band
from ..models.card import TASK_TITLES, FurtherOutput, ModelCard, ModelClass, Normalisation, distinct_colors
from ..models.describe import describe
from ..models.reading import forget_corrected_card, save_corrected_card
from .forms import load_form
from .wording import for_dialog, number_label

_TASKS = ("segmentation", "pixel", "window", "patch", "patch-multilabel")
_ACTIVATIONS = (
    ("logits", "scores of any size (logits)"),
    ("softmax", "probabilities that add up to 1 (softmax)"),
    ("sigmoid", "a probability for each class by itself (sigmoid)"),
)
_UNITS = (
    ("", "as the raster declares them"),
    ("reflectance", "reflectance, 0 to 1"),
    ("dn", "numbers as they are stored"),
)
# Scalings: title and divisor; None: the number in the field beside.
_SCALINGS = (
    ("as they are", 1.0),
    ("divided by 255", 255.0),
    ("divided by 10 000", 10000.0),
    ("divided by", None),
)
_KEPT_SCALING = "as the card says (not changed)"
_COMMON_NAMES = (
    "",
    *dict.fromkeys(band.common_name for bands in SENSORS.values() for band in bands if band.common_name),
    "yellow",
    "pan",
    "swir16",
)
_COLOURS = {
    "Red, green, blue": (("red", "red"), ("green", "green"), ("blue", "blue")),
    "Blue, green, red": (("blue", "blue"), ("green", "green"), ("red", "red")),
    "Red, green, blue, near infrared": (("red", "red"), ("green", "green"), ("blue", "blue"), ("nir", "nir")),
}
_NAME, _COMMON, _CENTRE, _MEAN, _DEVIATION = range(5)


class CardForm(QDialog):
    """A modal form over the card of one network.

    Args:
        card: as :func:`..models.reading.read_model_card` gives it.
        parent: the Qt parent.
    """

    def __init__(self, card: ModelCard, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "card_form")
        self.card = card
        self._outputs = [card.for_output(name) for name in card.output_names()]
        self._shown_output = 0
        # Of a network that gives class numbers only its maker knows how many classes there are.
        self._any_number = [
            not output.classes or (_gives_one_channel(output) and len(output.classes) != 2) for output in self._outputs
        ]
        self._fill()
        self._before = self._snapshot()
        self.preset.activated.connect(self._take_preset)
        self.scaling.currentIndexChanged.connect(self._show_scaling)
        self.scaling.activated.connect(self._scaling_chosen)
        self.standardise.toggled.connect(self._show_scaling)
        self.output.currentIndexChanged.connect(self._show_output)
        self.paste_button.clicked.connect(self._paste_names)
        self.forget_button.clicked.connect(self._forget)
        self.save_button.clicked.connect(self._save)
        self.cancel_button.clicked.connect(self.reject)

    # -- what the card says ---------------------------------------------------------------------

    def _fill(self) -> None:
        card = self.card
        self.heading.setText(_HEADINGS.get(card.origin, "What Thematica knows of this network. What you change here ")
                             + "is kept for the network, and its file stays as it is.")  # fmt: skip
        self.title.setText(card.title or card.name)
        for task in _TASKS:
            self.task.addItem(TASK_TITLES[task], task)
        if card.task not in _TASKS:
            self.task.addItem(TASK_TITLES[card.task], card.task)
        self.task.setCurrentIndex(self.task.findData(card.task))
        self.gsd.setValue(card.gsd or 0.0)
        self.tile.setValue(card.tile)
        self.nodata.setText("" if card.nodata is None else f"{card.nodata:g}")
        self._fill_bands()
        self._fill_scaling()
        for name in card.output_names():
            self.output.addItem(name or "output")
        for widget in (self.output_label, self.output):
            widget.setVisible(len(self._outputs) > 1)
        for key, text in _ACTIVATIONS:
            self.activation.addItem(text, key)
        header = self.classes.horizontalHeader()
        for column, mode in enumerate(("ResizeToContents", "Stretch", "ResizeToContents")):
            header.setSectionResizeMode(column, getattr(QHeaderView.ResizeMode, mode))
        self._show_classes(self._outputs[0])
        self.forget_button.setVisible(card.origin == "corrected")

    def _fill_bands(self) -> None:
        card = self.card
        self.preset.addItem("choose a sensor…", None)
        for key, bands in SENSORS.items():
            if len(bands) == len(card.bands):
                self.preset.addItem(SENSOR_TITLES[key], list(bands))
        for title, names in _COLOURS.items():
            if len(names) == len(card.bands):
                self.preset.addItem(title, [Band(name, common) for name, common in names])
        self.preset.setEnabled(self.preset.count() > 1)
        self.bands.setRowCount(len(card.bands))
        for row in range(len(card.bands)):
            combo = QComboBox(self.bands)
            combo.setEditable(True)
            combo.addItems(_COMMON_NAMES)
            combo.setAccessibleName(f"Common name of band {row + 1}")
            # The wheel scrolls the table; a name changed by scrolling past it would go unnoticed.
            combo.wheelEvent = lambda event: event.ignore()
            self.bands.setCellWidget(row, _COMMON, combo)
        header = self.bands.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        self._show_bands(card.bands)

    def _show_bands(self, bands: list[Band]) -> None:
        for row, band in enumerate(bands):
            _set(self.bands, row, _NAME, band.name)
            self.bands.cellWidget(row, _COMMON).setEditText(band.common_name)
            _set(self.bands, row, _CENTRE, "" if band.wavelength is None else number_label(band.wavelength * 1000))

    def _fill_scaling(self) -> None:
        card = self.card
        for key, text in _UNITS:
            self.unit.addItem(text, key)
        if self.unit.findData(card.unit) < 0:
            self.unit.addItem(card.unit, card.unit)
        self.unit.setCurrentIndex(self.unit.findData(card.unit))
        for title, divisor in _SCALINGS:
            self.scaling.addItem(title, divisor)
        count = len(card.bands)
        divisor, means, deviations = _as_scaling(card.normalisation, count)
        if divisor == 0:
            # Clipping, for one, which the form has no field for.
            self.scaling.addItem(_KEPT_SCALING, 0.0)
        index = self.scaling.findData(divisor)
        self.scaling.setCurrentIndex(index if index >= 0 else len(_SCALINGS) - 1)
        self.divisor.setText("" if index >= 0 else number_label(divisor))
        self.standardise.setChecked(bool(means))
        for row in range(count):
            _set(self.bands, row, _MEAN, f"{means[row]:.6g}" if means else "0")
            _set(self.bands, row, _DEVIATION, f"{deviations[row]:.6g}" if means else "1")
        self._show_scaling()

    def _show_scaling(self, *_: object) -> None:
        is_kept = self.scaling.currentData() == 0
        self.divisor.setVisible(self.scaling.currentData() is None)
        self.standardise.setEnabled(not is_kept)
        shown = self.standardise.isChecked() and not is_kept
        for column in (_MEAN, _DEVIATION):
            self.bands.setColumnHidden(column, not shown)

    def _scaling_chosen(self, _: int) -> None:
        """Who divides by 255 or 10 000 means numbers as they are stored, whatever scale the raster declares."""
        divisor = self.scaling.currentData()
        if (divisor is None or divisor > 1) and self.unit.currentData() == "":
            self.unit.setCurrentIndex(self.unit.findData("dn"))
        if divisor is None:
            self.divisor.setFocus()

    def _show_classes(self, card: ModelCard) -> None:
        self._list_classes(card.classes)
        note = f"The network gives {len(card.classes)} scores: one for each class, in this order."
        if _gives_one_channel(card):
            note = "The network gives one score: low for the first class, high for the second."
        gives_numbers = self._any_number[self._shown_output]
        if gives_numbers:
            note = "The network gives class numbers from 0 on: paste the names of all classes, in their order."
        self.activation.setEnabled(not gives_numbers)
        self.count_note.setText(note)
        self.activation.setCurrentIndex(self.activation.findData(card.activation))
        self.threshold.setEnabled(len(set(card.thresholds)) <= 1 and not gives_numbers)
        self.threshold.setSpecialValueText("none" if len(set(card.thresholds)) <= 1 else "one for each class")
        self.threshold.setValue(round(100 * card.thresholds[0]) if len(set(card.thresholds)) == 1 else 0)

    def _list_classes(self, classes: Sequence[ModelClass]) -> None:
        self.classes.setRowCount(len(classes))
        for row, entry in enumerate(classes):
            _set(self.classes, row, 0, str(entry.value))
            _set(self.classes, row, 1, entry.name)
            button = QgsColorButton(self.classes)
            button.setColor(QColor(entry.color))
            button.setAllowOpacity(False)
            self.classes.setCellWidget(row, 2, button)

    # -- what the analyst does ------------------------------------------------------------------

    def _take_preset(self, _: int) -> None:
        bands = self.preset.currentData()
        if bands:
            self._show_bands(bands)

    def _show_output(self, index: int) -> None:
        """Another output of the network; what was said of the last one is kept."""
        try:
            self._outputs[self._shown_output] = self._described_output(self._outputs[self._shown_output])
        except ModelError as error:
            self.notice.tell("error", for_dialog(error.message))
            self.output.blockSignals(True)
            self.output.setCurrentIndex(self._shown_output)
            self.output.blockSignals(False)
            return
        self.notice.clear()
        self._shown_output = index
        self._show_classes(self._outputs[index])

    def _paste_names(self) -> None:
        rows = self.classes.rowCount()
        names = [_text(self.classes, row, 1) for row in range(rows)]
        any_number = self._any_number[self._shown_output]
        wanted = "The names of all classes from number 0 on" if any_number else f"{rows} names"
        text, agreed = QInputDialog.getMultiLineText(
            self, "Names of the classes", f"{wanted}, one per line or with commas between them:", "\n".join(names)
        )
        if not agreed:
            return
        given = [line.strip() for line in text.splitlines() if line.strip()]
        if len(given) == 1:
            given = [part.strip() for part in re.split(r"[,;\t]", given[0]) if part.strip()]
        # "0: water" and "1 = forest" are how such lists are often written.
        given = [re.sub(r"^\d+\s*[:=.)\t]\s*", "", name) for name in given]
        if any_number and given and len(given) != rows:
            colors = distinct_colors(len(given))
            self._list_classes([ModelClass(value, name, colors[value]) for value, name in enumerate(given)])
        elif len(given) != rows or not given:
            self.notice.tell("error", f"The list has {len(given)} names, but the network has {rows} classes.")
            return
        self.notice.clear()
        for row, name in enumerate(given):
            _set(self.classes, row, 1, name)

    def _forget(self) -> None:
        try:
            forget_corrected_card(self.card.weights_sha256)
        except OSError as error:
            self.notice.tell("error", f"The description could not be deleted: {error.strerror or error}.")
            return
        self.accept()

    def _save(self) -> None:
        try:
            save_corrected_card(self.described())
        except ModelError as error:
            self.notice.tell("error", for_dialog(error.message))
        except OSError as error:
            self.notice.tell("error", f"The description could not be kept: {error.strerror or error}.")
        else:
            self.accept()

    def reject(self) -> None:
        """Leave without saving; what was typed is not thrown away without a question."""
        if self._snapshot() != self._before:
            answer = QMessageBox.question(
                self,
                "Describe the model",
                "What you changed is not saved. Throw it away?",
                QMessageBox.StandardButton.Discard | QMessageBox.StandardButton.Cancel,
                QMessageBox.StandardButton.Cancel,
            )
            if answer != QMessageBox.StandardButton.Discard:
                return
        super().reject()

    # -- what the form says ---------------------------------------------------------------------

    def described(self) -> ModelCard:
        """The card as the form says it.

        Raises:
            ModelError: something cannot be understood or used.
        """
        outputs = list(self._outputs)
        outputs[self._shown_output] = self._described_output(outputs[self._shown_output])
        given: dict[str, Any] = {"title": self.title.text(), "task": self.task.currentData(), "bands": self._bands()}
        if self.gsd.value() != round(self.card.gsd or 0.0, 3):
            given["gsd"] = self.gsd.value() or None
        given["tile"] = self.tile.value() or None
        given["unit"] = self.unit.currentData()
        nodata = self.nodata.text().strip()
        if nodata:
            given["nodata"] = _number(nodata, "No data")
        card = describe(self.card, **given, **self._scaling())
        # An emptied field takes back what was said before; describe() would leave it as it is.
        taken_back: dict[str, Any] = {}
        if not nodata:
            taken_back["nodata"] = None
        if not self.gsd.value():
            taken_back.update(gsd=None, gsd_range=None)
        if not self.tile.value():
            taken_back["tile"] = 0
        first, *others = outputs
        if not first.classes:
            raise ModelError("The classes are not known yet: “Paste names…” (under Classes) takes the names of all.")
        return replace(
            card,
            classes=first.classes,
            activation=first.activation,
            thresholds=first.thresholds,
            further_outputs=[
                FurtherOutput(o.output_name, o.classes, o.activation, o.thresholds, o.output_shape) for o in others
            ],
            **taken_back,
        )

    def _described_output(self, card: ModelCard) -> ModelCard:
        if self._any_number[self._shown_output]:
            # What was said of it a moment ago fixes no number either.
            card = replace(card, classes=[])
            if not self.classes.rowCount():
                return card
        threshold = self.threshold.value() / 100 if self.threshold.isEnabled() else None
        return describe(card, classes=self._classes(), activation=self.activation.currentData(), threshold=threshold)

    def _bands(self) -> list[Band]:
        bands = []
        for row, old in enumerate(self.card.bands):
            centre = _text(self.bands, row, _CENTRE)
            wavelength = _number(centre, f"The centre of band {row + 1}") / 1000 if centre else None
            if wavelength is not None and not 0 < wavelength < 1000:
                raise ModelError(f"The centre of band {row + 1} must be a wavelength in nanometres, such as 665.")
            # What the table shows rounded stays as it was.
            same = old.wavelength is not None and number_label(old.wavelength * 1000) == centre
            bands.append(
                replace(
                    old,
                    name=_text(self.bands, row, _NAME) or str(row + 1),
                    common_name=self.bands.cellWidget(row, _COMMON).currentText().strip(),
                    wavelength=old.wavelength if same else wavelength,
                    width=old.width if same else None,
                )
            )
        return bands

    def _scaling(self) -> dict[str, Any]:
        divisor = self.scaling.currentData()
        if divisor == 0:
            return {}
        if divisor is None:
            divisor = _number(self.divisor.text().strip(), "The divisor")
        # What the table shows rounded stays as it was.
        old, means, deviations = _as_scaling(self.card.normalisation, len(self.card.bands))
        if not self.standardise.isChecked():
            return {} if divisor == old and not means else {"divide": divisor}
        shown: dict[str, list[float]] = {"mean": [], "std": []}
        for row in range(self.bands.rowCount()):
            for key, column, word in (("mean", _MEAN, "mean"), ("std", _DEVIATION, "deviation")):
                shown[key].append(_number(_text(self.bands, row, column), f"The {word} of band {row + 1}"))
        same = divisor == old and [f"{v:.6g}" for v in (*means, *deviations)] == [
            f"{v:.6g}" for v in (*shown["mean"], *shown["std"])
        ]
        return {} if same and means else {"divide": divisor, **shown}

    def _classes(self) -> list[ModelClass]:
        classes = []
        for row in range(self.classes.rowCount()):
            value = _text(self.classes, row, 0)
            if not re.fullmatch(r"\d{1,5}", value):
                raise ModelError(f"The value of class {row + 1} must be a whole number from 0 on, not “{value}”.")
            color = self.classes.cellWidget(row, 2).color().name()
            classes.append(ModelClass(int(value), _text(self.classes, row, 1), color))
        return classes

    def _snapshot(self) -> tuple[Any, ...]:
        """All that stands in the form."""
        tables = [
            _text(table, row, column)
            for table in (self.bands, self.classes)
            for row in range(table.rowCount())
            for column in range(table.columnCount())
        ]
        combos = [self.bands.cellWidget(row, _COMMON).currentText() for row in range(self.bands.rowCount())]
        colors = [self.classes.cellWidget(row, 2).color().name() for row in range(self.classes.rowCount())]
        fields = [self.title.text(), self.nodata.text(), self.divisor.text(), self.standardise.isChecked()]
        fields += [box.currentIndex() for box in (self.task, self.unit, self.scaling, self.activation, self.output)]
        numbers = [box.value() for box in (self.gsd, self.tile, self.threshold)]
        return (*tables, *combos, *colors, *fields, *numbers)


_HEADINGS = {
    "none": "This file says only how many bands it takes and how many scores it gives. What you say here ",
    "corrected": "What you said of this network. It ",
}


def _gives_one_channel(card: ModelCard) -> bool:
    """True for one score, or one class number, per pixel."""
    return len(card.output_shape) == 3 or card.output_shape[1:2] == (1,)


def _as_scaling(normalisation: Normalisation, count: int) -> tuple[float, list[float], list[float]]:
    """A normalisation as divisor, means and deviations (empty where there are none); the divisor 0: it is no such."""
    if any(value is not None for value in (*normalisation.minimum, *normalisation.maximum)):
        return 0.0, [], []
    gains = list(normalisation.gain) * count if len(normalisation.gain) == 1 else list(normalisation.gain)
    biases = list(normalisation.bias) * count if len(normalisation.bias) == 1 else list(normalisation.bias)
    if any(gain <= 0 for gain in gains):
        return 0.0, [], []
    if len(set(gains)) == 1 and not any(biases):
        divisor = 1 / gains[0]
        return (round(divisor) if abs(divisor - round(divisor)) < 1e-9 * divisor else divisor), [], []
    # Whether there was a division before the standardisation is not known any more; 255 is the usual one.
    deviations = [1 / gain for gain in gains]
    divisor = 255.0 if min(deviations) > 10 and max(deviations) <= 255 else 1.0
    means = [-bias / gain / divisor for gain, bias in zip(gains, biases)]
    return divisor, means, [value / divisor for value in deviations]


def _set(table: QTableWidget, row: int, column: int, text: str) -> None:
    item = QTableWidgetItem(text)
    if table.objectName() == "classes" and column == 0:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    table.setItem(row, column, item)


def _text(table: QTableWidget, row: int, column: int) -> str:
    item = table.item(row, column)
    return item.text().strip() if item is not None else ""


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ModelError(f"{what} must be a number with a point, not “{text}”.") from None
