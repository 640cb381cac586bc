"""What to install and from where: the upper part of the dialog "Thematica Runtime"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qgis.core import QgsSettings
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QGuiApplication
from qgis.PyQt.QtWidgets import QWidget

from ..plugin.runtime.build import build_title, builds_here, bytes_free, bytes_needed, size_label
from ..plugin.runtime.find import default_runtime_folder
from ..plugin.runtime.install import Choice, download_command
from ..plugin.runtime.network import Network
from ..plugin.runtime.own_python import VERSION
from ..plugin.runtime.process import masked
from ..plugin.runtime.qgis_settings import CERTIFICATES, PYTHON_MIRROR, TORCH_INDEX, network_of_qgis
from .forms import load_form

#: The folder of wheels that was named last.
WHEELS = "thematica/wheels"


class RuntimeChoice(QWidget):
    """Build, PyTorch, source and network; tells what that needs, and the command that makes a folder of wheels."""

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load_form(self, "runtime_choice")
        for build in builds_here():
            self.build.addItem(build_title(build), build.name)
        self.build.setEnabled(self.build.count() > 1)
        self._python_here: tuple[int, int] | None = (3, 12)
        self._chosen_by_hand = False
        self._space_problem = ""
        self.wheels.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.wheels.setDialogTitle("Folder of Wheels")
        self.python.setDialogTitle("Python Interpreter")
        self.certificates.setDialogTitle("Certificates to Trust")
        self.certificates.setFilter("Certificates (*.pem *.crt *.cer);;All files (*)")
        settings = QgsSettings()
        self.wheels.setFilePath(str(settings.value(WHEELS, "") or ""))
        self.certificates.setFilePath(str(settings.value(CERTIFICATES, "") or ""))
        self.torch_index.setText(str(settings.value(TORCH_INDEX, "") or ""))
        self.python_mirror.setText(str(settings.value(PYTHON_MIRROR, "") or ""))
        self.build_why.setText("Looking at this machine…")
        self.network_box.setSaveCollapsedState(False)
        self.network_box.setCollapsed(True)
        self.build.activated.connect(self._choose_by_hand)
        self.build.currentIndexChanged.connect(self._update)
        self.torch.toggled.connect(self._update)
        for button in (self.from_internet, self.from_folder, self.from_python):
            button.toggled.connect(self._update)
        self.wheels.fileChanged.connect(self._folder_named)
        self.python.fileChanged.connect(self._python_named)
        self.copy_button.clicked.connect(self._copy_command)
        self.network_box.collapsedStateChanged.connect(self.changed)
        self._update()

    # -- what was chosen -----------------------------------------------------------------------

    @property
    def source(self) -> str:
        """``internet``, ``folder`` or ``python``."""
        if self.from_python.isChecked():
            return "python"
        return "folder" if self.from_folder.isChecked() else "internet"

    @property
    def python_path(self) -> str:
        """The interpreter or environment that the analyst named."""
        return self.python.filePath().strip()

    def choice(self) -> Choice:
        """What the installer gets; the network's settings are kept for the next time."""
        settings = QgsSettings()
        for name, value in (
            (CERTIFICATES, self.certificates.filePath().strip()),
            (TORCH_INDEX, self.torch_index.text().strip()),
            (PYTHON_MIRROR, self.python_mirror.text().strip()),
            (WHEELS, self.wheels.filePath().strip()),
        ):
            settings.setValue(name, value) if value else settings.remove(name)
        folder = self.wheels.filePath().strip()
        wheels = Path(folder).expanduser() if self.source == "folder" else None
        return Choice(self._build_name(), self.torch.isChecked(), wheels, network_of_qgis())

    def missing(self) -> str:
        """What the analyst has to do before anything can be started, or ``""``."""
        if self.source == "folder" and not self.wheels.filePath().strip():
            return "Name the folder of wheels."
        if self.source == "python" and not self.python_path:
            return "Name a Python, or the folder of its environment."
        return self._space_problem

    def _build_name(self) -> str:
        return str(self.build.currentData() or "cpu")

    # -- what is told ---------------------------------------------------------------------------

    def show_machine(self, proposed: str, why: str, python_here: tuple[int, int] | None) -> None:
        """What was found out about this machine.

        Args:
            proposed: the build's name.
            why: a sentence.
            python_here: the version of the CPython that a runtime would be made from; None: one is brought.
        """
        self._python_here = python_here
        self.build_why.setText(why)
        if not self._chosen_by_hand:
            self.set_build(proposed)
        self._update()

    def show_installed(self, build: str, torch: bool, wheels: str) -> None:
        """What the runtime that is there was made with: an update should make it likewise."""
        self._chosen_by_hand = True
        self.set_build(build)
        self.torch.setChecked(torch)
        if wheels and Path(wheels).is_dir() and not self.wheels.filePath():
            self.wheels.setFilePath(wheels)
            self.from_folder.setChecked(True)

    def set_build(self, name: str) -> None:
        """Choose a build, where this system has it."""
        index = self.build.findData(name)
        if index >= 0:
            self.build.setCurrentIndex(index)

    def _choose_by_hand(self, _: int) -> None:
        self._chosen_by_hand = True

    def _folder_named(self, path: str) -> None:
        if path:
            self.from_folder.setChecked(True)
        self._update()

    def _python_named(self, path: str) -> None:
        if path:
            self.from_python.setChecked(True)
        self._update()

    def _update(self, *_: object) -> None:
        installs = self.source != "python"
        for widget in (self.build_label, self.build_why, self.torch):
            widget.setEnabled(installs)
        self.build.setEnabled(installs and self.build.count() > 1)
        self._space_problem = ""
        if installs:
            self.space.setText(self._space_sentence())
        else:
            self.space.setText("none: that Python is checked, and used if it has what is needed")
        offline = self.source == "folder"
        self.offline_box.setVisible(offline)
        if offline:
            self.command.setPlainText(self.offline_command())
        self.proxy.setText(_proxy_sentence(network_of_qgis()))
        self.changed.emit()

    def offline_command(self) -> str:
        """The command that makes a folder of wheels for this machine on another one."""
        index = self.torch_index.text().strip()
        choice = Choice(self._build_name(), self.torch.isChecked(), None, replace(Network(), torch_index=index))
        major, minor = VERSION.split(".")
        return download_command(choice, self._python_here or (int(major), int(minor)))

    def _space_sentence(self) -> str:
        folder = default_runtime_folder()
        brings = self._python_here is None
        needed = bytes_needed(self._build_name(), self.torch.isChecked(), self.source == "internet", brings)
        free = bytes_free(folder)
        sentence = f"about {size_label(needed)}"
        if free is not None:
            sentence += f"; {size_label(free)} are free in {folder.parent}"
            if free < needed:
                self._space_problem = (
                    f"Too little disk space: about {size_label(needed)} are needed, and {size_label(free)} are free."
                )
                sentence = f"⚠ {sentence}, too little"
        return f"{sentence}. This machine has no Python that will do: one is brought." if brings else sentence

    def _copy_command(self) -> None:
        QGuiApplication.clipboard().setText(self.command.toPlainText())


def _proxy_sentence(network: Network) -> str:
    if network.proxy:
        return f"{masked(network.proxy)} (from QGIS's settings)"
    return "as the system and pip are set up (QGIS's own proxy is off)"
