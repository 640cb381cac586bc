"""Choosing the network: each with one plain sentence, which says of those that do not fit why."""

from __future__ import annotations

from collections.abc import Mapping

from qgis.PyQt.QtCore import QEvent, QObject, Qt, pyqtSignal
from qgis.PyQt.QtGui import QMouseEvent
from qgis.PyQt.QtWidgets import QButtonGroup, QLabel, QRadioButton, QSizePolicy, QStyle, QVBoxLayout, QWidget

from ..models.trainable import NETWORKS, NetworkKind
from .class_row import small_font

_ORDER = ("pixels", "windows", "chips", "patches")
_ONE_LABEL = "Learns one label for each patch; these have several."


class NetworkChoice(QWidget):
    """A radio button and a sentence for each network."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QRadioButton] = {}
        self.sentences: dict[str, QLabel] = {}
        #: True once the analyst chose a network, which is then kept where it can learn from the samples.
        self.by_hand = False
        self._group = QButtonGroup(self)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(1)
        for kind in sorted(NETWORKS.values(), key=_rank):
            button, sentence = QRadioButton(kind.title, self), QLabel(kind.summary, self)
            sentence.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
            sentence.setWordWrap(True)
            sentence.setFont(small_font(self.font()))
            style = button.style()
            indent = style.pixelMetric(QStyle.PixelMetric.PM_ExclusiveIndicatorWidth)
            indent += style.pixelMetric(QStyle.PixelMetric.PM_RadioButtonLabelSpacing)
            sentence.setContentsMargins(indent, 0, 0, 3)
            sentence.installEventFilter(self)
            self.buttons[kind.name], self.sentences[kind.name] = button, sentence
            self._group.addButton(button)
            button.toggled.connect(self._toggled)
            button.clicked.connect(self._clicked)
            rows.addWidget(button)
            rows.addWidget(sentence)
        rows.addStretch(1)

    def current(self) -> NetworkKind | None:
        """The network that is chosen."""
        return next((NETWORKS[name] for name, button in self.buttons.items() if button.isChecked()), None)

    def show_samples(self, tasks: Mapping[str, str], proposed: str) -> None:
        """Offer what learns from certain samples.

        Args:
            tasks: kinds of samples that there are or could be made, with the task of each; empty: nothing is known.
            proposed: chosen unless the analyst chose another one that can learn from them.
        """
        for name, button in self.buttons.items():
            kind = NETWORKS[name]
            fits = not tasks or any(kind.learns(samples, task) for samples, task in tasks.items())
            sentence = kind.summary
            if not fits:
                known = any(samples in kind.kinds for samples in tasks)
                sentence = _ONE_LABEL if known else f"Learns from {' or '.join(kind.kinds)} only."
            button.setEnabled(fits)
            self.sentences[name].setEnabled(fits)
            self.sentences[name].setText(sentence)
        current = self.current()
        kept = current is not None and self.by_hand and self.buttons[current.name].isEnabled()
        if not kept and proposed in self.buttons:
            self.buttons[proposed].setChecked(True)

    def choose(self, name: str) -> None:
        """Choose a network as the analyst does."""
        self.by_hand = True
        self.buttons[name].setChecked(True)

    def _toggled(self, on: bool) -> None:
        if on:
            self.changed.emit()

    def _clicked(self, *_: object) -> None:
        self.by_hand = True

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A click on the sentence chooses its network, too."""
        if event.type() == QEvent.Type.MouseButtonRelease and isinstance(event, QMouseEvent):
            name = next((name for name, sentence in self.sentences.items() if sentence is watched), "")
            if name and event.button() == Qt.MouseButton.LeftButton and self.buttons[name].isEnabled():
                self.buttons[name].click()
        return super().eventFilter(watched, event)


def _rank(kind: NetworkKind) -> tuple[int, bool]:
    """Of single pixels first, of large pieces last; what is trained in seconds before what takes minutes."""
    return _ORDER.index(kind.kinds[-1]), not kind.is_classical
