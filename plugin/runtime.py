"""The runtime: the Python environment of its own in which everything heavy runs.

QGIS's Python is never installed into and never runs the engine.  A runtime is a virtual environment
with the packages of ``requirements.txt``; the code that runs in it is the plugin's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Callable

from .. import __version__
from ..errors import Cancelled, RuntimeMissingError
from ..models.store import user_data_folder

PLUGIN_FOLDER = Path(__file__).resolve().parent.parent
SETTING = "thematica/runtime"
#: Written last into a runtime that we made: without it the runtime is not finished.
STAMP = "thematica-runtime.json"
OLDEST_PYTHON = (3, 10)

_CREATE = "Open Raster ▸ Thematica ▸ Runtime… and create it."
_NO_RUNTIME = f"Thematica has no runtime yet (a Python environment of its own). {_CREATE}"

# QGIS points these at its own Python, PROJ, GDAL and Qt; any of them breaks the runtime's.
_FOREIGN = re.compile(
    r"(?i)PYTHON|__PYVENV|PROJ_|GDAL|OGR_|GEOTIFF_|CPL_|LD_LIBRARY_PATH$|LD_PRELOAD$|DYLD_|QT_|QML|QGIS|VIRTUAL_ENV|CONDA|"
    r"GRASS|GISBASE|O4W_|OSGEO4W"
)
# Removed only where they lie inside QGIS itself: elsewhere they are the analyst's certificates.
_CERTIFICATES = re.compile(r"(?i)SSL_CERT_FILE$")


@dataclass
class Runtime:
    """A Python environment that has, or should have, what the engine needs.

    Args:
        python: its interpreter; it need not exist where a setting names it (see :func:`runtime_problem`).
        origin: ``environment``, ``setting``, ``user`` or ``checkout``.
    """

    python: Path
    origin: str

    @property
    def folder(self) -> Path:
        """The virtual environment's folder."""
        return self.python.parent.parent


def default_runtime_folder() -> Path:
    """Where :func:`create_runtime` puts the runtime: one per user, shared by all QGIS profiles."""
    return user_data_folder() / "runtime"


def find_runtime() -> Runtime | None:
    """The runtime to use, or None.

    In this order: ``$THEMATICA_RUNTIME``, the QGIS setting ``thematica/runtime`` (an interpreter or a
    virtual environment's folder), the user's own runtime if it is finished, ``.venv`` of a checkout.
    What was named explicitly wins even where it is broken, so that the analyst is told.
    """
    from qgis.core import QgsSettings

    for origin, named in (
        ("environment", os.environ.get("THEMATICA_RUNTIME", "")),
        ("setting", str(QgsSettings().value(SETTING, "") or "")),
    ):
        if named.strip():
            path = Path(named.strip()).expanduser()
            return Runtime(path if path.is_file() else interpreter_in(path), origin)
    own = default_runtime_folder()
    if (own / STAMP).is_file():
        return Runtime(interpreter_in(own), "user")
    checkout = interpreter_in(PLUGIN_FOLDER / ".venv")
    return Runtime(checkout, "checkout") if checkout.is_file() else None


def interpreter_in(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def runtime_problem(runtime: Runtime | None) -> str:
    """Why this runtime cannot be used, in one sentence, or ``""``.  Cheap: no process is started."""
    if runtime is None:
        return _NO_RUNTIME
    if not runtime.python.is_file():
        named = {"environment": "the variable THEMATICA_RUNTIME", "setting": f"the QGIS setting {SETTING}"}
        by = named.get(runtime.origin, "Thematica")
        return f"There is no Python interpreter “{runtime.python}”, which {by} names as runtime. {_CREATE}"
    if runtime.origin == "user":
        stamp = _read_stamp(runtime.folder)
        if stamp is None:
            return f"The runtime in “{runtime.folder}” is not complete. {_CREATE}"
        if stamp.get("requirements") != requirements():
            made_for = stamp.get("thematica", "another version")
            return f"The runtime was made for Thematica {made_for}, this is {__version__}. {_CREATE}"
    return ""


def require_runtime(runtime: Runtime | None = None) -> Runtime:
    """The given or the found runtime.

    Raises:
        RuntimeMissingError: there is none, or it cannot be used.
    """
    runtime = runtime or find_runtime()
    problem = runtime_problem(runtime)
    if runtime is None or problem:
        raise RuntimeMissingError(problem)
    return runtime


def requirements() -> list[str]:
    """The packages that a runtime needs, from the one list in ``requirements.txt``."""
    text = (PLUGIN_FOLDER / "requirements.txt").read_text(encoding="utf-8")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


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
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **process_options(),
        )
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended by itself in the meantime
    process.wait()


def check_runtime(runtime: Runtime, timeout: float = 60) -> dict[str, Any]:
    """Run ``thematica doctor --json`` in the runtime.

    Returns:
        Its answer: ``ok``, ``version``, ``python``, ``packages``, ``providers``, ``problems``.

    Raises:
        RuntimeMissingError: it did not start, did not answer in time, or is of another version.
    """
    command = worker_command(runtime, "doctor", "--json")
    try:
        done = subprocess.run(
            command,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
            **process_options(),
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeMissingError(
            f"The runtime did not answer within {timeout:g} seconds; try again, or create it anew.", str(command)
        ) from error
    except OSError as error:
        raise RuntimeMissingError(f"The runtime's Python does not start. {_CREATE}", f"{command}\n{error}") from error
    try:
        answer = json.loads(done.stdout)
        version = answer["version"]
    except (ValueError, TypeError, KeyError) as error:
        details = f"{command}\nexit status {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        raise RuntimeMissingError(f"The runtime does not work. {_CREATE}", details) from error
    if version != __version__:
        raise RuntimeMissingError(f"The runtime answers as Thematica {version}, this is {__version__}. {_CREATE}")
    return answer


def create_runtime(
    on_line: Callable[[str], None], is_cancelled: Callable[[], bool], folder: Path | None = None
) -> Runtime:
    """Make a runtime: a virtual environment with the packages of ``requirements.txt``.

    It is built beside its final place and put there when it is complete, so that a failure leaves
    an older runtime as it was.

    Args:
        on_line: gets each line of the log.
        is_cancelled: polled ten times a second.
        folder: where to; :func:`default_runtime_folder` where None.

    Raises:
        RuntimeMissingError: no suitable Python, or a package could not be installed.
        Cancelled: nothing was changed.
    """
    folder = folder or default_runtime_folder()
    base = find_base_python(on_line)
    building = folder.with_name(f"{folder.name}.new-{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.parent.mkdir(parents=True, exist_ok=True)
        on_line(f"Creating a virtual environment with {base}")
        _run([str(base), "-I", "-m", "venv", str(building)], on_line, is_cancelled, "The virtual environment")
        python = interpreter_in(building)
        on_line("Installing " + ", ".join(requirements()))
        # Wheels only: a source package would need compilers and GDAL's headers, and fail after minutes.
        pip = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        listed = str(PLUGIN_FOLDER / "requirements.txt")
        _run(
            [str(python), "-X", "utf8", "-I", *pip, "--only-binary", ":all:", "-r", listed],
            on_line,
            is_cancelled,
            "Installing the packages",
        )
        stamp = {"thematica": __version__, "base": str(base), "requirements": requirements()}
        (building / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
        _put_in_place(building, folder)
    except OSError as error:
        raise RuntimeMissingError(
            f"The runtime could not be written to “{folder}”: {error.strerror or error}.", str(error)
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    on_line(f"The runtime is ready in {folder}")
    return Runtime(interpreter_in(folder), "user" if folder == default_runtime_folder() else "setting")


def find_base_python(on_line: Callable[[str], None] = lambda line: None) -> Path:
    """A CPython of the system, 3.10 or newer, that can make virtual environments.

    Raises:
        RuntimeMissingError: there is none; the sentence says what to install.
    """
    rejected = []
    for candidate in _candidates():
        found, why_not = _probe(candidate)
        if found is not None:
            return found
        rejected.append(f"{candidate}: {why_not}")
        on_line(f"Not usable: {rejected[-1]}")
    if sys.platform.startswith("linux"):
        advice = "install it (Debian, Ubuntu: sudo apt install python3-venv; Fedora: sudo dnf install python3)"
    else:
        advice = "install Python 3.12 from python.org"
    raise RuntimeMissingError(
        f"No Python 3.10 or newer that can make virtual environments was found: {advice} and try again.",
        "\n".join(rejected),
    )


def _candidates() -> list[Path]:
    """Interpreters to try, the versions with the most wheels first."""
    minors = (12, 13, 11, 10, 14)
    found: list[Path] = []
    if sys.platform == "win32":
        roots = [Path(os.environ[name]) for name in ("LOCALAPPDATA", "ProgramFiles") if name in os.environ]
        for minor in minors:
            for root in roots:
                found += [root / "Programs" / "Python" / f"Python3{minor}" / "python.exe"]
                found += [root / f"Python3{minor}" / "python.exe"]
            found.append(Path(f"C:/Python3{minor}/python.exe"))
        # QGIS's own interpreter, as a base only: the environment made from it has packages of its own.
        found.append(Path(sys.base_prefix) / "python.exe")
    else:
        search = clean_environment().get("PATH", "") + os.pathsep + "/usr/bin:/usr/local/bin:/opt/homebrew/bin"
        names = [f"python3.{minor}" for minor in minors] + ["python3"]
        found += [Path(path) for name in names if (path := shutil.which(name, path=search))]
        for minor in minors:
            found.append(Path(f"/Library/Frameworks/Python.framework/Versions/3.{minor}/bin/python3"))
        if sys.platform == "darwin":
            # A stub that opens a window asking for Apple's developer tools; with them it is Python 3.9, too old.
            found = [path for path in found if path != Path("/usr/bin/python3")]
    return [path for path in dict.fromkeys(found) if path.is_file()]


# With ssl: QGIS's own Python on Windows finds its libraries only with QGIS's PATH, and pip would then fail.
_PROBE = """
import json, platform, sys
import ensurepip, ssl, venv
print(json.dumps([platform.python_implementation(), sys.version_info[:2], sys.maxsize > 2**32,
                  getattr(sys, "_base_executable", "") or sys.executable]))
"""


def _probe(candidate: Path) -> tuple[Path | None, str]:
    """The real interpreter behind a candidate, or None and why it will not do."""
    try:
        done = subprocess.run(
            [str(candidate), "-I", "-c", _PROBE],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=False,
            **process_options(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"it does not start ({error})"
    try:
        implementation, version, is_64bit, executable = json.loads(done.stdout)
    except ValueError:
        missing = re.search(r"No module named '?(\w+)", done.stderr)
        return None, f"its module {missing.group(1)} is missing" if missing else f"it fails: {done.stderr[-500:]}"
    if implementation != "CPython" or not is_64bit:
        return None, "it is no 64-bit CPython"
    if tuple(version) < OLDEST_PYTHON:
        return None, f"it is Python {version[0]}.{version[1]}"
    return Path(executable), ""


def _run(command: list[str], on_line: Callable[[str], None], is_cancelled: Callable[[], bool], what: str) -> None:
    """Run a command, its lines going to ``on_line`` as they come; killed with its children on cancel."""
    process = subprocess.Popen(
        command,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        **process_options(),
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
            if is_cancelled():
                raise Cancelled("Cancelled; the runtime was left as it was.")
            try:
                line = lines.get(timeout=0.1)
            except Empty:
                continue
            if line is None:
                break
            log.append(line)
            on_line(line)
        status = process.wait()
    finally:
        if process.poll() is None:
            kill_process(process)
    if status != 0:
        reason = next((line for line in reversed(log) if line.lower().startswith("error")), "")
        said = f" ({reason.split(':', 1)[-1].strip()})" if reason else ""
        raise RuntimeMissingError(
            f"{what} failed{said}: check the network connection or proxy, and see the log.", "\n".join(log[-200:])
        )


def _put_in_place(building: Path, folder: Path) -> None:
    """Exchange an older runtime for the new one; virtual environments run from wherever they lie."""
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}-{time.monotonic_ns()}")
    if folder.exists():
        try:
            folder.rename(old)
        except OSError as error:
            raise RuntimeMissingError(
                f"The runtime in “{folder}” is in use: wait for running jobs to end and try again.", str(error)
            ) from error
    building.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _read_stamp(folder: Path) -> dict[str, Any] | None:
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None
