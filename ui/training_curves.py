"""The two plots of a training: how the loss falls, and how well the validation part is told apart."""

from __future__ import annotations

import math
from typing import Any

from qgis.PyQt.QtGui import QCursor, QResizeEvent
from qgis.PyQt.QtWidgets import QBoxLayout, QToolTip, QWidget

from .curve_plot import Curve, CurvePlot, Picture
from .thinning import ThinSeries
from .training_words import best_value, epoch_label, figure_label, is_over, step_word
from .value_axis import loss_axis, share_axis

# On a light and on a dark ground; told apart by the colour-blind, too (after Okabe & Ito 2008).
_LOSS = ("#0072b2", "#5cb8f0")
_CHOOSING = ("#00795c", "#37c8a2")
_OTHER = ("#b8500a", "#f0a05a")
#: Beside the figure that chooses the epoch the first of these that is another one.
_COMPANIONS = ("overall accuracy", "macro F1", "micro F1")
_STEPS_DRAWN = 1000
#: From this width on both plots stand side by side, if that leaves them higher than wide.
_SIDE_BY_SIDE = 560


class TrainingCurves(QWidget):
    """Loss and accuracy of a :class:`..plugin.training_run.TrainingRun`; the pointer reads an epoch in both.

    Args:
        parent: the Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run: Any = None
        self.loss, self.accuracy = CurvePlot(self), CurvePlot(self)
        self._forget_steps()
        self._rows = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(6)
        for plot in (self.loss, self.accuracy):
            self._rows.addWidget(plot, 1)
            plot.pointed.connect(self._point)

    def set_run(self, run: Any) -> None:
        """Show another training; None: none."""
        self.run = run
        self._forget_steps()
        self._read(None)
        self.refresh()

    def refresh(self) -> None:
        """Draw what has come since."""
        run = self.run
        if run is None:
            for plot in (self.loss, self.accuracy):
                plot.set_picture(Picture())
            return
        self._take_steps()
        epochs = self._epochs()
        word = step_word(run.network)
        # What grows in stages has nothing before the first one's end.
        first = 1.0 if word == "stage" else 0.0
        last = max([float(run.epochs or 1), first, *(place for place, _ in epochs)])
        best = run.best_epoch + 1.0 if run.best_epoch is not None else None
        self._show_loss(epochs, first, last, best, word)
        self._show_accuracy(epochs, first, last, best, word)

    def _show_loss(self, epochs: list[Any], first: float, last: float, best: float | None, word: str) -> None:
        kind = str(self.run.recipe.get("loss") or "")
        self.loss.set_titles(f"Training loss ({kind})" if kind else "Training loss", word.capitalize())
        steps = self._steps.smooth()
        means = [(place, _number(done.train_loss)) for place, done in epochs]
        curves = [Curve("per step", _LOSS, steps, thin=True), Curve(f"{word}'s mean", _LOSS, means)]
        axis = loss_axis([value for curve in curves for _, value in curve.points])
        empty = self._nothing(word, "Here comes the loss.")
        self.loss.set_picture(Picture(curves, axis, first, last, best, empty=empty))

    def _show_accuracy(self, epochs: list[Any], first: float, last: float, best: float | None, word: str) -> None:
        run = self.run
        self.accuracy.set_titles("Accuracy on the validation part", word.capitalize())
        other = next((name for name in _COMPANIONS if name != run.monitor), "")
        curves = []
        for name, colors, dashed in ((other, _OTHER, True), (run.monitor, _CHOOSING, False)):
            values = [(place, _number(done.validation.get(name))) for place, done in epochs]
            if any(math.isfinite(value) for _, value in values):
                curves.append(Curve(name, colors, values, dashed=dashed))
        axis = share_axis([value for curve in curves for _, value in curve.points])
        value, text = best_value(run), ""
        if best is not None and math.isfinite(value):
            told = "best" if is_over(run.state) else "best so far"
            text = f"{told} {figure_label(value)} ({word} {best:.0f})"
        empty = self._nothing(word, f"The first figures come at the end of the first {word}.")
        self.accuracy.set_picture(Picture(curves, axis, first, last, best, text, empty))

    def _nothing(self, word: str, promise: str) -> str:
        return f"No {word} has ended." if is_over(self.run.state) else promise

    # -- steps ---------------------------------------------------------------------------------

    def _forget_steps(self) -> None:
        self._steps, self._taken, self._last = ThinSeries(_STEPS_DRAWN), 0, -math.inf

    def _take_steps(self) -> None:
        """The new ones; where a training has gone back to a checkpoint, all but what it has forgotten."""
        steps = self.run.steps
        fresh = steps[self._taken :]
        places = [self._last, *(step.position for step in fresh)]
        if len(steps) < self._taken or any(after < before for before, after in zip(places, places[1:])):
            self._forget_steps()
            fresh = _without_forgotten(steps)
        self._steps.add((step.position, step.loss) for step in fresh if math.isfinite(_number(step.loss)))
        self._taken = len(steps)
        self._last = steps[-1].position if steps else -math.inf

    def _epochs(self) -> list[tuple[float, Any]]:
        """Where each epoch ends, and what came of it; one that was done twice counts as it was last."""
        return sorted({done.epoch: (done.epoch + 1.0, done) for done in self.run.epochs_done}.values())

    # -- the pointer ---------------------------------------------------------------------------

    def _point(self, x: float) -> None:
        found = None
        if self.run is not None and math.isfinite(x):
            near = [(abs(place - x), place, done) for place, done in self._epochs()]
            nearest = min(near, key=lambda entry: entry[0], default=None)
            found = nearest if nearest is not None and nearest[0] <= 1.0 else None
        self._read(found[1] if found else None)
        if found:
            QToolTip.showText(QCursor.pos(), epoch_label(self.run, found[2]), self)
        else:
            QToolTip.hideText()

    def _read(self, x: float | None) -> None:
        for plot in (self.loss, self.accuracy):
            plot.set_read(x)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """One above the other in a narrow dock, side by side in a wide one."""
        super().resizeEvent(event)
        wide = self.width() >= _SIDE_BY_SIDE and self.width() > 1.3 * self.height()
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._rows.direction() != direction:
            self._rows.setDirection(direction)


def _without_forgotten(steps: list[Any]) -> list[Any]:
    """The steps in the order of their positions: of those that were done twice the later ones."""
    kept: list[Any] = []
    for step in steps:
        while kept and kept[-1].position > step.position:
            kept.pop()
        kept.append(step)
    return kept


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
