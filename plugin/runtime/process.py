"""Starting processes of the runtime: a clean environment, no console window, an end with all children, no secrets."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import unquote

from ...errors import Cancelled

if TYPE_CHECKING:
    from .find import Runtime

PLUGIN_FOLDER = Path(__file__).resolve().parents[2]

# QGIS points these at its own Python, PROJ, GDAL and Qt; any of them breaks the runtime's.
_FOREIGN = re.compile(
    r"(?i)PYTHON|__PYVENV|PROJ_|GDAL|OGR_|GEOTIFF_|CPL_|LD_LIBRARY_PATH$|LD_PRELOAD$|DYLD_|QT_|QML|QGIS|VIRTUAL_ENV|CONDA|"
    r"GRASS|GISBASE|O4W_|OSGEO4W"
)
# Removed only where they lie inside QGIS itself: elsewhere they are the analyst's certificates.
_CERTIFICATES = re.compile(r"(?i)SSL_CERT_FILE$")
_USER_IN_URL = re.compile(r"(?<=://)[^\s/]+@")


class Listener:
    """Who watches an installation; the dialog's task and the command line override what they need."""

    def line(self, text: str) -> None:
        """A line of the log."""

    def step(self, text: str, fraction: float | None = None) -> None:
        """What is being done now, and how much of the whole is done (0 to 1; None: as before)."""

    def is_cancelled(self) -> bool:
        """Polled ten times a second."""
        return False


def clean_environment() -> dict[str, str]:
    """This process's environment without what QGIS set for its own Python, PROJ, GDAL and Qt.

    Kept are PATH, the home folder, proxies, certificates, the language and ``THEMATICA_*``.
    """
    install = _qgis_folder()
    kept = {}
    for name, value in os.environ.items():
        if _CERTIFICATES.match(name):
            if install is None or not _is_inside(value, install):
                kept[name] = value
        elif not _FOREIGN.match(name):
            kept[name] = value
    if install is not None:
        folders = kept.get("PATH", "").split(os.pathsep)
        kept["PATH"] = os.pathsep.join(folder for folder in folders if not _is_inside(folder, install))
    return kept


def _qgis_folder() -> Path | None:
    """The folder that QGIS with its libraries lies in; None on Linux, where that is the system's."""
    if sys.platform == "win32":
        root = os.environ.get("OSGEO4W_ROOT")
        return Path(root) if root else None
    if sys.platform == "darwin":
        return next((parent for parent in Path(sys.executable).parents if parent.suffix == ".app"), None)
    return None


def _is_inside(path: str, folder: Path) -> bool:
    return bool(path) and os.path.normcase(os.path.abspath(path)).startswith(os.path.normcase(str(folder)))


def worker_command(runtime: Runtime, *arguments: str) -> list[str]:
    """The command that runs the plugin's own ``__main__.py`` in the runtime.

    UTF-8 whatever the system's code page, unbuffered so that progress comes at once, and without
    the user's site packages, which belong to another Python.
    """
    return [str(runtime.python), "-X", "utf8", "-u", "-s", str(PLUGIN_FOLDER / "__main__.py"), *arguments]


def process_options() -> dict[str, Any]:
    """Options of ``Popen`` that make a process group of its own, without a console window."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def kill_process(process: subprocess.Popen) -> None:
    """Kill a process started with :func:`process_options`, and its children, and wait for its end."""
    kill_group(process.pid)
    process.wait()


def kill_group(pid: int) -> None:
    """Kill a process that has a group of its own, and its children; it need not be a child of this process."""
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **process_options(),
        )
    else:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended by itself in the meantime


class CommandFailed(Exception):
    """A command of the installation ended with another status than 0.

    Args:
        status: its exit status.
        lines: what it wrote, without secrets.
    """

    def __init__(self, status: int, lines: list[str]) -> None:
        super().__init__(f"exit status {status}")
        self.status = status
        self.lines = lines


def run_command(
    command: Sequence[str],
    listener: Listener,
    environment: Mapping[str, str] | None = None,
    inherited: Sequence[int] = (),
    take: Callable[[str], bool] = lambda line: False,
) -> list[str]:
    """Run a command to its end, its lines going to the listener as they come; killed with its children on cancel.

    Args:
        command: program and arguments.
        listener: gets the lines, masked.
        environment: the process's; :func:`clean_environment` where None.
        inherited: file descriptors that the process keeps open (not on Windows).
        take: gets each line first; True keeps it out of the log.

    Returns:
        The lines.

    Raises:
        Cancelled: the listener said so.
        CommandFailed: the exit status was not 0.
        OSError: it does not start.
    """
    environment = clean_environment() if environment is None else dict(environment)
    secrets = secrets_of(environment)
    options = process_options()
    if inherited and sys.platform != "win32":
        options["pass_fds"] = tuple(inherited)
    process = subprocess.Popen(
        list(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        **options,
    )
    lines: Queue[str | None] = Queue()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    log: list[str] = []
    try:
        while True:
            if listener.is_cancelled():
                raise Cancelled("Cancelled; the runtime was left as it was.")
            try:
                line = lines.get(timeout=0.1)
            except Empty:
                continue
            if line is None:
                break
            if not take(line):
                log.append(masked(line, secrets))
                listener.line(log[-1])
        status = process.wait()
    finally:
        if process.poll() is None:
            kill_process(process)
    if status != 0:
        raise CommandFailed(status, log)
    return log


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """The passwords that proxies and package indexes in this environment carry, as written and decoded."""
    found = set()
    for name, value in environment.items():
        if name.upper().endswith("_PROXY") or name.upper().startswith(("PIP_", "UV_", "THEMATICA_")):
            for user in _USER_IN_URL.findall(value):
                password = user[:-1].partition(":")[2] or user[:-1]
                found.update((password, unquote(password)))
    # Longest first: one may contain another.  A password of three letters would black out half the log.
    return sorted((secret for secret in found if len(secret) > 3), key=len, reverse=True)


def masked(text: str, secrets: Sequence[str] = ()) -> str:
    """The text without users and passwords of URLs, and without these secrets."""
    text = _USER_IN_URL.sub("***@", text)
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
