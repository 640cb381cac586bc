"""Which raster band feeds which model band, and what the stored numbers mean."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.PyQt.QtCore import QLocale, Qt, pyqtSignal
from qgis.PyQt.QtGui import QDoubleValidator
from qgis.PyQt.QtWidgets import QComboBox, QHeaderView, QTableWidgetItem, QWidget

from ..models.bands import SENSOR_TITLES
from ..models.card import ModelCard
from ..models.fit import RasterFacts
from .fitting import FitView, band_keys, raster_band_labels
from .forms import load_form
from .wording import band_label, number_label, wavelength_label

#: What stored numbers may mean: title, scale, offset (None: as the raster declares).
VALUE_PRESETS: tuple[tuple[str, float | None, float | None], ...] = (
    ("as the raster declares", None, None),
    ("reflectance 0 to 1", 1.0, 0.0),
    ("reflectance × 10 000", 0.0001, 0.0),
    ("Sentinel-2 since 2022: × 10 000, plus 1000", 0.0001, -0.1),
    ("Landsat Collection 2, level 2", 0.0000275, -0.2),
)
_BY_HAND = "scale and offset given below"


class BandTable(QWidget):
    """The band assignment and the scale of the values; ``changed`` when the analyst alters either."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "band_table")
        self._by_hand = False
        self._filling = False
        self._keys: list[str] = []
        self._rasters: list[RasterFacts] = []
        self.sensor.addItem("automatic", None)
        for key, title in SENSOR_TITLES.items():
            self.sensor.addItem(title, key)
        for title, _, _ in VALUE_PRESETS:
            self.values.addItem(title)
        self.values.addItem(_BY_HAND)
        for field in (self.scale, self.offset):
            validator = QDoubleValidator(field)
            # A point everywhere: 0,0001 would be read as two values by whoever copies it from a report.
            validator.setLocale(QLocale.c())
            field.setValidator(validator)
            field.textEdited.connect(self._number_edited)
        # Ten bands of Sentinel-2 are seen without scrolling.
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 9)
        self.table.verticalHeader().setMinimumSectionSize(18)
        header = self.table.horizontalHeader()
        for column, mode in enumerate(("ResizeToContents", "ResizeToContents", "Stretch", "ResizeToContents")):
            header.setSectionResizeMode(column, getattr(QHeaderView.ResizeMode, mode))
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.sensor.activated.connect(self._sensor_chosen)
        self.rematch.clicked.connect(self._forget_assignments)
        self.values.activated.connect(self._preset_chosen)

    # -- what is chosen -------------------------------------------------------------------------

    def chosen_sensor(self) -> str | None:
        """The preset chosen by hand, or None for automatic."""
        return self.sensor.currentData()

    def chosen_bands(self) -> dict[str, tuple[int, int]]:
        """All assignments where the analyst altered one, otherwise none: then the engine matches by itself."""
        if not self._by_hand:
            return {}
        chosen = {}
        for row, key in enumerate(self._keys):
            place = self._combo(row).currentData()
            if place:
                source, number = map(int, place.split(":"))
                chosen[key] = (source, number)
        return chosen

    def chosen_scale(self) -> float | None:
        """The scale given, or None for what the raster declares."""
        return _number(self.scale.text())

    def chosen_offset(self) -> float | None:
        """The offset given, or None for what the raster declares."""
        return _number(self.offset.text())

    def set_values(self, scale: float | None, offset: float | None) -> None:
        """Set scale and offset as if chosen by hand."""
        self.scale.setText("" if scale is None else number_label(scale))
        self.offset.setText("" if offset is None else number_label(offset))
        self._show_preset()
        self.changed.emit()

    # -- what is shown --------------------------------------------------------------------------

    def start_over(self, card: ModelCard | None, rasters: Sequence[RasterFacts]) -> None:
        """Show another model or other rasters; what was assigned by hand for the last ones is forgotten."""
        self._by_hand = False
        self._rasters = list(rasters)
        self._keys = band_keys(card.bands) if card else []
        self.sensor.setCurrentIndex(0)
        self.scale.clear()
        self.offset.clear()
        self._show_preset()
        self.table.setRowCount(0)
        self.setEnabled(card is not None and bool(rasters))
        if card is None or not rasters:
            return
        self.table.setRowCount(len(card.bands))
        for row, band in enumerate(card.bands):
            for column, text in enumerate((band_label(band), wavelength_label(band))):
                item = QTableWidgetItem(text)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled)
                self.table.setItem(row, column, item)
            combo = QComboBox(self.table)
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(8)
            combo.setAccessibleName(f"Raster band for {band_label(band)}")
            combo.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            # The wheel scrolls the table; a band changed by scrolling past it would go unnoticed.
            combo.wheelEvent = lambda event: event.ignore()
            combo.activated.connect(self._band_chosen)
            self.table.setCellWidget(row, 2, combo)
            item = QTableWidgetItem("")
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)
            self.table.setItem(row, 3, item)

    def show_fit(self, fit: FitView) -> None:
        """Show which raster band feeds each model band, as the check found it."""
        if not self._rasters:
            return
        self._filling = True
        places = self._places()
        for row in range(self.table.rowCount()):
            match = fit.matches[row] if row < len(fit.matches) else None
            combo = self._combo(row)
            combo.clear()
            combo.addItem("missing", None)
            for place, label, tip in places:
                combo.addItem(label, place)
                combo.setItemData(combo.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
            combo.setCurrentIndex(combo.findData(f"{match.source}:{match.band}") if match else 0)
            self.table.item(row, 3).setText(_HOW.get(match.how, match.how) if match else "–")
        self._filling = False
        self.rematch.setEnabled(self._by_hand)
        self._show_declared(fit)

    def _places(self) -> list[tuple[str, str, str]]:
        """All bands of all rasters: ``raster:band``, what it is called, and what its values are like."""
        places = []
        for source, raster in enumerate(self._rasters, start=1):
            # The first raster's bands need no word about it.
            before = f"raster {source}, " if source > 1 else ""
            for number, label in enumerate(raster_band_labels(raster, self.chosen_sensor()), start=1):
                ends = raster.sample.get(number)
                values = f"stored values mostly from {number_label(ends[0])} to {number_label(ends[1])}" if ends else ""
                tip = "\n".join(filter(None, (raster.path if source > 1 else "", values)))
                places.append((f"{source}:{number}", before + label, tip))
        return places

    def _show_declared(self, fit: FitView) -> None:
        for field, values in ((self.scale, fit.scale), (self.offset, fit.offset)):
            distinct = {number_label(value) for value in values}
            field.setPlaceholderText(distinct.pop() if len(distinct) == 1 else "per band" if distinct else "declared")

    def _show_preset(self) -> None:
        chosen = (self.chosen_scale(), self.chosen_offset())
        presets = [(scale, offset) for _, scale, offset in VALUE_PRESETS]
        self.values.setCurrentIndex(presets.index(chosen) if chosen in presets else len(presets))

    def _combo(self, row: int) -> QComboBox:
        return self.table.cellWidget(row, 2)

    # -- what the analyst does ------------------------------------------------------------------

    def _band_chosen(self) -> None:
        if not self._filling:
            self._by_hand = True
            self.changed.emit()

    def _sensor_chosen(self) -> None:
        self._by_hand = False
        self.changed.emit()

    def _forget_assignments(self) -> None:
        self._by_hand = False
        self.changed.emit()

    def _preset_chosen(self, index: int) -> None:
        if index < len(VALUE_PRESETS):
            self.set_values(*VALUE_PRESETS[index][1:])
        else:
            self.scale.setFocus()

    def _number_edited(self) -> None:
        self._show_preset()
        self.changed.emit()


_HOW = {
    "given": "hand",
    "name": "name",
    "common name": "common name",
    "wavelength": "wavelength",
    "sensor": "sensor",
    "position": "order",
}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
