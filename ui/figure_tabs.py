"""Tabs that stand side by side also in a narrow dock: where their titles do not fit, shorter ones are shown."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.PyQt.QtCore import QEvent
from qgis.PyQt.QtGui import QResizeEvent
from qgis.PyQt.QtWidgets import QTabWidget, QWidget


class FigureTabs(QTabWidget):
    """Each tab has a title and a short one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._titles: list[tuple[str, str]] = []

    def set_titles(self, titles: Sequence[tuple[str, str]]) -> None:
        """Set title and short title of each tab."""
        if list(titles) != self._titles:
            self._titles = list(titles)
            self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Choose the titles that fit."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        """Choose anew with another font."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def _fit(self) -> None:
        bar = self.tabBar()
        for which in (0, 1):
            for place, titles in enumerate(self._titles):
                if self.tabText(place) != titles[which]:
                    self.setTabText(place, titles[which])
            if bar.sizeHint().width() <= self.width():
                return
