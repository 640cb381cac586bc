"""Whether a runtime can train, and in several processes.  Cheap: no process is started, folders are looked at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from . import process
from .build import training_requirements, unmet
from .find import Runtime, read_stamp, runtime_problem
from .installed import installed_packages, site_packages

_OPEN = "Raster ▸ Thematica ▸ Runtime…"
NO_HOROVOD_ON_WINDOWS = "Horovod cannot be installed on Windows: training runs in one process."


def training_problem(runtime: Runtime | None, network_is_classical: bool) -> str:
    """Why this runtime cannot train, in one sentence with what to do; ``""`` where it can.

    Args:
        runtime: what :func:`.find.find_runtime` found.
        network_is_classical: what scikit-learn trains needs skl2onnx, too.
    """
    problem = runtime_problem(runtime)
    if problem or runtime is None:
        return problem
    site = _own_packages(runtime)
    if site is None:
        return ""
    lacking = [] if _has(site, "torch") else ["PyTorch"]
    if network_is_classical and not _has(site, "skl2onnx"):
        lacking.append("skl2onnx")
    if not lacking:
        return ""
    what = f"Training needs {' and '.join(lacking)}, which the runtime does not have:"
    if runtime.origin not in ("user", "setting"):
        lists = "requirements-torch.txt and requirements-training.txt"
        return f"{what} install what {lists} of the plugin name into “{runtime.folder}”."
    if _made_with_torch(runtime):
        return f"{what} open {_OPEN} and repair it."
    return f"{what} open {_OPEN}, tick “With PyTorch” and create it anew."


def lacking_for_training(runtime: Runtime | None) -> list[str]:
    """What the user's own runtime lacks for training although it was made with PyTorch, as requirements.

    Older versions of the plugin put PyTorch alone into it.
    """
    if runtime is None or not _made_with_torch(runtime):
        return []
    packages = installed_packages(runtime.folder)
    have = {name: package.version for name, package in packages.items() if package.has_record}
    return unmet(training_requirements(), have)


def _made_with_torch(runtime: Runtime) -> bool:
    stamp = read_stamp(runtime.folder) if runtime.origin == "user" else None
    return stamp is not None and bool(stamp.get("torch"))


def horovod_problem(runtime: Runtime | None, platform: str = sys.platform) -> str:
    """Why this runtime trains in one process only, in one sentence; ``""`` where several are possible.

    Args:
        runtime: what :func:`.find.find_runtime` found.
        platform: as ``sys.platform`` names it.
    """
    if platform == "win32":
        return NO_HOROVOD_ON_WINDOWS
    # Where the training itself looks for it: beside the interpreter.
    if runtime is not None and (runtime.python.parent / "horovodrun").is_file():
        return ""
    command = ["python3", str(process.PLUGIN_FOLDER / "plugin" / "runtime"), "horovod"]
    if runtime is not None and runtime.origin != "user":
        command += ["--python", str(runtime.python)]
    return (
        "Horovod is not in the runtime, so training runs in one process. To build it into the runtime, run this in a "
        f"terminal: {shlex.join(command)}"
    )


def _own_packages(runtime: Runtime) -> Path | None:
    """The folder with the packages; None where those of another Python count as well, and nothing is known."""
    # Conda's interpreter on Windows lies in its environment's folder itself.
    for folder in (runtime.python.parent.parent, runtime.python.parent):
        if (folder / "conda-meta").is_dir():
            return site_packages(folder)
        try:
            settings = (folder / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").lower()
        except OSError:
            continue
        shares = any(line.replace(" ", "") == "include-system-site-packages=true" for line in settings.splitlines())
        return None if shares else site_packages(folder)
    return None


def _has(site: Path, module: str) -> bool:
    # A package that was removed may leave a folder with what it wrote itself; pip writes its list of files last.
    complete = all((metadata / "RECORD").is_file() for metadata in site.glob(f"{module}-*.dist-info"))
    return complete and (site / module / "__init__.py").is_file()
