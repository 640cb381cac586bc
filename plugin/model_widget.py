"""How Processing's dialogs ask for a model: a name from the store, or a file.

Loaded by Processing only where a dialog is built; the parameter itself is a plain string.
"""

from __future__ import annotations

from processing.gui.wrappers import DIALOG_MODELER, WidgetWrapper
from qgis.core import (
    QgsProcessingModelChildParameterSource,
    QgsProcessingOutputFile,
    QgsProcessingOutputString,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QToolButton, QWidget

from ..models.store import ESRI_SUFFIXES, SUFFIXES, list_models


class ModelWidget(WidgetWrapper):
    """An editable list of the store's models, with a button for files."""

    def createWidget(self) -> QWidget:
        self._combo = QComboBox()
        self._combo.setEditable(True)
        for entry in list_models():
            title = entry.card.title if entry.card is not None else entry.problem
            self._combo.addItem(entry.name, entry.name)
            self._combo.setItemData(self._combo.count() - 1, title, 3)  # Qt's tool tip role, in Qt5 and Qt6
        if self.dialogType == DIALOG_MODELER:
            # A model of the model designer may hand in the name as an input of its own.
            sources = self.dialog.getAvailableValuesOfType(
                [QgsProcessingParameterString, QgsProcessingParameterFile],
                [QgsProcessingOutputString, QgsProcessingOutputFile],
            )
            for source in sources:
                self._combo.addItem(self.dialog.resolveValueDescription(source), source)
        button = QToolButton()
        button.setText("…")
        button.setToolTip("Choose a network from a file")
        button.clicked.connect(self._browse)
        widget = QWidget()
        row = QHBoxLayout(widget)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo, 1)
        row.addWidget(button)
        self._combo.currentTextChanged.connect(lambda _: self.widgetValueHasChanged.emit(self))
        return widget

    def setValue(self, value) -> None:
        if isinstance(value, QgsProcessingModelChildParameterSource) or value in self._names():
            self.setComboValue(value, self._combo)
        elif value is not None:
            self._combo.setEditText(str(value))

    def value(self):
        return self.comboValue(combobox=self._combo)

    def _names(self) -> list:
        return [self._combo.itemData(index) for index in range(self._combo.count())]

    def _browse(self) -> None:
        patterns = " ".join(f"*{suffix}" for suffix in (*SUFFIXES, *ESRI_SUFFIXES))
        path, _ = QFileDialog.getOpenFileName(self._combo, "Model", "", f"Networks ({patterns});;All files (*)")
        if path:
            self._combo.setEditText(path)
