"""The menu beside the label layers: other layers, and what the chosen one is for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Callable

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QAction, QActionGroup, QMenu, QWidget

from ..errors import ThematicaError
from .wording import for_dialog


class LabelLayerMenu(QMenu):
    """Fills itself when it is opened.

    Args:
        others: actions that lead to other label layers.
        parent: the Qt parent.
    """

    #: A sentence that says what could not be done.
    failed = pyqtSignal(str)

    def __init__(self, others: Sequence[QAction], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        #: The label layer that is shown, or None.
        self.label_layer: Any = None
        self._others = list(others)
        self.addActions(self._others)
        self.aboutToShow.connect(self.fill)

    def fill(self) -> None:
        """Offer what can be done now."""
        from .new_label_layer import ROLE_TITLES

        self.clear()
        self.addActions(self._others)
        labels = self.label_layer
        if labels is None:
            return
        self.addSection("The labels are for")
        group = QActionGroup(self)
        for title, role in ROLE_TITLES.items():
            action = self._switch(title.capitalize(), labels.role == role, partial(labels.set_role, role))
            group.addAction(action)
        self.addSeparator()
        asking = labels.is_asking()
        self._switch("Ask for the class of each new polygon", asking, lambda: labels.set_asking(not asking))
        shown = labels.layer.labelsEnabled()
        self._switch("Write the classes on the map", shown, lambda: labels.show_names(not shown))

    def _switch(self, text: str, on: bool, act: Callable[[], object]) -> QAction:
        action = self.addAction(text)
        action.setCheckable(True)
        action.setChecked(on)
        action.triggered.connect(lambda *_: self._try(act))
        return action

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except ThematicaError as error:
            self.failed.emit(for_dialog(error.message))
