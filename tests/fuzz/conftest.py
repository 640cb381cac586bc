"""Folders for the fuzzers, and a count of examples at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .campaign import COUNTS, SECONDS
from .child import ENDS


@pytest.fixture
def fresh_folder(tmp_path: Path) -> Callable[[], Path]:
    """``fresh_folder()``: an empty folder, the same for every example."""

    def make() -> Path:
        folder = tmp_path / "example"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    return make


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS and (SECONDS or terminalreporter.verbosity > 0):
        terminalreporter.section("fuzzing")
        for law, count in COUNTS.items():
            terminalreporter.write_line(f"{count:7d}  {law}")
        # What GDAL or ONNX Runtime did to the worker's process; QGIS says it in a sentence.
        terminalreporter.write_line(f"ends of processes: {dict(sorted(ENDS.items()))}")
