"""Building Horovod into a runtime, for training in several processes.

Horovod's releases are of source only and are compiled against the PyTorch that is there.  The newest, 0.28.1, asks for
C++14, and today's PyTorch headers for more.  Gloo carries the messages between the processes: it comes with Horovod,
and needs neither MPI nor a graphics card.  On Windows Horovod cannot be built.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from ...errors import RuntimeMissingError
from .network import Network
from .pip import explained
from .process import CommandFailed, Listener, masked, run_command
from .training import NO_HOROVOD_ON_WINDOWS

VERSION = "0.28.1"
# The environment's own, also for the build: an environment apart would bring another PyTorch.
_BUILD_TOOLS = ("setuptools>=77,<81", "wheel", "packaging", "cloudpickle", "psutil", "pyyaml", "cffi>=1.4")
_SETTINGS = {
    "CMAKE_POLICY_VERSION_MINIMUM": "3.5",
    "HOROVOD_WITH_PYTORCH": "1",
    "HOROVOD_WITHOUT_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITH_GLOO": "1",
    "HOROVOD_WITHOUT_MPI": "1",
}
_PROBE = (
    "import importlib.util, os, sysconfig; print(importlib.util.find_spec('torch') is not None, "
    "os.path.isfile(os.path.join(sysconfig.get_path('include'), 'Python.h')))"
)
_WORKS = "import horovod.torch as horovod; print(horovod.gloo_built())"
# How make tells how far it is.
_PERCENT = re.compile(r"\s*\[\s*(\d+)%\]")
_LINES_KEPT = 200
_INSTALL_TOOLS = {
    "linux": "on Debian and Ubuntu: sudo apt install cmake g++ make python3-dev; on Fedora: sudo dnf install cmake "
    "gcc-c++ make python3-devel; on a cluster: load the modules of a compiler and of CMake",
    "darwin": "xcode-select --install, and: brew install cmake",
}


def build_horovod(python: Path, listener: Listener, network: Network, wheels: Path | None = None) -> None:
    """Compile Horovod and install it; that takes some minutes.

    Args:
        python: the runtime's interpreter.
        listener: gets log and progress; may cancel.
        network: how the network is reached.
        wheels: take the source and what it needs from this folder, without network.

    Raises:
        RuntimeMissingError: PyTorch or a compiler is missing, or it does not compile.
        Cancelled: Horovod is not installed.
    """
    if sys.platform == "win32":
        raise RuntimeMissingError(NO_HOROVOD_ON_WINDOWS)
    # Not resolved: the link is what makes it the environment's.
    python = Path(os.path.abspath(python))
    # A cluster's modules name the libraries of their compiler so, and it is no QGIS that starts this.
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    environment = {**network.environment(), **_SETTINGS, **libraries}
    listener.step("Looking for a compiler", 0.0)
    _require_tools(python, listener, environment)
    pip = [str(python), "-X", "utf8", "-I", "-m", "pip"]
    options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    if wheels is not None:
        options += ["--no-index", "--find-links", str(wheels)]
    source_only = ["--no-deps", "--no-build-isolation"]
    # Beside the runtime, where there is room; a cluster's /tmp may be small, or run no programs.
    with tempfile.TemporaryDirectory(prefix="horovod-", dir=python.parent.parent) as folder:
        try:
            listener.step("Downloading Horovod", 0.05)
            run_command([*pip, "install", *options, "--only-binary", ":all:", *_BUILD_TOOLS], listener, environment)
            download = ["download", *options, *source_only, "--no-binary", "horovod", "--dest", folder]
            run_command([*pip, *download, f"horovod=={VERSION}"], listener, environment)
        except CommandFailed as failure:
            raise explained(failure.lines, wheels) from failure
        source = _unpack(Path(folder) / f"horovod-{VERSION}.tar.gz")
        compiling = _Compiling(listener)
        try:
            command = [*pip, "install", *options, *source_only, "--verbose", str(source)]
            run_command(command, listener, environment, take=compiling.take)
        except CommandFailed as failure:
            said = [*compiling.lines, *failure.lines][-_LINES_KEPT:]
            for line in said:
                listener.line(line)
            raise RuntimeMissingError("Horovod could not be built; the log says more.", "\n".join(said)) from failure
    try:
        # As a training of QGIS finds it, which knows nothing of a shell's modules.
        works = run_command([str(python), "-I", "-c", _WORKS], listener, network.environment())[-1:] == ["True"]
    except CommandFailed as failure:
        raise RuntimeMissingError(
            "Horovod was built, but does not load; the log says more.", "\n".join(failure.lines)
        ) from failure
    if not works:
        raise RuntimeMissingError("Horovod was built without Gloo, and cannot be used; the log says more.")
    listener.step("Horovod is installed", 1.0)


class _Compiling:
    """Thousands of lines of a compiler, of which only the progress is told.

    Args:
        listener: gets it.

    Attributes:
        lines: all of them.
    """

    def __init__(self, listener: Listener) -> None:
        self.lines: list[str] = []
        self._listener = listener
        self._told = "Compiling Horovod; this takes some minutes"
        listener.step(self._told, 0.2)

    def take(self, line: str) -> bool:
        """Take a line."""
        self.lines.append(masked(line))
        if found := _PERCENT.match(line):
            self._listener.step(self._told, 0.2 + 0.75 * int(found[1]) / 100)
        return True


def _require_tools(python: Path, listener: Listener, environment: dict[str, str]) -> None:
    try:
        has_torch, has_headers = run_command([str(python), "-I", "-c", _PROBE], Listener(), environment)[-1].split()
    except (CommandFailed, OSError, ValueError, IndexError) as error:
        raise RuntimeMissingError(
            f"“{python}” does not run as a Python: name another one, or repair the runtime.", str(error)
        ) from error
    if has_torch != "True":
        raise RuntimeMissingError(
            "Horovod is compiled against PyTorch, which the runtime does not have: make it with PyTorch first."
        )
    path = environment.get("PATH")
    missing = [] if has_headers == "True" else ["the headers of Python (Python.h)"]
    missing += [name for name in ("cmake", "make") if shutil.which(name, path=path) is None]
    if not any(shutil.which(name, path=path) for name in (environment.get("CXX", "c++"), "g++", "clang++")):
        missing.append("a C++ compiler")
    if missing:
        how = _INSTALL_TOOLS["darwin" if sys.platform == "darwin" else "linux"]
        raise RuntimeMissingError(f"To build Horovod, this machine lacks {', '.join(missing)}. Install that ({how}).")


def _unpack(archive: Path) -> Path:
    """Unpack the source, and let it be compiled as today's PyTorch wants it; returns its folder."""
    with tarfile.open(archive) as packed:
        # It comes from the package index, and is run in a moment anyhow.
        packed.extractall(archive.parent)
    source = archive.parent / f"horovod-{VERSION}"
    for path in (source / "CMakeLists.txt", source / "horovod" / "torch" / "CMakeLists.txt"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("set(CMAKE_CXX_STANDARD 14)", "set(CMAKE_CXX_STANDARD 20)"), encoding="utf-8")
    return source
