"""Making the user's runtime, bringing it up to date, and repairing it.

A runtime is made in ``runtime.new`` beside its place and put there when its doctor is content, so that an older one
works until then.  A journal in ``runtime.new`` says what it is to become: an installation that was killed is gone on
with (packages that are complete stay, those cut in the middle are written anew), and pip's cache has the downloads.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import Cancelled, InputError, RuntimeMissingError
from .base_python import OLDEST_PYTHON, find_base_python, probe
from .build import (
    RIVALS,
    bytes_free,
    bytes_needed,
    find_build,
    requirements,
    size_label,
    torch_index,
    torch_requirements,
    unmet,
)
from .downloads import Downloads
from .find import (
    REPAIRING,
    STAMP,
    Runtime,
    building_folder,
    check_runtime,
    default_runtime_folder,
    find_own_runtime,
    finish_exchange,
    interpreter_in,
    old_folders,
    read_stamp,
    runtime_problem,
)
from .horovod import build_horovod
from .installed import Damage, damage_of, examine, forget, installed_packages, site_packages
from .lock import InstallationLock
from .network import Network
from .own_python import archive_in, fetch_with_uv, find_own_python, unpack
from .pip import Pip
from .process import CommandFailed, Listener, run_command
from .training import lacking_for_training

#: Lies in a runtime that is being made, and says what it is to become.
JOURNAL = "thematica-building.json"
#: Lies there too, until the runtime is complete.
DOWNLOADS = "thematica-downloads"
_BUILD_AGAIN = "Horovod was compiled for what was there before: build it again to train in several processes"


@dataclass(frozen=True)
class Choice:
    """What the analyst wants.

    Args:
        build: its name, see :mod:`.build`.
        torch: with PyTorch, and what training needs beside it.
        wheels: install from this folder, without network; None: from the package index.
        network: how the network is reached.
    """

    build: str = "cpu"
    torch: bool = False
    wheels: Path | None = None
    network: Network = field(default_factory=Network)


def create_runtime(choice: Choice, listener: Listener, folder: Path | None = None) -> Runtime:
    """Make a runtime, or go on with one that was broken off, and put it in the place of an older one.

    Args:
        choice: what to install, and from where.
        listener: gets log and progress; may cancel.
        folder: where to; :func:`.find.default_runtime_folder` where None.

    Raises:
        RuntimeMissingError: no suitable Python, too little space, or a package could not be installed.
        InputError: a file or folder that was named cannot be used.
        Cancelled: nothing was changed.
    """
    folder = folder or default_runtime_folder()
    _check_wheels(choice.wheels)
    _require_space(choice, folder)
    try:
        with InstallationLock(folder.with_name(f"{folder.name}.lock"), listener) as lock:
            finish_exchange(folder)
            return _create(choice, listener, folder, lock)
    except OSError as error:
        raise RuntimeMissingError(
            f"The runtime could not be written to “{folder}”: {error.strerror or error}.", str(error)
        ) from error


def _create(choice: Choice, listener: Listener, folder: Path, lock: InstallationLock) -> Runtime:
    for old in old_folders(folder):
        shutil.rmtree(old, ignore_errors=True)
    building = building_folder(folder)
    environment = choice.network.environment()
    try:
        base = _make_environment(choice, listener, building, lock)
        python = interpreter_in(building)
        index = torch_index(choice.build, choice.network.torch_index) if choice.torch else ""
        downloads = Downloads(building / DOWNLOADS)
        downloads.prepare()
        pip = Pip(python, environment, listener, lock.inherited, choice.wheels, index, downloads)
        listener.step("Preparing pip", 0.05)
        pip.upgrade()
        listed = requirements(choice.build, choice.torch)
        listener.line("Installing " + ", ".join(listed))
        _install(pip, choice, (0.08, 0.92))
        listener.step("Checking the new runtime", 0.95)
        _require_health(check_runtime(Runtime(python, "user"), timeout=300))
        downloads.remove()
        _write_stamp(building, choice, base)
        (building / JOURNAL).unlink()
        if "horovod" in installed_packages(folder):
            listener.line(_BUILD_AGAIN)
        _put_in_place(building, folder)
    except Cancelled:
        # What was downloaded stays in pip's cache; gigabytes that nobody asked for do not stay.
        shutil.rmtree(building, ignore_errors=True)
        raise
    listener.line(f"The runtime is ready in {folder}")
    listener.step("Ready", 1.0)
    return Runtime(interpreter_in(folder), "user" if folder == default_runtime_folder() else "setting")


def _install(pip: Pip, choice: Choice, span: tuple[float, float]) -> None:
    """The packages of a build: in one go, so that pip finds versions that fit together, or PyTorch after the others."""
    if pip.extra_index and choice.wheels is None:
        middle = (span[0] + span[1]) / 2
        listed = requirements(choice.build, choice.torch)
        pip.install([line for line in listed if line not in torch_requirements()], (span[0], middle))
        pip.install(listed, (middle, span[1]), extra=True)
    else:
        pip.install(requirements(choice.build, choice.torch), span)


def _make_environment(choice: Choice, listener: Listener, building: Path, lock: InstallationLock) -> Path:
    """A virtual environment in the building folder: the one that was begun, where it is still right, or a new one."""
    purpose = {
        "thematica": __version__,
        "requirements": requirements(choice.build, choice.torch),
        "build": choice.build,
        "torch": choice.torch,
    }
    journal = read_stamp(building, JOURNAL)
    if journal is not None and all(journal.get(key) == value for key, value in purpose.items()):
        base = Path(str(journal.get("base", "")))
        python = interpreter_in(building)
        if base.is_file() and python.is_file() and not probe(python)[1]:
            listener.line("Going on with the installation that was broken off")
            for name, package in installed_packages(building).items():
                listener.step(f"Examining {name}", 0.03)
                if reason := damage_of(package, listener):
                    listener.line(f"{name} {reason}: it is installed anew")
                    forget(building, name)
            return base
    shutil.rmtree(building, ignore_errors=True)
    if building.exists():
        raise RuntimeMissingError(f"“{building}” cannot be removed: close what uses it, or restart, and try again.")
    base = find_python(choice, listener, lock.inherited)
    building.mkdir(parents=True)
    listener.step("Creating a virtual environment", 0.02)
    listener.line(f"Creating a virtual environment with {base}")
    try:
        # Isolated, and with the clean environment: nothing of QGIS's Python decides what comes out.
        command = [str(base), "-I", "-m", "venv", str(building)]
        run_command(command, listener, choice.network.environment(), lock.inherited)
    except CommandFailed as failure:
        raise RuntimeMissingError(
            f"The virtual environment could not be made with {base}; the log says more.", "\n".join(failure.lines)
        ) from failure
    _write_json(building / JOURNAL, {**purpose, "base": str(base)})
    return base


def find_python(choice: Choice, listener: Listener, inherited: tuple[int, ...] = ()) -> Path:
    """The CPython to make the runtime from: the machine's, one that we brought, or one that we bring now.

    Raises:
        RuntimeMissingError: there is none, and none can be brought.
        Cancelled: the listener said so.
    """
    oldest = find_build(choice.build).oldest_python
    listener.step("Looking for a Python", 0.01)
    found = find_base_python(listener, oldest) or find_own_python(oldest)
    if found is not None:
        return found
    if choice.wheels is not None:
        archive = archive_in(choice.wheels, oldest)
        if archive is None:
            wanted = ".".join(map(str, oldest))
            raise RuntimeMissingError(
                f"This machine has no Python {wanted} or newer that can make virtual environments, and "
                f"“{choice.wheels}” has no archive of one (cpython-3.…-install_only.tar.gz). {_advice(oldest)}"
            )
        return unpack(archive, listener)
    listener.line("This machine has no Python that will do; one is brought")
    try:
        return fetch_with_uv(choice.network, listener, inherited)
    except RuntimeMissingError as error:
        raise RuntimeMissingError(f"{error.message} {_advice(oldest)}", error.details) from error


def _advice(oldest: tuple[int, int] = OLDEST_PYTHON) -> str:
    if sys.platform.startswith("linux") and oldest == OLDEST_PYTHON:
        return "On Debian and Ubuntu: sudo apt install python3-venv; on Fedora: sudo dnf install python3."
    return "" if sys.platform.startswith("linux") else "Python 3.12 is on python.org."


def python_here(build: str) -> tuple[int, int] | None:
    """The version of the CPython that this build would be made from; None where one has to be brought.

    Starts processes; not for the main thread.
    """
    oldest = find_build(build).oldest_python
    found = find_base_python(Listener(), oldest) or find_own_python(oldest)
    if found is None:
        return None
    try:
        said = run_command([str(found), "-I", "-c", "import sys; print(*sys.version_info[:2])"], Listener())
        major, minor = said[-1].split()
        return int(major), int(minor)
    except (CommandFailed, OSError, ValueError, IndexError):
        return None


def _check_wheels(wheels: Path | None) -> None:
    if wheels is not None and not any(wheels.glob("*.whl")):
        raise InputError(f"“{wheels}” holds no wheels (files *.whl): choose the folder that “pip download” has filled.")


def _require_space(choice: Choice, folder: Path) -> None:
    needed = bytes_needed(choice.build, choice.torch, choice.wheels is None, brings_python=False)
    building = building_folder(folder)
    if building.is_dir():
        # What an installation that was broken off has filled already is not needed again.
        needed -= min(needed // 2, sum(path.stat().st_size for path in building.rglob("*") if path.is_file()))
    free = bytes_free(folder)
    if free is not None and free < needed:
        smaller = "" if choice.build == "cpu" and not choice.torch else ", choose a smaller build"
        raise RuntimeMissingError(
            f"The installation needs about {size_label(needed)} in “{folder.parent}”, and {size_label(free)} are free: "
            f"free some space{smaller}, or let THEMATICA_HOME name a folder on another disk."
        )


def _require_health(answer: dict[str, Any]) -> None:
    if not answer.get("ok"):
        problems = [str(problem) for problem in answer.get("problems", ())]
        first = problems[0].rstrip(".") if problems else "it does not say why"
        raise RuntimeMissingError(
            f"The packages were installed, but the engine does not run with them: {first}.", "\n".join(problems)
        )


def _write_stamp(folder: Path, choice: Choice, base: Path) -> None:
    site = site_packages(folder)
    stamp = {
        "thematica": __version__,
        "build": choice.build,
        "torch": choice.torch,
        "base": str(base),
        "python": site.parent.name if site else "",
        "wheels": str(choice.wheels or ""),
        "requirements": requirements(choice.build, choice.torch),
        "packages": _versions(folder),
    }
    _write_json(folder / STAMP, stamp)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is either there whole or not at all, also after a power cut."""
    partial = path.with_suffix(".part")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


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
    try:
        building.rename(folder)
    except FileNotFoundError:
        # Another QGIS looked for the runtime in just this moment and has put it in place (see finish_exchange).
        if read_stamp(folder) is None:
            raise
    shutil.rmtree(old, ignore_errors=True)


# -- repairing ----------------------------------------------------------------------------------------


def repair_runtime(choice: Choice, listener: Listener, folder: Path | None = None) -> Runtime:
    """Put right what is broken in the user's runtime; made anew where its Python is gone or nothing else helps.

    Args:
        choice: where from; build and PyTorch are the runtime's own where it still says them.
        listener: gets log and progress; may cancel.
        folder: the runtime; :func:`.find.default_runtime_folder` where None.

    Raises:
        RuntimeMissingError: as :func:`create_runtime`.
        InputError: likewise.
        Cancelled: what was repaired so far stays; the rest is repaired the next time.
    """
    folder = folder or default_runtime_folder()
    _check_wheels(choice.wheels)
    stamp = read_stamp(folder) or read_stamp(folder, REPAIRING)
    if stamp is not None:
        choice = Choice(str(stamp.get("build", choice.build)), bool(stamp.get("torch")), choice.wheels, choice.network)
    python = interpreter_in(folder)
    listener.step("Starting the runtime's Python", 0.01)
    why_not = probe(python)[1] if python.is_file() else "its interpreter is gone"
    if stamp is None or why_not or not isinstance(stamp.get("packages"), dict):
        listener.line(f"The runtime is made anew: {why_not or 'it does not say what belongs in it'}")
        return create_runtime(choice, listener, folder)
    try:
        with InstallationLock(folder.with_name(f"{folder.name}.lock"), listener) as lock:
            mended = _mend(choice, listener, folder, stamp, lock)
            if mended:
                _complete_for_training(choice, listener, folder, lock)
    except OSError as error:
        raise RuntimeMissingError(
            f"The runtime in “{folder}” could not be repaired: {error.strerror or error}.", str(error)
        ) from error
    if not mended:
        listener.line("That was not enough: the runtime is made anew")
        return create_runtime(choice, listener, folder)
    listener.line(f"The runtime in {folder} is repaired")
    listener.step("Ready", 1.0)
    return Runtime(python, "user" if folder == default_runtime_folder() else "setting")


def _mend(choice: Choice, listener: Listener, folder: Path, stamp: dict[str, Any], lock: InstallationLock) -> bool:
    """Repair in place; False where the runtime has to be made anew."""
    # Until the end there is no stamp: a repair that is killed leaves nothing that looks finished.
    if (folder / STAMP).is_file():
        os.replace(folder / STAMP, folder / REPAIRING)
    expected = {str(name): str(version) for name, version in stamp["packages"].items()}
    damages = examine(folder, expected, listener)
    for rival in RIVALS:
        # Somebody installed a second ONNX Runtime over ours: the files are a mixture of both.
        if rival in installed_packages(folder) and rival not in expected:
            damages = [damage for damage in damages if damage.name != rival]
            damages.append(Damage(rival, "", "does not belong here"))
            damages += [
                Damage(name, expected[name], "was written over")
                for name in RIVALS
                if name in expected and name not in {damage.name for damage in damages}
            ]
    for damage in damages:
        listener.line(f"{damage.name} {damage.reason}")
    index = torch_index(choice.build, choice.network.torch_index) if choice.torch else ""
    pip = Pip(interpreter_in(folder), choice.network.environment(), listener, lock.inherited, choice.wheels, index)
    if pip.version == (0,):
        return False
    try:
        for damage in damages:
            package = installed_packages(folder).get(damage.name)
            # pip itself is only written over: it cannot install after it has removed itself.
            if package is not None and package.has_record and damage.name != "pip":
                pip.uninstall(damage.name)
            forget(folder, damage.name)
        again = [
            f"{damage.name}=={damage.version}" for damage in damages if damage.version and damage.name != "horovod"
        ]
        if "horovod" in [damage.name for damage in damages]:
            listener.line(_BUILD_AGAIN)
        if again:
            pip.install(again, (0.3, 0.8), ["--no-deps"], extra=any(line.startswith("torch==") for line in again))
        # What only training needs comes afterwards: where it cannot be had, the runtime classifies all the same.
        if unmet(requirements(choice.build, choice.torch, training=False), _versions(folder)):
            _install(pip, choice, (0.8, 0.9))
        listener.step("Checking the runtime", 0.9)
        _require_health(check_runtime(Runtime(interpreter_in(folder), "user"), timeout=300))
    except RuntimeMissingError as error:
        listener.line(error.message)
        listener.line(error.details)
        return False
    _write_stamp(folder, choice, Path(str(stamp.get("base", ""))))
    (folder / REPAIRING).unlink(missing_ok=True)
    if not damages:
        listener.line("Nothing was broken")
    return True


def _complete_for_training(choice: Choice, listener: Listener, folder: Path, lock: InstallationLock) -> None:
    """Install what a runtime with PyTorch lacks for training; it counts as finished all the while."""
    lacking = lacking_for_training(Runtime(interpreter_in(folder), "user"))
    if not lacking:
        return
    listener.line(f"Training needs more, which is installed: {', '.join(lacking)}")
    pip = Pip(interpreter_in(folder), choice.network.environment(), listener, lock.inherited, choice.wheels)
    pip.install(lacking, (0.9, 0.97))
    listener.step("Checking the runtime", 0.98)
    _require_health(check_runtime(Runtime(interpreter_in(folder), "user"), timeout=300))
    stamp = read_stamp(folder) or {}
    _write_stamp(folder, choice, Path(str(stamp.get("base", ""))))


def install_horovod(
    listener: Listener, network: Network, wheels: Path | None = None, python: Path | None = None
) -> None:
    """Build Horovod into the user's own runtime, which is repaired and checked with it from then on.

    Args:
        listener: gets log and progress; may cancel.
        network: how the network is reached.
        wheels: take the source from this folder, without network.
        python: of another environment, which is not ours.

    Raises:
        RuntimeMissingError: there is no runtime, or it could not be built.
        Cancelled: Horovod is not installed.
    """
    if python is not None:
        build_horovod(python, listener, network, wheels)
        return
    folder = default_runtime_folder()
    with InstallationLock(folder.with_name(f"{folder.name}.lock"), listener):
        runtime = find_own_runtime()
        problem = runtime_problem(runtime)
        stamp = read_stamp(folder)
        if problem or stamp is None:
            raise RuntimeMissingError(problem)
        build_horovod(interpreter_in(folder), listener, network, wheels)
        _write_json(folder / STAMP, {**stamp, "packages": _versions(folder)})


def _versions(folder: Path) -> dict[str, str]:
    return {name: package.version for name, package in installed_packages(folder).items()}


# -- a folder of wheels for a machine without network ---------------------------------------------------


def download_arguments(choice: Choice, python_version: tuple[int, int], folder: str = "thematica-wheels") -> list[str]:
    """Arguments of pip that fill a folder with all wheels for this system, on any machine with any Python.

    Args:
        choice: the build, and with or without PyTorch.
        python_version: of the CPython that the runtime will be made from.
        folder: where to.
    """
    import platform

    machine = platform.machine().lower()
    if sys.platform == "win32":
        tags = ["win_arm64" if machine == "arm64" else "win_amd64"]
    elif sys.platform == "darwin":
        # As they are on the index: wheels for a Mac name the oldest system that they run on.
        tags = [f"macosx_{major}_0_{machine}" for major in (15, 14, 13, 12, 11)]
        tags += ["macosx_10_15_x86_64", "macosx_10_12_x86_64"] if machine == "x86_64" else []
        tags += [f"macosx_{major}_0_universal2" for major in (12, 11)]
    else:
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
        # The newest that this system's C library allows, and those that wheels are made for.
        libc = platform.libc_ver()[1].split(".")
        minor = int(libc[1]) if len(libc) > 1 and libc[1].isdigit() else 28
        tags = [f"manylinux_2_{number}_{machine}" for number in (39, 35, 34, 31, 28, 27, 26, 24) if number <= minor]
        tags += [f"manylinux_2_17_{machine}", f"manylinux2014_{machine}"]
    arguments = ["download", "--dest", folder, "--only-binary", ":all:"]
    arguments += ["--implementation", "cp", "--python-version", ".".join(map(str, python_version))]
    for tag in tags:
        arguments += ["--platform", tag]
    index = torch_index(choice.build, choice.network.torch_index) if choice.torch else ""
    if index:
        arguments += ["--extra-index-url", index]
    return [*arguments, "pip", *(_plain(line) for line in requirements(choice.build, choice.torch))]


def _plain(requirement: str) -> str:
    return requirement.replace(" ", "")


def download_command(choice: Choice, python_version: tuple[int, int], folder: str = "thematica-wheels") -> str:
    """:func:`download_arguments` as a line that sh, PowerShell and cmd all take."""
    words = download_arguments(choice, python_version, folder)
    quoted = [f'"{word}"' if any(sign in word for sign in " <>[]&;,!") else word for word in words]
    return " ".join(["python3" if sys.platform != "win32" else "py", "-m", "pip", *quoted])
