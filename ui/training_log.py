"""What happened in a training, in words, and what its program wrote besides; all of it can be copied."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QFontDatabase, QGuiApplication, QTextCursor
from qgis.PyQt.QtWidgets import QPlainTextEdit, QWidget

from ..plugin.training_run import EVENTS, TOLD, GrowingFile
from .event_words import event_words
from .forms import load_form

#: Of what the program wrote, the end.
_TAIL = 20_000
#: Lines of events; a training of a thousand epochs has two thousand.
_MOST_LINES = 5_000


class TrainingLog(QWidget):
    """Events above, the end of ``log.txt`` below.

    Args:
        parent: the Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "training_log")
        self.run: Any = None
        self._files: list[GrowingFile] = []
        self._said: set[str] = set()
        # What has told much is read piece by piece.
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self.refresh)
        self.events.setMaximumBlockCount(_MOST_LINES)
        self.output.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.copy_button.clicked.connect(self._copy)
        self.set_run(None)

    def set_run(self, run: Any) -> None:
        """Show another training; None: none."""
        self.run = run
        self._begin_anew()
        self.output.clear()
        self.lower.setVisible(False)

    def _begin_anew(self) -> None:
        names = (EVENTS, TOLD) if self.run is not None else ()
        self._files = [GrowingFile(self.run.folder / name) for name in names]
        self._said = set()
        self.events.clear()

    def refresh(self) -> None:
        """Add what has come since; nothing is read before somebody wants to see it."""
        run = self.run
        if run is None:
            return
        lines: list[str] = []
        for file in self._files:
            events, anew = file.read()
            if anew and file.path.name == EVENTS:
                self._begin_anew()
                self.refresh()
                return
            lines += filter(None, (self._words(event) for event in events))
        if any(file.is_behind for file in self._files):
            self._soon.start()
        _append(self.events, "\n".join(lines))
        tail = run.log_tail(_TAIL).strip()
        if tail != self.output.toPlainText():
            self.output.clear()
            _append(self.output, tail)
        self.lower.setVisible(bool(tail))

    def _words(self, event: dict[str, Any]) -> str:
        words = event_words(event, self.run.network, self.run.monitor)
        # Some of it is told in the events and by the process, too.
        said = str(event.get("message") or "")
        if said in self._said:
            return ""
        if said:
            self._said.add(said)
        return words

    def text(self) -> str:
        """All of it."""
        parts = [self.events.toPlainText(), self.output.toPlainText()]
        return "\n\n".join(part for part in parts if part)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text())


def _append(box: QPlainTextEdit, text: str) -> None:
    """Add lines; who has scrolled up to read stays there."""
    if not text:
        return
    bar = box.verticalScrollBar()
    follows = bar.value() >= bar.maximum() - 1
    cursor = QTextCursor(box.document())
    cursor.movePosition(QTextCursor.MoveOperation.End)
    cursor.insertText(text if box.document().isEmpty() else f"\n{text}")
    if follows:
        bar.setValue(bar.maximum())
