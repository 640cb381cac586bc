"""The tab "Spectra": the plot of the signatures, what its shading shows, and its legend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QVBoxLayout, QWidget

from .signature_legend import SignatureLegend
from .signature_plot import SPREADS, SignaturePlot

_SETTING = "thematica/labels/spread"


class SignaturePanel(QWidget):
    """Plot above, legend below."""

    class_clicked = pyqtSignal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plot = SignaturePlot(self)
        self.legend = SignatureLegend(self)
        self.spread = QComboBox(self)
        self.spread.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.spread.setMinimumContentsLength(12)
        self.spread.setToolTip("What is shaded around the mean of a class")
        for kind, title in SPREADS.items():
            self.spread.addItem(f"Mean, {title}", kind)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self.spread)
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.legend)
        self.legend.hidden_changed.connect(self.plot.set_hidden)
        self.plot.class_clicked.connect(self.class_clicked)
        self.plot.ground_clicked.connect(lambda: self.plot.set_emphasis(set()))
        self.spread.currentIndexChanged.connect(self._choose_spread)
        self.spread.setCurrentIndex(max(self.spread.findData(QgsSettings().value(_SETTING, "std")), 0))
        self._choose_spread()
        self.set_statistics({})

    def set_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Show other figures."""
        self.plot.set_statistics(statistics)
        self.legend.set_signatures(self.plot.signatures)
        self.spread.setVisible(bool(self.plot.signatures))

    def _choose_spread(self, *_: object) -> None:
        kind = str(self.spread.currentData())
        QgsSettings().setValue(_SETTING, kind)
        self.plot.set_spread(kind)
