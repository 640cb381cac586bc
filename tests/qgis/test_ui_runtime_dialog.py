"""The runtime dialog: what it says of a runtime that is there, broken or missing; creating, cancelling, checking."""

from __future__ import annotations

import json
import shutil
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
from thematica.plugin.runtime import STAMP, Runtime, interpreter_in, process
from thematica.plugin.runtime.build import requirements
from thematica.plugin.runtime.install import Choice
from thematica.ui import runtime_choice, runtime_dialog
from thematica.ui.runtime_dialog import RuntimeDialog, doctor_html

from .runtime_parts import ROOT

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
    QgsSettings().remove("thematica")
    assert raised == []


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """What is found out about this machine: no card, Python 3.12.  A test may change it."""
    facts = {"build": "cpu", "why": "No NVIDIA graphics card was found.", "python": (3, 12)}
    monkeypatch.setattr(runtime_dialog, "propose_build", lambda: (facts["build"], facts["why"]))
    monkeypatch.setattr(runtime_dialog, "python_here", lambda build: facts["python"])
    return facts


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
    monkeypatch.setattr(process, "PLUGIN_FOLDER", tmp_path / "plugin")
    (tmp_path / "plugin").mkdir()
    for name in ("requirements.txt", "requirements-torch.txt", "requirements-training.txt"):
        shutil.copy(ROOT / name, tmp_path / "plugin")


@pytest.fixture
def open_dialog():
    dialogs = []

    def make():
        dialog = RuntimeDialog()
        dialog.show()
        dialogs.append(dialog)
        wait_for(lambda: dialog.machine_task is None)
        return dialog

    yield make
    for dialog in dialogs:
        dialog.end()
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

    def create(choice, listener):
        listener.line("Collecting numpy")
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
    def create(choice, listener):
        while not listener.is_cancelled():
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
    def create(choice, listener):
        listener.line("Collecting numpy")
        raise RuntimeMissingError("Installing failed: check the network.", "pip said much more")

    monkeypatch.setattr(runtime_dialog, "create_runtime", create)
    dialog = open_dialog()
    click(dialog.create_button)
    wait_for(lambda: dialog.task is None)
    assert dialog.state.said == "Installing failed: check the network."
    assert "pip said much more" in dialog.log.toPlainText()


def test_the_doctors_answer_is_safe_for_any_text():
    assert "&lt;b&gt;" in doctor_html({**ANSWER, "problems": ["<b>"]})


def test_the_doctors_further_findings_are_shown_where_there_are_any():
    more = {
        "gpus": [{"name": "NVIDIA H100", "memory": "80 GB"}, "a plain text"],
        "providers_why_not": {"TensorrtExecutionProvider": "libnvinfer.so.10 is missing"},
    }
    text = doctor_html({**ANSWER, **more})
    for part in ("NVIDIA H100 (memory 80 GB)", "a plain text", "Not on Tensorrt", "libnvinfer.so.10 is missing"):
        assert part in text
    for odd in ({"gpus": None}, {"gpus": 3}, {"providers_why_not": ["x"]}, {"gpus": [None]}):
        assert "onnxruntime" in doctor_html({**ANSWER, **odd})


@pytest.mark.parametrize(
    ("training", "told"),
    [
        (
            {"problem": "", "packages": {"torch": "2.13.0"}, "horovod": {"version": "0.28.1", "why_not": ""}},
            ("Possible (torch 2.13.0)", "Horovod 0.28.1"),
        ),
        (
            {
                "problem": "Not possible: PyTorch is not installed.",
                "packages": {},
                "horovod": {"version": None, "why_not": "Horovod is not installed: training runs in one process."},
            },
            ("Not possible: PyTorch is not installed.", "Horovod is not installed: training runs in one process."),
        ),
        ({"horovod": "odd"}, ("Possible", "?")),
    ],
)
def test_the_doctor_says_whether_training_is_possible(training, told):
    text = doctor_html({**ANSWER, "training": training})
    assert all(part in text for part in told)


# -- what is installed, and from where ----------------------------------------------------------------


@pytest.fixture
def started(monkeypatch, interpreter):
    """The choices with which the installer was started; it does nothing."""
    choices = []

    def start(choice, listener):
        choices.append(choice)
        listener.step("Downloading numpy-2.4.6 (10 MB of 20 MB)", 0.25)
        return interpreter(ANSWER)

    monkeypatch.setattr(runtime_dialog, "create_runtime", start)
    monkeypatch.setattr(runtime_dialog, "repair_runtime", start)
    return choices


def run(dialog, button):
    click(button)
    wait_for(lambda: dialog.task is None)


def test_the_build_for_this_machine_is_proposed_and_says_why(open_dialog, no_runtime, machine, started):
    machine.update(build="cuda", why="Found: NVIDIA H100, driver 580.65.")
    dialog = open_dialog()
    assert dialog.choices.build.currentData() == "cuda"
    assert "H100" in dialog.choices.build_why.text()
    assert "5.0 GB" in dialog.choices.space.text()
    run(dialog, dialog.create_button)
    assert started == [Choice("cuda")]


def test_what_the_analyst_chooses_stays_and_is_installed(open_dialog, no_runtime, started):
    dialog = open_dialog()
    smaller = dialog.choices.space.text()
    QTest.keyClick(dialog.choices.build, Qt.Key.Key_Down)
    assert dialog.choices.build.currentData() == "cuda"
    click(dialog.choices.torch)
    assert dialog.choices.space.text() != smaller
    dialog.choices.show_machine("cpu", "late", (3, 12))
    assert dialog.choices.build.currentData() == "cuda", "what the machine proposes comes too late"
    run(dialog, dialog.create_button)
    assert (started[0].build, started[0].torch) == ("cuda", True)


def test_installing_from_a_folder_of_wheels(open_dialog, no_runtime, started, tmp_path):
    dialog = open_dialog()
    assert not dialog.choices.offline_box.isVisible()
    click(dialog.choices.from_folder)
    assert dialog.choices.offline_box.isVisible()
    click(dialog.create_button)
    assert dialog.state.said == "Name the folder of wheels."
    assert started == []
    QTest.keyClicks(dialog.choices.wheels.lineEdit(), str(tmp_path))
    run(dialog, dialog.create_button)
    assert started[0].wheels == tmp_path


def test_the_command_for_the_folder_follows_the_choices(open_dialog, no_runtime, machine):
    from qgis.PyQt.QtGui import QGuiApplication

    machine["python"] = (3, 11)
    dialog = open_dialog()
    click(dialog.choices.from_folder)
    command = dialog.choices.command.toPlainText()
    assert "--python-version 3.11" in command
    assert "torch" not in command
    click(dialog.choices.torch)
    assert "torch==" in dialog.choices.command.toPlainText()
    click(dialog.choices.copy_button)
    assert QGuiApplication.clipboard().text() == dialog.choices.command.toPlainText()


def test_too_little_space_is_told_before(open_dialog, no_runtime, started, monkeypatch):
    monkeypatch.setattr(runtime_choice, "bytes_free", lambda folder: 300_000_000)
    dialog = open_dialog()
    assert "300 MB are free" in dialog.choices.space.text()
    assert "⚠" in dialog.choices.space.text()
    click(dialog.create_button)
    assert dialog.state.kind == "error"
    assert "Too little disk space" in dialog.state.said
    assert started == []


def test_a_machine_without_python_is_told_that_one_is_brought(open_dialog, no_runtime, machine):
    machine["python"] = None
    assert "one is brought" in open_dialog().choices.space.text()


def test_an_existing_python_is_checked_before_it_is_used(open_dialog, no_runtime, interpreter, monkeypatch, tmp_path):
    good = interpreter(ANSWER).python
    monkeypatch.delenv("THEMATICA_RUNTIME")
    dialog = open_dialog()
    click(dialog.choices.from_python)
    assert dialog.create_button.text() == "&Use this Python"
    assert not dialog.choices.build.isEnabled()
    click(dialog.create_button)
    assert "Name a Python" in dialog.state.said
    QTest.keyClicks(dialog.choices.python.lineEdit(), str(tmp_path / "none"))
    run(dialog, dialog.create_button)
    assert "neither a Python interpreter nor" in dialog.state.said
    assert not QgsSettings().contains("thematica/runtime")
    dialog.choices.python.setFilePath(str(good.parent.parent))
    run(dialog, dialog.create_button)
    assert dialog.state.kind == "ok", dialog.state.said
    assert QgsSettings().value("thematica/runtime") == str(good.parent.parent)
    assert dialog.folder.text() == str(good.parent.parent)


def test_a_variable_that_names_another_runtime_is_told(open_dialog, no_runtime, interpreter, monkeypatch, tmp_path):
    other = interpreter(ANSWER)
    elsewhere = tmp_path / "made" / "bin" / "python"
    shutil.copytree(other.folder, elsewhere.parent.parent)
    monkeypatch.setattr(runtime_dialog, "create_runtime", lambda *_: Runtime(elsewhere, "setting"))
    dialog = open_dialog()
    run(dialog, dialog.create_button)
    assert dialog.state.kind == "warning"
    assert f"THEMATICA_RUNTIME names “{other.python}”" in dialog.state.said


def test_a_python_that_lacks_something_is_not_used(open_dialog, no_runtime, interpreter, monkeypatch):
    lacking = interpreter({**ANSWER, "ok": False, "problems": ["rasterio cannot be imported."]}).python
    monkeypatch.delenv("THEMATICA_RUNTIME")
    dialog = open_dialog()
    dialog.choices.python.setFilePath(str(lacking))
    run(dialog, dialog.create_button)
    assert dialog.state.kind == "error"
    assert "rasterio cannot be imported" in dialog.state.said
    assert not QgsSettings().contains("thematica/runtime")


@pytest.fixture
def own_runtime(no_runtime, tmp_path):
    """``own_runtime(stamp)``: the user's own runtime, which says this of itself."""

    def make(**stamp):
        python = interpreter_in(tmp_path / "home" / "runtime")
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\n")
        said = {"thematica": __version__, "build": "cpu", "torch": False, "requirements": requirements(), **stamp}
        (tmp_path / "home" / "runtime" / STAMP).write_text(json.dumps(said))
        return python

    return make


def test_an_older_runtime_is_explained_and_updated_with_one_click(open_dialog, own_runtime, started):
    own_runtime(thematica="0.0.1", build="cuda", torch=True, requirements=[], packages={"numpy": "1.20"})
    dialog = open_dialog()
    assert "made for Thematica 0.0.1" in dialog.state.said
    assert dialog.state.said.endswith("Press “Update”.")
    assert dialog.create_button.text() == "&Update"
    assert dialog.create_button.isDefault()
    run(dialog, dialog.create_button)
    assert (started[0].build, started[0].torch) == ("cuda", True), "as it was made before"


def test_a_runtime_whose_python_is_gone_is_to_be_repaired(open_dialog, own_runtime, started):
    own_runtime().unlink()
    dialog = open_dialog()
    assert dialog.state.said.endswith("Press “Repair”.")
    assert dialog.repair_button.isDefault()
    assert not dialog.check_button.isEnabled()
    run(dialog, dialog.repair_button)
    assert len(started) == 1


def test_a_runtime_with_pytorch_that_cannot_train_is_completed_by_repair(open_dialog, own_runtime, started):
    own_runtime(torch=True, requirements=requirements(torch=True, training=False))
    dialog = open_dialog()
    assert dialog.state.kind == "warning"
    assert "lacks skl2onnx, tensorboard and pyarrow, which training needs. Press “Repair”" in dialog.state.said
    assert dialog.repair_button.isDefault()
    assert dialog.check_button.isEnabled(), "it classifies"
    run(dialog, dialog.repair_button)
    assert started[0].torch


def test_a_runtime_without_pytorch_lacks_nothing(open_dialog, own_runtime):
    own_runtime()
    assert open_dialog().state.kind == "info"


def test_progress_is_shown(open_dialog, no_runtime, interpreter, monkeypatch):
    go_on = threading.Event()

    def create(choice, listener):
        listener.step("Downloading numpy-2.4.6 (10 MB of 20 MB)", 0.25)
        assert go_on.wait(10)
        return interpreter(ANSWER)

    monkeypatch.setattr(runtime_dialog, "create_runtime", create)
    dialog = open_dialog()
    click(dialog.create_button)
    wait_for(lambda: dialog.busy.value() == 250)
    assert "10 MB of 20 MB" in dialog.step_text.text()
    assert not dialog.choices.isEnabled()
    go_on.set()
    wait_for(lambda: dialog.task is None)
    assert not dialog.step_text.isVisible()


def test_the_networks_settings_reach_the_installer_and_are_kept(open_dialog, no_runtime, started, tmp_path):
    pem = tmp_path / "own.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\n")
    dialog = open_dialog()
    dialog.choices.network_box.setCollapsed(False)
    QTest.keyClicks(dialog.choices.certificates.lineEdit(), str(pem))
    QTest.keyClicks(dialog.choices.torch_index, "https://mirror.example/torch")
    QTest.keyClicks(dialog.choices.python_mirror, "https://mirror.example/python")
    run(dialog, dialog.create_button)
    network = started[0].network
    assert (network.certificates, network.torch_index) == (str(pem), "https://mirror.example/torch")
    assert network.python_mirror == "https://mirror.example/python"
    assert open_dialog().choices.torch_index.text() == "https://mirror.example/torch"
