"""What happened in a training, in words, and what its program wrote besides; all of it can be copied."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtGui import QFontDatabase, QGuiApplication, QTextCursor
from qgis.PyQt.QtWidgets import QPlainTextEdit, QWidget

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
        self._taken = 0
        self.events.setMaximumBlockCount(_MOST_LINES)
        self.output.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.copy_button.clicked.connect(self._copy)
        self.set_run(None)

    def set_run(self, run: Any) -> None:
        """Show another training; None: none."""
        self.run, self._taken = run, 0
        self.events.clear()
        self.output.clear()
        self.refresh()

    def refresh(self) -> None:
        """Add what has come since."""
        run = self.run
        told = run.told if run is not None else []
        if len(told) < self._taken:
            self.events.clear()
            self._taken = 0
        lines = [event_words(event, run.network, run.monitor) for event in told[self._taken :]]
        self._taken = len(told)
        _append(self.events, "\n".join(line for line in lines if line))
        tail = run.log_tail(_TAIL).strip() if run is not None else ""
        if tail != self.output.toPlainText():
            self.output.clear()
            _append(self.output, tail)
        self.lower.setVisible(bool(tail))

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
