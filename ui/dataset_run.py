"""One run of "Make training set" from its start to the finished folder; it lives on when the dialog is closed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgis.PyQt.QtCore import QObject, QUrl
from qgis.PyQt.QtGui import QDesktopServices

from ..plugin.compat import LEVEL_SUCCESS
from ..plugin.job import PreparedJob
from .job_run import JobRun, log


class DatasetRun(JobRun):
    """A background task that builds a training set, and what the analyst hears of it.

    Args:
        iface: QGIS's interface.
        prepared: the job.
        parent: the Qt parent; the run must outlive the dialog.
    """

    cancelled_sentence = "Cancelled; making it again with the same settings goes on from here."

    def __init__(self, iface: Any, prepared: PreparedJob, parent: QObject | None = None) -> None:
        super().__init__(iface, prepared, "Training set", "Build training set", parent)
        self.result: dict[str, Any] | None = None
        self.warnings += prepared.warnings
        self.warned.connect(self.warnings.append)

    def folder(self) -> str:
        """The finished training set, or empty."""
        files = self.result.get("files", {}) if self.result else {}
        return str(Path(files["dataset"]).parent) if "dataset" in files else ""

    def sheet(self) -> str:
        """The picture of the finished training set, or empty."""
        return str(self.result.get("files", {}).get("sheet", "")) if self.result else ""

    def succeeded(self, result: dict[str, Any]) -> None:
        """Tell how many samples there are."""
        self.result = result
        sentence = samples_label(result.get("report", {}))
        self.push(sentence, LEVEL_SUCCESS, 12, {"Open folder": self.open_folder})
        log(f"{self.subject}: {sentence} {result.get('files', {})}")
        self.finish("ok", sentence)

    def block(self) -> int | None:
        """Side of the blocks that were kept together in pixels, where there were any."""
        split = self.result.get("report", {}).get("split", {}) if self.result else {}
        return (split.get("block") or {}).get("pixels")

    def open_folder(self) -> None:
        """Show the folder in the desktop's file manager."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(self.folder()))


def samples_label(report: Mapping[str, Any]) -> str:
    """One line for a finished set: how many samples of how many classes, and how they are split."""
    classes = report.get("classes", [])
    parts = ("train", "validation", "test")
    counts = {part: sum(int(entry["samples"].get(part, 0)) for entry in classes) for part in parts}
    split = ", ".join(f"{counts[part]:,} {part}" for part in parts if counts[part])
    return f"{sum(counts.values()):,} samples of {len(classes)} classes: {split}."
