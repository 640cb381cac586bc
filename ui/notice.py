"""A coloured line with a verdict: fits, does not fit, runtime missing, run finished."""

from __future__ import annotations

import html
from collections.abc import Sequence

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

# Kind → (sign, background, border).  The sign says it too, for those who do not see the colour.
# Background and text are set together, so that a dark theme cannot make them unreadable.
_LOOKS = {
    "ok": ("✓", "#e3f3e3", "#7db87d"),
    "info": ("ℹ", "#e4eef8", "#86aed4"),
    "warning": ("⚠", "#fdf1d6", "#d9ae4e"),
    "error": ("✗", "#fae1df", "#d38079"),
}


class Notice(QFrame):
    """One sentence on a coloured ground, hidden while there is nothing to say; may offer a button."""

    clicked = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = ""
        #: What is shown, as plain text.
        self.said = ""
        self.label = QLabel(self)
        self.label.setTextFormat(Qt.TextFormat.RichText)
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.button = QPushButton(self)
        self.button.setAutoDefault(False)
        self.button.clicked.connect(self.clicked)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(10, 6, 8, 6)
        layout.setSpacing(8)
        layout.addWidget(self.label, 1)
        layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.clear()

    def tell(self, kind: str, sentence: str, more: Sequence[str] = (), button: str = "") -> None:
        """Show a sentence.

        Args:
            kind: ``ok``, ``info``, ``warning`` or ``error``.
            sentence: plain text.
            more: further sentences, each on a line of its own with a warning sign.
            button: text of the button, or empty for none.
        """
        sign, background, border = _LOOKS[kind]
        self.kind = kind
        self.setStyleSheet(
            f"Notice {{ background: {background}; border: 1px solid {border}; border-radius: 4px; }}"
            "Notice QLabel { color: #202020; background: transparent; }"
        )
        # With warnings below it, the sentence itself is no warning.
        lines = [("✓" if more and kind == "warning" else sign, sentence), *(("⚠", text) for text in more)]
        self.said = "\n".join(text for _, text in lines)
        rows = "".join(
            f'<tr><td style="padding-right:8px;"><b>{mark}</b></td><td>{html.escape(text, quote=False)}</td></tr>'
            for mark, text in lines
        )
        self.label.setText(f"<table cellspacing='0' cellpadding='0'>{rows}</table>")
        self.button.setText(button)
        self.button.setVisible(bool(button))
        self.setVisible(True)

    def clear(self) -> None:
        """Hide, saying nothing."""
        self.kind = self.said = ""
        self.label.clear()
        self.setVisible(False)
