"""The runtime dialog: what it says of a runtime that is there, broken or missing; creating, cancelling, checking."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback

import pytest
from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtTest import QTest

from thematica import __version__
from thematica.errors import Cancelled, RuntimeMissingError
from thematica.plugin import runtime as runtime_module
from thematica.plugin.runtime import Runtime
from thematica.ui import runtime_dialog
from thematica.ui.runtime_dialog import RuntimeDialog, doctor_html

ANSWER = {
    "ok": True,
    "version": __version__,
    "python": "3.12.1",
    "packages": {"numpy": "2.1", "onnxruntime": "1.20"},
    "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "problems": [],
}


def wait_for(condition, seconds=20.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        QCoreApplication.processEvents()
        time.sleep(0.005)


def click(button):
    assert button.isEnabled(), button.text()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture(autouse=True)
def _no_exception_in_a_slot(monkeypatch):
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: raised.append("".join(traceback.format_exception(*error))))
    QgsSettings().remove("thematica")
    yield
    assert raised == []


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """``interpreter(answer)``: a runtime that answers so to the doctor."""

    def make(answer):
        path = tmp_path / "runtime" / "bin" / "python"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{answer if isinstance(answer, str) else json.dumps(answer)}\nEND\n")
        path.chmod(0o755)
        monkeypatch.setenv("THEMATICA_RUNTIME", str(path))
        return Runtime(path, "environment")

    return make


@pytest.fixture
def no_runtime(monkeypatch, tmp_path):
    monkeypatch.delenv("THEMATICA_RUNTIME", raising=False)
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(runtime_module, "PLUGIN_FOLDER", tmp_path / "plugin")


@pytest.fixture
def open_dialog():
    dialogs = []

    def make():
        dialog = RuntimeDialog()
        dialog.show()
        dialogs.append(dialog)
        QCoreApplication.processEvents()
        return dialog

    yield make
    for dialog in dialogs:
        dialog.close()
        dialog.deleteLater()


def test_a_runtime_that_works(open_dialog, interpreter):
    interpreter(ANSWER)
    dialog = open_dialog()
    assert dialog.state.kind == "info"
    assert dialog.check_button.isDefault()
    click(dialog.check_button)
    assert dialog.busy.isVisible()
    wait_for(lambda: dialog.task is None)
    assert dialog.state.kind == "ok"
    text = dialog.check_text.toPlainText()
    for part in ("3.12.1", "onnxruntime", "CUDA, CPU"):
        assert part in text
    assert not dialog.busy.isVisible()


def test_problems_are_told(open_dialog, interpreter):
    interpreter({**ANSWER, "ok": False, "problems": ["rasterio is missing & more"]})
    dialog = open_dialog()
    click(dialog.check_button)
    wait_for(lambda: dialog.task is None)
    assert dialog.state.kind == "error"
    assert "rasterio is missing" in dialog.state.said
    assert "rasterio is missing & more" in dialog.check_text.toPlainText()


def test_an_answer_that_is_none_is_one_sentence_and_a_log(open_dialog, interpreter):
    interpreter("Segmentation fault")
    dialog = open_dialog()
    click(dialog.check_button)
    wait_for(lambda: dialog.task is None)
    assert dialog.state.kind == "error"
    assert "Segmentation fault" not in dialog.state.said
    assert "Segmentation fault" in dialog.log.toPlainText()
    assert dialog.tabs.currentWidget() is dialog.log_tab


def test_without_a_runtime_create_is_what_to_press(open_dialog, no_runtime, tmp_path):
    dialog = open_dialog()
    assert dialog.state.kind == "warning"
    assert not dialog.check_button.isEnabled()
    assert dialog.create_button.isDefault()
    assert str(tmp_path / "home") in dialog.folder.text()


def test_creating_shows_the_log_as_it_comes_and_checks_at_the_end(open_dialog, no_runtime, interpreter, monkeypatch):
    go_on = threading.Event()

    def create(on_line, is_cancelled):
        on_line("Collecting numpy")
        assert go_on.wait(10)
        return interpreter(ANSWER)

    monkeypatch.setattr(runtime_dialog, "create_runtime", create)
    dialog = open_dialog()
    changed = []
    dialog.changed.connect(lambda: changed.append(True))
    click(dialog.create_button)
    wait_for(lambda: "Collecting numpy" in dialog.log.toPlainText())
    assert dialog.task is not None
    assert not dialog.create_button.isEnabled()
    go_on.set()
    wait_for(lambda: dialog.task is None)
    assert dialog.state.kind == "ok"
    assert changed == [True]
    assert "onnxruntime" in dialog.check_text.toPlainText()


def test_a_setting_that_names_a_lost_runtime_gives_way_to_the_one_created(
    open_dialog, no_runtime, interpreter, monkeypatch, tmp_path
):
    QgsSettings().setValue("thematica/runtime", str(tmp_path / "lost"))
    monkeypatch.setattr(runtime_dialog, "create_runtime", lambda *_: interpreter(ANSWER))
    dialog = open_dialog()
    assert "lost" in dialog.state.said
    click(dialog.create_button)
    wait_for(lambda: dialog.task is None)
    assert dialog.state.kind == "ok"
    assert not QgsSettings().contains("thematica/runtime")


def test_cancel(open_dialog, no_runtime, monkeypatch):
    def create(on_line, is_cancelled):
        while not is_cancelled():
            time.sleep(0.01)
        raise Cancelled

    monkeypatch.setattr(runtime_dialog, "create_runtime", create)
    dialog = open_dialog()
    click(dialog.create_button)
    wait_for(lambda: dialog.cancel_button.isEnabled())
    click(dialog.cancel_button)
    wait_for(lambda: dialog.task is None)
    assert "Cancelled" in dialog.state.said
    assert dialog.create_button.isEnabled()


def test_a_failure_is_one_sentence_with_the_log_below(open_dialog, no_runtime, monkeypatch):
    def create(on_line, is_cancelled):
        on_line("Collecting numpy")
        raise RuntimeMissingError("Installing failed: check the network.", "pip said much more")

    monkeypatch.setattr(runtime_dialog, "create_runtime", create)
    dialog = open_dialog()
    click(dialog.create_button)
    wait_for(lambda: dialog.task is None)
    assert dialog.state.said == "Installing failed: check the network."
    assert "pip said much more" in dialog.log.toPlainText()


def test_the_doctors_answer_is_safe_for_any_text():
    assert "&lt;b&gt;" in doctor_html({**ANSWER, "problems": ["<b>"]})
