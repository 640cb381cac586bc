"""The panel "Labels at Threshold": from which probability a label counts, seen on the map while it is moved."""

from __future__ import annotations

from qgis.core import QgsVectorLayer
from qgis.PyQt.QtCore import QLocale, QSize, Qt, QTimer
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QDockWidget, QHeaderView, QTableWidgetItem, QWidget

from ..errors import ThematicaError
from ..plugin.labels import PatchLabels
from .forms import load_form
from .swatches import HEIGHT, WIDTH, swatch_pixmap

#: A slider that is dragged sends more values than a map can be drawn for.
_MILLISECONDS_TO_REPAINT = 60


class ThresholdPanel(QDockWidget):
    """Slider and spin box, the number of patches per label, and a button that writes the labels.

    Args:
        parent: QGIS's main window.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "threshold_panel")
        self.patches: PatchLabels | None = None
        self._layer: QgsVectorLayer | None = None
        self._show_soon = QTimer(self, singleShot=True, interval=_MILLISECONDS_TO_REPAINT)
        self._show_soon.timeout.connect(self._show_on_map)
        self._read_soon = QTimer(self, singleShot=True, interval=0)
        self._read_soon.timeout.connect(self._read)
        self.table.setIconSize(QSize(WIDTH, HEIGHT))
        header = self.table.horizontalHeader()
        for column, mode in enumerate(("Stretch", "ResizeToContents", "ResizeToContents")):
            header.setSectionResizeMode(column, getattr(QHeaderView.ResizeMode, mode))
        self.slider.valueChanged.connect(self.spin.setValue)
        self.spin.valueChanged.connect(self.slider.setValue)
        self.spin.valueChanged.connect(self._moved)
        self.reset_button.clicked.connect(self._reset)
        self.write_button.clicked.connect(self._write)

    def show_layer(self, layer: QgsVectorLayer) -> None:
        """Take another layer of labelled patches."""
        self._let_go()
        self._layer, self.patches = layer, PatchLabels(layer)
        layer.willBeDeleted.connect(self._layer_gone)
        layer.nameChanged.connect(self._show_name)
        for signal in (layer.featureAdded, layer.featureDeleted, layer.afterRollBack, layer.dataSourceChanged):
            signal.connect(self._read_later)
        self.notice.clear()
        self._show_name()
        self._set(self.patches.threshold())

    def threshold(self) -> float:
        """The threshold, 0 to 1."""
        return self.spin.value() / 100

    def _set(self, threshold: float) -> None:
        self.spin.blockSignals(True)
        self.spin.setValue(round(100 * threshold))
        self.slider.setValue(self.spin.value())
        self.spin.blockSignals(False)
        self._show_counts()

    def _moved(self) -> None:
        self.notice.clear()
        self._show_counts()
        self._show_soon.start()

    def _show_on_map(self) -> None:
        if self.patches is not None:
            self.patches.show(self.threshold())

    def _show_name(self) -> None:
        if self._layer is not None:
            self.layer_name.setText(self._layer.name())

    def _show_counts(self) -> None:
        if self.patches is None:
            return
        locale, total = QLocale(), self.patches.count
        rows = [
            (label.name, label.color, count)
            for label, count in zip(self.patches.labels, self.patches.counts(self.threshold()))
        ]
        rows.append(("no label", "", self.patches.without_label(self.threshold())))
        self.table.setRowCount(len(rows))
        for index, (name, color, count) in enumerate(rows):
            item = QTableWidgetItem(name)
            if color:
                item.setIcon(QIcon(swatch_pixmap(color)))
            item.setToolTip(name)
            self.table.setItem(index, 0, item)
            share = f"{locale.toString(100 * count / total, 'f', 1)} %" if total else ""
            for column, text in enumerate((locale.toString(count), share), start=1):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(index, column, cell)

    def _reset(self) -> None:
        if self.patches is not None:
            self.spin.setValue(round(100 * self.patches.own_threshold()))

    def _write(self) -> None:
        if self.patches is None:
            return
        # The map must show what is written.
        self._show_soon.stop()
        self._show_on_map()
        try:
            changed = self.patches.write(self.threshold())
        except ThematicaError as error:
            self.notice.tell("error", error.message)
            return
        if changed:
            what = "1 label" if changed == 1 else f"{QLocale().toString(changed)} labels"
            self.notice.tell("ok", f"{what} changed: save the layer's edits, or undo.")
        else:
            self.notice.tell("info", "The column “label” holds these labels already.")

    def _read_later(self, *_: object) -> None:
        self._read_soon.start()

    def _read(self) -> None:
        if self.patches is not None:
            self.patches.read()
            self._show_counts()

    def _layer_gone(self) -> None:
        self._layer = self.patches = None
        self._show_soon.stop()
        self._read_soon.stop()
        self.close()

    def _let_go(self) -> None:
        if self._layer is None:
            return
        # What the last move asked for is still owed to the layer that is left.
        if self._show_soon.isActive():
            self._show_soon.stop()
            self._show_on_map()
        layer, self._layer, self.patches = self._layer, None, None
        layer.willBeDeleted.disconnect(self._layer_gone)
        layer.nameChanged.disconnect(self._show_name)
        for signal in (layer.featureAdded, layer.featureDeleted, layer.afterRollBack, layer.dataSourceChanged):
            signal.disconnect(self._read_later)
