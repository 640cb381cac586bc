"""How a dialog shows a run: progress bar, stage, button to cancel, and a notice with what came of it."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtCore import QObject
from qgis.PyQt.QtWidgets import QLabel, QProgressBar, QPushButton

from .job_run import JobRun
from .notice import Notice
from .wording import progress_label

_STEPS = 1000


class RunView(QObject):
    """Follows one run at a time, in widgets of the dialog's form.

    Args:
        notice: says what the worker warns of, and how the run ended.
        progress: hidden while nothing runs.
        stage: what is being done.
        cancel_button: ends the run.
        parent: the dialog.
    """

    def __init__(
        self, notice: Notice, progress: QProgressBar, stage: QLabel, cancel_button: QPushButton, parent: QObject
    ) -> None:
        super().__init__(parent)
        self.notice, self.progress, self.stage, self.cancel_button = notice, progress, stage, cancel_button
        self.run: JobRun | None = None
        progress.setMaximum(_STEPS)
        cancel_button.clicked.connect(self._cancel)
        self._show(False)

    def is_running(self) -> bool:
        """True from :meth:`follow` to the run's end."""
        return self.run is not None and self.run.is_running

    def follow(self, run: JobRun, stage: str) -> None:
        """Show a run that is about to start.

        Args:
            run: connect to its ``ended`` afterwards: by then all is shown.
            stage: what is said before the worker says something.
        """
        self.run = run
        self._warnings: list[str] = []
        run.progress.connect(self._show_event)
        run.warned.connect(self._warned)
        run.ended.connect(self._ended)
        self.notice.clear()
        self._show(True)
        self._show_event({"stage": stage, "fraction": 0.0})

    def _cancel(self) -> None:
        if self.run is not None:
            self.stage.setText("Cancelling…")
            self.cancel_button.setEnabled(False)
            self.run.cancel()

    def _show_event(self, event: dict[str, Any]) -> None:
        fraction = event.get("fraction")
        if isinstance(fraction, (int, float)):
            self.progress.setValue(round(_STEPS * min(max(fraction, 0.0), 1.0)))
        if self.cancel_button.isEnabled():
            self.stage.setText(progress_label(event))
            self.stage.setToolTip(progress_label(event))

    def _warned(self, sentence: str) -> None:
        """What the engine warns of is seen at once, not only when a long run has ended."""
        self._warnings.append(sentence)
        self.notice.tell("warning", "Running.", self._warnings)

    def _ended(self, kind: str, sentence: str) -> None:
        self._show(False)
        is_done = kind in ("ok", "warning")
        warnings = self.run.warnings if self.run is not None and is_done else []
        self.notice.tell(kind, sentence, warnings)

    def _show(self, running: bool) -> None:
        self.progress.setVisible(running)
        self.cancel_button.setEnabled(running)
        if not running:
            self.stage.clear()
