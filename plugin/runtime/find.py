"""Which runtime is used, what is wrong with it, and what its doctor says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import RuntimeMissingError
from ...models.store import user_data_folder
from . import process
from .build import BUILDS, numbers, requirements, unmet
from .process import clean_environment, process_options, worker_command

SETTING = "thematica/runtime"
#: Written last into a runtime that we made: without it the runtime is not finished.
STAMP = "thematica-runtime.json"
#: The stamp while the runtime is being repaired: then it is not finished either.
REPAIRING = "thematica-repairing.json"

_CREATE = "Open Raster ▸ Thematica ▸ Runtime… and create it."
_NO_RUNTIME = f"Thematica has no runtime yet (a Python environment of its own). {_CREATE}"


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


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a runtime.

    Args:
        kind: ``""`` where nothing is; ``none``, ``lost`` (its interpreter is gone), ``incomplete``, ``outdated`` (made
            for an older version, and lacking something) or ``newer`` (made for a newer one, likewise).
        sentence: for the analyst.
    """

    kind: str = ""
    sentence: str = ""


def default_runtime_folder() -> Path:
    """Where the installer puts the runtime: one per user, shared by all QGIS profiles."""
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
            return Runtime(interpreter_of(named), origin)
    own = find_own_runtime()
    if own is not None and read_stamp(own.folder) is not None:
        return own
    checkout = interpreter_in(process.PLUGIN_FOLDER / ".venv")
    if checkout.is_file():
        return Runtime(checkout, "checkout")
    # Something is there, and the analyst should hear what is wrong with it rather than that there is nothing.
    return own


def find_own_runtime() -> Runtime | None:
    """The user's own runtime, or what is left of it; None where there is no such folder."""
    folder = default_runtime_folder()
    finish_exchange(folder)
    return Runtime(interpreter_in(folder), "user") if folder.is_dir() else None


def building_folder(folder: Path) -> Path:
    """Where the next runtime is made, beside the one that is used."""
    return folder.with_name(f"{folder.name}.new")


def old_folders(folder: Path) -> list[Path]:
    """Runtimes that were exchanged and could not be removed yet."""
    return sorted(folder.parent.glob(f"{folder.name}.old-*"))


def finish_exchange(folder: Path) -> None:
    """Put a runtime in its place where the installer was killed between taking the old one away and that."""
    if folder.exists():
        return
    for beside in (building_folder(folder), *reversed(old_folders(folder))):
        if read_stamp(beside) is not None:
            try:
                beside.rename(folder)
            except OSError:
                continue  # another process did it first, or a file of it is open: then there is no runtime yet
            return


def interpreter_of(named: str) -> Path:
    """The interpreter that an analyst means by a path: of it, or of a virtual environment's folder."""
    path = Path(named.strip()).expanduser()
    return path if path.is_file() else interpreter_in(path)


def interpreter_in(folder: Path) -> Path:
    """The interpreter of a virtual environment (or, on Windows, of conda's); it need not exist."""
    if sys.platform == "win32":
        ordinary, conda = folder / "Scripts" / "python.exe", folder / "python.exe"
        return conda if conda.is_file() and not ordinary.is_file() else ordinary
    return folder / "bin" / "python"


def judge(runtime: Runtime | None) -> Verdict:
    """What is wrong with a runtime.  Cheap: no process is started."""
    if runtime is None:
        return Verdict("none", _NO_RUNTIME)
    if not runtime.python.is_file():
        named = {"environment": "the variable THEMATICA_RUNTIME", "setting": f"the QGIS setting {SETTING}"}
        if runtime.origin in named:
            return Verdict(
                "lost",
                f"There is no Python interpreter “{runtime.python}”, which {named[runtime.origin]} names as runtime. "
                f"{_CREATE}",
            )
    if runtime.origin != "user":
        return Verdict()
    stamp = read_stamp(runtime.folder)
    if stamp is None:
        if (runtime.folder / REPAIRING).is_file():
            return Verdict("incomplete", f"A repair of the runtime was broken off. {_to('repair it')}")
        return Verdict("incomplete", f"The runtime in “{runtime.folder}” is not complete. {_to('repair it')}")
    if not runtime.python.is_file():
        base = stamp.get("base") or "it was made from"
        return Verdict("lost", f"The Python of the runtime ({base}) is gone. {_to('repair it')}")
    return _judge_versions(stamp)


def _judge_versions(stamp: dict[str, Any]) -> Verdict:
    """A runtime of another version is good as long as it has what this version needs."""
    build = stamp.get("build", "cpu")
    # Without what only training needs, a runtime classifies as before (see :mod:`.training`).
    listed = requirements(build if build in BUILDS else "cpu", bool(stamp.get("torch")), training=False)
    packages = stamp.get("packages")
    if isinstance(packages, dict):
        lacking = unmet(listed, {str(name): str(version) for name, version in packages.items()})
    else:
        lacking = [line for line in listed if line not in stamp.get("requirements", ())]
    if not lacking:
        return Verdict()
    made_for = str(stamp.get("thematica", "another version"))
    what = f"The runtime was made for Thematica {made_for}, this is {__version__}"
    if numbers(made_for) > numbers(__version__):
        return Verdict(
            "newer", f"{what}, which needs {', '.join(lacking)}. Update the plugin; or {_to('update it', 'o')}"
        )
    return Verdict("outdated", f"{what} and needs {', '.join(lacking)}. {_to('update it')}")


def _to(do: str, first: str = "O") -> str:
    return f"{first}pen Raster ▸ Thematica ▸ Runtime… and {do}."


def runtime_problem(runtime: Runtime | None) -> str:
    """Why this runtime cannot be used, in one sentence, or ``""``.  Cheap: no process is started."""
    return judge(runtime).sentence


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


def read_stamp(folder: Path, name: str = STAMP) -> dict[str, Any] | None:
    """What a runtime that we made says of itself; None where it is not finished.

    Its keys: ``thematica`` (version it was made for), ``build``, ``torch``, ``base`` (interpreter it was made from),
    ``python`` (version), ``wheels`` (folder it was installed from, or empty), ``requirements``, ``packages``.
    """
    try:
        stamp = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


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
            f"The runtime did not answer within {timeout:g} seconds; try again, or repair it.", str(command)
        ) from error
    except OSError as error:
        raise RuntimeMissingError(
            f"The runtime's Python does not start. {_to('repair it')}", f"{command}\n{error}"
        ) from error
    try:
        answer = json.loads(done.stdout)
        version = answer["version"]
    except (ValueError, TypeError, KeyError) as error:
        details = f"{command}\nexit status {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        raise RuntimeMissingError(f"The runtime does not work. {_to('repair it')}", details) from error
    if version != __version__:
        raise RuntimeMissingError(
            f"The runtime answers as Thematica {version}, this is {__version__}. {_to('update it')}"
        )
    return answer
