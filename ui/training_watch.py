"""Tells in QGIS's message bar when a training has ended that nobody was watching, also one that outlived QGIS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QPushButton

from ..plugin.compat import LEVEL_SUCCESS, LEVEL_WARNING
from ..plugin.training_glance import Glance, glance
from ..plugin.training_list import set_told, untold_runs
from .training_words import figure_label
from .wording import for_dialog

#: QGIS has better to do while it starts.
_SECONDS_TO_BEGIN = 5
_SECONDS_BETWEEN = 10
_SECONDS_TO_READ = 30
#: Of these figures the first that a model has is told.
_TOLD = ("overall accuracy", "micro F1")


class TrainingWatch(QObject):
    """Looks at the known trainings whose end is not told yet, each few seconds.

    Args:
        iface: QGIS's interface.
        parent: the Qt parent.
    """

    #: The analyst wants a map with this model of the store.
    classify_wanted = pyqtSignal(str)
    #: The analyst wants to see the training in this folder.
    show_wanted = pyqtSignal(str)

    def __init__(self, iface: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.iface = iface
        self._timer = QTimer(self, interval=1000 * _SECONDS_BETWEEN)
        self._timer.timeout.connect(self.look)
        self._begin = QTimer(self, singleShot=True, interval=1000 * _SECONDS_TO_BEGIN)
        self._begin.timeout.connect(self.look)
        self._begin.timeout.connect(self._timer.start)
        #: The folder that the dock shows: who is looking need not be told.
        self.watched: Callable[[], str] = lambda: ""

    def start(self) -> None:
        """Look for the first time some seconds from now."""
        self._begin.start()

    def end(self) -> None:
        """Look no more."""
        self._begin.stop()
        self._timer.stop()

    def look(self) -> None:
        """Tell of each training that has ended since."""
        for folder in untold_runs():
            if str(folder) == self.watched():
                continue
            seen = glance(folder)
            if seen.state in ("finished", "failed", "interrupted"):
                set_told(folder)
                self._tell(folder, seen)

    def _tell(self, folder: Path, seen: Glance) -> None:
        show = {"Show training": lambda: self.show_wanted.emit(str(folder))}
        if seen.state == "finished":
            stored = str(seen.end.get("stored") or "")
            figures = seen.end.get("metrics")
            figures = figures if isinstance(figures, Mapping) else {}
            name = next((name for name in _TOLD if name in figures), "")
            accuracy = f": {name} {figure_label(figures[name])}" if name else ""
            if stored:
                sentence = f"The model “{stored}” is in the store{accuracy}."
                self._push(sentence, LEVEL_SUCCESS, {"Classify layer…": lambda: self._classify(stored), **show})
            else:
                self._push(f"“{seen.name}” is trained{accuracy}.", LEVEL_SUCCESS, show)
        elif seen.state == "failed":
            sentence = f"The training of “{seen.name}” failed. {for_dialog(seen.problem)}".strip()
            self._push(sentence, LEVEL_WARNING, show)
        else:
            self._push(f"The training of “{seen.name}” was interrupted.", LEVEL_WARNING, show)

    def _classify(self, stored: str) -> None:
        self.classify_wanted.emit(stored)

    def _push(self, text: str, level: Any, buttons: Mapping[str, Callable[[], object]]) -> None:
        bar = self.iface.messageBar()
        item = bar.createMessage("Training", text)
        for label, action in buttons.items():
            button = QPushButton(label, item)
            button.clicked.connect(lambda _=False, action=action: (action(), bar.popWidget(item)))
            item.layout().addWidget(button)
        bar.pushWidget(item, level, _SECONDS_TO_READ)
