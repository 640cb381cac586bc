"""What the labels lack, in plain sentences: few samples, classes out of balance, labels beside the scene."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFrame, QLabel, QSizePolicy, QVBoxLayout, QWidget

from .wording import for_dialog

_SHOWN = 1


class LabelNotes(QFrame):
    """The first sentence, and the others when they are asked for; a link leads to what a sentence is about."""

    #: Codes of classes and ids of features that a sentence is about.
    subject_clicked = pyqtSignal(object, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._notes: list[Mapping[str, Any]] = []
        self._all = False
        self.label = QLabel(self)
        self.label.setTextFormat(Qt.TextFormat.RichText)
        self.label.setWordWrap(True)
        self.label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        # Text and ground are set together, so that a dark theme cannot make them unreadable.
        self.setStyleSheet(
            "LabelNotes { background: #fdf1d6; border: 1px solid #d9ae4e; border-radius: 4px; }"
            "LabelNotes QLabel { color: #202020; background: transparent; }"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.addWidget(self.label)
        self.label.linkActivated.connect(self._follow)
        self.set_notes([])

    def set_notes(self, notes: Sequence[Mapping[str, Any]]) -> None:
        """Say other sentences: statistics' ``warnings``, or findings.

        Args:
            notes: with ``message``, and where they are about something ``classes`` and ``features``.
        """
        if [dict(note) for note in notes] == [dict(note) for note in self._notes] and self._notes:
            return
        self._notes = list(notes)
        if len(self._notes) <= _SHOWN:
            self._all = False
        self._write()

    def said(self) -> list[str]:
        """All sentences, shown or not."""
        return [for_dialog(str(note["message"])) for note in self._notes]

    def _write(self) -> None:
        shown = self._notes if self._all else self._notes[:_SHOWN]
        rows = []
        for number, note in enumerate(shown):
            text = html.escape(for_dialog(str(note["message"])), quote=False)
            if note.get("classes") or note.get("features"):
                text += f' <a style="color:#1c5a9c" href="{number}">Show</a>'
            if number == len(shown) - 1 and len(self._notes) > _SHOWN:
                more = "Fewer" if self._all else f"{len(self._notes) - _SHOWN}\u00a0more…"
                text += f' <a style="color:#1c5a9c" href="more">{more}</a>'
            rows.append(f"<tr><td style='padding-right:6px'>⚠</td><td>{text}</td></tr>")
        self.label.setText(f"<table cellspacing='0' cellpadding='0'>{''.join(rows)}</table>")
        self.setVisible(bool(self._notes))

    def _follow(self, link: str) -> None:
        if link == "more":
            self._all = not self._all
            self._write()
            return
        note = self._notes[int(link)]
        self.subject_clicked.emit(list(note.get("classes") or ()), list(note.get("features") or ()))
