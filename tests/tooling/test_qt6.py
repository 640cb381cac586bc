"""The plugin is ready for QGIS 4: every Qt name that it uses exists in Qt 6, and its forms load there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ..conftest import ROOT
from .qt6 import find_problems

SOURCES = sorted(path for folder in ("plugin", "ui") for path in (ROOT / folder).rglob("*.py"))
FORMS = sorted((ROOT / "ui").rglob("*.ui"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_qt6_has_every_name(path):
    assert find_problems(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("from qgis.PyQt.QtCore import Qt\nrole = Qt.UserRole", "2: Qt 6 has no Qt.UserRole"),
        ("from qgis.PyQt import QtCore\nrole = QtCore.Qt.UserRole", "2: Qt 6 has no QtCore.Qt.UserRole"),
        (
            "from qgis.PyQt.QtWidgets import QDialogButtonBox as Box\nBox.StandardButton.Yep",
            "2: Qt 6 has no Box.StandardButton.Yep",
        ),
        ("from qgis.PyQt.QtCore import QRegExp", "1: Qt 6 has no QtCore.QRegExp"),
        ("from PyQt5.QtCore import Qt", "1: PyQt5.QtCore is imported directly; use qgis.PyQt"),
        ("import PyQt6.QtCore", "1: PyQt6.QtCore is imported directly; use qgis.PyQt"),
        ("def run(dialog):\n    dialog.exec_()", "2: .exec_ is gone in Qt 6; use .exec"),
        ("def run(self):\n    return self.buttons.Ok", "2: self.buttons.Ok is an enum's member"),
    ],
)
def test_what_qt6_lacks_is_found(source, told):
    (problem,) = find_problems(source)
    assert problem.startswith(told)


@pytest.mark.parametrize(
    "source",
    [
        "from qgis.PyQt.QtCore import Qt\nrole = Qt.ItemDataRole.UserRole + 1",
        "from qgis.PyQt.QtWidgets import QAction\nQAction.triggered",
        "from qgis.PyQt.QtCore import QCoreApplication as A\nA.instance().thread().anything",
        "from qgis.core import Qgis\nlevel = Qgis.Warning",
        "def run(dialog):\n    dialog.exec()",
    ],
)
def test_what_qt6_has_passes(source):
    assert find_problems(source) == []


def test_forms_load_in_qt6():
    assert FORMS
    told = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "tooling" / "qt6.py"), *map(str, FORMS)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.split("\n")[:-1] == [f"loaded {path.name}" for path in FORMS]


def test_a_form_of_qt5_only_is_found(tmp_path):
    form = tmp_path / "form.ui"
    form.write_text(
        '<ui version="4.0"><widget class="QLabel" name="form"><property name="alignment">'
        "<set>Qt::AlignNowhere</set></property></widget></ui>"
    )
    told = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "tooling" / "qt6.py"), str(form)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode != 0
    assert "AlignNowhere" in told.stderr
